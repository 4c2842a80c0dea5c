package websocket

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// A guard ends a wait on the socket when a context ends. A nil guard never
// does.
type guard struct {
	poke  func(time.Time) error // sets the deadline
	done  <-chan struct{}       // the context's
	stop  func() bool           // unregisters from the context
	state atomic.Int32

	firing sync.Mutex // held while the deadline is being set
}

const (
	guardIdle = iota
	guardArmed
	guardFired // for good
)

func (g *guard) fire() {
	g.firing.Lock()
	defer g.firing.Unlock()
	if g.state.Swap(guardFired) == guardArmed {
		g.poke(aLongTimeAgo)
	}
}

// arm reports false if the context has ended.
func (g *guard) arm() bool {
	return g == nil || g.state.CompareAndSwap(guardIdle, guardArmed)
}

func (g *guard) fired() bool { return g != nil && g.state.Load() == guardFired }

// disarm reports whether the context has ended. If so, the deadline has been
// set.
func (g *guard) disarm() (fired bool) {
	if g == nil || g.state.CompareAndSwap(guardArmed, guardIdle) {
		return false
	}
	g.firing.Lock() // until it is set
	defer g.firing.Unlock()
	return true
}

// letGo disarms g, reports whether its context has ended, and makes the socket
// readable again. c.readMu is held.
func (c *Conn) letGo(g *guard) (fired bool) {
	if g == nil {
		return false
	}
	if fired = g.disarm(); fired {
		c.nc.SetReadDeadline(time.Time{})
	}
	if g != c.kept {
		g.stop()
	} else if fired {
		c.dropGuard()
	}
	return fired
}

// guardFor returns a guard that is registered with ctx, or nil if ctx never
// ends.
//
// To register and unregister costs three allocations. So a context that comes a
// second time is kept, as a loop will pass it a third time. A context is known
// by its Done channel, which those that only add values share. c.readMu is
// held.
func (c *Conn) guardFor(ctx context.Context) *guard {
	done := c.doneBefore(ctx)
	if done == nil {
		return nil
	}
	if c.kept != nil && c.kept.done == done {
		return c.kept
	}
	g := &guard{poke: c.nc.SetReadDeadline, done: done}
	g.stop = context.AfterFunc(ctx, g.fire)
	if c.seen == done && endsQuietly(ctx) {
		c.dropGuard()
		c.kept = g
	}
	c.seen = done
	return g
}

// doneBefore returns the Done channel of a context that may end before the
// connection does, and otherwise nil: what waits for the connection need not
// wait for such a context as well.
func (c *Conn) doneBefore(ctx context.Context) <-chan struct{} {
	if ctx == (context.Context)(connContext{c}) {
		return nil
	}
	done := ctx.Done()
	if done == nil || c.kept != nil && c.kept.done == done {
		return done
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.life != nil && c.life.Done() == done {
		return nil
	}
	return done
}

// dropGuard unregisters the guard that is kept. c.readMu is held.
func (c *Conn) dropGuard() {
	if c.kept != nil {
		c.kept.stop()
		c.kept = nil
	}
	c.seen = nil
}

// endsQuietly reports whether context.AfterFunc starts no goroutine for ctx,
// which would live as long as the registration is kept. It starts none if ctx's
// Done channel is that of a context made by package context, and it finds that
// context by a key of its own. So does this.
func endsQuietly(ctx context.Context) bool {
	own, ok := ctx.Value(cancelKey).(context.Context)
	return ok && own.Done() == ctx.Done()
}

// cancelKey is the key that package context passes to the Value method of a
// context, to find the one that it was derived from.
var cancelKey = func() any {
	probe := &keyProbe{Context: context.Background(), done: make(chan struct{})}
	_, cancel := context.WithCancel(probe)
	cancel()
	return probe.key
}()

// A keyProbe is a context that remembers what was asked of it.
type keyProbe struct {
	context.Context
	done chan struct{}
	key  any
}

func (p *keyProbe) Done() <-chan struct{} { return p.done }

func (p *keyProbe) Value(key any) any {
	p.key = key
	return nil
}

// AfterFunc keeps package context from starting a goroutine.
func (p *keyProbe) AfterFunc(func()) (stop func() bool) { return func() bool { return true } }
