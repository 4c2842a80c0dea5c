package sse

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"
)

// StreamOptions are how a [Stream] is written. The zero value is good.
type StreamOptions struct {
	// KeepAlive is after how much silence a comment is sent, for what is between us and the client not to
	// take the connection for dead. Default: 15 s. Negative: never.
	KeepAlive time.Duration

	// WriteTimeout is how long a write may take, whatever the WriteTimeout of the http.Server is, which
	// does not apply. Default: 10 s. Negative: any time.
	WriteTimeout time.Duration

	// Retry is for how long the client is to wait before it connects again. Default: what the client likes.
	Retry time.Duration

	// IDQuery is the query parameter that may have the last event ID in place of the header field, which
	// pages can't set on their first request. Default: "lastEventID".
	IDQuery string
}

func (o StreamOptions) withDefaults() StreamOptions {
	if o.KeepAlive == 0 {
		o.KeepAlive = 15 * time.Second
	}
	if o.WriteTimeout == 0 {
		o.WriteTimeout = 10 * time.Second
	}
	if o.IDQuery == "" {
		o.IDQuery = "lastEventID"
	}
	return o
}

// A Stream is a response. Its methods may be called concurrently.
type Stream struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	w      http.ResponseWriter
	rc     *http.ResponseController
	o      StreamOptions
	lastID string

	deadline time.Duration // the WriteTimeout of the server

	mu      sync.Mutex
	buf     []byte
	written time.Time // the latest
	idle    *time.Timer
	err     error // no more can be written

	watch watchdog
}

// A watchdog breaks off a write that takes too long. To set a deadline for each write would cost more.
type watchdog struct {
	ctx     context.Context // of the request
	rc      *http.ResponseController
	timeout time.Duration // not positive: never

	mu    sync.Mutex
	began time.Time // of the write under way; zero: there is none
	timer *time.Timer
	armed bool
}

// begin is called before a write.
func (d *watchdog) begin() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.began = time.Now()
	switch {
	case d.armed || d.timeout <= 0:
		return
	case d.timer == nil:
		d.timer = time.AfterFunc(d.timeout, d.look)
	default:
		d.timer.Reset(d.timeout)
	}
	d.armed = true
}

// end is called after a write, and returns when it was begun. The watchdog does nothing then.
func (d *watchdog) end() (began time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	began, d.began = d.began, time.Time{}
	return began
}

// stop is called after the last write.
func (d *watchdog) stop() {
	if d.timer != nil {
		d.timer.Stop()
	}
}

// look is what the timer calls.
func (d *watchdog) look() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.began.IsZero() {
		if left := d.timeout - time.Since(d.began); left > 0 {
			d.timer.Reset(left)
			return
		}
		if d.ctx.Err() == nil { // or the handler has panicked, and the ResponseWriter is not ours any more
			d.rc.SetWriteDeadline(time.Unix(1, 0))
		}
	}
	d.armed = false
}

var (
	errNoFlush = errors.New("sse: the ResponseWriter can't be flushed")
	errDone    = errors.New("sse: the stream is closed")
)

// LastEventID returns what a client that comes again has had last: the Last-Event-ID header field, or
// else the query parameter of that name, which is IDQuery in StreamOptions.
func LastEventID(r *http.Request, query string) string {
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		return id
	}
	return r.URL.Query().Get(query)
}

// NewStream begins the response to r, and sends its header. The handler has to call Close before it
// returns, also if it panics, so with defer: a Stream writes by itself, and a ResponseWriter whose handler has
// returned belongs to others. If w can't be flushed, NewStream answers with 500 and returns an error.
func NewStream(w http.ResponseWriter, r *http.Request, o StreamOptions) (*Stream, error) {
	o = o.withDefaults()
	rc := http.NewResponseController(w)
	s := &Stream{w: w, rc: rc, o: o, lastID: LastEventID(r, o.IDQuery), watch: watchdog{ctx: r.Context(), rc: rc, timeout: o.WriteTimeout}}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store, no-transform")
	h.Set("X-Accel-Buffering", "no") // or nginx would wait for more
	if server, ok := r.Context().Value(http.ServerContextKey).(*http.Server); ok {
		s.deadline = server.WriteTimeout
	}
	s.ctx, s.cancel = context.WithCancelCause(r.Context())
	if err := s.begin(); err != nil {
		s.watch.stop()
		s.cancel(err)
		return nil, err
	}
	return s, nil
}

// begin sends the header, and what comes first.
func (s *Stream) begin() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	// The server's own deadline is not for streams. A ResponseWriter that has none, as in a test, can't set one.
	s.rc.SetWriteDeadline(time.Time{})
	s.watch.begin()
	err := s.rc.Flush()
	s.written = s.watch.end()
	if errors.Is(err, http.ErrNotSupported) {
		for _, name := range []string{"Cache-Control", "X-Accel-Buffering"} {
			s.w.Header().Del(name)
		}
		http.Error(s.w, errNoFlush.Error(), http.StatusInternalServerError)
		return errNoFlush
	} else if err != nil {
		return err
	}
	if s.o.KeepAlive > 0 {
		s.idle = time.AfterFunc(s.o.KeepAlive, s.keepAlive)
	}
	if s.o.Retry > 0 {
		s.buf = append(appendRetry(s.buf[:0], s.o.Retry), '\n')
		return s.write(s.buf)
	}
	return nil
}

// LastEventID returns what the client has had last, or "".
func (s *Stream) LastEventID() string { return s.lastID }

// Context returns a context that ends with the request, and also when a write has failed or the
// Stream is closed.
func (s *Stream) Context() context.Context { return s.ctx }

// Send writes events and flushes them. After an error, which may be one of [Event.Append], what was not
// sent is lost; if a write has failed, all that follow fail likewise.
func (s *Stream) Send(events ...Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf = s.buf[:0]
	for _, e := range events {
		var err error
		if s.buf, err = e.Append(s.buf); err != nil {
			return err
		}
	}
	return s.writeBuf()
}

// Comment writes a comment, which the client ignores.
func (s *Stream) Comment(text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf = AppendComment(s.buf[:0], text)
	return s.writeBuf()
}

// writeBuf writes what is in buf, which it does not keep if that was much. s.mu is held.
func (s *Stream) writeBuf() error {
	err := s.write(s.buf)
	if cap(s.buf) > maxBuffer {
		s.buf = nil
	}
	return err
}

// sendEncoded writes events that are encoded.
func (s *Stream) sendEncoded(p []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.write(p)
}

// write writes p and flushes it. s.mu is held.
func (s *Stream) write(p []byte) error {
	if s.err != nil || len(p) == 0 {
		return s.err
	}
	s.watch.begin()
	_, err := s.w.Write(p)
	if err == nil {
		err = s.rc.Flush()
	}
	s.written = s.watch.end()
	if err != nil {
		s.err = err
		s.cancel(err)
		return err
	}
	return nil
}

// keepAlive is what the timer calls.
func (s *Stream) keepAlive() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil || s.ctx.Err() != nil { // or the handler has returned without Close
		return
	}
	wait := s.o.KeepAlive - time.Since(s.written)
	if wait <= 0 {
		if s.write([]byte(":\n\n")) != nil {
			return
		}
		wait = s.o.KeepAlive
	}
	s.idle.Reset(wait)
}

// Close ends the Stream, so that nothing writes to the response any more. It returns nil, or what a write has
// failed with.
func (s *Stream) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.idle != nil {
		s.idle.Stop()
	}
	s.watch.stop()
	s.cancel(errDone)
	if s.err == nil {
		s.err = errDone
		if s.deadline > 0 {
			s.rc.SetWriteDeadline(time.Now().Add(s.deadline)) // the end has to be written
		}
		return nil
	}
	if s.err == errDone {
		return nil
	}
	return s.err
}
