//go:build js && external

package websocket_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall/js"
	"testing"
	"time"

	"github.com/tidewire/websocket"
	"github.com/tidewire/websocket/internal/testnet"
)

// These tests run in a browser, and talk to the server of interop/wasm_test.go, which builds them, starts both,
// and has its own view of the ends of the connections to /end/.

// dial opens a connection to path of the server.
func dial(t *testing.T, d websocket.Dialer, path string) (*websocket.Conn, *http.Response) {
	t.Helper()
	c, resp, err := d.Dial(t.Context(), os.Getenv("WEBSOCKET_TEST_SERVER")+path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.CloseNow() })
	return c, resp
}

var browserLengths = []int{0, 1, 125, 126, 65535, 65536, 300_000}

// Messages of all lengths go there and back, in every way to write and to read them.
func TestBrowserMessages(t *testing.T) {
	d := websocket.Dialer{Subprotocols: []string{"superchat", "chat"}, Compression: &websocket.Compression{}}
	c, resp := dial(t, d, "/echo")
	if resp.StatusCode != 101 || resp.Header.Get("Sec-WebSocket-Protocol") != "chat" || c.Subprotocol() != "chat" ||
		!strings.HasPrefix(resp.Header.Get("Sec-WebSocket-Extensions"), "permessage-deflate") {
		t.Errorf("got the response %v, subprotocol %q", resp, c.Subprotocol())
	}
	if host := resp.Request.URL.Host; c.RemoteAddr().String() != host {
		t.Errorf("got the address %v, want %v", c.RemoteAddr(), host)
	}
	write := map[string]func(typ websocket.MessageType, data []byte) error{
		"Write": func(typ websocket.MessageType, data []byte) error { return c.Write(t.Context(), typ, data) },
		"NextWriter": func(typ websocket.MessageType, data []byte) error {
			w, err := c.NextWriter(t.Context(), typ)
			if err != nil {
				return err
			}
			_, err = w.Write(data)
			return errors.Join(err, w.Close())
		},
		"WriteBatch": func(typ websocket.MessageType, data []byte) error {
			return c.WriteBatch(t.Context(), websocket.Message{Type: typ, Data: data})
		},
		"WritePrepared": func(typ websocket.MessageType, data []byte) error {
			m, err := websocket.NewPreparedMessage(typ, data)
			return errors.Join(err, c.WritePrepared(t.Context(), m), c.Flush(t.Context()))
		},
	}
	read := map[string]func() (websocket.MessageType, []byte, error){
		"Read": func() (websocket.MessageType, []byte, error) { return c.Read(t.Context()) },
		"NextReader": func() (websocket.MessageType, []byte, error) {
			typ, r, err := c.NextReader(t.Context())
			if err != nil {
				return 0, nil, err
			}
			data, err := io.ReadAll(r)
			return typ, data, err
		},
		"Messages": func() (websocket.MessageType, []byte, error) {
			for m, err := range c.Messages(t.Context()) {
				return m.Type, bytes.Clone(m.Data), err
			}
			return 0, nil, c.Err()
		},
	}
	for how, write := range write {
		for to, read := range read {
			for _, n := range browserLengths {
				for _, typ := range []websocket.MessageType{websocket.MessageText, websocket.MessageBinary} {
					data := bytes.Repeat([]byte("ü"), n/2+1)[:n&^1]
					if typ == websocket.MessageBinary {
						data = bytes.Repeat([]byte{0xff}, n)
					}
					err := write(typ, data)
					gotType, got, readErr := read()
					if err != nil || readErr != nil || gotType != typ || !bytes.Equal(got, data) {
						t.Fatalf("%s, %s, %v of %d bytes: got %v of %d, %v, %v", how, to, typ, len(data), gotType, len(got), err, readErr)
					}
				}
			}
		}
	}
}

// Many goroutines write at once, and a message is never in another.
func TestBrowserConcurrent(t *testing.T) {
	c, _ := dial(t, websocket.Dialer{Batching: true}, "/echo")
	const writers, each = 20, 20
	var writing sync.WaitGroup
	for i := range writers {
		writing.Go(func() {
			for n := range each {
				if err := c.Write(t.Context(), websocket.MessageText, fmt.Appendf(nil, "%d %s", i, strings.Repeat("x", n*500))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	next := make(map[string]int)
	for range writers * each {
		_, data, err := c.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		name, rest, _ := strings.Cut(string(data), " ")
		if len(rest) != next[name]*500 {
			t.Fatalf("got message %d of %s, want %d", len(rest)/500, name, next[name])
		}
		next[name]++
	}
	writing.Wait()
}

// What comes at once, together with the end, is read first, and a read that is cut short loses nothing.
func TestBrowserBurst(t *testing.T) {
	c, _ := dial(t, websocket.Dialer{}, "/burst")
	for i := range 1000 {
		if i%10 == 0 {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if _, _, err := c.Read(ctx); err != context.Canceled {
				t.Fatal(err)
			}
		}
		if _, data, err := c.Read(t.Context()); err != nil || string(data) != fmt.Sprint(i) {
			t.Fatalf("got %q, %v, want %d", data, err, i)
		}
	}
	_, _, err := c.Read(t.Context())
	var end *websocket.CloseError
	if !errors.As(err, &end) || end.Code != websocket.StatusGoingAway || end.Reason != "that is all" || end.Local {
		t.Errorf("got %v", err)
	}
	if err := c.Write(t.Context(), websocket.MessageText, nil); err != end {
		t.Errorf("Write: %v", err)
	}
	if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// A read waits under its context, and goes on afterwards.
func TestBrowserCancel(t *testing.T) {
	c, _ := dial(t, websocket.Dialer{}, "/echo")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := c.Read(ctx); err != context.DeadlineExceeded {
		t.Fatal(err)
	}
	if err := c.Write(t.Context(), websocket.MessageText, []byte("after")); err != nil {
		t.Fatal(err)
	}
	if _, data, err := c.Read(t.Context()); string(data) != "after" || err != nil {
		t.Fatalf("got %q, %v", data, err)
	}
}

// The ends of connections, as this side has them.
func TestBrowserEnds(t *testing.T) {
	for _, test := range []struct {
		path string // what is behind /end/ is the server's
		end  func(c *websocket.Conn) error
		want websocket.StatusCode
		err  string
	}{
		{"/end/normal", func(c *websocket.Conn) error { return c.Close(websocket.StatusNormalClosure, "bye") }, 1000, ""},
		{"/end/private", func(c *websocket.Conn) error { return c.Close(4000, strings.Repeat("ü", 100)) }, 4000, ""},
		{"/end/none", func(c *websocket.Conn) error { return c.Close(websocket.StatusNoStatusReceived, "") }, 1005, ""},
		{"/end/now", func(c *websocket.Conn) error { return c.CloseNow() }, 1006, ""},
		{"/drop", func(c *websocket.Conn) error { _, _, err := c.Read(t.Context()); return err }, 1006, "connection lost"},
		{"/end/limit", func(c *websocket.Conn) error {
			c.Write(t.Context(), websocket.MessageText, []byte(strings.Repeat("x", 101)))
			_, _, err := c.Read(t.Context())
			return err
		}, 1009, "read limit"},
		{"/end/text", func(c *websocket.Conn) error {
			return c.Write(t.Context(), websocket.MessageText, []byte{0xff})
		}, 1006, "not UTF-8"},
	} {
		c, _ := dial(t, websocket.Dialer{ReadLimit: 100}, test.path)
		err := test.end(c)
		if test.err == "" && err != nil || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s: got %v, want %q", test.path, err, test.err)
		}
		if got := websocket.CloseStatus(c.Err()); got != test.want {
			t.Errorf("%s: got the end %v, want %d", test.path, c.Err(), test.want)
		}
		<-c.Done()
	}
}

// What a browser does not do says so, and the connection stays as it is.
func TestBrowserRefuses(t *testing.T) {
	c, _ := dial(t, websocket.Dialer{}, "/echo")
	if _, err := c.Ping(t.Context()); err == nil || !strings.Contains(err.Error(), "Ping") {
		t.Errorf("Ping: %v", err)
	}
	if err := c.Close(websocket.StatusGoingAway, ""); err == nil || !strings.Contains(err.Error(), "1000 and 3000 to 4999") {
		t.Errorf("Close: %v", err)
	}
	if err := c.Err(); err != nil {
		t.Fatal(err)
	}
	jar, _ := cookiejar.New(nil)
	for name, d := range map[string]websocket.Dialer{
		"Header":      {Header: http.Header{"Authorization": {"x"}}},
		"TLSConfig":   {TLSConfig: new(tls.Config)},
		"Proxy":       {Proxy: func(*http.Request) (*url.URL, error) { return nil, nil }},
		"ProxyHeader": {ProxyHeader: http.Header{"X": {"y"}}},
		"HTTP2":       {HTTP2: http.DefaultTransport},
		"Jar":         {Jar: jar},
	} {
		_, _, err := d.Dial(t.Context(), os.Getenv("WEBSOCKET_TEST_SERVER")+"/echo")
		if err == nil || !strings.HasPrefix(err.Error(), "websocket: Dialer."+name+": ") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// A handshake that fails, and one that takes too long.
func TestBrowserDialFails(t *testing.T) {
	server := os.Getenv("WEBSOCKET_TEST_SERVER")
	for _, path := range []string{"/refuse", "/nowhere"} {
		if _, _, err := websocket.Dial(t.Context(), server+path); err == nil || !strings.Contains(err.Error(), "could not open") {
			t.Errorf("%s: got %v", path, err)
		}
	}
	if _, _, err := websocket.Dial(t.Context(), "ws://127.0.0.1:1/"); err == nil {
		t.Error("a connection to port 1")
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	time.AfterFunc(50*time.Millisecond, func() { cancel(enough) })
	if _, _, err := websocket.Dial(ctx, server+"/silent"); !errors.Is(err, enough) {
		t.Errorf("got %v, want the cause of the context", err)
	}
	d := websocket.Dialer{HandshakeTimeout: 50 * time.Millisecond}
	if _, _, err := d.Dial(t.Context(), server+"/silent"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the end of HandshakeTimeout", err)
	}
}

// A browser that has more to send than it should makes a write wait, until that takes too long. When it
// says that it has is up to it: some take any amount.
func TestBrowserBackpressure(t *testing.T) {
	c, _ := dial(t, websocket.Dialer{WriteTimeout: 500 * time.Millisecond}, "/echo")
	prototype := js.Global().Get("WebSocket").Get("prototype")
	object := js.Global().Get("Object")
	original := object.Call("getOwnPropertyDescriptor", prototype, "bufferedAmount")
	restore := func() { object.Call("defineProperty", prototype, "bufferedAmount", original) }
	tooMuch := map[string]any{"configurable": true, "value": 1<<20 + 1}
	object.Call("defineProperty", prototype, "bufferedAmount", tooMuch)
	defer restore()

	const meanwhile = 100 * time.Millisecond
	start := time.Now()
	time.AfterFunc(meanwhile, restore)
	if err := c.Write(t.Context(), websocket.MessageText, []byte("waits")); err != nil || time.Since(start) < meanwhile {
		t.Errorf("Write: %v, after %v", err, time.Since(start))
	}
	object.Call("defineProperty", prototype, "bufferedAmount", tooMuch)
	if err := c.Write(t.Context(), websocket.MessageText, []byte("gives up")); err == nil || !strings.Contains(err.Error(), "WriteTimeout") {
		t.Errorf("got %v, want the end of WriteTimeout", err)
	}
}

// A Dialer with a DialContext speaks the protocol itself, and may ask for anything.
func TestBrowserDialContext(t *testing.T) {
	near, far := testnet.Pipe()
	type upgraded struct {
		c   *websocket.Conn
		r   *http.Request
		err error
	}
	accepted := make(chan upgraded, 1)
	go func() {
		c, r, err := new(websocket.Upgrader).UpgradeConn(t.Context(), far)
		accepted <- upgraded{c, r, err}
	}()
	d := websocket.Dialer{
		Header:      http.Header{"Authorization": {"x"}},
		DialContext: func(context.Context, string, string) (net.Conn, error) { return near, nil },
	}
	c, _, err := d.Dial(t.Context(), "ws://somewhere/")
	server := <-accepted
	if err != nil || server.err != nil || server.r.Header.Get("Authorization") != "x" {
		t.Fatalf("got %v, %v", err, server.err)
	}
	defer c.CloseNow()
	defer server.c.CloseNow()
	server.c.CloseRead(t.Context())
	reading, stop := context.WithCancel(t.Context())
	defer stop()
	c.CloseRead(reading)
	if _, err := c.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	stop()
	if err := c.Close(websocket.StatusGoingAway, ""); err != nil {
		t.Error(err)
	}
}

// A Trace is told of messages.
func TestBrowserTrace(t *testing.T) {
	r := new(record)
	c, _ := dial(t, websocket.Dialer{Trace: r.trace()}, "/echo")
	c.Write(t.Context(), websocket.MessageText, []byte("traced"))
	c.Read(t.Context())
	c.Close(websocket.StatusNormalClosure, "")
	for range 100 { // until the socket is closed
		r.mu.Lock()
		ended := len(r.ends)
		r.mu.Unlock()
		if ended > 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	want := []string{"text, 6 bytes", "Close, 2 bytes"}
	if len(r.handshakes) != 1 || len(r.ends) != 1 || !slices.Equal(r.read, want) || !slices.Equal(r.written, want) {
		t.Errorf("got %+v", r)
	}
}
