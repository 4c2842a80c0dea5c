package websocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidewire/websocket/internal/testnet"
)

// A compressedPeer reads an endpoint's messages, and inflates them with the
// window that was agreed on, and no other.
type compressedPeer struct {
	*rawPeer
	inflater *refInflater
}

// connectCompressed returns an endpoint, and its peer.
func (n network) connectCompressed(t testing.TB, s side, params string, change ...func(*connConfig)) (*Conn, *compressedPeer) {
	t.Helper()
	cfg := deflateConfig(t, s, params)
	for _, f := range change {
		f(&cfg)
	}
	c, p := n.connect(t, cfg)
	z := cfg.compression
	return c, &compressedPeer{p, &refInflater{window: 1 << z.writeBits, takeover: z.writeTakeover}}
}

// A sentMessage is a message as it was sent.
type sentMessage struct {
	typ        opcode
	text       string
	compressed bool
	sent       string     // its payload
	frames     []sentPart // that it came in
}

// A sentPart is a frame, and what could be inflated when it had come.
type sentPart struct {
	testnet.Frame
	text string
}

// message reads a message.
func (p *compressedPeer) message() (m sentMessage) {
	p.t.Helper()
	for len(m.frames) == 0 || !m.frames[len(m.frames)-1].Fin {
		f := p.next()
		if first := len(m.frames) == 0; first {
			m.typ, m.compressed = opcode(f.Opcode), f.RSV == rsv1
		} else if f.RSV != 0 || opcode(f.Opcode) != opContinuation {
			p.t.Fatalf("the peer gets frame %v in a message", f)
		}
		m.sent += string(f.Payload)
		m.text = m.sent
		if m.compressed {
			text, ok := p.inflater.inflate([]byte(m.sent), f.Fin)
			if !ok {
				p.t.Fatalf("the peer gets frame %v, which it cannot inflate", f)
			}
			m.text = string(text)
		}
		m.frames = append(m.frames, sentPart{f, m.text})
	}
	if m.compressed {
		p.inflater.endMessage(p.t, []byte(m.sent), []byte(m.text))
	}
	return m
}

// wantMessage reads a message in one frame.
func (p *compressedPeer) wantMessage(typ MessageType, text string, compressed bool) sentMessage {
	p.t.Helper()
	m := p.message()
	if m.typ != opcode(typ) || m.text != text || m.compressed != compressed || len(m.frames) != 1 {
		p.t.Fatalf("the peer gets a message of %d frames with opcode %x, compressed %v: %.80q (%d bytes), want one with %x, %v: %.80q (%d bytes)",
			len(m.frames), m.typ, m.compressed, m.text, len(m.text), opcode(typ), compressed, text, len(text))
	}
	return m
}

// deflateParams are parameters that make a difference to who writes.
var deflateParams = []string{
	"",
	noTakeover,
	"; server_max_window_bits=12; client_max_window_bits=12",
	"; server_max_window_bits=9; client_max_window_bits=9",
	noTakeover + "; server_max_window_bits=9; client_max_window_bits=9",
}

// Each message is one frame, compressed if it is long enough, "(possibly part of)
// the DEFLATE header bits" of an empty block at its end, and shorter than before.
func TestWriteCompressed(t *testing.T) {
	eachSide(t, func(t *testing.T, s side) {
		for _, params := range deflateParams {
			for _, way := range waysToWrite {
				t.Run(params+way.name, func(t *testing.T) {
					c, p := tcp.connectCompressed(t, s, params)
					threshold := c.compression.threshold
					for i, size := range []int{0, 1, threshold - 1, threshold, 1000, 1000, smallMessage + 1, 100 << 10} {
						text := prose(size, i/2) // some twice
						written := async(func() error { return way.write(t.Context(), c, MessageText, []byte(text)) })
						m := p.wantMessage(MessageText, text, size >= threshold)
						if m.compressed && (len(m.sent) >= size || strings.HasSuffix(m.sent, "\x00\x00\xff\xff")) {
							t.Errorf("%d bytes have become %d, ending with %x", size, len(m.sent), m.sent[max(0, len(m.sent)-4):])
						}
						if err := <-written; err != nil {
							t.Fatal(err)
						}
					}
				})
			}
		}
	})
}

// A Write of 1 MiB is one frame too, whatever comes of it.
func TestWriteCompressedLarge(t *testing.T) {
	eachSide(t, func(t *testing.T, s side) {
		onNetworks(t, func(t *testing.T, n network) {
			c, p := n.connectCompressed(t, s, "")
			for _, text := range []string{strings.Repeat("x", 1<<20), prose(1<<19, 1) + string(pattern(1<<19, 1)), prose(2000, 1)} {
				written := async(func() error { return c.Write(t.Context(), MessageBinary, []byte(text)) })
				p.wantMessage(MessageBinary, text, true)
				if err := <-written; err != nil {
					t.Fatal(err)
				}
			}
		})
	})
}

// What does not get shorter is sent as it is, and is not what the messages after it
// refer to.
func TestWriteIncompressible(t *testing.T) {
	onDeflate(t, func(t *testing.T, s side, params string) {
		c, p := tcp.connectCompressed(t, s, params)
		for i, way := range waysToWrite {
			for j, size := range []int{300, smallMessage, 50000} {
				noise, text := string(pattern(size, 2000*(3*i+j))), prose(1000, 1)
				for _, m := range []struct {
					text       string
					compressed bool
				}{{text, true}, {noise, false}, {noise[:200] + text, true}, {text, true}} {
					if m.compressed && way.name == "WritePrepared" {
						m.text = text // which a prepared message gains by on its own
					}
					written := async(func() error { return way.write(t.Context(), c, MessageBinary, []byte(m.text)) })
					p.wantMessage(MessageBinary, m.text, m.compressed)
					if err := <-written; err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	})
}

// With context takeover, a message is shorter for one before it that is like it,
// and without it is not.
func TestWriteTakeover(t *testing.T) {
	onDeflate(t, func(t *testing.T, s side, params string) {
		c, p := tcp.connectCompressed(t, s, params)
		text := prose(1000, 1)
		var lengths []int
		for range 3 {
			if err := c.Write(t.Context(), MessageText, []byte(text)); err != nil {
				t.Fatal(err)
			}
			lengths = append(lengths, len(p.wantMessage(MessageText, text, true).sent))
		}
		most := lengths[0]
		if takeover := params == ""; takeover {
			most /= 10
		}
		if lengths[1] > most || lengths[2] > most || params != "" && lengths[1] < most {
			t.Errorf("a message of %d bytes has become %d bytes, one after the other", len(text), lengths)
		}
	})
}

// "Threshold is how many bytes a message must have to be compressed. [...]
// Negative: none."
func TestWriteThreshold(t *testing.T) {
	for _, threshold := range []int{-1, 1, 100} {
		o := &Compression{Threshold: threshold, ServerMaxWindowBits: 15}
		c, p := tcp.connectCompressed(t, serverSide, "", func(cfg *connConfig) {
			cfg.compression = o.negotiated(deflateOffer{}, serverSide)
		})
		for _, way := range waysToWrite {
			for _, size := range []int{0, 20, 99, 100} {
				text := strings.Repeat("x", size)
				if err := way.write(t.Context(), c, MessageText, []byte(text)); err != nil {
					t.Fatal(err)
				}
				p.wantMessage(MessageText, text, size > 0 && size >= threshold) // nothing is shorter than nothing
			}
		}
	}
}

// "Level is 1 for speed, or 2 to spend a little more time on shorter messages."
func TestWriteLevel(t *testing.T) {
	var lengths []int
	for level := range 3 {
		o := &Compression{Level: level, ServerMaxWindowBits: 15}
		c, p := tcp.connectCompressed(t, serverSide, "", func(cfg *connConfig) {
			cfg.compression = o.negotiated(deflateOffer{}, serverSide)
		})
		text := prose(50000, 1)
		if err := c.Write(t.Context(), MessageText, []byte(text)); err != nil {
			t.Fatal(err)
		}
		lengths = append(lengths, len(p.wantMessage(MessageText, text, true).sent))
	}
	if lengths[0] != lengths[1] || lengths[2] >= lengths[1] {
		t.Errorf("with the levels 0, 1 and 2, a message has become %d bytes", lengths)
	}
}

// "An endpoint MUST NOT set the "Per-Message Compressed" bit of control frames and
// non-first fragments" (RFC 7692, section 6). All that has been written when a fragment leaves can
// be inflated when it comes.
func TestMessageWriterCompressed(t *testing.T) {
	eachSide(t, func(t *testing.T, s side) {
		for _, params := range deflateParams {
			for _, content := range []string{prose(40000, 1), string(pattern(40000, 1)), strings.Repeat("x", 3*fragmentLength)} {
				onNetworks(t, func(t *testing.T, n network) {
					c, p := n.connectCompressed(t, s, params)
					written := async(func() error {
						w, err := c.NextWriter(t.Context(), MessageBinary)
						if err != nil {
							return err
						}
						for piece := range slices.Chunk([]byte(content), 5000) {
							if _, err := w.Write(piece); err != nil {
								return err
							}
						}
						return w.Close()
					})
					m := p.message()
					if !m.compressed || m.text != content || len(m.frames) != (len(content)+fragmentLength-1)/fragmentLength {
						t.Fatalf("got %d bytes in %d frames, compressed %v, want %d", len(m.text), len(m.frames), m.compressed, len(content))
					}
					for i, f := range m.frames {
						if want := content[:min((i+1)*fragmentLength, len(content))]; f.text != want {
							t.Errorf("after fragment %d, %d bytes can be inflated, want %d", i, len(f.text), len(want))
						}
					}
					if err := <-written; err != nil {
						t.Fatal(err)
					}

					// The window is in order.
					text := prose(1000, 1)
					if err := c.Write(t.Context(), MessageText, []byte(text)); err != nil {
						t.Fatal(err)
					}
					p.wantMessage(MessageText, text, true)
				})
			}
		}
	})
}

// SetCompress decides for one message, and only before it begins to be sent.
func TestSetCompress(t *testing.T) {
	yes, no := func(w *MessageWriter) { w.SetCompress(true) }, func(w *MessageWriter) { w.SetCompress(false) }
	nothing := func(*MessageWriter) {}
	onDeflate(t, func(t *testing.T, s side, params string) {
		c, p := tcp.connectCompressed(t, s, params)
		threshold := c.compression.threshold
		for i, test := range []struct {
			before, after func(*MessageWriter) // before the first Write, before Close
			text          string
			compressed    bool
		}{
			{nothing, nothing, "", false},
			{nothing, nothing, strings.Repeat("x", threshold-1), false},
			{nothing, nothing, strings.Repeat("x", threshold), true},
			{nothing, nothing, prose(3*fragmentLength, 1), true},
			{yes, nothing, strings.Repeat("x", threshold-1), true},
			{yes, nothing, prose(3*fragmentLength, 2), true},
			{no, nothing, strings.Repeat("x", threshold), false},
			{no, nothing, prose(3*fragmentLength, 3), false},
			{yes, no, strings.Repeat("x", threshold), false},
			{no, yes, strings.Repeat("x", threshold-1), true},
			{yes, no, prose(2*fragmentLength, 4), true},
			{no, yes, prose(2*fragmentLength, 5), false},
			{nothing, no, prose(2*fragmentLength, 6), true},
		} {
			written := async(func() error {
				w, err := c.NextWriter(t.Context(), MessageText)
				if err != nil {
					return err
				}
				test.before(w)
				if _, err := w.Write([]byte(test.text)); err != nil {
					return err
				}
				test.after(w)
				return w.Close()
			})
			if m := p.message(); m.compressed != test.compressed || m.text != test.text {
				t.Errorf("message %d: got compressed %v, %.80q, want %v, %.80q", i, m.compressed, m.text, test.compressed, test.text)
			}
			if err := <-written; err != nil {
				t.Fatal(err)
			}
			if err := c.Write(t.Context(), MessageText, []byte(prose(500, i))); err != nil {
				t.Fatal(err)
			}
			p.wantMessage(MessageText, prose(500, i), true)
		}
	})
}

// Without compression, SetCompress does nothing.
func TestSetCompressWithoutCompression(t *testing.T) {
	c, p := tcp.connect(t, testConfig(serverSide))
	w, err := c.NextWriter(t.Context(), MessageText)
	if err != nil {
		t.Fatal(err)
	}
	w.SetCompress(true)
	w.Write([]byte(strings.Repeat("x", 1000)))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if f := p.next(); f.RSV != 0 {
		t.Errorf("the peer gets frame %v", f)
	}
}

// Control frames are never compressed, however long and dull, between fragments
// of a compressed message as anywhere.
func TestControlFramesAreNotCompressed(t *testing.T) {
	onDeflate(t, func(t *testing.T, s side, params string) {
		synctest.Test(t, func(t *testing.T) {
			c, p := pipe.connectCompressed(t, s, params)
			go c.Read(t.Context())
			w, err := c.NextWriter(t.Context(), MessageText)
			if err != nil {
				t.Fatal(err)
			}
			text := prose(2*fragmentLength, 1)
			w.Write([]byte(text[:fragmentLength+1]))
			payload := strings.Repeat("x", 125)
			p.send(p.frame(opPing, payload))
			synctest.Wait()
			go c.Ping(t.Context())
			synctest.Wait()
			w.Write([]byte(text[fragmentLength+1:]))
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			go c.Close(StatusNormalClosure, strings.Repeat("x", 123))

			first := p.next()
			if first.RSV != rsv1 || first.Fin {
				t.Fatalf("the peer gets frame %v", first)
			}
			p.want(opPong, payload)
			ping := p.next()
			if opcode(ping.Opcode) != opPing || ping.RSV != 0 {
				t.Fatalf("the peer gets frame %v, want a Ping", ping)
			}
			rest := p.next()
			got, ok := p.inflater.inflate(slices.Concat(first.Payload, rest.Payload), true)
			if rest.RSV != 0 || !rest.Fin || !ok || string(got) != text {
				t.Errorf("the peer gets frame %v, and inflates %.80q, %v", rest, got, ok)
			}
			end := p.next()
			if opcode(end.Opcode) != opClose || end.RSV != 0 || len(end.Payload) != 125 {
				t.Errorf("the peer gets frame %v, want a Close", end)
			}
			p.send(p.closeFrame(StatusNormalClosure, ""))
		})
	})
}

// room sets how many bytes may lie unread before the peer.
func (p *compressedPeer) room(n int) { p.Conn.(*testnet.Conn).SetReadBuffer(n) }

// takeAllButOne has the endpoint write the next frame, with nothing behind it, into a pipe
// with room for one byte. The frame is then the next one to be read.
func (p *compressedPeer) takeAllButOne() {
	p.t.Helper()
	var b []byte
	for n := 2; len(b) < n; {
		var next [1]byte
		if _, err := p.Read(next[:]); err != nil {
			p.t.Fatal(err)
		}
		if b = append(b, next[0]); len(b) == 2 {
			n = headerLen(b)
		}
		if len(b) == n && n <= maxHeaderLength {
			h, err := parseHeader(b)
			if err != nil {
				p.t.Fatal(err)
			}
			n += int(h.payloadLength) - 1
		}
	}
	p.frames.Reset(io.MultiReader(bytes.NewReader(b), p.Conn))
	synctest.Wait()
}

// A write that is withdrawn leaves no trace in the window: what is written after it,
// which may be much the same, does not refer to it.
func TestWithdrawnCompressedWrite(t *testing.T) {
	ways := append(slices.Clip(waysToWrite), wayToWrite{"MessageWriter", writeStreamed}, wayToWrite{"fragments", writeFragments})
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			onDeflate(t, func(t *testing.T, s side, params string) {
				synctest.Test(t, func(t *testing.T) {
					c, p := pipe.connectCompressed(t, s, params)
					before, text := prose(1000, 1), prose(2*fragmentLength, 2)
					if err := c.Write(t.Context(), MessageText, []byte(before)); err != nil {
						t.Fatal(err)
					}
					p.wantMessage(MessageText, before, true)
					p.room(0)
					for range 3 {
						ctx, cancel := context.WithCancelCause(t.Context())
						call := goCall(func() error { return way.write(ctx, c, MessageText, []byte(text)) })
						synctest.Wait()
						follower := goWrite(t.Context(), c, []byte(before))
						cancel(errWithdraw)
						call.wantNow(t, errWithdraw)
						p.room(1 << 20)
						isOpen(t, c)
						p.wantMessage(MessageBinary, before, true)
						follower.wantNow(t, nil)
						p.room(0)
					}
					p.room(1 << 20)
					for range 2 {
						if err := c.Write(t.Context(), MessageText, []byte(text)); err != nil {
							t.Fatal(err)
						}
						p.wantMessage(MessageText, text, true)
					}
				})
			})
		})
	}
}

// The same when it is the kernel that takes nothing more.
func TestWithdrawnCompressedWriteTCP(t *testing.T) {
	loopback := newLoopback(t)
	onDeflate(t, func(t *testing.T, s side, params string) {
		tr := loopback.tcp(t)
		over := network{dial: func(testing.TB, side) (endpoint, peer net.Conn) { return tr.endpoint, tr.peer }}
		c, p := over.connectCompressed(t, s, params)
		before, text := prose(1000, 1), prose(5000, 2)
		if err := c.Write(t.Context(), MessageText, []byte(before)); err != nil {
			t.Fatal(err)
		}
		p.wantMessage(MessageText, before, true)
		filled := fill(t, tr)
		for range 3 {
			ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Millisecond, errWithdraw)
			if err := c.Write(ctx, MessageText, []byte(text)); err != errWithdraw {
				t.Fatalf("got %v, want the context's cause", err)
			}
			cancel()
		}
		isOpen(t, c)
		written := async(func() error { return c.Write(t.Context(), MessageText, []byte(text)) })
		tr.peer.(*net.TCPConn).SetReadBuffer(1 << 20) // or the kernel takes its time
		if _, err := io.CopyN(io.Discard, p.frames, filled); err != nil {
			t.Fatal(err)
		}
		p.wantMessage(MessageText, text, true)
		if err := <-written; err != nil {
			t.Fatal(err)
		}
	})
}

type wayToWrite = struct {
	name  string
	write func(ctx context.Context, c *Conn, typ MessageType, p []byte) error
}

// writeStreamed writes p, of which all fits a fragment, by a MessageWriter.
func writeStreamed(ctx context.Context, c *Conn, typ MessageType, p []byte) error {
	return writeFragments(ctx, c, typ, p[:fragmentLength])
}

// writeFragments writes p by a MessageWriter.
func writeFragments(ctx context.Context, c *Conn, typ MessageType, p []byte) error {
	w, err := c.NextWriter(ctx, typ)
	if err != nil {
		return err
	}
	if _, err := w.Write(p); err != nil {
		return err
	}
	return w.Close()
}

// Small messages that were to leave with one that is withdrawn leave after it, and
// those whose callers have gone do not.
func TestWithdrawnCompressedLeader(t *testing.T) {
	onDeflate(t, func(t *testing.T, s side, params string) {
		synctest.Test(t, func(t *testing.T) {
			c, p := pipe.connectCompressed(t, s, params)
			p.room(1)
			before := goWrite(t.Context(), c, []byte(prose(1000, 1)))
			ctx, cancel := context.WithCancelCause(t.Context())
			leader := goWrite(ctx, c, []byte(prose(1000, 2)))
			leaves := goWrite(ctx, c, []byte(prose(1000, 3)))
			stays := goWrite(t.Context(), c, []byte(prose(1000, 3)))
			p.takeAllButOne()
			before.wantNow(t, nil)
			for _, call := range []*writeCall{leader, leaves, stays} {
				call.wantBlocked(t)
			}
			cancel(errWithdraw)
			leader.wantNow(t, errWithdraw)
			leaves.wantNow(t, errWithdraw)
			stays.wantBlocked(t)
			p.room(1 << 20)
			p.wantMessage(MessageBinary, prose(1000, 1), true)
			p.wantMessage(MessageBinary, prose(1000, 3), true)
			stays.wantNow(t, nil)
		})
	})
}

// A MessageWriter that is aborted, or whose context ends, before its first fragment
// has left, leaves no trace in the window.
func TestAbortedCompressedWriter(t *testing.T) {
	onDeflate(t, func(t *testing.T, s side, params string) {
		synctest.Test(t, func(t *testing.T) {
			c, p := pipe.connectCompressed(t, s, params)
			text := prose(fragmentLength, 1)
			for i := range 3 {
				w, err := c.NextWriter(t.Context(), MessageText)
				if err != nil {
					t.Fatal(err)
				}
				w.SetCompress(true)
				w.Write([]byte(text))
				w.Abort()
				if err := c.Write(t.Context(), MessageText, []byte(text[i:])); err != nil {
					t.Fatal(err)
				}
				p.wantMessage(MessageText, text[i:], true)
			}
		})
	})
}

// A call that is withdrawn between the fragments of a message is nothing to these: a
// Flush that was to send a Ping.
func TestWithdrawnFlushInCompressedMessage(t *testing.T) {
	onDeflate(t, func(t *testing.T, s side, params string) {
		synctest.Test(t, func(t *testing.T) {
			c, p := pipe.connectCompressed(t, s, params)
			text := prose(4*fragmentLength, 1)
			p.room(1)
			w, err := c.NextWriter(t.Context(), MessageText)
			if err != nil {
				t.Fatal(err)
			}
			begun := goCall(func() error { _, err := w.Write([]byte(text[:fragmentLength+1])); return err })
			synctest.Wait()
			go c.Ping(t.Context())
			ctx, cancel := context.WithCancelCause(t.Context())
			flush := goCall(func() error { return c.Flush(ctx) })
			synctest.Wait()
			p.takeAllButOne()
			begun.wantNow(t, nil)
			flush.wantBlocked(t)
			cancel(errWithdraw)
			flush.wantNow(t, errWithdraw)
			isOpen(t, c)

			p.room(1 << 20)
			if _, err := w.Write([]byte(text[fragmentLength+1:])); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			var payload []byte
			for f := (testnet.Frame{}); !f.Fin; {
				if f = p.next(); opcode(f.Opcode) == opPing {
					f.Fin = false
				} else {
					payload = append(payload, f.Payload...)
				}
			}
			if got, ok := p.inflater.inflate(payload, true); !ok || string(got) != text {
				t.Errorf("the peer inflates %.80q, %v, want %.80q", got, ok, text)
			}
		})
	})
}

// A prepared message is compressed once for each way to compress it, however many
// connections it goes out on, and may come before and after any other message.
func TestPreparedMessageCompressed(t *testing.T) {
	eachSide(t, func(t *testing.T, s side) {
		text := prose(20000, 1)
		m, err := NewPreparedMessage(MessageText, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			for _, params := range deflateParams {
				c, p := tcp.connectCompressed(t, s, params)
				for i := range 3 {
					write := func(text string, f func() error) {
						written := async(f)
						p.wantMessage(MessageText, text, true)
						if err := <-written; err != nil {
							t.Fatal(err)
						}
					}
					write(text[i:], func() error { return c.Write(t.Context(), MessageText, []byte(text[i:])) })
					write(text, func() error { return c.WritePrepared(t.Context(), m) })
					write(text, func() error { return c.WritePrepared(t.Context(), m) })
				}
			}
			c, p := tcp.connect(t, testConfig(s))
			if err := c.WritePrepared(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			p.want(opText, text)
		}
		want := 0
		if s == serverSide {
			want = 3 // windows of 15, 12 and 9 bits
		}
		if got := len(m.compressed); got != want {
			t.Errorf("it was compressed %d times, want %d", got, want)
		}
	})
}

// The windows that a message does not fill are one way to compress it.
func TestPreparedMessageWindows(t *testing.T) {
	text := prose(500, 1)
	m, err := NewPreparedMessage(MessageText, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for bits := 9; bits <= 15; bits++ {
		c, p := tcp.connectCompressed(t, serverSide, fmt.Sprint("; server_max_window_bits=", bits))
		if err := c.WritePrepared(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		p.wantMessage(MessageText, text, true)
	}
	if got := len(m.compressed); got != 1 {
		t.Errorf("it was compressed %d times, want once", got)
	}
}

// Prepared messages may be compressed first by many connections at a time.
func TestPreparedMessageCompressedConcurrently(t *testing.T) {
	text := prose(5000, 1)
	m, err := NewPreparedMessage(MessageText, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 20 {
		c, p := tcp.connectCompressed(t, serverSide, deflateParams[i%len(deflateParams)])
		wg.Go(func() {
			for range 10 {
				if err := errors.Join(c.WritePrepared(t.Context(), m), c.Write(t.Context(), MessageText, []byte(text))); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for range 20 {
				if got := p.message(); got.text != text {
					t.Errorf("got %.80q, want %.80q", got.text, text)
				}
			}
		})
	}
	wg.Wait()
}

// A connection holds nothing for compression before its first compressed message
// is written, and between messages no more than the documentation says.
func TestWriteCompressedHolds(t *testing.T) {
	onNetworks(t, func(t *testing.T, n network) {
		for _, test := range []struct {
			params string
			most   int
		}{
			{"", 44 << 10},
			{"; server_max_window_bits=12", 7 << 10},
			{"; server_max_window_bits=9", 2 << 10},
			{"; server_no_context_takeover", 100},
		} {
			c, p := n.connectCompressed(t, serverSide, test.params)
			for _, m := range []struct {
				text       string
				compressed bool
			}{{"hello", false}, {prose(50000, 1), true}, {prose(50000, 2), true}} {
				if c.compression.encoder != nil && !m.compressed {
					t.Errorf("%s: there is an Encoder before the first compressed message", test.params)
				}
				written := async(func() error { return c.Write(t.Context(), MessageText, []byte(m.text)) })
				p.wantMessage(MessageText, m.text, m.compressed)
				if err := <-written; err != nil {
					t.Fatal(err)
				}
				if c.compression.encoder != nil && !m.compressed {
					t.Errorf("%s: there is an Encoder after a message that was not compressed", test.params)
				}
			}
			if got := c.compression.encoder.Size(); got > test.most {
				t.Errorf("%s: %d bytes are held between messages, want at most %d", test.params, got, test.most)
			}
		}
	})
}

// To compress a message allocates nothing, once there is a window.
func TestWriteCompressedAllocations(t *testing.T) {
	if raceEnabled() {
		t.Skip("pools forget under the race detector")
	}
	onDeflate(t, func(t *testing.T, s side, params string) {
		for _, size := range []int{256, 1 << 10, 16 << 10, 128 << 10} {
			server, client := tcp.connectBoth(t, testConfig(s))
			server.compression, client.compression = negotiated(t, deflateName+params, serverSide), negotiated(t, deflateName+params, clientSide)
			from, to := server, client
			if s == clientSide {
				from, to = client, server
			}
			texts := [][]byte{[]byte(prose(size, 1)), []byte(prose(size, 2)), []byte(prose(size, 3))}
			buf, i := make([]byte, 0, size), 0
			once := func() {
				text := texts[i%len(texts)]
				i++
				written := from.Write(t.Context(), MessageText, text)
				_, data, err := to.ReadAppend(t.Context(), buf)
				if errors.Join(written, err) != nil || string(data) != string(text) {
					t.Fatal(written, err, len(data))
				}
			}
			for range 20 {
				once()
			}
			if got := testing.AllocsPerRun(100, once); got != 0 {
				t.Errorf("%d bytes: got %v allocations, want none", size, got)
			}
			if from.compression.encoder == nil || to.compression.inflater == nil {
				t.Error("nothing was compressed")
			}
		}
	})
}
