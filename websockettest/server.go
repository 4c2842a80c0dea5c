package websockettest

import (
	"context"
	"net"
	"net/http"
	"sync"
	"syscall"

	"github.com/tidewire/websocket"
	"github.com/tidewire/websocket/internal/testnet"
)

// A Server is an [http.Server] in memory, which only its own Dialer leads to. Its methods may be
// called concurrently.
type Server struct {
	URL string // ws://websocket.test, without a path

	accepted chan net.Conn
	closed   chan struct{}
	stop     sync.Once
	server   *http.Server

	mu                 sync.Mutex
	down               bool
	toClient, toServer Faults
	conns              map[*conn]bool // the server's ends
}

// NewServer starts a server of h, which is to be closed.
func NewServer(h http.Handler) *Server {
	s := &Server{
		URL:      "ws://websocket.test",
		accepted: make(chan net.Conn),
		closed:   make(chan struct{}),
		conns:    make(map[*conn]bool),
	}
	s.server = &http.Server{Handler: h}
	go s.server.Serve(listener{s})
	return s
}

// Close stops the server, and resets all connections. It does not wait for handlers.
func (s *Server) Close() {
	s.SetDown(true)
	s.Reset()
	s.server.Close()
	listener{s}.Close() // which the http.Server does not know before it serves
}

// Dialer returns a Dialer that leads to the server, whatever the host of the URL is.
func (s *Server) Dialer() *websocket.Dialer {
	return &websocket.Dialer{DialContext: s.dial, Proxy: http.ProxyURL(nil)}
}

// SetFaults says what is wrong with the network, from the first byte on, of connections that are made
// from now on.
func (s *Server) SetFaults(toClient, toServer Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.toClient, s.toServer = toClient, toServer
}

// SetDown says whether the server can't be connected to, as if it did not run. The connections that
// there are stay: see Reset.
func (s *Server) SetDown(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
}

// Reset resets all connections, as the crash of a server does.
func (s *Server) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.Reset()
	}
	clear(s.conns)
}

// dial connects to the server, for a Dialer.
func (s *Server) dial(ctx context.Context, network, address string) (net.Conn, error) {
	refused := &net.OpError{Op: "dial", Net: network, Addr: serverAddr{}, Err: syscall.ECONNREFUSED}
	near, far := s.connect()
	if near == nil {
		return nil, refused
	}
	var err error
	select {
	case s.accepted <- far:
		return near, nil
	case <-s.closed:
		err = refused
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	near.Close()
	far.Close()
	return nil, err
}

// connect returns the ends of a new connection, nil if the server is down.
func (s *Server) connect() (near net.Conn, far *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return nil, nil
	}
	a, b := testnet.Pipe()
	a.SetFaults(testnet.Faults(s.toClient))
	b.SetFaults(testnet.Faults(s.toServer))
	far = &conn{b, s}
	s.conns[far] = true
	return a, far
}

// A conn is the server's end of a connection.
type conn struct {
	*testnet.Conn
	s *Server
}

func (c *conn) Close() error {
	c.s.mu.Lock()
	delete(c.s.conns, c)
	c.s.mu.Unlock()
	return c.Conn.Close()
}

// A listener is where the http.Server gets its connections.
type listener struct{ s *Server }

func (l listener) Accept() (net.Conn, error) {
	select {
	case nc := <-l.s.accepted:
		return nc, nil
	case <-l.s.closed:
		return nil, net.ErrClosed
	}
}

func (l listener) Close() error {
	l.s.stop.Do(func() { close(l.s.closed) })
	return nil
}

func (l listener) Addr() net.Addr { return serverAddr{} }

type serverAddr struct{}

func (serverAddr) Network() string { return "memory" }
func (serverAddr) String() string  { return "websocket.test:80" }
