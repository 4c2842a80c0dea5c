package sse

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
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
	inBubble(t, func(t *testing.T) {
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
		if want := []string{"0s " + accept + ` ""`, "1s " + accept + ` "1"`, "4s " + accept + ` ""`, "21s " + accept + ` ""`, "44s " + accept + ` "4"`}; !slices.Equal(asked, want) {
			t.Errorf("got  %q\nwant %q", asked, want)
		}
		want := []string{
			"1s sse: the stream has ended", "3s sse: the stream has ended",
			"17s sse: the server answers 503 Service Unavailable", "3s sse: the stream has ended",
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
		{"a request with a body", func(_ int, w http.ResponseWriter, r *http.Request) { stream(w, "data: x\n\n") }, func(c *Client) {
			c.Request = func(context.Context) (*http.Request, error) {
				return http.NewRequest("POST", "http://sse.test/", strings.NewReader("ask"))
			}
		}, "sse: the request is not sent again: it is no GET, or has a body"},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
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

func TestClientBreakAndContext(t *testing.T) {
	inBubble(t, func(t *testing.T) {
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
	inBubble(t, func(t *testing.T) {
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
	inBubble(t, func(t *testing.T) {
		s := &Server{Queue: 10_000, Replay: feed.Limits{Count: 10_000}, StreamOptions: StreamOptions{Retry: 10 * time.Millisecond}}
		m := start(t, s)
		c := m.client(t)
		c.Backoff = backoff.Policy{Max: 100 * time.Millisecond}
		cuts := 0
		dial := c.HTTP.Transport.(*http.Transport).DialContext
		c.HTTP.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			nc, err := dial(ctx, network, address)
			cuts++
			return &shortConn{nc, int64(400 + 37*cuts%1500)}, err
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
		if cuts < 30 {
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
