package websocket

import (
	"context"
	"errors"
	"io"
	"iter"
	"math"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// ErrConcurrentRead is returned by a read that begins while another one is in
// progress, or in the body of [Conn.Messages].
var ErrConcurrentRead = errors.New("websocket: another read is in progress")

var (
	errReaderOver     = errors.New("websocket: the rest of the message was discarded by a later read")
	errUnexpectedData = &protocolError{StatusPolicyViolation, "7.4.1", "data message to an endpoint that reads none"}
)

// A readHalf is what reading needs. It belongs to the holder of readMu: to a
// read in progress, or to Close. In between it rests wherever the bytes that
// came have led it, even within a header:
//
//	in.underWay()   reader   skipping
//	false           -        -          between two messages
//	true            nil      false      a Read was cut short; unfinished has the beginning
//	true            set      false      a MessageReader gives the message out
//	true            nil      true       the rest of the message is of no interest
type readHalf struct {
	readMu lock
	input  input
	in     sequence

	// The data frame under way. Its payloadLength is what has yet to come, its
	// maskingKey rotated accordingly.
	frame header

	// The message under way.
	typ        MessageType
	skipping   bool           // it is of no interest any more
	reader     *MessageReader // gives it out
	unfinished []byte         // left by a read whose context ended; inflated

	readGuards guards
}

// beginRead makes the caller the one reader and gives it the read half.
func (c *Conn) beginRead(ctx context.Context) error {
	if err := c.reserve(); err != nil {
		return err
	}
	if err := c.lockRead(ctx); err != nil {
		c.reserved.Store(false)
		return err
	}
	return nil
}

// reserve makes the caller the one reader.
func (c *Conn) reserve() error {
	if c.reserved.CompareAndSwap(false, true) {
		return nil
	}
	if end := c.Err(); end != nil {
		return end // the other will hear of it, too
	}
	return ErrConcurrentRead
}

// endRead gives back what beginRead took.
func (c *Conn) endRead() {
	c.unlockRead()
	c.reserved.Store(false)
}

// lockRead takes the read half. A context that has ended with the connection
// does not keep the caller from what was received before.
func (c *Conn) lockRead(ctx context.Context) error {
	ended := ctx.Err() != nil
	if ended && context.Cause(ctx) != c.Err() {
		return context.Cause(ctx)
	}
	if c.readMu.tryLock() {
		return nil
	}
	var giveUp <-chan struct{}
	if !ended {
		giveUp = ctx.Done()
	}
	if !c.readMu.lock(giveUp) {
		return context.Cause(ctx)
	}
	return nil
}

// unlockRead lets go of the read half. It leaves what holds memory only if that
// is still of use.
func (c *Conn) unlockRead() {
	end := c.end.Load()
	c.input.release()
	if end != nil {
		c.readGuards.drop()
		if !end.isLoss() {
			c.input.drop()
			c.compression.forgetRead()
		}
	}
	c.readMu.unlock()
	if end == nil && c.end.Load() != nil && c.readMu.tryLock() {
		c.unlockRead() // it has ended between
	}
}

// Read reads a message, and returns it in a slice of its own.
//
// It waits for the message until ctx ends, whose cause it then returns. Nothing
// is lost by that: the connection stays usable, and the next read goes on with
// the byte where this one stopped.
//
// When the connection has ended, Read returns a [*CloseError]. Messages that
// were received whole before the end are returned first.
func (c *Conn) Read(ctx context.Context) (MessageType, []byte, error) {
	return c.ReadAppend(ctx, nil)
}

// ReadAppend is like [Conn.Read], but appends the message to dst, and allocates
// nothing once dst has room. If it returns an error, the slice it returns has
// the length of dst.
func (c *Conn) ReadAppend(ctx context.Context, dst []byte) (MessageType, []byte, error) {
	if err := c.beginRead(ctx); err != nil {
		return 0, dst, err
	}
	err := c.awaitMessage(ctx)
	if err == nil {
		dst, err = c.appendMessage(ctx, dst)
	}
	typ := c.typ
	c.endRead()
	return typ, dst, err
}

// appendMessage appends the next message, or what a read that was cut short has left
// of the last one, to dst. c.readMu is held.
func (c *Conn) appendMessage(ctx context.Context, dst []byte) ([]byte, error) {
	h, src, ok := c.takeWhole()
	if !ok {
		return c.gatherFor(ctx, dst)
	}
	n := len(dst)
	var buf []byte
	if cap(dst)-n >= len(src) {
		buf = dst[:n+len(src)]
	} else { // without zeroing what is overwritten
		buf = append(dst, src...)
		src = buf[n:]
	}
	if err := c.receiveWhole(buf[n:], h, src); err != nil {
		return dst, err
	}
	return buf, nil
}

// gatherFor appends a message to dst that has not come whole. If dst might have to
// grow more than once for it, it is gathered elsewhere first.
func (c *Conn) gatherFor(ctx context.Context, dst []byte) ([]byte, error) {
	if !c.in.underWay() {
		if more, err := c.advance(ctx); err != nil || !more {
			return dst, err
		}
	}
	n, room := c.frame.payloadLength, uint64(cap(dst)-len(dst))
	if n <= room && room > 0 || n <= maxGrowth && c.frame.fin && !c.in.compressed {
		return c.gatherMessage(ctx, dst)
	}
	buf := getMessageBuffer()
	defer putMessageBuffer(buf)
	var err error
	if *buf, err = c.gatherMessage(ctx, (*buf)[:0]); err != nil {
		return dst, err
	}
	return append(dst, *buf...), nil
}

// Messages returns an iterator over the messages that come. The Data of one is
// valid until the body returns, which may change it, and may write to and close
// the connection; a read in the body fails with ErrConcurrentRead.
//
// An error is yielded once, as the last pair: the cause of ctx, or the
// [*CloseError] of a connection that ended. The loop ends without one if the
// peer closed the connection with [StatusNormalClosure], [StatusGoingAway] or
// without a status code, and after Close or CloseNow on this side. After a
// break, or the end of ctx, the connection is as usable as before.
func (c *Conn) Messages(ctx context.Context) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		err := c.reserve()
		if err == nil {
			defer c.reserved.Store(false)
			var lent loan
			defer func() { lent.giveBack(c) }() // also if the body panics
			for {
				var m Message
				if m, err = c.nextMessage(ctx, &lent); err != nil {
					break
				}
				if !yield(m, nil) {
					return
				}
				lent.giveBack(c)
				lent = loan{}
			}
		}
		if !c.endedQuietly() {
			yield(Message{}, err)
		}
	}
}

// nextMessage reads a message for one turn of Messages.
func (c *Conn) nextMessage(ctx context.Context, lent *loan) (m Message, err error) {
	if err = c.lockRead(ctx); err != nil {
		return m, err
	}
	if err = c.awaitMessage(ctx); err == nil {
		m.Data, *lent, err = c.borrowMessage(ctx)
	}
	m.Type = c.typ
	c.unlockRead()
	return m, err
}

// endedQuietly reports whether the connection has ended in a way that is
// nobody's failure.
func (c *Conn) endedQuietly() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.quiet && c.end.Load() != nil
}

// A loan is the buffer that a message of Messages lies in.
type loan struct {
	shared  *readBuffer // with what is unread, or nil
	whole   *readBuffer // with nothing else in it, or nil
	message *[]byte     // from messageBuffers, or nil
}

// giveBack ends the loan. c.readMu is not held.
func (l loan) giveBack(c *Conn) {
	switch {
	case l.whole != nil:
		l.whole.free()
	case l.message != nil:
		putMessageBuffer(l.message)
	case l.shared == nil:
	case !c.input.lent.CompareAndSwap(lent, notLent):
		c.input.lent.Store(notLent)
		l.shared.free()
	case c.end.Load() != nil && c.readMu.tryLock():
		c.unlockRead() // there is nothing left that the buffer is needed for
	}
}

// borrowMessage reads a message without giving it a slice of its own. c.readMu
// is held.
func (c *Conn) borrowMessage(ctx context.Context) ([]byte, loan, error) {
	h, src, ok := c.takeWhole()
	if ok && c.input.buf != nil { // and may stay there
		if err := c.receiveWhole(src, h, src); err != nil {
			return nil, loan{}, err
		}
		return src, c.input.lend(), nil
	}
	buf := getMessageBuffer()
	var err error
	if ok {
		*buf = append((*buf)[:0], src...)
		err = c.receiveWhole(*buf, h, *buf)
	} else {
		*buf, err = c.gatherMessage(ctx, (*buf)[:0])
	}
	if err != nil {
		putMessageBuffer(buf)
		return nil, loan{}, err
	}
	return *buf, loan{message: buf}, nil
}

// awaitMessage waits for something to be received between two messages. A read in a
// loop spends its time here, where the stack is so low that the goroutine
// needs no more than the smallest one. c.readMu is held.
func (c *Conn) awaitMessage(ctx context.Context) error {
	if c.in.underWay() || len(c.input.unread) > 0 {
		return nil
	}
	return c.fill(ctx, aFrame)
}

// takeWhole takes the next message if it has come whole, in one frame and not
// compressed, as most have. receiveWhole has to follow then, and gatherMessage
// otherwise. c.readMu is held.
func (c *Conn) takeWhole() (h header, payload []byte, ok bool) {
	if end := c.end.Load(); c.in.underWay() || end != nil && !end.isLoss() {
		return h, nil, false
	}
	h, n, ok := parseMessage(c.input.unread, c.side, c.limit())
	if !ok {
		return h, nil, false
	}
	c.typ = MessageType(h.opcode)
	c.trace.read(c, h)
	return h, c.input.take(n + int(h.payloadLength))[n:], true
}

// receiveWhole admits what takeWhole has taken, and unmasks it into dst, which may
// be payload.
func (c *Conn) receiveWhole(dst []byte, h header, payload []byte) error {
	h.unmask(dst, payload)
	if h.opcode == opText && utf8Accept.next(dst) != utf8Accept {
		return c.fail(errInvalidUTF8)
	}
	c.lookAhead()
	return nil
}

// gatherMessage appends a message to dst as it comes, from its beginning or where
// a read that was cut short has stopped. c.readMu is held.
func (c *Conn) gatherMessage(ctx context.Context, dst []byte) ([]byte, error) {
	if err := c.skipReader(ctx); err != nil {
		return dst, err
	}
	buf, start := dst, len(dst)
	resumed := c.unfinished != nil
	if resumed {
		buf, start = c.unfinished, 0
	}
	entry := len(buf)
	for {
		more, err := c.advance(ctx)
		if more && err == nil {
			if c.in.compressed {
				buf, err = c.appendInflated(ctx, buf, start, entry)
			} else {
				buf, err = c.appendPayload(ctx, buf, start)
			}
		}
		switch {
		case err != nil:
			c.remember(buf[entry:])
			if resumed {
				c.unfinished = buf
			} else if len(buf) > start {
				c.unfinished = slices.Clone(buf[start:]) // dst is the caller's
			}
			return dst, err
		case more:
		case resumed:
			c.unfinished = nil
			return append(dst, buf...), nil
		default:
			return buf, nil
		}
	}
}

// advance goes on to payload of the message under way, or of the next one if
// there is none, and reports whether there is some, rather than the message's
// end. Of a compressed message, there is some until it is inflated to its end,
// though no more may be to come. c.readMu is held.
func (c *Conn) advance(ctx context.Context) (more bool, err error) {
	if end := c.end.Load(); end != nil && !end.isLoss() {
		return false, end
	}
	for c.frame.payloadLength == 0 {
		switch {
		case c.in.pending || c.in.compressed && c.frame.fin:
			return true, nil
		case c.in.underWay() && c.frame.fin:
			return false, c.endMessage()
		}
		if err := c.nextFrame(ctx); err != nil {
			return false, err
		}
	}
	return true, nil
}

// endMessage notes that the message under way has ended.
func (c *Conn) endMessage() error {
	if err := c.in.end(); err != nil {
		return c.fail(err)
	}
	c.lookAhead()
	return nil
}

// lookAhead tells who writes whether there is more to be read, for Batching.
func (c *Conn) lookAhead() {
	if !c.batching {
		return
	}
	if !beginsWithFrame(c.input.unread) {
		c.sock.readOn(&c.input)
	}
	c.hold.setAhead(beginsWithFrame(c.input.unread))
}

// nextFrame reads the header of the next data frame, and all control frames
// before it. c.readMu is held.
func (c *Conn) nextFrame(ctx context.Context) error {
	for {
		h, n, err := c.peekHeader(ctx)
		if err != nil {
			return err
		}
		if !h.opcode.isControl() {
			c.input.take(n)
			c.frame = h
			if h.opcode != opContinuation {
				c.typ = MessageType(h.opcode)
			}
			c.trace.read(c, h)
			return nil
		}
		n += int(h.payloadLength)
		for len(c.input.unread) < n {
			if err := c.fill(ctx, n); err != nil {
				return err
			}
		}
		payload := c.input.take(n)[n-int(h.payloadLength):]
		c.trace.read(c, h)
		if h.masked {
			mask(payload, h.maskingKey)
		}
		if err := c.receiveControl(h.opcode, payload); err != nil {
			return err
		}
	}
}

// peekHeader returns the header of the next frame and its length, without
// taking it. A data frame's has been admitted by c.in, and must be taken.
func (c *Conn) peekHeader(ctx context.Context) (h header, n int, err error) {
	for n = 2; ; {
		if len(c.input.unread) < n {
			if err := c.fill(ctx, aFrame); err != nil {
				return h, 0, err
			}
			continue
		}
		if m := headerLen(c.input.unread); m > n {
			n = m
			continue
		}
		h, err = parseHeader(c.input.unread[:n])
		if err == nil {
			err = h.check(c.side, c.reservedBits())
		}
		if err == nil {
			err = c.in.next(h, c.limit())
		}
		if err != nil {
			err = c.fail(err)
		}
		return h, n, err
	}
}

// reservedBits returns those that have been given a meaning.
func (c *Conn) reservedBits() uint8 {
	if c.compression != nil {
		return rsv1
	}
	return 0
}

// limit returns the most payload that a message may have.
func (c *Conn) limit() uint64 {
	if c.readLimit < 0 {
		return math.MaxUint64
	}
	return uint64(c.readLimit)
}

// receiveControl does what a control frame asks for. If it was a Close, that is
// an error: the end of the connection.
func (c *Conn) receiveControl(op opcode, payload []byte) error {
	switch op {
	case opClose:
		return c.receiveClose(payload)
	case opPong:
		c.receivePong(payload)
	case opPing:
		// "Upon receipt of a Ping frame, an endpoint MUST send a Pong frame in
		// response, unless it already received a Close frame." (section 5.5.2)
		// But our Close is the last frame that we send.
		c.mu.Lock()
		if c.closing == 0 {
			c.owed.addPong(payload)
		}
		c.mu.Unlock()
		c.settle()
	}
	return nil
}

// A payload that has this much to come is read straight to where it goes, and
// not by way of the buffer.
const directLength = 8 << 10

// appendPayload appends to buf what has come of the payload, or comes next. The
// message begins at start. There is payload to come. c.readMu is held.
func (c *Conn) appendPayload(ctx context.Context, buf []byte, start int) ([]byte, error) {
	end := len(buf)
	remaining := c.frame.payloadLength
	if len(c.input.unread) == 0 && (remaining >= directLength || c.sock.direct()) {
		buf = grow(buf, start, remaining)
		room := uint64(cap(buf) - end)
		n, err := c.readInto(ctx, buf[end:end+int(min(remaining, room))])
		if err != nil {
			return buf[:end], err
		}
		buf = buf[:end+n]
		return buf, c.received(buf[end:], buf[end:])
	}
	chunk, err := c.nextChunk(ctx, remaining)
	if err != nil {
		return buf, err
	}
	for len(chunk) > 0 && err == nil {
		buf = grow(buf, start, c.frame.payloadLength)
		n := min(len(chunk), cap(buf)-len(buf))
		buf = buf[:len(buf)+n]
		err = c.received(buf[len(buf)-n:], chunk[:n])
		chunk = chunk[n:]
	}
	return buf, err
}

// nextChunk takes at most n bytes of what is unread, of which it waits for one.
func (c *Conn) nextChunk(ctx context.Context, n uint64) ([]byte, error) {
	if len(c.input.unread) == 0 {
		if err := c.fill(ctx, 1); err != nil {
			return nil, err
		}
	}
	return c.input.take(int(min(n, uint64(len(c.input.unread))))), nil
}

// A buffer for a message grows by this, or by as much as has come of the message.
const maxGrowth = 64 << 10

// grow makes room in buf for some of the n bytes that are to come: never for
// more than maxGrowth or, if that is more, than have come since start. What the
// peer has announced costs us nothing until it sends it.
func grow(buf []byte, start int, n uint64) []byte {
	if room := cap(buf) - len(buf); room >= directLength || uint64(room) >= n {
		return buf
	}
	return slices.Grow(buf, int(min(n, uint64(max(maxGrowth, len(buf)-start)))))
}

// received admits src as the next payload of the frame under way, and unmasks
// it into dst, which may be src.
func (c *Conn) received(dst, src []byte) error {
	c.frame.unmask(dst, src)
	c.frame.maskingKey = rotate(c.frame.maskingKey, len(src))
	c.frame.payloadLength -= uint64(len(src))
	if err := c.in.payload(dst); err != nil {
		return c.fail(err)
	}
	return nil
}

// appendInflated appends to buf what the payload that has come, or comes next,
// inflates to. The message begins at start, and what the window does not have
// yet at entry. c.readMu is held.
func (c *Conn) appendInflated(ctx context.Context, buf []byte, start, entry int) ([]byte, error) {
	if err := c.awaitCompressed(ctx); err != nil {
		return buf, err
	}
	for full := cap(buf) == 0; ; {
		if full {
			// A guess at first; then twice the size.
			come := min(c.frame.payloadLength, uint64(len(c.input.unread)))
			guess := max(512, 4*come, uint64(len(buf)-start))
			buf = grow(buf, start, min(guess, c.limit()-c.in.inflated))
		}
		var err error
		if buf, full, err = c.inflate(buf, entry); err != nil || !full {
			return buf, err
		}
	}
}

// awaitCompressed waits until there is something to inflate.
func (c *Conn) awaitCompressed(ctx context.Context) error {
	if c.in.pending || c.frame.payloadLength == 0 || len(c.input.unread) > 0 {
		return nil
	}
	return c.fill(ctx, int(min(c.frame.payloadLength, readBufferLength)))
}

// inflate inflates what has come of the payload of a compressed message, and
// appends it to dst as far as that has room. dst[start:] is what the window does not have yet.
// It reports whether dst is full and there is more. After the end of the message
// the window has everything. c.readMu is held.
func (c *Conn) inflate(dst []byte, start int) (_ []byte, full bool, err error) {
	allowed := c.limit() - c.in.inflated
	space := min(allowed, uint64(cap(dst)-len(dst)))
	room := dst[: len(dst) : len(dst)+int(space)]
	// A little space takes little of what has come: the rest need not be unmasked
	// each time.
	src := c.input.unread[:min(c.frame.payloadLength, uint64(len(c.input.unread)), space+64)]
	last := c.frame.fin && uint64(len(src)) == c.frame.payloadLength

	key := c.frame.maskingKey
	if c.frame.masked {
		mask(src, key)
	}
	out, used, full, err := c.compression.inflate(room, start, src, last)
	if c.frame.masked {
		c.frame.maskingKey = rotate(key, used)
		mask(src[used:], c.frame.maskingKey) // what stays, stays as it came
	}
	c.input.take(used)
	c.frame.payloadLength -= uint64(used)
	fresh := out[len(dst):]
	c.in.inflated += uint64(len(fresh))
	if err == nil && full && uint64(len(fresh)) == allowed {
		err = ErrMessageTooBig
	}
	if text := c.in.payload(fresh); text != nil {
		err = text // which came first
	}
	if err != nil {
		return dst, false, c.fail(err)
	}
	c.in.pending = full
	c.in.compressed = full || !last
	return dst[:len(out)], full, nil
}

// remember brings the window up to date with what was inflated of a message that
// goes on elsewhere. c.readMu is held.
func (c *Conn) remember(p []byte) {
	if c.in.compressed && len(p) > 0 {
		c.compression.inflater.Remember(p)
	}
}

// discard reads and drops the message under way, or the next one if there is
// none. c.readMu is held.
func (c *Conn) discard(ctx context.Context) error {
	for {
		more, err := c.advance(ctx)
		switch {
		case err != nil || !more:
			return err
		case c.in.compressed:
			err = c.discardInflated(ctx)
		default:
			var chunk []byte
			if chunk, err = c.nextChunk(ctx, c.frame.payloadLength); err == nil {
				err = c.received(chunk, chunk)
			}
		}
		if err != nil {
			return err
		}
	}
}

// discardInflated is discard for the payload that has come, or comes next, of a
// compressed message. The messages to come may refer to it.
func (c *Conn) discardInflated(ctx context.Context) error {
	if err := c.awaitCompressed(ctx); err != nil {
		return err
	}
	buf := getReadBuffer(false)
	defer buf.free()
	for full := true; full; {
		var out []byte
		var err error
		if out, full, err = c.inflate((*buf)[:0], 0); err != nil {
			return err
		}
		c.remember(out)
	}
	return nil
}

// skipReader discards what a MessageReader has left unread. c.readMu is held.
func (c *Conn) skipReader(ctx context.Context) error {
	c.skipping = c.skipping || c.reader != nil
	if c.skipping {
		c.reader, c.unfinished = nil, nil
		if err := c.discard(ctx); err != nil {
			return err
		}
		c.skipping = false
	}
	return nil
}

// A MessageReader reads one message as its bytes come. It must not be used
// concurrently.
type MessageReader struct {
	c   *Conn
	ctx context.Context
	end error // io.EOF, once the message was read
}

// NextReader waits for a message to begin, and returns a reader of it. If the
// last MessageReader was not read to its end, its message's rest is discarded
// first, and it returns an error from then on.
//
// ctx is good for NextReader and the MessageReader. When it ends, nothing is
// lost, see [MessageReader.SetContext] and [Conn.Read].
func (c *Conn) NextReader(ctx context.Context) (MessageType, *MessageReader, error) {
	if err := c.beginRead(ctx); err != nil {
		return 0, nil, err
	}
	defer c.endRead()
	if err := c.skipReader(ctx); err != nil {
		return 0, nil, err
	}
	r := &MessageReader{c: c, ctx: ctx}
	if !c.in.underWay() {
		more, err := c.advance(ctx)
		if err != nil {
			return 0, nil, err
		}
		if !more {
			r.end = io.EOF
			return c.typ, r, nil
		}
	}
	c.reader = r
	return c.typ, r, nil
}

// SetContext replaces the context that the reader waits under. A Read that was
// cut short by the one before can so be repeated.
func (r *MessageReader) SetContext(ctx context.Context) { r.ctx = ctx }

// Read implements [io.Reader]. It returns [io.EOF] at the end of the message,
// only then. A text is checked to be UTF-8 as it comes (RFC 6455, section 8.1),
// so the last piece of what came before an error may end within a character.
func (r *MessageReader) Read(p []byte) (int, error) {
	if r.end != nil {
		return 0, r.end
	}
	if len(p) == 0 {
		return 0, nil
	}
	c := r.c
	if err := c.beginRead(r.ctx); err != nil {
		return 0, err
	}
	defer c.endRead()
	if c.reader != r {
		r.end = errReaderOver
		if end := c.Err(); end != nil {
			r.end = end
		}
		return 0, r.end
	}
	if len(c.unfinished) > 0 {
		n := copy(p, c.unfinished)
		c.unfinished = c.unfinished[n:]
		return n, nil
	}
	c.unfinished = nil
	for {
		more, err := c.advance(r.ctx)
		if err != nil {
			return 0, err
		}
		if !more {
			c.reader, r.end = nil, io.EOF
			return 0, io.EOF
		}
		n, err := c.readSome(r.ctx, p)
		if n > 0 || err != nil { // of a compressed message, nothing may come of a lot
			return n, err
		}
	}
}

// readSome reads payload into p as far as it has come. There is payload to
// come. c.readMu is held.
func (c *Conn) readSome(ctx context.Context, p []byte) (int, error) {
	if c.in.compressed {
		return c.readInflated(ctx, p)
	}
	remaining := c.frame.payloadLength
	p = p[:min(remaining, uint64(len(p)))]
	if len(c.input.unread) == 0 && (len(p) >= directLength || c.sock.direct()) {
		n, err := c.readInto(ctx, p)
		if err != nil {
			return 0, err
		}
		return n, c.received(p[:n], p[:n])
	}
	chunk, err := c.nextChunk(ctx, uint64(len(p)))
	if err != nil {
		return 0, err
	}
	return len(chunk), c.received(p[:len(chunk)], chunk)
}

// readInflated is readSome for a compressed message. It may return 0 and nil.
func (c *Conn) readInflated(ctx context.Context, p []byte) (int, error) {
	if err := c.awaitCompressed(ctx); err != nil {
		return 0, err
	}
	out, _, err := c.inflate(p[:0:len(p)], 0)
	if err != nil {
		return 0, err
	}
	c.remember(out)
	return len(out), nil
}

// CloseRead is for an application that only writes. It starts a goroutine that
// answers Pings and the peer's Close, and ends the connection with
// [StatusPolicyViolation] if a data message comes. The context that it returns
// has the values of ctx, and ends with the connection, whose [CloseError] is
// its cause.
//
// If ctx ends first, reading stops, the context that was returned ends after
// that, and the connection stays open. Until then, other reads return
// ErrConcurrentRead.
func (c *Conn) CloseRead(ctx context.Context) context.Context {
	reading, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	if err := c.reserve(); err != nil {
		cancel(err)
		return reading
	}
	go func() {
		err := c.lockRead(ctx)
		if err == nil {
			err = c.readNothing(ctx)
			c.unlockRead()
		}
		c.reserved.Store(false)
		cancel(err)
	}()
	return reading
}

// readNothing reads until a data message comes, which fails the connection
// unless the closing handshake has begun: it may have left before the peer
// knew. c.readMu is held.
func (c *Conn) readNothing(ctx context.Context) error {
	c.skipping = c.skipping || c.in.underWay()
	err := c.skipReader(ctx)
	for err == nil {
		if _, err = c.advance(ctx); err != nil {
			break
		}
		c.mu.Lock()
		closing := c.closing != 0
		c.mu.Unlock()
		if !closing {
			return c.fail(errUnexpectedData)
		}
		c.skipping = c.in.underWay()
		err = c.skipReader(ctx)
	}
	return err
}

// fill waits for bytes and adds them to what is unread, of which need, or aFrame,
// are wanted. c.readMu is held.
func (c *Conn) fill(ctx context.Context, need int) error {
	g, err := c.arm(ctx)
	if err != nil {
		return err
	}
	return c.disarm(ctx, g, c.sock.fill(&c.input, need))
}

// readInto waits for bytes and reads them into p. c.readMu is held.
func (c *Conn) readInto(ctx context.Context, p []byte) (int, error) {
	g, err := c.arm(ctx)
	if err != nil {
		return 0, err
	}
	n, err := c.sock.read(p)
	return n, c.disarm(ctx, g, err)
}

// arm prepares for waiting on the socket under ctx.
func (c *Conn) arm(ctx context.Context) (*guard, error) {
	g := c.readGuards.guard(ctx, c.doneBefore(ctx, &c.readGuards), c.nc, net.Conn.SetReadDeadline)
	if !g.arm() {
		c.readGuards.drop()
		return nil, context.Cause(ctx)
	}
	if c.hold != nil {
		c.hold.setAhead(false)
		c.settle()
	}
	if err := c.beginWait(); err != nil {
		c.letGo(g)
		return nil, err
	}
	return g, nil
}

// disarm ends what arm has begun. err is what came of it: the end of ctx is
// told from the end of the connection, and that is noted.
func (c *Conn) disarm(ctx context.Context, g *guard, err error) error {
	c.endWait(err == nil)
	fired := c.letGo(g)
	if err == nil {
		return nil
	}
	if end := c.Err(); end != nil {
		return end
	}
	if fired && errors.Is(err, os.ErrDeadlineExceeded) {
		return context.Cause(ctx)
	}
	return c.lose(err)
}

// letGo lets go of g, reports whether its context has ended, and makes the
// socket readable again.
func (c *Conn) letGo(g *guard) (fired bool) {
	if fired = c.readGuards.letGo(g); fired {
		c.nc.SetReadDeadline(time.Time{})
	}
	return fired
}

// An input holds the bytes that were received and not yet parsed. They rest in
// a buffer from a pool only until the next wait.
type input struct {
	unread []byte       // in buf, in held, or in a slice of its own
	buf    *readBuffer  // nil, if unread lies elsewhere
	lent   atomic.Int32 // whether a message in buf is in use
	held   [maxHeaderLength]byte
	full   bool // the last fill had room for no more
}

// A readBuffer takes what one read from the socket may give. It is longer if the last
// has filled one.
type readBuffer []byte

const (
	readBufferLength = 32 << 10
	longBufferLength = 128 << 10
)

var (
	readBuffers = sync.Pool{New: func() any { return newReadBuffer(readBufferLength) }}
	longBuffers = sync.Pool{New: func() any { return newReadBuffer(longBufferLength) }}
)

func newReadBuffer(n int) *readBuffer {
	b := make(readBuffer, n)
	return &b
}

func getReadBuffer(long bool) *readBuffer {
	if long {
		return longBuffers.Get().(*readBuffer)
	}
	return readBuffers.Get().(*readBuffer)
}

func (b *readBuffer) free() {
	if len(*b) == longBufferLength {
		longBuffers.Put(b)
	} else {
		readBuffers.Put(b)
	}
}

// The states of a readBuffer. Whoever ends the last but one use of it leaves it
// to the other.
const (
	notLent  = iota
	lent     // a message in it is in use, and so is what is unread
	outlived // a message in it is in use, and nothing else
)

// take takes the first n bytes of what is unread.
func (in *input) take(n int) []byte {
	b := in.unread[:n:n]
	in.unread = in.unread[n:]
	return b
}

// lend lends the buffer, with a message that was taken from it.
func (in *input) lend() loan {
	if len(in.unread) > 0 {
		in.lent.Store(lent)
		return loan{shared: in.buf}
	}
	buf := in.buf
	in.buf, in.unread = nil, nil
	return loan{whole: buf}
}

// keep makes b, copied, what is unread.
func (in *input) keep(b []byte) {
	if len(b) <= len(in.held) {
		in.unread = in.held[:copy(in.held[:], b)]
	} else {
		in.unread = append([]byte(nil), b...)
	}
}

// park moves what is unread to where it may wait for long: never more than a
// part of a header or a control frame.
func (in *input) park() {
	buf := in.buf
	in.keep(in.unread)
	in.buf = nil
	if buf != nil && !in.lent.CompareAndSwap(lent, outlived) {
		buf.free()
	}
}

// release gives the buffer back if nothing in it is of use.
func (in *input) release() {
	if len(in.unread) == 0 {
		in.drop()
	}
}

// drop forgets what is unread.
func (in *input) drop() {
	in.unread = nil
	if in.buf != nil && in.lent.Load() == notLent {
		in.buf.free()
		in.buf = nil
	}
}

// Messages that do not lie whole in a readBuffer are gathered in a buffer of
// this pool for Conn.Messages.
var messageBuffers = sync.Pool{New: func() any { return new([]byte) }}

const maxPooledMessage = 2 << 20

func getMessageBuffer() *[]byte { return messageBuffers.Get().(*[]byte) }

func putMessageBuffer(b *[]byte) {
	if cap(*b) <= maxPooledMessage {
		messageBuffers.Put(b)
	}
}
