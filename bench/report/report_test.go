package main

import (
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// lines are what go test -bench prints, over n rounds, of a peer's value that
// differs from round to round by a little.
func lines(n int, name string, value float64, unit, rest string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "Benchmark%s \t 100\t %.1f ns/op\t %.1f %s%s\n", name, value, value*(1+float64(i%5)/1000), unit, rest)
	}
	return b.String()
}

func parse(t *testing.T, text string) *results {
	t.Helper()
	r := newResults()
	if err := r.read(strings.NewReader(text), "test"); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRead(t *testing.T) {
	r := parse(t, `date: 2026-01-02
BenchmarkEcho/peer=ours/conns=64/size=1KiB/inflight=1/type=binary-2   100   10000 ns/op   1.000 allocs/msg   4100 cpu-ns/msg   9000 p50-ns
BenchmarkEcho/peer=ours/conns=64/size=1KiB/inflight=1/type=binary-2   100   10000 ns/op   1.000 allocs/msg   4300 cpu-ns/msg   9000 p50-ns
BenchmarkEcho/peer=gws/conns=64/size=1KiB/inflight=1/type=binary-2    100   10000 ns/op   2.000 allocs/msg   5000 cpu-ns/msg   9000 p50-ns
BenchmarkUpgrade/peer=ours   10   10000 ns/op   50000 cpu-ns/conn
BenchmarkDeflate/codec=ours-1-15/takeover=false/size=1KiB   10   10000 ns/op
PASS
`)
	if len(r.cells) != 2 || r.config["date"] != "2026-01-02" {
		t.Fatalf("got %d cells, and %v", len(r.cells), r.config)
	}
	c := r.of("Echo")[0]
	if got, ok := c.median("ours", "cpu-ns/msg"); !ok || got != 4200 {
		t.Errorf("got a median of %v, %t, want 4200", got, ok)
	}
	if got, ok := c.median("gws", "p50-ns"); !ok || got != 9000 {
		t.Errorf("got a median of %v, %t, want 9000", got, ok)
	}
	if got, want := c.describe(), "64 connections, 1 KiB, 1 in flight, binary"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if least, most := r.rounds("Echo", "cpu-ns/msg"); least != 1 || most != 2 {
		t.Errorf("got %d to %d rounds, want 1 to 2", least, most)
	}
}

// Cells that one run loses and another does not are told apart from the others.
func TestAgreement(t *testing.T) {
	run := func(small, large float64) *results {
		name := "Echo/peer=%s/conns=64/size=%s/inflight=1/type=binary"
		return parse(t, lines(10, fmt.Sprintf(name, "ours", "16B"), 1000, "cpu-ns/msg", "")+lines(10, fmt.Sprintf(name, "gws", "16B"), small, "cpu-ns/msg", "")+
			lines(10, fmt.Sprintf(name, "ours", "1KiB"), 1000, "cpu-ns/msg", "")+lines(10, fmt.Sprintf(name, "gws", "1KiB"), large, "cpu-ns/msg", ""))
	}
	same, other := run(900, 1000), run(900, 970)
	if got := agreement([]*results{same}); got != "" {
		t.Errorf("of one run: %s", got)
	}
	if got := agreement([]*results{same, same, same}); !strings.Contains(got, "of 2 of 2 cells") || strings.Contains(got, "run 1") {
		t.Errorf("of runs that agree: %s", got)
	}
	got := agreement([]*results{same, other, same})
	want := "| Echo server, CPU | 64 connections, 1 KiB, 1 in flight, binary | ours | – | gws 0.97 | – |"
	if !strings.Contains(got, "of 1 of 2 cells") || !strings.Contains(got, want) || strings.Contains(got, "16 B") {
		t.Errorf("of runs that don't: %s", got)
	}
}

func TestVerdict(t *testing.T) {
	const ours, others = "Echo/peer=ours/type=binary", "Echo/peer=gws/type=binary"
	for _, tt := range []struct {
		name    string
		rounds  int
		ours    float64
		peer    float64
		lost    bool
		decided bool
	}{
		{"the peer is better", 10, 1000, 900, true, true},
		{"by 1 % only", 10, 1000, 990, false, true},
		{"worse", 10, 1000, 1100, false, true},
		{"better, in a few rounds", 3, 1000, 900, true, false},
	} {
		r := parse(t, lines(tt.rounds, ours, tt.ours, "cpu-ns/msg", "")+lines(tt.rounds, others, tt.peer, "cpu-ns/msg", ""))
		v, ok := r.cells[0].compare("ours", "gws", "cpu-ns/msg")
		if !ok || v.lost() != tt.lost || v.decided != tt.decided || math.Abs(v.ratio-tt.peer/tt.ours) > 0.01 {
			t.Errorf("%s: got %+v, lost: %t", tt.name, v, v.lost())
		}
	}

	// The medians differ, and the rounds more.
	noisy := ""
	for i, v := range []int{1000, 500, 1500, 700, 1300, 900, 1100, 600, 1400, 1000} {
		noisy += fmt.Sprintf("Benchmark%s 1 1 ns/op %d cpu-ns/msg\nBenchmark%s 1 1 ns/op %d cpu-ns/msg\n", ours, v, others, v-50+i)
	}
	if v, ok := parse(t, noisy).cells[0].compare("ours", "gws", "cpu-ns/msg"); !ok || v.lost() || v.p < alpha {
		t.Errorf("noise: got %+v, lost: %t", v, v.lost())
	}
	if _, ok := parse(t, noisy).cells[0].compare("ours", "coder", "cpu-ns/msg"); ok {
		t.Error("got a verdict on what was not measured")
	}
}

// Whether a library leaves something out depends on what it does.
func TestWhole(t *testing.T) {
	for _, tt := range []struct {
		benchmark, param, peer string
		want                   bool
	}{
		{"Echo", "type=binary", "gws", true},
		{"Echo", "type=text", "gws", false},
		{"Echo", "type=text", "gws-full", true},
		{"Echo", "type=binary", "gorilla", false},
		{"Write", "type=text", "gws", true},
		{"Mask", "size=125", "gobwas", true},
		{"CompressedEcho", "size=1KiB", "coder", false},
		{"Idle", "after=message", "coder", true},
	} {
		c := &cell{benchmark: tt.benchmark, params: []string{tt.param}}
		if got := c.whole(tt.peer); got != tt.want {
			t.Errorf("%s, %s, %s: got %t", tt.benchmark, tt.param, tt.peer, got)
		}
	}
}

func TestFormat(t *testing.T) {
	for _, tt := range []struct {
		value float64
		unit  string
		want  string
	}{
		{0, "cpu-ns/msg", "0"}, {4213, "cpu-ns/msg", "4.21 µs"}, {99.4, "cpu-ns/op", "99.4 ns"}, {250, "ns/op", "250 ns"},
		{1.5e9, "p99-ns", "1.50 s"}, {161_234, "msgs/s", "161k/s"}, {5735, "rss-B/conn", "5.74 KB"}, {851, "heap-B/conn", "851 B"},
		{0.0046, "allocs/msg", "0"}, {69.11, "allocs/conn", "69.1"}, {2, "allocs/msg", "2"}, {2.904, "ratio", "2.90"},
	} {
		if got := format(tt.value, tt.unit); got != tt.want {
			t.Errorf("%v %s: got %q, want %q", tt.value, tt.unit, got, tt.want)
		}
	}
	for n, want := range map[string]string{"1": "1", "999": "999", "1000": "1,000", "15000": "15,000", "1000000": "1,000,000"} {
		if got := withCommas(n); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// sample is a little of everything.
func sampleRounds() string {
	var b strings.Builder
	b.WriteString("cpu: a processor\n")
	for peer, v := range map[string]float64{"ours-batching": 50, "gws": 1000, "coder": 1200, "floor-batching": 40} {
		b.WriteString(lines(10, "Echo/peer="+peer+"/conns=64/size=125B/inflight=32/type=binary", v, "cpu-ns/msg", ""))
	}
	b.WriteString(lines(10, "Mask/peer=ours/size=1024", 5, "MB/s", "") + lines(10, "Mask/peer=gobwas/size=1024", 5.5, "MB/s", ""))
	b.WriteString(lines(10, "Upgrade/peer=hijack", 900, "cpu-ns/conn", "\t 57 allocs/conn"))
	values := map[string]float64{"ours": 1000, "gws": 900, "coder": 1200, "floor": 800}
	for peer, v := range values {
		b.WriteString(lines(10, "Echo/peer="+peer+"/conns=64/size=1KiB/inflight=1/type=binary", v, "cpu-ns/msg", "\t 5 allocs/msg"))
		b.WriteString(lines(10, "Upgrade/peer="+peer, v, "cpu-ns/conn", "\t 60 allocs/conn"))
		b.WriteString(lines(3, "Idle/peer="+peer+"/conns=2000/after=handshake", v, "rss-B/conn", ""))
		b.WriteString(lines(3, "Idle/peer="+peer+"/conns=2000/after=message", v, "rss-B/conn", ""))
		b.WriteString(lines(10, "Broadcast/peer="+peer+"/conns=1000/deflate=off", v, "cpu-ns/recipient", ""))
	}
	for _, mode := range []string{"no-takeover", "takeover"} {
		for i, peer := range []string{"ours-12", "gws"} {
			b.WriteString(lines(10, "CompressedEcho/peer="+peer+"/conns=64/size=1KiB/deflate="+mode, 1000*float64(i+1), "cpu-ns/msg", "\t 2.5 ratio"))
		}
	}
	return b.String()
}

func TestRun(t *testing.T) {
	dir := t.TempDir()
	rounds, out := filepath.Join(dir, "rounds"), filepath.Join(dir, "RESULTS.md")
	if err := os.WriteFile(rounds, []byte(sampleRounds()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run([]string{rounds}, out, "charts"); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| processor | a processor |",
		"3 to 10 rounds",
		"| ours | 1.00 µs (1.00, 1.25) |",
		"| gws | **902 ns** (0.90, 1.12) |",
		"| 64 connections, 1 KiB, 1 in flight, binary | gws 0.90 |",
		"| Echo server, CPU | ours | 1 | 1 | 1 |",
		"| Upgrade, allocations | ours | 1 | 0 | 0 |",
		"| ours | 1.00 µs (1.00, 1.11) | 60 (1.00, +3.0) |",
		"| | 1,024 B |",
		"| gobwas | 5.50 ns (1.10) |",
		"| Upgrade: allocations more than a bare hijack has | ≤ 4.0 | 3.0 | yes |",
		"| echo, one in flight: Read and Write, CPU over the floor's | ≤ 1.05 | 1.25 | **no** |",
		"| 64 connections, 125 B, 32 in flight, binary | 50.1 ns | gws 1.00 µs | 20.0 | 1.25 | 24.99 |",
		"| gws | 2.00 µs (2.00), 2.50 |",
		"(charts/echo.svg)", "(charts/idle.svg)", "(charts/deflate.svg)", "(charts/broadcast.svg)",
		"| coder | Conn.Reader into",
	} {
		if !strings.Contains(string(b), want) {
			t.Errorf("there is no %q in the results", want)
		}
	}
	if t.Failed() {
		t.Logf("%s", b)
	}
	for _, name := range []string{"echo", "idle", "deflate", "broadcast"} {
		testSVG(t, filepath.Join(dir, "charts", name+".svg"))
	}
}

// A chart is XML, and no part of it is outside.
func testSVG(t *testing.T, name string) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d := xml.NewDecoder(f)
	shapes, height := 0, 0.0
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		e, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		if e.Name.Local == "svg" {
			height = attr(e, "height")
		}
		x, y := attr(e, "x")+attr(e, "cx"), attr(e, "y")+attr(e, "cy")
		if x < 0 || y < 0 || x+attr(e, "width") > chartWidth || y > height {
			t.Errorf("%s: %v is outside", name, e)
		}
		shapes++
	}
	if shapes < 10 || height < 100 {
		t.Errorf("%s: got %d shapes, %v high", name, shapes, height)
	}
}

func attr(e xml.StartElement, name string) (value float64) {
	for _, a := range e.Attr {
		if a.Name.Local == name {
			fmt.Sscan(a.Value, &value)
		}
	}
	return value
}

func TestRunErrors(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, []byte("PASS\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, rounds := range [][]string{nil, {filepath.Join(dir, "none")}, {empty}} {
		if err := run(rounds, filepath.Join(dir, "RESULTS.md"), "charts"); err == nil {
			t.Errorf("%v: got no error", rounds)
		}
	}
}

func TestStep(t *testing.T) {
	for largest := 0.01; largest < 1e7; largest *= 1.37 {
		if n := largest / step(largest); n < 1.9 || n > 5.01 {
			t.Errorf("%v: got steps of %v, %.1f of them", largest, step(largest), n)
		}
	}
}
