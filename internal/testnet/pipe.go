// Package testnet is what the tests of this module use for a network: a
// buffered pipe in memory, a connection whose reads are cut small, the
// conversations of testdata/conversations, and a check for leaked goroutines.
package testnet

import (
	"bytes"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// defaultBuffer is the room in each direction of a pipe.
const defaultBuffer = 64 << 10

// Pipe returns the two ends of a connection in memory. It behaves like a TCP
// connection over loopback: each direction holds 64 KiB (see SetReadBuffer),
// so that a Write returns before its bytes are read and blocks once there is
// no room; errors are *net.OpError.
//
// A pipe made in a testing/synctest bubble belongs to it: whoever waits for
// one of its ends is durably blocked, and its deadlines follow the bubble's
// clock.
func Pipe() (*Conn, *Conn) {
	ab, ba := newStream(), newStream()
	a := &Conn{in: ba, out: ab, local: "pipe:a", remote: "pipe:b"}
	b := &Conn{in: ab, out: ba, local: "pipe:b", remote: "pipe:a"}
	return a, b
}

// A Conn is one end of a Pipe. Its methods may be called concurrently.
type Conn struct {
	in, out       *stream
	local, remote addr
}

var _ net.Conn = (*Conn)(nil)

// Read reads what the other end has written. Once that end is closed and its
// bytes are read, it returns io.EOF.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.in.read(p)
	return n, c.opError("read", err)
}

// Write writes p, waiting for room if need be. Concurrent writes are not
// interleaved. It fails once either end is closed.
func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.out.write(p)
	return n, c.opError("write", err)
}

// Close closes c. The other end reads what c has written and then io.EOF;
// what it writes from now on fails.
func (c *Conn) Close() error {
	if !c.in.closeRead(syscall.EPIPE) {
		return c.opError("close", net.ErrClosed)
	}
	c.out.closeWrite(net.ErrClosed)
	return nil
}

// CloseWrite ends the direction from c to the other end, which reads what c
// has written and then io.EOF. The other direction stays open.
func (c *Conn) CloseWrite() error {
	if c.in.readClosed() {
		return c.opError("close", net.ErrClosed)
	}
	c.out.closeWrite(syscall.EPIPE)
	return nil
}

// Reset closes c as a crash would. The other end's reads and writes fail with
// ECONNRESET, and what it had not read by then is lost.
func (c *Conn) Reset() error {
	if !c.in.closeRead(syscall.ECONNRESET) {
		return c.opError("close", net.ErrClosed)
	}
	c.out.reset()
	return nil
}

// Stall makes c's reads block, whatever has arrived, until Stall(false). To
// the other end c is then a peer that has stopped reading.
func (c *Conn) Stall(stalled bool) {
	c.in.update(func(s *stream) { s.stalled = stalled })
}

// SetReadBuffer sets how many bytes the other end may be ahead of c's reads.
func (c *Conn) SetReadBuffer(n int) error {
	c.in.update(func(s *stream) { s.room = n })
	return nil
}

// Faults are what is wrong with one direction of a pipe. Bytes are counted from when SetFaults is
// called.
type Faults struct {
	Latency time.Duration // bytes, and the end, can be read so much later than they are written
	Chunk   int           // bytes at most for a Read; 0: any
	Stall   int64         // bytes after which no more can be read; 0: never
	Cut     int64         // bytes that are read before the pipe is reset, in both directions; 0: never
}

// SetFaults has f be wrong with what c reads.
func (c *Conn) SetFaults(f Faults) {
	cut := func() { c.out.breakOff(); c.in.breakOff() }
	c.in.update(func(s *stream) {
		s.faults, s.taken, s.cut = f, 0, cut
		if n := s.buf.Len(); n > 0 && len(s.due) == 0 {
			s.due = []segment{{n, time.Now()}}
		}
	})
}

// LocalAddr returns an address that only names this end.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr returns an address that only names the other end.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline sets when reads fail with os.ErrDeadlineExceeded, those
// that are blocked now included. The zero time means never.
func (c *Conn) SetReadDeadline(t time.Time) error {
	return c.setDeadline(c.in, &c.in.readDeadline, t)
}

// SetWriteDeadline sets when writes fail with os.ErrDeadlineExceeded, those
// that are blocked now included. The zero time means never.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	return c.setDeadline(c.out, &c.out.writeDeadline, t)
}

func (c *Conn) setDeadline(s *stream, d *deadline, t time.Time) error {
	if c.in.readClosed() {
		return c.opError("set", net.ErrClosed)
	}
	s.setDeadline(d, t)
	return nil
}

// opError dresses err as package net would. io.EOF stays as it is.
func (c *Conn) opError(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &net.OpError{Op: op, Net: c.local.Network(), Source: c.local, Addr: c.remote, Err: err}
}

type addr string

func (addr) Network() string  { return "pipe" }
func (a addr) String() string { return string(a) }

// A stream is one direction of a pipe.
type stream struct {
	mu      sync.Mutex
	changed sync.Cond // on mu: something below is not what it was

	buf     bytes.Buffer // written and not yet read
	room    int          // for so many bytes in buf
	stalled bool         // reads wait
	writing bool         // a Write is under way, others wait for their turn

	faults Faults
	taken  int64     // bytes read with those
	cut    func()    // for faults.Cut
	due    []segment // of buf, with faults.Latency
	endDue time.Time // of endErr

	readErr  error // what a read returns at once
	endErr   error // what a read returns when buf is empty
	writeErr error // what a write returns

	readDeadline, writeDeadline deadline
}

// A segment is bytes that can be read from some time on.
type segment struct {
	n  int
	at time.Time
}

func newStream() *stream {
	s := &stream{room: defaultBuffer}
	s.changed.L = &s.mu
	return s
}

func (s *stream) read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch n := s.readable(); {
		case s.readErr != nil:
			return 0, s.readErr
		case len(p) == 0:
			return 0, nil
		case s.readDeadline.passed:
			return 0, os.ErrDeadlineExceeded
		case n > 0:
			n, _ = s.buf.Read(p[:s.take(min(n, len(p)))])
			s.changed.Broadcast()
			if s.taken == s.faults.Cut {
				s.mu.Unlock() // which are two
				s.cut()
				s.mu.Lock()
			}
			return n, nil
		case s.buf.Len() == 0 && s.endErr != nil && !s.stuck() && !s.wait(s.endDue):
			return 0, s.endErr
		}
		s.changed.Wait()
	}
}

// readable returns how much of buf can be read now. If that is nothing yet, s.changed will
// tell when it is more. s.mu is held.
func (s *stream) readable() int {
	n := s.buf.Len()
	if s.stuck() || n == 0 {
		return 0
	}
	if len(s.due) > 0 {
		if s.wait(s.due[0].at) {
			return 0
		}
		n = s.due[0].n
	}
	for _, limit := range []int64{s.faults.Stall, s.faults.Cut} {
		if limit > 0 {
			n = int(min(int64(n), limit-s.taken))
		}
	}
	if s.faults.Chunk > 0 {
		n = min(n, s.faults.Chunk)
	}
	return n
}

// stuck reports whether nothing can be read, whatever comes. s.mu is held.
func (s *stream) stuck() bool {
	return s.stalled || s.faults.Stall > 0 && s.taken >= s.faults.Stall
}

// take notes that n bytes are read, and returns n. s.mu is held.
func (s *stream) take(n int) int {
	s.taken += int64(n)
	if len(s.due) > 0 {
		if s.due[0].n -= n; s.due[0].n == 0 {
			s.due = s.due[1:]
		}
	}
	return n
}

// wait reports whether t is still to come, and has s.changed tell then. s.mu is held.
func (s *stream) wait(t time.Time) bool {
	d := time.Until(t)
	if d > 0 {
		time.AfterFunc(d, func() { s.update(func(*stream) {}) })
	}
	return d > 0
}

func (s *stream) write(p []byte) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.writing && s.mayWrite() == nil {
		s.changed.Wait()
	}
	if err := s.mayWrite(); err != nil {
		return 0, err
	}
	s.writing = true
	defer func() {
		s.writing = false
		s.changed.Broadcast()
	}()
	for {
		if err := s.mayWrite(); err != nil {
			return n, err
		}
		free := max(s.room-s.buf.Len(), 0)
		k, _ := s.buf.Write(p[n:min(n+free, len(p))])
		n += k
		if k > 0 && (s.faults.Latency > 0 || len(s.due) > 0) {
			s.due = append(s.due, segment{k, time.Now().Add(s.faults.Latency)})
		}
		if n == len(p) {
			return n, nil
		}
		s.changed.Broadcast()
		s.changed.Wait()
	}
}

// mayWrite says why a write cannot go on; s.mu is held.
func (s *stream) mayWrite() error {
	if s.writeErr == nil && s.writeDeadline.passed {
		return os.ErrDeadlineExceeded
	}
	return s.writeErr
}

// update changes s and wakes who waits for it.
func (s *stream) update(change func(*stream)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
	s.changed.Broadcast()
}

// closeRead closes the reading end; writes fail with writeErr from now on.
// It reports false if that end was closed already.
func (s *stream) closeRead(writeErr error) (first bool) {
	s.update(func(s *stream) {
		if s.readErr == net.ErrClosed {
			return
		}
		first = true
		s.readErr = net.ErrClosed
		if s.writeErr == nil {
			s.writeErr = writeErr
		}
		s.readDeadline.stop()
		s.forget()
	})
	return first
}

// closeWrite closes the writing end; writes fail with writeErr from now on.
func (s *stream) closeWrite(writeErr error) {
	s.update(func(s *stream) {
		s.writeErr = writeErr
		s.endErr = io.EOF
		s.endDue = time.Now().Add(s.faults.Latency)
		s.writeDeadline.stop()
	})
}

// reset closes the writing end and forgets what it had written.
func (s *stream) reset() {
	s.update(func(s *stream) {
		s.writeErr = net.ErrClosed
		s.writeDeadline.stop()
		s.forget()
		if s.readErr == nil {
			s.readErr = syscall.ECONNRESET
		}
	})
}

// breakOff has both ends fail, and forgets what had been written.
func (s *stream) breakOff() {
	s.update(func(s *stream) {
		s.forget()
		if s.readErr == nil {
			s.readErr = syscall.ECONNRESET
		}
		if s.writeErr == nil {
			s.writeErr = syscall.ECONNRESET
		}
	})
}

// forget drops what was written and not read. s.mu is held.
func (s *stream) forget() {
	s.buf.Reset()
	s.due = nil
}

func (s *stream) readClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.readErr == net.ErrClosed
}

// A deadline belongs to the lock of its stream.
type deadline struct {
	timer  *time.Timer // until then, if that is still to come
	passed bool
}

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}

// setDeadline moves d, which is one of the deadlines of s, to t.
func (s *stream) setDeadline(d *deadline, t time.Time) {
	s.update(func(*stream) {
		d.stop()
		d.passed = !t.IsZero() && !t.After(time.Now())
		if t.IsZero() || d.passed {
			return
		}
		var timer *time.Timer
		timer = time.AfterFunc(time.Until(t), func() {
			s.update(func(*stream) {
				if d.timer == timer { // and not one that came too late to be stopped
					d.passed = true
				}
			})
		})
		d.timer = timer
	})
}
