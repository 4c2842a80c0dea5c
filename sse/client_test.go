package sse

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math"
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
	"github.com/tidewire/websocket/internal/testnet"
)

// client returns a Client of m, and of nobody else.
func (m *memory) client(t *testing.T) *Client {
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		near, far := testnet.Pipe()
		select {
		case m.conns <- far:
			return near, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-m.closed:
			return nil, errors.New("refused")
		}
	}}
	return &Client{
		HTTP:    &http.Client{Transport: transport},
		Backoff: backoff.Policy{NoJitter: true},
		Request: func(ctx context.Context) (*http.Request, error) {
			return http.NewRequest("GET", "http://sse.test/?topic=a", nil)
		},
	}
}

// attempts serves each attempt, numbered from 1 on, by do.
func attempts(t *testing.T, do func(n int, w http.ResponseWriter, r *http.Request)) *memory {
	var n atomic.Int64
	return serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		do(int(n.Add(1)), w, r)
	}))
}

func stream(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	io.WriteString(w, text)
	http.NewResponseController(w).Flush()
}

// follow returns the data of all events, and the error at the end.
func follow(ctx context.Context, c *Client) (list []string, err error) {
	for e, err := range c.Events(ctx) {
		if err != nil {
			return list, err
		}
		list = append(list, e.Data)
	}
	return list, nil
}

func TestClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []string
		start := time.Now()
		m := attempts(t, func(n int, w http.ResponseWriter, r *http.Request) {
			asked = append(asked, fmt.Sprintf("%v %s %q", time.Since(start), r.Header.Get("Accept"), r.Header.Get("Last-Event-ID")))
			switch n {
			case 1:
				stream(w, "data: one\n\nid: 1\ndata: two\n\ndata: unfinis")
			case 2:
				stream(w, "retry: 3000\ndata: three\n\nid\n\n")
			case 3:
				w.Header().Set("Retry-After", "17")
				w.WriteHeader(http.StatusServiceUnavailable)
			case 4:
				stream(w, "id: 4\n\n")
				http.NewResponseController(w).SetWriteDeadline(time.Time{})
				time.Sleep(20 * time.Second)
			default:
				w.WriteHeader(http.StatusNoContent)
			}
		})
		c := m.client(t)
		var retries, ids []string
		opened := 0
		c.OnRetry = func(err error, wait time.Duration) { retries = append(retries, fmt.Sprintf("%v %v", wait, err)) }
		c.OnOpen = func(*http.Response) { opened++ }
		var list []string
		var err error
		for e, failed := range c.Events(t.Context()) {
			if err = failed; err != nil {
				break
			}
			list, ids = append(list, e.Data), append(ids, e.ID)
		}
		if want := []string{"one", "two", "three"}; !slices.Equal(list, want) || err != ErrNoContent || opened != 3 {
			t.Errorf("got %q, %v, %d streams", list, err, opened)
		}
		if want := []string{"", "1", "1"}; !slices.Equal(ids, want) {
			t.Errorf("the IDs are %q, want %q", ids, want)
		}
		const accept = "text/event-stream"
		if want := []string{"0s " + accept + ` ""`, "1s " + accept + ` "1"`, "4s " + accept + ` ""`, "27s " + accept + ` ""`, "50s " + accept + ` "4"`}; !slices.Equal(asked, want) {
			t.Errorf("got  %q\nwant %q", asked, want)
		}
		want := []string{
			"1s sse: the stream has ended", "3s sse: the stream has ended",
			"23s sse: the server answers 503 Service Unavailable", "3s sse: the stream has ended",
		}
		if !slices.Equal(retries, want) {
			t.Errorf("got  %q\nwant %q", retries, want)
		}
	})
}

// What ends it.
func TestClientEnds(t *testing.T) {
	failure := errors.New("no token")
	status := func(code int) func(int, http.ResponseWriter, *http.Request) {
		return func(_ int, w http.ResponseWriter, _ *http.Request) { http.Error(w, "why", code) }
	}
	for _, test := range []struct {
		name   string
		do     func(n int, w http.ResponseWriter, r *http.Request)
		change func(c *Client)
		want   string // of the error
	}{
		{"204", status(204), nil, "sse: the server has nothing to send"},
		{"404", status(404), nil, "sse: the server answers 404 Not Found: why"},
		{"401", status(401), nil, "sse: the server answers 401 Unauthorized: why"},
		{"201", status(201), nil, "sse: the server answers 201 Created: why"},
		{"500, strictly", status(500), func(c *Client) { c.Strict = true }, "sse: the server answers 500 Internal Server Error: why"},
		{"500, two times", status(500), func(c *Client) { c.MaxTries = 2 }, "sse: gave up after 2 attempts: sse: the server answers 500 Internal Server Error: why"},
		{"another type", func(_ int, w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") }, nil,
			`sse: the response is no event stream: its type is "text/html; charset=utf-8"`},
		{"too large", func(_ int, w http.ResponseWriter, _ *http.Request) { stream(w, "data: "+x(1000)+"\n\n") },
			func(c *Client) { c.MaxEvent = 999 }, "sse: the event is too large"},
		{"silence", func(_ int, w http.ResponseWriter, r *http.Request) { stream(w, ":\n"); <-r.Context().Done() },
			func(c *Client) { c.MaxTries = 1 }, "sse: gave up after 1 attempts: sse: nothing has come for too long"},
		{"no response", func(_ int, w http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
			func(c *Client) { c.MaxTries = 1 }, "sse: gave up after 1 attempts: sse: nothing has come for too long"},
		{"no request", nil, func(c *Client) {
			c.MaxTries = 1
			c.Request = func(context.Context) (*http.Request, error) { return nil, failure }
		}, "sse: gave up after 1 attempts: no token"},
		{"a request with a body", status(500), func(c *Client) { post(c) }, "sse: the server answers 500 Internal Server Error: why"},
		{"a token in the URL", nil, func(c *Client) {
			c.MaxTries = 1
			c.HTTP.Transport.(*http.Transport).DialContext = func(context.Context, string, string) (net.Conn, error) { return nil, failure }
			c.Request = func(context.Context) (*http.Request, error) {
				return http.NewRequest("GET", "http://sse.test/?token=secret", nil)
			}
		}, "sse: gave up after 1 attempts: sse: no token"},
		{"nil", nil, func(c *Client) {
			c.Request = func(context.Context) (*http.Request, error) { return nil, nil }
		}, "sse: Request has returned none"},
		{"an ID that no header field has", func(_ int, w http.ResponseWriter, _ *http.Request) { stream(w, "id: a\x01b\n\n") }, nil,
			`sse: the ID "a\x01b" can't be sent in a header field`},
		{"errors that don't end", func(_ int, w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(404)
			io.WriteString(w, "why")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, func(c *Client) { c.Idle = -1 }, "sse: the server answers 404 Not Found: why"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := attempts(t, test.do)
				c := m.client(t)
				if test.change != nil {
					test.change(c)
				}
				if _, err := follow(t.Context(), c); err == nil || err.Error() != test.want {
					t.Errorf("got %v, want %s", err, test.want)
				}
			})
		})
	}
}

// post has c send what is not sent again.
func post(c *Client) {
	c.Request = func(context.Context) (*http.Request, error) {
		return http.NewRequest("POST", "http://sse.test/", strings.NewReader("ask"))
	}
}

// The end of what is not asked for again is that of the loop.
func TestClientOnce(t *testing.T) {
	for _, change := range []func(*http.Request){
		func(r *http.Request) { r.Method = "POST" },
		func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader("ask")) },
	} {
		synctest.Test(t, func(t *testing.T) {
			m := attempts(t, func(n int, w http.ResponseWriter, r *http.Request) { stream(w, "data: x\n\ndata: y\n\n") })
			c := m.client(t)
			request := c.Request
			requests := 0
			c.Request = func(ctx context.Context) (*http.Request, error) {
				requests++
				r, err := request(ctx)
				change(r)
				return r, err
			}
			if list, err := follow(t.Context(), c); len(list) != 2 || err != nil || requests != 1 {
				t.Errorf("got %q, %v, %d requests", list, err, requests)
			}
		})
	}
}

// What a request has for itself is kept, and one without any header is taken.
func TestClientHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		m := attempts(t, func(n int, w http.ResponseWriter, r *http.Request) {
			got = append(got, r.Header.Get("Accept")+" "+r.Header.Get("Cache-Control"))
			w.Header()["Content-Type"] = []string{"Text/Event-Stream ;charset"}
			w.WriteHeader([]int{200, 204}[n-1])
		})
		c := m.client(t)
		request := c.Request
		c.Request = func(ctx context.Context) (*http.Request, error) {
			r, err := request(ctx)
			if r.Header = nil; len(got) > 0 {
				r.Header = http.Header{"Accept": {"application/json, text/event-stream"}, "Cache-Control": {"no-cache"}}
			}
			return r, err
		}
		_, err := follow(t.Context(), c)
		if want := []string{"text/event-stream no-store", "application/json, text/event-stream no-cache"}; !slices.Equal(got, want) || err != ErrNoContent {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

// How long it is between attempts.
func TestClientDelays(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(c *Client)
		do     func(n int, w http.ResponseWriter, r *http.Request)
		waits  [][2]time.Duration // from and to, in seconds
	}{
		{"retry is the least", nil, func(n int, w http.ResponseWriter, r *http.Request) { stream(w, "retry: 10000\ndata: x\n\n") },
			[][2]time.Duration{{10, 11}, {10, 11}, {10, 11}, {10, 11}, {10, 11}}},
		{"retry grows for those who can't connect", func(c *Client) { c.Backoff.NoJitter = true }, func(n int, w http.ResponseWriter, r *http.Request) {
			if n == 1 {
				stream(w, "retry: 2000\n\n")
			} else {
				w.WriteHeader(500)
			}
		}, [][2]time.Duration{{2, 2}, {4, 4}, {8, 8}, {16, 16}, {30, 30}}},
		{"retry beyond Max", func(c *Client) { c.Backoff = backoff.Policy{Max: time.Second, NoJitter: true} }, func(n int, w http.ResponseWriter, r *http.Request) {
			if n == 1 {
				stream(w, "retry: 7000\n\n")
			} else {
				w.WriteHeader(500)
			}
		}, [][2]time.Duration{{7, 7}, {7, 7}}},
		{"no limit", func(c *Client) { c.Backoff = backoff.Policy{Min: math.MaxInt64, Max: -1, NoJitter: true} }, func(n int, w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "60")
			w.WriteHeader(500)
		}, [][2]time.Duration{{math.MaxInt64 / time.Second, math.MaxInt64/time.Second + 1}}},
		{"no retry any more", func(c *Client) { c.Backoff.NoJitter = true }, func(n int, w http.ResponseWriter, r *http.Request) {
			stream(w, []string{"retry: 20000\ndata: x\n\n", "retry: 0\ndata: x\n\n"}[min(n-1, 1)])
		}, [][2]time.Duration{{20, 20}, {2, 2}, {4, 4}}},
		{"what is slow to fail has failed", func(c *Client) { c.Backoff.NoJitter = true }, func(n int, w http.ResponseWriter, r *http.Request) {
			http.NewResponseController(w).SetWriteDeadline(time.Time{})
			time.Sleep(6 * time.Second)
			w.WriteHeader(503)
		}, [][2]time.Duration{{1, 1}, {2, 2}, {4, 4}}},
		{"a stream that has lasted has not", func(c *Client) { c.Backoff.NoJitter = true }, func(n int, w http.ResponseWriter, r *http.Request) {
			http.NewResponseController(w).SetWriteDeadline(time.Time{})
			stream(w, ":\n")
			time.Sleep(6 * time.Second)
		}, [][2]time.Duration{{1, 1}, {1, 1}, {1, 1}}},
		{"Retry-After, at most an hour", nil, func(n int, w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "99999999999999")
			w.WriteHeader([]int{429, 408, 425}[(n-1)%3])
		}, [][2]time.Duration{{3600, 3601}, {3600, 3602}, {3600, 3604}}},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := attempts(t, test.do).client(t)
			c.Backoff = backoff.Policy{}
			if test.change != nil {
				test.change(c)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var waits []time.Duration
			c.OnRetry = func(_ error, d time.Duration) {
				if waits = append(waits, d); len(waits) == len(test.waits) {
					cancel()
				}
			}
			follow(ctx, c)
			for i, d := range waits {
				if d.Seconds() < float64(test.waits[i][0]) || d.Seconds() > float64(test.waits[i][1]) {
					t.Errorf("%s: wait %d is %v, want %d to %d s", test.name, i, d, test.waits[i][0], test.waits[i][1])
				}
			}
		})
	}
}

// Silence is what the server has not sent, and not what the loop takes for an event.
func TestClientIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := attempts(t, func(n int, w http.ResponseWriter, r *http.Request) {
			http.NewResponseController(w).SetWriteDeadline(time.Time{})
			stream(w, "data: x\n\n")
			for range 20 {
				select {
				case <-time.After(15 * time.Second):
					stream(w, ":\n")
				case <-r.Context().Done():
					return
				}
			}
			stream(w, "data: y\n\n")
			<-r.Context().Done()
		})
		c := m.client(t)
		start := time.Now()
		var got []string
		c.OnRetry = func(err error, _ time.Duration) { got = append(got, fmt.Sprint(time.Since(start), " ", err)) }
		for e := range c.Events(t.Context()) {
			if len(got) > 0 {
				break
			}
			if e.Data == "x" {
				time.Sleep(50 * time.Second)
			}
		}
		if want := []string{"5m45s " + errIdle.Error()}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// A connection on which nothing comes any more is not used again.
func TestClientIdleConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		transport := new(silentTransport)
		c := Client{HTTP: &http.Client{Transport: transport}, MaxTries: 3, Request: func(ctx context.Context) (*http.Request, error) {
			return http.NewRequest("GET", "http://sse.test/", nil)
		}}
		if _, err := follow(t.Context(), &c); !errors.Is(err, errIdle) || transport.closed != 3 {
			t.Errorf("got %v, %d times", err, transport.closed)
		}
		c.Idle = -1
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		start := time.Now()
		if _, err := follow(ctx, &c); err != context.DeadlineExceeded || time.Since(start) != time.Hour {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
	})
}

// A silentTransport has streams on which nothing comes.
type silentTransport struct{ closed int }

func (s *silentTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"text/event-stream"}}, Body: silentBody{r.Context()}}, nil
}

func (s *silentTransport) CloseIdleConnections() { s.closed++ }

type silentBody struct{ context.Context }

func (b silentBody) Close() error { return nil }

func (b silentBody) Read([]byte) (int, error) {
	<-b.Done()
	return 0, b.Err()
}

// A certificate that is not valid is not tried again.
func TestClientCertificate(t *testing.T) {
	srv := httptest.NewUnstartedServer(new(Server))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	defer srv.Close()
	c := Client{HTTP: new(http.Client), Request: func(ctx context.Context) (*http.Request, error) { return http.NewRequest("GET", srv.URL, nil) }}
	if _, err := follow(t.Context(), &c); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("got %v", err)
	}
}

// Nothing more is handed out when the context has ended.
func TestClientCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := attempts(t, func(n int, w http.ResponseWriter, r *http.Request) { stream(w, strings.Repeat("data: x\n\n", 400)) }).client(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		n := 0
		for _, err := range c.Events(ctx) {
			if cancel(); err == nil {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d events", n)
		}
	})
}

func TestClientBreakAndContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := attempts(t, func(n int, w http.ResponseWriter, r *http.Request) {
			stream(w, "data: x\n\n")
			<-r.Context().Done()
		})
		c := m.client(t)
		for _, err := range c.Events(t.Context()) {
			if err != nil {
				t.Error(err)
			}
			break
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if list, err := follow(ctx, c); len(list) != 1 || err != context.DeadlineExceeded {
			t.Errorf("got %q, %v", list, err)
		}
	})
}

// A request may be sent again if that is allowed, and begin where somebody wants it to.
func TestClientRepeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []string
		m := attempts(t, func(n int, w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			asked = append(asked, string(body)+r.Header.Get("Last-Event-ID"))
			if n == 3 {
				w.WriteHeader(http.StatusNoContent)
				return
			}
			stream(w, fmt.Sprintf("id: %d\ndata: x\n\n", n))
		})
		c := m.client(t)
		c.Repeat = true
		c.Request = func(context.Context) (*http.Request, error) {
			req, err := http.NewRequest("POST", "http://sse.test/", bytes.NewReader([]byte("ask ")))
			req.Header.Set("Last-Event-ID", "from here")
			return req, err
		}
		list, err := follow(t.Context(), c)
		if want := []string{"ask from here", "ask 1", "ask 2"}; len(list) != 2 || err != ErrNoContent || !slices.Equal(asked, want) {
			t.Errorf("got %q, %v, after %q", list, err, asked)
		}
	})
}

// A Client and a Server, and a network that breaks anywhere: nothing is missed, nothing comes twice.
func TestClientOfServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{Queue: 10_000, Replay: feed.Limits{Count: 10_000}, StreamOptions: StreamOptions{Retry: 10 * time.Millisecond}}
		m := start(t, s)
		c := m.client(t)
		c.Backoff = backoff.Policy{Min: time.Millisecond, Max: 100 * time.Millisecond}
		cuts := 0
		dial := c.HTTP.Transport.(*http.Transport).DialContext
		c.HTTP.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			nc, err := dial(ctx, network, address)
			cuts++
			return &shortConn{nc, rand.Int64N(2000)}, err
		}
		const events = 3000
		begun := make(chan bool, 1)
		c.OnOpen = func(*http.Response) {
			select {
			case begun <- true:
			default:
			}
		}
		var publishing sync.WaitGroup
		defer publishing.Wait()
		publishing.Go(func() {
			<-begun
			time.Sleep(time.Second)
			for i := range events {
				s.Publish("a", Event{Data: fmt.Sprint(i)})
				time.Sleep(time.Millisecond)
			}
		})
		n := 0
		for e, err := range c.Events(t.Context()) {
			if err != nil || e.Data != fmt.Sprint(n) {
				t.Fatalf("got %q, %v, want %d", e.Data, err, n)
			}
			if n++; n == events {
				break
			}
		}
		if cuts < 100 {
			t.Errorf("%d connections", cuts)
		}
	})
}

// A shortConn breaks when so many bytes were read.
type shortConn struct {
	net.Conn
	left int64
}

func (c *shortConn) Read(p []byte) (int, error) {
	if c.left <= 0 {
		c.Close()
		return 0, errors.New("connection reset")
	}
	n, err := c.Conn.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}
