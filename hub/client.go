package hub

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tidewire/websocket"
)

// flushTimeout is for how long a client that is closed may take to get what waits for it.
const flushTimeout = 5 * time.Second

// A Client is a connection in a Hub. Its methods may be called concurrently.
type Client[M any] struct {
	h      *Hub[M]
	conn   *websocket.Conn
	user   string
	meta   M
	number uint64
	rooms  map[string]struct{} // h.mu guards it
	write  func()              // the goroutine that writes; kept here, it is made once

	mu      sync.Mutex
	queue   []item  // what waits, the oldest first
	first   [1]item // where the queue begins: for most, there is never more
	bytes   int     // of queue
	writing bool    // there is a goroutine that writes
	gone    bool    // nothing is queued any more, and nothing heard
	closing *closing
}

// closing is how a client is to be closed when its queue is empty.
type closing struct {
	code   websocket.StatusCode
	reason string
	late   *time.Timer // closes it whatever waits
}

// An item is a message that waits to be sent.
type item struct {
	prepared *websocket.PreparedMessage
	size     int
	key      string // of those that replace each other, or ""
}

func newClient[M any](h *Hub[M], c *websocket.Conn, id Identity[M]) *Client[M] {
	client := &Client[M]{h: h, conn: c, user: id.User, meta: id.Meta, number: h.ids.Add(1)}
	client.write = client.writeQueue
	return client
}

// ID returns the client's name, which no other has, in no process.
func (c *Client[M]) ID() string { return fmt.Sprintf("%s-%d", c.h.o.Node, c.number) }

// User returns the user, or "" if there is none known.
func (c *Client[M]) User() string { return c.user }

// Meta returns what the Identity had.
func (c *Client[M]) Meta() M { return c.meta }

// Join has the client be in a room.
func (c *Client[M]) Join(room string) error {
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	if _, in := c.h.all.members[c]; !in {
		return ErrGone
	}
	return c.h.join(c, room)
}

// Leave has it not be there any more.
func (c *Client[M]) Leave(room string) {
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	c.h.leaveRoom(c, room)
}

// Rooms returns the rooms that the client is in, sorted.
func (c *Client[M]) Rooms() []string {
	c.h.mu.RLock()
	defer c.h.mu.RUnlock()
	rooms := make([]string, 0, len(c.rooms))
	for name := range c.rooms {
		rooms = append(rooms, name)
	}
	slices.Sort(rooms)
	return rooms
}

// Queued returns how much waits to be sent.
func (c *Client[M]) Queued() (messages, bytes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.queue), c.bytes
}

// Send queues a message, which it copies. It does not wait. It returns ErrSlowConsumer if there is
// no room, so that something is dropped or the client disconnected, and ErrGone if it is closed.
func (c *Client[M]) Send(typ websocket.MessageType, p []byte) error {
	m, err := websocket.NewPreparedMessage(typ, p)
	if err != nil {
		return err
	}
	switch o := c.push(item{m, len(p), ""}); {
	case o.dropped, o.disconnected:
		return ErrSlowConsumer
	case o.queued:
		return nil
	}
	return ErrGone
}

// Close closes the connection when what waits was sent, or after 5 s. It does not wait for that. What
// the client sends from now on is ignored. A code that must not be sent is replaced by StatusInternalError.
func (c *Client[M]) Close(code websocket.StatusCode, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return
	}
	c.gone = true
	if !c.writing {
		go c.shut(code, reason)
		return
	}
	late := time.AfterFunc(flushTimeout, func() { c.shut(code, reason) })
	c.closing = &closing{code: code, reason: reason, late: late}
}

// shut closes the connection.
func (c *Client[M]) shut(code websocket.StatusCode, reason string) {
	c.conn.Close(code, reason)
	if c.conn.Err() == nil { // the code was refused
		c.conn.Close(websocket.StatusInternalError, reason)
	}
}

// An outcome is what became of a message for a client.
type outcome struct{ queued, dropped, disconnected bool }

// push queues it.
func (c *Client[M]) push(it item) (o outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone || it.key != "" && c.replace(it) {
		return outcome{queued: !c.gone}
	}
	if !c.hasRoom(it) {
		o.dropped = true
		switch c.h.o.Slow {
		case Disconnect:
			c.disconnect()
			return outcome{disconnected: true}
		case DropNewest:
			return o
		case DropOldest:
			for !c.hasRoom(it) {
				c.pop()
			}
		case Latest:
			c.forget()
		}
	}
	o.queued = true
	if len(c.queue) == 0 {
		c.queue = c.first[:0]
	}
	c.queue = append(c.queue, it)
	c.bytes += it.size
	if !c.writing {
		c.writing = true
		go c.write()
	}
	return o
}

func (c *Client[M]) hasRoom(it item) bool {
	return len(c.queue) == 0 || len(c.queue) < c.h.o.QueueMessages && c.bytes+it.size <= c.h.o.QueueBytes
}

// replace has it take the place of one with the same key. If it is too large for that, it only removes that one.
func (c *Client[M]) replace(it item) bool {
	i := slices.IndexFunc(c.queue, func(other item) bool { return other.key == it.key })
	if i < 0 {
		return false
	}
	c.bytes -= c.queue[i].size
	if len(c.queue) > 1 && c.bytes+it.size > c.h.o.QueueBytes {
		c.queue = slices.Delete(c.queue, i, i+1)
		return false
	}
	c.bytes += it.size
	c.queue[i] = it
	return true
}

// pop removes what has waited longest.
func (c *Client[M]) pop() item {
	it := c.queue[0]
	c.queue[0] = item{}
	if c.queue = c.queue[1:]; len(c.queue) == 0 {
		c.queue = nil
	}
	c.bytes -= it.size
	return it
}

func (c *Client[M]) forget() {
	clear(c.queue)
	c.queue, c.bytes = nil, 0
}

// disconnect closes a client that is too slow. c.mu is held.
func (c *Client[M]) disconnect() {
	c.gone = true
	c.forget()
	go c.shut(websocket.StatusTryAgainLater, "slow consumer")
}

// So many messages and bytes leave together at the most.
const (
	batchMessages = 32
	batchBytes    = 64 << 10
)

// writeQueue is the goroutine that writes while something waits.
func (c *Client[M]) writeQueue() {
	for {
		one, more := c.take()
		if one == nil {
			return
		}
		var err error
		if more == nil {
			err = c.conn.WritePrepared(context.Background(), one)
		} else {
			err = c.conn.WritePreparedBatch(context.Background(), more...)
		}
		if err != nil {
			c.leave() // and the reader hears of it too
		}
	}
}

// take returns the next message, and if there are others behind it, more of which it is the first.
// If there is none, the goroutine is to end, and take closes the connection if that was asked for.
func (c *Client[M]) take() (one *websocket.PreparedMessage, more []*websocket.PreparedMessage) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 {
		c.first[0] = item{} // which is there still if the queue has outgrown it
		c.writing = false
		c.closeNow()
		return nil, nil
	}
	it := c.pop()
	if len(c.queue) == 0 {
		return it.prepared, nil
	}
	for size := it.size; len(c.queue) > 0 && len(more) < batchMessages && size+c.queue[0].size <= batchBytes; {
		if more == nil {
			more = append(make([]*websocket.PreparedMessage, 0, min(batchMessages, 1+len(c.queue))), it.prepared)
		}
		next := c.pop()
		size += next.size
		more = append(more, next.prepared)
	}
	return it.prepared, more
}

// closeNow does what Close has put off. c.mu is held.
func (c *Client[M]) closeNow() {
	if c.closing != nil && c.closing.late.Stop() {
		go c.shut(c.closing.code, c.closing.reason)
	}
}

// leave notes that the client is gone.
func (c *Client[M]) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = true
	c.forget()
	c.closeNow()
}

// read calls on with each message until the connection ends.
func (c *Client[M]) read(ctx context.Context, on func(*Client[M], websocket.MessageType, []byte) error) error {
	for m, err := range c.conn.Messages(ctx) {
		if err == nil {
			err = c.hear(on, m)
		}
		if err != nil {
			return err
		}
	}
	return c.conn.Err()
}

// hear calls on. If that fails, it closes the connection when what waits was sent, and waits for that.
func (c *Client[M]) hear(on func(*Client[M], websocket.MessageType, []byte) error, m websocket.Message) error {
	c.mu.Lock()
	gone := c.gone
	c.mu.Unlock()
	if gone || on == nil {
		return nil
	}
	code, reason, failed := websocket.StatusInternalError, "", true
	defer func() {
		if failed {
			c.Close(code, reason)
			<-c.conn.Done()
		}
	}()
	err := on(c, m.Type, m.Data)
	if chosen, ok := errors.AsType[*websocket.CloseError](err); ok {
		code, reason = chosen.Code, chosen.Reason
	}
	failed = err != nil
	return err
}
