//go:build linux

package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"

	"github.com/tidewire/websocket/bench/child"
	"github.com/tidewire/websocket/bench/load"
	"github.com/tidewire/websocket/bench/peers"
	"github.com/tidewire/websocket/bench/wire"
)

// A transfer is a message that one end reads or writes, without a network: the library, and
// no system call.
type transfer struct {
	client bool
	kind   load.Kind
	size   size
}

// transfers returns what is measured for messages of those kinds.
func transfers(kinds ...load.Kind) []transfer {
	var list []transfer
	for _, client := range []bool{false, true} {
		for _, kind := range kinds {
			for _, s := range pick([]size{size125B}, []size{size125B, size16K}, []size{size16B, size125B, size1K, size16K, size64K}) {
				list = append(list, transfer{client, kind, s})
			}
		}
	}
	return list
}

func (t transfer) name(p peers.Peer) string {
	role := map[bool]string{false: "server", true: "client"}[t.client]
	return fmt.Sprintf("peer=%s/role=%s/size=%s/type=%s", p.Name, role, t.size.name, t.kind)
}

// peersIn returns the peers that take part in t.
func (t transfer) peersIn(in peers.Comparisons) []peers.Peer {
	if t.client {
		in |= peers.Dialing
	}
	return peersIn(in)
}

// reading returns where a peer must take part for its reading to be measured.
func (t transfer) reading() peers.Comparisons {
	if t.kind.Text() {
		return peers.ReadingText
	}
	return peers.Reading
}

// BenchmarkRead measures the reading of a message that is there, one frame to a Read.
func BenchmarkRead(b *testing.B) {
	for _, t := range transfers(both...) {
		for _, p := range t.peersIn(t.reading()) {
			b.Run(t.name(p), func(b *testing.B) {
				c, m := t.open(b, p), meter{B: b}
				if err := t.receive(c, pick(1, 100, 1000), m.loop); err != nil {
					b.Fatal(err)
				}
				m.report()
			})
		}
	}
}

// BenchmarkWrite measures the writing of a message that nobody reads. Nobody checks it
// either, so its type makes no difference.
func BenchmarkWrite(b *testing.B) {
	for _, t := range transfers(binary...) {
		for _, p := range t.peersIn(peers.Writing) {
			b.Run(t.name(p), func(b *testing.B) {
				c, m := t.open(b, p), meter{B: b}
				if err := send(c, t.message(), pick(1, 100, 1000), m.loop); err != nil {
					b.Fatal(err)
				}
				m.report()
			})
		}
	}
}

func (t transfer) message() peers.Message {
	return peers.Message{Text: t.kind.Text(), Data: t.kind.Payload(t.size.n)}
}

// A meter measures what this process uses, from the first call of loop on. On a machine
// that does other things too, that tells more than the time does.
type meter struct {
	*testing.B
	started bool
	before  child.Usage
}

func (m *meter) loop() bool {
	if !m.started {
		m.started = true
		m.ReportAllocs()
		m.before = m.usage()
	}
	return m.Loop()
}

func (m *meter) report() {
	used := m.usage().Sub(m.before)
	m.ReportMetric(float64(used.CPU)/float64(m.N), "cpu-ns/op")
}

func (m *meter) usage() child.Usage {
	u, err := child.CurrentUsage()
	if err != nil {
		m.Fatal(err)
	}
	return u
}

// send writes so many messages, and more for as long as loop wants.
func send(c peers.Conn, m peers.Message, n int, loop func() bool) error {
	for range n {
		if err := c.Send(m); err != nil {
			return err
		}
	}
	for loop() {
		if err := c.Send(m); err != nil {
			return err
		}
	}
	return nil
}

var errEnough = errors.New("enough")

// receive reads so many messages, and more for as long as loop wants.
func (t transfer) receive(c peers.Conn, n int, loop func() bool) error {
	err := c.Receive(func(m peers.Message) error {
		if len(m.Data) != t.size.n {
			return fmt.Errorf("a message of %d bytes, and not %d", len(m.Data), t.size.n)
		}
		if n--; n < 0 && !loop() {
			return errEnough
		}
		return nil
	})
	if err == errEnough {
		return nil
	}
	return err
}

// open opens a connection of p's over a memConn.
func (t transfer) open(tb testing.TB, p peers.Peer) peers.Conn {
	tb.Helper()
	h := wire.Header{First: wire.Fin | wire.Binary, Masked: !t.client, Key: 0x5AA5_C33C}
	if t.kind.Text() {
		h.First = wire.Fin | wire.Text
	}
	nc := newMemConn(wire.AppendFrame(nil, h, t.message().Data), t.client)
	settings := peers.Settings{
		Message: t.size.n,
		Dial:    func(context.Context, string, string) (net.Conn, error) { return nc, nil },
	}
	library := p.New(settings)
	if !t.client {
		return serveMem(tb, library, nc)
	}
	c, err := library.Dial("ws://" + memAddr{}.String() + "/echo")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	return c
}

// serveMem returns the connection that a server makes of nc.
func serveMem(tb testing.TB, library peers.Library, nc net.Conn) peers.Conn {
	tb.Helper()
	ln := newMemListener(nc)
	conns, done, served := make(chan peers.Conn), make(chan struct{}), make(chan error, 1)
	go func() {
		served <- library.Serve(ln, func(c peers.Conn) error {
			conns <- c
			<-done
			return nil
		})
	}()
	tb.Cleanup(func() {
		close(done)
		ln.Close()
		<-served
	})
	select {
	case c := <-conns:
		return c
	case err := <-served:
		tb.Fatal(err)
		return nil
	}
}
