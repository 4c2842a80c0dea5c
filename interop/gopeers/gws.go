package main

import (
	"bytes"
	"errors"
	"net/http"
	"strings"

	"github.com/lxzan/gws"
)

var gwsCannot = map[string]string{
	"answer": "gws closes the network connection behind its Close, and does not wait for the answer",
}

type gwsLibrary struct {
	subprotocols []string
	deflate      gws.PermessageDeflate
}

func newGWS(c config) library {
	l := &gwsLibrary{subprotocols: c.Subprotocols}
	if d := c.Deflate; d != nil {
		l.deflate = gws.PermessageDeflate{
			Enabled:               true,
			Threshold:             1,
			ServerContextTakeover: !d.ServerNoContextTakeover,
			ClientContextTakeover: !d.ClientNoContextTakeover,
			ServerMaxWindowBits:   d.ServerMaxWindowBits,
			ClientMaxWindowBits:   d.ClientMaxWindowBits,
		}
	}
	return l
}

func (l *gwsLibrary) serve(w http.ResponseWriter, r *http.Request, attend func(conn)) error {
	c := newGWSConn()
	upgrader := gws.NewUpgrader(c, &gws.ServerOption{
		SubProtocols: l.subprotocols, PermessageDeflate: l.deflate, CheckUtf8Enabled: true,
	})
	var err error
	if c.c, err = upgrader.Upgrade(w, r); err != nil {
		return err
	}
	go c.c.ReadLoop()
	attend(c)
	return nil
}

func (l *gwsLibrary) dial(url string) (conn, error) {
	c := newGWSConn()
	options := &gws.ClientOption{Addr: url, PermessageDeflate: l.deflate, CheckUtf8Enabled: true, RequestHeader: http.Header{}}
	if l.subprotocols != nil {
		options.RequestHeader.Set("Sec-WebSocket-Protocol", strings.Join(l.subprotocols, ", "))
	}
	var err error
	if c.c, _, err = gws.NewClient(c, options); err != nil {
		return nil, err
	}
	go c.c.ReadLoop()
	return c, nil
}

// A gwsConn gets the events of a connection, from a goroutine that reads.
type gwsConn struct {
	gws.BuiltinEventHandler
	c        *gws.Conn
	messages chan message
	err      error // valid when messages is closed
	pongs    chan string
}

func newGWSConn() *gwsConn {
	return &gwsConn{messages: make(chan message), pongs: make(chan string)}
}

func (c *gwsConn) OnMessage(_ *gws.Conn, m *gws.Message) {
	defer m.Close()
	c.messages <- message{m.Opcode == gws.OpcodeText, bytes.Clone(m.Bytes())}
}

// OnPing answers with the payload, which the library leaves to its user.
func (c *gwsConn) OnPing(_ *gws.Conn, payload []byte) { c.c.WritePong(payload) }

func (c *gwsConn) OnPong(_ *gws.Conn, payload []byte) { c.pongs <- string(payload) }

func (c *gwsConn) OnClose(_ *gws.Conn, err error) {
	c.err = err
	close(c.messages)
}

func (c *gwsConn) receive() (message, error) {
	if m, ok := <-c.messages; ok {
		return m, nil
	}
	return message{}, c.err
}

func (c *gwsConn) send(m message) error { return c.c.WriteMessage(gwsOpcode(m.text), m.data) }

func gwsOpcode(text bool) gws.Opcode {
	if text {
		return gws.OpcodeText
	}
	return gws.OpcodeBinary
}

// fragments leaves the length of the fragments to the library: 128 KiB.
func (c *gwsConn) fragments(text bool, parts [3][]byte) error {
	return c.c.WriteFile(gwsOpcode(text), bytes.NewReader(bytes.Join(parts[:], nil)))
}

func (c *gwsConn) ping(payload string, pong func()) error {
	if err := c.c.WritePing([]byte(payload)); err != nil {
		return err
	}
	if got := <-c.pongs; got == payload {
		pong()
	}
	return nil
}

func (c *gwsConn) subprotocol() string { return c.c.SubProtocol() }

func (c *gwsConn) close(code int, reason string) error {
	return c.c.WriteClose(uint16(code), []byte(reason))
}

func (c *gwsConn) cut() error { return c.c.NetConn().Close() }

func (c *gwsConn) told(err error) (code int, reason string, ok bool) {
	end, ok := errors.AsType[*gws.CloseError](err)
	if !ok {
		return 0, "", false
	}
	return int(end.Code), string(end.Reason), true
}
