package peers

import (
	"context"
	"errors"
	"net"
	"net/url"
	"unicode/utf8"

	"golang.org/x/net/websocket"
)

// xnet makes connections of golang.org/x/net/websocket, which has no buffers to choose and no
// compression. A connection ends with its http.Handler.
type xnet struct {
	codec websocket.Codec
	dial  func(ctx context.Context, network, addr string) (net.Conn, error)
}

func newXNet(full bool) func(Settings) Library {
	unmarshal := func(data []byte, payloadType byte, v any) error {
		*v.(*Message) = Message{payloadType == websocket.TextFrame, data}
		return nil
	}
	if full {
		unmarshal = func(data []byte, payloadType byte, v any) error {
			if payloadType == websocket.TextFrame && !utf8.Valid(data) {
				return errUTF8
			}
			*v.(*Message) = Message{payloadType == websocket.TextFrame, data}
			return nil
		}
	}
	return func(s Settings) Library {
		x := &xnet{websocket.Codec{Marshal: xnetMarshal, Unmarshal: unmarshal}, s.Dial}
		if x.dial == nil {
			x.dial = new(net.Dialer).DialContext
		}
		return x
	}
}

func xnetMarshal(v any) (data []byte, payloadType byte, err error) {
	m := v.(*Message)
	if m.Text {
		return m.Data, websocket.TextFrame, nil
	}
	return m.Data, websocket.BinaryFrame, nil
}

func (x *xnet) Serve(ln net.Listener, serve func(Conn) error) error {
	server := websocket.Server{Handler: func(c *websocket.Conn) {
		if serve == nil {
			(&xnetConn{c, x.codec}).Echo()
		} else {
			serve(&xnetConn{c, x.codec})
		}
	}}
	return serveHTTP(ln, server.ServeHTTP)
}

func (x *xnet) Dial(rawURL string) (Conn, error) {
	location, err := url.Parse(rawURL)
	if err != nil {
		return nil, err
	}
	config, err := websocket.NewConfig(rawURL, "http://"+location.Host)
	if err != nil {
		return nil, err
	}
	nc, err := x.dial(context.Background(), "tcp", location.Host)
	if err != nil {
		return nil, err
	}
	c, err := websocket.NewClient(config, nc)
	if err != nil {
		return nil, errors.Join(err, nc.Close())
	}
	return &xnetConn{c: c, codec: x.codec}, nil
}

func (x *xnet) Prepare(m Message) (func(Conn) error, error) { return sendEach(m) }

type xnetConn struct {
	c     *websocket.Conn
	codec websocket.Codec
}

func (c *xnetConn) Echo() error {
	var m Message
	for {
		if err := c.codec.Receive(c.c, &m); err != nil {
			return err
		}
		if err := c.codec.Send(c.c, &m); err != nil {
			return err
		}
	}
}

func (c *xnetConn) Receive(f func(Message) error) error {
	var m Message
	for {
		if err := c.codec.Receive(c.c, &m); err != nil {
			return err
		}
		if err := f(m); err != nil {
			return err
		}
	}
}

func (c *xnetConn) Send(m Message) error { return c.codec.Send(c.c, &m) }

func (c *xnetConn) Close() error { return c.c.Close() }
