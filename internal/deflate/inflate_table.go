package deflate

import (
	"math/bits"
	"sync"
)

// The codes of a block, as tables: the next bits of the input are the index of
// the symbol that they begin with.
//
// A table is indexed by as many bits as the longest code has, up to
// maxLiteralBits or maxDistanceBits. Where the codes that begin with these bits are longer,
// the entry leads to a second table, behind the first, for the bits that
// follow. The arrays are as long as the two can get for the most unfortunate
// complete code.
type codes struct {
	literals     [1334]entry // literals, lengths and the end of the block
	distances    [402]entry
	literalBits  uint8
	distanceBits uint8
}

const (
	maxLiteralBits  = 10
	maxDistanceBits = 8
)

// An entry says what a code stands for. Its lowest eight bits are how many bits
// it takes, with the extra bits behind the code, and the next four how many of
// these are the code.
type entry uint32

const (
	entryLiteral  entry = 1 << 31 // the value is the literal
	entrySpecial  entry = 1 << 15 // none of the others, but one of the next, or no code at all
	entryEnd      entry = 1 << 14 // the end of the block
	entryIndirect entry = 1 << 13 // the value is where the second table begins

	entryValueShift = 16 // a literal, or the base of a length or a distance
	entryCodeShift  = 8
)

// takes is how many bits the code takes with its extra bits. Of an indirect
// entry, it is how many the first table is indexed by.
func (e entry) takes() uint { return uint(e) & 63 }

// codeBits is how many bits the code has. Of an indirect entry, it is how many
// the second table is indexed by.
func (e entry) codeBits() uint { return uint(e>>entryCodeShift) & 15 }

func (e entry) value() int { return int(e &^ entryLiteral >> entryValueShift) }

// base is the value with the extra bits, where held begins with the code.
func (e entry) base(held uint64) int {
	return e.value() + int(uint32(held)&(1<<e.takes()-1)>>e.codeBits())
}

// with is e for a code of n bits.
func (e entry) with(n uint) entry { return e + entry(n)<<entryCodeShift + entry(n) }

// find returns the entry of the code that held begins with, of a table that
// is indexed by n bits. If it leads to the second table, that's where the entry
// is from, and skipped says how many bits are before its code.
func find(table []entry, n uint8, held uint64) (e entry, skipped uint) {
	e = table[held&(1<<(n&63)-1)]
	if e&entryIndirect != 0 {
		skipped = e.takes()
		e = table[e.value()+int(held>>skipped&(1<<e.codeBits()-1))]
	}
	return e, skipped
}

// literalEntries and distanceEntries are the entries of all symbols, but for the
// bits of their codes. Symbols that stand for nothing are special.
var literalEntries = func() (entries [288]entry) {
	for i := range entries {
		switch {
		case i < endOfBlock:
			entries[i] = entryLiteral | entry(i)<<entryValueShift
		case i == endOfBlock:
			entries[i] = entrySpecial | entryEnd
		case i < literalLengthSymbols:
			entries[i] = lengthValues[i-firstLength].entry()
		default:
			entries[i] = entrySpecial
		}
	}
	return entries
}()

var distanceEntries = func() (entries [32]entry) {
	for i := range entries {
		entries[i] = entrySpecial
		if i < distanceSymbols {
			entries[i] = distanceValues[i].entry()
		}
	}
	return entries
}()

func (v baseValue) entry() entry { return entry(v.base)<<entryValueShift | entry(v.extra) }

// fixedCodes are those of blocks without codes of their own (section 3.2.6).
var fixedCodes = func() (c codes) {
	var s scratch
	lengths := s.lengths[:]
	for i := range 288 {
		switch {
		case i <= 143:
			lengths[i] = 8
		case i <= 255:
			lengths[i] = 9
		case i <= 279:
			lengths[i] = 7
		default:
			lengths[i] = 8
		}
	}
	for i := 288; i < 288+32; i++ {
		lengths[i] = 5
	}
	s.build(288, 32)
	return s.codes
}()

// A scratch is what reading the codes of a block takes, and the codes.
type scratch struct {
	codes       codes
	lengths     [288 + 32]uint8 // of the codes of literals, then of distances
	literals    int             // how many of each
	distances   int
	next        int // length to be read
	codeLengths int // how many lengths of codes for code lengths

	codeLengthLengths [codeLengthSymbols]uint8
	codeLengthTable   [1 << maxCodeLengthCodeLength]uint8
	codeLengthBits    uint8

	sorted [288]uint16 // symbols in the order of their codes
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

func (z *Inflater) releaseScratch() {
	if z.scratch != nil {
		scratches.Put(z.scratch)
	}
	z.scratch, z.codes = nil, nil
}

// build makes the codes of the lengths.
func (s *scratch) build(literals, distances int) error {
	n, err := s.buildTable(s.codes.literals[:], maxLiteralBits, s.lengths[:literals], literalEntries[:])
	if err != nil {
		return err
	}
	s.codes.literalBits = uint8(n)
	n, err = s.buildTable(s.codes.distances[:], maxDistanceBits, s.lengths[literals:literals+distances], distanceEntries[:])
	s.codes.distanceBits = uint8(n)
	return err
}

// lengthCounts says of how many codes each length is.
type lengthCounts [maxCodeLength + 1]uint16

// check reports whether a code can be made of the counts: one that gives every
// sequence of bits a meaning, and no two.
//
// "If only one distance code is used, it is encoded using one bit, not zero
// bits; in this case there is a single code length of one, with one unused code.
// One distance code of zero bits means that there are no distance codes used at
// all" (section 3.2.7). The other codes are allowed to have a single symbol too, as zlib has it.
func (c *lengthCounts) check() error {
	left, codes := 1<<maxCodeLength, 0
	for n := 1; n <= maxCodeLength; n++ {
		left -= int(c[n]) << (maxCodeLength - n)
		codes += int(c[n])
	}
	if left == 0 || codes == 0 || codes == 1 && c[1] == 1 {
		return nil
	}
	return errCode
}

// sort puts the symbols that have a code in the order of their codes, and returns
// them and how many codes there are of each length.
//
// "All codes of a given bit length have lexicographically consecutive values, in
// the same order as the symbols they represent; Shorter codes lexicographically
// precede longer codes." (section 3.2.2)
func (s *scratch) sort(lengths []uint8) (symbols []uint16, counts lengthCounts) {
	for _, n := range lengths {
		counts[n&15]++
	}
	counts[0] = 0
	var next lengthCounts
	sum := uint16(0)
	for n, count := range counts {
		next[n] = sum
		sum += count
	}
	for symbol, n := range lengths {
		if n != 0 {
			s.sorted[next[n&15]] = uint16(symbol)
			next[n&15]++
		}
	}
	return s.sorted[:sum], counts
}

// buildTable makes a table of the code that has the given lengths, and returns
// by how many bits it is indexed, at most limit.
func (s *scratch) buildTable(table []entry, limit uint, lengths []uint8, entries []entry) (uint, error) {
	symbols, counts := s.sort(lengths)
	if err := counts.check(); err != nil {
		return 0, err
	}
	table[0], table[1] = entrySpecial, entrySpecial
	if len(symbols) == 0 {
		return 0, nil
	}

	// Bits are packed from the lowest, codes from their highest, so codes are
	// counted up backwards. A table for codes of n bits is the one for n-1
	// bits twice, with the codes of n bits written over what had no meaning.
	code, size := uint(0), uint(1)
	longest := uint(0)
	for n := uint(1); n <= limit && len(symbols) > 0; n++ {
		copy(table[size:2*size], table[:size])
		size *= 2
		for range counts[n] {
			table[code] = entries[symbols[0]].with(n)
			symbols = symbols[1:]
			code = nextCode(code, n)
		}
		longest = n
	}
	if len(symbols) > 0 {
		buildSecondTables(table, limit, symbols, lengths, entries, counts, code)
	}
	return longest, nil
}

// nextCode returns the code of n bits after code, both backwards.
func nextCode(code, n uint) uint {
	zeros := ^code & (1<<n - 1)
	if zeros == 0 {
		return 0
	}
	highest := uint(1) << (bits.Len(zeros) - 1)
	return code&(highest-1) | highest
}

// buildSecondTables makes the second tables, of the symbols whose codes are
// longer than the n bits that the first is indexed by.
func buildSecondTables(table []entry, n uint, symbols []uint16, lengths []uint8, entries []entry, counts lengthCounts, code uint) {
	begin, size := uint(1)<<n, uint(0)
	prefix := ^uint(0)
	for _, symbol := range symbols {
		length := uint(lengths[symbol])
		if p := code & (1<<n - 1); p != prefix {
			prefix = p
			begin += size
			more := secondBits(&counts, length, n)
			size = 1 << more
			table[prefix] = entrySpecial | entryIndirect | entry(begin)<<entryValueShift | entry(more)<<entryCodeShift | entry(n)
		}
		e := entries[symbol].with(length - n)
		for i := code >> n; i < size; i += 1 << (length - n) {
			table[begin+i] = e
		}
		counts[length]--
		code = nextCode(code, length)
	}
}

// secondBits returns by how many bits a second table is to be indexed of which
// the first code has length bits, n of them before the table. counts are those
// of the codes that are left.
func secondBits(counts *lengthCounts, length, n uint) uint {
	left := 1 << (length - n)
	for {
		left -= int(counts[length])
		if left <= 0 {
			return length - n
		}
		length++
		left <<= 1
	}
}
