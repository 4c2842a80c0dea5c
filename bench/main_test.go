//go:build linux

package bench

import (
	"errors"
	"flag"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
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
	scaleFlag   = flag.String("scale", "", "how much to measure: smoke, quick or full (smoke with -benchtime 1x, otherwise full)")
	profileFlag = flag.String("profile", "", "a `folder` for a CPU profile of what is measured of each process")
	rotateFlag  = flag.Int("rotate", 0, "the number of the round, from 0: each has the peers in another order")
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
	// Not always one after the same other.
	random := rand.New(rand.NewPCG(uint64(*rotateFlag), 0))
	random.Shuffle(len(list), func(i, k int) { list[i], list[k] = list[k], list[i] })
	return list
}

// start starts a process that is measured. It ends before anything ends that tb's test
// has started earlier, since that has the other ends of its connections.
func start(tb testing.TB, spec child.Spec) *child.Process {
	tb.Helper()
	if *profileFlag != "" {
		spec.Profile = filepath.Join(*profileFlag, strings.ReplaceAll(tb.Name(), "/", ",")+".pprof")
	}
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
	l.Spin = os.Getenv(child.CPUVariable) != ""
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

// times returns a function that returns true so many times.
func times(n int) func() bool {
	return func() bool { n--; return n >= 0 }
}

// settle lets messages be exchanged until all buffers are there, and forgets them.
func settle(tb testing.TB, l *load.Load, inFlight int) {
	tb.Helper()
	enough := time.Now().Add(pick[time.Duration](0, 20, 20) * time.Millisecond)
	for begun := false; !begun || time.Now().Before(enough); begun = true {
		if _, err := l.Exchange(inFlight, times(0)); err != nil {
			tb.Fatal(err)
		}
	}
	l.Forget()
}

// reportCost does one operation after the other, and reports what of p's each unit costs, of
// which an operation has so many.
func reportCost(b *testing.B, p *child.Process, unit string, units int, operation func() error) {
	b.Helper()
	reportUsage(b, p, unit, func() (int, error) {
		for b.Loop() {
			if err := operation(); err != nil {
				return 0, err
			}
		}
		return b.N * units, nil
	})
}

// reportUsage reports what of p's work costs, for each of the units of which it returns the number.
func reportUsage(b *testing.B, p *child.Process, unit string, work func() (units int, err error)) {
	b.Helper()
	before, err := p.Usage()
	if err != nil {
		b.Fatal(err)
	}
	units, err := work()
	after, usageErr := p.Usage()
	if err := errors.Join(err, usageErr); err != nil {
		b.Fatal(err)
	}
	used, n := after.Sub(before), float64(units)
	b.ReportMetric(float64(used.CPU)/n, "cpu-ns/"+unit)
	b.ReportMetric(float64(used.Allocs)/n, "allocs/"+unit)
}

// reportMessages is reportUsage for messages that are exchanged, so many at a time on each
// connection. It also reports what the load, in this process, costs: it should not be what is waited for.
func reportMessages(b *testing.B, p *child.Process, l *load.Load, inFlight int) {
	b.Helper()
	var took time.Duration
	var used child.Usage
	var n int
	reportUsage(b, p, "msg", func() (int, error) {
		before, err := child.CurrentUsage()
		if err != nil {
			return 0, err
		}
		begin := time.Now()
		if n, err = l.Exchange(inFlight, b.Loop); err != nil {
			return 0, err
		}
		took = time.Since(begin)
		after, err := child.CurrentUsage()
		used = after.Sub(before)
		return n, err
	})
	b.ReportMetric(float64(used.CPU)/float64(n), "load-ns/msg")
	b.ReportMetric(float64(n)/took.Seconds(), "msgs/s")
}
