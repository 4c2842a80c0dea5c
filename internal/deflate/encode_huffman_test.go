package deflate

import (
	"fmt"
	"slices"
	"testing"
)

// huffmanTests are frequencies of symbols.
func huffmanTests() map[string][]uint16 {
	tests := map[string][]uint16{
		"none":         {0, 0, 0},
		"one":          {0, 5, 0},
		"two":          {1, 60_000},
		"three":        {1, 0, 1, 1},
		"all the same": slices.Repeat([]uint16{7}, maxUsed),
		"all once":     slices.Repeat([]uint16{1}, 19),
		"a byte less":  {255, 254, 253, 1},
		"a byte more":  {256, 255, 257, 1, 512, 1024, 1, 256},
	}
	var fibonacci []uint16
	for a, b := 1, 1; b < 1<<16; a, b = b, a+b {
		fibonacci = append(fibonacci, uint16(a))
	}
	tests["the deepest"] = fibonacci
	tests["the deepest, and more"] = append(slices.Repeat(fibonacci[:14], 10), fibonacci[14:]...)
	r := corpusRand(3)
	for i := range 200 {
		freqs := make([]uint16, 2+r.IntN(maxUsed-1))
		for i := range freqs {
			freqs[i] = uint16(r.IntN(1<<r.IntN(13))) * uint16(r.IntN(2))
		}
		freqs[r.IntN(len(freqs))]++
		tests[fmt.Sprint("random ", i)] = freqs
	}
	return tests
}

func TestHuffman(t *testing.T) {
	h := new(huffman)
	for name, freqs := range huffmanTests() {
		for _, limit := range []int{maxCodeLengthCodeLength, maxTokenBits, maxCodeLength} {
			used := len(freqs) - count(freqs, 0)
			if used > 1<<limit {
				continue
			}
			h.reset()
			h.add(freqs, 0)
			best := h.build()
			codes := make([]codeword, len(freqs))
			size := h.assign(codes, limit)
			if err := checkCodes(freqs, codes, limit, size); err != nil {
				t.Errorf("%s, limit %d: %v", name, limit, err)
			}
			want := optimalSize(freqs)
			if used > 1 && best != want || size < want {
				t.Errorf("%s, limit %d: got %d bits, expected %d, want %d", name, limit, size, best, want)
			}
			longest := 0
			for _, c := range codes {
				longest = max(longest, int(c.length()))
			}
			if used > 1 && size != want && longest < limit {
				t.Errorf("%s, limit %d: got %d bits, want %d", name, limit, size, want)
			}
		}
	}
}

func count(s []uint16, v uint16) (n int) {
	for _, x := range s {
		if x == v {
			n++
		}
	}
	return n
}

// checkCodes reports what is wrong with codes for symbols that occur freqs times.
func checkCodes(freqs []uint16, codes []codeword, limit, size int) error {
	lengths := make([]int, len(codes))
	got := 0
	for i, c := range codes {
		lengths[i] = int(c.length())
		got += int(freqs[i]) * lengths[i]
		if (freqs[i] > 0) != (c.length() > 0) || lengths[i] > limit {
			return fmt.Errorf("code of %d bits for what occurs %d times", c.length(), freqs[i])
		}
		for k := range i {
			if freqs[k] > 0 && freqs[i] > freqs[k] && lengths[i] > lengths[k] {
				return fmt.Errorf("%d bits for what occurs %d times, %d for %d", lengths[i], freqs[i], lengths[k], freqs[k])
			}
		}
	}
	if got != size {
		return fmt.Errorf("got %d bits and size %d", got, size)
	}
	strict := newStrictCode(lengths)
	for i, c := range codes {
		if c.length() == 0 {
			continue
		}
		in := []byte{byte(c), byte(c >> 8), 0}
		z := strictInflater{in: in}
		if got := z.symbol(strict); got != i || z.bit != lengths[i] {
			return fmt.Errorf("code of symbol %d, %b, is that of %d", i, c.bits(), got)
		}
	}
	return nil
}

// optimalSize is how many bits all codes have together, without a limit: the sum
// of all nodes that have two others under them.
func optimalSize(freqs []uint16) (size int) {
	var nodes []int
	for _, f := range freqs {
		if f > 0 {
			nodes = append(nodes, int(f))
		}
	}
	for len(nodes) > 1 {
		slices.Sort(nodes)
		nodes[1] += nodes[0]
		nodes = nodes[1:]
		size += nodes[0]
	}
	return size
}
