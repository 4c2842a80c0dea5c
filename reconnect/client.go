package reconnect

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidewire/websocket"
)

// closeTimeout is for how long Close waits for what is queued to be sent.
const closeTimeout = 5 * time.Second

// A Client has one connection after another. Its methods may be called concurrently.
type Client struct {
	o      *config
	inbox  inbox
	outbox outbox

	life context.Context // of the Client
	end  context.CancelCauseFunc
	done chan struct{} // closed when nothing is left of it

	mu      sync.Mutex
	changed signal
	state   State
	conn    Conn                    // the one that is open
	stop    context.CancelCauseFunc // ends the phase
	asked   error                   // by Reconnect, for a new connection
	closing bool
	code    websocket.StatusCode // for Close
	reason  string
	closed  error // what that returns
}

// New returns a Client that connects to url, or asks Target where to, from now on until Close. It
// returns an error if that can't be done.
func New(url string, o Options) (*Client, error) {
	cfg, err := newConfig(url, o)
	if err != nil {
		return nil, err
	}
	c := &Client{o: cfg, done: make(chan struct{})}
	c.inbox.limit = cfg.Inbox
	c.outbox.Queue, c.outbox.onDrop = cfg.Queue, cfg.OnDrop
	c.life, c.end = context.WithCancelCause(context.Background())
	var work sync.WaitGroup
	work.Go(c.run)
	work.Go(c.outbox.keep)
	go func() {
		work.Wait()
		close(c.done)
	}()
	return c, nil
}

// Dial is New, and waits for the first connection. It returns an error if the client gives up or ctx ends before.
func Dial(ctx context.Context, url string, o Options) (*Client, error) {
	c, err := New(url, o)
	if err != nil {
		return nil, err
	}
	if err := c.awaitOpen(ctx); err != nil {
		c.Close(websocket.StatusNormalClosure, "")
		return nil, err
	}
	return c, nil
}

func (c *Client) awaitOpen(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch c.state.Phase {
		case Open:
			return nil
		case GaveUp:
			return &gaveUp{c.state.Err}
		}
		changed := c.changed.wait()
		c.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		c.mu.Lock()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// gaveUp says why.
type gaveUp struct{ last error }

func (e *gaveUp) Error() string   { return ErrGaveUp.Error() + ": " + e.last.Error() }
func (e *gaveUp) Unwrap() []error { return []error{ErrGaveUp, e.last} }

// Read returns the next message, of whichever connection. When the client is closed or has given up, and all
// messages were read, it returns ErrClosed, or an error that wraps ErrGaveUp and the last failure. When ctx ends, it
// returns its cause.
func (c *Client) Read(ctx context.Context) (Message, error) { return c.inbox.get(ctx) }

// Messages returns an iterator over the messages. The error, that of Read, comes with the last
// pair; there is none when the client was closed.
func (c *Client) Messages(ctx context.Context) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		for {
			m, err := c.Read(ctx)
			if errors.Is(err, ErrClosed) || !yield(m, err) || err != nil {
				return
			}
		}
	}
}

// Send queues a message, which it copies. If there is no room in the queue, its Policy decides; with Block, ctx
// limits the waiting. Without a queue it writes the message, under ctx, or returns ErrNotConnected.
func (c *Client) Send(ctx context.Context, typ websocket.MessageType, p []byte) error {
	if c.o.Queue.Messages >= 0 {
		return c.outbox.push(ctx, Message{Type: typ, Data: slices.Clone(p)})
	}
	c.mu.Lock()
	conn, closing := c.conn, c.closing
	c.mu.Unlock()
	switch {
	case closing:
		return ErrClosed
	case conn == nil:
		return ErrNotConnected
	}
	return conn.Write(ctx, typ, p)
}

// SendJSON queues v as JSON, in a text message.
func (c *Client) SendJSON(ctx context.Context, v any) error {
	p, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return c.Send(ctx, websocket.MessageText, p)
}

// Reconnect has the client connect at once, as if nothing had failed before, also if it has given
// up. A connection is closed without a closing handshake: there is reason to believe that it is
// dead.
func (c *Client) Reconnect(reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = errors.New("reconnect: asked for a new connection: " + reason)
	if c.stop != nil {
		c.stop(c.asked)
	}
}

// State returns what the client is doing.
func (c *Client) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// Unsent returns the messages that wait to be sent, and forgets them.
func (c *Client) Unsent() []Message { return c.outbox.takeAll() }

// Done returns a channel that is closed when the client is closed and nothing of it is left.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err returns nil while the client connects or is connected, and otherwise what Read returns.
func (c *Client) Err() error {
	c.inbox.mu.Lock()
	defer c.inbox.mu.Unlock()
	return c.inbox.end
}

// Close sends what is queued, if there is a connection, within 5 s, and closes that with code and
// reason, see [websocket.Conn.Close], whose error it returns. It returns when no function of the
// Options is running or will be, and no goroutine is left. Messages that are still queued are
// dropped, or kept for Unsent if there is no OnDrop.
func (c *Client) Close(code websocket.StatusCode, reason string) error {
	c.mu.Lock()
	first, open := !c.closing, c.conn != nil
	if first {
		c.closing, c.code, c.reason = true, code, reason
	}
	c.mu.Unlock()
	if first {
		c.outbox.refuse(ErrClosed)
		if open {
			flushing, cancel := context.WithTimeout(context.Background(), closeTimeout)
			c.outbox.flush(flushing)
			cancel()
		}
		c.end(ErrClosed)
	}
	<-c.done
	return c.closed
}

// run is the goroutine that owns all but reading and writing.
func (c *Client) run() {
	p := pacer{o: c.o}
	var last error
	for !c.isClosing() {
		uptime, err := c.connect(p.attempt, last)
		if last = err; c.isClosing() {
			if uptime > 0 && err != ErrClosed {
				c.closed = err // it was lost before it could be closed
			}
			break
		}
		if c.wasAsked() {
			p.reset()
			continue
		}
		if delay, stop := p.failed(err, uptime); stop {
			c.giveUp(p.attempt, err)
		} else {
			c.wait(p.attempt, delay, err)
		}
		if c.wasAsked() {
			p.reset()
		}
	}
	c.outbox.refuse(ErrClosed)
	c.outbox.dropAll(ErrClosed)
	c.outbox.finish()
	c.inbox.setEnd(ErrClosed)
	c.setState(State{Phase: Closed, Err: last})
}

func (c *Client) isClosing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing
}

// begin begins a phase, whose context ends with the Client or for Reconnect.
func (c *Client) begin() (context.Context, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(c.life)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stop = cancel
	if c.asked != nil {
		cancel(c.asked)
	}
	return ctx, cancel
}

// wasAsked reports whether a new connection was asked for since it was called last.
func (c *Client) wasAsked() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	asked := c.asked != nil
	c.asked = nil
	return asked
}

// setState notes s, whose Epoch is the last one if it has none.
func (c *Client) setState(s State) {
	c.mu.Lock()
	if s.Epoch == 0 {
		s.Epoch = c.state.Epoch
	}
	c.state = s
	c.changed.send()
	c.mu.Unlock()
	if c.o.OnState != nil {
		c.o.OnState(s)
	}
}

// connect makes an attempt, and serves the connection. It returns for how long that lasted, and why it ended.
func (c *Client) connect(attempt int, last error) (uptime time.Duration, err error) {
	ctx, cancel := c.begin()
	defer cancel(nil)
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	c.setState(State{Phase: Connecting, Attempt: attempt, Err: last})
	epoch := c.state.Epoch + 1 // which nobody else changes
	conn, err := c.o.connect(ctx, attempt, epoch)
	if err != nil {
		return 0, err
	}
	start := time.Now()
	c.setConn(conn)
	c.setState(State{Phase: Open, Epoch: epoch, Attempt: attempt})
	s := &served{c: c, conn: conn, epoch: epoch}
	err = s.run(ctx)
	c.setConn(nil)
	return max(1, time.Since(start)), err
}

func (c *Client) setConn(conn Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn = conn
}

// wait waits before the next attempt.
func (c *Client) wait(attempt int, delay time.Duration, err error) {
	ctx, cancel := c.begin()
	defer cancel(nil)
	c.setState(State{Phase: Waiting, Attempt: attempt, RetryAt: time.Now().Add(delay), Err: err})
	sleep(ctx, delay)
}

// giveUp waits for Reconnect, or Close.
func (c *Client) giveUp(attempt int, err error) {
	ctx, cancel := c.begin()
	defer cancel(nil)
	c.inbox.setEnd(&gaveUp{err})
	c.outbox.refuse(&gaveUp{err})
	c.setState(State{Phase: GaveUp, Attempt: attempt, Err: err})
	<-ctx.Done()
	if !c.isClosing() {
		c.inbox.setEnd(nil)
		c.outbox.refuse(nil)
	}
}

// sleep waits for d, or until ctx ends, and reports whether it was for d.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// served is a connection of a Client.
type served struct {
	c        *Client
	conn     Conn
	epoch    uint64
	received atomic.Int64 // when the last message was, as time since start
	start    time.Time
	fail     context.CancelCauseFunc
}

// run serves the connection until it ends or ctx does, closes it, and returns why.
func (s *served) run(ctx context.Context) error {
	s.start = time.Now()
	ctx, s.fail = context.WithCancelCause(ctx)
	defer s.fail(nil)
	var goroutines sync.WaitGroup
	goroutines.Go(func() { s.read(ctx) })
	goroutines.Go(func() { s.write(ctx) })
	if h := s.c.o.AppHeartbeat; h != nil {
		goroutines.Go(func() { s.beat(ctx, h) })
	}
	<-ctx.Done()
	s.close()
	goroutines.Wait()
	return context.Cause(ctx)
}

// close closes the connection, as Close was told if that is why.
func (s *served) close() {
	c := s.c
	c.mu.Lock()
	code, reason := c.code, c.reason
	c.mu.Unlock()
	if c.life.Err() != nil {
		c.closed = s.conn.Close(code, reason)
	}
	s.conn.CloseNow()
}

func (s *served) read(ctx context.Context) {
	for {
		s.c.inbox.awaitRoom(ctx, s.hear) // what was not received meanwhile is no silence
		typ, p, err := s.conn.Read(ctx)
		if err != nil {
			s.fail(err)
			return
		}
		s.hear()
		if h := s.c.o.AppHeartbeat; h != nil && h.IsReply != nil && h.IsReply(typ, p) {
			continue
		}
		s.c.inbox.put(Message{typ, p, s.epoch})
	}
}

func (s *served) hear() { s.received.Store(int64(time.Since(s.start))) }

func (s *served) write(ctx context.Context) {
	for {
		m, err := s.c.outbox.next(ctx)
		if err != nil {
			return
		}
		err = s.conn.Write(ctx, m.Type, m.Data)
		s.c.outbox.sent(m, err)
		if err != nil {
			s.fail(err)
			return
		}
	}
}

// silence returns for how long nothing has come: bytes if the Conn says when, or else messages.
func (s *served) silence() time.Duration {
	silence := time.Since(s.start) - time.Duration(s.received.Load())
	if c, ok := s.conn.(interface{ LastRead() time.Time }); ok {
		silence = min(silence, time.Since(c.LastRead()))
	}
	return max(0, silence)
}

// beat sends heartbeats, and fails the connection when nothing comes after one. It does not while a message
// is on its way, which the heartbeat would have to wait for, nor while we don't read.
func (s *served) beat(ctx context.Context, h *AppHeartbeat) {
	for {
		silence := s.silence()
		if silence < h.Interval || s.c.inbox.full() || s.c.outbox.isSending() {
			if !sleep(ctx, max(h.Interval-silence, h.Interval/8, 1)) {
				return
			}
			continue
		}
		begun := time.Now()
		if err := s.sendHeartbeat(ctx, h); err != nil {
			s.fail(err)
			return
		}
		if !sleep(ctx, h.Timeout) {
			return
		}
		if s.silence() > time.Since(begun) && !s.c.inbox.full() && !s.c.outbox.isSending() {
			s.fail(ErrHeartbeat)
			return
		}
	}
}

func (s *served) sendHeartbeat(ctx context.Context, h *AppHeartbeat) error {
	ctx, cancel := context.WithTimeoutCause(ctx, h.Timeout, ErrHeartbeat)
	defer cancel()
	return s.conn.Write(ctx, h.Type, h.Message())
}
