// Command table reads what go test -bench prints, over several rounds, and
// prints tables in Markdown: the median time of each codec, beside that of
// another, and what else was measured.
//
//	go test -bench . -count 10 | go run ./table -base Deflate=ours-1-15,Inflate=ours-15
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"slices"
	"strconv"
	"strings"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("table: ")
	base := flag.String("base", "", "the `codec` of each benchmark that others are compared with, such as Deflate=a,Inflate=b (the first)")
	flag.Parse()
	r, err := parse(os.Stdin)
	if err != nil {
		log.Fatal(err)
	}
	bases := map[string]string{}
	for _, s := range strings.Split(*base, ",") {
		benchmark, codec, _ := strings.Cut(s, "=")
		bases[benchmark] = codec
	}
	if err := r.print(os.Stdout, bases); err != nil {
		log.Fatal(err)
	}
}

// A series is one row of cells: a codec that does one thing.
type series struct{ benchmark, takeover, codec string }

// results are the values of all rounds.
type results struct {
	series []series // in the order in which they came, and so are the sizes
	sizes  []string
	values map[series]map[string]map[string][]float64 // by size and unit
}

// parse reads lines such as
//
//	BenchmarkDeflate/codec=ours/takeover=true/size=1KiB-2   100   4321 ns/op   2.5 ratio
func parse(r io.Reader) (*results, error) {
	res := &results{values: map[series]map[string]map[string][]float64{}}
	for scanner := bufio.NewScanner(r); ; {
		if !scanner.Scan() {
			return res, scanner.Err()
		}
		fields := strings.Fields(scanner.Text())
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		if err := res.add(fields[0], fields[2:]); err != nil {
			return nil, fmt.Errorf("%s: %w", fields[0], err)
		}
	}
}

func (r *results) add(name string, values []string) error {
	if i := strings.LastIndexByte(name, '-'); i > strings.LastIndexByte(name, '/') {
		name = name[:i] // GOMAXPROCS
	}
	parts := strings.Split(strings.TrimPrefix(name, "Benchmark"), "/")
	s, size := series{benchmark: parts[0]}, ""
	for _, part := range parts[1:] {
		switch key, value, _ := strings.Cut(part, "="); key {
		case "codec":
			s.codec = value
		case "takeover":
			s.takeover = value
		case "size":
			size = value
		}
	}
	if r.values[s] == nil {
		r.values[s] = map[string]map[string][]float64{}
		r.series = append(r.series, s)
	}
	if r.values[s][size] == nil {
		r.values[s][size] = map[string][]float64{}
	}
	if !slices.Contains(r.sizes, size) {
		r.sizes = append(r.sizes, size)
	}
	for pair := range slices.Chunk(values, 2) {
		if len(pair) < 2 {
			return fmt.Errorf("no unit after %s", pair[0])
		}
		value, err := strconv.ParseFloat(pair[0], 64)
		if err != nil {
			return err
		}
		r.values[s][size][pair[1]] = append(r.values[s][size][pair[1]], value)
	}
	return nil
}

// print prints a table for each benchmark, with takeover and without.
func (r *results) print(w io.Writer, bases map[string]string) error {
	if len(r.series) == 0 {
		return fmt.Errorf("no benchmark in the input")
	}
	var done []series
	for _, s := range r.series {
		group := series{benchmark: s.benchmark, takeover: s.takeover}
		if !slices.Contains(done, group) {
			done = append(done, group)
			r.printGroup(w, group, bases[group.benchmark])
		}
	}
	return nil
}

func (r *results) printGroup(w io.Writer, group series, base string) {
	var rows []series
	for _, s := range r.series {
		if s.benchmark == group.benchmark && s.takeover == group.takeover {
			rows = append(rows, s)
		}
	}
	reference := rows[0]
	for _, s := range rows {
		if s.codec == base {
			reference = s
		}
	}
	with := map[string]string{"true": "with", "false": "without"}[group.takeover]
	fmt.Fprintf(w, "**%s, %s context takeover**\n\n", group.benchmark, with)
	fmt.Fprintf(w, "| codec | %s | state | pooled | allocs |\n|---|%s---:|---:|---:|\n", strings.Join(r.sizes, " | "), strings.Repeat("---:|", len(r.sizes)))
	for _, s := range rows {
		fmt.Fprintf(w, "| %s |", s.codec)
		for _, size := range r.sizes {
			fmt.Fprintf(w, " %s |", cell(r.values[s][size], r.values[reference][size], s == reference))
		}
		last := r.values[s][r.sizes[len(r.sizes)-1]]
		fmt.Fprintf(w, " %s | %s | %s |\n", bytes(median(last["state-B"])), bytes(median(last["pool-B"])), r.allocs(s))
	}
	fmt.Fprintf(w, "\n%d rounds; half of them within %.0f %% of each median, or closer.\n\n", r.rounds(rows), 100*r.spread(rows))
}

// cell is a time, how many times that of the reference it is, and the ratio.
func cell(values, reference map[string][]float64, isReference bool) string {
	ns := median(values["ns/op"])
	s := duration(ns)
	if !isReference {
		s += fmt.Sprintf(" (%.2f ×)", ns/median(reference["ns/op"]))
	}
	if ratio := values["ratio"]; ratio != nil {
		s += fmt.Sprintf(" %.2f", median(ratio))
	}
	return s
}

func duration(ns float64) string {
	switch {
	case ns >= 1e6:
		return fmt.Sprintf("%.2f ms", ns/1e6)
	case ns >= 1e5:
		return fmt.Sprintf("%.0f µs", ns/1e3)
	default:
		return fmt.Sprintf("%.1f µs", ns/1e3)
	}
}

func bytes(n float64) string {
	switch {
	case n >= 1e6:
		return fmt.Sprintf("%.2f MB", n/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%.1f KB", n/1e3)
	default:
		return fmt.Sprintf("%.0f B", n)
	}
}

// allocs returns the most allocations that s makes for a message of any size.
func (r *results) allocs(s series) string {
	most := 0.0
	for _, size := range r.sizes {
		most = max(most, median(r.values[s][size]["allocs/op"]))
	}
	return fmt.Sprintf("%.0f", most)
}

// rounds returns the least number of rounds that a cell is made of.
func (r *results) rounds(rows []series) int {
	least := -1
	for _, s := range rows {
		for _, size := range r.sizes {
			if n := len(r.values[s][size]["ns/op"]); least < 0 || n < least {
				least = n
			}
		}
	}
	return least
}

// spread returns how far the quartiles of a time are from its median, at the most.
func (r *results) spread(rows []series) float64 {
	most := 0.0
	for _, s := range rows {
		for _, size := range r.sizes {
			ns := r.values[s][size]["ns/op"]
			m := median(ns)
			most = max(most, quantile(ns, 0.75)/m-1, 1-quantile(ns, 0.25)/m)
		}
	}
	return most
}

func median(values []float64) float64 { return quantile(values, 0.5) }

// quantile returns the value below which that share of values lies.
func quantile(values []float64, share float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	position := share * float64(len(sorted)-1)
	i := int(position)
	if i+1 == len(sorted) {
		return sorted[i]
	}
	return sorted[i] + (position-float64(i))*(sorted[i+1]-sorted[i])
}
