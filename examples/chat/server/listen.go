package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"
)

// ListenAndServe serves a chat on a TCP address until ctx ends, and says on out what happens.
func ListenAndServe(ctx context.Context, out io.Writer, address string, o Options) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	host := l.Addr().String()
	if tcp, ok := l.Addr().(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		host = fmt.Sprintf("localhost:%d", tcp.Port)
	}
	fmt.Fprintf(out, "chat  http://%s/\nInterrupt (Ctrl-C) to stop.\n", host)

	o.Log = log.New(out, "", log.Ltime)
	chat := New(o)
	srv := &http.Server{Handler: chat, ErrorLog: o.Log, ReadHeaderTimeout: 10 * time.Second}
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() { stopped <- shutdown(srv, chat) })
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		if stop() {
			chat.Shutdown(ctx)
		}
		return err
	}
	return <-stopped
}

// shutdown closes the pages' WebSockets first: srv.Shutdown does not know them.
func shutdown(srv *http.Server, chat *Server) error {
	// One that takes nothing is gone 10 s later.
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	err := chat.Shutdown(ctx)
	if err := srv.Shutdown(ctx); err != nil {
		srv.Close() // browsers open connections in advance
	}
	return err
}
