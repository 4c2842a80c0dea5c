// Live shows the same ticker over WebSocket, Server-Sent Events and long polling, side by side.
//
//	go run ./examples/live
//
// serves a page at http://localhost:8080/ until it is interrupted. The page cuts the network under one
// of the three, and restores it: what was missed comes then, once, because all three say which
// position they have had in the one [feed.Feed] that they are answered from. It shows how late events are,
// and how many bytes each one takes, as they are counted at the connections.
//
// A browser opens six connections to a server over HTTP/1.1, besides WebSockets, and a page takes
// two of them, and a third at times: more than two pages are better in several browsers.
package main

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/tidewire/websocket"
	"github.com/tidewire/websocket/feed"
	"github.com/tidewire/websocket/polling"
	"github.com/tidewire/websocket/sse"
)

func main() {
	listen := flag.String("listen", "localhost:8080", "serve on this TCP `address`")
	interval := flag.Duration("interval", 250*time.Millisecond, "have an event each `duration`")
	keep := flag.Int("keep", 240, "keep so many `events` for pages that come again")
	flag.Parse()
	if *interval <= 0 || *keep <= 0 {
		fmt.Fprintln(os.Stderr, "live: -interval and -keep have to be more than 0")
		os.Exit(2)
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once

	if err := listenAndServe(ctx, os.Stdout, *listen, *interval, *keep); err != nil {
		fmt.Fprintln(os.Stderr, "live:", err)
		os.Exit(1)
	}
}

// listenAndServe serves a ticker on a TCP address until ctx ends, and says on out where.
func listenAndServe(ctx context.Context, out io.Writer, address string, interval time.Duration, keep int) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	host := l.Addr().String()
	if tcp, ok := l.Addr().(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		host = fmt.Sprintf("localhost:%d", tcp.Port)
	}
	fmt.Fprintf(out, "live  http://%s/\nInterrupt (Ctrl-C) to stop.\n", host)

	f := feed.New(feed.Limits{Count: keep, Age: -1})
	var ticker sync.WaitGroup
	defer ticker.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ticker.Go(func() { tick(ctx, f, interval) })
	return serve(ctx, l, f, log.New(out, "", log.Ltime))
}

// tick appends an event to f at each interval, until ctx ends.
func tick(ctx context.Context, f *feed.Feed, interval time.Duration) {
	t := time.NewTicker(interval)
	defer t.Stop()
	value := 100.0
	for n := 1; ; n++ {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		value += rand.NormFloat64() + (100-value)/50
		f.Append(fmt.Appendf(nil, `{"n":%d,"at":%.3f,"value":%.2f}`, n, now(), value))
	}
}

// now returns the time in milliseconds.
func now() float64 { return float64(time.Now().UnixMicro()) / 1000 }

// serve serves f on l until ctx ends, and closes f. It returns when all connections have ended.
func serve(ctx context.Context, l net.Listener, f *feed.Feed, logger *log.Logger) error {
	m := newMeter()
	handler := m.handler(http.NewCrossOriginProtection().Handler(newMux(f, m)))
	var handlers sync.WaitGroup
	srv := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			handlers.Add(1)
			defer handlers.Done()
			handler.ServeHTTP(w, r)
		}),
		ErrorLog:          logger,
		ReadHeaderTimeout: 10 * time.Second,
		ConnContext:       withConn,
	}
	ctx, stop := context.WithCancel(ctx)
	stopped := make(chan error, 1)
	context.AfterFunc(ctx, func() {
		f.Close() // which all streams wait for
		stopped <- shutdown(srv)
	})
	err := srv.Serve(listener{l, m})
	stop()
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	err = cmp.Or(err, <-stopped)
	handlers.Wait() // Shutdown does not know the connections that were upgraded
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

//go:embed index.html
var page []byte

func newMux(f *feed.Feed, m *meter) *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-cache")
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Write(page)
	})
	mux.HandleFunc("GET /websocket", func(w http.ResponseWriter, r *http.Request) { serveWebSocket(w, r, f) })
	mux.HandleFunc("GET /sse", func(w http.ResponseWriter, r *http.Request) { serveSSE(w, r, f) })
	mux.Handle("GET /polling", &polling.Handler{Feed: func(*http.Request) (*feed.Feed, error) { return f, nil }})
	mux.HandleFunc("GET /time", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, "%.3f\n", now())
	})
	mux.HandleFunc("GET /bytes", m.serveBytes)
	mux.HandleFunc("POST /cut", func(w http.ResponseWriter, r *http.Request) { m.serveCut(w, r, true) })
	mux.HandleFunc("POST /restore", func(w http.ResponseWriter, r *http.Request) { m.serveCut(w, r, false) })
	return mux
}

// follow sends what follows a position in f, until ctx or f ends or send fails. An item without data says
// that the position was lost, and that it goes on from the head, as a polling.Handler does.
func follow(ctx context.Context, f *feed.Feed, cursor feed.Cursor, send func([]feed.Item) error) error {
	for {
		items, next, err := f.Wait(ctx, cursor, 100)
		if err == feed.ErrGap {
			items, err = []feed.Item{{Cursor: next}}, nil
		}
		if err == nil {
			err = send(items)
		}
		if err != nil {
			return err
		}
		cursor = next
	}
}

// serveWebSocket sends a message for each event, ["CURSOR",{…}], and ["CURSOR"] if the position was lost.
func serveWebSocket(w http.ResponseWriter, r *http.Request, f *feed.Feed) {
	c, err := websocket.Upgrade(w, r) // pages of this server only
	if err != nil {
		return // Upgrade has answered the request
	}
	defer c.CloseNow()
	ctx := c.CloseRead(context.Background())
	err = follow(ctx, f, feed.Cursor(r.URL.Query().Get("cursor")), func(items []feed.Item) error {
		messages := make([]websocket.Message, len(items))
		for i, item := range items {
			comma := ""
			if item.Data != nil {
				comma = ","
			}
			messages[i] = websocket.Message{
				Type: websocket.MessageText,
				Data: fmt.Appendf(nil, `["%s"%s%s]`, item.Cursor, comma, item.Data),
			}
		}
		return c.WriteBatch(ctx, messages...)
	})
	if err == feed.ErrClosed {
		c.Close(websocket.StatusGoingAway, "the server stops")
	}
}

// serveSSE sends an event for each event, and one of the type "reset" if the position was lost. The
// position is the ID.
func serveSSE(w http.ResponseWriter, r *http.Request, f *feed.Feed) {
	s, err := sse.NewStream(w, r, sse.StreamOptions{Retry: time.Second})
	if err != nil {
		return
	}
	defer s.Close()
	follow(s.Context(), f, feed.Cursor(s.LastEventID()), func(items []feed.Item) error {
		events := make([]sse.Event, len(items))
		for i, item := range items {
			events[i] = sse.Event{ID: string(item.Cursor), Data: string(item.Data)}
			if item.Data == nil {
				events[i].Type, events[i].Data = "reset", "the position was lost" // without data there is no event
			}
		}
		return s.Send(events...)
	})
}
