package websocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidewire/websocket/internal/testnet"
)

func withBatching(cfg *connConfig) { cfg.batching = true }

// inHoldBubble is inWriteBubble with Batching. sent has the writes
// of the Conn.
func inHoldBubble(t *testing.T, room int, test func(t *testing.T, c *Conn, peer *writePeer, sent *countedConn)) {
	eachSide(t, func(t *testing.T, side side) {
		synctest.Test(t, func(t *testing.T) {
			endpoint, nc := testnet.Pipe()
			nc.SetReadBuffer(room)
			sent := &countedConn{Conn: endpoint}
			test(t, newWriteConn(t, sent, side, withBatching), newWritePeer(t, nc, side), sent)
		})
	})
}

// A sentFrame is a frame that is whole.
type sentFrame struct {
	op      opcode
	payload string
}

// append appends the frame as the peer sends it.
func (p *writePeer) append(b []byte, f sentFrame) []byte {
	return appendFrame(b, header{fin: true, opcode: f.op, masked: p.side == serverSide}, []byte(f.payload))
}

// readFirst has c read a message while others lie received behind it: what
// is written from then on is held.
func readFirst(t testing.TB, c *Conn, peer *writePeer, others ...sentFrame) {
	t.Helper()
	b := peer.append(nil, sentFrame{opText, "first"})
	for _, f := range others {
		b = peer.append(b, f)
	}
	peer.Write(b)
	typ, p, err := c.Read(t.Context())
	wantRead(t, typ, p, err, "first")
}

// readSecond reads what readFirst has left.
func readSecond(t testing.TB, c *Conn) {
	t.Helper()
	typ, p, err := c.Read(t.Context())
	wantRead(t, typ, p, err, "second")
}

var second = sentFrame{opText, "second"}

// holdBack writes messages that are held.
func holdBack(t testing.TB, c *Conn, messages ...string) {
	t.Helper()
	for _, m := range messages {
		if err := c.Write(t.Context(), MessageText, []byte(m)); err != nil {
			t.Fatal(err)
		}
	}
}

// wantSent checks how many bytes each write had so far.
func (c *countedConn) wantSent(t testing.TB, lengths ...int) {
	t.Helper()
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	if fmt.Sprint(c.writes) != fmt.Sprint(lengths) {
		t.Fatalf("got writes of %v bytes, want %v", c.writes, lengths)
	}
}

// While the application is busy with one message, and the next has come, what
// it writes leaves after a millisecond: counted from the first frame, and no sooner.
func TestHeldForAMillisecond(t *testing.T) {
	inHoldBubble(t, 1<<20, func(t *testing.T, c *Conn, peer *writePeer, sent *countedConn) {
		const limit = time.Millisecond
		var lengths []int
		for range 3 { // by the same timer
			readFirst(t, c, peer, second)
			start := time.Now()
			for range 3 {
				holdBack(t, c, "held")
				time.Sleep(limit / 4)
			}
			time.Sleep(time.Until(start.Add(limit - 1)))
			sent.wantSent(t, lengths...)
			time.Sleep(time.Nanosecond)
			lengths = append(lengths, 3*frameLength(c.side, 4))
			sent.wantSent(t, lengths...)
			for range 3 {
				peer.want(t, opText, true, []byte("held"))
			}
			readSecond(t, c)
		}
	})
}

// With nothing received, an answer does not wait for others.
func TestNotHeld(t *testing.T) {
	inHoldBubble(t, 1<<20, func(t *testing.T, c *Conn, peer *writePeer, sent *countedConn) {
		start := time.Now()
		holdBack(t, c, "to begin with")
		peer.want(t, opText, true, []byte("to begin with"))
		readFirst(t, c, peer)
		holdBack(t, c, "an answer")
		peer.want(t, opText, true, []byte("an answer"))
		readFirst(t, c, peer, second)
		readSecond(t, c)
		holdBack(t, c, "an answer to the last")
		peer.want(t, opText, true, []byte("an answer to the last"))

		first, next := peer.append(nil, sentFrame{opText, "first"}), peer.append(nil, second)
		part := len(next) - 1
		peer.Write(append(first, next[:part]...))
		typ, p, err := c.Read(t.Context())
		wantRead(t, typ, p, err, "first")
		holdBack(t, c, "with a part received")
		peer.want(t, opText, true, []byte("with a part received"))
		peer.Write(next[part:])
		readSecond(t, c)

		readFirst(t, c, peer, sentFrame{opPong, "no message"})
		reading := goCall(func() error { _, _, err := c.Read(t.Context()); return err })
		synctest.Wait()
		holdBack(t, c, "while a read waits")
		peer.want(t, opText, true, []byte("while a read waits"))
		reading.wantBlocked(t)
		pipe.took(t, start, 0)
		if got := sent.count(); got != 5 {
			t.Errorf("got %d writes, want one for each message", got)
		}
	})
}

// A tls.Conn gives of a record as little at a time as is asked for. What came in one is
// answered in one, whatever the length of its messages.
func TestHeldOverTLS(t *testing.T) {
	tlsConfigs() // made outside of the bubbles
	for _, size := range []int{0, 1, 26, 30, 57, 58, 59, 125, 400} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			eachSide(t, func(t *testing.T, side side) {
				synctest.Test(t, func(t *testing.T) { holdOverTLS(t, side, size) })
			})
		})
	}
}

func holdOverTLS(t *testing.T, side side, size int) {
	a, b := testnet.Pipe()
	endpoint, nc := secure(t, a, b, side)
	sent := &countedConn{Conn: endpoint}
	c, peer := newWriteConn(t, sent, side, withBatching), newWritePeer(t, nc, side)
	n := 1100 / frameLength(1-side, size) // fit the first records, which are shorter
	payload := func(i int) []byte { return bytes.Repeat([]byte{byte(i)}, size) }
	var answered []int
	for range 2 { // also from where the first has left the connection
		var b []byte
		for i := range n {
			b = peer.append(b, sentFrame{opBinary, string(payload(i))})
		}
		peer.Write(b)
		for i := range n {
			_, p, err := c.Read(t.Context())
			if err != nil || !bytes.Equal(p, payload(i)) {
				t.Fatalf("got %q, %v, want %q", p, err, payload(i))
			}
			if err := c.Write(t.Context(), MessageBinary, p); err != nil {
				t.Fatal(err)
			}
		}
		answered = append(answered, n*frameLength(side, size))
		for i := range n {
			peer.want(t, opBinary, true, payload(i))
		}
		synctest.Wait() // for who has written: it would take along what is held by then
	}
	sent.wantSent(t, answered...)

	// And then it waits for bytes as before.
	reading := goCall(func() error { _, _, err := c.Read(t.Context()); return err })
	synctest.Wait()
	reading.wantBlocked(t)
	peer.Write(peer.append(nil, second))
	reading.wantNow(t, nil)
}

// What makes held frames leave, which they do first, together and at once.
func TestHeldLeave(t *testing.T) {
	large := strings.Repeat("large", smallMessage/5+1)
	goRead := func(t *testing.T, c *Conn) {
		goCall(func() error { _, _, err := c.Read(t.Context()); return err })
	}
	for _, test := range []struct {
		name  string
		ahead []sentFrame
		do    func(t *testing.T, c *Conn)
		then  []sentFrame // leave behind
		apart bool        // in writes of their own
	}{
		{
			name: "a read waits", ahead: []sentFrame{second},
			do: func(t *testing.T, c *Conn) { readSecond(t, c); goRead(t, c) },
		},
		{
			name: "Flush", ahead: []sentFrame{second},
			do: func(t *testing.T, c *Conn) { goCall(func() error { return c.Flush(t.Context()) }) },
		},
		{
			name: "Close", ahead: []sentFrame{second},
			do:   func(t *testing.T, c *Conn) { goCall(func() error { return c.Close(StatusGoingAway, "bye") }) },
			then: []sentFrame{{opClose, "\x03\xe9bye"}},
		},
		{
			name: "a larger message", ahead: []sentFrame{second},
			do:   func(t *testing.T, c *Conn) { goWrite(t.Context(), c, []byte(large)) },
			then: []sentFrame{{opBinary, large}}, apart: true,
		},
		{
			name: "a batch that is larger", ahead: []sentFrame{second},
			do: func(t *testing.T, c *Conn) {
				m := Message{MessageText, []byte(large)}
				goCall(func() error { return c.WriteBatch(t.Context(), m, m) })
			},
			then: []sentFrame{{opText, large}, {opText, large}}, apart: true,
		},
		{
			name: "a larger message of many connections", ahead: []sentFrame{second},
			do: func(t *testing.T, c *Conn) {
				m, _ := NewPreparedMessage(MessageText, []byte(large))
				goCall(func() error { return c.WritePrepared(t.Context(), m) })
			},
			then: []sentFrame{{opText, large}}, apart: true,
		},
		{
			name: "the end of a message in pieces", ahead: []sentFrame{second},
			do: func(t *testing.T, c *Conn) {
				w, err := c.NextWriter(t.Context(), MessageText)
				if err != nil {
					t.Fatal(err)
				}
				w.Write([]byte("a piece"))
				w.Close()
			},
			then: []sentFrame{{opText, "a piece"}},
		},
		{
			name: "a Ping of ours", ahead: []sentFrame{second},
			do:   func(t *testing.T, c *Conn) { goCall(func() error { _, err := c.Ping(t.Context()); return err }) },
			then: []sentFrame{{opPing, string(pingPayload(1))}}, apart: true,
		},
		{
			name: "a Ping of the peer's", ahead: []sentFrame{{opPing, "you?"}, second},
			do:   func(t *testing.T, c *Conn) { readSecond(t, c) },
			then: []sentFrame{{opPong, "you?"}},
		},
		{
			name: "the peer's Close", ahead: []sentFrame{{opClose, "\x03\xe9"}},
			do:   goRead,
			then: []sentFrame{{opClose, "\x03\xe9"}},
		},
		{
			name: "a frame that breaks the rules", ahead: []sentFrame{{opcode(5), "?"}},
			do:   goRead,
			then: []sentFrame{{opClose, "\x03\xeareserved opcode"}},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			inHoldBubble(t, 1<<20, func(t *testing.T, c *Conn, peer *writePeer, sent *countedConn) {
				readFirst(t, c, peer, test.ahead...)
				holdBack(t, c, "held", "too")
				sent.wantSent(t)
				length := frameLength(c.side, 4) + frameLength(c.side, 3)
				start := time.Now()
				test.do(t, c)
				peer.want(t, opText, true, []byte("held"))
				peer.want(t, opText, true, []byte("too"))
				for _, f := range test.then {
					peer.want(t, f.op, true, []byte(f.payload))
					if !test.apart {
						length += frameLength(c.side, len(f.payload))
					}
				}
				pipe.took(t, start, 0)
				if sent.writes[0] != length {
					t.Errorf("got a write of %d bytes, want %d", sent.writes[0], length)
				}
			})
		})
	}
}

// CloseNow sends nothing, and neither does anything that is held keep memory or
// a timer.
func TestHeldAtCloseNow(t *testing.T) {
	inHoldBubble(t, 1<<20, func(t *testing.T, c *Conn, peer *writePeer, sent *countedConn) {
		before := timersPending.Load()
		readFirst(t, c, peer, second)
		holdBack(t, c, "held")
		if got := timersPending.Load() - before; got != 1 {
			t.Fatalf("%d timers are pending, want that of what is held", got)
		}
		c.CloseNow()
		if got := timersPending.Load() - before; got != 0 {
			t.Errorf("%d timers are pending", got)
		}
		checkEnded(t, c)
		peer.wantEnd(t)
		wantNothingHeld(t, c)
		sent.wantSent(t)
	})
}

// wantNothingHeld checks that c has no frames that wait, and no buffer for them.
func wantNothingHeld(t testing.TB, c *Conn) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.holds() {
		t.Errorf("%d bytes are held", len(*c.hold.buf))
	}
}

// Between messages, and whatever came before, a connection has no buffer.
func TestIdleHoldsNothing(t *testing.T) {
	for _, n := range []network{tcp, tls_} {
		t.Run(n.name, func(t *testing.T) {
			cfg := testConfig(serverSide)
			cfg.batching = true
			server, client := n.connectBoth(t, cfg)
			echoing := goCall(func() error { return echo(t.Context(), server) })
			for range 10 {
				for i := range 20 {
					if err := client.Write(t.Context(), MessageBinary, pattern(100*i, i)); err != nil {
						t.Fatal(err)
					}
				}
				for i := range 20 {
					if _, p, err := client.Read(t.Context()); err != nil || !bytes.Equal(p, pattern(100*i, i)) {
						t.Fatalf("message %d: got %s, %v", i, excerpt(p), err)
					}
				}
			}
			for _, c := range []*Conn{server, client} {
				c.mu.Lock()
				busy := c.busy
				c.mu.Unlock()
				if busy {
					n.await(t, "idle", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return !c.busy })
				}
			}
			n.awaitReader(t, server)
			wantNothingHeld(t, server)
			wantNothingHeld(t, client)
			if err := client.Close(StatusNormalClosure, ""); err != nil {
				t.Error(err)
			}
			echoing.want(t, patience, nil)
		})
	}
}

// echo echoes until the peer closes the connection.
func echo(ctx context.Context, c *Conn) error {
	for m, err := range c.Messages(ctx) {
		if err == nil {
			err = c.Write(ctx, m.Type, m.Data)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// However long the next message waits to be read, 64 KiB are enough to leave.
func TestHeldUpTo64KiB(t *testing.T) {
	for _, size := range []int{0, 100, 5000, smallMessage - maxHeaderLength} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			inHoldBubble(t, 1<<20, func(t *testing.T, c *Conn, peer *writePeer, sent *countedConn) {
				readFirst(t, c, peer, second)
				start := time.Now()
				written := 0
				for length := 0; length < batchSize; written++ {
					sent.wantSent(t)
					if err := c.Write(t.Context(), MessageBinary, pattern(size, written%100)); err != nil {
						t.Fatal(err)
					}
					length += frameLength(c.side, size)
				}
				for i := range written {
					peer.want(t, opBinary, true, pattern(size, i%100))
				}
				pipe.took(t, start, 0)
			})
		})
	}
}

// writeUntilFull writes messages of the given size while nobody reads, until one
// would have to wait. It returns how many there were.
func writeUntilFull(t *testing.T, c *Conn, size int) (n int) {
	t.Helper()
	for ; ; n++ {
		ctx, cancel := context.WithCancelCause(t.Context())
		call := goWrite(ctx, c, pattern(size, n%100))
		cancel(errWithdraw)
		if call.blocked() {
			call.wantNow(t, errWithdraw)
			isOpen(t, c)
			return n
		}
		call.wantNow(t, nil)
	}
}

// A peer that does not read: what Write takes is bounded. Then it waits for room, as
// long as its context lets it, and what is withdrawn is never sent.
func TestHeldIsBounded(t *testing.T) {
	const room = 1000
	for _, size := range []int{100, 5000, smallMessage - maxHeaderLength} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			inHoldBubble(t, room, func(t *testing.T, c *Conn, peer *writePeer, _ *countedConn) {
				n := writeUntilFull(t, c, size)
				length := n * frameLength(c.side, size)
				if most := room + 2*(batchSize+smallMessage); length < batchSize || length > most {
					t.Errorf("Write took %d bytes, want from %d to %d", length, batchSize, most)
				}
				waiting := goWrite(t.Context(), c, pattern(size, n%100))
				waiting.wantBlocked(t)
				for i := range n + 1 {
					peer.want(t, opBinary, true, pattern(size, i%100))
				}
				waiting.wantNow(t, nil)
				peer.wantNothing(t)
				wantNothingHeld(t, c)
			})
		})
	}
}

// Behind a message that is too large to be held, small ones wait for their turn. Then
// they are held, though the kernel takes no more.
func TestHeldInTurn(t *testing.T) {
	inHoldBubble(t, 1000, func(t *testing.T, c *Conn, peer *writePeer, _ *countedConn) {
		const small, large = 15_000, 20_000
		taken := goWrite(t.Context(), c, pattern(small, 1)) // and on its way
		waits := goWrite(t.Context(), c, pattern(large, 2))
		behind := []*writeCall{goWrite(t.Context(), c, pattern(small, 3)), goWrite(t.Context(), c, pattern(small, 4))}
		taken.wantNow(t, nil)
		waits.wantBlocked(t)
		peer.want(t, opBinary, true, pattern(small, 1))
		peer.want(t, opBinary, true, pattern(large, 2))
		waits.wantNow(t, nil)
		for _, call := range behind {
			call.wantNow(t, nil)
		}
		goWrite(t.Context(), c, pattern(small, 5)).wantNow(t, nil)
		for i := range 3 {
			peer.want(t, opBinary, true, pattern(small, 3+i))
		}
	})
}

// Whoever sends for others, because they hold while it does, comes to an end.
func TestHeldByOthers(t *testing.T) {
	for _, test := range []struct {
		name string
		do   func(c *Conn, peer *rawPeer) error
	}{
		{"Write", func(c *Conn, _ *rawPeer) error {
			c.hold.ahead.Store(false)
			return c.Write(c.context(), MessageText, []byte("last"))
		}},
		{"Read", func(c *Conn, peer *rawPeer) error {
			peer.send(peer.frame(opText, "come"))
			_, _, err := c.Read(c.context())
			return err
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := testConfig(serverSide)
			cfg.batching = true
			endpoint, nc := tcp.dial(t, serverSide)
			c, peer := connectOver(t, endpoint, nc, cfg)
			go io.Copy(io.Discard, nc)
			var more atomic.Bool
			more.Store(true)
			c.sock = &beforeWriting{c.sock, func() {
				if more.Load() { // another one is quick enough to write at each write
					<-goCall(func() error { return c.Write(t.Context(), MessageText, []byte("more")) }).done
				}
			}}
			c.hold.ahead.Store(true)
			if err := c.Write(t.Context(), MessageText, []byte("first")); err != nil {
				t.Fatal(err)
			}
			call := goCall(func() error { return test.do(c, peer) })
			call.want(t, patience, nil)
			more.Store(false)
		})
	}
}

// A beforeWriting calls a function before it writes.
type beforeWriting struct {
	socket
	f func()
}

func (s *beforeWriting) write(p []byte) (int, error) {
	s.f()
	return s.socket.write(p)
}

// A peer that never reads costs WriteTimeout.
func TestHeldTimesOut(t *testing.T) {
	inHoldBubble(t, 1000, func(t *testing.T, c *Conn, peer *writePeer, _ *countedConn) {
		start := time.Now()
		writeUntilFull(t, c, 1000)
		waiting := goWrite(t.Context(), c, nil)
		flushing := goCall(func() error { return c.Flush(t.Context()) })
		<-waiting.done
		if took := time.Since(start); took < defaultWriteTimeout || took > defaultWriteTimeout*5/4 {
			t.Errorf("took %v, want %v", took, defaultWriteTimeout)
		}
		wantLost(t, c, errWriteTimeout)
		waiting.wantNow(t, c.Err())
		flushing.wantNow(t, c.Err())
		checkEnded(t, c)
		wantNothingHeld(t, c)
	})
}

// If what was held cannot be sent, every call says so that
// comes later or is in progress.
func TestHeldFails(t *testing.T) {
	for name, call := range map[string]func(ctx context.Context, c *Conn) error{
		"Write":      func(ctx context.Context, c *Conn) error { return c.Write(ctx, MessageText, nil) },
		"WriteBatch": func(ctx context.Context, c *Conn) error { return c.WriteBatch(ctx, Message{MessageText, nil}) },
		"NextWriter": func(ctx context.Context, c *Conn) error { _, err := c.NextWriter(ctx, MessageText); return err },
		"Flush":      func(ctx context.Context, c *Conn) error { return c.Flush(ctx) },
		"Ping":       func(ctx context.Context, c *Conn) error { _, err := c.Ping(ctx); return err },
		"Read":       func(ctx context.Context, c *Conn) error { _, _, err := c.Read(ctx); return err },
		"Close":      func(_ context.Context, c *Conn) error { return c.Close(StatusNormalClosure, "") },
		"nothing":    func(_ context.Context, c *Conn) error { <-c.Done(); return c.Err() },
	} {
		for _, after := range []time.Duration{0, 2 * holdTime} {
			t.Run(fmt.Sprint(name, " after ", after), func(t *testing.T) {
				eachSide(t, func(t *testing.T, side side) {
					synctest.Test(t, func(t *testing.T) {
						endpoint, nc := testnet.Pipe()
						broken := make(chan struct{})
						c := newWriteConn(t, &brokenConn{endpoint, broken}, side, withBatching)
						peer := newWritePeer(t, nc, side)
						readFirst(t, c, peer, second)
						holdBack(t, c, "held")
						close(broken)
						start := time.Now()
						time.Sleep(after)
						readSecond(t, c)
						err := call(t.Context(), c)
						if name != "Flush" && after == 0 && err == nil { // it was held, too
							<-c.Done()
							err = c.Err()
						}
						if took := time.Since(start); took > closeAfterBreak+2*holdTime {
							t.Errorf("returned after %v", took)
						}
						wantLost(t, c, errBrokenConn)
						if err != c.Err() {
							t.Errorf("got %v, want %v", err, c.Err())
						}
						checkEnded(t, c)
						wantNothingHeld(t, c)
					})
				})
			})
		}
	}
}

// Two endpoints echo each other's messages, and more of these are under way than fit between
// them. Each goes on reading, for its buffer takes what does not fit.
func TestEchoesDoNotDeadlock(t *testing.T) {
	for _, size := range []int{10, 1000, smallMessage - maxHeaderLength} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const room, more = 32 << 10, 40 << 10
				a, b := testnet.Pipe()
				a.SetReadBuffer(room)
				b.SetReadBuffer(room)
				ends := []*Conn{
					newWriteConn(t, a, serverSide, withBatching),
					newWriteConn(t, b, clientSide, withBatching),
				}
				n := (room + more) / frameLength(clientSide, size)
				for _, c := range ends {
					for i := range n {
						if err := c.Write(t.Context(), MessageBinary, pattern(size, i%100)); err != nil {
							t.Fatal(err)
						}
					}
				}
				const rounds = 20
				start := time.Now()
				var echoing sync.WaitGroup
				for _, c := range ends {
					echoing.Go(func() {
						for i := range rounds * n {
							_, p, err := c.Read(t.Context())
							if err != nil || !bytes.Equal(p, pattern(size, i%n%100)) {
								t.Errorf("message %d: got %s, %v", i, excerpt(p), err)
								return
							}
							if err := c.Write(t.Context(), MessageBinary, p); err != nil {
								t.Errorf("message %d: %v", i, err)
								return
							}
						}
					})
				}
				echoing.Wait()
				if took := time.Since(start); took > time.Second {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

// However messages are read, the answers to those that came together leave
// together, in one system call.
func TestAnswersLeaveTogether(t *testing.T) {
	const n = 32
	for _, way := range readWays {
		t.Run(way.name, func(t *testing.T) {
			eachSide(t, func(t *testing.T, side side) {
				cfg := testConfig(side)
				cfg.batching = true
				endpoint, nc := tcp.dial(t, side)
				c, peer := connectOver(t, endpoint, nc, cfg)
				counted := &countedSocket{socket: c.sock}
				c.sock = counted
				var frames [][]byte
				for i := range n {
					frames = append(frames, peer.frame(opText, fmt.Sprint("question ", i)))
				}
				start := time.Now()
				peer.send(append(frames, peer.frame(opText, "more to come")[:5])...)
				answering := goCall(func() error {
					for i := range n {
						typ, p, err := way.read(t.Context(), c)
						if err == nil && string(p) != fmt.Sprint("question ", i) {
							err = fmt.Errorf("got %q", p)
						}
						if err == nil {
							err = c.Write(t.Context(), typ, fmt.Appendf(nil, "answer %d", i))
						}
						if err != nil {
							return fmt.Errorf("message %d: %w", i, err)
						}
					}
					_, _, err := way.read(t.Context(), c)
					return err
				})
				for i := range n {
					peer.want(opText, fmt.Sprint("answer ", i))
				}
				// A slow machine may take holdTime to answer a few, and then what is
				// answered during a write leaves in the next.
				took := time.Since(start)
				if got, most := counted.writes.Load(), 1+int64(took/holdTime)*(maxRounds+1); got > most {
					t.Errorf("got %d attempts to write in %v, want at most %d", got, took, most)
				}
				c.CloseNow()
				answering.want(t, patience, net.ErrClosed)
			})
		})
	}
}

// flicker lets what is written be held, and then not, as a reader would that has more to
// read and then has not.
func flicker(c *Conn) (stop func()) {
	over := make(chan struct{})
	flickering := goCall(func() error {
		for random := rand.New(rand.NewPCG(1, 2)); ; time.Sleep(time.Duration(random.IntN(200)) * time.Microsecond) {
			c.hold.ahead.Store(random.IntN(4) > 0)
			select {
			case <-over:
				return nil
			default:
			}
		}
	})
	return func() {
		close(over)
		<-flickering.done
	}
}

// holdSize returns how long a message is to be: most are short, and some too
// long to be held.
func holdSize(random *rand.Rand) int {
	switch random.IntN(20) {
	case 0:
		return 8 + random.IntN(40<<10)
	case 1, 2:
		return 8 + random.IntN(smallMessage)
	}
	return 8 + random.IntN(300)
}

// Many goroutines write, in each way, and ping; and in the middle one of them closes the
// connection. What was written arrives, whole and in order, and the Close behind it.
func TestHoldConcurrently(t *testing.T) {
	const writers, messages = 30, 300
	network := newLoopback(t)
	eachSide(t, func(t *testing.T, side side) {
		for _, kind := range writeLinks {
			t.Run(kind, func(t *testing.T) {
				endpoint, nc := writeLink(t, network, kind, side)
				c := newWriteConn(t, endpoint, side, withBatching)
				received := &numberedReader{peer: newWritePeer(t, nc, side), received: make([][]int, writers)}
				arriving := goCall(func() error { received.run(); return received.err })
				reading := goCall(func() error { _, _, err := c.Read(t.Context()); return err })
				stop := flicker(c)
				defer stop()

				var written [writers]int
				var writing, pinging sync.WaitGroup
				var total atomic.Int64
				half := make(chan struct{})
				for w := range writers {
					writing.Go(func() {
						random := rand.New(rand.NewPCG(uint64(w), 1))
						for written[w] < messages {
							if err := writeNumbered(t.Context(), c, w, &written[w], random); err != nil {
								if !errors.Is(err, net.ErrClosed) {
									t.Errorf("writer %d, message %d: %v", w, written[w], err)
								}
								return
							}
							if total.Add(1) == writers*messages/4 {
								close(half)
							}
						}
					})
				}
				for range 2 {
					pinging.Go(func() {
						for c.Err() == nil {
							_, err := c.Ping(t.Context())
							if err == nil {
								err = c.Flush(t.Context())
							}
							if err != nil && !errors.Is(err, net.ErrClosed) {
								t.Errorf("Ping or Flush: %v", err)
							}
						}
					})
				}
				<-half
				if err := c.Close(StatusNormalClosure, ""); err != nil {
					t.Errorf("Close: %v", err)
				}
				writing.Wait()
				pinging.Wait()
				arriving.want(t, patience, nil)
				reading.want(t, patience, net.ErrClosed)
				for w, got := range received.received {
					if len(got) != written[w] || len(got) > 0 && got[len(got)-1] != len(got)-1 {
						t.Errorf("writer %d has written %d messages, and %d came", w, written[w], len(got))
					}
				}
				wantNothingHeld(t, c)
			})
		}
	})
}

// writeNumbered writes a message or two in one of the ways, and counts them.
func writeNumbered(ctx context.Context, c *Conn, writer int, written *int, random *rand.Rand) error {
	next := func() []byte {
		*written++
		return numbered(writer, *written-1, holdSize(random))
	}
	before := *written
	var err error
	switch random.IntN(6) {
	case 0:
		m, n := Message{MessageBinary, next()}, Message{MessageBinary, next()}
		err = c.WriteBatch(ctx, m, n)
	case 1:
		var m *PreparedMessage
		if m, err = NewPreparedMessage(MessageBinary, next()); err == nil {
			err = c.WritePrepared(ctx, m)
		}
	default:
		err = c.Write(ctx, MessageBinary, next())
	}
	if err != nil {
		*written = before
	}
	return err
}

// What is held was compressed when it was written: the peer inflates all of it, in that order.
// Messages go in pieces too, and prepared ones make the encoder forget.
func TestHoldCompressed(t *testing.T) {
	const writers, messages = 16, 100
	onDeflate(t, func(t *testing.T, side side, params string) {
		c, peer := tcp.connectCompressed(t, side, params, withBatching)
		stop := flicker(c)
		defer stop()
		var written [writers]int
		var writing sync.WaitGroup
		for w := range writers {
			writing.Go(func() {
				random := rand.New(rand.NewPCG(uint64(w), 1))
				for written[w] < messages {
					var err error
					if random.IntN(8) == 0 {
						err = writeFragments(t.Context(), c, MessageBinary, numbered(w, written[w], holdSize(random)))
						written[w]++
					} else {
						err = writeNumbered(t.Context(), c, w, &written[w], random)
					}
					if err != nil {
						t.Errorf("writer %d, message %d: %v", w, written[w], err)
						return
					}
				}
			})
		}
		over := goCall(func() error {
			writing.Wait()
			return c.Write(t.Context(), MessageText, []byte("over"))
		})
		var came, compressed int
		var next [writers]int
		for {
			m := peer.message()
			if m.text == "over" {
				break
			}
			w, number, err := readNumbered([]byte(m.text))
			if err != nil || number != next[w] {
				t.Fatalf("got message %d of writer %d, %v; want %d", number, w, err, next[w])
			}
			next[w]++
			came++
			if m.compressed {
				compressed++
			}
		}
		over.want(t, patience, nil)
		if next != written {
			t.Errorf("got %v messages, want %v", next, written)
		}
		if compressed < came/5 {
			t.Errorf("%d of %d messages were compressed", compressed, came)
		}
	})
}

// While a message waits that may still be withdrawn, nothing is compressed that would refer
// to it.
func TestHoldBehindWithdrawn(t *testing.T) {
	onDeflate(t, func(t *testing.T, side side, params string) {
		synctest.Test(t, func(t *testing.T) {
			c, peer := pipe.connectCompressed(t, side, params, withBatching)
			if err := c.Write(t.Context(), MessageBinary, []byte(prose(1000, 1))); err != nil {
				t.Fatal(err)
			}
			peer.wantMessage(MessageBinary, prose(1000, 1), true)
			synctest.Wait()
			peer.room(0)
			ctx, cancel := context.WithCancelCause(t.Context())
			withdrawn := goWrite(ctx, c, []byte(prose(40_000, 2)))
			behind := goWrite(t.Context(), c, []byte(prose(40_000, 2)[:1000]))
			withdrawn.wantBlocked(t)
			cancel(errWithdraw)
			withdrawn.wantNow(t, errWithdraw)
			peer.room(1 << 20)
			behind.wantNow(t, nil)
			peer.wantMessage(MessageBinary, prose(40_000, 2)[:1000], true)
		})
	})
}

// The peer has closed the connection, and does not read the Close that answers, nor
// what is held: nothing of it stays when the socket is closed at last.
func TestHeldAtTheEnd(t *testing.T) {
	inHoldBubble(t, 10, func(t *testing.T, c *Conn, peer *writePeer, _ *countedConn) {
		before := timersPending.Load()
		goWrite(t.Context(), c, pattern(100, 1)).wantNow(t, nil)
		goWrite(t.Context(), c, pattern(100, 2)).wantNow(t, nil)
		peer.send(opClose, []byte("\x03\xe9"))
		_, _, err := c.Read(t.Context())
		wantStatus(t, err, StatusGoingAway)
		time.Sleep(defaultCloseTimeout)
		synctest.Wait()
		if !c.closed.Load() {
			t.Error("the socket is open")
		}
		wantNothingHeld(t, c)
		if got := timersPending.Load() - before; got != 0 {
			t.Errorf("%d timers are pending", got)
		}
	})
}

// 1,000 clients keep 32 messages in flight each, to a server that echoes: nothing is
// lost, and nothing overtakes another. Both sides hold what they write.
//
// It takes a second, or what WEBSOCKET_SOAK says.
func TestHoldInFlight(t *testing.T) {
	const clients, inFlight = 1000, 32
	f := &flight{t: t, until: time.Now().Add(soakDuration(t, time.Second)), slots: inFlight}
	ctx, cancel := context.WithDeadlineCause(context.Background(), f.until.Add(soakPatience), errors.New("it hangs"))
	defer cancel()
	before := takeInventory()

	var serving, flying sync.WaitGroup
	serving.Add(clients)
	u := &Upgrader{Batching: true, HandshakeTimeout: soakPatience / 2, CloseTimeout: soakPatience / 2}
	server := httptest.NewServer(u.Handler(func(http.ResponseWriter, *http.Request) (func(context.Context, *Conn), error) {
		return func(ctx context.Context, c *Conn) {
			defer serving.Done()
			counted := &countedSocket{socket: c.sock}
			c.sock = counted
			if err := echo(ctx, c); err != nil {
				t.Errorf("a server's connection ended with %v", err)
			}
			f.writes.Add(counted.writes.Load())
		}, nil
	}))
	for i := range clients {
		flying.Go(func() { f.fly(ctx, server.URL, uint64(i)) })
	}
	flying.Wait()
	serving.Wait()
	server.Close()
	before.wantBack(t)
	messages, writes := f.messages.Load(), f.writes.Load()
	t.Logf("%d messages of %d MiB came back, in %d system calls of the server", messages, f.bytes.Load()>>20, writes)
	if writes > messages/2+2*clients { // a slow machine spends its time on opening and closing
		t.Errorf("the server has made %d system calls to write %d messages", writes, messages)
	}
}

// A flight is what the clients of TestHoldInFlight have in common.
type flight struct {
	t     *testing.T
	until time.Time
	slots int

	messages, bytes, writes atomic.Int64
}

// fly is one client. What it sends is told by seed.
func (f *flight) fly(ctx context.Context, url string, seed uint64) {
	d := Dialer{Batching: true, HandshakeTimeout: soakPatience / 2, CloseTimeout: soakPatience / 2}
	c, _, err := d.Dial(ctx, url)
	if err != nil {
		f.t.Errorf("Dial: %v", err)
		return
	}
	defer c.CloseNow()
	slots := make(chan struct{}, f.slots)
	sending := goCall(func() error {
		for random := rand.New(rand.NewPCG(seed, 0)); time.Now().Before(f.until); {
			m := flightMessage(random)
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			if err := c.Write(ctx, m.Type, m.Data); err != nil {
				return err
			}
		}
		return c.Write(ctx, MessageText, []byte(flightOver))
	})
	random := rand.New(rand.NewPCG(seed, 0))
	for m, err := range c.Messages(ctx) {
		if err != nil {
			f.t.Errorf("client %d: %v", seed, err)
			break
		}
		if m.Type == MessageText && string(m.Data) == flightOver {
			break
		}
		if want := flightMessage(random); m.Type != want.Type || !bytes.Equal(m.Data, want.Data) {
			f.t.Errorf("client %d: got %v, %s; want %v, %s", seed, m.Type, excerpt(m.Data), want.Type, excerpt(want.Data))
			break
		}
		f.messages.Add(1)
		f.bytes.Add(int64(len(m.Data)))
		<-slots
	}
	if len(slots) != 0 {
		f.t.Errorf("client %d: %d messages did not come back", seed, len(slots))
		return
	}
	sending.want(f.t, soakPatience, nil)
	if err := c.Close(StatusNormalClosure, ""); err != nil {
		f.t.Errorf("client %d: Close: %v", seed, err)
	}
}

const flightOver = "OVER"

// text is noise as text.
var text = sync.OnceValue(func() []byte {
	p := bytes.Clone(noise()[:1<<20])
	for i := range p {
		p[i] = 'a' + p[i]%26
	}
	return p
})

// flightMessage returns the next message: most are short, and some empty or of
// more than 16 KiB.
func flightMessage(random *rand.Rand) Message {
	n := random.IntN(200)
	switch random.IntN(16) {
	case 0:
		n = 0
	case 1:
		n = random.IntN(20<<10 + 1)
	}
	m := Message{MessageText, text()}
	if random.IntN(2) == 0 {
		m = Message{MessageBinary, noise()}
	}
	from := random.IntN(1<<20 - n)
	m.Data = m.Data[from : from+n]
	return m
}
