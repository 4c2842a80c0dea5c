package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/tidewire/websocket"
)

// listen starts ws listen on a free port, and returns its URL.
func listen(t *testing.T, args ...string) (*call, string) {
	t.Helper()
	c := newCall(t).start(append([]string{"listen", "127.0.0.1:0"}, args...)...)
	return c, c.err.await(t, `listening on (wss?://127\.0\.0\.1:\d+/\S*)\n`)
}

// A peer is a client in a test.
type peer struct {
	t *testing.T
	*websocket.Conn
}

func dial(t *testing.T, url string) peer {
	t.Helper()
	c, _, err := websocket.Dial(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.CloseNow() })
	return peer{t, c}
}

func (p peer) send(typ websocket.MessageType, s string) {
	p.t.Helper()
	if err := p.Write(p.t.Context(), typ, []byte(s)); err != nil {
		p.t.Fatal(err)
	}
}

func (p peer) expect(typ websocket.MessageType, want string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	got, data, err := p.Read(ctx)
	if got != typ || string(data) != want || err != nil {
		p.t.Fatalf("got %v %q, %v, want %v %q", got, data, err, typ, want)
	}
}

func (p peer) expectClose(code websocket.StatusCode) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	_, data, err := p.Read(ctx)
	if websocket.CloseStatus(err) != code {
		p.t.Fatalf("got %q, %v, want an end with %d", data, err, code)
	}
}

const (
	typeText   = websocket.MessageText
	typeBinary = websocket.MessageBinary
)

func TestListenEcho(t *testing.T) {
	for _, args := range []string{"", "-mode echo", "-deflate", "-ping 1"} {
		c, url := listen(t, strings.Fields(args)...)
		p := dial(t, url)
		c.err.await(t, `127\.0\.0\.1:\d+ connected\n`)
		p.send(typeText, "hello")
		p.expect(typeText, "hello")
		p.send(typeBinary, "\x00\xff")
		p.expect(typeBinary, "\x00\xff")
		p.Close(4001, "bye")
		c.err.await(t, `127\.0\.0\.1:\d+ closed by the client with 4001: "bye"\n`)
		c.stop()
		c.wait(exitOK)
		if c.out.String() != "" {
			t.Errorf("stdout %q", &c.out)
		}
	}
}

func TestListenBroadcast(t *testing.T) {
	c, url := listen(t, "-mode", "broadcast")
	a := dial(t, url)
	a.send(typeText, "alone")
	a.expect(typeText, "alone") // it is in the hub
	b := dial(t, url)
	b.send(typeBinary, "hello")
	b.expect(typeBinary, "hello")
	a.expect(typeBinary, "hello")
	c.stop()
	a.expectClose(websocket.StatusGoingAway)
	b.expectClose(websocket.StatusGoingAway)
	c.wait(exitOK)
}

func TestListenLog(t *testing.T) {
	c, url := listen(t, "-mode", "log")
	p := dial(t, url)
	p.send(typeText, "hello")
	p.send(typeBinary, "\x00\xff")
	c.out.await(t, `^hello\n00ff\n$`)
	c.stop()
	p.expectClose(websocket.StatusGoingAway)
	c.wait(exitOK)
	contains(t, "stderr", c.err.String(), "\n"+p.LocalAddr().String()+" closed\n")
}

func TestListenLogBrokenPipe(t *testing.T) {
	c, url := listen(t, "-mode", "log")
	c.out.err = io.ErrClosedPipe
	p := dial(t, url)
	p.send(typeText, "hello")
	p.expectClose(websocket.StatusGoingAway)
	c.wait(exitOK)
}

func TestListenStdio(t *testing.T) {
	c, url := listen(t, "-mode", "stdio")
	wrote := make(chan struct{})
	go func() {
		io.WriteString(c.in, "for the first\n") // waits until it is there
		close(wrote)
	}()
	a := dial(t, url)
	a.expect(typeText, "for the first")
	<-wrote
	a.send(typeText, "hello")
	c.out.await(t, `^hello\n$`)
	b := dial(t, url)
	b.send(typeText, "here")
	c.out.await(t, `^hello\nhere\n$`)
	io.WriteString(c.in, "for all\n\xff\n")
	for _, p := range []peer{a, b} {
		p.expect(typeText, "for all")
		p.expect(typeBinary, "\xff")
	}
	c.in.Close() // is not the end
	a.send(typeText, "still here")
	c.out.await(t, `still here\n$`)
	c.stop()
	a.expectClose(websocket.StatusGoingAway)
	b.expectClose(websocket.StatusGoingAway)
	c.wait(exitOK)
}

// Who waits for stdin, with nothing to come, does not keep the server from ending.
func TestListenStdioInterrupted(t *testing.T) {
	c, url := listen(t, "-mode", "stdio")
	p := dial(t, url)
	io.WriteString(c.in, "a\n") // it is being read
	p.expect(typeText, "a")
	c.stop()
	p.expectClose(websocket.StatusGoingAway)
	c.wait(exitOK)
}

func TestListenBadInput(t *testing.T) {
	c := newCall(t)
	c.sys.stdin = iotest.ErrReader(errors.New("bad disk"))
	c.start("listen", "127.0.0.1:0", "-mode", "stdio")
	p := dial(t, c.err.await(t, `listening on (\S+)`))
	c.err.await(t, "ws: stdin: bad disk\n")
	p.send(typeText, "still here")
	c.out.await(t, "still here\n")
	c.stop()
	p.expectClose(websocket.StatusGoingAway)
	c.wait(exitOK)
}

func TestListenRefuses(t *testing.T) {
	c, url := listen(t, "-origin", "good.example", "-path", "chat", "-s", "a", "-s", "b")
	if !strings.HasSuffix(url, "/chat") {
		t.Errorf("the URL is %s", url)
	}
	for _, test := range []struct {
		url, origin string
		status      int
	}{
		{url, "http://good.example", 101},
		{url, "", 101},
		{url, "http://bad.example", 403},
		{strings.TrimSuffix(url, "chat"), "", 404},
		{url + "/more", "", 404},
	} {
		d := websocket.Dialer{Header: http.Header{}, Subprotocols: []string{"b"}}
		if test.origin != "" {
			d.Header.Set("Origin", test.origin)
		}
		conn, resp, err := d.Dial(t.Context(), test.url)
		if resp == nil || resp.StatusCode != test.status {
			t.Errorf("%s from %q: got %v, want %d", test.url, test.origin, err, test.status)
		}
		if conn != nil {
			if got := conn.Subprotocol(); got != "b" {
				t.Errorf("subprotocol %q", got)
			}
			conn.CloseNow()
		}
	}
	c.stop()
	c.wait(exitOK)
	contains(t, "stderr", c.err.String(), " refused: ", "bad.example", "403")
}

func TestListenVerbose(t *testing.T) {
	c, url := listen(t, "-v")
	p := dial(t, url)
	p.send(typeText, "hello")
	p.expect(typeText, "hello")
	c.stop()
	p.expectClose(websocket.StatusGoingAway)
	c.wait(exitOK)
	me := p.LocalAddr().String()
	contains(t, "stderr", c.err.String(),
		me+" < GET / HTTP/1.1\n", me+" < Sec-WebSocket-Version: 13\n",
		me+" < text, 5 bytes\n", me+" > text, 5 bytes\n", me+" < Close, 2 bytes\n")
}

// TestListenTLS uses the certificate of package httptest.
func TestListenTLS(t *testing.T) {
	srv := httptest.NewTLSServer(nil)
	defer srv.Close()
	cert, key := writePair(t, srv.TLS.Certificates[0])
	c, url := listen(t, "-tls-cert", cert, "-tls-key", key)
	stdout, _ := ws(t, "", exitOK, "connect", "-ca", cert, "-x", "secret", "-n", "1", url)
	if stdout != "secret\n" || !strings.HasPrefix(url, "wss://") {
		t.Errorf("%s: %q", url, stdout)
	}
	if _, err := tls.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(url, "wss://"), "/"), nil); err == nil {
		t.Error("a client that does not know the certificate trusts it")
	}
	c.stop()
	c.wait(exitOK)
}

func TestListenInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, stderr := ws(t, "", exitConnect, "listen", l.Addr().String())
	contains(t, "stderr", stderr, "ws: could not listen: ")
}

func TestAddresses(t *testing.T) {
	for s, want := range map[string]string{"8080": "localhost:8080", ":8080": ":8080", "1.2.3.4:80": "1.2.3.4:80"} {
		if got := completeAddress(s); got != want {
			t.Errorf("%s: got %s, want %s", s, got, want)
		}
	}
	for address, want := range map[string]string{
		"127.0.0.1:80": "127.0.0.1:80", "[::1]:80": "[::1]:80", "0.0.0.0:80": "localhost:80", "[::]:80": "localhost:80",
	} {
		addr, err := net.ResolveTCPAddr("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if got := dialable(addr); got != want {
			t.Errorf("%s: got %s, want %s", address, got, want)
		}
	}
}

// A client that does not answer, and one with a request that is not complete, do not keep the server
// from ending.
func TestListenEnds(t *testing.T) {
	t.Parallel() // it waits
	c, url := listen(t)
	host := strings.TrimSuffix(strings.TrimPrefix(url, "ws://"), "/")
	var conns []net.Conn
	for _, request := range []string{"GET / HTTP/1.1\r\n",
		"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
			"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"} {
		nc, err := net.Dial("tcp", host)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		if _, err := io.WriteString(nc, request); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, nc)
	}
	c.err.await(t, " connected\n")
	c.stop()
	c.wait(exitOK)
	for _, nc := range conns {
		nc.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := io.ReadAll(nc); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%v is still connected", nc.LocalAddr())
		}
	}
}

// writePair writes a certificate and its key into files.
func writePair(t *testing.T, pair tls.Certificate) (cert, key string) {
	t.Helper()
	certPEM, keyPEM := encodePair(t, pair)
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if err := errors.Join(os.WriteFile(cert, certPEM, 0o600), os.WriteFile(key, keyPEM, 0o600)); err != nil {
		t.Fatal(err)
	}
	return cert, key
}
