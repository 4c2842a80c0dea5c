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

// A run is a Broker that runs, and what it has heard.
type run struct {
	hub.Broker
	cancel context.CancelFunc
	ended  chan struct{} // Run has returned err
	err    error
	heard  chan string
	gaps   chan string
}

func start(t *testing.T, b hub.Broker) *run {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &run{
		Broker: b, cancel: cancel, ended: make(chan struct{}),
		heard: make(chan string, 10_000), gaps: make(chan string, 100),
	}
	go func() {
		defer close(r.ended)
		r.err = b.Run(ctx, func(e hub.Envelope) { r.heard <- string(e.Data) }, func(topic string) { r.gaps <- topic })
	}()
	t.Cleanup(func() { r.stop(t) })
	return r
}

// stop ends the run, and returns how long that took.
func (r *run) stop(t *testing.T) time.Duration {
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

func (r *run) subscribe(t *testing.T, topic string) {
	t.Helper()
	await(t, "Subscribe", func() bool { return r.Subscribe(t.Context(), topic) == nil })
}

func (r *run) publish(t *testing.T, data string) error {
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	return r.Publish(ctx, hub.Envelope{Node: "n", Topic: "all", Type: websocket.MessageText, Data: []byte(data)})
}

// receive returns what comes next.
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
	a, b := start(t, other), start(t, through)
	b.subscribe(t, "all")
	if err := a.publish(t, "before"); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, b.heard); got != "before" {
		t.Fatalf("got %q", got)
	}
	proxy.stall()
	before := proxy.count()
	if err := a.publish(t, "lost"); err != nil {
		t.Fatal(err)
	}
	await(t, "another connection", func() bool { return proxy.count() > before })
	select {
	case gap := <-b.gaps:
		t.Errorf("a gap of %q while nothing passes", gap)
	default:
	}
	began := time.Now()
	if err := b.publish(t, "can't be carried"); err == nil {
		t.Error("Publish returns no error")
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("Publish took %v, with a context of a second", took)
	}
	proxy.resume()
	if gap := receive(t, b.gaps); gap != "" {
		t.Errorf("got a gap of %q", gap)
	}
	if err := a.publish(t, "after"); err != nil {
		t.Fatal(err)
	}
	for {
		switch got := receive(t, b.heard); got {
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
	cycle := func(during func(r *run)) {
		t.Helper()
		r := start(t, e.Broker(t))
		r.subscribe(t, "all")
		during(r)
		if took := r.stop(t); took > 2*time.Second {
			t.Errorf("Run took %v to return", took)
		}
		if r.err != context.Canceled {
			t.Errorf("Run returned %v", r.err)
		}
		if r.Subscribe(t.Context(), "room:late") == nil {
			t.Error("Subscribe returned no error after the end")
		}
	}
	traffic := func(r *run) {
		for i := range 100 {
			if err := r.publish(t, fmt.Sprint(i)); err != nil {
				t.Fatal(err)
			}
		}
		receive(t, r.heard)
	}
	cycle(traffic)
	goroutines := runtime.NumGoroutine()
	for range 10 {
		cycle(traffic)
	}
	await(t, fmt.Sprintf("%d goroutines", goroutines), func() bool { return runtime.NumGoroutine() <= goroutines })
	cycle(func(r *run) {
		e.Stop(t)
		await(t, "an error", func() bool { return r.publish(t, "lost") != nil })
	})
	await(t, fmt.Sprintf("%d goroutines", goroutines), func() bool { return runtime.NumGoroutine() <= goroutines })
	e.Start(t)
}
