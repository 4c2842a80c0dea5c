package websocket_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/tidewire/websocket"
	"github.com/tidewire/websocket/internal/testnet"
)

// roundTrip sends a text and expects it back.
func roundTrip(t *testing.T, c *websocket.Conn) {
	t.Helper()
	if err := c.Write(t.Context(), websocket.MessageText, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, p, err := c.Read(t.Context()); string(p) != "hello" || err != nil {
		t.Fatalf("got %q, %v, want hello", p, err)
	}
}

// closeBoth does the closing handshake.
func closeBoth(t *testing.T, c *websocket.Conn) {
	t.Helper()
	if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// tlsConfig returns a configuration that trusts s.
func (s *server) tlsConfig() *tls.Config {
	return s.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
}

func TestDial(t *testing.T) {
	plain := startServer(t, upgrade(&websocket.Upgrader{}, echoMessages))
	secure := newServer(t, upgrade(&websocket.Upgrader{}, echoMessages))
	secure.StartTLS()
	for _, scheme := range []string{"ws", "http", "WS", "Http"} {
		c, resp, err := websocket.Dial(t.Context(), scheme+"://"+plain.addr())
		if err != nil {
			t.Fatalf("%s: %v", scheme, err)
		}
		if resp.StatusCode != 101 || resp.TLS != nil {
			t.Errorf("%s: got %s, TLS %v", scheme, resp.Status, resp.TLS)
		}
		roundTrip(t, c)
		closeBoth(t, c)
	}
	for _, scheme := range []string{"wss", "https", "WSS"} {
		d := &websocket.Dialer{TLSConfig: secure.tlsConfig()}
		c, resp, err := d.Dial(t.Context(), scheme+"://"+secure.addr()+"/a?b#c")
		if err != nil {
			t.Fatalf("%s: %v", scheme, err)
		}
		if resp.TLS == nil || !resp.TLS.HandshakeComplete {
			t.Errorf("%s: TLS %v", scheme, resp.TLS)
		}
		if got, want := resp.Request.URL.String(), "https://"+secure.addr()+"/a?b"; got != want {
			t.Errorf("%s: Request is for %s, want %s", scheme, got, want)
		}
		if b, err := io.ReadAll(resp.Body); len(b) > 0 || err != nil {
			t.Errorf("%s: the body is %q, %v, want it empty", scheme, b, err)
		}
		roundTrip(t, c)
		closeBoth(t, c)
	}
}

func TestDialConn(t *testing.T) {
	s := newServer(t, upgrade(&websocket.Upgrader{}, echoMessages))
	s.StartTLS()
	nc, err := net.Dial("tcp", s.addr())
	if err != nil {
		t.Fatal(err)
	}
	nc.SetDeadline(time.Now().Add(time.Hour)) // is cleared
	d := &websocket.Dialer{TLSConfig: s.tlsConfig()}
	c, resp, err := d.DialConn(t.Context(), nc, "wss://example.com/x")
	if err != nil {
		t.Fatal(err)
	}
	if resp.TLS == nil || resp.TLS.ServerName != "example.com" || resp.Request.Host != "example.com" {
		t.Errorf("got TLS %+v, request %+v", resp.TLS, resp.Request)
	}
	roundTrip(t, c)
	closeBoth(t, c)
}

// A request is one Write, and the deadlines of the
// network connection are gone afterwards.
func TestDialIsOneWrite(t *testing.T) {
	a, b := testnet.Pipe()
	spy := &spyConn{Conn: a, deadline: time.Unix(1, 0)}
	go http.Serve(&oneListener{conn: b}, upgrade(&websocket.Upgrader{}, echoMessages))
	d := &websocket.Dialer{Subprotocols: []string{"a", "b"}, Header: http.Header{"X": {strings.Repeat("x", 10_000)}}}
	c, _, err := d.DialConn(t.Context(), spy, "ws://example.com")
	if err != nil {
		t.Fatal(err)
	}
	if len(spy.writes) != 1 || !strings.HasSuffix(spy.writes[0], "\r\n\r\n") {
		t.Errorf("got %d writes", len(spy.writes))
	}
	if !spy.deadline.IsZero() {
		t.Errorf("left with the deadline %v", spy.deadline)
	}
	closeBoth(t, c)
}

// A oneListener accepts the one connection.
type oneListener struct{ conn net.Conn }

func (l *oneListener) Accept() (net.Conn, error) {
	if l.conn == nil {
		return nil, io.EOF
	}
	conn := l.conn
	l.conn = nil
	return conn, nil
}

func (*oneListener) Close() error   { return nil }
func (*oneListener) Addr() net.Addr { return &net.TCPAddr{} }

// respond starts a server that reads each request
// and answers it with respond.
func respond(t *testing.T, respond func(c *rawConn, r *http.Request)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var handlers sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		handlers.Wait()
	})
	handlers.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			handlers.Go(func() {
				defer nc.Close()
				nc.SetDeadline(time.Now().Add(wait))
				c := &rawConn{t, nc, bufio.NewReader(nc)}
				r, err := http.ReadRequest(c.Reader)
				if err != nil {
					return
				}
				respond(c, r)
			})
		}
	})
	return l.Addr().String()
}

// accept returns the response that completes r's handshake, with fields added.
func accept(r *http.Request, fields ...string) string {
	hash := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return "HTTP/1.1 101 Switching Protocols\r\n" +
		"Upgrade: websocket\r\n" +
		"Connection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(hash[:]) + "\r\n" +
		strings.Join(append(fields, "", ""), "\r\n")
}

// serverFrame is a text frame from a server.
func serverFrame(text string) string {
	f := frame(text)
	mask := len(f) - len(text) - 4
	return f[:1] + string(f[1]&0x7f) + f[2:mask] + text
}

func TestDialAnswers(t *testing.T) {
	long := strings.Repeat("x", 5000)
	for _, test := range []struct {
		name   string
		answer func(r *http.Request) string
		err    string // of the check; empty: none
		status int
		body   string
	}{
		{"as it should", func(r *http.Request) string { return accept(r) }, "", 101, ""},
		{"bare line feeds", func(r *http.Request) string { return strings.ReplaceAll(accept(r), "\r\n", "\n") }, "", 101, ""},
		{"100 before", func(r *http.Request) string { return "HTTP/1.1 100 Continue\r\n\r\n" + accept(r) }, "", 101, ""},
		{"five before", func(r *http.Request) string {
			return strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 5) + accept(r)
		}, "", 101, ""},
		{"six before", func(r *http.Request) string {
			return strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 6) + accept(r)
		}, "too many 1xx", 0, ""},
		{"100 fields", func(r *http.Request) string { return accept(r, slices.Repeat([]string{"X: y"}, 97)...) }, "", 101, ""},
		{"101 fields", func(r *http.Request) string { return accept(r, slices.Repeat([]string{"X: y"}, 98)...) }, "too large", 0, ""},
		{"60 KiB", func(r *http.Request) string { return accept(r, "X: "+strings.Repeat("x", 60<<10)) }, "", 101, ""},
		{"64 KiB in a line", func(r *http.Request) string { return accept(r, "X: "+strings.Repeat("x", 64<<10)) }, "too large", 0, ""},
		{"64 KiB in 20 lines", func(r *http.Request) string {
			return accept(r, slices.Repeat([]string{"X: " + strings.Repeat("x", 3300)}, 20)...)
		}, "too large", 0, ""},
		{"64 KiB in six headers", func(r *http.Request) string {
			return strings.Repeat("HTTP/1.1 103 Early Hints\r\nX: "+strings.Repeat("x", 13<<10)+"\r\n\r\n", 5) + accept(r)
		}, "too large", 0, ""},
		{"101 fields before", func(r *http.Request) string {
			return "HTTP/1.1 103 Early Hints\r\n" + strings.Repeat("X: y\r\n", 101) + "\r\n" + accept(r)
		}, "too large", 0, ""},
		{"no HTTP", func(*http.Request) string { return "SSH-2.0-OpenSSH\r\n\r\n" }, "malformed HTTP", 0, ""},
		{"empty line first", func(r *http.Request) string { return "\r\n" + accept(r) }, "malformed HTTP", 0, ""},
		{"field without a colon", func(r *http.Request) string { return accept(r, "colon") }, "malformed", 0, ""},

		{"HTTP/1.0", func(r *http.Request) string { return strings.Replace(accept(r), "1.1", "1.0", 1) }, "not 1.1", 101, ""},
		{"no Accept", func(r *http.Request) string { return strings.Replace(accept(r), "-Accept", "-Except", 1) }, "Sec-WebSocket-Accept", 101, ""},
		{"extension", func(r *http.Request) string { return accept(r, "Sec-WebSocket-Extensions: permessage-deflate") }, "Sec-WebSocket-Extensions", 101, ""},
		{"subprotocol", func(r *http.Request) string { return accept(r, "Sec-WebSocket-Protocol: a") }, "Sec-WebSocket-Protocol", 101, ""},

		{"200", func(*http.Request) string { return "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhellomore" }, "did not switch", 200, "hello"},
		{"204", func(*http.Request) string { return "HTTP/1.1 204 No Content\r\n\r\n" }, "did not switch", 204, ""},
		{"302", func(*http.Request) string {
			return "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
		}, "did not switch", 302, ""},
		{"401 until EOF", func(*http.Request) string { return "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\n\r\nwho?" }, "did not switch", 401, "who?"},
		{"HTTP/1.0 404", func(*http.Request) string { return "HTTP/1.0 404 Not Found\r\n\r\nwhat?" }, "did not switch", 404, "what?"},
		{"chunked 503", func(*http.Request) string {
			return "HTTP/1.1 503 Service Unavailable\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nfoo\r\n3\r\nbar\r\n0\r\n\r\n"
		}, "did not switch", 503, "foobar"},
		{"cut short", func(*http.Request) string { return "HTTP/1.1 500 Oops\r\nContent-Length: 500\r\n\r\nhalf" }, "did not switch", 500, "half"},
		{"long header and body", func(*http.Request) string {
			return "HTTP/1.1 502 Bad Gateway\r\nX: " + strings.Repeat("x", 63<<10) + "\r\n\r\n" + long
		}, "did not switch", 502, long[:4096]},
		{"long body", func(*http.Request) string { return "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 5000\r\n\r\n" + long }, "did not switch", 502, long[:4096]},
	} {
		t.Run(test.name, func(t *testing.T) {
			addr := respond(t, func(c *rawConn, r *http.Request) {
				answer := test.answer(r)
				if test.status == 101 {
					answer += serverFrame("hello")
				}
				io.WriteString(c.Conn, answer) // the client may close before all of it is sent
				if test.status != 101 {
					c.Conn.(*net.TCPConn).CloseWrite()
				}
				io.Copy(io.Discard, c.Reader)
			})
			c, resp, err := websocket.Dial(t.Context(), "ws://"+addr+"/x")
			if resp != nil && (resp.StatusCode != test.status || resp.Request.URL.Path != "/x") {
				t.Errorf("response %+v, want %d", resp, test.status)
			}
			if test.err == "" {
				if err != nil {
					t.Fatal(err)
				}
				if _, p, err := c.Read(t.Context()); string(p) != "hello" || err != nil {
					t.Errorf("got %q, %v, want hello", p, err)
				}
				c.CloseNow()
				return
			}
			refused, ok := errors.AsType[*websocket.HandshakeError](err)
			if !ok || !strings.Contains(refused.Err.Error(), test.err) || refused.StatusCode != test.status {
				t.Fatalf("got %v, want a HandshakeError for %q, with %d", err, test.err, test.status)
			}
			if !strings.Contains(err.Error(), http.StatusText(test.status)) || !strings.Contains(err.Error(), test.body[:min(len(test.body), 200)]) {
				t.Errorf("the text does not tell the status and body: %v", err)
			}
			if (resp == nil) != (test.status == 0) {
				t.Fatalf("response %v with status %d", resp, test.status)
			}
			if resp == nil {
				return
			}
			body, err := io.ReadAll(resp.Body)
			if string(body) != test.body || err != nil || !bytes.Equal(body, refused.Body) {
				t.Errorf("body %q, %v, error has %q, want %q", body, err, refused.Body, test.body)
			}
			if resp.Header.Get("Location") != refused.Header.Get("Location") {
				t.Errorf("Location %q, error has %q", resp.Header.Get("Location"), refused.Header.Get("Location"))
			}
		})
	}
}

// A response that never ends is not read for ever.
func TestDialEndlessHeader(t *testing.T) {
	for _, test := range []struct{ name, first, then string }{
		{"lines", "HTTP/1.1 200 OK\r\n", "X: y\r\n"},
		{"a line", "HTTP/1.1 200 OK\r\nX: ", "yyyyyyyyyyyyyyyy"},
		{"a status", "HTTP/1.1 200 ", "O"},
		{"1xx", "", "HTTP/1.1 100 \r\n\r\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var sent atomic.Int64
			a, b := testnet.Pipe()
			go func() {
				http.ReadRequest(bufio.NewReader(b))
				io.WriteString(b, test.first)
				chunk := []byte(strings.Repeat(test.then, 1000/len(test.then)))
				for {
					n, err := b.Write(chunk)
					if sent.Add(int64(n)); err != nil {
						return
					}
				}
			}()
			_, _, err := new(websocket.Dialer).DialConn(t.Context(), a, "ws://h")
			if refused, ok := errors.AsType[*websocket.HandshakeError](err); !ok || refused.StatusCode != 0 {
				t.Errorf("got %v, want a HandshakeError", err)
			}
			// What is read, and what the pipe holds.
			if n := sent.Load(); n > 200<<10 {
				t.Errorf("%d bytes were taken", n)
			}
		})
	}
}

// However small the pieces in which the response comes,
// it is found, and the frames behind it.
func TestDialPieces(t *testing.T) {
	for _, size := range []int{1, 2, 3, 7, 100} {
		a, b := testnet.Pipe()
		text := strings.Repeat("x", 300)
		go func() {
			r, err := http.ReadRequest(bufio.NewReader(b))
			if err == nil {
				io.WriteString(b, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"+accept(r)+serverFrame(text))
			}
		}()
		c, _, err := new(websocket.Dialer).DialConn(t.Context(), testnet.Chunked(a, size), "ws://h")
		if err != nil {
			t.Fatalf("%d: %v", size, err)
		}
		if _, p, err := c.Read(t.Context()); string(p) != text || err != nil {
			t.Errorf("%d: got %q, %v", size, p, err)
		}
		c.CloseNow()
	}
}

// Frames that come with the response are not lost, whether
// they fit in the buffer for it or not.
func TestDialPipelined(t *testing.T) {
	for _, size := range []int{0, 1, 125, 3000, 4096, 10_000, 200_000} {
		text := strings.Repeat("x", size)
		addr := respond(t, func(c *rawConn, r *http.Request) {
			io.WriteString(c.Conn, accept(r)+serverFrame(text)+serverFrame("y"))
			io.Copy(io.Discard, c.Reader)
		})
		c, _, err := websocket.Dial(t.Context(), "ws://"+addr)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{text, "y"} {
			if _, p, err := c.Read(t.Context()); string(p) != want || err != nil {
				t.Errorf("%d: got %d bytes, %v", size, len(p), err)
			}
		}
		c.CloseNow()
	}
}

// No HTTP server at all.
func TestDialNetworkErrors(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	_, resp, err := websocket.Dial(t.Context(), "ws://"+l.Addr().String())
	if resp != nil || !errors.Is(err, syscall.ECONNREFUSED) || !strings.HasPrefix(err.Error(), "websocket: ") {
		t.Errorf("nobody listens: got %v", err)
	}
	for _, answer := range []string{"", "HTTP/1.1 101 Swit", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"} {
		addr := respond(t, func(c *rawConn, r *http.Request) { c.send(answer) })
		_, resp, err := websocket.Dial(t.Context(), "ws://"+addr)
		if resp != nil || !errors.Is(err, io.ErrUnexpectedEOF) || !strings.HasPrefix(err.Error(), "websocket: ") {
			t.Errorf("%q: got %v, want io.ErrUnexpectedEOF", answer, err)
		}
		if _, ok := errors.AsType[*websocket.HandshakeError](err); ok {
			t.Errorf("%q: got a HandshakeError, for a lost network", answer)
		}
	}
}

// A network that fails in the middle of a response is not taken for a
// server that sends none.
func TestDialReadError(t *testing.T) {
	failure := errors.New("failure")
	for _, head := range []string{"", "HTTP/1.1 101 Swit", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"} {
		a, b := testnet.Pipe()
		nc := &readerConn{a, io.MultiReader(strings.NewReader(head), iotest.ErrReader(failure))}
		_, resp, err := new(websocket.Dialer).DialConn(t.Context(), nc, "ws://h")
		if resp != nil || !errors.Is(err, failure) {
			t.Errorf("%q: got %v, want %v", head, err, failure)
		}
		if _, ok := errors.AsType[*websocket.HandshakeError](err); ok {
			t.Errorf("%q: got a HandshakeError", head)
		}
		b.Close()
	}
}

// A readerConn reads from r.
type readerConn struct {
	net.Conn
	r io.Reader
}

func (c *readerConn) Read(p []byte) (int, error) { return c.r.Read(p) }

// What the user got wrong is found before the network is touched.
func TestDialerMisuse(t *testing.T) {
	untouched := func(context.Context, string, string) (net.Conn, error) {
		t.Error("DialContext was called")
		return nil, io.EOF
	}
	for _, test := range []struct {
		d   websocket.Dialer
		url string
	}{
		{websocket.Dialer{}, "ftp://h"},
		{websocket.Dialer{Subprotocols: []string{"a b"}}, "ws://h"},
		{websocket.Dialer{Compression: &websocket.Compression{ClientMaxWindowBits: 16}}, "ws://h"},
		{websocket.Dialer{Header: http.Header{"Upgrade": {"x"}}}, "ws://h"},
		{websocket.Dialer{Header: http.Header{"X": {"a\r\nb"}}}, "ws://h"},
	} {
		test.d.DialContext = untouched
		if _, _, err := test.d.Dial(t.Context(), test.url); err == nil {
			t.Errorf("%+v: no error", test)
		}
		a, _ := testnet.Pipe()
		spy := &spyConn{Conn: a}
		if _, _, err := test.d.DialConn(t.Context(), spy, test.url); err == nil {
			t.Errorf("%+v: no error of DialConn", test)
		}
		if spy.closed.Load() != 1 || len(spy.writes) != 0 {
			t.Errorf("%+v: closed %d times, written %q", test, spy.closed.Load(), spy.writes)
		}
	}
}

// Everything that fails closes the network connection.
func TestDialConnFailureCloses(t *testing.T) {
	failure := errors.New("failure")
	for _, test := range []struct {
		name string
		spy  *spyConn
		url  string
		do   func(b net.Conn)
		want error
	}{
		{"write", &spyConn{writeErr: failure}, "ws://h", func(net.Conn) {}, failure},
		{"TLS", &spyConn{writeErr: failure}, "wss://h", func(net.Conn) {}, failure},
		{"response", &spyConn{}, "ws://h", func(b net.Conn) {
			http.ReadRequest(bufio.NewReader(b))
			b.Close()
		}, io.ErrUnexpectedEOF},
	} {
		t.Run(test.name, func(t *testing.T) {
			a, b := testnet.Pipe()
			defer b.Close()
			test.spy.Conn = a
			go test.do(b)
			c, resp, err := new(websocket.Dialer).DialConn(t.Context(), test.spy, test.url)
			if c != nil || resp != nil || !errors.Is(err, test.want) || !strings.HasPrefix(err.Error(), "websocket: ") {
				t.Errorf("got %v, %v, want %v", c, err, test.want)
			}
			if test.spy.closed.Load() == 0 {
				t.Error("the connection is open")
			}
		})
	}
}

// stages are the points at which a Dial may have to wait, each with a
// server that lets it wait for ever.
var stages = []struct {
	name  string
	url   string
	stall func(b *testnet.Conn)
}{
	{"TLS", "wss://h", func(b *testnet.Conn) {}},
	{"write", "ws://h", func(b *testnet.Conn) { b.SetReadBuffer(1) }},
	{"response", "ws://h", func(b *testnet.Conn) {}},
	{"rest of the response", "ws://h", func(b *testnet.Conn) { io.WriteString(b, "HTTP/1.1 101 Switch") }},
	{"behind a 1xx", "ws://h", func(b *testnet.Conn) { io.WriteString(b, "HTTP/1.1 100 Continue\r\n\r\n") }},
}

// A context that ends, ends a Dial at once, wherever it is. In a bubble, at
// once is no time at all, and no goroutine can be left.
func TestDialCanceled(t *testing.T) {
	for _, stage := range stages {
		t.Run(stage.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cause := errors.New("changed my mind")
				ctx, cancel := context.WithCancelCause(t.Context())
				a, b := testnet.Pipe()
				defer b.Close()
				stage.stall(b)
				time.AfterFunc(time.Second, func() { cancel(cause) })
				start := time.Now()
				spy := &spyConn{Conn: a}
				c, resp, err := new(websocket.Dialer).DialConn(ctx, spy, stage.url)
				if c != nil || resp != nil || err != cause {
					t.Errorf("got %v, %v, want the cause", c, err)
				}
				if took := time.Since(start); took != time.Second {
					t.Errorf("took %v, want 1s", took)
				}
				if spy.closed.Load() == 0 {
					t.Error("the connection is open")
				}
			})
		})
	}
	t.Run("DialContext", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			cause := errors.New("changed my mind")
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(time.Second, func() { cancel(cause) })
			d := &websocket.Dialer{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				if network != "tcp" || addr != "h:443" {
					t.Errorf("dials %s %s", network, addr)
				}
				<-ctx.Done()
				return nil, ctx.Err()
			}}
			if _, _, err := d.Dial(ctx, "wss://h"); err != cause {
				t.Errorf("got %v, want the cause", err)
			}
		})
	})
	t.Run("before", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		cause := errors.New("changed my mind")
		cancel(cause)
		if _, _, err := websocket.Dial(ctx, "ws://127.0.0.1:1"); err != cause {
			t.Errorf("Dial: got %v, want the cause", err)
		}
		a, _ := testnet.Pipe()
		spy := &spyConn{Conn: a}
		if _, _, err := new(websocket.Dialer).DialConn(ctx, spy, "ws://h"); err != cause {
			t.Errorf("DialConn: got %v, want the cause", err)
		}
		if spy.closed.Load() == 0 {
			t.Error("the connection is open")
		}
	})
	// A response that comes together with the end of the context is too late.
	t.Run("after", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		cause := errors.New("changed my mind")
		a, b := testnet.Pipe()
		go func() {
			if r, err := http.ReadRequest(bufio.NewReader(b)); err == nil {
				io.WriteString(b, accept(r))
			}
		}()
		late := &lateConn{spyConn: spyConn{Conn: a}, cancel: func() { cancel(cause) }}
		c, resp, err := new(websocket.Dialer).DialConn(ctx, late, "ws://h")
		if c != nil || resp != nil || err != cause {
			t.Errorf("got %v, %v, %v, want the cause", c, resp, err)
		}
		if late.closed.Load() == 0 {
			t.Error("the connection is open")
		}
	})
}

// A lateConn cancels when the handshake is complete.
type lateConn struct {
	spyConn
	cancel func()
}

func (c *lateConn) SetDeadline(t time.Time) error {
	c.cancel()
	return nil
}

// The same with sockets, and with a deadline that the socket may notice itself.
func TestDialDeadline(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	for _, test := range []struct {
		name string
		url  string
		dial func(ctx context.Context, network, addr string) (net.Conn, error)
	}{
		{"DNS", "ws://no.such.host.example", (&net.Dialer{Resolver: resolver}).DialContext},
		{"TLS", "wss://" + silent.Addr().String(), nil},
		{"response", "ws://" + silent.Addr().String(), nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := descriptors(t)
			// Once in three times the machine should not be in the way.
			var over time.Duration
			for range 3 {
				const timeout = 50 * time.Millisecond
				start := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), timeout)
				c, _, err := (&websocket.Dialer{DialContext: test.dial}).Dial(ctx, test.url)
				cancel()
				if c != nil || err != context.DeadlineExceeded {
					t.Fatalf("got %v, %v, want context.DeadlineExceeded", c, err)
				}
				if over = time.Since(start) - timeout; over < 100*time.Millisecond {
					break
				}
			}
			if over >= 100*time.Millisecond {
				t.Errorf("returned %v after the deadline", over)
			}
			for deadline := time.Now().Add(wait); descriptors(t) > before; runtime.Gosched() {
				if time.Now().After(deadline) {
					t.Fatalf("%d descriptors, %d before", descriptors(t), before)
				}
			}
		})
	}
}

func TestDialTimeout(t *testing.T) {
	for _, stage := range stages {
		for _, test := range []struct{ set, want time.Duration }{
			{0, 10 * time.Second},
			{3 * time.Second, 3 * time.Second},
		} {
			synctest.Test(t, func(t *testing.T) {
				a, b := testnet.Pipe()
				defer b.Close()
				stage.stall(b)
				start := time.Now()
				_, _, err := (&websocket.Dialer{HandshakeTimeout: test.set}).DialConn(t.Context(), a, stage.url)
				want := fmt.Sprintf("websocket: opening handshake not complete within %v: context deadline exceeded", test.want)
				if !errors.Is(err, context.DeadlineExceeded) || err.Error() != want {
					t.Errorf("%s: got %v, want %s", stage.name, err, want)
				}
				if took := time.Since(start); took != test.want {
					t.Errorf("%s: took %v, want %v", stage.name, took, test.want)
				}
			})
		}
	}
	synctest.Test(t, func(t *testing.T) {
		a, b := testnet.Pipe()
		go func() {
			r, err := http.ReadRequest(bufio.NewReader(b))
			if err == nil {
				<-time.After(time.Hour)
				io.WriteString(b, accept(r))
			}
		}()
		c, _, err := (&websocket.Dialer{HandshakeTimeout: -1}).DialConn(t.Context(), a, "ws://h")
		if err != nil {
			t.Fatalf("without a timeout: %v", err)
		}
		c.CloseNow()
		b.Close()
	})
}

// The body of a refusal is waited for a second, and no longer
// than the handshake may take.
func TestDialSlowBody(t *testing.T) {
	for _, test := range []struct{ timeout, want time.Duration }{
		{0, time.Second},
		{300 * time.Millisecond, 300 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			a, b := testnet.Pipe()
			defer b.Close()
			io.WriteString(b, "HTTP/1.1 403 Forbidden\r\nContent-Length: 100\r\n\r\nfirst half")
			start := time.Now()
			_, resp, err := (&websocket.Dialer{HandshakeTimeout: test.timeout}).DialConn(t.Context(), a, "ws://h")
			refused, ok := errors.AsType[*websocket.HandshakeError](err)
			if !ok || refused.StatusCode != 403 || string(refused.Body) != "first half" {
				t.Fatalf("got %v, want the 403", err)
			}
			if body, err := io.ReadAll(resp.Body); string(body) != "first half" || err != nil {
				t.Errorf("body %q, %v", body, err)
			}
			if took := time.Since(start); took != test.want {
				t.Errorf("took %v, want %v", took, test.want)
			}
		})
	}
}

// A redirect is for the caller to follow.
func TestDialRedirect(t *testing.T) {
	var requests atomic.Int32
	s := startServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	}))
	_, resp, err := websocket.Dial(t.Context(), s.wsURL()+"/here")
	if refused, ok := errors.AsType[*websocket.HandshakeError](err); !ok || refused.StatusCode != 307 || refused.Header.Get("Location") != "/elsewhere" {
		t.Fatalf("got %v, want the redirect", err)
	}
	if u, err := resp.Location(); err != nil || u.String() != s.URL+"/elsewhere" {
		t.Errorf("Location %v, %v", u, err)
	}
	if n := requests.Load(); n != 1 {
		t.Errorf("%d requests", n)
	}
}

func TestDialCookies(t *testing.T) {
	s := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cookie, err := r.Cookie("visits")
		n := 0
		if err == nil {
			fmt.Sscan(cookie.Value, &n)
		}
		http.SetCookie(w, &http.Cookie{Name: "visits", Value: fmt.Sprint(n + 1), Secure: true})
		if n%2 == 0 {
			http.Error(w, "every second time", http.StatusForbidden)
			return
		}
		if c, err := websocket.Upgrade(w, r); err == nil {
			echoMessages(c)
		}
	}))
	s.StartTLS()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	d := &websocket.Dialer{Jar: jar, TLSConfig: s.tlsConfig()}
	for visit := 1; visit <= 4; visit++ {
		c, resp, err := d.Dial(t.Context(), s.wsURL())
		if resp == nil || (err == nil) != (visit%2 == 0) {
			t.Fatalf("visit %d: got %v, %v", visit, resp, err)
		}
		if err == nil {
			closeBoth(t, c)
		}
		u, _ := url.Parse(s.URL)
		if got := jar.Cookies(u); len(got) != 1 || got[0].Value != fmt.Sprint(visit) {
			t.Errorf("visit %d: the jar has %v", visit, got)
		}
	}
}

// A TLSConfig is not changed, may be shared, and
// cannot make the server choose HTTP/2.
func TestDialTLSConfig(t *testing.T) {
	s := newServer(t, upgrade(&websocket.Upgrader{}, echoMessages))
	s.EnableHTTP2 = true
	s.TLS = &tls.Config{NextProtos: []string{"h2", "http/1.1"}}
	s.StartTLS()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	protos := []string{"h2", "http/1.1"}
	cfg := &tls.Config{RootCAs: roots, NextProtos: protos}
	d := &websocket.Dialer{TLSConfig: cfg}
	var dials sync.WaitGroup
	for range 8 {
		dials.Go(func() {
			c, resp, err := d.Dial(t.Context(), s.wsURL())
			if err != nil {
				t.Error(err)
				return
			}
			if got := resp.TLS.NegotiatedProtocol; got != "http/1.1" {
				t.Errorf("negotiated %q", got)
			}
			c.Close(websocket.StatusNormalClosure, "")
		})
	}
	dials.Wait()
	if cfg.ServerName != "" || !slices.Equal(cfg.NextProtos, []string{"h2", "http/1.1"}) || &cfg.NextProtos[0] != &protos[0] {
		t.Errorf("the configuration has become ServerName %q, NextProtos %q", cfg.ServerName, cfg.NextProtos)
	}
}

func TestDialServerName(t *testing.T) {
	names := make(chan string, 1)
	s := newServer(t, upgrade(&websocket.Upgrader{}, func(*websocket.Conn) {}))
	s.TLS = &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		names <- hello.ServerName
		return nil, nil
	}}
	s.StartTLS()
	for _, test := range []struct{ set, url, want string }{
		{"", "wss://example.com", "example.com"},
		{"", "wss://example.com:8443/x", "example.com"},
		{"", "wss://user@EXAMPLE.com", "EXAMPLE.com"},
		{"other.example", "wss://example.com", "other.example"},
		{"", "wss://127.0.0.1", ""}, // addresses are not sent
		{"", "wss://[::1]:1", ""},
		{"", "wss://[fe80::1%25lo]", ""},
	} {
		d := &websocket.Dialer{
			TLSConfig: &tls.Config{ServerName: test.set, InsecureSkipVerify: true},
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, s.addr())
			},
		}
		c, _, err := d.Dial(t.Context(), test.url)
		if err != nil {
			t.Errorf("%s: %v", test.url, err)
			continue
		}
		c.CloseNow()
		if got := <-names; got != test.want {
			t.Errorf("%s, ServerName %q: sent %q, want %q", test.url, test.set, got, test.want)
		}
	}
}

// A certificate is checked against the URL's host, an address with a zone included.
func TestDialCertificate(t *testing.T) {
	s := newServer(t, upgrade(&websocket.Upgrader{}, func(*websocket.Conn) {}))
	s.StartTLS()
	d := &websocket.Dialer{
		TLSConfig: s.tlsConfig(),
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, s.addr())
		},
	}
	for host, ok := range map[string]bool{
		"example.com":       true,
		"127.0.0.1":         true,
		"[::1]":             true,
		"[::1%25lo]":        true,
		"evil.example":      false,
		"[::2]":             false,
		"example.com.evil.": false,
	} {
		c, _, err := d.Dial(t.Context(), "wss://"+host)
		if (err == nil) != ok {
			t.Errorf("%s: got %v, want ok %t", host, err, ok)
		}
		if err == nil {
			c.CloseNow()
		} else if _, ok := errors.AsType[*tls.CertificateVerificationError](err); !ok || !strings.HasPrefix(err.Error(), "websocket: ") {
			t.Errorf("%s: got %v, want the certificate's fault", host, err)
		}
	}
	if _, _, err := websocket.Dial(t.Context(), s.wsURL()); err == nil {
		t.Error("the zero Dialer trusts a certificate of nobody's")
	}
}

// A network connection that cannot be made is
// reported as the DialContext has it.
func TestDialContextError(t *testing.T) {
	failure := errors.New("failure")
	d := &websocket.Dialer{DialContext: func(context.Context, string, string) (net.Conn, error) { return nil, failure }}
	if _, _, err := d.Dial(t.Context(), "ws://h"); !errors.Is(err, failure) || err.Error() != "websocket: failure" {
		t.Errorf("got %v", err)
	}
}

// Options reach the connection.
func TestDialOptions(t *testing.T) {
	s := startServer(t, upgrade(&websocket.Upgrader{ReadLimit: 10}, echoMessages))
	c, _, err := websocket.Dial(t.Context(), s.wsURL())
	if err != nil {
		t.Fatal(err)
	}
	c.Write(t.Context(), websocket.MessageText, make([]byte, 11))
	if _, _, err := c.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusMessageTooBig {
		t.Errorf("server with a limit: got %v, want StatusMessageTooBig", err)
	}
	c.CloseNow()

	c, _, err = (&websocket.Dialer{ReadLimit: 4}).Dial(t.Context(), s.wsURL())
	if err != nil {
		t.Fatal(err)
	}
	c.Write(t.Context(), websocket.MessageText, []byte("hello"))
	if _, _, err := c.Read(t.Context()); !errors.Is(err, websocket.ErrMessageTooBig) {
		t.Errorf("client with a limit: got %v, want ErrMessageTooBig", err)
	}
	c.CloseNow()
}

func TestDialCompression(t *testing.T) {
	const answer = "Sec-WebSocket-Extensions: permessage-deflate"
	for _, test := range []struct {
		compression *websocket.Compression
		offer       string
		answer      string
		err         string
	}{
		{nil, "", "", ""},
		{nil, "", answer, "not offered"},
		{&websocket.Compression{ServerMaxWindowBits: 15, ClientMaxWindowBits: 15}, "permessage-deflate; client_max_window_bits", answer, ""},
		{&websocket.Compression{ServerMaxWindowBits: 15, ClientMaxWindowBits: 15}, "permessage-deflate; client_max_window_bits", "", ""},
		{&websocket.Compression{ServerMaxWindowBits: 15}, "permessage-deflate; client_max_window_bits=12", answer + "; x", "no answer to an offer"},
	} {
		addr := respond(t, func(c *rawConn, r *http.Request) {
			if got := r.Header.Get("Sec-WebSocket-Extensions"); got != test.offer {
				t.Errorf("%+v: offers %q, want %q", test.compression, got, test.offer)
			}
			if test.answer == "" {
				c.send(accept(r))
			} else {
				c.send(accept(r, test.answer))
			}
		})
		c, resp, err := (&websocket.Dialer{Compression: test.compression}).Dial(t.Context(), "ws://"+addr)
		if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) || resp == nil {
			t.Errorf("%+v, %q: got %v, want %q", test.compression, test.answer, err, test.err)
		}
		if err == nil {
			c.CloseNow()
		}
	}
}
