package websocket

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidewire/websocket/internal/testnet"
)

// newWriteConn returns a Conn that sends nothing by itself.
func newWriteConn(t testing.TB, nc net.Conn, side side, change ...func(*connConfig)) *Conn {
	cfg := connDefaults(-1, -1, 0, 0, 0)
	cfg.side = side
	for _, f := range change {
		f(&cfg)
	}
	c := newConn(nc, nil, cfg)
	t.Cleanup(func() { c.CloseNow() })
	return c
}

// A writePeer reads what a Conn of the given side writes.
type writePeer struct {
	net.Conn
	r    *bufio.Reader
	side side
}

func newWritePeer(t testing.TB, nc net.Conn, side side) *writePeer {
	t.Cleanup(func() { nc.Close() })
	return &writePeer{nc, bufio.NewReader(nc), side}
}

// next reads a frame, whose payload it unmasks.
func (p *writePeer) next() (header, []byte, error) {
	b, err := p.r.Peek(2)
	if err != nil {
		return header{}, nil, err
	}
	if b, err = p.r.Peek(headerLen(b)); err != nil {
		return header{}, nil, err
	}
	h, err := parseHeader(b)
	if err == nil {
		err = h.check(1-p.side, 0)
	}
	if err != nil {
		return h, nil, err
	}
	p.r.Discard(len(b))
	payload := make([]byte, h.payloadLength)
	if _, err := io.ReadFull(p.r, payload); err != nil {
		return h, nil, fmt.Errorf("in a frame of %d bytes: %w", len(payload), err)
	}
	mask(payload, h.maskingKey)
	return h, payload, nil
}

// want reads a frame that must be the given one.
func (p *writePeer) want(t testing.TB, op opcode, fin bool, payload []byte) {
	t.Helper()
	h, got, err := p.next()
	if err != nil {
		t.Fatalf("no frame: %v", err)
	}
	if h.opcode != op || h.fin != fin || !bytes.Equal(got, payload) {
		t.Fatalf("got a frame with fin=%v, opcode %d and %s; want fin=%v, opcode %d and %s",
			h.fin, h.opcode, excerpt(got), fin, op, excerpt(payload))
	}
}

// wantNothing checks that nothing has been written beyond what was read.
func (p *writePeer) wantNothing(t testing.TB) {
	t.Helper()
	p.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	b, err := p.r.Peek(1)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("got % x, %v where nothing was to be written", b, err)
	}
	p.SetReadDeadline(time.Time{})
}

// wantEnd checks that the connection was closed, and nothing written before.
func (p *writePeer) wantEnd(t testing.TB) {
	t.Helper()
	if rest, err := io.ReadAll(p.r); len(rest) > 0 || err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("got %s, %v where the end was to come", excerpt(rest), err)
	}
}

// send sends a frame to the Conn.
func (p *writePeer) send(op opcode, payload []byte) {
	p.Write(append(appendHeader(nil, header{
		fin: true, opcode: op, masked: p.side == serverSide, payloadLength: uint64(len(payload)),
	}), payload...))
}

func excerpt(b []byte) string {
	if len(b) > 16 {
		return fmt.Sprintf("%d bytes, % x…", len(b), b[:16])
	}
	return fmt.Sprintf("%d bytes, % x", len(b), b)
}

// noise is what payloads are made of.
var noise = sync.OnceValue(func() []byte {
	p := make([]byte, 9<<20)
	rand.NewChaCha8([32]byte{}).Read(p)
	return p
})

// pattern returns n bytes that tell where they belong.
func pattern(n, seed int) []byte {
	return bytes.Clone(noise()[37*seed:][:n])
}

func eachSide(t *testing.T, test func(t *testing.T, side side)) {
	for _, side := range []side{serverSide, clientSide} {
		t.Run(sideName(side), func(t *testing.T) { test(t, side) })
	}
}

// inWriteBubble runs test in a bubble, as a server and as a client, over a pipe
// in which room bytes may lie unread.
func inWriteBubble(t *testing.T, room int, test func(t *testing.T, c *Conn, peer *writePeer)) {
	eachSide(t, func(t *testing.T, side side) {
		synctest.Test(t, func(t *testing.T) {
			endpoint, peer := testnet.Pipe()
			peer.SetReadBuffer(room)
			test(t, newWriteConn(t, endpoint, side), newWritePeer(t, peer, side))
		})
	})
}

// A writeCall is a call in a goroutine of its own.
type writeCall struct {
	done chan struct{}
	err  error
}

func goCall(f func() error) *writeCall {
	call := &writeCall{done: make(chan struct{})}
	go func() {
		defer close(call.done)
		call.err = f()
	}()
	return call
}

// goWrite is goCall for Write in a bubble. It returns when the
// call waits or has returned.
func goWrite(ctx context.Context, c *Conn, p []byte) *writeCall {
	call := goCall(func() error { return c.Write(ctx, MessageBinary, p) })
	synctest.Wait()
	return call
}

func (call *writeCall) blocked() bool {
	select {
	case <-call.done:
		return false
	default:
		return true
	}
}

func (call *writeCall) wantBlocked(t testing.TB) {
	t.Helper()
	if !call.blocked() {
		t.Fatalf("returned, with %v; want it to wait", call.err)
	}
}

// want checks the error of a call that returns within d.
func (call *writeCall) want(t testing.TB, d time.Duration, want error) {
	t.Helper()
	select {
	case <-call.done:
	case <-time.After(d):
		t.Fatalf("still blocked after %v", d)
	}
	if !errors.Is(call.err, want) || want == nil && call.err != nil {
		t.Fatalf("got error %v, want %v", call.err, want)
	}
}

// wantNow is want in a bubble, for a call that returns without any wait.
func (call *writeCall) wantNow(t testing.TB, want error) {
	t.Helper()
	synctest.Wait()
	if call.blocked() {
		t.Fatal("still blocked")
	}
	call.want(t, time.Hour, want)
}

func isOpen(t testing.TB, c *Conn) {
	t.Helper()
	if err := c.Err(); err != nil {
		t.Fatalf("the connection has ended: %v", err)
	}
}

// wantLost checks that the connection ended with 1006 and cause.
func wantLost(t testing.TB, c *Conn, cause error) {
	t.Helper()
	end, ok := c.Err().(*CloseError)
	if !ok || end.Code != StatusAbnormalClosure || !errors.Is(end, cause) {
		t.Fatalf("the connection ended with %v, want 1006 for %v", c.Err(), cause)
	}
}

// frameLengths are those at which the header changes, or
// the way that a frame takes.
var frameLengths = []int{
	0, 1, 125, 126, 127,
	smallMessage - 1, smallMessage, smallMessage + 1,
	65535 - maxHeaderLength, 65535, 65536, 65536 + maxHeaderLength,
	maskedPiece - 1, maskedPiece, maskedPiece + 1, 2*maskedPiece + 1, 1<<20 + 3,
}

var waysToWrite = []struct {
	name  string
	write func(ctx context.Context, c *Conn, typ MessageType, p []byte) error
}{
	{"Write", func(ctx context.Context, c *Conn, typ MessageType, p []byte) error {
		return c.Write(ctx, typ, p)
	}},
	{"WriteBatch", func(ctx context.Context, c *Conn, typ MessageType, p []byte) error {
		return c.WriteBatch(ctx, Message{typ, p})
	}},
	{"WritePrepared", func(ctx context.Context, c *Conn, typ MessageType, p []byte) error {
		m, err := NewPreparedMessage(typ, p)
		if err != nil {
			return err
		}
		return c.WritePrepared(ctx, m)
	}},
	{"WritePreparedBatch", func(ctx context.Context, c *Conn, typ MessageType, p []byte) error {
		m, err := NewPreparedMessage(typ, p)
		if err != nil {
			return err
		}
		return c.WritePreparedBatch(ctx, m)
	}},
}

// waysToWriteBatches write them as they are, and prepared.
var waysToWriteBatches = []struct {
	name  string
	write func(ctx context.Context, c *Conn, batch ...Message) error
}{
	{"WriteBatch", func(ctx context.Context, c *Conn, batch ...Message) error { return c.WriteBatch(ctx, batch...) }},
	{"WritePreparedBatch", func(ctx context.Context, c *Conn, batch ...Message) error {
		var prepared []*PreparedMessage
		for _, m := range batch {
			p, err := NewPreparedMessage(m.Type, m.Data)
			if err != nil {
				return err
			}
			prepared = append(prepared, p)
		}
		return c.WritePreparedBatch(ctx, prepared...)
	}},
}

func TestWriteLengths(t *testing.T) {
	network := newLoopback(t)
	eachSide(t, func(t *testing.T, side side) {
		for name, tr := range map[string]link{"tcp": network.tcp(t), "tls": network.tls(t, side)} {
			t.Run(name, func(t *testing.T) {
				c, peer := newWriteConn(t, tr.endpoint, side), newWritePeer(t, tr.peer, side)
				for i, n := range frameLengths {
					for j, way := range waysToWrite {
						typ := []MessageType{MessageText, MessageBinary}[(i+j)%2]
						p := pattern(n, j)
						call := goCall(func() error { return way.write(t.Context(), c, typ, p) })
						peer.want(t, opcode(typ), true, pattern(n, j))
						call.want(t, patience, nil)
						if !bytes.Equal(p, pattern(n, j)) {
							t.Fatalf("%s changed the payload of %d bytes", way.name, n)
						}
					}
				}
				peer.wantNothing(t)
			})
		}
	})
}

func TestWriteRefusesAtOnce(t *testing.T) {
	inWriteBubble(t, 1<<20, func(t *testing.T, c *Conn, peer *writePeer) {
		for _, typ := range []MessageType{0, 3, 8, 9, 255} {
			if err := c.Write(t.Context(), typ, nil); err != errMessageType {
				t.Errorf("Write of type %d: got %v", typ, err)
			}
			if err := c.WriteBatch(t.Context(), Message{MessageText, nil}, Message{typ, nil}); err != errMessageType {
				t.Errorf("WriteBatch of type %d: got %v", typ, err)
			}
			if w, err := c.NextWriter(t.Context(), typ); w != nil || err != errMessageType {
				t.Errorf("NextWriter of type %d: got %v, %v", typ, w, err)
			}
			if m, err := NewPreparedMessage(typ, nil); m != nil || err != errMessageType {
				t.Errorf("NewPreparedMessage of type %d: got %v, %v", typ, m, err)
			}
		}
		for _, code := range []StatusCode{-1, 0, 999, 1004, 1006, 1015, 1016, 2999, 5000, 65535 + 1000 + 1} {
			if err := c.Close(code, ""); err == nil {
				t.Errorf("Close with %d: got no error", code)
			}
		}
		cause := errors.New("the cause")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		m, _ := NewPreparedMessage(MessageText, nil)
		for name, call := range map[string]func() error{
			"Write":          func() error { return c.Write(ctx, MessageText, nil) },
			"WriteBatch":     func() error { return c.WriteBatch(ctx, Message{MessageText, nil}) },
			"NextWriter":     func() error { _, err := c.NextWriter(ctx, MessageText); return err },
			"WritePrepared":  func() error { return c.WritePrepared(ctx, m) },
			"prepared batch": func() error { return c.WritePreparedBatch(ctx, m) },
			"Ping":           func() error { _, err := c.Ping(ctx); return err },
			"Flush":          func() error { return c.Flush(ctx) },
		} {
			if err := call(); err != cause {
				t.Errorf("%s under a context that has ended: got %v, want its cause", name, err)
			}
		}
		peer.wantNothing(t)
		isOpen(t, c)
		c.WriteBatch(t.Context())
		c.WritePreparedBatch(t.Context())
		peer.wantNothing(t)
	})
}

// After our Close nothing more goes out, and the error says
// that it was us (RFC 6455, section 5.5.1).
func TestWriteAfterClose(t *testing.T) {
	inWriteBubble(t, 1<<20, func(t *testing.T, c *Conn, peer *writePeer) {
		w, err := c.NextWriter(t.Context(), MessageText)
		if err != nil {
			t.Fatal(err)
		}
		waiting := goWrite(t.Context(), c, nil) // for the end of w
		closing := goCall(func() error { return c.Close(StatusGoingAway, "bye") })
		synctest.Wait()
		peer.want(t, opClose, true, []byte("\x03\xe9bye"))
		waiting.wantNow(t, net.ErrClosed)

		m, _ := NewPreparedMessage(MessageText, nil)
		writes := map[string]func() error{
			"Write":               func() error { return c.Write(t.Context(), MessageText, []byte("x")) },
			"a large Write":       func() error { return c.Write(t.Context(), MessageText, make([]byte, 1<<20)) },
			"WriteBatch":          func() error { return c.WriteBatch(t.Context(), Message{MessageText, nil}) },
			"NextWriter":          func() error { _, err := c.NextWriter(t.Context(), MessageText); return err },
			"WritePrepared":       func() error { return c.WritePrepared(t.Context(), m) },
			"Ping":                func() error { _, err := c.Ping(t.Context()); return err },
			"Flush":               func() error { return c.Flush(t.Context()) },
			"MessageWriter.Write": func() error { _, err := w.Write(make([]byte, 1<<20)); return err },
			"MessageWriter.Close": func() error { return w.Close() },
		}
		refused := func() {
			t.Helper()
			for name, write := range writes {
				err := write()
				if !errors.Is(err, net.ErrClosed) {
					t.Errorf("%s: got %v, want an error that wraps net.ErrClosed", name, err)
				}
				if end := c.Err(); end != nil && err != end && !strings.HasPrefix(name, "MessageWriter") {
					t.Errorf("%s: got %v, want %v", name, err, end)
				}
			}
		}
		refused()
		peer.wantNothing(t)
		peer.send(opPing, []byte("late")) // no answer: the Close was the last frame
		peer.send(opClose, []byte("\x03\xe9"))
		closing.wantNow(t, nil)
		refused()
		peer.wantEnd(t)
	})
}

// What waits in a queue when Close is called is not sent any more, what
// has begun is sent to its end.
func TestCloseOvertakesQueue(t *testing.T) {
	inWriteBubble(t, 100, func(t *testing.T, c *Conn, peer *writePeer) {
		leading := goWrite(t.Context(), c, pattern(500, 1))
		queued := goWrite(t.Context(), c, pattern(500, 2))
		closing := goCall(func() error { return c.Close(StatusNormalClosure, "") })
		queued.wantNow(t, net.ErrClosed)
		leading.wantBlocked(t)
		peer.want(t, opBinary, true, pattern(500, 1))
		leading.wantNow(t, nil)
		peer.want(t, opClose, true, []byte("\x03\xe8"))
		peer.send(opClose, []byte("\x03\xe8"))
		closing.wantNow(t, nil)
		peer.wantEnd(t)
	})
}

// Flush waits for what was written before it, and for that only.
func TestFlush(t *testing.T) {
	inWriteBubble(t, 100, func(t *testing.T, c *Conn, peer *writePeer) {
		flush := func(ctx context.Context) *writeCall {
			call := goCall(func() error { return c.Flush(ctx) })
			synctest.Wait()
			return call
		}
		flush(t.Context()).wantNow(t, nil)
		ctx, cancel := context.WithCancelCause(t.Context())
		writes := []*writeCall{goWrite(t.Context(), c, pattern(500, 1)), goWrite(t.Context(), c, pattern(500, 2))}
		flushed, withdrawn := flush(t.Context()), flush(ctx)
		late := goWrite(t.Context(), c, pattern(1<<20, 3))
		flushed.wantBlocked(t)
		peer.want(t, opBinary, true, pattern(500, 1))
		flushed.wantBlocked(t)
		cancel(errWithdraw)
		withdrawn.wantNow(t, errWithdraw)
		writes[0].wantNow(t, nil)
		isOpen(t, c)
		peer.want(t, opBinary, true, pattern(500, 2))
		writes[1].wantNow(t, nil)
		flushed.wantNow(t, nil)
		late.wantBlocked(t)
		failing := flush(t.Context())
		c.CloseNow()
		failing.wantNow(t, c.Err())
		flush(t.Context()).wantNow(t, c.Err())
	})
}

// A MessageWriter is no concern of Flush.
func TestFlushWhileStreaming(t *testing.T) {
	inWriteBubble(t, 1<<20, func(t *testing.T, c *Conn, peer *writePeer) {
		w, err := c.NextWriter(t.Context(), MessageText)
		if err != nil {
			t.Fatal(err)
		}
		w.Write([]byte("held"))
		if err := c.Flush(t.Context()); err != nil {
			t.Errorf("got %v", err)
		}
		peer.wantNothing(t)
		w.Close()
		peer.want(t, opText, true, []byte("held"))
	})
}

// Concurrent writers

// A numbered message says who wrote it, how many that one wrote before, and
// repeats that all over.
func numbered(writer, number, n int) []byte {
	p := binary.BigEndian.AppendUint32(make([]byte, 0, n), uint32(writer))
	p = binary.BigEndian.AppendUint32(p, uint32(number))
	for len(p) < n {
		p = append(p, p[:min(len(p), n-len(p))]...)
	}
	return p
}

// readNumbered returns who wrote p, and its number. It fails
// if p is not as it was written.
func readNumbered(p []byte) (writer, number int, err error) {
	if len(p) < 8 || !bytes.Equal(p[8:], p[:len(p)-8]) {
		return 0, 0, fmt.Errorf("%s is not as it was sent", excerpt(p))
	}
	return int(binary.BigEndian.Uint32(p)), int(binary.BigEndian.Uint32(p[4:])), nil
}

// A numberedReader answers Pings and a Close, and checks
// that what comes is whole and in each writer's order.
type numberedReader struct {
	peer     *writePeer
	received [][]int // by writer
	err      error
}

func (r *numberedReader) run() {
	var control sync.WaitGroup // is answered aside: the Conn is to be read in any case
	defer control.Wait()
	pings := make(chan []byte, 1<<16)
	defer close(pings)
	control.Go(func() {
		for p := range pings {
			r.peer.send(opPong, p)
		}
	})
	for r.err == nil {
		h, p, err := r.peer.next()
		switch {
		case err != nil:
			r.err = err
		case h.opcode == opPing:
			pings <- p
		case h.opcode == opClose:
			r.peer.send(opClose, p)
			return
		default:
			r.err = r.note(h, p)
		}
	}
}

func (r *numberedReader) note(h header, p []byte) error {
	if h.opcode != opBinary || !h.fin {
		return fmt.Errorf("unexpected frame %+v", h)
	}
	writer, number, err := readNumbered(p)
	if err != nil {
		return err
	}
	got := r.received[writer]
	if len(got) > 0 && number <= got[len(got)-1] {
		return fmt.Errorf("writer %d: %d came after %d", writer, number, got[len(got)-1])
	}
	r.received[writer] = append(got, number)
	return nil
}

// writeLinks are the kinds of network connection that a Conn tells apart.
var writeLinks = []string{"tcp", "tls", "pipe"}

func writeLink(t *testing.T, network *loopback, kind string, side side) (endpoint, peer net.Conn) {
	switch kind {
	case "tcp":
		tr := network.tcp(t)
		return tr.endpoint, tr.peer
	case "tls":
		tr := network.tls(t, side)
		return tr.endpoint, tr.peer
	}
	return testnet.Pipe()
}

// 100 goroutines write 1,000 messages each, others ping, and in the middle or at
// the end one closes the connection. What was reported written arrives, and nothing else.
func TestWriteConcurrently(t *testing.T) {
	const writers, pingers = 100, 4
	network := newLoopback(t)
	test := func(t *testing.T, kind string, side side, messages int, closeEarly bool) {
		endpoint, nc := writeLink(t, network, kind, side)
		c := newWriteConn(t, endpoint, side)
		received := &numberedReader{peer: newWritePeer(t, nc, side), received: make([][]int, writers)}
		reading := goCall(func() error { received.run(); return received.err })
		pongs := goCall(func() error { _, _, err := c.Read(t.Context()); return err })

		var total atomic.Int64
		var written [writers]int
		var wg, pinging sync.WaitGroup
		over, stop := context.WithCancel(t.Context())
		defer stop()
		half := make(chan struct{})
		for w := range writers {
			wg.Go(func() {
				size := 8 + w*3                               // up to 305 bytes, so both lengths of the header
				for i := 0; i < messages || closeEarly; i++ { // until the Close, whenever it comes
					if err := c.Write(t.Context(), MessageBinary, numbered(w, i, size)); err != nil {
						if !closeEarly || !errors.Is(err, net.ErrClosed) {
							t.Errorf("writer %d, message %d: %v", w, i, err)
						}
						return
					}
					written[w]++
					if total.Add(1) == int64(writers*messages/2) {
						close(half)
					}
				}
			})
		}
		for range pingers {
			pinging.Go(func() {
				for over.Err() == nil {
					if rtt, err := c.Ping(over); err == nil && rtt <= 0 || err != nil && over.Err() == nil && !errors.Is(err, net.ErrClosed) {
						t.Errorf("Ping: got %v, %v", rtt, err)
						return
					}
				}
			})
		}
		if closeEarly {
			<-half
		} else {
			wg.Wait()
		}
		if err := c.Close(StatusNormalClosure, ""); err != nil {
			t.Errorf("Close: got %v", err)
		}
		wg.Wait()
		stop()
		pinging.Wait()
		reading.want(t, patience, nil)
		pongs.want(t, patience, net.ErrClosed)
		for w := range writers {
			if got := received.received[w]; len(got) != written[w] || len(got) > 0 && got[len(got)-1] != len(got)-1 {
				t.Errorf("writer %d has written %d messages, and %d came", w, written[w], len(got))
			}
		}
	}
	eachSide(t, func(t *testing.T, side side) {
		for _, kind := range writeLinks {
			t.Run(kind, func(t *testing.T) {
				if kind == "tcp" {
					t.Run("close at the end", func(t *testing.T) { test(t, kind, side, 1000, false) })
				}
				t.Run("close in the middle", func(t *testing.T) { test(t, kind, side, 200, true) })
			})
		}
	})
}

// A countedSocket counts the system calls, or attempts at one.
type countedSocket struct {
	socket
	writes atomic.Int64
}

func (s *countedSocket) write(p []byte) (int, error) {
	s.writes.Add(1)
	return s.socket.write(p)
}

// A countedConn counts the writes, and the bytes of each.
type countedConn struct {
	net.Conn
	mu     sync.Mutex
	writes []int
}

func (c *countedConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.writes = append(c.writes, len(p))
	c.mu.Unlock()
	return c.Conn.Write(p)
}

func (c *countedConn) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.writes)
}

// Those who wait while one writes are written together, in the order that they came in.
func TestGroupCommit(t *testing.T) {
	eachSide(t, func(t *testing.T, side side) {
		synctest.Test(t, func(t *testing.T) {
			endpoint, nc := testnet.Pipe()
			nc.SetReadBuffer(10)
			counted := &countedConn{Conn: endpoint}
			c, peer := newWriteConn(t, counted, side), newWritePeer(t, nc, side)
			const n = 100
			var calls []*writeCall
			for i := range n {
				calls = append(calls, goWrite(t.Context(), c, numbered(0, i, 20)))
			}
			for i := range n {
				peer.want(t, opBinary, true, numbered(0, i, 20))
			}
			for _, call := range calls {
				call.wantNow(t, nil)
			}
			if got := counted.count(); got != 2 {
				t.Errorf("got %d writes, want one for the first message, and one for those that waited", got)
			}
		})
	})
}

// What waits is more than a batch may have, or is not small.
func TestGroupCommitLimits(t *testing.T) {
	for _, test := range []struct {
		name   string
		sizes  []int // of the messages that wait
		writes int
	}{
		{"just a batch", []int{16000, 16000, 16000, 16000}, 1},
		{"more than a batch", []int{16000, 16000, 16000, 16000, 16000}, 2},
		{"a large one between", []int{100, 100, smallMessage + 1, 100, 100}, 3},
		{"a large one first", []int{smallMessage + 1, 100, 100}, 2},
		{"large ones only", []int{20000, 20000, 20000}, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				endpoint, nc := testnet.Pipe()
				nc.SetReadBuffer(10)
				counted := &countedConn{Conn: endpoint}
				c, peer := newWriteConn(t, counted, serverSide), newWritePeer(t, nc, serverSide)
				first := goWrite(t.Context(), c, pattern(100, 0))
				var calls []*writeCall
				for i, n := range test.sizes {
					calls = append(calls, goWrite(t.Context(), c, pattern(n, i)))
				}
				peer.want(t, opBinary, true, pattern(100, 0))
				first.wantNow(t, nil)
				for i, n := range test.sizes {
					peer.want(t, opBinary, true, pattern(n, i))
				}
				for _, call := range calls {
					call.wantNow(t, nil)
				}
				if got := counted.count() - 1; got != test.writes {
					t.Errorf("got %d writes of %v bytes, want %d", got, counted.writes[1:], test.writes)
				}
			})
		})
	}
}

// On TCP too: while the kernel takes nothing, 64 writers come, and two system calls
// are enough for all.
func TestGroupCommitTCP(t *testing.T) {
	network := newLoopback(t)
	eachSide(t, func(t *testing.T, side side) {
		tr := network.tcp(t)
		filled := fill(t, tr)
		c, peer := newWriteConn(t, tr.endpoint, side), newWritePeer(t, tr.peer, side)
		counted := &countedSocket{socket: c.sock}
		c.sock = counted
		const n = 64
		var calls []*writeCall
		for i := range n {
			calls = append(calls, goCall(func() error {
				return c.Write(t.Context(), MessageBinary, numbered(i, 0, 20))
			}))
			for counted.writes.Load() == 0 { // so that the first has no followers
				runtime.Gosched()
			}
		}
		awaitQueue(t, c, n-1)
		peer.drop(t, filled)
		seen := make([]bool, n)
		for range n {
			_, p, err := peer.next()
			if err != nil {
				t.Fatal(err)
			}
			writer, _, err := readNumbered(p)
			if err != nil || seen[writer] {
				t.Fatalf("got %s, %v", excerpt(p), err)
			}
			seen[writer] = true
		}
		for _, call := range calls {
			call.want(t, patience, nil)
		}
		if got := counted.writes.Load(); got != 2 {
			t.Errorf("got %d attempts to write, want 2", got)
		}
	})
}

// fill writes until the kernel takes no more, and returns how much it took.
func fill(t testing.TB, tr link) (n int64) {
	t.Helper()
	tr.endpoint.(*net.TCPConn).SetWriteBuffer(8 << 10)
	tr.peer.(*net.TCPConn).SetReadBuffer(8 << 10)
	for junk := make([]byte, 1<<20); ; {
		tr.endpoint.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
		m, err := tr.endpoint.Write(junk)
		n += int64(m)
		if m == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
			tr.endpoint.SetWriteDeadline(time.Time{})
			return n
		}
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
	}
}

// drop reads the n bytes that fill has written.
func (p *writePeer) drop(t testing.TB, n int64) {
	t.Helper()
	p.Conn.(*net.TCPConn).SetReadBuffer(1 << 20) // or the kernel takes its time
	if _, err := io.CopyN(io.Discard, p.r, n); err != nil {
		t.Fatal(err)
	}
}

// awaitBusy returns when somebody holds the socket.
func awaitBusy(t testing.TB, c *Conn) {
	t.Helper()
	for start := time.Now(); ; runtime.Gosched() {
		c.mu.Lock()
		busy := c.busy
		c.mu.Unlock()
		if busy {
			return
		}
		if time.Since(start) > patience {
			t.Fatal("nobody writes")
		}
	}
}

// awaitQueue returns when n calls wait for the socket.
func awaitQueue(t testing.TB, c *Conn, n int) {
	t.Helper()
	for start := time.Now(); ; runtime.Gosched() {
		got := 0
		c.mu.Lock()
		for w := c.queue.head; w != nil; w = w.next {
			got++
		}
		c.mu.Unlock()
		if got == n {
			return
		}
		if time.Since(start) > patience {
			t.Fatalf("%d calls wait, want %d", got, n)
		}
	}
}

// Contexts

var errWithdraw = errors.New("the writer has changed its mind")

func TestWriteWithdrawnFromQueue(t *testing.T) {
	inWriteBubble(t, 100, func(t *testing.T, c *Conn, peer *writePeer) {
		leading := goWrite(t.Context(), c, pattern(500, 1))
		var calls []*writeCall
		var cancels []context.CancelCauseFunc
		for i := range 5 {
			ctx, cancel := context.WithCancelCause(t.Context())
			calls = append(calls, goWrite(ctx, c, pattern(20, i)))
			cancels = append(cancels, cancel)
		}
		for _, i := range []int{4, 0, 2} { // last, first, middle
			cancels[i](errWithdraw)
			calls[i].wantNow(t, errWithdraw)
		}
		peer.want(t, opBinary, true, pattern(500, 1))
		leading.wantNow(t, nil)
		for _, i := range []int{1, 3} {
			calls[i].wantNow(t, nil)
			peer.want(t, opBinary, true, pattern(20, i))
			cancels[i](nil)
		}
		peer.wantNothing(t)
		isOpen(t, c)
		goWrite(t.Context(), c, nil).wantNow(t, nil)
		peer.want(t, opBinary, true, nil)
	})
}

// A buffer that takes nothing of the frame: nothing of it will ever be sent.
func TestWriteWithdrawnWhenFull(t *testing.T) {
	for _, n := range []int{20, smallMessage + 1, 1 << 20} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			inWriteBubble(t, 0, func(t *testing.T, c *Conn, peer *writePeer) {
				ctx, cancel := context.WithCancelCause(t.Context())
				call := goWrite(ctx, c, pattern(n, 1))
				call.wantBlocked(t)
				cancel(errWithdraw)
				call.wantNow(t, errWithdraw)
				isOpen(t, c)

				peer.Conn.(*testnet.Conn).SetReadBuffer(1 << 10)
				next := goWrite(t.Context(), c, pattern(n, 2))
				peer.want(t, opBinary, true, pattern(n, 2))
				next.wantNow(t, nil)
				peer.wantNothing(t)
			})
		})
	}
	t.Run("tcp", func(t *testing.T) {
		network := newLoopback(t)
		eachSide(t, func(t *testing.T, side side) {
			tr := network.tcp(t)
			filled := fill(t, tr)
			c, peer := newWriteConn(t, tr.endpoint, side), newWritePeer(t, tr.peer, side)
			for i := range 3 {
				ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Millisecond, errWithdraw)
				if err := c.Write(ctx, MessageBinary, pattern(1<<10<<(5*i), 1)); err != errWithdraw {
					t.Fatalf("got %v, want the context's cause", err)
				}
				cancel()
			}
			isOpen(t, c)
			next := goCall(func() error { return c.Write(t.Context(), MessageBinary, pattern(smallMessage+1, 2)) })
			peer.drop(t, filled)
			peer.want(t, opBinary, true, pattern(smallMessage+1, 2))
			next.want(t, patience, nil)
			peer.wantNothing(t)
		})
	})
	t.Run("tls", func(t *testing.T) { // has written a record in part, and can't go on
		network := newLoopback(t)
		eachSide(t, func(t *testing.T, side side) {
			tr := network.tls(t, side)
			c := newWriteConn(t, tr.endpoint, side)
			t.Cleanup(func() { tr.peer.Close() })
			ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, errWithdraw)
			defer cancel()
			var err error
			for err == nil {
				err = c.Write(ctx, MessageBinary, make([]byte, 1<<16))
			}
			if err == errWithdraw { // it came between two writes
				t.Skip("the context ended while nothing was written")
			}
			wantLost(t, c, errWithdraw)
		})
	})
}

// A frame that was sent in part can't be withdrawn. The connection is failed, and
// everybody hears of it.
func TestWriteCancelledMidFrame(t *testing.T) {
	inWriteBubble(t, 100, func(t *testing.T, c *Conn, peer *writePeer) {
		reading := goCall(func() error { _, _, err := c.Read(t.Context()); return err })
		ctx, cancel := context.WithCancelCause(t.Context())
		call := goWrite(ctx, c, pattern(500, 1))
		others := []*writeCall{
			goWrite(t.Context(), c, pattern(20, 2)),
			goWrite(t.Context(), c, pattern(1<<20, 3)),
			goCall(func() error { _, err := c.Ping(t.Context()); return err }),
		}
		w, err := c.NextWriter(t.Context(), MessageText)
		if err != nil {
			t.Fatal(err)
		}
		others = append(others, goCall(w.Close), goWrite(t.Context(), c, nil))
		synctest.Wait()
		cancel(errWithdraw)
		for _, call := range append(others, call, reading) {
			call.wantNow(t, errWithdraw)
			if call.err != c.Err() {
				t.Errorf("got %v, want what Err returns: %v", call.err, c.Err())
			}
		}
		wantLost(t, c, errWithdraw)
		if errors.Is(c.Err(), net.ErrClosed) {
			t.Error("the error wraps net.ErrClosed though nobody has closed the connection")
		}
		if err := c.Write(t.Context(), MessageText, nil); err != c.Err() {
			t.Errorf("a later Write: got %v", err)
		}
		got, _ := io.ReadAll(peer)
		if len(got) != 100 {
			t.Errorf("the peer got %d bytes, want the 100 that had been sent", len(got))
		}
	})
	t.Run("tcp", func(t *testing.T) {
		network := newLoopback(t)
		eachSide(t, func(t *testing.T, side side) {
			tr := network.tcp(t)
			c := newWriteConn(t, tr.endpoint, side)
			t.Cleanup(func() { tr.peer.Close() })
			ctx, cancel := context.WithCancelCause(t.Context())
			call := goCall(func() error { return c.Write(ctx, MessageBinary, make([]byte, 64<<20)) })
			awaitBusy(t, c)
			other := goCall(func() error { return c.Write(t.Context(), MessageBinary, nil) })
			awaitQueue(t, c, 1)
			tr.peer.Read(make([]byte, 1)) // so some of the frame was sent
			cancel(errWithdraw)
			call.want(t, patience, errWithdraw)
			other.want(t, patience, errWithdraw)
			wantLost(t, c, errWithdraw)
		})
	})
}

// A follower that was taken into a batch returns when its context ends. Its message is sent all
// the same, as it was.
func TestWriteFollowerLeaves(t *testing.T) {
	inWriteBubble(t, 100, func(t *testing.T, c *Conn, peer *writePeer) {
		first := goWrite(t.Context(), c, pattern(500, 1))
		leader := goWrite(t.Context(), c, pattern(500, 2))
		ctx, cancel := context.WithCancelCause(t.Context())
		p := pattern(500, 3)
		follower := goWrite(ctx, c, p)
		another := goWrite(t.Context(), c, pattern(500, 4))
		peer.want(t, opBinary, true, pattern(500, 1))
		first.wantNow(t, nil)
		leader.wantBlocked(t)

		cancel(errWithdraw)
		follower.wantNow(t, errWithdraw)
		clear(p)
		isOpen(t, c)
		for i, call := range []*writeCall{leader, nil, another} {
			peer.want(t, opBinary, true, pattern(500, i+2))
			if call != nil && i < 2 {
				call.wantBlocked(t)
			}
		}
		leader.wantNow(t, nil)
		another.wantNow(t, nil)
		peer.wantNothing(t)
	})
}

// The same for a batch to which an owed Pong adds: the payloads are copied before anything
// is sent, however little would fit.
func TestWriteFollowerLeavesFullBatch(t *testing.T) {
	inWriteBubble(t, 100, func(t *testing.T, c *Conn, peer *writePeer) {
		reading := goCall(func() error { _, _, err := c.Read(t.Context()); return err })
		const n = batchSize/4 - maxHeaderLength
		first := goWrite(t.Context(), c, pattern(500, 0))
		calls := []*writeCall{goWrite(t.Context(), c, pattern(n, 1))}
		ctx, cancel := context.WithCancelCause(t.Context())
		for i := 2; i < 5; i++ {
			calls = append(calls, goWrite(ctx, c, pattern(n, i)))
		}
		peer.send(opPing, pattern(125, 9))
		synctest.Wait()
		peer.want(t, opBinary, true, pattern(500, 0))
		first.wantNow(t, nil)
		cancel(errWithdraw)
		for _, call := range calls[1:] {
			call.wantNow(t, errWithdraw)
		}
		peer.want(t, opPong, true, pattern(125, 9))
		for i := 1; calls[0].blocked(); i++ { // of the others, any number were in the batch
			peer.want(t, opBinary, true, pattern(n, i))
			synctest.Wait()
		}
		calls[0].wantNow(t, nil)
		peer.wantNothing(t)
		isOpen(t, c)
		reading.wantBlocked(t)
	})
}

// The same if the first of the batch is a prepared message
// too large to be copied for itself.
func TestWriteFollowerOfPreparedLeaves(t *testing.T) {
	inWriteBubble(t, 100, func(t *testing.T, c *Conn, peer *writePeer) {
		first := goWrite(t.Context(), c, pattern(500, 0))
		m, _ := NewPreparedMessage(MessageBinary, pattern(2*smallMessage, 1))
		leader := goCall(func() error { return c.WritePrepared(t.Context(), m) })
		synctest.Wait()
		ctx, cancel := context.WithCancelCause(t.Context())
		follower := goWrite(ctx, c, pattern(500, 2))
		peer.want(t, opBinary, true, pattern(500, 0))
		first.wantNow(t, nil)
		leader.wantBlocked(t)
		cancel(errWithdraw)
		follower.wantNow(t, errWithdraw)
		peer.want(t, opBinary, true, pattern(2*smallMessage, 1))
		synctest.Wait()
		if leader.blocked() { // it was in the batch
			peer.want(t, opBinary, true, pattern(500, 2))
		}
		leader.wantNow(t, nil)
		peer.wantNothing(t)
		isOpen(t, c)
	})
}

// The moment in which a follower's payload is being copied is too short to be
// met. Its context may end then too: it waits for the copy, and no longer.
func TestWriteFollowerLeavesWhileCopied(t *testing.T) {
	inWriteBubble(t, 100, func(t *testing.T, c *Conn, peer *writePeer) {
		ctx, cancel := context.WithCancelCause(t.Context())
		w := &waiter{state: taken, wake: make(chan struct{}, 1)}
		follower := goCall(func() error { _, err := c.await(ctx, w); return err })
		cancel(errWithdraw)
		synctest.Wait()
		follower.wantBlocked(t)
		c.commit(w)
		follower.wantNow(t, errWithdraw)
		if w.state != abandoned {
			t.Errorf("got state %d, so it might be sent twice, or waited for", w.state)
		}
	})
}

// Nor is that between being handed the socket and using it. A Close in it comes first.
func TestWriteRefusedWithSocket(t *testing.T) {
	inWriteBubble(t, 100, func(t *testing.T, c *Conn, peer *writePeer) {
		c.mu.Lock()
		c.busy = true
		c.mu.Unlock()
		closing := goCall(func() error { return c.Close(StatusNormalClosure, "") })
		synctest.Wait()
		w := &waiter{job: job{opcode: opText, fin: true}, state: holding, wake: make(chan struct{}, 1)}
		w.wake <- struct{}{}
		b := batch{c: c, ctx: t.Context()}
		if _, err := b.wait(w); err != errCloseSent {
			t.Errorf("got %v, want %v", err, errCloseSent)
		}
		peer.want(t, opClose, true, []byte("\x03\xe8"))
		peer.send(opClose, nil)
		closing.wantNow(t, nil)
		peer.wantEnd(t)
	})
}

// If the one who writes for others withdraws in time, the others are written, once and in order.
func TestWriteLeaderWithdrawn(t *testing.T) {
	inWriteBubble(t, 0, func(t *testing.T, c *Conn, peer *writePeer) {
		nc := peer.Conn.(*testnet.Conn)
		first := goWrite(t.Context(), c, pattern(20, 1))
		leaderCtx, cancelLeader := context.WithCancelCause(t.Context())
		leader := goWrite(leaderCtx, c, pattern(20, 2))
		leaverCtx, cancelLeaver := context.WithCancelCause(t.Context())
		leaver := goWrite(leaverCtx, c, pattern(20, 3))
		followers := []*writeCall{goWrite(t.Context(), c, pattern(20, 4)), goWrite(t.Context(), c, pattern(20, 5))}

		length := len(appendHeader(nil, header{masked: c.side == clientSide})) + 20
		nc.SetReadBuffer(length) // the first, and nothing else
		first.wantNow(t, nil)
		leader.wantBlocked(t)
		late := goWrite(t.Context(), c, pattern(20, 6)) // not part of the batch
		cancelLeaver(errWithdraw)
		leaver.wantNow(t, errWithdraw)
		cancelLeader(errWithdraw)
		leader.wantNow(t, errWithdraw)
		for _, call := range followers {
			call.wantBlocked(t)
		}
		isOpen(t, c)

		nc.SetReadBuffer(1 << 10)
		peer.want(t, opBinary, true, pattern(20, 1))
		for i, call := range append(followers, late) {
			peer.want(t, opBinary, true, pattern(20, i+4))
			call.wantNow(t, nil)
		}
		peer.wantNothing(t)
	})
}

// The connection ends while a batch is on its way: everybody in it returns.
func TestWriteFollowersOfTheEnd(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, c *Conn, peer *writePeer, cancel context.CancelCauseFunc){
		"CloseNow": func(_ *testing.T, c *Conn, _ *writePeer, _ context.CancelCauseFunc) { c.CloseNow() },
		"cancel":   func(_ *testing.T, _ *Conn, _ *writePeer, cancel context.CancelCauseFunc) { cancel(nil) },
		"WriteTimeout": func(_ *testing.T, c *Conn, _ *writePeer, _ context.CancelCauseFunc) {
			time.Sleep(c.writeTimeout)
		},
		"CloseTimeout": func(_ *testing.T, c *Conn, _ *writePeer, _ context.CancelCauseFunc) {
			c.Close(StatusNormalClosure, "")
		},
		"the peer's Close": func(t *testing.T, c *Conn, peer *writePeer, _ context.CancelCauseFunc) {
			peer.send(opClose, nil)
			c.Read(t.Context())
			time.Sleep(c.closeTimeout)
		},
		"a protocol error": func(t *testing.T, c *Conn, peer *writePeer, _ context.CancelCauseFunc) {
			peer.Write([]byte{0xff, 0xff})
			c.Read(t.Context())
			time.Sleep(c.closeTimeout)
		},
		"EOF": func(t *testing.T, c *Conn, peer *writePeer, _ context.CancelCauseFunc) {
			peer.Close()
			c.Read(t.Context())
		},
		"EOF, unread": func(t *testing.T, c *Conn, peer *writePeer, _ context.CancelCauseFunc) {
			peer.Close()
			time.Sleep(closeAfterBreak)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWriteBubble(t, 100, func(t *testing.T, c *Conn, peer *writePeer) {
				ctx, cancel := context.WithCancelCause(t.Context())
				calls := []*writeCall{
					goWrite(t.Context(), c, pattern(500, 1)),
					goWrite(ctx, c, pattern(500, 2)),
					goWrite(t.Context(), c, pattern(500, 3)),
					goWrite(t.Context(), c, pattern(500, 4)),
				}
				peer.want(t, opBinary, true, pattern(500, 1))
				calls[0].wantNow(t, nil)
				calls[1].wantBlocked(t)
				late := goWrite(t.Context(), c, pattern(20, 5))
				end(t, c, peer, cancel)
				synctest.Wait()
				if c.Err() == nil {
					t.Fatal("the connection has not ended")
				}
				for i, call := range append(calls[1:], late) {
					synctest.Wait()
					if call.blocked() {
						t.Fatalf("writer %d is still blocked", i+2)
					}
					if call.err != c.Err() && !(name == "CloseTimeout" && call.err == errCloseSent) {
						t.Errorf("writer %d: got %v, want %v", i+2, call.err, c.Err())
					}
				}
				cancel(nil)
			})
		})
	}
}

// An atomicConn writes all or nothing: when a token is there, or the deadline has passed.
type atomicConn struct {
	net.Conn
	tokens chan struct{}

	mu      sync.Mutex
	expired chan struct{}
}

func (c *atomicConn) deadline() chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.expired == nil {
		c.expired = make(chan struct{})
	}
	return c.expired
}

func (c *atomicConn) Write(p []byte) (int, error) {
	select {
	case <-c.deadline():
		return 0, os.ErrDeadlineExceeded
	case <-c.tokens:
		return c.Conn.Write(p)
	}
}

func (c *atomicConn) SetWriteDeadline(t time.Time) error {
	expired := c.deadline()
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.IsZero() {
		c.expired = nil
	} else if t.Before(time.Now()) {
		select {
		case <-expired:
		default:
			close(expired)
		}
	}
	return nil
}

// Contexts end at any moment, and payloads are changed as soon as Write returns. What was
// reported written arrives once, and nothing is reported for the rest but the
// context's cause; the connection stays open.
func TestWriteCancelledAtRandom(t *testing.T) {
	const writers, messages = 16, 500
	eachSide(t, func(t *testing.T, side side) {
		endpoint, nc := testnet.Pipe()
		nc.SetReadBuffer(1 << 20)
		gate := &atomicConn{Conn: endpoint, tokens: make(chan struct{})}
		c := newWriteConn(t, gate, side, func(cfg *connConfig) { cfg.writeTimeout = -1 })
		received := &numberedReader{peer: newWritePeer(t, nc, side), received: make([][]int, writers)}
		reading := goCall(func() error { received.run(); return received.err })

		over := make(chan struct{})
		var tokens, wg sync.WaitGroup
		tokens.Go(func() {
			for {
				select {
				case gate.tokens <- struct{}{}:
				case <-over:
					close(gate.tokens)
					return
				}
				for range rand.IntN(50) {
					runtime.Gosched()
				}
			}
		})
		var written [writers][]int
		for w := range writers {
			wg.Go(func() {
				for i := range messages {
					ctx, cancel := context.WithCancelCause(t.Context())
					stop := time.AfterFunc(time.Duration(rand.IntN(300))*time.Microsecond, func() { cancel(errWithdraw) })
					p := numbered(w, i, 8+rand.IntN(300))
					switch err := c.Write(ctx, MessageBinary, p); err {
					case nil:
						written[w] = append(written[w], i)
					case errWithdraw:
					default:
						t.Errorf("writer %d, message %d: %v", w, i, err)
						return
					}
					for i := range p {
						p[i] = byte(i * i)
					}
					stop.Stop()
					cancel(nil)
				}
			})
		}
		wg.Wait()
		close(over)
		tokens.Wait()
		isOpen(t, c)
		if err := c.Close(StatusNormalClosure, ""); err != nil {
			t.Error(err)
		}
		reading.want(t, patience, nil)
		some := 0
		for w := range writers {
			for _, i := range written[w] {
				if _, came := slices.BinarySearch(received.received[w], i); !came {
					t.Errorf("writer %d: message %d was written and did not come", w, i)
				}
			}
			some += len(written[w])
		}
		if some == 0 || some == writers*messages {
			t.Errorf("%d of %d messages were written, so nothing was tried", some, writers*messages)
		}
	})
}

// What was written is not kept, also not where calls had to wait.
func TestWriteKeepsNothing(t *testing.T) {
	eachSide(t, func(t *testing.T, side side) {
		endpoint, nc := testnet.Pipe()
		nc.SetReadBuffer(0)
		c, peer := newWriteConn(t, endpoint, side), newWritePeer(t, nc, side)
		var freed atomic.Int64
		payload := func() []byte {
			p := new([1 << 20]byte)
			runtime.AddCleanup(p, func(int) { freed.Add(1) }, 0)
			return p[:]
		}
		leading := goCall(func() error { return c.Write(t.Context(), MessageBinary, payload()) })
		awaitBusy(t, c)
		ctx, cancel := context.WithCancelCause(t.Context())
		withdrawn := goCall(func() error { return c.Write(ctx, MessageBinary, payload()) })
		awaitQueue(t, c, 1)
		waiting := goCall(func() error { return c.WriteBatch(t.Context(), Message{MessageBinary, payload()}) })
		awaitQueue(t, c, 2)
		cancel(errWithdraw)
		withdrawn.want(t, patience, errWithdraw)
		nc.SetReadBuffer(1 << 20)
		for range 2 {
			if _, _, err := peer.next(); err != nil {
				t.Fatal(err)
			}
		}
		leading.want(t, patience, nil)
		waiting.want(t, patience, nil)
		for start := time.Now(); freed.Load() < 3; runtime.GC() {
			if time.Since(start) > time.Second {
				t.Fatalf("of 3 payloads, %d were given up", freed.Load())
			}
		}
		runtime.KeepAlive(c)
	})
}

// A deafConn takes all that is written.
type deafConn struct {
	net.Conn
	poked atomic.Int32 // with a deadline that has passed
}

func (c *deafConn) Write(p []byte) (int, error)     { return len(p), nil }
func (c *deafConn) SetReadDeadline(time.Time) error { return nil }
func (c *deafConn) Close() error                    { return nil }

func (c *deafConn) SetWriteDeadline(t time.Time) error {
	if t == aLongTimeAgo {
		c.poked.Add(1)
	}
	return nil
}

// On what is no socket of the kernel, a context that comes again stays registered:
// to write costs no allocation. Its end does nothing to the writes under others.
func TestWriteKeepsContext(t *testing.T) {
	nc, cfg, told := new(deafConn), testConfig(serverSide), 0
	cfg.trace = newConnTrace(&Trace{FrameWritten: func(*Conn, Frame) { told++ }}) // costs none either
	c := newConn(nc, nil, cfg)
	defer c.CloseNow()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	message := pattern(100, 1)
	write := func(ctx context.Context) error { return c.Write(ctx, MessageBinary, message) }
	if allocs := testing.AllocsPerRun(100, func() { write(ctx) }); allocs != 0 && !raceEnabled() {
		t.Errorf("got %v allocations for a Write, want none", allocs)
	}
	if told < 100 {
		t.Errorf("the Trace was told of %d frames", told)
	}
	if c.writeGuards.kept == nil {
		t.Error("the context is not kept")
	}

	cancel()
	if err := write(ctx); err != context.Canceled {
		t.Errorf("after its end: got %v, want %v", err, context.Canceled)
	}
	for range 3 {
		if err := write(t.Context()); err != nil {
			t.Errorf("under another: got %v", err)
		}
	}
	if n := nc.poked.Load(); n != 0 {
		t.Errorf("the deadline was set %d times though nobody waited", n)
	}

	c.CloseNow()
	if c.writeGuards.kept != nil {
		t.Error("a context is kept after the end")
	}
}

// WriteTimeout

// What a write leaves set does not end those that come long after.
func TestWriteAfterLong(t *testing.T) {
	inWriteBubble(t, 100, func(t *testing.T, c *Conn, peer *writePeer) {
		for i := range 5 {
			call := goWrite(t.Context(), c, pattern(500, i))
			time.Sleep(time.Duration(i) * c.writeTimeout / 5) // and it goes on waiting
			peer.want(t, opBinary, true, pattern(500, i))
			call.wantNow(t, nil)
			time.Sleep(time.Duration(i) * c.writeTimeout / 2)
		}
	})
}

func TestWriteTimeout(t *testing.T) {
	t.Run("no progress", func(t *testing.T) {
		inWriteBubble(t, 100, func(t *testing.T, c *Conn, peer *writePeer) {
			reading := goCall(func() error { _, _, err := c.Read(t.Context()); return err })
			start := time.Now()
			calls := []*writeCall{goWrite(t.Context(), c, pattern(500, 1)), goWrite(t.Context(), c, pattern(20, 2)), reading}
			for _, call := range calls {
				<-call.done
				if got := time.Since(start); got != defaultWriteTimeout {
					t.Errorf("got the end after %v, want it after %v", got, defaultWriteTimeout)
				}
				if call.err != c.Err() {
					t.Errorf("got %v, want %v", call.err, c.Err())
				}
			}
			wantLost(t, c, os.ErrDeadlineExceeded)
		})
	})
	t.Run("a Pong without progress", func(t *testing.T) {
		inWriteBubble(t, 100, func(t *testing.T, c *Conn, peer *writePeer) {
			start := time.Now()
			peer.send(opPing, pattern(125, 1))
			_, _, err := c.Read(t.Context())
			if got := time.Since(start); got != defaultWriteTimeout || err != c.Err() {
				t.Errorf("got %v after %v, want the end after %v", err, got, defaultWriteTimeout)
			}
			wantLost(t, c, os.ErrDeadlineExceeded)
		})
	})
	t.Run("slow progress", func(t *testing.T) {
		inWriteBubble(t, 32<<10, func(t *testing.T, c *Conn, peer *writePeer) {
			start := time.Now()
			call := goWrite(t.Context(), c, pattern(1<<20, 1))
			var got []byte
			for p := make([]byte, 32<<10); call.blocked(); synctest.Wait() {
				time.Sleep(defaultWriteTimeout / 3)
				n, _ := peer.Read(p)
				got = append(got, p[:n]...)
			}
			if took := time.Since(start); call.err != nil || took < 5*defaultWriteTimeout {
				t.Fatalf("got %v after %v, want nil after long", call.err, took)
			}
			peer.r.Reset(io.MultiReader(bytes.NewReader(got), peer.Conn))
			peer.want(t, opBinary, true, pattern(1<<20, 1))
			isOpen(t, c)
		})
	})
	t.Run("none", func(t *testing.T) {
		eachSide(t, func(t *testing.T, side side) {
			synctest.Test(t, func(t *testing.T) {
				endpoint, nc := testnet.Pipe()
				nc.SetReadBuffer(100)
				c := newWriteConn(t, endpoint, side, func(cfg *connConfig) { cfg.writeTimeout = -1 })
				peer := newWritePeer(t, nc, side)
				call := goWrite(t.Context(), c, pattern(500, 1))
				time.Sleep(24 * time.Hour)
				call.wantBlocked(t)
				peer.want(t, opBinary, true, pattern(500, 1))
				call.wantNow(t, nil)
			})
		})
	})
	for _, kind := range []string{"tcp", "tls"} {
		t.Run(kind, func(t *testing.T) {
			network := newLoopback(t)
			eachSide(t, func(t *testing.T, side side) {
				endpoint, peer := writeLink(t, network, kind, side)
				t.Cleanup(func() { peer.Close() })
				const timeout = 50 * time.Millisecond
				c := newWriteConn(t, endpoint, side, func(cfg *connConfig) { cfg.writeTimeout = timeout })
				start := time.Now()
				err := c.Write(t.Context(), MessageBinary, make([]byte, 64<<20))
				if took := time.Since(start); err == nil || err != c.Err() || took < timeout {
					t.Errorf("got %v after %v, want the end after %v", err, took, timeout)
				}
				wantLost(t, c, os.ErrDeadlineExceeded)
			})
		})
	}
	t.Run("slow progress on tcp", func(t *testing.T) {
		tr := newLoopback(t).tcp(t)
		tr.endpoint.(*net.TCPConn).SetWriteBuffer(64 << 10)
		tr.peer.(*net.TCPConn).SetReadBuffer(64 << 10)
		const timeout = time.Second
		c := newWriteConn(t, tr.endpoint, serverSide, func(cfg *connConfig) { cfg.writeTimeout = timeout })
		peer := newWritePeer(t, tr.peer, serverSide)
		start := time.Now()
		const n = 8 << 20
		call := goCall(func() error { return c.Write(t.Context(), MessageBinary, pattern(n, 1)) })
		var got bytes.Buffer
		for call.blocked() {
			time.Sleep(timeout / 5)
			// The header has 10 bytes; what does not come is not to be waited for.
			io.CopyN(&got, tr.peer, int64(min(1<<20, n+10-got.Len())))
		}
		if took := time.Since(start); call.err != nil || took < timeout*3/2 {
			t.Fatalf("got %v after %v, want nil after long", call.err, took)
		}
		peer.r.Reset(io.MultiReader(&got, tr.peer))
		peer.want(t, opBinary, true, pattern(n, 1))
		isOpen(t, c)
	})
}

// Network connections that misbehave

// A shortConn takes at most n bytes at a time.
type shortConn struct {
	net.Conn
	n   int
	err error // with what was short
}

func (c *shortConn) Write(p []byte) (int, error) {
	if len(p) <= c.n {
		return c.Conn.Write(p)
	}
	n, err := c.Conn.Write(p[:c.n])
	if err == nil {
		err = c.err
	}
	return n, err
}

// A write that was short without an error goes on, or ends the connection, but
// never leaves a hole.
func TestWriteShort(t *testing.T) {
	for _, n := range []int{1, 3, 100} {
		for _, shortErr := range []error{nil, io.ErrShortWrite} {
			t.Run(fmt.Sprint(n, shortErr), func(t *testing.T) {
				eachSide(t, func(t *testing.T, side side) {
					synctest.Test(t, func(t *testing.T) {
						endpoint, nc := testnet.Pipe()
						nc.SetReadBuffer(1 << 20)
						c := newWriteConn(t, &shortConn{endpoint, n, shortErr}, side)
						peer := newWritePeer(t, nc, side)
						err := c.Write(t.Context(), MessageBinary, pattern(300, 1))
						if shortErr == nil && err == nil {
							peer.want(t, opBinary, true, pattern(300, 1))
							return
						}
						wantLost(t, c, io.ErrShortWrite)
						if err != c.Err() {
							t.Errorf("got %v, want %v", err, c.Err())
						}
						if got, _ := io.ReadAll(nc); len(got) > n {
							t.Errorf("%d bytes were written after an error at %d", len(got), n)
						}
					})
				})
			})
		}
	}
}

// A stuckConn neither writes nor fails.
type stuckConn struct{ net.Conn }

func (stuckConn) Write([]byte) (int, error) { return 0, nil }

func TestWriteNoProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		endpoint, nc := testnet.Pipe()
		defer nc.Close()
		c := newWriteConn(t, stuckConn{endpoint}, serverSide)
		if err := c.Write(t.Context(), MessageText, nil); err == nil || err != c.Err() {
			t.Errorf("got %v, want the end of the connection: %v", err, c.Err())
		}
	})
}

// A failingConn fails after n bytes.
type failingConn struct {
	net.Conn
	n   int
	err error
}

func (c *failingConn) Write(p []byte) (int, error) {
	n := min(c.n, len(p))
	c.n -= n
	c.Conn.Write(p[:n])
	if n < len(p) {
		return n, c.err
	}
	return n, nil
}

// A listError can't be compared.
type listError []string

func (e listError) Error() string { return strings.Join(e, ", ") }

func (e listError) Is(target error) bool {
	_, ok := target.(listError)
	return ok
}

func TestWriteError(t *testing.T) {
	for name, cause := range map[string]error{
		"io.EOF":                        io.EOF,
		"an error":                      errors.New("the cable was pulled"),
		"EPIPE":                         syscall.EPIPE,
		"one that can't be compared":    listError{"the cable", "was pulled"},
		"a protocol error of our own":   ErrMessageTooBig,
		"a context's":                   context.Canceled,
		"the end of another connection": &CloseError{Code: StatusNormalClosure, Local: true},
	} {
		for _, n := range []int{0, 1, 7, 300} {
			t.Run(fmt.Sprint(name, " after ", n), func(t *testing.T) {
				eachSide(t, func(t *testing.T, side side) {
					synctest.Test(t, func(t *testing.T) {
						endpoint, nc := testnet.Pipe()
						peer := newWritePeer(t, nc, side)
						c := newWriteConn(t, &failingConn{endpoint, n, cause}, side)
						reading := goCall(func() error { _, _, err := c.Read(t.Context()); return err })
						start := time.Now()
						call := goWrite(t.Context(), c, pattern(500, 1))
						later := goWrite(t.Context(), c, pattern(20, 2))
						streaming := goCall(func() error { _, err := c.NextWriter(t.Context(), MessageText); return err })
						for _, call := range []*writeCall{call, later, streaming, reading} {
							<-call.done
							if call.err != c.Err() {
								t.Errorf("got %v, want %v", call.err, c.Err())
							}
						}
						if took := time.Since(start); took > closeAfterBreak {
							t.Errorf("returned after %v, want at most %v", took, closeAfterBreak)
						}
						if cause == io.EOF {
							wantLost(t, c, io.ErrUnexpectedEOF)
						} else {
							wantLost(t, c, cause)
						}
						if got, _ := io.ReadAll(peer); len(got) != n {
							t.Errorf("the peer got %d bytes, want %d", len(got), n)
						}
					})
				})
			})
		}
	}
}

// A panickingConn has a bug.
type panickingConn struct{ net.Conn }

func (panickingConn) Write([]byte) (int, error) { panic("a bug") }

// A panic below us goes to who called, and leaves nobody waiting
// for longer than the connection lives.
func TestWritePanic(t *testing.T) {
	eachSide(t, func(t *testing.T, side side) {
		synctest.Test(t, func(t *testing.T) {
			endpoint, nc := testnet.Pipe()
			defer nc.Close()
			c := newWriteConn(t, panickingConn{endpoint}, side)
			func() {
				defer func() {
					if v := recover(); v != "a bug" {
						t.Errorf("got panic %v", v)
					}
				}()
				c.Write(t.Context(), MessageText, nil)
			}()
			ctx, cancel := context.WithCancelCause(t.Context())
			withdrawn, waiting := goWrite(ctx, c, nil), goWrite(t.Context(), c, nil)
			cancel(errWithdraw)
			withdrawn.wantNow(t, errWithdraw)
			reading := goCall(func() error { _, _, err := c.Read(t.Context()); return err })
			synctest.Wait()
			start := time.Now()
			if err := c.Close(StatusNormalClosure, ""); err == nil || err != c.Err() {
				t.Errorf("Close: got %v, want %v", err, c.Err())
			}
			if took := time.Since(start); took != defaultCloseTimeout {
				t.Errorf("Close took %v, want %v", took, defaultCloseTimeout)
			}
			waiting.wantNow(t, net.ErrClosed)
			reading.wantNow(t, c.Err())
		})
	})
}

// The code of the peer's Close wins over the error of a write that found
// the connection closed. What can't be sent any more does not
// keep the socket open.
func TestWriteErrorAfterPeersClose(t *testing.T) {
	eachSide(t, func(t *testing.T, side side) {
		synctest.Test(t, func(t *testing.T) {
			endpoint, nc := testnet.Pipe()
			peer := newWritePeer(t, nc, side)
			c := newWriteConn(t, &failingConn{endpoint, 0, syscall.EPIPE}, side)
			call := goWrite(t.Context(), c, pattern(500, 1))
			call.wantBlocked(t)
			time.Sleep(closeAfterBreak / 2)
			peer.send(opClose, []byte("\x03\xf4later"))
			start := time.Now()
			_, _, err := c.Read(t.Context())
			if CloseStatus(err) != StatusServiceRestart {
				t.Errorf("Read: got %v, want the peer's Close", err)
			}
			synctest.Wait()
			if call.blocked() || call.err != c.Err() {
				t.Errorf("Write: got %v, want %v", call.err, c.Err())
			}
			peer.wantEnd(t)
			if took := time.Since(start); took >= closeAfterBreak {
				t.Errorf("the socket was closed after %v", took)
			}
		})
	})
}

// Control frames

// Pings while nothing can be written: the reader goes on, nothing
// piles up, and the newest is answered.
func TestPingFloodWhileBlocked(t *testing.T) {
	inWriteBubble(t, 100, func(t *testing.T, c *Conn, peer *writePeer) {
		messages := make(chan []byte, 10)
		go func() {
			for {
				_, p, err := c.Read(context.Background())
				if err != nil {
					return
				}
				messages <- p
			}
		}()
		call := goWrite(t.Context(), c, pattern(500, 1))
		const pings = 20000
		for i := range pings {
			peer.send(opPing, binary.BigEndian.AppendUint32(nil, uint32(i)))
		}
		peer.send(opBinary, []byte("read on"))
		synctest.Wait()
		if got := <-messages; string(got) != "read on" {
			t.Errorf("got message %q", got)
		}
		call.wantBlocked(t)
		peer.want(t, opBinary, true, pattern(500, 1))
		call.wantNow(t, nil)
		var pongs []uint32
		for len(pongs) == 0 || pongs[len(pongs)-1] != pings-1 {
			h, p, err := peer.next()
			if err != nil || h.opcode != opPong {
				t.Fatalf("got %+v, %v after the Pongs to %d; want that to the last Ping", h, err, pongs)
			}
			pongs = append(pongs, binary.BigEndian.Uint32(p))
		}
		if !slices.IsSorted(pongs) || len(pongs) > maxOwedPongs {
			t.Errorf("got the Pongs to %d", pongs)
		}
		peer.wantNothing(t)
	})
}

// The same if it is a Pong that blocks.
func TestPingFloodWhilePongBlocked(t *testing.T) {
	inWriteBubble(t, 10, func(t *testing.T, c *Conn, peer *writePeer) {
		reading := goCall(func() error { _, _, err := c.Read(t.Context()); return err })
		const pings = 20000
		for i := range pings {
			peer.send(opPing, binary.BigEndian.AppendUint32(make([]byte, 100), uint32(i)))
		}
		synctest.Wait()
		call := goWrite(t.Context(), c, nil)
		call.wantBlocked(t)
		peer.want(t, opPong, true, binary.BigEndian.AppendUint32(make([]byte, 100), 0))
		peer.want(t, opPong, true, binary.BigEndian.AppendUint32(make([]byte, 100), pings-1))
		peer.want(t, opBinary, true, nil)
		call.wantNow(t, nil)
		reading.wantBlocked(t)
		isOpen(t, c)
	})
}

// Control frames go between the fragments of a message, other
// messages wait for its end (RFC 6455, section 5.4).
func TestWriterControlFrames(t *testing.T) {
	inWriteBubble(t, 1<<20, func(t *testing.T, c *Conn, peer *writePeer) {
		go c.Read(context.Background())
		w, err := c.NextWriter(t.Context(), MessageText)
		if err != nil {
			t.Fatal(err)
		}
		waiting := goWrite(t.Context(), c, []byte("after"))
		control := func() {
			t.Helper()
			peer.wantNothing(t)
			ping := goCall(func() error { _, err := c.Ping(t.Context()); return err })
			h, id, err := peer.next()
			if err != nil || h.opcode != opPing {
				t.Fatalf("got %+v, %v; want a Ping", h, err)
			}
			peer.send(opPing, []byte("theirs"))
			peer.want(t, opPong, true, []byte("theirs"))
			peer.send(opPong, id)
			ping.wantNow(t, nil)
			waiting.wantBlocked(t)
		}
		control()
		w.Write(pattern(fragmentLength, 1))
		control()
		w.Write(pattern(fragmentLength, 2))
		peer.want(t, opText, false, pattern(fragmentLength, 1))
		control()
		w.Write([]byte("end"))
		peer.want(t, opContinuation, false, pattern(fragmentLength, 2))
		control()
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		peer.want(t, opContinuation, true, []byte("end"))
		waiting.wantNow(t, nil)
		peer.want(t, opBinary, true, []byte("after"))
	})
}

// Streamed messages

func TestWriterFragments(t *testing.T) {
	const f = fragmentLength
	for _, test := range []struct {
		name   string
		writes []int
		frames []int
	}{
		{"no Write", nil, []int{0}},
		{"empty Writes", []int{0, 0}, []int{0}},
		{"one", []int{5}, []int{5}},
		{"gathered", []int{5, 0, 6, 7}, []int{18}},
		{"a fragment", []int{f}, []int{f}},
		{"a fragment in two", []int{f - 1, 1}, []int{f}},
		{"a fragment and an empty Write", []int{f, 0}, []int{f}},
		{"one more", []int{f + 1}, []int{f, 1}},
		{"one more, apart", []int{f, 1}, []int{f, 1}},
		{"two fragments", []int{2 * f}, []int{f, f}},
		{"across", []int{f - 1, 2, f - 1, 1}, []int{f, f, 1}},
		{"long after short", []int{1, 3 * f}, []int{f, f, f, 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWriteBubble(t, 1<<20, func(t *testing.T, c *Conn, peer *writePeer) {
				w, err := c.NextWriter(t.Context(), MessageBinary)
				if err != nil {
					t.Fatal(err)
				}
				total := 0
				for _, n := range test.writes {
					total += n
				}
				sent := pattern(total, 1)
				rest := sent
				for _, n := range test.writes {
					p := bytes.Clone(rest[:n])
					if n, err := w.Write(p); n != len(p) || err != nil {
						t.Fatalf("Write of %d bytes: got %d, %v", len(p), n, err)
					}
					if !bytes.Equal(p, rest[:len(p)]) {
						t.Fatal("Write changed what it was given")
					}
					clear(p) // it was not kept either
					rest = rest[len(p):]
				}
				if err := w.Close(); err != nil {
					t.Fatalf("Close: got %v", err)
				}
				op := opBinary
				for i, n := range test.frames {
					peer.want(t, op, i == len(test.frames)-1, sent[:n])
					sent, op = sent[n:], opContinuation
				}
				peer.wantNothing(t)
			})
		})
	}
}

// A MessageWriter that is over errs, and does nothing else.
func TestWriterOver(t *testing.T) {
	for name, end := range map[string]func(*MessageWriter){
		"closed":            func(w *MessageWriter) { w.Close() },
		"aborted":           func(w *MessageWriter) { w.Abort() },
		"written to, over":  func(w *MessageWriter) { w.Write([]byte("x")); w.Abort() },
		"written to, ended": func(w *MessageWriter) { w.Write([]byte("x")); w.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			inWriteBubble(t, 1<<20, func(t *testing.T, c *Conn, peer *writePeer) {
				over, err := c.NextWriter(t.Context(), MessageText)
				if err != nil {
					t.Fatal(err)
				}
				end(over)
				if strings.HasSuffix(name, "ed") && !strings.HasPrefix(name, "ab") {
					if _, _, err := peer.next(); err != nil {
						t.Fatal(err)
					}
				}
				next, err := c.NextWriter(t.Context(), MessageText)
				if err != nil {
					t.Fatal(err)
				}
				next.Write([]byte("to stay"))
				for range 2 {
					if n, err := over.Write(make([]byte, 1<<20)); n != 0 || err == nil {
						t.Errorf("Write: got %d, %v; want an error", n, err)
					}
					if n, err := over.Write(nil); n != 0 || err == nil {
						t.Errorf("Write of nothing: got %d, %v; want an error", n, err)
					}
					if err := over.Close(); err == nil {
						t.Error("Close: got nil, want an error")
					}
					over.Abort()
				}
				isOpen(t, c)
				peer.wantNothing(t)
				if err := next.Close(); err != nil {
					t.Fatal(err)
				}
				peer.want(t, opText, true, []byte("to stay"))
			})
		})
	}
}

// Who comes while a message is streamed waits for its end, and they go on
// in the order that they came in.
func TestWriterOrder(t *testing.T) {
	inWriteBubble(t, 1<<20, func(t *testing.T, c *Conn, peer *writePeer) {
		next := func(into **MessageWriter) *writeCall {
			call := goCall(func() (err error) { *into, err = c.NextWriter(t.Context(), MessageText); return err })
			synctest.Wait()
			return call
		}
		var first, second, third *MessageWriter
		next(&first).wantNow(t, nil)
		one := goWrite(t.Context(), c, []byte("one"))
		two := goWrite(t.Context(), c, []byte("two"))
		secondCall := next(&second)
		three := goCall(func() error {
			return c.WriteBatch(t.Context(), Message{MessageBinary, []byte("three")}, Message{MessageBinary, []byte("four")})
		})
		synctest.Wait()
		thirdCall := next(&third)
		five := goWrite(t.Context(), c, []byte("five"))
		for _, call := range []*writeCall{one, two, secondCall, three, thirdCall, five} {
			call.wantBlocked(t)
		}
		first.Close()
		peer.want(t, opText, true, nil)
		one.wantNow(t, nil)
		two.wantNow(t, nil)
		peer.want(t, opBinary, true, []byte("one"))
		peer.want(t, opBinary, true, []byte("two"))
		secondCall.wantNow(t, nil)
		three.wantBlocked(t)
		thirdCall.wantBlocked(t)
		peer.wantNothing(t)

		second.Write([]byte("2"))
		second.Close()
		peer.want(t, opText, true, []byte("2"))
		three.wantNow(t, nil)
		peer.want(t, opBinary, true, []byte("three"))
		peer.want(t, opBinary, true, []byte("four"))
		thirdCall.wantNow(t, nil)
		five.wantBlocked(t)
		third.Abort()
		five.wantNow(t, nil)
		peer.want(t, opBinary, true, []byte("five"))
		peer.wantNothing(t)
	})
}

// A MessageWriter that was forgotten blocks others, but only under their contexts.
func TestWriterForgotten(t *testing.T) {
	inWriteBubble(t, 1<<20, func(t *testing.T, c *Conn, peer *writePeer) {
		if _, err := c.NextWriter(t.Context(), MessageText); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		calls := []*writeCall{
			goWrite(ctx, c, nil),
			goCall(func() error { _, err := c.NextWriter(ctx, MessageText); return err }),
			goCall(func() error { return c.WriteBatch(ctx, Message{MessageText, nil}) }),
		}
		synctest.Wait()
		for _, call := range calls {
			call.wantBlocked(t)
		}
		cancel(errWithdraw)
		for _, call := range calls {
			call.wantNow(t, errWithdraw)
		}
		peer.wantNothing(t)
		isOpen(t, c)

		still := goWrite(t.Context(), c, nil)
		closing := goCall(func() error { return c.Close(StatusNormalClosure, "") })
		peer.want(t, opClose, true, []byte("\x03\xe8"))
		still.wantNow(t, net.ErrClosed)
		peer.send(opClose, nil)
		closing.wantNow(t, nil)
	})
}

// A message of which nothing has left can be given up. One that
// has begun ends the connection.
func TestWriterAbort(t *testing.T) {
	inWriteBubble(t, 1<<20, func(t *testing.T, c *Conn, peer *writePeer) {
		w, err := c.NextWriter(t.Context(), MessageText)
		if err != nil {
			t.Fatal(err)
		}
		w.Write(make([]byte, fragmentLength))
		waiting := goWrite(t.Context(), c, []byte("after"))
		w.Abort()
		waiting.wantNow(t, nil)
		peer.want(t, opBinary, true, []byte("after"))
		peer.wantNothing(t)
		isOpen(t, c)

		if w, err = c.NextWriter(t.Context(), MessageText); err != nil {
			t.Fatal(err)
		}
		w.Write(make([]byte, fragmentLength+1))
		waiting = goWrite(t.Context(), c, []byte("never"))
		w.Abort()
		peer.want(t, opText, false, make([]byte, fragmentLength))
		h, p, err := peer.next()
		if err != nil || h.opcode != opClose || !bytes.HasPrefix(p, []byte("\x03\xf3")) {
			t.Fatalf("got %+v, %s, %v; want a Close with 1011", h, excerpt(p), err)
		}
		waiting.wantNow(t, c.Err())
		if CloseStatus(c.Err()) != StatusInternalError || !errors.Is(c.Err(), net.ErrClosed) {
			t.Errorf("the connection ended with %v, want a local 1011", c.Err())
		}
		peer.Close()
	})
}

// A streamed message that can't go on gives the others way, or ends the
// connection if some of it has been sent.
func TestWriterCancelled(t *testing.T) {
	t.Run("nothing sent", func(t *testing.T) {
		inWriteBubble(t, 0, func(t *testing.T, c *Conn, peer *writePeer) {
			ctx, cancel := context.WithCancelCause(t.Context())
			w, err := c.NextWriter(ctx, MessageText)
			if err != nil {
				t.Fatal(err)
			}
			waiting := goWrite(t.Context(), c, []byte("after"))
			var n int
			call := goCall(func() (err error) { n, err = w.Write(make([]byte, 3*fragmentLength)); return err })
			synctest.Wait()
			call.wantBlocked(t)
			cancel(errWithdraw)
			call.wantNow(t, errWithdraw)
			if n != 0 {
				t.Errorf("got %d bytes written, want none", n)
			}
			if n, err := w.Write(nil); n != 0 || err != errWithdraw {
				t.Errorf("Write after the error: got %d, %v; want the same error", n, err)
			}
			if err := w.Close(); err != errWithdraw {
				t.Errorf("Close after the error: got %v, want the same error", err)
			}
			isOpen(t, c)
			peer.Conn.(*testnet.Conn).SetReadBuffer(1 << 10)
			peer.want(t, opBinary, true, []byte("after"))
			waiting.wantNow(t, nil)
		})
	})
	t.Run("between fragments", func(t *testing.T) {
		inWriteBubble(t, 1<<20, func(t *testing.T, c *Conn, peer *writePeer) {
			ctx, cancel := context.WithCancelCause(t.Context())
			w, err := c.NextWriter(ctx, MessageText)
			if err != nil {
				t.Fatal(err)
			}
			w.Write(make([]byte, fragmentLength+1))
			waiting := goWrite(t.Context(), c, nil)
			cancel(errWithdraw)
			synctest.Wait()
			isOpen(t, c) // nobody has looked at ctx yet
			n, err := w.Write(make([]byte, fragmentLength))
			if c.Err() == nil && err == nil {
				err = w.Close()
			}
			if err != errWithdraw {
				t.Errorf("got %d, %v; want the cause of the context", n, err)
			}
			if CloseStatus(c.Err()) != StatusInternalError {
				t.Errorf("the connection ended with %v, want 1011", c.Err())
			}
			waiting.wantNow(t, c.Err())
			peer.Close()
		})
	})
}

// A Close while a message is streamed is a Close like any other. The writer
// hears of it, and does no harm.
func TestWriterBrokenOffByClose(t *testing.T) {
	for name, end := range map[string]func(w *MessageWriter) error{
		"Write": func(w *MessageWriter) error { _, err := w.Write(make([]byte, 1<<20)); return err },
		"Close": func(w *MessageWriter) error { return w.Close() },
		"Abort": func(w *MessageWriter) error { w.Abort(); return net.ErrClosed },
	} {
		t.Run(name, func(t *testing.T) {
			inWriteBubble(t, 1<<20, func(t *testing.T, c *Conn, peer *writePeer) {
				var read []byte
				reading := goCall(func() (err error) { _, read, err = c.Read(t.Context()); return err })
				synctest.Wait() // or Close would read
				w, err := c.NextWriter(t.Context(), MessageText)
				if err != nil {
					t.Fatal(err)
				}
				w.Write(make([]byte, fragmentLength+1))
				peer.want(t, opText, false, make([]byte, fragmentLength))
				closing := goCall(func() error { return c.Close(StatusGoingAway, "") })
				peer.want(t, opClose, true, []byte("\x03\xe9"))
				if err := end(w); !errors.Is(err, net.ErrClosed) {
					t.Errorf("got %v, want an error that wraps net.ErrClosed", err)
				}
				isOpen(t, c)
				peer.send(opText, []byte("before I go"))
				reading.wantNow(t, nil)
				if string(read) != "before I go" {
					t.Errorf("read %q", read)
				}
				peer.send(opClose, []byte("\x03\xe9"))
				closing.wantNow(t, nil)
				if end := c.Err().(*CloseError); end.Code != StatusGoingAway || !end.Local || end.Err != nil {
					t.Errorf("the connection ended with %v, want our 1001", end)
				}
				peer.wantEnd(t)
			})
		})
	}
}

// Batches

func TestWriteBatch(t *testing.T) {
	many := make([]Message, 3000)
	for i := range many {
		many[i] = Message{MessageBinary, pattern(i%17, i)} // some are empty
	}
	large := []Message{
		{MessageText, nil}, {MessageBinary, pattern(1<<20, 1)}, {MessageText, pattern(3, 2)}, {MessageText, nil},
		{MessageBinary, pattern(smallMessage+1, 3)}, {MessageBinary, pattern(maskedPiece+1, 4)}, {MessageBinary, []byte{}},
	}
	network := newLoopback(t)
	eachSide(t, func(t *testing.T, side side) {
		for _, kind := range writeLinks {
			t.Run(kind, func(t *testing.T) {
				endpoint, nc := writeLink(t, network, kind, side)
				c, peer := newWriteConn(t, endpoint, side), newWritePeer(t, nc, side)
				counted := &countedSocket{socket: c.sock}
				c.sock = counted
				for name, batch := range map[string][]Message{"none": nil, "one": many[1:2], "3000": many, "large ones": large} {
					for _, way := range waysToWriteBatches {
						counted.writes.Store(0)
						call := goCall(func() error { return way.write(t.Context(), c, batch...) })
						size := 0
						for _, m := range batch {
							peer.want(t, opcode(m.Type), true, m.Data)
							size += len(m.Data) + maxHeaderLength
						}
						call.want(t, patience, nil)
						peer.wantNothing(t)
						if got := counted.writes.Load(); size > 0 && size <= batchSize && got != 1 {
							t.Errorf("%s: %s, of %d bytes: got %d writes, want one", way.name, name, size, got)
						}
					}
				}
				if !bytes.Equal(large[1].Data, pattern(1<<20, 1)) {
					t.Error("the data of a message were changed")
				}
			})
		}
	})
}

// A batch is not mixed with the messages of others.
func TestWriteBatchTogether(t *testing.T) {
	inWriteBubble(t, 100, func(t *testing.T, c *Conn, peer *writePeer) {
		const batches, messages = 8, 20
		var wg sync.WaitGroup
		for i := range batches {
			wg.Go(func() {
				batch := make([]Message, messages)
				for j := range batch {
					batch[j] = Message{MessageBinary, numbered(i, j, 8+100*(i%3))}
				}
				if err := waysToWriteBatches[i%2].write(t.Context(), c, batch...); err != nil {
					t.Error(err)
				}
			})
		}
		for range batches {
			for j := range messages {
				_, p, err := peer.next()
				if err != nil {
					t.Fatal(err)
				}
				if _, number, err := readNumbered(p); number != j || err != nil {
					t.Fatalf("got message %d of a batch, %v; want %d", number, err, j)
				}
			}
		}
		wg.Wait()
	})
}

// Masking

// Every frame of a client has a key of its own, whatever sends it, and
// the keys look like chance (RFC 6455, section 5.3).
func TestMaskingKeys(t *testing.T) {
	const conns, perConn = 4, 21000
	keys := make([][]uint32, conns)
	var wg sync.WaitGroup
	for i := range conns {
		wg.Go(func() {
			endpoint, nc := testnet.Pipe()
			c, peer := newWriteConn(t, endpoint, clientSide), newWritePeer(t, nc, clientSide)
			prepared, _ := NewPreparedMessage(MessageText, nil)
			ways := []func() error{
				func() error { return c.Write(t.Context(), MessageText, nil) },
				func() error { return c.Write(t.Context(), MessageText, make([]byte, 3)) },
				func() error { return c.WritePrepared(t.Context(), prepared) },
				func() error {
					return c.WriteBatch(t.Context(), Message{MessageText, nil}, Message{MessageBinary, []byte("x")})
				},
				func() error {
					w, err := c.NextWriter(t.Context(), MessageText)
					if err != nil {
						return err
					}
					return w.Close()
				},
			}
			wg.Go(func() {
				defer c.CloseNow()
				for i := range perConn {
					if err := ways[i%len(ways)](); err != nil {
						t.Error(err)
						return
					}
				}
			})
			for {
				h, _, err := peer.next()
				if err != nil {
					return
				}
				if !h.masked {
					t.Errorf("got a frame that is not masked: %+v", h)
				}
				keys[i] = append(keys[i], h.maskingKey)
			}
		})
	}
	wg.Wait()
	seen := make(map[uint32]int)
	var ones [32]int
	for _, key := range slices.Concat(keys...) {
		seen[key]++
		for b := key; b != 0; b &= b - 1 {
			ones[bits.TrailingZeros32(b)]++
		}
	}
	// Of 10^5 keys by chance, 1.2 pairs are the same on average. More than 12 is less likely
	// than 10^-8, and so is a bit that is set one per cent more or less often than not.
	total := len(slices.Concat(keys...))
	if total < 100_000 {
		t.Fatalf("got %d keys", total)
	}
	if repeated := total - len(seen); repeated > 12 {
		t.Errorf("%d of %d keys were used before", repeated, total)
	}
	if seen[0] > 1 {
		t.Errorf("%d keys are zero", seen[0])
	}
	for bit, n := range ones {
		if n < total*49/100 || n > total*51/100 {
			t.Errorf("bit %d is set in %d of %d keys", bit, n, total)
		}
	}
}
