package child

import (
	"net"
	"sync"

	"github.com/tidewire/websocket/bench/peers"
)

// A server has each connection echo what comes.
type server struct {
	mu    sync.Mutex
	conns map[peers.Conn]bool
}

func runServer(spec Spec, library peers.Library) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s := &server{conns: map[peers.Conn]bool{}}
	var serve func(peers.Conn) error // each echoes
	if spec.Broadcasts {
		serve = s.serve
	}
	go library.Serve(ln, serve)
	message := peers.Message{Text: spec.Kind.Text(), Data: spec.Kind.Payload(spec.Size)}
	count, broadcast := s.count, func() error { return s.broadcast(library, message) }
	if b, ok := library.(peers.Broadcaster); ok {
		count, broadcast = b.Connections, func() error { return b.Broadcast(message) }
	}
	return answerQuestions(spec, ln.Addr().String(), map[string]func() (any, error){
		"connections": func() (any, error) { return count(), nil },
		"broadcast":   func() (any, error) { return 0, broadcast() },
	})
}

// serve is for connections that get what is broadcast.
func (s *server) serve(c peers.Conn) error {
	s.mu.Lock()
	s.conns[c] = true
	s.mu.Unlock()
	err := c.Echo()
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	return err
}

func (s *server) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

func (s *server) broadcast(library peers.Library, m peers.Message) error {
	send, err := library.Prepare(m)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if err := send(c); err != nil {
			return err
		}
	}
	return nil
}
