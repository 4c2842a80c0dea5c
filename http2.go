package websocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// upgradeStream is Upgrade for a stream of HTTP/2 (RFC 8441, section 5), which is accepted by a 2xx status.
func (u *Upgrader) upgradeStream(w http.ResponseWriter, r *http.Request, agreed agreement) (*Conn, error) {
	s, err := takeOver(w, r)
	if err != nil {
		refused := misuse(fmt.Errorf("the stream cannot be taken over from a %T, which needs an Unwrap method: %w", w, err))
		answer(w, r, refused)
		return nil, refused
	}
	h := s.w.Header()
	maps.Copy(h, w.Header())
	if agreed.subprotocol != "" {
		h.Set("Sec-WebSocket-Protocol", agreed.subprotocol)
	}
	if agreed.extensions != "" {
		h.Set("Sec-WebSocket-Extensions", agreed.extensions)
	}
	s.w.WriteHeader(http.StatusOK)
	if err := s.rc.Flush(); err != nil {
		return nil, fmt.Errorf("websocket: sending the response: %w", err)
	}
	return newConn(s, nil, u.config(agreed)), nil
}

// takeOver returns the stream of r, to which w is the way.
func takeOver(w http.ResponseWriter, r *http.Request) (*serverStream, error) {
	w = innermost(w)
	rc := http.NewResponseController(w)
	// Those of the http.Server are not meant for us.
	err := errors.Join(rc.EnableFullDuplex(), rc.SetReadDeadline(time.Time{}), rc.SetWriteDeadline(time.Time{}))
	return &serverStream{w: w, r: r, rc: rc, unused: make(chan struct{})}, err
}

// innermost returns what w wraps: frames are not for others to change, as they are not with Hijack.
func innermost(w http.ResponseWriter) http.ResponseWriter {
	for {
		u, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return w
		}
		w = u.Unwrap()
	}
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

// serverStreamOf returns the stream that nc is, or nil.
func serverStreamOf(nc net.Conn) *serverStream {
	if p, ok := nc.(*pump); ok {
		nc = p.Conn
	}
	s, _ := nc.(*serverStream)
	return s
}

// awaitUnused waits until nc, if it is a serverStream, is not used any more. What net/http has for a
// stream is another's when the handler has returned.
func awaitUnused(nc net.Conn) {
	if s := serverStreamOf(nc); s != nil {
		<-s.unused
	}
}

func (s *serverStream) Read(p []byte) (int, error) { return s.r.Body.Read(p) }

func (s *serverStream) Write(p []byte) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.handlerReturned(&err)
	if s.closed || s.r.Context().Err() != nil {
		return 0, net.ErrClosed
	}
	n, err = s.w.Write(p)
	if err == nil {
		err = s.rc.Flush()
	}
	return n, err
}

// handlerReturned recovers if w was used when the handler had returned, which it must not. That is no
// reason for all of the process to end.
func (s *serverStream) handlerReturned(err *error) {
	if s.r.Context().Err() != nil && recover() != nil {
		*err = net.ErrClosed
	}
}

// Close has the stream not be used any more. It ends when the handler returns.
func (s *serverStream) Close() (err error) {
	s.closing.Lock()
	defer s.closing.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	if !s.mu.TryLock() {
		s.abortWrite()
		s.mu.Lock()
	}
	s.closed = true
	s.mu.Unlock()
	close(s.unused)
	return s.r.Body.Close()
}

// abortWrite ends a Write, and the stream with it.
func (s *serverStream) abortWrite() {
	var err error
	defer s.handlerReturned(&err)
	if s.r.Context().Err() == nil {
		s.rc.SetWriteDeadline(aLongTimeAgo)
	}
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
// is for HTTP/1.1. If there is no way to such a stream, so that the server was not asked, err says why.
func (d *Dialer) dialStream(ctx context.Context, req *http.Request) (c *Conn, resp *http.Response, wasAsked bool, err error) {
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, cancel)
	body, w := io.Pipe()
	s := &clientStream{w: w, cancel: cancel, local: streamAddr(""), remote: streamAddr(req.URL.Host)}
	var asked atomic.Bool
	life = httptrace.WithClientTrace(life, &httptrace.ClientTrace{
		GotConn:      s.gotConn,
		WroteHeaders: func() { asked.Store(true) },
	})
	resp, err = d.HTTP2.RoundTrip(extendedConnect(req, body).WithContext(life))
	if err != nil {
		s.Close()
		return nil, nil, asked.Load(), err
	}
	s.body = resp.Body
	d.keepCookies(req, resp)
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
	// A RoundTripper would add its own, and inflate all that comes.
	if h["User-Agent"] == nil {
		h["User-Agent"] = []string{""}
	}
	if h["Accept-Encoding"] == nil {
		h["Accept-Encoding"] = []string{"identity"}
	}
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

// Close resets the stream, unless it has ended.
func (s *clientStream) Close() error {
	s.cancel() // or closing the body may wait for the network
	s.w.Close()
	if s.body != nil {
		s.body.Close()
	}
	return nil
}

func (s *clientStream) LocalAddr() net.Addr  { return s.local }
func (s *clientStream) RemoteAddr() net.Addr { return s.remote }
