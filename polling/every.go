package polling

import (
	"context"
	"encoding/json"
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

// Options are how often something is asked for. The zero value is good.
type Options struct {
	Interval    time.Duration // between the end of a call and the beginning of the next. Default: 3 s
	MaxInterval time.Duration // after errors, before the jitter. Default: 30 s, or Interval if that is longer
	Factor      float64       // how much longer it is after each error in a row. Default: 2
	Jitter      float64       // which part of it may be added, or taken away, up to 1. Default: 0.1. Negative: none
	Timeout     time.Duration // of a call's context. Default: 10 s. Negative: none
	WaitFirst   bool          // for an Interval. Otherwise the first call is made at once
	MaxErrors   int           // in a row, after which there is no other call. Default: any number
}

// ErrStop is returned by a fetch function that is not to be called again.
var ErrStop = errors.New("polling: stop")

// After is returned by a fetch function that has no value, and knows for how long to wait at the least. If
// Err is nil there was nothing new, and that is no error.
type After struct {
	Delay time.Duration
	Err   error
}

func (a *After) Error() string {
	if a.Err == nil {
		return "polling: nothing new"
	}
	return a.Err.Error()
}

func (a *After) Unwrap() error { return a.Err }

// Every returns an iterator over what fetch returns, a value or an error for each call. Calls are
// made one at a time, and only while the loop goes on. It ends with ctx, at ErrStop, and after MaxErrors.
func Every[T any](ctx context.Context, o Options, fetch func(context.Context) (T, error)) iter.Seq2[T, error] {
	o = o.withDefaults()
	return func(yield func(T, error) bool) {
		wait := time.Duration(0)
		if o.WaitFirst {
			wait = o.delay(0)
		}
		for failures := 0; sleep(ctx, wait); {
			value, err := call(ctx, o.Timeout, fetch)
			if ctx.Err() != nil || errors.Is(err, ErrStop) {
				return
			}
			atLeast := time.Duration(0)
			if after, ok := errors.AsType[*After](err); ok {
				atLeast = after.Delay
				if after.Err == nil {
					failures = 0
					wait = o.wait(atLeast, 0)
					continue
				}
			}
			if failures++; err == nil {
				failures = 0
			}
			if !yield(value, err) || o.MaxErrors > 0 && failures >= o.MaxErrors {
				return
			}
			wait = o.wait(atLeast, failures)
		}
	}
}

func (o Options) withDefaults() Options {
	if o.Interval <= 0 {
		o.Interval = 3 * time.Second
	}
	if o.MaxInterval <= 0 {
		o.MaxInterval = 30 * time.Second
	}
	o.MaxInterval = max(o.Interval, o.MaxInterval)
	switch {
	case o.Factor == 0:
		o.Factor = 2
	case !(o.Factor >= 1):
		o.Factor = 1
	}
	switch {
	case o.Jitter == 0:
		o.Jitter = 0.1
	case !(o.Jitter >= 0):
		o.Jitter = 0
	}
	o.Jitter = min(o.Jitter, 1)
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	return o
}

// delay returns how long to wait after so many errors in a row.
func (o Options) delay(failures int) time.Duration {
	d := min(float64(o.Interval)*math.Pow(o.Factor, float64(failures)), float64(o.MaxInterval))
	if d *= 1 + o.Jitter*(2*rand.Float64()-1); d >= math.MaxInt64 {
		return math.MaxInt64
	}
	return time.Duration(d)
}

// wait is delay, but not less than what somebody wants, with the jitter on top: the others that he tells that are
// not to come at the same time.
func (o Options) wait(atLeast time.Duration, failures int) time.Duration {
	d := o.delay(failures)
	if atLeast <= 0 {
		return d
	}
	jitter := time.Duration(o.Jitter * rand.Float64() * float64(d))
	return max(d, atLeast+min(jitter, math.MaxInt64-atLeast))
}

func call[T any](ctx context.Context, timeout time.Duration, fetch func(context.Context) (T, error)) (T, error) {
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	return fetch(ctx)
}

// sleep waits, and reports whether ctx has not ended.
func sleep(ctx context.Context, d time.Duration) bool {
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	return ctx.Err() == nil
}

// An HTTPError is an error with a status code: that of the response to be sent, or that was received.
type HTTPError struct {
	StatusCode int
	Err        error
}

func (e *HTTPError) Error() string {
	if e.Err == nil {
		return http.StatusText(e.StatusCode)
	}
	return e.Err.Error()
}

func (e *HTTPError) Unwrap() error { return e.Err }

// maxBody is how long a response may be.
const maxBody = 64 << 20

// Get returns a fetch function for Every that gets a URL, whose content is JSON for a T. It asks only for what has
// changed, if the server says how (RFC 9110, section 13.1), and after an error, or when there is nothing new, it
// waits for as long as a Retry-After says. The client is http.DefaultClient if it is nil. The function is for
// one loop.
func Get[T any](client *http.Client, url string) func(context.Context) (T, error) {
	if client == nil {
		client = http.DefaultClient
	}
	var etag, modified string
	return func(ctx context.Context) (none T, err error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return none, unwrapURL(err)
		}
		req.Header.Set("Accept", "application/json")
		if etag != "" {
			req.Header.Set("If-None-Match", etag)
		} else if modified != "" {
			req.Header.Set("If-Modified-Since", modified)
		}
		resp, err := client.Do(req)
		if err != nil {
			return none, unwrapURL(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode == http.StatusNotModified && etag+modified != "" {
			return none, &After{Delay: retryAfter(resp)}
		}
		if err := check(resp); err != nil {
			return none, err
		}
		var value T
		if err := decode(resp.Body, &value); err != nil {
			return none, err
		}
		etag, modified = resp.Header.Get("Etag"), resp.Header.Get("Last-Modified")
		return value, nil
	}
}

// unwrapURL leaves out the URL, which may have a token in it.
func unwrapURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return fmt.Errorf("polling: %w", e.Err)
	}
	return err
}

var errTooLong = fmt.Errorf("polling: the response has more than %d bytes", maxBody)

func decode(r io.Reader, value any) error {
	body, err := io.ReadAll(io.LimitReader(r, maxBody+1))
	switch {
	case err != nil:
		return err
	case len(body) > maxBody:
		return errTooLong
	}
	if err := json.Unmarshal(body, value); err != nil {
		return fmt.Errorf("polling: %w", err)
	}
	return nil
}

func retryAfter(resp *http.Response) time.Duration {
	d, _ := backoff.RetryAfter(resp.Header, time.Now())
	return d
}

// check returns an After for a response that is none of the kind that is wanted.
func check(resp *http.Response) error {
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	const excerpt, most = 512, 64 << 10 // to read more than most costs more than another connection
	body, _ := io.ReadAll(io.LimitReader(resp.Body, excerpt))
	io.CopyN(io.Discard, resp.Body, most)
	text := strings.ToValidUTF8(strings.TrimSpace(string(body)), "\uFFFD")
	err := fmt.Errorf("polling: the server answers %s: %s", resp.Status, text)
	if text == "" {
		err = fmt.Errorf("polling: the server answers %s", resp.Status)
	}
	return &After{retryAfter(resp), &HTTPError{resp.StatusCode, err}}
}
