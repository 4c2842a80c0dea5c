package deflate

import (
	"encoding/binary"
	"math/bits"
)

// A matcher finds what a text has in common with what comes before it.
type matcher struct {
	// table has the positions of strings, by their hash: of those that share
	// one, the latest. Positions count the bytes of a stream modulo 1<<16, so
	// they may be of what is long gone, or never was: whatever the table says is
	// checked against the text.
	table []uint16
	shift uint // makes of a hash of 64 bits a place in the table

	position uint16 // of what comes next
	window   uint32 // how far back a match may be
	better   bool
}

const (
	// minFound is the length of the strings in the table. Literals have codes
	// so short that a match of four saves next to nothing.
	minFound = 5

	// readAhead is how many bytes from the beginning of a match on are read at
	// once, whatever its length.
	readAhead = 16

	// patience is how many literals in a row are looked for one by one. Then
	// it is more and more at a time.
	patience = 64

	// longEnough is the length of a match that is not given up for a better one.
	longEnough = 32
)

// find puts the tokens of text, from start to end, into tokens, which has room for
// one for each byte and a few more, and returns them. If there are no matches, it
// returns none.
func (m *matcher) find(tokens []token, text []byte, start, end int) []token {
	base := m.position - uint16(start)
	m.position = base + uint16(end)
	limit := min(end-minFound, len(text)-readAhead)
	if limit < start {
		return tokens[:0]
	}
	n := m.findBefore(uint32(limit)+1, tokens[:cap(tokens)], text, uint32(start), uint32(end), base)
	return tokens[:n]
}

// findBefore does what find does, with matches that begin before limit. The
// position of text[0] is base.
//
// Most of the time goes into branches that could not be foreseen. There are as
// few as possible that depend on the text.
func (m *matcher) findBefore(limit uint32, tokens []token, text []byte, start, end uint32, base uint16) (n uint32) {
	table, shift := m.table, m.shift
	i, literal := start, start // literal is where the literals before i begin
	ahead := -start            // the token of the literal text[i] is tokens[i+ahead]
find:
	for i < limit {
		var v, x uint64
		var c uint32
		for stop := min(limit, literal+patience); ; {
			v = load64(text, i)
			c = i - uint32(exchange(table, hash(v, shift), base+uint16(i)))
			c &^= uint32(int32(c) >> 31)
			x = v ^ load64(text, c)
			if equalFound(x) {
				break
			}
			tokens[i+ahead] = token(byte(v))
			i++
			if i >= stop {
				next := m.search(text, literal, i, limit, base)
				if next >= limit {
					break find
				}
				putLiterals(tokens[i+ahead:], text[i:next])
				i, stop = next, next+1
			}
		}
		if i-c-1 >= m.window {
			tokens[i+ahead] = token(byte(v))
			i++
			continue
		}
		n := equalBytes(x)
		n += equalBytes(load64(text, i+8)^load64(text, c+8)) & -(n / 8)
		if n == readAhead {
			n += commonPrefix(text[c+16:], text[i+16:max(i+16, min(end, i+maxMatch))])
		}
		n = min(n, end-i)
		if m.better {
			from := i
			i, c, n = m.lookAhead(text, i, c, n, limit, end, base)
			putLiterals(tokens[from+ahead:], text[from:i])
		}
		m.enter(text, i, n, limit, base)
		next, distance := i+n, i-c
		for i > literal && c > 0 && n < maxMatch && text[i-1] == text[c-1] {
			i, c, n = i-1, c-1, n+1
		}
		k := i + ahead
		k += putMatch((*[4]token)(tokens[k:k+4]), n, distance)
		i, literal, ahead = next, next, k-next
	}
	if ahead == -start {
		return 0
	}
	putLiterals(tokens[i+ahead:], text[i:end])
	return end + ahead
}

// search returns where a match begins, from i on, before limit, or else limit or more. The longer there
// has been none, since literal, the fewer places it looks at.
func (m *matcher) search(text []byte, literal, i, limit uint32, base uint16) uint32 {
	for i < limit {
		v := load64(text, i)
		at := &m.table[hash(v, m.shift)]
		c := i - uint32(base+uint16(i)-*at)
		if c < i && i-c <= m.window && equalFound(v^load64(text, c)) {
			return i
		}
		*at = base + uint16(i)
		i += max(1, (i-literal)/patience)
	}
	return i
}

// lookAhead returns where, instead of at i, a match begins that is longer than
// the n bytes that are common to i and c, and what it is.
func (m *matcher) lookAhead(text []byte, i, c, n, limit, end uint32, base uint16) (newI, newC, newN uint32) {
	for n < longEnough && i+1 < limit {
		i1 := i + 1
		v := load64(text, i1)
		c1 := i1 - uint32(exchange(m.table, hash(v, m.shift), base+uint16(i1)))
		if c1 >= i1 || i1-c1 > m.window || !equalFound(v^load64(text, c1)) {
			break
		}
		n1 := commonPrefix(text[c1:], text[i1:min(end, i1+maxMatch)])
		if n1 <= n {
			break
		}
		i, c, n = i1, c1, n1
	}
	return i, c, n
}

// enter puts some of the strings of a match into the table. They are there
// already, but from farther and farther back: this way they stay within the
// window as long as they are used.
func (m *matcher) enter(text []byte, i, n, limit uint32, base uint16) {
	table, shift := m.table, m.shift
	v, p := load64(text, i), base+uint16(i)
	table[hash(v>>8, shift)] = p + 1
	table[hash(v>>16, shift)] = p + 2
	table[hash(v>>24, shift)] = p + 3
	middle := min(i+n/2, limit-1)
	table[hash(load64(text, middle), shift)] = base + uint16(middle)
	last := min(i+n-1, limit-1)
	table[hash(load64(text, last), shift)] = base + uint16(last)
}

// exchange puts p into a place of the table, and returns how far it is from what
// was there.
func exchange(table []uint16, place uint64, p uint16) uint16 {
	d := p - table[place]
	table[place] = p
	return d
}

// hash returns the place of the string that v begins with in a table.
func hash(v uint64, shift uint) uint64 {
	return v << (64 - 8*minFound) * 0x9E3779B185EBCA87 >> (shift & 63)
}

// equalFound reports whether words that differ by x begin with the same string.
func equalFound(x uint64) bool { return x<<(64-8*minFound) == 0 }

// equalBytes returns how many bytes are the same at the beginning of words that
// differ by x.
func equalBytes(x uint64) uint32 { return uint32(bits.TrailingZeros64(x)) / 8 }

// commonPrefix returns how many bytes a and b have in common from their beginning
// on. a is not shorter than b.
func commonPrefix(a, b []byte) uint32 {
	n := uint32(0)
	for int(n)+8 <= len(b) {
		if x := load64(a, n) ^ load64(b, n); x != 0 {
			return n + equalBytes(x)
		}
		n += 8
	}
	for int(n) < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

func load64(b []byte, i uint32) uint64 {
	j := int(i)
	return binary.LittleEndian.Uint64(b[j : j+8])
}
