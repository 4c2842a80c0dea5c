package backoff

import (
	"math"
	"net/http"
	"testing"
	"time"
)

// Delays are anywhere between nothing and what they may be, and half of that on average.
func TestDelay(t *testing.T) {
	const samples = 10_000
	for attempt, longest := range []time.Duration{1, 2, 4, 8, 16, 30, 30, 30} {
		longest *= time.Second
		var sum, low, high time.Duration = 0, longest, 0
		for range samples {
			d := Policy{}.Delay(attempt)
			sum, low, high = sum+d, min(low, d), max(high, d)
		}
		mean := sum / samples
		if low < 0 || high > longest || low > longest/100 || high < longest*99/100 || mean < longest*48/100 || mean > longest*52/100 {
			t.Errorf("attempt %d: got delays from %v to %v, %v on average, want up to %v", attempt, low, high, mean, longest)
		}
	}
}

func TestDelayNoJitter(t *testing.T) {
	for _, test := range []struct {
		name    string
		policy  Policy
		attempt int
		want    time.Duration
	}{
		{"default", Policy{}, 0, time.Second},
		{"default", Policy{}, 3, 8 * time.Second},
		{"capped", Policy{}, 5, 30 * time.Second},
		{"much later", Policy{}, math.MaxInt, 30 * time.Second},
		{"before the first", Policy{}, -1, time.Second},
		{"factor", Policy{Min: time.Millisecond, Factor: 1.5}, 2, 2250 * time.Microsecond},
		{"factor of less than 1", Policy{Factor: 0.1}, 4, time.Second},
		{"constant", Policy{Min: 2 * time.Second, Factor: 1}, 1000, 2 * time.Second},
		{"no delay", Policy{Min: -1}, 10, 0},
		{"Min above Max", Policy{Min: time.Minute}, 3, time.Minute},
		{"Max", Policy{Max: 3 * time.Second}, 2, 3 * time.Second},
		{"no limit", Policy{Max: -1}, 10, 1024 * time.Second},
		{"no limit, much later", Policy{Max: -1}, 1000, math.MaxInt64},
	} {
		test.policy.NoJitter = true
		if got := test.policy.Delay(test.attempt); got != test.want {
			t.Errorf("%s: Delay(%d) is %v, want %v", test.name, test.attempt, got, test.want)
		}
	}
	if d := (Policy{Max: -1}).Delay(1000); d < 0 {
		t.Errorf("got %v", d)
	}
}

func TestResets(t *testing.T) {
	for _, test := range []struct {
		policy Policy
		uptime time.Duration
		want   bool
	}{
		{Policy{}, 5*time.Second - 1, false},
		{Policy{}, 5 * time.Second, true},
		{Policy{ResetAfter: time.Minute}, 59 * time.Second, false},
		{Policy{ResetAfter: time.Minute}, time.Minute, true},
		{Policy{ResetAfter: -1}, 0, true},
	} {
		if got := test.policy.Resets(test.uptime); got != test.want {
			t.Errorf("%+v after %v: got %v", test.policy, test.uptime, got)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	for _, test := range []struct {
		value string
		want  time.Duration
		ok    bool
	}{
		{"", 0, false},
		{"0", 0, true},
		{"120", 2 * time.Minute, true},
		{" 7 ", 7 * time.Second, true},
		{"3601", time.Hour, true},
		{"99999999999", time.Hour, true},
		{"99999999999999999999999", time.Hour, true},
		{"-1", 0, false},
		{"1.5", 0, false},
		{"soon", 0, false},
		{"Mon, 04 May 2026 03:03:01 GMT", time.Minute, true},
		{"Monday, 04-May-26 03:03:01 GMT", time.Minute, true},
		{"Mon, 04 May 2026 03:00:00 GMT", 0, true},
		{"Mon, 04 May 2026 05:00:00 GMT", time.Hour, true},
	} {
		if got, ok := RetryAfter(http.Header{"Retry-After": {test.value}}, now); got != test.want || ok != test.ok {
			t.Errorf("%q: got %v, %v, want %v, %v", test.value, got, ok, test.want, test.ok)
		}
	}
	// A server whose clock is a day ahead.
	h := http.Header{"Retry-After": {"Tue, 05 May 2026 03:02:11 GMT"}, "Date": {"Tue, 05 May 2026 03:02:01 GMT"}}
	if got, ok := RetryAfter(h, now); got != 10*time.Second || !ok {
		t.Errorf("with a Date: got %v, %v", got, ok)
	}
}

func TestTemporary(t *testing.T) {
	for status, want := range map[int]bool{
		200: false, 304: false, 400: false, 407: false, 408: true, 409: false, 424: false, 425: true, 426: false,
		428: false, 429: true, 430: false, 499: false, 500: true, 503: true, 599: true,
	} {
		if Temporary(status) != want {
			t.Errorf("%d: got %v", status, !want)
		}
	}
}
