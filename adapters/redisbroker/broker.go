package redisbroker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidewire/websocket/backoff"
	"github.com/tidewire/websocket/hub"
)

// Options are how a Broker uses Redis. The zero value is good.
type Options struct {
	// Prefix is what the names of channels begin with: the topic follows. It tells applications
	// apart that use the same Redis, whatever their databases are. Default: "websocket:".
	Prefix string

	// Sharded is for clusters of Redis 7 and newer: messages go only to the nodes of one shard, by
	// SPUBLISH, and not to all nodes. The Prefix, which must contain no brace, is the hash tag that
	// says which. Default: false.
	Sharded bool

	// PingInterval is how often Redis is sent a PING. A connection that is silent for twice as long
	// is lost. Default: 10 s.
	PingInterval time.Duration
}

// A Broker is a [hub.Broker] for one Hub.
type Broker struct {
	client redis.UniversalClient
	o      Options

	mu     sync.Mutex
	topics map[string]chan<- error // those subscribed to, by channel; not nil: the call that waits
	conn   *conn                   // nil: there is none
	down   error                   // why there is none; nil: Run has not begun
}

// New returns a Broker. It does not close the client.
func New(client redis.UniversalClient, o Options) *Broker {
	if o.Prefix == "" {
		o.Prefix = "websocket:"
	}
	if o.Sharded {
		o.Prefix = "{" + o.Prefix + "}"
	}
	if o.PingInterval <= 0 {
		o.PingInterval = 10 * time.Second
	}
	return &Broker{client: client, o: o, topics: make(map[string]chan<- error)}
}

var errRing = errors.New("redisbroker: a redis.Ring does not carry messages between its servers")

// Run implements [hub.Broker]. It returns the cause of ctx, or an error if the client is a
// [redis.Ring].
func (b *Broker) Run(ctx context.Context, deliver func(hub.Envelope), gap func(topic string)) error {
	if _, ok := b.client.(*redis.Ring); ok {
		b.disconnected(errRing)
		return errRing
	}
	delays := backoff.Policy{Min: 250 * time.Millisecond, Max: 5 * time.Second}
	for failures := 0; ; failures++ {
		began := time.Now()
		err := b.receive(ctx, deliver, gap)
		b.disconnected(fmt.Errorf("redisbroker: %w", err))
		if delays.Resets(time.Since(began)) {
			failures = 0
		}
		select {
		case <-time.After(delays.Delay(failures)):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// disconnected notes that there is no connection. Who waits for a subscription is told, and it is
// forgotten.
func (b *Broker) disconnected(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.conn, b.down = nil, err
	for channel, waiting := range b.topics {
		if waiting != nil {
			waiting <- err
			delete(b.topics, channel)
		}
	}
}

// A publish is a command that is not sent again when its answer is lost.
type publish struct{ *redis.IntCmd }

func (publish) NoRetry() bool { return true }

// Publish implements [hub.Broker].
func (b *Broker) Publish(ctx context.Context, e hub.Envelope) error {
	data, err := e.MarshalBinary()
	if err != nil {
		return err
	}
	name := "publish"
	if b.o.Sharded {
		name = "spublish"
	}
	cmd := publish{redis.NewIntCmd(ctx, name, b.o.Prefix+e.Topic, data)}
	cmd.SetFirstKeyPos(1) // one node of a cluster for a channel, for there is no order between nodes
	done := make(chan error, 1)
	go func() { done <- b.client.Process(ctx, cmd) }()
	select {
	case err = <-done:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("redisbroker: %w", err)
	}
	return nil
}

// Subscribe implements [hub.Broker]. It returns an error if there is no connection to Redis, or it
// is lost before Redis has answered; before Run is called it waits.
func (b *Broker) Subscribe(ctx context.Context, topic string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	channel := b.o.Prefix + topic
	answer := make(chan error, 1)
	b.mu.Lock()
	if b.down != nil {
		defer b.mu.Unlock()
		return b.down
	}
	b.topics[channel] = answer
	if b.conn != nil {
		b.conn.request(channel, true)
	}
	b.mu.Unlock()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		b.forget(channel)
		return fmt.Errorf("redisbroker: %w", context.Cause(ctx))
	}
}

// Unsubscribe implements [hub.Broker]. It does not wait.
func (b *Broker) Unsubscribe(ctx context.Context, topic string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	b.forget(b.o.Prefix + topic)
	return nil
}

func (b *Broker) forget(channel string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.topics, channel)
	if b.conn != nil {
		b.conn.request(channel, false)
	}
}
