package deflate

import (
	"math"
	"math/bits"
	"sync"
)

// The levels of an [Encoder].
const (
	Fast   = 1 // takes each match that it finds
	Better = 2 // first looks whether a longer one begins at the next byte
)

// maxBlock is how much of a message goes into one block. With the largest window
// before it, there are no more positions than 16 bits can tell apart.
const maxBlock = 32 << 10

// An Encoder compresses the messages of one direction, one after another (RFC
// 7692, section 7.2.1). It never refers to what is farther back than the window,
// never sets BFINAL, and ends each message at the boundary of a byte.
//
// With context takeover it holds the window between messages, and a table to find
// things in it: 7 KB with 12 bits, 40 KB with 15, and less until so much has been
// compressed. Without, it holds nothing.
//
// An Encoder is for one goroutine at a time.
type Encoder struct {
	windowBits uint8
	level      uint8
	takeover   bool
	history    *history // nil where there is none
}

// NewEncoder returns an Encoder with a window of 1<<windowBits bytes, which is
// empty at the beginning of each message unless takeover is set.
func NewEncoder(windowBits, level int, takeover bool) *Encoder {
	return &Encoder{windowBits: uint8(windowBits), level: uint8(level), takeover: takeover}
}

// AppendMessage appends message, compressed as one whole, without the 00 00 FF
// FF at its end. If that would not be shorter than message, it returns dst and
// false, and it is as if it had not been called: the message is not in the
// history. It does so as well where the beginning of message leaves little hope.
//
// It allocates nothing if dst has room for what it appends and 8 bytes more.
func (e *Encoder) AppendMessage(dst, message []byte) ([]byte, bool) {
	if len(message) == 0 {
		return dst, false
	}
	s := workspaces.Get().(*workspace)
	defer workspaces.Put(s)
	if e.takeover {
		e.remember()
		s.saved = append(s.saved[:0], e.history.table...)
	}
	w := bitWriter{dst: dst, limit: len(dst) + len(message) - 1}
	shorter := e.writeBlocks(&w, s, message)
	switch {
	case !e.takeover:
	case shorter:
		e.history.append(message)
	case len(e.history.bytes) == 0:
		e.Reset() // there is nothing to remember yet
	default:
		copy(e.history.table, s.saved)
	}
	if !shorter {
		return dst, false
	}
	return w.endMessage(), true
}

// AppendPart appends the next part of a message that comes in parts, compressed,
// or as it is where that is shorter. Each part but the last ends with an empty
// stored block, 00 00 FF FF included, so that the receiver can inflate all of it;
// the last ends without. An empty last part is the byte 00.
//
// The parts of a message are history to those that follow, with or without
// takeover.
func (e *Encoder) AppendPart(dst, part []byte, last bool) []byte {
	keep := e.takeover || !last
	if keep {
		e.remember()
	}
	s := workspaces.Get().(*workspace)
	defer workspaces.Put(s)
	w := bitWriter{dst: dst, limit: math.MaxInt}
	e.writeBlocks(&w, s, part)
	if keep {
		e.history.append(part)
	} else {
		e.Reset()
	}
	if last {
		return w.endMessage()
	}
	return w.endPart()
}

// Reset forgets the history: what comes next refers to nothing before.
func (e *Encoder) Reset() {
	if e.history != nil {
		e.history.release()
		e.history = nil
	}
}

// Size returns how many bytes of memory e holds between messages.
func (e *Encoder) Size() int {
	const itself = 16
	if e.history == nil {
		return itself
	}
	return itself + e.history.size()
}

// remember makes a history if there is none.
func (e *Encoder) remember() {
	if e.history == nil {
		e.history = newHistory(int(e.windowBits))
	}
}

// writeBlocks writes p. It gives up, and returns false, where w says that it gets
// too long, or will: what does not get shorter in its first blocks is pictures or
// the like, and goes on so.
func (e *Encoder) writeBlocks(w *bitWriter, s *workspace, p []byte) bool {
	const enough = 2 * maxBlock
	m := e.matcher(s, len(p))
	begin := len(w.dst)
	for done := 0; done < len(p); {
		if done >= enough && w.limit < math.MaxInt && len(w.dst)-begin >= done {
			return false
		}
		n := min(len(p)-done, maxBlock)
		text, start := s.text(e.history, p, done, n)
		b := &s.block
		b.begin(n)
		b.tokens = m.find(b.tokens, text, start, start+n)
		if !b.write(w, p[done:done+n]) {
			return false
		}
		done += n
	}
	return true
}

// matcher returns a matcher for n bytes that follow the history.
func (e *Encoder) matcher(s *workspace, n int) matcher {
	m := matcher{window: 1 << e.windowBits, better: e.level >= Better}
	if h := e.history; h != nil {
		m.table, m.position = h.table, h.end()
	} else {
		m.table, m.position = s.freshTable(n)
	}
	m.shift = uint(64 - bits.Len(uint(len(m.table)-1)))
	return m
}

// A workspace is what an Encoder needs only while it compresses.
type workspace struct {
	textBuffer []byte
	block      block
	saved      []uint16 // the history's table, to put it back

	table [1 << 13]uint16 // for who has no history
	used  int             // all positions in table are smaller
}

var workspaces = sync.Pool{New: func() any {
	s := new(workspace)
	s.block.dynamic.codes.addRaw()
	return s
}}

// text returns the n bytes of p that begin at done, with what they may refer to
// before them and what a matcher looks at behind them, and where they begin.
func (s *workspace) text(h *history, p []byte, done, n int) (text []byte, start int) {
	if done > 0 {
		const before = 1 << MaxWindowBits
		return p[done-before : min(done+n+readAhead, len(p))], before
	}
	var old []byte
	if h != nil {
		if text, start = h.followedBy(p[:n]); text != nil {
			return text, start
		}
		old = h.window()
	}
	s.textBuffer = append(append(s.textBuffer[:0], old...), p[:n]...)
	s.textBuffer = append(s.textBuffer, make([]byte, readAhead)...)
	return s.textBuffer, len(old)
}

// freshTable returns a table for n bytes with nothing before them, and the position
// of the first. It has only to be cleared when all positions are used up: what it
// has of smaller ones is before the beginning.
func (s *workspace) freshTable(n int) (table []uint16, position uint16) {
	if s.used+n > 1<<16 {
		clear(s.table[:])
		s.used = 0
	}
	position = uint16(s.used)
	s.used = min(s.used+n, 1<<16)
	const least, most = 8, 13
	return s.table[:1<<max(least, min(bits.Len(uint(n)), most))], position
}
