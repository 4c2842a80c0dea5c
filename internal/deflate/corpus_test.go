package deflate

import (
	"fmt"
	"math/rand/v2"
)

// The texts that tests and benchmarks compress. All are the same in each run.

func corpusRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1951)) }

var corpusWords = []string{
	"temperature", "humidity", "status", "active", "pending", "closed", "order", "bid", "ask", "price",
	"quantity", "symbol", "subscribe", "update", "snapshot", "channel", "message", "reply", "typing", "hello",
	"world", "the", "quick", "brown", "fox", "jumps", "over", "lazy", "dog", "sensor",
}

var corpusNames = []string{
	"Ada Lovelace", "Alan Turing", "Grace Hopper", "Edsger Dijkstra", "Barbara Liskov", "Donald Knuth",
	"Karen Spärck Jones", "Tony Hoare", "Radia Perlman", "Vint Cerf", "Leslie Lamport", "Margaret Hamilton",
}

// appendRecord appends one JSON object of some 150 to 250 bytes.
func appendRecord(b []byte, r *rand.Rand) []byte {
	b = fmt.Appendf(b, `{"id":%d,"type":"%s","user":{"name":"%s","id":"%08x-%04x"},`,
		1_000_000+r.IntN(9_000_000), corpusWords[r.IntN(10)], corpusNames[r.IntN(len(corpusNames))], r.Uint32(), r.IntN(1<<16))
	b = fmt.Appendf(b, `"timestamp":"2025-%02d-%02dT%02d:%02d:%02d.%03dZ","value":%.2f,"seq":%d,"ok":%v`,
		1+r.IntN(12), 1+r.IntN(28), r.IntN(24), r.IntN(60), r.IntN(60), r.IntN(1000), r.Float64()*1000, r.IntN(100_000), r.IntN(2) == 0)
	switch r.IntN(3) {
	case 0:
		b = append(b, `,"tags":[`...)
		for i := range 1 + r.IntN(4) {
			if i > 0 {
				b = append(b, ',')
			}
			b = fmt.Appendf(b, "%q", corpusWords[r.IntN(len(corpusWords))])
		}
		b = append(b, ']')
	case 1:
		b = append(b, `,"text":"`...)
		for range 3 + r.IntN(10) {
			b = append(append(b, corpusWords[r.IntN(len(corpusWords))]...), ' ')
		}
		b = append(b, '"')
	}
	return append(b, '}')
}

// jsonMessages returns n different messages of exactly size bytes each, JSON
// up to where they are cut off.
func jsonMessages(size, n int) [][]byte {
	r := corpusRand(uint64(size))
	messages := make([][]byte, n)
	for i := range messages {
		b := []byte(`{"records":[`)
		for len(b) < size {
			b = append(appendRecord(b, r), ',')
		}
		messages[i] = b[:size:size]
	}
	return messages
}

// textMessage returns size bytes of words.
func textMessage(size int) []byte {
	r := corpusRand(uint64(size))
	b := make([]byte, 0, size+16)
	for len(b) < size {
		b = append(append(b, corpusWords[r.IntN(len(corpusWords))]...), ' ')
	}
	return b[:size:size]
}

// randomMessage returns size bytes that do not compress.
func randomMessage(size int) []byte {
	r := corpusRand(uint64(size))
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// zeroMessage returns size bytes that are all the same.
func zeroMessage(size int) []byte { return make([]byte, size) }
