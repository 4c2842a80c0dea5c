package reconnect

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidewire/websocket"
	"github.com/tidewire/websocket/backoff"
)

// soon is a policy for tests in real time.
var soon = backoff.Policy{Min: time.Millisecond, Max: 20 * time.Millisecond}

// listenTCP serves echoes on an address.
func listenTCP(t *testing.T, network, address string, u websocket.Upgrader) *http.Server {
	t.Helper()
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Addr: ln.Addr().String(), ErrorLog: quiet, Handler: u.Handler(
		func(http.ResponseWriter, *http.Request) (func(context.Context, *websocket.Conn), error) {
			return func(_ context.Context, c *websocket.Conn) { echo(c) }, nil
		})}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	t.Cleanup(func() {
		s.Close()
		<-served
	})
	return s
}

// exchange sends a message, and waits for its echo. It returns the epoch of that.
func exchange(t *testing.T, c *Client, p []byte) uint64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := c.Send(ctx, websocket.MessageBinary, p); err != nil {
		t.Fatal(err)
	}
	m, err := c.Read(ctx)
	if err != nil || !bytes.Equal(m.Data, p) {
		t.Fatalf("got %d bytes, %v, want %d", len(m.Data), err, len(p))
	}
	return m.Epoch
}

// A relay is a proxy (RFC 9110, section 9.3.6), or if it has a target a network on the way to
// that. It can be cut.
type relay struct {
	net.Listener
	target string
	used   atomic.Int64
	conns  chan net.Conn
}

func newRelay(t *testing.T, target string) *relay {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{Listener: ln, target: target, conns: make(chan net.Conn, 100)}
	done := make(chan bool)
	go func() {
		defer close(done)
		for {
			near, err := ln.Accept()
			if err != nil {
				return
			}
			go r.serve(near)
		}
	}()
	t.Cleanup(func() {
		ln.Close()
		r.cut()
		<-done
	})
	return r
}

func (r *relay) serve(near net.Conn) {
	defer near.Close()
	target := r.target
	if target == "" {
		b := make([]byte, 4096)
		n, _ := near.Read(b)
		line, _, _ := strings.Cut(string(b[:n]), "\r\n")
		if target = strings.TrimSuffix(strings.TrimPrefix(line, "CONNECT "), " HTTP/1.1"); !strings.HasPrefix(line, "CONNECT ") {
			return
		}
		io.WriteString(near, "HTTP/1.1 200 OK\r\n\r\n")
	}
	far, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer far.Close()
	r.used.Add(1)
	r.conns <- near
	go func() {
		io.Copy(far, near)
		far.Close()
	}()
	io.Copy(near, far)
}

// cut resets all connections.
func (r *relay) cut() {
	for len(r.conns) > 0 {
		(<-r.conns).Close()
	}
}

// A server is killed, and another has its port.
func TestServerKilled(t *testing.T) {
	s := listenTCP(t, "tcp", "127.0.0.1:0", websocket.Upgrader{})
	network := newRelay(t, s.Addr) // which knows the connections that http.Server has let go of
	c, err := Dial(t.Context(), "ws://"+network.Addr().String(), Options{Backoff: soon})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(websocket.StatusNormalClosure, "")
	if epoch := exchange(t, c, []byte("before")); epoch != 1 {
		t.Errorf("epoch %d", epoch)
	}
	for epoch := uint64(2); epoch < 5; epoch++ {
		s.Close()
		network.cut()
		s = listenTCP(t, "tcp", s.Addr, websocket.Upgrader{})
		for c.State().Epoch < epoch {
			time.Sleep(time.Millisecond)
		}
		exchange(t, c, []byte("after"))
	}
}

func TestIPv6(t *testing.T) {
	if ln, err := net.Listen("tcp6", "[::1]:0"); err != nil {
		t.Skip("this machine has no IPv6:", err)
	} else {
		ln.Close()
	}
	s := listenTCP(t, "tcp6", "[::1]:0", websocket.Upgrader{})
	c, err := Dial(t.Context(), "ws://"+s.Addr+"/path", Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(websocket.StatusNormalClosure, "")
	exchange(t, c, []byte("over IPv6"))
}

// Each connection goes through the proxy.
func TestProxy(t *testing.T) {
	s := listenTCP(t, "tcp", "127.0.0.1:0", websocket.Upgrader{})
	proxy := newRelay(t, "")
	c, err := Dial(t.Context(), "ws://"+s.Addr, Options{Backoff: soon, Dialer: websocket.Dialer{
		Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: proxy.Addr().String()}),
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(websocket.StatusNormalClosure, "")
	exchange(t, c, []byte("through a proxy"))
	proxy.cut()
	for c.State().Epoch < 2 {
		time.Sleep(time.Millisecond)
	}
	exchange(t, c, []byte("and again"))
	if n := proxy.used.Load(); n != 2 {
		t.Errorf("the proxy was used %d times", n)
	}
}

// A certificate that has expired will not be valid again.
func TestExpiredCertificate(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(certificate)
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = quiet
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	s.StartTLS()
	defer s.Close()
	_, err = Dial(t.Context(), s.URL, Options{Dialer: websocket.Dialer{TLSConfig: &tls.Config{RootCAs: roots}}})
	invalid, ok := errors.AsType[x509.CertificateInvalidError](err)
	if !errors.Is(err, ErrGaveUp) || !ok || invalid.Reason != x509.Expired {
		t.Errorf("got %v", err)
	}
}

// Large messages, compressed and not.
func TestLargeMessages(t *testing.T) {
	random := make([]byte, 1<<20)
	rand.Read(random)
	for _, compression := range []*websocket.Compression{nil, {}} {
		s := listenTCP(t, "tcp", "127.0.0.1:0", websocket.Upgrader{Compression: compression, ReadLimit: 2 << 20})
		c, err := Dial(t.Context(), "ws://"+s.Addr, Options{Dialer: websocket.Dialer{Compression: compression, ReadLimit: 2 << 20}})
		if err != nil {
			t.Fatal(err)
		}
		exchange(t, c, random)
		exchange(t, c, bytes.Repeat([]byte("compressible"), 100_000))
		if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
			t.Error(err)
		}
	}
}

// A panic in a function of the Options is not swallowed.
func TestPanics(t *testing.T) {
	const variable, message = "RECONNECT_TEST_PANIC", "the panic of the application"
	functions := map[string]func(o *Options){
		"Target":  func(o *Options) { o.Target = func(context.Context, int) (Target, error) { panic(message) } },
		"OnOpen":  func(o *Options) { o.OnOpen = func(context.Context, Conn, uint64) error { panic(message) } },
		"OnState": func(o *Options) { o.OnState = func(State) { panic(message) } },
	}
	if set := functions[os.Getenv(variable)]; set != nil {
		s := listenTCP(t, "tcp", "127.0.0.1:0", websocket.Upgrader{})
		var o Options
		set(&o)
		Dial(t.Context(), "ws://"+s.Addr, o)
		return
	}
	for name := range functions {
		cmd := exec.Command(os.Args[0], "-test.run=^TestPanics$")
		cmd.Env = append(os.Environ(), variable+"="+name)
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "panic: "+message) {
			t.Errorf("%s: %v, %s", name, err, out)
		}
	}
}
