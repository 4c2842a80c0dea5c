package deflate

import (
	"encoding/binary"
	"math"
	"math/bits"
	"sync"
)

const unlimited = math.MaxInt / 2

// A workspace is what an Encoder needs while it compresses.
type workspace struct {
	work []byte
	seqs []sequence

	table [1 << 13]uint16
	next  int // the first position that no entry of table has

	litFreqs  [literalLengthSymbols]uint16
	distFreqs [distanceSymbols]uint16
	lengths   [literalLengthSymbols + distanceSymbols]uint8
	lits      [literalLengthSymbols]codeword
	dists     [distanceSymbols]codeword

	pre      [literalLengthSymbols + distanceSymbols]uint16 // symbol and extra bits<<8
	preN     int
	preFreqs [codeLengthSymbols]uint16
	preLens  [codeLengthSymbols]uint8
	preCodes [codeLengthSymbols]codeword
}

var workspaces = sync.Pool{New: func() any { return new(workspace) }}

// ownTable returns a table for a message of n bytes without history, and the position of its first byte.
func (s *workspace) ownTable(n int) ([]uint16, uint16) {
	if s.next+n > 1<<16 {
		clear(s.table[:])
		s.next = 0
	}
	base := s.next
	s.next = min(s.next+n, 1<<16)
	return s.table[:1<<min(max(bits.Len(uint(n)), 8), 13)], uint16(base)
}

// writeBlocks writes p as blocks of at most maxBlock bytes each, unless the whole would be longer than limit.
func (e *Encoder) writeBlocks(w *bitWriter, s *workspace, p []byte, limit int) bool {
	limit += len(w.dst)
	if e.takeover && e.history == nil {
		e.history = newHistory(int(e.windowBits))
	}
	f := finder{window: 1 << e.windowBits, level: e.level}
	done := 0
	var base uint16
	if h := e.history; h != nil && len(p) > 0 {
		f.table, base = h.table, h.end()
		done = min(len(p), maxBlock)
		b, start := h.followedBy(p[:done], s)
		s.seqs = f.find(s.seqs[:0], b, len(b)-done, start)
		if !w.writeBlock(s, p[:done], limit) {
			return false
		}
	} else {
		f.table, base = s.ownTable(len(p))
	}
	for done < len(p) {
		n := min(len(p)-done, maxBlock)
		s.seqs = f.find(s.seqs[:0], p[:done+n], done, base)
		if !w.writeBlock(s, p[done:done+n], limit) {
			return false
		}
		done += n
	}
	return true
}

func (w *bitWriter) writeBlock(s *workspace, p []byte, limit int) bool {
	tokens, extra, fixed := s.count(p)
	fixed += 3
	size, kind := fixed, blockFixed
	if tokens > 40 {
		if dynamic := s.buildDynamic() + extra + 3; dynamic < size {
			size, kind = dynamic, blockDynamic
		}
	}
	left := limit - len(w.dst)
	if (int(w.n)+size+7)/8 >= storedSize(len(p)) {
		if storedSize(len(p)) >= left {
			return false
		}
		w.writeStored(p)
		return true
	}
	if (int(w.n)+size+3+7)/8 > left {
		return false
	}
	w.grow(size/8 + 1)
	w.write(uint64(kind)<<1, 3)
	if kind == blockFixed {
		w.writeSequences(s.seqs, p, &fixedLits, &fixedDists)
	} else {
		w.writeHeader(s)
		w.writeSequences(s.seqs, p, &s.lits, &s.dists)
	}
	return true
}

func storedSize(n int) int { return n + 5 }

// lengthSymbols has the symbol and the extra bits for each length: symbol | bits<<16 | number<<24
var lengthSymbols = func() (t [maxMatch - minMatch + 1]uint32) {
	for symbol, v := range lengthValues {
		for x := range 1 << v.extra {
			if i := int(v.base) + x - minMatch; i < len(t) {
				t[i] = uint32(firstLength+symbol) | uint32(x)<<16 | uint32(v.extra)<<24
			}
		}
	}
	return
}()

func distanceSymbol(d int) (symbol, extra uint) {
	x := uint(d - 1)
	extra = uint(bits.Len(x|2) - 2)
	return 2*extra + x>>extra, extra
}

var fixedLits, fixedDists = func() (lits [literalLengthSymbols]codeword, dists [distanceSymbols]codeword) {
	var lengths [288]uint8
	for i := range lengths {
		switch {
		case i < 144:
			lengths[i] = 8
		case i < 256:
			lengths[i] = 9
		case i < 280:
			lengths[i] = 7
		default:
			lengths[i] = 8
		}
	}
	var codes [288]codeword
	assignCodes(codes[:], lengths[:])
	copy(lits[:], codes[:])
	for i := range dists {
		dists[i] = codeword(bits.Reverse8(uint8(i<<3))) | 5<<16
	}
	return
}()

func (s *workspace) count(p []byte) (tokens, extra, fixed int) {
	clear(s.litFreqs[:])
	clear(s.distFreqs[:])
	high := 0
	count := func(p []byte) {
		for _, c := range p {
			s.litFreqs[c]++
			if c >= 144 {
				high++
			}
		}
	}
	for _, q := range s.seqs {
		n := q.literals()
		count(p[:n])
		p = p[n+q.length():]
		l := lengthSymbols[q.length()-minMatch]
		s.litFreqs[l&0x1FF]++
		symbol, x := distanceSymbol(q.distance())
		s.distFreqs[symbol]++
		extra += int(l>>24) + int(x)
		fixed += int(fixedLits[l&0x1FF].length()) + 5
		tokens += n + 1
	}
	tokens += len(p)
	count(p)
	s.litFreqs[endOfBlock] = 1
	fixed += 8*(tokens-len(s.seqs)) + high + 7 + extra
	return
}

func (s *workspace) buildDynamic() int {
	lits, dists := s.lengths[:literalLengthSymbols], s.lengths[literalLengthSymbols:]
	assignLengths(lits, s.litFreqs[:], maxCodeLength-1)
	assignLengths(dists, s.distFreqs[:], maxCodeLength)
	assignCodes(s.lits[:], lits)
	assignCodes(s.dists[:], dists)
	size := 0
	for i, n := range s.litFreqs {
		size += int(n) * int(lits[i])
	}
	for i, n := range s.distFreqs {
		size += int(n) * int(dists[i])
	}

	hlit, hdist := s.headerCounts()
	clear(s.preFreqs[:])
	s.preN = 0
	put := func(symbol, extra int) {
		s.pre[s.preN] = uint16(symbol | extra<<8)
		s.preN++
		s.preFreqs[symbol]++
	}
	var all [literalLengthSymbols + distanceSymbols]uint8
	lens := append(append(all[:0], lits[:hlit]...), dists[:hdist]...)
	for len(lens) > 0 {
		l := lens[0]
		run := 1
		for run < len(lens) && lens[run] == l {
			run++
		}
		lens = lens[run:]
		if l != 0 {
			put(int(l), 0)
			run--
		}
		for run >= 3 {
			switch {
			case l != 0:
				n := min(run, 6)
				put(repeatPrevious, n-3)
				run -= n
			case run <= 10:
				put(repeatZero, run-3)
				run = 0
			default:
				n := min(run, 138)
				put(repeatZeroLonger, n-11)
				run -= n
			}
		}
		for range run {
			put(int(l), 0)
		}
	}
	assignLengths(s.preLens[:], s.preFreqs[:], maxCodeLengthCodeLength)
	assignCodes(s.preCodes[:], s.preLens[:])
	for i, n := range s.preFreqs {
		size += int(n) * int(s.preLens[i])
	}
	size += 2*int(s.preFreqs[16]) + 3*int(s.preFreqs[17]) + 7*int(s.preFreqs[18])
	return size + 14 + 3*s.hclen()
}

func (s *workspace) headerCounts() (hlit, hdist int) {
	hlit, hdist = literalLengthSymbols, distanceSymbols
	for s.lengths[hlit-1] == 0 {
		hlit--
	}
	for hdist > 1 && s.lengths[literalLengthSymbols+hdist-1] == 0 {
		hdist--
	}
	return
}

func (s *workspace) hclen() int {
	n := codeLengthSymbols
	for n > 4 && s.preLens[codeLengthOrder[n-1]] == 0 {
		n--
	}
	return n
}

func (w *bitWriter) writeHeader(s *workspace) {
	hlit, hdist := s.headerCounts()
	hclen := s.hclen()
	w.write(uint64(hlit-257)|uint64(hdist-1)<<5|uint64(hclen-4)<<10, 14)
	for _, symbol := range codeLengthOrder[:hclen] {
		w.write(uint64(s.preLens[symbol]), 3)
	}
	for _, x := range s.pre[:s.preN] {
		c := s.preCodes[x&0xFF]
		w.write(c.bits(), c.length())
		switch x & 0xFF {
		case 16:
			w.write(uint64(x>>8), 2)
		case 17:
			w.write(uint64(x>>8), 3)
		case 18:
			w.write(uint64(x>>8), 7)
		}
	}
}

func (w *bitWriter) writeSequences(seqs []sequence, p []byte, lits *[literalLengthSymbols]codeword, dists *[distanceSymbols]codeword) {
	out := w.dst[:cap(w.dst)]
	at := len(w.dst)
	acc, n := w.bits, w.n
	flush := func() {
		binary.LittleEndian.PutUint64(out[at:], acc)
		at += int(n >> 3)
		acc >>= n &^ 7 & 63
		n &= 7
	}
	literals := func(p []byte) {
		for len(p) >= 4 {
			for _, c := range p[:4] {
				acc |= lits[c].bits() << (n & 63)
				n += lits[c].length()
			}
			flush()
			p = p[4:]
		}
		for _, c := range p {
			acc |= lits[c].bits() << (n & 63)
			n += lits[c].length()
		}
		flush()
	}
	for _, q := range seqs {
		k := q.literals()
		literals(p[:k])
		p = p[k+q.length():]
		l := lengthSymbols[q.length()-minMatch]
		c := lits[l&0x1FF]
		acc |= c.bits() << (n & 63)
		n += c.length()
		acc |= uint64(l>>16&0xFF) << (n & 63)
		n += uint(l >> 24)
		x := uint(q.distance() - 1)
		symbol, extra := distanceSymbol(q.distance())
		c = dists[symbol]
		acc |= c.bits() << (n & 63)
		n += c.length()
		acc |= uint64(x&(1<<extra-1)) << (n & 63)
		n += extra
		flush()
	}
	literals(p)
	acc |= lits[endOfBlock].bits() << (n & 63)
	n += lits[endOfBlock].length()
	flush()
	w.dst, w.bits, w.n = w.dst[:at], acc, n
}
