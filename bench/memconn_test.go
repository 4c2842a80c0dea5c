//go:build linux

package bench

import (
	"bytes"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidewire/websocket/bench/wire"
)

// A memConn is one end of a connection that has no other: there are always more frames to
// be read, one Read having no more than one, and what is written is gone. It does
// the opening handshake before.
type memConn struct {
	frame   []byte
	flowing atomic.Bool // the handshake is over
	in      []byte      // to be read next

	mu      sync.Mutex
	changed sync.Cond
	written []byte // of the handshake
	reply   []byte // to it, not yet read
	client  bool   // this end is
	closed  bool
	expired bool // the read deadline
}

// newMemConn returns a client's end or, with a request to read first, a server's.
func newMemConn(frame []byte, client bool) *memConn {
	c := &memConn{frame: frame, client: client}
	c.changed.L = &c.mu
	if !client {
		c.reply = wire.Request(memAddr{}.String(), "")
	}
	return c
}

func (c *memConn) Read(p []byte) (int, error) {
	if len(c.in) == 0 {
		if err := c.refill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.in)
	c.in = c.in[n:]
	return n, nil
}

// refill waits for what can be read, during the handshake.
func (c *memConn) refill() error {
	if c.flowing.Load() {
		c.in = c.frame
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.closed:
			return net.ErrClosed
		case len(c.reply) > 0:
			c.in, c.reply = c.reply, nil
			if c.client {
				c.flowing.Store(true)
			}
			return nil
		case c.flowing.Load():
			c.in = c.frame
			return nil
		case c.expired:
			return os.ErrDeadlineExceeded
		}
		c.changed.Wait()
	}
}

func (c *memConn) Write(p []byte) (int, error) {
	if !c.flowing.Load() {
		c.shakeHands(p)
	}
	return len(p), nil
}

// shakeHands takes the request of a client, or the response of a server.
func (c *memConn) shakeHands(p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.changed.Broadcast()
	c.written = append(c.written, p...)
	if !bytes.HasSuffix(c.written, []byte("\r\n\r\n")) {
		return
	}
	if !c.client {
		c.flowing.Store(true)
		return
	}
	var response bytes.Buffer
	if err := wire.Upgrade(struct {
		io.Reader
		io.Writer
	}{bytes.NewReader(c.written), &response}); err != nil {
		panic(err)
	}
	c.reply = response.Bytes()
}

func (c *memConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flowing.Store(false)
	c.closed = true
	c.changed.Broadcast()
	return nil
}

// SetReadDeadline ends a Read of the handshake if it is to be now, which is how net/http gets
// a connection back from the goroutine that looks whether the client is still there.
func (c *memConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expired = !t.IsZero() && !t.After(time.Now())
	c.changed.Broadcast()
	return nil
}

func (c *memConn) SetDeadline(t time.Time) error    { return c.SetReadDeadline(t) }
func (c *memConn) SetWriteDeadline(time.Time) error { return nil }
func (c *memConn) LocalAddr() net.Addr              { return memAddr{} }
func (c *memConn) RemoteAddr() net.Addr             { return memAddr{} }

type memAddr struct{}

func (memAddr) Network() string { return "mem" }
func (memAddr) String() string  { return "127.0.0.1:80" }

// A memListener accepts one connection.
type memListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func newMemListener(c net.Conn) *memListener {
	ln := &memListener{make(chan net.Conn, 1), make(chan struct{})}
	ln.conns <- c
	return ln
}

func (ln *memListener) Accept() (net.Conn, error) {
	select {
	case c := <-ln.conns:
		return c, nil
	case <-ln.closed:
		return nil, net.ErrClosed
	}
}

func (ln *memListener) Close() error {
	select {
	case <-ln.closed:
	default:
		close(ln.closed)
	}
	return nil
}

func (ln *memListener) Addr() net.Addr { return memAddr{} }
