package hub

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strconv"

	"github.com/tidewire/websocket"
)

// A Target is clients that something is sent to, in all processes. It is a value: each of its
// methods returns another.
type Target[M any] struct {
	h      *Hub[M]
	topics []string
	except []*Client[M]
	local  bool
	key    string
}

// All returns all clients.
func (h *Hub[M]) All() Target[M] { return Target[M]{h: h, topics: []string{topicAll}} }

// Room returns the clients in one or more of these rooms.
func (h *Hub[M]) Room(names ...string) Target[M] {
	t := Target[M]{h: h}
	for _, name := range names {
		t.topics = append(t.topics, roomTopic(name))
	}
	return t
}

// User returns the clients of these users.
func (h *Hub[M]) User(ids ...string) Target[M] {
	t := Target[M]{h: h}
	for _, id := range ids {
		t.topics = append(t.topics, userTopic(id))
	}
	return t
}

// Except leaves out these clients, such as the one that has sent the message.
func (t Target[M]) Except(cs ...*Client[M]) Target[M] {
	t.except = append(slices.Clip(t.except), cs...)
	return t
}

// Local leaves out the clients of other processes.
func (t Target[M]) Local() Target[M] {
	t.local = true
	return t
}

// Latest has the message take the place of one with the same key, if that still waits to be sent to
// a client: for what is of no use once there is something newer, such as a position.
func (t Target[M]) Latest(key string) Target[M] {
	t.key = key
	return t
}

// A Result is to how many clients of this process a message was queued, for how many something was
// dropped, be it this or another, and how many were disconnected.
type Result struct{ Queued, Dropped, Disconnected int }

// Send queues a message, which it copies, for each client once, and gives it to the Broker, for
// which ctx is. An error is that of the Broker: clients of this process get the message
// nevertheless.
func (t Target[M]) Send(ctx context.Context, typ websocket.MessageType, p []byte) (Result, error) {
	prepared, err := websocket.NewPreparedMessage(typ, p)
	if err != nil {
		return Result{}, err
	}
	it := item{prepared, len(p), t.key}
	var r Result
	for c := range t.Clients() {
		r.count(c.push(it))
	}
	if t.local || t.h.relay == nil {
		return r, nil
	}
	return r, t.publish(ctx, typ, slices.Clone(p))
}

func (r *Result) count(o outcome) {
	if o.queued {
		r.Queued++
	}
	if o.dropped {
		r.Dropped++
	}
	if o.disconnected {
		r.Disconnected++
	}
}

// publish gives the message to the Broker, once for each topic. Those whom it leaves out are in this process.
func (t Target[M]) publish(ctx context.Context, typ websocket.MessageType, p []byte) error {
	e := Envelope{Node: t.h.o.Node, Key: t.key, Type: typ, Data: p}
	if len(t.topics) > 1 {
		e.ID = strconv.FormatUint(t.h.ids.Add(1), 10)
	}
	t.h.relay.start()
	var errs []error
	for _, topic := range t.topics {
		e.Topic = topic
		errs = append(errs, t.h.o.Broker.Publish(ctx, e))
	}
	return errors.Join(errs...)
}

// Disconnect closes the clients of this process, and returns how many there are.
func (t Target[M]) Disconnect(code websocket.StatusCode, reason string) (n int) {
	for c := range t.Clients() {
		c.Close(code, reason)
		n++
	}
	return n
}

// Clients returns an iterator over the clients of this process, each once.
func (t Target[M]) Clients() iter.Seq[*Client[M]] {
	return func(yield func(*Client[M]) bool) {
		var seen map[*Client[M]]bool
		if len(t.topics) > 1 {
			seen = make(map[*Client[M]]bool)
		}
		for _, topic := range t.topics {
			for _, c := range t.h.clients(func() *group[M] { return t.h.group(topic) }) {
				if seen[c] || slices.Contains(t.except, c) {
					continue
				}
				if seen != nil {
					seen[c] = true
				}
				if !yield(c) {
					return
				}
			}
		}
	}
}
