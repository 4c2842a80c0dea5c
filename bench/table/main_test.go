package main

import (
	"strings"
	"testing"
)

const twoRounds = `goos: linux
BenchmarkDeflate/codec=a/takeover=true/size=1KiB-2    10    2000 ns/op    4.5 ratio    0 allocs/op    6000 state-B    1200000 pool-B
BenchmarkDeflate/codec=b/takeover=true/size=1KiB-2    10    3000 ns/op    5.5 ratio    1 allocs/op    80 state-B    0 pool-B
BenchmarkDeflate/codec=a/takeover=true/size=1KiB-2    10    4000 ns/op    4.5 ratio    0 allocs/op    6000 state-B    1200000 pool-B
BenchmarkDeflate/codec=b/takeover=true/size=1KiB-2    10    9000 ns/op    5.5 ratio    1 allocs/op    80 state-B    0 pool-B
PASS
`

func TestTable(t *testing.T) {
	const want = `**Deflate, with context takeover**

| codec | 1KiB | state | pooled | allocs |
|---|---:|---:|---:|---:|
| a | 3.0 µs (0.50 ×) 4.50 | 6.0 KB | 1.20 MB | 0 |
| b | 6.0 µs 5.50 | 80 B | 0 B | 1 |

2 rounds; half of them within 25 % of each median, or closer.

`
	r, err := parse(strings.NewReader(twoRounds))
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	if err := r.print(&got, map[string]string{"Deflate": "b"}); err != nil {
		t.Fatal(err)
	}
	if got.String() != want {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want)
	}
}

func TestQuantile(t *testing.T) {
	values := []float64{9, 1, 5, 3}
	for share, want := range map[float64]float64{0: 1, 0.25: 2.5, 0.5: 4, 0.75: 6, 1: 9} {
		if got := quantile(values, share); got != want {
			t.Errorf("quantile %v: got %v, want %v", share, got, want)
		}
	}
}

func TestNoBenchmark(t *testing.T) {
	r, err := parse(strings.NewReader("PASS\n"))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.print(new(strings.Builder), nil); err == nil {
		t.Error("got a table of nothing, want an error")
	}
}
