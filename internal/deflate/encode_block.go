package deflate

// A block is a block while it is made (section 3.2.3).
type block struct {
	tokens []token // of all that is in it, and endOfBlock

	// What the tokens are.
	freqs    [symbols]uint16 // how often each symbol occurs
	literals int
	matches  int
	high     bool // there are literals from 128 on
	rawBits  int

	dynamic dynamicCodes
}

// begin empties b, and makes room for the tokens of n bytes.
func (b *block) begin(n int) {
	const more = 4 // the end, and what is not kept of a match's
	if cap(b.tokens) < n+more {
		b.tokens = make([]token, 0, n+more)
	}
	b.tokens = b.tokens[:0]
}

// write writes p, of which b has the tokens if there are any matches, as a block
// of the type that takes the least. It returns false if that passes w's limit.
func (b *block) write(w *bitWriter, p []byte) bool {
	if len(b.tokens) == 0 && b.isFlat(p) {
		return w.writeStored(p)
	}
	if len(b.tokens) == 0 {
		b.tokens = b.tokens[:len(p)]
		putLiterals(b.tokens, p)
	}
	b.tokens = append(b.tokens, endOfBlock)
	b.count()

	size, header, codes := b.fixedSize(), fixedHeader, &fixedCodewords
	if n := b.dynamic.make(b, size); n < size {
		size, header, codes = n, b.dynamic.header, &b.dynamic.codes
	}
	if w.endStored(len(p)) <= w.end(size) {
		return w.writeStored(p)
	}
	if w.end(size) > w.limit {
		return false
	}
	w.grow(size)
	w.write(header, codes)
	w.write(b.tokens, codes)
	return true
}

// count finds out what the tokens are.
func (b *block) count() {
	clear(b.freqs[:])
	all := uint32(0)
	for _, t := range b.tokens {
		b.freqs[t.symbol()]++
		all |= t.symbol()
	}
	b.high = all&0x80 != 0 // which only the symbols of these literals have
	b.matches, b.rawBits = 0, 0
	for _, f := range b.freqs[distanceToken : distanceToken+distanceSymbols] {
		b.matches += int(f)
	}
	b.literals = len(b.tokens) - 1 - 2*b.matches
	for n, f := range b.freqs[rawToken : rawToken+maxTokenBits+1] {
		b.rawBits += n * int(f)
		b.literals -= int(f)
	}
}

// isFlat reports whether the bytes of p, or of its first kilobyte, are so evenly
// distributed that Huffman codes would save next to nothing.
//
// Where v values are all as frequent as each other, the sum of the squares of
// their frequencies in n bytes is about n + n*n/v. For 192 values, codes would be
// half a bit shorter than a byte.
func (b *block) isFlat(p []byte) bool {
	p = p[:min(len(p), 1<<10)]
	freqs := b.freqs[:256]
	clear(freqs)
	for _, c := range p {
		freqs[c]++
	}
	sum := 0
	for _, f := range freqs {
		sum += int(f) * int(f)
	}
	const values = 192
	n := len(p)
	return sum <= n+n*n/values
}

// fixedCodewords are the codes of section 3.2.6.
var fixedCodewords = func() (codes codewords) {
	symbol := 0
	for _, row := range []struct{ last, bits, code int }{
		{143, 8, 0b00110000},
		{255, 9, 0b110010000},
		{279, 7, 0b0000000},
		{287, 8, 0b11000000},
	} {
		for code := row.code; symbol <= row.last; code++ {
			codes[symbol] = newCodeword(code, row.bits)
			symbol++
		}
	}
	for distance := range distanceSymbols {
		codes[distanceToken+distance] = newCodeword(distance, 5)
	}
	codes.addRaw()
	return codes
}()

// fixedHeader is that of a block with these codes.
var fixedHeader = []token{raw(blockFixed<<1, 3)}

// fixedSize returns how many bits b has with the fixed codes.
func (b *block) fixedSize() int {
	const blockHeader, literal, length, distance, end = 3, 8, 7, 5, 7
	size := blockHeader + b.literals*literal + b.matches*(length+distance) + b.rawBits + end
	if b.high {
		for _, f := range b.freqs[144:256] { // one bit more than the others
			size += int(f)
		}
	}
	for _, f := range b.freqs[280:literalLengthSymbols] { // likewise
		size += int(f)
	}
	return size
}
