package websocket

import (
	"bytes"
	"compress/flate"
	"io"
	"slices"
	"strings"
	"testing"
)

// A refInflater inflates the messages of one direction of a connection as RFC
// 1951 has it, bit by bit. It begins anew with each message's first byte, without
// a care for time or memory, and says what comes out of a part of one.
type refInflater struct {
	window   int
	takeover bool
	history  []byte
}

func newRefInflater(z *compression) *refInflater {
	return &refInflater{window: 1 << max(9, z.readBits), takeover: z.readTakeover}
}

// inflate returns what comes out of src, which is as much as has come of a message,
// or whole, and whether nothing is wrong with it.
func (z *refInflater) inflate(src []byte, whole bool) (data []byte, ok bool) {
	s := refStream{src: src, out: bytes.Clone(z.history), window: z.window}
	end := s.run()
	data = s.out[len(z.history):]
	return data, end == refMayEnd || end == refMore && !whole
}

// endMessage takes data, which is the message src, into the history.
func (z *refInflater) endMessage(t testing.TB, src, data []byte) {
	t.Helper()
	z.check(t, src, data)
	if z.takeover {
		z.history = append(z.history, data...)
		z.history = z.history[max(0, len(z.history)-1<<15):]
	}
}

// A refStream reads blocks until it panics with a refEnd.
type refStream struct {
	src    []byte
	at     int    // a bit of src
	out    []byte // behind what came before
	window int
	final  bool // the block under way, or the last one
}

type refEnd int

const (
	refMore    refEnd = iota // all of src was read, and there has to be more
	refMayEnd                // all of src was read, and it may be a message
	refCorrupt               // what was read cannot be
)

func (s *refStream) run() (end refEnd) {
	defer func() { end = recover().(refEnd) }()
	for {
		s.block()
	}
}

// left returns how many bits are left.
func (s *refStream) left() int { return 8*len(s.src) - s.at }

// align skips what is left of a byte, and must not be the end of the message if that is all.
func (s *refStream) align() {
	s.at = (s.at + 7) / 8 * 8
	if s.left() == 0 {
		panic(refMayEnd)
	}
}

// take reads a number of n bits.
func (s *refStream) take(n int) (v uint32) {
	if s.left() < n {
		panic(refMore)
	}
	for i := range n {
		v |= uint32(s.src[s.at/8]>>(s.at%8)&1) << i
		s.at++
	}
	return v
}

func (s *refStream) block() {
	if s.final {
		s.align()
	}
	header := s.take(3)
	s.final = header&1 != 0
	switch header >> 1 {
	case 0:
		s.stored()
	case 1:
		s.symbols(refFixed())
	case 2:
		s.symbols(s.codes())
	default:
		panic(refCorrupt)
	}
}

func (s *refStream) stored() {
	s.align()
	lengths := s.take(32)
	if lengths>>16 != ^lengths&0xFFFF {
		panic(refCorrupt)
	}
	for range lengths & 0xFFFF {
		s.out = append(s.out, byte(s.take(8)))
	}
}

// symbols reads literals and matches up to the end of the block.
func (s *refStream) symbols(literals, distances refCode) {
	for {
		symbol := literals.read(s)
		switch {
		case symbol < 256:
			s.out = append(s.out, byte(symbol))
			continue
		case symbol == 256:
			return
		case symbol > 285:
			panic(refCorrupt)
		}
		length := s.length(symbol - 257)
		symbol = distances.read(s)
		if symbol > 29 {
			panic(refCorrupt)
		}
		distance := s.distance(symbol)
		if distance > min(s.window, len(s.out)) {
			panic(refCorrupt)
		}
		for range length {
			s.out = append(s.out, s.out[len(s.out)-distance])
		}
	}
}

func (s *refStream) length(symbol int) int {
	switch {
	case symbol < 8:
		return 3 + symbol
	case symbol == 28:
		return 258
	}
	extra := symbol/4 - 1
	return 3 + (4+symbol%4)<<extra + int(s.take(extra))
}

func (s *refStream) distance(symbol int) int {
	if symbol < 4 {
		return 1 + symbol
	}
	extra := symbol/2 - 1
	return 1 + (2+symbol%2)<<extra + int(s.take(extra))
}

// codes reads the codes that a block begins with.
func (s *refStream) codes() (literals, distances refCode) {
	counts := int(s.take(14))
	n, m := 257+counts&31, 1+counts>>5&31
	if n > 286 || m > 30 {
		panic(refCorrupt)
	}
	var lengths [19]int
	for _, symbol := range []int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}[:4+counts>>10] {
		lengths[symbol] = int(s.take(3))
	}
	all := s.codeLengths(newRefCode(lengths[:]), n+m)
	if all[256] == 0 {
		panic(refCorrupt)
	}
	return newRefCode(all[:n]), newRefCode(all[n:])
}

// codeLengths reads n lengths of codes.
func (s *refStream) codeLengths(code refCode, n int) (lengths []int) {
	for len(lengths) < n {
		symbol := code.read(s)
		repeated, times := 0, 1
		switch symbol {
		case 16:
			times = 3 + int(s.take(2))
			if len(lengths) == 0 {
				panic(refCorrupt)
			}
			repeated = lengths[len(lengths)-1]
		case 17:
			times = 3 + int(s.take(3))
		case 18:
			times = 11 + int(s.take(7))
		default:
			repeated = symbol
		}
		lengths = append(lengths, slices.Repeat([]int{repeated}, times)...)
	}
	if len(lengths) > n {
		panic(refCorrupt)
	}
	return lengths
}

// A refCode has, for each length of a code, the symbols whose codes have it.
type refCode struct {
	symbols [16][]int
	longest int
}

func newRefCode(lengths []int) (c refCode) {
	all, used := 0, 0
	for symbol, n := range lengths {
		if n > 0 {
			c.symbols[n] = append(c.symbols[n], symbol)
			c.longest = max(c.longest, n)
			all++
			used += 1 << (15 - n)
		}
	}
	if used != 1<<15 && all > 0 && !(all == 1 && c.longest == 1) {
		panic(refCorrupt)
	}
	return c
}

func refFixed() (literals, distances refCode) {
	lengths := slices.Concat(slices.Repeat([]int{8}, 144), slices.Repeat([]int{9}, 112),
		slices.Repeat([]int{7}, 24), slices.Repeat([]int{8}, 8))
	return newRefCode(lengths), newRefCode(slices.Repeat([]int{5}, 32))
}

// read reads a code, which begins with its most significant bit.
func (c *refCode) read(s *refStream) (symbol int) {
	code := 0
	for n := 1; n <= c.longest; n++ {
		code = code<<1 | int(s.take(1))
		if code < len(c.symbols[n]) {
			return c.symbols[n][code]
		}
		code -= len(c.symbols[n])
	}
	panic(refCorrupt)
}

// check compares what the reference makes of src, a message, with what
// compress/flate does, up to the first block with BFINAL set.
func (z *refInflater) check(t testing.TB, src, data []byte) {
	t.Helper()
	r := io.MultiReader(bytes.NewReader(src), strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff"))
	got, err := io.ReadAll(flate.NewReaderDict(r, z.history))
	if err != nil || !bytes.HasPrefix(data, got) {
		t.Fatalf("% x after % x: compress/flate says % x, %v, the reference % x", src, z.history, got, err, data)
	}
}
