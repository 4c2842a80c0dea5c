package deflate

import (
	"math/bits"
	"slices"
)

// A code is a Huffman code: at each symbol its bits, the first lowest, and their
// number in the bits from 16.
type codeword uint32

func (c codeword) bits() uint64 { return uint64(c & 0xFFFF) }
func (c codeword) length() uint { return uint(c >> 16) }

// assignLengths sets lengths to those of a Huffman code for symbols that occur freqs times, of
// which none is longer than limit.
func assignLengths(lengths []uint8, freqs []uint16, limit int) {
	clear(lengths)
	var keys [literalLengthSymbols]uint32
	n := 0
	for symbol, f := range freqs {
		if f != 0 {
			keys[n] = uint32(f)<<9 | uint32(symbol)
			n++
		}
	}
	if n <= 1 {
		lengths[keys[0]&0x1FF] = 1
		return
	}
	slices.Sort(keys[:n])
	counts := countLengths(keys[:n], limit)
	i := 0
	for l := limit; l > 0; l-- {
		for range counts[l] {
			lengths[keys[i]&0x1FF] = uint8(l)
			i++
		}
	}
}

// countLengths returns how many codes of each length there are.
func countLengths(keys []uint32, limit int) (counts [maxCodeLength + 1]int) {
	n := len(keys)
	var weight, parent [2 * literalLengthSymbols]uint32
	for i, k := range keys {
		weight[i] = k >> 9
	}
	leaf, node := 0, n
	take := func(next int) int {
		if leaf < n && (node == next || weight[leaf] <= weight[node]) {
			leaf++
			return leaf - 1
		}
		node++
		return node - 1
	}
	for next := n; next < 2*n-1; next++ {
		a := take(next)
		b := take(next)
		weight[next] = weight[a] + weight[b]
		parent[a], parent[b] = uint32(next), uint32(next)
	}
	var depth [2 * literalLengthSymbols]uint8
	excess := 0
	for i := 2*n - 3; i >= 0; i-- {
		d := depth[parent[i]] + 1
		depth[i] = d
		if i < n {
			l := min(int(d), limit)
			counts[l]++
			excess += 1 << (limit - l)
		}
	}
	for excess -= 1 << limit; excess > 0; excess-- {
		l := limit - 1
		for counts[l] == 0 {
			l--
		}
		counts[l]--
		counts[l+1] += 2
		counts[limit]--
	}
	return counts
}

// assignCodes sets codes to the code with these lengths (section 3.2.2).
func assignCodes(codes []codeword, lengths []uint8) {
	var counts, next [maxCodeLength + 2]uint16
	for _, l := range lengths {
		counts[l&15]++
	}
	counts[0] = 0
	for l := 1; l <= maxCodeLength; l++ {
		next[l+1] = (next[l] + counts[l]) << 1
	}
	for symbol, l := range lengths {
		c := next[l&15]
		next[l&15]++
		codes[symbol] = codeword(bits.Reverse16(c<<(16-l))) | codeword(l)<<16
	}
}
