package deflate

import (
	"encoding/binary"
	"slices"
)

// A bitWriter appends bits to dst, as section 3.1.1 packs them: the first into
// the lowest bit of a byte.
type bitWriter struct {
	dst  []byte
	bits uint64 // not yet in dst, fewer than 8 between calls
	n    uint   // how many they are
}

// grow makes room for n bytes, and for the eight that write takes at a time.
func (w *bitWriter) grow(n int) { w.dst = slices.Grow(w.dst, n+8) }

// write appends the lowest n bits of v, of which the others are zero. n is at most 56, and there is
// room.
func (w *bitWriter) write(v uint64, n uint) {
	w.bits |= v << w.n
	w.n += n
	i := len(w.dst)
	binary.LittleEndian.PutUint64(w.dst[i:i+8], w.bits)
	w.dst = w.dst[:i+int(w.n>>3)]
	w.bits >>= w.n &^ 7
	w.n &= 7
}

// writeStored appends p in stored blocks of at most 65,535 bytes (section 3.2.4).
func (w *bitWriter) writeStored(p []byte) {
	w.endMessage()
	w.dst = binary.LittleEndian.AppendUint16(w.dst, uint16(len(p)))
	w.dst = binary.LittleEndian.AppendUint16(w.dst, ^uint16(len(p)))
	w.dst = append(w.dst, p...)
}

// endMessage appends an empty stored block without its 00 00 FF FF (RFC 7692,
// section 7.2.1), and returns what was appended to. The block's header is three
// zeros, and so is what follows up to the boundary of a byte.
func (w *bitWriter) endMessage() []byte {
	if w.n > 0 {
		w.dst = append(w.dst, byte(w.bits))
	}
	if w.n == 0 || w.n+3 > 8 {
		w.dst = append(w.dst, 0)
	}
	w.bits, w.n = 0, 0
	return w.dst
}

// endPart appends an empty stored block, and returns what was appended to.
func (w *bitWriter) endPart() []byte {
	return append(w.endMessage(), 0x00, 0x00, 0xFF, 0xFF)
}
