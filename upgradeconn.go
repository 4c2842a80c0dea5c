package websocket

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Limits on what a client may still do when it has been refused.
const (
	refusalTimeout = time.Second
	refusalExcess  = 2 << 20 // bytes that are read, and ignored
)

var errRequestTimeout = errors.New("the request was not received within the HandshakeTimeout")

// UpgradeConn is Upgrade for a connection that a [net.Listener] has accepted, without an
// [http.Server]. It reads the request from nc, which may be a [*tls.Conn], checks it as
// Upgrade does, and answers it. A server calls it in a goroutine for each connection.
//
// All of that has to be done within HandshakeTimeout: a client that has sent a part of its
// request by then is answered with status 408, if nc has deadlines. What is no request of
// HTTP/1.1 (RFC 9112) is answered with 400, a request line of more than 8 KiB with 414, and
// a header with more than 8 KiB in a field, 100 fields or 64 KiB with 431. When ctx ends,
// UpgradeConn closes nc and returns the cause; the connection that it returns does not end
// with ctx.
//
// The request is returned, with ctx for its context, if it could be parsed, so also with an
// error. An error is a [*HandshakeError] if the request was refused; to tell the client may
// take a second more. After an error, or a panic in one of the Upgrader's functions, nc is
// closed.
func (u *Upgrader) UpgradeConn(ctx context.Context, nc net.Conn) (*Conn, *http.Request, error) {
	began := now()
	c, r, err := u.upgradeWatched(ctx, nc)
	u.Trace.handshake(c, r, began, err)
	return c, r, err
}

// upgradeWatched does all that, and closes nc after an error or when ctx ends.
func (u *Upgrader) upgradeWatched(ctx context.Context, nc net.Conn) (c *Conn, r *http.Request, err error) {
	watched := ctx
	timeout := handshakeTimeout(u.HandshakeTimeout)
	if timeout > 0 && nc.SetDeadline(time.Now().Add(timeout)) != nil {
		limited, cancel := context.WithTimeoutCause(ctx, timeout, timeoutError(timeout))
		defer cancel()
		watched = limited
	}
	stop := func() bool { return true }
	if watched.Done() != nil { // it would cost allocations
		stop = context.AfterFunc(watched, func() { closeNow(nc) })
	}
	upgraded := false
	defer func() {
		if !upgraded {
			stop()
			closeNow(nc)
		}
	}()
	c, r, err = u.upgradeConn(ctx, nc, stop)
	switch {
	case err != nil && watched.Err() != nil:
		return nil, r, context.Cause(watched)
	case err != nil:
		return nil, r, err
	}
	upgraded = true
	return c, r, nil
}

func (u *Upgrader) upgradeConn(ctx context.Context, nc net.Conn, stop func() bool) (*Conn, *http.Request, error) {
	r, unread, err := receiveRequest(ctx, nc)
	var h http.Header
	var agreed agreement
	refused, ok := errors.AsType[*HandshakeError](err)
	switch {
	case ok:
	case err != nil:
		return nil, nil, fmt.Errorf("websocket: reading the request: %w", err)
	default:
		if u.Accept != nil {
			h = make(http.Header)
		}
		agreed, refused = u.check(r, h)
	}
	if refused != nil {
		refuse(nc, r, h, refused)
		return nil, r, refused
	}
	buf := getWriteBuffer()
	defer putWriteBuffer(buf)
	*buf = appendResponse(*buf, r.Header["Sec-Websocket-Key"][0], agreed, h)
	c, err := u.switchProtocols(nc, *buf, unread, agreed, stop)
	if err != nil {
		return nil, r, fmt.Errorf("websocket: sending the response: %w", err)
	}
	return c, r, nil
}

// Buffers for requests, as long as most of them take. A longer one is not kept.
var requestBuffers = sync.Pool{New: func() any { return new([4 << 10]byte) }}

// receiveRequest reads a request from nc, and returns what came behind it too.
func receiveRequest(ctx context.Context, nc net.Conn) (r *http.Request, unread []byte, err error) {
	raw := &rawRequest{Request: *new(http.Request).WithContext(ctx)}
	if tc, ok := nc.(*tls.Conn); ok {
		if err := tc.HandshakeContext(ctx); err != nil {
			return nil, nil, err
		}
		state := tc.ConnectionState()
		raw.TLS = &state
	}
	raw.RemoteAddr = addressString(nc.RemoteAddr())
	pooled := requestBuffers.Get().(*[4 << 10]byte)
	defer requestBuffers.Put(pooled)
	buf := pooled[:0]
	for s := (headScanner{}); ; {
		if len(buf) == cap(buf) {
			buf = slices.Grow(buf, len(buf))
		}
		n, err := readSome(nc, buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if err != nil {
			return nil, nil, requestError(err, len(buf) > 0)
		}
		head, refused := s.scan(buf)
		if head != nil {
			refused = raw.parse(head)
		}
		switch {
		case refused != nil:
			return nil, nil, refused
		case head != nil:
			return &raw.Request, bytes.Clone(buf[s.seen:]), nil
		}
	}
}

// requestError returns what is to be said of a request that could not be read for err, after some
// of it was or nothing.
func requestError(err error, begun bool) error {
	switch {
	case !begun:
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return finalRefusal(http.StatusRequestTimeout, errRequestTimeout)
	}
	return unexpectedEOF(err)
}

// addressString returns a as text, with fewer allocations for the usual address.
func addressString(a net.Addr) string {
	switch a := a.(type) {
	case nil:
		return ""
	case *net.TCPAddr:
		if ap := a.AddrPort(); ap.IsValid() {
			return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()).String()
		}
	}
	return a.String()
}

// refuse tells the client why r, nil if it was no request, is refused. What it still sends
// is ignored: to close the connection with that unread might lose the answer to a reset.
func refuse(nc net.Conn, r *http.Request, h http.Header, refused *HandshakeError) {
	defer endReading(nc, refusalTimeout)()
	nc.SetWriteDeadline(time.Now().Add(refusalTimeout))
	if _, err := nc.Write(appendRefusal(nil, r, h, refused)); err != nil {
		return
	}
	if half, ok := nc.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	}
	p := make([]byte, 4<<10)
	for left := refusalExcess; left > 0; {
		n, err := readSome(nc, p)
		if err != nil {
			return
		}
		left -= n
	}
}

// appendRefusal appends the response that refuses r, with the header h, which may be nil.
func appendRefusal(b []byte, r *http.Request, h http.Header, refused *HandshakeError) []byte {
	if h == nil {
		h = make(http.Header)
	}
	body := refused.response(h)
	h.Del("Transfer-Encoding")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	if !hasToken(h["Connection"], "close") {
		h.Add("Connection", "close")
	}
	// "A server MUST NOT send a Content-Length header field in any response with a status
	// code of [...] 204 (No Content)" (RFC 9110, section 8.6), nor content, as with 304.
	switch status := refused.StatusCode; {
	case status == http.StatusNoContent:
		h.Del("Content-Length")
		body = nil
	case status == http.StatusNotModified, r != nil && r.Method == http.MethodHead:
		body = nil
	}
	b = fmt.Appendf(b, "HTTP/1.1 %d %s\r\n", refused.StatusCode, http.StatusText(refused.StatusCode))
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, value := range h[name] {
			if isToken(name) && validFieldValue(value) { // as net/http does
				b = appendField(b, name, value)
			}
		}
	}
	return append(append(b, "\r\n"...), body...)
}
