package hub

import (
	"container/heap"
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
// it. Its methods may be called concurrently, and return an error when their context has ended.
// Package hubtest tests whether a Broker does as it should.
type Broker interface {
	// Run delivers what is published to the topics that are subscribed to, until ctx ends. It gets
	// over failures by itself, subscribes anew then, and calls gap with the topic, or "" for all of
	// them, of which something may have been lost; neither function while it is in one of them. If it
	// returns before, it is called again, and calls gap with "" when it has subscribed anew.
	Run(ctx context.Context, deliver func(Envelope), gap func(topic string)) error

	// Publish returns an error if the envelope can't be carried now. It is not to be kept for later.
	Publish(ctx context.Context, e Envelope) error

	// Subscribe returns when what is published from now on is delivered. Unless it returns an
	// error, the topic stays subscribed to, whatever fails, until Unsubscribe. They are called by
	// one goroutine, at the same time as Run.
	Subscribe(ctx context.Context, topic string) error
	Unsubscribe(ctx context.Context, topic string) error
}

// An Envelope is a message for the clients of other processes. Its Data must not be changed.
type Envelope struct {
	Node  string // where it comes from
	Topic string // "all", "room:NAME" or "user:ID"
	ID    string // of the message, among those of Node, if it is for several topics
	Key   string // see Target.Latest
	Type  websocket.MessageType
	Data  []byte
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
	for _, s := range []string{e.Node, e.Topic, e.ID, e.Key} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
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
	got := Envelope{Type: websocket.MessageType(p[1])}
	if got.Type != websocket.MessageText && got.Type != websocket.MessageBinary {
		return errEnvelope
	}
	p = p[2:]
	for _, s := range []*string{&got.Node, &got.Topic, &got.ID, &got.Key} {
		n, length := binary.Uvarint(p)
		if length <= 0 || n > uint64(len(p)-length) {
			return errEnvelope
		}
		*s = string(p[length:][:n])
		p = p[length+int(n):]
	}
	got.Data = slices.Clone(p)
	*e = got
	return nil
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
	it := item{prepared, len(e.Data), e.Key}
	to := Target[M]{h: h, topics: []string{e.Topic}}
	if e.ID == "" {
		for c := range to.Clients() {
			c.push(it)
		}
		return
	}
	h.relay.recent.Lock()
	defer h.relay.recent.Unlock()
	had := h.relay.recent.clients(e.Node + " " + e.ID)
	for c := range to.Clients() {
		if _, already := had[c.number]; !already {
			had[c.number] = struct{}{}
			c.push(it)
		}
	}
}

// A recent tells which clients have had a message to several topics: it comes once for each.
type recent struct {
	sync.Mutex
	now, before map[string]map[uint64]struct{} // by the message; the numbers of clients
	since       time.Time                      // there is now
}

// recently is for how long messages are remembered, at the least.
const recently = 30 * time.Second

func (r *recent) clients(message string) map[uint64]struct{} {
	if time.Since(r.since) > recently {
		r.before, r.now, r.since = r.now, make(map[string]map[uint64]struct{}), time.Now()
	}
	had := r.now[message]
	if had == nil {
		if had = r.before[message]; had == nil {
			had = make(map[uint64]struct{})
		}
		r.now[message] = had
	}
	return had
}

// linger is for how long a topic stays subscribed to that nobody needs: somebody may come back.
const linger = 5 * time.Second

// A relay is what a Hub has to do with its Broker.
type relay[M any] struct {
	h      *Hub[M]
	recent recent
	policy backoff.Policy
	began  sync.Once
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu     sync.Mutex
	topics map[string]*topic
	tasks  tasks
	todo   chan struct{} // of capacity 1: there are more tasks
}

// A topic is one that is subscribed to, or will be, or has been.
type topic struct {
	wanted     bool
	since      time.Time // not wanted
	subscribed bool
	unsure     bool // whether it is: that has failed
	failures   int
	retry      time.Time
}

// Tasks are when to look at which topic, as a heap.
type tasks []task

type task struct {
	at    time.Time
	topic string
}

func (t tasks) Len() int           { return len(t) }
func (t tasks) Less(i, j int) bool { return t[i].at.Before(t[j].at) }
func (t tasks) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }
func (t *tasks) Push(x any)        { *t = append(*t, x.(task)) }
func (t *tasks) Pop() any {
	last := (*t)[len(*t)-1]
	*t = (*t)[:len(*t)-1]
	return last
}

func newRelay[M any](h *Hub[M]) *relay[M] {
	r := &relay[M]{h: h, topics: make(map[string]*topic), todo: make(chan struct{}, 1)}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

// start is called before there is something to do. New would be too early for functions that use the Hub.
func (r *relay[M]) start() {
	r.began.Do(func() {
		r.work.Go(r.run)
		r.work.Go(r.subscribe)
	})
}

func (r *relay[M]) stop() {
	r.began.Do(func() {})
	r.cancel()
	r.work.Wait()
}

var errRunEnded = errors.New("hub: the Broker has ended without an error")

// run is the goroutine that runs the Broker.
func (r *relay[M]) run() {
	for failures := 0; ; failures++ {
		began := time.Now()
		err := r.h.o.Broker.Run(r.ctx, r.h.deliver, r.broken)
		if r.ctx.Err() != nil {
			return
		}
		if err == nil {
			err = errRunEnded
		}
		r.report(err)
		if r.policy.Resets(time.Since(began)) {
			failures = 0
		}
		r.sleep(r.policy.Delay(failures))
	}
}

// broken is told of gaps by the Broker. It is back then, so what has failed may be tried at once.
func (r *relay[M]) broken(topic string) {
	r.mu.Lock()
	for name, t := range r.topics {
		if t.unsure {
			t.retry = time.Time{}
			heap.Push(&r.tasks, task{time.Now(), name})
		}
	}
	r.mu.Unlock()
	r.wake()
	r.gap(topic)
}

func (r *relay[M]) gap(topic string) {
	if r.h.o.OnGap != nil && r.ctx.Err() == nil {
		r.h.o.OnGap(topic)
	}
}

func (r *relay[M]) report(err error) {
	if r.h.o.OnBrokerError != nil {
		r.h.o.OnBrokerError(err)
	}
}

func (r *relay[M]) sleep(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.ctx.Done():
	}
}

// want notes whether somebody needs a topic. It does not wait.
func (r *relay[M]) want(name string, wanted bool) {
	r.start()
	r.mu.Lock()
	t := r.topics[name]
	if t == nil {
		t = new(topic)
		r.topics[name] = t
	}
	t.wanted, t.since = wanted, time.Now()
	at := t.since.Add(linger)
	if wanted {
		at = t.retry // before those that have failed, unless it has
	}
	heap.Push(&r.tasks, task{at, name})
	r.mu.Unlock()
	r.wake()
}

func (r *relay[M]) wake() {
	select {
	case r.todo <- struct{}{}:
	default:
	}
}

// subscribe is the goroutine that does what want has noted.
func (r *relay[M]) subscribe() {
	for failures := 0; r.ctx.Err() == nil; {
		name, wanted, wait := r.next()
		if name == "" {
			timer := time.NewTimer(wait)
			select {
			case <-r.todo:
			case <-timer.C:
			case <-r.ctx.Done():
			}
			timer.Stop()
			continue
		}
		if r.change(name, wanted) {
			failures = 0
			continue
		}
		r.sleep(min(time.Second, r.policy.Delay(failures))) // it may be that nothing succeeds
		failures++
	}
}

// next returns a topic that is not as it is wanted, or "" and for how long there will be none.
func (r *relay[M]) next() (name string, wanted bool, wait time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	for len(r.tasks) > 0 && !r.tasks[0].at.After(now) {
		name := heap.Pop(&r.tasks).(task).topic
		switch t := r.topics[name]; {
		case t == nil, now.Before(t.retry): // there is another task
		case t.wanted == t.subscribed && !t.unsure:
			if !t.wanted {
				delete(r.topics, name)
			}
		case t.wanted, now.Sub(t.since) >= linger:
			return name, t.wanted, 0
		}
	}
	if len(r.tasks) == 0 {
		return "", false, time.Hour
	}
	return "", false, r.tasks[0].at.Sub(now)
}

// change subscribes to a topic, or unsubscribes, and reports whether it could.
func (r *relay[M]) change(name string, wanted bool) bool {
	do := r.h.o.Broker.Unsubscribe
	if wanted {
		do = r.h.o.Broker.Subscribe
	}
	err := do(r.ctx, name)
	if r.ctx.Err() != nil {
		return false
	}
	r.mu.Lock()
	t := r.topics[name]
	t.subscribed, t.unsure = wanted, err != nil
	if err != nil {
		t.retry = time.Now().Add(r.policy.Delay(t.failures))
		t.failures++
	} else {
		t.retry, t.failures = time.Time{}, 0
	}
	heap.Push(&r.tasks, task{t.retry, name})
	r.mu.Unlock()
	switch {
	case err != nil:
		r.report(err)
	case wanted:
		r.gap(name)
	}
	return err == nil
}
