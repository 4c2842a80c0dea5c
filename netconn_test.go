package websocket

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/rpc"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/nettest"

	"github.com/tidewire/websocket/internal/testnet"
)

// netConns returns the two ends of a stream.
func (n network) netConns(t testing.TB) (server, client net.Conn) {
	t.Helper()
	a, b := n.connectBoth(t, testConfig(serverSide))
	ctx := context.Background()
	return NetConn(ctx, a, MessageBinary), NetConn(ctx, b, MessageBinary)
}

func TestNetConn(t *testing.T) {
	for _, n := range []network{pipe, tcp, tls_} {
		t.Run(n.name, func(t *testing.T) {
			nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
				c1, c2 = n.netConns(t)
				return c1, c2, func() {
					closing := async(c1.Close)
					c2.Close()
					<-closing
				}, nil
			})
		})
	}
}

// "deadline in the past aborts Read then works again; idle deadline expiry does not kill"
func TestNetConnReadDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := pipe.connect(t, testConfig(serverSide))
		nc := NetConn(t.Context(), c, MessageBinary)
		b := make([]byte, 100)
		wantTimeout := func(took time.Duration) {
			t.Helper()
			start := time.Now()
			n, err := nc.Read(b)
			timeout, ok := err.(net.Error)
			if n != 0 || !ok || !timeout.Timeout() || !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != took {
				t.Fatalf("got %d, %v after %v, want a timeout after %v", n, err, time.Since(start), took)
			}
		}
		wantBytes := func(want string) {
			t.Helper()
			n, err := nc.Read(b)
			if string(b[:n]) != want || err != nil {
				t.Fatalf("got %q, %v, want %q", b[:n], err, want)
			}
		}
		p.send(p.frame(opBinary, "there"))
		nc.SetReadDeadline(time.Now().Add(-1))
		wantTimeout(0)
		wantTimeout(0)
		nc.SetReadDeadline(time.Time{})
		wantBytes("there")

		nc.SetDeadline(time.Now().Add(time.Second))
		wantTimeout(time.Second)
		p.send(p.fragment(opBinary, "one, "))
		nc.SetReadDeadline(time.Now().Add(time.Second))
		wantBytes("one, ")
		wantTimeout(time.Second) // in the middle of a message
		p.send(p.frame(opContinuation, "two"))
		nc.SetReadDeadline(time.Now().Add(time.Second))
		wantBytes("two")

		// A deadline that is changed meanwhile counts for who waits.
		time.AfterFunc(500*time.Millisecond, func() { nc.SetReadDeadline(time.Now().Add(time.Hour)) })
		wantTimeout(500*time.Millisecond + time.Hour)
		nc.SetReadDeadline(time.Now().Add(time.Hour))
		time.AfterFunc(time.Second, func() { nc.SetReadDeadline(time.Now()) })
		wantTimeout(time.Second)
		nc.SetReadDeadline(time.Now().Add(time.Second))
		nc.SetReadDeadline(time.Time{})
		time.AfterFunc(time.Minute, func() { p.send(p.frame(opBinary, "late")) })
		wantBytes("late")
	})
}

// A Write that ends in the middle of a frame leaves the connection usable, and what it has
// written arrives, once.
func TestNetConnWriteDeadline(t *testing.T) {
	onNetworks(t, func(t *testing.T, n network) {
		writer, reader := n.netConns(t)
		var sent []byte
		for round := range 3 {
			for i := 0; ; i++ {
				p := bytes.Repeat([]byte{byte(round*100 + i%100)}, 3*netConnPiece+1)
				writer.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
				k, err := writer.Write(p)
				sent = append(sent, p[:k]...)
				if errors.Is(err, os.ErrDeadlineExceeded) && k < len(p) {
					break
				}
				if err != nil || k < len(p) || len(sent) > 1<<28 {
					t.Fatalf("got %d, %v after %d bytes", k, err, len(sent))
				}
			}
			got := make([]byte, len(sent))
			if _, err := io.ReadFull(reader, got); err != nil || !bytes.Equal(got, sent) {
				t.Fatalf("round %d: got %v, or other bytes than were sent", round, err)
			}
			sent = sent[:0]
		}
		writer.SetWriteDeadline(time.Time{})
		if _, err := io.WriteString(writer, "on"); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 2)
		if _, err := io.ReadFull(reader, got); err != nil || string(got) != "on" {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

// What the write of somebody else has taken along is written, though the deadline passes before it has left.
func TestNetConnWriteTakenAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		endpoint, nc := testnet.Pipe()
		nc.SetReadBuffer(1000)
		c, peer := newConn(endpoint, nil, testConfig(serverSide)), newWritePeer(t, nc, serverSide)
		defer c.CloseNow()
		stream := NetConn(t.Context(), c, MessageBinary)
		large, along := pattern(100<<10, 1), pattern(16<<10, 2)
		goCall(func() error { return c.Write(t.Context(), MessageBinary, large) })
		synctest.Wait()
		goCall(func() error { _, err := c.Ping(t.Context()); return err })
		synctest.Wait()
		stream.SetWriteDeadline(time.Now().Add(time.Second))
		writing := goCall(func() error {
			n, err := stream.Write(along)
			if n != len(along) {
				t.Errorf("Write returned %d", n)
			}
			return err
		})
		synctest.Wait()
		peer.want(t, opBinary, true, large)
		synctest.Wait()
		writing.wantBlocked(t) // with the Ping
		time.Sleep(time.Second)
		writing.wantNow(t, nil)
		peer.want(t, opPing, true, pingPayload(1))
		peer.want(t, opBinary, true, along)
		peer.wantNothing(t)
	})
}

// A Flush that gives up does not take back what it has taken along, and was said to be written.
func TestNetConnWriteNotWithdrawn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		endpoint, nc := testnet.Pipe()
		nc.SetReadBuffer(1000)
		c, peer := newConn(endpoint, nil, testConfig(serverSide)), newWritePeer(t, nc, serverSide)
		defer c.CloseNow()
		stream := NetConn(t.Context(), c, MessageBinary)
		large := pattern(100<<10, 1)
		goCall(func() error { return c.Write(t.Context(), MessageBinary, large) })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		flushing := goCall(func() error { return c.Flush(ctx) })
		synctest.Wait()
		stream.SetWriteDeadline(time.Now().Add(2 * time.Second))
		writing := goCall(func() error { _, err := stream.Write([]byte("along")); return err })
		synctest.Wait()
		// All of the large message but what fits into the buffer: the next write finds no room.
		if _, err := io.ReadFull(nc, make([]byte, len(large)+10-1000)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		writing.wantNow(t, nil)
		time.Sleep(2 * time.Second)
		flushing.wantNow(t, c.Err())
		if c.Err() == nil {
			peer.wantEnd(t)
			t.Error("the connection is open, and lacks what was written")
		}
	})
}

// "0-length frames never give (0,nil)", and nothing is sent for a Write of nothing.
func TestNetConnEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := pipe.connect(t, testConfig(serverSide))
		nc := NetConn(t.Context(), c, MessageText)
		p.send(p.frame(opText, ""), p.fragment(opText, ""), p.frame(opPing, ""), p.fragment(opContinuation, ""),
			p.frame(opContinuation, "x"), p.frame(opText, ""))
		b := make([]byte, 10)
		if n, err := nc.Read(b[:0]); n != 0 || err != nil {
			t.Errorf("into nothing: got %d, %v", n, err)
		}
		if n, err := nc.Read(b); n != 1 || err != nil {
			t.Errorf("got %d, %v, want 1 byte", n, err)
		}
		nc.SetReadDeadline(time.Now().Add(time.Second))
		if n, err := nc.Read(b); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %d, %v, want to wait", n, err)
		}
		p.want(opPong, "")
		if n, err := nc.Write(nil); n != 0 || err != nil {
			t.Errorf("got %d, %v", n, err)
		}
		nc.Write([]byte("y"))
		p.want(opText, "y")
	})
}

// How a stream ends.
func TestNetConnEnd(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(p *rawPeer)
		want func(err error) bool
	}{
		{"1000", func(p *rawPeer) { p.send(p.closeFrame(StatusNormalClosure, "")) }, func(err error) bool { return err == io.EOF }},
		{"1001", func(p *rawPeer) { p.send(p.closeFrame(StatusGoingAway, "")) }, func(err error) bool { return err == io.EOF }},
		{"no status code", func(p *rawPeer) { p.send(p.frame(opClose, "")) }, func(err error) bool { return err == io.EOF }},
		{"1000 within a message", func(p *rawPeer) { p.send(p.fragment(opBinary, " and"), p.closeFrame(StatusNormalClosure, "")) },
			func(err error) bool { return err == io.ErrUnexpectedEOF }},
		{"1011", func(p *rawPeer) { p.send(p.closeFrame(StatusInternalError, "")) },
			func(err error) bool { return CloseStatus(err) == StatusInternalError }},
		{"no Close", func(p *rawPeer) { closeNow(p.Conn) },
			func(err error) bool { return CloseStatus(err) == StatusAbnormalClosure && err != io.EOF }},
		{"another type", func(p *rawPeer) { p.send(p.frame(opText, "text")) },
			func(err error) bool { return CloseStatus(err) == StatusUnsupportedData }},
	} {
		t.Run(test.name, func(t *testing.T) {
			onNetworks(t, func(t *testing.T, n network) {
				c, p := n.connect(t, testConfig(clientSide))
				nc := NetConn(t.Context(), c, MessageBinary)
				p.send(p.frame(opBinary, "before"))
				test.end(p)
				b, err := io.ReadAll(nc)
				if err == nil {
					err = io.EOF
				}
				if got := strings.TrimSuffix(string(b), " and"); got != "before" || !test.want(err) {
					t.Errorf("got %q, %v", b, err)
				}
				nc.Close()
				if _, err := nc.Write([]byte("after")); err == nil {
					t.Error("Write after the end: no error")
				}
				if err := nc.SetDeadline(time.Time{}); !errors.Is(err, net.ErrClosed) {
					t.Errorf("SetDeadline after Close: got %v", err)
				}
			})
		})
	}
}

// After Close, also a deadline that has passed before is no more.
func TestNetConnCloseAfterDeadline(t *testing.T) {
	a, b := tcp.netConns(t)
	a.SetDeadline(time.Now().Add(-1))
	if _, err := a.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	closing := async(a.Close)
	b.Close()
	<-closing
	_, readErr := a.Read(make([]byte, 1))
	_, writeErr := a.Write(make([]byte, 1))
	if !errors.Is(readErr, net.ErrClosed) || !errors.Is(writeErr, net.ErrClosed) {
		t.Errorf("got %v and %v", readErr, writeErr)
	}
}

// Text is cut between characters.
func TestNetConnText(t *testing.T) {
	a, b := tcp.connectBoth(t, testConfig(serverSide))
	writer, reader := NetConn(t.Context(), a, MessageText), NetConn(t.Context(), b, MessageText)
	for _, want := range []string{"x" + strings.Repeat("é", 40_000), "xy" + strings.Repeat("€", 40_000), strings.Repeat("🌊", 40_000) + "z"} {
		go io.WriteString(writer, want)
		got := make([]byte, len(want))
		if _, err := io.ReadFull(reader, got); err != nil || string(got) != want {
			t.Fatalf("got %v, or other bytes", err)
		}
	}
}

// Close ends calls in progress, and all that follow, with net.ErrClosed.
func TestNetConnClose(t *testing.T) {
	onNetworks(t, func(t *testing.T, n network) {
		a, b := n.netConns(t)
		reading := async(func() error { _, err := a.Read(make([]byte, 1)); return err })
		time.Sleep(10 * time.Millisecond)
		far := async(func() error { _, err := b.Read(make([]byte, 1)); return err })
		if err := a.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := <-reading; !errors.Is(err, net.ErrClosed) {
			t.Errorf("the Read in progress: got %v", err)
		}
		if err := <-far; err != io.EOF {
			t.Errorf("the other end: got %v", err)
		}
		_, readErr := a.Read(make([]byte, 1))
		_, writeErr := a.Write(make([]byte, 1))
		if !errors.Is(readErr, net.ErrClosed) || !errors.Is(writeErr, net.ErrClosed) {
			t.Errorf("after Close: got %v and %v", readErr, writeErr)
		}
		b.Close()
	})
}

// The end of the context ends calls, and not the connection.
func TestNetConnContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := pipe.connect(t, testConfig(serverSide))
		ctx, cancel := context.WithCancelCause(t.Context())
		cause := errors.New("enough")
		nc := NetConn(ctx, c, MessageBinary)
		time.AfterFunc(time.Second, func() { cancel(cause) })
		for range 2 {
			if _, err := nc.Read(make([]byte, 1)); err != cause {
				t.Errorf("Read: got %v, want %v", err, cause)
			}
			if _, err := nc.Write(make([]byte, 1)); err != cause {
				t.Errorf("Write: got %v, want %v", err, cause)
			}
			nc.SetDeadline(time.Now().Add(time.Hour))
		}
		p.send(p.frame(opText, "still there"))
		typ, data, err := c.Read(t.Context())
		wantRead(t, typ, data, err, "still there")
		c.CloseNow()
		nc.Close()
	})
}

// What a peer sends in one message may be longer than ReadLimit: it is not kept.
func TestNetConnReadLimit(t *testing.T) {
	cfg := testConfig(serverSide)
	cfg.readLimit = 100
	c, p := tcp.connect(t, cfg)
	nc := NetConn(t.Context(), c, MessageBinary)
	want := strings.Repeat("0123456789", 200_000)
	go p.Write(append(p.frame(opBinary, want), p.closeFrame(StatusNormalClosure, "")...))
	got, err := io.ReadAll(nc)
	if err != nil || string(got) != want {
		t.Errorf("got %d bytes, %v, want %d", len(got), err, len(want))
	}
}

// It carries what a TCP connection would.
func TestNetConnCarriesTLS(t *testing.T) {
	serverConfig, clientConfig := tlsConfigs()
	a, b := tcp.netConns(t)
	server, client := tls.Server(a, serverConfig), tls.Client(b, clientConfig)
	want := strings.Repeat("0123456789", 100_000)
	served := async(func() error {
		_, err := io.Copy(server, server)
		return errors.Join(err, server.Close())
	})
	sent := async(func() error {
		_, err := io.WriteString(client, want)
		return errors.Join(err, client.CloseWrite())
	})
	got, err := io.ReadAll(client)
	if err := errors.Join(err, <-sent, client.Close(), <-served); err != nil || string(got) != want {
		t.Errorf("got %d bytes, %v, want %d", len(got), err, len(want))
	}
}

// Arith is what net/rpc serves.
type Arith struct{}

func (Arith) Double(n int, twice *int) error {
	*twice = 2 * n
	return nil
}

func TestNetConnCarriesRPC(t *testing.T) {
	a, b := tcp.netConns(t)
	s := rpc.NewServer()
	if err := s.Register(Arith{}); err != nil {
		t.Fatal(err)
	}
	served := async(func() error { s.ServeConn(a); return nil })
	client := rpc.NewClient(b)
	var calls []*rpc.Call
	for n := range 100 {
		calls = append(calls, client.Go("Arith.Double", n, new(int), nil))
	}
	for n, call := range calls {
		if <-call.Done; call.Error != nil || *call.Reply.(*int) != 2*n {
			t.Errorf("got %d, %v, want %d", *call.Reply.(*int), call.Error, 2*n)
		}
	}
	client.Close()
	<-served
}

// A oneListener accepts one connection.
type oneListener struct {
	net.Conn
	taken chan struct{}
}

func (l *oneListener) Accept() (net.Conn, error) {
	select {
	case l.taken <- struct{}{}:
		return l.Conn, nil
	default:
		return nil, net.ErrClosed
	}
}

func (l *oneListener) Addr() net.Addr { return l.LocalAddr() }
func (l *oneListener) Close() error   { return nil }

func TestNetConnCarriesHTTP(t *testing.T) {
	a, b := tcp.netConns(t)
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Write(body)
	})}
	served := async(func() error { return s.Serve(&oneListener{a, make(chan struct{}, 1)}) })
	<-served
	tr := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return b, nil }}
	client := &http.Client{Transport: tr}
	for range 3 { // on the same connection
		want := strings.Repeat("0123456789", 10_000)
		resp, err := client.Post("http://example.com/", "text/plain", strings.NewReader(want))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || string(got) != want {
			t.Errorf("got %d bytes, %v", len(got), err)
		}
	}
	tr.CloseIdleConnections()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// The deadlines leave no timer, and Close no goroutine.
func TestNetConnLeavesNothing(t *testing.T) {
	awaitQuiet()
	synctest.Test(t, func(t *testing.T) {
		a, b := pipe.netConns(t)
		for range 3 {
			a.SetDeadline(time.Now().Add(time.Hour))
		}
		b.SetReadDeadline(time.Now().Add(time.Hour))
		b.SetReadDeadline(time.Time{})
		closing := async(a.Close)
		b.Close()
		<-closing
		synctest.Wait()
		if got := goroutines(); got != 0 {
			t.Errorf("%d goroutines are left", got)
		}
	})
}
