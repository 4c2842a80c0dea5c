package deflate

import (
	"slices"
	"sync"
)

// A history is what an Encoder remembers of the messages it has compressed: the
// window, and where in it things are.
type history struct {
	windowBits int

	// bytes end with the window. There is room for some more, so that a small
	// message has a place behind it and the window need not be moved each time.
	bytes []byte

	// base is the position of bytes[0]. Positions count the bytes of the
	// stream, modulo 1<<16.
	base uint16

	// table has the latest position of strings of four bytes, by their hash. An
	// entry may be wrong or long out of date: it is a proposal, no more.
	table []uint16
}

// histories holds what was released, by windowBits.
var histories [MaxWindowBits + 1]sync.Pool

func newHistory(windowBits int) *history {
	if h, ok := histories[windowBits].Get().(*history); ok {
		clear(h.table) // so that the same messages are always compressed to the same
		h.bytes, h.base = h.bytes[:0], 0
		return h
	}
	return &history{windowBits: windowBits, table: make([]uint16, 1<<min(windowBits-2, 12))}
}

func (h *history) release() { histories[h.windowBits].Put(h) }

func (h *history) size() int {
	if h == nil {
		return 0
	}
	const itself = 64
	return itself + cap(h.bytes) + 2*cap(h.table)
}

// capacity is how large bytes become: the window and an eighth more, so that it
// need not be moved for each small message. At 15 bits that eighth is taken from
// the window, as the allocator would make 40 KB of 36.
func (h *history) capacity() int {
	window := 1 << h.windowBits
	return min(window+window/8, 1<<MaxWindowBits)
}

// end is the position of what comes next.
func (h *history) end() uint16 { return h.base + uint16(len(h.bytes)) }

// followedBy returns what h holds with p behind it, and the position of its first
// byte. It is made in h's own memory if there is room behind the window, or else in
// s's; h does not keep it.
func (h *history) followedBy(p []byte, s *workspace) ([]byte, uint16) {
	window := 1 << h.windowBits
	if h.makeRoom(len(p), h.capacity()-window/8) {
		return append(h.bytes, p...), h.base
	}
	old := h.bytes[max(0, len(h.bytes)-window):]
	s.work = append(append(s.work[:0], old...), p...)
	return s.work, h.end() - uint16(len(old))
}

// append makes p the end of the window.
func (h *history) append(p []byte) {
	window := 1 << h.windowBits
	if drop := len(p) - window; drop >= 0 {
		h.base, h.bytes = h.end()+uint16(drop), h.bytes[:0]
		p = p[drop:]
	}
	h.makeRoom(len(p), window-len(p))
	h.bytes = append(h.bytes, p...)
}

// makeRoom makes room for n bytes behind the last keep, at least, and reports
// whether it could.
func (h *history) makeRoom(n, keep int) bool {
	if capacity := h.capacity(); len(h.bytes)+n > cap(h.bytes) && cap(h.bytes) < capacity {
		size := max(len(h.bytes)+n, 2*cap(h.bytes), 512)
		h.bytes = append(slices.Grow([]byte(nil), min(size, capacity)), h.bytes...)
	}
	if len(h.bytes)+n <= cap(h.bytes) {
		return true
	}
	drop := max(0, len(h.bytes)-keep)
	if len(h.bytes)-drop+n > cap(h.bytes) {
		return false
	}
	h.base += uint16(drop)
	h.bytes = h.bytes[:copy(h.bytes, h.bytes[drop:])]
	return true
}
