package websocket_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/textproto"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/tidewire/websocket"
	"github.com/tidewire/websocket/internal/testnet"
)

// wait is how long a test waits for what has to happen.
const wait = 10 * time.Second

// A logBuffer is what an http.Server has logged.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// A server is an httptest.Server that may not log anything
// but what the test takes from its log.
type server struct {
	*httptest.Server
	log *logBuffer
}

// newServer returns a server of h on loopback that is not started.
func newServer(t *testing.T, h http.Handler) *server {
	s := &server{httptest.NewUnstartedServer(h), new(logBuffer)}
	s.Config.ErrorLog = log.New(s.log, "", 0)
	t.Cleanup(s.Close)
	return s
}

// startServer starts a server of h, and has its log be empty at the end.
func startServer(t *testing.T, h http.Handler) *server {
	s := newServer(t, h)
	s.Start()
	t.Cleanup(func() {
		if text := s.log.String(); text != "" {
			t.Errorf("the server has logged:\n%s", text)
		}
	})
	return s
}

// addr is the server's host and port.
func (s *server) addr() string { return s.Listener.Addr().String() }

// wsURL is the server's URL with ws for http and wss for https.
func (s *server) wsURL() string { return "ws" + strings.TrimPrefix(s.URL, "http") }

// upgrade returns a handler that upgrades with u and then runs serve,
// while the handler waits.
func upgrade(u *websocket.Upgrader, serve func(*websocket.Conn)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, err := u.Upgrade(w, r); err == nil {
			defer c.Close(websocket.StatusNormalClosure, "")
			serve(c)
		}
	})
}

// echoMessages sends back what comes.
func echoMessages(c *websocket.Conn) {
	for m, err := range c.Messages(context.Background()) {
		if err != nil || c.Write(context.Background(), m.Type, m.Data) != nil {
			return
		}
	}
}

// handshake is the request of section 1.2, with fields added.
func handshake(fields ...string) string {
	return "GET /chat HTTP/1.1\r\n" +
		"Host: server.example.com\r\n" +
		"Upgrade: websocket\r\n" +
		"Connection: Upgrade\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
		"Sec-WebSocket-Version: 13\r\n" +
		strings.Join(append(fields, "", ""), "\r\n")
}

// switched is the response to handshake.
const switched = "HTTP/1.1 101 Switching Protocols\r\n" +
	"Upgrade: websocket\r\n" +
	"Connection: Upgrade\r\n" +
	"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" +
	"\r\n"

// frame is a text frame from a client, masked with zeros.
func frame(text string) string {
	var b []byte
	switch n := len(text); {
	case n < 126:
		b = []byte{0x81, 0x80 | byte(n)}
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16([]byte{0x81, 0x80 | 126}, uint16(n))
	default:
		b = binary.BigEndian.AppendUint64([]byte{0x81, 0x80 | 127}, uint64(n))
	}
	return string(b) + "\x00\x00\x00\x00" + text
}

// A rawConn is a client or server that sends what it likes.
type rawConn struct {
	t *testing.T
	net.Conn
	*bufio.Reader
}

func newRaw(t *testing.T, nc net.Conn) *rawConn {
	t.Cleanup(func() { nc.Close() })
	return &rawConn{t, nc, bufio.NewReader(nc)}
}

// dialRaw connects to a server.
func dialRaw(t *testing.T, addr string) *rawConn {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	nc.SetDeadline(time.Now().Add(wait))
	return newRaw(t, nc)
}

func (c *rawConn) Read(p []byte) (int, error) { return c.Reader.Read(p) }

func (c *rawConn) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c.Conn, text); err != nil {
		c.t.Fatalf("sending: %v", err)
	}
}

// response reads a response, without its content.
func (c *rawConn) response() *http.Response {
	c.t.Helper()
	resp, err := http.ReadResponse(c.Reader, nil)
	if err != nil {
		c.t.Fatalf("reading the response: %v", err)
	}
	return resp
}

// expect reads exactly text.
func (c *rawConn) expect(text string) {
	c.t.Helper()
	p := make([]byte, len(text))
	if n, err := io.ReadFull(c.Reader, p); err != nil || string(p) != text {
		c.t.Fatalf("got %q, %v, want %q", p[:n], err, text)
	}
}

// expectText reads a text frame.
func (c *rawConn) expectText(text string) {
	c.t.Helper()
	f, err := testnet.ReadFrame(c.Reader)
	if err != nil || f.Opcode != 1 || string(f.Payload) != text {
		c.t.Fatalf("got a frame of opcode %d, %d bytes, %v, want the text of %d", f.Opcode, len(f.Payload), err, len(text))
	}
}

// expectClose reads frames up to a Close with the given status code.
func (c *rawConn) expectClose(code websocket.StatusCode) {
	c.t.Helper()
	for {
		f, err := testnet.ReadFrame(c.Reader)
		if err != nil {
			c.t.Fatalf("got %v, want a Close", err)
		}
		if f.Opcode == 8 {
			if got := websocket.StatusCode(binary.BigEndian.Uint16(f.Payload)); got != code {
				c.t.Fatalf("closed with %d, want %d", got, code)
			}
			return
		}
	}
}

func TestUpgrade(t *testing.T) {
	s := startServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Upgrade(w, r)
		if err != nil {
			t.Error(err)
			return
		}
		echoMessages(c)
	}))
	c := dialRaw(t, s.addr())
	c.send(handshake())
	c.expect(switched)
	c.send(frame("hello"))
	c.expectText("hello")
	c.send("\x88\x82\x00\x00\x00\x00\x03\xe8")
	c.expectClose(1000)
}

func TestUpgradeRefuses(t *testing.T) {
	s := startServer(t, upgrade(&websocket.Upgrader{}, echoMessages))
	change := func(old, new string) string {
		request := handshake()
		if !strings.Contains(request, old) {
			t.Fatalf("%q is not in the request", old)
		}
		return strings.Replace(request, old, new, 1)
	}
	upgradeRequired := http.Header{
		"Upgrade":               {"websocket"},
		"Connection":            {"close", "Upgrade"},
		"Sec-Websocket-Version": {"13"},
	}
	closing := http.Header{"Connection": {"close"}}
	for _, test := range []struct {
		name    string
		request string
		status  int
		header  http.Header
		closes  bool
		says    string
	}{
		{"POST", change("GET", "POST"), 405, http.Header{"Allow": {"GET"}}, false, "not GET"},
		{"CONNECT", change("GET /chat", "CONNECT /chat"), 405, http.Header{"Allow": {"GET"}}, false, "not GET"},
		{"HTTP/1.0", change("HTTP/1.1", "HTTP/1.0"), 426, upgradeRequired, true, "below 1.1"},
		{"a page", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", 426, upgradeRequired, true, "Upgrade: websocket"},
		{"no Connection", change("Connection: Upgrade", "X: y"), 426, upgradeRequired, true, "Connection: Upgrade"},
		{"version 8", change("13", "8"), 426, upgradeRequired, true, "not 13"},
		{"empty Host", change("server.example.com", ""), 400, closing, true, "no Host"},
		{"short key", change("dGhl", ""), 400, closing, true, "Sec-WebSocket-Key"},
		{"body", handshake("Content-Length: 5") + "hello", 400, closing, true, "body"},
		{"chunked body", handshake("Transfer-Encoding: chunked") + "0\r\n\r\n", 400, closing, true, "body"},
		{"subprotocols", handshake("Sec-WebSocket-Protocol: a, a"), 400, closing, true, "unique"},
		{"foreign origin", handshake("Origin: http://evil.example"), 403, nil, false, "evil.example"},
		// Those that net/http answers before us.
		{"no Host", change("Host: server.example.com\r\n", ""), 400, closing, true, "Host"},
		{"two Hosts", handshake("Host: b"), 400, closing, true, "400"},
		{"space before the colon", change("Upgrade:", "Upgrade :"), 400, closing, true, "400"},
		{"NUL", handshake("X: a\x00b"), 400, closing, true, "400"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := dialRaw(t, s.addr())
			c.send(test.request)
			// http.ReadResponse takes "close" out of the header.
			tp := textproto.NewReader(c.Reader)
			status, err := tp.ReadLine()
			if err != nil || !strings.Contains(status, fmt.Sprintf(" %d ", test.status)) {
				t.Errorf("status line %q, %v, want %d", status, err, test.status)
			}
			header, err := tp.ReadMIMEHeader()
			if err != nil {
				t.Fatal(err)
			}
			for name, want := range test.header {
				if got := header[name]; !slices.Equal(got, want) {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
			if got := header.Get("Content-Type"); got != "text/plain; charset=utf-8" {
				t.Errorf("Content-Type %q", got)
			}
			length, err := strconv.Atoi(header.Get("Content-Length"))
			if err != nil && !test.closes {
				t.Error("the body has no length")
			}
			body := make([]byte, length)
			if err != nil {
				body, err = io.ReadAll(c.Reader)
			} else {
				_, err = io.ReadFull(c.Reader, body)
			}
			if err != nil || !strings.Contains(string(body), test.says) {
				t.Errorf("body %q, %v, want it to say %q", body, err, test.says)
			}
			if test.closes {
				if b, err := c.ReadByte(); err != io.EOF {
					t.Errorf("after the response: %q, %v, want EOF", b, err)
				}
				return
			}
			c.send(handshake())
			c.expect(switched)
		})
	}
}

func TestUpgradeHTTP2(t *testing.T) {
	errs := make(chan error, 1)
	s := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := websocket.Upgrade(w, r)
		errs <- err
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	resp, err := s.Client().Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.ProtoMajor != 2 || resp.StatusCode != 505 {
		t.Errorf("got %s %s, want HTTP/2 and 505", resp.Proto, resp.Status)
	}
	if refused, ok := errors.AsType[*websocket.HandshakeError](<-errs); !ok || refused.StatusCode != 505 {
		t.Errorf("got %v", refused)
	}
}

// A refusal that is answered is also returned.
func TestUpgradeError(t *testing.T) {
	w := httptest.NewRecorder()
	w.Header().Set("Content-Length", "99")
	w.Header().Set("Connection", "keep-alive")
	w.Header().Set("X-Kept", "1")
	c, err := websocket.Upgrade(w, httptest.NewRequest("GET", "/", nil))
	refused, ok := errors.AsType[*websocket.HandshakeError](err)
	if c != nil || !ok {
		t.Fatalf("got %v, %v", c, err)
	}
	if refused.StatusCode != 426 || w.Code != 426 || string(refused.Body) != w.Body.String() {
		t.Errorf("error %v, answered %d %q", refused, w.Code, w.Body)
	}
	got := w.Header()
	if got.Get("Content-Length") != "" || got.Get("X-Kept") != "1" || !slices.Equal(got["Connection"], []string{"close", "Upgrade"}) {
		t.Errorf("got header %v", got)
	}
	// What was returned may be changed.
	refused.Header["Upgrade"][0] = "changed"
	if got.Get("Upgrade") != "websocket" {
		t.Error("the error shares its header with the ResponseWriter")
	}
}

// wrappers are what middleware makes of a ResponseWriter.
type (
	unwrapping struct{ http.ResponseWriter }
	hijacking  struct{ http.ResponseWriter }
	opaque     struct{ http.ResponseWriter }

	// A lazy one sends the header with the first byte of the body.
	lazy struct {
		http.ResponseWriter
		status int
	}
)

func (w unwrapping) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w hijacking) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return w.ResponseWriter.(http.Hijacker).Hijack()
}

func (w *lazy) Unwrap() http.ResponseWriter { return w.ResponseWriter }
func (w *lazy) WriteHeader(status int)      { w.status = status }
func (w *lazy) Write(p []byte) (int, error) {
	if w.status != 0 {
		w.ResponseWriter.WriteHeader(w.status)
		w.status = 0
	}
	return w.ResponseWriter.Write(p)
}

func TestUpgradeWrapped(t *testing.T) {
	for _, test := range []struct {
		name   string
		wrap   func(http.ResponseWriter) http.ResponseWriter
		origin string
		status int
	}{
		{"Unwrap", func(w http.ResponseWriter) http.ResponseWriter { return unwrapping{unwrapping{w}} }, "", 101},
		{"Hijack", func(w http.ResponseWriter) http.ResponseWriter { return hijacking{w} }, "", 101},
		{"both", func(w http.ResponseWriter) http.ResponseWriter { return unwrapping{hijacking{w}} }, "", 101},
		{"neither", func(w http.ResponseWriter) http.ResponseWriter { return opaque{w} }, "", 500},
		{"neither below", func(w http.ResponseWriter) http.ResponseWriter { return unwrapping{opaque{w}} }, "", 500},
		{"lazy", func(w http.ResponseWriter) http.ResponseWriter { return &lazy{ResponseWriter: w} }, "", 101},
		{"lazy refusal", func(w http.ResponseWriter) http.ResponseWriter { return &lazy{ResponseWriter: w} }, "null", 403},
	} {
		t.Run(test.name, func(t *testing.T) {
			errs := make(chan error, 1)
			s := startServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				c, err := websocket.Upgrade(test.wrap(w), r)
				errs <- err
				if err == nil {
					echoMessages(c)
				}
			}))
			c := dialRaw(t, s.addr())
			if test.origin != "" {
				c.send(handshake("Origin: " + test.origin))
			} else {
				c.send(handshake())
			}
			resp, err := c.response(), <-errs
			if resp.StatusCode != test.status {
				t.Fatalf("status %d, want %d", resp.StatusCode, test.status)
			}
			if test.status == 101 {
				c.send(frame("x"))
				c.expectText("x")
				return
			}
			if refused, ok := errors.AsType[*websocket.HandshakeError](err); !ok || refused.StatusCode != test.status {
				t.Fatalf("got %v, want a HandshakeError with %d", err, test.status)
			}
			if test.status != 500 {
				return
			}
			if !errors.Is(err, http.ErrNotSupported) || !strings.Contains(err.Error(), "Unwrap") {
				t.Errorf("got %v, want what is to be done", err)
			}
			if body, _ := io.ReadAll(resp.Body); string(body) != "500 Internal Server Error\n" {
				t.Errorf("the client is told %q", body)
			}
		})
	}
}

func TestUpgradeHijacked(t *testing.T) {
	errs := make(chan error, 1)
	s := startServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		nc, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer nc.Close()
		_, err = websocket.Upgrade(w, r)
		errs <- err
	}))
	c := dialRaw(t, s.addr())
	c.send(handshake())
	if err := <-errs; !errors.Is(err, http.ErrHijacked) {
		t.Errorf("got %v, want http.ErrHijacked", err)
	}
	if b, err := c.ReadByte(); err != io.EOF {
		t.Errorf("got %q, %v, want nothing", b, err)
	}
}

// Frames that come with the request are not lost, whether net/http's buffer
// has all of them or not.
func TestUpgradePipelined(t *testing.T) {
	s := startServer(t, upgrade(&websocket.Upgrader{}, echoMessages))
	for _, size := range []int{0, 1, 125, 3000, 4095 - len(handshake()), 4096, 10_000, 200_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			text := strings.Repeat("x", size)
			c := dialRaw(t, s.addr())
			go io.WriteString(c.Conn, handshake()+frame(text)+frame("y")) // the echo needs a reader
			c.expect(switched)
			c.expectText(text)
			c.expectText("y")
			c.send(frame("z"))
			c.expectText("z")
		})
	}
	t.Run("half a header", func(t *testing.T) {
		c := dialRaw(t, s.addr())
		f := frame("hello")
		c.send(handshake() + f[:1])
		c.expect(switched)
		c.send(f[1:])
		c.expectText("hello")
	})
}

// The deadlines of an http.Server are for requests, not for what
// becomes of them.
func TestServerTimeoutsEnd(t *testing.T) {
	const timeout = 30 * time.Millisecond
	s := newServer(t, upgrade(&websocket.Upgrader{}, func(c *websocket.Conn) {
		ctx, cancel := context.WithTimeout(context.Background(), 4*timeout)
		defer cancel()
		if _, _, err := c.Read(ctx); !errors.Is(err, context.DeadlineExceeded) || c.Err() != nil {
			t.Errorf("Read: %v, want nothing to happen", err)
		}
		c.Write(context.Background(), websocket.MessageText, []byte("still here"))
		echoMessages(c)
	}))
	s.Config.ReadTimeout = timeout
	s.Config.ReadHeaderTimeout = timeout
	s.Config.WriteTimeout = timeout
	s.Config.IdleTimeout = timeout
	s.Start()
	c := dialRaw(t, s.addr())
	c.send(handshake())
	c.expect(switched)
	c.expectText("still here")
	c.send(frame("x"))
	c.expectText("x")
}

func TestUpgradeHeader(t *testing.T) {
	for _, test := range []struct {
		name   string
		header http.Header
		err    string
	}{
		{"good", http.Header{"Set-Cookie": {"a=1", "b=2"}, "X-Trace": {"t"}, "Date": nil}, ""},
		{"line in a value", http.Header{"X": {"a\r\nY: z"}}, "invalid value"},
		{"line in a name", http.Header{"X\r\nY": {"z"}}, "invalid header field name"},
		{"Upgrade", http.Header{"Upgrade": {"h2c"}}, "Upgrade is the handshake's own"},
		{"Connection", http.Header{"Connection": {"close"}}, "Connection is the handshake's own"},
		{"Sec-WebSocket-Accept", http.Header{"Sec-WebSocket-Accept": {"x"}}, "the handshake's own"},
		{"Content-Length", http.Header{"Content-Length": {"5"}}, "the handshake's own"},
		{"Transfer-Encoding", http.Header{"Transfer-Encoding": {"chunked"}}, "the handshake's own"},
	} {
		t.Run(test.name, func(t *testing.T) {
			errs := make(chan error, 1)
			s := startServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				for name, values := range test.header {
					w.Header()[name] = values
				}
				c, err := websocket.Upgrade(w, r)
				errs <- err
				if err == nil {
					c.CloseNow()
				}
			}))
			c := dialRaw(t, s.addr())
			c.send(handshake())
			resp, err := c.response(), <-errs
			if test.err != "" {
				if resp.StatusCode != 500 || err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("answered %s, got %v, want 500 and %s", resp.Status, err, test.err)
				}
				if body, err := io.ReadAll(resp.Body); string(body) != "500 Internal Server Error\n" || err != nil {
					t.Errorf("the client is told %q, %v", body, err)
				}
				return
			}
			if err != nil || resp.StatusCode != 101 {
				t.Fatalf("answered %s, got %v", resp.Status, err)
			}
			for name, want := range test.header {
				if got := resp.Header[name]; !slices.Equal(got, want) {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
		})
	}
}

func TestAccept(t *testing.T) {
	plain := errors.New("no such user")
	teapot := &websocket.HandshakeError{
		StatusCode: 418,
		Header:     http.Header{"Retry-After": {"5"}, "content-type": {"application/json"}},
		Body:       []byte(`{"tea":true}`),
		Err:        plain,
	}
	for _, test := range []struct {
		name   string
		err    error
		status int
		header map[string]string
		body   string
	}{
		{"accepted", nil, 101, map[string]string{"X-User": "u"}, ""},
		{"plain error", plain, 403, map[string]string{"X-User": "u", "Content-Type": "text/plain; charset=utf-8"}, "403 Forbidden\n"},
		{"HandshakeError", teapot, 418, map[string]string{"X-User": "u", "Retry-After": "5", "Content-Type": "application/json"}, `{"tea":true}`},
		{"wrapped", fmt.Errorf("wrapped: %w", teapot), 418, map[string]string{"Retry-After": "5"}, `{"tea":true}`},
		{"no body", &websocket.HandshakeError{StatusCode: 401, Header: http.Header{"Www-Authenticate": {"Basic"}}}, 401, map[string]string{"Www-Authenticate": "Basic"}, "401 Unauthorized\n"},
		{"empty body", &websocket.HandshakeError{StatusCode: 503, Body: []byte{}}, 503, nil, ""},
		{"redirect", &websocket.HandshakeError{StatusCode: 307, Header: http.Header{"Location": {"/x"}}}, 307, map[string]string{"Location": "/x"}, "307 Temporary Redirect\n"},
		{"zero", &websocket.HandshakeError{}, 403, nil, "403 Forbidden\n"},
		{"101", &websocket.HandshakeError{StatusCode: 101}, 403, nil, "403 Forbidden\n"},
		{"1000", &websocket.HandshakeError{StatusCode: 1000}, 403, nil, "403 Forbidden\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			errs := make(chan error, 1)
			u := &websocket.Upgrader{Accept: func(r *http.Request, h http.Header) error {
				if r.URL.Path != "/chat" {
					t.Errorf("path %q", r.URL.Path)
				}
				h.Set("X-User", "u")
				return test.err
			}}
			s := startServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				c, err := u.Upgrade(w, r)
				errs <- err
				if err == nil {
					c.CloseNow()
				}
			}))
			c := dialRaw(t, s.addr())
			c.send(handshake())
			resp, err := c.response(), <-errs
			if resp.StatusCode != test.status {
				t.Errorf("status %d, want %d", resp.StatusCode, test.status)
			}
			for name, want := range test.header {
				if got := resp.Header.Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
			if test.status == 101 {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if body, err := io.ReadAll(resp.Body); string(body) != test.body || err != nil {
				t.Errorf("body %q, %v, want %q", body, err, test.body)
			}
			refused, ok := errors.AsType[*websocket.HandshakeError](err)
			if !ok || refused.StatusCode != test.status {
				t.Errorf("got %v, want a HandshakeError with %d", err, test.status)
			}
			if errors.Is(test.err, plain) && !errors.Is(err, plain) {
				t.Errorf("got %v, want %v in it", err, plain)
			}
		})
	}
	if teapot.StatusCode != 418 || len(teapot.Header) != 2 {
		t.Errorf("the hook's error has become %v", teapot)
	}
}

// Accept is not asked about what is refused anyway.
func TestAcceptComesLast(t *testing.T) {
	u := &websocket.Upgrader{Accept: func(*http.Request, http.Header) error {
		t.Error("Accept was called")
		return nil
	}}
	for _, fields := range []string{"Origin: null", "Sec-WebSocket-Protocol: ,", "Content-Length: 5"} {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(handshake(fields) + "hello")))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := u.Upgrade(httptest.NewRecorder(), r); err == nil {
			t.Errorf("%s: no error", fields)
		}
	}
}

func TestUpgraderMisuse(t *testing.T) {
	for _, u := range []*websocket.Upgrader{
		{Subprotocols: []string{"a b"}},
		{Subprotocols: []string{"a", "a"}},
		{Origins: []string{"https://a.example/"}},
		{Compression: &websocket.Compression{Level: 9}},
		{Compression: &websocket.Compression{ServerMaxWindowBits: 8}},
	} {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(handshake("Origin: http://b.example"))))
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		_, err = u.Upgrade(w, r)
		if refused, ok := errors.AsType[*websocket.HandshakeError](err); !ok || refused.StatusCode != 500 || w.Code != 500 {
			t.Errorf("%+v: got %v, answered %d", u, err, w.Code)
		}
		if got := w.Body.String(); got != "500 Internal Server Error\n" {
			t.Errorf("%+v: the client is told %q", u, got)
		}
	}
}

func TestCheckOriginHook(t *testing.T) {
	u := &websocket.Upgrader{
		Origins:     []string{"*"},
		CheckOrigin: func(r *http.Request) bool { return r.Header.Get("Origin") == "null" },
	}
	s := startServer(t, upgrade(u, func(c *websocket.Conn) {}))
	for _, test := range []struct {
		fields []string
		status int
	}{
		{[]string{"Origin: null"}, 101},
		{[]string{"Origin: http://server.example.com"}, 403},
		{nil, 403}, // it replaces all of the check
	} {
		c := dialRaw(t, s.addr())
		c.send(handshake(test.fields...))
		if resp := c.response(); resp.StatusCode != test.status {
			t.Errorf("%q: status %d, want %d", test.fields, resp.StatusCode, test.status)
		}
	}
}

// A proxy that ends TLS does not make a page foreign if it forwards the Host
// header field; if it does not, the refusal says that it should.
func TestOriginBehindProxy(t *testing.T) {
	backend := startServer(t, upgrade(&websocket.Upgrader{}, echoMessages))
	target, err := url.Parse(backend.URL)
	if err != nil {
		t.Fatal(err)
	}
	for _, forward := range []bool{true, false} {
		proxy := newServer(t, &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			if forward {
				r.Out.Host = r.In.Host
			}
			r.Out.Header.Set("X-Forwarded-Host", r.In.Host) // counts for nothing
		}})
		proxy.StartTLS()
		d := &websocket.Dialer{
			TLSConfig: proxy.Client().Transport.(*http.Transport).TLSClientConfig,
			Header:    http.Header{"Origin": {proxy.URL}},
		}
		c, resp, err := d.Dial(t.Context(), proxy.wsURL())
		if forward {
			if err != nil {
				t.Fatal(err)
			}
			c.Close(websocket.StatusNormalClosure, "")
			continue
		}
		if err == nil || resp.StatusCode != 403 {
			t.Fatalf("got %v, want 403", err)
		}
		body, _ := io.ReadAll(resp.Body)
		for _, want := range []string{proxy.URL, backend.addr(), "forward", "Upgrader.Origins"} {
			if !strings.Contains(string(body), want) {
				t.Errorf("the client is not told %q: %s", want, body)
			}
		}
	}
}

func TestUpgradeSubprotocol(t *testing.T) {
	s := startServer(t, upgrade(&websocket.Upgrader{Subprotocols: []string{"b", "c"}}, func(c *websocket.Conn) {
		c.Write(context.Background(), websocket.MessageText, []byte(c.Subprotocol()))
		c.Close(websocket.StatusNormalClosure, "")
	}))
	for _, test := range []struct {
		offered []string
		want    string
	}{
		{nil, ""},
		{[]string{"a"}, ""},
		{[]string{"a", "c", "b"}, "b"},
	} {
		c, resp, err := (&websocket.Dialer{Subprotocols: test.offered}).Dial(t.Context(), s.wsURL())
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Subprotocol(); got != test.want || resp.Header.Get("Sec-WebSocket-Protocol") != test.want {
			t.Errorf("%q: client has %q, want %q", test.offered, got, test.want)
		}
		if _, p, err := c.Read(t.Context()); string(p) != test.want || err != nil {
			t.Errorf("%q: server has %q, %v, want %q", test.offered, p, err, test.want)
		}
		c.Close(websocket.StatusNormalClosure, "")
	}
}

func TestUpgradeCompression(t *testing.T) {
	u := &websocket.Upgrader{Compression: &websocket.Compression{ClientMaxWindowBits: 10}}
	s := startServer(t, upgrade(u, echoMessages))
	off := startServer(t, upgrade(&websocket.Upgrader{}, echoMessages))
	const hello = "\xf2\x48\xcd\xc9\xc9\x07\x00" // RFC 7692, section 7.2.3.1
	for _, test := range []struct {
		server *server
		offer  string
		want   []string
	}{
		{s, "", nil},
		{s, "Sec-WebSocket-Extensions: x", nil},
		{s, "Sec-WebSocket-Extensions: permessage-deflate; x", nil},
		{s, "Sec-WebSocket-Extensions: x\r\nSec-WebSocket-Extensions: y, permessage-deflate; client_max_window_bits",
			[]string{"permessage-deflate; client_max_window_bits=10"}},
		{off, "Sec-WebSocket-Extensions: permessage-deflate", nil},
	} {
		c := dialRaw(t, test.server.addr())
		if test.offer == "" {
			c.send(handshake())
		} else {
			c.send(handshake(test.offer))
		}
		// To have an empty header field would make some clients fail.
		if got := c.response().Header["Sec-Websocket-Extensions"]; !slices.Equal(got, test.want) {
			t.Errorf("%q: got %q, want %q", test.offer, got, test.want)
		}
		c.send("\xc1\x87\x00\x00\x00\x00" + hello)
		if test.want != nil {
			c.expectText("Hello")
		} else {
			c.expectClose(websocket.StatusProtocolError)
		}
	}

	c := dialRaw(t, off.addr())
	c.send(handshake("Sec-WebSocket-Extensions: permessage-deflate; =1"))
	if resp := c.response(); resp.StatusCode != 400 {
		t.Errorf("malformed offer: got %s, want 400", resp.Status)
	}
}

// A hijacker is a ResponseWriter whose connection is conn.
type hijacker struct {
	http.ResponseWriter
	conn net.Conn
}

func (w hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return w.conn, bufio.NewReadWriter(bufio.NewReader(w.conn), bufio.NewWriter(w.conn)), nil
}

// A spyConn notes what is done to it, and fails where it is told to.
type spyConn struct {
	net.Conn
	writes      []string
	deadline    time.Time // of both
	closed      atomic.Int32
	writeErr    error
	deadlineErr error
}

func (c *spyConn) Write(p []byte) (int, error) {
	c.writes = append(c.writes, string(p))
	if c.writeErr != nil {
		return 0, c.writeErr
	}
	return c.Conn.Write(p)
}

func (c *spyConn) SetDeadline(t time.Time) error {
	c.deadline = t
	if c.deadlineErr != nil {
		return c.deadlineErr
	}
	return c.Conn.SetDeadline(t)
}

func (c *spyConn) Close() error {
	c.closed.Add(1)
	return c.Conn.Close()
}

func sampleRequest(t *testing.T) *http.Request {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(handshake())))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestUpgradeIsOneWrite(t *testing.T) {
	a, b := testnet.Pipe()
	spy := &spyConn{Conn: a, deadline: time.Unix(1, 0)}
	c, err := websocket.Upgrade(hijacker{httptest.NewRecorder(), spy}, sampleRequest(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(spy.writes) != 1 || spy.writes[0] != switched {
		t.Errorf("got writes %q, want %q", spy.writes, switched)
	}
	if !spy.deadline.IsZero() {
		t.Errorf("left with the deadline %v", spy.deadline)
	}
	newRaw(t, b).expect(switched)
	c.CloseNow()
}

// What fails after the connection was taken over closes it.
func TestUpgradeFailureCloses(t *testing.T) {
	failure := errors.New("failure")
	spy := &spyConn{writeErr: failure}
	spy.Conn, _ = testnet.Pipe()
	w := httptest.NewRecorder()
	c, err := websocket.Upgrade(hijacker{w, spy}, sampleRequest(t))
	if c != nil || !errors.Is(err, failure) || !strings.HasPrefix(err.Error(), "websocket: ") {
		t.Errorf("got %v, %v, want the failure", c, err)
	}
	if spy.closed.Load() != 1 {
		t.Errorf("closed %d times", spy.closed.Load())
	}
	if w.Body.Len() > 0 {
		t.Errorf("answered %q behind the response", w.Body)
	}
}

// A net.Conn need not have deadlines.
func TestUpgradeWithoutDeadlines(t *testing.T) {
	a, b := testnet.Pipe()
	spy := &spyConn{Conn: a, deadlineErr: os.ErrNoDeadline}
	c, err := websocket.Upgrade(hijacker{httptest.NewRecorder(), spy}, sampleRequest(t))
	if err != nil {
		t.Fatal(err)
	}
	newRaw(t, b).expect(switched)
	c.CloseNow()
}

// A client that does not read is given HandshakeTimeout.
func TestUpgradeTimeout(t *testing.T) {
	for _, test := range []struct{ set, want time.Duration }{
		{0, 10 * time.Second},
		{3 * time.Second, 3 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			a, b := testnet.Pipe()
			defer b.Close()
			b.SetReadBuffer(1)
			spy := &spyConn{Conn: a}
			start := time.Now()
			c, err := (&websocket.Upgrader{HandshakeTimeout: test.set}).Upgrade(hijacker{httptest.NewRecorder(), spy}, sampleRequest(t))
			if c != nil || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("got %v, %v, want a timeout", c, err)
			}
			if took := time.Since(start); took != test.want {
				t.Errorf("took %v, want %v", took, test.want)
			}
			if spy.closed.Load() != 1 {
				t.Errorf("closed %d times", spy.closed.Load())
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		a, b := testnet.Pipe()
		b.SetReadBuffer(1)
		time.AfterFunc(time.Hour, func() { io.ReadFull(b, make([]byte, len(switched))) })
		c, err := (&websocket.Upgrader{HandshakeTimeout: -1}).Upgrade(hijacker{httptest.NewRecorder(), a}, sampleRequest(t))
		if err != nil {
			t.Fatalf("without a timeout: %v", err)
		}
		c.CloseNow()
	})
}

// A connection keeps nothing of its request alive.
func TestUpgradeKeepsNothing(t *testing.T) {
	type pointers struct {
		request weak.Pointer[http.Request]
		field   weak.Pointer[byte]
	}
	kept := make(chan pointers, 1)
	s := startServer(t, new(websocket.Upgrader).Handler(func(w http.ResponseWriter, r *http.Request) (func(context.Context, *websocket.Conn), error) {
		field := make([]byte, 1<<10)
		w.Header().Set("X-Large", string(bytes.Repeat([]byte("x"), 1<<10)))
		r = r.WithContext(context.WithValue(r.Context(), pointers{}, field))
		kept <- pointers{weak.Make(r), weak.Make(&field[0])}
		return func(ctx context.Context, c *websocket.Conn) { echoMessages(c) }, nil
	}))
	c := dialRaw(t, s.addr())
	c.send(handshake())
	if resp := c.response(); resp.StatusCode != 101 {
		t.Fatal(resp.Status)
	}
	c.send(frame("x"))
	c.expectText("x")
	p := <-kept
	for deadline := time.Now().Add(wait); p.request.Value() != nil || p.field.Value() != nil; runtime.GC() {
		if time.Now().After(deadline) {
			t.Fatal("the request is still in memory")
		}
	}
	c.send(frame("y"))
	c.expectText("y")
}

// handle returns the Handler of an Upgrader that serves each connection with serve.
func handle(serve func(context.Context, *websocket.Conn)) http.Handler {
	return new(websocket.Upgrader).Handler(func(http.ResponseWriter, *http.Request) (func(context.Context, *websocket.Conn), error) {
		return serve, nil
	})
}

func TestHandler(t *testing.T) {
	returned := make(chan struct{})
	h := handle(func(ctx context.Context, c *websocket.Conn) {
		<-returned // the handler does not wait for us
		if ctx.Err() != nil || ctx.Value(http.ServerContextKey) != nil {
			t.Errorf("Err %v, and a value of the request", ctx.Err())
		}
		if _, ok := ctx.Deadline(); ok {
			t.Error("the context has a deadline")
		}
		for {
			typ, p, err := c.Read(ctx)
			if err != nil {
				return
			}
			if string(p) == "end" {
				return
			}
			c.Write(ctx, typ, p)
		}
	})
	s := startServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r)
		close(returned)
	}))
	c := dialRaw(t, s.addr())
	c.send(handshake() + frame("a"))
	c.expect(switched)
	c.expectText("a")
	c.send(frame("b") + frame("end"))
	c.expectText("b")
	c.expectClose(websocket.StatusNormalClosure)
}

// What serve has closed stays closed with what it said.
func TestHandlerClosed(t *testing.T) {
	s := startServer(t, handle(func(ctx context.Context, c *websocket.Conn) {
		c.Close(websocket.StatusGoingAway, "bye")
	}))
	c := dialRaw(t, s.addr())
	c.send(handshake())
	c.expect(switched)
	c.expectClose(websocket.StatusGoingAway)
}

func TestHandlerRefuses(t *testing.T) {
	failure := errors.New("not for the client")
	type serveFunc = func(context.Context, *websocket.Conn)
	never := func(context.Context, *websocket.Conn) { t.Error("serve was called") }
	for _, test := range []struct {
		name   string
		accept func(w http.ResponseWriter, r *http.Request) (serveFunc, error)
		status int
		body   string
	}{
		{"error", func(w http.ResponseWriter, r *http.Request) (serveFunc, error) {
			return never, failure
		}, 403, "403 Forbidden\n"},
		{"HandshakeError", func(w http.ResponseWriter, r *http.Request) (serveFunc, error) {
			return nil, &websocket.HandshakeError{StatusCode: 401, Body: []byte("who?"), Err: failure}
		}, 401, "who?"},
		{"a page", func(w http.ResponseWriter, r *http.Request) (serveFunc, error) {
			io.WriteString(w, "page")
			return nil, nil
		}, 200, "page"},
		{"an answer and an error", func(w http.ResponseWriter, r *http.Request) (serveFunc, error) {
			http.Error(w, "full", http.StatusServiceUnavailable)
			return nil, failure
		}, 503, "full\n"},
		{"an answer and a function", func(w http.ResponseWriter, r *http.Request) (serveFunc, error) {
			w.WriteHeader(204)
			return never, nil
		}, 204, ""},
		{"an answer by Flush", func(w http.ResponseWriter, r *http.Request) (serveFunc, error) {
			return never, http.NewResponseController(w).Flush()
		}, 200, ""},
		{"an answer by Hijack", func(w http.ResponseWriter, r *http.Request) (serveFunc, error) {
			nc, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				io.WriteString(nc, "HTTP/1.1 202 \r\nContent-Length: 2\r\n\r\nok")
				nc.Close()
			}
			return never, err
		}, 202, "ok"},
		{"a deadline", func(w http.ResponseWriter, r *http.Request) (serveFunc, error) {
			return nil, http.NewResponseController(w).SetWriteDeadline(time.Now().Add(wait))
		}, 500, "500 Internal Server Error\n"},
		{"early hints", func(w http.ResponseWriter, r *http.Request) (serveFunc, error) {
			w.WriteHeader(103)
			return nil, failure
		}, 103, ""},
		{"neither", func(w http.ResponseWriter, r *http.Request) (serveFunc, error) {
			return nil, nil
		}, 500, "500 Internal Server Error\n"},
		{"no handshake", func(w http.ResponseWriter, r *http.Request) (serveFunc, error) {
			r.Header.Del("Sec-WebSocket-Key")
			return never, nil
		}, 400, "the request has no Sec-WebSocket-Key of 16 bytes (RFC 6455, section 4.2.1)\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := startServer(t, new(websocket.Upgrader).Handler(test.accept))
			c := dialRaw(t, s.addr())
			c.send(handshake())
			resp := c.response()
			if resp.StatusCode != test.status {
				t.Fatalf("status %d, want %d", resp.StatusCode, test.status)
			}
			if resp.StatusCode == 103 {
				if resp = c.response(); resp.StatusCode != 403 {
					t.Errorf("status %d behind the hints, want 403", resp.StatusCode)
				}
				return
			}
			if body, err := io.ReadAll(resp.Body); string(body) != test.body || err != nil {
				t.Errorf("body %q, %v, want %q", body, err, test.body)
			}
		})
	}
}

// A failed Hijack of accept leaves the request to be answered.
func TestHandlerHijackFails(t *testing.T) {
	h := new(websocket.Upgrader).Handler(func(w http.ResponseWriter, r *http.Request) (func(context.Context, *websocket.Conn), error) {
		_, _, err := http.NewResponseController(w).Hijack()
		return nil, err
	})
	w := httptest.NewRecorder()
	h.ServeHTTP(opaque{w}, sampleRequest(t))
	if w.Code != 403 {
		t.Errorf("answered %d, want 403", w.Code)
	}
}

// The context of serve ends with the connection, whose
// error is the cause.
func TestHandlerContext(t *testing.T) {
	causes := make(chan error, 1)
	s := startServer(t, handle(func(ctx context.Context, c *websocket.Conn) {
		derived, cancel := context.WithCancel(ctx)
		defer cancel()
		if err := context.Cause(ctx); err != nil {
			t.Errorf("cause %v before the end", err)
		}
		var reading sync.WaitGroup
		reading.Go(func() { c.Read(context.Background()) })
		<-derived.Done()
		reading.Wait()
		if err := ctx.Err(); err != context.Canceled {
			t.Errorf("Err: %v, want context.Canceled", err)
		}
		if err := context.Cause(ctx); err != c.Err() {
			t.Errorf("cause %v, want %v", err, c.Err())
		}
		_, _, err := c.Read(ctx)
		causes <- err
	}))
	c := dialRaw(t, s.addr())
	c.send(handshake())
	c.expect(switched)
	c.Conn.Close()
	if err := <-causes; websocket.CloseStatus(err) != websocket.StatusAbnormalClosure {
		t.Errorf("got %v, want the end of the connection", err)
	}
}

func TestHandlerPanic(t *testing.T) {
	s := newServer(t, handle(panickingServe))
	s.Start()
	c := dialRaw(t, s.addr())
	c.send(handshake())
	c.expect(switched)
	c.expectClose(websocket.StatusInternalError)
	text := s.log.String()
	for _, want := range []string{"websocket: panic serving 127.0.0.1:", "oh dear", "panickingServe"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in the log:\n%s", want, text)
		}
	}
}

func panickingServe(context.Context, *websocket.Conn) { panic("oh dear") }

// http.ErrAbortHandler means that somebody has seen to it, as in net/http.
func TestHandlerAbort(t *testing.T) {
	s := startServer(t, handle(func(context.Context, *websocket.Conn) { panic(http.ErrAbortHandler) }))
	c := dialRaw(t, s.addr())
	c.send(handshake())
	c.expect(switched)
	c.expectClose(websocket.StatusInternalError)
}

// Without an ErrorLog, and without a server of net/http, the
// log package's own has it.
func TestHandlerPanicDefaultLog(t *testing.T) {
	text := new(logBuffer)
	log.SetOutput(text)
	defer log.SetOutput(os.Stderr)

	s := newServer(t, handle(panickingServe))
	s.Config.ErrorLog = nil
	s.Start()
	c := dialRaw(t, s.addr())
	c.send(handshake())
	c.expect(switched)
	c.expectClose(websocket.StatusInternalError)

	a, b := testnet.Pipe()
	handle(panickingServe).ServeHTTP(hijacker{httptest.NewRecorder(), a}, sampleRequest(t))
	p := newRaw(t, b)
	p.expect(switched)
	p.expectClose(websocket.StatusInternalError)

	if n := strings.Count(text.String(), "oh dear"); n != 2 {
		t.Errorf("logged %d times, want 2:\n%s", n, text)
	}
}

// Handshakes that fail, at whatever point, leave no descriptor.
func TestUpgradeLeavesNoDescriptor(t *testing.T) {
	s := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/chat" {
			w.Header().Set("X", "a\nb")
		}
		if c, err := websocket.Upgrade(w, r); err == nil {
			c.CloseNow()
		}
	}))
	s.Start()
	try := func() {
		for _, request := range []string{handshake(), strings.Replace(handshake(), "/chat", "/", 1), handshake("Origin: null")} {
			c := dialRaw(t, s.addr())
			c.send(request)
			c.response()
			c.Conn.Close()
		}
	}
	try()
	before := descriptors(t)
	for range 50 {
		try()
	}
	s.CloseClientConnections()
	for deadline := time.Now().Add(wait); descriptors(t) > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d descriptors, %d before", descriptors(t), before)
		}
	}
}

// descriptors returns how many descriptors the process has open.
func descriptors(t *testing.T) int {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("the system does not tell open descriptors")
	}
	return len(fds)
}

// TLS is nothing special to an Upgrader.
func TestUpgradeTLS(t *testing.T) {
	s := newServer(t, upgrade(&websocket.Upgrader{}, echoMessages))
	s.StartTLS()
	nc, err := tls.Dial("tcp", s.addr(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	nc.SetDeadline(time.Now().Add(wait))
	c := newRaw(t, nc)
	text := strings.Repeat("x", 10_000)
	c.send(handshake("Origin: https://server.example.com") + frame(text))
	c.expect(switched)
	c.expectText(text)

	nc, err = tls.Dial("tcp", s.addr(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	nc.SetDeadline(time.Now().Add(wait))
	c = newRaw(t, nc)
	c.send(handshake("Origin: http://server.example.com"))
	if resp := c.response(); resp.StatusCode != 403 {
		t.Errorf("a page without TLS: %s, want 403", resp.Status)
	}
}
