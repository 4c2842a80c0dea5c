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
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestSoak has 1,000 clients talk to a server that echoes, in every way that there is to read
// and to write: fragmented, batched, held, prepared, pinged, slow, cancelled; and end each connection
// politely, by halves or not at all, and then dial again. Every byte has to come back as it was
// sent, and when all is over, no goroutine, descriptor or timer is left.
//
// It takes three seconds, or what the environment says, and so does its seed:
//
//	WEBSOCKET_SOAK=60s WEBSOCKET_SOAK_SEED=7 go test -run TestSoak -v .
//
// Under the race detector there are 250 clients.
func TestSoak(t *testing.T) {
	s := &soak{t: t, duration: soakDuration(t, 3*time.Second), seed: 1, clients: 1000}
	if v := os.Getenv("WEBSOCKET_SOAK_SEED"); v != "" {
		seed, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		s.seed = seed
	}
	if raceEnabled() {
		s.clients = 250
	}
	before := takeInventory()
	s.run()
	over := time.Now()
	before.wantBack(t)
	t.Logf("everything was gone %v later", time.Since(over))
	t.Logf("seed %d: %s", s.seed, s.summary())
}

// soakDuration returns how long a test is to take.
func soakDuration(t *testing.T, normally time.Duration) time.Duration {
	v := os.Getenv("WEBSOCKET_SOAK")
	if v == "" {
		return normally
	}
	d, err := time.ParseDuration(v)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// soakPatience is how long after the end everything may take to end. A handshake at the beginning
// or the end of a connection may take half of it, on a machine that has other things to do.
const soakPatience = 60 * time.Second

type soak struct {
	t        *testing.T
	duration time.Duration
	seed     uint64
	clients  int

	url     string
	serving sync.WaitGroup
	until   time.Time
	ctx     context.Context // ends when something hangs

	conns, messages, bytes, cancelled, pings atomic.Int64

	mu      sync.Mutex
	ends    map[string]int
	slowest time.Duration // of the closing handshakes
}

func (s *soak) run() {
	var cancel context.CancelFunc
	s.until = time.Now().Add(s.duration)
	s.ctx, cancel = context.WithDeadlineCause(context.Background(), s.until.Add(soakPatience), errors.New("it hangs"))
	defer cancel()
	s.ends = make(map[string]int)

	u := Upgrader{PingInterval: 500 * time.Millisecond, HandshakeTimeout: soakPatience / 2, CloseTimeout: soakPatience / 2}
	batching := u
	batching.Batching = true
	mux := http.NewServeMux()
	mux.Handle("/", u.Handler(s.accept))
	mux.Handle("/batching", batching.Handler(s.accept))
	server := httptest.NewServer(mux)
	defer server.Close()
	defer s.serving.Wait()
	s.url = server.URL

	var wg sync.WaitGroup
	for i := range s.clients {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(s.seed, uint64(i)))
			for time.Now().Before(s.until) && !s.t.Failed() {
				newSoakClient(s, rng).run()
			}
		})
	}
	wg.Wait()
}

// end notes how a connection ended.
func (s *soak) end(who string, err error) {
	code := "nil"
	if err != nil {
		code = strconv.Itoa(int(CloseStatus(err)))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ends[who+" "+code]++
}

func (s *soak) summary() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d connections, %d messages of %d MiB came back, %d reads and writes were cancelled, %d pings answered; the slowest Close took %v; ends: %v",
		s.conns.Load(), s.messages.Load(), s.bytes.Load()>>20, s.cancelled.Load(), s.pings.Load(), s.slowest.Round(time.Millisecond), s.ends)
	return b.String()
}

// The server

// accept lets the query say how the connection is served.
func (s *soak) accept(_ http.ResponseWriter, r *http.Request) (func(context.Context, *Conn), error) {
	way, err := strconv.Atoi(r.FormValue("way"))
	if err != nil || way >= len(soakEchoes) {
		return nil, fmt.Errorf("no such way: %q", r.FormValue("way"))
	}
	polite := r.FormValue("polite") == "true"
	s.serving.Add(1)
	return func(ctx context.Context, c *Conn) {
		defer s.serving.Done()
		var pinging sync.WaitGroup
		defer pinging.Wait()
		over, stop := context.WithCancel(ctx)
		defer stop()
		pinging.Go(func() { s.ping(over, c, 20*time.Millisecond) })
		err := soakEchoes[way](ctx, c)
		s.end("server", err)
		switch code := CloseStatus(err); {
		case code == StatusNormalClosure:
		case !polite && code == StatusAbnormalClosure: // lost
		case !polite && code == StatusInternalError: // the client has broken off a message
		default:
			s.t.Errorf("a server's connection ended with %v", err)
		}
	}, nil
}

// soakClose is the message that asks the server to close the connection.
const soakClose = "close, please"

// soakEchoes are ways to echo. They return the end of the connection.
var soakEchoes = []func(ctx context.Context, c *Conn) error{
	func(ctx context.Context, c *Conn) error {
		for m, err := range c.Messages(ctx) {
			if err != nil {
				return err
			}
			if err := soakAnswer(ctx, c, m); err != nil {
				return err
			}
		}
		return c.Err()
	},
	func(ctx context.Context, c *Conn) error {
		for {
			typ, p, err := c.Read(ctx)
			if err != nil {
				return err
			}
			if err := soakAnswer(ctx, c, Message{typ, p}); err != nil {
				return err
			}
		}
	},
	func(ctx context.Context, c *Conn) error {
		var p []byte
		for {
			var typ MessageType
			var err error
			if typ, p, err = c.ReadAppend(context.Background(), p[:0]); err != nil {
				return err
			}
			if err := soakAnswer(ctx, c, Message{typ, p}); err != nil {
				return err
			}
		}
	},
	func(ctx context.Context, c *Conn) error {
		for {
			typ, r, err := c.NextReader(ctx)
			if err != nil {
				return err
			}
			w, err := c.NextWriter(ctx, typ)
			if err != nil {
				return soakEnd(c, err)
			}
			var tail soakTail
			if _, err := io.Copy(io.MultiWriter(w, &tail), r); err != nil {
				w.Abort()
				return soakEnd(c, err)
			}
			if err := w.Close(); err != nil {
				return soakEnd(c, err)
			}
			if string(tail) == soakClose {
				c.Close(StatusNormalClosure, "")
				return c.Err()
			}
		}
	},
}

// A soakTail keeps what is short.
type soakTail []byte

func (t *soakTail) Write(p []byte) (int, error) {
	if len(*t) <= len(soakClose) {
		*t = append(*t, p...)
	}
	return len(p), nil
}

func soakAnswer(ctx context.Context, c *Conn, m Message) error {
	var err error
	if len(m.Data)%2 == 0 {
		err = c.Write(ctx, m.Type, m.Data)
	} else {
		err = c.WriteBatch(ctx, m)
	}
	if err != nil {
		return soakEnd(c, err)
	}
	if string(m.Data) == soakClose {
		c.Close(StatusNormalClosure, "")
		return c.Err()
	}
	return nil
}

// soakEnd returns the end of the connection after err, which may be
// the context's that ends with it.
func soakEnd(c *Conn, err error) error {
	if end := c.Err(); end != nil {
		return end
	}
	return err
}

// ping pings until ctx ends.
func (s *soak) ping(ctx context.Context, c *Conn, pause time.Duration) {
	for {
		select {
		case <-time.After(rand.N(2 * pause)):
		case <-ctx.Done():
			return
		}
		rtt, err := c.Ping(ctx)
		switch {
		case err == nil && rtt > 0:
			s.pings.Add(1)
		case err == nil:
			s.t.Errorf("a Ping took %v", rtt)
		case ctx.Err() == nil && c.Err() == nil && !errors.Is(err, net.ErrClosed):
			s.t.Errorf("a Ping got %v on an open connection", err)
		}
	}
}

// A client

// A soakClient is one connection of a client.
type soakClient struct {
	*soak
	rng    *rand.Rand
	c      *Conn
	tcp    *net.TCPConn
	polite bool // no write is cancelled, and the end is a Close
	until  time.Time
	bursts int
}

func newSoakClient(s *soak, rng *rand.Rand) *soakClient {
	life := min(s.duration, time.Duration(rng.Int64N(int64(8*time.Second))))
	return &soakClient{soak: s, rng: rng, polite: rng.IntN(3) > 0, until: time.Now().Add(life)}
}

func (k *soakClient) errorf(format string, args ...any) {
	k.t.Helper()
	k.t.Errorf(format, args...)
}

func (k *soakClient) run() {
	d := Dialer{
		Batching:         k.rng.IntN(2) == 0,
		HandshakeTimeout: soakPatience / 2,
		CloseTimeout:     soakPatience / 2,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			nc, err := new(net.Dialer).DialContext(ctx, network, addr)
			if err == nil {
				k.tcp = nc.(*net.TCPConn)
			}
			return nc, err
		},
	}
	path := []string{"", "batching"}[k.rng.IntN(2)]
	url := fmt.Sprintf("%s/%s?way=%d&polite=%v", k.url, path, k.rng.IntN(len(soakEchoes)), k.polite)
	c, _, err := d.Dial(k.ctx, url)
	if err != nil {
		k.errorf("Dial: %v", err)
		return
	}
	k.c = c
	k.conns.Add(1)
	defer c.CloseNow()
	for {
		if open := k.burst(); !open {
			break
		}
		if time.Now().After(k.until) || time.Now().After(k.soak.until) || k.t.Failed() {
			k.finish()
			break
		}
		time.Sleep(time.Duration(k.rng.IntN(50)) * time.Millisecond)
	}
	k.end("client", c.Err())
}

// A soakMessage is one that was sent.
type soakMessage struct {
	Message
	certain bool // it was not withdrawn, so it has to come back
}

// burst sends messages, and reads what comes back while it does. It
// reports whether the connection is still open.
func (k *soakClient) burst() (open bool) {
	k.bursts++
	sent := make([]soakMessage, 1+k.rng.IntN(16))
	for i := range sent {
		sent[i].Message = k.message(i)
	}
	marker := soakMessage{Message{MessageText, fmt.Appendf(nil, "end of burst %d", k.bursts)}, true}
	sent = append(sent, marker)

	over, stop := context.WithCancel(k.ctx)
	var aside sync.WaitGroup
	writes := rand.New(rand.NewPCG(k.rng.Uint64(), 1)) // the writer's own
	aside.Go(func() { k.send(writes, sent) })
	if k.rng.IntN(3) == 0 {
		aside.Go(func() { k.ping(over, k.c, time.Millisecond) })
	}
	if k.rng.IntN(8) == 0 { // slow
		time.Sleep(time.Duration(k.rng.IntN(100)) * time.Millisecond)
	}
	var received []Message
	var err error
	for err == nil && (len(received) == 0 || !bytes.Equal(received[len(received)-1].Data, marker.Data)) {
		received, err = k.receive(received)
	}
	if err != nil {
		k.c.CloseNow() // or the writer might wait for us to read
	}
	stop()
	aside.Wait()
	k.compare(sent, received, err == nil)
	if err == nil {
		return true
	}
	// Only a write that was cancelled half-way ends a connection before its time.
	if k.polite || !errors.Is(k.c.Err(), errWithdraw) && CloseStatus(k.c.Err()) != StatusInternalError {
		k.errorf("a client's connection ended with %v", err)
	}
	return false
}

// message makes a message that is like no other of the burst.
func (k *soakClient) message(i int) Message {
	n := 0
	switch k.rng.IntN(20) {
	case 0:
		n = k.rng.IntN(256 << 10)
	case 1, 2, 3:
		n = k.rng.IntN(20 << 10)
	default:
		n = k.rng.IntN(300)
	}
	p := pattern(n, k.rng.IntN(1000))
	if typ := MessageType(1 + k.rng.IntN(2)); typ == MessageBinary {
		return Message{typ, append(p, byte(i))}
	}
	for i := range p {
		p[i] = ' ' + p[i]%95
	}
	return Message{MessageText, append(p, byte('a'+i))}
}

// send sends messages in ways of all kinds, and notes which it has certainly sent.
func (k *soakClient) send(rng *rand.Rand, messages []soakMessage) {
	for i := range messages {
		last := i == len(messages)-1
		ctx, cancel := k.ctx, context.CancelFunc(func() {})
		if !k.polite && !last && rng.IntN(10) == 0 {
			ctx, cancel = context.WithTimeoutCause(ctx, time.Duration(rng.IntN(2000))*time.Microsecond, errWithdraw)
		}
		err := k.sendOne(ctx, rng, messages[i].Message)
		cancel()
		switch {
		case err == nil:
			messages[i].certain = true
		case errors.Is(err, errWithdraw):
			k.cancelled.Add(1)
		case k.c.Err() == nil:
			k.errorf("a write failed with %v on an open connection", err)
		}
	}
}

func (k *soakClient) sendOne(ctx context.Context, rng *rand.Rand, m Message) error {
	switch rng.IntN(4) {
	case 0:
		return k.c.WriteBatch(ctx, m)
	case 1:
		prepared, err := NewPreparedMessage(m.Type, m.Data)
		if err != nil {
			return err
		}
		return k.c.WritePrepared(ctx, prepared)
	case 2:
		w, err := k.c.NextWriter(ctx, m.Type)
		if err != nil {
			return err
		}
		for p := m.Data; len(p) > 0; {
			n := 1 + rng.IntN(len(p))
			if _, err := w.Write(p[:n]); err != nil {
				return err
			}
			p = p[n:]
		}
		return w.Close()
	}
	return k.c.Write(ctx, m.Type, m.Data)
}

// receive appends a message that is read, in one of the ways, with contexts that end.
func (k *soakClient) receive(received []Message) ([]Message, error) {
	var data []byte
	var typ MessageType
	var err error
	ctx, cancel := k.hasty()
	defer func() { cancel() }()
	way := k.rng.IntN(4)
	switch way {
	case 0:
		typ, data, err = k.c.Read(ctx)
	case 1:
		typ, data, err = k.c.ReadAppend(ctx, []byte("before"))
		if !bytes.HasPrefix(data, []byte("before")) || err != nil && len(data) != len("before") {
			k.errorf("ReadAppend returned %s with %v", excerpt(data), err)
			return received, errors.New("wrong prefix")
		}
		data = data[len("before"):]
	case 2:
		n := k.rng.IntN(3)
		for m, err := range k.c.Messages(ctx) {
			if err != nil {
				if errors.Is(err, errWithdraw) && k.c.Err() == nil {
					break
				}
				return received, err
			}
			received = append(received, Message{m.Type, bytes.Clone(m.Data)})
			if n--; n <= 0 || strings.HasPrefix(string(m.Data), "end of burst") {
				break
			}
		}
		return received, k.c.Err()
	case 3:
		var r *MessageReader
		typ, r, err = k.c.NextReader(ctx)
		for err == nil {
			n := 0
			piece := make([]byte, 1+k.rng.IntN(8<<10))
			n, err = r.Read(piece)
			data = append(data, piece[:n]...)
			if errors.Is(err, errWithdraw) && k.c.Err() == nil {
				k.cancelled.Add(1)
				cancel()
				ctx, cancel = k.hasty()
				r.SetContext(ctx)
				err = nil
			}
		}
		if err == io.EOF {
			err = nil
		}
	}
	if err == nil {
		return append(received, Message{typ, data}), nil
	}
	if errors.Is(err, errWithdraw) && k.c.Err() == nil {
		k.cancelled.Add(1)
		return received, nil
	}
	return received, err
}

// hasty returns a context that often ends soon.
func (k *soakClient) hasty() (context.Context, context.CancelFunc) {
	if k.rng.IntN(2) == 0 {
		return k.ctx, func() {}
	}
	return context.WithTimeoutCause(k.ctx, time.Duration(k.rng.IntN(5000))*time.Microsecond, errWithdraw)
}

// compare checks that what came back is what was sent: all of it, or if
// it was cut short, a part from the beginning.
func (k *soakClient) compare(sent []soakMessage, received []Message, all bool) {
	rest := sent
	for _, m := range received {
		for len(rest) > 0 && !rest[0].certain && !soakSame(rest[0].Message, m) {
			rest = rest[1:]
		}
		if len(rest) == 0 || !soakSame(rest[0].Message, m) {
			k.errorf("got a message that was not sent, or not now: %v, %s", m.Type, excerpt(m.Data))
			return
		}
		rest = rest[1:]
		k.messages.Add(1)
		k.bytes.Add(int64(len(m.Data)))
	}
	if all && len(rest) > 0 {
		k.errorf("%d of %d messages did not come back", len(rest), len(sent))
	}
}

func soakSame(a, b Message) bool { return a.Type == b.Type && bytes.Equal(a.Data, b.Data) }

// finish ends the connection.
func (k *soakClient) finish() {
	if k.polite {
		k.finishPolitely()
		return
	}
	// Something may be under way in both directions.
	ctx, cancel := context.WithTimeoutCause(k.ctx, time.Duration(k.rng.IntN(20))*time.Millisecond, errWithdraw)
	defer cancel()
	if k.rng.IntN(2) == 0 {
		k.c.WriteBatch(ctx, k.message(0), k.message(1), k.message(2))
	}
	switch k.rng.IntN(4) {
	case 0: // reset
		k.tcp.SetLinger(0)
		k.tcp.Close()
	case 1: // half-close, without a Close
		k.tcp.CloseWrite()
	case 2:
		k.c.CloseNow()
		if end := k.c.Err().(*CloseError); end.Code != StatusAbnormalClosure {
			k.errorf("CloseNow ended the connection with %v", end)
		}
		return
	case 3: // a message broken off
		if w, err := k.c.NextWriter(k.ctx, MessageBinary); err == nil {
			w.Write(make([]byte, fragmentLength+1))
			k.tcp.CloseWrite()
			w.Close()
		}
	}
	for {
		if _, _, err := k.c.Read(k.ctx); err != nil {
			if k.c.Err() == nil {
				k.errorf("the end of a connection was not found: %v", err)
			}
			return
		}
	}
}

// finishPolitely ends the connection by the closing handshake, which either side begins.
func (k *soakClient) finishPolitely() {
	var closing sync.WaitGroup
	defer closing.Wait()
	switch k.rng.IntN(4) {
	case 0: // nobody reads but Close
	case 1: // somebody reads
		closing.Go(func() {
			for {
				if _, _, err := k.c.Read(k.ctx); err != nil {
					return
				}
			}
		})
	case 2: // at the same time as the server
		k.c.Write(k.ctx, MessageText, []byte(soakClose))
	case 3: // the server begins
		k.c.Write(k.ctx, MessageText, []byte(soakClose))
		for {
			if _, _, err := k.c.Read(k.ctx); err != nil {
				if CloseStatus(err) != StatusNormalClosure {
					k.errorf("the server was asked to close, and Read returned %v", err)
				}
				return
			}
		}
	}
	start := time.Now()
	if err := k.c.Close(StatusNormalClosure, ""); err != nil {
		k.errorf("Close: %v", err)
	}
	took := time.Since(start)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.slowest = max(k.slowest, took)
}

// An inventory is what must be there after a test that was there before.
type inventory struct {
	goroutines, descriptors int
	timers                  int64
}

func takeInventory() inventory {
	if ln, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		ln.Close() // what the runtime has for all of them is there from now on
	}
	i := inventory{goroutines: runtime.NumGoroutine(), timers: timersPending.Load()}
	if fds, err := os.ReadDir("/proc/self/fd"); err == nil {
		i.descriptors = len(fds)
	}
	return i
}

// wantBack waits until nothing has been added to i.
func (i inventory) wantBack(t *testing.T) {
	t.Helper()
	for start := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		now := takeInventory()
		if now.goroutines <= i.goroutines && now.descriptors <= i.descriptors && now.timers == i.timers {
			return
		}
		if time.Since(start) > soakPatience {
			stacks := make([]byte, 1<<20)
			t.Fatalf("got %+v after, %+v before\n%s", now, i, stacks[:runtime.Stack(stacks, true)])
		}
	}
}
