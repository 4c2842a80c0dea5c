package deflate

import "encoding/binary"

// A bitBuffer holds the next bits of the input: "Data elements are packed into
// bytes in order of increasing bit number within the byte, i.e., starting with
// the least-significant bit of the byte." (section 3.1.1)
type bitBuffer struct {
	// The lowest count bits of next. Those above are zero, or what they are
	// going to be: the bits of the bytes that follow.
	next  uint64
	count uint
}

// drop drops n bits.
func (b bitBuffer) drop(n uint) bitBuffer { return bitBuffer{b.next >> (n & 63), b.count - n} }

// load takes as many bytes of in[pos:], which are eight at least, as there is
// room for. There are at least 56 bits then.
func (b bitBuffer) load(in []byte, pos int) (bitBuffer, int) {
	word := binary.LittleEndian.Uint64(in[pos:])
	return bitBuffer{b.next | word<<(b.count&63), b.count | 56}, pos + int((63-b.count)>>3)
}

// fill takes as many bytes of in[pos:] as there are, and room for.
func (b bitBuffer) fill(in []byte, pos int) (bitBuffer, int) {
	if len(in)-pos >= 8 {
		return b.load(in, pos)
	}
	for ; b.count < 56 && pos < len(in); pos++ {
		b.next |= uint64(in[pos]) << (b.count & 63)
		b.count += 8
	}
	return b, pos
}
