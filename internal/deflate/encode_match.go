package deflate

import (
	"encoding/binary"
	"math/bits"
)

// A sequence is some literals and the match that follows them, packed:
//
//	bits  0-14  distance - 1
//	bits 16-23  length - minMatch
//	bits 32-    how many literals
type sequence uint64

func newSequence(literals, length, distance int) sequence {
	return sequence(literals)<<32 | sequence(length-minMatch)<<16 | sequence(distance-1)
}

func (q sequence) literals() int { return int(q >> 32) }
func (q sequence) length() int   { return int(q>>16&0xFF) + minMatch }
func (q sequence) distance() int { return int(q&0x7FFF) + 1 }

// minHashed is the length of the strings that are looked for. Shorter matches, of
// 3, save next to nothing.
const minHashed = 4

// hash returns the place of a string of minHashed bytes in a table of 1<<(32-shift) entries.
func hash(s uint32, shift uint) uint32 { return s * 0x9E3779B1 >> (shift & 31) }

// A finder finds matches in b, from start on, no farther back than window.
type finder struct {
	table  []uint16 // the length is a power of two
	window int
	level  uint8
}

// find appends the sequences of b from start on to seqs. What follows the last is literals.
func (f *finder) find(seqs []sequence, b []byte, start int, base uint16) []sequence {
	table := f.table
	shift := uint(32 - bits.Len(uint(len(table)-1)))
	literal := start // the first literal that is in no sequence
	for i := start; i+minHashed <= len(b); {
		v := binary.LittleEndian.Uint32(b[i:])
		at := hash(v, shift)
		p := base + uint16(i)
		d := int(p - table[at])
		table[at] = p
		if uint(d-1) >= uint(min(f.window, i)) || binary.LittleEndian.Uint32(b[i-d:]) != v {
			i += 1 + (i-literal)>>6
			continue
		}
		n := minHashed + commonPrefix(b[i+minHashed:min(len(b), i+maxMatch)], b[i+minHashed-d:])
		if f.level >= Better {
			i, n, d = f.lazy(b, i, n, d, base, shift)
		}
		for i > literal && i > d && n < maxMatch && b[i-1] == b[i-1-d] {
			i, n = i-1, n+1
		}
		seqs = append(seqs, newSequence(i-literal, n, d))
		i += n
		literal = i
		if i-1+minHashed <= len(b) {
			table[hash(binary.LittleEndian.Uint32(b[i-1:]), shift)] = base + uint16(i-1)
		}
	}
	return seqs
}

func (f *finder) lazy(b []byte, i, n, d int, base uint16, shift uint) (int, int, int) {
	for n < 32 && i+1+minHashed <= len(b) {
		v := binary.LittleEndian.Uint32(b[i+1:])
		at := hash(v, shift)
		p := base + uint16(i+1)
		d1 := int(p - f.table[at])
		f.table[at] = p
		if uint(d1-1) >= uint(min(f.window, i+1)) || binary.LittleEndian.Uint32(b[i+1-d1:]) != v {
			break
		}
		n1 := minHashed + commonPrefix(b[i+1+minHashed:min(len(b), i+1+maxMatch)], b[i+1+minHashed-d1:])
		if n1 <= n {
			break
		}
		i, n, d = i+1, n1, d1
	}
	return i, n, d
}

// commonPrefix returns how many bytes a and b have in common at their beginning.
// b is not shorter than a.
func commonPrefix(a, b []byte) int {
	b = b[:len(a)]
	n := 0
	for len(a)-n >= 8 {
		if x := binary.LittleEndian.Uint64(a[n:]) ^ binary.LittleEndian.Uint64(b[n:]); x != 0 {
			return n + bits.TrailingZeros64(x)/8
		}
		n += 8
	}
	for n < len(a) && a[n] == b[n] {
		n++
	}
	return n
}
