//go:build linux

package bench

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	r3labs "github.com/r3labs/sse/v2"
	gosse "github.com/tmaxmax/go-sse"
	backoff "gopkg.in/cenkalti/backoff.v1"

	"github.com/tidewire/websocket/bench/child"
	"github.com/tidewire/websocket/bench/load"
	"github.com/tidewire/websocket/bench/peers"
	"github.com/tidewire/websocket/sse"
)

// rotated returns the peers of list in the order of this round.
func rotated[T any](list []T) []T {
	list = slices.Clone(list)
	random := rand.New(rand.NewPCG(uint64(*rotateFlag), 0))
	random.Shuffle(len(list), func(i, k int) { list[i], list[k] = list[k], list[i] })
	return list
}

// A listener counts the events that come in streams.
type listener struct {
	conns   []*net.TCPConn
	events  atomic.Int64
	wanted  atomic.Int64
	arrived chan struct{} // when there are as many as wanted
	reading sync.WaitGroup
}

func newListener(tb testing.TB) *listener {
	l := &listener{arrived: make(chan struct{}, 1)}
	tb.Cleanup(func() {
		for _, nc := range l.conns {
			nc.SetLinger(0)
			nc.Close()
		}
		l.reading.Wait()
	})
	return l
}

// open opens n more streams.
func (l *listener) open(tb testing.TB, server *child.Process, n int) {
	tb.Helper()
	for range n {
		nc, err := request(server.Addr)
		if err != nil {
			tb.Fatal(err)
		}
		l.conns = append(l.conns, nc)
		l.reading.Go(func() { l.count(nc) })
	}
	awaitConnections(tb, server, len(l.conns))
	if err := l.settle(server); err != nil {
		tb.Fatal(err)
	}
}

// request asks for a stream.
func request(addr string) (*net.TCPConn, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	nc := c.(*net.TCPConn)
	_, err = fmt.Fprintf(nc, "GET /?topic=a HTTP/1.1\r\nHost: %s\r\nAccept: text/event-stream\r\n\r\n", addr)
	return nc, err
}

// count counts the empty lines, which is where events end.
func (l *listener) count(nc *net.TCPConn) {
	buf := make([]byte, 4<<10)
	end := []byte("\n\n")
	for half := false; ; {
		n, err := nc.Read(buf)
		if err != nil {
			return
		}
		p := buf[:n]
		events := bytes.Count(p, end)
		if half && p[0] == '\n' {
			events++
		}
		half = p[n-1] == '\n' && !bytes.HasSuffix(p, end)
		if events > 0 && l.events.Add(int64(events)) >= l.wanted.Load() {
			select {
			case l.arrived <- struct{}{}:
			default:
			}
		}
	}
}

// send has an event sent to all, and waits until n more have come.
func (l *listener) send(server *child.Process, n int) error {
	l.wanted.Store(l.events.Load() + int64(n))
	if err := server.Broadcast(); err != nil {
		return err
	}
	patience := time.NewTimer(load.Patience)
	defer patience.Stop()
	for l.events.Load() < l.wanted.Load() {
		select {
		case <-l.arrived:
		case <-patience.C:
			return fmt.Errorf("%d events are missing", l.wanted.Load()-l.events.Load())
		}
	}
	return nil
}

// settle sends events until each brings one to all streams.
func (l *listener) settle(server *child.Process) error {
	for patience := time.Now().Add(load.Patience); time.Now().Before(patience); {
		before := l.events.Load()
		if err := server.Broadcast(); err != nil {
			return err
		}
		quiet := time.Now()
		for last := before; time.Since(quiet) < 200*time.Millisecond; time.Sleep(5 * time.Millisecond) {
			if n := l.events.Load(); n != last {
				last, quiet = n, time.Now()
			}
		}
		if l.events.Load() == before+int64(len(l.conns)) {
			return nil
		}
	}
	return errors.New("not all streams have events")
}

// startStreams starts a server, and opens n streams.
func startStreams(tb testing.TB, p peers.Peer, n, size int) (*child.Process, *listener) {
	tb.Helper()
	server := start(tb, child.Spec{Role: child.Server, Peer: p.Name, Kind: load.Text, Size: size})
	l := newListener(tb)
	l.open(tb, server, n)
	return server, l
}

// BenchmarkSSE measures what it costs to send an event with 512 bytes to all clients. An operation is one
// event to all.
func BenchmarkSSE(b *testing.B) {
	conns := pick(10, 1000, 5000)
	for _, p := range rotated(peers.Streams) {
		b.Run(fmt.Sprintf("way=%s/conns=%d", p.Name, conns), func(b *testing.B) {
			server, l := startStreams(b, p, conns, 512)
			reportCost(b, server, "recipient", conns, func() error { return l.send(server, conns) })
		})
	}
}

// BenchmarkSSEIdle measures the memory of a server for each stream that waits, after events of 512 bytes.
func BenchmarkSSEIdle(b *testing.B) {
	conns := pick(10, 1000, 5000)
	for _, p := range rotated(peers.Streams) {
		b.Run(fmt.Sprintf("way=%s/conns=%d", p.Name, conns), func(b *testing.B) {
			server, l := startStreams(b, p, 1, 512)
			before, err := server.Memory()
			if err != nil {
				b.Fatal(err)
			}
			l.open(b, server, conns)
			var after child.Memory
			for b.Loop() {
				if after, err = server.Memory(); err != nil {
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

// BenchmarkSSEStalled is BenchmarkHubStalled for streams: one in ten takes nothing.
func BenchmarkSSEStalled(b *testing.B) {
	conns := pick(20, 1000, 5000)
	stalled := conns / 10
	for range b.N {
		server, l := startStreams(b, peers.Streams[1], conns-stalled, 16<<10)
		send := func() error { return l.send(server, conns-stalled) }
		reportStalled(b, server, conns, send, func() (ends []*net.TCPConn, err error) {
			for range stalled {
				nc, err := request(server.Addr)
				if err != nil {
					return nil, err
				}
				ends = append(ends, nc)
			}
			return ends, nil
		})
	}
}

// An sseStream is a stream to be decoded.
type sseStream struct {
	name   string
	bytes  []byte
	events int
}

// sseStreams returns streams of a megabyte.
func sseStreams() []sseStream {
	list := []sseStream{
		{name: "token", bytes: []byte("data: " + string(load.Text.Payload(120)) + "\n\n")}, // as of language models
		{name: "tick16", bytes: []byte("id: 17\nevent: tick\ndata: " + string(load.Text.Payload(16)) + "\n\n")},
		{name: "tick512", bytes: []byte("id: 17\nevent: tick\ndata: " + string(load.Text.Payload(512)) + "\n\n")},
		{name: "tick16K", bytes: []byte("id: 17\nevent: tick\ndata: " + string(load.Text.Payload(16<<10)) + "\n\n")},
		{name: "lines", bytes: []byte("id: 17\n" + strings.Repeat("data: "+string(load.Text.Payload(60))+"\n", 20) + "\n")},
	}
	for i := range list {
		s := &list[i]
		s.events = 1 + 1<<20/len(s.bytes)
		s.bytes = bytes.Repeat(s.bytes, s.events)
	}
	return list
}

// sseDecoders return how many events a stream has, and how long the data of all of them is.
var sseDecoders = []struct {
	name   string
	decode func(io.Reader) (events, length int, err error)
}{
	{"ours", func(r io.Reader) (events, length int, err error) {
		for e, err := range sse.Read(r) {
			if err != nil {
				return events, length, err
			}
			events++
			length += len(e.Data)
		}
		return events, length, nil
	}},
	{"go-sse", func(r io.Reader) (events, length int, err error) {
		for e, err := range gosse.Read(r, &gosse.ReadConfig{MaxEventSize: 1 << 20}) {
			if err != nil {
				return events, length, err
			}
			events++
			length += len(e.Data)
		}
		return events, length, nil
	}},
	{"r3labs", func(r io.Reader) (events, length int, err error) {
		c := r3labs.NewClient("http://stream", r3labs.ClientMaxBufferSize(1<<20))
		c.Connection.Transport = streamOf{r}
		c.ReconnectStrategy = &backoff.StopBackOff{}
		err = c.SubscribeRaw(func(e *r3labs.Event) {
			events++
			length += len(e.Data)
		})
		return events, length, err
	}},
}

// streamOf is a server with a response.
type streamOf struct{ io.Reader }

func (s streamOf) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(s), Request: r}, nil
}

func TestSSEDecoders(t *testing.T) {
	for _, s := range sseStreams() {
		_, want, err := sseDecoders[0].decode(bytes.NewReader(s.bytes))
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range sseDecoders {
			if events, length, err := d.decode(bytes.NewReader(s.bytes)); events != s.events || length != want || err != nil {
				t.Errorf("%s, %s: %d events of %d bytes, %v; want %d of %d", d.name, s.name, events, length, err, s.events, want)
			}
		}
	}
}

// BenchmarkSSEDecoder measures how fast streams that are there are decoded. An operation is a megabyte.
func BenchmarkSSEDecoder(b *testing.B) {
	for _, s := range sseStreams() {
		for _, d := range rotated(sseDecoders) {
			b.Run(fmt.Sprintf("way=%s/stream=%s", d.name, s.name), func(b *testing.B) {
				b.SetBytes(int64(len(s.bytes)))
				b.ReportAllocs()
				for b.Loop() {
					if events, _, err := d.decode(bytes.NewReader(s.bytes)); events != s.events || err != nil {
						b.Fatalf("%d events, %v", events, err)
					}
				}
			})
		}
	}
}
