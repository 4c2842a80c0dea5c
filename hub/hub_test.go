package hub

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidewire/websocket"
	"github.com/tidewire/websocket/internal/testnet"
	"github.com/tidewire/websocket/websockettest"
)

type none = struct{}

// A guest is a client, as the test has it: both ends.
type guest struct {
	*Client[none]
	end    *websocket.Conn // the client's
	server *websocket.Conn
	served chan error // what Serve returned
}

// enter connects a client to h.
func enter(t *testing.T, h *Hub[none], id Identity[none]) *guest {
	t.Helper()
	g := connect(t, h, id, new(websockettest.Link))
	synctest.Wait()
	g.find(t, h)
	return g
}

func connect(t *testing.T, h *Hub[none], id Identity[none], link *websockettest.Link) *guest {
	t.Helper()
	client, server, err := link.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	g := &guest{end: client, server: server, served: make(chan error, 1)}
	go func() { g.served <- h.Serve(context.Background(), server, id, nil) }()
	t.Cleanup(func() {
		client.CloseNow()
		server.CloseNow()
	})
	return g
}

// find finds the Client of g.
func (g *guest) find(t *testing.T, h *Hub[none]) {
	t.Helper()
	for c := range h.All().Clients() {
		if c.conn == g.server {
			g.Client = c
		}
	}
	if g.Client == nil {
		t.Fatal("the client is not in the hub")
	}
}

// want reads messages.
func (g *guest) want(t *testing.T, want ...string) {
	t.Helper()
	for _, want := range want {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		_, p, err := g.end.Read(ctx)
		cancel()
		if string(p) != want || err != nil {
			t.Fatalf("got %.100q, %v, want %.100q", p, err, want)
		}
	}
}

// wantNothing checks that nothing has come.
func (g *guest) wantNothing(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, p, err := g.end.Read(ctx); err != context.DeadlineExceeded {
		t.Fatalf("got %.100q, %v, want nothing", p, err)
	}
}

// wantClose reads what is left, and then a Close.
func (g *guest) wantClose(t *testing.T, code websocket.StatusCode, reason string) {
	t.Helper()
	var end *websocket.CloseError
	for end == nil {
		_, _, err := g.end.Read(t.Context())
		if err != nil && !errors.As(err, &end) {
			t.Fatal(err)
		}
	}
	if end.Code != code || end.Reason != reason {
		t.Errorf("got the end %v, want %d %q", end, code, reason)
	}
}

func sendAll(t *testing.T, target Target[none], p string, want Result) {
	t.Helper()
	r, err := target.Send(t.Context(), websocket.MessageText, []byte(p))
	if r != want || err != nil {
		t.Fatalf("got %+v, %v, want %+v", r, err, want)
	}
}

// Each gets what is for it, once.
func TestTargets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New[none](Options{})
		alice := enter(t, h, Identity[none]{User: "Alice", Rooms: []string{"x", "y"}})
		phone := enter(t, h, Identity[none]{User: "Alice"})
		bob := enter(t, h, Identity[none]{User: "Bob", Rooms: []string{"y", "z"}})
		stranger := enter(t, h, Identity[none]{})
		everybody := []*guest{alice, phone, bob, stranger}
		for _, test := range []struct {
			name   string
			target Target[none]
			to     []*guest
		}{
			{"all", h.All(), everybody},
			{"all but one", h.All().Except(bob.Client), []*guest{alice, phone, stranger}},
			{"room", h.Room("x"), []*guest{alice}},
			{"both", h.Room("y"), []*guest{alice, bob}},
			{"union", h.Room("x", "y", "z"), []*guest{alice, bob}},
			{"union but one", h.Room("x", "y").Except(alice.Client).Except(phone.Client), []*guest{bob}},
			{"user", h.User("Alice"), []*guest{alice, phone}},
			{"users", h.User("Bob", "Alice", "Bob"), []*guest{alice, phone, bob}},
			{"local", h.All().Local(), everybody},
			{"empty room", h.Room("nowhere"), nil},
			{"no room", h.Room(), nil},
			{"nobody", h.User("Carol", ""), nil},
		} {
			sendAll(t, test.target, test.name, Result{Queued: len(test.to)})
			var n int
			for range test.target.Clients() {
				n++
			}
			if n != len(test.to) {
				t.Errorf("%s: %d clients", test.name, n)
			}
			for _, g := range everybody {
				if slices.Contains(test.to, g) {
					g.want(t, test.name)
				}
				g.wantNothing(t)
			}
		}
		if c := h.Count(); c != (Counts{4, 2, 3}) {
			t.Errorf("got %+v", c)
		}
		if conns, users := h.RoomCount("y"); conns != 2 || users != 2 {
			t.Errorf("got %d, %d", conns, users)
		}
		ids := map[string]bool{alice.ID(): true, phone.ID(): true, bob.ID(): true, stranger.ID(): true}
		if len(ids) != 4 || alice.User() != "Alice" {
			t.Errorf("got %v", ids)
		}
	})
}

// Who leaves gets nothing more, and leaves nothing.
func TestRooms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New[none](Options{MaxRooms: 3})
		a := enter(t, h, Identity[none]{Rooms: []string{"one"}})
		for _, room := range []string{"two", "three", "two"} {
			if err := a.Join(room); err != nil {
				t.Error(err)
			}
		}
		if err := a.Join("four"); err != ErrTooManyRooms {
			t.Errorf("got %v", err)
		}
		if got := a.Rooms(); !slices.Equal(got, []string{"one", "three", "two"}) {
			t.Errorf("got %v", got)
		}
		a.Leave("two")
		a.Leave("two")
		a.Leave("never")
		sendAll(t, h.Room("two"), "x", Result{})
		sendAll(t, h.Room("three"), "y", Result{Queued: 1})
		a.want(t, "y")
		a.end.Close(websocket.StatusNormalClosure, "")
		if err := <-a.served; websocket.CloseStatus(err) != websocket.StatusNormalClosure {
			t.Errorf("Serve returned %v", err)
		}
		if c := h.Count(); c != (Counts{}) || len(h.rooms) != 0 || len(h.users) != 0 {
			t.Errorf("got %+v", c)
		}
		if err := a.Join("again"); err != ErrGone {
			t.Errorf("got %v", err)
		}
		if err := a.Client.Send(websocket.MessageText, nil); err != ErrGone {
			t.Errorf("got %v", err)
		}

		b := connect(t, h, Identity[none]{Rooms: []string{"1", "2", "3", "4"}}, new(websockettest.Link))
		b.wantClose(t, websocket.StatusPolicyViolation, "")
		if err := <-b.served; err != ErrTooManyRooms || h.Count() != (Counts{}) {
			t.Errorf("got %v, %+v", err, h.Count())
		}
	})
}

// What comes is given to the application, whose errors and panics end the connection.
func TestServe(t *testing.T) {
	failure := errors.New("no such command")
	for _, test := range []struct {
		message string
		code    websocket.StatusCode
		reason  string
		err     error
	}{
		{"fails", websocket.StatusInternalError, "", failure},
		{"chooses", 4000, "chosen", &websocket.CloseError{Code: 4000, Reason: "chosen"}},
		{"panics", websocket.StatusInternalError, "", nil},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := New[string](Options{})
			client, server := websockettest.Pipe(t)
			served := make(chan any, 1)
			go func() {
				defer func() {
					if v := recover(); v != nil {
						served <- v
					}
				}()
				served <- h.Serve(context.Background(), server, Identity[string]{Meta: "known"}, func(c *Client[string], typ websocket.MessageType, data []byte) error {
					switch string(data) {
					case "fails":
						return failure
					case "chooses":
						return test.err
					case "panics":
						panic("at the end")
					}
					return c.Send(typ, append([]byte(c.Meta()+": "), data...))
				})
			}()
			client.Write(t.Context(), websocket.MessageBinary, []byte("echo"))
			if typ, p, err := client.Read(t.Context()); typ != websocket.MessageBinary || string(p) != "known: echo" || err != nil {
				t.Fatalf("got %v %q, %v", typ, p, err)
			}
			client.Write(t.Context(), websocket.MessageText, []byte(test.message))
			_, _, err := client.Read(t.Context())
			if end, ok := err.(*websocket.CloseError); !ok || end.Code != test.code || end.Reason != test.reason {
				t.Errorf("%s: got %v", test.message, err)
			}
			want := any(test.err)
			if test.err == nil {
				want = "at the end"
			}
			if got := <-served; got != want || h.Count() != (Counts{}) {
				t.Errorf("%s: got %v, %+v", test.message, got, h.Count())
			}
		})
	}
}

// A context that ends takes the client out of the hub, and leaves the connection as it is.
func TestServeContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New[none](Options{})
		client, server := websockettest.Pipe(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := h.Serve(ctx, server, Identity[none]{}, nil); err != context.DeadlineExceeded || h.Count() != (Counts{}) || server.Err() != nil {
			t.Errorf("got %v, %+v, %v", err, h.Count(), server.Err())
		}
		server.Write(t.Context(), websocket.MessageText, []byte("still there"))
		client.Read(t.Context())
	})
}

// stuck connects a client whose network takes little.
func stuck(t *testing.T, h *Hub[none]) *guest {
	t.Helper()
	g := connect(t, h, Identity[none]{Rooms: []string{"room"}}, &websockettest.Link{ToClient: websockettest.Faults{Stall: 1}})
	synctest.Wait()
	g.find(t, h)
	large := make([]byte, 128<<10) // more than is under way
	g.Client.Send(websocket.MessageBinary, large)
	synctest.Wait()
	if n, _ := g.Queued(); n != 0 {
		t.Fatalf("%d messages wait", n)
	}
	return g
}

// What becomes of a client that is too slow, while others are not delayed.
func TestSlow(t *testing.T) {
	queued, dropped := Result{Queued: 1}, Result{Dropped: 1}
	instead, gone := Result{Queued: 1, Dropped: 1}, Result{}
	for _, test := range []struct {
		name     string
		policy   SlowPolicy
		messages int
		bytes    int
		results  []Result // of one, two, three, four
		left     string
	}{
		{"Disconnect", Disconnect, 2, 0, []Result{queued, queued, {Disconnected: 1}, gone}, ""},
		{"DropOldest", DropOldest, 2, 0, []Result{queued, queued, instead, instead}, "three four"},
		{"DropNewest", DropNewest, 2, 0, []Result{queued, queued, dropped, dropped}, "one two"},
		{"Latest", Latest, 2, 0, []Result{queued, queued, instead, queued}, "three four"},
		{"bytes", DropOldest, 0, 8, []Result{queued, queued, instead, instead}, "four"},
		{"one of many bytes", DropNewest, 0, 1, []Result{queued, dropped, dropped, dropped}, "one"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := New[none](Options{Slow: test.policy, QueueMessages: test.messages, QueueBytes: test.bytes})
				other := enter(t, h, Identity[none]{Rooms: []string{"room"}})
				slow := stuck(t, h)
				start := time.Now()
				for i, p := range []string{"one", "two", "three", "four"} {
					want := test.results[i]
					want.Queued++ // for the other
					sendAll(t, h.Room("room"), p, want)
					other.want(t, p)
				}
				if d := time.Since(start); d != 0 {
					t.Errorf("others were delayed for %v", d)
				}
				var left []string
				size := 0
				slow.Client.mu.Lock()
				for _, it := range slow.queue {
					left = append(left, fmt.Sprint(it.size))
					size += it.size
				}
				slow.Client.mu.Unlock()
				var want []string
				for _, p := range strings.Fields(test.left) {
					want = append(want, fmt.Sprint(len(p)))
				}
				if messages, bytes := slow.Queued(); !slices.Equal(left, want) || messages != len(left) || bytes != size {
					t.Errorf("left are messages of %v bytes (%d, %d), want %v", left, messages, bytes, want)
				}
				if test.policy == Disconnect {
					if err := slow.Client.Send(websocket.MessageText, nil); err != ErrGone {
						t.Errorf("got %v", err)
					}
					time.Sleep(6 * time.Second)
					if err := <-slow.served; err == nil || h.Count().Connections != 1 {
						t.Errorf("got %v, %+v", err, h.Count())
					}
				}
			})
		})
	}
}

// A client that is disconnected for being slow, and reads again in time, is told why.
func TestSlowIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New[none](Options{QueueMessages: 1})
		g := enter(t, h, Identity[none]{})
		large := string(make([]byte, 100<<10))
		g.Client.Send(websocket.MessageText, []byte(large))
		synctest.Wait()
		g.Client.Send(websocket.MessageText, []byte("waits"))
		if err := g.Client.Send(websocket.MessageText, []byte("too much")); err != ErrSlowConsumer {
			t.Errorf("got %v", err)
		}
		g.want(t, large)
		g.wantClose(t, websocket.StatusTryAgainLater, "slow consumer")
	})
}

// A message takes the place of one with the same key.
func TestLatest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New[none](Options{})
		g := enter(t, h, Identity[none]{})
		large := string(make([]byte, 100<<10))
		sendAll(t, h.All(), large, Result{Queued: 1})
		synctest.Wait()
		for i := range 5 {
			sendAll(t, h.All().Latest("position"), fmt.Sprint("position ", i), Result{Queued: 1})
			sendAll(t, h.All().Latest("price"), fmt.Sprint("price ", 10*i), Result{Queued: 1})
			sendAll(t, h.All(), fmt.Sprint("news ", i), Result{Queued: 1})
		}
		if n, bytes := g.Queued(); n != 7 || bytes != len("position 4")+len("price 40")+5*len("news 0") {
			t.Errorf("%d messages of %d bytes wait", n, bytes)
		}
		g.want(t, large, "position 4", "price 40", "news 0", "news 1", "news 2", "news 3", "news 4")
		g.wantNothing(t)
	})
}

// What waits is sent before a Close, for as long as that may take.
func TestClientClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New[none](Options{})
		g := enter(t, h, Identity[none]{})
		large := string(make([]byte, 100<<10))
		for _, p := range []string{large, "one", "two"} {
			g.Client.Send(websocket.MessageText, []byte(p))
		}
		g.Client.Close(4001, "enough")
		g.Client.Close(4002, "again")
		if err := g.Client.Send(websocket.MessageText, nil); err != ErrGone {
			t.Errorf("got %v", err)
		}
		g.want(t, large, "one", "two")
		g.wantClose(t, 4001, "enough")
		<-g.served

		idle := enter(t, h, Identity[none]{})
		if n := h.All().Disconnect(4003, "all of you"); n != 1 {
			t.Errorf("%d were disconnected", n)
		}
		idle.wantClose(t, 4003, "all of you")
		<-idle.served

		slow := stuck(t, h)
		start := time.Now()
		slow.Client.Close(4004, "")
		<-slow.served
		if d := time.Since(start); d < flushTimeout || d > 3*flushTimeout {
			t.Errorf("it took %v", d)
		}
	})
}

// A user comes with the first connection, and goes some time after the last.
func TestPresence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var told []string
		start := time.Now()
		h := New[none](Options{OnPresence: func(user string, online bool) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, fmt.Sprint(time.Since(start), " ", user, " ", online))
		}})
		leave := func(g *guest) {
			g.end.CloseNow()
			<-g.served
		}
		first := enter(t, h, Identity[none]{User: "Alice"})
		second := enter(t, h, Identity[none]{User: "Alice"})
		enter(t, h, Identity[none]{})
		leave(first)
		time.Sleep(time.Minute)
		leave(second) // 60 s
		time.Sleep(9 * time.Second)
		if !h.Online("Alice") {
			t.Error("Alice is gone too soon")
		}
		third := enter(t, h, Identity[none]{User: "Alice"}) // 69 s: a flap
		time.Sleep(time.Minute)
		leave(third) // 129 s
		time.Sleep(11 * time.Second)
		if h.Online("Alice") {
			t.Error("Alice is still there")
		}
		bob := enter(t, h, Identity[none]{User: "Bob"}) // 140 s
		leave(bob)
		h.Shutdown(t.Context(), websocket.StatusGoingAway, 0)
		want := []string{"0s Alice true", "2m19s Alice false", "2m20s Bob true", "2m20s Bob false"}
		if !slices.Equal(told, want) {
			t.Errorf("got %q, want %q", told, want)
		}
	})
	synctest.Test(t, func(t *testing.T) { // without grace
		told := make(chan bool, 2)
		h := New[none](Options{PresenceGrace: -1, OnPresence: func(_ string, online bool) { told <- online }})
		g := enter(t, h, Identity[none]{User: "Alice"})
		g.end.CloseNow()
		<-g.served
		if first, second := <-told, <-told; !first || second || h.Online("Alice") {
			t.Errorf("got %v, %v", first, second)
		}
	})
}

// All are closed within the spread, not at the same time, and nobody comes any more.
func TestShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New[none](Options{})
		const n = 50
		var mu sync.Mutex
		ends := make(map[time.Duration]int)
		start := time.Now()
		var clients sync.WaitGroup
		for range n {
			g := enter(t, h, Identity[none]{})
			clients.Go(func() {
				_, _, err := g.end.Read(context.Background())
				mu.Lock()
				defer mu.Unlock()
				if websocket.CloseStatus(err) != websocket.StatusGoingAway {
					t.Errorf("got %v", err)
				}
				ends[time.Since(start)]++
			})
		}
		if err := h.Accept(nil, nil); err != nil {
			t.Error(err)
		}
		done := make(chan error, 1)
		go func() { done <- h.Shutdown(t.Context(), websocket.StatusGoingAway, 10*time.Second) }()
		synctest.Wait()
		late := connect(t, h, Identity[none]{}, new(websockettest.Link))
		late.wantClose(t, websocket.StatusServiceRestart, "")
		if err := <-late.served; err != ErrClosed {
			t.Errorf("got %v", err)
		}
		var refused *websocket.HandshakeError
		if err := h.Accept(nil, nil); !errors.As(err, &refused) || refused.StatusCode != http.StatusServiceUnavailable || refused.Header.Get("Retry-After") == "" {
			t.Errorf("got %v", err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		clients.Wait()
		if d := time.Since(start); d > 10*time.Second || d < 5*time.Second || len(ends) < n/2 || h.Count() != (Counts{}) {
			t.Errorf("it took %v, at %d times", d, len(ends))
		}
		if err := h.Shutdown(t.Context(), websocket.StatusGoingAway, 0); err != nil {
			t.Errorf("the second time: %v", err)
		}
	})
	synctest.Test(t, func(t *testing.T) { // whatever the application does
		h := New[none](Options{})
		client, server := websockettest.Pipe(t)
		go h.Serve(context.Background(), server, Identity[none]{}, func(*Client[none], websocket.MessageType, []byte) error {
			<-t.Context().Done()
			return nil
		})
		client.Write(t.Context(), websocket.MessageText, nil)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if err := h.Shutdown(ctx, websocket.StatusGoingAway, 0); err != context.DeadlineExceeded || time.Since(start) != 2*time.Second {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
	})
	synctest.Test(t, func(t *testing.T) { // and who does not go is cut off
		h := New[none](Options{})
		stuck(t, h)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if err := h.Shutdown(ctx, websocket.StatusGoingAway, 0); err != context.DeadlineExceeded || time.Since(start) != time.Second || h.Count() != (Counts{}) {
			t.Errorf("got %v after %v, %+v", err, time.Since(start), h.Count())
		}
	})
}

// Many come, go, join, leave and send at once; who stays gets everything, in order.
func TestStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New[none](Options{QueueMessages: 10_000})
		stays := enter(t, h, Identity[none]{User: "stays", Rooms: []string{"room"}})
		var storm sync.WaitGroup
		const senders, each = 4, 100
		for i := range senders {
			storm.Go(func() {
				for n := range each {
					if _, err := h.Room("room", fmt.Sprint(n%3)).Send(t.Context(), websocket.MessageText, fmt.Appendf(nil, "%d %d", i, n)); err != nil {
						t.Error(err)
					}
					time.Sleep(time.Millisecond)
				}
			})
		}
		for i := range 20 {
			storm.Go(func() {
				for n := range 10 {
					client, server, err := new(websockettest.Link).Connect(t.Context())
					if err != nil {
						t.Error(err)
						return
					}
					served := make(chan bool)
					go func() {
						defer close(served)
						h.Serve(context.Background(), server, Identity[none]{User: fmt.Sprint(i % 5), Rooms: []string{"room"}}, func(c *Client[none], _ websocket.MessageType, data []byte) error {
							c.Join(string(data))
							c.Leave("room")
							return nil
						})
					}()
					client.Write(t.Context(), websocket.MessageText, fmt.Append(nil, n%3))
					time.Sleep(time.Duration(i) * time.Millisecond)
					client.CloseNow()
					<-served
				}
			})
		}
		next := make(map[string]int)
		for range senders * each {
			_, p, err := stays.end.Read(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			from, n, _ := strings.Cut(string(p), " ")
			if n != fmt.Sprint(next[from]) {
				t.Fatalf("got %s, want %d", p, next[from])
			}
			next[from]++
		}
		storm.Wait()
		if c := h.Count(); c != (Counts{1, 1, 1}) {
			t.Errorf("got %+v", c)
		}
	})
}

// A broadcast makes one frame, and nothing for each client, however many there are.
func TestBroadcastAllocations(t *testing.T) {
	count := func(n int) float64 {
		h := New[none](Options{})
		var wrote sync.WaitGroup
		for range n {
			c := newClient(h, nil, Identity[none]{})
			c.write = func() { // as the goroutine does, but without a connection
				c.take()
				c.take()
				wrote.Done()
			}
			h.add(c, nil)
		}
		p := make([]byte, 512)
		return testing.AllocsPerRun(10, func() {
			wrote.Add(n)
			h.All().Send(t.Context(), websocket.MessageText, p)
			wrote.Wait()
		})
	}
	if few, many := count(10), count(10_000); many > few+1000 { // goroutines come from a pool that may be short
		t.Errorf("%v allocations for 10 clients, %v for 10,000", few, many)
	}
}

// A client whose network is dead is found by the keepalive of its connection.
func TestDeadClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New[none](Options{PresenceGrace: -1})
		link := &websockettest.Link{
			Upgrader: websocket.Upgrader{PingInterval: 25 * time.Second, PingTimeout: 20 * time.Second},
			ToClient: websockettest.Faults{Stall: 1},
		}
		start := time.Now()
		g := connect(t, h, Identity[none]{User: "Alice", Rooms: []string{"room"}}, link)
		g.end.CloseRead(t.Context())
		if err := <-g.served; !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != 45*time.Second {
			t.Errorf("Serve has returned %v after %v", err, time.Since(start))
		}
		if c := h.Count(); c != (Counts{}) || h.Online("Alice") {
			t.Errorf("there are %+v", c)
		}
	})
}

// What waits leaves in few writes.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := testnet.Pipe()
		counted := &countingConn{Conn: far}
		accepted := make(chan *websocket.Conn)
		go func() {
			s, _, err := new(websocket.Upgrader).UpgradeConn(t.Context(), counted)
			if err != nil {
				t.Error(err)
			}
			accepted <- s
		}()
		client, _, err := new(websocket.Dialer).DialConn(t.Context(), near, "ws://websocket.test/")
		if err != nil {
			t.Fatal(err)
		}
		h := New[none](Options{})
		served := make(chan error, 1)
		server := <-accepted
		go func() { served <- h.Serve(context.Background(), server, Identity[none]{}, nil) }()
		synctest.Wait()
		g := &guest{end: client}
		large := strings.Repeat("x", 100<<10)
		sendAll(t, h.All(), large, Result{Queued: 1})
		synctest.Wait()
		want := []string{large}
		for i := range 200 {
			want = append(want, fmt.Sprint(i), strings.Repeat("y", 500*(i%5)))
			sendAll(t, h.All(), want[len(want)-2], Result{Queued: 1})
			if i < 50 {
				sendAll(t, h.All(), want[len(want)-1], Result{Queued: 1})
			} else {
				want = want[:len(want)-1]
			}
		}
		before := counted.writes.Load()
		g.want(t, want...)
		synctest.Wait()
		for c := range h.All().Clients() {
			if c.first[0].prepared != nil {
				t.Error("what was sent is kept")
			}
		}
		if n := counted.writes.Load() - before; n > 20 {
			t.Errorf("%d messages that have waited leave in %d writes", len(want)-1, n)
		}
		client.CloseNow()
		<-served
	})
}

type countingConn struct {
	net.Conn
	writes atomic.Int64
}

func (c *countingConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

// A code that must not be sent ends the connection nevertheless, whoever gives it.
func TestCodesThatMustNotBeSent(t *testing.T) {
	for _, code := range []websocket.StatusCode{websocket.StatusAbnormalClosure, 1015, 0, 999} {
		for name, end := range map[string]func(h *Hub[none], c *Client[none]) error{
			"Close":      func(_ *Hub[none], c *Client[none]) error { c.Close(code, ""); return nil },
			"Disconnect": func(h *Hub[none], _ *Client[none]) error { h.All().Disconnect(code, ""); return nil },
			"Shutdown":   func(h *Hub[none], _ *Client[none]) error { go h.Shutdown(context.Background(), code, 0); return nil },
			"an error":   func(*Hub[none], *Client[none]) error { return &websocket.CloseError{Code: code} }, // of another connection
		} {
			t.Run(fmt.Sprint(name, " ", int(code)), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h := New[none](Options{})
					client, server := websockettest.Pipe(t)
					served := make(chan error, 1)
					go func() {
						served <- h.Serve(context.Background(), server, Identity[none]{}, func(c *Client[none], _ websocket.MessageType, _ []byte) error {
							return end(h, c)
						})
					}()
					client.Write(t.Context(), websocket.MessageText, nil)
					_, _, err := client.Read(t.Context())
					if websocket.CloseStatus(err) != websocket.StatusInternalError {
						t.Errorf("the client is told %v", err)
					}
					<-served
				})
			})
		}
	}
}

// What was sent before on returns an error arrives, and a Close before it counts.
func TestServeErrorAfterSend(t *testing.T) {
	for code, end := range map[websocket.StatusCode]func(c *Client[none]) error{
		4000: func(*Client[none]) error { return &websocket.CloseError{Code: 4000, Reason: "bye"} },
		4001: func(c *Client[none]) error { c.Close(4001, "bye"); return errors.New("banned") },
	} {
		synctest.Test(t, func(t *testing.T) {
			h := New[none](Options{})
			client, server := websockettest.Pipe(t)
			served := make(chan error, 1)
			go func() {
				served <- h.Serve(context.Background(), server, Identity[none]{}, func(c *Client[none], _ websocket.MessageType, _ []byte) error {
					c.Send(websocket.MessageText, make([]byte, 200<<10))
					c.Send(websocket.MessageText, []byte("why"))
					return end(c)
				})
			}()
			client.Write(t.Context(), websocket.MessageText, nil)
			g := &guest{end: client}
			g.want(t, string(make([]byte, 200<<10)), "why")
			g.wantClose(t, code, "bye")
			<-served
		})
	}
}

// The end of Serve's context does not make it forget a Close.
func TestCloseBeforeContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New[none](Options{})
		client, server := websockettest.Pipe(t)
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- h.Serve(ctx, server, Identity[none]{}, nil) }()
		synctest.Wait()
		sendAll(t, h.All(), string(make([]byte, 200<<10)), Result{Queued: 1})
		synctest.Wait()
		sendAll(t, h.All(), "waits", Result{Queued: 1})
		h.All().Disconnect(4001, "banned")
		cancel()
		<-served
		g := &guest{end: client}
		g.want(t, string(make([]byte, 200<<10)))
		g.wantClose(t, 4001, "banned")
	})
}

// Who was disconnected is not heard any more, though it may take a while until it is gone.
func TestDisconnectedIsNotHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New[none](Options{})
		client, server := websockettest.Pipe(t)
		heard := make(chan bool, 1000)
		served := make(chan error, 1)
		go func() {
			served <- h.Serve(context.Background(), server, Identity[none]{}, func(*Client[none], websocket.MessageType, []byte) error {
				heard <- true
				return nil
			})
		}()
		client.Write(t.Context(), websocket.MessageText, nil)
		<-heard
		sendAll(t, h.All(), string(make([]byte, 200<<10)), Result{Queued: 1}) // it reads nothing
		synctest.Wait()
		h.All().Disconnect(4003, "banned")
		for client.Write(t.Context(), websocket.MessageText, []byte("spam")) == nil {
			time.Sleep(10 * time.Millisecond)
		}
		<-served
		if len(heard) > 0 {
			t.Errorf("heard %d times", len(heard))
		}
	})
}

// Messages with keys don't go beyond QueueBytes.
func TestLatestBytes(t *testing.T) {
	for _, policy := range []SlowPolicy{Disconnect, DropOldest, DropNewest, Latest} {
		synctest.Test(t, func(t *testing.T) {
			h := New[none](Options{QueueBytes: 1000, Slow: policy})
			slow := stuck(t, h)
			for _, size := range []int{1, 300} {
				for i := range 200 {
					h.All().Latest(fmt.Sprint(i)).Send(t.Context(), websocket.MessageText, make([]byte, size))
				}
			}
			if n, bytes := slow.Queued(); bytes > 1000 || bytes < 0 || (n > 0) == (policy == Disconnect) {
				t.Errorf("policy %d: %d messages of %d bytes wait", policy, n, bytes)
			}
		})
	}
}

// Shutdown at the very end of a grace time does not return before that is told.
func TestShutdownAtEndOfGrace(t *testing.T) {
	for range 100 {
		synctest.Test(t, func(t *testing.T) {
			var told atomic.Int64
			h := New[none](Options{OnPresence: func(string, bool) { told.Add(1) }})
			g := enter(t, h, Identity[none]{User: "Alice"})
			g.server.CloseNow()
			<-g.served
			time.Sleep(10 * time.Second)
			h.Shutdown(t.Context(), websocket.StatusGoingAway, 0)
			if n := told.Load(); n != 2 {
				t.Fatalf("told %d times", n)
			}
		})
	}
}

// Serve may return when Shutdown has given up on it.
func TestServeReturnsLate(t *testing.T) {
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			h := New[none](Options{PresenceGrace: -1, OnPresence: func(string, bool) {}})
			release := make(chan bool)
			var served sync.WaitGroup
			for i := range 10 {
				client, server := websockettest.Pipe(t)
				served.Go(func() {
					h.Serve(context.Background(), server, Identity[none]{User: fmt.Sprint(i)}, func(*Client[none], websocket.MessageType, []byte) error {
						<-release
						return nil
					})
				})
				client.Write(t.Context(), websocket.MessageText, nil)
			}
			synctest.Wait()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			time.AfterFunc(2*time.Second, func() { close(release) })
			if err := h.Shutdown(ctx, websocket.StatusGoingAway, 0); err != context.DeadlineExceeded {
				t.Errorf("got %v", err)
			}
			served.Wait()
		})
	}
}

// The context of Shutdown limits it, whatever does not return.
func TestShutdownContextLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan bool)
		h := New[none](Options{OnPresence: func(string, bool) { <-release }})
		g := enter(t, h, Identity[none]{User: "Alice"})
		g.end.CloseRead(t.Context())
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		start := time.Now()
		if err := h.Shutdown(ctx, websocket.StatusGoingAway, 0); err != context.DeadlineExceeded || time.Since(start) != 11*time.Second {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
		close(release)
	})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 {
		if err := New[none](Options{}).Shutdown(ended, websocket.StatusGoingAway, 0); err != nil {
			t.Errorf("of an empty hub: %v", err)
		}
	}
}
