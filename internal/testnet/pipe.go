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

	readErr  error // what a read returns at once
	endErr   error // what a read returns when buf is empty
	writeErr error // what a write returns

	readDeadline, writeDeadline deadline
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
		switch {
		case s.readErr != nil:
			return 0, s.readErr
		case len(p) == 0:
			return 0, nil
		case s.readDeadline.passed:
			return 0, os.ErrDeadlineExceeded
		case s.stalled:
		case s.buf.Len() > 0:
			s.changed.Broadcast()
			return s.buf.Read(p)
		case s.endErr != nil:
			return 0, s.endErr
		}
		s.changed.Wait()
	}
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
		s.buf.Reset()
	})
	return first
}

// closeWrite closes the writing end; writes fail with writeErr from now on.
func (s *stream) closeWrite(writeErr error) {
	s.update(func(s *stream) {
		s.writeErr = writeErr
		s.endErr = io.EOF
		s.writeDeadline.stop()
	})
}

// reset closes the writing end and forgets what it had written.
func (s *stream) reset() {
	s.update(func(s *stream) {
		s.writeErr = net.ErrClosed
		s.writeDeadline.stop()
		s.buf.Reset()
		if s.readErr == nil {
			s.readErr = syscall.ECONNRESET
		}
	})
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
