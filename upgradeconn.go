package websocket

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"time"
)

// Limits on what a client may still do when it has been refused.
const (
	refusalTimeout = time.Second
	refusalExcess  = 256 << 10 // bytes that are read, and ignored
)

var errRequestTimeout = errors.New("the request was not received within the HandshakeTimeout")

// UpgradeConn is Upgrade for a connection that a [net.Listener] has accepted, without an
// [http.Server]. It reads the request from nc, which may be a [tls.Conn], checks it as
// Upgrade does, and answers it. A server calls it in a goroutine for each connection.
//
// The request has to come within HandshakeTimeout, or is answered with status 408. What is no
// request of HTTP/1.1 (RFC 9112) is answered with 400, a request line of more than 8 KiB with
// 414, and a header with more than 8 KiB in a field, 100 fields or 64 KiB with 431. When
// ctx ends, UpgradeConn closes nc and returns the cause; the connection that it returns does
// not end with ctx.
//
// The request is returned, with ctx for its context, if it could be parsed, so also with an
// error. After an error nc is closed; if the client was told why, which may take a second,
// it is a [*HandshakeError] with the answer.
func (u *Upgrader) UpgradeConn(ctx context.Context, nc net.Conn) (*Conn, *http.Request, error) {
	watched := ctx
	timeout := handshakeTimeout(u.HandshakeTimeout)
	if timeout > 0 && nc.SetDeadline(time.Now().Add(timeout)) != nil {
		limited, cancel := context.WithTimeoutCause(ctx, timeout, timeoutError(timeout))
		defer cancel()
		watched = limited
	}
	stop := func() bool { return true }
	if watched.Done() != nil {
		stop = context.AfterFunc(watched, func() { closeNow(nc) })
	}
	c, r, err := u.upgradeConn(ctx, nc)
	switch {
	case !stop():
		if c != nil {
			c.CloseNow()
		}
		return nil, r, context.Cause(watched)
	case err != nil:
		closeNow(nc)
		return nil, r, err
	}
	return c, r, nil
}

func (u *Upgrader) upgradeConn(ctx context.Context, nc net.Conn) (*Conn, *http.Request, error) {
	buf := getWriteBuffer()
	defer putWriteBuffer(buf)
	r, unread, err := receiveRequest(ctx, nc, buf)
	refused, _ := errors.AsType[*HandshakeError](err)
	switch {
	case refused != nil:
	case errors.Is(err, os.ErrDeadlineExceeded):
		refused = finalRefusal(http.StatusRequestTimeout, errRequestTimeout)
	case err != nil:
		return nil, nil, fmt.Errorf("websocket: reading the request: %w", err)
	}

	var h http.Header
	if u.Accept != nil {
		h = make(http.Header)
	}
	var agreed agreement
	if refused == nil {
		agreed, refused = u.check(r, h)
	}
	if refused != nil {
		refuse(nc, r, refused)
		return nil, r, refused
	}
	free := (*buf)[len(*buf):] // behind what is unread
	c, err := u.switchProtocols(nc, free, unread, agreed, r.Header["Sec-Websocket-Key"][0], h)
	if err != nil {
		return nil, r, fmt.Errorf("websocket: sending the response: %w", err)
	}
	return c, r, nil
}

// receiveRequest reads a request from nc into buf, and returns it and what came behind it.
func receiveRequest(ctx context.Context, nc net.Conn, buf *[]byte) (r *http.Request, unread []byte, err error) {
	raw := &rawRequest{Request: *new(http.Request).WithContext(ctx)}
	if tc, ok := nc.(*tls.Conn); ok {
		if err := tc.HandshakeContext(ctx); err != nil {
			return nil, nil, err
		}
		state := tc.ConnectionState()
		raw.TLS = &state
	}
	var s headScanner
	for {
		*buf = slices.Grow(*buf, 2<<10)
		n, err := readSome(nc, (*buf)[len(*buf):cap(*buf)])
		if err == io.EOF && len(*buf) > 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, nil, err
		}
		*buf = (*buf)[:len(*buf)+n]
		head, refused := s.scan(*buf)
		if refused == nil && head != nil {
			raw.RemoteAddr = addressString(nc.RemoteAddr())
			refused = raw.parse(head)
		}
		switch {
		case refused != nil:
			return nil, nil, refused
		case head != nil:
			return &raw.Request, (*buf)[s.seen:], nil
		}
	}
}

// addressString returns a as text, with fewer allocations for the usual address.
func addressString(a net.Addr) string {
	switch a := a.(type) {
	case nil:
		return ""
	case *net.TCPAddr:
		ap := a.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()).String()
	}
	return a.String()
}

// refuse tells the client why the request, nil if there was none, is refused. What it still
// sends is ignored, so that the answer is not lost to a reset.
func refuse(nc net.Conn, r *http.Request, refused *HandshakeError) {
	nc.SetDeadline(time.Now().Add(refusalTimeout))
	if _, err := nc.Write(appendRefusal(nil, r, refused)); err != nil {
		return
	}
	if half, ok := nc.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
		io.CopyN(io.Discard, nc, refusalExcess)
	}
}

// appendRefusal appends the response that refuses r.
func appendRefusal(b []byte, r *http.Request, refused *HandshakeError) []byte {
	h := make(http.Header)
	body := refused.response(h)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	h.Del("Transfer-Encoding")
	if !hasToken(h["Connection"], "close") {
		h.Add("Connection", "close")
	}
	b = append(append(append(b, "HTTP/1.1 "...), statusLine(refused.StatusCode)...), "\r\n"...)
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, value := range h[name] {
			if isToken(name) && validFieldValue(value) { // as net/http does
				b = appendField(b, name, value)
			}
		}
	}
	b = append(b, "\r\n"...)
	if r != nil && r.Method == http.MethodHead {
		return b
	}
	return append(b, body...)
}
