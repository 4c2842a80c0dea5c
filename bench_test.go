package websocket

import (
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// The benchmarks here are of one endpoint, over TCP, under a context that can be cancelled. The
// peer reads and writes bytes and nothing more, so that only our work is measured, and the kernel's.
// To compare with other libraries there is bench/.

var benchSizes = []struct {
	name string
	n    int
}{
	{"16B", 16},
	{"1KiB", 1 << 10},
	{"64KiB", 64 << 10},
}

// A benchOp does an operation n times on c, whose peer is at the other end. It is made for
// messages of a given size, and a given side.
type benchOp struct {
	name    string
	batch   int // how many messages one operation transfers
	prepare func(tb testing.TB, c *Conn, nc net.Conn, size int) (run func(ctx context.Context, n int) error)
}

const benchBatch = 8

var benchOps = []benchOp{
	{"ReadAppend", 1, benchReadAppend},
	{"Messages", 1, benchMessages},
	{"Write", 1, benchWrite},
	{"WriteBatch", benchBatch, benchWriteBatch},
}

func BenchmarkReadAppend(b *testing.B) { benchOps[0].benchmark(b) }
func BenchmarkMessages(b *testing.B)   { benchOps[1].benchmark(b) }
func BenchmarkWrite(b *testing.B)      { benchOps[2].benchmark(b) }
func BenchmarkWriteBatch(b *testing.B) { benchOps[3].benchmark(b) }

func (op benchOp) benchmark(b *testing.B) {
	for _, side := range []side{serverSide, clientSide} {
		for _, size := range benchSizes {
			b.Run(fmt.Sprintf("role=%s/size=%s", sideName(side), size.name), func(b *testing.B) {
				run := op.start(b, side, size.n)
				b.SetBytes(int64(op.batch * size.n))
				b.ReportAllocs()
				b.ResetTimer()
				if err := run(b.N); err != nil {
					b.Fatal(err)
				}
			})
		}
	}
}

// start makes a connection for op, on which everything has happened once.
func (op benchOp) start(tb testing.TB, side side, size int) (run func(n int) error) {
	c, nc := benchPair(tb, side)
	ctx, cancel := context.WithCancel(context.Background())
	tb.Cleanup(cancel)
	runIn := op.prepare(tb, c, nc, size)
	if err := runIn(ctx, 100); err != nil {
		tb.Fatal(err)
	}
	return func(n int) error { return runIn(ctx, n) }
}

// The four operations allocate nothing, once the pools are filled.
func TestNoAllocs(t *testing.T) {
	if raceEnabled() {
		t.Skip("the race detector has sync.Pool forget things")
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // or the pools are emptied meanwhile
	for _, op := range benchOps {
		for _, side := range []side{serverSide, clientSide} {
			for _, size := range benchSizes {
				t.Run(fmt.Sprintf("%s/role=%s/size=%s", op.name, sideName(side), size.name), func(t *testing.T) {
					run := op.start(t, side, size.n)
					const n = 2000
					var before, after runtime.MemStats
					runtime.ReadMemStats(&before)
					if err := run(n); err != nil {
						t.Fatal(err)
					}
					runtime.ReadMemStats(&after)
					// The rest of the process allocates too, and so does the beginning of a loop.
					if got := after.Mallocs - before.Mallocs; got > n/20 {
						t.Errorf("got %d allocations for %d operations, want none", got, n)
					}
				})
			}
		}
	}
}

func raceEnabled() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// benchPair returns a Conn, and the other end of its socket.
func benchPair(tb testing.TB, side side) (*Conn, net.Conn) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer ln.Close()
	peer, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	endpoint, err := ln.Accept()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { peer.Close() })
	return newWriteConn(tb, endpoint, side), peer
}

// feed has messages of size bytes written to c, one after another, until the
// connection is closed.
func feed(tb testing.TB, c *Conn, nc net.Conn, size int) {
	h := header{fin: true, opcode: opBinary, masked: c.side == serverSide, maskingKey: 0x1e570000, payloadLength: uint64(size)}
	frame := append(appendHeader(nil, h), make([]byte, size)...)
	frames := frame
	for len(frames) < 64<<10 {
		frames = append(frames, frame...)
	}
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		for {
			if _, err := nc.Write(frames); err != nil {
				return
			}
		}
	}()
	tb.Cleanup(func() {
		nc.Close()
		<-fed
	})
}

func benchReadAppend(tb testing.TB, c *Conn, nc net.Conn, size int) func(context.Context, int) error {
	feed(tb, c, nc, size)
	dst := make([]byte, 0, size)
	return func(ctx context.Context, n int) error {
		for range n {
			_, p, err := c.ReadAppend(ctx, dst)
			if err != nil || len(p) != size {
				return fmt.Errorf("read %d bytes, %v", len(p), err)
			}
		}
		return nil
	}
}

func benchMessages(tb testing.TB, c *Conn, nc net.Conn, size int) func(context.Context, int) error {
	feed(tb, c, nc, size)
	return func(ctx context.Context, n int) error {
		for m, err := range c.Messages(ctx) {
			if err != nil || len(m.Data) != size {
				return fmt.Errorf("read %d bytes, %v", len(m.Data), err)
			}
			if n--; n == 0 {
				break
			}
		}
		return nil
	}
}

// A drain reads what c writes, and keeps it from getting so far ahead that the
// kernel would take no more: to wait for that is not what is measured.
type drain struct {
	sent int64
	read atomic.Int64
	more chan struct{} // has something when read has grown
}

// benchWindow is how far ahead a writer may be. Both buffers of the kernel are larger.
const benchWindow = 256 << 10

func newDrain(tb testing.TB, c *Conn, nc net.Conn) *drain {
	c.nc.(*net.TCPConn).SetWriteBuffer(4 * benchWindow)
	nc.(*net.TCPConn).SetReadBuffer(4 * benchWindow)
	d := &drain{more: make(chan struct{}, 1)}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		for p := make([]byte, benchWindow); ; {
			n, err := nc.Read(p)
			if err != nil {
				return
			}
			d.read.Add(int64(n))
			select {
			case d.more <- struct{}{}:
			default:
			}
		}
	}()
	tb.Cleanup(func() {
		nc.Close()
		<-drained
	})
	return d
}

// admit returns when n bytes may be written.
func (d *drain) admit(n int) {
	d.sent += int64(n)
	for d.sent-d.read.Load() > benchWindow && d.sent-d.read.Load() > int64(n) {
		<-d.more
	}
}

func frameLength(side side, size int) int {
	return len(appendHeader(nil, header{masked: side == clientSide, payloadLength: uint64(size)})) + size
}

func benchWrite(tb testing.TB, c *Conn, nc net.Conn, size int) func(context.Context, int) error {
	d, p, length := newDrain(tb, c, nc), make([]byte, size), frameLength(c.side, size)
	return func(ctx context.Context, n int) error {
		for range n {
			d.admit(length)
			if err := c.Write(ctx, MessageBinary, p); err != nil {
				return err
			}
		}
		return nil
	}
}

func benchWriteBatch(tb testing.TB, c *Conn, nc net.Conn, size int) func(context.Context, int) error {
	d, length := newDrain(tb, c, nc), benchBatch*frameLength(c.side, size)
	batch := make([]Message, benchBatch)
	for i := range batch {
		batch[i] = Message{MessageBinary, make([]byte, size)}
	}
	return func(ctx context.Context, n int) error {
		for range n {
			d.admit(length)
			if err := c.WriteBatch(ctx, batch...); err != nil {
				return err
			}
		}
		return nil
	}
}

// Goroutines that write at the same time share system calls: see writes/op. Each that has to
// wait allocates what it waits with.
func BenchmarkWriteContended(b *testing.B) {
	for _, side := range []side{serverSide, clientSide} {
		for _, goroutines := range []int{1, 8, 64} {
			for _, size := range benchSizes[:2] {
				b.Run(fmt.Sprintf("role=%s/size=%s/goroutines=%d", sideName(side), size.name, goroutines), func(b *testing.B) {
					c, nc := benchPair(b, side)
					ctx, cancel := context.WithCancel(context.Background())
					defer cancel()
					go io.Copy(io.Discard, struct{ io.Reader }{nc})
					counted := &countedSocket{socket: c.sock}
					c.sock = counted
					b.SetBytes(int64(size.n))
					b.ReportAllocs()
					b.ResetTimer()
					var left atomic.Int64
					left.Store(int64(b.N))
					var wg sync.WaitGroup
					for range goroutines {
						wg.Go(func() {
							p := make([]byte, size.n)
							for left.Add(-1) >= 0 {
								if err := c.Write(ctx, MessageBinary, p); err != nil {
									b.Error(err)
									return
								}
							}
						})
					}
					wg.Wait()
					b.ReportMetric(float64(counted.writes.Load())/float64(b.N), "writes/op")
				})
			}
		}
	}
}
