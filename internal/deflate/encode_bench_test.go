package deflate

import (
	"bytes"
	"compress/flate"
	"fmt"
	"testing"
)

// BenchmarkDeflate compresses JSON messages, each in its turn, with Encoders and with
// compress/flate. With takeover, the messages together are larger than any window.
func BenchmarkDeflate(b *testing.B) {
	for _, size := range []int{128, 256, 1 << 10, 16 << 10, 128 << 10} {
		messages := jsonMessages(size, max(8, min(1024, (512<<10)/size)))
		for _, takeover := range []bool{false, true} {
			name := fmt.Sprintf("size=%d/takeover=%v", size, takeover)
			for _, level := range []int{Fast, Better} {
				for _, windowBits := range []int{10, 12, 15} {
					b.Run(fmt.Sprintf("%s/by=deflate/level=%d/window=%d", name, level, windowBits), func(b *testing.B) {
						benchmarkEncoder(b, NewEncoder(windowBits, level, takeover), messages)
					})
				}
			}
			for _, level := range []int{1, 6} {
				b.Run(fmt.Sprintf("%s/by=flate/level=%d/window=15", name, level), func(b *testing.B) {
					benchmarkFlateWriter(b, level, takeover, messages)
				})
			}
		}
	}
}

func benchmarkEncoder(b *testing.B, e *Encoder, messages [][]byte) {
	defer e.Reset()
	dst := make([]byte, 0, 2*len(messages[0]))
	benchmarkCompressor(b, messages, func(message []byte) int {
		out, ok := e.AppendMessage(dst, message)
		if !ok {
			return len(message)
		}
		return len(out)
	})
	b.ReportMetric(float64(e.Size()), "state-B")
}

func benchmarkFlateWriter(b *testing.B, level int, takeover bool, messages [][]byte) {
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, level)
	if err != nil {
		b.Fatal(err)
	}
	benchmarkCompressor(b, messages, func(message []byte) int {
		out.Reset()
		if !takeover {
			w.Reset(&out)
		}
		w.Write(message)
		w.Flush()
		return out.Len() - len(tail)
	})
}

// benchmarkCompressor measures compress, which returns the size that a message has
// then. All messages once are enough to know the ratio.
func benchmarkCompressor(b *testing.B, messages [][]byte, compress func(message []byte) int) {
	size := 0
	for _, message := range messages {
		size += compress(message)
	}
	b.SetBytes(int64(len(messages[0])))
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		compress(messages[i%len(messages)])
		i++
	}
	b.ReportMetric(float64(len(messages)*len(messages[0]))/float64(size), "ratio")
}
