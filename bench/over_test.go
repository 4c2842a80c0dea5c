//go:build linux

package bench

import (
	"fmt"
	"testing"
	"time"

	"github.com/tidewire/websocket/bench/child"
	"github.com/tidewire/websocket/bench/peers"
)

// transports are those that ours is compared over.
var transports = []struct {
	name string
	peers.Transport
}{
	{"http1", peers.OverTCP}, {"h2c", peers.OverH2C}, {"http1-tls", peers.OverTLS}, {"h2", peers.OverH2},
}

// BenchmarkOver measures a server of ours over HTTP/1.1 and HTTP/2, with TLS and without. The
// clients are ours too. An operation is a message and its answer on each connection.
func BenchmarkOver(b *testing.B) {
	for _, conns := range pick([]int{2}, []int{64}, []int{1, 64}) {
		for _, size := range pick([]size{size125B}, []size{size125B, size16K}, []size{size125B, size1K, size16K}) {
			for _, over := range transports {
				b.Run(fmt.Sprintf("over=%s/conns=%d/size=%s", over.name, conns, size.name), func(b *testing.B) {
					o := openOver(b, over.Transport, size.n)
					o.connect(b, conns)
					o.exchange(b)
					reportCost(b, o.server, "msg", conns, func() error { o.exchange(b); return nil })
				})
			}
		}
	}
}

// BenchmarkIdleOver measures the memory of the server, for each connection that waits, after a
// message of 1 KiB each way. An operation is to look.
func BenchmarkIdleOver(b *testing.B) {
	conns := pick(10, 200, 1000)
	for _, over := range transports {
		b.Run(fmt.Sprintf("over=%s/conns=%d", over.name, conns), func(b *testing.B) {
			o := openOver(b, over.Transport, 1<<10)
			o.connect(b, 1)
			o.exchange(b)
			before, err := o.server.Memory()
			if err != nil {
				b.Fatal(err)
			}
			o.connect(b, conns)
			o.exchange(b)
			var after child.Memory
			for b.Loop() {
				if after, err = o.server.Memory(); err != nil {
					b.Fatal(err)
				}
			}
			each := after.Each(before, conns)
			b.ReportMetric(float64(each.RSS), "rss-B/conn")
			b.ReportMetric(float64(each.Heap), "heap-B/conn")
			b.ReportMetric(float64(each.Stack), "stack-B/conn")
		})
	}
}

// over is a server of ours, and connections to it.
type over struct {
	server  *child.Process
	url     string
	library peers.Library
	message peers.Message
	conns   []peers.Conn
	answers chan int // their lengths
}

// openOver starts the server.
func openOver(b *testing.B, t peers.Transport, size int) *over {
	b.Helper()
	settings := peers.Settings{Message: size, Over: t}
	ours, ok := peers.Find("ours")
	if !ok {
		b.Fatal("there is no peer called ours")
	}
	server := start(b, child.Spec{Role: child.Server, Peer: ours.Name, Settings: settings})
	return &over{
		server:  server,
		url:     t.Scheme() + "://" + server.Addr + "/",
		library: ours.New(settings),
		message: peers.Message{Data: make([]byte, size)},
		answers: make(chan int, 2000),
	}
}

// connect opens n connections more.
func (o *over) connect(b *testing.B, n int) {
	b.Helper()
	for range n {
		c, err := o.library.Dial(o.url)
		if err != nil {
			b.Fatal(err)
		}
		o.conns = append(o.conns, c)
		over := make(chan bool)
		go func() {
			defer close(over)
			c.Receive(func(m peers.Message) error { o.answers <- len(m.Data); return nil })
		}()
		b.Cleanup(func() {
			c.Close()
			<-over
		})
	}
}

// exchange sends a message on each connection, and waits for the answers.
func (o *over) exchange(b *testing.B) {
	go func() {
		for _, c := range o.conns {
			if err := c.Send(o.message); err != nil {
				b.Error(err) // and an answer is missing
			}
		}
	}()
	patience := time.After(child.Patience)
	for range o.conns {
		select {
		case n := <-o.answers:
			if n != len(o.message.Data) {
				b.Fatalf("got %d bytes, want %d", n, len(o.message.Data))
			}
		case <-patience:
			b.Fatal("an answer is missing")
		}
	}
}
