package brokertest

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/tidewire/websocket"
	"github.com/tidewire/websocket/hub"
)

// A Proxy is what connections to an engine go through. It may be stalled: then it passes nothing
// on, and accepts connections nevertheless.
type Proxy struct {
	Addr string

	to       string
	listener net.Listener
	work     sync.WaitGroup

	mu       sync.Mutex
	conns    []net.Conn
	accepted int
	gate     chan struct{} // closed: bytes may pass
}

// NewProxy returns a Proxy to an address, which is closed when the test ends.
func NewProxy(t *testing.T, to string) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Addr: listener.Addr().String(), to: to, listener: listener, gate: make(chan struct{})}
	close(p.gate)
	p.work.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

func (p *Proxy) accept() {
	for {
		from, err := p.listener.Accept()
		if err != nil {
			return
		}
		to, err := net.Dial("tcp", p.to)
		if err != nil {
			from.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, from, to)
		p.accepted++
		p.mu.Unlock()
		p.work.Go(func() { p.pass(to, from) })
		p.work.Go(func() { p.pass(from, to) })
	}
}

func (p *Proxy) pass(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		p.mu.Lock()
		gate := p.gate
		p.mu.Unlock()
		<-gate
		if _, failed := to.Write(buf[:n]); failed != nil || err != nil {
			return
		}
	}
}

func (p *Proxy) stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gate = make(chan struct{})
}

func (p *Proxy) resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.gate)
}

// count returns how many connections have been accepted.
func (p *Proxy) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepted
}

func (p *Proxy) close() {
	p.listener.Close()
	p.mu.Lock()
	for _, c := range p.conns {
		c.Close()
	}
	p.mu.Unlock()
	p.work.Wait()
}

// A Run is a Broker that runs, and what it has heard.
type Run struct {
	hub.Broker
	Heard chan string // the data of envelopes
	Gaps  chan string

	cancel context.CancelFunc
	ended  chan struct{} // Run has returned err
	err    error
}

// Start runs a Broker until the test ends.
func Start(t *testing.T, b hub.Broker) *Run {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &Run{
		Broker: b, Heard: make(chan string, 10_000), Gaps: make(chan string, 100),
		cancel: cancel, ended: make(chan struct{}),
	}
	go func() {
		defer close(r.ended)
		r.err = b.Run(ctx, func(e hub.Envelope) { r.Heard <- string(e.Data) }, func(topic string) { r.Gaps <- topic })
	}()
	t.Cleanup(func() { r.stop(t) })
	return r
}

// stop ends the run, and returns how long that took.
func (r *Run) stop(t *testing.T) time.Duration {
	t.Helper()
	began := time.Now()
	r.cancel()
	select {
	case <-r.ended:
	case <-time.After(patience):
		t.Error("Run does not return")
	}
	return time.Since(began)
}

// Subscribe subscribes to a topic, which may not succeed at once.
func (r *Run) Subscribe(t *testing.T, topic string) {
	t.Helper()
	Await(t, "Subscribe", func() bool { return r.Broker.Subscribe(t.Context(), topic) == nil })
}

// Publish publishes to the topic "all", within a second.
func (r *Run) Publish(t *testing.T, data string) error {
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	return r.Broker.Publish(ctx, hub.Envelope{Node: "n", Topic: "all", Type: websocket.MessageText, Data: []byte(data)})
}

// Want receives from Heard or Gaps.
func Want(t *testing.T, from <-chan string, want ...string) {
	t.Helper()
	for _, want := range want {
		if got := receive(t, from); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
}

func receive(t *testing.T, from <-chan string) string {
	t.Helper()
	select {
	case got := <-from:
		return got
	case <-time.After(patience):
		t.Fatal("nothing comes")
		return ""
	}
}

// TestSilent tests that a Broker finds that a connection is dead on which nothing comes. It is one
// that pings often, through the proxy; another is connected directly.
func TestSilent(t *testing.T, proxy *Proxy, through, other hub.Broker) {
	a, b := Start(t, other), Start(t, through)
	b.Subscribe(t, "all")
	if err := a.Publish(t, "before"); err != nil {
		t.Fatal(err)
	}
	Want(t, b.Heard, "before")
	proxy.stall()
	before := proxy.count()
	if err := a.Publish(t, "lost"); err != nil {
		t.Fatal(err)
	}
	Await(t, "another connection", func() bool { return proxy.count() > before })
	if len(b.Gaps) > 0 {
		t.Errorf("a gap of %q while nothing passes", <-b.Gaps)
	}
	began := time.Now()
	if err := b.Publish(t, "can't be carried"); err == nil {
		t.Error("Publish returns no error")
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("Publish took %v, with a context of a second", took)
	}
	proxy.resume()
	Want(t, b.Gaps, "")
	if err := a.Publish(t, "after"); err != nil {
		t.Fatal(err)
	}
	for {
		switch got := receive(t, b.Heard); got {
		case "after":
			return
		case "can't be carried": // which nobody knew
		default:
			t.Fatalf("got %q", got)
		}
	}
}

// TestEnds tests that Run returns when its context ends, and leaves no goroutine behind: while
// there is traffic, and while the engine is away.
func TestEnds(t *testing.T, e Engine) {
	other := Start(t, e.Broker(t))
	other.Subscribe(t, "all")
	cycle := func(during func(r *Run)) {
		t.Helper()
		r := Start(t, e.Broker(t))
		r.Subscribe(t, "all")
		during(r)
		if took := r.stop(t); took > 2*time.Second {
			t.Errorf("Run took %v to return", took)
		}
		if r.err != context.Canceled {
			t.Errorf("Run returned %v", r.err)
		}
		if r.Broker.Subscribe(t.Context(), "room:late") == nil {
			t.Error("Subscribe returned no error after the end")
		}
	}
	traffic := func(r *Run) {
		for i := range 100 {
			if err := other.Publish(t, fmt.Sprint(i)); err != nil {
				t.Fatal(err)
			}
		}
		receive(t, r.Heard)
	}
	cycle(traffic)
	goroutines := runtime.NumGoroutine()
	awaitNoMore := func() {
		t.Helper()
		Await(t, fmt.Sprintf("%d goroutines", goroutines), func() bool { return runtime.NumGoroutine() <= goroutines })
	}
	for range 10 {
		cycle(traffic)
	}
	awaitNoMore()
	cycle(func(r *Run) {
		e.Stop(t)
		Await(t, "an error", func() bool { return r.Publish(t, "lost") != nil })
	})
	awaitNoMore()
	e.Start(t)
}
