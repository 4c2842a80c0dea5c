//go:build linux

// Package load is the other end of the connections that are measured, whichever library is at
// theirs: it says what is in a [Script], and hears whether what comes is what should.
//
// One goroutine has all connections. Its frames are made in advance, it asks epoll(7) which
// connection has something, and takes one read(2) and one write(2) for what is there, so it is
// cheaper than any server with a goroutine for each connection.
package load

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"
)

// Patience is how long a Load waits for anything to come.
const Patience = 30 * time.Second

// A Load is one end of many connections.
type Load struct {
	Respond bool // to each message with one; Exchange sets it

	// Spin has it ask again and again for up to 10 ms before it sleeps, for which it needs a processor of
	// its own. To wake a processor up is expensive, most of all in a virtual machine, and it is the other end's
	// write(2) that does it.
	Spin bool

	script *Script
	epoll  int
	conns  []*conn // by file descriptor
	open   int

	events  [256]syscall.EpollEvent
	pending []syscall.EpollEvent // of events, still to be looked at
	buf     []byte
	start   time.Time

	underWay int // messages that were sent, less those that came
	heard    int // messages that came
	returned int // of them, by Next
	payload  int // bytes of their payloads
	latency  histogram
}

// New returns a Load without a connection.
func New(script *Script) (*Load, error) {
	epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	return &Load{
		script: script,
		epoll:  epoll,
		buf:    make([]byte, 256<<10),
		start:  time.Now(),
	}, nil
}

// Add takes over a connection that is open. With permessage-deflate, z is what inflates the messages of
// this connection to check them, or nil: then only the framing is checked.
func (l *Load) Add(tcp *net.TCPConn, z Inflater) error {
	defer tcp.Close()
	fd, err := duplicate(tcp)
	if err != nil {
		return err
	}
	for len(l.conns) <= fd {
		l.conns = append(l.conns, nil)
	}
	l.conns[fd] = &conn{fd: fd, parser: parser{inflater: z}}
	l.open++
	event := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)}
	return syscall.EpollCtl(l.epoll, syscall.EPOLL_CTL_ADD, fd, &event)
}

// duplicate returns a file descriptor that the runtime does not know of.
func duplicate(tcp *net.TCPConn) (fd int, err error) {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0, err
	}
	ctlErr := raw.Control(func(original uintptr) {
		fd, err = syscall.Dup(int(original))
		if err == nil {
			syscall.CloseOnExec(fd)
		}
	})
	return fd, errors.Join(ctlErr, err)
}

// Exchange keeps n messages under way on each connection for as long as more wants, who is
// asked whenever as many have come as there are connections, and waits for the answers to all. So what the
// other end has done in the meantime is what it does for these messages, whose number Exchange returns:
// nothing was in a buffer of the kernel before, and nothing is afterwards.
func (l *Load) Exchange(n int, more func() bool) (messages int, err error) {
	before := l.heard
	l.returned = l.heard
	underWay := l.underWay
	l.Respond = true
	if err := l.Send(n); err != nil {
		return 0, err
	}
	for more() {
		for range l.open {
			if err := l.Next(); err != nil {
				return 0, err
			}
		}
	}
	l.Respond = false
	for l.underWay > underWay {
		if err := l.poll(); err != nil {
			return 0, err
		}
	}
	l.returned = l.heard
	return l.heard - before, nil
}

// Send sends n messages on each connection.
func (l *Load) Send(n int) error {
	for _, c := range l.conns {
		if c == nil {
			continue
		}
		c.owe(n, l.now())
		l.underWay += n
		if err := l.write(c); err != nil {
			return err
		}
	}
	return nil
}

// Next returns when one more message has come. It is an error if that was not what it
// should be, or if a connection ends.
func (l *Load) Next() error {
	for l.returned == l.heard {
		if err := l.poll(); err != nil {
			return err
		}
	}
	l.returned++
	return nil
}

// Open returns the number of connections.
func (l *Load) Open() int { return l.open }

// Forget begins to count anew: what Latency and PayloadSize return is of messages that come
// from now on.
func (l *Load) Forget() {
	l.latency = histogram{}
	l.heard, l.returned, l.payload = l.heard-l.returned, 0, 0
}

// Latency returns within which time that share of messages got its answer. Only an end
// that sends first knows.
func (l *Load) Latency(share float64) time.Duration { return l.latency.quantile(share) }

// PayloadSize returns the mean length of the payloads of messages, as they came over the wire.
func (l *Load) PayloadSize() float64 { return float64(l.payload) / float64(l.heard) }

// Close closes all connections.
func (l *Load) Close() error {
	var errs []error
	for _, c := range l.conns {
		if c != nil {
			errs = append(errs, syscall.Close(c.fd))
		}
	}
	return errors.Join(append(errs, syscall.Close(l.epoll))...)
}

func (l *Load) now() time.Duration { return time.Since(l.start) }

// poll looks at one connection that can be read or written.
func (l *Load) poll() error {
	if len(l.pending) == 0 {
		n, err := l.wait()
		if err == syscall.EINTR {
			return nil
		}
		if err != nil {
			return fmt.Errorf("epoll: %w", err)
		}
		if n == 0 {
			return fmt.Errorf("nothing has come for %v", Patience)
		}
		l.pending = l.events[:n]
	}
	event := l.pending[0]
	l.pending = l.pending[1:]
	c := l.conns[event.Fd]
	if event.Events&syscall.EPOLLOUT != 0 {
		if err := l.write(c); err != nil {
			return err
		}
	}
	if event.Events&^syscall.EPOLLOUT != 0 {
		return l.read(c)
	}
	return nil
}

// wait waits until some connections can be read or written.
func (l *Load) wait() (n int, err error) {
	if l.Spin {
		for asleep := l.now() + 10*time.Millisecond; n == 0 && l.now() < asleep && (err == nil || err == syscall.EINTR); {
			n, err = syscall.EpollWait(l.epoll, l.events[:], 0)
		}
		if n != 0 {
			return n, err
		}
	}
	return syscall.EpollWait(l.epoll, l.events[:], int(Patience.Milliseconds()))
}

// read reads once, and responds to what that was the end of.
func (l *Load) read(c *conn) error {
	n, err := syscall.Read(c.fd, l.buf)
	switch {
	case err == syscall.EAGAIN || err == syscall.EINTR:
		return nil
	case err != nil:
		return fmt.Errorf("read: %w", err)
	case n == 0:
		return errors.New("the other end has closed a connection")
	}
	heard := c.heard
	if err := c.receive(l.buf[:n], l.script); err != nil {
		return err
	}
	l.payload += c.takePayload()
	heard = c.heard - heard
	l.heard += heard
	l.underWay -= heard
	now := l.now()
	for range heard {
		if since, ok := c.answered(); ok {
			l.latency.add(now - since)
		}
	}
	if !l.Respond || heard == 0 {
		return nil
	}
	c.owe(heard, now)
	l.underWay += heard
	return l.write(c)
}

// write sends what is owed, as much as the kernel takes.
func (l *Load) write(c *conn) error {
	for c.owed > 0 {
		n, err := syscall.Write(c.fd, c.output(l.script))
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			return l.await(c, true)
		case err != nil:
			return fmt.Errorf("write: %w", err)
		}
		c.sent(n, l.script)
	}
	return l.await(c, false)
}

// await has epoll tell when c can be written, or no longer.
func (l *Load) await(c *conn, writable bool) error {
	if c.awaitsWritable == writable {
		return nil
	}
	c.awaitsWritable = writable
	event := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(c.fd)}
	if writable {
		event.Events |= syscall.EPOLLOUT
	}
	return syscall.EpollCtl(l.epoll, syscall.EPOLL_CTL_MOD, c.fd, &event)
}
