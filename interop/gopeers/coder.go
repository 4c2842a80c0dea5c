package main

import (
	"context"
	"errors"
	"net/http"

	"github.com/coder/websocket"
)

var coderCannot = map[string]string{
	"pingPayload": "coder/websocket chooses the payload of a Ping itself",
	"windows":     "coder/websocket does not limit windows",
}

type coder struct {
	subprotocols []string
	compression  websocket.CompressionMode
}

func newCoder(c config) library {
	l := &coder{c.Subprotocols, websocket.CompressionDisabled}
	switch d := c.Deflate; {
	case d == nil:
	case d.ServerNoContextTakeover || d.ClientNoContextTakeover:
		l.compression = websocket.CompressionNoContextTakeover
	default:
		l.compression = websocket.CompressionContextTakeover
	}
	return l
}

func (l *coder) serve(w http.ResponseWriter, r *http.Request, attend func(conn)) error {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols: l.subprotocols, CompressionMode: l.compression, CompressionThreshold: 1,
	})
	if err != nil {
		return err
	}
	attend(newCoderConn(c))
	return nil
}

func (l *coder) dial(url string) (conn, error) {
	c, _, err := websocket.Dial(context.Background(), url, &websocket.DialOptions{
		Subprotocols: l.subprotocols, CompressionMode: l.compression, CompressionThreshold: 1,
	})
	if err != nil {
		return nil, err
	}
	return newCoderConn(c), nil
}

type coderConn struct{ c *websocket.Conn }

func newCoderConn(c *websocket.Conn) coderConn {
	c.SetReadLimit(-1)
	return coderConn{c}
}

func (c coderConn) receive() (message, error) {
	typ, p, err := c.c.Read(context.Background())
	return message{typ == websocket.MessageText, p}, err
}

func (c coderConn) send(m message) error {
	return c.c.Write(context.Background(), coderType(m.text), m.data)
}

func coderType(text bool) websocket.MessageType {
	if text {
		return websocket.MessageText
	}
	return websocket.MessageBinary
}

// fragments ends a message with an empty fragment.
func (c coderConn) fragments(text bool, parts [3][]byte) error {
	w, err := c.c.Writer(context.Background(), coderType(text))
	if err != nil {
		return err
	}
	for _, p := range parts {
		if _, err := w.Write(p); err != nil {
			return err
		}
	}
	return w.Close()
}

// ping does not wait for the Pong, which only a reader sees.
func (c coderConn) ping(_ string, pong func()) error {
	go func() {
		if err := c.c.Ping(context.Background()); err == nil {
			pong()
		}
	}()
	return nil
}

func (c coderConn) subprotocol() string { return c.c.Subprotocol() }

// close waits for the answer. No error means that it has the same code.
func (c coderConn) close(code int, reason string) error {
	if err := c.c.Close(websocket.StatusCode(code), reason); err != nil {
		return err
	}
	return websocket.CloseError{Code: websocket.StatusCode(code)}
}

func (c coderConn) cut() error { return c.c.CloseNow() }

func (c coderConn) told(err error) (code int, reason string, ok bool) {
	end, ok := errors.AsType[websocket.CloseError](err)
	return int(end.Code), end.Reason, ok
}
