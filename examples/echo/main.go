// Echo is a WebSocket server that sends every message back to where it came from.
//
// By itself it serves on a free loopback port, dials that, exchanges one message of each
// kind, and prints what happened; the exit status is 0 only if all of it went well:
//
//	go run ./examples/echo
//
// With -listen it serves until it is interrupted: the echo at /ws, and at / a page that
// talks to it.
//
//	go run ./examples/echo -listen :8080
package main

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/tidewire/websocket"
)

func main() {
	listen := flag.String("listen", "", "serve on this TCP `address` until interrupted")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once

	run := demo
	if *listen != "" {
		run = func(ctx context.Context, out io.Writer) error { return listenAndServe(ctx, out, *listen) }
	}
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "echo:", err)
		os.Exit(1)
	}
}

// listenAndServe serves on address until ctx ends, and says on out where,
// who comes, and how each connection ends.
func listenAndServe(ctx context.Context, out io.Writer, address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	host := browserHost(l.Addr())
	fmt.Fprintf(out, "page  http://%s/\necho  ws://%[1]s/ws\nInterrupt (Ctrl-C) to stop.\n", host)
	return serve(ctx, l, log.New(out, "", log.Ltime))
}

// browserHost returns the host and port under which this machine's own
// browser reaches addr. A wildcard address is reached as localhost.
func browserHost(addr net.Addr) string {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return addr.String()
	}
	return fmt.Sprintf("localhost:%d", tcp.Port)
}

//go:embed index.html
var page []byte

// serve serves on l until ctx ends. It returns when every connection is closed.
func serve(ctx context.Context, l net.Listener, logger *log.Logger) error {
	var echoes sync.WaitGroup
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Write(page)
	})
	mux.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		echoes.Add(1)
		defer echoes.Done()
		echo(w, r, logger)
	})

	srv := &http.Server{
		Handler:           mux,
		ErrorLog:          logger,
		ReadHeaderTimeout: 10 * time.Second,
		// The context of every request ends with ctx, which is how echo learns of the end.
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	stopped := make(chan error, 1)
	defer context.AfterFunc(ctx, func() { stopped <- shutdown(srv) })()

	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	err := <-stopped
	// Shutdown does not know the connections that were upgraded.
	echoes.Wait()
	return err
}

// shutdown stops srv. It does not wait long for connections without
// a request, which browsers open in advance.
func shutdown(srv *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := srv.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return srv.Close()
}

// echo upgrades the request and sends back what it receives, until the client closes the
// connection or the server stops.
func echo(w http.ResponseWriter, r *http.Request, logger *log.Logger) {
	var upgrader websocket.Upgrader // the zero value admits pages of this server only
	conn, err := upgrader.Upgrade(w, r)
	if err != nil {
		logger.Printf("%s refused: %v", r.RemoteAddr, err)
		return // Upgrade has answered the request
	}
	defer conn.CloseNow()
	logger.Printf("%s connected", r.RemoteAddr)

	ctx := r.Context()
	for m, err := range conn.Messages(ctx) {
		if err != nil {
			break
		}
		if err := conn.Write(ctx, m.Type, m.Data); err != nil {
			break
		}
	}
	if ctx.Err() != nil {
		conn.Close(websocket.StatusGoingAway, "the server stops")
	}
	logger.Printf("%s closed with %d", r.RemoteAddr, websocket.CloseStatus(conn.Err()))
}

// demo starts a server, talks to it, and stops it.
func demo(ctx context.Context, out io.Writer) error {
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		return err
	}
	url := fmt.Sprintf("ws://%s/ws", l.Addr())
	report(out, "serving", url)

	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	served := make(chan error, 1)
	go func() { served <- serve(ctx, l, log.New(io.Discard, "", 0)) }()

	err = talk(ctx, out, url)
	cancel()
	return cmp.Or(err, <-served)
}

// talk dials the echo server at url and goes through every kind of message with it.
func talk(ctx context.Context, out io.Writer, url string) error {
	conn, resp, err := websocket.Dial(ctx, url)
	if err != nil {
		return err
	}
	defer conn.CloseNow()
	report(out, "dialed", resp.Status)

	c := &client{conn: conn, received: make(chan websocket.Message, 1)}
	go c.read(ctx)
	for _, step := range []struct {
		name string
		run  func(context.Context) (result string, err error)
	}{
		{"text", c.text},
		{"binary", c.binary},
		{"ping", c.ping},
		{"fragmented", c.fragmented},
		{"close", c.close},
	} {
		result, err := step.run(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		report(out, step.name, result)
	}
	return nil
}

func report(out io.Writer, step, result string) {
	fmt.Fprintf(out, "%-10s  %s\n", step, result)
}

// A client is the demo's end of the connection.
type client struct {
	conn     *websocket.Conn
	received chan websocket.Message // closed after the last one
	readErr  error                  // why there are no more; set before received is closed
}

// read receives until it can't. Pongs, and the peer's half of the closing handshake, are
// taken in on the way.
func (c *client) read(ctx context.Context) {
	defer close(c.received)
	for {
		typ, data, err := c.conn.Read(ctx)
		if err != nil {
			c.readErr = err
			return
		}
		c.received <- websocket.Message{Type: typ, Data: data}
	}
}

func (c *client) text(ctx context.Context) (string, error) {
	const greeting = "Hello, 世界"
	if err := c.conn.Write(ctx, websocket.MessageText, []byte(greeting)); err != nil {
		return "", err
	}
	err := c.expect(websocket.MessageText, []byte(greeting))
	return fmt.Sprintf("%q came back", greeting), err
}

func (c *client) binary(ctx context.Context) (string, error) {
	data := []byte{0x00, 0x01, 0x7f, 0x80, 0xfe, 0xff}
	if err := c.conn.Write(ctx, websocket.MessageBinary, data); err != nil {
		return "", err
	}
	err := c.expect(websocket.MessageBinary, data)
	return fmt.Sprintf("% x came back", data), err
}

func (c *client) ping(ctx context.Context) (string, error) {
	rtt, err := c.conn.Ping(ctx)
	return fmt.Sprintf("answered after %v", rtt), err
}

// fragmented sends one message in pieces, as a program does that does not yet know how
// the message will end.
func (c *client) fragmented(ctx context.Context) (string, error) {
	w, err := c.conn.NextWriter(ctx, websocket.MessageText)
	if err != nil {
		return "", err
	}
	data := bytes.Repeat([]byte("0123456789abcdef"), 6<<10)
	for piece := range slices.Chunk(data, 32<<10) {
		if _, err := w.Write(piece); err != nil {
			return "", err
		}
	}
	if err := w.Close(); err != nil {
		return "", err
	}
	err = c.expect(websocket.MessageText, data)
	return fmt.Sprintf("%d KiB written in pieces came back as one message", len(data)>>10), err
}

func (c *client) close(context.Context) (string, error) {
	if err := c.conn.Close(websocket.StatusNormalClosure, "that was all"); err != nil {
		return "", err
	}
	if _, ok := <-c.received; ok {
		return "", errors.New("a message came that nobody had sent")
	}
	if code := websocket.CloseStatus(c.readErr); code != websocket.StatusNormalClosure {
		return "", fmt.Errorf("ended with %w", c.readErr)
	}
	return fmt.Sprintf("closing handshake completed with %d", websocket.StatusNormalClosure), nil
}

// expect takes the next message, which must be the given one.
func (c *client) expect(typ websocket.MessageType, data []byte) error {
	m, ok := <-c.received
	switch {
	case !ok:
		return c.readErr
	case m.Type != typ || !bytes.Equal(m.Data, data):
		return fmt.Errorf("sent %d bytes, and %d others came back", len(data), len(m.Data))
	}
	return nil
}
