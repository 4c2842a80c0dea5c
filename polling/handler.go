package polling

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidewire/websocket/feed"
)

// A Batch is the answer of a Handler.
type Batch struct {
	Events []json.RawMessage `json:"events"` // never null
	Cursor string            `json:"cursor"` // the position behind them

	// Reset is for a position that is lost, or was not said: whoever asks has to get what there is by other
	// means, and then to go on from Cursor.
	Reset bool `json:"reset"`

	// More is whether there is more already.
	More bool `json:"more"`
}

// A Handler answers GET requests, such as
//
//	GET /changes?cursor=KQ4BPA7Z2M-17&wait=25
//
// with a [Batch] of what follows the cursor: at once if there is something, and otherwise when there is, or
// after so many seconds. Without a wait it waits for MaxWait. To end all waiting when a server is shut down, close
// the feed: see [http.Server.RegisterOnShutdown].
type Handler struct {
	// Feed returns the feed for a request, or an error: that is answered with its StatusCode if it is an
	// *HTTPError, and otherwise with 500. An item that is no JSON is sent as a string; what is no UTF-8 in
	// it, as U+FFFD.
	Feed func(*http.Request) (*feed.Feed, error)

	MaxWait    time.Duration // Default: 30 s. At the most a day
	MaxBatch   int           // events of an answer, which are not much more than a megabyte either. Default: 100
	MaxWaiters int           // requests that wait; more are answered with 503. Default: 10,000

	waiters atomic.Int64

	mu   sync.Mutex
	last answer // for others who wait for the same
}

const (
	grace    = 10 * time.Second // is for how long an answer may take to be written
	longest  = 24 * time.Hour
	maxBytes = 1 << 20 // of the items of an answer that are not alone in it
)

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		http.Error(w, "want GET", http.StatusMethodNotAllowed)
		return
	}
	body, err := h.answer(w, r)
	if err != nil {
		refuse(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(body)
}

func refuse(w http.ResponseWriter, err error) {
	status, text := http.StatusInternalServerError, http.StatusText(http.StatusInternalServerError)
	if e, ok := errors.AsType[*HTTPError](err); ok && e.StatusCode >= 400 {
		status, text = e.StatusCode, e.Error()
	}
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "5")
	}
	http.Error(w, text, status)
}

var (
	errBody    = &HTTPError{http.StatusBadRequest, errors.New("want no body")} // which could hide that the client has gone
	errWaiters = &HTTPError{http.StatusServiceUnavailable, errors.New("too many requests wait")}
	errClosed  = &HTTPError{http.StatusServiceUnavailable, errors.New("there will be no more events")}
	errEnding  = &HTTPError{http.StatusServiceUnavailable, errors.New("the server can't wait any longer")}
)

func (h *Handler) answer(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.ContentLength != 0 {
		return nil, errBody
	}
	wait, err := h.wait(r)
	if err != nil {
		return nil, err
	}
	f, err := h.Feed(r)
	if err != nil {
		return nil, err
	}
	limit := h.MaxBatch
	if limit <= 0 {
		limit = 100
	}
	a := answer{feed: f, cursor: feed.Cursor(r.URL.Query().Get("cursor"))}
	items, next, err := f.After(a.cursor, limit)
	if err == nil && len(items) == 0 {
		items, next, err = h.await(w, r, f, a.cursor, limit, wait)
	}
	switch {
	case err == nil, err == feed.ErrGap, err == context.DeadlineExceeded:
	case err == feed.ErrClosed:
		return nil, errClosed
	case r.Context().Err() != nil:
		return nil, errEnding
	default:
		return nil, err
	}
	a.items, a.next = first(items, next)
	a.reset, a.more = err == feed.ErrGap, a.next != f.Head()
	return h.encode(a)
}

// first returns as many of items as an answer may have, and the position behind them.
func first(items []feed.Item, next feed.Cursor) ([]feed.Item, feed.Cursor) {
	bytes := 0
	for i, item := range items {
		if bytes += len(item.Data); bytes > maxBytes && i > 0 {
			return items[:i], items[i-1].Cursor
		}
	}
	return items, next
}

func (h *Handler) wait(r *http.Request) (time.Duration, error) {
	most := min(h.MaxWait, longest)
	if most <= 0 {
		most = 30 * time.Second
	}
	text := r.URL.Query().Get("wait")
	if text == "" {
		return most, nil
	}
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil || !(seconds >= 0) {
		return 0, &HTTPError{http.StatusBadRequest, fmt.Errorf("wait=%.40q: want a number of seconds", text)}
	}
	return time.Duration(min(seconds, most.Seconds()) * float64(time.Second)), nil
}

func (h *Handler) await(w http.ResponseWriter, r *http.Request, f *feed.Feed, cursor feed.Cursor, limit int, wait time.Duration) ([]feed.Item, feed.Cursor, error) {
	if wait > 0 {
		most := h.MaxWaiters
		if most <= 0 {
			most = 10_000
		}
		defer h.waiters.Add(-1)
		if h.waiters.Add(1) > int64(most) {
			return nil, "", errWaiters
		}
		wait = patience(w, r, wait)
	}
	ctx, cancel := context.WithTimeout(r.Context(), wait)
	defer cancel()
	return f.Wait(ctx, cursor, limit)
}

// patience returns how long the server lets us wait of what is wanted: its deadline for the response is moved on, if
// there is one and that is possible, and that of the request's context is kept.
func patience(w http.ResponseWriter, r *http.Request, wait time.Duration) time.Duration {
	s, ok := r.Context().Value(http.ServerContextKey).(*http.Server)
	if ok && s.WriteTimeout > 0 && s.WriteTimeout < wait+grace &&
		http.NewResponseController(w).SetWriteDeadline(time.Now().Add(wait+grace)) != nil {
		wait = min(wait, s.WriteTimeout/10*9)
	}
	if deadline, ok := r.Context().Deadline(); ok {
		wait = min(wait, time.Until(deadline)/10*9)
	}
	return wait
}

// An answer is a Batch, and what it was made of.
type answer struct {
	feed         *feed.Feed
	cursor, next feed.Cursor
	items        []feed.Item
	reset, more  bool
	body         []byte
}

// encode returns the Batch as JSON. Mostly many who have waited for the same get the same.
func (h *Handler) encode(a answer) ([]byte, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if l := &h.last; l.feed == a.feed && l.cursor == a.cursor && l.next == a.next && l.reset == a.reset && l.more == a.more {
		return l.body, nil
	}
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false) // six bytes for one
	if err := enc.Encode(newBatch(a)); err != nil {
		return nil, err
	}
	a.items, a.body = nil, body.Bytes()
	h.last = a
	return a.body, nil
}

func newBatch(a answer) *Batch {
	b := &Batch{Events: make([]json.RawMessage, len(a.items)), Cursor: string(a.next), Reset: a.reset, More: a.more}
	for i, item := range a.items {
		data := bytes.ToValidUTF8(item.Data, []byte("\uFFFD"))
		// In a Batch it is two levels deeper, of which there may be so many.
		if inside := slices.Concat([]byte("[["), data, []byte("]]")); !json.Valid(inside) || !json.Valid(data) {
			data = encodeString(string(data))
		}
		b.Events[i] = data
	}
	return b
}

func encodeString(s string) []byte {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	enc.Encode(s) // a string can be encoded
	return bytes.TrimSpace(text.Bytes())
}
