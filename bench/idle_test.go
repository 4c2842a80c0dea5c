//go:build linux

package bench

import (
	"errors"
	"fmt"
	"testing"

	"github.com/tidewire/websocket/bench/child"
	"github.com/tidewire/websocket/bench/load"
	"github.com/tidewire/websocket/bench/peers"
)

// BenchmarkIdle measures the memory of a server whose connections wait, per connection: after the
// handshake, and after a message of 4 KiB each way. An operation is to look.
func BenchmarkIdle(b *testing.B) {
	conns := pick(20, 2000, 15_000)
	for _, p := range peersIn(peers.Idling) {
		i := idle{peer: p, mode: uncompressed, conns: conns, size: 4 << 10}
		name := fmt.Sprintf("peer=%s/conns=%d", p.Name, conns)
		b.Run(name+"/after=handshake", func(b *testing.B) { i.benchmark(b, i.open) })
		b.Run(name+"/after=message", func(b *testing.B) { i.benchmark(b, i.exchange) })
		if err := i.close(); err != nil {
			b.Error(err)
		}
	}
}

// BenchmarkIdleCompressed is BenchmarkIdle with permessage-deflate, after a message of 1 KiB each way.
func BenchmarkIdleCompressed(b *testing.B) {
	conns := pick(20, 200, 1000)
	for _, mode := range []deflateMode{noTakeover, takeover} {
		for _, p := range peersIn(mode.comparisons()) {
			i := idle{peer: p, mode: mode, conns: conns, size: 1 << 10}
			b.Run(fmt.Sprintf("peer=%s/conns=%d/deflate=%s", p.Name, conns, mode), func(b *testing.B) { i.benchmark(b, i.exchange) })
			if err := i.close(); err != nil {
				b.Error(err)
			}
		}
	}
}

// idle is a server with connections that wait.
type idle struct {
	peer  peers.Peer
	mode  deflateMode
	conns int
	size  int // of the message

	server *child.Process
	first  *load.Load   // one connection, that has exchanged a message
	before child.Memory // of the server with that one
	others *load.Load   // the connections that are measured
}

// benchmark measures what there is when prepare has been done.
func (i *idle) benchmark(b *testing.B, prepare func() error) {
	if err := prepare(); err != nil {
		b.Fatal(err)
	}
	var after child.Memory
	for b.Loop() {
		var err error
		if after, err = i.server.Memory(); err != nil {
			b.Fatal(err)
		}
	}
	each := after.Each(i.before, i.conns)
	b.ReportMetric(float64(each.RSS), "rss-B/conn")
	b.ReportMetric(float64(each.Heap), "heap-B/conn")
	b.ReportMetric(float64(each.Stack), "stack-B/conn")
}

// open starts the server, and opens the connections.
func (i *idle) open() (err error) {
	i.server, err = child.Start(child.Spec{
		Role: child.Server, Peer: i.peer.Name,
		Settings: peers.Settings{Message: i.size, Idle: true, Deflate: i.mode.settings()},
	})
	if err != nil {
		return err
	}
	if i.first, err = i.connect(1); err != nil {
		return err
	}
	// With that, all code is loaded.
	if err = exchangeOnce(i.first); err != nil {
		return err
	}
	if i.before, err = i.server.Memory(); err != nil {
		return err
	}
	i.others, err = i.connect(i.conns)
	return err
}

// exchange sends a message on each connection, and waits for the answers.
func (i *idle) exchange() error {
	if i.others == nil {
		if err := i.open(); err != nil {
			return err
		}
	}
	return exchangeOnce(i.others)
}

// exchangeOnce exchanges a message on each connection.
func exchangeOnce(l *load.Load) error {
	_, err := l.Exchange(1, times(0))
	return err
}

func (i *idle) connect(n int) (*load.Load, error) {
	conns, windowBits, err := i.mode.dial(i.server.Addr, n)
	if err != nil {
		return nil, err
	}
	if i.mode != uncompressed {
		return i.mode.load(i.mode.script(size{n: i.size}, windowBits), conns)
	}
	return i.mode.load(load.NewScript(load.Binary.Payload(i.size), false, true), conns)
}

func (i *idle) close() error {
	var errs []error
	for _, l := range []*load.Load{i.first, i.others} {
		if l != nil {
			errs = append(errs, l.Close())
		}
	}
	if i.server != nil {
		errs = append(errs, i.server.Close())
	}
	return errors.Join(errs...)
}
