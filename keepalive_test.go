package websocket

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidewire/websocket/internal/testnet"
)

// keepaliveConfig has times that can be waited for
// on a socket of the kernel.
func keepaliveConfig() connConfig {
	cfg := testConfig(serverSide)
	cfg.pingInterval, cfg.pingTimeout = 50*time.Millisecond, 60*time.Millisecond
	return cfg
}

// wantPing checks that the next frame is the keepalive's Ping,
// and returns its payload.
func (p *rawPeer) wantPing() string {
	p.t.Helper()
	f := p.next()
	if opcode(f.Opcode) != opPing {
		p.t.Fatalf("the peer gets frame %v, want a Ping", f)
	}
	return string(f.Payload)
}

// A peer that is silent is pinged after PingInterval, and the connection with it lost
// after PingTimeout more.
func TestSilentPeer(t *testing.T) {
	onNetworks(t, func(t *testing.T, n network) {
		for _, way := range readWays {
			cfg := keepaliveConfig()
			start := time.Now()
			c, p := n.connect(t, cfg)
			reading := async(func() error { _, _, err := way.read(t.Context(), c); return err })
			p.wantPing()
			n.took(t, start, cfg.pingInterval)
			err := <-reading
			n.took(t, start, cfg.pingInterval+cfg.pingTimeout)
			end, ok := err.(*CloseError)
			if !ok || end.Code != StatusAbnormalClosure || end.Local || end != c.Err() ||
				!errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed) {
				t.Errorf("%s: got %v", way.name, err)
			}
			if !c.closed.Load() {
				t.Errorf("%s: the socket is open", way.name)
			}
		}
	})
}

// The same as a rule of time, whichever of the two is longer, and whenever
// the peer falls silent: PingInterval after its last byte it is pinged, and
// PingTimeout after that it is given up.
func TestPeerFallsSilent(t *testing.T) {
	for _, times := range [][2]time.Duration{{30 * time.Second, 30 * time.Second}, {time.Second, time.Minute}, {time.Minute, time.Second}} {
		for _, silent := range []time.Duration{0, 100 * time.Millisecond, 7 * time.Second, 90 * time.Second, time.Hour} {
			synctest.Test(t, func(t *testing.T) {
				cfg := testConfig(serverSide)
				cfg.pingInterval, cfg.pingTimeout = times[0], times[1]
				start := time.Now()
				c, p := pipe.connect(t, cfg)
				reading := async(func() error { return readAll(c) })
				go func() { // answers each Ping at once, until it falls silent
					for p.frames.Peek(1); time.Since(start) < silent; p.frames.Peek(1) {
						p.send(p.frame(opPong, p.wantPing()))
					}
				}()
				wantStatus(t, <-reading, StatusAbnormalClosure)
				want := c.LastRead().Add(cfg.pingInterval + cfg.pingTimeout).Sub(start)
				if got := time.Since(start); got != want {
					t.Errorf("interval %v, timeout %v, silent after %v: lost after %v, want %v", times[0], times[1], silent, got, want)
				}
				if last := c.LastRead().Sub(start); last < silent-cfg.pingInterval {
					t.Errorf("the last byte came after %v, want one each %v", last, cfg.pingInterval)
				}
			})
		}
	}
}

// readAll reads messages until there are no more.
func readAll(c *Conn) error {
	for {
		if _, _, err := c.Read(context.Background()); err != nil {
			return err
		}
	}
}

// Any byte is a sign of life: a peer that sends, and
// answers no Ping, stays.
func TestPeerSendsAndAnswersNoPing(t *testing.T) {
	for name, frame := range map[string]func(p *rawPeer) []byte{
		"messages":     func(p *rawPeer) []byte { return p.frame(opText, "") },
		"pings":        func(p *rawPeer) []byte { return p.frame(opPing, "x") },
		"other pongs":  func(p *rawPeer) []byte { return p.frame(opPong, "x") },
		"single bytes": func(p *rawPeer) []byte { return p.frame(opText, "a message") },
		"a long frame": func(p *rawPeer) []byte { return p.frame(opBinary, strings.Repeat("x", 100<<10)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onNetworks(t, func(t *testing.T, n network) {
				cfg := keepaliveConfig()
				cfg.pingTimeout = time.Second
				c, p := n.connect(t, cfg)
				go readAll(c)
				pieces := slices.Repeat(frame(p), 6)
				length := len(pieces) / 6
				switch name {
				case "single bytes":
					length = 1
				case "a long frame":
					length = 4 << 10
				}
				for range 5 {
					p.send(pieces[:length])
					pieces = pieces[length:]
					time.Sleep(cfg.pingInterval + cfg.pingTimeout/4)
				}
				if err := c.Err(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// No Ping goes to a peer that sends all the time.
func TestNoPingToBusyPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig(serverSide)
		cfg.pingInterval, cfg.pingTimeout = time.Minute, time.Minute
		c, p := pipe.connect(t, cfg)
		go readAll(c)
		for range 100 {
			time.Sleep(time.Minute - time.Second)
			p.send(p.frame(opText, "x"))
		}
		synctest.Wait()
		if c.pingID != 0 {
			t.Errorf("got %d pings", c.pingID)
		}
	})
}

// PingInterval < 0: no Ping, and no end.
func TestKeepaliveOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig(serverSide)
		cfg.pingInterval = -1
		c, p := pipe.connect(t, cfg)
		go readAll(c)
		p.SetReadDeadline(time.Now().Add(1000 * time.Hour))
		if b, err := p.frames.Peek(1); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %x, %v", b, err)
		}
		if err := c.Err(); err != nil {
			t.Error(err)
		}
	})
}

// A connection that nobody reads is pinged, and not given up: nobody
// could have seen the answer.
func TestNoReader(t *testing.T) {
	onNetworks(t, func(t *testing.T, n network) {
		cfg := keepaliveConfig()
		c, p := n.connect(t, cfg)
		p.wantPing()
		for range 5 {
			time.Sleep(cfg.pingInterval + cfg.pingTimeout)
			if err := c.Err(); err != nil {
				t.Fatal(err)
			}
		}
		start := time.Now()
		err := readAll(c) // it has the whole of PingTimeout
		wantStatus(t, err, StatusAbnormalClosure)
		n.took(t, start, cfg.pingTimeout)
	})
}

// An answer that came while nobody read is found in
// time by the read that comes.
func TestAnswerWaitsForReader(t *testing.T) {
	onNetworks(t, func(t *testing.T, n network) {
		cfg := keepaliveConfig()
		c, p := n.connect(t, cfg)
		p.send(p.frame(opPong, p.wantPing()))
		time.Sleep(3 * (cfg.pingInterval + cfg.pingTimeout))
		p.send(p.frame(opText, "still here"))
		typ, data, err := c.Read(t.Context())
		wantRead(t, typ, data, err, "still here")
	})
}

// "counted [...] only while a read waits on the socket": reads
// with short contexts add up, the time between them does not count.
func TestShortReadsAddUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig(serverSide)
		cfg.pingInterval, cfg.pingTimeout = 10*time.Second, 30*time.Second
		c, p := pipe.connect(t, cfg)
		time.Sleep(cfg.pingInterval)
		p.wantPing()
		var listened time.Duration
		for {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			start := time.Now()
			_, _, err := c.Read(ctx)
			listened += time.Since(start)
			cancel()
			if err != context.DeadlineExceeded {
				wantStatus(t, err, StatusAbnormalClosure)
				break
			}
			if listened > 2*cfg.pingTimeout {
				t.Fatalf("the connection is open after listening for %v", listened)
			}
			time.Sleep(2 * time.Second)
		}
		if listened < cfg.pingTimeout {
			t.Errorf("the connection was given up after listening for %v, want %v", listened, cfg.pingTimeout)
		}
	})
}

// Reads one after the other count like one.
func TestConsecutiveReadsAddUp(t *testing.T) {
	onNetworks(t, func(t *testing.T, n network) {
		cfg := keepaliveConfig()
		start := time.Now()
		c, _ := n.connect(t, cfg)
		for {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			_, _, err := c.Read(ctx)
			cancel()
			if err != context.DeadlineExceeded {
				wantStatus(t, err, StatusAbnormalClosure)
				break
			}
		}
		// To the eighth of PingTimeout in which it is looked again.
		if got, want := time.Since(start), cfg.pingInterval+cfg.pingTimeout; got < want || n.bubble && got > want+cfg.pingTimeout/8 {
			t.Errorf("took %v, want %v", got, want)
		}
	})
}

// "counted only from when the ping left": one that a stuck writer holds up
// says nothing about the peer.
func TestPingHeldUp(t *testing.T) {
	onNetworks(t, func(t *testing.T, n network) {
		cfg := testConfig(serverSide)
		cfg.pingInterval, cfg.pingTimeout, cfg.writeTimeout = 300*time.Millisecond, 50*time.Millisecond, -1
		c, p := n.connect(t, cfg)
		reading := async(func() error { return readAll(c) })
		p.send(p.frame(opPong, p.wantPing())) // the first leaves
		n.jam(t, c, p)
		time.Sleep(2 * (cfg.pingInterval + cfg.pingTimeout))
		if err := c.Err(); err != nil {
			t.Fatal(err)
		}
		p.next()
		p.wantPing()
		start := time.Now()
		wantStatus(t, <-reading, StatusAbnormalClosure)
		if n.bubble { // a kernel has taken the Ping long before the peer gets it
			n.took(t, start, cfg.pingTimeout)
		}
	})
}

// A Close has the time of CloseTimeout, not of the keepalive.
func TestCloseTimeoutIsNotPingTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig(serverSide)
		cfg.pingInterval, cfg.pingTimeout, cfg.closeTimeout = time.Second, time.Second, time.Minute
		c, _ := pipe.connect(t, cfg)
		start := time.Now()
		wantStatus(t, c.Close(StatusNormalClosure, ""), StatusAbnormalClosure)
		pipe.took(t, start, cfg.closeTimeout)
	})
}

// Ping returns the time to its Pong, and takes as long as its context lets it.
func TestPing(t *testing.T) {
	onNetworks(t, func(t *testing.T, n network) {
		c, p := n.connect(t, testConfig(clientSide))
		go readAll(c)
		for _, delay := range []time.Duration{0, 20 * time.Millisecond} {
			start := time.Now()
			type result struct {
				rtt time.Duration
				err error
			}
			pinging := async(func() result { rtt, err := c.Ping(context.Background()); return result{rtt, err} })
			payload := p.wantPing()
			time.Sleep(delay)
			p.send(p.frame(opPong, payload))
			got := <-pinging
			if got.err != nil || got.rtt < delay || got.rtt > time.Since(start) || n.bubble && got.rtt != delay {
				t.Errorf("got %v, %v, want %v", got.rtt, got.err, delay)
			}
		}
	})
}

// A Ping that is cancelled is forgotten; its Pong, when it
// comes, is like an unsolicited one.
func TestPingCancelled(t *testing.T) {
	onNetworks(t, func(t *testing.T, n network) {
		c, p := n.connect(t, testConfig(serverSide))
		go readAll(c)
		ctx, cancel := context.WithCancelCause(t.Context())
		pinging := async(func() error { _, err := c.Ping(ctx); return err })
		payload := p.wantPing()
		cancel(errCause)
		if err := <-pinging; err != errCause {
			t.Errorf("got %v, want the cause", err)
		}
		if _, err := c.Ping(ctx); err != errCause {
			t.Errorf("under a context that has ended: got %v, want the cause", err)
		}
		c.mu.Lock()
		if c.pings != nil {
			t.Errorf("a Ping is remembered")
		}
		c.mu.Unlock()
		for range 3 {
			p.send(p.frame(opPong, payload))
		}
		wantPinged(t, c, p)
	})
}

// wantPinged checks that c's pings are answered by p's
// Pongs, which it reads in a goroutine.
func wantPinged(t *testing.T, c *Conn, p *rawPeer) {
	t.Helper()
	pinging := async(func() error { _, err := c.Ping(t.Context()); return err })
	p.send(p.frame(opPong, p.wantPing()))
	if err := <-pinging; err != nil {
		t.Fatal(err)
	}
}

// Pongs that answer nothing, or what has not been asked yet, or something again, do
// no harm, however many, and take no Ping for answered.
func TestPongsOutOfPlace(t *testing.T) {
	onNetworks(t, func(t *testing.T, n network) {
		c, p := n.connect(t, testConfig(serverSide))
		go readAll(c)
		numbered := func(id uint64) string { return string(binary.BigEndian.AppendUint64(nil, id)) }
		for _, payload := range []string{"", "x", numbered(0), numbered(1), numbered(2), numbered(1 << 63), strings.Repeat("\xff", 8), strings.Repeat("x", 125)} {
			p.send(p.frame(opPong, payload), p.frame(opPong, payload))
		}
		p.send(p.frame(opPing, "read"))
		p.want(opPong, "read")
		pinging := async(func() error { _, err := c.Ping(t.Context()); return err })
		payload := p.wantPing()
		p.send(p.frame(opPong, "\xff"+payload[1:]), p.frame(opPong, payload[:7]), p.frame(opPong, ""), p.frame(opPing, "read"))
		p.want(opPong, "read")
		if n.bubble {
			synctest.Wait()
		}
		select {
		case err := <-pinging:
			t.Fatalf("answered by a Pong of something else: %v", err)
		default:
		}
		for range 1000 {
			p.send(p.frame(opPong, payload), p.frame(opPong, payload))
		}
		if err := <-pinging; err != nil {
			t.Fatal(err)
		}
		wantPinged(t, c, p)
	})
}

// Several Pings may be in flight. "the endpoint MAY elect to send a Pong frame for
// only the most recently processed Ping frame" (section 5.5.3), which
// answers those before it too, and none after.
func TestPingsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := pipe.connect(t, testConfig(serverSide))
		go readAll(c)
		const pings = 10
		var results [pings]<-chan time.Duration
		var payloads [pings]string
		ctx, cancel := context.WithCancel(t.Context())
		for i := range pings {
			pingContext := t.Context()
			if i == 3 {
				pingContext = ctx
			}
			results[i] = async(func() time.Duration {
				rtt, err := c.Ping(pingContext)
				if (err != nil) != (i == 3) {
					t.Errorf("ping %d: %v", i, err)
				}
				return rtt
			})
			payloads[i] = p.wantPing()
			time.Sleep(time.Second)
		}
		cancel()
		synctest.Wait()
		p.send(p.frame(opPong, payloads[6]))
		synctest.Wait()
		for i, result := range results {
			select {
			case rtt := <-result:
				if want := time.Duration(pings-i) * time.Second; i > 6 || i != 3 && rtt != want {
					t.Errorf("ping %d: got %v, want %v", i, rtt, want)
				}
			default:
				if i <= 6 {
					t.Errorf("ping %d has no answer", i)
				}
			}
		}
		p.send(p.frame(opPong, payloads[9]), p.frame(opPong, payloads[8]))
		for _, result := range results[7:] {
			<-result
		}
	})
}

// "RTT monotonic": pings of many goroutines at once, answered by
// an endpoint, take no less than no time.
func TestPingsConcurrently(t *testing.T) {
	onNetworks(t, func(t *testing.T, n network) {
		server, client := n.connectBoth(t, testConfig(0))
		go readAll(server)
		go readAll(client)
		var results []<-chan time.Duration
		for i := range 8 {
			c := []*Conn{server, client}[i%2]
			results = append(results, async(func() time.Duration {
				shortest := time.Hour
				for range 500 {
					ctx, cancel := context.WithCancel(t.Context())
					// On TLS, a write that is cut short ends the connection.
					if n.name != "tls" && rand.IntN(10) == 0 {
						go cancel()
					}
					rtt, err := c.Ping(ctx)
					if err == nil {
						shortest = min(shortest, rtt)
					} else if err != context.Canceled {
						t.Error(err)
					}
					cancel()
				}
				return shortest
			}))
		}
		for _, result := range results {
			if shortest := <-result; shortest < 0 {
				t.Errorf("got a round trip of %v", shortest)
			}
		}
	})
}

// Pings in progress return with the connection, with its error.
func TestPingAtTheEnd(t *testing.T) {
	onNetworks(t, func(t *testing.T, n network) {
		c, p := n.connect(t, testConfig(serverSide))
		var pings []<-chan error
		for range 3 {
			pings = append(pings, async(func() error { _, err := c.Ping(context.Background()); return err }))
			p.wantPing()
		}
		p.send(p.closeFrame(StatusGoingAway, ""))
		if _, _, err := c.Read(t.Context()); err == nil {
			t.Fatal("read a message")
		}
		for _, ping := range pings {
			if err := <-ping; err != c.Err() {
				t.Errorf("got %v, want %v", err, c.Err())
			}
		}
	})
}

// Control frames go between the frames of a message that is streamed.
func TestPingDuringStream(t *testing.T) {
	onNetworks(t, func(t *testing.T, n network) {
		cfg := testConfig(serverSide)
		cfg.pingInterval, cfg.pingTimeout = 30*time.Millisecond, time.Hour
		c, p := n.connect(t, cfg)
		go readAll(c)
		w, err := c.NextWriter(t.Context(), MessageText)
		if err != nil {
			t.Fatal(err)
		}
		stream := func(op opcode, fin bool, size int) {
			t.Helper()
			if f := p.next(); opcode(f.Opcode) != op || f.Fin != fin || len(f.Payload) != size {
				t.Fatalf("got frame %v", f)
			}
		}
		io.WriteString(w, strings.Repeat("x", fragmentLength+1))
		stream(opText, false, fragmentLength)
		pinging := async(func() error { _, err := c.Ping(t.Context()); return err })
		p.send(p.frame(opPong, p.wantPing()))
		if err := <-pinging; err != nil {
			t.Error(err)
		}
		p.send(p.frame(opPing, "from the peer"))
		p.want(opPong, "from the peer")
		io.WriteString(w, strings.Repeat("x", fragmentLength))
		stream(opContinuation, false, fragmentLength)
		p.wantPing() // the keepalive's
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		stream(opContinuation, true, 1)
	})
}

// "The reader never waits to write": while a writer is stuck, a Ping keeps no message
// from being read, and is answered when the writer is done.
func TestStuckWriterDoesNotBlockReader(t *testing.T) {
	onNetworks(t, func(t *testing.T, n network) {
		c, p := n.connect(t, testConfig(serverSide))
		stuck := n.jam(t, c, p)
		start := time.Now()
		for range 100 {
			p.send(p.frame(opPing, "x"), p.frame(opText, "read"))
			typ, data, err := c.Read(t.Context())
			wantRead(t, typ, data, err, "read")
		}
		n.took(t, start, 0)
		p.next()
		if err := <-stuck; err != nil {
			t.Error(err)
		}
		p.want(opPong, "x")
	})
}

// A flood of Pings, while our writer is stuck, is answered with a few
// Pongs, of which the last is for the last Ping, and costs no memory.
func TestPingFlood(t *testing.T) {
	onNetworks(t, func(t *testing.T, n network) {
		c, p := n.connect(t, testConfig(serverSide))
		stuck := n.jam(t, c, p)
		const floods, pings = 30, 3000
		flood := slices.Repeat(p.frame(opPing, strings.Repeat("x", 60)), pings)
		reading := async(func() error { _, _, err := c.Read(t.Context()); return err })
		goroutinesBefore := goroutines()
		before := liveHeap()
		for i := range floods {
			if _, err := p.Write(flood); err != nil {
				t.Fatal(err)
			}
			p.send(p.frame(opPing, string(rune('a'+i))))
		}
		n.awaitReader(t, c)
		if got, all := liveHeap()-before, int64(floods*len(flood)); got > all/3 {
			t.Errorf("%d bytes more are in use", got)
		}
		if got := goroutines(); got > goroutinesBefore {
			t.Errorf("got %d goroutines more", got-goroutinesBefore)
		}
		p.send(p.frame(opText, ""))
		if err := <-reading; err != nil {
			t.Fatal(err)
		}
		p.next()
		if err := <-stuck; err != nil {
			t.Error(err)
		}
		pongs, last := 0, ""
		for want := string(rune('a' + floods - 1)); last != want; pongs++ {
			f := p.next()
			if last = string(f.Payload); opcode(f.Opcode) != opPong {
				t.Fatalf("got frame %v", f)
			}
		}
		if pongs > 20 {
			t.Errorf("got %d Pongs", pongs)
		}
		wantNothingMore(t, c, p)
	})
}

// liveHeap returns how many bytes are in use.
func liveHeap() int64 {
	runtime.GC()
	runtime.GC() // empties the pools
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// wantNothingMore checks that a Write of c's is the next that p gets.
func wantNothingMore(t *testing.T, c *Conn, p *rawPeer) {
	t.Helper()
	if err := c.Write(t.Context(), MessageText, []byte("next")); err != nil {
		t.Fatal(err)
	}
	p.want(opText, "next")
}

// What the kernel does not take at once of the frames that are owed is
// left to one goroutine, however many there are.
func TestOneTransientGoroutine(t *testing.T) {
	awaitQuiet()
	synctest.Test(t, func(t *testing.T) {
		c, p := pipe.connect(t, testConfig(serverSide))
		const room = 1000
		p.Conn.(*testnet.Conn).SetReadBuffer(room)
		if err := c.Write(t.Context(), MessageBinary, make([]byte, room-4)); err != nil {
			t.Fatal(err)
		}
		go readAll(c)
		for range 100 {
			p.send(p.frame(opPing, "x"), p.frame(opPing, "y"))
			synctest.Wait()
			if got := goroutines(); got != 2 {
				t.Fatalf("got %d goroutines, want the reader and one", got)
			}
		}
		p.next()
		synctest.Wait()
		if got := goroutines(); got != 1 {
			t.Errorf("got %d goroutines when all has left, want the reader", got)
		}
	})
}

// On a socket of the kernel it is the same.
func TestOwedOnFullSocket(t *testing.T) {
	awaitQuiet()
	c, p, written := fullSocket(t)
	go readAll(c)
	for range 20 {
		p.send(slices.Repeat(p.frame(opPing, strings.Repeat("x", 125)), 500))
		if got := goroutines(); got > 2 {
			t.Fatalf("got %d goroutines, want the reader and one", got)
		}
	}
	p.send(p.frame(opPing, "last"))
	for range written {
		if f := p.next(); opcode(f.Opcode) != opBinary {
			t.Fatalf("got frame %v", f)
		}
	}
	for f := p.next(); string(f.Payload) != "last"; f = p.next() {
		if opcode(f.Opcode) != opPong {
			t.Fatalf("got frame %v", f)
		}
	}
}

// fullSocket returns an endpoint over TCP that can't write a frame without
// waiting, and how many it has written for that.
func fullSocket(t *testing.T) (c *Conn, p *rawPeer, written int) {
	t.Helper()
	for range 50 {
		c, p = tcp.connect(t, testConfig(serverSide))
		c.nc.(*net.TCPConn).SetWriteBuffer(4 << 10)
		p.Conn.(*net.TCPConn).SetReadBuffer(4 << 10)
		var err error
		for written = -1; err == nil; written++ {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			err = c.Write(ctx, MessageBinary, make([]byte, 100))
			cancel()
		}
		if c.Err() == nil {
			return c, p, written
		}
		c.CloseNow() // the kernel took a part of a frame
	}
	t.Fatal("no socket is full between two frames")
	panic("not reached")
}

// "a Close is never replaced": not by another one, whatever the reason, and
// nothing is sent behind it.
func TestOwedCloseStays(t *testing.T) {
	onNetworks(t, func(t *testing.T, n network) {
		for name, then := range map[string]func(c *Conn, p *rawPeer){
			"violation":    func(c *Conn, p *rawPeer) { p.send(p.frame(3, "")) },
			"peer's Close": func(c *Conn, p *rawPeer) { p.send(p.closeFrame(4000, "")) },
			"pings": func(c *Conn, p *rawPeer) {
				p.send(slices.Repeat(p.frame(opPing, "late"), 100), p.closeFrame(4000, ""))
			},
		} {
			c, p := n.connect(t, testConfig(serverSide))
			stuck := n.jam(t, c, p)
			p.send(p.frame(opPing, "early"), p.frame(opText, ""))
			if _, _, err := c.Read(t.Context()); err != nil {
				t.Fatal(err)
			}
			closing := async(func() error { return c.Close(StatusServiceRestart, "the first") })
			n.awaitReader(t, c)
			then(c, p)
			<-c.Done()
			p.next()
			p.want(opPong, "early")
			p.want(opClose, "\x03\xf4the first")
			p.wantEnd()
			if err := <-closing; name != "violation" && err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if err := <-stuck; err != nil && err != c.Err() {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}
