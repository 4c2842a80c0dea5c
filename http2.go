package websocket

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"os"
	"sync"
	"time"
)

// upgradeStream is Upgrade for a stream of HTTP/2 (RFC 8441, section 5).
//
// "The final Sec-WebSocket-Accept [...] is not used [...]. If the server accepts, it sends a
// HEADERS frame with a 2xx status."
func (u *Upgrader) upgradeStream(w http.ResponseWriter, r *http.Request, agreed agreement) (*Conn, error) {
	h := w.Header()
	if agreed.subprotocol != "" {
		h.Set("Sec-WebSocket-Protocol", agreed.subprotocol)
	}
	if agreed.extensions != "" {
		h.Set("Sec-WebSocket-Extensions", agreed.extensions)
	}
	s := &serverStream{w: w, r: r, rc: http.NewResponseController(w), unused: make(chan struct{})}
	s.rc.EnableFullDuplex() // as it is over HTTP/2, unless w is wrapped
	s.rc.SetReadDeadline(time.Time{})
	s.rc.SetWriteDeadline(time.Time{})
	w.WriteHeader(http.StatusOK)
	if err := s.rc.Flush(); err != nil {
		return nil, fmt.Errorf("websocket: sending the response: %w", err)
	}
	c := newConn(s, nil, u.config(agreed))
	// A handler that returns, or panics, without closing the connection has ended it.
	context.AfterFunc(r.Context(), func() {
		c.lose(io.EOF)
		c.closeSocketNow()
	})
	return c, nil
}

// noDeadline is for a stream whose deadlines, once they have passed, end it.
type noDeadline struct{}

func (noDeadline) SetDeadline(time.Time) error      { return os.ErrNoDeadline }
func (noDeadline) SetReadDeadline(time.Time) error  { return os.ErrNoDeadline }
func (noDeadline) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }

// A serverStream is a stream of an http.Server, while its handler runs.
type serverStream struct {
	noDeadline
	w  http.ResponseWriter
	r  *http.Request
	rc *http.ResponseController

	closing sync.Mutex    // before mu
	mu      sync.Mutex    // held while w is written
	closed  bool          // changed by the holder of both
	unused  chan struct{} // closed when w is not used any more
}

// awaitUnused waits until nc, if it is a serverStream, is not used any more. What net/http has for a
// stream is another's when the handler has returned.
func awaitUnused(nc net.Conn) {
	if p, ok := nc.(*pump); ok {
		nc = p.Conn
	}
	if s, ok := nc.(*serverStream); ok {
		<-s.unused
	}
}

func (s *serverStream) Read(p []byte) (int, error) { return s.r.Body.Read(p) }

func (s *serverStream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, net.ErrClosed
	}
	n, err := s.w.Write(p)
	if err == nil {
		err = s.rc.Flush()
	}
	return n, err
}

// Close has the stream not be used any more. It ends when the handler returns.
func (s *serverStream) Close() error {
	s.closing.Lock()
	defer s.closing.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	if !s.mu.TryLock() {
		s.rc.SetWriteDeadline(aLongTimeAgo) // which resets the stream, and so ends the Write
		s.mu.Lock()
	}
	s.closed = true
	s.mu.Unlock()
	close(s.unused)
	return s.r.Body.Close()
}

func (s *serverStream) LocalAddr() net.Addr {
	if a, ok := s.r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		return a
	}
	return streamAddr("")
}

func (s *serverStream) RemoteAddr() net.Addr {
	if ap, err := netip.ParseAddrPort(s.r.RemoteAddr); err == nil {
		return net.TCPAddrFromAddrPort(ap)
	}
	return streamAddr(s.r.RemoteAddr)
}

// A streamAddr is the address of an end that is not known better.
type streamAddr string

func (streamAddr) Network() string  { return "http2" }
func (a streamAddr) String() string { return string(a) }

// dialStream opens a connection on a stream of HTTP/2 (RFC 8441, section 5), with what req says, which
// is for HTTP/1.1. If there is no way to such a stream, answered is false, and err says why.
func (d *Dialer) dialStream(ctx context.Context, req *http.Request) (c *Conn, resp *http.Response, answered bool, err error) {
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, cancel)
	body, w := io.Pipe()
	s := &clientStream{w: w, cancel: cancel}
	life = httptrace.WithClientTrace(life, &httptrace.ClientTrace{GotConn: s.gotConn})
	resp, err = d.HTTP2.RoundTrip(extendedConnect(req, body).WithContext(life))
	if err != nil {
		s.Close()
		return nil, nil, false, err
	}
	s.body = resp.Body
	agreed, err := checkStreamResponse(resp, d.Subprotocols, d.Compression)
	if err != nil {
		// What comes in time of the content is kept.
		timer := time.AfterFunc(bodyTimeout, cancel)
		defer timer.Stop()
		err = responseError(resp, err)
		s.Close()
		return nil, resp, true, err
	}
	resp.Body = http.NoBody
	d.keepCookies(req, resp)
	if !stop() {
		s.Close()
		return nil, nil, true, context.Cause(ctx)
	}
	return newConn(s, nil, d.config(agreed)), resp, true, nil
}

// extendedConnect returns what req, the opening handshake of HTTP/1.1, is on a stream of HTTP/2.
//
// "The pseudo-header field :protocol MUST have a value of "websocket" [...]. Implementations using
// this extended CONNECT to bootstrap WebSockets do not do the processing of the Sec-WebSocket-Key and
// Sec-WebSocket-Accept header fields [...]. Origin, Sec-WebSocket-Version, Sec-WebSocket-Protocol, and
// Sec-WebSocket-Extensions" are used as before (RFC 8441, section 5).
func extendedConnect(req *http.Request, body io.ReadCloser) *http.Request {
	h := maps.Clone(req.Header)
	for _, name := range []string{"Connection", "Upgrade", "Sec-Websocket-Key"} {
		delete(h, name)
	}
	h[":protocol"] = []string{"websocket"}
	return &http.Request{
		Method:        http.MethodConnect,
		URL:           req.URL,
		Host:          req.Host,
		Header:        h,
		Body:          body,
		ContentLength: -1,
	}
}

// A clientStream is a stream of an http.RoundTripper.
type clientStream struct {
	noDeadline
	w      *io.PipeWriter
	body   io.ReadCloser // nil before the response
	cancel func()

	local, remote net.Addr
}

// gotConn notes the addresses of the connection that the stream is on.
func (s *clientStream) gotConn(info httptrace.GotConnInfo) {
	s.local, s.remote = info.Conn.LocalAddr(), info.Conn.RemoteAddr()
}

func (s *clientStream) Read(p []byte) (int, error)  { return s.body.Read(p) }
func (s *clientStream) Write(p []byte) (int, error) { return s.w.Write(p) }

// Close ends the stream: our half of it as it should, and the other by a reset, unless it
// has ended.
func (s *clientStream) Close() error {
	s.w.Close()
	if s.body != nil {
		s.body.Close()
	}
	s.cancel()
	return nil
}

func (s *clientStream) LocalAddr() net.Addr  { return s.local }
func (s *clientStream) RemoteAddr() net.Addr { return s.remote }
