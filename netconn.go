package websocket

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
	"unicode/utf8"
)

// netConnPiece is the most that one message of a NetConn carries.
const netConnPiece = 16 << 10

var errOtherType = &protocolError{StatusUnsupportedData, "7.4.1", "message of a type that carries no bytes of the stream"}

// NetConn returns a [net.Conn] that carries a stream of bytes in the messages of c, for
// protocols that know nothing of messages. Where one ends means nothing. It
// must be called before anything is read from or written to c, and nobody else may
// read from c afterwards.
//
// What is written goes in messages of the given type, of up to 16 KiB; with MessageText, each
// Write must be of UTF-8. A Write returns when what it
// wrote is in a buffer of about 64 KiB, as for TCP in the kernel's; if that cannot be sent, the
// next calls say so. A Read accepts messages of that type only, of any length, whatever
// ReadLimit says; another one ends the connection with [StatusUnsupportedData].
//
// When the peer has closed the connection with [StatusNormalClosure], [StatusGoingAway] or without
// a status code, Read returns [io.EOF], or within a message [io.ErrUnexpectedEOF]. When a deadline
// has passed, calls return [os.ErrDeadlineExceeded], and nothing is lost by that: with a new one
// they go on. When ctx ends, they return its cause, and c stays open. Other errors are those of c.
// Close is [Conn.Close], with StatusNormalClosure.
func NetConn(ctx context.Context, c *Conn, typ MessageType) net.Conn {
	if c.readMu.lock(c.Done()) {
		c.mu.Lock()
		c.readLimit = -1
		if c.hold == nil {
			c.hold = new(hold)
		}
		c.mu.Unlock()
		c.unlockRead()
	}
	return &netConn{c: c, typ: typ, reading: newDeadline(ctx), writing: newDeadline(ctx)}
}

// A netConn is what NetConn returns.
type netConn struct {
	c                *Conn
	typ              MessageType
	reading, writing *deadline

	readMu sync.Mutex
	reader *MessageReader // of the message that Read is in, or nil

	writeMu sync.Mutex
}

func (n *netConn) Read(p []byte) (int, error) {
	n.readMu.Lock()
	defer n.readMu.Unlock()
	ctx := n.reading.context()
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	for len(p) > 0 {
		if err := n.awaitMessage(ctx); err != nil {
			return 0, streamError(err, io.EOF)
		}
		m, err := n.reader.Read(p)
		if err == io.EOF {
			n.reader, err = nil, nil
		}
		if m > 0 || err != nil {
			return m, streamError(err, io.ErrUnexpectedEOF)
		}
	}
	return 0, nil
}

// awaitMessage waits for a message, unless there is still one to be read.
func (n *netConn) awaitMessage(ctx context.Context) error {
	if n.reader != nil {
		n.reader.SetContext(ctx)
		return nil
	}
	typ, r, err := n.c.NextReader(ctx)
	switch {
	case err != nil:
		return err
	case typ != n.typ:
		return n.c.fail(errOtherType)
	}
	n.reader = r
	return nil
}

// streamError returns err as a stream has it, with eof for an end that is nobody's failure.
func streamError(err, eof error) error {
	end, ok := errors.AsType[*CloseError](err)
	if ok && !end.Local && (end.Code == StatusNormalClosure || end.Code == StatusGoingAway || end.Code == StatusNoStatusReceived) {
		return eof
	}
	return err
}

func (n *netConn) Write(p []byte) (written int, err error) {
	n.writeMu.Lock()
	defer n.writeMu.Unlock()
	ctx := n.writing.context()
	if err := checkWrite(ctx, n.typ); err != nil {
		return 0, err
	}
	for written < len(p) {
		piece := n.piece(p[written:])
		if err := n.c.send(ctx, &job{opcode: opcode(n.typ), fin: true, payload: piece, promised: true}); err != nil {
			return written, err
		}
		written += len(piece)
	}
	return written, nil
}

// piece returns the beginning of p that goes into one message: of a text, between characters.
func (n *netConn) piece(p []byte) []byte {
	if len(p) <= netConnPiece {
		return p
	}
	end := netConnPiece
	if n.typ == MessageText {
		for end > netConnPiece-utf8.UTFMax && !utf8.RuneStart(p[end]) {
			end--
		}
	}
	return p[:end]
}

func (n *netConn) Close() error {
	n.reading.end(net.ErrClosed)
	n.writing.end(net.ErrClosed)
	return n.c.Close(StatusNormalClosure, "")
}

func (n *netConn) LocalAddr() net.Addr  { return n.c.LocalAddr() }
func (n *netConn) RemoteAddr() net.Addr { return n.c.RemoteAddr() }

func (n *netConn) SetDeadline(t time.Time) error {
	n.SetReadDeadline(t)
	return n.SetWriteDeadline(t)
}

func (n *netConn) SetReadDeadline(t time.Time) error  { return n.reading.set(t) }
func (n *netConn) SetWriteDeadline(t time.Time) error { return n.writing.set(t) }

// A deadline is a time that can be changed, at which calls under its context return
// os.ErrDeadlineExceeded.
type deadline struct {
	parent context.Context

	mu     sync.Mutex
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer // nil: none that counts
	over   error       // why no other can be set
}

func newDeadline(parent context.Context) *deadline {
	d := &deadline{parent: parent}
	d.ctx, d.cancel = context.WithCancelCause(parent)
	return d
}

// context returns a context that ends at the deadline, also if that is changed meanwhile.
func (d *deadline) context() context.Context {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ctx
}

// set sets the deadline to t, or to none.
func (d *deadline) set(t time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over != nil {
		return d.over
	}
	d.stopTimer()
	if d.ctx.Err() != nil {
		d.ctx, d.cancel = context.WithCancelCause(d.parent)
	}
	if t.IsZero() {
		return nil
	}
	wait := time.Until(t)
	if wait <= 0 {
		d.cancel(os.ErrDeadlineExceeded)
		return nil
	}
	var timer *time.Timer
	timer = afterFunc(wait, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.timer == timer { // it was not stopped too late
			d.timer = nil
			d.cancel(os.ErrDeadlineExceeded)
		}
	})
	d.timer = timer
	return nil
}

// end has calls return err, these and all that follow.
func (d *deadline) end(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopTimer()
	d.over = err
	if d.ctx.Err() != nil { // for another reason
		d.ctx, d.cancel = context.WithCancelCause(d.parent)
	}
	d.cancel(err)
}

func (d *deadline) stopTimer() {
	if d.timer != nil {
		stopTimer(d.timer)
		d.timer = nil
	}
}
