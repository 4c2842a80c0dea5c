package load

import (
	"math/bits"
	"time"
)

// A histogram counts durations, to within 3 %.
type histogram struct {
	counts [64 << subBits]uint32
	n      int
}

const subBits = 5 // 32 buckets for each power of two

func (h *histogram) add(d time.Duration) {
	h.counts[bucket(uint64(max(0, d)))]++
	h.n++
}

// bucket numbers the durations below 64 ns one by one, and then those that have the same
// six leading bits.
func bucket(ns uint64) int {
	shift := max(0, bits.Len64(ns)-subBits-1)
	return shift<<subBits + int(ns>>shift)
}

// quantile returns the duration which that share of all is not above.
func (h *histogram) quantile(share float64) time.Duration {
	left := int(share * float64(h.n))
	for i, count := range h.counts {
		if left -= int(count); left < 0 {
			return lowest(i)
		}
	}
	return 0
}

// lowest returns the least duration in a bucket.
func lowest(bucket int) time.Duration {
	if bucket < 2<<subBits {
		return time.Duration(bucket)
	}
	shift := bucket>>subBits - 1
	return time.Duration(bucket-shift<<subBits) << shift
}
