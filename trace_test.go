package websocket_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidewire/websocket"
	"github.com/tidewire/websocket/internal/testnet"
	"github.com/tidewire/websocket/websockettest"
)

// A record is what a Trace has told.
type record struct {
	mu            sync.Mutex
	handshakes    []string
	read, written []string
	pongs         []time.Duration
	ends          []error
}

func (r *record) trace() *websocket.Trace {
	locked := func(f func()) {
		r.mu.Lock()
		defer r.mu.Unlock()
		f()
	}
	return &websocket.Trace{
		Handshake: func(c *websocket.Conn, req *http.Request, took time.Duration, err error) {
			locked(func() {
				path := "none"
				if req != nil {
					path = req.URL.Path
				}
				r.handshakes = append(r.handshakes, fmt.Sprint(c != nil, " ", path, " ", took, " ", err))
			})
		},
		FrameRead: func(_ *websocket.Conn, f websocket.Frame) { locked(func() { r.read = append(r.read, f.String()) }) },
		FrameWritten: func(_ *websocket.Conn, f websocket.Frame) {
			locked(func() { r.written = append(r.written, f.String()) })
		},
		Pong:  func(_ *websocket.Conn, rtt time.Duration) { locked(func() { r.pongs = append(r.pongs, rtt) }) },
		Close: func(_ *websocket.Conn, err *websocket.CloseError) { locked(func() { r.ends = append(r.ends, err) }) },
	}
}

// traced returns a Link whose ends are traced.
func traced() (link *websockettest.Link, client, server *record) {
	client, server = new(record), new(record)
	link = new(websockettest.Link)
	link.Dialer.Trace, link.Upgrader.Trace = client.trace(), server.trace()
	link.Dialer.PingInterval, link.Upgrader.PingInterval = -1, -1
	return link, client, server
}

// connect connects the ends of link, which are closed when the test ends.
func connect(t *testing.T, link *websockettest.Link) (client, server *websocket.Conn) {
	t.Helper()
	client, server, err := link.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.CloseNow()
		server.CloseNow()
	})
	return client, server
}

// sendAll sends messages from c in each of the ways that there are, and ends with a Close.
func sendAll(ctx context.Context, c *websocket.Conn) error {
	text := strings.Repeat("all work and no play ", 20<<10)
	for _, n := range []int{0, 1, 125, 126, 65535, 65536, len(text)} {
		if err := c.Write(ctx, websocket.MessageText, []byte(text[:n])); err != nil {
			return err
		}
	}
	prepared, err := websocket.NewPreparedMessage(websocket.MessageBinary, []byte(text[:1000]))
	if err != nil {
		return err
	}
	w, err := c.NextWriter(ctx, websocket.MessageBinary)
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, text[:20000])
	_, pingErr := c.Ping(ctx)
	_, restErr := io.WriteString(w, text[:20000])
	return errors.Join(err, pingErr, restErr, w.Close(),
		c.WritePrepared(ctx, prepared),
		c.WriteBatch(ctx, websocket.Message{Type: websocket.MessageText, Data: []byte("one")}, websocket.Message{Type: websocket.MessageBinary}),
		c.Close(websocket.StatusNormalClosure, "done"))
}

// What one end has written, the other has read, whatever is in one write, and whatever a message is cut into.
func TestTraceFrames(t *testing.T) {
	plain := []string{
		"text, 0 bytes", "text, 1 bytes", "text, 125 bytes", "text, 126 bytes", "text, 65535 bytes", "text, 65536 bytes", "text, 430080 bytes",
		"binary, 16384 bytes, to be continued", "Ping, 8 bytes", "continuation, 16384 bytes, to be continued", "continuation, 7232 bytes",
		"binary, 1000 bytes", "text, 3 bytes", "binary, 0 bytes", "Close, 6 bytes",
	}
	for _, compression := range []*websocket.Compression{nil, {Threshold: 100}} {
		for _, batching := range []bool{false, true} {
			for _, fromClient := range []bool{false, true} {
				name := fmt.Sprintf("compression=%v/batching=%v/fromClient=%v", compression != nil, batching, fromClient)
				t.Run(name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						link, sender, receiver := traced()
						link.Dialer.Compression, link.Upgrader.Compression = compression, compression
						link.Dialer.Batching, link.Upgrader.Batching = batching, batching
						from, to := connect(t, link)
						if !fromClient {
							from, to, sender, receiver = to, from, receiver, sender
						}
						received := make(chan int)
						go func() {
							n := 0
							for range to.Messages(t.Context()) {
								n++
							}
							received <- n
						}()
						reading, stop := context.WithCancel(t.Context())
						from.CloseRead(reading) // for the Pong
						err := sendAll(t.Context(), from)
						stop()
						if err != nil {
							t.Fatal(err)
						}
						if n := <-received; n != 11 {
							t.Errorf("%d messages were received, want 11", n)
						}
						synctest.Wait()
						wantFrames(t, "what is read", receiver.read, sender.written)
						wantFrames(t, "what is read of the answers", sender.read, receiver.written)
						wantFrames(t, "the answers", sender.read, []string{"Pong, 8 bytes", "Close, 6 bytes"})
						if compression == nil {
							wantFrames(t, "what is written", sender.written, plain)
						} else if !slices.Contains(sender.written, "binary, 0 bytes") || !strings.HasSuffix(sender.written[3], ", compressed") {
							t.Errorf("got %q", sender.written)
						}
					})
				})
			}
		}
	}
}

func wantFrames(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\ngot  %q\nwant %q", what, got, want)
	}
}

// The time of a Ping is that of the network, for those of Conn.Ping and of the keepalive.
func TestTracePong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link, client, server := traced()
		link.ToClient.Latency, link.ToServer.Latency = 30*time.Millisecond, 12*time.Millisecond
		link.Upgrader.PingInterval = time.Second
		c, s := connect(t, link)
		c.CloseRead(t.Context())
		s.CloseRead(t.Context())
		time.Sleep(2500 * time.Millisecond)
		rtt, err := c.Ping(t.Context())
		if rtt != 42*time.Millisecond || err != nil {
			t.Errorf("Ping: %v, %v", rtt, err)
		}
		c.CloseNow()
		s.CloseNow()
		if want := []time.Duration{rtt}; !slices.Equal(client.pongs, want) {
			t.Errorf("the client was told of %v, want %v", client.pongs, want)
		}
		if want := []time.Duration{rtt, rtt}; !slices.Equal(server.pongs, want) {
			t.Errorf("the server was told of %v, want %v", server.pongs, want)
		}
	})
}

const rawHandshake = "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"

// A Pong to a Ping that waits to be sent is none, though the peer may know what would be in it.
func TestTraceEarlyPong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := testnet.Pipe()
		r := new(record)
		go io.WriteString(far, rawHandshake)
		c, _, err := (&websocket.Upgrader{Trace: r.trace(), PingInterval: time.Second}).UpgradeConn(t.Context(), near)
		if err != nil {
			t.Fatal(err)
		}
		defer far.Close()
		defer c.CloseNow()
		go c.Read(t.Context())
		go c.Write(t.Context(), websocket.MessageBinary, make([]byte, 100_000)) // which the Ping is behind
		time.Sleep(1500 * time.Millisecond)
		far.Write([]byte{0x8A, 0x88, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1})
		synctest.Wait()
		if len(r.pongs) > 0 || len(r.read) != 1 {
			t.Errorf("told of %v, and the frames %q", r.pongs, r.read)
		}
	})
}

// A Pong that comes again, or from nowhere, is none.
func TestTraceNoPong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		r := new(record)
		u := websocket.Upgrader{Trace: r.trace(), PingInterval: time.Second}
		go func() {
			io.WriteString(far, rawHandshake)
			p := make([]byte, 1024)
			far.Read(p) // the response
			pong := append([]byte{0x8A, 0x88, 0, 0, 0, 0}, 0, 0, 0, 0, 0, 0, 0, 1)
			far.Write(pong) // to no Ping yet
			far.Read(p)     // the Ping
			far.Write(pong)
			far.Write(pong)
			far.Write([]byte{0x8A, 0x80, 0, 0, 0, 0})
			far.Close()
		}()
		c, _, err := u.UpgradeConn(t.Context(), near)
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		c.Read(t.Context())
		if len(r.pongs) != 1 || len(r.read) != 4 {
			t.Errorf("Pongs: %v, frames: %q, want one of four", r.pongs, r.read)
		}
	})
}

// However a connection ends, Close is told once, and what Err says.
func TestTraceClose(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(t *testing.T, link *websockettest.Link)
		want string // of the server
	}{
		{"closed by the server", func(t *testing.T, link *websockettest.Link) {
			c, s := connect(t, link)
			c.CloseRead(t.Context())
			s.Close(websocket.StatusGoingAway, "bye")
			s.CloseNow()
		}, "websocket: closed with 1001 (going away): \"bye\""},
		{"closed by the client", func(t *testing.T, link *websockettest.Link) {
			c, s := connect(t, link)
			s.CloseRead(t.Context())
			c.Close(4000, "")
		}, "websocket: closed by the peer with 4000 (status code 4000)"},
		{"closed at once", func(t *testing.T, link *websockettest.Link) {
			_, s := connect(t, link)
			s.CloseNow()
			s.CloseNow()
		}, "websocket: connection closed without a closing handshake"},
		{"no Close from the client", func(t *testing.T, link *websockettest.Link) {
			_, s := connect(t, link)
			s.Close(websocket.StatusNormalClosure, "")
		}, "websocket: connection closed without a closing handshake: no Close frame from the peer within CloseTimeout: i/o timeout"},
		{"failed", func(t *testing.T, link *websockettest.Link) {
			link.Upgrader.ReadLimit = 10
			c, s := connect(t, link)
			c.Write(t.Context(), websocket.MessageText, make([]byte, 11))
			s.Read(t.Context())
		}, "websocket: closed with 1009 (message too big): message larger than the read limit (RFC 6455, section 10.4)"},
		{"lost", func(t *testing.T, link *websockettest.Link) {
			link.ToServer.Cut = 1
			c, s := connect(t, link)
			c.Write(t.Context(), websocket.MessageText, nil)
			s.Read(t.Context())
		}, "websocket: connection lost: read pipe pipe:b->pipe:a: connection reset by peer"},
		{"silent", func(t *testing.T, link *websockettest.Link) {
			link.Upgrader.PingInterval, link.Upgrader.PingTimeout = time.Second, time.Second
			_, s := connect(t, link)
			s.Read(t.Context())
		}, "websocket: connection lost: nothing received within PingTimeout of a Ping: i/o timeout"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var server *record
			synctest.Test(t, func(t *testing.T) {
				var link *websockettest.Link
				link, _, server = traced()
				test.end(t, link)
				time.Sleep(time.Minute)
			})
			if len(server.ends) != 1 || !strings.HasPrefix(server.ends[0].Error(), test.want) {
				t.Errorf("got %v, want one: %s", server.ends, test.want)
			}
		})
	}
}

// Every handshake is told of once, on the side that it is seen from.
func TestTraceHandshake(t *testing.T) {
	server, client := new(record), new(record)
	upgrader := websocket.Upgrader{Trace: server.trace()}
	mux := http.NewServeMux()
	mux.HandleFunc("/upgrade", func(w http.ResponseWriter, r *http.Request) {
		if c, err := upgrader.Upgrade(w, r); err == nil {
			c.CloseNow()
		}
	})
	mux.Handle("/handler/", upgrader.Handler(func(w http.ResponseWriter, r *http.Request) (func(context.Context, *websocket.Conn), error) {
		switch r.URL.Path {
		case "/handler/refuses":
			return nil, errors.New("not you")
		case "/handler/answers":
			http.NotFound(w, r)
			return nil, nil
		}
		return func(_ context.Context, c *websocket.Conn) { c.CloseNow() }, nil
	}))
	s := httptest.NewServer(mux)
	defer s.Close()

	dialer := websocket.Dialer{Trace: client.trace()}
	dial := func(path string) {
		if c, _, err := dialer.Dial(t.Context(), s.URL+path); err == nil {
			c.CloseNow()
		}
	}
	// The server may be told after the client has its answer.
	await := func(n int) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			server.mu.Lock()
			told := len(server.handshakes)
			server.mu.Unlock()
			if told >= n {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("the server was told of %d handshakes, want %d", told, n)
			}
		}
	}
	dial("/upgrade")
	await(1)
	dial("/handler/accepts")
	await(2)
	dial("/handler/refuses")
	await(3)
	dial("/handler/answers")
	resp, err := http.Get(s.URL + "/upgrade")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	await(4)
	dialer.Dial(t.Context(), "http://127.0.0.1:1/refused")
	dialer.Dial(t.Context(), "ftp://no.request/made")
	near, far := net.Pipe()
	go far.Close()
	dialer.DialConn(t.Context(), near, "ws://h/eof")
	near, far = net.Pipe()
	go far.Close()
	upgrader.UpgradeConn(t.Context(), near)

	type handshake struct{ outcome, err string }
	for _, test := range []struct {
		name string
		got  []string
		want []handshake
	}{
		{"server", server.handshakes, []handshake{
			{"true /upgrade", "<nil>"},
			{"true /handler/accepts", "<nil>"},
			{"false /handler/refuses", "websocket: opening handshake failed: not you (403 Forbidden)"},
			{"false /upgrade", `websocket: opening handshake failed: the request has no "Upgrade: websocket"`},
			{"false none", "websocket: reading the request: EOF"},
		}},
		{"client", client.handshakes, []handshake{
			{"true /upgrade", "<nil>"},
			{"true /handler/accepts", "<nil>"},
			{"false /handler/refuses", "websocket: "},
			{"false /handler/answers", "websocket: "},
			{"false /refused", "websocket: dial tcp 127.0.0.1:1"},
			{"false /eof", "websocket: "},
		}},
	} {
		if len(test.got) != len(test.want) {
			t.Errorf("the %s was told of %q, want %q", test.name, test.got, test.want)
			continue
		}
		for i, want := range test.want {
			got := strings.SplitN(test.got[i], " ", 4)
			took, err := time.ParseDuration(got[2])
			if got[0]+" "+got[1] != want.outcome || err != nil || took <= 0 || !strings.HasPrefix(got[3], want.err) {
				t.Errorf("the %s was told of %q, want %q", test.name, test.got[i], want)
			}
		}
	}
}

// A function that panics ends the connection, and keeps nobody waiting.
func TestTracePanic(t *testing.T) {
	for _, test := range []struct {
		name  string
		trace websocket.Trace
		do    func(ctx context.Context, client, server *websocket.Conn)
	}{
		{
			"FrameRead", websocket.Trace{FrameRead: func(*websocket.Conn, websocket.Frame) { panic("hook") }},
			func(ctx context.Context, client, server *websocket.Conn) {
				client.Write(ctx, websocket.MessageText, nil)
				for range server.Messages(ctx) {
				}
			},
		},
		{
			"FrameWritten", websocket.Trace{FrameWritten: func(_ *websocket.Conn, f websocket.Frame) {
				if f.PayloadLength == 1 {
					panic("hook")
				}
			}},
			func(ctx context.Context, client, server *websocket.Conn) {
				var writing sync.WaitGroup
				for _, n := range []int{200_000, 1, 2} { // the last is written with the one before
					writing.Go(func() { server.Write(ctx, websocket.MessageBinary, make([]byte, n)) })
					synctest.Wait()
				}
				client.Read(ctx)
				writing.Wait()
			},
		},
		{
			"Pong", websocket.Trace{Pong: func(*websocket.Conn, time.Duration) { panic("hook") }},
			func(ctx context.Context, client, server *websocket.Conn) {
				client.CloseRead(ctx)
				go server.Ping(ctx)
				server.Read(ctx)
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				link := websockettest.Link{Upgrader: websocket.Upgrader{Trace: &test.trace}}
				client, server := connect(t, &link)
				test.do(t.Context(), client, server)
				start := time.Now()
				end := server.Err()
				if end == nil || !strings.Contains(end.Error(), "a function of the Trace has panicked: hook") {
					t.Fatalf("the connection ended with %v", end)
				}
				_, _, readErr := server.Read(t.Context())
				writeErr := server.Write(t.Context(), websocket.MessageText, nil)
				closeErr := server.Close(websocket.StatusNormalClosure, "")
				if readErr != end || writeErr != end || closeErr != end {
					t.Errorf("Read: %v, Write: %v, Close: %v, want %v", readErr, writeErr, closeErr, end)
				}
				if d := time.Since(start); d > 0 {
					t.Errorf("it took %v", d)
				}
			})
		})
	}
}

// A Handshake that panics leaves no connection behind.
func TestTraceHandshakePanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := testnet.Pipe()
		u := websocket.Upgrader{Trace: &websocket.Trace{
			Handshake: func(*websocket.Conn, *http.Request, time.Duration, error) { panic("hook") },
		}}
		go io.WriteString(far, rawHandshake)
		func() {
			defer func() {
				if v := recover(); v != "hook" {
					t.Errorf("panicked with %v", v)
				}
			}()
			u.UpgradeConn(t.Context(), near)
		}()
		if _, err := io.ReadAll(far); err != nil {
			t.Error(err)
		}
	})
}

// A cancelConn ends a context when the opening handshake is over.
type cancelConn struct {
	net.Conn
	cancel func()
}

func (c *cancelConn) SetWriteDeadline(t time.Time) error {
	if t.IsZero() {
		c.cancel()
	}
	return c.Conn.SetWriteDeadline(t)
}

func (c *cancelConn) SetDeadline(t time.Time) error {
	if t.IsZero() {
		c.cancel()
	}
	return c.Conn.SetDeadline(t)
}

// Who is told of a Close was told of a connection, though the context ends at that moment.
func TestTraceBothOrNeither(t *testing.T) {
	for _, name := range []string{"DialConn", "UpgradeConn"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := testnet.Pipe()
				ctx, cancel := context.WithCancel(t.Context())
				r := new(record)
				var c *websocket.Conn
				if name == "DialConn" {
					go (&websocket.Upgrader{PingInterval: -1}).UpgradeConn(t.Context(), far)
					c, _, _ = (&websocket.Dialer{Trace: r.trace()}).DialConn(ctx, &cancelConn{near, cancel}, "ws://h/")
				} else {
					go io.WriteString(far, rawHandshake)
					c, _, _ = (&websocket.Upgrader{Trace: r.trace(), HandshakeTimeout: -1}).UpgradeConn(ctx, &cancelConn{near, cancel})
				}
				if c != nil {
					c.CloseNow()
				}
				near.Close()
				far.Close()
				synctest.Wait()
				if opened := strings.HasPrefix(r.handshakes[0], "true"); len(r.handshakes) != 1 || opened != (c != nil) || opened != (len(r.ends) == 1) {
					t.Errorf("told of the handshakes %q and the ends %v", r.handshakes, r.ends)
				}
			})
		})
	}
}

// Of a write that is cut short, what has left whole is told.
func TestTraceCutShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link, _, server := traced()
		c, s := connect(t, link)
		messages := make([]websocket.Message, 200)
		for i := range messages {
			messages[i] = websocket.Message{Type: websocket.MessageBinary, Data: make([]byte, 1000)}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.WriteBatch(ctx, messages...); err != context.DeadlineExceeded && s.Err() == nil {
			t.Errorf("WriteBatch: %v", err)
		}
		n := 0
		for {
			if _, _, err := c.Read(t.Context()); err != nil {
				break
			}
			n++
		}
		if n < 10 || n != len(server.written) {
			t.Errorf("%d frames came, %d were told", n, len(server.written))
		}
	})
}

// Over TCP too, what one end has written the other has read.
func TestTraceTCP(t *testing.T) {
	client, server := new(record), new(record)
	u := websocket.Upgrader{Trace: server.trace()}
	s := httptest.NewServer(u.Handler(func(http.ResponseWriter, *http.Request) (func(context.Context, *websocket.Conn), error) {
		return echoAll, nil
	}))
	defer s.Close()
	d := websocket.Dialer{Trace: client.trace()}
	c, _, err := d.Dial(t.Context(), s.URL)
	if err != nil {
		t.Fatal(err)
	}
	reading := make(chan bool)
	go func() {
		defer close(reading)
		for range c.Messages(t.Context()) {
		}
	}()
	if err := sendAll(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	<-reading
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		client.mu.Lock()
		server.mu.Lock()
		same := slices.Equal(client.written, server.read) && slices.Equal(server.written, client.read)
		done := same && len(client.written) == 15 && slices.Contains(client.read, "Pong, 8 bytes") && len(client.ends) == 1 && len(server.ends) == 1
		if !done && time.Now().After(deadline) {
			t.Errorf("client: %q\n%q\nserver: %q\n%q", client.written, client.read, server.written, server.read)
		}
		server.mu.Unlock()
		client.mu.Unlock()
		if done || t.Failed() {
			return
		}
	}
}
