package hub_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
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
	fail  func(call string) error // nil: none fails
}

func (s *spy) note(call string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		if err := s.fail(call); err != nil {
			return err
		}
	}
	s.calls = append(s.calls, call)
	return nil
}

func (s *spy) Subscribe(ctx context.Context, topic string) error {
	if err := s.note("+" + topic); err != nil {
		return err
	}
	return s.Broker.Subscribe(ctx, topic)
}

// Unsubscribe may do what it is to do, and say that it could not.
func (s *spy) Unsubscribe(ctx context.Context, topic string) error {
	return errors.Join(s.Broker.Unsubscribe(ctx, topic), s.note("-"+topic))
}

func (s *spy) seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := s.calls
	s.calls = nil
	slices.Sort(calls)
	return calls
}

func (s *spy) setFail(fail func(call string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = fail
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
		s.setFail(func(string) error { return down })
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
		if first, second := <-gaps, <-gaps; first != "all" || second != "all" { // until they have subscribed
			t.Errorf("got the gaps %q, %q", first, second)
		}
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

// Topics that can't be subscribed to do not delay others, and there is a gap when they can.
func TestBadTopics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gaps := make(chan string, 10)
		s := &spy{Broker: new(hubtest.Bus).Broker(), fail: func(call string) error {
			if strings.HasPrefix(call, "+room:bad") {
				return errors.New("no such topic")
			}
			return nil
		}}
		h := hub.New[none](hub.Options{Broker: s, OnGap: func(topic string) { gaps <- topic }})
		defer h.Shutdown(t.Context(), websocket.StatusGoingAway, 0)
		var bad []string
		for i := range 100 {
			bad = append(bad, fmt.Sprint("bad", i))
		}
		enter(t, h, hub.Identity[none]{Rooms: bad}).CloseRead(t.Context())
		var c *hub.Client[none]
		for c = range h.All().Clients() {
		}
		time.Sleep(10 * time.Minute)
		s.seen()
		for i := range 20 {
			time.Sleep(time.Duration(i) * time.Second)
			c.Join(fmt.Sprint("good", i))
			time.Sleep(1100 * time.Millisecond)
			if got, want := s.seen(), fmt.Sprint("+room:good", i); !slices.Contains(got, want) {
				t.Errorf("a second after Join: got %q, want %q", got, want)
			}
			c.Leave(fmt.Sprint("good", i))
			time.Sleep(linger + 1100*time.Millisecond)
			s.seen()
			for len(gaps) > 0 {
				<-gaps
			}
		}
		s.setFail(nil)
		for range bad {
			if topic := <-gaps; !strings.HasPrefix(topic, "room:bad") {
				t.Errorf("a gap in %q", topic)
			}
		}
	})
}

// A Broker that is back after a long time is asked at once for the topics that it had refused.
func TestBackAfterLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := new(hubtest.Bus)
		s := &spy{Broker: bus.Broker()}
		h := hub.New[none](hub.Options{Broker: s})
		defer h.Shutdown(t.Context(), websocket.StatusGoingAway, 0)
		bus.SetDown(true)
		enter(t, h, hub.Identity[none]{User: "Alice", Rooms: []string{"x"}}).CloseRead(t.Context())
		for range 20 {
			time.Sleep(10 * time.Minute)
			s.seen()
			synctest.Wait()
			if calls := s.seen(); len(calls) > 0 {
				continue // in the middle of trying
			}
			bus.SetDown(false)
			time.Sleep(1100 * time.Millisecond)
			if calls := s.seen(); len(calls) != 3 {
				t.Errorf("a second after it was back: %q", calls)
			}
			return
		}
	})
}

// linger is for how long topics are kept.
const linger = 5 * time.Second

// Unsubscribe that has worked, and said that it has not, leaves nobody deaf who comes back.
func TestUnsubscribeFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := new(hubtest.Bus)
		s := &spy{Broker: bus.Broker(), fail: func(call string) error {
			if call == "-room:x" {
				return errors.New("the reply is lost")
			}
			return nil
		}}
		here := newHubs(t, bus, 1, hub.Options{})[0]
		there := hub.New[none](hub.Options{Broker: s})
		defer there.Shutdown(t.Context(), websocket.StatusGoingAway, 0)
		client := enter(t, there, hub.Identity[none]{Rooms: []string{"x"}})
		var c *hub.Client[none]
		for c = range there.All().Clients() {
		}
		c.Leave("x")
		time.Sleep(linger + time.Millisecond)
		c.Join("x")
		time.Sleep(20 * time.Second)
		here.Room("x").Send(t.Context(), websocket.MessageText, []byte("hello"))
		want(t, client, "hello")
	})
}

// A client that is in one of two rooms gets a message to both once, whatever becomes of the other.
func TestTwoRooms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bus := new(hubtest.Bus)
		s := &spy{Broker: bus.Broker(), fail: func(call string) error {
			if call == "+room:x" {
				return errors.New("not yet")
			}
			return nil
		}}
		between := &pausing{Broker: bus.Broker(), pause: func() {}}
		here := hub.New[none](hub.Options{Broker: between})
		defer here.Shutdown(t.Context(), websocket.StatusGoingAway, 0)
		there := hub.New[none](hub.Options{Broker: s})
		defer there.Shutdown(t.Context(), websocket.StatusGoingAway, 0)
		client := enter(t, there, hub.Identity[none]{Rooms: []string{"y"}})
		var c *hub.Client[none]
		for c = range there.All().Clients() {
		}
		send := func(p string) { here.Room("x", "y").Send(t.Context(), websocket.MessageText, []byte(p)) }
		send("in y")
		want(t, client, "in y")
		c.Join("x") // to which the hub can't subscribe
		time.Sleep(time.Second)
		send("in both, heard of one")
		want(t, client, "in both, heard of one")
		s.setFail(nil)
		time.Sleep(time.Minute)
		send("in both")
		want(t, client, "in both")
		between.pause = func() { synctest.Wait(); c.Leave("x") }
		send("left x meanwhile")
		want(t, client, "left x meanwhile")
		time.Sleep(40 * time.Second) // of this, nothing is remembered
		send("later")
		want(t, client, "later")
	})
}

// A pausing Broker pauses after what it has published.
type pausing struct {
	hub.Broker
	pause func()
}

func (p *pausing) Publish(ctx context.Context, e hub.Envelope) error {
	defer p.pause()
	return p.Broker.Publish(ctx, e)
}

// A Broker whose Run returns is run again, and that is told.
func TestRunReturns(t *testing.T) {
	for _, failure := range []error{nil, errors.New("connection refused")} {
		synctest.Test(t, func(t *testing.T) {
			bus := new(hubtest.Bus)
			errs, gaps := make(chan error, 10), make(chan string, 10)
			b := &ending{Broker: bus.Broker(), err: failure}
			h := hub.New[none](hub.Options{
				Broker: b, OnBrokerError: func(err error) { errs <- err }, OnGap: func(topic string) { gaps <- topic },
			})
			defer h.Shutdown(t.Context(), websocket.StatusGoingAway, 0)
			c := enter(t, h, hub.Identity[none]{})
			for range 3 {
				if err := <-errs; err == nil || failure != nil && err != failure {
					t.Errorf("told of %v", err)
				}
			}
			time.Sleep(20 * time.Second)
			newHubs(t, bus, 1, hub.Options{})[0].All().Send(t.Context(), websocket.MessageText, []byte("hello"))
			want(t, c, "hello")
			if len(errs) > 0 || len(gaps) != 4 { // that of the subscription, and one for each time that it was run again
				t.Errorf("%d more errors, %d gaps", len(errs), len(gaps))
			}
		})
	}
}

// An ending Broker returns from Run three times.
type ending struct {
	hub.Broker
	err  error
	runs int
}

func (e *ending) Run(ctx context.Context, deliver func(hub.Envelope), gap func(string)) error {
	if e.runs++; e.runs > 1 {
		gap("")
	}
	if e.runs <= 3 {
		return e.err
	}
	return e.Broker.Run(ctx, deliver, gap)
}

// Shutdown does not wait for longer than its context says, whatever a Broker does.
func TestShutdownStuckBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan bool)
		s := &spy{Broker: new(hubtest.Bus).Broker(), fail: func(string) error { <-release; return nil }}
		h := hub.New[none](hub.Options{Broker: s})
		enter(t, h, hub.Identity[none]{}).CloseRead(t.Context())
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		start := time.Now()
		if err := h.Shutdown(ctx, websocket.StatusGoingAway, 0); err != context.DeadlineExceeded || time.Since(start) != 11*time.Second {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
		close(release)
	})
}

// A gap that a Broker has from the beginning is told when there is a Hub.
func TestGapAtOnce(t *testing.T) {
	var h *hub.Hub[none]
	told := make(chan bool)
	h = hub.New[none](hub.Options{Broker: &eager{new(hubtest.Bus).Broker()}, OnGap: func(string) {
		h.All().Local().Send(t.Context(), websocket.MessageText, nil)
		close(told)
	}})
	h.All().Send(t.Context(), websocket.MessageText, nil)
	<-told
	h.Shutdown(t.Context(), websocket.StatusGoingAway, 0)
}

type eager struct{ hub.Broker }

func (e *eager) Run(ctx context.Context, deliver func(hub.Envelope), gap func(string)) error {
	gap("")
	return e.Broker.Run(ctx, deliver, gap)
}

func TestEnvelope(t *testing.T) {
	for _, e := range []hub.Envelope{
		{Type: websocket.MessageText},
		{Node: "n", Topic: "room:x", ID: "7", Key: "k", Type: websocket.MessageBinary, Data: []byte{0, 1, 2}},
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
	p, _ := hub.Envelope{Node: "n", Topic: "all", ID: "7", Key: "k", Type: websocket.MessageText, Data: []byte("data")}.MarshalBinary()
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
