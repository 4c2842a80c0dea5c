package deflate

import "encoding/binary"

// codeCounts reads how many codes there are.
//
//	5 Bits: HLIT, # of Literal/Length codes - 257 (257 - 286)
//	5 Bits: HDIST, # of Distance codes - 1        (1 - 32)
//	4 Bits: HCLEN, # of Code Length codes - 4     (4 - 19)
//
// (section 3.2.7)
func (z *Inflater) codeCounts() error {
	if !z.need(14) {
		return errMore
	}
	if z.scratch == nil {
		z.scratch = scratches.Get().(*scratch)
	}
	s := z.scratch
	s.literals = int(z.take(5)) + 257
	s.distances = int(z.take(5)) + 1
	s.codeLengths = int(z.take(4)) + 4
	if s.literals > literalLengthSymbols || s.distances > distanceSymbols {
		return errCodeCounts
	}
	s.next = 0
	s.codeLengthLengths = [codeLengthSymbols]uint8{}
	z.phase = inCodeLengthLengths
	return nil
}

// codeLengthLengths reads "(HCLEN + 4) x 3 bits: code lengths for the code
// length alphabet" (section 3.2.7).
func (z *Inflater) codeLengthLengths() error {
	s := z.scratch
	for ; s.next < s.codeLengths; s.next++ {
		if !z.need(3) {
			return errMore
		}
		s.codeLengthLengths[codeLengthOrder[s.next]] = uint8(z.take(3))
	}
	s.next = 0
	z.phase = inCodeLengths
	return s.buildCodeLengthTable()
}

// codeLengths reads "HLIT + 257 code lengths for the literal/length alphabet,
// encoded using the code length Huffman code", and "HDIST + 1 code lengths for
// the distance alphabet". They are one row: "the code length repeat codes can
// cross from HLIT + 257 to the HDIST + 1 code lengths." (section 3.2.7)
func (z *Inflater) codeLengths() error {
	s := z.scratch
	total := s.literals + s.distances
	for s.next < total {
		if z.count < 14 {
			z.fill()
		}
		e := s.codeLengthTable[z.held&(1<<(s.codeLengthBits&7)-1)]
		symbol, n := e>>3, uint(e&7)
		if n == 0 {
			return errSymbol
		}
		if symbol < repeatPrevious {
			if n > z.count {
				return errMore
			}
			z.skip(n)
			s.lengths[s.next] = symbol
			s.next++
			continue
		}
		if err := z.repeatCodeLength(symbol, n, total); err != nil {
			return err
		}
	}
	if s.lengths[endOfBlock] == 0 {
		return errNoEndOfBlock
	}
	z.codes = &s.codes
	z.phase = inSymbols
	return s.build(s.literals, s.distances)
}

// repeatCodeLength reads a code of n bits that repeats a length, and its extra
// bits. total is how many lengths there are.
func (z *Inflater) repeatCodeLength(symbol uint8, n uint, total int) error {
	s := z.scratch
	times, extra, length := 3, uint(2), uint8(0)
	switch symbol {
	case repeatZero:
		extra = 3
	case repeatZeroLonger:
		times, extra = 11, 7
	}
	if n+extra > z.count {
		return errMore
	}
	z.skip(n)
	times += int(z.take(extra))
	if symbol == repeatPrevious {
		if s.next == 0 {
			return errNothingBefore
		}
		length = s.lengths[s.next-1]
	}
	if times > total-s.next {
		return errRepeat
	}
	for range times {
		s.lengths[s.next] = length
		s.next++
	}
	return nil
}

// buildCodeLengthTable makes a table of the code for code lengths. Its entries
// are a symbol, and in the lowest three bits how many bits its code has.
func (s *scratch) buildCodeLengthTable() error {
	symbols, counts := s.sort(s.codeLengthLengths[:])
	if err := counts.check(); err != nil {
		return err
	}
	table := s.codeLengthTable[:]
	table[0], table[1] = 0, 0
	s.codeLengthBits = 0
	code, size := uint(0), 1
	for n := uint(1); len(symbols) > 0; n++ {
		copy(table[size:2*size], table[:size])
		size *= 2
		for range counts[n] {
			table[code] = uint8(symbols[0])<<3 | uint8(n)
			symbols = symbols[1:]
			code = nextCode(code, n)
		}
		s.codeLengthBits = uint8(n)
	}
	return nil
}

// symbols reads literals, lengths and distances, up to the end of the block.
func (z *Inflater) symbols() error {
	if z.length > 0 {
		if err := z.copyMatch(); err != nil {
			return err
		}
	}
	for {
		if len(z.in)-z.pos >= 8 && len(z.out)-z.end >= fastRoom {
			z.manySymbols()
		}
		ended, err := z.symbol()
		if ended || err != nil {
			return err
		}
	}
}

// symbol reads one literal, or length and distance, or the end of the block.
func (z *Inflater) symbol() (ended bool, err error) {
	z.fill()
	held := z.held
	e, taken := find(z.codes.literals[:], z.codes.literalBits, held)
	held >>= taken & 63
	taken += e.takes()
	switch {
	case taken > z.count:
		return false, errMore
	case e&entryLiteral != 0:
		if z.end == len(z.out) {
			return false, ErrFull
		}
		z.out[z.end] = byte(e.value())
		z.end++
		z.skip(taken)
		return false, nil
	case e&entryEnd != 0:
		z.skip(taken)
		z.endBlock()
		return true, nil
	case e&entrySpecial != 0:
		return false, errSymbol
	}
	length := e.base(held)
	held >>= e.takes()

	d, skipped := find(z.codes.distances[:], z.codes.distanceBits, held)
	held >>= skipped & 63
	taken += skipped + d.takes()
	if taken > z.count {
		return false, errMore
	}
	if d&entrySpecial != 0 {
		return false, errSymbol
	}
	z.skip(taken)
	z.length, z.distance = length, d.base(held)
	if z.distance > min(z.windowSize, z.end-z.start+z.window.used) {
		return false, errDistance
	}
	return false, z.copyMatch()
}

// copyMatch copies as much of the match under way as there is room for.
func (z *Inflater) copyMatch() error {
	for z.length > 0 {
		if z.end == len(z.out) {
			return ErrFull
		}
		to := z.out[z.end:min(z.end+z.length, len(z.out))]
		var n int
		if back := z.distance - (z.end - z.start); back > 0 {
			n = z.window.read(to, back)
		} else {
			n = copy(to, z.out[z.end-z.distance:z.end])
		}
		z.end += n
		z.length -= n
	}
	return nil
}

// fastRoom is how much room manySymbols wants: two literals, the longest match,
// and what it writes beyond.
const fastRoom = 2 + maxMatch + 8

// manySymbols reads as many literals, lengths and distances as it can without
// minding the end of the input or the output. It leaves to symbol whatever is
// not one of them.
func (z *Inflater) manySymbols() {
	in, pos := z.in, z.pos
	out, end := z.out, z.end
	held, count := z.held, z.count
	literals, literalMask := &z.codes.literals, uint64(1)<<(z.codes.literalBits&63)-1
	distances, distanceMask := &z.codes.distances, uint64(1)<<(z.codes.distanceBits&63)-1

	for len(in)-pos >= 8 && len(out)-end >= fastRoom {
		held |= binary.LittleEndian.Uint64(in[pos:]) << (count & 63)
		pos += int(63-count) / 8
		count |= 56

		e := literals[held&literalMask]
		if e&entryLiteral != 0 {
			out[end] = byte(e >> entryValueShift)
			end++
			held >>= e.takes()
			count -= e.takes()
			e = literals[held&literalMask]
			if e&entryLiteral != 0 {
				out[end] = byte(e >> entryValueShift)
				end++
				held >>= e.takes()
				count -= e.takes()
				continue
			}
			if e&entrySpecial != 0 {
				continue
			}
		}
		// At least 46 bits are held here, or all 56 if the code is in a second table.
		before, beforeCount := held, count
		if e&entrySpecial != 0 {
			if e&entryIndirect == 0 {
				break
			}
			held >>= e.takes()
			count -= e.takes()
			e = literals[e.value()+int(held&(1<<e.codeBits()-1))]
			if e&entryLiteral != 0 {
				out[end] = byte(e >> entryValueShift)
				end++
				held >>= e.takes()
				count -= e.takes()
				continue
			}
			if e&entrySpecial != 0 {
				held, count = before, beforeCount
				break
			}
		}
		length := e.base(held)
		held >>= e.takes()
		count -= e.takes()

		e = distances[held&distanceMask]
		if e&entryIndirect != 0 {
			held >>= e.takes()
			count -= e.takes()
			e = distances[e.value()+int(held&(1<<e.codeBits()-1))]
		}
		distance := e.base(held)
		written := end - z.start
		if e&entrySpecial != 0 || distance > z.windowSize || distance > written+z.window.used {
			held, count = before, beforeCount
			break
		}
		held >>= e.takes()
		count -= e.takes()

		if distance > written {
			z.end, z.length, z.distance = end, length, distance
			z.copyMatch()
			end = z.end
			continue
		}
		to, from := out[end:end+length+8], out[end-distance:]
		if distance >= 8 {
			for i := 0; i < length; i += 8 {
				binary.LittleEndian.PutUint64(to[i:], binary.LittleEndian.Uint64(from[i:]))
			}
		} else {
			for i := range length {
				to[i] = from[i]
			}
		}
		end += length
	}
	z.pos, z.end, z.held, z.count = pos, end, held, count
}
