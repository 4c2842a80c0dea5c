package deflate

import (
	"encoding/binary"
	"math/bits"
)

// A matcher finds what of a text has occurred before in it.
type matcher struct {
	// table has the positions of strings, by their hash: of those that share
	// one, the latest. Positions count the bytes of a stream modulo 1<<16, so
	// they may be of what is long gone, or never was: whatever the table says is
	// checked against the text.
	table []uint16
	shift uint // makes of a hash of 64 bits a place in the table

	position uint16 // of what comes next
	window   uint32 // how far back a match may be
	better   bool   // whether to look for a better match than the first

	// Of the text at hand:
	base  uint16 // the position of its first byte
	limit uint32 // where matches begin before
	end   uint32 // where they end at the latest
}

const (
	// minFound is the length of the strings in the table. Literals have codes
	// so short that a match of four saves next to nothing.
	minFound = 5

	// readAhead is how many bytes from the beginning of a match on are read at
	// once, whatever its length.
	readAhead = 16

	// patience is how many literals in a row are looked for one by one. Then
	// it is fewer and fewer of them, so that what has no matches takes little
	// time.
	patience = 64

	// longEnough is the length of a match that is not given up for a better one.
	longEnough = 32
)

// find puts the tokens of text, from start to end, into tokens, which has room for
// one for each byte and some more, and returns them. If there are no matches, it
// returns none.
func (m *matcher) find(tokens []token, text []byte, start, end int) []token {
	m.base = m.position - uint16(start)
	m.position = m.base + uint16(end)
	m.end = uint32(end)
	m.limit = uint32(max(0, min(end-minFound, len(text)-readAhead)+1))
	return tokens[:m.findFrom(uint32(start), tokens[:cap(tokens)], text)]
}

// findFrom does what find does, and returns how many tokens there are.
//
// Most of its time goes into branches that could not be foreseen. There are as
// few as possible that depend on the text.
func (m *matcher) findFrom(start uint32, tokens []token, text []byte) int {
	table, shift, base := m.table, m.shift, m.base
	i, literal := start, start // literal is where the literals before i begin
	ahead := -start            // the token of the literal text[i] is tokens[i+ahead]
find:
	for i < m.limit {
		var c uint32 // where a match with i may begin
		for stop := min(m.limit, literal+patience); ; {
			v := load64(text, i)
			c = i - uint32(exchange(table, hash(v, shift), base+uint16(i)))
			c &^= uint32(int32(c) >> 31) // 0 rather than what is not in text
			if equalFound(v ^ load64(text, c)) {
				break
			}
			tokens[i+ahead] = token(byte(v))
			i++
			if i >= stop {
				next := m.search(text, literal, i)
				if next >= m.limit {
					break find
				}
				putLiterals(tokens[i+ahead:], text[i:next])
				i, stop = next, next+1
			}
		}
		if i-c-1 >= m.window {
			tokens[i+ahead] = token(text[i])
			i++
			continue
		}
		n := equalBytes(load64(text, i) ^ load64(text, c))
		n += equalBytes(load64(text, i+8)^load64(text, c+8)) & -(n / 8) // if the first 8 are equal
		if n == readAhead {
			n = m.length(text, i, c)
		}
		n = min(n, m.end-i)
		if m.better {
			from := i
			i, c, n = m.lookAhead(text, i, c, n)
			putLiterals(tokens[from+ahead:], text[from:i])
		}
		m.enter(text, i, n)
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
	putLiterals(tokens[i+ahead:], text[i:m.end])
	return int(m.end + ahead)
}

// search returns where a match begins, from i on, if that is before the limit. The
// longer there has been none, since literal, the fewer places it looks at.
func (m *matcher) search(text []byte, literal, i uint32) uint32 {
	for i < m.limit {
		v := load64(text, i)
		at := &m.table[hash(v, m.shift)]
		p := m.base + uint16(i)
		if c := i - uint32(p-*at); m.reaches(i, c) && equalFound(v^load64(text, c)) {
			return i
		}
		*at = p
		i += max(1, (i-literal)/patience)
	}
	return i
}

// lookAhead returns a match that begins a byte later than that of i and c, and is
// longer than its n bytes; and then one that begins a byte later than that; or
// else what it was given.
func (m *matcher) lookAhead(text []byte, i, c, n uint32) (newI, newC, newN uint32) {
	for n < longEnough && i+1 < m.limit {
		j := i + 1
		v := load64(text, j)
		d := j - uint32(exchange(m.table, hash(v, m.shift), m.base+uint16(j)))
		if !m.reaches(j, d) || !equalFound(v^load64(text, d)) {
			break
		}
		longer := m.length(text, j, d)
		if longer <= n {
			break
		}
		i, c, n = j, d, longer
	}
	return i, c, n
}

// reaches reports whether c is before i and not too far.
func (m *matcher) reaches(i, c uint32) bool { return c < i && i-c <= m.window }

// length returns the length of the match of i and c.
func (m *matcher) length(text []byte, i, c uint32) uint32 {
	a, b := text[i:min(m.end, i+maxMatch)], text[c:]
	n := uint32(0)
	for int(n)+8 <= len(a) {
		if x := load64(a, n) ^ load64(b, n); x != 0 {
			return n + equalBytes(x)
		}
		n += 8
	}
	for int(n) < len(a) && a[n] == b[n] {
		n++
	}
	return n
}

// enter puts some of the strings of a match into the table. They are there
// already, but from farther and farther back: this way they stay within the
// window for as long as they are in use.
func (m *matcher) enter(text []byte, i, n uint32) {
	table, shift := m.table, m.shift
	v, p := load64(text, i), m.base+uint16(i)
	table[hash(v>>8, shift)] = p + 1
	table[hash(v>>16, shift)] = p + 2
	table[hash(v>>24, shift)] = p + 3
	middle, last := min(i+n/2, m.limit-1), min(i+n-1, m.limit-1)
	table[hash(load64(text, middle), shift)] = m.base + uint16(middle)
	table[hash(load64(text, last), shift)] = m.base + uint16(last)
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

func load64(b []byte, i uint32) uint64 {
	j := int(i)
	return binary.LittleEndian.Uint64(b[j : j+8])
}
