package polling

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
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
	// *HTTPError, and otherwise with 403. An item that is no JSON is sent as a string.
	Feed func(*http.Request) (*feed.Feed, error)

	MaxWait    time.Duration // Default: 30 s
	MaxBatch   int           // events of an answer. Default: 100
	MaxWaiters int           // requests that wait; more are answered with 503. Default: 10,000

	waiters atomic.Int64
}

// grace is for how long an answer may take to be written.
const grace = 10 * time.Second

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		http.Error(w, "want GET", http.StatusMethodNotAllowed)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	batch, err := h.answer(w, r)
	if r.Context().Err() != nil {
		return // nobody waits for it
	}
	var body []byte
	if err == nil {
		body, err = json.Marshal(batch)
	}
	if err != nil {
		refuse(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(append(body, '\n'))
}

func refuse(w http.ResponseWriter, err error) {
	status, text := http.StatusForbidden, http.StatusText(http.StatusForbidden)
	if e, ok := errors.AsType[*HTTPError](err); ok {
		status, text = e.StatusCode, e.Error()
	}
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "5")
	}
	http.Error(w, text, status)
}

var (
	errWaiters = &HTTPError{http.StatusServiceUnavailable, errors.New("too many requests wait")}
	errClosed  = &HTTPError{http.StatusServiceUnavailable, errors.New("there will be no more events")}
)

func (h *Handler) answer(w http.ResponseWriter, r *http.Request) (*Batch, error) {
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
	cursor := feed.Cursor(r.URL.Query().Get("cursor"))
	items, next, err := f.After(cursor, limit)
	if err == nil && len(items) == 0 && wait > 0 {
		items, next, err = h.await(w, r, f, cursor, limit, wait)
	}
	switch err {
	case nil, feed.ErrGap, context.DeadlineExceeded:
		return newBatch(items, next, err == feed.ErrGap, next != f.Head()), nil
	case feed.ErrClosed:
		return nil, errClosed
	}
	return nil, err
}

func (h *Handler) wait(r *http.Request) (time.Duration, error) {
	most := h.MaxWait
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
	most := h.MaxWaiters
	if most <= 0 {
		most = 10_000
	}
	if h.waiters.Add(1) > int64(most) {
		h.waiters.Add(-1)
		return nil, "", errWaiters
	}
	defer h.waiters.Add(-1)
	// The server's own deadline may be before the end of the wait. One that can't be set is none.
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(wait + grace))
	ctx, cancel := context.WithTimeout(r.Context(), wait)
	defer cancel()
	return f.Wait(ctx, cursor, limit)
}

func newBatch(items []feed.Item, next feed.Cursor, reset, more bool) *Batch {
	b := &Batch{Events: make([]json.RawMessage, len(items)), Cursor: string(next), Reset: reset, More: more}
	for i, item := range items {
		if b.Events[i] = item.Data; !json.Valid(item.Data) {
			b.Events[i], _ = json.Marshal(string(item.Data))
		}
	}
	return b
}
