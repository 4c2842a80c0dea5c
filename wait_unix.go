//go:build unix

package websocket

import (
	"io"
	"net"
	"os"
	"syscall"
)

// A rawSocket is a socket of the kernel. It waits without a buffer: the read is
// done, and the buffer got for it, when the socket is known to be readable, or
// there is one more reason to try.
//
// Reading and writing may go on at the same time, each one call at a time.
type rawSocket struct {
	rc syscall.RawConn

	// What the calls of rc call back, and what they work on. They are made
	// once: each would be an allocation.
	readable, writable func(fd uintptr) bool
	in, out            rawCall
}

type rawCall struct {
	input *input // to fill, unless p is to be read
	p     []byte
	n     int
	err   error
}

// newRawSocket returns nil if nc is not a socket of the kernel. It goes by nc's
// type: a type that wraps one, and promotes its SyscallConn, has more to do in
// Read and Write.
func newRawSocket(nc net.Conn) socket {
	var rc syscall.RawConn
	var err error
	switch nc := nc.(type) {
	case *net.TCPConn:
		rc, err = nc.SyscallConn()
	case *net.UnixConn:
		rc, err = nc.SyscallConn()
	default:
		return nil
	}
	if err != nil {
		return nil
	}
	s := &rawSocket{rc: rc}
	s.readable, s.writable = s.readOnce, s.writeSome
	return s
}

func (s *rawSocket) direct() bool { return false }

func (s *rawSocket) fill(in *input, _ int) error {
	in.park()
	s.in.input = in
	_, err := s.wait()
	return err
}

func (s *rawSocket) read(p []byte) (int, error) {
	s.in.p = p
	return s.wait()
}

func (s *rawSocket) wait() (int, error) {
	err := s.rc.Read(s.readable)
	in := s.in
	s.in = rawCall{}
	switch {
	case err != nil:
		return 0, err
	case in.err != nil:
		return 0, os.NewSyscallError("read", in.err)
	case in.n == 0:
		return 0, io.EOF
	}
	return in.n, nil
}

// readOnce reads if it can without waiting. It must try: the poller tells of
// what is new since the last try only.
func (s *rawSocket) readOnce(fd uintptr) bool {
	in := &s.in
	if in.input == nil {
		in.n, in.err = ignoringEINTR(syscall.Read, int(fd), in.p)
		return in.err != syscall.EAGAIN
	}
	buf := readBuffers.Get().(*readBuffer)
	old := copy(buf[:], in.input.unread)
	in.n, in.err = ignoringEINTR(syscall.Read, int(fd), buf[old:])
	if in.err != nil || in.n == 0 {
		readBuffers.Put(buf)
		return in.err != syscall.EAGAIN
	}
	in.input.buf = buf
	in.input.unread = buf[:old+in.n]
	return true
}

func (s *rawSocket) write(p []byte) (int, error) {
	s.out.p = p
	err := s.rc.Write(s.writable)
	out := s.out
	s.out = rawCall{}
	if err == nil && out.err != nil {
		err = os.NewSyscallError("write", out.err)
	}
	return out.n, err
}

// writeSome writes what the kernel takes without waiting.
func (s *rawSocket) writeSome(fd uintptr) bool {
	out := &s.out
	for out.n < len(out.p) {
		// Some kernels refuse 2 GiB at a time.
		n, err := ignoringEINTR(syscall.Write, int(fd), out.p[out.n:min(len(out.p), out.n+1<<30)])
		if err != nil {
			if err != syscall.EAGAIN {
				out.err = err
			}
			break
		}
		out.n += n
	}
	return true
}

func ignoringEINTR(call func(int, []byte) (int, error), fd int, p []byte) (int, error) {
	for {
		n, err := call(fd, p)
		if err != syscall.EINTR {
			return n, err
		}
	}
}
