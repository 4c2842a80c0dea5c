package main

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"slices"

	"golang.org/x/net/websocket"
)

var xnetCannot = map[string]string{
	"deflate":    "x/net/websocket knows no extensions",
	"defragment": "x/net/websocket takes each fragment for a message",
	"fragments":  "x/net/websocket does not send fragments",
	"ping":       "x/net/websocket does not tell of Pongs",
	"close":      "x/net/websocket closes with 1000 and no reason",
	"closed":     "x/net/websocket does not tell what a Close says",
}

type xnet struct{ subprotocols []string }

func newXNet(c config) library { return &xnet{c.Subprotocols} }

func (x *xnet) serve(w http.ResponseWriter, r *http.Request, attend func(conn)) error {
	h := &hijacker{ResponseWriter: w}
	server := websocket.Server{
		Handshake: func(config *websocket.Config, _ *http.Request) error {
			config.Protocol = slices.DeleteFunc(config.Protocol, func(name string) bool { return !slices.Contains(x.subprotocols, name) })
			return nil
		},
		Handler: func(c *websocket.Conn) { attend(xnetConn{c, h.nc}) },
	}
	server.ServeHTTP(h, r)
	return nil
}

// A hijacker keeps the network connection, which the library does not give away.
type hijacker struct {
	http.ResponseWriter
	nc net.Conn
}

func (h *hijacker) Hijack() (nc net.Conn, buf *bufio.ReadWriter, err error) {
	h.nc, buf, err = h.ResponseWriter.(http.Hijacker).Hijack()
	return h.nc, buf, err
}

func (x *xnet) dial(address string) (conn, error) {
	location, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	config, err := websocket.NewConfig(address, "http://"+location.Host)
	if err != nil {
		return nil, err
	}
	config.Protocol = x.subprotocols
	nc, err := new(net.Dialer).DialContext(context.Background(), "tcp", location.Host)
	if err != nil {
		return nil, err
	}
	c, err := websocket.NewClient(config, nc)
	if err != nil {
		return nil, errors.Join(err, nc.Close())
	}
	return xnetConn{c, nc}, nil
}

type xnetConn struct {
	c  *websocket.Conn
	nc net.Conn
}

var xnetCodec = websocket.Codec{
	Marshal: func(v any) (data []byte, payloadType byte, err error) {
		m := v.(*message)
		if m.text {
			return m.data, websocket.TextFrame, nil
		}
		return m.data, websocket.BinaryFrame, nil
	},
	Unmarshal: func(data []byte, payloadType byte, v any) error {
		*v.(*message) = message{payloadType == websocket.TextFrame, data}
		return nil
	},
}

// receive answers a Close, which the library does not.
func (c xnetConn) receive() (message, error) {
	var m message
	err := xnetCodec.Receive(c.c, &m)
	if err != nil {
		c.c.Close()
	}
	return m, err
}

func (c xnetConn) send(m message) error { return xnetCodec.Send(c.c, &m) }

func (c xnetConn) fragments(bool, [3][]byte) error { return errors.ErrUnsupported }

func (c xnetConn) ping(string, func()) error { return errors.ErrUnsupported }

func (c xnetConn) subprotocol() string { return c.c.Config().Protocol[0] }

func (c xnetConn) close(int, string) error { return errors.ErrUnsupported }

func (c xnetConn) cut() error { return c.nc.Close() }

func (c xnetConn) told(error) (code int, reason string, ok bool) { return 0, "", true }
