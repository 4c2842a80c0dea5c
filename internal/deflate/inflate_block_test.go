package deflate

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// A bitString is compressed data, bit by bit: a row of 0 and 1 in the order in
// which they are sent.
type bitString []byte

// bits appends bits, with spaces where they make it easier to read. The bits of
// a code stand in the order of RFC 1951: the highest first.
func (b *bitString) bits(bits string) { *b = append(*b, strings.ReplaceAll(bits, " ", "")...) }

// number appends the n bits of a number.
func (b *bitString) number(v, n int) {
	for i := range n {
		*b = append(*b, "01"[v>>i&1])
	}
}

func (b *bitString) align() {
	for len(*b)%8 != 0 {
		*b = append(*b, '0')
	}
}

// bytes returns b, with zeros up to the next byte.
func (b bitString) bytes() []byte {
	p := make([]byte, (len(b)+7)/8)
	for i, bit := range b {
		p[i/8] |= (bit - '0') << (i % 8)
	}
	return p
}

func (b *bitString) header(final bool, blockType int) {
	b.bits(map[bool]string{false: "0", true: "1"}[final])
	b.number(blockType, 2)
}

// end appends the header of the empty block that ends a message.
func (b *bitString) end() {
	b.header(false, blockStored)
	b.align()
}

func (b *bitString) stored(final bool, p []byte) {
	b.header(final, blockStored)
	b.align()
	b.number(len(p), 16)
	b.number(^len(p), 16)
	for _, c := range p {
		b.number(int(c), 8)
	}
}

// appendStored appends p in stored blocks, at the boundary of a byte.
func appendStored(b, p []byte) []byte {
	for len(p) > 0 {
		n := min(len(p), 0xFFFF)
		b = append(b, 0, byte(n), byte(n>>8), byte(^n), byte(^n>>8))
		b = append(b, p[:n]...)
		p = p[n:]
	}
	return b
}

// fixedSymbol appends the code of a literal or length, as the table of section
// 3.2.6 has it.
func (b *bitString) fixedSymbol(symbol int) {
	switch {
	case symbol <= 143:
		b.bits(digits(0b00110000+symbol, 8))
	case symbol <= 255:
		b.bits(digits(0b110010000+symbol-144, 9))
	case symbol <= 279:
		b.bits(digits(symbol-256, 7))
	default:
		b.bits(digits(0b11000000+symbol-280, 8))
	}
}

// digits returns the n bits of v, the highest first.
func digits(v, n int) string {
	bits := make([]byte, n)
	for i := range bits {
		bits[i] = "01"[v>>(n-1-i)&1]
	}
	return string(bits)
}

func (b *bitString) fixedMatch(length, distance int) {
	symbol, extra, bits := valueSymbol(lengthValues[:], length)
	b.fixedSymbol(firstLength + symbol)
	b.number(extra, bits)
	b.fixedDistance(distance)
}

func (b *bitString) fixedDistance(distance int) {
	symbol, extra, bits := valueSymbol(distanceValues[:], distance)
	b.bits(digits(symbol, 5))
	b.number(extra, bits)
}

// valueSymbol returns the last symbol that v can be written with, and
// the extra bits.
func valueSymbol(values []baseValue, v int) (symbol, extra, bits int) {
	for symbol = len(values) - 1; int(values[symbol].base) > v; symbol-- {
	}
	if extra = v - int(values[symbol].base); extra >= 1<<values[symbol].extra {
		panic("no symbol stands for the value")
	}
	return symbol, extra, int(values[symbol].extra)
}

// flatCodeLengths are the lengths of a complete code for code lengths in which
// all symbols have one.
func flatCodeLengths() map[int]int {
	lengths := make(map[int]int)
	for i := range codeLengthSymbols {
		lengths[i] = 4
		if i >= 13 {
			lengths[i] = 5
		}
	}
	return lengths
}

// codesOf makes the code of the given lengths (section 3.2.2).
func codesOf(lengths map[int]int) map[int]string {
	codes, code := make(map[int]string), 0
	for n := 1; n <= 15; n++ {
		code <<= 1
		for symbol := range 288 {
			if lengths[symbol] == n {
				codes[symbol] = digits(code, n)
				code++
			}
		}
	}
	return codes
}

// counts appends the header of a block with codes of its own, as far as the
// lengths of the codes for code lengths.
func (b *bitString) counts(hlit, hdist int, codeLengths map[int]int) {
	b.header(false, blockDynamic)
	b.number(hlit-257, 5)
	b.number(hdist-1, 5)
	b.number(codeLengthSymbols-4, 4)
	for _, symbol := range codeLengthOrder {
		b.number(codeLengths[int(symbol)], 3)
	}
}

// dynamic appends the header of a block with the given lengths of codes, as
// many as there can be.
func (b *bitString) dynamic(literals, distances map[int]int) {
	b.counts(literalLengthSymbols, distanceSymbols, flatCodeLengths())
	codes := codesOf(flatCodeLengths())
	for i := range literalLengthSymbols {
		b.bits(codes[literals[i]])
	}
	for i := range distanceSymbols {
		b.bits(codes[distances[i]])
	}
}

// blockTests are blocks at the edges of what RFC 1951 allows, each in the
// middle of a message.
var blockTests = []struct {
	name  string
	block func(b *bitString)
	want  string
	err   error
}{{
	name:  "3.2.3 reserved block type",
	block: func(b *bitString) { b.header(false, 3) },
	err:   errBlockType,
}, {
	name:  "3.2.4 empty stored block",
	block: func(b *bitString) { b.stored(false, nil) },
}, {
	name:  "3.2.4 longest stored block",
	block: func(b *bitString) { b.stored(false, []byte(strings.Repeat("stored ", 9363)[:65535])) },
	want:  strings.Repeat("stored ", 9363)[:65535],
}, {
	name: "3.2.4 stored block not at a byte",
	block: func(b *bitString) {
		b.header(false, blockFixed)
		b.fixedSymbol('x')
		b.fixedSymbol(endOfBlock)
		b.stored(false, []byte("yz"))
	},
	want: "xyz",
}, {
	name: "3.2.4 length is not the complement's",
	block: func(b *bitString) {
		b.header(false, blockStored)
		b.align()
		b.number(5, 16)
		b.number(^5^1<<15, 16)
	},
	err: errStoredLength,
}, {
	name: "3.2.5 all literals",
	block: func(b *bitString) {
		b.header(false, blockFixed)
		for c := range 256 {
			b.fixedSymbol(c)
		}
		b.fixedSymbol(endOfBlock)
	},
	want: allBytes(),
}, {
	name: "3.2.5 all lengths",
	block: func(b *bitString) {
		b.header(false, blockFixed)
		b.fixedSymbol('a')
		b.fixedSymbol('b')
		for n := minMatch; n <= maxMatch; n++ {
			b.fixedMatch(n, 2)
		}
		b.fixedSymbol(endOfBlock)
	},
	want: strings.Repeat("ab", 1+(3+258)*256/4)[:2+(3+258)*256/2],
}, {
	name: "3.2.5 length 258 as 227+31",
	block: func(b *bitString) {
		b.header(false, blockFixed)
		b.fixedSymbol('a')
		b.fixedSymbol(284)
		b.number(31, 5)
		b.fixedDistance(1)
		b.fixedSymbol(endOfBlock)
	},
	want: strings.Repeat("a", 259),
}, {
	name:  "3.2.6 length symbol 286",
	block: func(b *bitString) { b.header(false, blockFixed); b.fixedSymbol('a'); b.fixedSymbol(286) },
	want:  "a",
	err:   errSymbol,
}, {
	name:  "3.2.6 length symbol 287",
	block: func(b *bitString) { b.header(false, blockFixed); b.fixedSymbol('a'); b.fixedSymbol(287) },
	want:  "a",
	err:   errSymbol,
}, {
	name: "3.2.6 distance symbol 30",
	block: func(b *bitString) {
		b.header(false, blockFixed)
		b.fixedSymbol('a')
		b.fixedSymbol(firstLength)
		b.bits("11110")
	},
	want: "a",
	err:  errSymbol,
}, {
	name: "3.2.6 distance symbol 31",
	block: func(b *bitString) {
		b.header(false, blockFixed)
		b.fixedSymbol('a')
		b.fixedSymbol(firstLength)
		b.bits("11111")
	},
	want: "a",
	err:  errSymbol,
}, {
	name: "3.2.5 distance to the first byte",
	block: func(b *bitString) {
		b.header(false, blockFixed)
		b.fixedSymbol('a')
		b.fixedSymbol('b')
		b.fixedMatch(3, 2)
		b.fixedSymbol(endOfBlock)
	},
	want: "ababa",
}, {
	name: "3.2.5 distance to before the first byte",
	block: func(b *bitString) {
		b.header(false, blockFixed)
		b.fixedSymbol('a')
		b.fixedSymbol('b')
		b.fixedMatch(3, 3)
		b.fixedSymbol(endOfBlock)
	},
	want: "ab",
	err:  errDistance,
}, {
	name:  "3.2.5 distance before the first byte at once",
	block: func(b *bitString) { b.header(false, blockFixed); b.fixedMatch(258, 1) },
	err:   errDistance,
}, {
	name:  "3.2.7 end of the block is the only symbol",
	block: func(b *bitString) { b.dynamic(map[int]int{endOfBlock: 1}, nil); b.bits("0") },
}, {
	name:  "3.2.7 other bit where there is one symbol",
	block: func(b *bitString) { b.dynamic(map[int]int{endOfBlock: 1}, nil); b.bits("1") },
	err:   errSymbol,
}, {
	name:  "3.2.7 one symbol of two bits",
	block: func(b *bitString) { b.dynamic(map[int]int{endOfBlock: 2}, nil) },
	err:   errCode,
}, {
	name:  "3.2.7 no code for the end of the block",
	block: func(b *bitString) { b.dynamic(map[int]int{'a': 1, 'b': 1}, nil) },
	err:   errNoEndOfBlock,
}, {
	name:  "3.2.7 no code for anything",
	block: func(b *bitString) { b.dynamic(nil, nil) },
	err:   errNoEndOfBlock,
}, {
	name: "3.2.7 no distance codes",
	block: func(b *bitString) {
		b.dynamic(map[int]int{'a': 1, endOfBlock: 1}, nil)
		b.bits("0 0 1")
	},
	want: "aa",
}, {
	name: "3.2.7 length where there are no distance codes",
	block: func(b *bitString) {
		b.dynamic(map[int]int{'a': 1, endOfBlock: 2, firstLength: 2}, nil)
		b.bits("0 11 0")
	},
	want: "a",
	err:  errSymbol,
}, {
	name: "3.2.7 one distance code of one bit",
	block: func(b *bitString) {
		b.dynamic(map[int]int{'a': 1, endOfBlock: 2, firstLength: 2}, map[int]int{0: 1})
		b.bits("0 11 0 10")
	},
	want: "aaaa",
}, {
	name: "3.2.7 the unused code besides it",
	block: func(b *bitString) {
		b.dynamic(map[int]int{'a': 1, endOfBlock: 2, firstLength: 2}, map[int]int{0: 1})
		b.bits("0 11 1 10")
	},
	want: "a",
	err:  errSymbol,
}, {
	name:  "3.2.7 one distance code of two bits",
	block: func(b *bitString) { b.dynamic(map[int]int{'a': 1, endOfBlock: 1}, map[int]int{0: 2}) },
	err:   errCode,
}, {
	name:  "3.2.7 distance codes are incomplete",
	block: func(b *bitString) { b.dynamic(map[int]int{'a': 1, endOfBlock: 1}, map[int]int{0: 1, 1: 2}) },
	err:   errCode,
}, {
	name:  "3.2.7 too many distance codes",
	block: func(b *bitString) { b.dynamic(map[int]int{'a': 1, endOfBlock: 1}, map[int]int{0: 1, 1: 1, 2: 1}) },
	err:   errCode,
}, {
	name:  "3.2.7 literal codes are incomplete",
	block: func(b *bitString) { b.dynamic(map[int]int{'a': 1, 'b': 15, endOfBlock: 2}, nil) },
	err:   errCode,
}, {
	name:  "3.2.7 too many literal codes",
	block: func(b *bitString) { b.dynamic(map[int]int{'a': 1, 'b': 15, endOfBlock: 1}, nil) },
	err:   errCode,
}, {
	name:  "3.2.7 all codes of one bit",
	block: func(b *bitString) { b.dynamic(allOf(literalLengthSymbols, 1), allOf(distanceSymbols, 1)) },
	err:   errCode,
}, {
	name: "3.2.7 codes of all lengths",
	block: func(b *bitString) {
		b.dynamic(longCode('A'), longCode(0))
		codes := codesOf(longCode('A'))
		for c := 'A'; c < 'A'+15; c++ {
			b.bits(codes[int(c)])
		}
		b.bits(codes[endOfBlock])
	},
	want: "ABCDEFGHIJKLMNO",
}, {
	name: "3.2.7 the longest length and distance",
	block: func(b *bitString) {
		literals := map[int]int{'a': 1, 284: 15, endOfBlock: 15}
		for i := 2; i <= 14; i++ {
			literals['a'+i] = i
		}
		distances := map[int]int{29: 15, 28: 15}
		for i := 1; i <= 14; i++ {
			distances[i] = i
		}
		b.stored(false, []byte(strings.Repeat("0123456789abcdef", 2048)))
		b.dynamic(literals, distances)
		for range 30 {
			b.bits("111111111111111 01111 111111111111111 1111111111111")
		}
		b.bits("111111111111110")
	},
	want: strings.Repeat("0123456789abcdef", 2048+30*257/16+1)[:32768+30*257],
}, {
	name:  "3.2.7 codes for code lengths are incomplete",
	block: func(b *bitString) { b.counts(257, 1, map[int]int{0: 1, 1: 2}) },
	err:   errCode,
}, {
	name:  "3.2.7 too many codes for code lengths",
	block: func(b *bitString) { b.counts(257, 1, map[int]int{0: 1, 1: 1, 18: 7}) },
	err:   errCode,
}, {
	name: "3.2.7 no codes for code lengths",
	block: func(b *bitString) {
		b.counts(257, 1, nil)
		b.bits("0000000")
	},
	err: errSymbol,
}, {
	name: "3.2.7 one code for code lengths, and the other bit",
	block: func(b *bitString) {
		b.counts(257, 1, map[int]int{0: 1})
		b.bits("0001")
	},
	err: errSymbol,
}, {
	name: "3.2.7 HLIT of 286",
	block: func(b *bitString) {
		b.codeLengths(286, 1, "18+127", "18+107", "1", "18+17", "1", "0")
		b.bits("0")
	},
}, {
	name:  "3.2.7 HLIT of 287",
	block: func(b *bitString) { b.counts(287, 30, flatCodeLengths()) },
	err:   errCodeCounts,
}, {
	name:  "3.2.7 HLIT of 288",
	block: func(b *bitString) { b.counts(288, 1, flatCodeLengths()) },
	err:   errCodeCounts,
}, {
	name:  "3.2.7 HDIST of 31",
	block: func(b *bitString) { b.counts(257, 31, flatCodeLengths()) },
	err:   errCodeCounts,
}, {
	name:  "3.2.7 HDIST of 32",
	block: func(b *bitString) { b.counts(286, 32, flatCodeLengths()) },
	err:   errCodeCounts,
}, {
	name:  "3.2.7 first length repeats the one before",
	block: func(b *bitString) { b.codeLengths(257, 1, "16+0") },
	err:   errNothingBefore,
}, {
	name: "3.2.7 repeats up to the last length",
	block: func(b *bitString) {
		b.codeLengths(257, 30, "1", "18+127", "18+106", "1", "18+19")
		b.bits("0 0 1")
	},
	want: "\x00\x00",
}, {
	name:  "3.2.7 zeros repeated beyond the last length",
	block: func(b *bitString) { b.codeLengths(257, 30, "1", "18+127", "18+106", "1", "18+20") },
	err:   errRepeat,
}, {
	name:  "3.2.7 few zeros repeated beyond the last length",
	block: func(b *bitString) { b.codeLengths(257, 2, "1", "18+127", "18+106", "1", "17+0") },
	err:   errRepeat,
}, {
	name:  "3.2.7 length repeated beyond the last",
	block: func(b *bitString) { b.codeLengths(257, 4, "1", "18+127", "18+106", "1", "2", "2", "16+0") },
	err:   errRepeat,
}, {
	name: "3.2.7 zeros, and then as the one before",
	block: func(b *bitString) {
		b.codeLengths(257, 1, "1", "18+127", "18+100", "16+3", "1", "0")
		b.bits("0 1")
	},
	want: "\x00",
}, {
	name: "3.2.7 few zeros, and then as the one before",
	block: func(b *bitString) {
		b.codeLengths(257, 1, "1", "18+127", "18+97", "17+0", "16+3", "1", "0")
		b.bits("0 1")
	},
	want: "\x00",
}, {
	name: "3.2.7 repeats from the literals to the distances",
	block: func(b *bitString) {
		// Symbol 0 of one bit, 254 and the end of the block of two; distances 1
		// to 4 of two bits.
		b.codeLengths(257, 4, "1", "18+127", "18+104", "2", "0", "2", "16+1")
		b.bits("0 10 11")
	},
	want: "\x00\xFE",
}, {
	name: "3.2.7 zeros from the literals to the distances",
	block: func(b *bitString) {
		b.codeLengths(260, 2, "1", "18+127", "18+106", "1", "17+2")
		b.bits("0 1")
	},
	want: "\x00",
}}

// codeLengths appends the header of a block whose code lengths are sent as the
// given symbols, with "+extra" for the extra bits.
func (b *bitString) codeLengths(hlit, hdist int, symbols ...string) {
	b.counts(hlit, hdist, flatCodeLengths())
	codes := codesOf(flatCodeLengths())
	for _, s := range symbols {
		symbol, extra, _ := strings.Cut(s, "+")
		b.bits(codes[atoi(symbol)])
		b.number(atoi(extra), map[string]int{"16": 2, "17": 3, "18": 7}[symbol])
	}
}

func atoi(s string) (n int) {
	for _, c := range s {
		n = 10*n + int(c-'0')
	}
	return n
}

func allBytes() string {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return string(b)
}

// allOf returns lengths of codes that are all n.
func allOf(symbols, n int) map[int]int {
	lengths := make(map[int]int)
	for i := range symbols {
		lengths[i] = n
	}
	return lengths
}

// longCode returns the lengths 1 to 15 for the symbols from first, and 15 for
// the end of the block, or the symbol behind them if they are distances.
func longCode(first int) map[int]int {
	lengths := make(map[int]int)
	for i := range 15 {
		lengths[first+i] = i + 1
	}
	if first == 0 {
		lengths[15] = 15
	} else {
		lengths[endOfBlock] = 15
	}
	return lengths
}

// blockMessage returns a message that is the block, and something behind it if
// it is a valid one.
func blockMessage(block func(b *bitString), valid bool) []byte {
	var b bitString
	block(&b)
	if valid {
		b.header(false, blockFixed)
		b.fixedSymbol('.')
		b.fixedSymbol(endOfBlock)
		b.end()
	}
	return b.bytes()
}

func TestInflateBlocks(t *testing.T) {
	for _, test := range blockTests {
		want := test.want
		message := blockMessage(test.block, test.err == nil)
		if test.err == nil {
			want += "."
		}
		for _, c := range choppings {
			// What is wrong is wrong at the end, and where there is enough
			// behind it to look at more than a byte at a time.
			for _, behind := range []int{0, 25} {
				if test.err == nil && behind > 0 {
					continue
				}
				got, err := c.inflate(t, NewInflater(MaxWindowBits, false), append(message, make([]byte, behind)...))
				if err != test.err || string(got) != want {
					t.Errorf("%s, %s: got %s, error %v, want %s, error %v",
						test.name, c.name, brief(got), err, brief([]byte(want)), test.err)
				}
				if err != nil && !errors.Is(err, ErrCorrupt) {
					t.Errorf("%s: error %v is not %v", test.name, err, ErrCorrupt)
				}
			}
		}
	}
}

// The tables have room for any complete code.
func TestTablesAreLargeEnough(t *testing.T) {
	for _, test := range []struct {
		name           string
		symbols, first int
		room           int
	}{
		{"literals", 288, maxLiteralBits, len(codes{}.literals)},
		{"distances", 32, maxDistanceBits, len(codes{}.distances)},
	} {
		w := worstTable{first: test.first, known: make(map[[3]int]int)}
		if got := w.size(test.symbols); got > test.room {
			t.Errorf("%s: a table may have %d entries, there is room for %d", test.name, got, test.room)
		}
	}
}

// A worstTable finds the complete code that takes the largest table.
type worstTable struct {
	first int // bits that index the first table
	known map[[3]int]int
}

// size returns the largest table for a code of so many symbols, or less.
func (w *worstTable) size(symbols int) int {
	// After the codes of up to first bits, any number of prefixes of first bits
	// are left for longer codes, as long as there are symbols for them.
	largest := 0
	for prefixes := 0; 2*prefixes <= symbols && prefixes <= 1<<w.first; prefixes++ {
		shorter := 0 // the fewest codes that take the rest
		for rest := 1<<w.first - prefixes; rest > 0; rest &= rest - 1 {
			shorter++
		}
		if prefixes == 0 || shorter+2*prefixes > symbols {
			continue
		}
		largest = max(largest, 1<<w.first+w.seconds(symbols-shorter, prefixes))
	}
	return largest
}

// seconds returns the most entries of second tables for codes that begin with
// the given number of prefixes, with up to so many symbols. The prefixes are
// served in order, and so the codes only get longer: shortest is the length
// behind the prefix below which no code may be.
func (w *worstTable) seconds(symbols, prefixes int) int { return w.from(symbols, prefixes, 1) }

func (w *worstTable) from(symbols, prefixes, shortest int) int {
	if prefixes == 0 {
		return 0
	}
	key := [3]int{symbols, prefixes, shortest}
	if n, ok := w.known[key]; ok {
		return n
	}
	largest := -1 << 30
	for bits := shortest; bits <= maxCodeLength-w.first; bits++ {
		// A table of so many bits whose codes are the fewest: one of each
		// length from shortest up, two of the longest.
		for begin := shortest; begin <= bits; begin++ {
			codes := tableCodes(begin, bits)
			if codes <= symbols {
				largest = max(largest, 1<<bits+w.from(symbols-codes, prefixes-1, bits))
			}
		}
	}
	w.known[key] = largest
	return largest
}

// tableCodes returns the fewest codes of lengths from shortest to longest that
// make a complete code with at least one of the longest.
func tableCodes(shortest, longest int) int {
	if shortest == longest {
		return 1 << longest
	}
	return 1<<shortest - 1 + longest - shortest + 1
}

// Codes of all shapes: what is written with them is read.
func TestInflateRandomCodes(t *testing.T) {
	r := corpusRand(7)
	history := randomMessage(1 << MaxWindowBits)
	for range 100 {
		literals := randomCode(r.IntN, 2+r.IntN(285), literalLengthSymbols, endOfBlock)
		distances := randomCode(r.IntN, 2+r.IntN(28), distanceSymbols, 0)
		var b bitString
		b.dynamic(literals, distances)
		want := slices.Clip(history)
		literalCodes, distanceCodes := codesOf(literals), codesOf(distances)
		symbols := sortedKeys(literals)
		distanceSymbols := sortedKeys(distances)
		for range 500 {
			symbol := symbols[r.IntN(len(symbols))]
			if symbol == endOfBlock {
				continue
			}
			b.bits(literalCodes[symbol])
			if symbol < endOfBlock {
				want = append(want, byte(symbol))
				continue
			}
			length, distance := lengthValues[symbol-firstLength], distanceSymbols[r.IntN(len(distanceSymbols))]
			n, d := int(length.base), int(distanceValues[distance].base)
			extra := r.IntN(1 << length.extra)
			b.number(extra, int(length.extra))
			n += extra
			b.bits(distanceCodes[distance])
			extra = r.IntN(1 << distanceValues[distance].extra)
			b.number(extra, int(distanceValues[distance].extra))
			d += extra
			for range n {
				want = append(want, want[len(want)-d])
			}
		}
		b.bits(literalCodes[endOfBlock])
		b.end()
		c := choppings[r.IntN(len(choppings))]
		got, err := c.inflate(t, NewInflater(MaxWindowBits, false), append(appendStored(nil, history), b.bytes()...))
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("%s: got %d bytes, error %v, want %d; codes %v, %v", c.name, len(got), err, len(want), literals, distances)
		}
	}
}

func sortedKeys(m map[int]int) []int {
	keys := make([]int, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// randomCode returns the lengths of a complete code of n symbols out of so
// many, which includes one of them. Codes are split until there are enough.
func randomCode(intN func(int) int, n, symbols, included int) map[int]int {
	lengths := []int{1, 1}
	for len(lengths) < n {
		i := intN(len(lengths))
		if intN(3) > 0 {
			i = len(lengths) - 1
		}
		if lengths[i] == maxCodeLength {
			i = slices.Index(lengths, slices.Min(lengths))
		}
		lengths[i]++
		lengths = append(lengths, lengths[i])
	}
	code := map[int]int{included: lengths[0]}
	for _, length := range lengths[1:] {
		symbol := intN(symbols)
		for code[symbol] != 0 {
			symbol = (symbol + 1) % symbols
		}
		code[symbol] = length
	}
	return code
}
