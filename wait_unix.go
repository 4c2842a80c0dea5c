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
// Reading and writing may go on at the same time, each one call at a time. What
// they do is kept here and in few variables: a goroutine that waits in wait is to
// need no more than the smallest stack.
type rawSocket struct {
	rc syscall.RawConn

	// What the calls of rc call back. Each is made once: it is an allocation.
	readable, writable func(fd uintptr) bool

	// What those work on.
	input    *input // to fill, unless p is to be read
	p        []byte
	n        int
	readErr  error
	out      []byte // what has yet to be written
	writeErr error
}

// open has s read and write nc. It reports false if nc is not a socket of the
// kernel. It goes by nc's type: a type that wraps one, and promotes its
// SyscallConn, has more to do in Read and Write.
func (s *rawSocket) open(nc net.Conn) bool {
	var err error
	switch nc := nc.(type) {
	case *net.TCPConn:
		s.rc, err = nc.SyscallConn()
	case *net.UnixConn:
		s.rc, err = nc.SyscallConn()
	default:
		return false
	}
	return err == nil
}

func (s *rawSocket) direct() bool { return false }

// readOn does nothing: to find out whether there is more is as much as to wait for it.
func (s *rawSocket) readOn(*input) {}

func (s *rawSocket) fill(in *input, _ int) error {
	in.park()
	s.input = in
	_, err := s.wait()
	return err
}

func (s *rawSocket) read(p []byte) (int, error) {
	s.p = p
	return s.wait()
}

func (s *rawSocket) wait() (int, error) {
	if s.readable == nil {
		s.readable = s.readOnce()
	}
	return s.took(s.rc.Read(s.readable))
}

// took returns what a read has come to, for which rc.Read has returned err.
func (s *rawSocket) took(err error) (int, error) {
	n, readErr := s.n, s.readErr
	s.input, s.p, s.n, s.readErr = nil, nil, 0, nil
	switch {
	case err != nil:
		return 0, err
	case readErr != nil:
		return 0, os.NewSyscallError("read", readErr)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// readOnce returns a function that reads if it can without waiting. It must try:
// the poller tells of what is new since the last try only.
func (s *rawSocket) readOnce() func(uintptr) bool {
	return func(fd uintptr) bool {
		p, buf := s.p, (*readBuffer)(nil)
		if s.input != nil {
			buf = getReadBuffer(s.input.full)
			p = (*buf)[copy(*buf, s.input.unread):]
		}
		n, err := syscall.Read(int(fd), p)
		for err == syscall.EINTR {
			n, err = syscall.Read(int(fd), p)
		}
		switch {
		case n > 0 && buf != nil:
			s.input.buf, s.input.unread = buf, (*buf)[:len(s.input.unread)+n]
			s.input.full = n == len(p)
		case buf != nil:
			buf.free()
		}
		if err == syscall.EAGAIN {
			return false
		}
		s.n, s.readErr = max(n, 0), err
		return true
	}
}

func (s *rawSocket) write(p []byte) (int, error) {
	if s.writable == nil {
		s.writable = s.writeSome()
	}
	s.out = p
	err := s.rc.Write(s.writable)
	n, writeErr := len(p)-len(s.out), s.writeErr
	s.out, s.writeErr = nil, nil
	if err == nil && writeErr != nil {
		err = os.NewSyscallError("write", writeErr)
	}
	return n, err
}

// writeSome returns a function that writes what the kernel takes without
// waiting.
func (s *rawSocket) writeSome() func(uintptr) bool {
	return func(fd uintptr) bool {
		for len(s.out) > 0 {
			// Some kernels refuse 2 GiB at a time.
			n, err := syscall.Write(int(fd), s.out[:min(len(s.out), 1<<30)])
			switch err {
			case nil:
				s.out = s.out[n:]
			case syscall.EINTR:
			case syscall.EAGAIN:
				return true
			default:
				s.writeErr = err
				return true
			}
		}
		return true
	}
}
