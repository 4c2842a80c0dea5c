//go:build linux

package bench

import (
	"fmt"
	"testing"
	"time"

	"github.com/tidewire/websocket/bench/child"
	"github.com/tidewire/websocket/bench/load"
	"github.com/tidewire/websocket/bench/peers"
)

// A broadcast is a message of 512 bytes that a server sends to all clients, one after the
// other, in one goroutine.
type broadcast struct {
	conns   int
	deflate deflateMode
}

func broadcasts() []broadcast {
	list := []broadcast{}
	for _, n := range pick([]int{10}, []int{1000}, []int{1000, 10_000}) {
		list = append(list, broadcast{n, uncompressed}, broadcast{n, noTakeover})
	}
	// With more, the windows and hash tables of compress/flate would need 1.2 MB for each.
	return append(list, broadcast{pick(10, 200, 1000), takeover})
}

// comparisons returns where a peer must take part to take part in c.
func (c broadcast) comparisons() peers.Comparisons {
	if c.deflate == uncompressed {
		return peers.Broadcasts
	}
	return c.deflate.comparisons()
}

// BenchmarkBroadcast measures servers. An operation is one message to all.
func BenchmarkBroadcast(b *testing.B) {
	for _, c := range broadcasts() {
		for _, p := range peersIn(c.comparisons()) {
			b.Run(fmt.Sprintf("peer=%s/conns=%d/deflate=%s", p.Name, c.conns, c.deflate), func(b *testing.B) {
				server, l := c.open(b, p)
				send := func() error {
					if err := server.Broadcast(); err != nil {
						return err
					}
					return hear(l, c.conns)
				}
				for range pick(1, 3, 3) {
					if err := send(); err != nil {
						b.Fatal(err)
					}
				}
				reportCost(b, server, "recipient", c.conns, send)
			})
		}
	}
}

// open starts a server and opens the connections to it.
func (c broadcast) open(tb testing.TB, p peers.Peer) (*child.Process, *load.Load) {
	tb.Helper()
	return c.openSize(tb, p, 512)
}

func (c broadcast) openSize(tb testing.TB, p peers.Peer, size int) (*child.Process, *load.Load) {
	tb.Helper()
	server := start(tb, child.Spec{
		Role: child.Server, Peer: p.Name, Settings: peers.Settings{Idle: true, Deflate: c.deflate.settings()},
		Broadcasts: true, Kind: load.Text, Size: size,
	})
	message := load.Text.Payload(size)
	script := load.NewScript(message, true, true)
	if c.deflate != uncompressed {
		script = load.NewDeflatedScript([][]byte{message}, nil) // which says nothing
	}
	conns, _, err := c.deflate.dial(server.Addr, c.conns)
	if err != nil {
		tb.Fatal(err)
	}
	l := newLoad(tb, c.deflate, script, conns)
	awaitConnections(tb, server, c.conns)
	return server, l
}

// awaitConnections waits until a server has so many: when it has answered a handshake, it may not have
// the connection yet.
func awaitConnections(tb testing.TB, server *child.Process, want int) {
	tb.Helper()
	for patience := time.Now().Add(load.Patience); ; time.Sleep(time.Millisecond) {
		n, err := server.Connections()
		if n == want {
			return
		}
		if err != nil || time.Now().After(patience) {
			tb.Fatalf("the server has %d connections, want %d, %v", n, want, err)
		}
	}
}
