package deflate

// The levels of an [Encoder].
const (
	Fast   = 1 // takes each match that it finds
	Better = 2 // looks whether the next byte begins a longer one
)

// maxBlock is how much of a message goes into one block. With the largest window
// before it, it has no more positions than 16 bits can tell apart.
const maxBlock = 32 << 10

// An Encoder compresses the messages of one direction, one after another (RFC
// 7692, section 7.2.1). It never looks back by more than the window, never sets
// BFINAL, and ends each message at the boundary of a byte.
//
// With context takeover it holds the window between messages, and a table to find
// things in it: with 12 bits 7 KB, with 15 bits 44 KB, and less until so much has
// been compressed. Without, it holds nothing.
//
// An Encoder is for one goroutine at a time.
type Encoder struct {
	windowBits uint8
	level      uint8
	takeover   bool
	history    *history // nil before the first message, and where none is kept
}

// NewEncoder returns an Encoder with a window of 1<<windowBits bytes, which is
// empty at the beginning of each message unless takeover is set.
func NewEncoder(windowBits, level int, takeover bool) *Encoder {
	return &Encoder{windowBits: uint8(windowBits), level: uint8(level), takeover: takeover}
}

// AppendMessage appends message, compressed as one whole, without the 00 00 FF
// FF at its end. If that would not be shorter than message, AppendMessage returns
// dst and false, and it is as if it had not been called: the message is not in
// the history.
//
// It allocates nothing if dst has room for what it appends and 8 bytes more.
func (e *Encoder) AppendMessage(dst, message []byte) ([]byte, bool) {
	if len(message) == 0 {
		return dst, false
	}
	s := workspaces.Get().(*workspace)
	defer workspaces.Put(s)
	w := bitWriter{dst: dst}
	if !e.writeBlocks(&w, s, message, len(message)-1) {
		return dst, false
	}
	if e.takeover {
		e.history.append(message)
	}
	return w.endMessage(), true
}

// AppendPart appends the next part of a message that comes in parts, compressed
// or, where that is shorter, as it is. Each part but the last ends with an empty
// stored block, 00 00 FF FF included, so that the receiver can inflate all of
// it; the last without. An empty last part is the byte 00.
//
// The parts of a message are history for those that follow, with or without
// takeover.
func (e *Encoder) AppendPart(dst, part []byte, last bool) []byte {
	keep := e.takeover || !last
	if keep && e.history == nil {
		e.history = newHistory(int(e.windowBits))
	}
	s := workspaces.Get().(*workspace)
	defer workspaces.Put(s)
	w := bitWriter{dst: dst}
	e.writeBlocks(&w, s, part, unlimited)
	if !keep {
		e.Reset()
	} else {
		e.history.append(part)
	}
	if !last {
		return w.endPart()
	}
	return w.endMessage()
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
	return itself + e.history.size()
}
