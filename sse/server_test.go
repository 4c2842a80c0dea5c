package sse

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidewire/websocket/feed"
	"github.com/tidewire/websocket/internal/testnet"
)

// A memory is a network in memory, with an http.Server.
type memory struct {
	*http.Server
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

// serve serves h in memory until the test ends.
func serve(t *testing.T, h http.Handler) *memory {
	m := &memory{Server: &http.Server{Handler: h, WriteTimeout: time.Second}, conns: make(chan net.Conn), closed: make(chan struct{})}
	served := make(chan error, 1)
	go func() { served <- m.Serve(m) }()
	t.Cleanup(func() {
		m.Server.Close()
		<-served
	})
	return m
}

func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.closed:
		return nil, net.ErrClosed
	}
}

func (m *memory) Close() error   { m.once.Do(func() { close(m.closed) }); return nil }
func (m *memory) Addr() net.Addr { return &net.TCPAddr{} }

// A tab is a client's end of a response.
type tab struct {
	t    *testing.T
	conn net.Conn
	resp *http.Response
	d    *Decoder
}

// open sends a request, with the ID of the last event unless that is "".
func (m *memory) open(t *testing.T, query, lastID string) *tab {
	t.Helper()
	near, far := testnet.Pipe()
	m.conns <- far
	t.Cleanup(func() { near.Close() })
	header := ""
	if lastID != "" {
		header = "Last-Event-ID: " + lastID + "\r\n"
	}
	fmt.Fprintf(near, "GET /%s HTTP/1.1\r\nHost: x\r\n%s\r\n", query, header)
	resp, err := http.ReadResponse(bufio.NewReader(near), nil)
	if err != nil {
		t.Fatal(err)
	}
	return &tab{t, near, resp, NewDecoder(resp.Body)}
}

// want reads events with this data.
func (c *tab) want(want ...string) {
	c.t.Helper()
	for _, want := range want {
		if e, err := c.d.Decode(); e.Data != want || err != nil {
			c.t.Fatalf("got %q, %v, want %q", e.Data, err, want)
		}
	}
}

func (c *tab) wantEnd() {
	c.t.Helper()
	if e, err := c.d.Decode(); err != io.EOF {
		c.t.Fatalf("got %q, %v, want the end", e.Data, err)
	}
}

// start starts a Server, which is shut down when the test ends.
func start(t *testing.T, s *Server) *memory {
	m := serve(t, s)
	t.Cleanup(func() { s.Shutdown(context.Background()) })
	return m
}

func publish(t *testing.T, s *Server, topic string, data ...string) (id string) {
	t.Helper()
	for _, data := range data {
		var err error
		if id, err = s.Publish(topic, Event{Data: data}); err != nil {
			t.Fatal(err)
		}
	}
	return id
}

func TestStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		handled := make(chan error, 1)
		m := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s, err := NewStream(w, r, StreamOptions{Retry: 2 * time.Second})
			if err != nil {
				handled <- err
				return
			}
			if s.LastEventID() != "7" {
				t.Errorf("the last event ID is %q", s.LastEventID())
			}
			time.Sleep(5 * time.Second) // longer than the WriteTimeout of the server
			s.Send(Event{Data: "one"}, Event{Type: "add", ID: "8", Data: "two\nlines"})
			if err := s.Send(Event{Type: "\n"}); err != errType {
				t.Errorf("got %v", err)
			}
			s.Comment("hello")
			<-s.Context().Done()
			handled <- errors.Join(s.Close(), s.Send(Event{}))
		}))
		c := m.open(t, "?lastEventID=7", "")
		h := c.resp.Header
		if c.resp.StatusCode != 200 || h.Get("Content-Type") != "text/event-stream" || h.Get("Cache-Control") != "no-store, no-transform" ||
			h.Get("X-Accel-Buffering") != "no" || h.Get("Connection") != "" {
			t.Errorf("got %s, %v", c.resp.Status, h)
		}
		var comments []string
		c.d.Comment = func(s string) { comments = append(comments, s) }
		c.want("one", "two\nlines")
		if c.d.Retry() != 2*time.Second || c.d.LastEventID() != "8" {
			t.Errorf("retry %v, ID %q", c.d.Retry(), c.d.LastEventID())
		}
		go c.d.Decode()
		time.Sleep(31 * time.Second)
		synctest.Wait()
		if want := []string{"hello", "", ""}; !slices.Equal(comments, want) {
			t.Errorf("got the comments %q, want %q", comments, want)
		}
		c.conn.Close()
		if err := <-handled; !errors.Is(err, errDone) {
			t.Errorf("got %v", err)
		}
	})
}

// A client that takes nothing is gone when the WriteTimeout is over.
func TestStreamStalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		handled := make(chan error, 1)
		m := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s, err := NewStream(w, r, StreamOptions{})
			if err != nil {
				t.Error(err)
				return
			}
			start := time.Now()
			for err == nil {
				err = s.Send(Event{Data: x(10_000)})
			}
			if d := time.Since(start); d != 10*time.Second || s.Context().Err() == nil {
				t.Errorf("got %v after %v; the context: %v", err, d, s.Context().Err())
			}
			if s.Send(Event{}) != err || s.Close() != err {
				t.Error("the error does not stay")
			}
			handled <- err
		}))
		m.open(t, "", "")
		if err := <-handled; err == nil {
			t.Error("no error")
		}
	})
}

// A gate is a ResponseWriter whose writes last until it is open, or the deadline is over.
type gate struct {
	*httptest.ResponseRecorder
	open   chan bool
	over   chan bool
	writes []int
}

func newGate() *gate {
	return &gate{ResponseRecorder: httptest.NewRecorder(), open: make(chan bool), over: make(chan bool)}
}

func (g *gate) Write(p []byte) (int, error) {
	g.writes = append(g.writes, len(p))
	select {
	case <-g.open:
		return len(p), nil
	case <-g.over:
		return 0, os.ErrDeadlineExceeded
	}
}

func (g *gate) SetWriteDeadline(at time.Time) error {
	if !at.IsZero() && !at.After(time.Now()) {
		close(g.over)
	}
	return nil
}

// A write fails after the WriteTimeout, whenever it was begun.
func TestStreamWriteTimeout(t *testing.T) {
	for _, pause := range []time.Duration{0, 1, 9, 11, 25} {
		synctest.Test(t, func(t *testing.T) {
			g := newGate()
			s, err := NewStream(g, httptest.NewRequest("GET", "/", nil), StreamOptions{KeepAlive: -1})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			go func() { g.open <- true }()
			if err := s.Send(Event{}); err != nil {
				t.Error(err)
			}
			time.Sleep(pause * time.Second)
			start := time.Now()
			if err := s.Send(Event{}); err != os.ErrDeadlineExceeded || time.Since(start) != 10*time.Second {
				t.Errorf("after a pause of %d s: %v after %v", pause, err, time.Since(start))
			}
		})
	}
}

// With no WriteTimeout, a write may take any time.
func TestStreamNoWriteTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		s, err := NewStream(g, httptest.NewRequest("GET", "/", nil), StreamOptions{KeepAlive: -1, WriteTimeout: -1})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		time.AfterFunc(time.Hour, func() { close(g.open) })
		if err := s.Send(Event{}); err != nil {
			t.Error(err)
		}
	})
}

// A client that has missed much gets it in writes each of which has the WriteTimeout.
func TestServerPortions(t *testing.T) {
	for _, queue := range []int{0, 10} {
		synctest.Test(t, func(t *testing.T) {
			s := &Server{Queue: queue}
			for range 1000 {
				publish(t, s, "a", x(1000))
			}
			g := newGate()
			go func() {
				for range 40 {
					time.Sleep(9 * time.Second)
					g.open <- true
				}
				s.Shutdown(context.Background())
				close(g.open)
			}()
			r := httptest.NewRequest("GET", "/?topic=a", nil)
			r.Header.Set("Last-Event-ID", "lost")
			s.ServeHTTP(g, r)
			sent := 0
			for _, n := range g.writes {
				if sent += n; n > maxBuffer {
					t.Errorf("a write of %d bytes", n)
				}
			}
			if sent < 1_000_000 || g.Header().Get("Last-Event-ID") != "earliest" {
				t.Errorf("%d bytes in %d writes, %v", sent, len(g.writes), g.Header())
			}
		})
	}
}

// Who is behind what is kept is disconnected, or gets what there is.
func TestServerGap(t *testing.T) {
	for _, policy := range []SlowPolicy{Disconnect, DropOldest} {
		synctest.Test(t, func(t *testing.T) {
			s := &Server{Slow: policy, Replay: feed.Limits{Count: 10}}
			g := newGate()
			done := make(chan bool)
			go func() {
				s.ServeHTTP(g, httptest.NewRequest("GET", "/?topic=a", nil))
				close(done)
			}()
			synctest.Wait() // it writes its position
			publish(t, s, "a", make([]string, 100)...)
			g.open <- true
			synctest.Wait()
			select {
			case <-done:
				if policy == DropOldest {
					t.Error("it was disconnected")
				}
			default:
				if policy == Disconnect || len(g.writes) != 2 {
					t.Errorf("%d writes", len(g.writes))
				}
			}
			close(g.open)
			s.Shutdown(context.Background())
			<-done
		})
	}
}

// Without a Flusher there is no stream.
func TestStreamUnflushable(t *testing.T) {
	w := httptest.NewRecorder()
	if _, err := NewStream(struct{ http.ResponseWriter }{w}, httptest.NewRequest("GET", "/", nil), StreamOptions{}); err == nil {
		t.Error("no error")
	}
	if w.Code != 500 || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") {
		t.Errorf("got %d, %v", w.Code, w.Header())
	}
}

func TestServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(Server)
		m := start(t, s)
		a, b, both := m.open(t, "?topic=a", ""), m.open(t, "?topic=b", ""), m.open(t, "?topic=a&topic=b", "")
		publish(t, s, "a", "one")
		last := publish(t, s, "b", "two")
		publish(t, s, "c", "for nobody")
		a.want("one")
		b.want("two")
		both.want("one", "two")
		if id := both.d.LastEventID(); id != last {
			t.Errorf("the ID is %q, want %q", id, last)
		}
		if s.Clients("a") != 2 || s.Clients("c") != 0 {
			t.Errorf("%d and %d clients", s.Clients("a"), s.Clients("c"))
		}
		both.conn.Close()
		synctest.Wait()
		if s.Clients("a") != 1 {
			t.Errorf("%d clients", s.Clients("a"))
		}
		publish(t, s, "a", "three")
		publish(t, s, "b", "four")
		again := m.open(t, "?topic=a&topic=b", last)
		again.want("three", "four")
		if h := again.resp.Header.Get("Last-Event-ID"); h != last {
			t.Errorf("the header says %q, want %q", h, last)
		}
		for _, e := range []Event{{ID: "x"}, {SetID: true}, {Type: "\n"}} {
			if _, err := s.Publish("a", e); err == nil {
				t.Errorf("%+v: no error", e)
			}
		}
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		a.want("three")
		a.wantEnd()
		if _, err := s.Publish("a", Event{}); err != errShutdown {
			t.Errorf("Publish after that: %v", err)
		}
		late := m.open(t, "?topic=a", "")
		if late.resp.StatusCode != http.StatusServiceUnavailable || late.resp.Header.Get("Retry-After") == "" {
			t.Errorf("got %s, %v", late.resp.Status, late.resp.Header)
		}
	})
}

// Who comes for the first time gets what comes from then on.
func TestServerFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(Server)
		m := start(t, s)
		publish(t, s, "a", "before")
		c := m.open(t, "?topic=a", "")
		publish(t, s, "a", "after")
		c.want("after")
		if h := c.resp.Header.Get("Last-Event-ID"); h != "" {
			t.Errorf("the header says %q", h)
		}
	})
}

// An ID says nothing of how many events there have been, and another spelling of it is none.
func TestServerIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(Server)
		m := start(t, s)
		first, second := publish(t, s, "a", "1"), publish(t, s, "a", "2")
		if len(first) != len(noID) || len(second) != len(noID) || first[:8] == second[:8] {
			t.Errorf("the IDs are %s, %s", first, second)
		}
		if c := s.ids.cursor(second); s.ids.of(c) != second || c != s.feed.Head() {
			t.Errorf("%s is the position %s", second, c)
		}
		for _, id := range []string{first + "=", first[:21], first[:21] + "\n" + first[21:], first[:10] + "!" + first[11:], string(s.feed.Head()), noID, "?"} {
			if c := s.ids.cursor(id); c != "?" {
				t.Errorf("%q is the position %s", id, c)
			}
		}
		if c := m.open(t, "?topic=a", first); c.resp.Header.Get("Last-Event-ID") != first {
			t.Errorf("got %v", c.resp.Header)
		}
	})
}

// A client for which all is kept gets something, however busy the server is.
func TestServerBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{Replay: feed.Limits{Count: 10}}
		m := start(t, s)
		stop := make(chan bool)
		var publishing sync.WaitGroup
		publishing.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
					publish(t, s, "a", fmt.Sprint(n))
				}
				if n%100 == 0 {
					time.Sleep(time.Nanosecond)
				}
			}
		})
		for range 100 {
			c := m.open(t, "?topic=a", "lost")
			if e, err := c.d.Decode(); err != nil || e.Data == "" {
				t.Errorf("got %+v, %v", e, err)
			}
			c.conn.Close()
		}
		close(stop)
		publishing.Wait()
	})
}

// Whatever the clients have got to, Shutdown returns, and they have had what was published before.
func TestShutdownAtOnce(t *testing.T) {
	for range 200 {
		synctest.Test(t, func(t *testing.T) {
			s := new(Server)
			var all sync.WaitGroup
			for range 4 {
				w := httptest.NewRecorder()
				all.Go(func() {
					s.ServeHTTP(w, httptest.NewRequest("GET", "/?topic=a", nil))
					if w.Code == http.StatusOK && !strings.HasPrefix(w.Body.String(), "id: ") {
						t.Errorf("got %q", w.Body)
					}
				})
			}
			all.Go(func() {
				publish(t, s, "a", "one", "two")
				if err := s.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
			})
			all.Wait()
		})
	}
}

// An event is either kept or refused.
func TestPublishAndShutdown(t *testing.T) {
	for range 200 {
		s := new(Server)
		seen := make(map[string]bool)
		var publishing sync.WaitGroup
		publishing.Go(func() {
			for {
				id, err := s.Publish("a", Event{})
				if err == errShutdown {
					return
				}
				if err != nil || seen[id] {
					t.Errorf("got %s, %v", id, err)
				}
				seen[id] = true
			}
		})
		s.Shutdown(t.Context())
		publishing.Wait()
	}
}

// A handler may return, or panic, while the timers of its Stream go off.
func TestStreamLeft(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		for _, leave := range []func(){func() {}, func() { panic(http.ErrAbortHandler) }} {
			srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				s, err := NewStream(w, r, StreamOptions{KeepAlive: 2 * time.Millisecond, WriteTimeout: 2 * time.Millisecond})
				if err != nil {
					return // it took longer
				}
				defer s.Close()
				s.Send(Event{Data: "x"})
				time.Sleep(rand.N(4 * time.Millisecond))
				leave()
			}))
			srv.EnableHTTP2 = http2
			srv.StartTLS()
			for range 20 {
				if resp, err := srv.Client().Get(srv.URL); err == nil {
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
				time.Sleep(time.Millisecond)
			}
			srv.Close()
		}
	}
}

// A Stream whose handler has forgotten Close writes no more, once the request has ended.
func TestStreamForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, leave := range []func(){func() {}, func() { panic(http.ErrAbortHandler) }} {
			var s *Stream
			m := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				var err error
				if s, err = NewStream(w, r, StreamOptions{}); err != nil {
					t.Error(err)
					return
				}
				s.Send(Event{Data: "x"})
				leave()
			}))
			c := m.open(t, "", "")
			c.want("x")
			io.Copy(io.Discard, c.resp.Body)
			synctest.Wait()
			written := s.written
			time.Sleep(time.Minute)
			if s.Context().Err() == nil || s.written != written {
				t.Error("the stream was written to after its handler had returned")
			}
		}
	})
}

// Memory that a large event, or a long replay, has taken is not kept for each stream.
func TestStreamMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s, err := NewStream(w, r, StreamOptions{})
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			for range 2 {
				s.Send(Event{Data: x(1 << 20)})
				s.Comment(x(1 << 20))
				if cap(s.buf) > maxBuffer {
					t.Errorf("%d bytes are kept", cap(s.buf))
				}
			}
		}))
		c := m.open(t, "", "")
		c.want(x(1<<20), x(1<<20))
		c.wantEnd()
	})
}

// Who loses the connection before the first event, or while there is nothing for it but for others, misses
// nothing either, and is not told so.
func TestServerPosition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{Replay: feed.Limits{Count: 1000}}
		m := start(t, s)
		idle := m.open(t, "?topic=a", "")
		go idle.d.Decode()
		synctest.Wait()
		first := idle.d.LastEventID()
		publish(t, s, "b", make([]string, 5000)...)
		publish(t, s, "a", "one")
		back := func(id string, want ...string) {
			t.Helper()
			c := m.open(t, "?topic=a", id)
			c.want(want...)
			if h := c.resp.Header.Get("Last-Event-ID"); h != id {
				t.Errorf("from %s on: the header says %q", id, h)
			}
			c.conn.Close()
		}
		back(first, "one")

		// Nothing of a is kept any more, but who was told a position in silence has had it.
		c := m.open(t, "?topic=a", first)
		c.want("one")
		go c.d.Decode()
		publish(t, s, "b", make([]string, 5000)...)
		time.Sleep(15 * time.Second)
		synctest.Wait()
		id := c.d.LastEventID()
		if id == first {
			t.Error("the position was not told")
		}
		for _, c := range []*tab{idle, c} {
			c.conn.Close()
		}
		publish(t, s, "a", "two")
		back(id, "two")
	})
}

// A client has several topics, one of them twice.
func TestServerTopicTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(Server)
		c := start(t, s).open(t, "?topic=a&topic=b&topic=a", "")
		publish(t, s, "a", "one")
		publish(t, s, "b", "two")
		publish(t, s, "a", "three")
		c.want("one", "two", "three")
		if n := s.Clients("a"); n != 1 {
			t.Errorf("%d clients", n)
		}
	})
}

// Who was away for too long gets what there is, and is told.
func TestServerEarliest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{Replay: feed.Limits{Count: 3}}
		m := start(t, s)
		old := publish(t, s, "a", "1")
		publish(t, s, "a", "2", "3", "4", "5")
		for _, id := range []string{old, "garbage", "OTHERFEEDX-3"} {
			c := m.open(t, "?topic=a", id)
			c.want("3", "4", "5")
			if h := c.resp.Header.Get("Last-Event-ID"); h != "earliest" {
				t.Errorf("%s: the header says %q", id, h)
			}
			c.conn.Close()
		}
	})
}

// What is for some only is not for others, whatever they say they have had.
func TestServerTopics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{Topics: func(r *http.Request) ([]string, error) {
			switch r.URL.Query().Get("user") {
			case "alice":
				return []string{"alice"}, nil
			case "bob":
				return []string{"bob"}, nil
			case "":
				return nil, errors.New("who are you?")
			case "nobody":
				return nil, &HTTPError{}
			}
			return nil, &HTTPError{StatusCode: http.StatusUnauthorized}
		}}
		m := start(t, s)
		id := publish(t, s, "alice", "secret")
		publish(t, s, "alice", "another")
		c := m.open(t, "?user=bob", id)
		publish(t, s, "bob", "hello")
		c.want("hello")
		for query, want := range map[string]int{"": 500, "?user=mallory": 401, "?user=nobody": 500} {
			if c := m.open(t, query, ""); c.resp.StatusCode != want {
				t.Errorf("%q: got %s", query, c.resp.Status)
			}
		}
		near, far := testnet.Pipe()
		m.conns <- far
		defer near.Close()
		io.WriteString(near, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
		if resp, err := http.ReadResponse(bufio.NewReader(near), nil); err != nil || resp.StatusCode != 405 || resp.Header.Get("Allow") != "GET" {
			t.Errorf("POST: got %v, %v", resp, err)
		}
	})
}

// A client that is too slow is disconnected, and gets what it has missed when it comes again, or it gets
// the latest. Nobody else waits.
func TestServerSlow(t *testing.T) {
	for _, policy := range []SlowPolicy{Disconnect, DropOldest} {
		synctest.Test(t, func(t *testing.T) {
			s := &Server{Queue: 10, Slow: policy, Replay: feed.Limits{Count: 1000, Bytes: 64 << 20}}
			m := start(t, s)
			slow, other := m.open(t, "?topic=a", ""), m.open(t, "?topic=a", "")
			synctest.Wait()
			start := time.Now()
			for i := range 100 {
				data := fmt.Sprint(i, x(20_000))
				publish(t, s, "a", data)
				other.want(data)
			}
			if d := time.Since(start); d != 0 {
				t.Errorf("the other was delayed for %v", d)
			}
			var got []string
			for len(got) == 0 || !strings.HasPrefix(got[len(got)-1], "99x") {
				e, err := slow.d.Decode()
				if err == io.EOF && policy == Disconnect {
					slow = m.open(t, "?topic=a", slow.d.LastEventID())
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, e.Data)
			}
			if policy == Disconnect && len(got) != 100 || policy == DropOldest && (len(got) > 60 || len(got) < 11) {
				t.Errorf("policy %d: got %d events", policy, len(got))
			}
		})
	}
}

// Clients that lose their connection at any byte miss nothing and get nothing twice, while others publish.
func TestServerCuts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{Queue: 10_000, Replay: feed.Limits{Count: 100_000}}
		m := start(t, s)
		const events, clients = 2000, 10
		var all sync.WaitGroup
		for i := range clients {
			random := rand.New(rand.NewPCG(uint64(i), 1))
			c := m.open(t, "?topic=a", "")
			for c.d.LastEventID() == "" { // the position from which on it wants all
				id, err := bufio.NewReader(c.resp.Body).ReadString('\n')
				if err != nil {
					t.Fatal(err)
				}
				c.d = NewDecoder(strings.NewReader(id + "\n"))
				c.d.Decode()
			}
			lastID := c.d.LastEventID()
			c.conn.Close()
			all.Go(func() {
				for n := 0; n < events; {
					c := m.open(t, "?topic=a", lastID)
					c.d = NewDecoder(io.LimitReader(c.resp.Body, random.Int64N(3000)))
					for {
						e, err := c.d.Decode()
						if err != nil {
							break
						}
						if e.Data != fmt.Sprint(n) {
							t.Errorf("client %d: got %s, want %d", i, e.Data, n)
							return
						}
						n++
					}
					if id := c.d.LastEventID(); id != "" {
						lastID = id
					}
					c.conn.Close()
				}
			})
		}
		for i := range events {
			publish(t, s, "a", fmt.Sprint(i))
			if i%10 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		all.Wait()
	})
}
