package main

import (
	"errors"
	"net/http"
	"time"

	"github.com/gorilla/websocket"
)

var gorillaCannot = map[string]string{
	"takeover": "gorilla/websocket compresses without context takeover only",
	"windows":  "gorilla/websocket does not limit windows",
}

type gorilla struct {
	upgrader websocket.Upgrader
	dialer   websocket.Dialer
}

func newGorilla(c config) library {
	return &gorilla{
		websocket.Upgrader{Subprotocols: c.Subprotocols, EnableCompression: c.Deflate != nil},
		websocket.Dialer{Subprotocols: c.Subprotocols, EnableCompression: c.Deflate != nil},
	}
}

func (g *gorilla) serve(w http.ResponseWriter, r *http.Request, attend func(conn)) error {
	c, err := g.upgrader.Upgrade(w, r, nil)
	if err != nil {
		return err
	}
	attend(gorillaConn{c})
	return nil
}

func (g *gorilla) dial(url string) (conn, error) {
	c, _, err := g.dialer.Dial(url, nil)
	return gorillaConn{c}, err
}

type gorillaConn struct{ c *websocket.Conn }

func (c gorillaConn) receive() (message, error) {
	typ, p, err := c.c.ReadMessage()
	return message{typ == websocket.TextMessage, p}, err
}

func (c gorillaConn) send(m message) error { return c.c.WriteMessage(gorillaType(m.text), m.data) }

func gorillaType(text bool) int {
	if text {
		return websocket.TextMessage
	}
	return websocket.BinaryMessage
}

// fragments leaves the length of the fragments to the library, which has a buffer of 4 KiB.
func (c gorillaConn) fragments(text bool, parts [3][]byte) error {
	w, err := c.c.NextWriter(gorillaType(text))
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

func (c gorillaConn) ping(payload string, pong func()) error {
	c.c.SetPongHandler(func(got string) error {
		if got == payload {
			pong()
		}
		return nil
	})
	return c.c.WriteControl(websocket.PingMessage, []byte(payload), time.Time{})
}

func (c gorillaConn) subprotocol() string { return c.c.Subprotocol() }

func (c gorillaConn) close(code int, reason string) error {
	return c.c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason), time.Time{})
}

func (c gorillaConn) cut() error { return c.c.Close() }

func (c gorillaConn) told(err error) (code int, reason string, ok bool) {
	end, ok := errors.AsType[*websocket.CloseError](err)
	if !ok {
		return 0, "", false
	}
	return end.Code, end.Text, true
}
