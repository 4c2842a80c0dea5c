package deflate

import "encoding/binary"

// symbols reads literals, lengths and distances, up to the end of the block.
func (z *Inflater) symbols() error {
	if err := z.copyMatch(); err != nil {
		return err
	}
	for {
		if len(z.in)-z.pos >= 8 {
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
	z.need(56)
	e, b := find(z.codes.literals[:], z.codes.literalBits, z.bits)
	switch {
	case e.takes() > b.count:
		return false, errMore
	case e&entryLiteral != 0:
		if z.end == len(z.out) {
			return false, ErrFull
		}
		z.out[z.end] = e.literal()
		z.end++
		z.bits = b.drop(e.takes())
		return false, nil
	case e&entryEnd != 0:
		z.bits = b.drop(e.takes())
		z.endBlock()
		return true, nil
	case e&entrySpecial != 0:
		return false, errSymbol
	}
	length := e.base(b.next)

	e, b = find(z.codes.distances[:], z.codes.distanceBits, b.drop(e.takes()))
	switch {
	case e.takes() > b.count:
		return false, errMore
	case e&entrySpecial != 0:
		return false, errSymbol
	}
	distance := e.base(b.next)
	if distance > min(z.windowSize, z.end-z.start+z.window.used) {
		return false, errDistance
	}
	z.bits = b.drop(e.takes())
	z.length, z.distance = length, distance
	return false, z.copyMatch()
}

// copyMatch copies as much of the match under way as there is room for.
func (z *Inflater) copyMatch() error {
	for z.length > 0 {
		if z.end == len(z.out) {
			return ErrFull
		}
		n := min(z.length, len(z.out)-z.end)
		if back := z.distance - (z.end - z.start); back > 0 {
			n = z.window.read(z.out[z.end:z.end+n], back)
		} else {
			copyWithin(z.out[:z.end+n], z.end-z.distance, z.end)
		}
		z.end += n
		z.length -= n
	}
	return nil
}

// copyWithin copies what begins at from to what begins at to, which is behind
// it, up to the end of b. What was copied may have to be copied again.
func copyWithin(b []byte, from, to int) {
	for to < len(b) {
		to += copy(b[to:], b[from:to])
	}
}

// manySymbols reads as many literals, lengths and distances as it can without
// minding the end of the input. It leaves to symbol whatever is not one of
// them, or is one too many.
//
// It is the one loop on which the speed of all but small messages depends.
func (z *Inflater) manySymbols() {
	const (
		literalsAtOnce = 3
		beyond         = 16 // what is written of a match at least, or behind its end
	)
	in, pos, b := z.in, z.pos, z.bits
	out, end := z.out, z.end
	literals, literalMask := &z.codes.literals, uint64(1)<<(z.codes.literalBits&63)-1
	distances, distanceMask := &z.codes.distances, uint64(1)<<(z.codes.distanceBits&63)-1

	for len(in)-pos >= 8 && len(out)-end >= literalsAtOnce {
		b, pos = b.load(in, pos)
		e := literals[b.next&literalMask]
		if e&entryLiteral != 0 {
			out[end] = e.literal()
			end++
			b = b.drop(e.takes())
			e = literals[b.next&literalMask]
			if e&entryLiteral != 0 {
				out[end] = e.literal()
				end++
				b = b.drop(e.takes())
				e = literals[b.next&literalMask]
				if e&entryLiteral != 0 {
					out[end] = e.literal()
					end++
					b = b.drop(e.takes())
					continue
				}
			}
			if len(in)-pos < 8 {
				break
			}
			b, pos = b.load(in, pos)
		}

		// There are at least 56 bits. A length takes 20 with its extra bits, a
		// distance 28.
		rest := b
		if e&entryIndirect != 0 {
			rest = rest.drop(e.takes())
			e = literals[e.second(rest.next)]
			if e&entryLiteral != 0 {
				out[end] = e.literal()
				end++
				b = rest.drop(e.takes())
				continue
			}
		}
		if e&entrySpecial != 0 {
			break
		}
		length := e.base(rest.next)
		rest = rest.drop(e.takes())

		e = distances[rest.next&distanceMask]
		if e&entryIndirect != 0 {
			rest = rest.drop(e.takes())
			e = distances[e.second(rest.next)]
		}
		distance := e.base(rest.next)
		written := end - z.start
		if e&entrySpecial != 0 || distance > z.windowSize || distance > written+z.window.used || length > len(out)-end {
			break
		}
		b = rest.drop(e.takes())

		// Most matches are short, and far enough away to be copied in words.
		var from []byte
		if distance <= written && distance >= 8 {
			from = out[end-distance:]
		} else {
			from = z.window.from(distance-written, length)
		}
		if len(from) < length+beyond || len(out)-end < length+beyond {
			z.end, z.length, z.distance = end, length, distance
			z.copyMatch()
			end = z.end
			continue
		}
		to := out[end:]
		end += length
		binary.LittleEndian.PutUint64(to, binary.LittleEndian.Uint64(from))
		binary.LittleEndian.PutUint64(to[8:], binary.LittleEndian.Uint64(from[8:]))
		for i := 16; i < length; i += 8 {
			binary.LittleEndian.PutUint64(to[i:], binary.LittleEndian.Uint64(from[i:]))
		}
	}
	z.pos, z.end, z.bits = pos, end, b
}
