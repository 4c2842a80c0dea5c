package peers

import (
	"context"
	"net"
	"net/http"

	"github.com/coder/websocket"
)

// coder makes connections of github.com/coder/websocket.
//
// Under context.Background it has no context to watch, which takes three allocations for each call. Its
// buffers are those of net/http.
type coder struct {
	client      http.Client
	compression websocket.CompressionMode
	full        bool
}

func newCoder(full bool) func(Settings) Library {
	return func(s Settings) Library {
		c := &coder{full: full, client: http.Client{Transport: &http.Transport{DialContext: s.Dial}}}
		switch {
		case s.Deflate == nil:
			c.compression = websocket.CompressionDisabled
		case s.Deflate.Takeover:
			c.compression = websocket.CompressionContextTakeover
		default:
			c.compression = websocket.CompressionNoContextTakeover
		}
		return c
	}
}

func (l *coder) Serve(ln net.Listener, serve func(Conn) error) error {
	options := &websocket.AcceptOptions{CompressionMode: l.compression, CompressionThreshold: 1}
	return serveHTTP(ln, func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, options)
		if err != nil {
			return
		}
		begin(l.conn(c), serve)
	})
}

func (l *coder) Dial(url string) (Conn, error) {
	c, _, err := websocket.Dial(context.Background(), url, &websocket.DialOptions{
		HTTPClient:           &l.client,
		CompressionMode:      l.compression,
		CompressionThreshold: 1,
	})
	if err != nil {
		return nil, err
	}
	return l.conn(c), nil
}

func (l *coder) conn(c *websocket.Conn) Conn {
	c.SetReadLimit(-1)
	return &coderConn{c, l.full}
}

func (l *coder) Prepare(m Message) (func(Conn) error, error) { return sendEach(m) }

type coderConn struct {
	c    *websocket.Conn
	full bool
}

func (c *coderConn) Echo() error {
	for {
		typ, r, err := c.c.Reader(context.Background())
		if err != nil {
			return end(c, err)
		}
		buf := getBuffer()
		*buf, err = appendAll((*buf)[:0], r)
		if err == nil && c.full {
			err = check(Message{typ == websocket.MessageText, *buf})
		}
		if err == nil {
			err = c.c.Write(context.Background(), typ, *buf)
		}
		putBuffer(buf)
		if err != nil {
			return end(c, err)
		}
	}
}

func (c *coderConn) Receive(f func(Message) error) error {
	for {
		typ, r, err := c.c.Reader(context.Background())
		if err != nil {
			return err
		}
		buf := getBuffer()
		if *buf, err = appendAll((*buf)[:0], r); err == nil {
			err = c.received(Message{typ == websocket.MessageText, *buf}, f)
		}
		putBuffer(buf)
		if err != nil {
			return err
		}
	}
}

func (c *coderConn) received(m Message, f func(Message) error) error {
	if c.full {
		if err := check(m); err != nil {
			return err
		}
	}
	return f(m)
}

func (c *coderConn) Send(m Message) error {
	typ := websocket.MessageBinary
	if m.Text {
		typ = websocket.MessageText
	}
	return c.c.Write(context.Background(), typ, m.Data)
}

func (c *coderConn) Close() error { return c.c.CloseNow() }
