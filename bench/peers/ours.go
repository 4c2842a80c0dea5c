package peers

import (
	"context"
	"net"
	"net/http"

	"github.com/tidewire/websocket"
)

// ours makes connections of the library that is measured.
type ours struct {
	upgrader websocket.Upgrader
	dialer   websocket.Dialer
	receive  receiveFunc

	ctx        context.Context // of clients
	cancel     context.CancelFunc
	background bool // use no context that can be cancelled
}

// A receiveFunc is one of the ways to read.
type receiveFunc func(*oursConn, func(Message) error) error

func newOurs(receive receiveFunc, windowBits int) func(Settings) Library {
	return func(s Settings) Library {
		var c *websocket.Compression
		if s.Deflate != nil {
			c = &websocket.Compression{
				Threshold:               -1,
				ServerMaxWindowBits:     windowBits,
				ClientMaxWindowBits:     windowBits,
				ServerNoContextTakeover: !s.Deflate.Takeover,
				ClientNoContextTakeover: !s.Deflate.Takeover,
			}
		}
		o := &ours{
			upgrader: websocket.Upgrader{Compression: c},
			dialer:   websocket.Dialer{Compression: c, DialContext: s.Dial},
			receive:  receive,
		}
		o.ctx, o.cancel = context.WithCancel(context.Background())
		return o
	}
}

func newOursBackground(s Settings) Library {
	o := newOurs(receiveRead, 0)(s).(*ours)
	o.ctx, o.background = context.Background(), true
	return o
}

func (o *ours) Serve(ln net.Listener, serve func(Conn) error) error {
	serveConn := func(ctx context.Context, c *websocket.Conn) {
		if o.background {
			ctx = context.Background()
		}
		serveAndClose(&oursConn{c, ctx, o.receive}, serve)
	}
	handler := o.upgrader.Handler(func(http.ResponseWriter, *http.Request) (func(context.Context, *websocket.Conn), error) {
		return serveConn, nil
	})
	return serveHTTP(ln, handler.ServeHTTP)
}

func (o *ours) Dial(url string) (Conn, error) {
	c, _, err := o.dialer.Dial(context.Background(), url)
	if err != nil {
		return nil, err
	}
	return &oursConn{c, o.ctx, o.receive}, nil
}

func (o *ours) Prepare(m Message) (func(Conn) error, error) {
	p, err := websocket.NewPreparedMessage(oursType(m.Text), m.Data)
	return func(c Conn) error {
		ours := c.(*oursConn)
		return ours.c.WritePrepared(ours.ctx, p)
	}, err
}

type oursConn struct {
	c       *websocket.Conn
	ctx     context.Context
	receive receiveFunc
}

func (c *oursConn) Receive(f func(Message) error) error { return c.receive(c, f) }
func (c *oursConn) Send(m Message) error                { return c.c.Write(c.ctx, oursType(m.Text), m.Data) }
func (c *oursConn) Close() error                        { return c.c.CloseNow() }

func receiveRead(c *oursConn, f func(Message) error) error {
	for {
		typ, p, err := c.c.Read(c.ctx)
		if err != nil {
			return err
		}
		if err := f(Message{typ == websocket.MessageText, p}); err != nil {
			return err
		}
	}
}

func receiveAppend(c *oursConn, f func(Message) error) error {
	var buf []byte
	for {
		typ, p, err := c.c.ReadAppend(c.ctx, buf[:0])
		if err != nil {
			return err
		}
		buf = p
		if err := f(Message{typ == websocket.MessageText, p}); err != nil {
			return err
		}
	}
}

func receiveMessages(c *oursConn, f func(Message) error) error {
	for m, err := range c.c.Messages(c.ctx) {
		if err != nil {
			return err
		}
		if err := f(Message{m.Type == websocket.MessageText, m.Data}); err != nil {
			return err
		}
	}
	return net.ErrClosed // by the peer, in order
}

func oursType(text bool) websocket.MessageType {
	if text {
		return websocket.MessageText
	}
	return websocket.MessageBinary
}
