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

	mu      sync.Mutex
	queue   []item // what waits, the oldest first
	bytes   int    // of queue
	writing bool   // there is a goroutine that writes
	gone    bool   // nothing is queued any more
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
	switch c.push(item{m, len(p), ""}) {
	case gone:
		return ErrGone
	case queued:
		return nil
	}
	return ErrSlowConsumer
}

// Close closes the connection when what waits was sent, or after 5 s. It does not wait for that.
func (c *Client[M]) Close(code websocket.StatusCode, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return
	}
	c.gone = true
	c.closing = &closing{code: code, reason: reason}
	if c.writing {
		c.closing.late = time.AfterFunc(flushTimeout, func() { c.conn.Close(code, reason) })
		return
	}
	go c.conn.Close(code, reason)
}

// An outcome is what became of a message for a client.
type outcome int

const (
	queued outcome = iota
	dropped
	disconnected
	gone
)

// push queues it.
func (c *Client[M]) push(it item) outcome {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.gone:
		return gone
	case it.key != "" && c.replace(it):
		return queued
	}
	result := queued
	if !c.hasRoom(it) {
		switch c.h.o.Slow {
		case Disconnect:
			c.disconnect()
			return disconnected
		case DropNewest:
			return dropped
		case DropOldest:
			for !c.hasRoom(it) {
				c.pop()
			}
		case Latest:
			c.forget()
		}
		result = dropped
	}
	c.queue = append(c.queue, it)
	c.bytes += it.size
	if !c.writing {
		c.writing = true
		go c.write()
	}
	return result
}

func (c *Client[M]) hasRoom(it item) bool {
	return len(c.queue) == 0 || len(c.queue) < c.h.o.QueueMessages && c.bytes+it.size <= c.h.o.QueueBytes
}

// replace has it take the place of one with the same key.
func (c *Client[M]) replace(it item) bool {
	for i := range c.queue {
		if c.queue[i].key == it.key {
			c.bytes += it.size - c.queue[i].size
			c.queue[i] = it
			return true
		}
	}
	return false
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

func (c *Client[M]) forget() { c.queue, c.bytes = nil, 0 }

// disconnect closes a client that is too slow. c.mu is held.
func (c *Client[M]) disconnect() {
	c.gone = true
	c.forget()
	go c.conn.Close(websocket.StatusTryAgainLater, "slow consumer")
}

// write is the goroutine that writes while something waits.
func (c *Client[M]) write() {
	for {
		c.mu.Lock()
		if len(c.queue) == 0 {
			c.writing = false
			closing := c.closing
			c.mu.Unlock()
			if closing != nil && closing.late.Stop() {
				c.conn.Close(closing.code, closing.reason)
			}
			return
		}
		it := c.pop()
		c.mu.Unlock()
		if err := c.conn.WritePrepared(context.Background(), it.prepared); err != nil {
			c.leave() // and the reader hears of it too
		}
	}
}

// leave notes that the client is gone.
func (c *Client[M]) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = true
	c.forget()
	if c.closing != nil && c.closing.late != nil {
		c.closing.late.Stop()
	}
}

// read calls on with each message. If that ends it, it closes the connection.
func (c *Client[M]) read(ctx context.Context, on func(*Client[M], websocket.MessageType, []byte) error) (err error) {
	code, reason := websocket.StatusInternalError, ""
	returned := false
	defer func() {
		if !returned {
			c.conn.Close(code, reason)
		}
	}()
	for m, failed := range c.conn.Messages(ctx) {
		if failed != nil {
			err = failed
			break
		}
		if on == nil {
			continue
		}
		if err := on(c, m.Type, m.Data); err != nil {
			if chosen, ok := errors.AsType[*websocket.CloseError](err); ok {
				code, reason = chosen.Code, chosen.Reason
			}
			return err
		}
	}
	returned = true
	return err
}
