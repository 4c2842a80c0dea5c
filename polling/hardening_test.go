package polling

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidewire/websocket/backoff"
	"github.com/tidewire/websocket/feed"
)

func handlerOf(f *feed.Feed) *Handler {
	return &Handler{Feed: func(*http.Request) (*feed.Feed, error) { return f, nil }}
}

// A quiet poll is answered in time, whoever sets the time.
func TestHandlerDeadlines(t *testing.T) {
	var f *feed.Feed
	h := &Handler{Feed: func(*http.Request) (*feed.Feed, error) { return f, nil }}
	for _, test := range []struct {
		name   string
		h      http.Handler
		status int
		after  time.Duration
	}{
		{"a context that ends", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
			defer cancel()
			h.ServeHTTP(w, r.WithContext(ctx))
		}), http.StatusOK, 4500 * time.Millisecond},
		{"a context that is cancelled", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithCancel(r.Context())
			defer time.AfterFunc(time.Second, cancel).Stop()
			h.ServeHTTP(w, r.WithContext(ctx))
		}), http.StatusServiceUnavailable, time.Second},
		{"TimeoutHandler", http.TimeoutHandler(h, 10*time.Second, ""), http.StatusOK, 9 * time.Second},
		{"a WriteTimeout that can't be moved", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx := context.WithValue(r.Context(), http.ServerContextKey, &http.Server{WriteTimeout: 20 * time.Second})
			h.ServeHTTP(struct{ http.ResponseWriter }{w}, r.WithContext(ctx))
		}), http.StatusOK, 18 * time.Second},
		{"a WriteTimeout that can", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx := context.WithValue(r.Context(), http.ServerContextKey, &http.Server{WriteTimeout: 20 * time.Second})
			h.ServeHTTP(w, r.WithContext(ctx))
		}), http.StatusOK, 30 * time.Second},
		{"no limit", &Handler{Feed: h.Feed, MaxWait: math.MaxInt64}, http.StatusOK, longest},
	} {
		inBubble(t, func(t *testing.T) {
			f = feed.New(feed.Limits{})
			c := serve(t, test.h)
			begun := time.Now()
			if b, resp := get(t, c, "?cursor="+string(f.Head())); resp.StatusCode != test.status || len(b.Events) > 0 || time.Since(begun) != test.after {
				t.Errorf("%s: got %s after %v", test.name, resp.Status, time.Since(begun))
			}
		})
	}
}

// The deadline of the server is moved on, but not back.
func TestHandlerKeepsDeadline(t *testing.T) {
	f, _ := fill(0)
	for timeout, want := range map[time.Duration]int{0: 0, time.Second: 1, 10 * time.Minute: 0} {
		w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		r := httptest.NewRequest("GET", "/?wait=0.001&cursor="+string(f.Head()), nil)
		handlerOf(f).ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), http.ServerContextKey, &http.Server{WriteTimeout: timeout})))
		if len(w.set) != want || w.Code != http.StatusOK {
			t.Errorf("with %v: the deadlines %v", timeout, w.set)
		}
	}
}

type deadlines struct {
	*httptest.ResponseRecorder
	set []time.Time
}

func (d *deadlines) SetWriteDeadline(at time.Time) error {
	d.set = append(d.set, at)
	return nil
}

// Whatever is in a feed, all of it comes to a client, and the next item as well.
func TestAnyItem(t *testing.T) {
	deep := strings.Repeat("[", 9999) + strings.Repeat("]", 9999)
	large := strings.Repeat("<", 11<<20) // of which HTML's escapes would be more than a client takes
	long := `"` + strings.Repeat("a", 1<<18) + `"`
	if testing.Short() {
		large = large[:1<<20]
	}
	inBubble(t, func(t *testing.T) {
		f := feed.New(feed.Limits{Bytes: 1 << 30})
		start := f.Head()
		items := []string{deep, large, "\"\xff\"", "\xff", "", "null", "1],[2", "</script>\u2028"}
		for range 10 {
			items = append(items, long)
		}
		for _, item := range items {
			f.Append([]byte(item))
		}
		c := serve(t, handlerOf(f))
		n := 0
		for b, err := range Long(t.Context(), address, LongOptions{HTTP: c, Cursor: string(start), MaxTries: 1}) {
			if err != nil {
				t.Fatal(err)
			}
			for _, got := range b.Events {
				item := strings.ToValidUTF8(items[n], "\uFFFD")
				if item == long || item == "null" || n == 2 {
					if string(got) != item {
						t.Errorf("item %d: got %.80q", n, got)
					}
				} else if text := ""; json.Unmarshal(got, &text) != nil || text != item {
					t.Errorf("item %d: got %.80q", n, got)
				}
				n++
			}
			if n == len(items) {
				break
			}
		}
	})
}

// Many who have waited for the same get the same, and others don't.
func TestSameAnswer(t *testing.T) {
	f, start := fill(3)
	h := handlerOf(f)
	body := func(cursor feed.Cursor) string {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/?wait=0&cursor="+string(cursor), nil))
		return w.Body.String()
	}
	first := body(start)
	if !strings.HasPrefix(first, `{"events":[0,1,2],`) || body(start) != first {
		t.Errorf("got %s", first)
	}
	second := f.Append([]byte("3"))
	for _, test := range []struct {
		cursor feed.Cursor
		want   string
	}{{start, "[0,1,2,3]"}, {second, "[]"}, {start, "[0,1,2,3]"}, {"garbage", "[]"}} {
		if got := body(test.cursor); !strings.HasPrefix(got, `{"events":`+test.want) || strings.Contains(got, `"reset":true`) != (test.cursor == "garbage") {
			t.Errorf("from %s on: got %s", test.cursor, got)
		}
	}
}

func TestHandlerRefusesMore(t *testing.T) {
	closed := feed.New(feed.Limits{})
	closed.Close()
	for _, test := range []struct {
		name   string
		feed   *feed.Feed
		err    error
		method string
		query  string
		body   string
		want   int
	}{
		{name: "a body, which hides that the client has gone", feed: closed, body: "x", want: 400},
		{name: "a closed feed, and no wait", feed: closed, query: "?wait=0&cursor=" + string(closed.Head()), want: 503},
		{name: "a status without a text", err: &HTTPError{StatusCode: 401}, want: 401},
		{name: "no status", err: &HTTPError{}, want: 500},
		{name: "a failure", err: errors.New("secret"), want: 500},
		{name: "HEAD", feed: closed, method: "HEAD", want: 405},
	} {
		h := &Handler{Feed: func(*http.Request) (*feed.Feed, error) { return test.feed, test.err }}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(test.method, "/"+test.query, strings.NewReader(test.body)))
		if w.Code != test.want || w.Header().Get("Cache-Control") != "no-store" || strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%s: got %d, %v, %q", test.name, w.Code, w.Header(), w.Body)
		}
	}
}

// answers serves answers, each to one request; the last to all that follow.
func answers(t *testing.T, list ...http.HandlerFunc) (c *http.Client, asked *[]time.Duration) {
	asked = new([]time.Duration)
	start := time.Now()
	return serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*asked = append(*asked, time.Since(start))
		list[min(len(list), len(*asked))-1](w, r)
	})), asked
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(code) }
}

func content(s string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, s) }
}

// What would only fail again is not tried again, and what may pass is.
func TestLongEnds(t *testing.T) {
	for code, again := range map[int]bool{
		202: false, 204: false, 304: false, 400: false, 401: false, 404: false, 410: false,
		408: true, 425: true, 429: true, 500: true, 502: true, 503: true, 599: true,
	} {
		inBubble(t, func(t *testing.T) {
			c, asked := answers(t, status(code), content(`{"events":[1],"cursor":"c"}`))
			for b, err := range Long(t.Context(), address, LongOptions{HTTP: c, Cursor: "b"}) {
				if e, ok := errors.AsType[*HTTPError](err); again != (err == nil && text(b) == "1") || !again && (!ok || e.StatusCode != code) {
					t.Errorf("%d: got %+v, %v", code, b, err)
				}
				break
			}
			if want := map[bool]int{false: 1, true: 2}[again]; len(*asked) != want {
				t.Errorf("%d: %d requests", code, len(*asked))
			}
		})
	}
	for _, test := range []struct {
		url  string
		o    LongOptions
		want error
	}{
		{"http://[::1?token=secret", LongOptions{}, errURL},
		{"ftp://127.0.0.1/", LongOptions{}, errURL},
		{"127.0.0.1/x", LongOptions{}, errURL},
		{"http:///x", LongOptions{}, errURL},
		{address, LongOptions{Prepare: func(*http.Request) error { return fmt.Errorf("no token: %w", ErrStop) }}, ErrStop},
	} {
		inBubble(t, func(t *testing.T) {
			for _, err := range Long(t.Context(), test.url, test.o) {
				if !errors.Is(err, test.want) || strings.Contains(err.Error(), "secret") {
					t.Errorf("%s: got %v", test.url, err)
				}
			}
		})
	}
	s := httptest.NewUnstartedServer(status(200))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	for _, err := range Long(t.Context(), s.URL, LongOptions{HTTP: new(http.Client)}) {
		if !strings.Contains(err.Error(), "certificate") {
			t.Errorf("got %v", err)
		}
	}
}

// An answer makes the failures before it forgotten.
func TestLongForgetsFailures(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c, asked := answers(t, status(500), status(500), content(`{"events":[1],"cursor":"1"}`), status(500), status(500), content(`{"events":[2],"cursor":"2"}`), status(404))
		n := 0
		for b := range Long(t.Context(), address, LongOptions{HTTP: c, Cursor: "0", MaxTries: 3, Backoff: backoff.Policy{NoJitter: true}}) {
			n += len(b.Events)
		}
		want := []time.Duration{0, 1, 3, 3, 4, 6, 6}
		for i := range want {
			want[i] *= time.Second
		}
		if n != 2 || !slices.Equal(*asked, want) {
			t.Errorf("%d events, asked at %v, want %v", n, *asked, want)
		}
	})
}

// A position that is always lost, or does not move, is not asked for without a pause.
func TestLongPauses(t *testing.T) {
	for name, answer := range map[string]string{
		"Reset":     `{"events":[],"cursor":"c","reset":true}`,
		"not moved": `{"events":[1],"cursor":"c"}`,
		"nothing":   `{"events":[],"cursor":"c"}`,
	} {
		inBubble(t, func(t *testing.T) {
			c, asked := answers(t, content(answer))
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			for range Long(ctx, address, LongOptions{HTTP: c, Cursor: "c"}) {
			}
			if n := len(*asked); n < 10 || n > 601 {
				t.Errorf("%s: %d requests in 10 minutes", name, n)
			}
		})
	}
}

// The first Reset is followed at once.
func TestLongReset(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c, asked := answers(t, content(`{"events":[],"cursor":"c","reset":true}`), content(`{"events":[1],"cursor":"d"}`), status(404))
		for range Long(t.Context(), address, LongOptions{HTTP: c}) {
		}
		if !slices.Equal(*asked, []time.Duration{0, 0, 0}) {
			t.Errorf("asked at %v", *asked)
		}
	})
}

// Those who are told to come again later don't come at the same time.
func TestHerd(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c, _ := answers(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "20")
			w.WriteHeader(http.StatusServiceUnavailable)
		})
		waits := make(map[time.Duration]bool)
		for range 50 {
			for range Long(t.Context(), address, LongOptions{HTTP: c, MaxTries: 2, OnRetry: func(_ error, d time.Duration) {
				if waits[d] = true; d < 20*time.Second || d > 22*time.Second {
					t.Errorf("it waits for %v", d)
				}
			}}) {
			}
			start := time.Now()
			for range Every(t.Context(), Options{MaxErrors: 2}, Get[int](c, address)) {
			}
			d := time.Since(start)
			if waits[d] = true; d < 20*time.Second || d > 22*time.Second {
				t.Errorf("Every waits for %v", d)
			}
		}
		if len(waits) < 50 {
			t.Errorf("100 clients come at %d different times", len(waits))
		}
	})
}

// An answer may take any time as long as something comes, but not without.
func TestLongSlow(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		c, _ := answers(t, func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, `{"cursor":"c","events":[1`)
			for range 60 {
				http.NewResponseController(w).Flush()
				time.Sleep(19 * time.Second)
				io.WriteString(w, ",1")
			}
			io.WriteString(w, "]}")
		}, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		n := 0
		for b, err := range Long(t.Context(), address, LongOptions{HTTP: c, Cursor: "a", MaxTries: 1, Wait: 5 * time.Second}) {
			if n += len(b.Events); err != nil && !errors.Is(err, errNoAnswer) {
				t.Error(err)
			}
		}
		if n != 61 {
			t.Errorf("%d events", n)
		}
	})
}

// The query of the URL stays as it is.
func TestLongQuery(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		query := ""
		c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			query = r.URL.RawQuery
			w.WriteHeader(404)
		}))
		for range Long(t.Context(), address+"?z=1&sig=a;b&a=%zz&flag", LongOptions{HTTP: c, Cursor: "a b", Wait: math.MaxInt64}) {
		}
		if want := "cursor=a+b&wait=86400&z=1&sig=a;b&a=%zz&flag"; query != want {
			t.Errorf("got %s, want %s", query, want)
		}
	})
}

// A connection is used again after an error.
func TestErrorKeepsConnection(t *testing.T) {
	var mu sync.Mutex
	conns := 0
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, strings.Repeat("x", 4000), http.StatusServiceUnavailable)
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		mu.Lock()
		defer mu.Unlock()
		if state == http.StateNew {
			conns++
		}
	}
	s.Start()
	defer s.Close()
	for range 10 {
		for _, err := range Long(t.Context(), s.URL, LongOptions{HTTP: s.Client(), MaxTries: 1}) {
			if len(err.Error()) > 700 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
		}
	}
	if conns != 1 {
		t.Errorf("%d connections", conns)
	}
}

// A Get that can't be answered as it was asked.
func TestGetFails(t *testing.T) {
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"half a value": {content(`{"a":1,"b":"x"}`), "cannot unmarshal"},
		"304 unasked":  {status(304), "304"},
		"too long": {func(w http.ResponseWriter, r *http.Request) {
			p := bytes.Repeat([]byte(" "), 1<<20)
			for range 65 {
				w.Write(p)
			}
		}, errTooLong.Error()},
	} {
		inBubble(t, func(t *testing.T) {
			c, _ := answers(t, test.answer)
			value, err := Get[struct{ A, B int }](c, address)(t.Context())
			if err == nil || !strings.Contains(err.Error(), test.want) || value.A != 0 {
				t.Errorf("%s: got %v, %v", name, value, err)
			}
		})
	}
	for _, url := range []string{"http://127.0.0.1:1/?token=secret", "http://[::1?token=secret"} {
		if _, err := Get[int](nil, url)(t.Context()); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("got %v", err)
		}
	}
}

// Options beyond reason.
func TestDelays(t *testing.T) {
	for name, o := range map[string]Options{
		"no end":       {MaxInterval: math.MaxInt64},
		"long":         {Interval: math.MaxInt64},
		"NaN":          {Factor: math.NaN(), Jitter: math.NaN()},
		"Inf":          {Factor: math.Inf(1), Jitter: math.Inf(1)},
		"shrinking":    {Factor: 0.1},
		"negative":     {Interval: -1, MaxInterval: -1, Factor: -1, Jitter: -1, Timeout: -1},
		"longer, then": {Interval: time.Minute, MaxInterval: time.Second},
	} {
		o = o.withDefaults()
		for failures := range 2000 {
			if d := o.delay(failures); d < o.Interval-time.Duration(o.Jitter*float64(o.Interval)) {
				t.Errorf("%s: delay %d is %v", name, failures, d)
			}
			if d := o.wait(math.MaxInt64, failures); d != math.MaxInt64 {
				t.Errorf("%s: wait %d is %v", name, failures, d)
			}
		}
	}
	if d := (backoff.Policy{Factor: math.NaN()}).Delay(3); d < 0 || d > time.Second {
		t.Errorf("got %v", d)
	}
}

// An After may have text around it, and the time that nothing is new makes errors forgotten.
func TestEveryAfter(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		down := errors.New("down")
		calls := 0
		var got []string
		for _, err := range Every(t.Context(), Options{Jitter: -1, MaxErrors: 2}, func(context.Context) (int, error) {
			switch calls++; calls {
			case 1, 3, 5:
				return 0, fmt.Errorf("price of 7: %w", &After{time.Minute, down})
			case 2, 4:
				return 0, fmt.Errorf("price of 7: %w", &After{})
			case 6:
				return 0, fmt.Errorf("price of 7: %w", ErrStop)
			}
			return 0, nil
		}) {
			if got = append(got, fmt.Sprint(err)); !errors.Is(err, down) {
				t.Errorf("got %v", err)
			}
		}
		if want := []string{"price of 7: down", "price of 7: down", "price of 7: down"}; !slices.Equal(got, want) || calls != 6 {
			t.Errorf("got %q in %d calls", got, calls)
		}
	})
}

// Waiting ends with its cause.
func TestLongCause(t *testing.T) {
	cause := errors.New("cause")
	for name, answer := range map[string]http.HandlerFunc{
		"in a request":     func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"between requests": status(503),
	} {
		inBubble(t, func(t *testing.T) {
			c, _ := answers(t, answer)
			ctx, cancel := context.WithCancelCause(t.Context())
			defer time.AfterFunc(3500*time.Millisecond, func() { cancel(cause) }).Stop()
			n := 0
			for _, err := range Long(ctx, address, LongOptions{HTTP: c, Backoff: backoff.Policy{Min: 3 * time.Second, NoJitter: true}}) {
				if n++; err != cause {
					t.Errorf("%s: got %v", name, err)
				}
			}
			if n != 1 {
				t.Errorf("%s: %d pairs", name, n)
			}
			synctest.Wait()
		})
	}
}
