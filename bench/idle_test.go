//go:build linux

package bench

import (
	"fmt"
	"testing"

	"github.com/tidewire/websocket/bench/child"
	"github.com/tidewire/websocket/bench/load"
	"github.com/tidewire/websocket/bench/peers"
)

// BenchmarkIdle measures the memory of a server whose connections wait, per connection: after the
// handshake, and after a message of 4 KiB each way. What it has after one connection is
// subtracted.
func BenchmarkIdle(b *testing.B) {
	conns := pick(20, 2000, 15_000)
	for _, p := range peersIn(peers.Idling) {
		i := idle{peer: p, mode: uncompressed, conns: conns, size: 4 << 10}
		b.Run(fmt.Sprintf("peer=%s/conns=%d/after=handshake", p.Name, conns), func(b *testing.B) { i.benchmark(b, false) })
		b.Run(fmt.Sprintf("peer=%s/conns=%d/after=message", p.Name, conns), func(b *testing.B) { i.benchmark(b, true) })
	}
}

// BenchmarkIdleCompressed is BenchmarkIdle with permessage-deflate, after a message of 1 KiB each way.
func BenchmarkIdleCompressed(b *testing.B) {
	conns := pick(20, 200, 1000)
	for _, mode := range []deflateMode{noTakeover, takeover} {
		for _, p := range peersIn(mode.comparisons()) {
			i := idle{peer: p, mode: mode, conns: conns, size: 1 << 10}
			b.Run(fmt.Sprintf("peer=%s/conns=%d/deflate=%s", p.Name, conns, mode), func(b *testing.B) { i.benchmark(b, true) })
		}
	}
}

// idle is a server with connections that wait.
type idle struct {
	peer  peers.Peer
	mode  deflateMode
	conns int
	size  int // of the message
}

// benchmark measures after the handshake, or after a message.
func (i idle) benchmark(b *testing.B, message bool) {
	var sum child.Memory
	for b.Loop() {
		m := i.measure(b, message)
		sum.Heap, sum.Stack, sum.RSS = sum.Heap+m.Heap, sum.Stack+m.Stack, sum.RSS+m.RSS
	}
	b.ReportMetric(float64(sum.RSS)/float64(b.N), "rss-B/conn")
	b.ReportMetric(float64(sum.Heap)/float64(b.N), "heap-B/conn")
	b.ReportMetric(float64(sum.Stack)/float64(b.N), "stack-B/conn")
}

func (i idle) measure(tb testing.TB, message bool) child.Memory {
	tb.Helper()
	server, err := child.Start(child.Spec{
		Role: child.Server, Peer: i.peer.Name,
		Settings: peers.Settings{Message: i.size, Idle: true, Deflate: i.mode.settings()},
	})
	if err != nil {
		tb.Fatal(err)
	}
	defer server.Close()

	first := i.open(tb, server, 1, message)
	defer first.Close()
	before, err := server.Memory()
	if err != nil {
		tb.Fatal(err)
	}
	all := i.open(tb, server, i.conns, message)
	defer all.Close()
	after, err := server.Memory()
	if err != nil {
		tb.Fatal(err)
	}
	return after.Each(before, i.conns)
}

// open opens n connections, and exchanges a message on each.
func (i idle) open(tb testing.TB, server *child.Process, n int, message bool) *load.Load {
	tb.Helper()
	conns, windowBits := i.mode.dial(tb, server.Addr, n)
	l, err := load.New(i.script(windowBits))
	if err != nil {
		tb.Fatal(err)
	}
	for _, c := range conns {
		if err := l.Add(c, nil); err != nil {
			tb.Fatal(err)
		}
	}
	if !message {
		return l
	}
	if err := l.Send(1); err != nil {
		tb.Fatal(err)
	}
	if err := hear(l, n); err != nil {
		tb.Fatal(err)
	}
	return l
}

func (i idle) script(windowBits int) *load.Script {
	if i.mode != uncompressed {
		return i.mode.script(size{n: i.size}, windowBits)
	}
	return load.NewScript(load.Binary.Payload(i.size), false, true)
}
