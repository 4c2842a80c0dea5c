package polling

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidewire/websocket/feed"
	"github.com/tidewire/websocket/websockettest"
)

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

func handlerOf(f *feed.Feed) *Handler {
	return &Handler{Feed: func(*http.Request) (*feed.Feed, error) { return f, nil }}
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
	synctest.Test(t, func(t *testing.T) {
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
	synctest.Test(t, func(t *testing.T) {
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
		synctest.Test(t, func(t *testing.T) {
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
	synctest.Test(t, func(t *testing.T) {
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
