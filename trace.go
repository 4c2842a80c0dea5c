package websocket

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// A Trace is a set of functions that are told what happens, for logs, metrics and tests. Any of
// them may be nil. One Trace may serve any number of connections, whose functions are then called
// concurrently.
//
// Of a connection, FrameRead and FrameWritten are called in the order of the frames. They, and Pong,
// are called by whoever reads or writes, while nobody else can: they should return soon, and not
// call methods of the connection but those that only look at it. If one panics, the connection ends
// with an error that says so.
type Trace struct {
	// Handshake is called when an opening handshake has ended, in time took: it has led to c, or
	// failed with err and c is nil. It is called before the method that did it returns. The
	// request is the one that was received or, for a Dialer, was to be sent; it must not be
	// changed. It is nil if UpgradeConn could not parse it, and there is no call if a Dialer could
	// not make it.
	Handshake func(c *Conn, r *http.Request, took time.Duration, err error)

	// FrameRead is called when the header of a frame has been received and is without fault. The
	// payload may be yet to come. Frames that were received before the network was lost may be
	// read after Close was called.
	FrameRead func(c *Conn, f Frame)

	// FrameWritten is called when the kernel, or whatever is in its place, has all of a frame.
	FrameWritten func(c *Conn, f Frame)

	// Pong is called when a Ping of the keepalive has been answered, or one of a Conn.Ping that
	// waits for that, with the time between them.
	Pong func(c *Conn, rtt time.Duration)

	// Close is called once for each connection that Handshake was told of, in a goroutine of its
	// own, when the network connection has been closed: after the closing handshake, if there was
	// one. err is what Conn.Err returns.
	Close func(c *Conn, err *CloseError)
}

// A Frame is what the header of a frame says (RFC 6455, section 5.2).
type Frame struct {
	Opcode        int   // 0 continuation, 1 text, 2 binary, 8 Close, 9 Ping, 10 Pong
	Fin           bool  // it is the last of its message
	Compressed    bool  // it is the first of a message that is compressed (RFC 7692, section 6)
	PayloadLength int64 // in bytes, as they are sent
}

// String describes f, such as "text, 125 bytes" or "binary, 16384 bytes, compressed, to be continued".
func (f Frame) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v, %d bytes", opcode(f.Opcode), f.PayloadLength)
	if f.Compressed {
		b.WriteString(", compressed")
	}
	if !f.Fin {
		b.WriteString(", to be continued")
	}
	return b.String()
}

// handshake tells of a handshake that began at that time.
func (t *Trace) handshake(c *Conn, r *http.Request, began time.Duration, err error) {
	if t == nil || t.Handshake == nil {
		return
	}
	returned := false
	defer func() {
		if !returned && c != nil {
			c.CloseNow() // nobody will have it
		}
	}()
	t.Handshake(c, r, now()-began, err)
	returned = true
}

// A connTrace is the Trace of a connection. Nil tells nobody.
type connTrace struct {
	*Trace
	frame   header // the one being written, or the last one
	missing uint64 // what has yet to be written of its payload

	// Conn.mu guards these.
	pinged   time.Duration // when a Ping of the keepalive was last sent
	answered uint64        // the number of the latest Ping that was answered
}

func newConnTrace(t *Trace) *connTrace {
	if t == nil {
		return nil
	}
	return &connTrace{Trace: t}
}

// read tells of a frame that c receives. c.readMu is held.
func (t *connTrace) read(c *Conn, h header) {
	if t != nil && t.FrameRead != nil {
		c.callHook(func() { t.FrameRead(c, h.info()) })
	}
}

// pings notes that a Ping of the keepalive is about to be sent. Conn.mu is held.
func (t *connTrace) pings() {
	if t != nil {
		t.pinged = now()
	}
}

// answers notes that the Ping with that number is answered, which was sent by the user or, if that is zero,
// by the keepalive. It returns when that was, unless it was answered before. Conn.mu is held.
func (t *connTrace) answers(id uint64, sent time.Duration) (_ time.Duration, first bool) {
	if t == nil || id <= t.answered {
		return 0, false
	}
	t.answered = id
	if sent == 0 {
		sent = t.pinged
	}
	return sent, true
}

// pong tells of the Pong to a Ping that left at the time sent. c.readMu is held.
func (t *connTrace) pong(c *Conn, sent time.Duration) {
	if t != nil && t.Pong != nil {
		c.callHook(func() { t.Pong(c, now()-sent) })
	}
}

// written tells of the frames that end in p, which is what c has written next. The
// caller holds the socket.
func (t *connTrace) written(c *Conn, p []byte) {
	if t == nil || t.FrameWritten == nil {
		return
	}
	for len(p) > 0 {
		if t.missing == 0 {
			if len(p) < 2 || len(p) < headerLen(p) {
				return // it is the last, and was cut short
			}
			n := headerLen(p)
			t.frame, _ = parseHeader(p[:n])
			t.missing, p = t.frame.payloadLength, p[n:]
		}
		n := min(t.missing, uint64(len(p)))
		t.missing, p = t.missing-n, p[n:]
		if t.missing == 0 {
			c.callHook(func() { t.FrameWritten(c, t.frame.info()) })
		}
	}
}

// closed tells that the socket was closed. Who closes it may hold locks.
func (t *connTrace) closed(c *Conn) {
	if t != nil && t.Close != nil {
		go t.Close(c, c.end.Load())
	}
}

// info returns what h says to the user.
func (h header) info() Frame {
	return Frame{
		Opcode:        int(h.opcode),
		Fin:           h.fin,
		Compressed:    h.rsv&rsv1 != 0,
		PayloadLength: int64(h.payloadLength),
	}
}

// callHook calls hook, and ends the connection if that panics: to go on panicking would leave others
// waiting for who reads or writes, or from a goroutine of ours end the process.
func (c *Conn) callHook(hook func()) {
	defer func() {
		if v := recover(); v != nil {
			c.lose(fmt.Errorf("websocket: a function of the Trace has panicked: %v", v))
		}
	}()
	hook()
}
