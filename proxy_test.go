package websocket

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"time"
)

// A testProxy is a proxy that connects to one address, whatever it is asked for.
type testProxy struct {
	*httptest.Server
	target string // address, or "": the one asked for
	early  string // comes right behind the response
	answer func(w http.ResponseWriter) bool

	mu   sync.Mutex
	asks []*http.Request
}

func (p *testProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.asks = append(p.asks, r)
	p.mu.Unlock()
	if p.answer != nil && p.answer(w) {
		return
	}
	target := p.target
	if target == "" {
		target = r.Host
	}
	far, err := net.Dial("tcp", target)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer far.Close()
	near, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer near.Close()
	io.WriteString(near, "HTTP/1.1 200 Connection established\r\n\r\n"+p.early)
	done := async(func() error { _, err := io.Copy(far, buffered); far.Close(); return err })
	io.Copy(near, far)
	near.Close()
	<-done
}

func (p *testProxy) asked(t testing.TB) *http.Request {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.asks) != 1 {
		t.Fatalf("the proxy was asked %d times", len(p.asks))
	}
	return p.asks[0]
}

// startProxy starts p, over TLS or not.
func startProxy(t testing.TB, p *testProxy, secure bool) *url.URL {
	t.Helper()
	p.Server = httptest.NewUnstartedServer(p)
	p.Config.ErrorLog = log.New(io.Discard, "", 0) // a client that does not trust it is no news
	if secure {
		p.StartTLS()
	} else {
		p.Start()
	}
	t.Cleanup(p.Close)
	u, err := url.Parse(p.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// startEcho starts a WebSocket server that echoes.
func startEcho(t testing.TB, secure bool) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(nil)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	u := &Upgrader{Accept: func(r *http.Request, _ http.Header) error {
		if len(r.Header["Proxy-Authorization"]) > 0 {
			return errors.New("what is the proxy's has come to the server")
		}
		return nil
	}}
	s.Config.Handler = u.Handler(func(http.ResponseWriter, *http.Request) (func(context.Context, *Conn), error) {
		return func(ctx context.Context, c *Conn) {
			for m, err := range c.Messages(ctx) {
				if err != nil || c.Write(ctx, m.Type, m.Data) != nil {
					return
				}
			}
		}, nil
	})
	if secure {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}

// through returns a Dialer that uses the proxy, and trusts servers of package httptest, which have
// one certificate.
func through(proxy *url.URL) *Dialer {
	d := &Dialer{Proxy: http.ProxyURL(proxy)}
	_, client := tlsConfigs()
	d.TLSConfig = client.Clone()
	d.TLSConfig.ServerName = ""
	return d
}

// wantEcho checks that a connection works, and closes it.
func wantEcho(t testing.TB, c *Conn) {
	t.Helper()
	if err := c.Write(t.Context(), MessageText, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	typ, data, err := c.Read(t.Context())
	wantRead(t, typ, data, err, "hello")
	if err := c.Close(StatusNormalClosure, ""); err != nil {
		t.Error(err)
	}
}

func TestDialThroughProxy(t *testing.T) {
	for _, secureProxy := range []bool{false, true} {
		for _, secureServer := range []bool{false, true} {
			for _, user := range []*url.Userinfo{nil, url.User("me"), url.UserPassword("me", ""), url.UserPassword("me", "p:w ä")} {
				s := startEcho(t, secureServer)
				address := s.Listener.Addr().String()
				p := &testProxy{}
				u := startProxy(t, p, secureProxy)
				u.User = user
				d := through(u)
				d.ProxyHeader = http.Header{"User-Agent": {"test"}}
				c, _, err := d.Dial(t.Context(), s.URL)
				if err != nil {
					t.Fatalf("%s through %s: %v", s.URL, u, err)
				}
				wantEcho(t, c)
				r := p.asked(t)
				if r.Method != http.MethodConnect || r.Host != address || r.RequestURI != address || r.UserAgent() != "test" {
					t.Errorf("the proxy was asked %s %s (%s) %v", r.Method, r.RequestURI, r.Host, r.Header)
				}
				want := ""
				if user != nil {
					password, _ := user.Password()
					want = "Basic " + base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password))
				}
				if got := r.Header.Get("Proxy-Authorization"); got != want {
					t.Errorf("the proxy got Proxy-Authorization %q, want %q", got, want)
				}
			}
		}
	}
}

// The ServerName that is chosen is the server's, not the proxy's.
func TestDialProxyServerName(t *testing.T) {
	s := startEcho(t, true)
	p := &testProxy{target: s.Listener.Addr().String()}
	d := through(startProxy(t, p, true))
	d.TLSConfig.ServerName = "example.com"
	c, _, err := d.Dial(t.Context(), "wss://elsewhere.test/")
	if err != nil {
		t.Fatal(err)
	}
	wantEcho(t, c)
	if got := p.asked(t); got.Host != "elsewhere.test:443" || got.TLS.ServerName != "" { // an address is not sent
		t.Errorf("the proxy was asked for %q, as %q", got.Host, got.TLS.ServerName)
	}
	d.TLSConfig.ServerName = "elsewhere.test"
	if c, _, err := d.Dial(t.Context(), "wss://elsewhere.test/"); err == nil {
		c.CloseNow()
		t.Error("a server with another name was accepted")
	}
}

// "CONNECT 200 followed by early server bytes"
func TestDialProxyEarlyBytes(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	served := async(func() error {
		nc, err := ln.Accept()
		if err != nil {
			return err
		}
		defer nc.Close()
		r := bufio.NewReader(nc)
		if _, err := http.ReadRequest(r); err != nil {
			return err
		}
		// The answer to CONNECT and a whole response to the request that is yet to come, whose key is
		// known.
		io.WriteString(nc, "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\n\r\nearly")
		_, err = http.ReadRequest(r)
		return err
	})
	d := &Dialer{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: ln.Addr().String()})}
	_, _, err = d.Dial(t.Context(), "ws://example.test/")
	refused, ok := errors.AsType[*HandshakeError](err)
	if !ok || refused.StatusCode != 403 || string(refused.Body) != "early" {
		t.Errorf("got %v, want what the server has said early", err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestDialProxyRefuses(t *testing.T) {
	p := &testProxy{answer: func(w http.ResponseWriter) bool {
		w.Header().Set("Proxy-Authenticate", "Basic realm=x")
		http.Error(w, "who are you?", http.StatusProxyAuthRequired)
		return true
	}}
	u := startProxy(t, p, false)
	u.User = url.UserPassword("me", "secret")
	_, resp, err := (&Dialer{Proxy: http.ProxyURL(u)}).Dial(t.Context(), "ws://example.test/")
	refused, ok := errors.AsType[*HandshakeError](err)
	if !ok || resp != nil || refused.StatusCode != 407 || refused.Header.Get("Proxy-Authenticate") == "" || string(refused.Body) != "who are you?\n" {
		t.Fatalf("got %v, %v", resp, err)
	}
	if text := err.Error(); strings.Contains(text, "secret") || !strings.Contains(text, "proxy http://me:xxxxx@127.0.0.1") || !strings.Contains(text, "example.test:80") {
		t.Errorf("got %q", text)
	}
}

// What cannot be a proxy is not asked.
func TestDialProxyMisuse(t *testing.T) {
	failed := errors.New("no proxy today")
	for _, test := range []struct {
		d    Dialer
		want string
	}{
		{Dialer{Proxy: func(*http.Request) (*url.URL, error) { return nil, failed }}, failed.Error()},
		{Dialer{Proxy: http.ProxyURL(&url.URL{Scheme: "socks4", Host: "a"})}, errProxyScheme.Error()},
		{Dialer{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Opaque: "a:80"})}, errProxyHost.Error()},
		{Dialer{Proxy: http.ProxyURL(&url.URL{Scheme: "socks5", Path: "/x"})}, errProxyHost.Error()},
		{Dialer{ProxyHeader: http.Header{"X": {"a\nb"}}}, "ProxyHeader"},
		{Dialer{ProxyHeader: http.Header{"host": {"a"}}}, "ProxyHeader"},
	} {
		test.d.DialContext = func(context.Context, string, string) (net.Conn, error) {
			t.Error("a connection was made")
			return nil, failed
		}
		if _, _, err := test.d.Dial(t.Context(), "ws://example.test/"); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("got %v, want %q", err, test.want)
		}
	}
}

// The proxy is chosen by a request to an http or https URL.
func TestDialChoosesProxy(t *testing.T) {
	for _, test := range []struct{ url, want string }{{"ws://a.test/x", "http://a.test/x"}, {"wss://a.test/x", "https://a.test/x"}} {
		var asked string
		d := Dialer{
			Proxy: func(r *http.Request) (*url.URL, error) {
				asked = r.URL.String()
				return &url.URL{Scheme: "socks5", Host: "proxy.test"}, nil
			},
			DialContext: func(_ context.Context, _, address string) (net.Conn, error) {
				return nil, errors.New("dial " + address)
			},
		}
		_, _, err := d.Dial(t.Context(), test.url)
		if asked != test.want || !strings.Contains(err.Error(), "dial proxy.test:1080") {
			t.Errorf("asked for %q, and got %v", asked, err)
		}
	}
}

// By default the environment says which proxy is used, and for whom none is. net/http reads it
// once.
func TestDialProxyFromEnvironment(t *testing.T) {
	if address := os.Getenv("PROXY_TEST_DIAL"); address != "" {
		c, _, err := Dial(t.Context(), address)
		if err == nil {
			wantEcho(t, c)
		} else if os.Getenv("NO_PROXY") == "" {
			t.Error(err)
		}
		return
	}
	s := startEcho(t, false)
	p := &testProxy{target: s.Listener.Addr().String()}
	u := startProxy(t, p, false)
	for _, no := range []string{"", "example.test"} {
		cmd := exec.Command(os.Args[0], "-test.run", "^TestDialProxyFromEnvironment$")
		cmd.Env = append(os.Environ(), "PROXY_TEST_DIAL=ws://example.test/", "HTTP_PROXY="+u.String(), "http_proxy=", "no_proxy=", "NO_PROXY="+no)
		out, err := cmd.CombinedOutput()
		if errors.Is(err, syscall.ENOEXEC) {
			t.Skip("an emulated machine can't start the test again")
		}
		if err != nil {
			t.Errorf("with NO_PROXY=%q: %v\n%s", no, err, out)
		}
	}
	p.asked(t)
}

// The end of the context ends every wait for a proxy.
func TestDialProxyContext(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for _, scheme := range []string{"http", "https", "socks5"} {
		accepted := async(func() net.Conn { nc, _ := ln.Accept(); return nc })
		ctx, cancel := context.WithCancelCause(t.Context())
		cause := errors.New("enough")
		d := Dialer{Proxy: http.ProxyURL(&url.URL{Scheme: scheme, Host: ln.Addr().String()})}
		start := time.Now()
		time.AfterFunc(10*time.Millisecond, func() { cancel(cause) })
		if _, _, err := d.Dial(ctx, "ws://example.test/"); err != cause || time.Since(start) > 5*time.Second {
			t.Errorf("%s: got %v after %v, want %v", scheme, err, time.Since(start), cause)
		}
		nc := <-accepted
		io.Copy(io.Discard, nc) // to the end
		nc.Close()
	}
}

// A scriptConn is a net.Conn whose other end says what it says, in pieces.
type scriptConn struct {
	net.Conn
	io.Reader
	sent bytes.Buffer
}

func (c *scriptConn) Read(p []byte) (int, error)      { return c.Reader.Read(p) }
func (c *scriptConn) Write(p []byte) (int, error)     { return c.sent.Write(p) }
func (c *scriptConn) SetReadDeadline(time.Time) error { return nil }
func (c *scriptConn) SetDeadline(time.Time) error     { return nil }
func (c *scriptConn) Close() error                    { return nil }

func newScriptConn(script string, piece func(io.Reader) io.Reader) *scriptConn {
	return &scriptConn{Reader: piece(strings.NewReader(script))}
}

func whole(r io.Reader) io.Reader { return r }

// The result does not depend on how the answer comes, and with a tunnel not a byte is lost.
func FuzzConnectResponse(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\nearly", "HTTP/1.0 204 No Content\r\nX: y\r\n\r\n\x16\x03", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 407 No\r\nContent-Length: 2\r\n\r\nno", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n", "SSH-2.0\r\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, script string) {
		var results []string
		for _, piece := range []func(io.Reader) io.Reader{whole, iotest.OneByteReader} {
			nc := newScriptConn(script, piece)
			got, err := new(Dialer).connectHTTP(nc, &url.URL{Scheme: "http", Host: "proxy"}, "example.test:80")
			if (got == nil) != (err != nil) {
				t.Fatalf("got %v, %v", got, err)
			}
			if err != nil {
				results = append(results, err.Error())
				continue
			}
			rest, err := io.ReadAll(got)
			if err != nil || !strings.HasSuffix(script, string(rest)) {
				t.Fatalf("%q is left, %v", rest, err)
			}
			if head := script[:len(script)-len(rest)]; !strings.HasSuffix(head, "\n\r\n") && !strings.HasSuffix(head, "\n\n") {
				t.Fatalf("the head is %q", head)
			}
			results = append(results, string(rest))
		}
		if len(slices.Compact(results)) > 1 {
			t.Errorf("got %q", results)
		}
	})
}
