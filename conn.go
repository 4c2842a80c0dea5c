package websocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// A MessageType says what the data of a message is (RFC 6455, section 5.6).
type MessageType uint8

const (
	MessageText   = MessageType(opText)   // UTF-8
	MessageBinary = MessageType(opBinary) // anything
)

// String returns "text" or "binary".
func (t MessageType) String() string {
	switch t {
	case MessageText:
		return "text"
	case MessageBinary:
		return "binary"
	}
	return "unknown message type"
}

// A Message is a whole message.
type Message struct {
	Type MessageType
	Data []byte
}

// The values that options have when they are zero.
const (
	defaultReadLimit    = 1 << 20
	defaultPingInterval = 30 * time.Second
	defaultPingTimeout  = 30 * time.Second
	defaultCloseTimeout = 5 * time.Second
	defaultWriteTimeout = 30 * time.Second
)

// A connConfig is what the options of an Upgrader or a Dialer become for one
// connection.
type connConfig struct {
	side         side
	batching     bool
	subprotocol  string
	trace        *connTrace
	compression  *compression  // nil: none
	readLimit    int64         // < 0: none
	pingInterval time.Duration // < 0: no keepalive
	pingTimeout  time.Duration // < 0: none
	closeTimeout time.Duration
	writeTimeout time.Duration // < 0: none
}

// connDefaults returns the configuration for the given options, with defaults
// in the place of zeros.
func connDefaults(readLimit int64, pingInterval, pingTimeout, closeTimeout, writeTimeout time.Duration) connConfig {
	orDefault := func(d, def time.Duration) time.Duration {
		if d == 0 {
			return def
		}
		return d
	}
	if readLimit == 0 {
		readLimit = defaultReadLimit
	}
	return connConfig{
		readLimit:    readLimit,
		pingInterval: orDefault(pingInterval, defaultPingInterval),
		pingTimeout:  orDefault(pingTimeout, defaultPingTimeout),
		closeTimeout: max(0, orDefault(closeTimeout, defaultCloseTimeout)),
		writeTimeout: orDefault(writeTimeout, defaultWriteTimeout),
	}
}

// A Conn is a WebSocket connection. [Upgrader.Upgrade] and [Dialer.Dial] make
// one.
//
// All methods may be called concurrently. There is one reader at a time: a
// second one gets [ErrConcurrentRead]. There may be any number of writers.
//
// A Ping is answered, a Close noticed and a dead network found only while a
// read is in progress, so every connection needs a goroutine that reads: an
// application that only writes calls [Conn.CloseRead].
//
// A connection that is done with must be closed, by Close or CloseNow.
type Conn struct {
	connConfig
	nc   net.Conn
	sock socket // over nc
	raw  rawSocket
	readHalf
	writeHalf

	// mu is the last of the locks: no other of Conn's is taken, and no I/O done,
	// while it is held; with Batching, frames are made. It guards what follows, and
	// writeHalf.
	mu       sync.Mutex
	end      atomic.Pointer[CloseError] // set once, under mu
	life     *life                      // made when it is asked for
	closing  closing
	quiet    bool        // the end is nothing that Messages need mention
	draining bool        // drain has been started
	closed   atomic.Bool // the socket
	reserved atomic.Bool // by the reader, for as long as it says, whoever holds readMu
	kill     *time.Timer // the end of the closing handshake
	liveness
	pings *pingWaiter // the latest
}

// newConn returns a Conn over nc, on which the opening handshake has succeeded.
// unread is what was received behind it.
func newConn(nc net.Conn, unread []byte, cfg connConfig) *Conn {
	c := &Conn{connConfig: cfg}
	if nc.SetReadDeadline(time.Time{}) != nil || nc.SetWriteDeadline(time.Time{}) != nil {
		nc = newPump(nc)
	}
	c.nc = nc
	if c.sock = &c.raw; !c.raw.open(nc) {
		c.sock = &plainSocket{nc: nc}
	}
	c.input.keep(unread)
	c.lastRead.Store(int64(now()))
	if c.batching {
		c.hold = new(hold)
	}
	if c.pingInterval > 0 {
		c.mu.Lock()
		c.ticker = afterFunc(c.pingInterval, c.tick)
		c.mu.Unlock()
	}
	return c
}

// now returns the time since epoch, and never 0. It costs half of time.Now, and
// takes a third of the memory.
func now() time.Duration { return time.Since(epoch) }

// epoch lies before whatever time it is, in a bubble of package synctest too.
var epoch = time.Now().Add(-100 * 365 * 24 * time.Hour)

// Subprotocol returns the subprotocol that was negotiated, or "" (RFC 6455,
// section 1.9).
func (c *Conn) Subprotocol() string { return c.subprotocol }

// LocalAddr returns the address of this end of the connection.
func (c *Conn) LocalAddr() net.Addr { return c.nc.LocalAddr() }

// RemoteAddr returns the address of the peer, or of the proxy that it is
// behind.
func (c *Conn) RemoteAddr() net.Addr { return c.nc.RemoteAddr() }

// LastRead returns when the last byte was received.
func (c *Conn) LastRead() time.Time {
	return time.Now().Add(time.Duration(c.lastRead.Load()) - now())
}

// Done returns a channel that is closed when the connection has ended.
func (c *Conn) Done() <-chan struct{} { return c.context().Done() }

// A connContext is a context that ends with the connection, with the CloseError
// for its cause. It takes no memory before somebody waits for it, or derives another
// from it.
type connContext struct{ c *Conn }

func (ctx connContext) Deadline() (time.Time, bool) { return time.Time{}, false }
func (ctx connContext) Done() <-chan struct{}       { return ctx.c.context().Done() }
func (ctx connContext) Value(key any) any           { return ctx.c.context().Value(key) }

func (ctx connContext) Err() error {
	if ctx.c.end.Load() == nil {
		return nil
	}
	return ctx.c.context().Err()
}

// A life is what a connContext stands for.
type life struct {
	context.Context
	end context.CancelCauseFunc
}

// context returns the context that ends with the connection.
func (c *Conn) context() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.life == nil {
		ctx, cancel := context.WithCancelCause(context.Background())
		c.life = &life{ctx, cancel}
		if end := c.end.Load(); end != nil {
			cancel(end)
		}
	}
	return c.life.Context
}

// Err returns nil while the connection is open, and the [CloseError] that every
// call returns once it has ended.
func (c *Conn) Err() error {
	if end := c.end.Load(); end != nil {
		return end
	}
	return nil
}

var (
	errCloseTimeout = fmt.Errorf("websocket: no Close frame from the peer within CloseTimeout: %w", os.ErrDeadlineExceeded)
	errPingTimeout  = fmt.Errorf("websocket: nothing received within PingTimeout of a Ping: %w", os.ErrDeadlineExceeded)
	errStatusCode   = errors.New("websocket: status code that must not be sent (RFC 6455, section 7.4)")
)

// Close does the closing handshake (RFC 6455, section 7.1.2): it sends a Close
// frame with code and reason, and waits for the peer's. A reason of more than
// 123 bytes is cut between characters, and [StatusNoStatusReceived] sends a
// Close frame without a code.
//
// It takes CloseTimeout at the most. A read in progress may still return a
// message. What comes while none is, also between those of a loop, Close reads
// and discards. A message that is being streamed is broken off behind the frame
// under way.
//
// Close returns nil if the handshake completed, or had completed before, and
// otherwise what became of the connection; it is closed in any case. A code
// that must not be sent is refused, and changes nothing.
func (c *Conn) Close(code StatusCode, reason string) error {
	if !code.mayBeSent() && code != StatusNoStatusReceived {
		return errStatusCode
	}
	if err := c.refused(opClose, code); err != nil {
		return err
	}
	c.mu.Lock()
	if c.end.Load() == nil && c.closing&closeSent == 0 {
		c.quiet = true
		c.oweClose(appendClose(nil, code, reason))
		c.refuseQueued(errCloseSent)
	}
	c.mu.Unlock()
	c.settle()
	defer awaitUnused(c.nc)

	if c.readMu.tryLock() || c.readMu.lock(c.Done()) {
		for c.end.Load() == nil {
			c.discard(context.Background())
		}
		c.reader, c.unfinished = nil, nil
		c.unlockRead()
	}
	if c.handshakeDone() {
		return nil
	}
	return c.Err()
}

// handshakeDone reports whether both endpoints have sent a Close frame.
func (c *Conn) handshakeDone() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing == closeBoth
}

// CloseNow closes the connection without a closing handshake. It does not wait
// for anything, and calls in progress return at once. What Batching holds is
// dropped. The Close frame of a connection that has ended already may be on
// its way: it is left to arrive, within CloseTimeout, which CloseNow waits for if it is the
// server's end of a stream of HTTP/2. CloseNow returns nil but
// for an error of closing the network connection.
func (c *Conn) CloseNow() error {
	c.mu.Lock()
	ended := c.end.Load() != nil
	stuck := c.busy && c.owed.kinds&owesClose != 0 // behind somebody's write
	if !ended {
		c.quiet = true
		c.setEnd(&CloseError{Code: StatusAbnormalClosure, Local: true})
	}
	c.mu.Unlock()
	defer awaitUnused(c.nc)
	if ended && !stuck {
		return nil
	}
	return c.closeSocketNow()
}

// oweClose has a Close frame with the given payload sent as the last frame, and
// gives what follows CloseTimeout. c.mu is held.
//
// "The application MUST NOT send any more data frames after sending a Close
// frame." (section 5.5.1)
func (c *Conn) oweClose(payload []byte) {
	c.closing |= closeSent
	c.owed.addClose(payload)
	c.startKill()
}

// startKill closes the socket when CloseTimeout has passed. c.mu is held.
func (c *Conn) startKill() {
	if c.kill == nil {
		c.kill = afterFunc(c.closeTimeout, func() {
			c.mu.Lock()
			if c.end.Load() == nil {
				c.setEnd(&CloseError{Code: StatusAbnormalClosure, Local: true, Err: errCloseTimeout})
			}
			c.mu.Unlock()
			c.closeSocketNow()
		})
	}
}

// setEnd fixes how the connection ended, and lets everybody know who waits for
// something. c.mu is held.
func (c *Conn) setEnd(end *CloseError) {
	c.end.Store(end)
	if c.life != nil {
		c.life.end(end) // takes the locks of contexts, which know nothing of ours
	}
	for _, t := range []*time.Timer{c.ticker, c.afterBreak} {
		if t != nil {
			stopTimer(t)
		}
	}
	if !c.busy {
		c.writeGuards.drop()
	}
	if end.Code == StatusAbnormalClosure && c.holds() {
		putWriteBuffer(c.takeHeld()) // it goes nowhere
	}
	c.refuseQueued(end)
	for ; c.pings != nil; c.pings = c.pings.earlier {
		close(c.pings.pong)
	}
}

// fail ends the connection, if it has not ended, because the peer broke the
// rule err, a *protocolError. It returns how the connection ended. It does not
// wait.
//
// "If _The WebSocket Connection is Established_ prior to the point where the
// endpoint is required to _Fail the WebSocket Connection_, the endpoint SHOULD
// send a Close frame with an appropriate status code [...] before proceeding to
// _Close the WebSocket Connection_." (section 7.1.7)
func (c *Conn) fail(err error) error {
	rule := err.(*protocolError)
	c.mu.Lock()
	if end := c.end.Load(); end != nil {
		c.mu.Unlock()
		return end
	}
	if c.closing&closeSent == 0 {
		c.oweClose(appendClose(nil, rule.code, rule.text))
	}
	end := &CloseError{Code: rule.code, Reason: rule.text, Local: true, Err: err}
	c.setEnd(end)
	c.mu.Unlock()
	c.leave()
	return end
}

// lose ends the connection, if it has not ended, because the network failed it
// for err. It returns how the connection ended. It does not wait.
func (c *Conn) lose(err error) error {
	c.mu.Lock()
	if end := c.end.Load(); end != nil {
		c.mu.Unlock()
		return end
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF // nobody is to take it for a good end
	}
	end := &CloseError{Code: StatusAbnormalClosure, Err: err}
	c.setEnd(end)
	c.mu.Unlock()
	c.closeSocketNow()
	return end
}

// receiveClose ends the connection for a Close frame that the peer sent.
//
// "If an endpoint receives a Close frame and did not previously send a Close
// frame, the endpoint MUST send a Close frame in response." (section 5.5.1)
func (c *Conn) receiveClose(payload []byte) error {
	code, reason, err := parseClose(payload)
	if err != nil {
		return c.fail(err)
	}
	c.mu.Lock()
	if end := c.end.Load(); end != nil {
		c.mu.Unlock()
		return end
	}
	end := &CloseError{Code: code, Reason: reason, Local: c.closing&closeSent != 0}
	c.closing |= closeReceived
	if c.closing&closeSent == 0 {
		c.oweClose(append([]byte(nil), payload...))
		c.quiet = code == StatusNormalClosure || code == StatusGoingAway || code == StatusNoStatusReceived
	}
	c.setEnd(end)
	c.mu.Unlock()
	c.leave()
	return end
}

// leave sees the connection off when it has ended with a Close frame: what is
// owed is sent, then the socket closed. c.mu is not held.
func (c *Conn) leave() {
	c.mu.Lock()
	broken := c.broken
	c.mu.Unlock()
	if broken {
		c.closeSocketNow() // nothing can be sent any more
		return
	}
	if c.waiting.Load() {
		c.nc.SetReadDeadline(aLongTimeAgo) // the reader has to hear of it
	}
	c.settle()
	c.closeLeft()
}

// closeLeft has the socket closed if the connection has ended and the Close
// frame, if one was owed, has left.
func (c *Conn) closeLeft() {
	c.mu.Lock()
	end := c.end.Load()
	due := end != nil && !end.isLoss() && c.owed.kinds&owesClose == 0 && !c.closeInFlight && !c.draining
	c.draining = c.draining || due
	c.mu.Unlock()
	if due {
		go c.drain()
	}
}

var aLongTimeAgo = time.Unix(1, 0)

// drain closes the socket once the peer has. Closed earlier, with something
// unread, it would be reset, and the peer might lose what it has not read: the
// Close frame that says why. CloseTimeout ends the wait, by closing the socket.
//
// "The underlying TCP connection, in most normal cases, SHOULD be closed first
// by the server, so that it holds the TIME_WAIT state and not the client [...]
// In abnormal cases (such as not having received a TCP Close from the server
// after a reasonable amount of time) a client MAY initiate the TCP Close."
// (section 7.1.1)
func (c *Conn) drain() {
	c.readMu.lock(nil) // until the last reader has left
	c.nc.SetReadDeadline(time.Time{})
	c.unlockRead()
	half, ok := c.nc.(interface{ CloseWrite() error })
	switch {
	case c.side == clientSide:
	case serverStreamOf(c.nc) != nil: // what was sent arrives, whatever is unread
		c.closeSocket()
		return
	case ok:
		half.CloseWrite() // nothing follows the Close frame
	case c.handshakeDone():
		c.closeSocket() // nor comes anything that might be left unread
		return
	}
	p := make([]byte, 1<<10)
	for {
		_, err := c.sock.read(p)
		if errors.Is(err, os.ErrDeadlineExceeded) && !c.closed.Load() {
			err = c.nc.SetReadDeadline(time.Time{}) // it was set to wake a reader
		}
		if err != nil {
			break
		}
	}
	c.closeSocket()
}

// closeSocket closes the socket. On TLS it may wait for the peer.
func (c *Conn) closeSocket() error {
	if c.closed.Swap(true) {
		return nil
	}
	c.stopKill()
	defer c.trace.closed(c)
	return c.nc.Close()
}

// closeSocketNow closes the socket and never waits.
func (c *Conn) closeSocketNow() error {
	if c.closed.Swap(true) {
		return nil
	}
	c.stopKill()
	if c.readMu.tryLock() {
		c.unlockRead()
	}
	defer c.trace.closed(c)
	return closeNow(c.nc)
}

func (c *Conn) stopKill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kill != nil {
		stopTimer(c.kill)
	}
}

// A pingWaiter waits for the Pong to a Ping.
type pingWaiter struct {
	id      uint64
	sent    time.Duration
	pong    chan time.Duration // the time it came; closed if it can't come any more
	earlier *pingWaiter
}

// Ping sends a Ping and waits for its Pong (RFC 6455, section 5.5.2). It
// returns the time between them. A read must be in progress, or nobody sees the
// Pong.
//
// When ctx ends, Ping returns its cause; the connection stays usable.
func (c *Conn) Ping(ctx context.Context) (rtt time.Duration, err error) {
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	if err := c.refused(opPing, 0); err != nil {
		return 0, err
	}
	p := &pingWaiter{sent: now(), pong: make(chan time.Duration, 1)}
	c.mu.Lock()
	if end := c.end.Load(); end != nil {
		c.mu.Unlock()
		return 0, end
	}
	c.pingID++
	p.id = c.pingID
	p.earlier, c.pings = c.pings, p
	c.mu.Unlock()
	defer c.forgetPing(p)
	if err := c.send(ctx, &job{opcode: opPing, fin: true, payload: pingPayload(p.id)}); err != nil {
		return 0, err
	}
	select {
	case came, ok := <-p.pong:
		if !ok {
			return 0, c.Err()
		}
		return came - p.sent, nil
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

func (c *Conn) forgetPing(p *pingWaiter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for at := &c.pings; *at != nil; at = &(*at).earlier {
		if *at == p {
			*at = p.earlier
			return
		}
	}
}

// receivePong notes a Pong.
//
// "A Pong frame MAY be sent unsolicited. This serves as a unidirectional
// heartbeat. A response to an unsolicited Pong frame is not expected." (section
// 5.5.3)
func (c *Conn) receivePong(payload []byte) {
	id, ok := pingID(payload)
	if !ok {
		return
	}
	c.mu.Lock()
	sent, ok := c.answerPing(id)
	c.mu.Unlock()
	if ok {
		c.trace.pong(c, sent)
	}
}

// answerPing answers the Ping with that number and those before it, for a peer may answer the
// latest only. It returns when that was sent, for the Trace, if that is known. c.mu is held.
func (c *Conn) answerPing(id uint64) (sent time.Duration, ok bool) {
	if id > c.pingID {
		return 0, false
	}
	at := &c.pings
	for *at != nil && (*at).id > id {
		at = &(*at).earlier
	}
	answered := *at
	*at = nil
	switch {
	case answered != nil && answered.id == id:
		sent, ok = c.trace.answers(id, answered.sent)
	case c.owed.ping == id && c.owed.kinds&owesPing == 0: // it has left
		sent, ok = c.trace.answers(id, 0)
	}
	for ; answered != nil; answered = answered.earlier {
		answered.pong <- now()
	}
	return sent, ok
}

// A liveness is what the keepalive knows. Conn.mu guards it, but for what is
// atomic: a read that gets what it waits for takes no lock.
type liveness struct {
	ticker   *time.Timer
	lastRead atomic.Int64 // when the last byte was received, by now
	pingID   uint64       // of the latest Ping, the keepalive's or a user's

	pinged    atomic.Bool   // there is a Ping of the keepalive, and no byte was received since
	waiting   atomic.Bool   // a read waits on the socket
	pingLeft  time.Duration // when the Ping left; 0: it has not
	waitSince time.Duration // since when, or since the ping left; only if pinged
	waited    time.Duration // for how long earlier ones have waited since the ping left
}

// tick pings a peer that has been silent for PingInterval, and fails the
// connection with a peer that stays so for PingTimeout while we listen. It runs
// by a timer.
func (c *Conn) tick() {
	c.mu.Lock()
	if c.end.Load() != nil {
		c.mu.Unlock()
		return
	}
	now := now()
	var next time.Duration
	switch silent := now - time.Duration(c.lastRead.Load()); {
	case silent < c.pingInterval:
		c.pinged.Store(false)
		next = c.pingInterval - silent
	case !c.pinged.Load() || c.pingTimeout < 0:
		c.pingLeft, c.waited = 0, 0
		c.pinged.Store(true)
		c.pingID++
		if c.closing&closeSent == 0 {
			c.owed.addPing(c.pingID)
		}
		next = c.pingInterval
		if c.pingTimeout >= 0 {
			next = min(next, c.pingTimeout)
		}
	default:
		listened := c.listened(now)
		if listened >= c.pingTimeout && c.pingLeft != 0 {
			c.mu.Unlock()
			c.lose(errPingTimeout)
			return
		}
		// Whether a read waits may change at any time.
		next = min(c.pingInterval, max(c.pingTimeout-listened, c.pingTimeout/8))
	}
	resetTimer(c.ticker, max(next, time.Millisecond))
	if !c.busy {
		c.writeGuards.drop()
	}
	c.mu.Unlock()
	c.settle()
	if c.readMu.tryLock() {
		c.readGuards.drop()
		c.unlockRead()
	}
}

// listened returns for how long reads have waited since the Ping left. c.mu is
// held.
func (c *Conn) listened(now time.Duration) time.Duration {
	if c.waiting.Load() && c.pingLeft != 0 {
		return c.waited + now - max(c.waitSince, c.pingLeft)
	}
	return c.waited
}

// beginWait notes that a read is about to wait on the socket. It returns the
// end of the connection, if it has ended.
func (c *Conn) beginWait() error {
	if c.pinged.Load() {
		c.mu.Lock()
		c.waitSince = now()
		c.mu.Unlock()
	}
	c.waiting.Store(true)
	if end := c.end.Load(); end != nil { // which leave sets before it looks whether somebody waits
		c.waiting.Store(false)
		return end
	}
	return nil
}

// endWait notes that the read waits no more, and whether bytes were received.
func (c *Conn) endWait(received bool) {
	switch {
	case received:
		c.lastRead.Store(int64(now()))
		if c.pinged.Load() {
			c.pinged.Store(false)
		}
	case c.pinged.Load():
		c.mu.Lock()
		defer c.mu.Unlock() // until it waits no more, or tick would count it twice
		c.waited = c.listened(now())
	}
	c.waiting.Store(false)
}

// A lock is a mutex that can be tried, and given up when a channel closes. The
// zero value is unlocked.
type lock struct {
	state atomic.Int32 // unlocked, locked, or locked and waited for
	mu    sync.Mutex
	wake  chan struct{}
}

const (
	unlocked = iota
	locked
	contended
)

func (l *lock) tryLock() bool { return l.state.CompareAndSwap(unlocked, locked) }

// lock locks l, or returns false if giveUp is closed first.
func (l *lock) lock(giveUp <-chan struct{}) bool {
	if l.tryLock() {
		return true
	}
	wake := l.waker()
	for l.state.Swap(contended) != unlocked {
		select {
		case <-wake:
		case <-giveUp:
			return false
		}
	}
	return true
}

func (l *lock) unlock() {
	if l.state.Swap(unlocked) == contended {
		select {
		case l.waker() <- struct{}{}:
		default: // somebody is being woken already
		}
	}
}

func (l *lock) waker() chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.wake == nil {
		l.wake = make(chan struct{}, 1)
	}
	return l.wake
}

// Every timer comes from afterFunc and is stopped with stopTimer, so that tests
// can set timerHook and find those that were forgotten.
var timerHook func(change int)

func countTimer(change int) {
	if timerHook != nil {
		timerHook(change)
	}
}

func afterFunc(d time.Duration, f func()) *time.Timer {
	if timerHook == nil {
		return time.AfterFunc(d, f)
	}
	countTimer(+1)
	return time.AfterFunc(d, func() {
		countTimer(-1)
		f()
	})
}

// resetTimer starts t again, which does not run.
func resetTimer(t *time.Timer, d time.Duration) {
	countTimer(+1)
	t.Reset(d)
}

func stopTimer(t *time.Timer) {
	if t.Stop() {
		countTimer(-1)
	}
}
