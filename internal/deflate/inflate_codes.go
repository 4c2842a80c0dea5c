package deflate

import "sync"

// A scratch is what it takes to read the codes of a block, and the codes.
type scratch struct {
	literals    int // how many lengths of codes there are for literals and lengths
	distances   int // behind them, for distances
	codeLengths int // before them, for code lengths

	next     int   // how many lengths have been read
	previous uint8 // the last of them
	used     int
	lengths  [288 + 32]codeLength // those that aren't zero
	sorted   [288]codeLength

	codeLengthTable [1 << maxCodeLengthCodeLength]entry
	codeLengthBits  uint8
	codes           codes
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// A codeLength is a symbol, and in the lowest four bits the length of its code.
type codeLength uint16

func (l codeLength) symbol() int  { return int(l >> 4) }
func (l codeLength) length() uint { return uint(l & 15) }

// codeCounts reads how many codes there are.
//
//	5 Bits: HLIT, # of Literal/Length codes - 257 (257 - 286)
//	5 Bits: HDIST, # of Distance codes - 1        (1 - 32)
//	4 Bits: HCLEN, # of Code Length codes - 4     (4 - 19)
//
// (section 3.2.7)
func (z *Inflater) codeCounts() error {
	if !z.need(14) {
		return errMore
	}
	if z.scratch == nil {
		z.scratch = scratches.Get().(*scratch)
	}
	s := z.scratch
	s.literals = int(z.take(5)) + 257
	s.distances = int(z.take(5)) + 1
	s.codeLengths = int(z.take(4)) + 4
	if s.literals > literalLengthSymbols || s.distances > distanceSymbols {
		return errCodeCounts
	}
	s.next = 0
	clear(s.lengths[:codeLengthSymbols])
	z.phase = inCodeLengthLengths
	return nil
}

// codeLengthLengths reads "(HCLEN + 4) x 3 bits: code lengths for the code
// length alphabet" (section 3.2.7).
func (z *Inflater) codeLengthLengths() error {
	s := z.scratch
	for ; s.next < s.codeLengths; s.next++ {
		if !z.need(3) {
			return errMore
		}
		symbol := codeLengthOrder[s.next]
		s.lengths[symbol] = codeLength(uint(symbol)<<4 | z.take(3))
	}
	used := s.lengths[:0]
	for _, l := range s.lengths[:codeLengthSymbols] {
		if l.length() > 0 {
			used = append(used, l)
		}
	}
	var err error
	s.codeLengthBits, err = s.buildTable(s.codeLengthTable[:], maxCodeLengthCodeLength, used, codeLengthEntries[:])
	s.next, s.used = 0, 0
	z.phase = inCodeLengths
	return err
}

// codeLengths reads "HLIT + 257 code lengths for the literal/length alphabet,
// encoded using the code length Huffman code", and "HDIST + 1 code lengths for
// the distance alphabet". They are one row: "the code length repeat codes can
// cross from HLIT + 257 to the HDIST + 1 code lengths." (section 3.2.7)
func (z *Inflater) codeLengths() error {
	s := z.scratch
	b, pos := z.bits, z.pos
	mask := uint64(1)<<(s.codeLengthBits&63) - 1
	for s.next < s.literals+s.distances {
		if b.count < maxCodeLengthCodeLength+7 {
			b, pos = b.fill(z.in, pos)
		}
		e := s.codeLengthTable[b.next&mask]
		switch {
		case e&entrySpecial != 0:
			return errSymbol
		case e.takes() > b.count:
			z.bits, z.pos = b, pos
			return errMore
		case e&entryLiteral != 0:
			s.add(e.literal())
		default:
			if err := s.repeat(e, e.base(b.next)); err != nil {
				return err
			}
		}
		b = b.drop(e.takes())
	}
	z.bits, z.pos = b, pos
	z.codes = &s.codes
	z.phase = inSymbols
	return s.build()
}

// add takes the next length.
func (s *scratch) add(length uint8) {
	s.lengths[s.used] = codeLength(s.next<<4 | int(length&15))
	s.used += int(length+15) >> 4 // by one, unless it is zero
	s.next++
	s.previous = length
}

// repeat takes the next lengths, so many, which are zero or all as the one
// before.
func (s *scratch) repeat(e entry, times int) error {
	switch {
	case times > s.literals+s.distances-s.next:
		return errRepeat
	case e&entryPrevious == 0:
		s.next += times
		s.previous = 0
		return nil
	case s.next == 0:
		return errNothingBefore
	}
	for range times {
		s.add(s.previous)
	}
	return nil
}

// build makes the codes of the lengths.
func (s *scratch) build() error {
	literals, distances := s.split()
	if !hasEndOfBlock(literals) {
		return errNoEndOfBlock
	}
	var err error
	s.codes.literalBits, err = s.buildTable(s.codes.literals[:], maxLiteralBits, literals, literalEntries[:])
	if err != nil {
		return err
	}
	s.codes.distanceBits, err = s.buildTable(s.codes.distances[:], maxDistanceBits, distances, distanceEntries[:])
	return err
}

// split divides the lengths into those of the two codes.
func (s *scratch) split() (literals, distances []codeLength) {
	n := s.used
	for n > 0 && s.lengths[n-1].symbol() >= s.literals {
		n--
		s.lengths[n] -= codeLength(s.literals << 4)
	}
	return s.lengths[:n], s.lengths[n:s.used]
}

func hasEndOfBlock(literals []codeLength) bool {
	n := len(literals)
	for n > 0 && literals[n-1].symbol() > endOfBlock {
		n--
	}
	return n > 0 && literals[n-1].symbol() == endOfBlock
}

// fixedCodes are those of blocks without codes of their own (section 3.2.6).
var fixedCodes = func() codes {
	s := scratch{literals: len(literalEntries), distances: len(distanceEntries)}
	for _, lengths := range []struct {
		length uint8
		times  int
	}{{8, 144}, {9, 112}, {7, 24}, {8, 8}, {5, 32}} {
		for range lengths.times {
			s.add(lengths.length)
		}
	}
	s.build()
	return s.codes
}()

func (z *Inflater) releaseScratch() {
	if z.scratch != nil {
		scratches.Put(z.scratch)
	}
	z.scratch, z.codes = nil, nil
}
