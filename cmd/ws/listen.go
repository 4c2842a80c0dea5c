package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/tidewire/websocket"
	"github.com/tidewire/websocket/hub"
)

// listenFlags are those of ws listen.
type listenFlags struct {
	mode, command         string
	origins, subprotocols list
	cert, key, path       string
	pingEvery             span
	compress, verbose     bool
}

func prepareListen(fs *flag.FlagSet) func(context.Context, *system, []string) (int, error) {
	f := listenFlags{mode: "echo", path: "/"}
	text(fs, &f.mode, "mode")
	text(fs, &f.command, "exec")
	value(fs, &f.origins, "o", "origin")
	value(fs, &f.subprotocols, "s", "subprotocol")
	text(fs, &f.cert, "tls-cert")
	text(fs, &f.key, "tls-key")
	text(fs, &f.path, "path")
	value(fs, &f.pingEvery, "ping")
	toggle(fs, &f.compress, "deflate")
	toggle(fs, &f.verbose, "v", "verbose")
	return f.run
}

func (f *listenFlags) run(ctx context.Context, sys *system, operands []string) (int, error) {
	if err := wantOperands(operands, "the address to listen on, such as :8080"); err != nil {
		return 0, err
	}
	if err := oneOf("mode", f.mode, "echo", "broadcast", "log", "stdio"); err != nil {
		return 0, err
	}
	if !strings.HasPrefix(f.path, "/") {
		f.path = "/" + f.path
	}
	config, err := f.tlsConfig()
	if err != nil {
		return 0, err
	}
	out := newOutput(sys)
	out.verbose = f.verbose
	l, err := net.Listen("tcp", completeAddress(operands[0]))
	if err != nil {
		out.fail("ws: could not listen: %v", err)
		return exitConnect, nil
	}
	scheme := "ws"
	if config != nil {
		l, scheme = tls.NewListener(l, config), "wss"
	}
	out.say("listening on %s://%s%s", scheme, dialable(l.Addr()), f.path)
	return newServer(f, sys, out).run(ctx, l), nil
}

func (f *listenFlags) tlsConfig() (*tls.Config, error) {
	switch {
	case f.cert == "" && f.key == "":
		return nil, nil
	case f.cert == "" || f.key == "":
		return nil, errors.New("-tls-cert and -tls-key belong together")
	}
	pair, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		return nil, fmt.Errorf("-tls-cert, -tls-key: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"}}, nil
}

// completeAddress returns the address that somebody means who types s: a port alone is one of this
// machine only, while ":8080" is for everybody who can reach it.
func completeAddress(s string) string {
	if !strings.Contains(s, ":") {
		return net.JoinHostPort("localhost", s)
	}
	return s
}

// dialable returns the host and port under which this machine itself reaches addr.
func dialable(addr net.Addr) string {
	if tcp, ok := addr.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		return fmt.Sprintf("localhost:%d", tcp.Port)
	}
	return addr.String()
}

// A server is that of ws listen.
type server struct {
	*listenFlags
	in       io.Reader
	out      *output
	hub      *hub.Hub[struct{}]
	upgrader websocket.Upgrader

	work  sync.WaitGroup // connections, and who reads in
	input sync.Once      // in is read from the first client on

	life context.Context
	stop context.CancelFunc // ends it
}

func newServer(f *listenFlags, sys *system, out *output) *server {
	s := &server{listenFlags: f, in: sys.stdin, out: out}
	s.hub = hub.New[struct{}](hub.Options{OnPresence: s.came, PresenceGrace: -1})
	s.upgrader = websocket.Upgrader{
		Subprotocols: f.subprotocols,
		Origins:      f.origins,
		ReadLimit:    maxMessage,
		PingInterval: time.Duration(f.pingEvery),
		PingTimeout:  time.Duration(f.pingEvery),
		Accept:       s.hub.Accept,
		Trace:        &websocket.Trace{Handshake: s.traceHandshake},
	}
	if f.compress {
		s.upgrader.Compression = new(websocket.Compression)
	}
	if f.verbose {
		s.upgrader.Trace.FrameRead = func(c *websocket.Conn, f websocket.Frame) { s.trace(c, "<", f) }
		s.upgrader.Trace.FrameWritten = func(c *websocket.Conn, f websocket.Frame) { s.trace(c, ">", f) }
	}
	return s
}

func (s *server) traceHandshake(_ *websocket.Conn, r *http.Request, _ time.Duration, err error) {
	s.out.request(r.RemoteAddr+" <", r)
	if err != nil {
		s.out.fail("%s refused: %s", r.RemoteAddr, unprefixed(err))
	}
}

func (s *server) trace(c *websocket.Conn, mark string, f websocket.Frame) {
	s.out.detail("%v %s %v", c.RemoteAddr(), mark, f)
}

// run serves on l until ctx ends or nobody reads stdout, and returns the exit status.
func (s *server) run(ctx context.Context, l net.Listener) int {
	s.life, s.stop = context.WithCancel(ctx)
	defer s.stop()
	srv := &http.Server{
		Handler:           http.HandlerFunc(s.serve),
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          log.New(noteWriter{s.out}, "", 0),
	}
	stopped := make(chan struct{})
	unregister := context.AfterFunc(s.life, func() {
		defer close(stopped)
		s.shutdown(srv)
	})
	err := srv.Serve(l)
	if unregister() {
		s.shutdown(srv)
	} else {
		<-stopped
	}
	s.work.Wait()
	if !errors.Is(err, http.ErrServerClosed) {
		s.out.fail("ws: %v", err)
		return exitLost
	}
	return exitOK
}

// shutdown lets nobody in any more, and closes the connections with 1001.
func (s *server) shutdown(srv *http.Server) {
	s.stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if srv.Shutdown(ctx) != nil {
		srv.Close() // connections without a request, which browsers open in advance
	}
	ctx, cancel = context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	s.hub.Shutdown(ctx, websocket.StatusGoingAway, 0)
}

// A noteWriter prints what an http.Server logs.
type noteWriter struct{ out *output }

func (w noteWriter) Write(p []byte) (int, error) {
	w.out.note("%s", strings.TrimSuffix(string(p), "\n"))
	return len(p), nil
}

// serve is the handler of all requests.
func (s *server) serve(w http.ResponseWriter, r *http.Request) {
	s.work.Add(1) // before Shutdown can return
	defer s.work.Done()
	if s.path != "/" && s.path != r.URL.Path {
		http.NotFound(w, r)
		return
	}
	c, err := s.upgrader.Upgrade(w, r)
	if err != nil {
		return // it was answered, and told of
	}
	defer c.CloseNow()
	s.out.say("%s connected", r.RemoteAddr)
	s.serveConn(c, r.RemoteAddr)
	if end, ok := errors.AsType[*websocket.CloseError](c.Err()); ok {
		s.out.say("%s %s", r.RemoteAddr, explainClose(end, "client").text)
	}
}

// serveConn returns when c has ended.
func (s *server) serveConn(c *websocket.Conn, name string) {
	if s.command != "" {
		s.serveProcess(c, name)
		return
	}
	s.serveHub(c, name, func(typ websocket.MessageType, data []byte) error {
		switch s.mode {
		case "echo":
			return c.Write(context.Background(), typ, data)
		case "broadcast":
			_, err := s.hub.All().Send(context.Background(), typ, data)
			return err
		}
		if s.out.message(typ, data) != nil {
			s.stop() // nobody reads stdout
		}
		return nil
	})
}

// serveHub has on called with each message of c, which is in the hub meanwhile.
func (s *server) serveHub(c *websocket.Conn, name string, on func(websocket.MessageType, []byte) error) {
	s.hub.Serve(context.Background(), c, hub.Identity[struct{}]{User: name},
		func(_ *hub.Client[struct{}], typ websocket.MessageType, data []byte) error { return on(typ, data) })
}

// came is told that a client is in the hub, or is not any more.
func (s *server) came(string, bool) {
	if s.mode == "stdio" {
		s.input.Do(func() { s.work.Go(s.sendInput) })
	}
}

// sendInput sends the lines of stdin to all clients.
func (s *server) sendInput() {
	for data, err := range lines(s.life, s.in, false) {
		if err != nil {
			s.out.fail("ws: stdin: %v", err)
			return
		}
		s.hub.All().Send(context.Background(), typeOf(data), data)
	}
}
