package deflate

import "math/bits"

// A token is one thing to write. It is a symbol, in its lowest nine bits, for
// which a code is written. A raw token also has bits that are written as they are,
// from bit 16 on, and a symbol that says how many.
//
// A literal is one token. A match is up to four, in the order in which they are
// written: the symbol of its length, the extra bits of that if it has any, the
// symbol of its distance, and the extra bits of that.
type token uint32

// Where the symbols begin of what is no literal, length or end of the block, which
// have those of section 3.2.5.
const (
	distanceToken   = 288
	codeLengthToken = 320 // (section 3.2.7)
	rawToken        = 344 // of no bits, of one bit, and so on

	symbols = 512 // more than there are: as many as nine bits can say
)

// maxTokenBits is how many bits there may be in a code or a raw token, so that four
// tokens fit into a word, with seven bits before them.
const maxTokenBits = 14

// nothing is the token of no bits.
const nothing token = rawToken

// raw returns the token of the n bits of v.
func raw(v, n uint32) token { return token(v<<16 | (rawToken + n)) }

func (t token) symbol() uint32 { return uint32(t) & (symbols - 1) }

// bits returns what is written for t, whose symbol has the code c.
func (t token) bits(c codeword) uint64 { return uint64(uint32(c)&0xFFFF | uint32(t)>>16) }

// lengthTokens has the symbol and the extra bits of each length, from minMatch on.
var lengthTokens = func() (tokens [maxMatch - minMatch + 1][2]token) {
	for symbol, v := range lengthValues {
		for extra := range uint32(1) << v.extra {
			// Of the two ways to write 258 the last remains, which is shorter.
			if length := uint32(v.base) + extra; length <= maxMatch {
				tokens[length-minMatch] = [2]token{token(firstLength + symbol), raw(extra, uint32(v.extra))}
			}
		}
	}
	return tokens
}()

// maxPlainLength is the longest length of those that have no extra bits.
const maxPlainLength = 10

// putMatch puts the tokens of a match into to, and returns how many they are.
func putMatch(to *[4]token, length, distance uint32) uint32 {
	t := &lengthTokens[(length-minMatch)&0xFF]
	to[0], to[1] = t[0], t[1]
	n := 1 + (maxPlainLength-length)>>31 // 2 for the longer ones

	// Of distance - 1, the two highest bits and where they are make the symbol,
	// and the others are extra.
	d := distance - 1
	extra := uint32(bits.Len32(d|2) - 2)
	to[n&3] = token(distanceToken + 2*extra + d>>(extra&31))
	to[(n+1)&3] = raw(d&(1<<(extra&31)-1), extra)
	return n + 2
}

// putLiterals puts the tokens of p into to.
func putLiterals(to []token, p []byte) {
	to = to[:len(p)]
	for i, c := range p {
		to[i] = token(c)
	}
}
