package websocket

import (
	"sync/atomic"
	"time"
)

// holdTime is for how long a frame is held at the most.
const holdTime = time.Millisecond

// A hold keeps frames that leave together, for Batching: while messages that were
// received wait to be read, there will soon be answers to them. Conn.mu guards
// it, but for ahead.
type hold struct {
	buf   *[]byte     // frames in their order, which go before any other; nil: none
	timer *time.Timer // nil before the first that was held for company
	timed bool        // timer runs, or has just fired

	// ahead says that a frame lies whole in what was received and not read. The
	// holder of readMu sets it.
	ahead atomic.Bool
}

func (h *hold) setAhead(ahead bool) {
	if h.ahead.Load() != ahead {
		h.ahead.Store(ahead)
	}
}

// due reports whether what is held is to leave now.
func (h *hold) due() bool { return !h.ahead.Load() || len(*h.buf) >= batchSize }

// holds reports whether there are frames that are held. c.mu is held.
func (c *Conn) holds() bool { return c.hold != nil && c.hold.buf != nil }

// keep makes the frames of j, and holds them, if they may be held and there is room
// among the others. It reports whether it did. c.mu is held.
func (c *Conn) keep(j *job) bool {
	if c.hold == nil || c.busy && !c.sending || c.queue.head != nil {
		return false
	}
	return c.keepInTurn(j)
}

// keepQueued is keep for those in the queue, as far as it goes. c.mu is held, and
// by the caller the socket.
func (c *Conn) keepQueued() {
	if c.hold == nil {
		return
	}
	for w := c.queue.head; w != nil && c.keepInTurn(&w.job); w = c.queue.head {
		c.queue.pop()
		w.finish(finished, nil)
	}
}

// keepInTurn is keep for j if it is j's turn.
func (c *Conn) keepInTurn(j *job) bool {
	h := c.hold
	switch {
	case j.isFlush() || j.opcode.isControl() || !j.small():
		return false
	case h.buf == nil:
		h.buf = getWriteBuffer()
	case len(*h.buf) >= batchSize:
		return false
	}
	b := batch{c: c, buf: h.buf}
	b.add(j) // which is small, so it flushes nothing
	return true
}

// wait has what is held sent after holdTime, by send. Conn.mu is held.
func (h *hold) wait(send func()) {
	h.timed = true
	if h.timer == nil {
		h.timer = afterFunc(holdTime, send)
	} else {
		resetTimer(h.timer, holdTime)
	}
}

// takeHeld returns a buffer with the frames that are held, to be sent. c.mu is
// held.
func (c *Conn) takeHeld() *[]byte {
	if !c.holds() {
		return getWriteBuffer()
	}
	buf := c.hold.buf
	c.hold.buf = nil
	if c.hold.timed {
		c.hold.timed = false
		stopTimer(c.hold.timer)
	}
	return buf
}
