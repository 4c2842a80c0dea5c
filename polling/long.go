package polling

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/tidewire/websocket/backoff"
)

// LongOptions are how a Handler is asked. The zero value is good.
type LongOptions struct {
	// HTTP sends requests. If it has a Timeout, that has to be longer than Wait. Default: http.DefaultClient.
	HTTP *http.Client

	// Prepare may change a request before it is sent, to add a token for instance. An error of it is a
	// failure, but for ErrStop, which is the end.
	Prepare func(*http.Request) error

	// Cursor is where to begin. Default: now, with a Batch that has Reset.
	Cursor string

	// Wait is how long the server is to wait for something. Default: 25 s. At the most a day.
	Wait time.Duration

	// Backoff is for how long to wait after a failure, on top of what a Retry-After says. The next answer makes
	// it begin anew; there is no use of ResetAfter.
	Backoff backoff.Policy

	// MaxTries is after how many failures in a row to give up. Default: never.
	MaxTries int

	// OnRetry is told what has failed, and how long it is until it is tried again.
	OnRetry func(err error, wait time.Duration)
}

// ErrGaveUp is wrapped, with the last failure, after MaxTries.
var ErrGaveUp = errors.New("polling: gave up")

var (
	errNoCursor = errors.New("polling: the answer has no cursor")
	errNotMoved = errors.New("polling: the answer has events, and the cursor from before them")
	errNoAnswer = errors.New("polling: the server does not answer in time")
	errURL      = errors.New("polling: want an http or https URL")
)

// soonest is for how long to wait between two requests, if the server has answered the first at once with
// nothing.
const soonest = time.Second

// Long returns an iterator over what a Handler answers: each Batch that has events, or Reset. It asks again
// after an answer, at once if that had events. The error comes with the last pair: the cause of ctx, ErrGaveUp, or
// what would only fail again, such as a URL or certificate that is not valid, a response that is too long, or
// one with a status that is not 200, 408, 425, 429 or 5xx.
//
// A position is that of one Feed: where several processes serve the same URL, a client has to come to the same
// again, or each answer has Reset. The second in a row is waited after, as after a failure.
func Long(ctx context.Context, url string, o LongOptions) iter.Seq2[Batch, error] {
	return func(yield func(Batch, error) bool) {
		cursor := o.Cursor
		for failures, resets := 0, 0; ; {
			began := time.Now()
			batch, err := o.ask(ctx, url, cursor)
			if ctx.Err() != nil {
				yield(Batch{}, context.Cause(ctx))
				return
			}
			var wait time.Duration
			if err != nil {
				failures++
				if wait, err = o.failed(failures, err); err != nil {
					yield(Batch{}, err)
					return
				}
			} else {
				failures = 0
				cursor = batch.Cursor
				if resets++; !batch.Reset {
					resets = 0
				}
				wait = o.pause(batch, resets, time.Since(began))
				if (len(batch.Events) > 0 || batch.Reset) && !yield(batch, nil) {
					return
				}
			}
			if !sleep(ctx, wait) {
				yield(Batch{}, context.Cause(ctx))
				return
			}
		}
	}
}

// pause returns how long to wait after an answer that took so long, when so many in a row have had Reset.
func (o *LongOptions) pause(b Batch, resets int, took time.Duration) time.Duration {
	switch {
	case resets > 1:
		return max(soonest-took, o.Backoff.Delay(resets-2))
	case resets == 1 || len(b.Events) > 0:
		return 0
	}
	return soonest - took
}

// failed returns how long to wait after a failure, or an error if there is no use in that.
func (o *LongOptions) failed(failures int, err error) (wait time.Duration, final error) {
	if isFinal(err) {
		return 0, err
	}
	if o.MaxTries > 0 && failures >= o.MaxTries {
		return 0, fmt.Errorf("%w after %d attempts: %w", ErrGaveUp, failures, err)
	}
	wait = o.Backoff.Delay(failures - 1)
	if after, ok := errors.AsType[*After](err); ok {
		wait += min(after.Delay, math.MaxInt64-wait)
	}
	if o.OnRetry != nil {
		o.OnRetry(err, wait)
	}
	return wait, nil
}

// isFinal reports whether another attempt would only fail again.
func isFinal(err error) bool {
	if e, ok := errors.AsType[*HTTPError](err); ok {
		return !backoff.Temporary(e.StatusCode)
	}
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	return untrusted || errors.Is(err, errURL) || errors.Is(err, errTooLong) || errors.Is(err, ErrStop)
}

// ask sends a request, and returns the answer.
func (o *LongOptions) ask(ctx context.Context, address, cursor string) (b Batch, err error) {
	wait := min(o.Wait, longest)
	if wait <= 0 {
		wait = 25 * time.Second
	}
	// The server may be slow, but not for ever without a byte.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(wait+2*grace, func() { cancel(errNoAnswer) })
	defer timer.Stop()
	req, err := o.request(ctx, address, cursor, wait)
	if err != nil {
		return b, err
	}
	client := o.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	resp, err := client.Do(req)
	if err != nil {
		return b, cause(ctx, unwrapURL(err))
	}
	defer resp.Body.Close()
	body := &watched{resp.Body, timer}
	resp.Body = body
	if err := check(resp); err != nil {
		return b, err
	}
	if err := decode(body, &b); err != nil {
		return b, cause(ctx, err)
	}
	switch {
	case b.Cursor == "":
		return b, errNoCursor
	case b.Cursor == cursor && len(b.Events) > 0:
		return b, errNotMoved
	}
	return b, nil
}

// request returns what is sent. What the address has of a query stays as it is.
func (o *LongOptions) request(ctx context.Context, address, cursor string, wait time.Duration) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errURL, unwrapURL(err))
	}
	if req.URL.Scheme != "http" && req.URL.Scheme != "https" || req.URL.Host == "" {
		return nil, errURL
	}
	query := "wait=" + strconv.FormatFloat(wait.Seconds(), 'f', -1, 64)
	if cursor != "" {
		query = "cursor=" + url.QueryEscape(cursor) + "&" + query
	}
	if req.URL.RawQuery != "" {
		query += "&" + req.URL.RawQuery
	}
	req.URL.RawQuery = query
	if o.Prepare != nil {
		err = o.Prepare(req)
	}
	return req, err
}

// cause returns the cause of ctx if it has ended, instead of err.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// watched is a body, for which the timer is set anew whenever something comes.
type watched struct {
	io.ReadCloser
	timer *time.Timer
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	if n > 0 {
		w.timer.Reset(2 * grace)
	}
	return n, err
}
