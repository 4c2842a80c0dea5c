package main

import (
	"context"
	"encoding/json"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// transports are what is metered: the paths of their requests.
var transports = []string{"websocket", "sse", "polling"}

const (
	maxLines    = 3000
	maxClient   = 40              // bytes of a client's name
	forgetAfter = 5 * time.Minute // without a connection
)

// A meter counts the bytes that pages take for each transport, and cuts the network under them.
type meter struct {
	mu    sync.Mutex
	lines map[lineID]*line
}

// A lineID says whose a line is.
type lineID struct{ client, transport string }

// A line is the network between a page and a transport.
type line struct {
	Bytes int64 `json:"bytes"` // in both directions, with all headers
	Cut   bool  `json:"cut"`

	conns map[*conn]bool
	used  time.Time // when there was a connection
}

func newMeter() *meter { return &meter{lines: make(map[lineID]*line)} }

// line returns the line with that ID, or nil if it can't be one, or there are too many. m.mu is held.
func (m *meter) line(id lineID) *line {
	l := m.lines[id]
	if l != nil || len(id.client) > maxClient || !slices.Contains(transports, id.transport) {
		return l
	}
	maps.DeleteFunc(m.lines, func(_ lineID, l *line) bool {
		return len(l.conns) == 0 && time.Since(l.used) > forgetAfter
	})
	if len(m.lines) >= maxLines {
		return nil
	}
	l = &line{conns: make(map[*conn]bool), used: time.Now()}
	m.lines[id] = l
	return l
}

// handler has the connection of each request count for the line that it is on, and breaks off those on a
// line that is cut.
func (m *meter) handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := r.Context().Value(connKey{}).(*conn)
		id := lineID{r.URL.Query().Get("client"), strings.TrimPrefix(r.URL.Path, "/")}
		if !m.begin(c, id) {
			panic(http.ErrAbortHandler) // to an EventSource, any status would be the end
		}
		next.ServeHTTP(w, r)
	})
}

// begin has c count for the line with that ID, if there is one, and reports whether that is not cut.
func (m *meter) begin(c *conn, id lineID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.line(id)
	c.count(l)
	return l == nil || !l.Cut
}

// cut cuts or restores a line. Its connections are reset, without a goodbye.
func (m *meter) cut(id lineID, cut bool) (ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.line(id)
	if l == nil {
		return false
	}
	l.Cut = cut
	if cut {
		for c := range l.conns {
			c.Conn.(*net.TCPConn).SetLinger(0)
			c.Conn.Close()
			c.count(nil) // what is written from now on is not sent
		}
	}
	return true
}

// serveBytes answers with the lines of a client.
func (m *meter) serveBytes(w http.ResponseWriter, r *http.Request) {
	client := r.URL.Query().Get("client")
	lines := make(map[string]line)
	m.mu.Lock()
	for _, transport := range transports {
		if l := m.lines[lineID{client, transport}]; l != nil {
			lines[transport] = *l
		}
	}
	m.mu.Unlock()
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(lines)
}

func (m *meter) serveCut(w http.ResponseWriter, r *http.Request, cut bool) {
	query := r.URL.Query()
	if !m.cut(lineID{query.Get("client"), query.Get("transport")}, cut) {
		http.Error(w, "there is no such line", http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// A conn is a connection whose bytes are counted. Those that are written count for the request that runs, or
// has run last. Those that are read count for the request that is answered next: the one that begins next, or
// a WebSocket. The meter's mu guards it.
type conn struct {
	net.Conn
	meter *meter
	line  *line // nil if the request is not metered
	read  int64 // bytes that have not been counted
}

// count has c count for l from now on, and what has been read since the last answer. c.meter.mu is held.
func (c *conn) count(l *line) {
	if c.line != nil {
		delete(c.line.conns, c)
		c.line.used = time.Now()
	}
	c.line = l
	if l != nil {
		l.conns[c] = true
		l.used = time.Now()
	}
	c.add(0)
}

// add counts n bytes, and what has been read. c.meter.mu is held.
func (c *conn) add(n int) {
	if c.line != nil {
		c.line.Bytes += c.read + int64(n)
	}
	c.read = 0
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.meter.mu.Lock()
	defer c.meter.mu.Unlock()
	c.read += int64(n)
	return n, err
}

func (c *conn) Write(p []byte) (int, error) {
	c.meter.mu.Lock()
	c.add(len(p)) // first: who has received it finds it counted
	c.meter.mu.Unlock()
	return c.Conn.Write(p)
}

func (c *conn) Close() error {
	c.meter.mu.Lock()
	c.count(nil)
	c.meter.mu.Unlock()
	return c.Conn.Close()
}

// A listener has connections counted.
type listener struct {
	net.Listener
	meter *meter
}

func (l listener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &conn{Conn: nc, meter: l.meter}, nil
}

type connKey struct{}

// withConn is the ConnContext of an http.Server with such a listener.
func withConn(ctx context.Context, nc net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, nc)
}
