package bench

import (
	"runtime"
	"sync"
	"testing"

	"github.com/tidewire/websocket/internal/deflate"
)

// memory is what one half of a connection needs.
type memory struct {
	state int // bytes that it holds between messages
	pool  int // bytes that are pooled after a message
}

var measured sync.Map // of memory, by the name of the codec and takeover

func (e encoder) memory(takeover bool) memory {
	return measureOnce("encoder", e.name, takeover, func() memory {
		messages := warmUp.messages()
		dst := make([]byte, 0, 2*warmUp.n)
		return measure(func() func(int) {
			encode := e.open(takeover)
			return func(i int) { encode(dst, messages[i]) }
		})
	})
}

func (d decoder) memory(takeover bool) memory {
	return measureOnce("decoder", d.name, takeover, func() memory {
		payloads := warmUp.payloads(d.bits, takeover)
		dst := make([]byte, 0, 2*warmUp.n)
		return measure(func() func(int) {
			decode := d.open(takeover)
			return func(i int) {
				if _, err := decode(dst, payloads[i]); err != nil {
					panic(err)
				}
			}
		})
	})
}

func measureOnce(kind, name string, takeover bool, measure func() memory) memory {
	type key struct {
		kind, name string
		takeover   bool
	}
	m, _ := measured.LoadOrStore(key{kind, name, takeover}, sync.OnceValue(measure))
	return m.(func() memory)()
}

// After so many messages of that size every window is full, and
// every buffer as large as it gets.
var warmUp = messageSize{"16KiB", 16 << 10}

const warmUpMessages = 8

// measure opens connections that transfer messages, by number, and looks at
// how the heap grows.
func measure(open func() (transfer func(message int))) memory {
	const connections = 32
	var m memory
	first := open()
	for i := range warmUpMessages {
		first(i)
	}
	before := heapWithoutPools()
	first(warmUpMessages)
	m.pool = heap() - before

	transfers := make([]func(int), connections)
	before = heapWithoutPools()
	for k := range transfers {
		transfers[k] = open()
		for i := range warmUpMessages {
			transfers[k](i)
		}
	}
	m.state = (heapWithoutPools() - before) / connections
	runtime.KeepAlive(first)
	runtime.KeepAlive(transfers)
	return m
}

// heapWithoutPools returns the size of the heap when the pools have been emptied.
func heapWithoutPools() int {
	runtime.GC()
	runtime.GC()
	return heap()
}

// heap returns the size of the heap. What was put into a sync.Pool since the last time
// is still there: that lets go of it at the second collection.
func heap() int {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int(stats.HeapAlloc)
}

// What our codec says that it holds is what it holds.
func TestSize(t *testing.T) {
	messages, dst := warmUp.messages(), make([]byte, 0, 2*warmUp.n)
	for bits := 9; bits <= deflate.MaxWindowBits; bits++ {
		for _, takeover := range []bool{false, true} {
			var size int
			got := measure(func() func(int) {
				e := deflate.NewEncoder(bits, deflate.Fast, takeover)
				return func(i int) {
					e.AppendMessage(dst, messages[i])
					size = e.Size()
				}
			})
			checkSize(t, "Encoder", bits, takeover, size, got.state)
			payload, ok := deflate.NewEncoder(bits, deflate.Fast, false).AppendMessage(nil, messages[0])
			if !ok {
				t.Fatal("a message does not get shorter")
			}
			got = measure(func() func(int) {
				z := deflate.NewInflater(bits, takeover)
				return func(int) {
					if _, _, err := z.Inflate(dst, 0, payload, true); err != nil {
						t.Fatal(err)
					}
					size = z.Size()
				}
			})
			checkSize(t, "Inflater", bits, takeover, size, got.state)
		}
	}
}

// An allocation may be an eighth larger than what was asked for, and the runtime has
// allocations of its own.
func checkSize(t *testing.T, name string, bits int, takeover bool, size, state int) {
	t.Helper()
	t.Logf("%s, %d bits, takeover=%t: %d bytes by itself, the heap grows by %d", name, bits, takeover, size, state)
	if state > size+size/8+512 || state < size-size/8-512 {
		t.Errorf("%s, %d bits, takeover=%t: got Size %d, and the heap grows by %d", name, bits, takeover, size, state)
	}
}
