package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"

	"github.com/tidewire/websocket"
)

// A link is our end of a connection, and before that what it will be made with.
type link struct {
	connection
	url      string
	record   *record
	server   *http.Server // if the peer is the client
	arrivals chan arrival

	conn       *websocket.Conn
	extensions string // what the client offers or, if the peer is the server, that accepts
}

type arrival struct {
	conn    *websocket.Conn
	offered string
	err     error
}

const extensionsField = "Sec-WebSocket-Extensions"

// listen waits for the peer.
func (l *link) listen() error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	l.url = "ws://" + ln.Addr().String() + "/" + l.does
	l.arrivals = make(chan arrival, 1)
	upgrader := &websocket.Upgrader{
		Subprotocols: l.spoken(),
		Compression:  l.ours,
		Origins:      []string{"*"}, // a browser's page is of another server
		Trace:        l.record.trace(),
	}
	l.server = &http.Server{
		ErrorLog: log.New(io.Discard, "", 0),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, err := upgrader.Upgrade(w, r)
			l.arrivals <- arrival{conn, r.Header.Get(extensionsField), err}
		}),
	}
	go l.server.Serve(ln)
	return nil
}

// spoken are the subprotocols that we speak.
func (l *link) spoken() []string {
	if l.subprotocols == nil {
		return nil
	}
	return []string{"chat", "whisper"}
}

// connect makes the connection, or waits for it. A client that can't make it says so.
func (l *link) connect(ctx context.Context, lines <-chan string) error {
	if l.server == nil {
		return l.dial(ctx)
	}
	select {
	case a := <-l.arrivals:
		l.conn, l.extensions = a.conn, a.offered
		return a.err
	case line := <-lines:
		return fmt.Errorf("the peer says %q before it connects", line)
	case <-ctx.Done():
		return errors.New("the peer does not connect")
	}
}

func (l *link) dial(ctx context.Context) error {
	d := &websocket.Dialer{Subprotocols: l.spoken(), Compression: l.ours, Trace: l.record.trace()}
	conn, response, err := d.Dial(ctx, l.url)
	if err != nil {
		return err
	}
	l.conn, l.extensions = conn, response.Header.Get(extensionsField)
	return nil
}

func (l *link) close() {
	if l.server != nil {
		l.server.Close()
	}
}
