package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"

	"github.com/gobwas/httphead"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"
	"github.com/gobwas/ws/wsutil"
)

var gobwasCannot = map[string]string{
	"takeover": "gobwas/ws compresses without context takeover only",
	"windows":  "gobwas/ws does not limit windows",
}

type gobwas struct {
	subprotocols []string
	deflate      bool
}

func newGobwas(c config) library { return &gobwas{c.Subprotocols, c.Deflate != nil} }

// noTakeover is what its compressor and decompressor can do.
var noTakeover = wsflate.Parameters{ServerNoContextTakeover: true, ClientNoContextTakeover: true}

func (g *gobwas) serve(w http.ResponseWriter, r *http.Request, attend func(conn)) error {
	upgrader := ws.HTTPUpgrader{Protocol: func(name string) bool { return slices.Contains(g.subprotocols, name) }}
	extension := wsflate.Extension{Parameters: noTakeover}
	if g.deflate {
		upgrader.Negotiate = extension.Negotiate
	}
	nc, buf, handshake, err := upgrader.Upgrade(r, w)
	if err != nil {
		return err
	}
	_, deflate := extension.Accepted()
	attend(newGobwasConn(nc, buf.Reader, ws.StateServerSide, handshake, deflate))
	return nil
}

func (g *gobwas) dial(url string) (conn, error) {
	dialer := ws.Dialer{Protocols: g.subprotocols}
	if g.deflate {
		dialer.Extensions = []httphead.Option{noTakeover.Option()}
	}
	nc, buf, handshake, err := dialer.Dial(context.Background(), url)
	if err != nil {
		return nil, err
	}
	if buf == nil {
		buf = bufio.NewReader(nc)
	}
	return newGobwasConn(nc, buf, ws.StateClientSide, handshake, len(handshake.Extensions) > 0), nil
}

// A gobwasConn puts the parts of the library together.
type gobwasConn struct {
	nc        net.Conn
	state     ws.State
	reader    wsutil.Reader
	deflate   bool
	inflating wsflate.MessageState
	handle    wsutil.FrameHandlerFunc
	protocol  string
	pong      func(payload string)
	closing   bool
}

func newGobwasConn(nc net.Conn, r io.Reader, state ws.State, handshake ws.Handshake, deflate bool) *gobwasConn {
	c := &gobwasConn{nc: nc, state: state, deflate: deflate, protocol: handshake.Protocol}
	c.handle = wsutil.ControlFrameHandler(nc, state)
	c.reader = wsutil.Reader{Source: r, State: state, CheckUTF8: !deflate, OnIntermediate: c.control}
	if deflate {
		c.reader.State |= ws.StateExtended
		c.reader.Extensions = []wsutil.RecvExtension{&c.inflating}
	}
	return c
}

func (c *gobwasConn) receive() (message, error) {
	for {
		h, err := c.reader.NextFrame()
		if err != nil {
			return message{}, err
		}
		if !h.OpCode.IsControl() {
			return c.message(h.OpCode == ws.OpText)
		}
		if err := c.control(h, &c.reader); err != nil {
			return message{}, err
		}
	}
}

func (c *gobwasConn) message(text bool) (message, error) {
	p, err := io.ReadAll(&c.reader)
	if err == nil && c.inflating.IsCompressed() {
		p, err = wsflate.DefaultHelper.Decompress(p)
	}
	return message{text, p}, err
}

func (c *gobwasConn) control(h ws.Header, r io.Reader) error {
	switch {
	case h.OpCode == ws.OpPong:
		payload, err := io.ReadAll(r)
		if err == nil && c.pong != nil {
			c.pong(string(payload))
		}
		return err
	case h.OpCode == ws.OpClose && c.closing: // nothing more to send
		payload, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		code, reason := ws.ParseCloseFrameData(payload)
		return wsutil.ClosedError{Code: code, Reason: reason}
	default:
		return c.handle(h, r)
	}
}

func (c *gobwasConn) send(m message) error {
	frame := ws.NewFrame(gobwasOpCode(m.text), true, m.data)
	if c.deflate {
		var err error
		if frame, err = wsflate.CompressFrame(frame); err != nil {
			return err
		}
	}
	return c.write(frame)
}

func (c *gobwasConn) write(frame ws.Frame) error {
	if c.state.ClientSide() {
		frame = ws.MaskFrame(frame)
	}
	p, err := ws.CompileFrame(frame)
	if err == nil {
		_, err = c.nc.Write(p)
	}
	return err
}

func gobwasOpCode(text bool) ws.OpCode {
	if text {
		return ws.OpText
	}
	return ws.OpBinary
}

func (c *gobwasConn) fragments(text bool, parts [3][]byte) error {
	return errors.Join(
		c.write(ws.NewFrame(gobwasOpCode(text), false, parts[0])),
		c.write(ws.NewFrame(ws.OpContinuation, false, parts[1])),
		c.write(ws.NewFrame(ws.OpContinuation, true, parts[2])))
}

func (c *gobwasConn) ping(payload string, pong func()) error {
	c.pong = func(got string) {
		if got == payload {
			pong()
		}
	}
	return c.write(ws.NewPingFrame([]byte(payload)))
}

func (c *gobwasConn) subprotocol() string { return c.protocol }

func (c *gobwasConn) close(code int, reason string) error {
	c.closing = true
	return c.write(ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusCode(code), reason)))
}

func (c *gobwasConn) cut() error { return c.nc.Close() }

func (c *gobwasConn) told(err error) (code int, reason string, ok bool) {
	end, ok := errors.AsType[wsutil.ClosedError](err)
	return int(end.Code), end.Reason, ok
}
