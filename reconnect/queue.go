package reconnect

import (
	"context"
	"sync"
	"time"
)

// A signal tells all who wait for it that something has changed. The lock of what may change is held for its methods.
type signal struct{ changed chan struct{} }

// wait returns a channel that is closed with the next change.
func (s *signal) wait() <-chan struct{} {
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.changed
}

func (s *signal) send() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// An inbox has the messages that were received and not read.
type inbox struct {
	limit int

	mu       sync.Mutex
	changed  signal
	messages []Message
	waiting  bool  // awaitRoom does
	end      error // what comes behind the messages
}

// awaitRoom waits for room for a message, or the end of ctx.
func (b *inbox) awaitRoom(ctx context.Context, waited func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.messages) >= b.limit && ctx.Err() == nil {
		b.waiting = true
		b.await(ctx)
		b.waiting = false
		waited()
	}
}

func (b *inbox) put(m Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.messages = append(b.messages, m)
	b.changed.send()
}

// full reports whether nothing is received for want of room.
func (b *inbox) full() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.waiting
}

func (b *inbox) get(ctx context.Context) (Message, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for ; ; b.await(ctx) {
		switch {
		case ctx.Err() != nil:
			return Message{}, context.Cause(ctx)
		case len(b.messages) > 0:
			m := b.messages[0]
			b.messages[0] = Message{}
			b.messages = b.messages[1:]
			b.changed.send()
			return m, nil
		case b.end != nil:
			return Message{}, b.end
		}
	}
}

// setEnd has err come behind the messages, or nothing yet.
func (b *inbox) setEnd(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.end = err
	b.changed.send()
}

// await waits for a change, or the end of ctx. b.mu is held, but not meanwhile.
func (b *inbox) await(ctx context.Context) {
	changed := b.changed.wait()
	b.mu.Unlock()
	select {
	case <-changed:
	case <-ctx.Done():
	}
	b.mu.Lock()
}

// An outbox has the messages that wait to be sent.
type outbox struct {
	Queue
	onDrop func(Message, error)

	mu       sync.Mutex
	changed  signal
	messages []queued
	bytes    int
	sending  bool  // one of them, which is not among messages
	end      error // why no more are taken

	dropped []drop // of which onDrop has not been told
	over    bool   // nothing more happens
}

type queued struct {
	Message
	since time.Time
}

type drop struct {
	Message
	why error
}

// push puts m at the end, by the Policy if there is no room.
func (b *outbox) push(ctx context.Context, m Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for ; ; b.await(ctx) {
		b.expire()
		switch {
		case b.end != nil:
			return b.end
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case b.hasRoom(m):
			b.insert(len(b.messages), queued{m, time.Now()})
			return nil
		}
		switch b.Policy {
		case Reject:
			return ErrQueueFull
		case DropNewest:
			b.drop(m, ErrQueueFull)
			return nil
		case DropOldest:
			for !b.hasRoom(m) {
				b.drop(b.remove().Message, ErrQueueFull)
			}
			b.insert(len(b.messages), queued{m, time.Now()})
			return nil
		}
	}
}

func (b *outbox) hasRoom(m Message) bool {
	return len(b.messages) == 0 || len(b.messages) < b.Messages && b.bytes+len(m.Data) <= b.Bytes
}

func (b *outbox) insert(i int, m queued) {
	b.messages = append(b.messages, queued{})
	copy(b.messages[i+1:], b.messages[i:])
	b.messages[i] = m
	b.bytes += len(m.Data)
	b.changed.send()
}

// remove removes the first message.
func (b *outbox) remove() queued {
	m := b.messages[0]
	b.messages[0] = queued{}
	b.messages = b.messages[1:]
	b.bytes -= len(m.Data)
	b.changed.send()
	return m
}

// expire drops what has waited for too long.
func (b *outbox) expire() {
	for b.MaxAge > 0 && len(b.messages) > 0 && time.Since(b.messages[0].since) > b.MaxAge {
		b.drop(b.remove().Message, ErrExpired)
	}
}

// next waits for a message to send. What became of it is for sent to know.
func (b *outbox) next(ctx context.Context) (queued, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for ; ; b.await(ctx) {
		if ctx.Err() != nil {
			return queued{}, context.Cause(ctx)
		}
		if b.expire(); len(b.messages) > 0 {
			b.sending = true
			return b.remove(), nil
		}
	}
}

// sent notes what became of the message that next has returned.
func (b *outbox) sent(m queued, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sending = false
	switch {
	case err == nil:
		b.changed.send()
	case b.Requeue:
		b.insert(0, m)
	default:
		b.drop(m.Message, err)
		b.changed.send()
	}
}

// flush waits until all is sent, or ctx ends.
func (b *outbox) flush(ctx context.Context) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for (b.sending || len(b.messages) > 0) && ctx.Err() == nil && !b.over {
		b.await(ctx)
	}
}

// refuse has push return err.
func (b *outbox) refuse(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.end = err
	b.changed.send()
}

// isSending reports whether a message is being sent.
func (b *outbox) isSending() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sending
}

// takeAll returns the messages, and forgets them.
func (b *outbox) takeAll() []Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expire()
	var all []Message
	for len(b.messages) > 0 {
		all = append(all, b.remove().Message)
	}
	return all
}

// dropAll drops the messages, if there is somebody to be told.
func (b *outbox) dropAll(why error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.onDrop != nil && len(b.messages) > 0 {
		b.drop(b.remove().Message, why)
	}
}

// drop notes that m will not be sent. b.mu is held.
func (b *outbox) drop(m Message, why error) {
	if b.onDrop != nil {
		b.dropped = append(b.dropped, drop{m, why})
		b.changed.send()
	}
}

// finish says that nothing more happens: keep returns when it has told of what was dropped.
func (b *outbox) finish() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over = true
	b.changed.send()
}

// keep drops messages when they expire, and tells onDrop, without a lock: it may come back here.
func (b *outbox) keep() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for {
		b.expire()
		switch {
		case len(b.dropped) > 0:
			d := b.dropped[0]
			b.dropped = b.dropped[1:]
			b.mu.Unlock()
			b.onDrop(d.Message, d.why)
			b.mu.Lock()
		case b.over:
			return
		default:
			b.awaitExpiry()
		}
	}
}

// awaitExpiry waits for a change, or until the first message expires. b.mu is held, but not meanwhile.
func (b *outbox) awaitExpiry() {
	ctx := context.Background()
	if b.MaxAge > 0 && len(b.messages) > 0 {
		limited, cancel := context.WithTimeout(ctx, b.MaxAge-time.Since(b.messages[0].since)+1)
		defer cancel()
		ctx = limited
	}
	b.await(ctx)
}

// await is as that of an inbox.
func (b *outbox) await(ctx context.Context) {
	changed := b.changed.wait()
	b.mu.Unlock()
	select {
	case <-changed:
	case <-ctx.Done():
	}
	b.mu.Lock()
}
