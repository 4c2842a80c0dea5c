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
// other, and not to those of other calls. If restart is not nil, it ends and restarts what connects
// them, with all that it knows; they have to get over that.
func TestBroker(t *testing.T, open func(t *testing.T) (a, b hub.Broker), restart func(t *testing.T)) {
	t.Run("Delivers", func(t *testing.T) { testDelivers(t, open) })
	t.Run("Topics", func(t *testing.T) { testTopics(t, open) })
	t.Run("Order", func(t *testing.T) { testOrder(t, open) })
	t.Run("Ends", func(t *testing.T) { testEnds(t, open) })
	if restart != nil {
		t.Run("Restart", func(t *testing.T) { testRestart(t, open, restart) })
	}
}

// A station is a Broker that runs, and what it has heard.
type station struct {
	hub.Broker
	t *testing.T

	mu    sync.Mutex
	heard []hub.Envelope
	gaps  []string
}

// start runs a Broker until the test ends.
func start(t *testing.T, b hub.Broker) *station {
	t.Helper()
	s := &station{Broker: b, t: t}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- b.Run(ctx, func(e hub.Envelope) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.heard = append(s.heard, e)
		}, func(topic string) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.gaps = append(s.gaps, topic)
		})
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case <-ended:
		case <-time.After(patience):
			t.Error("Run does not return when its context ends")
		}
	})
	return s
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
	s.until(fmt.Sprintf("%d envelopes", n), func() bool { heard = s.heard; return len(heard) >= n })
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
		{Node: "a", Topic: "all", Not: []string{"room:x", "user:y"}, Except: []string{"a-1", "a-2"}, Key: "k", Type: websocket.MessageText, Data: []byte("all fields")},
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

// A context that ends ends calls.
func testEnds(t *testing.T, open func(t *testing.T) (a, b hub.Broker)) {
	x, _ := open(t)
	a := start(t, x)
	a.subscribe("all")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	done := make(chan bool)
	go func() {
		defer close(done)
		a.Publish(ctx, text("all", "too late"))
		a.Subscribe(ctx, "room:late")
		a.Unsubscribe(ctx, "room:late")
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Error("a call does not return when its context ends")
	}
}

// When what connects them was gone and is back, each subscribes anew, and says that there is a gap.
func testRestart(t *testing.T, open func(t *testing.T) (a, b hub.Broker), restart func(t *testing.T)) {
	x, y := open(t)
	a, b := start(t, x), start(t, y)
	b.subscribe("all", "room:x")
	a.publish(text("all", "before"))
	b.await(1)
	restart(t)
	b.until("a gap", func() bool { return len(b.gaps) > 0 })
	for i := 0; ; i++ { // what is published before all are back may be lost
		a.publish(text("room:x", fmt.Sprint(i)))
		time.Sleep(20 * time.Millisecond)
		b.mu.Lock()
		n := len(b.heard)
		b.mu.Unlock()
		if n > 1 {
			break
		}
		if i > int(patience/(20*time.Millisecond)) {
			t.Fatal("nothing is heard after the restart")
		}
	}
	seen := make(map[string]bool)
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.heard {
		if seen[string(e.Data)] {
			t.Errorf("%q was heard twice", e.Data)
		}
		seen[string(e.Data)] = true
	}
}
