//lint:file-ignore SA1019 the transport of net/http takes no :protocol

package websocket_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"expvar"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/tidewire/websocket"
	_ "github.com/tidewire/websocket/http2"
	"golang.org/x/net/http2"
)

// serverOf starts a server whose connections u accepts and serve serves.
func serverOf(u websocket.Upgrader, serve func(context.Context, *websocket.Conn)) *httptest.Server {
	return httptest.NewServer(u.Handler(func(http.ResponseWriter, *http.Request) (func(context.Context, *websocket.Conn), error) {
		return serve, nil
	}))
}

func echoAll(ctx context.Context, c *websocket.Conn) {
	for m, err := range c.Messages(ctx) {
		if err != nil {
			return
		}
		if err := c.Write(ctx, m.Type, m.Data); err != nil {
			return
		}
	}
}

// A server that sends back what it gets, in an http.HandlerFunc.
func ExampleUpgrade() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Upgrade(w, r)
		if err != nil {
			return // the request has been answered
		}
		defer c.CloseNow()
		ctx := context.Background() // the request's ends with this function
		for m, err := range c.Messages(ctx) {
			if err != nil {
				return
			}
			if err := c.Write(ctx, m.Type, m.Data); err != nil {
				return
			}
		}
	}))
	defer server.Close()

	ctx := context.Background()
	c, _, err := websocket.Dial(ctx, server.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.CloseNow()
	c.Write(ctx, websocket.MessageText, []byte("hello"))
	typ, data, err := c.Read(ctx)
	fmt.Println(typ, string(data), err)
	// Output: text hello <nil>
}

// A client: dial, write, read, close.
func ExampleDial() {
	server := serverOf(websocket.Upgrader{}, echoAll)
	defer server.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	c, _, err := websocket.Dial(ctx, server.URL) // or ws://… or wss://…
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.CloseNow()

	for _, line := range []string{"one", "two"} {
		if err := c.Write(ctx, websocket.MessageText, []byte(line)); err != nil {
			fmt.Println(err)
			return
		}
		_, data, err := c.Read(ctx)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(string(data))
	}
	fmt.Println(c.Close(websocket.StatusNormalClosure, ""))
	// Output:
	// one
	// two
	// <nil>
}

// A goroutine that only writes leaves reading to CloseRead, so that Pings are
// answered and it hears of the end.
func ExampleConn_CloseRead() {
	server := serverOf(websocket.Upgrader{}, func(ctx context.Context, c *websocket.Conn) {
		ctx = c.CloseRead(ctx)
		for i := 1; ; i++ {
			if err := c.Write(ctx, websocket.MessageText, fmt.Append(nil, "tick ", i)); err != nil {
				return
			}
			select {
			case <-time.After(10 * time.Millisecond):
			case <-ctx.Done():
				return
			}
		}
	})
	defer server.Close()

	ctx := context.Background()
	c, _, err := websocket.Dial(ctx, server.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	for m, err := range c.Messages(ctx) {
		fmt.Println(string(m.Data), err)
		if string(m.Data) == "tick 2" {
			c.Close(websocket.StatusGoingAway, "")
		}
	}
	// Output:
	// tick 1 <nil>
	// tick 2 <nil>
}

// A message for many connections is framed once.
func ExamplePreparedMessage() {
	var mu sync.Mutex
	clients := make(map[*websocket.Conn]bool)
	joined := make(chan bool)
	server := serverOf(websocket.Upgrader{}, func(ctx context.Context, c *websocket.Conn) {
		mu.Lock()
		clients[c] = true
		mu.Unlock()
		joined <- true
		<-c.CloseRead(ctx).Done()
		mu.Lock()
		delete(clients, c)
		mu.Unlock()
	})
	defer server.Close()

	ctx := context.Background()
	var conns []*websocket.Conn
	for range 3 {
		c, _, err := websocket.Dial(ctx, server.URL)
		if err != nil {
			fmt.Println(err)
			return
		}
		defer c.CloseNow()
		conns = append(conns, c)
		<-joined
	}

	news, err := websocket.NewPreparedMessage(websocket.MessageText, []byte("news for all"))
	if err != nil {
		fmt.Println(err)
		return
	}
	mu.Lock()
	for c := range clients {
		// A client that does not read is not to keep the others waiting for long.
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		if err := c.WritePrepared(ctx, news); err != nil {
			c.CloseNow()
		}
		cancel()
	}
	mu.Unlock()

	for _, c := range conns {
		_, data, err := c.Read(ctx)
		fmt.Println(string(data), err)
	}
	// Output:
	// news for all <nil>
	// news for all <nil>
	// news for all <nil>
}

// Whoever joins gets what was said before, in one system call, and framed once for all who do.
func ExampleConn_WritePreparedBatch() {
	var said []*websocket.PreparedMessage
	for _, text := range []string{"one", "two", "three"} {
		m, err := websocket.NewPreparedMessage(websocket.MessageText, []byte(text))
		if err != nil {
			fmt.Println(err)
			return
		}
		said = append(said, m)
	}
	server := serverOf(websocket.Upgrader{}, func(ctx context.Context, c *websocket.Conn) {
		c.WritePreparedBatch(ctx, said...)
		c.Close(websocket.StatusNormalClosure, "")
	})
	defer server.Close()

	ctx := context.Background()
	c, _, err := websocket.Dial(ctx, server.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.CloseNow()
	for m, err := range c.Messages(ctx) {
		fmt.Println(string(m.Data), err)
	}
	// Output:
	// one <nil>
	// two <nil>
	// three <nil>
}

// A file goes out in fragments, and comes in as a stream.
func ExampleMessageWriter() {
	server := serverOf(websocket.Upgrader{ReadLimit: 1 << 30}, func(ctx context.Context, c *websocket.Conn) {
		_, r, err := c.NextReader(ctx)
		if err != nil {
			return
		}
		n, err := io.Copy(io.Discard, r)
		c.Write(ctx, websocket.MessageText, fmt.Append(nil, n, " bytes, ", err))
		c.Close(websocket.StatusNormalClosure, "")
	})
	defer server.Close()

	ctx := context.Background()
	c, _, err := websocket.Dial(ctx, server.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.CloseNow()

	var file io.Reader = strings.NewReader(strings.Repeat("0123456789", 10_000)) // or an *os.File
	w, err := c.NextWriter(ctx, websocket.MessageBinary)
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := io.Copy(w, file); err != nil {
		w.Abort() // half a file must not look like a whole one
		return
	}
	if err := w.Close(); err != nil {
		fmt.Println(err)
		return
	}
	_, data, err := c.Read(ctx)
	fmt.Println(string(data), err)
	// Output: 100000 bytes, <nil> <nil>
}

// A reader that was cut short goes on under another context.
func ExampleMessageReader() {
	more := make(chan bool)
	server := serverOf(websocket.Upgrader{}, func(ctx context.Context, c *websocket.Conn) {
		w, err := c.NextWriter(ctx, websocket.MessageText)
		if err != nil {
			return
		}
		io.WriteString(w, strings.Repeat("a", 16<<10+1)) // the first fragment leaves
		<-more
		io.WriteString(w, "b")
		w.Close()
		<-c.CloseRead(ctx).Done()
	})
	defer server.Close()

	ctx := context.Background()
	c, _, err := websocket.Dial(ctx, server.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.CloseNow()

	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	_, r, err := c.NextReader(short)
	if err != nil {
		fmt.Println(err)
		return
	}
	begin, err := io.ReadAll(r)
	fmt.Println(len(begin), err)
	close(more)
	r.SetContext(ctx)
	end, err := io.ReadAll(r)
	fmt.Println(len(end), err)
	// Output:
	// 16384 context deadline exceeded
	// 2 <nil>
}

// http.Server.Shutdown knows nothing of connections that were upgraded. The server keeps
// them, and closes them with a code that tells clients to come back.
func ExampleConn_Close_shutdown() {
	var mu sync.Mutex
	conns := make(map[*websocket.Conn]bool)
	served := make(chan bool)
	server := serverOf(websocket.Upgrader{}, func(ctx context.Context, c *websocket.Conn) {
		mu.Lock()
		conns[c] = true
		mu.Unlock()
		served <- true
		echoAll(ctx, c)
		mu.Lock()
		delete(conns, c)
		mu.Unlock()
	})
	shutdown := func() {
		server.Config.Shutdown(context.Background()) // no new ones
		mu.Lock()
		defer mu.Unlock()
		var wg sync.WaitGroup
		for c := range conns {
			wg.Go(func() { c.Close(websocket.StatusGoingAway, "restart") })
		}
		wg.Wait() // CloseTimeout at the most
	}

	ctx := context.Background()
	c, _, err := websocket.Dial(ctx, server.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	<-served
	go shutdown()
	_, _, err = c.Read(ctx)
	fmt.Println(err)
	<-c.Done()
	server.Close()
	// Output: websocket: closed by the peer with 1001 (going away): "restart"
}

// A peer that is gone without a word is noticed after PingInterval and PingTimeout.
func ExampleDialer_keepalive() {
	wake := make(chan bool)
	server := serverOf(websocket.Upgrader{}, func(ctx context.Context, c *websocket.Conn) {
		<-wake // it does not read, so no Pong comes
	})
	defer server.Close()
	defer close(wake)

	d := websocket.Dialer{PingInterval: 20 * time.Millisecond, PingTimeout: 20 * time.Millisecond}
	ctx := context.Background()
	c, _, err := d.Dial(ctx, server.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, _, err = c.Read(ctx)
	fmt.Println(err)
	fmt.Println(errors.Is(err, os.ErrDeadlineExceeded))
	// Output:
	// websocket: connection lost: nothing received within PingTimeout of a Ping: i/o timeout
	// true
}

// The time that a Ping takes, which needs a read in progress.
func ExampleConn_Ping() {
	server := serverOf(websocket.Upgrader{}, echoAll)
	defer server.Close()

	ctx := context.Background()
	c, _, err := websocket.Dial(ctx, server.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.CloseNow()
	ctx = c.CloseRead(ctx)
	rtt, err := c.Ping(ctx)
	fmt.Println(rtt > 0, err)
	// Output: true <nil>
}

// A message beyond the ReadLimit ends the connection before it is read.
func ExampleUpgrader_limits() {
	server := serverOf(websocket.Upgrader{ReadLimit: 1000}, echoAll)
	defer server.Close()

	ctx := context.Background()
	c, _, err := websocket.Dial(ctx, server.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	c.Write(ctx, websocket.MessageBinary, make([]byte, 1001))
	_, _, err = c.Read(ctx)
	fmt.Println(websocket.CloseStatus(err) == websocket.StatusMessageTooBig)
	// Output: true
}

// A server without net/http, which takes a fraction of the memory for a handshake. It is shut down
// by closing the listener, and each connection with the status code for that.
func ExampleUpgrader_UpgradeConn() {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, shutdown := context.WithCancel(context.Background())
	defer shutdown()
	var u websocket.Upgrader
	var server sync.WaitGroup
	serve := func(nc net.Conn) {
		c, _, err := u.UpgradeConn(ctx, nc)
		if err != nil {
			return // and nc is closed
		}
		defer c.CloseNow()
		stop := context.AfterFunc(ctx, func() { c.Close(websocket.StatusGoingAway, "restart") })
		defer stop()
		echoAll(context.Background(), c)
	}
	server.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			server.Go(func() { serve(nc) })
		}
	})

	c, _, err := websocket.Dial(ctx, "ws://"+ln.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.CloseNow()
	c.Write(ctx, websocket.MessageText, []byte("hello"))
	_, data, err := c.Read(ctx)
	fmt.Println(string(data), err)

	ln.Close()
	shutdown()
	_, _, err = c.Read(context.Background())
	fmt.Println(err)
	server.Wait()
	// Output:
	// hello <nil>
	// websocket: closed by the peer with 1001 (going away): "restart"
}

// A server answers many small messages with few system calls: what it writes while others wait
// to be read leaves with the last answer.
func ExampleUpgrader_batching() {
	server := serverOf(websocket.Upgrader{Batching: true}, echoAll)
	defer server.Close()

	ctx := context.Background()
	c, _, err := websocket.Dial(ctx, server.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.CloseNow()
	c.WriteBatch(ctx,
		websocket.Message{Type: websocket.MessageText, Data: []byte("one")},
		websocket.Message{Type: websocket.MessageText, Data: []byte("two")},
		websocket.Message{Type: websocket.MessageText, Data: []byte("three")})
	for range 3 {
		_, data, err := c.Read(ctx)
		fmt.Println(string(data), err)
	}
	// Output:
	// one <nil>
	// two <nil>
	// three <nil>
}

// Pages of other origins connect if they are listed.
func ExampleUpgrader_origins() {
	server := serverOf(websocket.Upgrader{Origins: []string{"https://app.example.com"}}, echoAll)
	defer server.Close()

	for _, origin := range []string{"https://app.example.com", "https://evil.example"} {
		d := websocket.Dialer{Header: http.Header{"Origin": {origin}}}
		c, _, err := d.Dial(context.Background(), server.URL)
		if refused, ok := errors.AsType[*websocket.HandshakeError](err); ok {
			fmt.Println(origin, refused.StatusCode)
			continue
		}
		fmt.Println(origin, err)
		c.CloseNow()
	}
	// Output:
	// https://app.example.com <nil>
	// https://evil.example 403
}

// The Accept hook authenticates and adds to the response.
func ExampleHandshakeError() {
	u := websocket.Upgrader{Accept: func(r *http.Request, h http.Header) error {
		if r.Header.Get("Authorization") != "Bearer secret" {
			return &websocket.HandshakeError{
				StatusCode: http.StatusUnauthorized,
				Header:     http.Header{"Www-Authenticate": {"Bearer"}},
				Err:        errors.New("no token"),
			}
		}
		h.Set("X-Served-By", "example")
		return nil
	}}
	server := serverOf(u, echoAll)
	defer server.Close()

	_, _, err := websocket.Dial(context.Background(), server.URL)
	if refused, ok := errors.AsType[*websocket.HandshakeError](err); ok {
		fmt.Println(refused.StatusCode, refused.Header.Get("WWW-Authenticate"))
	}
	d := websocket.Dialer{Header: http.Header{"Authorization": {"Bearer secret"}}}
	c, resp, err := d.Dial(context.Background(), server.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.CloseNow()
	fmt.Println(resp.Header.Get("X-Served-By"))
	// Output:
	// 401 Bearer
	// example
}

// Client and server agree on a subprotocol.
func ExampleCompression() {
	server := serverOf(websocket.Upgrader{Compression: &websocket.Compression{}}, echoAll)
	defer server.Close()

	ctx := context.Background()
	d := websocket.Dialer{Compression: &websocket.Compression{}}
	c, resp, err := d.Dial(ctx, server.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.CloseNow()
	fmt.Println(resp.Header.Get("Sec-WebSocket-Extensions"))
	// Output:
	// permessage-deflate; server_max_window_bits=12; client_max_window_bits=12
}

func ExampleMessageWriter_SetCompress() {
	server := serverOf(websocket.Upgrader{Compression: &websocket.Compression{}}, echoAll)
	defer server.Close()

	ctx := context.Background()
	d := websocket.Dialer{Compression: &websocket.Compression{}}
	c, _, err := d.Dial(ctx, server.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.CloseNow()

	// A secret beside something that others can choose is better sent as it is.
	w, err := c.NextWriter(ctx, websocket.MessageText)
	if err != nil {
		fmt.Println(err)
		return
	}
	w.SetCompress(false)
	fmt.Fprintf(w, `{"token":"%s","comment":"%s"}`, "s3cret", "nice")
	if err := w.Close(); err != nil {
		fmt.Println(err)
		return
	}
	_, data, err := c.Read(ctx)
	fmt.Println(string(data), err)
	// Output:
	// {"token":"s3cret","comment":"nice"} <nil>
}

func ExampleConn_Subprotocol() {
	server := serverOf(websocket.Upgrader{Subprotocols: []string{"chat.v2", "chat.v1"}}, echoAll)
	defer server.Close()

	d := websocket.Dialer{Subprotocols: []string{"chat.v1", "chat.v0"}}
	c, _, err := d.Dial(context.Background(), server.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.CloseNow()
	fmt.Println(c.Subprotocol())
	// Output: chat.v1
}

// How a connection ended.
func ExampleCloseError() {
	server := serverOf(websocket.Upgrader{}, func(ctx context.Context, c *websocket.Conn) {
		c.Close(4001, "go elsewhere")
	})
	defer server.Close()

	ctx := context.Background()
	c, _, err := websocket.Dial(ctx, server.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, _, err = c.Read(ctx)
	if end, ok := errors.AsType[*websocket.CloseError](err); ok {
		fmt.Println(int(end.Code), end.Reason, end.Local)
	}
	fmt.Println(errors.Is(err, net.ErrClosed), c.Err() == err)
	// Output:
	// 4001 go elsewhere false
	// false true
}

func ExampleStatusCode() {
	fmt.Println(websocket.StatusGoingAway, "is", int(websocket.StatusGoingAway))
	// Output: going away is 1001
}

func ExampleMessageType() {
	fmt.Println(websocket.MessageText, "or", websocket.MessageBinary)
	// Output: text or binary
}

// Several messages in one system call.
func ExampleMessage() {
	server := serverOf(websocket.Upgrader{}, func(ctx context.Context, c *websocket.Conn) {
		c.WriteBatch(ctx,
			websocket.Message{Type: websocket.MessageText, Data: []byte("header")},
			websocket.Message{Type: websocket.MessageBinary, Data: []byte{1, 2, 3}},
		)
		<-c.CloseRead(ctx).Done()
	})
	defer server.Close()

	ctx := context.Background()
	c, _, err := websocket.Dial(ctx, server.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.CloseNow()
	for range 2 {
		typ, data, err := c.Read(ctx)
		fmt.Println(typ, data, err)
	}
	// Output:
	// text [104 101 97 100 101 114] <nil>
	// binary [1 2 3] <nil>
}

// A protocol of lines, such as it runs over TCP, through a WebSocket.
func ExampleNetConn() {
	server := serverOf(websocket.Upgrader{}, func(ctx context.Context, c *websocket.Conn) {
		nc := websocket.NetConn(ctx, c, websocket.MessageBinary)
		defer nc.Close()
		lines := bufio.NewScanner(nc)
		for lines.Scan() {
			fmt.Fprintf(nc, "%d bytes\n", len(lines.Text()))
		}
	})
	defer server.Close()

	ctx := context.Background()
	c, _, err := websocket.Dial(ctx, server.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	nc := websocket.NetConn(ctx, c, websocket.MessageBinary)
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(time.Minute))
	answers := bufio.NewReader(nc)
	for _, line := range []string{"a line", "and a longer one"} {
		fmt.Fprintln(nc, line)
		answer, err := answers.ReadString('\n')
		fmt.Printf("%q %v\n", answer, err)
	}
	// Output:
	// "6 bytes\n" <nil>
	// "16 bytes\n" <nil>
}

// Two connections that are streams of one, over HTTP/2. The server's package main imports
// github.com/tidewire/websocket/http2.
func ExampleDialer_http2() {
	server := httptest.NewUnstartedServer(new(websocket.Upgrader).Handler(
		func(_ http.ResponseWriter, r *http.Request) (func(context.Context, *websocket.Conn), error) {
			return echoAll, nil
		}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()

	ctx := context.Background()
	transport := &http2.Transport{TLSClientConfig: server.Client().Transport.(*http.Transport).TLSClientConfig}
	defer transport.CloseIdleConnections()
	d := websocket.Dialer{HTTP2: transport}
	for _, name := range []string{"Alice", "Bob"} {
		c, resp, err := d.Dial(ctx, server.URL)
		if err != nil {
			fmt.Println(err)
			return
		}
		c.Write(ctx, websocket.MessageText, []byte(name))
		_, data, err := c.Read(ctx)
		fmt.Println(resp.Proto, string(data), err)
		c.Close(websocket.StatusNormalClosure, "")
	}
	// Output:
	// HTTP/2.0 Alice <nil>
	// HTTP/2.0 Bob <nil>
}

// Counts for expvar, and a line of log/slog for each handshake that fails and each connection that ends.
func ExampleTrace() {
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: withoutTime}))
	counts := new(expvar.Map) // a program would have expvar.NewMap("websocket")
	ended := make(chan bool)
	trace := &websocket.Trace{
		Handshake: func(c *websocket.Conn, r *http.Request, took time.Duration, err error) {
			if err != nil {
				logger.Warn("handshake failed", "path", r.URL.Path, "err", err)
				return
			}
			counts.Add("connections", 1)
		},
		FrameRead: func(_ *websocket.Conn, f websocket.Frame) {
			counts.Add("frames read", 1)
			counts.Add("bytes read", f.PayloadLength)
		},
		FrameWritten: func(_ *websocket.Conn, f websocket.Frame) {
			counts.Add("frames written", 1)
			counts.Add("bytes written", f.PayloadLength)
		},
		Close: func(_ *websocket.Conn, err *websocket.CloseError) {
			logger.Info("connection ended", "code", int(err.Code), "reason", err.Reason)
			close(ended)
		},
	}
	server := serverOf(websocket.Upgrader{Trace: trace}, echoAll)
	defer server.Close()

	ctx := context.Background()
	if resp, err := http.Get(server.URL + "/page"); err == nil {
		resp.Body.Close()
	}
	c, _, err := websocket.Dial(ctx, server.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	c.Write(ctx, websocket.MessageText, []byte("hello"))
	c.Read(ctx)
	c.Close(websocket.StatusGoingAway, "bye")
	<-ended
	fmt.Println(counts)
	// Output:
	// level=WARN msg="handshake failed" path=/page err="websocket: opening handshake failed: the request has no \"Upgrade: websocket\" (RFC 6455, section 4.2.1) (426 Upgrade Required)"
	// level=INFO msg="connection ended" code=1001 reason=bye
	// {"bytes read": 10, "bytes written": 10, "connections": 1, "frames read": 2, "frames written": 2}
}

// withoutTime leaves the time out of what is logged, which is never the same.
func withoutTime(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

// What a large message becomes that is written piece by piece.
func ExampleFrame() {
	trace := &websocket.Trace{FrameWritten: func(_ *websocket.Conn, f websocket.Frame) { fmt.Println(f) }}
	server := serverOf(websocket.Upgrader{}, echoAll)
	defer server.Close()

	ctx := context.Background()
	d := websocket.Dialer{Trace: trace}
	c, _, err := d.Dial(ctx, server.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.CloseNow()
	w, err := c.NextWriter(ctx, websocket.MessageText)
	if err != nil {
		fmt.Println(err)
		return
	}
	w.Write(bytes.Repeat([]byte("a"), 20000))
	fmt.Println(w.Close())
	// Output:
	// text, 16384 bytes, to be continued
	// continuation, 3616 bytes
	// <nil>
}

// A proxy of one's own choice. Without Proxy, the environment decides, by HTTPS_PROXY and the like.
func ExampleDialer_proxy() {
	server := serverOf(websocket.Upgrader{}, echoAll)
	defer server.Close()
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println(r.Method, r.Header.Get("Proxy-Authorization"))
		there, err := net.Dial("tcp", r.Host)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer there.Close()
		here, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer here.Close()
		io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n")
		go io.Copy(here, there)
		io.Copy(there, buffered)
	}))
	defer proxy.Close()

	address, err := url.Parse(proxy.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	address.User = url.UserPassword("Alice", "secret")
	ctx := context.Background()
	d := websocket.Dialer{Proxy: http.ProxyURL(address)}
	c, _, err := d.Dial(ctx, server.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	c.Write(ctx, websocket.MessageText, []byte("by way of the proxy"))
	_, data, err := c.Read(ctx)
	fmt.Println(string(data), err)
	c.Close(websocket.StatusNormalClosure, "")
	// Output:
	// CONNECT Basic QWxpY2U6c2VjcmV0
	// by way of the proxy <nil>
}
