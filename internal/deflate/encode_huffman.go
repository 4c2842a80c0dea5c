package deflate

import "math/bits"

// A codeword is a code as it is written, its first bit lowest (section 3.1.1), and
// from bit 16 on its length.
type codeword uint32

// codewords has those of all tokens, by symbol.
type codewords [symbols]codeword

// newCodeword returns the code of n bits, of which the first is the highest.
func newCodeword(code, n int) codeword {
	return codeword(bits.Reverse16(uint16(code<<(16-n)))) | codeword(n)<<16
}

func (c codeword) bits() uint64 { return uint64(c & 0xFFFF) }
func (c codeword) length() uint { return uint(c >> 16) }

// addRaw adds the codes of raw tokens, whose bits are their own.
func (c *codewords) addRaw() {
	for n := range maxTokenBits + 1 {
		c[rawToken+n] = newCodeword(0, n)
	}
}

// A usedSymbol is a symbol that occurs, and from bit 9 on how often. To compare
// them is to compare how often they occur.
type usedSymbol uint32

func (u usedSymbol) symbol() uint32 { return uint32(u) & 0x1FF }
func (u usedSymbol) freq() uint32   { return uint32(u) >> 9 }

// maxUsed is how many symbols the largest alphabet has.
const maxUsed = literalLengthSymbols

// A huffman makes a Huffman code.
type huffman struct {
	n    int
	used [maxUsed + 1]usedSymbol // the first n, in the alphabet's order
	all  uint32                  // all their frequencies, ored

	leaves [maxUsed + 1]usedSymbol // the same, the rarest first
	other  [maxUsed]usedSymbol     // while that is found out
	next   [256]uint16             // likewise; not on the stack, as each connection has one

	// The nodes of the tree that are no leaves, the rarest first.
	freqs   [maxUsed]uint32
	parents [maxUsed]uint16
	depths  [maxUsed]uint8

	counts  [maxCodeLength + 1]int // how many codes there are of each length
	lengths [maxUsed]uint8         // of the codes, by symbol
}

func (h *huffman) reset() { h.n, h.all = 0, 0 }

// add adds the symbols from first on, as far as they occur.
func (h *huffman) add(freqs []uint16, first uint32) {
	n, all := h.n, h.all
	for i, f := range freqs {
		h.used[n] = usedSymbol(uint32(f)<<9 | (first + uint32(i)))
		n += int((uint32(f) + 0xFFFF) >> 16) // 1 if f is not 0
		all |= uint32(f)
	}
	h.n, h.all = n, all
}

// build makes the tree, and returns how many bits all codes have together. Of what
// has no parent yet, the two rarest get one, until only the root is left. They are
// the first of two queues, the leaves and the nodes that were made so far.
func (h *huffman) build() (size int) {
	const never = 1<<32 - 1
	n := h.n
	h.sort()
	h.leaves[n] = never
	freqs := h.freqs[:n]
	for i := range freqs {
		freqs[i] = never
	}
	leaf, node := 0, 0
	for made := range n - 1 {
		sum := uint32(0)
		for range 2 {
			l, f := h.leaves[leaf].freq(), freqs[node]
			sum += min(l, f)
			h.parents[node] = uint16(made) // and anew in a later turn, if it is the leaf that is taken
			isNode := int((int64(f)-int64(l))>>63) & 1
			node += isNode
			leaf += 1 - isNode
		}
		freqs[made] = sum
		size += int(sum)
	}
	return size
}

// sort sorts the used symbols by how often they occur.
func (h *huffman) sort() {
	used, leaves := h.used[:h.n], h.leaves[:h.n]
	if h.all <= 0xFF {
		h.sortByByte(leaves, used, 9, h.all)
		return
	}
	other := h.other[:h.n]
	h.sortByByte(other, used, 9, 0xFF)
	h.sortByByte(leaves, other, 17, h.all>>8)
}

// sortByByte sorts src into dst by the byte at shift, in which no bits are set that
// are above those of most.
func (h *huffman) sortByByte(dst, src []usedSymbol, shift uint, most uint32) {
	next := &h.next
	clear(next[:])
	for _, u := range src {
		next[byte(u>>(shift&31))]++
	}
	sum := uint16(0)
	for i := range next[:1<<bits.Len8(uint8(most))] {
		sum, next[i] = sum+next[i], sum
	}
	for _, u := range src {
		at := &next[byte(u>>(shift&31))]
		dst[*at] = u
		*at++
	}
}

// assign gives the symbols codes of at most limit bits, and returns how many they
// have all together.
func (h *huffman) assign(codes []codeword, limit int) (size int) {
	h.countLengths(limit)
	leaves := h.leaves[:h.n]
	for length := limit; length > 0; length-- {
		n := h.counts[length]
		for _, u := range leaves[:n] {
			h.lengths[u.symbol()] = uint8(length)
			size += int(u.freq()) * length
		}
		leaves = leaves[n:]
	}

	// "All codes of a given bit length have lexicographically consecutive
	// values, in the same order as the symbols they represent; Shorter codes
	// lexicographically precede longer codes." (section 3.2.2) The first bit of
	// a code is bit 15 here.
	var next [maxCodeLength + 1]uint32
	code := uint32(0)
	for length := 1; length <= limit; length++ {
		next[length] = code
		code += uint32(h.counts[length]) << (16 - length)
	}
	for _, u := range h.used[:h.n] {
		length := h.lengths[u.symbol()] & 15
		code := next[length]
		next[length] = code + 1<<16>>length
		codes[u.symbol()] = codeword(bits.Reverse16(uint16(code))) | codeword(length)<<16
	}
	return size
}

// countLengths counts the codes of each length. A leaf's code is as long as its
// depth in the tree.
func (h *huffman) countLengths(limit int) {
	h.counts = [maxCodeLength + 1]int{}
	if h.n < 2 {
		h.counts[1] = h.n // "it is encoded using one bit, not zero bits" (section 3.2.7)
		return
	}
	// Each node has two below it, which are leaves if they are no nodes. None
	// is 32 deep: that takes more symbols, each as often as it has to occur, than
	// a block has.
	var nodes [32]int // by depth
	root := h.n - 2
	h.depths[root], nodes[0] = 0, 1
	for i := root - 1; i >= 0; i-- {
		depth := h.depths[h.parents[i]] + 1
		h.depths[i] = depth
		nodes[depth&31]++
	}
	for depth := 1; depth <= limit; depth++ {
		h.counts[depth] = 2*nodes[depth-1] - nodes[depth]
	}
	if nodes[limit] > 0 {
		h.shorten(nodes[limit], limit)
	}
}

// shorten gives the leaves that are deeper than limit, all below so many nodes,
// codes of that length. Others get longer codes for that.
func (h *huffman) shorten(nodes, limit int) {
	deeper := h.n
	for _, n := range h.counts {
		deeper -= n
	}
	h.counts[limit] += deeper
	// In the place of one code there is room for two that are a bit longer, for
	// itself and for one of the codes that are too many.
	for tooMany := deeper - nodes; tooMany > 0; tooMany-- {
		length := limit - 1
		for h.counts[length] == 0 {
			length--
		}
		h.counts[length]--
		h.counts[length+1] += 2
		h.counts[limit]--
	}
}
