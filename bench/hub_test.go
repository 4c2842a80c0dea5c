//go:build linux

package bench

import (
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/tidewire/websocket/bench/child"
	"github.com/tidewire/websocket/bench/peers"
)

// BenchmarkHub measures what it costs to send a message of 512 bytes to all clients. An operation
// is one message to all.
func BenchmarkHub(b *testing.B) {
	for _, n := range pick([]int{10}, []int{1000}, []int{1000, 10_000}) {
		for _, p := range rotated(peers.Hubs) {
			b.Run(fmt.Sprintf("way=%s/conns=%d", p.Name, n), func(b *testing.B) {
				server, l := broadcast{n, uncompressed}.open(b, p)
				send := func() error {
					if err := server.Broadcast(); err != nil {
						return err
					}
					return hear(l, n)
				}
				for range pick(1, 3, 3) {
					if err := send(); err != nil {
						b.Fatal(err)
					}
				}
				reportCost(b, server, "recipient", n, send)
			})
		}
	}
}

// BenchmarkHubIdle is BenchmarkIdle for both.
func BenchmarkHubIdle(b *testing.B) {
	conns := pick(20, 2000, 15_000)
	for _, p := range rotated(peers.Hubs) {
		i := idle{peer: p, mode: uncompressed, conns: conns, size: 4 << 10}
		name := fmt.Sprintf("way=%s/conns=%d", p.Name, conns)
		b.Run(name+"/after=handshake", func(b *testing.B) { i.benchmark(b, i.open) })
		b.Run(name+"/after=message", func(b *testing.B) { i.benchmark(b, i.exchange) })
		if err := i.close(); err != nil {
			b.Error(err)
		}
	}
}

// BenchmarkHubStalled measures whether clients that take nothing delay others: one in ten does not, and
// others get messages of 16 KiB until those are gone. It reports how long a message takes to all others when
// there are none of them, while there are, and the longest.
func BenchmarkHubStalled(b *testing.B) {
	conns := pick(20, 1000, 10_000)
	stalled := conns / 10
	for range b.N {
		server, l := broadcast{conns - stalled, uncompressed}.openSize(b, peers.Hubs[1], 16<<10)
		send := func() error {
			if err := server.Broadcast(); err != nil {
				return err
			}
			return hear(l, conns-stalled)
		}
		reportStalled(b, server, conns, send, func() ([]*net.TCPConn, error) {
			ends, _, err := uncompressed.dial(server.Addr, stalled)
			return ends, err
		})
	}
}

// reportStalled measures how long send takes, and then again while there are the connections that dial returns, which
// make conns of a server's: until these are gone.
func reportStalled(b *testing.B, server *child.Process, conns int, send func() error, dial func() ([]*net.TCPConn, error)) {
	b.Helper()
	timed := func() time.Duration {
		start := time.Now()
		if err := send(); err != nil {
			b.Fatal(err)
		}
		return time.Since(start)
	}
	var without, with []time.Duration
	for range 20 {
		without = append(without, timed())
	}
	ends, err := dial()
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range ends {
		defer c.Close()
		if err := c.SetReadBuffer(4 << 10); err != nil { // or the kernel would take megabytes for each
			b.Fatal(err)
		}
	}
	awaitConnections(b, server, conns)
	start := time.Now()
	for n := conns; n > conns-len(ends); {
		with = append(with, timed())
		if n, err = server.Connections(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(median(without).Seconds()*1e3, "ms-without")
	b.ReportMetric(median(with).Seconds()*1e3, "ms-with")
	b.ReportMetric(slices.Max(with).Seconds()*1e3, "ms-longest")
	b.ReportMetric(float64(len(with)), "messages")
	b.ReportMetric(time.Since(start).Seconds(), "s-until-gone")
}

func median(list []time.Duration) time.Duration {
	list = slices.Sorted(slices.Values(list))
	return list[len(list)/2]
}
