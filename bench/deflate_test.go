package bench

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/tidewire/websocket/internal/deflate"
)

// The names are those that benchstat can make columns of. The codecs are what changes first,
// so that those which are compared run shortly one after the other.

func BenchmarkDeflate(b *testing.B) {
	for _, takeover := range []bool{false, true} {
		for _, size := range messageSizes {
			for _, e := range encoders {
				b.Run(benchmarkName(e.name, takeover, size), func(b *testing.B) {
					e.benchmark(b, takeover, size)
				})
			}
		}
	}
}

func BenchmarkInflate(b *testing.B) {
	for _, takeover := range []bool{false, true} {
		for _, size := range messageSizes {
			for _, d := range decoders {
				b.Run(benchmarkName(d.name, takeover, size), func(b *testing.B) {
					d.benchmark(b, takeover, size)
				})
			}
		}
	}
}

func benchmarkName(codec string, takeover bool, size messageSize) string {
	return fmt.Sprintf("codec=%s/takeover=%t/size=%s", codec, takeover, size.name)
}

func (e encoder) benchmark(b *testing.B, takeover bool, size messageSize) {
	messages := size.messages()
	encode := e.open(takeover)
	dst := make([]byte, 0, 2*size.n+1024)
	sent := 0
	for _, m := range messages {
		sent += len(encode(dst, m))
	}
	b.SetBytes(int64(size.n))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		encode(dst, messages[i%len(messages)])
	}
	b.ReportMetric(float64(len(messages)*size.n)/float64(sent), "ratio")
	reportMemory(b, e.memory(takeover))
}

func (d decoder) benchmark(b *testing.B, takeover bool, size messageSize) {
	payloads := size.payloads(d.bits, takeover)
	decode := d.open(takeover)
	dst := make([]byte, 0, size.n+1024)
	read := func(payload []byte) {
		if out, err := decode(dst, payload); err != nil || len(out) != size.n {
			b.Fatalf("got %d bytes, %v, want %d", len(out), err, size.n)
		}
	}
	for _, payload := range payloads {
		read(payload)
	}
	b.SetBytes(int64(size.n))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		read(payloads[i%len(payloads)])
	}
	reportMemory(b, d.memory(takeover))
}

// payloads are the messages of that size as most peers send them: compressed by something like
// zlib at level 6, or with a smaller window by the best that there is in Go. They can
// be read in a circle, since the first refers to nothing before it.
func (s messageSize) payloads(windowBits int, takeover bool) [][]byte {
	encode := openWriter(newFlateWriter(6))(takeover)
	if windowBits < 15 {
		encode = openOurEncoder(windowBits, deflate.Better)(takeover)
	}
	var payloads [][]byte
	for _, m := range s.messages() {
		payloads = append(payloads, encode(nil, m))
	}
	return payloads
}

func reportMemory(b *testing.B, m memory) {
	b.ReportMetric(float64(m.state), "state-B")
	b.ReportMetric(float64(m.pool), "pool-B")
}

// Whatever one library writes, each of them reads.
func TestRoundTrip(t *testing.T) {
	for _, e := range encoders {
		for _, takeover := range []bool{false, true} {
			for _, size := range messageSizes {
				t.Run(benchmarkName(e.name, takeover, size), func(t *testing.T) {
					e.testRoundTrip(t, takeover, size)
				})
			}
		}
	}
}

func (e encoder) testRoundTrip(t *testing.T, takeover bool, size messageSize) {
	encode, decode := e.open(takeover), map[string]decodeFunc{}
	for _, d := range decoders {
		if d.bits >= e.bits {
			decode[d.name] = d.open(takeover)
		}
	}
	for i, m := range size.messages()[:32] {
		payload := encode(nil, m)
		if bytes.Equal(payload, m) {
			continue // sent as it is
		}
		for name, decode := range decode {
			got, err := decode(make([]byte, 0, size.n+1024), payload)
			if err != nil || !bytes.Equal(got, m) {
				t.Fatalf("message %d read by %s: got %.60q, %v, want %.60q", i, name, got, err, m)
			}
		}
	}
}
