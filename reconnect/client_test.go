package reconnect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidewire/websocket"
	"github.com/tidewire/websocket/backoff"
	"github.com/tidewire/websocket/websockettest"
)

// pass lets time pass, and what happens at the end of it too.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// serve starts a server, whose connections are numbered from 1 on.
func serve(t *testing.T, serve func(n int, c *websocket.Conn)) *websockettest.Server {
	t.Helper()
	var conns atomic.Int64
	u := websocket.Upgrader{PingInterval: -1}
	s := websockettest.NewServer(u.Handler(func(http.ResponseWriter, *http.Request) (func(context.Context, *websocket.Conn), error) {
		n := int(conns.Add(1))
		return func(_ context.Context, c *websocket.Conn) { serve(n, c) }, nil
	}))
	t.Cleanup(s.Close)
	return s
}

// echo echoes until the connection ends.
func echo(c *websocket.Conn) {
	for m, err := range c.Messages(context.Background()) {
		if err != nil || c.Write(context.Background(), m.Type, m.Data) != nil {
			return
		}
	}
}

// listen reads until the connection ends.
func listen(c *websocket.Conn) {
	for range c.Messages(context.Background()) {
	}
}

// steady has no jitter.
var steady = backoff.Policy{NoJitter: true}

// start starts a client of s.
func start(t *testing.T, s *websockettest.Server, o Options) *Client {
	t.Helper()
	if o.Dial == nil && s != nil {
		dialer := s.Dialer()
		dialer.PingInterval, dialer.PingTimeout = o.Dialer.PingInterval, o.Dialer.PingTimeout
		o.Dialer = *dialer
	}
	c, err := New("ws://websocket.test/path", o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(websocket.StatusNormalClosure, "") })
	return c
}

// A log is what a client has told.
type log struct {
	mu     sync.Mutex
	start  time.Time
	lines  []string
	states []State
	drops  []string
}

func newLog() *log { return &log{start: time.Now()} }

func (l *log) state(s State) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.states = append(l.states, s)
	l.lines = append(l.lines, fmt.Sprintf("%v %v", time.Since(l.start), s.Phase))
}

func (l *log) all() []State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.states)
}

func (l *log) drop(m Message, why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drops = append(l.drops, fmt.Sprintf("%s: %v", m.Data, why))
}

func (l *log) want(t *testing.T, want ...string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if got := strings.Join(l.lines, ", "); got != strings.Join(want, ", ") {
		t.Errorf("got  %s\nwant %s", got, strings.Join(want, ", "))
	}
}

func (l *log) wantDrops(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Equal(l.drops, want) {
		t.Errorf("dropped %q, want %q", l.drops, want)
	}
}

// times returns when the client was in that phase.
func (l *log) times(p Phase) (times []time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, s := range l.states {
		if s.Phase == p {
			at, _, _ := strings.Cut(l.lines[i], " ")
			d, _ := time.ParseDuration(at)
			times = append(times, d)
		}
	}
	return times
}

func wantMessage(t *testing.T, c *Client, want string, epoch uint64) {
	t.Helper()
	m, err := c.Read(t.Context())
	if string(m.Data) != want || m.Epoch != epoch || err != nil {
		t.Fatalf("got %q of connection %d, %v, want %q of %d", m.Data, m.Epoch, err, want, epoch)
	}
}

func send(t *testing.T, c *Client, messages ...string) {
	t.Helper()
	for _, m := range messages {
		if err := c.Send(t.Context(), websocket.MessageText, []byte(m)); err != nil {
			t.Fatal(err)
		}
	}
}

var errDown = errors.New("the server is down")

// Attempts are apart as the Backoff says.
func TestDelays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		start(t, nil, Options{
			Backoff: steady,
			Dial:    func(context.Context, Target) (Conn, error) { return nil, errDown },
			OnState: l.state,
		})
		pass(100 * time.Second)
		var got []float64
		for _, at := range l.times(Connecting) {
			got = append(got, at.Seconds())
		}
		if want := []float64{0, 1, 3, 7, 15, 31, 61, 91}; !slices.Equal(got, want) {
			t.Errorf("attempts at %v, want %v", got, want)
		}
		for i, s := range l.all() {
			if s.Phase == Waiting && (s.Attempt != (i+1)/2 || s.Err != errDown || s.RetryAt.Before(time.Now().Add(-2*time.Minute))) {
				t.Errorf("state %d: %+v", i, s)
			}
		}
	})
	for range 20 { // with jitter
		synctest.Test(t, func(t *testing.T) {
			l := newLog()
			start(t, nil, Options{Dial: func(context.Context, Target) (Conn, error) { return nil, errDown }, OnState: l.state})
			pass(5 * time.Minute)
			times, longest := l.times(Connecting), time.Second
			for i := range times[1:] {
				if gap := times[i+1] - times[i]; gap > longest {
					t.Errorf("gap %d is %v, want up to %v", i, gap, longest)
				}
				longest = min(2*longest, 30*time.Second)
			}
		})
	}
}

// A server that accepts and drops is not asked more and more often, one that has worked for a while is asked soon.
func TestDrops(t *testing.T) {
	for _, test := range []struct {
		uptime time.Duration
		want   []float64 // seconds from the end of a connection to the next attempt
	}{
		{0, []float64{1, 2, 4, 8, 16, 30, 30, 30}},
		{5*time.Second - 1, []float64{1, 2, 4, 8, 16, 30, 30, 30}},
		{5 * time.Second, []float64{1, 1, 1, 1, 1, 1, 1, 1}},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := newLog()
			s := serve(t, func(_ int, c *websocket.Conn) {
				sleep(t.Context(), test.uptime)
				c.CloseNow()
			})
			start(t, s, Options{Backoff: steady, OnState: l.state})
			pass(4 * time.Minute)
			waiting, connecting := l.times(Waiting), l.times(Connecting)
			for i, want := range test.want {
				if got := (connecting[i+1] - waiting[i]).Seconds(); got != want {
					t.Errorf("after %v: delay %d is %v s, want %v", test.uptime, i, got, want)
				}
			}
		})
	}
}

// An attempt has its time, whatever takes it, and has no effect afterwards.
func TestConnectTimeout(t *testing.T) {
	hang := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	for name, o := range map[string]Options{
		"Target": {Target: func(ctx context.Context, _ int) (Target, error) { return Target{}, hang(ctx) }},
		"Dial":   {Dial: func(ctx context.Context, _ Target) (Conn, error) { return nil, hang(ctx) }},
		"OnOpen": {OnOpen: func(ctx context.Context, c Conn, _ uint64) error {
			_, _, err := c.Read(context.Background()) // the connection is closed at the end of ctx
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLog()
				var live atomic.Int64
				s := serve(t, func(_ int, c *websocket.Conn) {
					live.Add(1)
					defer live.Add(-1)
					listen(c)
				})
				o.Backoff, o.OnState = steady, l.state
				start(t, s, o)
				pass(10*time.Second + 1)
				synctest.Wait()
				l.want(t, "0s connecting", "10s waiting")
				if err := l.all()[1].Err; err != errConnectTimeout {
					t.Errorf("got %v", err)
				}
				if n := live.Load(); n != 0 {
					t.Errorf("%d connections are left", n)
				}
				pass(11 * time.Second)
				l.want(t, "0s connecting", "10s waiting", "11s connecting", "21s waiting")
			})
		})
	}
}

func TestMaxAttempts(t *testing.T) {
	for _, test := range []struct{ max, want int }{{1, 1}, {5, 5}, {-1, 1}, {0, 8}} {
		synctest.Test(t, func(t *testing.T) {
			l := newLog()
			c := start(t, nil, Options{
				MaxAttempts: test.max, Backoff: steady, OnState: l.state,
				Dial: func(context.Context, Target) (Conn, error) { return nil, errDown },
			})
			pass(2 * time.Minute)
			if got := len(l.times(Connecting)); got != test.want {
				t.Errorf("MaxAttempts %d: got %d attempts, want %d", test.max, got, test.want)
			}
			if test.max == 0 {
				return
			}
			if s := c.State(); s.Phase != GaveUp || s.Attempt != test.want || s.Err != errDown {
				t.Errorf("MaxAttempts %d: got %+v", test.max, s)
			}
			for range 2 { // everybody is told
				if _, err := c.Read(t.Context()); !errors.Is(err, ErrGaveUp) || !errors.Is(err, errDown) || c.Err() != err {
					t.Errorf("MaxAttempts %d: Read: %v, Err: %v", test.max, err, c.Err())
				}
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, func(_ int, c *websocket.Conn) { time.Sleep(time.Hour); c.CloseNow() })
		c := start(t, s, Options{MaxAttempts: -1})
		pass(time.Hour + 1)
		if got := c.State().Phase; got != GaveUp {
			t.Errorf("MaxAttempts -1: a lost connection leads to %v", got)
		}
	})
}

// Close returns in each phase, at once unless there is a connection, and nothing happens afterwards.
func TestClose(t *testing.T) {
	hang := func(ctx context.Context, _ Target) (Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
	down := func(context.Context, Target) (Conn, error) { return nil, errDown }
	for _, test := range []struct {
		phase Phase
		o     Options
		took  time.Duration
	}{
		{Connecting, Options{Dial: hang}, 0},
		{Open, Options{}, 0},
		{Waiting, Options{Dial: down, Backoff: steady}, 0},
		{GaveUp, Options{Dial: down, MaxAttempts: 1}, 0},
	} {
		t.Run(test.phase.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ends := make(chan error, 1)
				s := serve(t, func(_ int, c *websocket.Conn) {
					listen(c)
					ends <- c.Err()
				})
				l := newLog()
				test.o.OnState = l.state
				c := start(t, s, test.o)
				pass(500 * time.Millisecond)
				if got := c.State().Phase; got != test.phase {
					t.Fatalf("got %v", got)
				}
				reading := make(chan error, 1)
				go func() { _, err := c.Read(context.Background()); reading <- err }()
				begin := time.Now()
				if err := c.Close(4001, "bye"); err != nil {
					t.Error(err)
				}
				if d := time.Since(begin); d != test.took {
					t.Errorf("it took %v", d)
				}
				if test.phase == Open {
					if end := (<-ends).(*websocket.CloseError); end.Code != 4001 || end.Reason != "bye" {
						t.Errorf("the server got %v", end)
					}
				}
				if err := <-reading; !(errors.Is(err, ErrClosed) || test.phase == GaveUp && errors.Is(err, ErrGaveUp)) {
					t.Errorf("Read: %v", err)
				}
				told := len(l.all())
				c.Reconnect("after the end")
				pass(time.Minute)
				if err := c.Close(4002, ""); err != nil || len(l.all()) != told || c.State().Phase != Closed || c.Err() != ErrClosed {
					t.Errorf("then: %v, %+v, %v", err, l.all()[told:], c.Err())
				}
				if err := c.Send(t.Context(), websocket.MessageText, nil); err != ErrClosed {
					t.Errorf("Send: %v", err)
				}
			})
		})
	}
}

// A peer that does not answer is cut off when CloseTimeout is over.
func TestCloseUnanswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, func(int, *websocket.Conn) { <-t.Context().Done() })
		c := start(t, s, Options{})
		pass(time.Second)
		begin := time.Now()
		err := c.Close(websocket.StatusNormalClosure, "")
		if d := time.Since(begin); d != 5*time.Second || websocket.CloseStatus(err) != websocket.StatusAbnormalClosure {
			t.Errorf("got %v after %v", err, d)
		}
	})
}

func TestReconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		var down atomic.Bool
		s := serve(t, func(n int, c *websocket.Conn) { listen(c) })
		dialer := s.Dialer()
		c := start(t, nil, Options{
			MaxAttempts: 3, Backoff: steady, OnState: l.state,
			Dial: func(ctx context.Context, target Target) (Conn, error) {
				if down.Load() {
					time.Sleep(100 * time.Millisecond)
					return nil, errDown
				}
				return dialWith(*dialer)(ctx, target)
			},
		})
		pass(time.Second)
		down.Store(true)
		c.Reconnect("the network has changed")
		pass(1050 * time.Millisecond) // waiting, after an attempt
		c.Reconnect("the network has changed again")
		pass(time.Minute)
		if got := c.State().Phase; got != GaveUp {
			t.Fatalf("got %v", got)
		}
		down.Store(false)
		c.Reconnect("the user insists")
		synctest.Wait()
		if s := c.State(); s.Phase != Open || s.Attempt != 0 || s.Epoch != 2 || c.Err() != nil {
			t.Errorf("got %+v, %v", s, c.Err())
		}
		l.want(t, "0s connecting", "0s open", "1s connecting", "1.1s waiting", "2.05s connecting", "2.15s waiting",
			"3.15s connecting", "3.25s waiting", "5.25s connecting", "5.35s gave up", "1m2.05s connecting", "1m2.05s open")
		if err := l.all()[2].Err; err == nil || !strings.Contains(err.Error(), "the network has changed") {
			t.Errorf("the reason is %v", err)
		}
	})
}

// Target is asked before each attempt, and its answer is for that one only.
func TestTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []int
		var got []string
		c := start(t, nil, Options{
			Backoff: steady,
			Target: func(_ context.Context, attempt int) (Target, error) {
				asked = append(asked, attempt)
				if attempt == 1 {
					return Target{}, errors.New("no token today")
				}
				return Target{URL: fmt.Sprint("ws://host/", attempt)}, nil
			},
			Dial: func(_ context.Context, t Target) (Conn, error) {
				got = append(got, t.URL)
				return nil, errDown
			},
		})
		pass(4 * time.Second)
		c.Close(websocket.StatusNormalClosure, "")
		if fmt.Sprint(asked, got) != "[0 1 2] [ws://host/0 ws://host/2]" {
			t.Errorf("asked %v, dialed %v", asked, got)
		}
	})
}

// A Target's Header and Subprotocols are sent, with the Dialer's Header.
func TestTargetHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requests := make(chan *http.Request, 1)
		u := websocket.Upgrader{Subprotocols: []string{"chat"}}
		s := websockettest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, err := u.Upgrade(w, r)
			if err != nil {
				return
			}
			requests <- r
			listen(c)
		}))
		defer s.Close()
		dialer := s.Dialer()
		dialer.Header = http.Header{"User-Agent": {"test"}, "Authorization": {"old"}}
		c, err := Dial(t.Context(), "", Options{
			Dialer: *dialer,
			Target: func(context.Context, int) (Target, error) {
				return Target{URL: s.URL + "/x?y", Header: http.Header{"Authorization": {"new"}}, Subprotocols: []string{"chat"}}, nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close(websocket.StatusNormalClosure, "")
		r := <-requests
		if h := r.Header; r.URL.String() != "/x?y" || h.Get("User-Agent") != "test" || h.Get("Authorization") != "new" || h.Get("Sec-WebSocket-Protocol") != "chat" {
			t.Errorf("got %v %v", r.URL, r.Header)
		}
		if dialer.Header.Get("Authorization") != "old" {
			t.Error("the Dialer's Header was changed")
		}
	})
}

// A 401 ends it, after one more attempt if there may be better credentials.
func TestCredentials(t *testing.T) {
	for _, test := range []struct {
		target bool
		want   int
	}{{false, 1}, {true, 2}} {
		synctest.Test(t, func(t *testing.T) {
			attempts := 0
			o := Options{Backoff: steady, Dial: func(context.Context, Target) (Conn, error) {
				attempts++
				return nil, &websocket.HandshakeError{StatusCode: http.StatusUnauthorized}
			}}
			if test.target {
				o.Target = func(context.Context, int) (Target, error) { return Target{URL: "ws://host"}, nil }
			}
			c := start(t, nil, o)
			pass(time.Minute)
			if attempts != test.want || c.State().Phase != GaveUp {
				t.Errorf("got %d attempts, %v, want %d", attempts, c.State().Phase, test.want)
			}
		})
	}
}

// Messages come from one connection after another, those that were received before a drop too.
func TestEpochs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, func(n int, c *websocket.Conn) {
			for i := range 3 {
				c.Write(context.Background(), websocket.MessageText, fmt.Appendf(nil, "%d/%d", n, i))
			}
			c.Close(websocket.StatusGoingAway, "")
		})
		c := start(t, s, Options{Inbox: 2})
		for n := range 3 {
			for i := range 3 {
				wantMessage(t, c, fmt.Sprintf("%d/%d", n+1, i), uint64(n+1))
			}
		}
	})
}

// A peer whose network is gone is found after the Ping that nobody answers, not before, and not if anything comes.
func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		s := serve(t, func(n int, c *websocket.Conn) {
			if n == 1 {
				time.Sleep(15 * time.Second)
				c.Write(context.Background(), websocket.MessageText, []byte("a sign of life"))
				<-t.Context().Done() // without a Pong
			}
			listen(c)
		})
		c := start(t, s, Options{Backoff: steady, OnState: l.state})
		go func() {
			for range c.Messages(context.Background()) {
			}
		}()
		pass(time.Minute)
		l.want(t, "0s connecting", "0s open", "45s waiting", "46s connecting", "46s open")
		if err := l.all()[2].Err; !strings.Contains(err.Error(), "PingTimeout") {
			t.Errorf("got %v", err)
		}
	})
}

// While nobody reads, the silence is ours.
func TestFullInbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		s := serve(t, func(_ int, c *websocket.Conn) {
			for i := range 500 {
				c.Write(context.Background(), websocket.MessageText, fmt.Append(nil, i))
			}
			listen(c)
		})
		c := start(t, s, Options{OnState: l.state, AppHeartbeat: &AppHeartbeat{
			Interval: 2 * time.Second, Timeout: 2 * time.Second, Message: func() []byte { return []byte("ping") },
		}})
		pass(time.Hour)
		l.want(t, "0s connecting", "0s open")
		for i := range 500 {
			wantMessage(t, c, fmt.Sprint(i), 1)
		}
	})
}

func TestAppHeartbeat(t *testing.T) {
	heartbeat := &AppHeartbeat{
		Interval: 2 * time.Second, Timeout: time.Second,
		Message: func() []byte { return []byte("ping") },
		IsReply: func(_ websocket.MessageType, data []byte) bool { return string(data) == "pong" },
	}
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		pings := 0
		s := serve(t, func(_ int, c *websocket.Conn) {
			for m := range c.Messages(context.Background()) {
				if string(m.Data) != "ping" {
					continue
				}
				if pings++; pings < 10 {
					c.Write(context.Background(), websocket.MessageText, []byte("pong"))
				} else if pings == 10 {
					c.Write(context.Background(), websocket.MessageText, []byte("something else"))
				}
			}
		})
		c := start(t, s, Options{OnState: l.state, Backoff: steady, AppHeartbeat: heartbeat})
		wantMessage(t, c, "something else", 1)
		pass(3 * time.Second)
		synctest.Wait()
		l.want(t, "0s connecting", "0s open", "23s waiting")
		if l.all()[2].Err != ErrHeartbeat {
			t.Errorf("got %v", l.all()[2].Err)
		}
	})
	synctest.Test(t, func(t *testing.T) { // no heartbeat, and its text is as any other
		s := serve(t, func(_ int, c *websocket.Conn) { echo(c) })
		c := start(t, s, Options{})
		send(t, c, "pong")
		wantMessage(t, c, "pong", 1)
	})
	for name, h := range map[string]*AppHeartbeat{"no interval": {Timeout: 1, Message: heartbeat.Message}, "no message": {Interval: 1, Timeout: 1}} {
		if _, err := New("ws://host", Options{AppHeartbeat: h}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// A peer that reads nothing makes a write hang, until WriteTimeout or the heartbeat ends it.
func TestStuckWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		s := serve(t, func(n int, c *websocket.Conn) {
			if n == 1 {
				<-t.Context().Done()
			}
			listen(c)
		})
		c := start(t, s, Options{OnState: l.state, Backoff: steady, Queue: Queue{Bytes: 4 << 20}})
		for range 3 {
			c.Send(t.Context(), websocket.MessageBinary, make([]byte, 1<<20))
		}
		pass(time.Minute)
		l.want(t, "0s connecting", "0s open", "30s waiting", "31s connecting", "31s open")
	})
}

// What is queued is sent in its order, after OnOpen.
func TestQueueOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, func(_ int, c *websocket.Conn) { echo(c) })
		s.SetDown(true)
		c := start(t, s, Options{Backoff: steady, OnOpen: func(ctx context.Context, c Conn, epoch uint64) error {
			if err := c.Write(ctx, websocket.MessageText, fmt.Append(nil, "hello ", epoch)); err != nil {
				return err
			}
			_, p, err := c.Read(ctx)
			if string(p) != fmt.Sprint("hello ", epoch) {
				t.Errorf("OnOpen read %q, %v", p, err)
			}
			return err
		}})
		send(t, c, "one", "two")
		pass(2 * time.Second)
		send(t, c, "three")
		s.SetDown(false)
		for _, want := range []string{"one", "two", "three"} {
			wantMessage(t, c, want, 1)
		}
		if err := c.SendJSON(t.Context(), map[string]int{"n": 4}); err != nil {
			t.Fatal(err)
		}
		wantMessage(t, c, `{"n":4}`, 1)
		if err := c.SendJSON(t.Context(), make(chan int)); err == nil {
			t.Error("SendJSON of a channel: no error")
		}
	})
}

// What becomes of a message for which there is no room.
func TestQueuePolicies(t *testing.T) {
	for _, test := range []struct {
		name  string
		queue Queue
		err   error
		took  time.Duration
		drops []string
		left  []string
	}{
		{"Block", Queue{Messages: 2}, context.DeadlineExceeded, time.Second, nil, []string{"one", "two"}},
		{"Reject", Queue{Messages: 2, Policy: Reject}, ErrQueueFull, 0, nil, []string{"one", "two"}},
		{"DropOldest", Queue{Messages: 2, Policy: DropOldest}, nil, 0, []string{"one: " + ErrQueueFull.Error()}, []string{"two", "three"}},
		{"DropNewest", Queue{Messages: 2, Policy: DropNewest}, nil, 0, []string{"three: " + ErrQueueFull.Error()}, []string{"one", "two"}},
		{"bytes", Queue{Bytes: 10, Policy: Reject}, ErrQueueFull, 0, nil, []string{"one", "two"}},
		{"oldest by bytes", Queue{Bytes: 7, Policy: DropOldest}, nil, 0,
			[]string{"one: " + ErrQueueFull.Error(), "two: " + ErrQueueFull.Error()}, []string{"three"}},
		{"bytes, alone", Queue{Bytes: 1, Policy: Reject}, ErrQueueFull, 0, nil, []string{"one"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLog()
				c := start(t, nil, Options{
					Queue: test.queue, OnDrop: l.drop,
					Dial: func(ctx context.Context, _ Target) (Conn, error) { <-ctx.Done(); return nil, ctx.Err() },
				})
				send(t, c, "one")
				c.Send(t.Context(), websocket.MessageText, []byte("two"))
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				begin := time.Now()
				if err := c.Send(ctx, websocket.MessageText, []byte("three")); err != test.err || time.Since(begin) != test.took {
					t.Errorf("got %v after %v, want %v after %v", err, time.Since(begin), test.err, test.took)
				}
				l.wantDrops(t, test.drops...)
				var left []string
				for _, m := range c.Unsent() {
					left = append(left, string(m.Data))
				}
				if !slices.Equal(left, test.left) || len(c.Unsent()) != 0 {
					t.Errorf("left: %q, want %q", left, test.left)
				}
			})
		})
	}
}

// A Send that waits goes on when there is room, and copies what it is given.
func TestQueueBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, func(_ int, c *websocket.Conn) { echo(c) })
		s.SetDown(true)
		c := start(t, s, Options{Backoff: steady, Queue: Queue{Messages: 1}})
		p := []byte("first")
		c.Send(t.Context(), websocket.MessageText, p)
		copy(p, "other")
		time.AfterFunc(1500*time.Millisecond, func() { s.SetDown(false) })
		send(t, c, "second")
		wantMessage(t, c, "first", 1)
		wantMessage(t, c, "second", 1)
	})
}

func TestQueueMaxAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		s := serve(t, func(_ int, c *websocket.Conn) { echo(c) })
		s.SetDown(true)
		c := start(t, s, Options{Backoff: steady, OnDrop: l.drop, Queue: Queue{MaxAge: 2 * time.Second}})
		send(t, c, "old")
		pass(1500 * time.Millisecond)
		send(t, c, "new")
		s.SetDown(false)
		wantMessage(t, c, "new", 1)
		l.wantDrops(t, "old: "+ErrExpired.Error())
	})
}

// Without a queue, messages are written or not.
func TestNoQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, func(_ int, c *websocket.Conn) { echo(c) })
		s.SetDown(true)
		c := start(t, s, Options{Backoff: steady, Queue: Queue{Messages: -1}})
		if err := c.Send(t.Context(), websocket.MessageText, []byte("early")); err != ErrNotConnected {
			t.Errorf("got %v", err)
		}
		s.SetDown(false)
		pass(2 * time.Second)
		send(t, c, "now")
		wantMessage(t, c, "now", 1)
		c.Close(websocket.StatusNormalClosure, "")
		if err := c.Send(t.Context(), websocket.MessageText, []byte("late")); err != ErrClosed {
			t.Errorf("got %v", err)
		}
	})
}

// A faultyConn fails one write, after it was done or before.
type faultyConn struct {
	Conn
	after int // so many writes
}

func (c *faultyConn) Write(ctx context.Context, typ websocket.MessageType, p []byte) error {
	if c.after--; c.after < 0 {
		return errors.New("the network is gone")
	}
	return c.Conn.Write(ctx, typ, p)
}

// A message whose write has failed is dropped, or sent again before the others.
func TestRequeue(t *testing.T) {
	for _, requeue := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			l := newLog()
			s := serve(t, func(_ int, c *websocket.Conn) { echo(c) })
			dial, first := dialWith(*s.Dialer()), true
			c := start(t, nil, Options{
				Backoff: steady, OnDrop: l.drop, Queue: Queue{Requeue: requeue},
				Dial: func(ctx context.Context, target Target) (Conn, error) {
					conn, err := dial(ctx, target)
					if first && err == nil {
						first = false
						conn = &faultyConn{conn, 1}
					}
					return conn, err
				},
			})
			send(t, c, "one")
			wantMessage(t, c, "one", 1)
			send(t, c, "two", "three")
			if requeue {
				wantMessage(t, c, "two", 2)
			}
			wantMessage(t, c, "three", 2)
			if requeue {
				l.wantDrops(t)
			} else {
				l.wantDrops(t, "two: the network is gone")
			}
		})
	}
}

// What is queued is sent before Close closes, and what can't be is dropped, once.
func TestCloseFlushes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := make(chan string, 100)
		s := serve(t, func(_ int, c *websocket.Conn) {
			for m := range c.Messages(context.Background()) {
				got <- string(m.Data)
			}
			close(got)
		})
		c := start(t, s, Options{})
		pass(time.Millisecond)
		for i := range 100 {
			send(t, c, fmt.Sprint(i))
		}
		c.Close(websocket.StatusNormalClosure, "")
		n := 0
		for m := range got {
			if m != fmt.Sprint(n) {
				t.Fatalf("got %q, want %d", m, n)
			}
			n++
		}
		if n != 100 {
			t.Errorf("%d messages came", n)
		}
	})
	for _, told := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			l := newLog()
			o := Options{Dial: func(context.Context, Target) (Conn, error) { return nil, errDown }}
			if told {
				o.OnDrop = l.drop
			}
			c := start(t, nil, o)
			send(t, c, "one", "two")
			c.Close(websocket.StatusNormalClosure, "")
			if told {
				l.wantDrops(t, "one: "+ErrClosed.Error(), "two: "+ErrClosed.Error())
			} else if got := c.Unsent(); len(got) != 2 {
				t.Errorf("got %v", got)
			}
		})
	}
}

// OnDrop may send, and is never called by two at a time.
func TestOnDropSends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c *Client
		var calls, running atomic.Int64
		c = start(t, nil, Options{
			Queue: Queue{Messages: 1, Policy: DropOldest},
			Dial:  func(ctx context.Context, _ Target) (Conn, error) { <-ctx.Done(); return nil, ctx.Err() },
			OnDrop: func(m Message, why error) {
				if running.Add(1) != 1 {
					t.Error("OnDrop runs twice")
				}
				defer running.Add(-1)
				if calls.Add(1) <= 10 {
					c.Send(context.Background(), websocket.MessageText, []byte("from OnDrop"))
				}
			},
		})
		var sending sync.WaitGroup
		for range 8 {
			sending.Go(func() { send(t, c, "x") })
		}
		sending.Wait()
		synctest.Wait()
		if n := calls.Load(); n != 17 {
			t.Errorf("%d drops, want 17", n)
		}
	})
}

// OnDrop may send again what was dropped, though the queue is full and the connection is not what it was.
func TestOnDropSendsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, func(_ int, c *websocket.Conn) { echo(c) })
		dial, first := dialWith(*s.Dialer()), true
		var c *Client
		c = start(t, nil, Options{
			Backoff: steady, Queue: Queue{Messages: 1},
			Dial: func(ctx context.Context, target Target) (Conn, error) {
				conn, err := dial(ctx, target)
				if first && err == nil {
					first = false
					conn = &faultyConn{conn, 0}
				}
				return conn, err
			},
			OnDrop: func(m Message, _ error) { c.Send(context.Background(), m.Type, m.Data) },
		})
		send(t, c, "one", "two", "three")
		got := make(map[string]bool)
		for range 3 {
			m, err := c.Read(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			got[string(m.Data)] = true
		}
		if len(got) != 3 {
			t.Errorf("got %v", got)
		}
	})
}

// What Close flushes goes to the connection that there is: there is no other attempt.
func TestCloseMakesNoAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		s := serve(t, func(_ int, c *websocket.Conn) {
			time.Sleep(2 * time.Second)
			c.CloseNow()
		})
		c := start(t, s, Options{OnState: l.state, Backoff: steady})
		pass(time.Second)
		c.Send(t.Context(), websocket.MessageBinary, make([]byte, 1<<20)) // which takes for ever
		begin := time.Now()
		if err := c.Close(websocket.StatusNormalClosure, ""); err == nil || time.Since(begin) != time.Second {
			t.Errorf("got %v after %v", err, time.Since(begin))
		}
		l.want(t, "0s connecting", "0s open", "2s closed")
	})
}

// An upload that takes long, and a download, are no silence.
func TestHeartbeatWhileBusy(t *testing.T) {
	heartbeat := &AppHeartbeat{Interval: 2 * time.Second, Timeout: 2 * time.Second, Message: func() []byte { return []byte("ping") }}
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		s := serve(t, func(_ int, c *websocket.Conn) {
			w, err := c.NextWriter(context.Background(), websocket.MessageBinary)
			if err != nil {
				t.Error(err)
				return
			}
			for range 10 {
				w.Write(make([]byte, 20<<10))
				time.Sleep(time.Second)
			}
			w.Close()
			listen(c)
		})
		c := start(t, s, Options{OnState: l.state, AppHeartbeat: heartbeat})
		m, err := c.Read(t.Context())
		if len(m.Data) != 200<<10 || err != nil {
			t.Errorf("got %d bytes, %v", len(m.Data), err)
		}
		l.want(t, "0s connecting", "0s open")
	})
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		got := make(chan int, 1)
		s := serve(t, func(_ int, c *websocket.Conn) {
			_, r, err := c.NextReader(context.Background())
			n := 0
			for p := make([]byte, 32<<10); err == nil; {
				var m int
				m, err = r.Read(p)
				n += m
				time.Sleep(200 * time.Millisecond)
			}
			got <- n
			echo(c)
		})
		c := start(t, s, Options{OnState: l.state, AppHeartbeat: heartbeat})
		c.Send(t.Context(), websocket.MessageBinary, make([]byte, 900<<10))
		if n := <-got; n != 900<<10 {
			t.Errorf("got %d bytes", n)
		}
		l.want(t, "0s connecting", "0s open")
	})
}

// A message that expires makes room at that moment, and is told of then.
func TestMaxAgeInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		c := start(t, nil, Options{
			OnDrop: l.drop, Queue: Queue{Messages: 1, MaxAge: time.Second},
			Dial: func(ctx context.Context, _ Target) (Conn, error) { <-ctx.Done(); return nil, ctx.Err() },
		})
		send(t, c, "old")
		begin := time.Now()
		send(t, c, "new")
		if d := time.Since(begin); d > 2*time.Second {
			t.Errorf("it took %v", d)
		}
		l.wantDrops(t, "old: "+ErrExpired.Error())
	})
}

// What can never work is an error of New, and what is read ahead has a limit across connections.
func TestLimits(t *testing.T) {
	for name, o := range map[string]Options{
		"Subprotocols": {Dialer: websocket.Dialer{Subprotocols: []string{"not a token"}}},
		"Header":       {Dialer: websocket.Dialer{Header: http.Header{"Upgrade": {"x"}}}},
	} {
		if _, err := New("ws://host", o); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, func(_ int, c *websocket.Conn) {
			for range 10 {
				c.Write(context.Background(), websocket.MessageText, []byte("x"))
			}
			listen(c)
		})
		c := start(t, s, Options{Inbox: 3})
		for range 20 {
			pass(time.Second)
			c.Reconnect("again")
		}
		if n := len(c.inbox.messages); n > 3 {
			t.Errorf("%d messages are read ahead", n)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		c := start(t, nil, Options{MaxAttempts: 1, Dial: func(context.Context, Target) (Conn, error) { return nil, errDown }})
		pass(time.Second)
		if err := c.Send(t.Context(), websocket.MessageText, nil); !errors.Is(err, ErrGaveUp) {
			t.Errorf("Send after giving up: %v", err)
		}
	})
}

// OnOpen that fails makes the attempt fail.
func TestOnOpenFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		var epochs []uint64
		s := serve(t, func(_ int, c *websocket.Conn) { listen(c) })
		start(t, s, Options{Backoff: steady, OnState: l.state, OnOpen: func(_ context.Context, _ Conn, epoch uint64) error {
			epochs = append(epochs, epoch)
			if len(epochs) < 3 {
				return errors.New("not authenticated")
			}
			return nil
		}})
		pass(time.Minute)
		l.want(t, "0s connecting", "0s waiting", "1s connecting", "1s waiting", "3s connecting", "3s open")
		if fmt.Sprint(epochs) != "[1 1 1]" {
			t.Errorf("epochs %v", epochs)
		}
	})
}

func TestDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, func(_ int, c *websocket.Conn) { listen(c) })
		s.SetDown(true)
		time.AfterFunc(2*time.Second, func() { s.SetDown(false) })
		c, err := Dial(t.Context(), s.URL, Options{Dialer: *s.Dialer(), Backoff: steady})
		if err != nil || c.State().Phase != Open {
			t.Fatal(err)
		}
		c.Close(websocket.StatusNormalClosure, "")
		<-c.Done()

		s.SetDown(true)
		if _, err := Dial(t.Context(), s.URL, Options{Dialer: *s.Dialer(), MaxAttempts: 2}); !errors.Is(err, ErrGaveUp) {
			t.Errorf("got %v", err)
		}
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, io.EOF)
		defer cancel()
		if _, err := Dial(ctx, s.URL, Options{Dialer: *s.Dialer()}); err != io.EOF {
			t.Errorf("got %v, want the cause of the context", err)
		}
	})
	for _, url := range []string{"", "ftp://host", "ws://", "ws://user:secret@host:port"} {
		if _, err := Dial(t.Context(), url, Options{}); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: got %v", url, err)
		}
	}
}

// The loop over messages ends quietly with Close, and otherwise with an error.
func TestMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, func(_ int, c *websocket.Conn) { echo(c) })
		c := start(t, s, Options{})
		send(t, c, "one", "two")
		var got []string
		for m, err := range c.Messages(t.Context()) {
			if err != nil {
				t.Error(err)
			}
			if got = append(got, string(m.Data)); len(got) == 2 {
				go c.Close(websocket.StatusNormalClosure, "")
			}
		}
		if fmt.Sprint(got) != "[one two]" {
			t.Errorf("got %v", got)
		}
		c = start(t, s, Options{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for _, err := range c.Messages(ctx) {
			if err != context.DeadlineExceeded {
				t.Errorf("got %v", err)
			}
		}
	})
}

// follows are the phases that may come after each.
var follows = map[Phase][]Phase{
	Connecting: {Open, Waiting, GaveUp, Closed, Connecting},
	Open:       {Waiting, GaveUp, Closed, Connecting},
	Waiting:    {Connecting, Closed},
	GaveUp:     {Connecting, Closed},
}

// A countedConn tells when it is closed.
type countedConn struct {
	Conn
	closed func()
}

func (c *countedConn) CloseNow() error {
	c.closed()
	return c.Conn.CloseNow()
}

// Whatever happens, in whatever order, there is one connection at the most, and the states make sense.
func TestRandom(t *testing.T) {
	const seeds = 20
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) { testRandom(t, rand.New(rand.NewPCG(uint64(seed), 1))) })
	}
}

func testRandom(t *testing.T, r *rand.Rand) {
	var mu sync.Mutex
	random := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return r.IntN(n)
	}
	s := serve(t, func(_ int, c *websocket.Conn) {
		time.AfterFunc(time.Duration(random(20))*time.Second, func() { c.CloseNow() })
		echo(c)
	})
	dial := dialWith(*s.Dialer())
	var live, most atomic.Int64
	l := newLog()
	c := start(t, nil, Options{
		OnState: l.state,
		Queue:   Queue{Messages: 3, Policy: Policy(random(4)), Requeue: random(2) == 0, MaxAge: time.Duration(random(3)) * time.Second},
		Retry:   func(error) Decision { return Decision{Stop: random(10) == 0} },
		Dial: func(ctx context.Context, target Target) (Conn, error) {
			if random(3) == 0 {
				sleep(ctx, time.Duration(random(20))*time.Second)
				return nil, errDown
			}
			conn, err := dial(ctx, target)
			if err != nil {
				return nil, err
			}
			n := live.Add(1)
			most.Store(max(n, most.Load()))
			return &countedConn{conn, sync.OnceFunc(func() { live.Add(-1) })}, nil
		},
		OnOpen: func(ctx context.Context, c Conn, _ uint64) error {
			if random(5) == 0 {
				return errors.New("refused")
			}
			return nil
		},
		OnDrop: func(Message, error) {},
	})
	var users sync.WaitGroup
	for range 8 {
		users.Go(func() {
			for range 125 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(random(2000))*time.Millisecond)
				switch random(10) {
				case 0:
					c.Reconnect("at random")
				case 1:
					c.Unsent()
				case 2:
					c.State()
					c.Err()
				case 3, 4, 5:
					c.Read(ctx)
				default:
					c.Send(ctx, websocket.MessageText, []byte("x"))
				}
				cancel()
				time.Sleep(time.Duration(random(1000)) * time.Millisecond)
			}
		})
	}
	users.Wait()
	c.Close(websocket.StatusNormalClosure, "")
	if live.Load() != 0 || most.Load() != 1 {
		t.Errorf("%d connections are left, there were %d at a time", live.Load(), most.Load())
	}
	for i := range l.all()[1:] {
		if before, after := l.all()[i].Phase, l.all()[i+1].Phase; !slices.Contains(follows[before], after) {
			t.Errorf("%v comes after %v", after, before)
		}
	}
	if last := l.all()[len(l.all())-1].Phase; last != Closed {
		t.Errorf("the last state is %v", last)
	}
}

// A certificate that is not trusted is no reason to try again, nor is what the server says of a token.
func TestUntrusted(t *testing.T) {
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = quiet
	s.StartTLS()
	defer s.Close()
	_, err := Dial(t.Context(), s.URL+"?token=secret", Options{Dialer: websocket.Dialer{Header: http.Header{"Authorization": {"secret"}}}})
	if !errors.Is(err, ErrGaveUp) || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
	}
}
