// Package brokertest tests Brokers by hubs with clients, on what really carries their messages.
package brokertest

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/tidewire/websocket"
	"github.com/tidewire/websocket/hub"
	"github.com/tidewire/websocket/websockettest"
)

// patience is how long something may take.
const patience = 30 * time.Second

// An Engine is what carries messages between Brokers.
type Engine struct {
	// Broker returns a new one.
	Broker func(t *testing.T) hub.Broker

	// Stop ends the engine as a crash does, and Start starts it again.
	Stop, Start func(t *testing.T)

	// Subscribers returns how many have subscribed to a topic.
	Subscribers func(t *testing.T, topic string) int
}

type none = struct{}

// A node is a hub with a client, and what it was told.
type node struct {
	*hub.Hub[none]
	gaps chan string
}

func (e Engine) node(t *testing.T) *node {
	n := &node{gaps: make(chan string, 100)}
	n.Hub = hub.New[none](hub.Options{Broker: e.Broker(t), OnGap: func(topic string) { n.gaps <- topic }})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := n.Shutdown(ctx, websocket.StatusGoingAway, 0); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
	return n
}

// A guest is a client's end of a connection to a node.
type guest struct {
	*websocket.Conn
	client *hub.Client[none] // the hub's
}

// enter connects a client, which says hello.
func (n *node) enter(t *testing.T, id hub.Identity[none]) guest {
	t.Helper()
	end, server := websockettest.Pipe(t)
	here := make(chan *hub.Client[none])
	go n.Serve(context.Background(), server, id, func(c *hub.Client[none], _ websocket.MessageType, _ []byte) error {
		here <- c
		return nil
	})
	if err := end.Write(t.Context(), websocket.MessageText, nil); err != nil {
		t.Fatal(err)
	}
	return guest{end, <-here}
}

// next reads a message.
func (g guest) next(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, p, err := g.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return string(p)
}

// Await waits for a condition.
func Await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func (e Engine) awaitSubscribers(t *testing.T, n int, topics ...string) {
	t.Helper()
	for _, topic := range topics {
		Await(t, fmt.Sprintf("%d subscribers of %s", n, topic), func() bool { return e.Subscribers(t, topic) == n })
	}
}

// TestHubs tests hubs of several processes, here in one.
func TestHubs(t *testing.T, e Engine) {
	t.Run("Across", func(t *testing.T) { testAcross(t, e) })
	t.Run("Membership", func(t *testing.T) { testMembership(t, e) })
	t.Run("Down", func(t *testing.T) { testDown(t, e) })
}

// Each client gets what is for it once, wherever it was sent: anything else would come before what
// it gets next.
func testAcross(t *testing.T, e Engine) {
	x, y := e.node(t), e.node(t)
	alice := x.enter(t, hub.Identity[none]{User: "Alice", Rooms: []string{"r", "s"}})
	bob := y.enter(t, hub.Identity[none]{User: "Bob", Rooms: []string{"r"}})
	phone := y.enter(t, hub.Identity[none]{User: "Alice"})
	e.awaitSubscribers(t, 2, "all", "room:r", "user:Alice")
	e.awaitSubscribers(t, 1, "room:s", "user:Bob")
	for i, step := range []struct {
		target hub.Target[none]
		to     []guest
	}{
		{x.All(), []guest{alice, bob, phone}},
		{y.All(), []guest{alice, bob, phone}},
		{x.Room("r", "s"), []guest{alice, bob}},
		{y.Room("s", "r"), []guest{alice, bob}},
		{y.Room("s"), []guest{alice}},
		{y.User("Alice"), []guest{alice, phone}},
		{x.User("Alice", "Bob"), []guest{alice, bob, phone}},
		{x.Room("r").Except(alice.client), []guest{bob}},
		{y.All().Except(phone.client), []guest{alice, bob}},
		{y.All().Local(), []guest{bob, phone}},
		{x.User("Carol"), nil},
		{x.All(), []guest{alice, bob, phone}},
		{y.All(), []guest{alice, bob, phone}},
	} {
		if _, err := step.target.Send(t.Context(), websocket.MessageText, fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
		for _, g := range step.to {
			if got := g.next(t); got != fmt.Sprint(i) {
				t.Fatalf("step %d: got %q", i, got)
			}
		}
	}
}

// The engine has a subscription for each topic that somebody needs, and for a while longer.
func testMembership(t *testing.T, e Engine) {
	x, y := e.node(t), e.node(t)
	a := x.enter(t, hub.Identity[none]{Rooms: []string{"m"}})
	b := y.enter(t, hub.Identity[none]{})
	e.awaitSubscribers(t, 2, "all")
	e.awaitSubscribers(t, 1, "room:m")
	b.client.Join("m")
	e.awaitSubscribers(t, 2, "room:m")
	left := time.Now()
	a.client.Leave("m")
	e.awaitSubscribers(t, 1, "room:m")
	if lingered := time.Since(left); lingered < 4*time.Second {
		t.Errorf("the subscription has lingered for %v", lingered)
	}
	b.CloseNow()
	e.awaitSubscribers(t, 0, "room:m")
	e.awaitSubscribers(t, 1, "all")
}

// While the engine is away, clients here get what is sent, and Send says that others don't. After
// the gap they do.
func testDown(t *testing.T, e Engine) {
	x, y := e.node(t), e.node(t)
	here, there := &sender{x, x.enter(t, hub.Identity[none]{}), 0}, y.enter(t, hub.Identity[none]{})
	e.awaitSubscribers(t, 2, "all")
	Want(t, x.gaps, "all") // until there was a subscription
	Want(t, y.gaps, "all")
	numbers := there.numbers(t)
	here.sendSome(t)
	stopped := make(chan bool)
	go func() {
		e.Stop(t)
		close(stopped)
	}()
	Await(t, "an error", func() bool { return here.send(t) != nil })
	<-stopped
	if here.send(t) == nil {
		t.Error("Send returned no error")
	}
	e.Start(t)
	for _, n := range []*node{x, y} {
		Await(t, "a gap", func() bool {
			here.send(t)
			return len(n.gaps) > 0
		})
		Want(t, n.gaps, "")
	}
	Await(t, "no error", func() bool { return here.send(t) == nil })
	first := here.sent
	here.sendSome(t)
	wantFrom(t, numbers, first, here.sent)
}

// A sender sends numbers from a node to all, of which one client is there.
type sender struct {
	node   *node
	client guest
	sent   int
}

// send sends the next number, which the client there gets whatever Send returns.
func (s *sender) send(t *testing.T) error {
	t.Helper()
	began := time.Now()
	_, err := s.node.All().Send(t.Context(), websocket.MessageText, fmt.Append(nil, s.sent))
	if took := time.Since(began); took > 5*time.Second {
		t.Fatalf("Send took %v", took)
	}
	if got := s.client.next(t); got != fmt.Sprint(s.sent) {
		t.Fatalf("got %q, want %d", got, s.sent)
	}
	s.sent++
	return err
}

func (s *sender) sendSome(t *testing.T) {
	t.Helper()
	for range 100 {
		if err := s.send(t); err != nil {
			t.Fatal(err)
		}
	}
}

// numbers reads numbers until the test ends.
func (g guest) numbers(t *testing.T) <-chan int {
	numbers := make(chan int, 100_000)
	var reading sync.WaitGroup
	reading.Go(func() {
		for m, err := range g.Messages(context.Background()) {
			n, parsed := strconv.Atoi(string(m.Data))
			if err != nil || parsed != nil {
				return
			}
			numbers <- n
		}
	})
	t.Cleanup(func() {
		g.CloseNow()
		reading.Wait()
	})
	return numbers
}

// wantFrom checks that numbers come in order, each once, and all from first on to end.
func wantFrom(t *testing.T, numbers <-chan int, first, end int) {
	t.Helper()
	last, complete := -1, 0
	for last < end-1 {
		var n int
		select {
		case n = <-numbers:
		case <-time.After(patience):
			t.Fatalf("nothing comes after %d", last)
		}
		if n <= last {
			t.Errorf("%d came after %d", n, last)
		}
		if last = n; n >= first {
			complete++
		}
	}
	if complete != end-first {
		t.Errorf("after the gap %d of %d came", complete, end-first)
	}
}
