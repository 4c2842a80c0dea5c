package backoff

import (
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// A Policy is how delays grow. The zero value is a good one.
type Policy struct {
	// Min is the longest that the first delay may be. Default: 1 s. Negative: there is no delay at all.
	Min time.Duration

	// Max is the longest that any delay may be. Default: 30 s, or Min if that is longer. Negative: no limit.
	Max time.Duration

	// Factor is how much longer each delay may be than the one before. Default: 2. Less than 1 stands for 1.
	Factor float64

	// NoJitter makes each delay as long as it may be. Default: any part of that.
	NoJitter bool

	// ResetAfter is for how long what was tried must have worked for the delays to begin anew, see
	// [Policy.Resets]. Default: 5 s. Negative: whatever has worked resets them.
	ResetAfter time.Duration
}

// Delay returns how long to wait after that many failures, beside the first: from 0 on.
func (p Policy) Delay(attempt int) time.Duration {
	longest := p.longest(attempt)
	if p.NoJitter || longest == 0 {
		return longest
	}
	return time.Duration(rand.Int64N(int64(longest)))
}

// longest returns the most that Delay may return.
func (p Policy) longest(attempt int) time.Duration {
	first := p.Min
	switch {
	case first < 0:
		return 0
	case first == 0:
		first = time.Second
	}
	limit := p.Max
	switch {
	case limit < 0:
		limit = math.MaxInt64
	case limit == 0:
		limit = 30 * time.Second
	}
	limit = max(limit, first)
	factor := p.Factor
	if factor == 0 {
		factor = 2
	}
	if !(factor >= 1) {
		factor = 1
	}
	longest := float64(first) * math.Pow(factor, float64(max(0, attempt)))
	if longest >= float64(limit) {
		return limit
	}
	return time.Duration(longest)
}

// Resets reports whether what has worked for that long, before it failed, makes the next failure the first.
func (p Policy) Resets(uptime time.Duration) bool {
	after := p.ResetAfter
	if after == 0 {
		after = 5 * time.Second
	}
	return uptime >= after
}

// maxRetryAfter is the longest that a server may have a client wait, which may be by mistake.
const maxRetryAfter = time.Hour

// RetryAfter returns for how long the Retry-After of a response asks to wait, an hour at the most, and whether
// there is one that is valid (RFC 9110, section 10.2.3). A time is that of the server's clock, which is known from
// the response's Date; without that it is taken for now.
func RetryAfter(h http.Header, now time.Time) (time.Duration, bool) {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if isDigits(value) {
		seconds, err := strconv.ParseInt(value, 10, 64)
		if err != nil || seconds > int64(maxRetryAfter/time.Second) {
			return maxRetryAfter, true
		}
		return time.Duration(seconds) * time.Second, true
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0, false
	}
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	return min(max(0, at.Sub(now)), maxRetryAfter), true
}

// Temporary reports whether a response with this status may be another when the request is sent again: 408, 425, 429
// and 5xx (RFC 9110, section 15; RFC 8470, section 5.2; RFC 6585, section 4).
func Temporary(statusCode int) bool {
	switch statusCode {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return statusCode >= 500
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}
