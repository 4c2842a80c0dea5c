package main

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// Buckets follow each other without a gap, and each is at most 1/128 wide.
func TestBuckets(t *testing.T) {
	var h histogram
	if last := bucket(math.MaxUint64); last != len(h.counts)-1 {
		t.Errorf("the last bucket is %d, and there are %d", last, len(h.counts))
	}
	low := uint64(0)
	for i := range h.counts {
		high := bucketMax(i)
		if bucket(low) != i || bucket(high) != i {
			t.Fatalf("bucket %d is from %d to %d, which are in %d and %d", i, low, high, bucket(low), bucket(high))
		}
		if high-low > low>>precision {
			t.Fatalf("bucket %d is from %d to %d", i, low, high)
		}
		low = high + 1
	}
	if low != 0 {
		t.Errorf("the last bucket ends before %d", low)
	}
}

// A quantile is that of the values themselves, or up to 1/128 larger.
func TestQuantile(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for name, next := range map[string]func() time.Duration{
		"uniform":     func() time.Duration { return time.Duration(random.Int64N(int64(time.Second))) },
		"exponential": func() time.Duration { return time.Duration(random.ExpFloat64() * float64(time.Millisecond)) },
		"all sizes":   func() time.Duration { return time.Duration(random.Int64() >> random.IntN(63)) },
		"one value":   func() time.Duration { return 12345 * time.Microsecond },
	} {
		var h histogram
		var values []time.Duration
		for range 10000 {
			d := next()
			h.add(d)
			values = append(values, d)
		}
		slices.Sort(values)
		for _, q := range []float64{0, 0.0001, 0.25, 0.5, 0.9, 0.99, 0.999, 1} {
			exact := values[max(1, int(q*10000+0.5))-1]
			if got := h.quantile(q); got < exact || got-exact > exact>>precision {
				t.Errorf("%s, %v: got %d, and it is %d", name, q, got, exact)
			}
		}
	}
}

func TestHistogramEmpty(t *testing.T) {
	var h histogram
	if got := h.quantile(0.5); got != 0 {
		t.Errorf("got %v", got)
	}
	if got := h.quantiles(); got != nil {
		t.Errorf("got %v", got)
	}
	h.add(-1)
	if got := h.quantile(1); got != 0 {
		t.Errorf("a time below zero counts as %v", got)
	}
}

func TestDraw(t *testing.T) {
	var h histogram
	for range 3 {
		h.add(300 * time.Microsecond)
	}
	h.add(4 * time.Millisecond)
	var b strings.Builder
	h.draw(&b)
	want := `
  up to  500µs  ########################################   75.0%
  up to    1ms                                              0.0%
  up to    2ms                                              0.0%
  up to    5ms  ##############                             25.0%
`
	if "\n"+b.String() != want {
		t.Errorf("got\n%swant\n%s", &b, want)
	}
}
