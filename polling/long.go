package polling

import (
	"context"
	"errors"
	"fmt"
	"iter"
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

	// Prepare may change a request before it is sent, to add a token for instance.
	Prepare func(*http.Request) error

	// Cursor is where to begin. Default: now, with a Batch that has Reset.
	Cursor string

	// Wait is how long the server is to wait for something. Default: 25 s.
	Wait time.Duration

	// Backoff is for how long to wait after a failure. What a Retry-After says is waited for at the least.
	Backoff backoff.Policy

	// MaxTries is after how many failures in a row to give up. Default: never.
	MaxTries int

	// OnRetry is told what has failed, and how long it is until it is tried again.
	OnRetry func(err error, wait time.Duration)
}

// ErrGaveUp is wrapped, with the last failure, after MaxTries.
var ErrGaveUp = errors.New("polling: gave up")

// soonest is for how long to wait between two requests, if the server has answered the first at once with
// nothing.
const soonest = time.Second

// Long returns an iterator over what a Handler answers: each Batch that has events, or Reset. It asks again at
// once after an answer. The error comes with the last pair: the cause of ctx, a response that says that
// the request is wrong (4xx but for 408, 425 and 429), or ErrGaveUp.
func Long(ctx context.Context, url string, o LongOptions) iter.Seq2[Batch, error] {
	return func(yield func(Batch, error) bool) {
		cursor := o.Cursor
		for failures := 0; ; {
			began := time.Now()
			batch, err := o.ask(ctx, url, cursor)
			var wait time.Duration
			switch {
			case ctx.Err() != nil:
				yield(Batch{}, context.Cause(ctx))
				return
			case err == nil:
				failures = 0
				cursor = batch.Cursor
				if len(batch.Events) > 0 || batch.Reset {
					if !yield(batch, nil) {
						return
					}
				} else if took := time.Since(began); took < soonest {
					wait = soonest - took
				}
			default:
				failures++
				if wait, err = o.failed(failures, err); err != nil {
					yield(Batch{}, err)
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

// failed returns how long to wait after a failure, or an error if there is no use in that.
func (o *LongOptions) failed(failures int, err error) (wait time.Duration, final error) {
	if e, ok := errors.AsType[*HTTPError](err); ok {
		switch code := e.StatusCode; {
		case code == http.StatusRequestTimeout, code == http.StatusTooEarly, code == http.StatusTooManyRequests, code >= 500:
		default:
			return 0, e
		}
	}
	if o.MaxTries > 0 && failures >= o.MaxTries {
		return 0, fmt.Errorf("%w after %d attempts: %w", ErrGaveUp, failures, err)
	}
	wait = o.Backoff.Delay(failures - 1)
	if after, ok := errors.AsType[*After](err); ok {
		wait = max(wait, after.Delay)
	}
	if o.OnRetry != nil {
		o.OnRetry(err, wait)
	}
	return wait, nil
}

// ask sends a request, and returns the answer.
func (o *LongOptions) ask(ctx context.Context, address, cursor string) (b Batch, err error) {
	wait := o.Wait
	if wait <= 0 {
		wait = 25 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, wait+2*grace) // the server may be slow, but not for ever
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return b, err
	}
	query := req.URL.Query()
	query.Set("wait", strconv.FormatFloat(wait.Seconds(), 'f', -1, 64))
	if cursor != "" {
		query.Set("cursor", cursor)
	}
	req.URL.RawQuery = query.Encode()
	if o.Prepare != nil {
		if err := o.Prepare(req); err != nil {
			return b, err
		}
	}
	client := o.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	resp, err := client.Do(req)
	if err != nil {
		return b, unwrapURL(err)
	}
	defer resp.Body.Close()
	if err := check(resp); err != nil {
		return b, err
	}
	if err := decode(resp, &b); err != nil {
		return b, err
	}
	if b.Cursor == "" {
		return b, errors.New("polling: the answer has no cursor")
	}
	return b, nil
}

// unwrapURL leaves out the URL, which may have a token in it.
func unwrapURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return fmt.Errorf("polling: %w", e.Err)
	}
	return err
}
