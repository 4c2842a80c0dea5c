package deflate

import "math/bits"

// The codes of a block, as tables: the next bits of the input are the index of
// the symbol that they begin with.
//
// A table is indexed by as many bits as the longest code has, up to
// maxLiteralBits or maxDistanceBits: that of a small message is small, and made
// fast. Where the codes that begin with these bits are longer, the entry leads
// to a second table, behind the first, for the bits that follow. The arrays
// have room for all tables of the least fortunate code.
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
	entrySpecial  entry = 1 << 15 // one of the next two, or no code at all
	entryEnd      entry = 1 << 14 // the end of the block
	entryIndirect entry = 1 << 13 // the value is where the second table begins
	entryPrevious entry = 1 << 12 // repeats the code length before, and not zero

	entryValueShift = 16 // of a literal, or the base of a length or a distance
	entryCodeShift  = 8
)

// takes is how many bits the code takes with its extra bits. Of an indirect
// entry, it is how many the first table is indexed by.
func (e entry) takes() uint { return uint(e) & 63 }

// codeBits is how many bits the code has. Of an indirect entry, it is how many
// the second table is indexed by.
func (e entry) codeBits() uint { return uint(e>>entryCodeShift) & 15 }

func (e entry) value() int { return int(e &^ entryLiteral >> entryValueShift) }

// literal is the value of a literal.
func (e entry) literal() uint8 { return uint8(e >> entryValueShift) }

// base is the value with the extra bits, where next begins with the code.
func (e entry) base(next uint64) int {
	return e.value() + int(uint32(next)&(1<<e.takes()-1)>>e.codeBits())
}

// second is where an indirect entry leads to, where next begins with the bits
// behind those that the first table is indexed by.
func (e entry) second(next uint64) int { return e.value() + int(next&(1<<e.codeBits()-1)) }

// with is e for a code of n bits.
func (e entry) with(n uint) entry { return e + entry(n)<<entryCodeShift + entry(n) }

// find returns the entry of the code that b begins with, from a table that is
// indexed by n bits, and b without what leads to a second table. If b has less
// than the entry takes, it may be that of another code.
func find(table []entry, n uint8, b bitBuffer) (entry, bitBuffer) {
	e := table[b.next&(1<<(n&63)-1)]
	if e&entryIndirect != 0 && e.takes() <= b.count {
		b = b.drop(e.takes())
		e = table[e.second(b.next)]
	}
	return e, b
}

// literalEntries and distanceEntries are the entries of all symbols, but for
// the bits of their codes. Symbols that stand for nothing are special.
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

// codeLengthEntries are the same for code lengths. A length is a literal; else
// the value, with the extra bits, is how many times one is repeated.
var codeLengthEntries = func() (entries [codeLengthSymbols]entry) {
	for i := range entries {
		entries[i] = entryLiteral | entry(i)<<entryValueShift
	}
	entries[repeatPrevious] = baseValue{3, 2}.entry() | entryPrevious
	entries[repeatZero] = baseValue{3, 3}.entry()
	entries[repeatZeroLonger] = baseValue{11, 7}.entry()
	return entries
}()

// lengthCounts says of how many codes each length is.
type lengthCounts [maxCodeLength + 1]uint16

// check reports whether a code can be made of the counts: one that gives every
// sequence of bits a meaning, and none two.
//
// "If only one distance code is used, it is encoded using one bit, not zero
// bits; in this case there is a single code length of one, with one unused
// code. One distance code of zero bits means that there are no distance codes
// used at all" (section 3.2.7). Other codes may have a single symbol, or none,
// as well.
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

// sort puts symbols in the order of their codes.
//
// "All codes of a given bit length have lexicographically consecutive values,
// in the same order as the symbols they represent; Shorter codes
// lexicographically precede longer codes." (section 3.2.2)
func (s *scratch) sort(lengths []codeLength, counts *lengthCounts) []codeLength {
	var next lengthCounts
	sum := uint16(0)
	for n, count := range counts {
		next[n] = sum
		sum += count
	}
	for _, l := range lengths {
		n := l.length()
		s.sorted[next[n]] = l
		next[n]++
	}
	return s.sorted[:sum]
}

// buildTable makes a table of the code that has the given lengths, in the order
// of their symbols, and returns by how many bits it is indexed, at most limit.
func (s *scratch) buildTable(table []entry, limit uint, lengths []codeLength, entries []entry) (uint8, error) {
	var counts lengthCounts
	for _, l := range lengths {
		counts[l.length()]++
	}
	if err := counts.check(); err != nil {
		return 0, err
	}
	table[0], table[1] = entrySpecial, entrySpecial
	if len(lengths) == 0 {
		return 0, nil
	}
	sorted := s.sort(lengths, &counts)

	// Bits are packed from the lowest, codes from their highest, so codes are
	// counted up backwards. A table for codes of n bits is the one for n-1
	// bits twice, with the codes of n bits written over what had no meaning.
	n := sorted[0].length()
	for code := uint(0); ; n++ {
		ofLength := sorted[:counts[n]]
		sorted = sorted[counts[n]:]
		for _, l := range ofLength {
			table[code] = entries[l.symbol()].with(n)
			code = nextCode(code, n)
		}
		switch {
		case len(sorted) == 0:
			return uint8(n), nil
		case n == limit:
			buildSecondTables(table, n, code, sorted, entries, &counts)
			return uint8(n), nil
		}
		copy(table[1<<n:2<<n], table[:1<<n])
	}
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

// buildSecondTables makes the second tables, for the codes that are longer than
// the n bits by which the first is indexed. The first of them is code.
func buildSecondTables(table []entry, n, code uint, sorted []codeLength, entries []entry, counts *lengthCounts) {
	begin, size := uint(1)<<n, uint(0)
	prefix := ^uint(0)
	for _, l := range sorted {
		length := l.length()
		if code&(1<<n-1) != prefix {
			prefix = code & (1<<n - 1)
			begin += size
			more := secondBits(counts, length, n)
			size = 1 << more
			table[prefix] = entrySpecial | entryIndirect | entry(begin)<<entryValueShift | entry(more)<<entryCodeShift | entry(n)
		}
		e := entries[l.symbol()].with(length - n)
		for i := code >> n; i < size; i += 1 << (length - n) {
			table[begin+i] = e
		}
		counts[length]--
		code = nextCode(code, length)
	}
}

// secondBits returns by how many bits a second table is indexed of which the
// first code has length bits, n of them before the table. counts are those of
// the codes that are left.
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
