package peers

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// gorilla makes connections of github.com/gorilla/websocket.
//
// "Limit the buffer sizes to the maximum expected message size", says its documentation, and
// "A write buffer pool is useful when the application has a modest number writes over a large number of
// connections." A message that does not fit into the write buffer of a client becomes several frames,
// with a Write each.
type gorilla struct {
	upgrader websocket.Upgrader
	dialer   websocket.Dialer
	full     bool
}

func newGorilla(full bool) func(Settings) Library {
	return func(s Settings) Library {
		compress := s.Deflate != nil
		var timeout time.Duration // for ever
		if full {
			timeout = 10 * time.Second
		}
		return &gorilla{
			upgrader: websocket.Upgrader{
				ReadBufferSize:    s.buffer(),
				WriteBufferSize:   s.buffer(),
				WriteBufferPool:   new(sync.Pool),
				EnableCompression: compress,
			},
			dialer: websocket.Dialer{
				NetDialContext:    s.Dial,
				HandshakeTimeout:  timeout,
				ReadBufferSize:    s.buffer(),
				WriteBufferSize:   max(s.buffer(), s.Message),
				WriteBufferPool:   new(sync.Pool),
				EnableCompression: compress,
			},
			full: full,
		}
	}
}

func (g *gorilla) Serve(ln net.Listener, serve func(Conn) error) error {
	return serveHTTP(ln, func(w http.ResponseWriter, r *http.Request) {
		c, err := g.upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		begin(g.conn(c), serve)
	})
}

func (g *gorilla) Dial(url string) (Conn, error) {
	c, _, err := g.dialer.DialContext(context.Background(), url, nil)
	if err != nil {
		return nil, err
	}
	return g.conn(c), nil
}

func (g *gorilla) conn(c *websocket.Conn) Conn {
	if g.full {
		return &gorillaFull{gorillaConn: gorillaConn{c}}
	}
	return &gorillaConn{c}
}

func (g *gorilla) Prepare(m Message) (func(Conn) error, error) {
	p, err := websocket.NewPreparedMessage(gorillaType(m.Text), m.Data)
	return func(c Conn) error { return c.(*gorillaConn).c.WritePreparedMessage(p) }, err
}

type gorillaConn struct{ c *websocket.Conn }

func (c *gorillaConn) Echo() error {
	for {
		typ, r, err := c.c.NextReader()
		if err != nil {
			return end(c, err)
		}
		buf := getBuffer()
		if *buf, err = appendAll((*buf)[:0], r); err == nil {
			err = c.c.WriteMessage(typ, *buf)
		}
		putBuffer(buf)
		if err != nil {
			return end(c, err)
		}
	}
}

func (c *gorillaConn) Receive(f func(Message) error) error {
	for {
		typ, r, err := c.c.NextReader()
		if err != nil {
			return err
		}
		buf := getBuffer()
		if *buf, err = appendAll((*buf)[:0], r); err == nil {
			err = f(Message{typ == websocket.TextMessage, *buf})
		}
		putBuffer(buf)
		if err != nil {
			return err
		}
	}
}

func (c *gorillaConn) Send(m Message) error { return c.c.WriteMessage(gorillaType(m.Text), m.Data) }
func (c *gorillaConn) Close() error         { return c.c.Close() }

func gorillaType(text bool) int {
	if text {
		return websocket.TextMessage
	}
	return websocket.BinaryMessage
}

// gorillaFull is a gorillaConn with what that leaves out.
type gorillaFull struct {
	gorillaConn
	mu sync.Mutex
}

func (c *gorillaFull) Echo() error {
	for {
		typ, r, err := c.c.NextReader()
		if err != nil {
			return end(c, err)
		}
		buf := getBuffer()
		if *buf, err = appendAll((*buf)[:0], r); err == nil {
			err = check(Message{typ == websocket.TextMessage, *buf})
		}
		if err == nil {
			c.mu.Lock()
			err = c.c.WriteMessage(typ, *buf)
			c.mu.Unlock()
		}
		putBuffer(buf)
		if err != nil {
			return end(c, err)
		}
	}
}

func (c *gorillaFull) Receive(f func(Message) error) error {
	return c.gorillaConn.Receive(func(m Message) error {
		if err := check(m); err != nil {
			return err
		}
		return f(m)
	})
}

func (c *gorillaFull) Send(m Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gorillaConn.Send(m)
}
