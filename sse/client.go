package sse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/tidewire/websocket/backoff"
)

// A Client follows a stream: when the connection is lost it opens another, and says which event was the
// latest. Request has to be set. It may be used concurrently, each loop over Events being for itself.
type Client struct {
	// Request returns what is sent in each attempt, with a fresh token for instance. The Client sets Accept,
	// and Last-Event-ID when there is one.
	Request func(ctx context.Context) (*http.Request, error)

	// HTTP sends it. Its Timeout limits a whole stream, so it has to be 0. Default: http.DefaultClient.
	HTTP *http.Client

	// Backoff is for how long to wait before another attempt. The retry time of the server takes the place of its
	// Min, and is waited for at the least, as is what a Retry-After says.
	Backoff backoff.Policy

	// MaxTries is after how many failures in a row to give up. A stream that was lost too soon for
	// Backoff.ResetAfter is one, unless it had an event and the server has said a retry time. Default: never.
	MaxTries int

	// Idle is after how much silence a connection is taken for lost. Default: 45 s. Negative: never.
	Idle time.Duration

	// MaxEvent is how many bytes an event may have, see [Decoder]. Default: 16 MiB.
	MaxEvent int

	// Strict has every status but 200 be the end, as in a browser. Otherwise there is another attempt after
	// 408, 425, 429 and 5xx.
	Strict bool

	// Repeat allows to send a request again that is no GET, or has a body.
	Repeat bool

	// OnOpen is told of each response that is a stream. Its Body must not be read.
	OnOpen func(*http.Response)

	// OnRetry is told why there is another attempt, and how long it is until then.
	OnRetry func(err error, wait time.Duration)
}

var (
	// ErrNoContent is for a response with the status 204: there will be no more events.
	ErrNoContent = errors.New("sse: the server has nothing to send")

	// ErrNotEventStream is wrapped for a response that is something else.
	ErrNotEventStream = errors.New("sse: the response is no event stream")

	// ErrGaveUp is wrapped, with the last failure, after MaxTries.
	ErrGaveUp = errors.New("sse: gave up")

	errIdle   = errors.New("sse: nothing has come for too long")
	errEnded  = errors.New("sse: the stream has ended")
	errRepeat = errors.New("sse: the request is not sent again: it is no GET, or has a body")
)

// Events returns an iterator over the events of a stream. The error comes with the last pair: the cause of
// ctx, or why there is no other attempt, such as ErrNoContent.
func (c *Client) Events(ctx context.Context) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		f := following{Client: c, yield: yield, policy: c.Backoff}
		if err := f.run(ctx); err != nil {
			yield(Event{}, err)
		}
	}
}

// following is a loop over Events.
type following struct {
	*Client
	yield  func(Event, error) bool
	policy backoff.Policy

	tries    int
	failures int
	got      bool // an event, in this attempt
	lastID   string
	retry    time.Duration
}

// errBreak is for a loop that is left.
var errBreak = errors.New("sse: the loop was left")

// A finalError is one after which there is no other attempt.
type finalError struct{ error }

func (e finalError) Unwrap() error { return e.error }

func (f *following) run(ctx context.Context) error {
	for {
		began := time.Now()
		f.got = false
		atLeast, err := f.attempt(ctx)
		if err == errBreak {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if final, ok := errors.AsType[finalError](err); ok {
			return final.error
		}
		if f.policy.Resets(time.Since(began)) || f.got && f.retry > 0 {
			f.failures = 0
		}
		if f.failures++; f.MaxTries > 0 && f.failures >= f.MaxTries {
			return fmt.Errorf("%w after %d attempts: %w", ErrGaveUp, f.failures, err)
		}
		if f.retry > 0 {
			f.policy.Min = f.retry
			if f.policy.Max > 0 {
				f.policy.Max = max(f.policy.Max, f.retry)
			}
		}
		wait := max(atLeast, f.retry, f.policy.Delay(f.failures-1))
		if f.OnRetry != nil {
			f.OnRetry(err, wait)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
	}
}

// attempt opens a stream and hands out its events. It returns why that ended, and for how long to wait
// at the least.
func (f *following) attempt(ctx context.Context) (atLeast time.Duration, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	req, err := f.request(ctx)
	if err != nil {
		return 0, err
	}
	var idle *time.Timer
	if d := f.idle(); d > 0 {
		idle = time.AfterFunc(d, func() { cancel(errIdle) })
		defer idle.Stop()
	}
	client := f.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, cause(ctx, err)
	}
	defer resp.Body.Close()
	if atLeast, err := f.check(resp); err != nil {
		return atLeast, err
	}
	if f.OnOpen != nil {
		f.OnOpen(resp)
	}
	return 0, cause(ctx, f.read(&watched{resp.Body, idle, f.idle()}))
}

// cause returns the cause of ctx if it has ended, instead of err.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil && err != errBreak {
		return context.Cause(ctx)
	}
	return err
}

func (f *following) idle() time.Duration {
	if f.Idle == 0 {
		return 45 * time.Second
	}
	return f.Idle
}

func (f *following) request(ctx context.Context) (*http.Request, error) {
	req, err := f.Request(ctx)
	if err != nil {
		return nil, err
	}
	f.tries++
	if f.tries > 1 && !f.Repeat && (req.Method != "" && req.Method != http.MethodGet || req.Body != nil && req.Body != http.NoBody) {
		return nil, finalError{errRepeat}
	}
	req = req.Clone(ctx)
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Cache-Control", "no-store")
	if f.tries == 1 {
		f.lastID = req.Header.Get("Last-Event-ID") // where somebody wants to begin
	}
	if req.Header.Del("Last-Event-ID"); f.lastID != "" {
		req.Header.Set("Last-Event-ID", f.lastID)
	}
	return req, nil
}

// check returns why a response is no stream, and for how long to wait at the least.
func (f *following) check(resp *http.Response) (atLeast time.Duration, err error) {
	switch status := resp.StatusCode; {
	case status == http.StatusNoContent:
		return 0, finalError{ErrNoContent}
	case status != http.StatusOK:
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 512))
		text := strings.TrimSpace(fmt.Sprintf("sse: the server answers %s: %s", resp.Status, strings.ToValidUTF8(string(body), "\uFFFD")))
		err := &HTTPError{status, errors.New(strings.TrimSuffix(text, ":"))}
		again := status == http.StatusRequestTimeout || status == http.StatusTooEarly || status == http.StatusTooManyRequests || status >= 500
		if f.Strict || !again {
			return 0, finalError{err}
		}
		atLeast, _ = backoff.RetryAfter(resp.Header, time.Now())
		return atLeast, err
	}
	typ, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil || typ != "text/event-stream" {
		return 0, finalError{fmt.Errorf("%w: its type is %q", ErrNotEventStream, resp.Header.Get("Content-Type"))}
	}
	return 0, nil
}

// read hands out events until the stream ends.
func (f *following) read(r io.Reader) error {
	d := NewDecoder(r)
	d.MaxEvent = f.MaxEvent
	d.id, d.inUse, d.retry = lastText(f.lastID), f.lastID, f.retry
	defer func() { f.lastID, f.retry = d.LastEventID(), d.Retry() }()
	for {
		e, err := d.Decode()
		f.got = f.got || err == nil
		switch {
		case err == io.EOF:
			return errEnded
		case err == ErrEventTooLarge:
			return finalError{err}
		case err != nil:
			return err
		case !f.yield(e, nil):
			return errBreak
		}
	}
}

// watched is a body, for which a timer is set anew whenever something comes.
type watched struct {
	io.Reader
	timer *time.Timer
	idle  time.Duration
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	if n > 0 && w.timer != nil {
		w.timer.Reset(w.idle)
	}
	return n, err
}
