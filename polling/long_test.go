package polling

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math"
	"math/rand/v2"
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

// A poller asks until it has had so many events, each once and in order. It may give up and come again.
func poll(t *testing.T, c *http.Client, address string, cursor string, events int, patience func() time.Duration) {
	for n := 0; n < events; {
		ctx, cancel := context.WithTimeout(t.Context(), patience())
		for b, err := range Long(ctx, address, LongOptions{HTTP: c, Cursor: cursor, Wait: 5 * time.Second}) {
			if err != nil && err != context.DeadlineExceeded {
				t.Error(err)
				n = events
			}
			if err != nil {
				break
			}
			for _, e := range b.Events {
				if string(e) != fmt.Sprint(n) || b.Reset {
					t.Errorf("got %s, want %d", e, n)
					cancel()
					return
				}
				n++
			}
			if cursor = b.Cursor; n == events {
				break
			}
		}
		cancel()
	}
}

// Pollers that give up at random times, and come again, miss nothing and get nothing twice.
func TestLongGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := feed.New(feed.Limits{})
		c := serveFeed(t, f, new(Handler))
		start := string(f.Head())
		const events = 500
		var all sync.WaitGroup
		for i := range 20 {
			random := rand.New(rand.NewPCG(uint64(i), 1))
			all.Go(func() {
				poll(t, c, address, start, events, func() time.Duration { return time.Duration(random.Int64N(int64(5 * time.Second))) })
			})
		}
		for i := range events {
			time.Sleep(time.Duration(i%100) * time.Millisecond)
			f.Append(fmt.Append(nil, i))
		}
		all.Wait()
	})
}

// Many pollers of a busy feed get everything, over TCP.
func TestLongMany(t *testing.T) {
	pollers, seconds := 1000, 20
	if testing.Short() {
		pollers, seconds = 50, 2
	}
	const perSecond = 200
	f := feed.New(feed.Limits{Count: 10_000})
	s := httptest.NewServer(&Handler{Feed: func(*http.Request) (*feed.Feed, error) { return f, nil }})
	defer s.Close()
	transport := &http.Transport{MaxIdleConnsPerHost: pollers}
	defer transport.CloseIdleConnections()
	start := string(f.Head())
	var all sync.WaitGroup
	for range pollers {
		all.Go(func() {
			poll(t, &http.Client{Transport: transport}, s.URL, start, seconds*perSecond, func() time.Duration { return 2 * time.Minute })
		})
	}
	tick := time.NewTicker(time.Second / perSecond)
	defer tick.Stop()
	for i := range seconds * perSecond {
		<-tick.C
		f.Append(fmt.Append(nil, i))
	}
	all.Wait()
}

func TestLongFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []string
		start := time.Now()
		c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked = append(asked, fmt.Sprint(time.Since(start), " ", r.URL.RawQuery, r.Header.Get("Token")))
			switch len(asked) {
			case 1:
				io.WriteString(w, `{"events":[1],"cursor":"c1"}`)
			case 2:
				http.Error(w, "not now", http.StatusServiceUnavailable)
			case 3:
				w.Header().Set("Retry-After", "20")
				w.WriteHeader(http.StatusTooManyRequests)
			case 4:
				io.WriteString(w, "<html>")
			case 5:
				io.WriteString(w, `{"events":[]}`)
			case 6, 7: // and does not wait
				io.WriteString(w, `{"events":[],"cursor":"c2"}`)
			case 8:
				io.WriteString(w, `{"events":[2],"cursor":"c3"}`)
			default:
				http.Error(w, "never", http.StatusNotFound)
			}
		}))
		var retries []string
		o := LongOptions{HTTP: c, Cursor: "c0", Backoff: backoff.Policy{NoJitter: true},
			Prepare: func(r *http.Request) error { r.Header.Set("Token", "token"); return nil },
			OnRetry: func(err error, wait time.Duration) { retries = append(retries, fmt.Sprint(wait, " ", err)) },
		}
		var got []string
		for b, err := range Long(t.Context(), address+"?a=b", o) {
			got = append(got, fmt.Sprint(text(b), " ", err))
		}
		if want := []string{"1 <nil>", "2 <nil>", " polling: the server answers 404 Not Found: never"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		want := []string{
			"0s cursor=c0&wait=25&a=btoken", "0s cursor=c1&wait=25&a=btoken", "1s cursor=c1&wait=25&a=btoken", "23s cursor=c1&wait=25&a=btoken",
			"27s cursor=c1&wait=25&a=btoken", "35s cursor=c1&wait=25&a=btoken", "36s cursor=c2&wait=25&a=btoken", "37s cursor=c2&wait=25&a=btoken", "37s cursor=c3&wait=25&a=btoken",
		}
		if !slices.Equal(asked, want) {
			t.Errorf("got  %q\nwant %q", asked, want)
		}
		wantRetries := []string{
			"1s polling: the server answers 503 Service Unavailable: not now", "22s polling: the server answers 429 Too Many Requests",
			"4s polling: invalid character '<' looking for beginning of value", "8s polling: the answer has no cursor",
		}
		if !slices.Equal(retries, wantRetries) {
			t.Errorf("got  %q\nwant %q", retries, wantRetries)
		}
		asked = asked[:1]
		o.MaxTries = 2
		for _, err := range Long(t.Context(), address, o) {
			if !errors.Is(err, ErrGaveUp) || !strings.Contains(err.Error(), "after 2 attempts") {
				t.Errorf("got %v", err)
			}
		}
	})
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
		synctest.Test(t, func(t *testing.T) {
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
		synctest.Test(t, func(t *testing.T) {
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
	synctest.Test(t, func(t *testing.T) {
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
		synctest.Test(t, func(t *testing.T) {
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
	synctest.Test(t, func(t *testing.T) {
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
	synctest.Test(t, func(t *testing.T) {
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
	synctest.Test(t, func(t *testing.T) {
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
	synctest.Test(t, func(t *testing.T) {
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

// Waiting ends with its cause.
func TestLongCause(t *testing.T) {
	cause := errors.New("cause")
	for name, answer := range map[string]http.HandlerFunc{
		"in a request":     func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"between requests": status(503),
	} {
		synctest.Test(t, func(t *testing.T) {
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
