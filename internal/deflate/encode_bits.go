package deflate

import (
	"encoding/binary"
	"slices"
)

// A bitWriter appends bits to dst, the first in the lowest bit of a byte (section
// 3.1.1).
type bitWriter struct {
	dst   []byte
	limit int    // how long dst may become
	bits  uint64 // those that are not in dst yet
	n     uint   // how many they are, fewer than 8 between calls
}

// end returns how long dst is if a block of that many bits comes next and the
// message ends.
func (w *bitWriter) end(bits int) int { return len(w.dst) + (int(w.n)+bits+3+7)/8 }

// endStored is end for a stored block of n bytes.
func (w *bitWriter) endStored(n int) int { return w.end(0) + 4 + n + 1 }

// grow makes room for that many bits, and for the eight bytes that are written
// at a time.
func (w *bitWriter) grow(bits int) { w.dst = slices.Grow(w.dst, (int(w.n)+bits)/8+8) }

// write appends tokens, for which there is room.
func (w *bitWriter) write(tokens []token, codes *codewords) {
	whole := len(tokens) &^ 3
	w.writeFours(tokens[:whole], codes)
	rest := [4]token{nothing, nothing, nothing, nothing}
	if copy(rest[:], tokens[whole:]) > 0 {
		w.writeFours(rest[:], codes)
	}
}

// writeFours appends tokens four by four: so many go into a word, and so it has no
// branches but for the end.
func (w *bitWriter) writeFours(tokens []token, codes *codewords) {
	out, at := w.dst[:cap(w.dst)], len(w.dst)
	acc, n := w.bits, w.n
	for ; len(tokens) >= 4; tokens = tokens[4:] {
		t0, t1, t2, t3 := tokens[0], tokens[1], tokens[2], tokens[3]
		c0, c1, c2, c3 := codes[t0.symbol()], codes[t1.symbol()], codes[t2.symbol()], codes[t3.symbol()]
		n01 := c0.length() + c1.length()
		b01 := t0.bits(c0) | t1.bits(c1)<<(c0.length()&63)
		b23 := t2.bits(c2) | t3.bits(c3)<<(c2.length()&63)
		acc |= (b01 | b23<<(n01&63)) << (n & 63)
		n += n01 + c2.length() + c3.length()
		binary.LittleEndian.PutUint64(out[at:at+8], acc)
		at += int(n / 8)
		acc >>= n &^ 7 & 63
		n &= 7
	}
	w.dst, w.bits, w.n = w.dst[:at], acc, n
}

// writeStored appends p as a stored block (section 3.2.4), unless that passes the
// limit.
func (w *bitWriter) writeStored(p []byte) bool {
	if w.endStored(len(p)) > w.limit {
		return false
	}
	w.endMessage() // with the header of the block
	w.dst = binary.LittleEndian.AppendUint16(w.dst, uint16(len(p)))
	w.dst = binary.LittleEndian.AppendUint16(w.dst, ^uint16(len(p)))
	w.dst = append(w.dst, p...)
	return true
}

// endMessage appends an empty stored block without its 00 00 FF FF (RFC 7692,
// section 7.2.1), and returns dst. The block's header is three zeros, and so are
// the bits from there to the boundary of a byte.
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

// endPart appends an empty stored block, and returns dst.
func (w *bitWriter) endPart() []byte {
	return append(w.endMessage(), 0x00, 0x00, 0xFF, 0xFF)
}
