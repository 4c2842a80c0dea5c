package sse

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidewire/websocket/feed"
)

// A SlowPolicy is what becomes of a client that is too far behind.
type SlowPolicy int

const (
	Disconnect SlowPolicy = iota // the response ends: the client comes again, and gets what is kept of what it has missed
	DropOldest                   // it gets the latest of Queue, or what is kept
)

// A Server sends events to the clients of topics. Set its fields before it is used. Its methods may be
// called concurrently.
type Server struct {
	// Topics returns what a client is to be sent, or an error: that is answered with its StatusCode if it
	// is an *HTTPError, and otherwise with 500. It is the place to see who the client is. Default: the query
	// parameters called "topic".
	Topics func(*http.Request) ([]string, error)

	// Replay is how much is kept of all topics for clients that come again.
	Replay feed.Limits

	// Queue is how many events a client may be behind. Default: as many as are kept.
	Queue int

	// Slow is what becomes of one that is farther behind. Default: Disconnect.
	Slow SlowPolicy

	StreamOptions

	once    sync.Once
	feed    *feed.Feed
	ids     ids
	mu      sync.Mutex
	closing bool
	streams sync.WaitGroup
}

// An HTTPError is an error with a status code for the response.
type HTTPError struct {
	StatusCode int
	Err        error
}

func (e *HTTPError) Error() string {
	if e.Err == nil {
		return http.StatusText(e.StatusCode)
	}
	return e.Err.Error()
}

func (e *HTTPError) Unwrap() error { return e.Err }

var (
	errHasID    = errors.New("sse: the Server chooses the ID of an event")
	errShutdown = errors.New("sse: the server is shut down")
)

func (s *Server) init() {
	s.once.Do(func() {
		s.feed = feed.New(s.Replay)
		s.StreamOptions = s.StreamOptions.withDefaults()
		s.ids = newIDs(s.feed)
	})
}

// Publish sends an event to the clients of a topic, without waiting for them. It returns the ID that
// the event has got, or an error: of [Event.Append], or because the Server is shut down.
func (s *Server) Publish(topic string, e Event) (id string, err error) {
	s.init()
	if e.ID != "" || e.SetID {
		return "", errHasID
	}
	p, err := e.Append(appendField(nil, "id", noID))
	if err != nil {
		return "", err
	}
	_, err = s.feed.AppendTo(topic, func(c feed.Cursor) []byte {
		id = s.ids.of(c)
		copy(p[len("id: "):], id)
		return p
	})
	if err != nil {
		return "", errShutdown
	}
	return id, nil
}

// Clients returns how many clients a topic has.
func (s *Server) Clients(topic string) int {
	s.init()
	return s.feed.Readers(topic)
}

// ServeHTTP sends a client what it has missed since the event whose ID it says, and what comes from now
// on. If that ID is not known any more, it gets all that is kept, and the response has the header field
// "Last-Event-ID: earliest".
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.init()
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		http.Error(w, "want GET", http.StatusMethodNotAllowed)
		return
	}
	topics, err := s.topics(r)
	if err == nil {
		err = s.enter()
	}
	if err != nil {
		refuse(w, err)
		return
	}
	defer s.streams.Done()
	f := follower{Server: s}
	f.begin(LastEventID(r, s.IDQuery), topics)
	defer f.reader.Close()
	if f.from != "" {
		w.Header().Set("Last-Event-ID", f.from)
	}
	o := s.StreamOptions
	o.KeepAlive = -1 // that is the follower's
	if f.stream, err = NewStream(w, r, o); err != nil {
		return
	}
	defer f.stream.Close()
	f.follow()
}

func (s *Server) topics(r *http.Request) ([]string, error) {
	if s.Topics != nil {
		return s.Topics(r)
	}
	return r.URL.Query()["topic"], nil
}

func refuse(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	if e, ok := errors.AsType[*HTTPError](err); ok && e.StatusCode >= 400 {
		status = e.StatusCode
	}
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", strconv.Itoa(1))
	}
	http.Error(w, http.StatusText(status), status)
}

func (s *Server) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return &HTTPError{http.StatusServiceUnavailable, errShutdown}
	}
	s.streams.Add(1)
	return nil
}

// Shutdown ends all responses, refuses new clients with 503, and returns when handlers have, or with the
// cause of ctx when that ends. An [http.Server] that is shut down waits for responses that don't end by
// themselves: see its RegisterOnShutdown.
func (s *Server) Shutdown(ctx context.Context) error {
	s.init()
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	s.feed.Close()
	done := make(chan struct{})
	go func() {
		s.streams.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// A follower is a client.
type follower struct {
	*Server
	stream *Stream
	reader *feed.Reader
	from   string      // from where on it is sent what it has missed; "" if it has not said where it is
	items  []feed.Item // to be sent
	buf    []byte

	idle   *time.Timer // runs always, if there is a KeepAlive
	silent atomic.Bool // it has fired
	over   atomic.Bool // the context has ended
}

var errSlow = errors.New("sse: the client is too slow")

// begin finds what the client has missed.
func (f *follower) begin(lastID string, topics []string) {
	var ok bool
	if f.reader, ok = f.feed.Reader(f.ids.cursor(lastID), topics...); ok {
		f.from = lastID
	}
	for {
		var err error
		if f.items, err = f.next(); err != feed.ErrGap {
			break
		}
		ok = false
	}
	if !ok {
		f.from = "earliest"
	}
}

// portion is how many events are taken from the feed at a time, unless they have to be counted.
const portion = 256

func (f *follower) next() ([]feed.Item, error) {
	if f.Queue > 0 {
		return f.reader.Next(0)
	}
	return f.reader.Next(portion)
}

// follow sends what there is until the stream ends, and returns why it does.
func (f *follower) follow() error {
	defer context.AfterFunc(f.stream.ctx, func() {
		f.over.Store(true)
		f.reader.Wake()
	})()
	if f.KeepAlive > 0 {
		f.idle = time.AfterFunc(f.KeepAlive, func() {
			f.silent.Store(true)
			f.reader.Wake()
		})
		defer f.idle.Stop()
	}
	if len(f.items) == 0 {
		f.tell() // for it may lose the connection before the first event
	}
	err := f.send(f.items)
	for err == nil {
		if err = f.wait(); err == nil {
			err = f.sendNext()
		}
	}
	return err
}

// sendNext sends what there is, or as much as is taken at a time.
func (f *follower) sendNext() (err error) {
	f.items, err = f.next()
	switch n := len(f.items); {
	case err == feed.ErrGap && f.Slow == DropOldest:
		return nil
	case err != nil:
		return err
	case f.Queue <= 0 || n <= f.Queue:
		return f.send(f.items)
	case f.Slow == DropOldest:
		return f.send(f.items[n-f.Queue:])
	}
	return errSlow
}

// wait waits for more. In silence it tells the client its position, which others' events have moved on; that
// keeps the connection alive as a comment would.
func (f *follower) wait() error {
	<-f.reader.More() // alone: to wait for one channel costs the least
	if f.over.Load() {
		return context.Cause(f.stream.ctx)
	}
	if !f.silent.Swap(false) {
		return nil
	}
	left := f.KeepAlive - time.Since(f.stream.written)
	if left <= 0 {
		if err := f.tell(); err != nil {
			return err
		}
		left = f.KeepAlive
	}
	f.idle.Reset(left)
	return nil
}

func (f *follower) tell() error {
	return f.stream.sendEncoded(append(appendField(nil, "id", f.ids.of(f.reader.Cursor())), '\n'))
}

// send sends items, several in a write, but not so many that a client which is slow would have no time for it.
func (f *follower) send(items []feed.Item) error {
	if len(items) == 1 {
		return f.stream.sendEncoded(items[0].Data)
	}
	f.buf = f.buf[:0]
	for i, item := range items {
		f.buf = append(f.buf, item.Data...)
		if i < len(items)-1 && len(f.buf)+len(items[i+1].Data) <= maxBuffer {
			continue
		}
		if err := f.stream.sendEncoded(f.buf); err != nil {
			return err
		}
		f.buf = f.buf[:0]
	}
	if cap(f.buf) > maxBuffer {
		f.buf = nil
	}
	return nil
}
