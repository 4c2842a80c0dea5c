package deflate

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"testing"
)

// BenchmarkInflate reads JSON messages that compress/flate has written, each
// message a turn, with a decoder that is used for one after another. The
// reader of compress/flate is given the window for nothing: a connection that
// used it would have to keep it up to date.
func BenchmarkInflate(b *testing.B) {
	for _, size := range []int{128, 256, 1 << 10, 16 << 10, 128 << 10} {
		for _, takeover := range []bool{false, true} {
			for _, level := range []int{1, 6} {
				plain := jsonMessages(size, max(8, min(512, (256<<10)/size)))
				compressed := compressForBenchmark(b, level, takeover, plain)
				name := fmt.Sprintf("size=%d/takeover=%v/level=%d", size, takeover, level)
				b.Run(name+"/by=deflate", func(b *testing.B) { benchmarkInflater(b, takeover, plain, compressed) })
				b.Run(name+"/by=flate", func(b *testing.B) { benchmarkFlate(b, takeover, plain, compressed) })
			}
		}
	}
}

func compressForBenchmark(b *testing.B, level int, takeover bool, plain [][]byte) [][]byte {
	var buf bytes.Buffer
	w, err := flate.NewWriter(&buf, level)
	if err != nil {
		b.Fatal(err)
	}
	compressed := make([][]byte, len(plain))
	for i, message := range plain {
		buf.Reset()
		if !takeover {
			w.Reset(&buf)
		}
		w.Write(message)
		w.Flush()
		compressed[i] = bytes.Clone(bytes.TrimSuffix(buf.Bytes(), []byte(tail)))
	}
	return compressed
}

func benchmarkInflater(b *testing.B, takeover bool, plain, compressed [][]byte) {
	dst := make([]byte, 0, len(plain[0]))
	z := NewInflater(MaxWindowBits, takeover)
	defer z.Reset()
	b.SetBytes(int64(len(plain[0])))
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if i == len(compressed) {
			z.Reset()
			i = 0
		}
		out, _, err := z.Inflate(dst, 0, compressed[i], true)
		if err != nil || len(out) != len(plain[i]) {
			b.Fatalf("got %d bytes and error %v, want %d bytes", len(out), err, len(plain[i]))
		}
		i++
	}
}

func benchmarkFlate(b *testing.B, takeover bool, plain, compressed [][]byte) {
	for i := range compressed {
		compressed[i] = append(bytes.Clone(compressed[i]), tail+finalBlock...)
	}
	history := bytes.Join(plain, nil)
	dst := make([]byte, len(plain[0]))
	var src bytes.Reader
	r := flate.NewReader(&src)
	b.SetBytes(int64(len(plain[0])))
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if i == len(compressed) {
			i = 0
		}
		src.Reset(compressed[i])
		var window []byte
		if takeover {
			end := i * len(dst)
			window = history[max(0, end-1<<MaxWindowBits):end]
		}
		r.(flate.Resetter).Reset(&src, window)
		if _, err := io.ReadFull(r, dst); err != nil {
			b.Fatal(err)
		}
		if n, err := r.Read(dst[:1]); n != 0 || err != io.EOF {
			b.Fatalf("got %d bytes and error %v, want the end", n, err)
		}
		i++
	}
}
