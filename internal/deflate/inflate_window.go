package deflate

import (
	"math/bits"
	"sync"
)

// A window is a ring of what came out last, for what comes next to refer to.
// Its zero value is empty.
type window struct {
	ring   []byte  // its length is a power of two
	pooled *[]byte // ring, as it came from rings
	used   int     // how much of the ring has been written
	next   int     // where the next byte goes
}

const minRingBits = 8

// rings are where rings of 1<<i bytes wait for their next use.
var rings [MaxWindowBits + 1]sync.Pool

// write appends p. The window then holds what was written last, at most limit
// bytes, which is a power of two.
func (w *window) write(p []byte, limit int) {
	p = p[max(0, len(p)-limit):]
	if len(p) == 0 {
		return
	}
	if need := min(w.used+len(p), limit); need > len(w.ring) {
		w.grow(bits.Len(uint(need - 1)))
	}
	n := copy(w.ring[w.next:], p)
	copy(w.ring, p[n:])
	w.next = (w.next + len(p)) & (len(w.ring) - 1)
	w.used = min(w.used+len(p), len(w.ring))
}

// grow makes the ring one of 1<<n bytes, or as small as they get. It is called
// only before the ring has been written all around.
func (w *window) grow(n int) {
	old := *w
	n = max(n, minRingBits)
	w.pooled, _ = rings[n].Get().(*[]byte)
	if w.pooled == nil {
		ring := make([]byte, 1<<n)
		w.pooled = &ring
	}
	w.ring = *w.pooled
	copy(w.ring, old.ring[:old.used])
	w.next = w.used
	old.release()
}

// read copies to p what was written back bytes ago and after, and returns how
// much that is, which may be only a part. back is at most w.used.
func (w *window) read(p []byte, back int) int {
	return copy(p[:min(len(p), back)], w.ring[(w.next-back)&(len(w.ring)-1):])
}

// from returns the ring from what was written back bytes ago, or nil if less
// than length bytes follow. It may end before that.
func (w *window) from(back, length int) []byte {
	if back < length {
		return nil
	}
	return w.ring[(w.next-back)&(len(w.ring)-1):]
}

// release empties w.
func (w *window) release() {
	if w.pooled != nil {
		rings[bits.Len(uint(len(w.ring)-1))].Put(w.pooled)
	}
	*w = window{}
}
