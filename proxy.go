package websocket

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
)

var (
	errProxyScheme = errors.New("the scheme is not http, https, socks5 or socks5h")
	errProxyHost   = errors.New("the URL has no host")
)

// proxyFor returns the proxy that the connection for req is to go through, or nil.
func (d *Dialer) proxyFor(ctx context.Context, req *http.Request) (*url.URL, error) {
	choose := d.Proxy
	if choose == nil {
		choose = http.ProxyFromEnvironment
	}
	proxy, err := choose(req.WithContext(ctx))
	switch {
	case err != nil:
		return nil, fmt.Errorf("websocket: choosing a proxy: %w", err)
	case proxy == nil:
		return nil, nil
	case proxy.Hostname() == "":
		return nil, fmt.Errorf("websocket: %w", proxyError(proxy, errProxyHost))
	}
	switch proxy.Scheme {
	case "http", "https", "socks5", "socks5h":
		return proxy, nil
	}
	return nil, fmt.Errorf("websocket: %w", proxyError(proxy, errProxyScheme))
}

func proxyError(proxy *url.URL, err error) error {
	return fmt.Errorf("proxy %s: %w", proxy.Redacted(), err)
}

// targetAddress returns the address that a proxy is asked for: without a zone, which means nothing
// there.
func targetAddress(u *url.URL) string {
	return net.JoinHostPort(withoutZone(u.Hostname()), cmp.Or(u.Port(), defaultPort(u.Scheme)))
}

// connect asks proxy, at the other end of nc, to connect us to address, and returns
// the connection that leads there.
//
// "If the user agent has been configured to use a proxy when using the WebSocket Protocol to
// connect to host /host/ and port /port/, then the client SHOULD connect to that proxy and ask
// it to open a TCP connection to the host given by /host/ and the port given by /port/."
// (section 4.1)
func (d *Dialer) connect(ctx context.Context, nc net.Conn, proxy *url.URL, address string) (net.Conn, error) {
	switch proxy.Scheme {
	case "http":
		return d.connectHTTP(nc, proxy, address)
	case "https":
		tc, err := d.secure(ctx, nc, proxy.Hostname())
		if err != nil {
			return nil, proxyError(proxy, err)
		}
		return d.connectHTTP(tc, proxy, address)
	}
	if err := connectSOCKS(nc, proxy.User, address); err != nil {
		return nil, proxyError(proxy, err)
	}
	return nc, nil
}

// connectHTTP is connect for a proxy that speaks HTTP (RFC 9110, section 9.3.6).
func (d *Dialer) connectHTTP(nc net.Conn, proxy *url.URL, address string) (net.Conn, error) {
	h := canonicalHeader(d.ProxyHeader)
	if u := proxy.User; u != nil && h["Proxy-Authorization"] == nil {
		password, _ := u.Password()
		h.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(u.Username()+":"+password)))
	}
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: address}, Host: address, Header: h}
	if err := writeRequest(nc, req); err != nil {
		return nil, proxyError(proxy, err)
	}
	in := &headReader{nc: nc, left: maxResponseHead}
	br := getResponseReader(in)
	defer putResponseReader(br)
	resp, err := readResponse(br, req)
	if malformed, ok := errors.AsType[*HandshakeError](err); ok && in.err == nil {
		return nil, &HandshakeError{Err: proxyError(proxy, malformed.Err)}
	}
	if err != nil {
		return nil, proxyError(proxy, cmp.Or(in.err, err))
	}
	// "A 2xx (Successful) response to CONNECT indicates that the [...] proxy has switched to
	// tunnel mode"
	if resp.StatusCode/100 != 2 {
		defer in.limitContent()()
		return nil, responseError(resp, fmt.Errorf("the proxy %s does not connect to %s", proxy.Redacted(), address))
	}
	if br.Buffered() == 0 {
		return nc, nil
	}
	early, _ := br.Peek(br.Buffered())
	return &earlyConn{nc, append([]byte(nil), early...)}, nil
}

// An earlyConn is a connection of which more was read than was asked for.
type earlyConn struct {
	net.Conn
	early []byte
}

func (c *earlyConn) Read(p []byte) (int, error) {
	if len(c.early) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.early)
	c.early = c.early[n:]
	return n, nil
}
