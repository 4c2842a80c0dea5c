package websocket

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A guard ends a wait on the socket when a context ends. A nil guard never
// does.
type guard struct {
	nc    net.Conn
	poke  func(net.Conn, time.Time) error // sets the deadline
	done  <-chan struct{}                 // the context's
	stop  func() bool                     // unregisters from the context
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
		g.poke(g.nc, aLongTimeAgo)
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

// guards are those of one half of a connection, which the holder of that half
// has.
type guards struct {
	kept *guard          // registered with the context of the last waits
	seen <-chan struct{} // Done of the last context that was not kept
}

// guard returns a guard that is registered with ctx, whose Done channel is
// given, or nil if that is nil. It will set the deadline of nc with poke.
//
// To register and unregister costs three allocations. So a context that comes a
// second time is kept, as a loop will pass it a third time. A context is known
// by its Done channel, which those that only add values share.
func (s *guards) guard(ctx context.Context, done <-chan struct{}, nc net.Conn, poke func(net.Conn, time.Time) error) *guard {
	switch {
	case done == nil:
		return nil
	case s.keeps(done):
		return s.kept
	}
	g := &guard{nc: nc, poke: poke, done: done}
	g.stop = context.AfterFunc(ctx, g.fire)
	if s.seen == done && endsQuietly(ctx) {
		s.drop()
		s.kept = g
	}
	s.seen = done
	return g
}

func (s *guards) keeps(done <-chan struct{}) bool { return s.kept != nil && s.kept.done == done }

// letGo disarms g, and reports whether its context has ended.
func (s *guards) letGo(g *guard) (fired bool) {
	if g == nil {
		return false
	}
	fired = g.disarm()
	if g != s.kept {
		g.stop()
	} else if fired {
		s.drop()
	}
	return fired
}

// drop unregisters the guard that is kept.
func (s *guards) drop() {
	if s.kept != nil {
		s.kept.stop()
		s.kept = nil
	}
	s.seen = nil
}

// doneBefore returns the Done channel of a context that may end before the
// connection does, and otherwise nil: what waits for the connection need not
// wait for such a context as well.
func (c *Conn) doneBefore(ctx context.Context, s *guards) <-chan struct{} {
	if ctx == (context.Context)(connContext{c}) {
		return nil
	}
	done := ctx.Done()
	if done == nil || s.keeps(done) {
		return done
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.life != nil && c.life.Done() == done {
		return nil
	}
	return done
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
