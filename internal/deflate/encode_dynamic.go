package deflate

// dynamicCodes are a block's own codes, and how the block describes them (section
// 3.2.7).
type dynamicCodes struct {
	codes  codewords
	header []token // of the block, with the codes of the code lengths among codes

	tree            huffman
	codeLengthFreqs [codeLengthSymbols]uint16
	space           [codeLengthsBegin + literalLengthSymbols + distanceSymbols]token
}

// Where the header's parts begin.
const (
	countsBegin            = 1 // after BFINAL and BTYPE
	codeLengthLengthsBegin = countsBegin + 1
	codeLengthsBegin       = codeLengthLengthsBegin + codeLengthSymbols
)

// make makes codes for b, and returns how many bits b has with them. As that takes
// time, it first estimates whether they may be fewer than size, and returns size if
// not.
func (d *dynamicCodes) make(b *block, size int) int {
	const fewTokens = 48
	if len(b.tokens) < fewTokens {
		return size
	}
	t := &d.tree
	t.reset()
	if b.high {
		t.add(b.freqs[:endOfBlock], 0)
	} else {
		t.add(b.freqs[:128], 0)
	}
	t.add(b.freqs[endOfBlock:literalLengthSymbols], endOfBlock)
	const header, bitsPerSymbol, bitsPerDistance = 120, 4, 4
	if t.build()+b.rawBits+b.matches*bitsPerDistance+header+t.n*bitsPerSymbol >= size {
		return size
	}

	d.beginHeader()
	n := b.rawBits + t.assign(d.codes[:], maxTokenBits)
	literalLengths := d.putCodeLengths(firstLength)
	t.reset()
	t.add(b.freqs[distanceToken:distanceToken+distanceSymbols], 0)
	t.build()
	n += t.assign(d.codes[distanceToken:], maxTokenBits)
	distances := d.putCodeLengths(1)
	return n + d.endHeader(literalLengths, distances)
}

func (d *dynamicCodes) beginHeader() {
	d.header = d.space[:codeLengthsBegin]
	clear(d.codeLengthFreqs[:])
}

// endHeader puts what comes before the code lengths, and returns how many bits the
// header has.
//
//	5 Bits: HLIT, # of Literal/Length codes - 257 (257 - 286)
//	5 Bits: HDIST, # of Distance codes - 1        (1 - 32)
//	4 Bits: HCLEN, # of Code Length codes - 4     (4 - 19)
func (d *dynamicCodes) endHeader(literalLengths, distances uint32) int {
	t := &d.tree
	t.reset()
	t.add(d.codeLengthFreqs[:], 0)
	t.build()
	codes := d.codes[codeLengthToken : codeLengthToken+codeLengthSymbols]
	clear(codes)
	size := 3 + 5 + 5 + 4 + t.assign(codes, maxCodeLengthCodeLength)
	for i, extra := range [...]int{2, 3, 7} {
		size += extra * int(d.codeLengthFreqs[repeatPrevious+i])
	}

	n := uint32(codeLengthSymbols)
	lengths := d.header[codeLengthLengthsBegin:codeLengthsBegin]
	for ; n > 4 && codes[codeLengthOrder[n-1]] == 0; n-- {
		lengths[n-1] = nothing
	}
	for i, symbol := range codeLengthOrder[:n] {
		lengths[i] = raw(uint32(codes[symbol].length()), 3)
	}
	d.header[0] = raw(blockDynamic<<1, 3)
	d.header[countsBegin] = raw((literalLengths-257)|(distances-1)<<5|(n-4)<<10, 14)
	return size + 3*int(n)
}

// putCodeLengths puts the lengths of the tree's codes, up to the last symbol that
// occurs but of at least so many, and returns how many they are.
func (d *dynamicCodes) putCodeLengths(atLeast uint32) (n uint32) {
	t := &d.tree
	last, more := uint8(0), 0 // how often the last length is still to be repeated
	for _, u := range t.used[:t.n] {
		symbol := u.symbol()
		length := t.lengths[symbol]
		if symbol == n && length == last {
			n, more = n+1, more+1
			continue
		}
		if more > 0 {
			d.putRepeated(last, more)
			more = 0
		}
		if symbol > n {
			d.putZeros(symbol - n)
		}
		d.put(uint32(length))
		n, last = symbol+1, length
	}
	d.putRepeated(last, more)
	if n < atLeast {
		// "One distance code of zero bits means that there are no distance
		// codes used at all (the data is all literals)."
		d.putZeros(atLeast - n)
		n = atLeast
	}
	return n
}

// put puts a symbol of the code length alphabet.
func (d *dynamicCodes) put(symbol uint32) {
	d.codeLengthFreqs[symbol]++
	d.header = append(d.header, token(codeLengthToken+symbol))
}

// putRepeated puts n times the length that is also the last.
func (d *dynamicCodes) putRepeated(length uint8, n int) {
	for ; n >= 3; n -= min(n, 6) {
		d.put(repeatPrevious)
		d.header = append(d.header, raw(uint32(min(n, 6)-3), 2))
	}
	for range n {
		d.put(uint32(length))
	}
}

// putZeros puts the lengths of n symbols that do not occur.
func (d *dynamicCodes) putZeros(n uint32) {
	for ; n >= 11; n -= min(n, 138) {
		d.put(repeatZeroLonger)
		d.header = append(d.header, raw(min(n, 138)-11, 7))
	}
	if n >= 3 {
		d.put(repeatZero)
		d.header = append(d.header, raw(n-3, 3))
		return
	}
	for range n {
		d.put(0)
	}
}
