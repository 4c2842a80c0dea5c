package peers

import (
	"context"
	"io"
	"net"
	"net/http"

	"github.com/lxzan/gws"
)

// gwsLibrary makes connections of github.com/lxzan/gws.
//
// Its handlers belong to all connections, so what is to be done with the messages of one, if it is not to
// echo them, stands in its SessionStorage, which an application may replace by its own. ParallelEnabled is off: it
// costs a goroutine for each message.
type gwsLibrary struct {
	upgrader *gws.Upgrader
	settings Settings
	client   gws.ClientOption
}

func newGWS(full bool, windowBits int) func(Settings) Library {
	return func(s Settings) Library {
		var deflate gws.PermessageDeflate
		if s.Deflate != nil {
			deflate = gws.PermessageDeflate{
				Enabled:               true,
				Threshold:             1,
				ServerContextTakeover: s.Deflate.Takeover,
				ClientContextTakeover: s.Deflate.Takeover,
				ServerMaxWindowBits:   windowBits,
				ClientMaxWindowBits:   windowBits,
			}
		}
		return &gwsLibrary{
			upgrader: gws.NewUpgrader(gwsHandler{}, &gws.ServerOption{
				ReadBufferSize:    s.buffer(),
				CheckUtf8Enabled:  full,
				PermessageDeflate: deflate,
				NewSession:        newGWSSession,
			}),
			settings: s,
			client: gws.ClientOption{
				ReadBufferSize:    s.buffer(),
				CheckUtf8Enabled:  full,
				PermessageDeflate: deflate,
				NewSession:        newGWSSession,
			},
		}
	}
}

func (l *gwsLibrary) Serve(ln net.Listener, serve func(Conn) error) error {
	return serveHTTP(ln, func(w http.ResponseWriter, r *http.Request) {
		c, err := l.upgrader.Upgrade(w, r)
		if err != nil {
			return
		}
		if serve == nil {
			go c.ReadLoop()
		} else {
			begin(gwsConn{c}, serve)
		}
	})
}

func (l *gwsLibrary) Dial(url string) (Conn, error) {
	o := l.client
	o.Addr = url
	if dial := l.settings.Dial; dial != nil {
		o.NewDialer = func() (gws.Dialer, error) {
			return gwsDialer(func(network, addr string) (net.Conn, error) { return dial(context.Background(), network, addr) }), nil
		}
	}
	c, _, err := gws.NewClient(gwsHandler{}, &o)
	if err != nil {
		return nil, err
	}
	return gwsConn{c}, nil
}

type gwsDialer func(network, addr string) (net.Conn, error)

func (d gwsDialer) Dial(network, addr string) (net.Conn, error) { return d(network, addr) }

func (l *gwsLibrary) Prepare(m Message) (func(Conn) error, error) {
	b := gws.NewBroadcaster(gwsOpcode(m.Text), m.Data)
	return func(c Conn) error { return b.Broadcast(c.(gwsConn).Conn) }, nil
}

func gwsOpcode(text bool) gws.Opcode {
	if text {
		return gws.OpcodeText
	}
	return gws.OpcodeBinary
}

type gwsConn struct{ *gws.Conn }

func (c gwsConn) Echo() error {
	c.ReadLoop()
	return io.EOF
}

func (c gwsConn) Receive(f func(Message) error) error {
	s := c.Session().(*gwsSession)
	s.receive = f
	c.ReadLoop()
	if s.err == nil {
		return io.EOF
	}
	return s.err
}

func (c gwsConn) Send(m Message) error { return c.WriteMessage(gwsOpcode(m.Text), m.Data) }
func (c gwsConn) Close() error         { return c.NetConn().Close() }

// A gwsSession is what this package keeps of a connection. It is no storage: nobody stores anything.
type gwsSession struct {
	receive func(Message) error // nil: echo
	err     error               // of receive, which ends the loop
}

func newGWSSession() gws.SessionStorage { return new(gwsSession) }

func (*gwsSession) Len() int                           { return 0 }
func (*gwsSession) Load(string) (any, bool)            { return nil, false }
func (*gwsSession) Delete(string)                      {}
func (*gwsSession) Store(string, any)                  {}
func (*gwsSession) Range(func(key string, v any) bool) {}

type gwsHandler struct{ gws.BuiltinEventHandler }

func (gwsHandler) OnMessage(c *gws.Conn, m *gws.Message) {
	s := c.Session().(*gwsSession)
	if s.receive != nil {
		s.received(c, m)
	} else if err := c.WriteMessage(m.Opcode, m.Bytes()); err != nil {
		c.NetConn().Close()
	}
	m.Close()
}

func (s *gwsSession) received(c *gws.Conn, m *gws.Message) {
	if s.err != nil {
		return // the loop has what came before the end
	}
	if s.err = s.receive(Message{m.Opcode == gws.OpcodeText, m.Bytes()}); s.err != nil {
		c.NetConn().Close()
	}
}
