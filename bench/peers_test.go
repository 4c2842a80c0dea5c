//go:build linux

package bench

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tidewire/websocket/bench/load"
	"github.com/tidewire/websocket/bench/peers"
)

// What is measured works: each message comes back as it was sent, for whichever peer, in the way in which
// the benchmarks send it.

// lengths are those where a header changes its form, and some between.
var lengths = []size{{"0", 0}, {"1", 1}, {"125", 125}, {"126", 126}, size16K, {"65535", 65535}, {"65536", 65536}, size1M}

// testExchanges calls test for each peer and some exchanges.
func testExchanges(t *testing.T, in peers.Comparisons, test func(*testing.T, peers.Peer, exchange)) {
	list := append(exchanges(binary, []int{3}, []int{4}, lengths...),
		exchanges([]load.Kind{load.Text, load.Cyrillic}, []int{3}, []int{1}, size16K)...)
	for _, e := range list {
		for _, p := range peersIn(e.comparisons() | in) {
			t.Run(e.name(p), func(t *testing.T) {
				t.Parallel()
				test(t, p, e)
			})
		}
	}
}

func TestServers(t *testing.T) {
	testExchanges(t, 0, func(t *testing.T, p peers.Peer, e exchange) {
		_, l := e.serve(t, p)
		if _, err := l.Exchange(e.inFlight, times(3)); err != nil {
			t.Error(err)
		}
	})
}

func TestClients(t *testing.T) {
	testExchanges(t, peers.Dialing, func(t *testing.T, p peers.Peer, e exchange) {
		_, l := e.accept(t, p)
		if _, err := l.Exchange(e.inFlight, times(3)); err != nil {
			t.Error(err)
		}
	})
}

func TestCompressed(t *testing.T) {
	for _, mode := range []deflateMode{noTakeover, takeover} {
		for _, s := range []size{size256B, size1K, size16K} {
			for _, p := range peersIn(mode.comparisons()) {
				t.Run(fmt.Sprintf("peer=%s/size=%s/deflate=%s", p.Name, s.name, mode), func(t *testing.T) {
					t.Parallel()
					testCompressed(t, p, mode, s)
				})
			}
		}
	}
}

// The first connection's messages are inflated and compared, and go round once.
func testCompressed(t *testing.T, p peers.Peer, mode deflateMode, s size) {
	const conns = 2
	_, l := mode.echo(t, p, s, conns)
	if _, err := l.Exchange(1, times(len(jsonMessages(s.n))+10)); err != nil {
		t.Fatal(err)
	}
	if ratio := float64(s.n) / l.PayloadSize(); ratio < 1.2 {
		t.Errorf("got a ratio of %.2f", ratio)
	}
}

func TestBroadcast(t *testing.T) {
	for _, mode := range []deflateMode{uncompressed, noTakeover, takeover} {
		c := broadcast{conns: 5, deflate: mode}
		for _, p := range peersIn(c.comparisons()) {
			t.Run(fmt.Sprintf("peer=%s/deflate=%s", p.Name, mode), func(t *testing.T) {
				t.Parallel()
				server, l := c.open(t, p)
				n := 3
				if mode == takeover && strings.HasPrefix(p.Name, "gws") {
					// It writes to a connection's window when the message has left already, without a lock: the
					// race detector finds that, if another message follows.
					n = 1
				}
				for range n {
					if err := server.Broadcast(); err != nil {
						t.Fatal(err)
					}
					if err := hear(l, c.conns); err != nil {
						t.Fatal(err)
					}
				}
			})
		}
	}
}

func TestInMemory(t *testing.T) {
	for _, tr := range transfers(both...) {
		for _, p := range tr.peersIn(tr.reading()) {
			t.Run(tr.name(p), func(t *testing.T) {
				c := tr.open(t, p)
				never := func() bool { return false }
				if err := send(c, tr.message(), 3, never); err != nil {
					t.Error(err)
				}
				if err := tr.receive(c, 3, never); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func TestPeers(t *testing.T) {
	if first := peers.All[0].Name; first != "ours" {
		t.Errorf("the first peer is %s, and not ours", first)
	}
	var names []string
	for _, p := range peers.All {
		if found, ok := peers.Find(p.Name); !ok || found.Notes != p.Notes {
			t.Errorf("Find(%q): got %q", p.Name, found.Name)
		}
		if strings.ContainsAny(p.Name, "/= ") || slices.Contains(names, p.Name) {
			t.Errorf("%q is no name for a benchmark's", p.Name)
		}
		names = append(names, p.Name)
	}
}
