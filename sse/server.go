package sse

import (
	"context"
	"encoding/binary"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/tidewire/websocket/feed"
)

// A SlowPolicy is what becomes of a client that is more than Queue events behind.
type SlowPolicy int

const (
	Disconnect SlowPolicy = iota // the response ends: the client comes again, and gets what it has missed
	DropOldest                   // it gets the latest of Queue
)

// A Server sends events to the clients of topics. Set its fields before it is used. Its methods may be
// called concurrently.
type Server struct {
	// Topics returns what a client is to be sent, or an error: that is answered with its StatusCode if it
	// is an *HTTPError, and otherwise with 403. It is the place to see who the client is. Default: the query
	// parameters called "topic".
	Topics func(*http.Request) ([]string, error)

	// Replay is how much is kept of all topics for clients that come again.
	Replay feed.Limits

	// Queue is how many events a client may be behind. Default: 64.
	Queue int

	// Slow is what becomes of one that is farther behind. Default: Disconnect.
	Slow SlowPolicy

	StreamOptions

	once    sync.Once
	feed    *feed.Feed
	mu      sync.Mutex
	clients map[string]int // by topic
	closing bool
	streams sync.WaitGroup
}

// An HTTPError is an error with a status code for the response.
type HTTPError struct {
	StatusCode int
	Err        error
}

func (e *HTTPError) Error() string { return e.Err.Error() }
func (e *HTTPError) Unwrap() error { return e.Err }

var (
	errHasID    = errors.New("sse: the Server chooses the ID of an event")
	errShutdown = errors.New("sse: the server is shut down")
)

func (s *Server) init() {
	s.once.Do(func() {
		s.feed = feed.New(s.Replay)
		s.clients = make(map[string]int)
		s.StreamOptions = s.StreamOptions.withDefaults()
		if s.Queue <= 0 {
			s.Queue = 64
		}
	})
}

// Publish sends an event to the clients of a topic, without waiting for them. It returns the ID that
// the event has got, or an error: of [Event.Append], or because the Server is shut down.
func (s *Server) Publish(topic string, e Event) (id string, err error) {
	s.init()
	if e.ID != "" || e.SetID {
		return "", errHasID
	}
	s.mu.Lock()
	closing := s.closing
	s.mu.Unlock()
	if closing {
		return "", errShutdown
	}
	p := binary.AppendUvarint(nil, uint64(len(topic)))
	p = append(p, topic...)
	head := len(p)
	if p, err = e.Append(p); err != nil {
		return "", err
	}
	c := s.feed.AppendFunc(func(c feed.Cursor) []byte {
		return slices.Insert(p, head, []byte("id: "+string(c)+"\n")...)
	})
	return string(c), nil
}

// Clients returns how many clients a topic has.
func (s *Server) Clients(topic string) int {
	s.init()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clients[topic]
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
		err = s.enter(topics)
	}
	if err != nil {
		refuse(w, err)
		return
	}
	defer s.leave(topics)
	c := s.position(w, LastEventID(r, s.IDQuery))
	stream, err := NewStream(w, r, s.StreamOptions)
	if err != nil {
		return
	}
	defer stream.Close()
	f := follower{Server: s, stream: stream, topics: topics, cursor: c}
	f.follow()
}

func (s *Server) topics(r *http.Request) ([]string, error) {
	if s.Topics != nil {
		return s.Topics(r)
	}
	return r.URL.Query()["topic"], nil
}

func refuse(w http.ResponseWriter, err error) {
	status := http.StatusForbidden
	if e, ok := errors.AsType[*HTTPError](err); ok {
		status = e.StatusCode
	}
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", strconv.Itoa(1))
	}
	http.Error(w, http.StatusText(status), status)
}

func (s *Server) enter(topics []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return &HTTPError{http.StatusServiceUnavailable, errShutdown}
	}
	s.streams.Add(1)
	for _, topic := range topics {
		s.clients[topic]++
	}
	return nil
}

func (s *Server) leave(topics []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, topic := range topics {
		if s.clients[topic]--; s.clients[topic] == 0 {
			delete(s.clients, topic)
		}
	}
	s.streams.Done()
}

// position returns from where on a client is to be sent what there is, and says in the header how
// that is.
func (s *Server) position(w http.ResponseWriter, lastID string) feed.Cursor {
	c := feed.Cursor(lastID)
	if lastID == "" {
		return s.feed.Head()
	}
	if _, _, err := s.feed.After(c, 1); err != nil {
		c, lastID = s.feed.Oldest(), "earliest"
	}
	w.Header().Set("Last-Event-ID", lastID)
	return c
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
	topics []string
	cursor feed.Cursor // behind what it has

	buf     []byte
	skipped int       // items that were not for it, since it was told a position
	told    time.Time // of one
}

// follow sends what there is until the stream ends.
func (f *follower) follow() {
	// A client that has had no event yet is told the position, too, for it may lose the connection before.
	f.tell()
	for first := true; ; first = false {
		items, next, err := f.feed.Wait(f.stream.Context(), f.cursor, 0)
		if err == feed.ErrGap {
			if f.Slow == Disconnect {
				return
			}
			f.cursor = f.feed.Oldest()
			continue
		}
		if err != nil {
			return
		}
		f.cursor = next
		mine := f.mine(items)
		if behind := len(mine) - f.Queue; behind > 0 && !first {
			if f.Slow == Disconnect {
				return
			}
			mine = mine[behind:]
		}
		if f.send(mine) != nil {
			return
		}
	}
}

// mine returns those of items that are for the client, as they are sent.
func (f *follower) mine(items []feed.Item) (mine [][]byte) {
	for _, item := range items {
		n, length := binary.Uvarint(item.Data)
		topic, event := item.Data[length:length+int(n)], item.Data[length+int(n):]
		if slices.Contains(f.topics, string(topic)) {
			mine = append(mine, event)
		}
	}
	f.skipped += len(items) - len(mine)
	return mine
}

// tellAfter is after how much that was not for a client it is told the position, which would be lost otherwise.
const tellAfter = 100

func (f *follower) send(mine [][]byte) error {
	switch {
	case len(mine) == 1:
		f.skipped, f.told = 0, time.Now()
		return f.stream.sendEncoded(mine[0])
	case len(mine) > 1:
		f.skipped, f.told = 0, time.Now()
		f.buf = f.buf[:0]
		for _, event := range mine {
			f.buf = append(f.buf, event...)
		}
		return f.stream.sendEncoded(f.buf)
	case f.skipped >= tellAfter || time.Since(f.told) > f.KeepAlive && f.KeepAlive > 0:
		return f.tell()
	}
	return nil
}

// tell tells the client its position, without an event.
func (f *follower) tell() error {
	f.skipped, f.told = 0, time.Now()
	return f.stream.sendEncoded([]byte("id: " + string(f.cursor) + "\n\n"))
}
