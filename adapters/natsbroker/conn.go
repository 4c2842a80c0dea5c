package natsbroker

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidewire/websocket/hub"
)

// maxBacklog is how many bytes may wait to be delivered, and as many that are just being delivered.
// A message counts for overhead bytes more than it has.
const (
	maxBacklog = 64 << 20
	overhead   = 256
)

// A conn is a connection. When it is lost it is given up.
type conn struct {
	nats           *nats.Conn
	failed         chan error                    // of capacity 1: why it is lost
	received       chan *nats.Msg                // from package nats, which does not wait if it is full
	subscriptions  map[string]*nats.Subscription // by subject; Broker.mu guards it
	flusherTimeout time.Duration                 // of a write

	mu      sync.Mutex
	backlog []*nats.Msg   // what has been received
	size    int           // of backlog, in bytes
	dropped []string      // the subjects of messages that there was no room for in it
	wake    chan struct{} // of capacity 1: there is something in these
}

// receive makes a connection, and delivers what comes until it is lost.
func (b *Broker) receive(ctx context.Context, deliver func(hub.Envelope), gap func(topic string)) error {
	c, err := b.connect(ctx)
	if err != nil {
		return err
	}
	defer c.nats.Close()
	missed := len(c.subscriptions) > 0 // by those that were there before
	b.settle(c, nil)
	if missed {
		gap("")
	}
	ctx, cancel := context.WithCancel(ctx)
	var collecting sync.WaitGroup
	collecting.Go(func() { c.collect(ctx) })
	defer collecting.Wait()
	defer cancel()
	for {
		select {
		case <-c.wake:
			b.deliver(ctx, c, deliver, gap)
		case err := <-c.failed:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// connect makes a connection, and subscribes to all topics.
func (b *Broker) connect(ctx context.Context) (*conn, error) {
	b.mu.Lock()
	select {
	case <-b.settled:
		b.settled = make(chan struct{})
	default: // it is the first connection
	}
	b.mu.Unlock()
	c := &conn{
		failed:         make(chan error, 1),
		received:       make(chan *nats.Msg, 1<<14),
		subscriptions:  make(map[string]*nats.Subscription),
		flusherTimeout: b.o.PingInterval,
		wake:           make(chan struct{}, 1),
	}
	var err error
	c.nats, err = nats.Connect(b.url, slices.Concat(b.opts, []nats.Option{
		nats.NoReconnect(),
		nats.RetryOnFailedConnect(false),
		nats.NoEcho(),
		nats.PingInterval(b.o.PingInterval),
		nats.MaxPingsOutstanding(1),
		nats.FlusherTimeout(c.flusherTimeout),
		nats.ErrorHandler(c.onError),
		nats.ClosedHandler(c.onClosed),
	})...)
	if err != nil {
		return nil, err
	}
	if err := c.confirm(ctx, "", func() error { return c.subscribeAll(b.subjects()) }); err != nil {
		c.nats.Close()
		return nil, err
	}
	return c, nil
}

func (b *Broker) subjects() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Collect(maps.Keys(b.topics))
}

func (c *conn) subscribeAll(subjects []string) error {
	for _, subject := range subjects {
		sub, err := c.nats.ChanSubscribe(subject, c.received)
		if err != nil {
			return err
		}
		c.subscriptions[subject] = sub
	}
	return nil
}

// onError is told that something is dropped because c.received is full, or that a subscription was
// refused: it is not known which one.
func (c *conn) onError(_ *nats.Conn, _ *nats.Subscription, err error) {
	if errors.Is(err, nats.ErrSlowConsumer) || errors.Is(err, nats.ErrMaxSubscriptionsExceeded) {
		c.fail(err)
	}
}

func (c *conn) onClosed(nc *nats.Conn) {
	c.fail(cmp.Or(nc.LastError(), errLost))
}

// fail has the connection given up.
func (c *conn) fail(err error) {
	select {
	case c.failed <- err:
	default:
	}
}

// confirm does something with a subject, and waits until the server has done it, or has refused. It
// does not succeed if it takes as long as FlusherTimeout: what cannot be written in that time
// package nats drops without a word.
func (c *conn) confirm(ctx context.Context, subject string, do func() error) error {
	ctx, cancel := context.WithTimeout(ctx, c.flusherTimeout)
	defer cancel()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	before := c.nats.LastError()
	if err := do(); err != nil {
		return err
	}
	if err := cmp.Or(c.nats.FlushWithContext(ctx), ctx.Err()); err != nil {
		return err
	}
	switch err := c.nats.LastError(); {
	case err == before:
		return nil
	case errors.Is(err, nats.ErrMaxSubscriptionsExceeded),
		errors.Is(err, nats.ErrPermissionViolation) && strings.Contains(err.Error(), strconv.Quote(subject)):
		return err
	}
	return nil
}

// collect puts what is received into the backlog, until ctx ends.
func (c *conn) collect(ctx context.Context) {
	for {
		select {
		case m := <-c.received:
			c.put(m)
		case <-ctx.Done():
			return
		}
	}
}

func (c *conn) put(m *nats.Msg) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if size := len(m.Data) + overhead; c.size == 0 || c.size+size <= maxBacklog {
		c.backlog, c.size = append(c.backlog, m), c.size+size
	} else if !slices.Contains(c.dropped, m.Subject) {
		c.dropped = append(c.dropped, m.Subject)
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// take empties the backlog.
func (c *conn) take() (backlog []*nats.Msg, dropped []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	backlog, dropped = c.backlog, c.dropped
	c.backlog, c.dropped, c.size = nil, nil, 0
	return backlog, dropped
}

// deliver delivers the backlog, and then tells of what was dropped, which came later.
func (b *Broker) deliver(ctx context.Context, c *conn, deliver func(hub.Envelope), gap func(topic string)) {
	backlog, dropped := c.take()
	for _, m := range backlog {
		if ctx.Err() != nil {
			return
		}
		var e hub.Envelope
		if _, ok := b.topic(m.Subject); ok && e.UnmarshalBinary(m.Data) == nil {
			deliver(e)
		}
	}
	for _, subject := range dropped {
		if topic, ok := b.topic(subject); ok {
			gap(topic)
		}
	}
}

// topic returns the topic of a subject that is subscribed to.
func (b *Broker) topic(subject string) (string, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	topic, ok := b.topics[subject]
	return topic, ok
}
