package hub

import (
	"context"
	"crypto/rand"
	"errors"
	mathrand "math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidewire/websocket"
)

// Options are how a Hub treats its clients. The zero value is good. Its functions may use the Hub, but
// for Shutdown, which waits for them. They must not panic.
type Options struct {
	// QueueMessages and QueueBytes are how much may wait to be sent to a client. A message longer
	// than QueueBytes may wait alone. Default: 256 and 1 MiB.
	QueueMessages, QueueBytes int

	// Slow is what becomes of a client whose queue is full. Default: Disconnect.
	Slow SlowPolicy

	// MaxRooms is how many rooms a client may be in. Default: 256. Negative: no limit.
	MaxRooms int

	// OnPresence is told when a user comes, with the first connection, and goes: when the last
	// connection has been gone for PresenceGrace. It is told one thing after the other.
	OnPresence func(user string, online bool)

	// PresenceGrace is for how long a user may be without a connection. Default: 10 s. Negative: not at all.
	PresenceGrace time.Duration

	// Broker carries what is sent to other processes. Default: there are none.
	Broker Broker

	// Node is the name of this hub among those of a Broker. Default: a random one.
	Node string

	// OnGap is told that messages of other processes to a topic may have been lost: those that a
	// broken connection would have brought, and when the first client of this process needs a topic,
	// those until the Broker has subscribed to it. "" is any topic. It may be called concurrently.
	OnGap func(topic string)

	// OnBrokerError is told when the Broker could not subscribe, or has ended, which is tried again.
	OnBrokerError func(err error)
}

// A SlowPolicy is what becomes of a client for whose next message there is no room in the queue.
type SlowPolicy int

const (
	Disconnect SlowPolicy = iota // it is closed with StatusTryAgainLater, and what waits is dropped
	DropOldest                   // what has waited longest is dropped
	DropNewest                   // the message is dropped
	Latest                       // all that waits is dropped
)

var (
	ErrClosed       = errors.New("hub: the hub is shut down")
	ErrGone         = errors.New("hub: the client is gone")
	ErrSlowConsumer = errors.New("hub: the client is too slow")
	ErrTooManyRooms = errors.New("hub: the client is in too many rooms")
)

// A Hub keeps clients, each with an M that says what the application knows of it. Its methods may
// be called concurrently.
type Hub[M any] struct {
	o        Options
	presence presence
	relay    *relay[M] // nil without a Broker
	ids      atomic.Uint64

	mu       sync.RWMutex
	all      group[M]
	rooms    map[string]*group[M]
	users    map[string]*group[M]
	closing  bool
	emptied  chan struct{} // closed when closing and the last client is gone
	shutdown sync.Once
}

// New returns a Hub. With a Broker, it must be shut down.
func New[M any](o Options) *Hub[M] {
	if o.QueueMessages <= 0 {
		o.QueueMessages = 256
	}
	if o.QueueBytes <= 0 {
		o.QueueBytes = 1 << 20
	}
	if o.MaxRooms == 0 {
		o.MaxRooms = 256
	}
	if o.PresenceGrace == 0 {
		o.PresenceGrace = 10 * time.Second
	}
	if o.Node == "" {
		o.Node = rand.Text()
	}
	h := &Hub[M]{
		o:       o,
		rooms:   make(map[string]*group[M]),
		users:   make(map[string]*group[M]),
		emptied: make(chan struct{}),
	}
	h.presence.tell, h.presence.grace = o.OnPresence, max(0, o.PresenceGrace)
	if o.Broker != nil {
		h.relay = newRelay(h)
	}
	return h
}

// A group is clients that are sent to together.
type group[M any] struct {
	members  map[*Client[M]]struct{}
	snapshot []*Client[M] // of members, not changed once it is there; nil: to be made
}

func (g *group[M]) add(c *Client[M]) {
	if g.members == nil {
		g.members = make(map[*Client[M]]struct{})
	}
	g.members[c] = struct{}{}
	g.snapshot = nil
}

func (g *group[M]) remove(c *Client[M]) {
	delete(g.members, c)
	g.snapshot = nil
}

// clients returns the members of the group that get returns, which may be nil.
func (h *Hub[M]) clients(get func() *group[M]) []*Client[M] {
	h.mu.RLock()
	g := get()
	if g == nil || g.snapshot != nil || len(g.members) == 0 {
		defer h.mu.RUnlock()
		if g == nil {
			return nil
		}
		return g.snapshot
	}
	h.mu.RUnlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	if g = get(); g == nil {
		return nil
	}
	if g.snapshot == nil {
		g.snapshot = make([]*Client[M], 0, len(g.members))
		for c := range g.members {
			g.snapshot = append(g.snapshot, c)
		}
	}
	return g.snapshot
}

// An Identity is what is known of a client from the beginning.
type Identity[M any] struct {
	User  string // may have several connections; "" for somebody unknown
	Meta  M
	Rooms []string
}

// Serve makes c a client, and calls on with each message that comes, until the connection ends or
// on returns an error. data is valid until on returns. on may be nil, for clients that have nothing
// to say.
//
// It returns why the connection ended, or the error of on: then it closes the connection, with the
// code and reason of that if it is a [*websocket.CloseError], and otherwise with
// StatusInternalError, after what waits was sent, see [Client.Close]. If on panics, it does likewise
// and goes on to panic. It does not close a connection when ctx ends, but returns its cause. It
// returns ErrClosed, and closes c with StatusServiceRestart, if the Hub has been shut down. In on,
// Shutdown must not be called: it waits for Serve.
func (h *Hub[M]) Serve(ctx context.Context, c *websocket.Conn, id Identity[M], on func(from *Client[M], typ websocket.MessageType, data []byte) error) error {
	client := newClient(h, c, id)
	if err := h.add(client, id.Rooms); err != nil {
		code := websocket.StatusServiceRestart
		if err == ErrTooManyRooms {
			code = websocket.StatusPolicyViolation
		}
		c.Close(code, "")
		return err
	}
	defer h.remove(client)
	return client.read(ctx, on)
}

// Accept is for [websocket.Upgrader].Accept: it refuses handshakes with a 503 when the Hub is being shut down.
func (h *Hub[M]) Accept(*http.Request, http.Header) error {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if !h.closing {
		return nil
	}
	return &websocket.HandshakeError{
		StatusCode: http.StatusServiceUnavailable,
		Header:     http.Header{"Retry-After": {strconv.Itoa(1 + mathrand.IntN(5))}},
		Err:        ErrClosed,
	}
}

func (h *Hub[M]) add(c *Client[M], rooms []string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closing {
		return ErrClosed
	}
	for _, name := range rooms {
		if err := h.join(c, name); err != nil {
			h.leaveAll(c)
			return err
		}
	}
	h.all.add(c)
	if h.relay != nil && len(h.all.members) == 1 {
		h.relay.want(topicAll, true)
	}
	if c.user == "" {
		return nil
	}
	g := h.users[c.user]
	if g == nil {
		g = new(group[M])
		h.users[c.user] = g
		if h.relay != nil {
			h.relay.want(userTopic(c.user), true)
		}
		h.presence.come(c.user)
	}
	g.add(c)
	return nil
}

func (h *Hub[M]) remove(c *Client[M]) {
	c.leave()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.leaveAll(c)
	h.all.remove(c)
	if len(h.all.members) == 0 {
		if h.relay != nil {
			h.relay.want(topicAll, false)
		}
		if h.closing {
			close(h.emptied)
		}
	}
	g := h.users[c.user]
	if g == nil {
		return
	}
	if g.remove(c); len(g.members) == 0 {
		delete(h.users, c.user)
		if h.relay != nil {
			h.relay.want(userTopic(c.user), false)
		}
		h.presence.leave(c.user)
	}
}

// join and leaveRoom change who is in a room. h.mu is held.
func (h *Hub[M]) join(c *Client[M], name string) error {
	if _, in := c.rooms[name]; in {
		return nil
	}
	if h.o.MaxRooms >= 0 && len(c.rooms) >= h.o.MaxRooms {
		return ErrTooManyRooms
	}
	if c.rooms == nil {
		c.rooms = make(map[string]struct{})
	}
	c.rooms[name] = struct{}{}
	g := h.rooms[name]
	if g == nil {
		g = new(group[M])
		h.rooms[name] = g
		if h.relay != nil {
			h.relay.want(roomTopic(name), true)
		}
	}
	g.add(c)
	return nil
}

func (h *Hub[M]) leaveRoom(c *Client[M], name string) {
	if _, in := c.rooms[name]; !in {
		return
	}
	delete(c.rooms, name)
	g := h.rooms[name]
	if g.remove(c); len(g.members) == 0 {
		delete(h.rooms, name)
		if h.relay != nil {
			h.relay.want(roomTopic(name), false)
		}
	}
}

func (h *Hub[M]) leaveAll(c *Client[M]) {
	for name := range c.rooms {
		h.leaveRoom(c, name)
	}
}

// Counts are how many there are in this process.
type Counts struct{ Connections, Users, Rooms int }

// Count returns how many clients, known users and rooms there are.
func (h *Hub[M]) Count() Counts {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return Counts{len(h.all.members), len(h.users), len(h.rooms)}
}

// RoomCount returns how many clients are in a room, and how many known users these are.
func (h *Hub[M]) RoomCount(room string) (connections, users int) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	g := h.rooms[room]
	if g == nil {
		return 0, 0
	}
	seen := make(map[string]struct{})
	for c := range g.members {
		if c.user != "" {
			seen[c.user] = struct{}{}
		}
	}
	return len(g.members), len(seen)
}

// Online reports whether a user is here, or has been within PresenceGrace.
func (h *Hub[M]) Online(user string) bool { return h.presence.online(user) }

// Shutdown lets no more clients in, and closes each with code after a random part of spread, and after
// what waits for it was sent: so that not all come back at once. It returns when Serve has returned
// for each, and the functions of Options. When ctx ends it closes the rest without a closing handshake,
// waits for a second more, and returns the cause of ctx. A code that must not be sent is replaced by
// StatusInternalError. An [http.Server] that is shut down knows nothing of connections that
// are upgraded: see its RegisterOnShutdown.
func (h *Hub[M]) Shutdown(ctx context.Context, code websocket.StatusCode, spread time.Duration) error {
	h.mu.Lock()
	if !h.closing {
		h.closing = true
		if len(h.all.members) == 0 {
			close(h.emptied)
		}
	}
	h.mu.Unlock()
	var timers []*time.Timer
	for c := range h.All().Clients() {
		if spread <= 0 {
			c.Close(code, "")
			continue
		}
		timers = append(timers, time.AfterFunc(mathrand.N(spread), func() { c.Close(code, "") }))
	}
	defer func() {
		for _, t := range timers {
			t.Stop()
		}
	}()
	var err error
	select {
	case <-h.emptied:
	default:
		err = h.awaitEmptied(ctx)
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		h.shutdown.Do(func() {
			h.presence.stop()
			if h.relay != nil {
				h.relay.stop()
			}
		})
	}()
	if !within(ctx, stopped) {
		err = context.Cause(ctx)
	}
	return err
}

// awaitEmptied waits until all clients are gone. When ctx ends, it does not spare them.
func (h *Hub[M]) awaitEmptied(ctx context.Context) error {
	select {
	case <-h.emptied:
		return nil
	case <-ctx.Done():
	}
	for c := range h.All().Clients() {
		c.conn.CloseNow()
	}
	within(ctx, h.emptied)
	return context.Cause(ctx)
}

// within waits for done, and when ctx has ended for a second more: somebody's function may not return.
func within(ctx context.Context, done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	case <-ctx.Done():
	}
	select {
	case <-done:
		return true
	case <-time.After(time.Second):
		return false
	}
}

// A presence tells of users that come and go.
type presence struct {
	tell  func(user string, online bool)
	grace time.Duration

	mu      sync.Mutex
	users   map[string]*time.Timer // those who are online; not nil: who may go
	untold  []change
	told    chan struct{} // closed when nothing is untold; nil: nothing is
	stopped bool
}

type change struct {
	user   string
	online bool
}

// come notes that a user has a connection.
func (p *presence) come(user string) {
	p.mu.Lock()
	timer, online := p.users[user]
	if timer != nil {
		timer.Stop()
	}
	if p.users == nil {
		p.users = make(map[string]*time.Timer)
	}
	p.users[user] = nil
	if !online {
		p.changed(change{user, true})
	}
	p.mu.Unlock()
}

// leave notes that a user has none any more.
func (p *presence) leave(user string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.grace == 0 || p.stopped {
		delete(p.users, user)
		p.changed(change{user, false})
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(p.grace, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.users[user] == timer {
			delete(p.users, user)
			p.changed(change{user, false})
		}
	})
	p.users[user] = timer
}

func (p *presence) online(user string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, online := p.users[user]
	return online
}

// changed has tell told of c, in a goroutine that lives while there is something to tell: who calls
// holds locks. p.mu is held.
func (p *presence) changed(c change) {
	if p.tell == nil {
		return
	}
	p.untold = append(p.untold, c)
	if p.told == nil {
		p.told = make(chan struct{})
		go p.tellAll(p.told)
	}
}

func (p *presence) tellAll(told chan struct{}) {
	p.mu.Lock()
	for len(p.untold) > 0 {
		c := p.untold[0]
		p.untold = p.untold[1:]
		p.mu.Unlock()
		p.tell(c.user, c.online)
		p.mu.Lock()
	}
	p.told = nil
	p.mu.Unlock()
	close(told)
}

// stop ends the grace of all, for nobody will come, and waits until everything is told.
func (p *presence) stop() {
	p.mu.Lock()
	p.stopped = true
	for user, timer := range p.users {
		if timer != nil {
			timer.Stop()
			delete(p.users, user)
			p.changed(change{user, false})
		}
	}
	told := p.told
	p.mu.Unlock()
	if told != nil {
		<-told
	}
}
