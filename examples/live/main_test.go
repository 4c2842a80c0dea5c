package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidewire/websocket"
	"github.com/tidewire/websocket/feed"
	"github.com/tidewire/websocket/internal/testnet"
	"github.com/tidewire/websocket/polling"
	"github.com/tidewire/websocket/sse"
)

func TestMain(m *testing.M) { testnet.CheckLeaks(m) }

const patience = 20 * time.Second

// start serves f until the test ends, and returns the address. All streams end with the server.
func start(t *testing.T, f *feed.Feed) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- serve(ctx, l, f, log.New(t.Output(), "", 0)) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// An event is one that has come: its number, or that the position was lost.
type event struct {
	n     int
	reset bool
}

// A follower follows the server at an address over a transport, as the page "p", until ctx ends. Each time it
// connects, it begins where it has been. It says in events what comes.
type follower func(ctx context.Context, t *testing.T, address string, events chan<- event)

var followers = map[string]follower{
	"websocket": func(ctx context.Context, t *testing.T, address string, events chan<- event) {
		for cursor := ""; ctx.Err() == nil; {
			c, _, err := websocket.Dial(ctx, "ws://"+address+"/websocket?client=p&cursor="+cursor)
			if err != nil {
				continue
			}
			for m, err := range c.Messages(ctx) {
				if err != nil {
					break
				}
				var pair []json.RawMessage
				if err := json.Unmarshal(m.Data, &pair); err != nil || len(pair) == 0 || json.Unmarshal(pair[0], &cursor) != nil {
					t.Errorf("%s is no message", m.Data)
				}
				if len(pair) == 1 {
					events <- event{reset: true}
				} else {
					events <- event{n: number(t, pair[1])}
				}
			}
			c.CloseNow()
		}
	},
	"sse": func(ctx context.Context, t *testing.T, address string, events chan<- event) {
		c := sse.Client{Request: func(ctx context.Context) (*http.Request, error) {
			return http.NewRequestWithContext(ctx, "GET", "http://"+address+"/sse?client=p", nil)
		}}
		for e, err := range c.Events(ctx) {
			switch {
			case err != nil:
			case e.Type == "reset":
				events <- event{reset: true}
			default:
				events <- event{n: number(t, []byte(e.Data))}
			}
		}
	},
	"polling": func(ctx context.Context, t *testing.T, address string, events chan<- event) {
		for batch := range polling.Long(ctx, "http://"+address+"/polling?client=p", polling.LongOptions{}) {
			if batch.Reset {
				events <- event{reset: true}
			}
			for _, data := range batch.Events {
				events <- event{n: number(t, data)}
			}
		}
	},
}

func number(t *testing.T, data []byte) int {
	var e struct{ N int }
	if err := json.Unmarshal(data, &e); err != nil {
		t.Errorf("%s: %v", data, err)
	}
	return e.N
}

// appendEvents appends events with the numbers from first to last.
func appendEvents(f *feed.Feed, first, last int) {
	for n := first; n <= last; n++ {
		f.Append(fmt.Appendf(nil, `{"n":%d}`, n))
	}
}

// What is missed during a cut comes after it, once, and what is not kept that long is said to be lost.
func TestCut(t *testing.T) {
	for transport, follow := range followers {
		t.Run(transport, func(t *testing.T) {
			f := feed.New(feed.Limits{Count: 10})
			appendEvents(f, 1, 3)
			address := start(t, f)
			ctx, stop := context.WithCancel(t.Context())
			events, done := make(chan event, 100), make(chan bool)
			go func() {
				defer close(done)
				follow(ctx, t, address, events)
			}()
			defer func() {
				stop()
				<-done
			}()
			want := func(want ...event) {
				t.Helper()
				for _, want := range want {
					select {
					case got := <-events:
						if got != want {
							t.Fatalf("got %+v, want %+v", got, want)
						}
					case <-time.After(patience):
						t.Fatalf("got nothing, want %+v", want)
					}
				}
			}

			want(event{reset: true}) // it had no position
			appendEvents(f, 4, 4)
			want(event{n: 4})
			post(t, address, "cut?client=p&transport="+transport, http.StatusNoContent)
			appendEvents(f, 5, 7)
			before := lines(t, address, "p")[transport].Bytes
			await(t, func() bool { return lines(t, address, "p")[transport].Bytes > before }) // by an attempt
			post(t, address, "restore?client=p&transport="+transport, http.StatusNoContent)
			want(event{n: 5}, event{n: 6}, event{n: 7})

			post(t, address, "cut?client=p&transport="+transport, http.StatusNoContent)
			appendEvents(f, 8, 18)
			post(t, address, "restore?client=p&transport="+transport, http.StatusNoContent)
			want(event{reset: true})
			appendEvents(f, 19, 19)
			want(event{n: 19})
		})
	}
}

// await waits until something is the case.
func await(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not happen")
		}
	}
}

func post(t *testing.T, address, path string, want int) {
	t.Helper()
	resp, err := http.Post("http://"+address+"/"+path, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != want {
		t.Fatalf("%s: got %s, want %d", path, resp.Status, want)
	}
}

// lines asks for what a client has used.
func lines(t *testing.T, address, client string) (lines map[string]line) {
	t.Helper()
	if err := json.Unmarshal([]byte(get(t, address, "bytes?client="+client)), &lines); err != nil {
		t.Fatal(err)
	}
	return lines
}

// Only the page itself may cut its lines.
func TestCutFromElsewhere(t *testing.T) {
	address := start(t, feed.New(feed.Limits{}))
	for _, origin := range []string{"http://" + address, "http://example.com"} {
		req, err := http.NewRequest("POST", "http://"+address+"/cut?client=p&transport=sse", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Origin", origin)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if allowed := resp.StatusCode == http.StatusNoContent; allowed != (origin == "http://"+address) {
			t.Errorf("from %s: %s", origin, resp.Status)
		}
	}
}

func TestTick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := feed.New(feed.Limits{})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan bool)
		began, begin := now(), f.Head()
		go func() {
			defer close(ended)
			tick(ctx, f, 250*time.Millisecond)
		}()
		time.Sleep(1100 * time.Millisecond)
		stop()
		<-ended
		items, _, err := f.After(begin, 0)
		if len(items) != 4 || err != nil {
			t.Fatalf("got %d events, %v, want 4", len(items), err)
		}
		for i, item := range items {
			var e struct {
				N         int
				At, Value float64
			}
			if err := json.Unmarshal(item.Data, &e); err != nil {
				t.Fatal(err)
			}
			if e.N != i+1 || e.At != began+250*float64(i+1) || e.Value < 80 || e.Value > 120 {
				t.Errorf("event %d is %s", i+1, item.Data)
			}
		}
	})
}

func TestListenAndServe(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	r, w := io.Pipe()
	served := make(chan error, 1)
	go func() {
		served <- listenAndServe(ctx, w, "127.0.0.1:0", time.Millisecond, 100)
		w.Close()
	}()
	out := bufio.NewScanner(r)
	out.Scan()
	address := strings.TrimSuffix(strings.TrimPrefix(out.Text(), "live  http://"), "/")
	out.Scan() // how to stop

	if page := get(t, address, ""); !strings.Contains(page, "new EventSource(") {
		t.Errorf("the page is %s", page)
	}
	before := now()
	if at, err := strconv.ParseFloat(strings.TrimSpace(get(t, address, "time")), 64); at < before || at > now() || err != nil {
		t.Errorf("the time is %f, %v, want %f", at, err, before)
	}

	c, _, err := websocket.Dial(ctx, "ws://"+address+"/websocket")
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	stop()
	for err == nil {
		_, _, err = c.Read(t.Context())
	}
	if got := websocket.CloseStatus(err); got != websocket.StatusGoingAway {
		t.Errorf("the end is %v, want %v", err, websocket.StatusGoingAway)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	if out.Scan() {
		t.Errorf("got line %q, want no more", out.Text())
	}
}

func get(t *testing.T, address, path string) string {
	t.Helper()
	resp, err := http.Get("http://" + address + "/" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestListenAndServeError(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := listenAndServe(t.Context(), io.Discard, l.Addr().String(), time.Second, 1); err == nil {
		t.Error("no error for an address in use")
	}
}
