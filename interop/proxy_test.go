//go:build external

package interop

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidewire/websocket"
)

// A proxyProgram is a proxy of somebody else's.
type proxyProgram struct {
	name   string
	scheme string
	user   bool // it asks who we are: me, secret

	// config returns its configuration file, and command the command, given the
	// name of that file.
	config  func(t *testing.T, dir string, port int) string
	command func(file string, port int) *exec.Cmd
}

var proxyPrograms = []proxyProgram{
	{
		name: "tinyproxy", scheme: "http",
		config: func(_ *testing.T, _ string, port int) string {
			return fmt.Sprintf("Listen 127.0.0.1\nPort %d\nTimeout 60\nAllow 127.0.0.1\n", port)
		},
		command: func(file string, _ int) *exec.Cmd { return exec.Command("tinyproxy", "-d", "-c", file) },
	},
	{
		name: "tinyproxy with a password", scheme: "http", user: true,
		config: func(_ *testing.T, _ string, port int) string {
			return fmt.Sprintf("Listen 127.0.0.1\nPort %d\nTimeout 60\nAllow 127.0.0.1\nBasicAuth me secret\n", port)
		},
		command: func(file string, _ int) *exec.Cmd { return exec.Command("tinyproxy", "-d", "-c", file) },
	},
	{
		name: "squid", scheme: "http",
		config: func(_ *testing.T, dir string, port int) string {
			return fmt.Sprintf("http_port 127.0.0.1:%d\n", port) + squidConfig(dir)
		},
		command: squid,
	},
	{
		name: "squid over TLS", scheme: "https",
		config: func(t *testing.T, dir string, port int) string {
			return fmt.Sprintf("https_port 127.0.0.1:%d tls-cert=%s\n", port, writeCertificate(t, dir)) + squidConfig(dir)
		},
		command: squid,
	},
	{
		name: "dante", scheme: "socks5",
		config: func(_ *testing.T, _ string, port int) string {
			return fmt.Sprintf("logoutput: stderr\ninternal: 127.0.0.1 port = %d\nexternal: lo\nsocksmethod: none\nclientmethod: none\n"+
				"client pass { from: 127.0.0.0/8 to: 0.0.0.0/0 }\nsocks pass { from: 127.0.0.0/8 to: 0.0.0.0/0 protocol: tcp }\n", port)
		},
		command: func(file string, _ int) *exec.Cmd { return exec.Command("danted", "-f", file) },
	},
	{
		name: "microsocks", scheme: "socks5",
		command: func(_ string, port int) *exec.Cmd {
			return exec.Command("microsocks", "-i", "127.0.0.1", "-p", fmt.Sprint(port))
		},
	},
	{
		name: "microsocks with a password", scheme: "socks5h", user: true,
		command: func(_ string, port int) *exec.Cmd {
			return exec.Command("microsocks", "-i", "127.0.0.1", "-p", fmt.Sprint(port), "-u", "me", "-P", "secret")
		},
	},
}

func squid(file string, _ int) *exec.Cmd { return exec.Command("squid", "-N", "-f", file) }

func squidConfig(dir string) string {
	return "http_access allow all\ncache deny all\naccess_log none\ncache_log /dev/null\npid_filename none\n" +
		"netdb_filename none\nshutdown_lifetime 0 seconds\ncoredump_dir " + dir + "\n"
}

// writeCertificate writes the certificate of package httptest, which is good for
// 127.0.0.1, with its key, into a file that it returns the name of.
func writeCertificate(t *testing.T, dir string) string {
	t.Helper()
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	certificate := s.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]})
	pem.Encode(&b, &pem.Block{Type: "PRIVATE KEY", Bytes: key})
	file := filepath.Join(dir, "certificate.pem")
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// start starts the proxy, and returns its URL, without the user.
func (p proxyProgram) start(t *testing.T) *url.URL {
	t.Helper()
	dir, err := os.MkdirTemp("", "proxy")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { // a proxy may become another user
		t.Fatal(err)
	}
	port := freePort(t)
	file := filepath.Join(dir, "config")
	if p.config != nil {
		if err := os.WriteFile(file, []byte(p.config(t, dir, port)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := p.command(file, port)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-done
	})
	address := fmt.Sprintf("127.0.0.1:%d", port)
	for start := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		nc, err := net.Dial("tcp", address)
		if err == nil {
			nc.Close()
			return &url.URL{Scheme: p.scheme, Host: address}
		}
		select {
		case err := <-done:
			done <- err
			t.Fatalf("%v ended: %v\n%s", cmd, err, &output)
		default:
		}
		if time.Since(start) > 30*time.Second {
			t.Fatalf("%v does not listen", cmd)
		}
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

// Through each proxy, to servers with TLS and without, by name and by address.
func TestProxies(t *testing.T) {
	echo := new(websocket.Upgrader).Handler(func(http.ResponseWriter, *http.Request) (func(context.Context, *websocket.Conn), error) {
		return func(ctx context.Context, c *websocket.Conn) {
			for m, err := range c.Messages(ctx) {
				if err != nil || c.Write(ctx, m.Type, m.Data) != nil {
					return
				}
			}
		}, nil
	})
	plain, secure := httptest.NewServer(echo), httptest.NewTLSServer(echo)
	defer plain.Close()
	defer secure.Close()
	trust := secure.Client().Transport.(*http.Transport).TLSClientConfig
	for _, p := range proxyPrograms {
		t.Run(p.name, func(t *testing.T) {
			proxy := p.start(t)
			if p.user {
				proxy.User = url.UserPassword("me", "secret")
			}
			d := websocket.Dialer{Proxy: http.ProxyURL(proxy)}
			for _, s := range []*httptest.Server{plain, secure} {
				for _, host := range []string{"127.0.0.1", "localhost"} {
					d.TLSConfig = &tls.Config{RootCAs: trust.RootCAs}
					if host == "localhost" {
						d.TLSConfig.ServerName = "example.com" // which the certificate is good for
					}
					exchangeThrough(t, &d, strings.Replace(s.URL, "127.0.0.1", host, 1))
				}
			}
			if !p.user {
				return
			}
			proxy.User = url.UserPassword("me", "wrong")
			_, _, err := d.Dial(t.Context(), plain.URL)
			refused, ok := errors.AsType[*websocket.HandshakeError](err)
			if err == nil || strings.HasPrefix(p.scheme, "http") != ok || ok && refused.StatusCode != 407 && refused.StatusCode != 401 {
				t.Errorf("with a wrong password: got %v", err)
			}
		})
	}
}

func exchangeThrough(t *testing.T, d *websocket.Dialer, url string) {
	t.Helper()
	c, _, err := d.Dial(t.Context(), url)
	if err != nil {
		t.Errorf("%s: %v", url, err)
		return
	}
	defer c.CloseNow()
	for _, n := range []int{0, 1, 125, 126, 65536, 1 << 20} {
		want := bytes.Repeat([]byte{byte(n)}, n)
		if err := c.Write(t.Context(), websocket.MessageBinary, want); err != nil {
			t.Fatal(err)
		}
		_, got, err := c.Read(t.Context())
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%s: got %d bytes, %v, want %d", url, len(got), err, n)
		}
	}
	if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Errorf("%s: Close: %v", url, err)
	}
}
