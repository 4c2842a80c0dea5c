package deflate

import (
	"errors"
	"fmt"
)

// ErrCorrupt is what errors wrap that [Inflater.Inflate] returns for input that
// is no deflate stream, or is cut off.
var ErrCorrupt = errors.New("deflate: corrupt data")

// ErrFull is returned by [Inflater.Inflate] if dst has no room for what comes
// next.
var ErrFull = errors.New("deflate: destination is full")

// ErrWork is returned by [Inflater.Inflate] for a message that goes on and on
// without anything coming out.
var ErrWork = errors.New("deflate: too much work for what comes out")

// errMore is returned where all input is used up.
var errMore = errors.New("deflate: more input needed")

// A corruptError is a rule that the compressed data break.
type corruptError struct{ rfc, section, text string }

func (e *corruptError) Error() string {
	return fmt.Sprintf("deflate: %s (RFC %s, section %s)", e.text, e.rfc, e.section)
}

func (e *corruptError) Unwrap() error { return ErrCorrupt }

var (
	errCutOff        = &corruptError{"7692", "7.2.1", "message does not end with an empty stored block"}
	errBlockType     = &corruptError{"1951", "3.2.3", "reserved block type"}
	errStoredLength  = &corruptError{"1951", "3.2.4", "length of a stored block is not that of its complement"}
	errNoEndOfBlock  = &corruptError{"1951", "3.2.5", "no code for the end of the block"}
	errSymbol        = &corruptError{"1951", "3.2.5", "code that stands for nothing"}
	errDistance      = &corruptError{"1951", "3.2.5", "distance goes back beyond the window"}
	errCode          = &corruptError{"1951", "3.2.7", "code lengths that make no complete code"}
	errCodeCounts    = &corruptError{"1951", "3.2.7", "more codes than there are symbols"}
	errNothingBefore = &corruptError{"1951", "3.2.7", "first code length repeats the one before"}
	errRepeat        = &corruptError{"1951", "3.2.7", "code lengths repeated beyond the last"}
)

// What a message costs is counted in bytes: those of its input, and
// workPerCodeTable for each block that brings its codes along, as they are dear
// to read for how few they are to send. It may cost freeWork, and workPerByte
// for each byte that comes out. A sender who flushes a stored block after every
// byte takes eleven.
const (
	freeWork         = 64 << 10
	workPerByte      = 16
	workPerCodeTable = 64
)

// A phase is what the next bits of the input are.
type phase uint8

const (
	inBlockHeader       phase = iota // BFINAL and BTYPE (section 3.2.3)
	inStoredLength                   // LEN and NLEN (section 3.2.4)
	inStored                         // what a stored block holds
	inCodeCounts                     // HLIT, HDIST and HCLEN (section 3.2.7)
	inCodeLengthLengths              // the lengths of the codes for code lengths
	inCodeLengths                    // the lengths of the codes
	inSymbols                        // literals, lengths and distances
)

// An Inflater decompresses the messages of one direction, one after another
// (RFC 7692, section 7.2.2). It may stop after any byte of the input and of the
// output, and goes on there.
//
// With context takeover it holds the window between messages, and less until so
// much has been decompressed. Without, it holds nothing.
//
// An Inflater is for one goroutine at a time.
type Inflater struct {
	windowSize int
	takeover   bool
	err        error  // final
	window     window // what came out before dst[start:]

	// The arguments of Inflate while it runs. out is dst with all its
	// capacity, and written up to end.
	in    []byte
	pos   int
	bits  bitBuffer // what comes before in[pos:]
	out   []byte
	begin int // where this call began to write
	end   int
	start int

	// The message under way, without what this call takes and writes.
	taken    int64
	inflated int64
	tables   int64 // blocks with codes of their own

	// The block under way.
	phase    phase
	final    bool // BFINAL
	stored   int  // bytes to come of a stored block
	codes    *codes
	scratch  *scratch // nil until a block has codes of its own
	length   int      // bytes to come of a match
	distance int
}

// NewInflater returns an Inflater for messages that were compressed with a
// window of 1<<windowBits bytes, which is empty at the beginning of each
// message unless takeover is set. A distance beyond the window is corrupt, also
// where that part of the message is still at hand.
//
// Eight bits are taken for nine: the compressor that most of the world uses
// does not know windows of 256 bytes, and uses 512 when asked for them.
func NewInflater(windowBits int, takeover bool) *Inflater {
	if windowBits < MinWindowBits || windowBits > MaxWindowBits {
		panic(fmt.Sprintf("deflate: window of %d bits", windowBits))
	}
	return &Inflater{windowSize: 1 << max(windowBits, 9), takeover: takeover}
}

// Inflate decompresses src, which begins a message or continues the one under
// way, and may be cut anywhere. It appends what comes out to dst, as far as
// dst's capacity goes, and returns how much of src it took. It may scribble on
// what is left of the capacity.
//
// dst[start:] is what came out of the message before, since it began or since
// [Inflater.Remember]. It may have been moved.
//
// If last is set, src is the last of its message: if the error is nil, the
// message is complete, and what comes next begins another.
//
// The error is nil if all of src was taken. It is [ErrFull] if more is to come
// than dst has room for: Inflate is to be called again with the rest of src,
// the same last, and more room. A dst that is just long enough for the message
// is not full. Other errors are final until Reset: [ErrWork], or one that wraps
// [ErrCorrupt].
func (z *Inflater) Inflate(dst []byte, start int, src []byte, last bool) (out []byte, used int, err error) {
	if z.err != nil {
		return dst, 0, z.err
	}
	z.in, z.pos = src, 0
	z.out, z.begin, z.end, z.start = dst[:cap(dst)], len(dst), len(dst), start
	err = z.run()
	if err == errMore && last {
		err = z.endMessage()
	}
	out, used = z.out[:z.end], z.pos
	z.taken += int64(used)
	z.inflated += int64(z.end - z.begin)
	z.in, z.out = nil, nil

	switch err {
	case nil:
		z.beginMessage()
	case errMore:
		err = nil
	case ErrFull:
	default:
		z.fail(err)
	}
	return out, used, err
}

// Remember takes out, which is dst[start:], into the window, so that the
// message under way may go on in another dst.
func (z *Inflater) Remember(out []byte) { z.window.write(out, z.windowSize) }

// Reset makes z as it was when it was new. It gives up the message under way
// and forgets those before.
func (z *Inflater) Reset() {
	z.window.release()
	z.beginMessage()
	z.err = nil
}

// inflaterSize is at least the bytes of an Inflater itself.
const inflaterSize = 256

// Size returns about how many bytes of memory z holds between messages.
func (z *Inflater) Size() int { return inflaterSize + cap(z.window.ring) }

// run goes from phase to phase until an error says why it can't, which is
// errMore if nothing is wrong.
func (z *Inflater) run() error {
	for {
		var err error
		switch z.phase {
		case inBlockHeader:
			err = z.blockHeader()
		case inStoredLength:
			err = z.storedLength()
		case inStored:
			err = z.copyStored()
		case inCodeCounts:
			err = z.codeCounts()
		case inCodeLengthLengths:
			err = z.codeLengthLengths()
		case inCodeLengths:
			err = z.codeLengths()
		case inSymbols:
			err = z.symbols()
		}
		if err != nil {
			return err
		}
	}
}

// endMessage ends the message of which all input is used up.
//
// "Append 4 octets of 0x00 0x00 0xff 0xff to the tail end of the payload of the
// message." (RFC 7692, section 7.2.2) They are the length of an empty stored
// block whose header the sender has sent. So they are not taken for anything
// else, which a message that was cut off would make of them.
func (z *Inflater) endMessage() error {
	// A sender may also end a message by ending the stream. It ought to add the
	// header of an empty block then (RFC 7692, section 7.2.3.4).
	endOfStream := z.phase == inBlockHeader && z.final
	if z.bits.count > 0 || z.phase != inStoredLength && !endOfStream {
		return errCutOff
	}
	if z.takeover {
		z.Remember(z.out[z.start:z.end])
	} else {
		z.window.release()
	}
	return nil
}

// beginMessage forgets all of the message that was under way but what the
// window holds of it.
func (z *Inflater) beginMessage() {
	z.bits = bitBuffer{}
	z.taken, z.inflated, z.tables = 0, 0, 0
	z.phase, z.final, z.length = inBlockHeader, false, 0
	z.releaseScratch()
}

// fail makes err what z returns until Reset.
func (z *Inflater) fail(err error) {
	z.Reset()
	z.err = err
}

// need reports whether n bits are there, at most 56, after it has tried to get
// them.
func (z *Inflater) need(n uint) bool {
	if z.bits.count < n {
		z.bits, z.pos = z.bits.fill(z.in, z.pos)
	}
	return z.bits.count >= n
}

// take returns the next n bits, which are there, and drops them.
func (z *Inflater) take(n uint) uint {
	v := uint(z.bits.next) & (1<<n - 1)
	z.bits = z.bits.drop(n)
	return v
}

// skipToByte drops what is left of the byte under way.
func (z *Inflater) skipToByte() { z.bits = z.bits.drop(z.bits.count & 7) }

// blockHeader reads "3 header bits containing the following data: first bit
// BFINAL, next 2 bits BTYPE" (section 3.2.3).
func (z *Inflater) blockHeader() error {
	if !z.need(3) {
		return errMore
	}
	z.final = z.take(1) == 1
	switch z.take(2) {
	case blockStored:
		// "Any bits of input up to the next byte boundary are ignored."
		// (section 3.2.4)
		z.skipToByte()
		z.phase = inStoredLength
	case blockFixed:
		z.codes = &fixedCodes
		z.phase = inSymbols
	case blockDynamic:
		z.tables++
		z.phase = inCodeCounts
	default:
		return errBlockType
	}
	return z.checkWork()
}

// checkWork reports whether the message under way costs more than it may. It is
// enough to look at the beginning of each block: inside a block, every two
// bytes of the input make a byte come out.
func (z *Inflater) checkWork() error {
	in := z.taken + int64(z.pos) - int64(z.bits.count/8)
	out := z.inflated + int64(z.end-z.begin)
	if in+workPerCodeTable*z.tables > freeWork+workPerByte*out {
		return ErrWork
	}
	return nil
}

// endBlock ends a block.
//
// "BFINAL is set if and only if this is the last block of the data set."
// (section 3.2.3) What follows then is another data set, of the same stream of
// messages, and begins with a byte.
func (z *Inflater) endBlock() {
	if z.final {
		z.skipToByte()
	}
	z.phase = inBlockHeader
}

func (z *Inflater) storedLength() error {
	if !z.need(32) {
		return errMore
	}
	length, complement := z.take(16), z.take(16)
	if length != complement^0xFFFF {
		return errStoredLength
	}
	z.stored = int(length)
	z.phase = inStored
	return nil
}

func (z *Inflater) copyStored() error {
	for z.stored > 0 && z.bits.count > 0 {
		if z.end == len(z.out) {
			return ErrFull
		}
		z.out[z.end] = byte(z.take(8))
		z.end++
		z.stored--
	}
	if z.bits.count == 0 {
		z.bits = bitBuffer{}
	}
	n := min(z.stored, len(z.in)-z.pos)
	n = copy(z.out[z.end:], z.in[z.pos:z.pos+n])
	z.end += n
	z.pos += n
	z.stored -= n
	switch {
	case z.stored == 0:
		z.endBlock()
		return nil
	case z.pos == len(z.in):
		return errMore
	}
	return ErrFull
}
