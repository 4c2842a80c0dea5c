//go:build linux

package bench

import (
	"fmt"
	"net"
	"testing"

	"github.com/tidewire/websocket/bench/child"
	"github.com/tidewire/websocket/bench/load"
	"github.com/tidewire/websocket/bench/peers"
	"github.com/tidewire/websocket/bench/wire"
)

// An exchange is messages that go to and fro on some connections.
type exchange struct {
	kind     load.Kind
	conns    int
	inFlight int // on each
	size     size
}

// exchanges returns each combination.
func exchanges(kinds []load.Kind, conns, inFlight []int, sizes ...size) []exchange {
	var list []exchange
	for _, kind := range kinds {
		for _, n := range conns {
			for _, k := range inFlight {
				for _, s := range sizes {
					list = append(list, exchange{kind, n, k, s})
				}
			}
		}
	}
	return list
}

func (e exchange) name(p peers.Peer) string {
	return fmt.Sprintf("peer=%s/conns=%d/size=%s/inflight=%d/type=%s", p.Name, e.conns, e.size.name, e.inFlight, e.kind)
}

// comparisons returns where a peer must take part to take part in e.
func (e exchange) comparisons() peers.Comparisons {
	in := peers.Echoing
	switch {
	case e.kind.Text() && e.inFlight > 1:
		in = peers.PipeliningText
	case e.kind.Text():
		in = peers.Texting
	case e.inFlight > 1:
		in = peers.Pipelining
	}
	if e.conns*e.inFlight*e.size.n > 256<<20 {
		in |= peers.Masses
	}
	return in
}

var (
	binary = []load.Kind{load.Binary}
	text   = []load.Kind{load.Text}
	both   = []load.Kind{load.Binary, load.Text}
)

// echoes returns what is measured of servers.
func echoes() []exchange {
	switch currentScale() {
	case smoke:
		return append(exchanges(both, []int{2}, []int{1}, size125B, size16K),
			exchanges(binary, []int{2}, []int{32}, size1K)...)
	case quick:
		return append(exchanges(binary, []int{64}, []int{1, 32}, size125B, size1K, size16K),
			exchanges(text, []int{64}, []int{1}, size1K)...)
	}
	list := exchanges(binary, []int{1, 64, 1000}, []int{1}, size16B, size125B, size1K, size16K, size1M)
	list = append(list, exchanges(text, []int{64}, []int{1}, size16B, size125B, size1K, size16K, size1M)...)
	list = append(list, exchanges(binary, []int{1, 64, 1000}, []int{32}, size16B, size125B, size1K, size16K)...)
	list = append(list, exchanges(binary, []int{1}, []int{32}, size1M)...)
	list = append(list, exchanges(text, []int{64}, []int{32}, size125B, size1K, size16K)...)
	return append(list, exchanges([]load.Kind{load.Cyrillic}, []int{64}, []int{1}, size1K, size16K, size64K)...)
}

// BenchmarkEcho measures servers. An operation is as many messages and their answers
// as there are connections; those that are still under way afterwards count too.
func BenchmarkEcho(b *testing.B) {
	for _, e := range echoes() {
		for _, p := range peersIn(e.comparisons()) {
			b.Run(e.name(p), func(b *testing.B) { e.benchmarkServer(b, p) })
		}
	}
}

func (e exchange) benchmarkServer(b *testing.B, p peers.Peer) {
	server, l := e.serve(b, p)
	settle(b, l, e.inFlight)
	reportMessages(b, server, l, e.inFlight)
	b.ReportMetric(float64(l.Latency(0.5)), "p50-ns")
	b.ReportMetric(float64(l.Latency(0.99)), "p99-ns")
}

// serve starts a server, and opens the connections.
func (e exchange) serve(tb testing.TB, p peers.Peer) (*child.Process, *load.Load) {
	tb.Helper()
	server := start(tb, child.Spec{Role: child.Server, Peer: p.Name, Settings: peers.Settings{Message: e.size.n}})
	conns, _, err := uncompressed.dial(server.Addr, e.conns)
	if err != nil {
		tb.Fatal(err)
	}
	return server, newLoad(tb, uncompressed, load.NewScript(e.kind.Payload(e.size.n), e.kind.Text(), true), conns)
}

// clients returns what is measured of clients.
func clients() []exchange {
	switch currentScale() {
	case smoke:
		return exchanges(binary, []int{2}, []int{1}, size125B, size16K)
	case quick:
		return exchanges(binary, []int{64}, []int{1}, size125B, size16K)
	}
	list := exchanges(binary, []int{1, 64}, []int{1}, size16B, size125B, size1K, size16K, size1M)
	return append(list, exchanges(binary, []int{64}, []int{32}, size125B, size1K)...)
}

// BenchmarkClient measures clients. An operation is that of BenchmarkEcho.
func BenchmarkClient(b *testing.B) {
	for _, e := range clients() {
		for _, p := range peersIn(e.comparisons() | peers.Dialing) {
			b.Run(e.name(p), func(b *testing.B) { e.benchmarkClient(b, p) })
		}
	}
}

func (e exchange) benchmarkClient(b *testing.B, p peers.Peer) {
	client, l := e.accept(b, p)
	settle(b, l, e.inFlight)
	reportMessages(b, client, l, e.inFlight)
}

// accept starts the clients, accepts their connections, and hears their first messages.
func (e exchange) accept(tb testing.TB, p peers.Peer) (*child.Process, *load.Load) {
	tb.Helper()
	l := newLoad(tb, uncompressed, load.NewScript(e.kind.Payload(e.size.n), e.kind.Text(), false), nil)
	ln := listen(tb)
	client := start(tb, child.Spec{
		Role: child.Client, Peer: p.Name, Settings: peers.Settings{Message: e.size.n},
		Addr: ln.Addr().String(), Connections: e.conns, Kind: e.kind, Size: e.size.n, InFlight: e.inFlight,
	})
	for range e.conns {
		c, err := wire.Accept(ln)
		if err == nil {
			err = l.Add(c, nil)
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	if err := hear(l, e.conns*e.inFlight); err != nil {
		tb.Fatal(err)
	}
	return client, l
}

// listen returns a listener for clients, who have load.Patience to come.
func listen(tb testing.TB) *net.TCPListener {
	tb.Helper()
	ln, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { ln.Close() })
	return ln
}
