//go:build external

package interop

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"

	"github.com/tidewire/websocket"
)

// testMessages are 10,000 messages, the same in every run: text that looks like JSON, and
// binary, most of it with something to compress. Some have no byte, most
// a few hundred, one in two hundred up to 70,000.
var testMessages = sync.OnceValue(func() []websocket.Message {
	g := generator{rand.New(rand.NewPCG(7692, 6455))}
	messages := make([]websocket.Message, 10_000)
	for i := range messages {
		size := g.size()
		if i%200 == 0 {
			size = 16<<10 + g.IntN(54_000)
		}
		messages[i] = g.message(size)
	}
	return messages
})

type generator struct{ *rand.Rand }

func (g generator) message(size int) websocket.Message {
	switch kind := g.IntN(20); {
	case kind < 13:
		return websocket.Message{Type: websocket.MessageText, Data: g.text(size)}
	case kind < 18:
		return websocket.Message{Type: websocket.MessageBinary, Data: g.records(size)}
	case kind == 18:
		return websocket.Message{Type: websocket.MessageBinary, Data: g.noise(size)}
	default:
		return websocket.Message{Type: websocket.MessageBinary, Data: bytes.Repeat(g.noise(1+size/50), 50)}
	}
}

func (g generator) size() int {
	switch percent := g.IntN(100); {
	case percent < 2:
		return 0
	case percent < 10:
		return g.IntN(16)
	case percent < 30:
		return g.IntN(128)
	case percent < 65:
		return g.IntN(512)
	case percent < 90:
		return g.IntN(2 << 10)
	default:
		return g.IntN(8 << 10)
	}
}

var words = []string{
	"connection", "frame", "opcode", "payload", "masking", "key", "server", "client", "message", "fragment",
	"control", "ping", "pong", "close", "status", "window", "history", "Grüße", "naïve", "Ωμέγα", "世界", "🌊", "the", "a", "of",
}

func (g generator) text(size int) []byte {
	var b []byte
	for len(b) < size {
		b = fmt.Appendf(b, `{"id":%d,"user":"u-%04x","topic":"room/%d","time":"2024-05-%02dT%02d:%02d:%02d.%03dZ","value":%.3f,"text":"`,
			g.IntN(1e9), g.IntN(1<<12), g.IntN(30), 1+g.IntN(30), g.IntN(24), g.IntN(60), g.IntN(60), g.IntN(1000), g.Float64()*100)
		for range 1 + g.IntN(20) {
			b = append(append(b, words[g.IntN(len(words))]...), ' ')
		}
		b = append(b, "\"}\n"...)
	}
	return bytes.ToValidUTF8(b[:size], nil)
}

// records are what a sensor might send: counters that grow, and values that hardly change.
func (g generator) records(size int) []byte {
	var b []byte
	value := g.Uint32()
	for n := uint32(0); len(b) < size; n++ {
		b = binary.BigEndian.AppendUint32(b, n)
		b = binary.BigEndian.AppendUint64(b, 1_700_000_000_000)
		value += g.Uint32N(16)
		b = binary.LittleEndian.AppendUint32(b, value)
	}
	return b[:size]
}

func (g generator) noise(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(g.Uint32())
	}
	return b
}
