package websocket

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Dialer opens connections to servers (RFC 6455, section 4.1).
//
// It holds no state: it may be used by any number of goroutines, and copied to
// change a field for one connection. The zero value has safe limits.
type Dialer struct {
	// Subprotocols are offered to the server, the preferred one
	// first. Default: none.
	Subprotocols []string

	// Compression asks for permessage-deflate (RFC 7692), which is used if
	// the server knows it. Default: nil, none.
	Compression *Compression

	// ReadLimit is how many bytes a received message may have, after it
	// is inflated if it was compressed. A connection with a longer one is failed
	// with StatusMessageTooBig. Default: 1 MiB. Negative: no limit.
	ReadLimit int64

	// PingInterval is the time without a received byte after which
	// the peer is sent a Ping. Default: 30 s. Negative: never.
	PingInterval time.Duration

	// PingTimeout is the time without a received byte after such
	// a Ping, spent reading, after which the connection is taken
	// for lost. Default: 30 s. Negative: never.
	PingTimeout time.Duration

	// CloseTimeout limits the closing handshake, from the first Close frame
	// to the close of the network connection. Default: 5 s. Negative: no
	// time is spent waiting.
	CloseTimeout time.Duration

	// WriteTimeout is how long a write may make no progress before
	// the connection is failed. Default: 30 s. Negative: no limit.
	WriteTimeout time.Duration

	// Batching has messages leave together that are written while others
	// lie received and wait to be read, as answers to many small messages do. Conn.Write
	// and the like may return when a message of up to 16 KiB is in the connection's
	// buffer, of about 64 KiB. They wait for room in it only if it is full, or behind a
	// larger message, a Flush or a Ping that waits for the kernel itself.
	//
	// What is in the buffer is sent when a read finds no whole message received, at
	// 64 KiB, before a larger message, by Conn.Flush and Conn.Close, and after
	// a millisecond. If that fails, so does the connection, as the calls that follow
	// say. Over TLS, messages that came in one record are answered together. Default: off.
	Batching bool

	// HandshakeTimeout limits everything from the look-up of the host to
	// the response, besides the context. Default: 10 s. Negative: no limit.
	HandshakeTimeout time.Duration

	// Header is added to the request. A Host, Authorization or Cookie
	// replaces what the URL and Jar would give; Origin and User-Agent are not
	// sent otherwise. The handshake's own fields must not be in it: Upgrade,
	// Connection, Sec-WebSocket-*, Content-Length and Transfer-Encoding.
	// Default: none.
	Header http.Header

	// TLSConfig is for wss and https. It is cloned, with http/1.1 as the one
	// protocol to negotiate, and the URL's host for the ServerName if that is
	// empty. It is for an https proxy too, with the ServerName of that.
	// Default: the zero configuration.
	TLSConfig *tls.Config

	// DialContext makes the network connection. It must return when its context
	// ends. Default: that of the zero [net.Dialer].
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)

	// Proxy returns the URL of the proxy for a request, to an http or https URL, or nil for none. The
	// scheme of a proxy is http or https, which is asked by CONNECT, or socks5 or socks5h, which
	// mean the same: the proxy looks up the host. A user name and password in
	// the URL are sent to it. Default: [http.ProxyFromEnvironment], which goes by HTTP_PROXY,
	// HTTPS_PROXY and NO_PROXY. DialConn uses none.
	Proxy func(*http.Request) (*url.URL, error)

	// ProxyHeader is added to CONNECT requests. A Proxy-Authorization replaces what the
	// URL of the proxy would give; Host must not be in it, nor what Header must not have.
	// Default: none.
	ProxyHeader http.Header

	// HTTP2 opens the connection on a stream of HTTP/2 (RFC 8441), if the server knows that, and
	// otherwise Dial goes on with HTTP/1.1. It must be able to send a header field
	// called :protocol, such as that of golang.org/x/net/http2; DialContext, TLSConfig and Proxy
	// are its own. Default: HTTP/1.1 only.
	HTTP2 http.RoundTripper

	// Trace is told what happens, see there. Default: nobody is.
	Trace *Trace

	// Jar has the cookies for the request, and gets those of the response,
	// for an http or https URL. If Header has a Cookie, only that
	// is sent. Default: none.
	Jar http.CookieJar
}

// Limits on what a server may answer.
const (
	maxResponseHead   = 64 << 10 // bytes before the first frame or the content
	maxResponseFields = 100      // of a header
	maxInformational  = 5        // 1xx responses before the one that counts
	maxResponseBody   = 4 << 10  // bytes of a refusal to be kept
	bodyTimeout       = time.Second
)

var (
	errProxyHeaderHost = errors.New("websocket: Dialer.ProxyHeader: the Host is that of the server")

	errResponseHead  = errors.New("the header of the response is too large")
	errInformational = errors.New("too many 1xx responses")
)

// Dial opens a connection with the zero [Dialer].
func Dial(ctx context.Context, url string) (*Conn, *http.Response, error) {
	return new(Dialer).Dial(ctx, url)
}

// Dial opens a connection to the server at url, whose scheme is ws or
// wss, or http or https, which mean the same. A fragment is not sent, a user name and
// password are sent as Basic Authorization. Redirects are not followed.
//
// ctx, together with HandshakeTimeout, limits the time that Dial takes; its
// cause is the error then. It does not matter to the connection afterwards.
//
// A server that answers otherwise than by completing the handshake gives a
// [*HandshakeError]. The response is returned with it, if there was one, and on
// success. Its Body is what [HandshakeError] keeps of it, in memory: there is
// nothing to close.
func (d *Dialer) Dial(ctx context.Context, url string) (*Conn, *http.Response, error) {
	req, err := d.newRequest(url)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := d.withTimeout(ctx)
	defer cancel()
	began := now()
	c, resp, err := d.open(ctx, req)
	d.Trace.handshake(c, req, began, err)
	return c, resp, err
}

// openItself opens a connection for req over the network.
func (d *Dialer) openItself(ctx context.Context, req *http.Request) (*Conn, *http.Response, error) {
	if d.HTTP2 == nil {
		return d.dial(ctx, req)
	}
	c, resp, asked, err := d.dialStream(ctx, req)
	if asked || ctx.Err() != nil {
		if err != nil {
			err = dialError(ctx, err)
		}
		return c, resp, err
	}
	c, resp, fallback := d.dial(ctx, req)
	if fallback != nil && ctx.Err() == nil {
		fallback = fmt.Errorf("%w (and over HTTP/2: %v)", fallback, err)
	}
	return c, resp, fallback
}

// dial opens a connection for req over HTTP/1.1.
func (d *Dialer) dial(ctx context.Context, req *http.Request) (*Conn, *http.Response, error) {
	proxy, err := d.proxyFor(ctx, req)
	if err != nil {
		return nil, nil, err
	}
	dial := d.DialContext
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	address := dialAddress(req.URL)
	if proxy != nil {
		address = dialAddress(proxy)
	}
	nc, err := dial(ctx, "tcp", address)
	if err != nil {
		return nil, nil, dialError(ctx, err)
	}
	return d.handshake(ctx, nc, proxy, req)
}

// DialConn is like [Dialer.Dial], but uses nc as the network connection, over which it
// does a TLS handshake if the scheme is wss or https. It closes nc if it fails.
func (d *Dialer) DialConn(ctx context.Context, nc net.Conn, url string) (*Conn, *http.Response, error) {
	req, err := d.newRequest(url)
	if err != nil {
		nc.Close()
		return nil, nil, err
	}
	ctx, cancel := d.withTimeout(ctx)
	defer cancel()
	began := now()
	c, resp, err := d.handshake(ctx, nc, nil, req)
	d.Trace.handshake(c, req, began, err)
	return c, resp, err
}

// withTimeout returns a context that ends with ctx,
// or when the handshake takes too long.
func (d *Dialer) withTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	timeout := handshakeTimeout(d.HandshakeTimeout)
	if timeout < 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, timeout, timeoutError(timeout))
}

// A timeoutError says that the opening handshake took longer than it may.
type timeoutError time.Duration

func (e timeoutError) Error() string {
	return fmt.Sprintf("websocket: opening handshake not complete within %v: %v", time.Duration(e), e.Unwrap())
}

func (e timeoutError) Unwrap() error { return context.DeadlineExceeded }

// dialError returns err as the user gets it: the server's answer, or the cause of ctx if
// that has ended. A net.Dialer watches the deadline of ctx too, and may be the first to see it.
func dialError(ctx context.Context, err error) error {
	if _, ok := err.(*HandshakeError); ok {
		return err
	}
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		<-ctx.Done()
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("websocket: %w", err)
}

// newRequest returns the request that is the opening handshake.
func (d *Dialer) newRequest(rawURL string) (*http.Request, error) {
	u, host, err := parseURL(rawURL)
	if err != nil {
		return nil, fmt.Errorf("websocket: %w", err)
	}
	if err := checkSubprotocols(d.Subprotocols); err != nil {
		return nil, fmt.Errorf("websocket: Dialer.Subprotocols: %w", err)
	}
	if err := d.Compression.check(); err != nil {
		return nil, fmt.Errorf("websocket: Dialer.Compression: %w", err)
	}
	req := &http.Request{
		Method:     http.MethodGet,
		URL:        u,
		Proto:      "HTTP/1.1",
		ProtoMajor: 1,
		ProtoMinor: 1,
		Header:     d.header(u),
		Host:       host,
	}
	if err := checkHeader(req.Header); err != nil {
		return nil, fmt.Errorf("websocket: Dialer.Header: %w", err)
	}
	if err := checkHeader(d.ProxyHeader); err != nil {
		return nil, fmt.Errorf("websocket: Dialer.ProxyHeader: %w", err)
	}
	for name := range d.ProxyHeader {
		if equalFold(name, "Host") {
			return nil, errProxyHeaderHost
		}
	}
	if host, ok := req.Header["Host"]; ok {
		if len(host) != 1 || !validAuthority(host[0]) {
			return nil, fmt.Errorf("websocket: Dialer.Header: invalid Host %q", host)
		}
		req.Host = host[0]
		delete(req.Header, "Host")
	}
	d.addHandshake(req.Header)
	return req, nil
}

// parseURL parses the URL of a server, in the form in which net/http knows it,
// and returns the Host header field for it too.
//
// "Fragment identifiers are meaningless in the context of WebSocket URIs
// and MUST NOT be used on these URIs." (section 3)
func parseURL(rawURL string) (u *url.URL, host string, err error) {
	u, err = url.Parse(rawURL)
	if err != nil {
		// The text of err has the URL, and even the reason may have a part of the password.
		if strings.Contains(rawURL, "@") {
			return nil, "", errors.New("invalid URL")
		}
		return nil, "", fmt.Errorf("invalid URL: %w", err.(*url.Error).Err)
	}
	switch u.Scheme {
	case "ws":
		u.Scheme = "http"
	case "wss":
		u.Scheme = "https"
	case "http", "https":
	default:
		return nil, "", fmt.Errorf("scheme %q is not ws, wss, http or https", u.Scheme)
	}
	host = hostField(u)
	if !validAuthority(host) || u.Hostname() == "" {
		return nil, "", fmt.Errorf("invalid host %q of the URL", u.Host)
	}
	u.Fragment, u.RawFragment = "", ""
	u.RawQuery = escapeQuery(u.RawQuery)
	return u, host, nil
}

// escapeQuery percent-encodes what may not be in the query of a
// request, and leaves the rest as it is.
func escapeQuery(query string) string {
	var b []byte
	for i := range len(query) {
		if c := query[i]; c <= ' ' || c >= 0x7f {
			b = fmt.Appendf(b, "%%%02X", c)
		} else {
			b = append(b, c)
		}
	}
	return string(b)
}

// validAuthority reports whether s may be in a Host header field.
func validAuthority(s string) bool {
	host, _, ok := splitHostPort(s)
	return ok && host != ""
}

// hostField returns the Host header field for u: without the zone of an IPv6
// address, which means nothing to others (RFC 6874, section 1).
//
// "The request MUST contain a |Host| header field whose value contains
// /host/ plus optionally ":" followed by /port/ (when not using the default
// port)." (section 4.1)
func hostField(u *url.URL) string {
	host := withoutZone(u.Hostname())
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port := u.Port(); port != "" && port != defaultPort(u.Scheme) {
		host += ":" + port
	}
	return host
}

// withoutZone cuts the zone off an IPv6 address.
func withoutZone(host string) string {
	if address, _, ok := strings.Cut(host, "%"); ok && strings.Contains(address, ":") {
		return address
	}
	return host
}

// dialAddress returns the address that u is to be found at.
func dialAddress(u *url.URL) string {
	if u.Port() != "" {
		return u.Host
	}
	return net.JoinHostPort(u.Hostname(), defaultPort(u.Scheme))
}

// canonicalHeader returns a copy of h whose names are as package http has them.
func canonicalHeader(h http.Header) http.Header {
	canonical := make(http.Header)
	for name, values := range h {
		name = http.CanonicalHeaderKey(name)
		canonical[name] = append(canonical[name], values...)
	}
	return canonical
}

// header returns d.Header, and what goes with the URL. If d.Header has
// an Authorization or a Cookie, even an empty list of them, that is all there is.
func (d *Dialer) header(u *url.URL) http.Header {
	h := canonicalHeader(d.Header)
	req := http.Request{Header: h}
	if _, ok := h["Authorization"]; !ok && u.User != nil {
		password, _ := u.User.Password()
		req.SetBasicAuth(u.User.Username(), password)
	}
	if _, ok := h["Cookie"]; !ok && d.Jar != nil {
		for _, c := range d.Jar.Cookies(u) {
			req.AddCookie(c)
		}
	}
	return h
}

// addHandshake adds to h the header fields that make it an opening handshake.
//
// "The value of this header field MUST be a nonce consisting of a randomly
// selected 16-byte value that has been base64-encoded [...]. The nonce MUST
// be selected randomly for each connection." (section 4.1)
func (d *Dialer) addHandshake(h http.Header) {
	var nonce [16]byte
	rand.Read(nonce[:])
	// One allocation instead of four.
	values := []string{"websocket", "Upgrade", base64.StdEncoding.EncodeToString(nonce[:]), webSocketVersion}
	for i, name := range [...]string{"Upgrade", "Connection", "Sec-Websocket-Key", "Sec-Websocket-Version"} {
		h[name] = values[i : i+1 : i+1]
	}
	if len(d.Subprotocols) > 0 {
		h["Sec-Websocket-Protocol"] = []string{strings.Join(d.Subprotocols, ", ")}
	}
	if d.Compression != nil {
		h["Sec-Websocket-Extensions"] = []string{d.Compression.offer()}
	}
}

// appendRequest appends req as it goes over the wire.
func appendRequest(b []byte, req *http.Request) []byte {
	b = append(append(b, req.Method...), ' ')
	b = append(append(b, req.URL.RequestURI()...), " HTTP/1.1\r\n"...)
	b = appendField(b, "Host", req.Host)
	names := make([]string, 0, 16) // room for most
	for name := range req.Header {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, value := range req.Header[name] {
			b = appendField(b, name, value)
		}
	}
	return append(b, "\r\n"...)
}

// handshake does the opening handshake over nc, which leads to the proxy, if that is not nil. It
// closes nc if it fails.
func (d *Dialer) handshake(ctx context.Context, nc net.Conn, proxy *url.URL, req *http.Request) (*Conn, *http.Response, error) {
	// To close the connection is what ends every wait on it.
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	c, resp, err := d.converse(ctx, nc, proxy, req, stop)
	if err != nil {
		stop()
		nc.Close()
		return nil, resp, dialError(ctx, err)
	}
	return c, resp, nil
}

// converse sends the request and reads the response. stop keeps the end of ctx from closing the connection,
// and reports whether it does.
func (d *Dialer) converse(ctx context.Context, nc net.Conn, proxy *url.URL, req *http.Request, stop func() bool) (*Conn, *http.Response, error) {
	if proxy != nil {
		var err error
		if nc, err = d.connect(ctx, nc, proxy, targetAddress(req.URL)); err != nil {
			return nil, nil, err
		}
	}
	var state *tls.ConnectionState
	if req.URL.Scheme == "https" {
		tc, err := d.secure(ctx, nc, cmp.Or(d.serverName(), req.URL.Hostname()))
		if err != nil {
			return nil, nil, err
		}
		connected := tc.ConnectionState()
		nc, state = tc, &connected
	}
	if err := writeRequest(nc, req); err != nil {
		return nil, nil, err
	}
	in := &headReader{nc: nc, left: maxResponseHead}
	br := getResponseReader(in)
	defer putResponseReader(br)
	resp, err := readResponse(br, req)
	if err != nil {
		return nil, nil, cmp.Or(in.err, err)
	}
	resp.TLS = state
	d.keepCookies(req, resp)
	agreed, err := checkResponse(resp, req.Header.Get("Sec-Websocket-Key"), d.Subprotocols, d.Compression)
	if err != nil {
		defer in.limitContent()()
		return nil, resp, responseError(resp, err)
	}
	nc.SetDeadline(time.Time{}) // a net.Conn may have none
	if !stop() {
		return nil, nil, context.Cause(ctx)
	}
	unread, _ := br.Peek(br.Buffered()) // which cannot fail
	if e, ok := nc.(*earlyConn); ok && len(e.early) == 0 {
		nc = e.Conn
	}
	return newConn(nc, unread, d.config(agreed)), resp, nil
}

// config returns how a connection is to be on which that was agreed.
func (d *Dialer) config(agreed agreement) connConfig {
	cfg := connDefaults(d.ReadLimit, d.PingInterval, d.PingTimeout, d.CloseTimeout, d.WriteTimeout)
	cfg.side, cfg.subprotocol, cfg.compression = clientSide, agreed.subprotocol, agreed.compression
	cfg.batching, cfg.trace = d.Batching, newConnTrace(d.Trace)
	return cfg
}

// keepCookies puts the cookies of the response into the Jar.
func (d *Dialer) keepCookies(req *http.Request, resp *http.Response) {
	if cookies := resp.Cookies(); d.Jar != nil && len(cookies) > 0 {
		d.Jar.SetCookies(req.URL, cookies)
	}
}

// secure does a TLS handshake with the server of that name.
func (d *Dialer) secure(ctx context.Context, nc net.Conn, serverName string) (*tls.Conn, error) {
	cfg := d.TLSConfig.Clone()
	if cfg == nil {
		cfg = new(tls.Config)
	}
	cfg.ServerName = withoutZone(serverName)
	// A server that may choose h2 chooses it, and there is no Upgrade then.
	cfg.NextProtos = []string{"http/1.1"}
	tc := tls.Client(nc, cfg)
	return tc, tc.HandshakeContext(ctx)
}

// serverName returns the ServerName of the TLSConfig, or "".
func (d *Dialer) serverName() string {
	if d.TLSConfig == nil {
		return ""
	}
	return d.TLSConfig.ServerName
}

// writeRequest sends req, in one Write.
func writeRequest(nc net.Conn, req *http.Request) error {
	b := getWriteBuffer()
	defer putWriteBuffer(b)
	*b = appendRequest(*b, req)
	_, err := nc.Write(*b)
	return err
}

// A headReader reads what comes before the first frame or the content. It keeps the
// reason for which it cannot, other than the end of the stream: net/http's errors do not
// tell that from a fault of the response.
type headReader struct {
	nc   net.Conn
	left int // what may yet be read
	err  error
}

func (r *headReader) Read(p []byte) (int, error) {
	if r.left == 0 {
		r.err = &HandshakeError{Err: errResponseHead}
		return 0, r.err
	}
	n, err := r.nc.Read(p[:min(len(p), r.left)])
	r.left -= n
	if err != io.EOF {
		r.err = err
	}
	return n, err
}

// limitContent has r read content, for a time at the most. stop ends that.
func (r *headReader) limitContent() (stop func() bool) {
	r.left = math.MaxInt
	return endReading(r.nc, bodyTimeout)
}

// endReading has reads from nc fail in a while, by its deadline or, if it has none, by closing
// it, unless stop is called before.
func endReading(nc net.Conn, d time.Duration) (stop func() bool) {
	if nc.SetReadDeadline(time.Now().Add(d)) == nil {
		return func() bool { return true }
	}
	return time.AfterFunc(d, func() { closeNow(nc) }).Stop
}

var responseReaders = sync.Pool{New: func() any { return bufio.NewReader(nil) }}

func getResponseReader(r io.Reader) *bufio.Reader {
	br := responseReaders.Get().(*bufio.Reader)
	br.Reset(r)
	return br
}

func putResponseReader(br *bufio.Reader) {
	br.Reset(nil)
	responseReaders.Put(br)
}

// readResponse reads the first response that is not an interim one. What br
// has behind its header is the content or the first frames.
func readResponse(br *bufio.Reader, req *http.Request) (*http.Response, error) {
	for range maxInformational + 1 {
		resp, err := http.ReadResponse(br, req)
		switch {
		case err == io.ErrUnexpectedEOF:
			return nil, err
		case err != nil:
			return nil, &HandshakeError{Err: err}
		case fields(resp.Header) > maxResponseFields:
			return nil, &HandshakeError{Err: errResponseHead}
		case resp.StatusCode < 100 || resp.StatusCode > 199 || resp.StatusCode == http.StatusSwitchingProtocols:
			return resp, nil
		}
	}
	return nil, &HandshakeError{Err: errInformational}
}

// fields returns how many header fields h has.
func fields(h http.Header) (n int) {
	for _, values := range h {
		n += len(values)
	}
	return n
}

// responseError returns the error for a response that failed a check,
// and leaves in the response what it holds of the content.
func responseError(resp *http.Response, failed error) *HandshakeError {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxResponseBody)) // as much as comes in time
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return &HandshakeError{StatusCode: resp.StatusCode, Header: resp.Header, Body: body, Err: failed}
}
