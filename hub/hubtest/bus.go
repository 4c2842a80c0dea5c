package hubtest

import (
	"context"
	"errors"
	"sync"

	"github.com/tidewire/websocket/hub"
)

// ErrDown is what Brokers of a Bus return that is down.
var ErrDown = errors.New("hubtest: the bus is down")

// A Bus connects Brokers in memory. The zero value is ready for use. Its methods may be called concurrently.
type Bus struct {
	mu      sync.Mutex
	down    bool
	brokers map[*broker]bool
}

// Broker returns a new Broker on the bus.
func (b *Bus) Broker() hub.Broker {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.brokers == nil {
		b.brokers = make(map[*broker]bool)
	}
	broker := &broker{bus: b, topics: make(map[string]bool), wake: make(chan struct{}, 1)}
	b.brokers[broker] = true
	return broker
}

// SetDown says whether the bus carries nothing, until it is told otherwise. Each Broker reports a
// gap when it is up again.
func (b *Bus) SetDown(down bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.down && !down {
		for broker := range b.brokers {
			broker.put(event{gap: true})
		}
	}
	b.down = down
}

// failure returns why nothing can be done now. b.mu is held.
func (b *Bus) failure(ctx context.Context) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case b.down:
		return ErrDown
	}
	return nil
}

// A broker is one of a Bus, whose mu guards it.
type broker struct {
	bus    *Bus
	topics map[string]bool
	events []event       // for Run
	wake   chan struct{} // of capacity 1: there are some
}

// An event is an envelope, or a gap.
type event struct {
	envelope hub.Envelope
	gap      bool
}

func (b *broker) put(e event) {
	b.events = append(b.events, e)
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

func (b *broker) Run(ctx context.Context, deliver func(hub.Envelope), gap func(topic string)) error {
	b.bus.mu.Lock()
	if !b.bus.brokers[b] { // it was run before
		b.bus.brokers[b] = true
		b.put(event{gap: true})
	}
	b.bus.mu.Unlock()
	defer func() {
		b.bus.mu.Lock()
		delete(b.bus.brokers, b)
		b.bus.mu.Unlock()
	}()
	for {
		select {
		case <-b.wake:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		b.bus.mu.Lock()
		events := b.events
		b.events = nil
		b.bus.mu.Unlock()
		for _, e := range events {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if e.gap {
				gap("")
			} else {
				deliver(e.envelope)
			}
		}
	}
}

func (b *broker) Publish(ctx context.Context, e hub.Envelope) error {
	b.bus.mu.Lock()
	defer b.bus.mu.Unlock()
	if err := b.bus.failure(ctx); err != nil {
		return err
	}
	for other := range b.bus.brokers {
		if other.topics[e.Topic] {
			other.put(event{envelope: e})
		}
	}
	return nil
}

func (b *broker) Subscribe(ctx context.Context, topic string) error {
	b.bus.mu.Lock()
	defer b.bus.mu.Unlock()
	if err := b.bus.failure(ctx); err != nil {
		return err
	}
	b.topics[topic] = true
	return nil
}

func (b *broker) Unsubscribe(ctx context.Context, topic string) error {
	b.bus.mu.Lock()
	defer b.bus.mu.Unlock()
	if err := b.bus.failure(ctx); err != nil {
		return err
	}
	delete(b.topics, topic)
	return nil
}
