package deflate

import (
	"slices"
	"sync"
)

// A history is what an Encoder has compressed, as far as the window reaches back,
// and where in it things are.
type history struct {
	windowBits int

	// bytes ends with the window. Behind it there is some room, so that the
	// window is not moved for each small message.
	bytes []byte

	// position is that of bytes[0]. Positions count the bytes of the stream,
	// modulo 1<<16.
	position uint16

	table []uint16 // as a matcher's
}

// histories has what was released, by windowBits.
var histories [MaxWindowBits + 1]sync.Pool

func newHistory(windowBits int) *history {
	if h, ok := histories[windowBits].Get().(*history); ok {
		clear(h.table) // or else what is written would depend on who had it before
		h.bytes, h.position = h.bytes[:0], 0
		return h
	}
	const maxTableBits = 12
	return &history{windowBits: windowBits, table: make([]uint16, 1<<min(windowBits-2, maxTableBits))}
}

func (h *history) release() { histories[h.windowBits].Put(h) }

func (h *history) size() int {
	const itself = 64
	return itself + cap(h.bytes) + 2*cap(h.table)
}

// end returns the position of what comes next.
func (h *history) end() uint16 { return h.position + uint16(len(h.bytes)) }

// window returns what may be referred to.
func (h *history) window() []byte { return h.bytes[max(0, len(h.bytes)-1<<h.windowBits):] }

// followedBy returns a text of what h has and of p, with readAhead zeros behind
// it, and where p begins, if there is room for that: h does not keep p yet.
func (h *history) followedBy(p []byte) (text []byte, start int) {
	if !h.makeRoom(len(p)+readAhead, h.capacity()-h.slack()) {
		return nil, 0
	}
	text = append(append(h.bytes, p...), make([]byte, readAhead)...)
	return text, len(h.bytes)
}

// append makes p the end of the window.
func (h *history) append(p []byte) {
	window := 1 << h.windowBits
	if drop := len(p) - window; drop >= 0 {
		h.position, h.bytes = h.end()+uint16(drop), h.bytes[:0]
		p = p[drop:]
	}
	h.makeRoom(len(p), window-len(p))
	h.bytes = append(h.bytes, p...)
}

// slack is how much room there is behind the window.
func (h *history) slack() int { return 1 << h.windowBits >> 3 }

// capacity is how large bytes may become. The largest window has to make do with
// itself: an eighth more, and the allocator would make it a fourth.
func (h *history) capacity() int {
	return min(1<<h.windowBits+h.slack(), 1<<MaxWindowBits)
}

// makeRoom makes room for n bytes and reports whether there is any, while the
// last keep bytes, at least, stay.
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
	h.position += uint16(drop)
	h.bytes = h.bytes[:copy(h.bytes, h.bytes[drop:])]
	return true
}
