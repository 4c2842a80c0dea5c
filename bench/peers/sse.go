package peers

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"

	r3labs "github.com/r3labs/sse/v2"
	gosse "github.com/tmaxmax/go-sse"

	"github.com/tidewire/websocket/sse"
)

// Streams are ways to send an event to all clients of Server-Sent Events.
var Streams = []Peer{
	{
		Name:  "sse-loop",
		Notes: "a loop over the network connections that writes to each what is to be sent, with nothing between",
		New:   func(Settings) Library { return &streams{handler: new(bareStreams)} },
	},
	{
		Name:  "sse",
		Notes: "package sse",
		New:   func(Settings) Library { return &streams{handler: &ourStreams{}} },
	},
	{
		Name:  "sse-handlers",
		Notes: "what is often written by hand: each handler has a channel, writes what comes and flushes",
		New:   func(Settings) Library { return &streams{handler: &handStreams{clients: map[chan []byte]bool{}}} },
	},
	{
		Name:  "sse-go-sse",
		Notes: "github.com/tmaxmax/go-sse, its Server with Joe, which writes to one client after the other",
		New:   func(Settings) Library { return &streams{handler: new(goSSE)} },
	},
	{
		Name:  "sse-r3labs",
		Notes: "github.com/r3labs/sse, without AutoReplay, which keeps all events there were",
		New:   newR3labs,
	},
}

// A streamer is a handler that sends events to its clients.
type streamer interface {
	http.Handler
	send(data string) error
}

// streams is a Broadcaster of events.
type streams struct {
	handler streamer
	open    atomic.Int64
}

func (s *streams) Serve(ln net.Listener, _ func(Conn) error) error {
	return serveHTTP(ln, func(w http.ResponseWriter, r *http.Request) {
		s.open.Add(1)
		defer s.open.Add(-1)
		s.handler.ServeHTTP(w, r)
	})
}

func (s *streams) Connections() int          { return int(s.open.Load()) }
func (s *streams) Broadcast(m Message) error { return s.handler.send(string(m.Data)) }

var errNoConns = errors.New("peers: streams have no Conn")

func (s *streams) Dial(string) (Conn, error)                 { return nil, errNoConns }
func (s *streams) Prepare(Message) (func(Conn) error, error) { return nil, errNoConns }

const topic = "a"

type ourStreams struct{ sse.Server }

func (s *ourStreams) send(data string) error {
	_, err := s.Publish(topic, sse.Event{Data: data})
	return err
}

// bareStreams writes to the network connections.
type bareStreams struct {
	mu    sync.Mutex
	conns []net.Conn
	sent  int
}

func (s *bareStreams) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	nc, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer nc.Close()
	if _, err := nc.Write([]byte("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")); err != nil {
		return
	}
	s.mu.Lock()
	s.conns = append(s.conns, nc)
	s.mu.Unlock()
	nc.Read(make([]byte, 1)) // until the client is gone
	s.mu.Lock()
	s.conns = slices.DeleteFunc(s.conns, func(c net.Conn) bool { return c == nc })
	s.mu.Unlock()
}

// send sends what package sse would.
func (s *bareStreams) send(data string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent++
	event, err := sse.Event{ID: fmt.Sprint("KQ4BPA7Z2M-", s.sent), Data: data}.Append(nil)
	if err != nil {
		return err
	}
	chunk := fmt.Appendf(nil, "%x\r\n%s\r\n", len(event), event)
	for _, nc := range s.conns {
		if _, err := nc.Write(chunk); err != nil {
			return err
		}
	}
	return nil
}

// handStreams have channels.
type handStreams struct {
	mu      sync.Mutex
	clients map[chan []byte]bool
	sent    int
}

func (s *handStreams) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	events := make(chan []byte, 64)
	s.mu.Lock()
	s.clients[events] = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.clients, events)
		s.mu.Unlock()
	}()
	w.Header().Set("Content-Type", "text/event-stream")
	w.(http.Flusher).Flush()
	for {
		select {
		case event := <-events:
			if _, err := w.Write(event); err != nil {
				return
			}
			w.(http.Flusher).Flush()
		case <-r.Context().Done():
			return
		}
	}
}

func (s *handStreams) send(data string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent++
	event := fmt.Appendf(nil, "id: %d\ndata: %s\n\n", s.sent, data)
	for c := range s.clients {
		select {
		case c <- event:
		default: // a client that is too slow
		}
	}
	return nil
}

type goSSE struct {
	gosse.Server
	sent int
}

func (s *goSSE) send(data string) error {
	s.sent++
	m := &gosse.Message{ID: gosse.ID(fmt.Sprint(s.sent))}
	m.AppendData(data)
	return s.Publish(m)
}

type r3labsStreams struct {
	*r3labs.Server
	sent int
}

func newR3labs(Settings) Library {
	s := r3labs.New()
	s.AutoReplay = false
	s.CreateStream(topic)
	return &streams{handler: &r3labsStreams{Server: s}}
}

func (s *r3labsStreams) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.URL.RawQuery = "stream=" + topic
	s.Server.ServeHTTP(w, r)
}

func (s *r3labsStreams) send(data string) error {
	s.sent++
	s.Publish(topic, &r3labs.Event{ID: fmt.Append(nil, s.sent), Data: []byte(data)})
	return nil
}
