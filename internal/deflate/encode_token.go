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

// The symbols of literals, lengths and the end of a block are those of section
// 3.2.5. The others begin at
const (
	distanceToken   = 288 // distances
	codeLengthToken = 320 // lengths of codes (section 3.2.7)
	rawToken        = 344 // rawToken + n: n bits as they are

	symbols = 512 // more than there are, for arrays that any nine bits can index
)

// maxTokenBits is the longest code of a token, and what it has of raw bits: four
// tokens and seven bits more make a word.
const maxTokenBits = 14

// nothing is the token of no bits.
const nothing token = rawToken

// raw returns the token of n bits.
func raw(v, n uint32) token { return token(v<<16 | (rawToken + n)) }

func (t token) symbol() uint32 { return uint32(t) & (symbols - 1) }

// bits returns what is written for t, whose symbol has the code c.
func (t token) bits(c codeword) uint64 { return c.bits() | uint64(t>>16) }

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

	// From 4 on, distances have one more extra bit for every second symbol,
	// which are the bits below the highest two of the distance - 1.
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
