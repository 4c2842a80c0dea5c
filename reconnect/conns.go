package reconnect

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/tidewire/websocket"
)

// Conns returns an iterator over connections, one after another, as far apart as the Options say:
// those of them that are about connecting. The body of the loop owns a connection, and returns when
// it is done with it, by continue for instance; it is closed then without a closing handshake, if
// the body has not closed it.
//
// An error comes with the last pair: the cause of ctx, or one that wraps ErrGaveUp and the last failure.
func Conns(ctx context.Context, url string, o Options) iter.Seq2[Conn, error] {
	return func(yield func(Conn, error) bool) {
		cfg, err := newConfig(url, o)
		if err != nil {
			yield(nil, err)
			return
		}
		p := pacer{o: cfg}
		for epoch := uint64(1); ; {
			c, err := cfg.connect(ctx, p.attempt, epoch)
			uptime := time.Duration(0)
			if err == nil {
				epoch++
				start := time.Now()
				if !lend(c, yield) {
					return
				}
				uptime, err = max(1, time.Since(start)), endOf(c)
			}
			if ctx.Err() != nil {
				yield(nil, context.Cause(ctx))
				return
			}
			delay, stop := p.next(err, uptime)
			if stop {
				yield(nil, &gaveUp{err})
				return
			}
			if !sleep(ctx, delay) {
				yield(nil, context.Cause(ctx))
				return
			}
		}
	}
}

// next is failed, unless err is nil: the body was done with the connection, which is no failure, but no
// reason for haste either.
func (p *pacer) next(err error, uptime time.Duration) (delay time.Duration, stop bool) {
	if err != nil {
		return p.failed(err, uptime)
	}
	p.count(uptime)
	return p.delay(), false
}

// lend has the body have c, and reports whether it wants another.
func lend(c Conn, yield func(Conn, error) bool) (more bool) {
	defer c.CloseNow() // also if it panics
	return yield(c, nil)
}

// endOf returns why c, which the body is done with, has ended, if not by the body.
func endOf(c Conn) error {
	ended, ok := c.(interface{ Err() error })
	if !ok {
		return nil
	}
	end, ok := errors.AsType[*websocket.CloseError](ended.Err())
	if !ok || end.Local && end.Err == nil {
		return nil
	}
	return end
}
