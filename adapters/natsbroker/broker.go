package natsbroker

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidewire/websocket/backoff"
	"github.com/tidewire/websocket/hub"
)

// Options are how a Broker uses NATS. The zero value is good.
type Options struct {
	// Prefix is what subjects begin with. One token follows that stands for the topic. Default:
	// "websocket.".
	Prefix string

	// PingInterval is how often the server is sent a PING. A connection is lost if one is not
	// answered when the next is due. Default: 10 s.
	PingInterval time.Duration
}

// A Broker is a [hub.Broker] for one Hub.
type Broker struct {
	url  string
	o    Options
	opts []nats.Option

	mu      sync.Mutex
	topics  map[string]string // those subscribed to, by subject
	conn    *conn             // nil: there is none
	down    error             // why there is none
	settled chan struct{}     // closed while nobody is just connecting
}

// New returns a Broker that connects to url, which may be several, separated by commas, with
// options as for [nats.Connect]. The Broker itself sets NoReconnect, RetryOnFailedConnect, NoEcho,
// PingInterval, MaxPingsOutstanding, FlusherTimeout, ErrorHandler and ClosedHandler.
func New(url string, o Options, opts ...nats.Option) *Broker {
	if o.Prefix == "" {
		o.Prefix = "websocket."
	}
	if o.PingInterval <= 0 {
		o.PingInterval = 10 * time.Second
	}
	return &Broker{url: url, o: o, opts: opts, topics: make(map[string]string), settled: make(chan struct{})}
}

// Run implements [hub.Broker]. It returns the cause of ctx.
func (b *Broker) Run(ctx context.Context, deliver func(hub.Envelope), gap func(topic string)) error {
	delays := backoff.Policy{Min: 250 * time.Millisecond, Max: 5 * time.Second}
	for failures := 0; ; failures++ {
		began := time.Now()
		err := b.receive(ctx, deliver, gap)
		b.settle(nil, fmt.Errorf("natsbroker: %w", err))
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

// settle notes that there is a connection, or why there is none.
func (b *Broker) settle(c *conn, down error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.conn, b.down = c, down
	select {
	case <-b.settled:
	default:
		close(b.settled)
	}
}

// current returns the connection, when nobody is connecting.
func (b *Broker) current(ctx context.Context) (*conn, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	b.mu.Lock()
	settled := b.settled
	b.mu.Unlock()
	select {
	case <-settled:
	case <-ctx.Done():
		return nil, fmt.Errorf("natsbroker: %w", context.Cause(ctx))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.conn, b.down
}

// subject returns the subject of a topic, of any length, in which anything may be.
func (b *Broker) subject(topic string) string {
	const longest = 256 // the server has a limit for lines, of 4 KiB by default
	if len(topic) > longest {
		sum := sha256.Sum256([]byte(topic))
		return b.o.Prefix + "~" + base64.RawURLEncoding.EncodeToString(sum[:])
	}
	return b.o.Prefix + base64.RawURLEncoding.EncodeToString([]byte(topic))
}

// Publish implements [hub.Broker].
func (b *Broker) Publish(ctx context.Context, e hub.Envelope) error {
	data, err := e.MarshalBinary()
	if err != nil {
		return err
	}
	c, err := b.current(ctx)
	if err != nil {
		return err
	}
	subject := b.subject(e.Topic)
	if err := c.confirm(ctx, subject, func() error { return c.nats.Publish(subject, data) }); err != nil {
		return fmt.Errorf("natsbroker: publishing %d bytes: %w", len(data), err)
	}
	return nil
}

// Subscribe implements [hub.Broker]. It returns an error if there is no connection to NATS; before
// Run is called it waits.
func (b *Broker) Subscribe(ctx context.Context, topic string) error {
	c, err := b.current(ctx)
	if err != nil {
		return err
	}
	subject := b.subject(topic)
	if _, ok := b.topic(subject); ok {
		return nil
	}
	var sub *nats.Subscription
	err = c.confirm(ctx, subject, func() (err error) {
		sub, err = c.nats.ChanSubscribe(subject, c.received)
		return err
	})
	if err == nil {
		err = b.note(c, sub, topic)
	}
	if err != nil {
		if sub != nil {
			sub.Unsubscribe()
		}
		return fmt.Errorf("natsbroker: subscribing: %w", err)
	}
	return nil
}

var errLost = errors.New("the connection was lost")

// note notes that a topic is subscribed to.
func (b *Broker) note(c *conn, sub *nats.Subscription, topic string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conn != c {
		return errLost
	}
	b.topics[sub.Subject] = topic
	c.subscriptions[sub.Subject] = sub
	return nil
}

// Unsubscribe implements [hub.Broker]. It waits only while the Broker is connecting.
func (b *Broker) Unsubscribe(ctx context.Context, topic string) error {
	c, err := b.current(ctx)
	if err != nil && ctx.Err() != nil {
		return err
	}
	subject := b.subject(topic)
	var sub *nats.Subscription
	b.mu.Lock()
	delete(b.topics, subject)
	if c != nil {
		sub = c.subscriptions[subject]
		delete(c.subscriptions, subject)
	}
	b.mu.Unlock()
	if sub != nil {
		sub.Unsubscribe() // it fails only if the connection is lost, and with it the subscription
	}
	return nil
}
