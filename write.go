package websocket

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"time"
)

var (
	errMessageType  = errors.New("websocket: message type is neither MessageText nor MessageBinary")
	errCloseSent    = fmt.Errorf("websocket: write after Close: %w", net.ErrClosed)
	errWriteTimeout = fmt.Errorf("websocket: no progress of a write within WriteTimeout: %w", os.ErrDeadlineExceeded)
	errBroken       = errors.New("websocket: an earlier write has failed") // becomes the end of the connection
	errWriterOver   = errors.New("websocket: the message has ended")
	errBrokenOff    = &protocolError{StatusInternalError, "7.4.1", "message broken off by its sender"}
)

const (
	// A frame of up to smallMessage bytes may leave in one write with others,
	// which are gathered up to batchSize. Of a larger one, as much goes into
	// the buffer with its header, and the rest straight to the kernel; but what
	// is masked has to be copied, in pieces.
	smallMessage = 16<<10 + maxHeaderLength
	batchSize    = 64 << 10
	maskedPiece  = 128 << 10

	// A streamed message goes in fragments of this length.
	fragmentLength = 16 << 10

	// What is not a socket of the kernel gets pieces of this length, so that
	// WriteTimeout measures progress there too.
	timedPiece = 64 << 10

	// Who lets go of the socket sends what is held and owed so many times, and
	// leaves it to a goroutine then.
	maxRounds = 4

	// After a failed write, the peer's Close may still be found. It has this
	// long.
	closeAfterBreak = time.Second
)

// A writeHalf is what writing needs. c.mu guards it.
//
// The socket has one holder at a time: a writer, the reader for the moment of
// an attempt, or the goroutine that finishes what was left of one. Who comes
// meanwhile queues. A holder that lets go makes the first in the queue the
// holder, who writes for those behind him too.
type writeHalf struct {
	busy          bool // somebody holds the socket; if not, queue is empty
	sending       bool // and sends what was made before: others may make frames
	broken        bool // a write has failed, and the socket is never let go
	closeInFlight bool // the Close was taken from owed, and has not left
	afterBreak    *time.Timer

	queue  queue          // for the socket
	stream *MessageWriter // for whose end other messages queue

	owed owed
	hold *hold // nil without Batching

	writeGuards guards // they belong to the holder of the socket
}

// A job is what one call wants to have written.
type job struct {
	opcode   opcode
	fin      bool
	streamed bool // by the MessageWriter, so it need not wait for it
	promised bool // once others have copied it, it counts as written
	compress compressChoice
	payload  []byte
	prepared *PreparedMessage // instead of the above
	batch    []Message        // instead of the above; of a Flush, empty and not nil

	preparedBatch []*PreparedMessage // instead of all of the above
}

// size returns about how many bytes the frames of j have.
func (j *job) size() int {
	n := len(j.payload) + maxHeaderLength
	if j.prepared != nil {
		n += len(j.prepared.frame)
	}
	for _, m := range j.batch {
		n += len(m.Data) + maxHeaderLength
	}
	for _, m := range j.preparedBatch {
		n += len(m.frame)
	}
	return n
}

// isFlush reports whether j is to write nothing, but to wait for what was written.
func (j *job) isFlush() bool { return j.batch != nil && len(j.batch) == 0 }

// small reports whether j may be written for by others.
func (j *job) small() bool { return j.size() <= smallMessage }

// A waiter is a call that waits to write.
type waiter struct {
	job
	opens *MessageWriter // not to write, but to stream

	next    *waiter
	state   waiterState
	leaving bool // its context has ended
	err     error
	wake    chan struct{} // of capacity 1; sent to once
}

type waiterState uint8

const (
	queued    waiterState = iota
	taken                 // out of it: the holder of the socket is copying the payload
	committed             // copied, on its way
	abandoned             // the caller has left
	holding               // the socket: it may write by itself
	finished              // err tells how
)

// A queue is a list of waiters, first in, first out.
type queue struct{ head, tail *waiter }

func (q *queue) push(w *waiter) {
	w.next = nil
	if q.head == nil {
		q.head = w
	} else {
		q.tail.next = w
	}
	q.tail = w
}

// add puts one who wants to write j at the end.
func (q *queue) add(j *job) *waiter {
	w := &waiter{job: *j, wake: make(chan struct{}, 1)}
	q.push(w)
	return w
}

func (q *queue) pop() *waiter {
	w := q.head
	if w != nil {
		q.head, w.next = w.next, nil
	}
	if q.head == nil {
		q.tail = nil // which would keep a payload
	}
	return w
}

// prepend puts ws, a list, before the others, except who has left.
func (q *queue) prepend(ws *waiter) {
	rest := *q
	*q = queue{}
	for _, list := range []*waiter{ws, rest.head} {
		for w := list; w != nil; {
			next := w.next
			if w.state != abandoned {
				w.state = queued
				q.push(w)
			}
			w = next
		}
	}
}

func (q *queue) remove(w *waiter) {
	var rest queue
	for v := q.pop(); v != nil; v = q.pop() {
		if v != w {
			rest.push(v)
		}
	}
	*q = rest
}

// finish empties q, and has those in it return with err.
func (q *queue) finish(err error) {
	for w := q.pop(); w != nil; w = q.pop() {
		w.finish(finished, err)
	}
}

func (w *waiter) finish(state waiterState, err error) {
	w.state, w.err = state, err
	w.wake <- struct{}{}
}

// Write writes a message in one frame. Any number of goroutines may call it,
// and their messages may share a system call. p is neither changed nor kept,
// and Write does not check that a text is UTF-8.
//
// The message is compressed if that was negotiated, the message is long enough, and
// it gets shorter by it, see [Compression].
//
// It returns nil when the kernel has the message. It returns the cause of ctx
// if that ends first. Then nothing of the message was sent if the connection is
// still open: it was waiting for others, or for room in the kernel's buffer. A
// context that ends in the middle of the frame fails the connection. Only if
// the message was already part of the write of another goroutine, it may still
// be sent. With Batching, nil may mean that the connection has it, see
// [Upgrader.Batching].
func (c *Conn) Write(ctx context.Context, typ MessageType, p []byte) error {
	if err := checkWrite(ctx, typ); err != nil {
		return err
	}
	return c.send(ctx, &job{opcode: opcode(typ), fin: true, payload: p})
}

// WriteBatch writes messages one after the other, with nothing in between, in
// as few system calls as it can. Otherwise it is like [Conn.Write].
func (c *Conn) WriteBatch(ctx context.Context, messages ...Message) error {
	for _, m := range messages {
		if err := checkWrite(ctx, m.Type); err != nil {
			return err
		}
	}
	if len(messages) == 0 {
		return nil
	}
	return c.send(ctx, &job{batch: messages})
}

func checkWrite(ctx context.Context, typ MessageType) error {
	if typ != MessageText && typ != MessageBinary {
		return errMessageType
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// send has j written, and waits for that. It does each step from here, none from
// within another, so that a goroutine needs no more than the smallest stack.
func (c *Conn) send(ctx context.Context, j *job) error {
	b := batch{c: c, ctx: ctx}
	if done, err := b.begin(j); done {
		return err
	}
	err := b.add(j)
	if b.followers != nil {
		err = b.addFollowers(err)
	}
	if err != nil {
		return b.fail(err)
	}
	n, err := c.sock.write(*b.buf)
	return b.end(n, err)
}

// begin takes the socket for j, and what goes along with j. If it is done already,
// it returns what became of j: it is held, or others have written it, or nobody
// can.
func (b *batch) begin(j *job) (done bool, err error) {
	c := b.c
	c.mu.Lock()
	if err := c.refusal(); err != nil {
		c.mu.Unlock()
		return true, c.verdict(b.ctx, err)
	}
	queue := &c.queue
	switch {
	case c.stream != nil && !j.streamed && !j.opcode.isControl():
		queue = &c.stream.queue
	case c.keep(j):
		due := c.hold.due()
		if !due && !c.hold.timed {
			c.hold.wait(c.settle)
		}
		c.mu.Unlock()
		if due {
			c.settle()
		}
		return true, nil
	case !c.busy && !c.holds():
		c.busy = true
		b.take(j)
		c.mu.Unlock()
		return false, nil
	}
	w := queue.add(j)
	c.mu.Unlock()
	return b.wait(w)
}

// wait is begin for w, which is in a queue.
func (b *batch) wait(w *waiter) (done bool, err error) {
	c := b.c
	if c.hold != nil {
		c.settle() // what is held goes first
	}
	if holds, err := c.await(b.ctx, w); !holds {
		return true, err
	}
	c.mu.Lock()
	if err := c.refusal(); err != nil { // there is one now
		c.mu.Unlock()
		c.release()
		return true, c.verdict(b.ctx, err)
	}
	b.take(&w.job)
	c.mu.Unlock()
	return false, nil
}

// take takes what goes along with j: what is owed, and what waits behind. c.mu
// is held, and the socket.
func (b *batch) take(j *job) {
	b.buf = getWriteBuffer()
	b.owed = b.c.takeOwed(b.buf)
	if b.c.queue.head != nil && j.small() {
		b.followers = b.c.takeFollowers(len(*b.buf) + j.size())
	}
}

// addFollowers adds the followers, unless there was an err before. Of small jobs,
// add flushes nothing, so this does not wait.
func (b *batch) addFollowers(err error) error {
	for w := b.followers; w != nil && err == nil; w = w.next {
		err = b.add(&w.job)
	}
	b.c.commit(b.followers)
	return err
}

// end is wrote for the buffer, and lets go of the socket.
func (b *batch) end(n int, err error) error {
	if err = b.wrote(*b.buf, n, err); err != nil {
		return b.fail(err)
	}
	if b.followers != nil {
		b.c.finishFollowers(b.followers)
	}
	b.c.trace.written(b.c, *b.buf)
	putWriteBuffer(b.buf)
	b.c.owedLeft(b.owed)
	b.c.release()
	return nil
}

// await waits for w's turn, or for w to be written by others. It reports whether
// the caller holds the socket now.
func (c *Conn) await(ctx context.Context, w *waiter) (holds bool, err error) {
	select {
	case <-w.wake:
		return w.state == holding, c.verdict(ctx, w.err)
	case <-ctx.Done():
	}
	c.mu.Lock()
	switch w.state {
	case queued:
		c.queue.remove(w)
		if c.stream != nil {
			c.stream.queue.remove(w)
		}
	case taken:
		w.leaving = true // when the payload was copied
		c.mu.Unlock()
		<-w.wake
		return false, w.abandon(ctx)
	case committed:
		w.state = abandoned
		c.mu.Unlock()
		return false, w.abandon(ctx)
	case holding:
		c.mu.Unlock()
		c.release()
		return false, context.Cause(ctx)
	case finished:
		c.mu.Unlock()
		return false, c.verdict(ctx, w.err)
	}
	c.mu.Unlock()
	return false, context.Cause(ctx)
}

// abandon returns what becomes of a call that leaves what others write for it.
func (w *waiter) abandon(ctx context.Context) error {
	if w.promised {
		return nil
	}
	return context.Cause(ctx)
}

// refusal returns why nothing may be written, if so. c.mu is held.
func (c *Conn) refusal() error {
	switch {
	case c.end.Load() != nil:
		return c.end.Load()
	case c.closing&closeSent != 0:
		return errCloseSent
	case c.broken:
		return errBroken
	}
	return nil
}

// refuseQueued has those in the queues return with err. c.mu is held.
func (c *Conn) refuseQueued(err error) {
	c.queue.finish(err)
	if c.stream != nil {
		c.stream.queue.finish(err)
	}
}

// verdict returns err as the user gets it. If writing is broken, that is the
// end of the connection, which is not long in coming.
func (c *Conn) verdict(ctx context.Context, err error) error {
	if err != errBroken {
		return err
	}
	select {
	case <-c.Done():
	case <-ctx.Done():
	}
	if end := c.Err(); end != nil {
		return end
	}
	return context.Cause(ctx)
}

// finishFollowers tells those who have not left that they were written for.
func (c *Conn) finishFollowers(ws *waiter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for w := ws; w != nil; {
		next := w.next
		if w.state == committed {
			w.finish(finished, nil)
		}
		w = next
	}
}

// fail sees to what could not be written for err, and lets go of the socket if
// it is still of use.
func (b *batch) fail(err error) error {
	putWriteBuffer(b.buf)
	c := b.c
	defer c.trace.written(c, b.untold)
	withdrawn := err == errWithdrawn && !b.began
	c.mu.Lock()
	for w := b.followers; w != nil; w = w.next {
		if w.state == abandoned && w.promised {
			withdrawn = false // it can't be written again: the payload is the caller's
		}
	}
	c.owed.kinds |= b.owed
	c.queue.prepend(b.followers)
	if end := c.end.Load(); end != nil {
		c.refuseQueued(end)
	}
	c.mu.Unlock()
	switch {
	case withdrawn:
		c.compression.forget() // what the peer has not got
		c.release()
		return context.Cause(b.ctx)
	case err == errWithdrawn, err == errCutShort:
		c.breakOff(context.Cause(b.ctx), true)
		return c.Err()
	}
	c.breakOff(err, err == errWriteTimeout)
	return c.verdict(b.ctx, errBroken)
}

// canWithdraw reports whether nc is still of use after a write was broken off
// before its first byte.
func canWithdraw(nc net.Conn) bool {
	switch nc.(type) {
	case *tls.Conn, *pump:
		return false
	}
	return true
}

// breakOff notes that a write was broken off for err. The socket is not let go
// again. If the network has failed, rather than our patience, the reader may
// look for a Close yet, whose code says more than an error does.
func (c *Conn) breakOff(err error, now bool) {
	c.writeGuards.drop()
	c.mu.Lock()
	c.broken = true
	if c.holds() {
		putWriteBuffer(c.takeHeld())
	}
	ended := c.end.Load() != nil
	if !ended && !now {
		c.afterBreak = afterFunc(closeAfterBreak, func() { c.lose(err) })
	}
	c.mu.Unlock()
	switch {
	case ended:
		c.closeSocketNow()
	case now:
		c.lose(err)
	}
}

// takeOwed appends the frames that are owed to buf. c.mu is held.
func (c *Conn) takeOwed(buf *[]byte) owedKinds {
	kinds := c.owed.kinds
	if kinds != 0 {
		*buf = c.owed.appendFrames(*buf, c.maskingKey)
		c.owed.kinds = 0
		c.closeInFlight = kinds&owesClose != 0
	}
	if kinds&owesPing != 0 {
		c.trace.pings()
	}
	return kinds
}

// owedLeft notes that frames that were taken have left.
func (c *Conn) owedLeft(kinds owedKinds) {
	if kinds&(owesPing|owesClose) == 0 {
		return
	}
	c.mu.Lock()
	if kinds&owesPing != 0 {
		c.pingLeft = now()
	}
	if kinds&owesClose != 0 {
		c.closeInFlight = false
	}
	c.mu.Unlock()
	c.closeLeft()
}

// takeFollowers takes from the queue who may be written for in a batch that has
// size bytes already. c.mu is held.
func (c *Conn) takeFollowers(size int) *waiter {
	var followers queue
	for w := c.queue.head; w != nil && w.small() && size+w.size() <= batchSize; w = c.queue.head {
		size += w.size()
		c.queue.pop()
		w.state = taken
		followers.push(w)
	}
	return followers.head
}

// commit notes that the payloads of ws have been copied.
func (c *Conn) commit(ws *waiter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for w := ws; w != nil; w = w.next {
		if w.leaving {
			w.finish(abandoned, nil)
		} else {
			w.state = committed
		}
	}
}

// settle has sent what is owed. It does not wait.
func (c *Conn) settle() {
	c.mu.Lock()
	if c.busy || c.owed.kinds == 0 && !c.holds() {
		c.mu.Unlock() // who holds the socket looks before letting go
		return
	}
	c.busy = true
	c.mu.Unlock()
	c.release()
}

// release lets go of the socket: to the next in the queue, or after sending
// what is held and owed. It does not wait: what the kernel does not take at once is
// left to a goroutine, which lets go then.
//
// Nor does it send for long what others go on to hold.
func (c *Conn) release() {
	for round := 1; ; round++ {
		c.mu.Lock()
		c.sending = false
		c.keepQueued()
		if !c.holds() {
			if w := c.queue.pop(); w != nil {
				w.finish(holding, nil)
				c.mu.Unlock()
				return
			}
			if c.owed.kinds == 0 {
				if c.end.Load() != nil {
					c.writeGuards.drop()
				}
				c.busy = false
				c.mu.Unlock()
				return
			}
		}
		if round > maxRounds {
			c.mu.Unlock()
			go c.release()
			return
		}
		buf := c.takeHeld()
		owed := c.takeOwed(buf)
		c.sending = true
		c.keepQueued() // there is room again
		c.mu.Unlock()
		n, err := c.sock.write(*buf)
		if err == nil && n < len(*buf) {
			go c.sendOwed(buf, n, owed)
			return
		}
		c.trace.written(c, (*buf)[:n])
		putWriteBuffer(buf)
		if err != nil {
			c.breakOff(err, false)
			return
		}
		c.owedLeft(owed)
	}
}

// sendOwed sends frames that were held and owed, from n on, and lets go of the
// socket.
func (c *Conn) sendOwed(buf *[]byte, n int, owed owedKinds) {
	m, err := c.writeWaiting(context.Background(), (*buf)[n:])
	c.trace.written(c, (*buf)[:n+m])
	putWriteBuffer(buf)
	if err != nil {
		c.breakOff(err, err == errWriteTimeout)
		return
	}
	c.owedLeft(owed)
	c.release()
}

// What becomes of a write whose context ends: as if it had not been, or not.
var (
	errWithdrawn = errors.New("websocket: write withdrawn")
	errCutShort  = errors.New("websocket: write cut short")
)

// A batch is what the holder of the socket writes.
type batch struct {
	c     *Conn
	ctx   context.Context
	buf   *[]byte // not yet handed to the kernel
	began bool    // something was

	untold    []byte    // what was written of a write that has failed, for the Trace
	owed      owedKinds // what of it, at the beginning, was owed
	followers *waiter   // for whom it is written as well
}

// add adds the frames of j. It flushes only what does not fit a batch.
func (b *batch) add(j *job) error {
	switch {
	case j.prepared != nil:
		return b.write(j.prepared.frameFor(b.c.compression))
	case j.batch != nil:
		return b.addMessages(j)
	case j.preparedBatch != nil:
		return b.addPrepared(j)
	case j.opcode == opContinuation || !j.fin:
		return b.part(j)
	case j.opcode.isControl():
		return b.frame(header{fin: true, opcode: j.opcode}, j.payload)
	}
	return b.message(j.opcode, j.compress, j.payload)
}

func (b *batch) addMessages(j *job) error {
	for _, m := range j.batch {
		if err := b.message(opcode(m.Type), j.compress, m.Data); err != nil {
			return err
		}
		if err := b.flushFull(j); err != nil {
			return err
		}
	}
	return nil
}

func (b *batch) addPrepared(j *job) error {
	for _, m := range j.preparedBatch {
		if err := b.write(m.frameFor(b.c.compression)); err != nil {
			return err
		}
		if err := b.flushFull(j); err != nil {
			return err
		}
	}
	return nil
}

// flushFull hands a full buffer to the kernel, between the messages of j.
func (b *batch) flushFull(j *job) error {
	if j.small() || len(*b.buf) < batchSize {
		return nil
	}
	return b.flush()
}

// message adds a whole message, compressed if it is to be, and if that makes it
// shorter.
func (b *batch) message(op opcode, choice compressChoice, payload []byte) error {
	if b.c.compression.wants(choice, len(payload)) {
		return b.compressed(op, payload)
	}
	return b.frame(header{fin: true, opcode: op}, payload)
}

func (b *batch) compressed(op opcode, payload []byte) error {
	h := header{fin: true, opcode: op}
	buf := getWriteBuffer()
	defer putWriteBuffer(buf)
	var shorter bool
	if *buf, shorter = b.c.compression.enc().AppendMessage(*buf, payload); !shorter {
		return b.frame(h, payload)
	}
	h.rsv = rsv1
	return b.frame(h, *buf)
}

// part adds a part of a streamed message.
func (b *batch) part(j *job) error {
	h := header{fin: j.fin, opcode: j.opcode}
	z := b.c.compression
	if z == nil || j.compress == compressNever {
		return b.frame(h, j.payload)
	}
	if j.opcode != opContinuation {
		h.rsv = rsv1
	}
	buf := getWriteBuffer()
	defer putWriteBuffer(buf)
	*buf = z.enc().AppendPart(*buf, j.payload, j.fin)
	return b.frame(h, *buf)
}

// frame adds a frame with the header h, but for its length and masking.
func (b *batch) frame(h header, payload []byte) error {
	h.masked, h.maskingKey = b.c.maskingKey()
	if len(payload) > smallMessage {
		return b.longFrame(h, payload)
	}
	*b.buf = appendFrame(*b.buf, h, payload)
	return nil
}

func (b *batch) longFrame(h header, payload []byte) error {
	h.payloadLength = uint64(len(payload))
	*b.buf = appendHeader(*b.buf, h)
	if !h.masked {
		return b.write(payload)
	}
	for {
		piece := payload[:min(len(payload), maskedPiece)]
		n := len(*b.buf)
		*b.buf = slices.Grow(*b.buf, len(piece))[:n+len(piece)]
		maskTo((*b.buf)[n:], piece, h.maskingKey)
		h.maskingKey = rotate(h.maskingKey, len(piece))
		payload = payload[len(piece):]
		if len(payload) == 0 {
			return nil
		}
		if err := b.flush(); err != nil {
			return err
		}
	}
}

// write adds p as it is. Of a long p, the buffer takes what it has room for,
// and the rest is handed to the kernel without a copy.
func (b *batch) write(p []byte) error {
	n := len(p)
	switch {
	case n <= smallMessage:
	case len(*b.buf) == 0:
		return b.transmit(p)
	default:
		n = min(n, max(0, batchSize-len(*b.buf)))
	}
	*b.buf = append(*b.buf, p[:n]...)
	if n == len(p) {
		return nil
	}
	if err := b.flush(); err != nil {
		return err
	}
	return b.transmit(p[n:])
}

// flush hands to the kernel what is in the buffer.
func (b *batch) flush() error {
	err := b.transmit(*b.buf)
	*b.buf = (*b.buf)[:0]
	return err
}

func (b *batch) transmit(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	n, err := b.c.sock.write(p)
	if err = b.wrote(p, n, err); err == nil {
		b.c.trace.written(b.c, p)
	}
	return err
}

// wrote waits for the rest of p to be written, after the kernel has taken n bytes
// or returned err. Of what is written only in part, it leaves to fail to tell.
func (b *batch) wrote(p []byte, n int, err error) error {
	if err == nil && n < len(p) {
		var m int
		m, err = b.c.writeWaiting(b.ctx, p[n:])
		n += m
	}
	b.began = b.began || n > 0
	if err != nil && b.c.trace != nil {
		b.untold = append(b.untold, p[:n]...)
	}
	return err
}

// writeWaiting writes p, and waits for the kernel to take it. It returns how
// much it took, and errWithdrawn or errCutShort if that is not all because ctx
// has ended.
func (c *Conn) writeWaiting(ctx context.Context, p []byte) (n int, err error) {
	g := c.writeGuards.guard(ctx, c.doneBefore(ctx, &c.writeGuards), c.nc, net.Conn.SetWriteDeadline)
	if !g.arm() {
		err = errWithdrawn
	}
	for n < len(p) && err == nil {
		piece := p[n:]
		if c.sock.direct() {
			piece = piece[:min(len(piece), timedPiece)]
		}
		var m int
		m, err = c.writePiece(g, piece)
		n += m
		if m > 0 && !c.sock.direct() && errors.Is(err, os.ErrDeadlineExceeded) && !g.fired() {
			err = nil // there was progress
		}
	}
	fired := c.writeGuards.letGo(g) || ctx.Err() != nil
	c.nc.SetWriteDeadline(time.Time{}) // a tls.Conn writes while it reads, too
	late := errors.Is(err, os.ErrDeadlineExceeded)
	switch {
	case n == len(p):
		return n, nil
	case n == 0 && (err == errWithdrawn || late && fired && canWithdraw(c.nc)):
		return n, errWithdrawn
	case err == errWithdrawn || late && fired:
		return n, errCutShort
	case late:
		return n, errWriteTimeout
	}
	return n, err
}

// writePiece writes p within WriteTimeout, unless g fires.
func (c *Conn) writePiece(g *guard, p []byte) (int, error) {
	if c.writeTimeout > 0 {
		c.nc.SetWriteDeadline(time.Now().Add(c.writeTimeout))
	}
	if g.fired() {
		return 0, errWithdrawn // its deadline may have been overwritten
	}
	n, err := c.nc.Write(p)
	if n < len(p) && err == nil {
		err = io.ErrShortWrite
	}
	return n, err
}

// Flush returns when the kernel has what was written by calls that have begun,
// also those of other goroutines, and the answers to the Pings received. It
// does not wait for a MessageWriter, nor for those who do.
func (c *Conn) Flush(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return c.send(ctx, &job{batch: []Message{}, streamed: true})
}

// A MessageWriter writes one message in fragments (RFC 6455, section 5.4). It
// must not be used concurrently, and must be closed or aborted.
type MessageWriter struct {
	c     *Conn
	ctx   context.Context
	next  opcode  // of the next frame
	buf   *[]byte // what that frame will carry
	begun bool    // a frame has left
	err   error   // why no more can be written
	queue queue   // of other messages, for the end of this one; Conn.mu guards it

	compress compressChoice
}

// NextWriter begins a message that is written piece by piece, under ctx. Its
// length need not be known, and it takes a buffer of 16 KiB. Other messages, of
// this method too, wait for its end; control frames go between its frames.
func (c *Conn) NextWriter(ctx context.Context, typ MessageType) (*MessageWriter, error) {
	if err := checkWrite(ctx, typ); err != nil {
		return nil, err
	}
	w := &MessageWriter{c: c, ctx: ctx, next: opcode(typ)}
	c.mu.Lock()
	err := c.refusal()
	switch {
	case err != nil:
		c.mu.Unlock()
		return nil, c.verdict(ctx, err)
	case c.stream == nil:
		c.stream = w
		c.mu.Unlock()
	default:
		turn := &waiter{opens: w, wake: make(chan struct{}, 1)}
		c.stream.queue.push(turn)
		c.mu.Unlock()
		if _, err := c.await(ctx, turn); err != nil {
			return nil, err
		}
	}
	w.buf = getWriteBuffer()
	return w, nil
}

// SetCompress says whether the message is to be compressed, if compression was
// negotiated: never, or whatever its length is, if that makes it shorter. Without
// SetCompress, a message is compressed that does not fit one fragment, or has as many
// bytes as [Compression].Threshold. SetCompress does nothing once a fragment has left.
func (w *MessageWriter) SetCompress(compress bool) {
	switch {
	case w.begun:
	case compress:
		w.compress = compressAlways
	default:
		w.compress = compressNever
	}
}

// Write adds p to the message. It waits only when a fragment is full. p is not
// kept. After an error the message can't be completed, and it is as if Abort
// had been called.
func (w *MessageWriter) Write(p []byte) (int, error) {
	w.checkContext()
	written := 0
	for w.err == nil && len(p) > 0 {
		n := min(len(p), fragmentLength-len(*w.buf))
		switch {
		case n == 0:
			w.send(*w.buf, false)
		case n == fragmentLength && n < len(p): // whole, and not the last
			w.send(p[:n], false)
		default:
			*w.buf = append(*w.buf, p[:n]...)
		}
		if w.err == nil {
			p = p[n:]
			written += n
		}
	}
	return written, w.err
}

func (w *MessageWriter) checkContext() {
	if w.err == nil && w.ctx.Err() != nil {
		w.abort(context.Cause(w.ctx))
	}
}

// send sends the next frame.
func (w *MessageWriter) send(payload []byte, fin bool) {
	err := w.c.send(w.ctx, &job{opcode: w.next, fin: fin, streamed: true, compress: w.compress, payload: payload})
	if err != nil {
		w.abort(err)
		return
	}
	w.next, w.begun = opContinuation, true
	*w.buf = (*w.buf)[:0]
}

// Close ends the message, and waits until the kernel has all of it. With Batching,
// its last fragment may be held, as [Conn.Write] says.
func (w *MessageWriter) Close() error {
	if w.checkContext(); w.err != nil {
		return w.err
	}
	w.send(*w.buf, true)
	if w.err == nil {
		w.release(errWriterOver)
		return nil
	}
	return w.err
}

// Abort gives the message up. If nothing of it has left yet, nothing will. If
// something has, the connection is failed with [StatusInternalError]: the
// protocol has no way to take it back.
func (w *MessageWriter) Abort() {
	if w.err == nil {
		w.abort(errWriterOver)
	}
}

func (w *MessageWriter) abort(err error) {
	w.c.mu.Lock()
	sound := w.c.refusal() == nil
	w.c.mu.Unlock()
	if w.begun && sound {
		w.c.fail(errBrokenOff)
	}
	w.release(err)
}

// release lets other messages be written.
func (w *MessageWriter) release(err error) {
	w.err = err
	putWriteBuffer(w.buf)
	w.buf = nil
	w.c.endStream()
}

// endStream lets those go on who have waited for the streamed message to end:
// up to, and with, the next that streams.
func (c *Conn) endStream() {
	c.mu.Lock()
	waiting := c.stream.queue
	c.stream = nil
	for c.stream == nil && waiting.head != nil {
		w := waiting.pop()
		if w.opens != nil {
			c.stream = w.opens
			c.stream.queue = waiting
			w.finish(finished, nil)
		} else {
			c.queue.push(w)
		}
	}
	free := !c.busy
	c.busy = true
	c.mu.Unlock()
	if free {
		c.release()
	}
}

// Buffers for frames on their way out.
var writeBuffers = sync.Pool{New: func() any { return new([]byte) }}

func getWriteBuffer() *[]byte { return writeBuffers.Get().(*[]byte) }

func putWriteBuffer(b *[]byte) {
	*b = (*b)[:0]
	if cap(*b) <= 2*maskedPiece {
		writeBuffers.Put(b)
	}
}

// maskingKey returns whether frames are masked, and the key for one.
//
// "The masking key needs to be unpredictable; thus, the masking key MUST be
// derived from a strong source of entropy, and the masking key for a given
// frame MUST NOT make it simple for a server/proxy to predict the masking key
// for a subsequent frame." (section 5.3)
func (c *Conn) maskingKey() (masked bool, key uint32) {
	if c.side == serverSide {
		return false, 0
	}
	s := keySources.Get().(*keySource)
	defer keySources.Put(s)
	if s.used == len(s.random) {
		rand.Read(s.random[:])
		s.used = 0
	}
	key = binary.LittleEndian.Uint32(s.random[s.used:])
	s.used += 4
	return true, key
}

// A keySource holds keys for the frames to come: to ask for many at a time
// costs a tenth.
type keySource struct {
	random [512]byte
	used   int
}

var keySources = sync.Pool{New: func() any { return &keySource{used: len(keySource{}.random)} }}
