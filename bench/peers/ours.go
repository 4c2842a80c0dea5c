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
	echo     func(context.Context, *websocket.Conn)
	conn     func(oursConn) Conn
	bare     bool // no net/http
	over     Transport

	ctx    context.Context // of clients
	cancel context.CancelFunc
}

// An oursOption is a way of using it.
type oursOption func(*ours, Settings)

// newOurs returns what makes it, used for Read and Write unless an option says otherwise.
func newOurs(options ...oursOption) func(Settings) Library {
	return func(s Settings) Library {
		o := &ours{
			dialer: websocket.Dialer{DialContext: s.Dial},
			echo:   echoRead,
			conn:   func(c oursConn) Conn { return &c },
			over:   s.Over,
		}
		o.over.prepare(&o.dialer)
		o.ctx, o.cancel = context.WithCancel(context.Background())
		for _, option := range options {
			option(o, s)
		}
		return o
	}
}

// withMessages reads by Conn.Messages.
func withMessages(o *ours, _ Settings) {
	o.echo, o.conn = echoMessages, func(c oursConn) Conn { return &oursMessages{c} }
}

// withAppend reads by Conn.ReadAppend.
func withAppend(o *ours, _ Settings) {
	o.echo, o.conn = echoAppend, func(c oursConn) Conn { return &oursAppend{c} }
}

func withBatching(o *ours, _ Settings) {
	o.upgrader.Batching, o.dialer.Batching = true, true
}

// withBackground uses no context that can be cancelled.
func withBackground(o *ours, _ Settings) {
	ctx := context.Background()
	o.echo = func(_ context.Context, c *websocket.Conn) { echoRead(ctx, c) }
	o.conn = func(c oursConn) Conn { return &oursConn{c.c, ctx} }
}

// withoutPings is for clients that don't answer them.
func withoutPings(o *ours, _ Settings) { o.upgrader.PingInterval = -1 }

// withUpgradeConn serves without net/http.
func withUpgradeConn(o *ours, _ Settings) { o.bare = true }

// withWindow compresses, with such windows.
func withWindow(bits int) oursOption {
	return func(o *ours, s Settings) {
		c := &websocket.Compression{
			Threshold:               -1,
			ServerMaxWindowBits:     bits,
			ClientMaxWindowBits:     bits,
			ServerNoContextTakeover: !s.Deflate.Takeover,
			ClientNoContextTakeover: !s.Deflate.Takeover,
		}
		o.upgrader.Compression, o.dialer.Compression = c, c
	}
}

func (o *ours) Serve(ln net.Listener, serve func(Conn) error) error {
	if o.bare {
		return serveEach(ln, func(nc net.Conn) (Conn, error) {
			ctx := context.Background()
			c, _, err := o.upgrader.UpgradeConn(ctx, nc)
			if err != nil {
				return nil, err
			}
			return o.conn(oursConn{c, ctx}), nil
		}, serve)
	}
	serveConn := o.echo
	if serve != nil {
		serveConn = func(ctx context.Context, c *websocket.Conn) {
			serve(o.conn(oursConn{c, ctx}))
			c.CloseNow()
		}
	}
	handler := o.upgrader.Handler(func(http.ResponseWriter, *http.Request) (func(context.Context, *websocket.Conn), error) {
		return serveConn, nil
	})
	return o.over.serve(ln, handler)
}

// echoRead, echoMessages and echoAppend are what somebody gives to Upgrader.Handler, which closes
// the connection afterwards.
func echoRead(ctx context.Context, c *websocket.Conn) {
	for {
		typ, p, err := c.Read(ctx)
		if err != nil {
			return
		}
		if err := c.Write(ctx, typ, p); err != nil {
			return
		}
	}
}

func echoMessages(ctx context.Context, c *websocket.Conn) {
	for m, err := range c.Messages(ctx) {
		if err != nil {
			return
		}
		if err := c.Write(ctx, m.Type, m.Data); err != nil {
			return
		}
	}
}

func echoAppend(ctx context.Context, c *websocket.Conn) {
	var buf []byte
	for {
		typ, p, err := c.ReadAppend(ctx, buf[:0])
		if err != nil {
			return
		}
		if err := c.Write(ctx, typ, p); err != nil {
			return
		}
		buf = p
	}
}

func (o *ours) Dial(url string) (Conn, error) {
	c, _, err := o.dialer.Dial(context.Background(), url)
	if err != nil {
		return nil, err
	}
	return o.conn(oursConn{c, o.ctx}), nil
}

func (o *ours) Prepare(m Message) (func(Conn) error, error) {
	p, err := websocket.NewPreparedMessage(oursType(m.Text), m.Data)
	return func(c Conn) error {
		ours := c.(interface{ ours() *oursConn }).ours()
		return ours.c.WritePrepared(ours.ctx, p)
	}, err
}

// An oursConn reads by Conn.Read.
type oursConn struct {
	c   *websocket.Conn
	ctx context.Context
}

func (c *oursConn) ours() *oursConn { return c }

func (c *oursConn) Echo() error {
	echoRead(c.ctx, c.c)
	return net.ErrClosed
}

func (c *oursConn) Receive(f func(Message) error) error {
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

func (c *oursConn) Send(m Message) error { return c.c.Write(c.ctx, oursType(m.Text), m.Data) }
func (c *oursConn) Close() error         { return c.c.CloseNow() }

type oursMessages struct{ oursConn }

func (c *oursMessages) Echo() error {
	echoMessages(c.ctx, c.c)
	return net.ErrClosed
}

func (c *oursMessages) Receive(f func(Message) error) error {
	for m, err := range c.c.Messages(c.ctx) {
		if err != nil {
			return err
		}
		if err := f(Message{m.Type == websocket.MessageText, m.Data}); err != nil {
			return err
		}
	}
	return net.ErrClosed
}

type oursAppend struct{ oursConn }

func (c *oursAppend) Echo() error {
	echoAppend(c.ctx, c.c)
	return net.ErrClosed
}

func (c *oursAppend) Receive(f func(Message) error) error {
	var buf []byte
	for {
		typ, p, err := c.c.ReadAppend(c.ctx, buf[:0])
		if err != nil {
			return err
		}
		if err := f(Message{typ == websocket.MessageText, p}); err != nil {
			return err
		}
		buf = p
	}
}

func oursType(text bool) websocket.MessageType {
	if text {
		return websocket.MessageText
	}
	return websocket.MessageBinary
}
