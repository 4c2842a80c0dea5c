package sse

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tidewire/websocket/backoff"
)

// A Client follows a stream: when the connection is lost it opens another, and says which event was the
// latest. Request has to be set. It may be used concurrently, each loop over Events being for itself.
type Client struct {
	// Request returns what is sent in each attempt, with a fresh token for instance; the context is replaced. The
	// Client sets Accept and Cache-Control unless they are set, and Last-Event-ID when there is one.
	Request func(ctx context.Context) (*http.Request, error)

	// HTTP sends it. Its Timeout limits a whole stream, so it has to be 0. Default: http.DefaultClient.
	HTTP *http.Client

	// Backoff is for how long to wait before another attempt. The retry time of the server takes the place of its
	// Min, and is waited for at the least. What a Retry-After says is waited for besides.
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

	// Repeat allows to send a request again that is no GET, or has a body. Otherwise the end of its response is
	// that of the loop, and a failure is the error.
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

	errIdle    = errors.New("sse: nothing has come for too long")
	errEnded   = errors.New("sse: the stream has ended")
	errRequest = errors.New("sse: Request has returned none")
)

// Events returns an iterator over the events of a stream. The error comes with the last pair: the cause of
// ctx, or why there is no other attempt, such as ErrNoContent, a status that says that the request is wrong, or a
// certificate that is not valid.
func (c *Client) Events(ctx context.Context) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		f := following{Client: c, yield: yield}
		if err := f.run(ctx); err != nil {
			yield(Event{}, err)
		}
	}
}

// following is a loop over Events.
type following struct {
	*Client
	yield func(Event, error) bool

	tries    int
	failures int
	opened   time.Time // of the stream of this attempt; zero: there was none
	got      bool      // an event, in this attempt
	once     bool      // the request can't be sent again
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
		f.opened, f.got = time.Time{}, false
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
		if _, untrusted := errors.AsType[*tls.CertificateVerificationError](err); untrusted {
			return err
		}
		if f.once {
			if err == errEnded {
				return nil
			}
			return err
		}
		if !f.opened.IsZero() && f.worked(err) {
			f.failures = 0
		}
		if f.failures++; f.MaxTries > 0 && f.failures >= f.MaxTries {
			return fmt.Errorf("%w after %d attempts: %w", ErrGaveUp, f.failures, err)
		}
		wait := f.delay()
		wait += min(atLeast, math.MaxInt64-wait)
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

// worked reports whether a stream that has ended with err was none of the failures.
func (f *following) worked(err error) bool {
	uptime := time.Since(f.opened)
	if err == errIdle {
		uptime -= f.idle()
	}
	return f.Backoff.Resets(uptime) || f.got && f.retry > 0
}

// delay returns how long to wait before the next attempt.
func (f *following) delay() time.Duration {
	policy := f.Backoff
	if f.retry <= 0 {
		return policy.Delay(f.failures - 1)
	}
	policy.Min = f.retry
	if policy.Max > 0 {
		policy.Max = max(policy.Max, f.retry)
	}
	least := f.retry
	if !policy.NoJitter {
		least += rand.N(f.retry/10 + 1) // others were told the same
	}
	return max(least, policy.Delay(f.failures-1))
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
	client := f.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	defer func() {
		if err == errIdle {
			client.CloseIdleConnections() // over HTTP/2, ours would be used again
		}
	}()
	body := watched{idle: f.idle()}
	if body.idle > 0 {
		body.timer = time.AfterFunc(body.idle, func() { cancel(errIdle) })
		defer body.timer.Stop()
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, cause(ctx, unwrapURL(err))
	}
	defer resp.Body.Close()
	if atLeast, err := check(resp, f.Strict, cancel); err != nil {
		return atLeast, err
	}
	if body.timer != nil {
		body.timer.Stop()
	}
	f.opened = time.Now()
	if f.OnOpen != nil {
		f.OnOpen(resp)
	}
	body.Reader = resp.Body
	return 0, f.read(ctx, &body)
}

// cause returns the cause of ctx if it has ended, instead of err.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// unwrapURL leaves out the URL, which may have a token in it.
func unwrapURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return fmt.Errorf("sse: %w", e.Err)
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
	if req == nil {
		return nil, finalError{errRequest}
	}
	f.tries++
	f.once = !f.Repeat && (req.Method != "" && req.Method != http.MethodGet || req.Body != nil && req.Body != http.NoBody)
	req = req.Clone(ctx)
	if req.Header == nil {
		req.Header = make(http.Header)
	}
	for name, value := range map[string]string{"Accept": "text/event-stream", "Cache-Control": "no-store"} {
		if req.Header.Get(name) == "" {
			req.Header.Set(name, value)
		}
	}
	if f.tries == 1 {
		f.lastID = req.Header.Get("Last-Event-ID") // where somebody wants to begin
	}
	if req.Header.Del("Last-Event-ID"); f.lastID != "" {
		if strings.ContainsFunc(f.lastID, isControl) {
			return nil, finalError{fmt.Errorf("sse: the ID %.80q can't be sent in a header field", f.lastID)}
		}
		req.Header.Set("Last-Event-ID", f.lastID)
	}
	return req, nil
}

// isControl reports whether r can't be in a header field (RFC 9110, section 5.5).
func isControl(r rune) bool { return r < ' ' && r != '\t' || r == 0x7F }

// check returns why a response is no stream, and for how long to wait at the least.
func check(resp *http.Response, strict bool, cancel context.CancelCauseFunc) (atLeast time.Duration, err error) {
	switch status := resp.StatusCode; {
	case status == http.StatusNoContent:
		return 0, finalError{ErrNoContent}
	case status != http.StatusOK:
		err := &HTTPError{status, errors.New("sse: the server answers " + resp.Status + excerpt(resp, cancel))}
		if strict || !backoff.Temporary(status) {
			return 0, finalError{err}
		}
		atLeast, _ = backoff.RetryAfter(resp.Header, time.Now())
		return atLeast, err
	}
	typ, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	if !strings.EqualFold(strings.TrimSpace(typ), "text/event-stream") {
		return 0, finalError{fmt.Errorf("%w: its type is %q", ErrNotEventStream, resp.Header.Get("Content-Type"))}
	}
	return 0, nil
}

// excerpt returns the beginning of a response that is an error, for a message. It reads the rest, too, if that is
// little, so that the connection can be used again.
func excerpt(resp *http.Response, cancel context.CancelCauseFunc) string {
	const most = 64 << 10
	defer time.AfterFunc(5*time.Second, func() { cancel(errIdle) }).Stop()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, most))
	text := strings.ToValidUTF8(strings.TrimSpace(string(body[:min(512, len(body))])), "\uFFFD")
	if text == "" {
		return ""
	}
	return ": " + text
}

// read hands out events until the stream ends.
func (f *following) read(ctx context.Context, r io.Reader) error {
	d := NewDecoder(r)
	d.MaxEvent = f.MaxEvent
	d.id, d.inUse, d.retry = lastText(f.lastID), f.lastID, f.retry
	defer func() { f.lastID, f.retry = d.LastEventID(), d.Retry() }()
	for {
		e, err := d.Decode()
		f.got = f.got || err == nil
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
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

// watched is a body, and a timer that runs while it is read from.
type watched struct {
	io.Reader
	timer *time.Timer
	idle  time.Duration // not positive: there is no timer
}

func (w *watched) Read(p []byte) (int, error) {
	if w.idle > 0 {
		w.timer.Reset(w.idle)
		defer w.timer.Stop()
	}
	return w.Reader.Read(p)
}
