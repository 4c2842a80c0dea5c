package websocket

import "encoding/binary"

// A utf8State is how far text that arrives in pieces has come (section 8.1).
// Its zero value is the beginning.
//
// It is a state of the automaton that recognizes the UTF-8 of RFC 3629, section
// 4, given as the place of its bits in a row of utf8Table: the row of a byte
// holds, at each state's place, the state that follows. A step is a load and a
// shift, without a branch, so that it takes the same time for all texts.
type utf8State uint8

// The states. Each but the first two is named for the bytes that must come
// next.
const (
	utf8Accept  utf8State = 6 * iota // at the end of a character
	utf8Reject                       // what came can't be, or become, UTF-8
	utf8Tail1                        // one more of 80..BF
	utf8Tail2                        // two more
	utf8Tail3                        // three more
	utf8AfterE0                      // A0..BF, then one: no overlong form
	utf8AfterED                      // 80..9F, then one: no surrogate
	utf8AfterF0                      // 90..BF, then two: no overlong form
	utf8AfterF4                      // 80..8F, then two: nothing beyond U+10FFFF
)

// utf8Table has a row of nine states, six bits each, for each byte.
var utf8Table = func() (table [256]uint64) {
	for b := range table {
		for s := utf8Accept; s <= utf8AfterF4; s += 6 {
			table[b] |= uint64(utf8Next(s, byte(b))) << s
		}
	}
	return table
}()

// utf8Next returns the state after b in state s.
//
//	UTF8-1 = %x00-7F
//	UTF8-2 = %xC2-DF UTF8-tail
//	UTF8-3 = %xE0 %xA0-BF UTF8-tail / %xE1-EC 2( UTF8-tail ) /
//	         %xED %x80-9F UTF8-tail / %xEE-EF 2( UTF8-tail )
//	UTF8-4 = %xF0 %x90-BF 2( UTF8-tail ) / %xF1-F3 3( UTF8-tail ) /
//	         %xF4 %x80-8F 2( UTF8-tail )
//
// (RFC 3629, section 4)
func utf8Next(s utf8State, b byte) utf8State {
	in := func(low, high byte) bool { return low <= b && b <= high }
	switch s {
	case utf8Accept:
		switch {
		case b <= 0x7F:
			return utf8Accept
		case in(0xC2, 0xDF):
			return utf8Tail1
		case b == 0xE0:
			return utf8AfterE0
		case b == 0xED:
			return utf8AfterED
		case in(0xE1, 0xEF):
			return utf8Tail2
		case b == 0xF0:
			return utf8AfterF0
		case in(0xF1, 0xF3):
			return utf8Tail3
		case b == 0xF4:
			return utf8AfterF4
		}
	case utf8Tail1:
		if in(0x80, 0xBF) {
			return utf8Accept
		}
	case utf8Tail2:
		if in(0x80, 0xBF) {
			return utf8Tail1
		}
	case utf8Tail3:
		if in(0x80, 0xBF) {
			return utf8Tail2
		}
	case utf8AfterE0:
		if in(0xA0, 0xBF) {
			return utf8Tail1
		}
	case utf8AfterED:
		if in(0x80, 0x9F) {
			return utf8Tail1
		}
	case utf8AfterF0:
		if in(0x90, 0xBF) {
			return utf8Tail2
		}
	case utf8AfterF4:
		if in(0x80, 0x8F) {
			return utf8Tail2
		}
	}
	return utf8Reject
}

const notASCII = 0x8080808080808080

// next returns the state after the bytes of p. It is utf8Reject from the first
// byte that no UTF-8 can have in that place.
func (s utf8State) next(p []byte) utf8State {
	for len(p) >= 8 {
		if s == utf8Accept {
			p = p[asciiPrefix(p):]
			if len(p) < 8 {
				break
			}
		}
		// All of a word, whatever it holds: where one character is not ASCII,
		// its neighbours seldom are.
		t := uint64(s)
		t = utf8Table[p[0]] >> (t & 63)
		t = utf8Table[p[1]] >> (t & 63)
		t = utf8Table[p[2]] >> (t & 63)
		t = utf8Table[p[3]] >> (t & 63)
		t = utf8Table[p[4]] >> (t & 63)
		t = utf8Table[p[5]] >> (t & 63)
		t = utf8Table[p[6]] >> (t & 63)
		t = utf8Table[p[7]] >> (t & 63)
		s = utf8State(t & 63)
		if s == utf8Reject {
			return s
		}
		p = p[8:]
	}
	for _, b := range p {
		s = utf8State(utf8Table[b] >> (s & 63) & 63)
	}
	return s
}

// asciiPrefix returns how many bytes p begins with that are ASCII, in whole
// words of eight.
func asciiPrefix(p []byte) int {
	n := 0
	for ; len(p)-n >= 32; n += 32 {
		q := p[n : n+32]
		if (binary.NativeEndian.Uint64(q)|binary.NativeEndian.Uint64(q[8:])|
			binary.NativeEndian.Uint64(q[16:])|binary.NativeEndian.Uint64(q[24:]))&notASCII != 0 {
			break
		}
	}
	for ; len(p)-n >= 8 && binary.NativeEndian.Uint64(p[n:])&notASCII == 0; n += 8 {
	}
	return n
}
