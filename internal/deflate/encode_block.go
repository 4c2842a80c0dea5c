package deflate

// A block is a block while it is made (section 3.2.3).
type block struct {
	tokens []token // of all that it stands for, and endOfBlock

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

// isFlat reports whether the bytes of p are so evenly distributed that Huffman
// codes would save next to nothing. It looks at no more than the first kilobyte.
//
// If there are 256 values of the same probability, the sum of the squares of their
// frequencies in n bytes is about n + n*n/256.
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
	n := len(p)
	return sum <= n+n*n/192
}

// fixedCodewords are those of section 3.2.6.
var fixedCodewords = func() (codes codewords) {
	lengths := [...]struct{ last, bits, code int }{{143, 8, 0b00110000}, {255, 9, 0b110010000}, {279, 7, 0}, {287, 8, 0b11000000}}
	symbol := 0
	for _, l := range lengths {
		for code := l.code; symbol <= l.last; code++ {
			codes[symbol] = newCodeword(code, l.bits)
			symbol++
		}
	}
	for i := range distanceSymbols {
		codes[distanceToken+i] = newCodeword(i, 5)
	}
	codes.addRaw()
	return codes
}()

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
