package hub_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidewire/websocket"
	"github.com/tidewire/websocket/hub"
	"github.com/tidewire/websocket/hub/hubtest"
	"github.com/tidewire/websocket/websockettest"
)

type none = struct{}

// enter connects a client to h, and returns its end.
func enter(t *testing.T, h *hub.Hub[none], id hub.Identity[none]) *websocket.Conn {
	t.Helper()
	client, server := websockettest.Pipe(t)
	go h.Serve(context.Background(), server, id, nil)
	synctest.Wait()
	return client
}

func want(t *testing.T, c *websocket.Conn, want ...string) {
	t.Helper()
	for _, want := range want {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		_, p, err := c.Read(ctx)
		cancel()
		if string(p) != want || err != nil {
			t.Fatalf("got %q, %v, want %q", p, err, want)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, p, err := c.Read(ctx); err != context.DeadlineExceeded {
		t.Fatalf("got %q, %v, want nothing", p, err)
	}
}

// newHubs returns hubs of several processes, which are shut down when the test ends.
func newHubs(t *testing.T, bus *hubtest.Bus, n int, o hub.Options) []*hub.Hub[none] {
	var hubs []*hub.Hub[none]
	for range n {
		o.Broker = bus.Broker()
		h := hub.New[none](o)
		t.Cleanup(func() {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			h.Shutdown(ctx, websocket.StatusGoingAway, 0)
		})
		hubs = append(hubs, h)
	}
	return hubs
}

// Each client gets each message once, wherever it is.
func TestAcross(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hubs := newHubs(t, new(hubtest.Bus), 3, hub.Options{})
		a := enter(t, hubs[0], hub.Identity[none]{User: "Alice", Rooms: []string{"x", "y"}})
		b := enter(t, hubs[1], hub.Identity[none]{User: "Bob", Rooms: []string{"y", "z"}})
		c := enter(t, hubs[2], hub.Identity[none]{User: "Alice", Rooms: []string{"z"}})
		send := func(target hub.Target[none], p string) {
			t.Helper()
			if _, err := target.Send(t.Context(), websocket.MessageText, []byte(p)); err != nil {
				t.Fatal(err)
			}
		}
		send(hubs[0].All(), "to all")
		want(t, a, "to all")
		want(t, b, "to all")
		want(t, c, "to all")
		send(hubs[1].Room("x", "y", "z"), "to rooms")
		want(t, a, "to rooms")
		want(t, b, "to rooms")
		want(t, c, "to rooms")
		send(hubs[1].User("Alice"), "to Alice")
		want(t, a, "to Alice")
		want(t, b)
		want(t, c, "to Alice")
		send(hubs[2].All().Local(), "to those here")
		want(t, a)
		want(t, b)
		want(t, c, "to those here")
		var alice *hub.Client[none]
		for client := range hubs[0].All().Clients() {
			alice = client
		}
		send(hubs[0].Room("y").Except(alice), "to others")
		want(t, a)
		want(t, b, "to others")
		alice.Leave("y")
		alice.Join("z")
		synctest.Wait()
		send(hubs[1].Room("y"), "who is left")
		send(hubs[1].Room("z"), "who came")
		want(t, a, "who came")
		want(t, b, "who is left", "who came")
		want(t, c, "who came")
	})
}

// A spy sees what a hub subscribes to.
type spy struct {
	hub.Broker
	mu    sync.Mutex
	calls []string
	fail  error
}

func (s *spy) Subscribe(ctx context.Context, topic string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return s.fail
	}
	s.calls = append(s.calls, "+"+topic)
	return s.Broker.Subscribe(ctx, topic)
}

func (s *spy) Unsubscribe(ctx context.Context, topic string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, "-"+topic)
	return s.Broker.Unsubscribe(ctx, topic)
}

func (s *spy) seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := s.calls
	s.calls = nil
	slices.Sort(calls)
	return calls
}

func (s *spy) setFail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = err
}

// A topic is subscribed to while somebody here needs it, and a little longer.
func TestSubscriptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &spy{Broker: new(hubtest.Bus).Broker()}
		var errs []error
		h := hub.New[none](hub.Options{Broker: s, OnBrokerError: func(err error) { errs = append(errs, err) }})
		defer h.Shutdown(t.Context(), websocket.StatusGoingAway, 0)
		reading := func(id hub.Identity[none]) *websocket.Conn {
			c := enter(t, h, id)
			c.CloseRead(t.Context()) // and answers Pings
			return c
		}
		first := reading(hub.Identity[none]{User: "Alice", Rooms: []string{"x"}})
		second := reading(hub.Identity[none]{User: "Alice", Rooms: []string{"x"}})
		if got, want := s.seen(), []string{"+all", "+room:x", "+user:Alice"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		first.CloseNow()
		time.Sleep(time.Minute)
		if got := s.seen(); len(got) > 0 {
			t.Errorf("got %q", got)
		}
		second.CloseNow()
		time.Sleep(4 * time.Second)
		third := reading(hub.Identity[none]{User: "Alice"})
		time.Sleep(time.Minute)
		if got, want := s.seen(), []string{"-room:x"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		third.CloseNow()
		time.Sleep(time.Minute)
		if got, want := s.seen(), []string{"-all", "-user:Alice"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}

		// What fails is tried again, less and less often.
		down := errors.New("down")
		s.setFail(down)
		reading(hub.Identity[none]{})
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if n := len(errs); n < 5 || n > 60 || errs[0] != down {
			t.Errorf("%d errors", n)
		}
		s.setFail(nil)
		time.Sleep(time.Minute)
		if got, want := s.seen(), []string{"+all"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// Without the bus, clients here get what is sent, Send says that others don't, and there is a gap.
func TestBrokerDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := new(hubtest.Bus)
		gaps := make(chan string, 10)
		hubs := newHubs(t, bus, 2, hub.Options{OnGap: func(topic string) { gaps <- topic }})
		a, b := enter(t, hubs[0], hub.Identity[none]{}), enter(t, hubs[1], hub.Identity[none]{})
		bus.SetDown(true)
		r, err := hubs[0].All().Send(t.Context(), websocket.MessageText, []byte("down"))
		if r.Queued != 1 || !errors.Is(err, hubtest.ErrDown) {
			t.Errorf("got %+v, %v", r, err)
		}
		want(t, a, "down")
		want(t, b)
		bus.SetDown(false)
		if first, second := <-gaps, <-gaps; first != "" || second != "" {
			t.Errorf("got the gaps %q, %q", first, second)
		}
		if _, err := hubs[0].All().Send(t.Context(), websocket.MessageText, []byte("up")); err != nil {
			t.Error(err)
		}
		want(t, a, "up")
		want(t, b, "up")
	})
}

func TestEnvelope(t *testing.T) {
	for _, e := range []hub.Envelope{
		{Type: websocket.MessageText},
		{Node: "n", Topic: "room:x", Not: []string{"a", ""}, Except: []string{"b"}, Key: "k", Type: websocket.MessageBinary, Data: []byte{0, 1, 2}},
	} {
		p, err := e.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		var got hub.Envelope
		if err := got.UnmarshalBinary(p); err != nil || fmt.Sprint(got) != fmt.Sprint(e) {
			t.Errorf("got %+v, %v, want %+v", got, err, e)
		}
		head := len(p) - len(e.Data)
		for n := range head {
			if err := got.UnmarshalBinary(p[:n]); err == nil {
				t.Errorf("%d bytes of %d: no error", n, len(p))
			}
		}
		p[0]++
		if err := got.UnmarshalBinary(p); err == nil {
			t.Error("another version: no error")
		}
	}
}

// Whatever is parsed is the same when it is written and parsed again, and nothing panics.
func FuzzEnvelope(f *testing.F) {
	p, _ := hub.Envelope{Node: "n", Topic: "all", Not: []string{"x"}, Except: []string{"y"}, Key: "k", Type: websocket.MessageText, Data: []byte("data")}.MarshalBinary()
	f.Add(p)
	f.Add([]byte{1, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, p []byte) {
		var e, again hub.Envelope
		if e.UnmarshalBinary(p) != nil {
			return
		}
		q, _ := e.MarshalBinary()
		if err := again.UnmarshalBinary(q); err != nil || !reflect.DeepEqual(e, again) {
			t.Errorf("got %+v, %v, want %+v", again, err, e)
		}
	})
}
