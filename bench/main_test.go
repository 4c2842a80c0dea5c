//go:build linux

package bench

import (
	"errors"
	"flag"
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/tidewire/websocket/bench/child"
	"github.com/tidewire/websocket/bench/load"
	"github.com/tidewire/websocket/bench/peers"
)

func TestMain(m *testing.M) {
	child.Main() // which does not return in a process that is measured
	os.Exit(m.Run())
}

var (
	scaleFlag  = flag.String("scale", "", "how much to measure: smoke, quick or full (smoke with -benchtime 1x, otherwise full)")
	rotateFlag = flag.Int("rotate", 0, "begin with the peer that is so many places down the list, so that rounds differ in their order")
)

// A scale is how much there is to measure.
type scale int

const (
	smoke scale = iota // to see that it can be measured
	quick              // to see about where things stand
	full
)

func currentScale() scale {
	switch *scaleFlag {
	case "smoke":
		return smoke
	case "quick":
		return quick
	case "":
		if flag.Lookup("test.benchtime").Value.String() == "1x" {
			return smoke
		}
	}
	return full
}

// pick returns what is for the current scale.
func pick[T any](forSmoke, forQuick, forFull T) T {
	return [...]T{forSmoke, forQuick, forFull}[currentScale()]
}

// A size is the length of a message.
type size struct {
	name string
	n    int
}

var (
	size16B  = size{"16B", 16}
	size125B = size{"125B", 125} // the longest with a header of two bytes, and four of masking key
	size256B = size{"256B", 256}
	size1K   = size{"1KiB", 1 << 10}
	size16K  = size{"16KiB", 16 << 10}
	size64K  = size{"64KiB", 64 << 10}
	size1M   = size{"1MiB", 1 << 20}
)

// peersIn returns the peers that take part in all of those comparisons, in the order of this round.
func peersIn(in peers.Comparisons) []peers.Peer {
	var list []peers.Peer
	for _, p := range peers.All {
		if p.In&in == in {
			list = append(list, p)
		}
	}
	n := *rotateFlag % len(list)
	return slices.Concat(list[n:], list[:n])
}

// start starts a process that is measured. It ends before anything ends that tb's test
// has started earlier, since that has the other ends of its connections.
func start(tb testing.TB, spec child.Spec) *child.Process {
	tb.Helper()
	p, err := child.Start(spec)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := p.Close(); err != nil {
			tb.Error(err)
		}
	})
	return p
}

// newLoad returns a load with these connections, which are closed when tb's test is over.
func newLoad(tb testing.TB, mode deflateMode, script *load.Script, conns []*net.TCPConn) *load.Load {
	tb.Helper()
	l, err := mode.load(script, conns)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := l.Close(); err != nil {
			tb.Error(err)
		}
	})
	return l
}

// hear waits for n messages.
func hear(l *load.Load, n int) error {
	for range n {
		if err := l.Next(); err != nil {
			return err
		}
	}
	return nil
}

// settle lets messages be exchanged until all buffers are there, and forgets them.
func settle(tb testing.TB, l *load.Load) {
	tb.Helper()
	enough := time.Now().Add(pick[time.Duration](0, 50, 50) * time.Millisecond)
	for ok := true; ok; ok = time.Now().Before(enough) {
		if err := hear(l, l.Open()); err != nil {
			tb.Fatal(err)
		}
	}
	l.Forget()
}

// reportCost does one operation after the other, and reports what of p's each unit costs, of
// which an operation has so many.
func reportCost(b *testing.B, p *child.Process, unit string, units int, operation func() error) {
	b.Helper()
	before, err := p.Usage()
	for err == nil && b.Loop() {
		err = operation()
	}
	after, usageErr := p.Usage()
	if err := errors.Join(err, usageErr); err != nil {
		b.Fatal(err)
	}
	used, n := after.Sub(before), float64(b.N*units)
	b.ReportMetric(float64(used.CPU)/n, "cpu-ns/"+unit)
	b.ReportMetric(float64(used.Allocs)/n, "allocs/"+unit)
}

// reportMessages is reportCost for messages that are exchanged. An operation is as many as there are
// connections: not all get their turn equally soon. It also reports what the load, in this process,
// costs: it should not be what is waited for.
func reportMessages(b *testing.B, p *child.Process, l *load.Load) {
	b.Helper()
	before, err := child.CurrentUsage()
	reportCost(b, p, "msg", l.Open(), func() error { return hear(l, l.Open()) })
	after, usageErr := child.CurrentUsage()
	if err := errors.Join(err, usageErr); err != nil {
		b.Fatal(err)
	}
	n := float64(b.N * l.Open())
	b.ReportMetric(float64(after.Sub(before).CPU)/n, "load-ns/msg")
	b.ReportMetric(n/b.Elapsed().Seconds(), "msgs/s")
}
