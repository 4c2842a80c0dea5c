package main

import (
	"fmt"
	"io"
	"math/bits"
	"strings"
	"sync/atomic"
	"time"
)

// precision is the logarithm of the number of buckets for each octave: no value is taken for one that
// is more than 1/128 larger.
const precision = 7

// A histogram counts times, however many, in some 60 KB: each octave has the same number of buckets,
// so that the error is the same part of small and of large values. It may be used concurrently.
type histogram struct {
	counts [(65 - precision) << precision]atomic.Uint64
	n      atomic.Uint64
	max    atomic.Int64
}

// bucket returns which one counts v. Below two octaves' worth of buckets, each value has its own.
func bucket(v uint64) int {
	shift := max(0, bits.Len64(v)-precision-1)
	return shift<<precision + int(v>>shift)
}

// bucketMax returns the largest value of a bucket.
func bucketMax(i int) uint64 {
	shift := max(0, i>>precision-1)
	return uint64(i-shift<<precision+1)<<shift - 1
}

func (h *histogram) add(d time.Duration) {
	d = max(0, d)
	h.counts[bucket(uint64(d))].Add(1)
	h.n.Add(1)
	for {
		old := h.max.Load()
		if int64(d) <= old || h.max.CompareAndSwap(old, int64(d)) {
			return
		}
	}
}

// quantile returns a value that the part q of all is not above, and that is at most 1/128 too large.
func (h *histogram) quantile(q float64) time.Duration {
	rank := max(1, uint64(q*float64(h.n.Load())+0.5))
	var seen uint64
	for i := range h.counts {
		if seen += h.counts[i].Load(); seen >= rank {
			return min(time.Duration(bucketMax(i)), time.Duration(h.max.Load()))
		}
	}
	return time.Duration(h.max.Load())
}

// barWidth is how long the longest bar of a drawing is.
const barWidth = 40

// draw draws the histogram, in rows from 1, 2 or 5 times a power of ten to the next.
func (h *histogram) draw(w io.Writer) {
	var rows []uint64
	var bounds []time.Duration
	i := 0
	for bound := range bounds125 {
		var row uint64
		for ; i < len(h.counts) && bucketMax(i) <= uint64(bound); i++ {
			row += h.counts[i].Load()
		}
		rows, bounds = append(rows, row), append(bounds, bound)
	}
	first, last, most := 0, len(rows)-1, uint64(1)
	for first < last && rows[first] == 0 {
		first++
	}
	for first < last && rows[last] == 0 {
		last--
	}
	for _, row := range rows {
		most = max(most, row)
	}
	for r := first; r <= last; r++ {
		bar := strings.Repeat("#", int((rows[r]*barWidth+most-1)/most))
		fmt.Fprintf(w, "  up to %6v  %-*s  %5.1f%%\n", bounds[r], barWidth, bar, 100*float64(rows[r])/float64(h.n.Load()))
	}
}

// bounds125 yields 1, 2 and 5 times the powers of ten from a microsecond on, and the largest time.
func bounds125(yield func(time.Duration) bool) {
	for power := time.Microsecond; power <= 1000*time.Second; power *= 10 {
		for _, digit := range []time.Duration{1, 2, 5} {
			if !yield(digit * power) {
				return
			}
		}
	}
	yield(1<<63 - 1)
}
