package polling

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
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
)

// What is asked, at which times, and what comes of it.
func TestEvery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
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
	synctest.Test(t, func(t *testing.T) {
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
	synctest.Test(t, func(t *testing.T) {
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
		synctest.Test(t, func(t *testing.T) {
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
	synctest.Test(t, func(t *testing.T) {
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
