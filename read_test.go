package websocket

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/tidewire/websocket/internal/testnet"
)

// readWays are the ways to read one message.
var readWays = []struct {
	name string
	read func(ctx context.Context, c *Conn) (MessageType, []byte, error)
}{
	{"Read", func(ctx context.Context, c *Conn) (MessageType, []byte, error) {
		return c.Read(ctx)
	}},
	{"ReadAppend", func(ctx context.Context, c *Conn) (MessageType, []byte, error) {
		return c.ReadAppend(ctx, nil)
	}},
	{"NextReader", func(ctx context.Context, c *Conn) (MessageType, []byte, error) {
		typ, r, err := c.NextReader(ctx)
		if err != nil {
			return 0, nil, err
		}
		data, err := io.ReadAll(r)
		return typ, data, err
	}},
	{"Messages", func(ctx context.Context, c *Conn) (MessageType, []byte, error) {
		for m, err := range c.Messages(ctx) {
			return m.Type, bytes.Clone(m.Data), err
		}
		return 0, nil, c.Err()
	}},
}

// A mixedReader reads each message in a way chosen at random, and goes on in
// another one, where it may, after a context has ended.
type mixedReader struct {
	c      *Conn
	random *rand.Rand
	got    []Message

	reader *MessageReader // if not nil, of a message begun
	typ    MessageType
	part   []byte
}

// read reads messages until there is an error.
func (r *mixedReader) read(ctx context.Context) error {
	for {
		if r.reader != nil {
			r.reader.SetContext(ctx)
		} else if way := r.random.IntN(len(readWays)); readWays[way].name != "NextReader" {
			typ, data, err := readWays[way].read(ctx, r.c)
			if err != nil {
				return err
			}
			r.got = append(r.got, Message{typ, data})
			continue
		} else {
			var err error
			if r.typ, r.reader, err = r.c.NextReader(ctx); err != nil {
				r.reader = nil
				return err
			}
		}
		if err := r.readOn(); err != nil {
			return err
		}
	}
}

// readOn reads from reader, in small pieces, until there is no more.
func (r *mixedReader) readOn() error {
	for {
		p := make([]byte, 1+r.random.IntN(100))
		n, err := r.reader.Read(p)
		r.part = append(r.part, p[:n]...)
		if err == io.EOF {
			r.got = append(r.got, Message{r.typ, r.part})
			r.reader, r.part = nil, nil
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// threeMessages returns three messages and their frames: with characters broken
// by fragments, with pings between these, with an empty fragment
// at the end, and with long bytes in the middle.
func threeMessages(p *rawPeer, long int) (want []Message, wire []byte, pings []string) {
	binary := make([]byte, long)
	for i := range binary {
		binary[i] = byte(i * 7)
	}
	pings = []string{"", "second", strings.Repeat("p", 125)}
	wire = slices.Concat(
		p.fragment(opText, "κόσ\xce"),
		p.frame(opPing, pings[0]),
		p.fragment(opContinuation, "\xbcε \xf0\x9f"),
		p.frame(opPing, pings[1]),
		p.frame(opContinuation, "\x8c\x8d"),
		p.frame(opBinary, string(binary)),
		p.frame(opPong, "unsolicited"),
		p.fragment(opText, "€uro"),
		p.frame(opPing, pings[2]),
		p.frame(opContinuation, ""),
	)
	return []Message{{MessageText, []byte("κόσμε 🌍")}, {MessageBinary, binary}, {MessageText, []byte("€uro")}}, wire, pings
}

func checkMessages(t *testing.T, got, want []Message) {
	t.Helper()
	same := func(a, b Message) bool { return a.Type == b.Type && bytes.Equal(a.Data, b.Data) }
	if !slices.EqualFunc(got, want, same) {
		t.Fatalf("read %.300q\nwant %.300q", got, want)
	}
}

// "a context that ends, at whichever byte, leaves the connection usable and
// the next read goes on where it stopped": at every byte.
func TestReadCancelledAtEveryByte(t *testing.T) {
	for _, s := range []side{serverSide, clientSide} {
		for seed := range uint64(30) {
			synctest.Test(t, func(t *testing.T) {
				c, p := pipe.connect(t, testConfig(s))
				want, wire, pings := threeMessages(p, 300)
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
	}
}

// The same where contexts end, and bytes come, whenever they like, and
// where long payloads take another way.
func TestReadCancelledAtAnyTime(t *testing.T) {
	for _, n := range []network{tcp, tls_} {
		t.Run(n.name, func(t *testing.T) {
			cancelled := 0
			for seed := range uint64(20) {
				c, p := n.connect(t, testConfig(side(seed%2)))
				random := rand.New(rand.NewPCG(seed, 1))
				want, wire, pings := threeMessages(p, 40<<10)
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
	}
}

// sendInPieces writes b in pieces of few bytes.
func sendInPieces(w io.Writer, b []byte, random *rand.Rand) error {
	for len(b) > 0 {
		n := min(len(b), 1+random.IntN(20))
		if random.IntN(20) == 0 {
			n = min(len(b), 10<<10)
		}
		if _, err := w.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
		runtime.Gosched()
	}
	return nil
}

// wantPongs checks that the endpoint has answered pings and then the Close. It
// may have left out all but the last ping.
func wantPongs(t *testing.T, p *rawPeer, pings []string) {
	t.Helper()
	last := ""
	for f := p.next(); opcode(f.Opcode) != opClose; f = p.next() {
		last = string(f.Payload)
		i := slices.Index(pings, last)
		if opcode(f.Opcode) != opPong || i < 0 {
			t.Fatalf("the peer gets frame %v", f)
		}
		pings = pings[i+1:]
	}
	if len(pings) > 0 {
		t.Errorf("the last Pong carries %q, of the pings remain %q", last, pings)
	}
}

// wantStatus checks that err is a CloseError with code.
func wantStatus(t testing.TB, err error, code StatusCode) {
	t.Helper()
	if CloseStatus(err) != code {
		t.Fatalf("got %v, want a CloseError with %d", err, code)
	}
}

// "ReadAppend appends the message to dst".
func TestReadAppend(t *testing.T) {
	onNetworks(t, func(t *testing.T, n network) {
		c, p := n.connect(t, testConfig(serverSide))
		for _, room := range []int{0, 1, 4, 5, 100} {
			array := []byte(strings.Repeat("#", 200))
			dst := append(array[50:50:54+room], "dst:"...)
			p.send(p.fragment(opText, "he"), p.frame(opContinuation, "llo"))
			typ, data, err := c.ReadAppend(t.Context(), dst)
			wantRead(t, typ, data, err, "dst:hello")
			if inPlace := &data[0] == &dst[0]; room >= 5 && !inPlace {
				t.Errorf("dst has room for %d bytes and was not used", room)
			}
			if around := string(array[:50]) + string(array[54+room:]); strings.Trim(around, "#") != "" {
				t.Errorf("bytes around dst were changed: %q", array)
			}
		}
	})
}

// "If it returns an error, the slice it returns has the length of dst", and
// what came of the message is not in dst, which is the caller's again.
func TestReadAppendCutShort(t *testing.T) {
	onNetworks(t, func(t *testing.T, n network) {
		c, p := n.connect(t, testConfig(serverSide))
		dst := append(make([]byte, 0, 100), "dst:"...)
		check := func(data []byte, err error, want error) {
			t.Helper()
			if !errors.Is(err, want) || string(data) != "dst:" || &data[0] != &dst[0] {
				t.Fatalf("got %q, %v, want dst and %v", data, err, want)
			}
		}
		frame := p.frame(opText, "hello")
		for i := range frame {
			p.send(frame[i : i+1])
			if i == len(frame)-1 {
				break
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Millisecond)
			_, data, err := c.ReadAppend(ctx, dst)
			check(data, err, context.DeadlineExceeded)
			_, data, err = c.ReadAppend(ctx, dst)
			check(data, err, context.DeadlineExceeded)
			cancel()
			clear(dst[4:cap(dst)])
		}
		typ, data, err := c.ReadAppend(t.Context(), dst)
		wantRead(t, typ, data, err, "dst:hello")

		p.send(frame[:len(frame)-1])
		closeNow(p.Conn)
		_, data, err = c.ReadAppend(t.Context(), dst)
		check(data, err, io.ErrUnexpectedEOF)
		_, data, err = c.ReadAppend(t.Context(), dst)
		check(data, err, io.ErrUnexpectedEOF)
	})
}

type contextKey struct{}

// "ReadAppend [...] allocates nothing once dst has room", Messages nothing at all, and
// "a repeated context costs no allocation", also if others
// that only add values come between.
func TestReadAllocations(t *testing.T) {
	if raceEnabled() {
		t.Skip("pools forget under the race detector")
	}
	for _, s := range []side{serverSide, clientSide} {
		for _, size := range []int{16, 1 << 10, 64 << 10} {
			cfg, told := testConfig(s), 0
			cfg.trace = newConnTrace(&Trace{FrameRead: func(*Conn, Frame) { told++ }}) // costs none either
			c, p := tcp.connect(t, cfg)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			child := context.WithValue(ctx, contextKey{}, 1)
			frame := p.frame(opBinary, strings.Repeat("x", size))
			buf := make([]byte, 0, size)
			readAppend := func(ctx context.Context) func() {
				return func() {
					p.Write(frame)
					_, data, err := c.ReadAppend(ctx, buf)
					if err != nil || len(data) != size {
						t.Fatal(len(data), err)
					}
				}
			}
			next, stop := pull(c, ctx)
			ways := []struct {
				name string
				read func()
			}{
				{"ReadAppend", readAppend(ctx)},
				{"ReadAppend with a child context", readAppend(child)},
				{"Messages", func() {
					p.Write(frame)
					if m, err := next(); err != nil || len(m.Data) != size {
						t.Fatal(len(m.Data), err)
					}
				}},
			}
			for _, way := range ways {
				for range 10 {
					way.read()
				}
				if got := testing.AllocsPerRun(100, way.read); got != 0 {
					t.Errorf("side %v, %d bytes, %s: got %v allocations, want none", s, size, way.name, got)
				}
			}
			stop()
			if told < 100*len(ways) {
				t.Errorf("the Trace was told of %d frames", told)
			}
		}
	}
}

// pull returns a function that makes one turn of a loop over Messages.
func pull(c *Conn, ctx context.Context) (next func() (Message, error), stop func()) {
	turns, results, done := make(chan bool), make(chan Message), make(chan bool)
	var failed error
	go func() {
		defer close(done)
		if !<-turns {
			return
		}
		for m, err := range c.Messages(ctx) {
			failed = err
			results <- m
			if !<-turns {
				return
			}
		}
	}()
	next = func() (Message, error) {
		turns <- true
		return <-results, failed
	}
	return next, func() { close(turns); <-done }
}

var errCause = errors.New("the cause of a context")

// Every way to read returns the cause of its context, whether it ends before
// the read or during it, and the connection stays usable.
func TestReadReturnsCause(t *testing.T) {
	onNetworks(t, func(t *testing.T, n network) {
		c, p := n.connect(t, testConfig(clientSide))
		for _, way := range readWays {
			ctx, cancel := context.WithCancelCause(t.Context())
			result := async(func() error { _, _, err := way.read(ctx, c); return err })
			n.awaitReader(t, c)
			cancel(errCause)
			if err := <-result; err != errCause {
				t.Errorf("%s: got %v, want the cause", way.name, err)
			}
			if _, _, err := way.read(ctx, c); err != errCause {
				t.Errorf("%s under a context that has ended: got %v, want the cause", way.name, err)
			}
			p.send(p.frame(opText, "on"))
			typ, data, err := way.read(t.Context(), c)
			wantRead(t, typ, data, err, "on")
		}
	})
}

// A MessageReader goes on, after its context has ended, under another one.
func TestMessageReaderSetContext(t *testing.T) {
	onNetworks(t, func(t *testing.T, n network) {
		c, p := n.connect(t, testConfig(serverSide))
		p.send(p.fragment(opText, "one "))
		ctx, cancel := context.WithCancelCause(t.Context())
		_, r, err := c.NextReader(ctx)
		if err != nil {
			t.Fatal(err)
		}
		result := async(func() string {
			data, err := io.ReadAll(r)
			if err != errCause {
				t.Errorf("got %v, want the cause", err)
			}
			return string(data)
		})
		n.awaitReader(t, c)
		n.await(t, "read", func() bool { return c.readMu.state.Load() != unlocked })
		cancel(errCause)
		got := <-result
		if _, err := r.Read(make([]byte, 1)); err != errCause {
			t.Errorf("again: got %v, want the cause", err)
		}
		p.send(p.frame(opContinuation, "two"))
		r.SetContext(t.Context())
		rest, err := io.ReadAll(r)
		if got += string(rest); got != "one two" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("Read at the end: got %d, %v", n, err)
		}
	})
}

// A context that ends while no read is in progress does not
// end a later read under another one.
func TestContextEndsBetweenReads(t *testing.T) {
	onNetworks(t, func(t *testing.T, n network) {
		for uses := range 5 {
			c, p := n.connect(t, testConfig(serverSide))
			ctx, cancel := context.WithCancel(t.Context())
			for range uses {
				result := async(func() error { _, _, err := c.Read(ctx); return err })
				n.awaitReader(t, c)
				p.send(p.frame(opText, "under the first"))
				if err := <-result; err != nil {
					t.Fatal(err)
				}
			}
			cancel()
			for range 3 {
				result := async(func() error { _, _, err := c.Read(t.Context()); return err })
				n.awaitReader(t, c)
				p.send(p.frame(opText, "under the second"))
				if err := <-result; err != nil {
					t.Fatalf("after %d reads: %v", uses, err)
				}
			}
			if _, _, err := c.Read(ctx); err != context.Canceled {
				t.Fatalf("got %v, want context.Canceled", err)
			}
		}
	})
}

// A slowDeadline takes its time to end a read.
type slowDeadline struct {
	net.Conn
	begun chan bool
}

func (c slowDeadline) SetReadDeadline(t time.Time) error {
	if !t.IsZero() {
		c.begun <- true
		time.Sleep(10 * time.Millisecond)
	}
	return c.Conn.SetReadDeadline(t)
}

// What a context that ends has begun, to end a read, is done with before the
// next one, also if the read has meanwhile got what it waited for.
func TestContextEndsWithRead(t *testing.T) {
	a, b := testnet.Pipe()
	endpoint := slowDeadline{a, make(chan bool, 1)}
	c, p := connectOver(t, endpoint, b, testConfig(serverSide))
	for range 5 {
		ctx, cancel := context.WithCancel(t.Context())
		first := async(func() error { _, _, err := c.Read(ctx); return err })
		tcp.awaitReader(t, c)
		cancel()
		<-endpoint.begun
		p.send(p.frame(opText, "one"))
		if err := <-first; err != nil {
			t.Fatal(err)
		}
		second := async(func() error { _, _, err := c.Read(t.Context()); return err })
		tcp.awaitReader(t, c)
		time.Sleep(20 * time.Millisecond)
		p.send(p.frame(opText, "two"))
		if err := <-second; err != nil {
			t.Fatal(err)
		}
	}
}

// Contexts may take turns in any order. Each ends its own reads only.
func TestContextsAlternate(t *testing.T) {
	onNetworks(t, func(t *testing.T, n network) {
		c, p := n.connect(t, testConfig(serverSide))
		random := rand.New(rand.NewPCG(1, 1))
		type cancellable struct {
			context.Context
			cancel context.CancelCauseFunc
			cause  error
		}
		contexts := make([]*cancellable, 3)
		for range 300 {
			i := random.IntN(len(contexts))
			if contexts[i] == nil {
				ctx, cancel := context.WithCancelCause(t.Context())
				contexts[i] = &cancellable{ctx, cancel, errors.New("its own cause")}
			}
			ctx := contexts[i]
			result := async(func() error { _, _, err := c.Read(ctx.Context); return err })
			n.awaitReader(t, c)
			switch random.IntN(3) {
			case 0:
				ctx.cancel(ctx.cause)
				if err := <-result; err != ctx.cause {
					t.Fatalf("got %v, want the cause of its context", err)
				}
				contexts[i] = nil
			case 1: // another one ends
				j := (i + 1) % len(contexts)
				if contexts[j] != nil {
					contexts[j].cancel(contexts[j].cause)
					contexts[j] = nil
				}
				fallthrough
			default:
				p.send(p.frame(opText, "x"))
				if err := <-result; err != nil {
					t.Fatalf("got %v, want a message", err)
				}
			}
			n.await(t, "read", func() bool { return c.readMu.state.Load() == unlocked })
		}
	})
}

// The contexts that users make.
type (
	uncomparableContext struct { // comparing two of these panics
		context.Context
		_ []int
	}
	ownDoneContext struct { // not made by package context
		context.Context
		done chan struct{}
	}
	afterFuncContext struct { // tells by itself when it ends
		ownDoneContext
		register func(f func()) (stop func() bool)
	}
	newDoneContext struct { // Done is never the same
		context.Context
	}
)

func (c ownDoneContext) Done() <-chan struct{} { return c.done }

func (c ownDoneContext) Err() error {
	select {
	case <-c.done:
		return errCause
	default:
		return nil
	}
}

func (c afterFuncContext) AfterFunc(f func()) func() bool { return c.register(f) }

func (c newDoneContext) Done() <-chan struct{} {
	done := make(chan struct{})
	context.AfterFunc(c.Context, func() { close(done) })
	return done
}

// contextTypes make a context of each type, and a function that ends it.
var contextTypes = map[string]func(context.Context) (context.Context, func()){
	"uncomparable": func(parent context.Context) (context.Context, func()) {
		ctx, cancel := context.WithCancelCause(parent)
		return uncomparableContext{Context: ctx}, func() { cancel(errCause) }
	},
	"value": func(parent context.Context) (context.Context, func()) {
		ctx, cancel := context.WithCancelCause(parent)
		return context.WithValue(context.WithValue(ctx, contextKey{}, 1), contextKey{}, 2), func() { cancel(errCause) }
	},
	"own done": func(parent context.Context) (context.Context, func()) {
		ctx := ownDoneContext{parent, make(chan struct{})}
		return ctx, func() { close(ctx.done) }
	},
	"value of own done": func(parent context.Context) (context.Context, func()) {
		ctx := ownDoneContext{parent, make(chan struct{})}
		return context.WithValue(ctx, contextKey{}, 1), func() { close(ctx.done) }
	},
	"after func": func(parent context.Context) (context.Context, func()) {
		ctx := afterFuncContext{ownDoneContext: ownDoneContext{parent, make(chan struct{})}}
		var mu sync.Mutex
		var id int
		registered := make(map[int]func())
		ctx.register = func(f func()) func() bool {
			mu.Lock()
			defer mu.Unlock()
			id++
			mine := id
			registered[mine] = f
			return func() bool {
				mu.Lock()
				defer mu.Unlock()
				_, was := registered[mine]
				delete(registered, mine)
				return was
			}
		}
		return ctx, func() {
			close(ctx.done)
			mu.Lock()
			defer mu.Unlock()
			for i, f := range registered {
				delete(registered, i)
				go f()
			}
		}
	},
	"new done": func(parent context.Context) (context.Context, func()) {
		ctx, cancel := context.WithCancelCause(parent)
		return newDoneContext{ctx}, func() { cancel(errCause) }
	},
}

// A context of any type ends a read, and may be used again and again.
func TestContextTypes(t *testing.T) {
	for name, newContext := range contextTypes {
		t.Run(name, func(t *testing.T) {
			onNetworks(t, func(t *testing.T, n network) {
				c, p := n.connect(t, testConfig(serverSide))
				ctx, end := newContext(t.Context())
				for range 4 {
					result := async(func() error { _, _, err := c.Read(ctx); return err })
					n.awaitReader(t, c)
					p.send(p.frame(opText, "x"))
					if err := <-result; err != nil {
						t.Fatal(err)
					}
				}
				result := async(func() error { _, _, err := c.Read(ctx); return err })
				n.awaitReader(t, c)
				end()
				if err := <-result; err != errCause {
					t.Errorf("got %v, want the cause", err)
				}
			})
		})
	}
}

// A kept registration is none that costs a goroutine while nobody reads.
func TestContextsLeaveNoGoroutine(t *testing.T) {
	for name, newContext := range contextTypes {
		if name == "new done" {
			continue // its own goroutines are many
		}
		t.Run(name, func(t *testing.T) {
			awaitQuiet()
			synctest.Test(t, func(t *testing.T) {
				c, p := pipe.connect(t, testConfig(serverSide))
				ctx, end := newContext(t.Context())
				defer end()
				for range 4 {
					result := async(func() error { _, _, err := c.Read(ctx); return err })
					synctest.Wait()
					p.send(p.frame(opText, "x"))
					if err := <-result; err != nil {
						t.Fatal(err)
					}
				}
				synctest.Wait()
				if got := goroutines(); got > 0 {
					t.Errorf("got %d goroutines", got)
				}
			})
		})
	}
}

// "A kept registration is dropped when the connection ends", however that
// comes about, so that a context that outlives it does not hold it.
func TestContextDoesNotHoldConn(t *testing.T) {
	ends := map[string]func(t *testing.T, c *Conn, p *rawPeer){
		"CloseNow": func(t *testing.T, c *Conn, p *rawPeer) { c.CloseNow() },
		"Close": func(t *testing.T, c *Conn, p *rawPeer) {
			p.send(p.closeFrame(StatusNormalClosure, ""))
			c.Close(StatusNormalClosure, "")
		},
		"Close without an answer": func(t *testing.T, c *Conn, p *rawPeer) {
			c.Close(StatusNormalClosure, "")
		},
		"Ping timeout": func(t *testing.T, c *Conn, p *rawPeer) {
			go c.Read(context.Background())
			time.Sleep(3 * time.Hour)
		},
		"WriteTimeout": func(t *testing.T, c *Conn, p *rawPeer) {
			<-pipe.jam(t, c, p)
		},
		"Abort": func(t *testing.T, c *Conn, p *rawPeer) {
			w, _ := c.NextWriter(t.Context(), MessageText)
			w.Write(make([]byte, 2*fragmentLength))
			w.Abort()
		},
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				cfg := testConfig(serverSide)
				cfg.pingInterval, cfg.pingTimeout = time.Hour, time.Hour
				a, b := testnet.Pipe()
				c, p := newConn(a, nil, cfg), newRawPeer(t, b, serverSide)
				for range 3 {
					result := async(func() error { _, _, err := c.Read(ctx); return err })
					synctest.Wait()
					p.send(p.frame(opText, "x"))
					if err := <-result; err != nil {
						t.Fatal(err)
					}
				}
				if !keeps(c) {
					t.Fatal("the registration was not kept")
				}
				end(t, c, p)
				<-c.Done()
				b.Close()
				synctest.Wait()
				time.Sleep(2 * defaultCloseTimeout)
				if keeps(c) {
					t.Error("the registration is still kept")
				}
				conn := weak.Make(c)
				c = nil
				for range 3 {
					runtime.GC()
				}
				if conn.Value() != nil {
					t.Error("something holds the Conn")
				}
			})
		})
	}
}

// keeps reports whether c keeps a registration with a context.
func keeps(c *Conn) bool {
	c.readMu.lock(nil)
	defer c.readMu.unlock()
	return c.readGuards.kept != nil
}

// "A kept registration is dropped [...] at the ping tick", and
// then made again.
func TestContextDroppedAtTick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig(serverSide)
		cfg.pingInterval, cfg.pingTimeout = time.Minute, time.Minute
		c, p := pipe.connect(t, cfg)
		ctx, cancel := context.WithCancelCause(t.Context())
		for range 2 {
			for range 3 {
				result := async(func() error { _, _, err := c.Read(ctx); return err })
				synctest.Wait()
				p.send(p.frame(opText, "x"))
				if err := <-result; err != nil {
					t.Fatal(err)
				}
			}
			if !keeps(c) {
				t.Fatal("the registration was not kept")
			}
			time.Sleep(time.Minute + time.Second)
			synctest.Wait()
			if keeps(c) {
				t.Fatal("the registration outlives the tick")
			}
			p.wantPing()
		}
		result := async(func() error { _, _, err := c.Read(ctx); return err })
		synctest.Wait()
		cancel(errCause)
		if err := <-result; err != errCause {
			t.Errorf("got %v, want the cause", err)
		}
	})
}

// There is one reader at a time. The others are told at once, and
// do not disturb it.
func TestErrConcurrentRead(t *testing.T) {
	onNetworks(t, func(t *testing.T, n network) {
		c, p := n.connect(t, testConfig(serverSide))
		p.send(p.frame(opText, "first"))
		_, r, err := c.NextReader(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, first := range readWays {
			result := async(func() error {
				typ, data, err := first.read(t.Context(), c)
				if err == nil && (typ != MessageText || string(data) != "next") {
					t.Errorf("%s: got %v %q", first.name, typ, data)
				}
				return err
			})
			n.awaitReader(t, c)
			for _, second := range readWays {
				if _, _, err := second.read(t.Context(), c); err != ErrConcurrentRead {
					t.Errorf("%s during %s: got %v, want ErrConcurrentRead", second.name, first.name, err)
				}
			}
			if _, err := r.Read(make([]byte, 1)); err != ErrConcurrentRead {
				t.Errorf("MessageReader during %s: got %v, want ErrConcurrentRead", first.name, err)
			}
			ctx := c.CloseRead(t.Context())
			if <-ctx.Done(); context.Cause(ctx) != ErrConcurrentRead {
				t.Errorf("CloseRead during %s: got %v, want ErrConcurrentRead", first.name, context.Cause(ctx))
			}
			p.send(p.frame(opText, "next"))
			if err := <-result; err != nil {
				t.Errorf("%s: %v", first.name, err)
			}
			n.await(t, "read", func() bool { return !c.reserved.Load() })
		}
		if _, err := r.Read(make([]byte, 1)); err == nil || err == io.EOF || err == ErrConcurrentRead {
			t.Errorf("MessageReader of a message that was discarded: got %v", err)
		}
	})
}

// "in the body, reads fail with ErrConcurrentRead, writes and
// closes are allowed."
func TestMessagesBody(t *testing.T) {
	onNetworks(t, func(t *testing.T, n network) {
		c, p := n.connect(t, testConfig(serverSide))
		p.send(p.frame(opText, "one"), p.frame(opText, "two"))
		turns := 0
		for m, err := range c.Messages(t.Context()) {
			turns++
			if err != nil {
				t.Fatal(err)
			}
			for _, way := range readWays {
				if _, _, err := way.read(t.Context(), c); err != ErrConcurrentRead {
					t.Errorf("%s: got %v, want ErrConcurrentRead", way.name, err)
				}
			}
			if err := c.Write(t.Context(), m.Type, m.Data); err != nil {
				t.Error(err)
			}
			if turns == 2 {
				p.send(p.closeFrame(StatusNormalClosure, ""))
				if err := c.Close(StatusNormalClosure, ""); err != nil {
					t.Error(err)
				}
			}
		}
		if turns != 2 {
			t.Errorf("got %d turns, want 2", turns)
		}
		p.want(opText, "one")
		p.want(opText, "two")
		p.wantClose(StatusNormalClosure)
	})
}

// The Data of a message is valid in the body and may be changed, whatever comes behind
// it and whatever the connection, or another one that shares
// its buffers, does meanwhile.
func TestMessagesData(t *testing.T) {
	onNetworks(t, func(t *testing.T, n network) {
		c, p := n.connect(t, testConfig(serverSide))
		other, otherPeer := n.connect(t, testConfig(serverSide))
		var stream []byte
		for i := range 5 {
			stream = append(stream, p.frame(opText, strings.Repeat(string('a'+rune(i)), 50))...)
			stream = append(stream, p.frame(opPing, "ping")...)
		}
		p.send(stream)
		i := 0
		for m, err := range c.Messages(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			want := strings.Repeat(string('a'+rune(i)), 50)
			c.Write(t.Context(), m.Type, m.Data)
			for range 3 {
				otherPeer.send(otherPeer.frame(opText, strings.Repeat("z", 3000)))
				other.Read(t.Context())
			}
			if string(m.Data) != want {
				t.Errorf("got %.20q, want %.20q", m.Data, want)
			}
			if i++; i == 3 {
				p.send(bytes.Repeat(p.frame(opText, strings.Repeat("y", 900)), 60), p.closeFrame(StatusNormalClosure, ""))
				if err := c.Close(StatusNormalClosure, ""); err != nil {
					t.Error(err)
				}
				for range 3 {
					otherPeer.send(otherPeer.frame(opText, strings.Repeat("z", 3000)))
					other.Read(t.Context())
				}
			}
			if string(m.Data) != want {
				t.Errorf("got %.20q, want %.20q", m.Data, want)
			}
			clear(m.Data[:cap(m.Data)])
		}
		if i != 3 {
			t.Errorf("got %d turns, want 3", i)
		}
	})
}

// The same while other goroutines write to the connection, close it, and use up
// the buffers that they can get.
func TestMessagesDataWhileOthersClose(t *testing.T) {
	for _, n := range []network{tcp, tls_} {
		var connections sync.WaitGroup
		for i := range 5 {
			server, client := n.connectBoth(t, testConfig(0))
			connections.Go(func() {
				for j := 0; ; j++ {
					data := bytes.Repeat([]byte{byte(j)}, 1+j*j%5000)
					if client.WriteBatch(t.Context(), Message{MessageBinary, data}, Message{MessageBinary, data[:len(data)/2]}) != nil {
						return
					}
				}
			})
			connections.Go(func() {
				received := 0
				for m, err := range server.Messages(t.Context()) {
					if err != nil {
						t.Error(err)
						return
					}
					if received++; received == 50+i {
						go server.Close(StatusNormalClosure, "")
					}
					first := bytes.Clone(m.Data[:min(1, len(m.Data))])
					for range 3 {
						runtime.Gosched()
						if bytes.Count(m.Data, first) < len(m.Data) {
							t.Errorf("message %d was changed", received)
							return
						}
					}
				}
				if received < 50+i {
					t.Errorf("got %d messages", received)
				}
			})
			connections.Go(func() {
				for {
					if _, _, err := client.Read(t.Context()); err != nil {
						return
					}
				}
			})
		}
		connections.Wait()
	}
}

// A loop that is left early, by break or by panic, leaves the connection usable. The
// next goes on behind the message that came last.
func TestMessagesLeft(t *testing.T) {
	onNetworks(t, func(t *testing.T, n network) {
		c, p := n.connect(t, testConfig(clientSide))
		p.send(p.frame(opText, "one"), p.frame(opText, "two"), p.frame(opText, "three"), p.frame(opText, "four"))
		next := func() (got string) {
			for m, err := range c.Messages(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				return string(m.Data)
			}
			return ""
		}
		if got := next(); got != "one" {
			t.Errorf("got %q", got)
		}
		func() {
			defer func() { recover() }()
			for m := range c.Messages(t.Context()) {
				panic(string(m.Data))
			}
		}()
		if got := next(); got != "three" {
			t.Errorf("after a panic got %q", got)
		}
		typ, data, err := c.Read(t.Context())
		wantRead(t, typ, data, err, "four")
	})
}

// "After [...] the end of ctx, the connection is as usable as before." The context is
// looked at in every turn, even if there is no need to wait.
func TestMessagesContext(t *testing.T) {
	onNetworks(t, func(t *testing.T, n network) {
		c, p := n.connect(t, testConfig(serverSide))
		p.send(bytes.Repeat(p.frame(opText, "x"), 4))
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		turns := 0
		var errs []error
		for _, err := range c.Messages(ctx) {
			if err != nil {
				errs = append(errs, err)
				continue
			}
			if turns++; turns == 2 {
				cancel(errCause)
			}
		}
		if turns != 2 || len(errs) != 1 || errs[0] != errCause {
			t.Errorf("got %d messages and errors %v, want 2 and the cause", turns, errs)
		}
		for m, err := range c.Messages(t.Context()) {
			wantRead(t, m.Type, m.Data, err, "x")
			if turns++; turns == 4 {
				break
			}
		}
	})
}

// "Messages ends quietly on 1000, 1001, 1005 [...] and after our own Close." Other
// ends are yielded, once, and again by the next loop.
func TestMessagesEnd(t *testing.T) {
	closeWith := func(code StatusCode) func(*Conn, *rawPeer) {
		return func(c *Conn, p *rawPeer) { p.send(p.closeFrame(code, "")) }
	}
	for _, test := range []struct {
		name  string
		end   func(c *Conn, p *rawPeer)
		quiet bool
		code  StatusCode
	}{
		{"1000", closeWith(StatusNormalClosure), true, StatusNormalClosure},
		{"1001", closeWith(StatusGoingAway), true, StatusGoingAway},
		{"1005", closeWith(StatusNoStatusReceived), true, StatusNoStatusReceived},
		{"1002", closeWith(StatusProtocolError), false, StatusProtocolError},
		{"1011", closeWith(StatusInternalError), false, StatusInternalError},
		{"4000", closeWith(4000), false, 4000},
		{"EOF", func(c *Conn, p *rawPeer) { closeNow(p.Conn) }, false, StatusAbnormalClosure},
		{"protocol error", func(c *Conn, p *rawPeer) { p.send(p.frame(opPing|1<<1, "")) }, false, StatusProtocolError},
		{"Close", func(c *Conn, p *rawPeer) {
			go c.Close(StatusGoingAway, "")
			p.wantClose(StatusGoingAway)
			p.send(p.closeFrame(4000, "any"))
		}, true, 4000},
		{"Close without an answer", func(c *Conn, p *rawPeer) {
			c.Close(StatusGoingAway, "")
		}, true, StatusAbnormalClosure},
		{"CloseNow", func(c *Conn, p *rawPeer) { c.CloseNow() }, true, StatusAbnormalClosure},
	} {
		t.Run(test.name, func(t *testing.T) {
			onNetworks(t, func(t *testing.T, n network) {
				cfg := testConfig(serverSide)
				cfg.closeTimeout = 50 * time.Millisecond
				if test.code == 4000 {
					cfg.closeTimeout = defaultCloseTimeout
				}
				c, p := n.connect(t, cfg)
				p.send(p.frame(opText, "last"))
				messages := make(chan Message, 10)
				loop := func() (errs []error) {
					for m, err := range c.Messages(t.Context()) {
						if err != nil {
							errs = append(errs, err)
						} else {
							messages <- m
						}
					}
					return errs
				}
				first := async(loop)
				<-messages
				n.awaitReader(t, c)
				test.end(c, p)
				for _, errs := range [][]error{<-first, loop()} {
					if test.quiet && len(errs) > 0 || !test.quiet && (len(errs) != 1 || errs[0] != c.Err()) {
						t.Errorf("got errors %v", errs)
					}
				}
				if len(messages) > 0 {
					t.Errorf("got %d messages more", len(messages))
				}
				wantStatus(t, c.Err(), test.code)
			})
		})
	}
}

// "Another read call discards the rest of an unfinished MessageReader", in whichever
// way it reads; "the old reader then errs".
func TestMessageReaderAbandoned(t *testing.T) {
	onNetworks(t, func(t *testing.T, n network) {
		c, p := n.connect(t, testConfig(serverSide))
		for _, way := range readWays {
			for _, readBefore := range []int{0, 1, 6} {
				p.send(p.fragment(opText, "a long "), p.frame(opPing, way.name),
					p.frame(opContinuation, strings.Repeat("story", 10000)), p.frame(opText, "next"))
				_, r, err := c.NextReader(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(r, make([]byte, readBefore)); err != nil {
					t.Fatal(err)
				}
				typ, data, err := way.read(t.Context(), c)
				wantRead(t, typ, data, err, "next")
				p.want(opPong, way.name)
				for range 2 {
					if k, err := r.Read(make([]byte, 10)); k != 0 || err == nil || err == io.EOF || err == ErrConcurrentRead {
						t.Errorf("the old reader after %s: got %d, %v", way.name, k, err)
					}
				}
			}
		}
	})
}

// A read that is cut short while it discards has begun to: the old
// reader would otherwise go on behind the hole.
func TestMessageReaderAbandonedCutShort(t *testing.T) {
	for _, way := range readWays {
		t.Run(way.name, func(t *testing.T) {
			onNetworks(t, func(t *testing.T, n network) {
				c, p := n.connect(t, testConfig(serverSide))
				frame := p.frame(opText, "abcdef")
				p.send(frame[:len(frame)-4])
				_, r, err := c.NextReader(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(r, make([]byte, 2)); err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				result := async(func() error { _, _, err := way.read(ctx, c); return err })
				n.awaitReader(t, c)
				last := c.LastRead()
				p.send(frame[len(frame)-4 : len(frame)-2])
				n.await(t, "reading again", func() bool { return c.LastRead() != last || n.bubble })
				n.awaitReader(t, c)
				cancel()
				if err := <-result; err != context.Canceled {
					t.Fatalf("got %v, want context.Canceled", err)
				}
				p.send(frame[len(frame)-2:], p.frame(opText, "next"))
				if k, err := r.Read(make([]byte, 10)); k != 0 || err == nil || err == io.EOF {
					t.Errorf("the old reader: got %d, %v", k, err)
				}
				typ, data, err := way.read(t.Context(), c)
				wantRead(t, typ, data, err, "next")
			})
		})
	}
}

// What a read that was cut short has kept goes too, if another read
// discards the rest of its message.
func TestMessageReaderAbandonedAfterCutShort(t *testing.T) {
	onNetworks(t, func(t *testing.T, n network) {
		c, p := n.connect(t, testConfig(serverSide))
		frame := p.frame(opText, "abcdef")
		p.send(frame[:len(frame)-2])
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if _, _, err := c.Read(ctx); err != context.DeadlineExceeded {
			t.Fatal(err)
		}
		typ, r, err := c.NextReader(t.Context())
		if err != nil || typ != MessageText {
			t.Fatal(typ, err)
		}
		b := make([]byte, 2)
		if k, err := r.Read(b); string(b[:k]) != "ab" || err != nil {
			t.Fatalf("got %q, %v", b[:k], err)
		}
		p.send(frame[len(frame)-2:], p.frame(opText, "next"))
		typ, data, err := c.Read(t.Context())
		wantRead(t, typ, data, err, "next")
	})
}

// What is discarded counts against the limit, and is checked
// to be UTF-8, like what is read.
func TestDiscardedIsChecked(t *testing.T) {
	for name, test := range map[string]struct {
		rest string
		code StatusCode
	}{
		"limit": {strings.Repeat("x", 100), StatusMessageTooBig},
		"UTF-8": {"\xff", StatusInvalidFramePayloadData},
	} {
		t.Run(name, func(t *testing.T) {
			onNetworks(t, func(t *testing.T, n network) {
				cfg := testConfig(serverSide)
				cfg.readLimit = 100
				c, p := n.connect(t, cfg)
				p.send(p.fragment(opText, "begun"))
				if _, _, err := c.NextReader(t.Context()); err != nil {
					t.Fatal(err)
				}
				p.send(p.fragment(opContinuation, test.rest))
				_, _, err := c.Read(t.Context())
				wantStatus(t, err, test.code)
				p.wantClose(test.code)
			})
		})
	}
}

// A MessageReader hands out a message as it comes.
func TestMessageReaderStreams(t *testing.T) {
	onNetworks(t, func(t *testing.T, n network) {
		c, p := n.connect(t, testConfig(serverSide))
		frame := p.frame(opText, "streamed")
		p.send(frame[:len(frame)-8])
		typ, r, err := c.NextReader(t.Context())
		if err != nil || typ != MessageText {
			t.Fatal(typ, err)
		}
		if k, err := r.Read(nil); k != 0 || err != nil {
			t.Errorf("Read of nothing: got %d, %v", k, err)
		}
		for i := len(frame) - 8; i < len(frame); i += 2 {
			p.send(frame[i : i+2])
			b := make([]byte, 2)
			if _, err := io.ReadFull(r, b); err != nil {
				t.Fatal(err)
			}
			if want := "streamed"[i-len(frame)+8:][:2]; string(b) != want {
				t.Errorf("got %q, want %q", b, want)
			}
		}
		for range 2 {
			if k, err := r.Read(make([]byte, 1)); k != 0 || err != io.EOF {
				t.Errorf("at the end: got %d, %v", k, err)
			}
		}
	})
}

// An empty message is one to every way of reading.
func TestReadEmptyMessage(t *testing.T) {
	onNetworks(t, func(t *testing.T, n network) {
		c, p := n.connect(t, testConfig(serverSide))
		for _, way := range readWays {
			p.send(p.frame(opText, ""), p.fragment(opText, ""), p.frame(opContinuation, ""))
			for range 2 {
				typ, data, err := way.read(t.Context(), c)
				wantRead(t, typ, data, err, "")
			}
		}
	})
}

// "Whole messages received before an end are delivered before the error",
// if the peer just goes away.
func TestReadBeforeEOF(t *testing.T) {
	for _, way := range readWays {
		t.Run(way.name, func(t *testing.T) {
			onNetworks(t, func(t *testing.T, n network) {
				c, p := n.connect(t, testConfig(serverSide))
				sendThree(p)
				closeNow(p.Conn)
				wantThree(t, c, way.read)
			})
		})
	}
}

func sendThree(p *rawPeer) {
	p.t.Helper()
	p.send(p.frame(opText, "one"), p.fragment(opText, "tw"), p.frame(opContinuation, "o"), p.frame(opText, "three"), p.fragment(opText, "not whole"))
}

// wantThree checks that c reads what sendThree sent, and then
// the end of the connection.
func wantThree(t *testing.T, c *Conn, read func(context.Context, *Conn) (MessageType, []byte, error)) {
	t.Helper()
	for _, want := range []string{"one", "two", "three"} {
		typ, data, err := read(t.Context(), c)
		wantRead(t, typ, data, err, want)
	}
	for range 2 {
		_, _, err := read(t.Context(), c)
		wantStatus(t, err, StatusAbnormalClosure)
		if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || err != c.Err() {
			t.Errorf("got %v", err)
		}
	}
}

// The same if the peer resets the connection. (A kernel may take from us what we had
// not read by then; Linux does not.)
func TestReadBeforeReset(t *testing.T) {
	for _, way := range readWays {
		t.Run(way.name, func(t *testing.T) {
			c, p := tcp.connect(t, testConfig(serverSide))
			sendThree(p)
			typ, data, err := way.read(t.Context(), c)
			wantRead(t, typ, data, err, "one") // and the others lie in the Conn
			p.Conn.(*net.TCPConn).SetLinger(0)
			p.Close()
			for _, want := range []string{"two", "three"} {
				typ, data, err := way.read(t.Context(), c)
				wantRead(t, typ, data, err, want)
			}
			_, _, err = way.read(t.Context(), c)
			wantStatus(t, err, StatusAbnormalClosure)
		})
	}
}

// The same if it is a writer who finds that the network is lost, at
// whichever moment between the reads.
func TestReadBeforeFailedWrite(t *testing.T) {
	for _, way := range readWays {
		for before := range 3 {
			t.Run(way.name, func(t *testing.T) {
				onNetworks(t, func(t *testing.T, n network) {
					cfg := testConfig(serverSide)
					cfg.writeTimeout = 50 * time.Millisecond
					c, p := n.connect(t, cfg)
					messages := []string{"one", "two", "three"}
					p.send(p.frame(opText, "one"), p.frame(opText, "two"), p.frame(opText, "three"))
					for i, want := range messages {
						typ, data, err := way.read(t.Context(), c)
						wantRead(t, typ, data, err, want)
						if i == before {
							err := c.Write(t.Context(), MessageBinary, make([]byte, 16<<20))
							wantStatus(t, err, StatusAbnormalClosure)
						}
					}
					_, _, err := way.read(t.Context(), c)
					if err != c.Err() {
						t.Errorf("got %v, want %v", err, c.Err())
					}
				})
			})
		}
	}
}

// LastRead is when the last byte came, be it of a message or not.
func TestLastRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		born := time.Now()
		c, p := pipe.connect(t, testConfig(serverSide))
		check := func(want time.Time) {
			t.Helper()
			synctest.Wait()
			if got := c.LastRead(); !got.Equal(want) {
				t.Errorf("got %v after the start, want %v", got.Sub(born), want.Sub(born))
			}
		}
		time.Sleep(time.Second)
		check(born)
		go c.Read(t.Context())
		time.Sleep(time.Second)
		check(born)
		for _, b := range p.frame(opPing, "x") {
			time.Sleep(time.Second)
			p.send([]byte{b})
			check(time.Now())
		}
		last := time.Now()
		time.Sleep(time.Second)
		c.CloseNow()
		check(last)
	})
}

// The end of a context that came with CloseRead leaves the connection open
// and readable, as soon as the context that it returned is done.
func TestCloseReadContext(t *testing.T) {
	onNetworks(t, func(t *testing.T, n network) {
		c, p := n.connect(t, testConfig(serverSide))
		for range 20 {
			ctx, cancel := context.WithCancelCause(t.Context())
			reading := c.CloseRead(ctx)
			n.awaitReader(t, c)
			if _, _, err := c.Read(t.Context()); err != ErrConcurrentRead {
				t.Fatalf("got %v, want ErrConcurrentRead", err)
			}
			p.send(p.frame(opPing, "answered"))
			p.want(opPong, "answered")
			cancel(errCause)
			<-reading.Done()
			if cause := context.Cause(reading); cause != errCause {
				t.Fatalf("got cause %v, want that of the context", cause)
			}
			p.send(p.frame(opText, "read"))
			typ, data, err := c.Read(t.Context())
			wantRead(t, typ, data, err, "read")
		}
		if err := c.Err(); err != nil {
			t.Error(err)
		}
	})
}

// CloseRead's context has the values of the one it was made of.
func TestCloseReadValues(t *testing.T) {
	c, _ := tcp.connect(t, testConfig(serverSide))
	ctx := c.CloseRead(context.WithValue(t.Context(), contextKey{}, "value"))
	if got := ctx.Value(contextKey{}); got != "value" {
		t.Errorf("got %v", got)
	}
}

// "a data message ends the connection with 1008", and the context that CloseRead
// returned ends with the connection, however that ends.
func TestCloseReadEnds(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(c *Conn, p *rawPeer)
		code StatusCode
	}{
		{"message", func(c *Conn, p *rawPeer) { p.send(p.fragment(opText, "x")) }, StatusPolicyViolation},
		{"empty message", func(c *Conn, p *rawPeer) { p.send(p.frame(opText, "")) }, StatusPolicyViolation},
		{"the peer's Close", func(c *Conn, p *rawPeer) { p.send(p.closeFrame(4321, "")) }, 4321},
		{"EOF", func(c *Conn, p *rawPeer) { closeNow(p.Conn) }, StatusAbnormalClosure},
		{"CloseNow", func(c *Conn, p *rawPeer) { c.CloseNow() }, StatusAbnormalClosure},
		{"Close", func(c *Conn, p *rawPeer) {
			go c.Close(StatusGoingAway, "")
			p.wantClose(StatusGoingAway)
			p.send(p.closeFrame(StatusGoingAway, ""))
		}, StatusGoingAway},
	} {
		t.Run(test.name, func(t *testing.T) {
			onNetworks(t, func(t *testing.T, n network) {
				c, p := n.connect(t, testConfig(serverSide))
				ctx := c.CloseRead(t.Context())
				n.awaitReader(t, c)
				test.end(c, p)
				<-ctx.Done()
				wantStatus(t, c.Err(), test.code)
				if got := context.Cause(ctx); got != c.Err() {
					t.Errorf("got cause %v, want %v", got, c.Err())
				}
				if test.code == StatusPolicyViolation {
					p.wantClose(test.code)
				}
				if again := c.CloseRead(t.Context()); true {
					<-again.Done()
					if got := context.Cause(again); got != c.Err() {
						t.Errorf("CloseRead after the end: got cause %v, want %v", got, c.Err())
					}
				}
			})
		})
	}
}

// What CloseRead has begun to discard, because we are closing, is not given to a
// read that comes later.
func TestCloseReadLeavesNoHalf(t *testing.T) {
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			c, p := pipe.connect(t, testConfig(serverSide))
			ctx, cancel := context.WithCancel(t.Context())
			reading := c.CloseRead(ctx)
			synctest.Wait()
			closing := async(func() error { return c.Close(StatusNormalClosure, "") })
			p.wantClose(StatusNormalClosure)
			frame := p.frame(opText, "0123456789")
			p.send(frame[:len(frame)-5])
			later := async(func() string {
				<-reading.Done()
				_, data, _ := c.Read(t.Context())
				return string(data)
			})
			synctest.Wait()
			cancel()
			synctest.Wait()
			p.send(frame[len(frame)-5:], p.closeFrame(StatusNormalClosure, ""))
			if err := <-closing; err != nil {
				t.Error(err)
			}
			if got := <-later; got != "" {
				t.Errorf("read %q", got)
			}
		})
	}
}

// A declared length costs nothing until it is sent.
func TestDeclaredLengthCostsNothing(t *testing.T) {
	const declared = 60 << 20
	for _, way := range readWays {
		onNetworks(t, func(t *testing.T, n network) {
			cfg := testConfig(serverSide)
			cfg.readLimit = -1
			c, p := n.connect(t, cfg)
			h := appendHeader(nil, header{fin: true, opcode: opBinary, masked: true, payloadLength: declared})
			p.send(h, []byte("only this"))
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, _, err := way.read(ctx, c)
			runtime.ReadMemStats(&after)
			if err != context.DeadlineExceeded {
				t.Fatalf("%s: %v", way.name, err)
			}
			if got := after.TotalAlloc - before.TotalAlloc; got > 1<<20 {
				t.Errorf("%s: %d bytes were allocated", way.name, got)
			}
		})
	}
}

// A deadlineFree network connection has no read deadlines, or none at all.
type deadlineFree struct {
	net.Conn
	writes bool // it has write deadlines
}

func (c deadlineFree) SetDeadline(time.Time) error     { return errors.ErrUnsupported }
func (c deadlineFree) SetReadDeadline(time.Time) error { return errors.ErrUnsupported }

func (c deadlineFree) SetWriteDeadline(t time.Time) error {
	if c.writes {
		return c.Conn.SetWriteDeadline(t)
	}
	return errors.ErrUnsupported
}

// withoutDeadlines runs test over networks without deadlines.
func withoutDeadlines(t *testing.T, test func(t *testing.T, n network)) {
	for _, writes := range []bool{false, true} {
		onNetworks(t, func(t *testing.T, n network) {
			dial := n.dial
			n.dial = func(t testing.TB, s side) (endpoint, peer net.Conn) {
				endpoint, peer = dial(t, s)
				return deadlineFree{endpoint, writes}, peer
			}
			test(t, n)
		})
	}
}

// "on a net.Conn whose SetReadDeadline fails [...] a cancelled Read just stops
// waiting": nothing is lost by that either.
func TestNoDeadlinesCancelledRead(t *testing.T) {
	withoutDeadlines(t, func(t *testing.T, n network) {
		c, p := n.connect(t, testConfig(serverSide))
		want, wire, pings := threeMessages(p, 10)
		r := &mixedReader{c: c, random: rand.New(rand.NewPCG(1, 2))}
		for i := range wire {
			ctx, cancel := context.WithCancel(t.Context())
			result := async(func() error { return r.read(ctx) })
			n.awaitReader(t, c)
			p.send(wire[i : i+1])
			if n.bubble {
				synctest.Wait()
			}
			cancel()
			if err := <-result; err != context.Canceled {
				t.Fatalf("byte %d: got %v, want context.Canceled", i, err)
			}
		}
		p.send(p.closeFrame(StatusNormalClosure, ""))
		wantStatus(t, r.read(t.Context()), StatusNormalClosure)
		checkMessages(t, r.got, want)
		wantPongs(t, p, pings)
		p.CloseWrite(t)
		n.await(t, "closed", c.closed.Load)
	})
}

// It reads ahead no more than it must, and its goroutine ends with the connection.
func TestNoDeadlinesBounded(t *testing.T) {
	awaitQuiet()
	synctest.Test(t, func(t *testing.T) {
		a, b := testnet.Pipe()
		c, p := connectOver(t, deadlineFree{a, false}, b, testConfig(serverSide))
		p.send(p.frame(opText, "one"))
		if _, _, err := c.Read(t.Context()); err != nil {
			t.Fatal(err)
		}
		sending := async(func() error {
			_, err := p.Write(bytes.Repeat(p.frame(opText, strings.Repeat("x", 100)), 2000))
			return err
		})
		time.Sleep(time.Hour)
		select {
		case err := <-sending:
			t.Errorf("200 KB were read with nobody reading: %v", err)
		default:
		}
		for range 2000 {
			if _, _, err := c.Read(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		<-sending
		synctest.Wait()
		if got := goroutines(); got != 1 {
			t.Errorf("got %d goroutines, want one", got)
		}
		c.CloseNow()
		synctest.Wait()
		if got := goroutines(); got != 0 {
			t.Errorf("got %d goroutines after CloseNow", got)
		}
	})
}

// The other rules hold as well: messages before the end, keepalive, CloseTimeout.
func TestNoDeadlinesEnds(t *testing.T) {
	withoutDeadlines(t, func(t *testing.T, n network) {
		c, p := n.connect(t, testConfig(serverSide))
		sendThree(p)
		closeNow(p.Conn)
		wantThree(t, c, readWays[0].read)

		cfg := testConfig(serverSide)
		cfg.pingInterval, cfg.pingTimeout = 30*time.Millisecond, 30*time.Millisecond
		start := time.Now()
		c, _ = n.connect(t, cfg)
		_, _, err := c.Read(t.Context())
		wantStatus(t, err, StatusAbnormalClosure)
		n.took(t, start, 60*time.Millisecond)

		cfg = testConfig(serverSide)
		cfg.closeTimeout = 50 * time.Millisecond
		start = time.Now()
		c, _ = n.connect(t, cfg)
		wantStatus(t, c.Close(StatusNormalClosure, ""), StatusAbnormalClosure)
		n.took(t, start, cfg.closeTimeout)
	})
}

// A Write that is stuck ends with its context, or with WriteTimeout, and the
// connection with it where nothing else can end it.
func TestNoDeadlinesWrite(t *testing.T) {
	withoutDeadlines(t, func(t *testing.T, n network) {
		cfg := testConfig(serverSide)
		cfg.writeTimeout = 50 * time.Millisecond
		c, p := n.connect(t, cfg)
		start := time.Now()
		wantStatus(t, <-n.jam(t, c, p), StatusAbnormalClosure)
		n.took(t, start, cfg.writeTimeout)

		c, p = n.connect(t, testConfig(serverSide))
		ctx, cancel := context.WithCancelCause(t.Context())
		writing := async(func() error { return c.Write(ctx, MessageBinary, make([]byte, jamLength)) })
		if _, err := p.frames.Peek(1); err != nil {
			t.Fatal(err)
		}
		cancel(errCause)
		if err := <-writing; !errors.Is(err, errCause) || err != c.Err() {
			t.Errorf("got %v, want the cause", err)
		}
		if !c.closed.Load() {
			t.Error("the socket is open")
		}
	})
}

// A message is there when its last byte is, whatever has come of the next.
func TestPartOfTheNext(t *testing.T) {
	onNetworks(t, func(t *testing.T, n network) {
		c, p := n.connect(t, testConfig(serverSide))
		for _, size := range []int{0, 10, 51, 52, 56, 57, 58, 59, 125, 126, 1000, directLength} {
			for _, next := range []int{0, 10, 200, directLength, readBufferLength + 1} {
				first, second := strings.Repeat("1", size), strings.Repeat("2", next)
				frame := p.frame(opText, second)
				for _, part := range []int{1, 2, 5, 7, len(frame) / 2, len(frame) - 1} {
					p.send(append(p.frame(opText, first), frame[:min(part, len(frame)-1)]...))
					typ, data, err := c.Read(t.Context())
					wantRead(t, typ, data, err, first)
					p.send(frame[min(part, len(frame)-1):])
					typ, data, err = c.Read(t.Context())
					wantRead(t, typ, data, err, second)
				}
			}
		}
	})
}

// After a read that filled its buffer comes one that has a longer one; after one that did not,
// the shorter is enough again.
func TestLongBuffer(t *testing.T) {
	c, p := tcp.connect(t, testConfig(serverSide))
	const most = 2000
	var sent []byte
	for i := range 2 * longBufferLength / 1000 {
		sent = append(sent, p.frame(opBinary, string(numbered(0, i, 8+i*7%most)))...)
	}
	written := async(func() error { _, err := p.Write(append(sent, p.frame(opBinary, "the last")...)); return err })
	select {
	case <-written:
	case <-time.After(time.Second): // the kernel has as much as it takes
	}
	lengths := map[int]bool{}
	n := 0
	for m, err := range c.Messages(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if string(m.Data) == "the last" {
			break
		}
		if want := numbered(0, n, 8+n*7%most); !bytes.Equal(m.Data, want) {
			t.Fatalf("got message %d as %.40q, want %.40q", n, m.Data, want)
		}
		n++
		if c.input.buf != nil {
			lengths[len(*c.input.buf)] = true
		}
	}
	if !lengths[readBufferLength] || !lengths[longBufferLength] {
		t.Errorf("got buffers of %v bytes, want of %d and of %d", lengths, readBufferLength, longBufferLength)
	}
	for range 2 {
		p.send(p.frame(opText, "alone"))
		typ, data, err := c.Read(t.Context())
		wantRead(t, typ, data, err, "alone")
	}
	if c.input.full || c.input.buf != nil {
		t.Errorf("after a short read, the next has a long buffer (%v), and %p is held", c.input.full, c.input.buf)
	}
}
