package redisbroker

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidewire/websocket/hub"
)

// A conn is one connection that receives. What go-redis does about a PubSub that fails, to connect
// and subscribe again, would hide that something was lost: a PubSub is given up then.
type conn struct {
	pubsub  *redis.PubSub
	sharded bool
	wake    chan struct{} // of capacity 1: there are requests

	// Broker.mu guards these.
	requests   []request      // to be sent
	unanswered map[string]int // how many requests, by channel
	missed     bool           // there were subscriptions before, and not all are there again
}

// A request is to subscribe to a channel, or to unsubscribe from it.
type request struct {
	channel   string
	subscribe bool
}

// request has one sent. Broker.mu is held.
func (c *conn) request(channel string, subscribe bool) {
	c.requests = append(c.requests, request{channel, subscribe})
	c.unanswered[channel]++
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// receive makes a connection, and delivers what comes until that fails.
func (b *Broker) receive(ctx context.Context, deliver func(hub.Envelope), gap func(topic string)) error {
	c, channels := b.connect(ctx)
	defer c.pubsub.Close()
	if err := c.subscribe(ctx, channels...); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var sending sync.WaitGroup
	sending.Go(func() {
		cancel(b.send(ctx, c))
		c.pubsub.Close() // which ends what is read
	})
	cancel(b.read(ctx, c, deliver, gap))
	sending.Wait()
	return context.Cause(ctx)
}

// connect returns a conn that is not connected yet, and the channels to begin with. One of them is
// that of no topic: in a cluster, the node is chosen by a channel.
func (b *Broker) connect(ctx context.Context) (*conn, []string) {
	if cluster, ok := b.client.(*redis.ClusterClient); ok {
		cluster.ReloadState(ctx) // another node may be the one
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	c := &conn{
		pubsub:     b.client.Subscribe(ctx),
		sharded:    b.o.Sharded,
		wake:       make(chan struct{}, 1),
		unanswered: map[string]int{b.o.Prefix: 1},
	}
	channels := []string{b.o.Prefix}
	for channel, waiting := range b.topics {
		channels = append(channels, channel)
		c.unanswered[channel] = 1
		c.missed = c.missed || waiting == nil
	}
	b.conn, b.down = c, nil
	return c, channels
}

// send sends requests and PINGs, until ctx ends or that fails.
func (b *Broker) send(ctx context.Context, c *conn) error {
	ping := time.NewTicker(b.o.PingInterval)
	defer ping.Stop()
	for {
		var err error
		select {
		case <-c.wake:
			err = b.sendRequests(ctx, c)
		case <-ping.C:
			err = c.pubsub.Ping(ctx)
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		if err != nil {
			return err
		}
	}
}

func (b *Broker) sendRequests(ctx context.Context, c *conn) error {
	b.mu.Lock()
	requests := c.requests
	c.requests = nil
	b.mu.Unlock()
	for _, r := range requests {
		do := c.subscribe
		if !r.subscribe {
			do = c.unsubscribe
		}
		if err := do(ctx, r.channel); err != nil {
			return err
		}
	}
	return nil
}

func (c *conn) subscribe(ctx context.Context, channels ...string) error {
	if c.sharded {
		return c.pubsub.SSubscribe(ctx, channels...)
	}
	return c.pubsub.Subscribe(ctx, channels...)
}

func (c *conn) unsubscribe(ctx context.Context, channels ...string) error {
	if c.sharded {
		return c.pubsub.SUnsubscribe(ctx, channels...)
	}
	return c.pubsub.Unsubscribe(ctx, channels...)
}

// read delivers what comes, until that fails. A timeout is a failure too: it may have come in the
// middle of something.
func (b *Broker) read(ctx context.Context, c *conn, deliver func(hub.Envelope), gap func(topic string)) error {
	for {
		received, err := c.pubsub.ReceiveTimeout(ctx, 2*b.o.PingInterval)
		if err != nil {
			return err
		}
		switch m := received.(type) {
		case *redis.Message:
			var e hub.Envelope
			if b.subscribed(m.Channel) && e.UnmarshalBinary([]byte(m.Payload)) == nil {
				deliver(e)
			}
		case *redis.Subscription:
			complete, err := b.answered(c, m)
			if err != nil {
				return err
			}
			if complete {
				gap("")
			}
		}
	}
}

func (b *Broker) subscribed(channel string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.topics[channel]
	return ok
}

// answered notes an answer to a request, and reports whether all subscriptions of before are there
// again. An answer that answers nothing is an error: either go-redis has another connection, or
// Redis has ended the subscription because the channel's slot has moved to another node.
func (b *Broker) answered(c *conn, m *redis.Subscription) (complete bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.unanswered[m.Channel] == 0 {
		return false, fmt.Errorf("%s without a request", m)
	}
	if c.unanswered[m.Channel]--; c.unanswered[m.Channel] > 0 {
		return false, nil
	}
	delete(c.unanswered, m.Channel)
	if waiting := b.topics[m.Channel]; waiting != nil {
		waiting <- nil
		b.topics[m.Channel] = nil
	}
	complete = c.missed && len(c.unanswered) == 0
	c.missed = c.missed && !complete
	return complete, nil
}
