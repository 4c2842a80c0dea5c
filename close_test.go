package websocket

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidewire/websocket/internal/testnet"
)

// closeTimeoutOfTests is short enough to be waited for on a socket of the kernel.
const closeTimeoutOfTests = 50 * time.Millisecond

// closeConfig is testConfig with a short CloseTimeout.
func closeConfig(s side) connConfig {
	cfg := testConfig(s)
	cfg.closeTimeout = closeTimeoutOfTests
	return cfg
}

// Both endpoints close one after the other, or at once, as often as they
// like: nil for both, and each has sent one Close frame.
func TestCloseHandshake(t *testing.T) {
	for _, both := range []bool{false, true} {
		onNetworks(t, func(t *testing.T, n network) {
			server, client := n.connectBoth(t, testConfig(0))
			start := time.Now()
			var results []<-chan error
			for _, c := range []*Conn{server, client} {
				c := c
				if both {
					results = append(results, async(func() error { return c.Close(StatusGoingAway, "bye") }))
				}
			}
			if !both {
				reading := async(func() error { _, _, err := server.Read(t.Context()); return err })
				results = append(results, async(func() error { return client.Close(StatusGoingAway, "bye") }))
				wantStatus(t, <-reading, StatusGoingAway)
			}
			for _, result := range results {
				if err := <-result; err != nil {
					t.Error(err)
				}
			}
			for _, c := range []*Conn{server, client} {
				end, _ := c.Err().(*CloseError)
				if <-c.Done(); end.Code != StatusGoingAway || end.Reason != "bye" || end.Err != nil {
					t.Errorf("got %v", end)
				}
				if wantLocal := both || c == client; end.Local != wantLocal || errors.Is(end, net.ErrClosed) != wantLocal {
					t.Errorf("got Local %v", end.Local)
				}
				for range 3 {
					if err := c.Close(StatusInternalError, "again"); err != nil {
						t.Error(err)
					}
				}
				n.await(t, "closed", c.closed.Load)
			}
			n.took(t, start, 0)
		})
	}
}

// "both sides close simultaneously": the peer sends its Close before it has
// read ours. We send exactly one.
func TestCloseCrosses(t *testing.T) {
	onNetworks(t, func(t *testing.T, n network) {
		for _, reader := range []bool{false, true} {
			c, p := n.connect(t, testConfig(serverSide))
			if reader {
				go c.Read(t.Context())
				n.awaitReader(t, c)
			}
			closing := async(func() error { return c.Close(StatusNormalClosure, "") })
			if _, err := p.frames.Peek(1); err != nil {
				t.Fatal(err)
			}
			p.send(p.frame(opText, "late"), p.closeFrame(StatusGoingAway, ""))
			if err := <-closing; err != nil {
				t.Error(err)
			}
			wantStatus(t, c.Err(), StatusGoingAway)
			p.wantClose(StatusNormalClosure)
			p.wantEnd()
		}
	})
}

// The peer closes: a read answers with the same Close and returns at once, and
// the connection is ended in an orderly way, by the server first.
func TestPeerCloses(t *testing.T) {
	onNetworks(t, func(t *testing.T, n network) {
		for _, way := range readWays {
			c, p := n.connect(t, testConfig(serverSide))
			p.send(p.closeFrame(4000, "reason"), p.frame(opPing, "ignored"), []byte("garbage"))
			start := time.Now()
			_, _, err := way.read(t.Context(), c)
			end, ok := err.(*CloseError)
			if !ok || *end != (CloseError{Code: 4000, Reason: "reason"}) {
				t.Fatalf("%s: got %v", way.name, err)
			}
			p.want(opClose, "\x0f\xa0reason")
			p.wantEnd()
			n.took(t, start, 0)
			if c.closed.Load() {
				t.Errorf("%s: the server has not waited for the client's end", way.name)
			}
			p.CloseWrite(t)
			n.await(t, "closed", c.closed.Load)
		}
	})
}

// A client leaves it to the server to close the network connection,
// for as long as CloseTimeout.
func TestClientLingers(t *testing.T) {
	onNetworks(t, func(t *testing.T, n network) {
		for _, serverCloses := range []bool{false, true} {
			c, p := n.connect(t, closeConfig(clientSide))
			start := time.Now()
			p.send(p.closeFrame(StatusNormalClosure, ""))
			_, _, err := c.Read(t.Context())
			wantStatus(t, err, StatusNormalClosure)
			p.wantClose(StatusNormalClosure)
			if c.closed.Load() {
				t.Fatal("the client has not waited for the server")
			}
			if serverCloses {
				closeNow(p.Conn)
				n.await(t, "closed", c.closed.Load)
				n.took(t, start, 0)
			} else {
				p.wantEnd()
				n.took(t, start, closeTimeoutOfTests)
			}
		}
	})
}

// A situation is what a connection may be in when it is closed. It
// returns when it has come about.
type situation struct {
	name   string
	become func(t *testing.T, n network, c *Conn, p *rawPeer)
}

var situations = []situation{
	{"idle", func(*testing.T, network, *Conn, *rawPeer) {}},
	{"a Read blocked", func(t *testing.T, n network, c *Conn, p *rawPeer) {
		go c.Read(context.Background())
		n.awaitReader(t, c)
	}},
	{"Messages blocked", func(t *testing.T, n network, c *Conn, p *rawPeer) {
		go func() {
			for range c.Messages(context.Background()) {
			}
		}()
		n.awaitReader(t, c)
	}},
	{"CloseRead", func(t *testing.T, n network, c *Conn, p *rawPeer) {
		c.CloseRead(context.Background())
		n.awaitReader(t, c)
	}},
	{"a MessageReader half read", func(t *testing.T, n network, c *Conn, p *rawPeer) {
		p.send(p.fragment(opText, "half a message"))
		_, r, err := c.NextReader(t.Context())
		if err == nil {
			_, err = r.Read(make([]byte, 4))
		}
		if err != nil {
			t.Fatal(err)
		}
		p.send(p.frame(opContinuation, " and the other"))
	}},
	{"a MessageReader blocked", func(t *testing.T, n network, c *Conn, p *rawPeer) {
		p.send(p.fragment(opText, "half a message"))
		_, r, err := c.NextReader(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		go io.ReadAll(r)
		n.awaitReader(t, c)
	}},
	{"a Read cut short", func(t *testing.T, n network, c *Conn, p *rawPeer) {
		frame := p.frame(opText, "a message")
		p.send(frame[:len(frame)-4])
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, _, err := c.Read(ctx); err != context.DeadlineExceeded {
			t.Fatal(err)
		}
		p.send(frame[len(frame)-4:])
	}},
	{"messages unread", func(t *testing.T, n network, c *Conn, p *rawPeer) {
		for range 50 {
			p.send(p.frame(opText, strings.Repeat("unread", 200)))
		}
	}},
	{"messages unread in the Conn", func(t *testing.T, n network, c *Conn, p *rawPeer) {
		p.send(p.frame(opText, "one"), p.frame(opText, "two"), p.frame(opText, "three"))
		if _, _, err := c.Read(t.Context()); err != nil {
			t.Fatal(err)
		}
	}},
	{"a message streamed", func(t *testing.T, n network, c *Conn, p *rawPeer) {
		w, err := c.NextWriter(t.Context(), MessageText)
		if err == nil {
			_, err = w.Write(make([]byte, 20<<10))
		}
		if err != nil {
			t.Fatal(err)
		}
		if f := p.next(); f.Fin || len(f.Payload) != fragmentLength {
			t.Fatalf("got frame %v", f)
		}
	}},
	{"a Ping waiting", func(t *testing.T, n network, c *Conn, p *rawPeer) {
		pinging := async(func() error { _, err := c.Ping(context.Background()); return err })
		p.want(opPing, string(pingPayload(1)))
		t.Cleanup(func() {
			if err := <-pinging; err != c.Err() {
				t.Errorf("Ping: got %v, want %v", err, c.Err())
			}
		})
	}},
}

// "Close [...] returns within the budget", nil, in every situation, if the
// peer answers.
func TestCloseWhile(t *testing.T) {
	for _, s := range situations {
		t.Run(s.name, func(t *testing.T) {
			onNetworks(t, func(t *testing.T, n network) {
				for _, side := range []side{serverSide, clientSide} {
					c, p := n.connect(t, testConfig(side))
					s.become(t, n, c, p)
					start := time.Now()
					closing := async(func() error { return c.Close(StatusNormalClosure, "") })
					p.wantClose(StatusNormalClosure)
					p.send(p.frame(opPing, "not answered"), p.closeFrame(4000, ""))
					if err := <-closing; err != nil {
						t.Errorf("got %v", err)
					}
					n.took(t, start, 0)
					wantStatus(t, c.Err(), 4000)
					if side == clientSide {
						closeNow(p.Conn)
					} else {
						p.wantEnd()
						p.CloseWrite(t)
					}
					n.await(t, "closed", c.closed.Load)
				}
			})
		})
	}
}

// The same if the peer does not answer: CloseTimeout is when Close returns, and when
// nothing is left of the connection.
func TestCloseUnanswered(t *testing.T) {
	for _, s := range append(situations, situation{"a Write stuck", func(t *testing.T, n network, c *Conn, p *rawPeer) {
		stuck := n.jam(t, c, p)
		t.Cleanup(func() {
			if err := <-stuck; err != c.Err() {
				t.Errorf("Write: got %v, want %v", err, c.Err())
			}
		})
	}}) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			onNetworks(t, func(t *testing.T, n network) {
				for _, side := range []side{serverSide, clientSide} {
					c, p := n.connect(t, closeConfig(side))
					s.become(t, n, c, p)
					start := time.Now()
					err := c.Close(StatusNormalClosure, "")
					n.took(t, start, closeTimeoutOfTests)
					end, ok := err.(*CloseError)
					if !ok || end != c.Err() || end.Code != StatusAbnormalClosure || !end.Local || !errors.Is(end, os.ErrDeadlineExceeded) {
						t.Errorf("got %v", err)
					}
					n.await(t, "closed", c.closed.Load) // right behind it
				}
			})
		})
	}
}

// "CloseNow returns at once, also on TLS with a full socket", in every
// situation, and so do the calls in progress.
func TestCloseNowWhile(t *testing.T) {
	for _, s := range append(situations, situation{"a Write stuck", func(t *testing.T, n network, c *Conn, p *rawPeer) {
		stuck := []<-chan error{
			n.jam(t, c, p),
			async(func() error { return c.Write(context.Background(), MessageText, []byte("queued")) }),
			async(func() error { _, err := c.NextWriter(context.Background(), MessageText); return err }),
			async(func() error { _, err := c.Ping(context.Background()); return err }),
		}
		t.Cleanup(func() {
			for _, result := range stuck {
				// NextWriter need not wait for a message that is not streamed.
				if err := <-result; err != nil && err != c.Err() {
					t.Errorf("got %v, want %v", err, c.Err())
				}
			}
		})
	}}) {
		t.Run(s.name, func(t *testing.T) {
			onNetworks(t, func(t *testing.T, n network) {
				for _, side := range []side{serverSide, clientSide} {
					c, p := n.connect(t, testConfig(side))
					s.become(t, n, c, p)
					start := time.Now()
					for range 2 {
						if err := c.CloseNow(); err != nil {
							t.Error(err)
						}
					}
					n.took(t, start, 0)
					if !c.closed.Load() {
						t.Error("the socket is open")
					}
					end, ok := c.Err().(*CloseError)
					if !ok || *end != (CloseError{Code: StatusAbnormalClosure, Local: true}) {
						t.Errorf("got %v", c.Err())
					}
					if err := c.Close(StatusNormalClosure, ""); err != c.Err() {
						t.Errorf("Close after CloseNow: got %v, want %v", err, c.Err())
					}
					n.took(t, start, 0)
				}
			})
		})
	}
}

// crypto/tls waits to tell the peer that it closes, if no Write is in
// progress. CloseNow does not.
func TestCloseNowOnFullTLS(t *testing.T) {
	for _, s := range []side{serverSide, clientSide} {
		c, _ := tls_.connect(t, testConfig(s))
		socket := c.nc.(*tls.Conn).NetConn()
		socket.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
		if n, err := socket.Write(make([]byte, jamLength)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("wrote %d bytes: %v", n, err)
		}
		socket.SetWriteDeadline(time.Time{})
		start := time.Now()
		if err := c.CloseNow(); err != nil {
			t.Error(err)
		}
		tls_.took(t, start, 0)
	}
}

// CloseNow after the end does not take our last frame from the peer, unless
// that can't leave anyway: then it ends what is stuck.
func TestCloseNowAfterPeerCloses(t *testing.T) {
	onNetworks(t, func(t *testing.T, n network) {
		c, p := n.connect(t, testConfig(serverSide))
		p.send(p.closeFrame(StatusGoingAway, ""))
		_, _, err := c.Read(t.Context())
		wantStatus(t, err, StatusGoingAway)
		if err := c.CloseNow(); err != nil {
			t.Error(err)
		}
		p.wantClose(StatusGoingAway)
		p.wantEnd()

		c, p = n.connect(t, testConfig(serverSide))
		stuck := n.jam(t, c, p)
		p.send(p.closeFrame(StatusGoingAway, ""))
		_, _, err = c.Read(t.Context())
		wantStatus(t, err, StatusGoingAway)
		start := time.Now()
		if err := c.CloseNow(); err != nil {
			t.Error(err)
		}
		if err := <-stuck; err != c.Err() {
			t.Errorf("got %v, want %v", err, c.Err())
		}
		n.took(t, start, 0)
		if !c.closed.Load() {
			t.Error("the socket is open")
		}
	})
}

// "CloseNow while Close waits returns at once", and ends its waiting.
func TestCloseNowDuringClose(t *testing.T) {
	onNetworks(t, func(t *testing.T, n network) {
		for _, reader := range []bool{false, true} {
			c, p := n.connect(t, testConfig(serverSide))
			if reader {
				go c.Read(context.Background())
				n.awaitReader(t, c)
			}
			closing := async(func() error { return c.Close(StatusNormalClosure, "") })
			p.wantClose(StatusNormalClosure)
			start := time.Now()
			c.CloseNow()
			if err := <-closing; err == nil || err != c.Err() {
				t.Errorf("got %v, want %v", err, c.Err())
			}
			n.took(t, start, 0)
		}
	})
}

// Close and CloseNow may be called by anybody at any time: all return, with the same, and
// the peer gets one Close frame at the most.
func TestConcurrentCloses(t *testing.T) {
	onNetworks(t, func(t *testing.T, n network) {
		for round := range 10 {
			c, p := n.connect(t, closeConfig(serverSide))
			go c.Read(context.Background())
			closes := make(chan error, 100)
			for i := range cap(closes) {
				go func() { closes <- c.Close(StatusNormalClosure, fmt.Sprint(i)) }()
			}
			switch round % 3 {
			case 0:
				go c.CloseNow()
			case 1:
				p.wantClose(StatusNormalClosure)
				p.send(p.closeFrame(StatusNormalClosure, ""))
			}
			for range cap(closes) {
				if err := <-closes; err != nil && err != c.Err() || round%3 == 1 && err != nil {
					t.Errorf("got %v, want %v", err, c.Err())
				}
			}
			frames := 0
			for {
				p.SetReadDeadline(time.Now().Add(patienceOfPeers))
				if _, err := testnet.ReadFrame(p.frames); err != nil {
					break
				}
				frames++
			}
			if want := map[int]int{0: frames & 1, 1: 0, 2: 1}[round%3]; frames != want {
				t.Errorf("got %d Close frames more, want %d", frames, want)
			}
		}
	})
}

// "a Read in progress goes on delivering until [the peer's Close] comes"
func TestCloseWhileReadDelivers(t *testing.T) {
	for _, way := range readWays {
		if way.name == "NextReader" {
			continue // it reads several times, and Close may come between
		}
		t.Run(way.name, func(t *testing.T) {
			onNetworks(t, func(t *testing.T, n network) {
				c, p := n.connect(t, testConfig(serverSide))
				reading := async(func() string { _, data, err := way.read(t.Context(), c); return fmt.Sprint(string(data), err) })
				n.awaitReader(t, c)
				closing := async(func() error { return c.Close(StatusNormalClosure, "") })
				p.wantClose(StatusNormalClosure)
				p.send(p.fragment(opText, "the last"))
				n.awaitReader(t, c)
				p.send(p.frame(opContinuation, " message"))
				if got := <-reading; got != "the last message<nil>" {
					t.Errorf("got %q", got)
				}
				p.send(p.frame(opText, "discarded"), p.closeFrame(StatusNormalClosure, ""))
				if err := <-closing; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A read that begins while Close reads waits for what becomes of it, or
// until its own context ends.
func TestReadWhileCloseReads(t *testing.T) {
	onNetworks(t, func(t *testing.T, n network) {
		c, p := n.connect(t, testConfig(serverSide))
		closing := async(func() error { return c.Close(StatusNormalClosure, "") })
		p.wantClose(StatusNormalClosure)
		n.awaitReader(t, c)
		ctx, cancel := context.WithTimeoutCause(t.Context(), 5*time.Millisecond, errCause)
		defer cancel()
		if _, _, err := c.Read(ctx); err != errCause {
			t.Errorf("got %v, want the cause", err)
		}
		reading := async(func() error { _, _, err := c.Read(t.Context()); return err })
		n.await(t, "reserved", c.reserved.Load)
		if n.bubble {
			synctest.Wait()
		}
		p.send(p.frame(opText, "discarded"), p.closeFrame(StatusGoingAway, ""))
		if err := <-closing; err != nil {
			t.Error(err)
		}
		if err := <-reading; err != c.Err() {
			t.Errorf("got %v, want %v", err, c.Err())
		}
		wantStatus(t, c.Err(), StatusGoingAway)
	})
}

// What Close discards may be what breaks a rule. The handshake is not
// begun again then.
func TestCloseMeetsViolation(t *testing.T) {
	onNetworks(t, func(t *testing.T, n network) {
		c, p := n.connect(t, testConfig(serverSide))
		closing := async(func() error { return c.Close(StatusNormalClosure, "") })
		p.wantClose(StatusNormalClosure)
		p.send(p.frame(opText, "\xff"))
		wantStatus(t, <-closing, StatusInvalidFramePayloadData)
		p.wantEnd()
	})
}

// "Sending illegal codes is an API error", and changes nothing.
func TestCloseRefuses(t *testing.T) {
	onNetworks(t, func(t *testing.T, n network) {
		c, p := n.connect(t, testConfig(serverSide))
		for _, code := range []StatusCode{-1, 0, 1, 999, 1004, 1006, 1015, 1016, 2999, 5000, 65535, 65536 + 1000} {
			if err := c.Close(code, ""); err == nil || errors.Is(err, net.ErrClosed) {
				t.Errorf("Close(%d): got %v", code, err)
			}
		}
		if c.Err() != nil || c.Write(t.Context(), MessageText, []byte("open")) != nil {
			t.Error("the connection has ended")
		}
		p.want(opText, "open")
	})
}

// "The application MUST NOT send any more data frames after sending a Close
// frame." (section 5.5.1) Writers are told, with net.ErrClosed.
func TestCloseRefusesWriters(t *testing.T) {
	onNetworks(t, func(t *testing.T, n network) {
		c, p := n.connect(t, testConfig(serverSide))
		open, err := c.NextWriter(t.Context(), MessageText)
		if err != nil {
			t.Fatal(err)
		}
		waiting := async(func() error { return c.Write(t.Context(), MessageText, []byte("behind the stream")) })
		if n.bubble {
			synctest.Wait()
		}
		closing := async(func() error { return c.Close(StatusNormalClosure, "") })
		p.wantClose(StatusNormalClosure)
		prepared, err := NewPreparedMessage(MessageText, []byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		for name, write := range map[string]func() error{
			"waiting Write": func() error { return <-waiting },
			"MessageWriter": func() error { return open.Close() },
			"Write":         func() error { return c.Write(t.Context(), MessageText, []byte("x")) },
			"WriteBatch":    func() error { return c.WriteBatch(t.Context(), Message{MessageText, []byte("x")}) },
			"WritePrepared": func() error { return c.WritePrepared(t.Context(), prepared) },
			"NextWriter":    func() error { _, err := c.NextWriter(t.Context(), MessageText); return err },
			"Ping":          func() error { _, err := c.Ping(t.Context()); return err },
		} {
			if err := write(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s: got %v, want net.ErrClosed", name, err)
			}
		}
		p.send(p.closeFrame(StatusNormalClosure, ""))
		if err := <-closing; err != nil {
			t.Error(err)
		}
		p.wantEnd()
	})
}

// After the end every call returns the same *CloseError.
func TestSameErrorAfterEnd(t *testing.T) {
	for name, end := range map[string]func(c *Conn, p *rawPeer){
		"CloseNow": func(c *Conn, p *rawPeer) { c.CloseNow() },
		"Close": func(c *Conn, p *rawPeer) {
			p.send(p.closeFrame(StatusNormalClosure, ""))
			c.Close(StatusNormalClosure, "")
		},
		"no answer":    func(c *Conn, p *rawPeer) { c.Close(StatusNormalClosure, "") },
		"peer's Close": func(c *Conn, p *rawPeer) { p.send(p.closeFrame(4000, "")); c.Read(context.Background()) },
		"EOF":          func(c *Conn, p *rawPeer) { closeNow(p.Conn); c.Read(context.Background()) },
		"violation":    func(c *Conn, p *rawPeer) { p.send(p.frame(3, "")); c.Read(context.Background()) },
		"message too big": func(c *Conn, p *rawPeer) {
			p.send(p.frame(opText, strings.Repeat("x", 2<<20))[:20])
			c.Read(context.Background())
		},
		"WriteTimeout": func(c *Conn, p *rawPeer) { c.Write(context.Background(), MessageText, make([]byte, 16<<20)) },
		"Abort": func(c *Conn, p *rawPeer) {
			w, _ := c.NextWriter(context.Background(), MessageText)
			w.Write(make([]byte, 20<<10))
			w.Abort()
		},
	} {
		t.Run(name, func(t *testing.T) {
			onNetworks(t, func(t *testing.T, n network) {
				cfg := closeConfig(serverSide)
				cfg.writeTimeout = 50 * time.Millisecond
				c, p := n.connect(t, cfg)
				opened := c.Done()
				if c.Err() != nil {
					t.Fatal(c.Err())
				}
				end(c, p)
				<-opened
				<-c.Done()
				checkEnded(t, c)
			})
		})
	}
}

// checkEnded checks that each method of c returns the same CloseError.
func checkEnded(t *testing.T, c *Conn) {
	t.Helper()
	want := c.Err()
	if _, ok := want.(*CloseError); !ok {
		t.Fatalf("got %v, want a *CloseError", want)
	}
	check := func(method string, err error) {
		t.Helper()
		if err != want {
			t.Errorf("%s: got %v, want %v", method, err, want)
		}
	}
	ctx := t.Context()
	for _, way := range readWays {
		_, _, err := way.read(ctx, c)
		check(way.name, err)
	}
	check("CloseRead", func() error {
		ctx := c.CloseRead(ctx)
		<-ctx.Done()
		return context.Cause(ctx)
	}())
	check("Write", c.Write(ctx, MessageText, nil))
	check("WriteBatch", c.WriteBatch(ctx, Message{MessageText, nil}))
	prepared, err := NewPreparedMessage(MessageText, nil)
	if err != nil {
		t.Fatal(err)
	}
	check("WritePrepared", c.WritePrepared(ctx, prepared))
	_, err = c.NextWriter(ctx, MessageText)
	check("NextWriter", err)
	check("Flush", c.Flush(ctx))
	_, err = c.Ping(ctx)
	check("Ping", err)
	if err := c.Close(StatusNormalClosure, ""); err != nil {
		check("Close", err)
	}
	if err := c.CloseNow(); err != nil {
		t.Errorf("CloseNow: %v", err)
	}
	check("Err", c.Err())
}

// Where the server can't half-close, for its net.Conn is wrapped, it closes after the
// handshake: the client has nothing more to say. After a violation
// it might have, and be told why by our Close.
func TestNoHalfClose(t *testing.T) {
	onNetworks(t, func(t *testing.T, n network) {
		dial := n.dial
		n.dial = func(t testing.TB, s side) (endpoint, peer net.Conn) {
			endpoint, peer = dial(t, s)
			return struct{ net.Conn }{endpoint}, peer
		}
		start := time.Now()
		server, client := n.connectBoth(t, testConfig(0))
		go server.Read(context.Background())
		if err := client.Close(StatusNormalClosure, ""); err != nil {
			t.Error(err)
		}
		n.await(t, "closed", server.closed.Load)
		n.await(t, "closed", client.closed.Load)
		n.took(t, start, 0)

		c, p := n.connect(t, closeConfig(serverSide))
		p.send(p.frame(3, ""), make([]byte, 30<<10))
		start = time.Now()
		_, _, err := c.Read(t.Context())
		wantStatus(t, err, StatusProtocolError)
		p.send(make([]byte, 30<<10))
		p.wantClose(StatusProtocolError)
		p.wantEnd()
		n.took(t, start, closeTimeoutOfTests)
	})
}

// A violation of the protocol ends the connection with a Close frame that says so. The
// peer, which goes on sending, can read it: it is not lost to a reset.
func TestFailedPeerStillSends(t *testing.T) {
	for _, n := range []network{tcp, tls_} {
		for _, s := range []side{serverSide, clientSide} {
			t.Run(n.name, func(t *testing.T) {
				c, p := n.connect(t, testConfig(s))
				sending := async(func() error {
					if _, err := p.Write(p.frame(3, "")); err != nil {
						return err
					}
					for range 64 {
						if _, err := p.Write(make([]byte, 16<<10)); err != nil {
							return err
						}
					}
					return nil
				})
				_, _, err := c.Read(t.Context())
				wantStatus(t, err, StatusProtocolError)
				if err := <-sending; err != nil {
					t.Errorf("the peer can't send its 1 MiB: %v", err)
				}
				p.wantClose(StatusProtocolError)
				if s == clientSide {
					p.CloseWrite(t)
				}
				p.wantEnd()
			})
		}
	}
}

// The same after the peer's own Close frame, against the RFC.
func TestClosedPeerStillSends(t *testing.T) {
	for _, n := range []network{tcp, tls_} {
		t.Run(n.name, func(t *testing.T) {
			c, p := n.connect(t, testConfig(serverSide))
			p.send(p.closeFrame(StatusNormalClosure, ""))
			sending := async(func() error { _, err := p.Write(make([]byte, 1<<20)); return err })
			_, _, err := c.Read(t.Context())
			wantStatus(t, err, StatusNormalClosure)
			if err := <-sending; err != nil {
				t.Errorf("the peer can't send its 1 MiB: %v", err)
			}
			p.wantClose(StatusNormalClosure)
			p.wantEnd()
		})
	}
}

// A peer that sends without end is not listened to for longer than CloseTimeout, and keeps
// nobody waiting.
func TestFloodAfterClose(t *testing.T) {
	for _, n := range []network{tcp, tls_} { // in a bubble, a flood stops the clock
		c, p := n.connect(t, closeConfig(serverSide))
		p.send(p.closeFrame(StatusNormalClosure, ""))
		var flood sync.WaitGroup
		for range 4 {
			flood.Go(func() {
				for b := make([]byte, 256<<10); ; {
					if _, err := p.Write(b); err != nil {
						return
					}
				}
			})
		}
		start := time.Now()
		_, _, err := c.Read(t.Context())
		wantStatus(t, err, StatusNormalClosure)
		n.took(t, start, 0)
		flood.Wait()
		n.took(t, start, closeTimeoutOfTests)
		if !c.closed.Load() {
			t.Error("the socket is open")
		}
	}
}

// A brokenConn has writes that fail once broken is closed.
type brokenConn struct {
	net.Conn
	broken chan struct{}
}

var errBrokenConn = errors.New("the network is broken")

func (c *brokenConn) Write(p []byte) (int, error) {
	select {
	case <-c.broken:
		return 0, errBrokenConn
	default:
		return c.Conn.Write(p)
	}
}

// brokenPipe returns an endpoint over a pipe that fails its
// writes, and whether a read waits.
func brokenPipe(t *testing.T, reader bool) (c *Conn, p *rawPeer, reading <-chan error) {
	t.Helper()
	a, b := testnet.Pipe()
	broken := make(chan struct{})
	c, p = connectOver(t, &brokenConn{a, broken}, b, testConfig(serverSide))
	if reader {
		reading = async(func() error { _, _, err := c.Read(t.Context()); return err })
		synctest.Wait()
	}
	close(broken)
	return c, p, reading
}

// "After a failed write the reader looks up to 1 s for the peer's Close, so that its
// code wins over 1006", for the writers too. Then nothing
// keeps the socket open.
func TestFailedWriteThenClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p, reading := brokenPipe(t, true)
		writing := async(func() error { return c.Write(t.Context(), MessageText, []byte("lost")) })
		time.Sleep(closeAfterBreak - time.Millisecond)
		if c.Err() != nil {
			t.Fatal(c.Err())
		}
		later := async(func() error { return c.Write(t.Context(), MessageText, []byte("not tried")) })
		synctest.Wait()
		p.send(p.closeFrame(StatusTryAgainLater, "busy"))
		for _, result := range []<-chan error{reading, writing, later} {
			err := <-result
			if wantStatus(t, err, StatusTryAgainLater); err != c.Err() {
				t.Errorf("got %v, want %v", err, c.Err())
			}
		}
		synctest.Wait()
		if !c.closed.Load() {
			t.Error("the socket is open")
		}
	})
}

// Without a Close in that second, it is the error of the write
// that says what happened.
func TestFailedWriteAlone(t *testing.T) {
	for _, reader := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c, _, reading := brokenPipe(t, reader)
			start := time.Now()
			err := c.Write(t.Context(), MessageText, []byte("lost"))
			pipe.took(t, start, closeAfterBreak)
			if wantStatus(t, err, StatusAbnormalClosure); !errors.Is(err, errBrokenConn) || err != c.Err() {
				t.Errorf("got %v", err)
			}
			if reader && <-reading != c.Err() {
				t.Error("Read returns something else")
			}
			if synctest.Wait(); !c.closed.Load() {
				t.Error("the socket is open")
			}
		})
	}
}

// Close is as fast when writing is broken already, and CloseNow.
func TestFailedWriteThenOwnClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, close := range []func(*Conn) error{
			func(c *Conn) error { return c.Close(StatusNormalClosure, "") },
			(*Conn).CloseNow,
		} {
			c, _, _ := brokenPipe(t, false)
			writing := async(func() error { return c.Write(t.Context(), MessageText, []byte("lost")) })
			synctest.Wait()
			start := time.Now()
			close(c)
			if got := time.Since(start); got > closeAfterBreak {
				t.Errorf("took %v", got)
			}
			if err := <-writing; err == nil || err != c.Err() || !c.closed.Load() {
				t.Errorf("got %v, want %v", err, c.Err())
			}
		}
	})
}

// On TCP: the peer has sent its Close and gone. Whoever notices
// first, the code is the peer's.
func TestCloseWinsOverReset(t *testing.T) {
	for _, n := range []network{tcp, tls_} {
		t.Run(n.name, func(t *testing.T) {
			for range 20 {
				c, p := n.connect(t, testConfig(serverSide))
				p.send(p.closeFrame(StatusServiceRestart, ""))
				closeNow(p.Conn)
				writing := async(func() error {
					for {
						if err := c.Write(t.Context(), MessageText, []byte("x")); err != nil {
							return err
						}
					}
				})
				_, _, err := c.Read(t.Context())
				wantStatus(t, err, StatusServiceRestart)
				wantStatus(t, <-writing, StatusServiceRestart)
			}
		})
	}
}

// "A protocol error found while a writer is stuck": its Close frame has
// CloseTimeout to leave.
func TestFailWhileWriteStuck(t *testing.T) {
	onNetworks(t, func(t *testing.T, n network) {
		c, p := n.connect(t, closeConfig(serverSide))
		stuck := n.jam(t, c, p)
		p.send(p.frame(3, ""))
		start := time.Now()
		_, _, err := c.Read(t.Context())
		wantStatus(t, err, StatusProtocolError)
		n.took(t, start, 0)
		if err := <-stuck; err != c.Err() {
			t.Errorf("got %v, want %v", err, c.Err())
		}
		n.took(t, start, closeTimeoutOfTests)
	})
}

// If the peer reads on, it gets the message and then the Close.
func TestFailWhileWriteUnderWay(t *testing.T) {
	onNetworks(t, func(t *testing.T, n network) {
		c, p := n.connect(t, testConfig(serverSide))
		writing := n.jam(t, c, p)
		p.send(p.frame(3, ""))
		_, _, err := c.Read(t.Context())
		wantStatus(t, err, StatusProtocolError)
		if f := p.next(); opcode(f.Opcode) != opBinary || len(f.Payload) != jamLength {
			t.Errorf("got frame %v", f)
		}
		if err := <-writing; err != nil && err != c.Err() {
			t.Error(err)
		}
		p.wantClose(StatusProtocolError)
		p.wantEnd()
	})
}

// "No internal error text is sent to the peer": a connection that is lost, by
// our clock or by the network's failing, ends without a Close frame.
func TestLostIsNotTold(t *testing.T) {
	onNetworks(t, func(t *testing.T, n network) {
		cfg := testConfig(serverSide)
		cfg.pingInterval, cfg.pingTimeout = 20*time.Millisecond, 20*time.Millisecond
		c, p := n.connect(t, cfg)
		_, _, err := c.Read(t.Context())
		wantStatus(t, err, StatusAbnormalClosure)
		p.want(opPing, string(pingPayload(1)))
		p.SetReadDeadline(time.Now().Add(patienceOfPeers))
		if f, err := testnet.ReadFrame(p.frames); err == nil {
			t.Errorf("the peer gets frame %v", f)
		}
	})
}

// A read deadline on TLS is no more the end than elsewhere; a
// write that runs into WriteTimeout is.
func TestTLSTimeouts(t *testing.T) {
	cfg := testConfig(serverSide)
	cfg.writeTimeout = 500 * time.Millisecond
	c, p := tls_.connect(t, cfg)
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if _, _, err := c.Read(ctx); err != context.DeadlineExceeded {
			t.Fatal(err)
		}
		p.send(p.frame(opText, "on"))
		typ, data, err := c.Read(t.Context())
		wantRead(t, typ, data, err, "on")
		if err := c.Write(t.Context(), MessageText, []byte("back")); err != nil {
			t.Fatal(err)
		}
		p.want(opText, "back")
	}
	start := time.Now()
	err := <-tls_.jam(t, c, p)
	if wantStatus(t, err, StatusAbnormalClosure); !errors.Is(err, os.ErrDeadlineExceeded) || !c.closed.Load() {
		t.Errorf("got %v", err)
	}
	tls_.took(t, start, cfg.writeTimeout)
}

// Ten thousand connections leave no goroutine and no descriptor, however they end.
func TestOpenAndClose(t *testing.T) {
	cycles := 10000
	if raceEnabled() || testing.Short() {
		cycles = 1000
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ends := []func(server, client *Conn){
		func(server, client *Conn) { client.Close(StatusNormalClosure, "") },
		func(server, client *Conn) { server.Close(StatusNormalClosure, "") },
		func(server, client *Conn) { client.CloseNow() },
		func(server, client *Conn) {
			server.Write(context.Background(), MessageText, []byte("\xff"))
			<-client.Done()
		},
	}
	cycle := func(i int) {
		a, b := dialListener(t, ln)
		b.(*net.TCPConn).SetLinger(0) // leaves the port free
		cfg := connDefaults(0, 0, 0, 0, 0)
		server := newConn(a, nil, cfg)
		cfg.side = clientSide
		client := newConn(b, nil, cfg)
		reading := async(func() error { _, _, err := server.Read(context.Background()); return err })
		if i%2 == 0 {
			client.CloseRead(context.Background())
		} else {
			go client.Read(context.Background())
		}
		ends[i%len(ends)](server, client)
		<-reading
		server.CloseNow()
		client.CloseNow()
	}
	for i := range 20 {
		cycle(i)
	}
	awaitQuiet()
	goroutinesBefore, descriptorsBefore, timersBefore := goroutines(), openDescriptors(t), timersPending.Load()
	for i := range cycles {
		cycle(i)
	}
	awaitQuiet()
	if got := goroutines() - goroutinesBefore; got > 0 {
		t.Errorf("got %d goroutines more", got)
	}
	if got := openDescriptors(t) - descriptorsBefore; got > 0 {
		t.Errorf("got %d descriptors more", got)
	}
	if got := timersPending.Load() - timersBefore; got > 0 {
		t.Errorf("got %d timers more", got)
	}
}

// openDescriptors returns how many files are open, or
// 0 where that is not known.
func openDescriptors(t *testing.T) int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil && runtime.GOOS == "linux" {
		t.Fatal(err)
	}
	return len(entries)
}

// Whatever is called at whichever moment, over whatever network: every call returns, every
// message is whole, and nothing is left. (In a bubble, a call that hangs is a deadlock.)
func TestAnythingAtAnyTime(t *testing.T) {
	seeds := uint64(400)
	if raceEnabled() || testing.Short() {
		seeds = 100
	}
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			a, b := testnet.Pipe()
			a.SetReadBuffer(1 + random.IntN(40_000))
			b.SetReadBuffer(1 + random.IntN(40_000))
			broken := make(chan struct{})
			endpoints := []net.Conn{a, struct{ net.Conn }{a}, deadlineFree{a, false}, &brokenConn{a, broken}}
			duration := func() time.Duration { return time.Duration(1+random.IntN(5000)) * time.Millisecond }
			cfg := connDefaults(0, duration(), duration(), duration(), duration())
			cfg.batching = random.IntN(2) == 0
			server := newConn(endpoints[random.IntN(len(endpoints))], nil, cfg)
			cfg.side = clientSide
			client := newConn(b, nil, cfg)

			var calls sync.WaitGroup
			for _, c := range []*Conn{server, client} {
				u := user{t, c, rand.New(rand.NewPCG(seed, random.Uint64()))}
				calls.Go(u.read)
				for range random.IntN(4) {
					u := user{t, c, rand.New(rand.NewPCG(seed, random.Uint64()))}
					calls.Go(u.write)
				}
			}
			time.Sleep(duration())
			switch random.IntN(6) {
			case 0:
				b.Reset()
			case 1:
				b.Close()
			case 2:
				close(broken)
			case 3:
				b.Stall(true)
			}
			for _, c := range []*Conn{server, client} {
				if random.IntN(2) == 0 {
					c.Close(StatusNormalClosure, "")
				}
				calls.Go(func() { c.CloseNow() })
			}
			calls.Wait()
			time.Sleep(2 * defaultCloseTimeout)
			if !server.closed.Load() || !client.closed.Load() {
				t.Errorf("seed %d: a socket is open: server %v, client %v", seed, server.Err(), client.Err())
			}
		})
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// A user does what comes to mind with a Conn, until it ends.
type user struct {
	t      *testing.T
	c      *Conn
	random *rand.Rand
}

// context returns one that may end soon.
func (u *user) context() (context.Context, context.CancelFunc) {
	if u.random.IntN(4) > 0 {
		return context.Background(), func() {}
	}
	return context.WithTimeout(context.Background(), time.Duration(u.random.IntN(300))*time.Millisecond)
}

// message returns one that wholeMessage knows again.
func (u *user) message() []byte {
	return bytes.Repeat([]byte{byte(u.random.Uint32())}, u.random.IntN(1<<u.random.IntN(18)))
}

func wholeMessage(data []byte) bool {
	return len(data) == 0 || bytes.Count(data, data[:1]) == len(data)
}

func (u *user) read() {
	for u.c.Err() == nil {
		ctx, cancel := u.context()
		if way := u.random.IntN(len(readWays) + 2); way < len(readWays) {
			_, data, err := readWays[way].read(ctx, u.c)
			if err == nil && !wholeMessage(data) {
				u.t.Errorf("%s: got a message of %d bytes that was not sent so", readWays[way].name, len(data))
			}
		} else if way == len(readWays) {
			_, r, err := u.c.NextReader(ctx)
			if err == nil {
				r.Read(make([]byte, 1+u.random.IntN(1000))) // and leave it
			}
		} else {
			for m, err := range u.c.Messages(ctx) {
				if err == nil && !wholeMessage(m.Data) {
					u.t.Errorf("Messages: got a message of %d bytes that was not sent so", len(m.Data))
				}
				if u.random.IntN(10) == 0 {
					break
				}
			}
		}
		if cancel(); u.random.IntN(10) == 0 {
			time.Sleep(time.Duration(u.random.IntN(2000)) * time.Millisecond)
		}
	}
}

func (u *user) write() {
	for u.c.Err() == nil {
		ctx, cancel := u.context()
		switch u.random.IntN(12) {
		case 0:
			u.c.WriteBatch(ctx, Message{MessageBinary, u.message()}, Message{MessageBinary, u.message()})
		case 1:
			u.stream(ctx)
		case 2:
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			u.c.Ping(ctx)
			cancel()
		case 3:
			u.c.Flush(ctx)
		case 4:
			time.Sleep(time.Duration(u.random.IntN(1000)) * time.Millisecond)
		case 5:
			if u.random.IntN(50) == 0 {
				u.c.Close(StatusGoingAway, "bye")
			}
		default:
			u.c.Write(ctx, MessageBinary, u.message())
		}
		if cancel(); u.random.IntN(3) == 0 {
			time.Sleep(time.Duration(u.random.IntN(50)) * time.Millisecond)
		}
	}
}

func (u *user) stream(ctx context.Context) {
	w, err := u.c.NextWriter(ctx, MessageBinary)
	if err != nil {
		return
	}
	first := byte(u.random.Uint32())
	for range u.random.IntN(4) {
		w.Write(bytes.Repeat([]byte{first}, u.random.IntN(20000)))
	}
	if u.random.IntN(20) == 0 {
		w.Abort()
	} else {
		w.Close()
	}
}
