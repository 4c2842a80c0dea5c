package deflate

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// A strictInflater reads what an Encoder wrote. It is slow, and accepts nothing
// that an Encoder need not write. What came out of it since the beginning of the
// stream is there for distances to go back to, but no farther than the window.
type strictInflater struct {
	windowSize int
	out        []byte
	farthest   int    // the largest distance
	blocks     [3]int // how many, by type

	in  []byte
	bit int // of all of in, the next
}

// inflate returns what src stands for, which is a message, or a part of one that is not the last and
// lacks the 00 00 FF FF at the end.
func (z *strictInflater) inflate(src []byte) (out []byte, err error) {
	defer func() {
		if problem := recover(); problem != nil {
			out, err = nil, fmt.Errorf("at bit %d of %d bytes: %v", z.bit, len(src), problem)
		}
	}()
	start, empty := len(z.out), false
	z.in, z.bit = append(slices.Clip(src), tail...), 0
	for z.bit < 8*len(z.in) {
		empty = z.block() == blockStored && z.bit == 8*len(z.in) && string(z.in[len(z.in)-4:]) == tail
	}
	if !empty {
		panic("the last block is no empty stored one")
	}
	return z.out[start:], nil
}

// block reads a block, and returns its type.
func (z *strictInflater) block() int {
	if z.bits(1) != 0 {
		panic("BFINAL is set")
	}
	blockType := z.bits(2)
	switch blockType {
	case blockStored:
		z.stored()
	case blockFixed:
		z.symbols(fixedStrictCodes())
	case blockDynamic:
		z.symbols(z.codes())
	default:
		panic("reserved type of block")
	}
	z.blocks[blockType]++
	return blockType
}

func (z *strictInflater) stored() {
	if z.bits((8-z.bit%8)%8) != 0 {
		panic("bits between the header and the length are not zero")
	}
	b := z.in[z.bit/8:]
	n := binary.LittleEndian.Uint16(b)
	if n != ^binary.LittleEndian.Uint16(b[2:]) {
		panic("length of a stored block is not that of its complement")
	}
	z.out = append(z.out, b[4:4+int(n)]...)
	z.bit += 8 * (4 + int(n))
}

func (z *strictInflater) symbols(literals, distances strictCode) {
	for {
		symbol := z.symbol(literals)
		switch {
		case symbol < endOfBlock:
			z.out = append(z.out, byte(symbol))
		case symbol == endOfBlock:
			return
		default:
			length := z.value(lengthValues[symbol-firstLength])
			distance := z.value(distanceValues[z.symbol(distances)])
			z.match(length, distance)
		}
	}
}

func (z *strictInflater) match(length, distance int) {
	if distance > min(z.windowSize, len(z.out)) {
		panic(fmt.Sprintf("distance of %d with %d bytes before it and a window of %d", distance, len(z.out), z.windowSize))
	}
	z.farthest = max(z.farthest, distance)
	for range length {
		z.out = append(z.out, z.out[len(z.out)-distance])
	}
}

// codes reads the codes of a dynamic block.
func (z *strictInflater) codes() (literals, distances strictCode) {
	hlit, hdist, hclen := 257+z.bits(5), 1+z.bits(5), 4+z.bits(4)
	if hlit > literalLengthSymbols || hdist > distanceSymbols {
		panic("codes of symbols that there are not")
	}
	codeLengths := make([]int, codeLengthSymbols)
	for _, symbol := range codeLengthOrder[:hclen] {
		codeLengths[symbol] = z.bits(3)
	}
	code := newStrictCode(codeLengths)
	var lengths []int
	for len(lengths) < hlit+hdist {
		repeated, n := 0, 1
		switch symbol := z.symbol(code); symbol {
		case repeatPrevious:
			repeated, n = lengths[len(lengths)-1], 3+z.bits(2)
		case repeatZero:
			n = 3 + z.bits(3)
		case repeatZeroLonger:
			n = 11 + z.bits(7)
		default:
			repeated = symbol
		}
		lengths = append(lengths, slices.Repeat([]int{repeated}, n)...)
	}
	if len(lengths) > hlit+hdist || lengths[endOfBlock] == 0 {
		panic("code lengths")
	}
	return newStrictCode(lengths[:hlit]), newStrictCode(lengths[hlit:])
}

func (z *strictInflater) value(v baseValue) int { return int(v.base) + z.bits(int(v.extra)) }

// bits reads n bits, the first of which is the lowest.
func (z *strictInflater) bits(n int) (v int) {
	for i := range n {
		v |= int(z.in[z.bit/8]>>(z.bit%8)&1) << i
		z.bit++
	}
	return v
}

// A strictCode has the symbols of a Huffman code by the lengths of their codes.
type strictCode [maxCodeLength + 1][]int

// newStrictCode returns the code with the given lengths, which is complete, or has
// at most one symbol, whose code is 0.
func newStrictCode(lengths []int) (code strictCode) {
	free := 1 << maxCodeLength
	n := 0
	for symbol, length := range lengths {
		if length > 0 {
			code[length] = append(code[length], symbol)
			free -= 1 << (maxCodeLength - length)
			n++
		}
	}
	if free != 0 && n > 1 || n == 1 && len(code[1]) == 0 {
		panic("lengths of codes that are not complete")
	}
	return code
}

func fixedStrictCodes() (literals, distances strictCode) {
	lengths := slices.Concat(slices.Repeat([]int{8}, 144), slices.Repeat([]int{9}, 112),
		slices.Repeat([]int{7}, 24), slices.Repeat([]int{8}, 8))
	return newStrictCode(lengths), newStrictCode(slices.Repeat([]int{5}, 32))
}

// symbol reads a symbol (section 3.2.2).
func (z *strictInflater) symbol(code strictCode) int {
	first, v := 0, 0 // the first code of the length, and the one that is read
	for _, symbols := range code[1:] {
		first, v = first<<1, v<<1|z.bits(1)
		if v-first < len(symbols) {
			return symbols[v-first]
		}
		first += len(symbols)
	}
	panic("code that stands for nothing")
}
