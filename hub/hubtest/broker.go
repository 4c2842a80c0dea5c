package hubtest

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidewire/websocket"
	"github.com/tidewire/websocket/hub"
)

// patience is how long something may take.
const patience = 20 * time.Second

// TestBroker tests that Brokers do as they should: open returns two that are connected to each
// other, and not to those of other calls. If they are not nil, down ends what connects them, with all
// that it knows, and up starts it anew; they have to get over that.
func TestBroker(t *testing.T, open func(t *testing.T) (a, b hub.Broker), down, up func(t *testing.T)) {
	t.Run("Delivers", func(t *testing.T) { testDelivers(t, open) })
	t.Run("Topics", func(t *testing.T) { testTopics(t, open) })
	t.Run("Order", func(t *testing.T) { testOrder(t, open) })
	t.Run("Ends", func(t *testing.T) { testEnds(t, open) })
	if down != nil {
		t.Run("Restart", func(t *testing.T) { testRestart(t, open, down, up) })
	}
}

// A station is a Broker that runs, and what it has heard.
type station struct {
	hub.Broker
	t *testing.T

	mu    sync.Mutex
	heard []hub.Envelope
	gaps  []string
	want  int // so many are to be heard in the end; 0: it does not matter
	ended bool
}

// start runs a Broker until the test ends.
func start(t *testing.T, b hub.Broker) *station {
	t.Helper()
	s := &station{Broker: b, t: t}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		err := b.Run(ctx, s.hear, s.gap)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.ended = true
		if ctx.Err() == nil {
			t.Errorf("Run has returned %v", err)
		}
		ended <- err
	}()
	t.Cleanup(func() {
		time.Sleep(10 * time.Millisecond) // in which nothing may come that has come already
		cancel()
		select {
		case <-ended:
		case <-time.After(patience):
			t.Error("Run does not return when its context ends")
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.want > 0 && len(s.heard) != s.want {
			t.Errorf("heard %d envelopes in the end, want %d", len(s.heard), s.want)
		}
	})
	return s
}

func (s *station) hear(e hub.Envelope) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard = append(s.heard, e)
	if s.ended {
		s.t.Error("heard something after Run has returned")
	}
}

func (s *station) gap(topic string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gaps = append(s.gaps, topic)
}

// subscribe subscribes, which a Broker may not be able to do at once.
func (s *station) subscribe(topics ...string) {
	s.t.Helper()
	for _, topic := range topics {
		s.eventually("Subscribe", func(ctx context.Context) error { return s.Subscribe(ctx, topic) })
	}
}

func (s *station) publish(e hub.Envelope) {
	s.t.Helper()
	s.eventually("Publish", func(ctx context.Context) error { return s.Publish(ctx, e) })
}

func (s *station) eventually(what string, do func(ctx context.Context) error) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		err := do(ctx)
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			s.t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// await waits until the station has heard n envelopes, and returns them.
func (s *station) await(n int) []hub.Envelope {
	s.t.Helper()
	var heard []hub.Envelope
	s.until(fmt.Sprintf("%d envelopes", n), func() bool {
		heard, s.want = s.heard, n
		return len(heard) >= n
	})
	if len(heard) > n {
		s.t.Fatalf("heard %d envelopes, want %d", len(heard), n)
	}
	return heard
}

func (s *station) until(what string, ok func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		s.mu.Lock()
		done, heard := ok(), len(s.heard)
		s.mu.Unlock()
		if done {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("heard %d envelopes while waiting for %s", heard, what)
		}
	}
}

func text(topic, data string) hub.Envelope {
	return hub.Envelope{Node: "a", Topic: topic, Type: websocket.MessageText, Data: []byte(data)}
}

func wantEnvelope(t *testing.T, got, want hub.Envelope) {
	t.Helper()
	g, _ := got.MarshalBinary()
	w, _ := want.MarshalBinary()
	if !bytes.Equal(g, w) {
		t.Fatalf("heard %.200q, want %.200q", g, w)
	}
}

// What is published arrives as it was, once, at each.
func testDelivers(t *testing.T, open func(t *testing.T) (a, b hub.Broker)) {
	x, y := open(t)
	a, b := start(t, x), start(t, y)
	b.subscribe("all")
	envelopes := []hub.Envelope{
		text("all", "text"),
		text("all", ""),
		{Node: "a", Topic: "all", Type: websocket.MessageBinary, Data: []byte{0, 1, 0xfe, 0xff, '\r', '\n'}},
		{Node: "a", Topic: "all", Type: websocket.MessageBinary, Data: bytes.Repeat([]byte("large "), 100_000)},
		{Node: "a", Topic: "all", ID: "7", Key: "k", Type: websocket.MessageText, Data: []byte("all fields")},
	}
	for _, e := range envelopes {
		a.publish(e)
	}
	for i, got := range b.await(len(envelopes)) {
		wantEnvelope(t, got, envelopes[i])
	}
}

// What is published to a topic is for those who have subscribed to it, whatever its name is.
func testTopics(t *testing.T, open func(t *testing.T) (a, b hub.Broker)) {
	x, y := open(t)
	a, b := start(t, x), start(t, y)
	topics := []string{
		"room:plain", "room:with space", "room:a.b", "room:a.*", "room:>", "room:*", "room:[ab]", "room:a", "room:Ä€🌊", "room:", "user:", "user:plain",
		"room:" + strings.Repeat("long", 50), "room:\r\n", "room:a\\b", "room:\x00",
	}
	b.subscribe(topics...)
	b.subscribe("room:left", "all")
	b.eventually("Unsubscribe", func(ctx context.Context) error { return b.Unsubscribe(ctx, "room:left") })
	a.publish(text("room:left", "for nobody"))
	a.publish(text("room:never", "for nobody"))
	a.publish(text("room:b", "for nobody"))
	for _, topic := range topics {
		a.publish(text(topic, topic))
	}
	a.publish(text("all", "the last"))
	got := make(map[string]int)
	for _, e := range b.await(len(topics) + 1) {
		got[e.Topic]++
		if e.Topic != "all" && string(e.Data) != e.Topic {
			t.Errorf("%q came to %q", e.Data, e.Topic)
		}
	}
	for _, topic := range topics {
		if got[topic] != 1 {
			t.Errorf("%q: heard %d times", topic, got[topic])
		}
	}
}

// What one publishes to a topic arrives in order, also while others publish.
func testOrder(t *testing.T, open func(t *testing.T) (a, b hub.Broker)) {
	x, y := open(t)
	a, b := start(t, x), start(t, y)
	const topics, each = 8, 250
	for i := range topics {
		b.subscribe(fmt.Sprint("room:", i))
	}
	var publishing sync.WaitGroup
	for i := range topics {
		publishing.Go(func() {
			for n := range each {
				a.publish(text(fmt.Sprint("room:", i), fmt.Sprint(n)))
			}
		})
	}
	publishing.Wait()
	next := make(map[string]int)
	for _, e := range b.await(topics * each) {
		if string(e.Data) != fmt.Sprint(next[e.Topic]) {
			t.Fatalf("%s: heard %s, want %d", e.Topic, e.Data, next[e.Topic])
		}
		next[e.Topic]++
	}
}

// A context that has ended ends calls, with an error.
func testEnds(t *testing.T, open func(t *testing.T) (a, b hub.Broker)) {
	x, _ := open(t)
	a := start(t, x)
	a.subscribe("all")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	done := make(chan bool)
	go func() {
		defer close(done)
		for call, err := range map[string]error{
			"Publish":     a.Publish(ctx, text("all", "too late")),
			"Subscribe":   a.Subscribe(ctx, "room:late"),
			"Unsubscribe": a.Unsubscribe(ctx, "room:never"),
		} {
			if err == nil {
				t.Errorf("%s: no error", call)
			}
		}
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Error("a call does not return when its context has ended")
	}
}

// While what connects them is gone, Publish says so, and what is published is lost. When it is back, each
// subscribes anew, and says that there is a gap.
func testRestart(t *testing.T, open func(t *testing.T) (a, b hub.Broker), down, up func(t *testing.T)) {
	x, y := open(t)
	a, b := start(t, x), start(t, y)
	topics := []string{"all", "room:x", "room:y"}
	a.subscribe(topics...)
	b.subscribe(topics...)
	a.publish(text("all", "before"))
	b.await(1)
	b.publish(text("all", "also before"))
	a.until("what b says", func() bool { return len(a.heard) > 0 }) // and it may hear itself
	b.want = 0

	down(t)
	publish := func(e hub.Envelope) error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		return a.Publish(ctx, e)
	}
	for start := time.Now(); publish(text("all", "noticing")) == nil; {
		if time.Since(start) > patience {
			t.Fatal("Publish returns no error")
		}
	}
	if publish(text("all", "lost")) == nil {
		t.Error("Publish returns an error no more")
	}
	up(t)
	for _, s := range []*station{a, b} {
		s.until("a gap", func() bool { return len(s.gaps) > 0 })
	}
	for i, s := range [][2]*station{{a, b}, {b, a}} {
		for _, topic := range topics {
			after := fmt.Sprint(i, topic)
			s[0].publish(text(topic, after))
			s[1].until(after, func() bool { return string(s[1].heard[len(s[1].heard)-1].Data) == after })
		}
	}
	for _, s := range []*station{a, b} {
		s.once("lost")
	}
}

// once checks that nothing was heard twice, nor what was lost.
func (s *station) once(lost string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := map[string]bool{lost: true}
	for _, e := range s.heard {
		data := string(e.Data)
		if seen[data] && data != "noticing" {
			s.t.Errorf("%q is heard", data)
		}
		seen[data] = true
	}
}
