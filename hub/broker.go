package hub

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tidewire/websocket"
	"github.com/tidewire/websocket/backoff"
)

// A Broker carries envelopes between the hubs of several processes, each at most once to each, and
// in the order in which one hub publishes them to one topic. What a hub publishes may come back to
// it. Its methods may be called concurrently. Package hubtest tests whether a Broker does as it
// should.
type Broker interface {
	// Run delivers what is published to the topics that are subscribed to, until ctx ends. It gets
	// over failures by itself, subscribes anew then, and calls gap with the topic, or "" for all of
	// them, of which something may have been lost.
	Run(ctx context.Context, deliver func(Envelope), gap func(topic string)) error

	// Publish returns an error if the envelope can't be carried now. It is not to be kept for later.
	Publish(ctx context.Context, e Envelope) error

	// Subscribe returns when what is published from now on is delivered. Unless it returns an
	// error, the topic stays subscribed to, whatever fails, until Unsubscribe. They are called by
	// one goroutine, at the same time as Run.
	Subscribe(ctx context.Context, topic string) error
	Unsubscribe(ctx context.Context, topic string) error
}

// An Envelope is a message for the clients of other processes. Its slices must not be changed.
type Envelope struct {
	Node   string   // where it comes from
	Topic  string   // "all", "room:NAME" or "user:ID"
	Not    []string // clients of these topics get it otherwise
	Except []string // the IDs of clients
	Key    string   // see Target.Latest
	Type   websocket.MessageType
	Data   []byte
}

const (
	topicAll   = "all"
	roomPrefix = "room:"
	userPrefix = "user:"
)

func roomTopic(name string) string { return roomPrefix + name }
func userTopic(id string) string   { return userPrefix + id }

// envelopeVersion is the first byte of an Envelope in binary form.
const envelopeVersion = 1

var errEnvelope = errors.New("hub: what was received is no Envelope")

// AppendBinary appends e in the form that UnmarshalBinary reads. It returns no error.
func (e Envelope) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, envelopeVersion, byte(e.Type))
	for _, s := range []string{e.Node, e.Topic, e.Key} {
		b = appendString(b, s)
	}
	for _, list := range [][]string{e.Not, e.Except} {
		b = binary.AppendUvarint(b, uint64(len(list)))
		for _, s := range list {
			b = appendString(b, s)
		}
	}
	return append(b, e.Data...), nil
}

// MarshalBinary returns e in the form that UnmarshalBinary reads. It returns no error.
func (e Envelope) MarshalBinary() ([]byte, error) { return e.AppendBinary(nil) }

// UnmarshalBinary sets e to what p stands for, of which it keeps nothing.
func (e *Envelope) UnmarshalBinary(p []byte) error {
	if len(p) < 2 || p[0] != envelopeVersion {
		return errEnvelope
	}
	d := decoder{p: p[2:]}
	got := Envelope{Type: websocket.MessageType(p[1])}
	got.Node, got.Topic, got.Key = d.string(), d.string(), d.string()
	got.Not, got.Except = d.strings(), d.strings()
	if d.failed || got.Type != websocket.MessageText && got.Type != websocket.MessageBinary {
		return errEnvelope
	}
	got.Data = slices.Clone(d.p)
	*e = got
	return nil
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// A decoder takes what appendString and the like have appended, until something is missing.
type decoder struct {
	p      []byte
	failed bool
}

func (d *decoder) uvarint() uint64 {
	n, length := binary.Uvarint(d.p)
	if length <= 0 {
		d.failed, d.p = true, nil
		return 0
	}
	d.p = d.p[length:]
	return n
}

func (d *decoder) string() string {
	n := d.uvarint()
	if n > uint64(len(d.p)) {
		d.failed, d.p = true, nil
		return ""
	}
	s := string(d.p[:n])
	d.p = d.p[n:]
	return s
}

func (d *decoder) strings() []string {
	n := d.uvarint()
	var list []string
	for ; n > 0 && !d.failed; n-- {
		list = append(list, d.string())
	}
	return list
}

// group returns the clients of a topic, or nil. h.mu is held.
func (h *Hub[M]) group(topic string) *group[M] {
	if name, ok := strings.CutPrefix(topic, roomPrefix); ok {
		return h.rooms[name]
	}
	if id, ok := strings.CutPrefix(topic, userPrefix); ok {
		return h.users[id]
	}
	if topic == topicAll {
		return &h.all
	}
	return nil
}

// deliver queues what another hub has sent.
func (h *Hub[M]) deliver(e Envelope) {
	if e.Node == h.o.Node {
		return
	}
	prepared, err := websocket.NewPreparedMessage(e.Type, e.Data)
	if err != nil {
		return // it is from no hub
	}
	already := make(map[*Client[M]]bool)
	for c := range (Target[M]{h: h, topics: e.Not}).Clients() {
		already[c] = true
	}
	for c := range (Target[M]{h: h, topics: []string{e.Topic}}).Clients() {
		if !already[c] && !(len(e.Except) > 0 && slices.Contains(e.Except, c.ID())) {
			c.push(item{prepared, len(e.Data), e.Key})
		}
	}
}

// linger is for how long a topic stays subscribed to that nobody needs: somebody may come back.
const linger = 5 * time.Second

// A relay is what a Hub has to do with its Broker.
type relay[M any] struct {
	h      *Hub[M]
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu     sync.Mutex
	topics map[string]*topic
	undone map[string]*topic // those that may not be as they are wanted
	todo   chan struct{}     // of capacity 1: there are more of these
}

// A topic is one that is subscribed to, or will be, or has been.
type topic struct {
	wanted     bool
	since      time.Time // not wanted
	subscribed bool
}

func startRelay[M any](h *Hub[M]) *relay[M] {
	r := &relay[M]{h: h, topics: make(map[string]*topic), undone: make(map[string]*topic), todo: make(chan struct{}, 1)}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.work.Go(r.run)
	r.work.Go(r.subscribe)
	return r
}

func (r *relay[M]) stop() {
	r.cancel()
	r.work.Wait()
}

func (r *relay[M]) run() {
	gap := r.h.o.OnGap
	if gap == nil {
		gap = func(string) {}
	}
	if err := r.h.o.Broker.Run(r.ctx, r.h.deliver, gap); err != nil && r.ctx.Err() == nil {
		r.report(err)
	}
}

func (r *relay[M]) report(err error) {
	if r.h.o.OnBrokerError != nil {
		r.h.o.OnBrokerError(err)
	}
}

// want notes whether somebody needs a topic. It does not wait.
func (r *relay[M]) want(name string, wanted bool) {
	r.mu.Lock()
	t := r.topics[name]
	if t == nil {
		t = new(topic)
		r.topics[name] = t
	}
	t.wanted, t.since = wanted, time.Now()
	r.undone[name] = t
	r.mu.Unlock()
	select {
	case r.todo <- struct{}{}:
	default:
	}
}

// subscribe is the goroutine that does what want has noted.
func (r *relay[M]) subscribe() {
	var policy backoff.Policy
	for failures := 0; r.ctx.Err() == nil; {
		wait, err := r.settle()
		todo := r.todo
		if err == nil {
			failures = 0
		} else if r.ctx.Err() == nil {
			r.report(err)
			todo, wait = nil, policy.Delay(failures) // whatever else there is to do: not at once
			failures++
		}
		timer := time.NewTimer(wait)
		select {
		case <-todo:
		case <-timer.C:
		case <-r.ctx.Done():
		}
		timer.Stop()
	}
}

// settle subscribes and unsubscribes as wanted. It returns when there will be more to be done, or what has failed.
func (r *relay[M]) settle() (wait time.Duration, err error) {
	for {
		name, wanted, wait := r.change()
		switch {
		case name == "":
			return wait, nil
		case wanted:
			err = r.h.o.Broker.Subscribe(r.ctx, name)
		default:
			err = r.h.o.Broker.Unsubscribe(r.ctx, name)
		}
		if err != nil {
			return 0, err
		}
		r.mu.Lock()
		r.topics[name].subscribed = wanted
		r.mu.Unlock()
	}
}

// change returns a topic that is not as it is wanted, or "" and for how long there will be none.
func (r *relay[M]) change() (name string, wanted bool, wait time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	wait = time.Hour
	for name, t := range r.undone {
		switch idle := time.Since(t.since); {
		case t.wanted == t.subscribed:
			delete(r.undone, name)
			if !t.wanted {
				delete(r.topics, name)
			}
		case t.wanted, idle >= linger:
			return name, t.wanted, 0
		default:
			wait = min(wait, linger-idle)
		}
	}
	return "", false, wait
}
