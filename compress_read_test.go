package websocket

import (
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// deflateConfig is testConfig with permessage-deflate, and the parameters of a
// server's response, each behind a semicolon.
func deflateConfig(t testing.TB, s side, params string) connConfig {
	t.Helper()
	cfg := testConfig(s)
	cfg.compression = negotiated(t, deflateName+params, s)
	return cfg
}

const noTakeover = "; server_no_context_takeover; client_no_context_takeover"

// onDeflate runs test for both sides, with and without context takeover.
func onDeflate(t *testing.T, test func(t *testing.T, s side, params string)) {
	eachSide(t, func(t *testing.T, s side) {
		t.Run("takeover", func(t *testing.T) { test(t, s, "") })
		t.Run("no takeover", func(t *testing.T) { test(t, s, noTakeover) })
	})
}

// A refDeflater compresses the messages of a peer by compress/flate, which has no
// window but the largest.
type refDeflater struct {
	w        *flate.Writer
	buf      bytes.Buffer
	takeover bool
}

func newRefDeflater(takeover bool) *refDeflater {
	d := &refDeflater{takeover: takeover}
	d.w, _ = flate.NewWriter(&d.buf, flate.DefaultCompression)
	return d
}

// part returns the next part of a message, all of which can be inflated.
func (d *refDeflater) part(p string) string {
	d.buf.Reset()
	io.WriteString(d.w, p)
	d.w.Flush()
	return d.buf.String()
}

// message returns a message.
func (d *refDeflater) message(p string) string {
	if !d.takeover {
		d.w.Reset(&d.buf)
	}
	return strings.TrimSuffix(d.part(p), "\x00\x00\xff\xff")
}

// compressed makes frame the first of a compressed message.
func compressed(frame []byte) []byte {
	frame[0] |= rsv1 << 4
	return frame
}

// prose returns n bytes of text that can be compressed. It is not quite the
// same for any two seeds.
func prose(n, seed int) string {
	random := rand.New(rand.NewPCG(uint64(seed), 7692))
	words := strings.Fields("it was the best of times κόσμος age wisdom foolishness epoch belief 🌍 season light darkness spring hope")
	var b strings.Builder
	for b.Len() < n {
		fmt.Fprintf(&b, "%s %d ", words[random.IntN(len(words))], random.IntN(100))
	}
	text := b.String()[:n]
	for len(text) > 0 && !mayEndThere(text) {
		text = text[:len(text)-1]
	}
	return text + strings.Repeat(".", n-len(text))
}

func mayEndThere(text string) bool { return mayBecomeUTF8([]byte(text + "x")) }

// compressedMessages returns messages and their frames: compressed and not, with
// fragments and pings, and some that are much the same as one before. One has about
// long bytes.
func compressedMessages(p *rawPeer, z *refDeflater, long int) (want []Message, wire []byte, pings []string) {
	pings = []string{"", "second", strings.Repeat("p", 125)}
	first, noise := prose(300, 1), string(pattern(40, 1))
	binary := prose(long/2, 2) + string(pattern(long/2, 2))
	a, b := z.message(first), z.message("again: "+first)
	empty, d, c := z.message(""), z.message(binary), z.message(first)
	wire = slices.Concat(
		compressed(p.fragment(opText, a[:1])),
		p.fragment(opContinuation, a[1:50]),
		p.frame(opPing, pings[0]),
		p.fragment(opContinuation, ""),
		p.frame(opContinuation, a[50:]),
		p.frame(opBinary, noise),
		p.frame(opPing, pings[1]),
		compressed(p.frame(opText, b)),
		compressed(p.frame(opText, empty)),
		compressed(p.frame(opBinary, d)),
		p.frame(opText, first),
		compressed(p.fragment(opText, "")),
		p.frame(opPing, pings[2]),
		p.fragment(opContinuation, c),
		p.frame(opContinuation, ""),
	)
	return []Message{
		{MessageText, []byte(first)}, {MessageBinary, []byte(noise)}, {MessageText, []byte("again: " + first)},
		{MessageText, nil}, {MessageBinary, []byte(binary)}, {MessageText, []byte(first)}, {MessageText, []byte(first)},
	}, wire, pings
}

// A context that ends, at whichever byte, loses nothing of a compressed message
// nor of the window, in whatever way reading goes on.
func TestReadCompressedCancelledAtEveryByte(t *testing.T) {
	onDeflate(t, func(t *testing.T, s side, params string) {
		for seed := range uint64(10) {
			synctest.Test(t, func(t *testing.T) {
				c, p := pipe.connect(t, deflateConfig(t, s, params))
				want, wire, pings := compressedMessages(p, newRefDeflater(params == ""), 500)
				r := &mixedReader{c: c, random: rand.New(rand.NewPCG(seed, 0))}
				for i := range wire {
					ctx, cancel := context.WithCancel(t.Context())
					result := async(func() error { return r.read(ctx) })
					synctest.Wait()
					p.send(wire[i : i+1])
					synctest.Wait()
					cancel()
					if err := <-result; err != context.Canceled {
						t.Fatalf("seed %d, byte %d: got %v, want context.Canceled", seed, i, err)
					}
				}
				checkMessages(t, r.got, want)
				for _, payload := range pings {
					p.want(opPong, payload)
				}
			})
		}
	})
}

// The same where contexts end, and bytes come, whenever they like, and where
// messages are longer than a buffer.
func TestReadCompressedCancelledAtAnyTime(t *testing.T) {
	for _, n := range []network{tcp, tls_} {
		t.Run(n.name, func(t *testing.T) {
			onDeflate(t, func(t *testing.T, s side, params string) {
				cancelled := 0
				for seed := range uint64(5) {
					c, p := n.connect(t, deflateConfig(t, s, params))
					random := rand.New(rand.NewPCG(seed, 1))
					want, wire, pings := compressedMessages(p, newRefDeflater(params == ""), 80<<10)
					wire = append(wire, p.closeFrame(StatusNormalClosure, "")...)
					sent := async(func() error { return sendInPieces(p, wire, rand.New(rand.NewPCG(seed, 2))) })
					r := &mixedReader{c: c, random: random}
					for {
						ctx, cancel := context.WithTimeout(t.Context(), time.Duration(random.IntN(200))*time.Microsecond)
						err := r.read(ctx)
						cancel()
						if err != context.DeadlineExceeded {
							wantStatus(t, err, StatusNormalClosure)
							break
						}
						cancelled++
					}
					if err := <-sent; err != nil {
						t.Fatal(err)
					}
					checkMessages(t, r.got, want)
					wantPongs(t, p, pings)
				}
				if cancelled == 0 {
					t.Error("no read was cancelled")
				}
			})
		})
	}
}

// A message comes whole, read through buffers of any size.
func TestReadCompressedThroughBuffers(t *testing.T) {
	onDeflate(t, func(t *testing.T, s side, params string) {
		onNetworks(t, func(t *testing.T, n network) {
			c, p := n.connect(t, deflateConfig(t, s, params))
			z := newRefDeflater(params == "")
			for i, size := range []int{1, 2, 7, 256, 257, 258, 259, 511, 4096, 32 << 10, 32<<10 + 1, 100 << 10} {
				want := prose(2000, i) + strings.Repeat("x", 2000) + string(pattern(max(1000, 2*size), i))
				sent := async(func() error {
					_, err := p.Write(compressed(p.frame(opBinary, z.message(want))))
					return err
				})
				_, r, err := c.NextReader(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				var got []byte
				for err == nil {
					var m int
					array := bytes.Repeat([]byte("#"), size+1)
					m, err = r.Read(array[:size:size])
					got = append(got, array[:m]...)
					if array[size] != '#' || m == 0 && err == nil {
						t.Fatalf("through %d bytes: read %d, %v, and wrote %q behind them", size, m, err, array[size])
					}
				}
				if err != io.EOF || string(got) != want {
					t.Fatalf("through %d bytes: got %s, %v, want %s", size, excerpt(got), err, excerpt([]byte(want)))
				}
				if err := <-sent; err != nil {
					t.Fatal(err)
				}
			}
		})
	})
}

// A MessageReader gives out what has come, before it waits for more: between the
// fragments of a message, and in the middle of a frame.
func TestMessageReaderGivesWhatCame(t *testing.T) {
	onNetworks(t, func(t *testing.T, n network) {
		for _, announced := range []int{0, 100} {
			c, p := n.connect(t, deflateConfig(t, serverSide, ""))
			z := newRefDeflater(true)
			for _, size := range []int{1, 7, 200, 1000} {
				want := prose(300, size) + strings.Repeat("x", 300)
				frame := compressed(p.fragment(opText, z.part(want)+strings.Repeat("\x00", announced)))
				p.send(frame[:len(frame)-announced])
				ctx, cancel := context.WithTimeout(t.Context(), patienceOfPeers)
				defer cancel()
				_, r, err := c.NextReader(ctx)
				if err != nil {
					t.Fatal(err)
				}
				got, buf := "", make([]byte, size)
				for len(got) < len(want) {
					m, err := r.Read(buf)
					if err != nil {
						t.Fatalf("through %d bytes: after %d bytes of %d that have come: %v", size, len(got), len(want), err)
					}
					got += string(buf[:m])
				}
				if got != want {
					t.Fatalf("through %d bytes: got %q, want %q", size, got, want)
				}
				if announced > 0 {
					break // the frame is of no more use
				}
				p.send(p.frame(opContinuation, "\x00"))
				if m, err := r.Read(buf); m != 0 || err != io.EOF {
					t.Fatalf("through %d bytes: got %d, %v, want the end", size, m, err)
				}
			}
		}
	})
}

// A MessageReader that is not read to its end costs the messages after it
// nothing: its rest enters the window.
func TestAbandonedCompressedReader(t *testing.T) {
	onDeflate(t, func(t *testing.T, s side, params string) {
		onNetworks(t, func(t *testing.T, n network) {
			c, p := n.connect(t, deflateConfig(t, s, params))
			z := newRefDeflater(params == "")
			for i, way := range readWays {
				first := prose(10000, i)
				for _, taken := range []int{0, 1, 5000, len(first)} {
					a, b := z.message(first), z.message(first[len(first)/2:])
					sent := async(func() error {
						_, err := p.Write(slices.Concat(
							compressed(p.fragment(opText, a[:len(a)/2])), p.frame(opContinuation, a[len(a)/2:]),
							compressed(p.frame(opText, b))))
						return err
					})
					_, r, err := c.NextReader(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					got, err := io.ReadAll(io.LimitReader(r, int64(taken)))
					if err != nil || string(got) != first[:taken] {
						t.Fatalf("read %.80q, %v", got, err)
					}
					typ, data, err := way.read(t.Context(), c)
					wantRead(t, typ, data, err, first[len(first)/2:])
					if m, err := r.Read(make([]byte, 1)); m != 0 || err != errReaderOver {
						t.Errorf("%s: the abandoned reader returned %d, %v", way.name, m, err)
					}
					if err := <-sent; err != nil {
						t.Fatal(err)
					}
				}
			}
		})
	})
}

// Nor does it if a context ends while the rest is discarded.
func TestAbandonedCompressedReaderCutShort(t *testing.T) {
	onDeflate(t, func(t *testing.T, s side, params string) {
		synctest.Test(t, func(t *testing.T) {
			c, p := pipe.connect(t, deflateConfig(t, s, params))
			z := newRefDeflater(params == "")
			first := prose(5000, 1)
			a, b := z.message(first), z.message(first)
			wire := compressed(p.frame(opText, a))
			p.send(wire[:100])
			if _, _, err := c.NextReader(t.Context()); err != nil {
				t.Fatal(err)
			}
			for i := 100; i < len(wire); i += 50 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				if _, _, err := readWays[i/50%len(readWays)].read(ctx, c); err != context.DeadlineExceeded {
					t.Fatalf("got %v, want context.DeadlineExceeded", err)
				}
				cancel()
				p.send(wire[i:min(i+50, len(wire))])
			}
			p.send(compressed(p.frame(opText, b)))
			typ, data, err := c.Read(t.Context())
			wantRead(t, typ, data, err, first)
		})
	})
}

// "ReadAppend [...] appends the message to dst, and allocates nothing once dst
// has room", and leaves alone what is around dst.
func TestReadAppendCompressed(t *testing.T) {
	onDeflate(t, func(t *testing.T, s side, params string) {
		onNetworks(t, func(t *testing.T, n network) {
			c, p := n.connect(t, deflateConfig(t, s, params))
			z := newRefDeflater(params == "")
			for i, want := range []string{"hello", strings.Repeat("x", 300), prose(1000, 1), prose(7000, 2), prose(40000, 3)} {
				for _, room := range []int{0, 1, len(want) - 1, len(want), len(want) + 1, 2 * len(want), len(want) + 10000} {
					array := bytes.Repeat([]byte("#"), room+100)
					dst := append(array[50:50:54+room], "dst:"...)
					sent := async(func() error {
						_, err := p.Write(compressed(p.frame(opText, z.message(want))))
						return err
					})
					typ, data, err := c.ReadAppend(t.Context(), dst)
					wantRead(t, typ, data, err, "dst:"+want)
					if inPlace := &data[0] == &dst[0]; inPlace != (room >= len(want)) {
						t.Errorf("message %d: dst has room for %d of %d bytes, and is used: %v", i, room, len(want), inPlace)
					}
					if around := string(array[:50]) + string(array[54+room:]); strings.Trim(around, "#") != "" {
						t.Errorf("message %d: bytes around dst with room for %d bytes were changed", i, room)
					}
					if err := <-sent; err != nil {
						t.Fatal(err)
					}
				}
			}
		})
	})
}

// The body of a loop over Messages may do with the data what it likes: the window
// is elsewhere.
func TestCompressedMessagesAreTheBodys(t *testing.T) {
	onNetworks(t, func(t *testing.T, n network) {
		c, p := n.connect(t, deflateConfig(t, clientSide, ""))
		z := newRefDeflater(true)
		want := prose(3000, 1)
		for range 3 {
			p.send(compressed(p.frame(opText, z.message(want))))
		}
		p.send(p.closeFrame(StatusNormalClosure, ""))
		read := 0
		for m, err := range c.Messages(t.Context()) {
			wantRead(t, m.Type, m.Data, err, want)
			clear(m.Data)
			read++
		}
		if read != 3 {
			t.Errorf("read %d messages, want 3", read)
		}
	})
}

// The Data of a message is the body's also while Close reads on, and when it came
// behind a compressed message, for which there is another buffer.
func TestMessagesBehindCompressed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := pipe.connect(t, deflateConfig(t, serverSide, ""))
		first, hello := newRefDeflater(true).message(prose(300, 1)), p.frame(opText, "hello")
		p.send(compressed(p.frame(opText, first)), hello[:1])
		for m, err := range c.Messages(t.Context()) {
			if len(m.Data) == 300 && err == nil {
				p.send(hello[1:])
				continue
			}
			wantRead(t, m.Type, m.Data, err, "hello")
			closed := async(func() error { return c.Close(StatusNormalClosure, "") })
			p.send(p.frame(opText, "other"), compressed(p.frame(opText, first)))
			p.send(p.closeFrame(StatusNormalClosure, ""))
			if err := <-closed; err != nil || string(m.Data) != "hello" {
				t.Errorf("Close returned %v, and the message became %q", err, m.Data)
			}
		}
	})
}

// A data message ends the connection of who has called CloseRead, and its
// content does not matter.
func TestCloseReadCompressed(t *testing.T) {
	for _, payload := range []string{"\xf2\x48\xcd\xc9\xc9\x07\x00", "corrupt"} {
		onNetworks(t, func(t *testing.T, n network) {
			c, p := n.connect(t, deflateConfig(t, serverSide, ""))
			ctx := c.CloseRead(t.Context())
			p.send(compressed(p.frame(opText, payload)))
			p.wantClose(StatusPolicyViolation)
			<-ctx.Done()
			wantStatus(t, context.Cause(ctx), StatusPolicyViolation)
		})
	}
}

// CloseRead discards the rest of a message that a read has begun, and it enters the
// window.
func TestCloseReadDiscardsCompressed(t *testing.T) {
	onDeflate(t, func(t *testing.T, s side, params string) {
		synctest.Test(t, func(t *testing.T) {
			c, p := pipe.connect(t, deflateConfig(t, s, params))
			z := newRefDeflater(params == "")
			first := prose(5000, 1)
			a, b := compressed(p.frame(opText, z.message(first))), compressed(p.frame(opText, z.message(first)))
			p.send(a[:100])
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, _, err := c.Read(ctx); err != context.DeadlineExceeded {
				t.Fatalf("got %v, want context.DeadlineExceeded", err)
			}
			ctx, cancel = context.WithCancel(t.Context())
			closeRead := c.CloseRead(ctx)
			p.send(a[100:])
			synctest.Wait()
			cancel()
			<-closeRead.Done()
			p.send(b)
			typ, data, err := c.Read(t.Context())
			wantRead(t, typ, data, err, first)
		})
	})
}

// Close discards compressed messages that come before the peer's Close, also the rest
// of one that a MessageReader has begun.
func TestCloseWhileCompressedDataCome(t *testing.T) {
	onDeflate(t, func(t *testing.T, s side, params string) {
		onNetworks(t, func(t *testing.T, n network) {
			c, p := n.connect(t, deflateConfig(t, s, params))
			z := newRefDeflater(params == "")
			a := z.message(prose(50000, 1))
			p.send(compressed(p.fragment(opText, a[:1000])))
			_, r, err := c.NextReader(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(r, make([]byte, 10)); err != nil {
				t.Fatal(err)
			}
			closed := async(func() error { return c.Close(StatusNormalClosure, "") })
			p.wantClose(StatusNormalClosure)
			p.send(p.frame(opContinuation, a[1000:]))
			for i := range 5 {
				p.send(compressed(p.frame(opText, z.message(prose(20000, i)))))
			}
			p.send(p.closeFrame(StatusNormalClosure, ""))
			if err := <-closed; err != nil {
				t.Errorf("Close returned %v", err)
			}
		})
	})
}

// While a call of Close reads, the rules are the same.
func TestCloseWhileCorruptDataCome(t *testing.T) {
	onNetworks(t, func(t *testing.T, n network) {
		c, p := n.connect(t, deflateConfig(t, serverSide, ""))
		closed := async(func() error { return c.Close(StatusNormalClosure, "") })
		p.wantClose(StatusNormalClosure)
		p.send(compressed(p.frame(opText, "corrupt")))
		wantStatus(t, <-closed, StatusInvalidFramePayloadData)
		p.wantEnd()
	})
}

// What one connection has made of corrupt data is nothing to the others, which
// take their memory from the same pools.
func TestCorruptDataStayAmongThemselves(t *testing.T) {
	good := func(random *rand.Rand) error {
		z := newRefDeflater(true)
		first, second := prose(3000, random.Int()), prose(3000, random.Int())+string(pattern(500, 1))
		var stream []byte
		for _, text := range []string{first, second, first} {
			stream = append(stream, unmaskedCompressed(opBinary, z.message(text))...)
		}
		c := newConn(newTape(cut(stream, []byte{byte(random.IntN(256))})), nil, deflateConfig(t, clientSide, ""))
		for _, want := range []string{first, second, first} {
			if _, got, err := c.Read(t.Context()); err != nil || string(got) != want {
				return fmt.Errorf("read %.80q, %v, want %.80q", got, err, want)
			}
		}
		return nil
	}
	bad := func(random *rand.Rand) error {
		payload := []byte(newRefDeflater(true).message(prose(3000, random.Int())))
		payload[random.IntN(len(payload))] ^= 1 << random.IntN(8)
		payload = payload[:random.IntN(len(payload)+1)]
		stream := unmaskedCompressed(opBinary, string(payload))
		c := newConn(newTape(cut(stream, []byte{byte(random.IntN(256))})), nil, deflateConfig(t, clientSide, ""))
		for range 2 {
			if _, _, err := c.Read(t.Context()); err == nil && len(payload) == 0 {
				return errors.New("nothing is a message")
			}
		}
		c.CloseNow()
		return nil
	}
	var wg sync.WaitGroup
	for i := range uint64(4) {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(i, 3))
			for range 100 {
				if err := errors.Join(bad(random), good(random)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// unmaskedCompressed returns a frame to a client.
func unmaskedCompressed(op opcode, payload string) []byte {
	h := header{fin: true, rsv: rsv1, opcode: op, payloadLength: uint64(len(payload))}
	return append(appendHeader(nil, h), payload...)
}

// zeros returns a message of n zeros, or a bit more.
func zeros(n int) string {
	var buf bytes.Buffer
	w, _ := flate.NewWriter(&buf, flate.BestCompression)
	w.Write(make([]byte, n))
	w.Flush()
	return strings.TrimSuffix(buf.String(), "\x00\x00\xff\xff")
}

// "bombs end with 1009 [...] before more than the limit is held": a message of 16
// MiB to an endpoint with a limit of 16 KiB.
func TestBombIsNotHeld(t *testing.T) {
	const limit = 16 << 10
	bomb := zeros(16 << 20)
	inOneFrame := unmaskedCompressed(opBinary, bomb)
	inFragments := compressed(appendHeader(nil, header{opcode: opBinary}))
	for piece := range slices.Chunk([]byte(bomb), 100) {
		inFragments = append(appendHeader(inFragments, header{payloadLength: uint64(len(piece))}), piece...)
	}
	for name, stream := range map[string][]byte{"in one frame": inOneFrame, "in fragments": inFragments} {
		for _, socket := range fuzzSockets {
			for _, way := range readWays {
				cfg := deflateConfig(t, clientSide, "")
				cfg.readLimit = limit
				c := socket.conn(newTape(cut(stream, []byte{255})), cfg)
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				_, _, err := way.read(t.Context(), c)
				runtime.ReadMemStats(&after)
				if !errors.Is(err, ErrMessageTooBig) {
					t.Fatalf("%s, %s, %s: got %v", name, socket.name, way.name, err)
				}
				// The buffers of the pools, the window, and a slice that has grown to the limit.
				if got, most := after.TotalAlloc-before.TotalAlloc, uint64(2*32<<10+32<<10+10<<10+6*limit); got > most {
					t.Errorf("%s, %s, %s: allocated %d bytes, want at most %d", name, socket.name, way.name, got, most)
				}
			}
		}
	}
}

// ReadAppend into a slice with room, and Messages, allocate nothing for a
// compressed message.
func TestReadCompressedAllocations(t *testing.T) {
	if raceEnabled() {
		t.Skip("pools forget under the race detector")
	}
	onDeflate(t, func(t *testing.T, s side, params string) {
		for _, size := range []int{64, 1 << 10, 64 << 10} {
			c, p := tcp.connect(t, deflateConfig(t, s, params))
			z := newRefDeflater(params == "")
			texts := []string{prose(size, 1), prose(size, 2), prose(size, 3)}
			var frames [][]byte
			for i := range 100 {
				frames = append(frames, compressed(p.frame(opText, z.message(texts[i%len(texts)]))))
			}
			write := func() {
				p.Write(frames[0])
				frames = frames[1:]
			}
			buf := make([]byte, 0, size)
			next, stop := pull(c, t.Context())
			for _, way := range []struct {
				name string
				read func() (int, error)
			}{
				{"ReadAppend", func() (int, error) { _, data, err := c.ReadAppend(t.Context(), buf); return len(data), err }},
				{"Messages", func() (int, error) { m, err := next(); return len(m.Data), err }},
			} {
				once := func() {
					write()
					if n, err := way.read(); err != nil || n != size {
						t.Fatalf("%s: got %d bytes, %v", way.name, n, err)
					}
				}
				for range 10 {
					once()
				}
				if got := testing.AllocsPerRun(30, once); got != 0 {
					t.Errorf("%d bytes, %s: got %v allocations, want none", size, way.name, got)
				}
			}
			stop()
		}
	})
}

// A connection holds nothing for compression before the first compressed
// message comes, and between messages the window at most; and no buffer, on
// whatever network, while it waits for one.
func TestReadCompressedHolds(t *testing.T) {
	onNetworks(t, func(t *testing.T, n network) {
		for _, test := range []struct {
			params string
			most   int
		}{
			{"", 34 << 10},
			{"; client_max_window_bits=12", 5 << 10},
			{"; client_max_window_bits=9", 1 << 10},
			{"; client_no_context_takeover", 1 << 10},
		} {
			c, p := n.connect(t, deflateConfig(t, serverSide, test.params))
			p.send(p.frame(opText, strings.Repeat("x", 1000)))
			if _, _, err := c.Read(t.Context()); err != nil {
				t.Fatal(err)
			}
			if c.compression.inflater != nil {
				t.Errorf("%s: there is an Inflater before the first compressed message", test.params)
			}
			for range 3 {
				p.send(compressed(p.frame(opBinary, "\x00\x50\xc3\xaf\x3c"+string(pattern(50000, 1))+"\x00")))
				if _, _, err := c.Read(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if got := c.compression.inflater.Size(); got > test.most {
				t.Errorf("%s: %d bytes are held between messages, want at most %d", test.params, got, test.most)
			}
			ctx, cancel := context.WithCancel(t.Context())
			reading := async(func() error { _, _, err := c.Read(ctx); return err })
			n.awaitReader(t, c)
			cancel()
			<-reading
			if c.input.buf != nil || c.unfinished != nil {
				t.Errorf("%s: a buffer is held between messages", test.params)
			}
		}
	})
}
