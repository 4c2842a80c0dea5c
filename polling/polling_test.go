package polling

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidewire/websocket/backoff"
	"github.com/tidewire/websocket/feed"
	"github.com/tidewire/websocket/websockettest"
)

func inBubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, test)
}

const address = "http://polling.test/"

// serve serves h in memory until the test ends, and returns a client of it.
func serve(t *testing.T, h http.Handler) *http.Client {
	s := websockettest.NewServer(h)
	t.Cleanup(s.Close)
	transport := &http.Transport{DialContext: s.Dialer().DialContext}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// serveFeed serves a feed.
func serveFeed(t *testing.T, f *feed.Feed, h *Handler) *http.Client {
	h.Feed = func(*http.Request) (*feed.Feed, error) { return f, nil }
	return serve(t, h)
}

// get asks for a Batch.
func get(t *testing.T, c *http.Client, query string) (b Batch, resp *http.Response) {
	t.Helper()
	resp, err := c.Get(address + query)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode == http.StatusOK {
		if err := json.Unmarshal(body, &b); err != nil || b.Events == nil || b.Cursor == "" || !strings.Contains(string(body), `"events":[`) {
			t.Fatalf("%s: %v", body, err)
		}
	}
	return b, resp
}

// text joins events.
func text(b Batch) string {
	var list []string
	for _, e := range b.Events {
		list = append(list, string(e))
	}
	return strings.Join(list, " ")
}

func fill(n int) (f *feed.Feed, start feed.Cursor) {
	f = feed.New(feed.Limits{})
	start = f.Head()
	for i := range n {
		f.Append(fmt.Append(nil, i))
	}
	return f, start
}

func TestHandler(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f, start := fill(5)
		c := serveFeed(t, f, &Handler{MaxBatch: 3})
		b, resp := get(t, c, "?cursor="+string(start))
		if text(b) != "0 1 2" || b.Reset || !b.More {
			t.Errorf("got %q, %+v", text(b), b)
		}
		if h := resp.Header; h.Get("Content-Type") != "application/json" || h.Get("Cache-Control") != "no-store" {
			t.Errorf("got %v", h)
		}
		if b, _ = get(t, c, "?cursor="+b.Cursor); text(b) != "3 4" || b.Reset || b.More {
			t.Errorf("then got %q, %+v", text(b), b)
		}
		begun := time.Now()
		if again, _ := get(t, c, "?cursor="+b.Cursor+"&wait=2.5"); text(again) != "" || again.Cursor != b.Cursor || again.Reset || time.Since(begun) != 2500*time.Millisecond {
			t.Errorf("with nothing: got %+v after %v", again, time.Since(begun))
		}
		if again, _ := get(t, c, "?cursor="+b.Cursor+"&wait=0"); text(again) != "" || again.Cursor != b.Cursor {
			t.Errorf("with nothing: got %+v", again)
		}
		begun = time.Now()
		if get(t, c, "?cursor="+b.Cursor+"&wait=1e300"); time.Since(begun) != 30*time.Second {
			t.Errorf("it waits for %v", time.Since(begun))
		}
		begun = time.Now()
		time.AfterFunc(7*time.Second, func() { f.Append([]byte(`{"a":1}`)); f.Append([]byte("no JSON \xff")) })
		if b, _ = get(t, c, "?cursor="+b.Cursor); !strings.HasPrefix(text(b), `{"a":1}`) || time.Since(begun) != 7*time.Second {
			t.Errorf("got %q after %v", text(b), time.Since(begun))
		}
		if b, _ = get(t, c, "?cursor="+string(start)+"&wait=0"); len(b.Events) != 3 {
			t.Errorf("got %+v", b)
		}
		for range 2 {
			b, _ = get(t, c, "?wait=0&cursor="+b.Cursor)
		}
		if last := text(b); !strings.HasSuffix(last, "\"no JSON \uFFFD\"") {
			t.Errorf("got %s", last)
		}
		for _, cursor := range []string{"", "garbage", "OTHERFEEDX-1"} {
			if b, _ := get(t, c, "?cursor="+cursor); !b.Reset || b.Cursor != string(f.Head()) || len(b.Events) != 0 {
				t.Errorf("%q: got %+v", cursor, b)
			}
		}
	})
}

func TestHandlerRefuses(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f, _ := fill(1)
		h := &Handler{MaxWaiters: 2}
		c := serveFeed(t, f, h)
		status := func(query string, want int) *http.Response {
			t.Helper()
			_, resp := get(t, c, query)
			if resp.StatusCode != want {
				t.Errorf("%s: got %s, want %d", query, resp.Status, want)
			}
			return resp
		}
		for _, wait := range []string{"x", "-1", "NaN", "1s"} {
			status("?wait="+wait, http.StatusBadRequest)
		}
		resp, err := c.Post(address, "text/plain", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "GET" {
			t.Errorf("POST: got %s", resp.Status)
		}

		// Two wait, and one of them goes away.
		head := string(f.Head())
		ctx, cancel := context.WithCancel(t.Context())
		var waiting sync.WaitGroup
		for _, ctx := range []context.Context{ctx, t.Context()} {
			waiting.Go(func() {
				req, _ := http.NewRequestWithContext(ctx, "GET", address+"?cursor="+head, nil)
				if resp, err := c.Do(req); err == nil {
					resp.Body.Close()
				}
			})
			synctest.Wait()
		}
		if resp := status("?cursor="+head, http.StatusServiceUnavailable); resp.Header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
		status("?cursor="+head+"&wait=0", http.StatusOK)
		cancel()
		synctest.Wait()
		if n := h.waiters.Load(); n != 1 {
			t.Errorf("%d wait", n)
		}
		status("?cursor="+head+"&wait=1", http.StatusOK)
		f.Close()
		waiting.Wait()
		status("?cursor="+head, http.StatusServiceUnavailable)
		h.Feed = func(r *http.Request) (*feed.Feed, error) {
			if r.URL.Query().Has("unknown") {
				return nil, &HTTPError{http.StatusUnauthorized, errors.New("who are you?")}
			}
			return nil, errors.New("no")
		}
		status("", http.StatusInternalServerError)
		status("?unknown", http.StatusUnauthorized)
	})
}

// The wait may be longer than the WriteTimeout of the server.
func TestHandlerWriteTimeout(t *testing.T) {
	f, _ := fill(0)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{WriteTimeout: 50 * time.Millisecond, Handler: &Handler{Feed: func(*http.Request) (*feed.Feed, error) { return f, nil }}}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	defer func() {
		s.Close()
		<-served
	}()
	transport := new(http.Transport)
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get("http://" + ln.Addr().String() + "/?wait=0.2&cursor=" + string(f.Head()))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); len(body) == 0 || err != nil {
		t.Errorf("got %q, %v", body, err)
	}
}

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
	inBubble(t, func(t *testing.T) {
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
	inBubble(t, func(t *testing.T) {
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

// What is asked, at which times, and what comes of it.
func TestEvery(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		failure := errors.New("down")
		start := time.Now()
		var calls []time.Duration
		fetch := func(ctx context.Context) (int, error) {
			calls = append(calls, time.Since(start))
			switch n := len(calls); n {
			case 2, 3, 4, 5, 6, 7:
				return 0, failure
			case 9:
				return 0, &After{Delay: time.Minute}
			case 10:
				return 0, &After{Delay: time.Minute, Err: failure}
			case 11:
				<-ctx.Done() // it takes too long
				return 0, ctx.Err()
			case 13:
				return 0, ErrStop
			default:
				return n, nil
			}
		}
		var got []string
		for n, err := range Every(t.Context(), Options{Jitter: -1}, fetch) {
			got = append(got, fmt.Sprint(n, " ", err))
		}
		want := []string{"1 <nil>", "0 down", "0 down", "0 down", "0 down", "0 down", "0 down", "8 <nil>", "0 down", "0 context deadline exceeded", "12 <nil>"}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		var seconds []int
		for _, at := range calls {
			seconds = append(seconds, int(at/time.Second))
		}
		if want := []int{0, 3, 9, 21, 45, 75, 105, 135, 138, 198, 258, 280, 283}; !slices.Equal(seconds, want) {
			t.Errorf("called at %v, want %v", seconds, want)
		}
	})
}

func TestEveryEnds(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		calls := 0
		fetch := func(context.Context) (int, error) { calls++; return calls, errors.New("down") }
		n := 0
		for range Every(t.Context(), Options{MaxErrors: 3}, fetch) {
			n++
		}
		if n != 3 || calls != 3 {
			t.Errorf("%d errors, %d calls", n, calls)
		}
		for range Every(t.Context(), Options{}, fetch) {
			break
		}
		time.Sleep(time.Hour)
		if calls != 4 {
			t.Errorf("%d calls after the loop was left", calls-4)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		start := time.Now()
		for range Every(ctx, Options{WaitFirst: true}, func(context.Context) (int, error) {
			if d := time.Since(start); d < 2700*time.Millisecond || d > 10*time.Second {
				t.Errorf("called after %v", d)
			}
			return 0, nil
		}) {
		}
		if d := time.Since(start); d != 10*time.Second {
			t.Errorf("it ended after %v", d)
		}
	})
}

// Delays differ, within the jitter.
func TestJitter(t *testing.T) {
	o := Options{}.withDefaults()
	seen := make(map[time.Duration]bool)
	for range 100 {
		d := o.delay(0)
		if seen[d] = true; d < 2700*time.Millisecond || d > 3300*time.Millisecond {
			t.Errorf("a delay of %v", d)
		}
	}
	if len(seen) < 50 {
		t.Errorf("%d different delays", len(seen))
	}
}

func TestGet(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var n atomic.Int64
		var asked []string
		c := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked = append(asked, r.Header.Get("If-None-Match")+r.Header.Get("If-Modified-Since"))
			switch n.Add(1) {
			case 1:
				w.Header().Set("Etag", `"1"`)
				w.Header().Set("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT")
				io.WriteString(w, `{"price":1}`)
			case 2:
				w.WriteHeader(http.StatusNotModified)
			case 3:
				w.WriteHeader(http.StatusInternalServerError)
			case 4:
				w.Header().Set("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT")
				io.WriteString(w, `{"price":2}`)
			case 5:
				io.WriteString(w, "{")
			default:
				io.WriteString(w, `{"price":3}`)
			}
		}))
		type price struct{ Price int }
		var got []string
		for p, err := range Every(t.Context(), Options{}, Get[price](c, address)) {
			if got = append(got, fmt.Sprint(p.Price, " ", err)); p.Price == 3 {
				break
			}
		}
		want := []string{"1 <nil>", "0 polling: the server answers 500 Internal Server Error", "2 <nil>", "0 polling: unexpected end of JSON input", "3 <nil>"}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		const modified = "Sun, 06 Nov 1994 08:49:37 GMT"
		if want := []string{"", `"1"`, `"1"`, `"1"`, modified, modified}; !slices.Equal(asked, want) {
			t.Errorf("asked %q, want %q", asked, want)
		}
	})
}
