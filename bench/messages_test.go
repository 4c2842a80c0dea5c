package bench

import (
	"fmt"
	"math/rand/v2"
	"sync"
)

// A messageSize is one of those that are measured.
type messageSize struct {
	name string
	n    int
}

var messageSizes = []messageSize{
	{"128B", 128},
	{"256B", 256},
	{"1KiB", 1 << 10},
	{"16KiB", 16 << 10},
	{"128KiB", 128 << 10},
}

// workingSet is how many bytes the messages of one size have in all, at least. It is many
// times the largest window, or a message would find itself in it.
const workingSet = 1 << 20

// messages returns different messages of that size, the same in each run: what an
// application sends as JSON, cut off.
func (s messageSize) messages() [][]byte {
	allMessages.Lock()
	defer allMessages.Unlock()
	if allMessages.of[s.n] == nil {
		g := generator{rand.New(rand.NewPCG(1951, uint64(s.n)))}
		messages := make([][]byte, max(32, workingSet/s.n))
		for i := range messages {
			messages[i] = g.message(s.n)
		}
		allMessages.of[s.n] = messages
	}
	return allMessages.of[s.n]
}

var allMessages = struct {
	sync.Mutex
	of map[int][][]byte
}{of: map[int][][]byte{}}

type generator struct{ *rand.Rand }

func (g generator) message(size int) []byte {
	b := fmt.Appendf(nil, `{"event":%q,"seq":%d,"data":`, g.pick(events), g.IntN(1e6))
	if size > 512 {
		b = append(b, '[')
	}
	for len(b) < size {
		b = append(g.appendRecord(b), ',')
	}
	return b[:size]
}

var (
	events   = []string{"message", "presence", "typing", "order", "trade", "sensor"}
	channels = []string{"general", "random", "support", "engineering", "market/eur-usd", "market/btc-eur", "device/kitchen", "device/garage"}
	names    = []string{"alice", "bob", "carla", "dmitri", "eleni", "farid", "grace", "hiro", "ines", "jörg", "kofi", "lucía"}
	states   = []string{"active", "pending", "delivered", "failed"}
	words    = []string{
		"the", "a", "to", "and", "of", "in", "is", "it", "that", "for", "on", "with", "this", "we", "you", "not",
		"are", "have", "be", "can", "will", "from", "at", "just", "now", "time", "when", "what", "build", "release",
		"server", "client", "please", "thanks", "tomorrow", "meeting", "update", "review", "question", "answer",
		"deploy", "works", "failed", "again", "looks", "good", "maybe", "later", "change", "version", "number",
		"temperature", "pressure", "limit", "price", "volume", "close", "open", "high", "low", "report", "weather",
	}
)

// appendRecord appends an object of 150 to 300 bytes.
func (g generator) appendRecord(b []byte) []byte {
	b = fmt.Appendf(b, `{"id":"%016x","channel":%q,"user":{"id":%d,"name":%q},"time":"2025-%02d-%02dT%02d:%02d:%02d.%03dZ","state":%q,`,
		g.Uint64(), g.pick(channels), 1000+g.IntN(9000), g.pick(names),
		1+g.IntN(12), 1+g.IntN(28), g.IntN(24), g.IntN(60), g.IntN(60), g.IntN(1000), g.pick(states))
	if g.IntN(2) == 0 {
		b = fmt.Appendf(b, `"value":%.2f,"delta":%.3f,"count":%d}`, g.Float64()*1000, g.Float64()-0.5, g.IntN(10_000))
		return b
	}
	b = append(b, `"text":"`...)
	for range 4 + g.IntN(16) {
		b = append(append(b, g.pick(words)...), ' ')
	}
	return append(b, `"}`...)
}

func (g generator) pick(from []string) string { return from[g.IntN(len(from))] }
