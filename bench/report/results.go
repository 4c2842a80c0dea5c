package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/perf/benchfmt"
)

// results are all values of all rounds.
type results struct {
	config map[string]string // of the machine, such as "cpu"
	cells  []*cell           // in the order in which they came first
	byName map[string]*cell
}

// A cell is something that was measured of several peers.
type cell struct {
	benchmark string            // such as "Echo"
	params    []string          // such as "conns=64", in order, without the peer
	values    map[string]sample // by peer
}

// A sample has the values of each round, by unit, such as "cpu-ns/msg".
type sample map[string][]float64

func newResults() *results {
	return &results{config: map[string]string{}, byName: map[string]*cell{}}
}

func (r *results) readFile(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return r.read(f, name)
}

// read reads what go test -bench has printed.
func (r *results) read(in io.Reader, name string) error {
	reader := benchfmt.NewReader(in, name)
	for reader.Scan() {
		switch record := reader.Result().(type) {
		case *benchfmt.Result:
			r.add(record)
		case *benchfmt.SyntaxError:
			return record
		}
	}
	return reader.Err()
}

// add adds a line of a benchmark. One that does not say whose it is is not for us.
func (r *results) add(result *benchfmt.Result) {
	base, parts := result.Name.Parts()
	var peer string
	var params []string
	for _, part := range parts {
		p := strings.TrimPrefix(string(part), "/")
		if name, ok := strings.CutPrefix(p, "peer="); ok {
			peer = name
		} else if strings.Contains(p, "=") {
			params = append(params, p)
		}
	}
	if peer == "" {
		return
	}
	for _, c := range result.Config {
		r.config[c.Key] = string(c.Value)
	}
	s := r.sample(string(base), params, peer)
	for _, v := range result.Values {
		unit, value := v.Unit, v.Value
		if v.OrigUnit != "" {
			unit, value = v.OrigUnit, v.OrigValue
		}
		s[unit] = append(s[unit], value)
	}
}

func (r *results) sample(benchmark string, params []string, peer string) sample {
	name := benchmark + "/" + strings.Join(params, "/")
	c := r.byName[name]
	if c == nil {
		c = &cell{benchmark, params, map[string]sample{}}
		r.byName[name] = c
		r.cells = append(r.cells, c)
	}
	if c.values[peer] == nil {
		c.values[peer] = sample{}
	}
	return c.values[peer]
}

// of returns the cells of a benchmark.
func (r *results) of(benchmark string) []*cell {
	var list []*cell
	for _, c := range r.cells {
		if c.benchmark == benchmark {
			list = append(list, c)
		}
	}
	return list
}

// rounds returns the least and the largest number of rounds that a cell of a benchmark has.
func (r *results) rounds(benchmark, unit string) (least, most int) {
	for _, c := range r.of(benchmark) {
		for _, s := range c.values {
			n := len(s[unit])
			if least == 0 || n < least {
				least = n
			}
			most = max(most, n)
		}
	}
	return least, most
}

// param returns the value of a parameter, such as "64" for "conns".
func (c *cell) param(key string) string {
	for _, p := range c.params {
		if value, ok := strings.CutPrefix(p, key+"="); ok {
			return value
		}
	}
	return ""
}

// without returns the parameters but one.
func (c *cell) without(key string) string {
	rest := slices.DeleteFunc(slices.Clone(c.params), func(p string) bool { return strings.HasPrefix(p, key+"=") })
	return strings.Join(rest, "/")
}

// median returns the median of a peer's values, or ok == false if there are none.
func (c *cell) median(peer, unit string) (median float64, ok bool) {
	values := slices.Sorted(slices.Values(c.values[peer][unit]))
	n := len(values)
	if n == 0 {
		return 0, false
	}
	return (values[(n-1)/2] + values[n/2]) / 2, true
}

// describe says in words what c is, such as "64 connections, 1 KiB, 1 in flight", or
// nothing if there is but one of the kind.
func (c *cell) describe() string {
	var words []string
	for _, p := range c.params {
		key, value, _ := strings.Cut(p, "=")
		words = append(words, describeParam(key, value))
	}
	return strings.Join(words, ", ")
}

func describeParam(key, value string) string {
	switch key {
	case "conns":
		if value == "1" {
			return "1 connection"
		}
		return withCommas(value) + " connections"
	case "size":
		return describeSize(value)
	case "inflight":
		return value + " in flight"
	case "after":
		return "after the " + value
	case "deflate":
		return map[string]string{"off": "not compressed", "no-takeover": "no context takeover", "takeover": "context takeover"}[value]
	default:
		return value
	}
}

// describeSize separates the number of "16KiB" from the unit.
func describeSize(s string) string {
	i := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
	if i < 0 {
		return withCommas(s) + " B"
	}
	return s[:i] + " " + s[i:]
}

// withCommas returns a whole number with commas, such as 10,000.
func withCommas(n string) string {
	for i := len(n) - 3; i > 0; i -= 3 {
		n = fmt.Sprintf("%s,%s", n[:i], n[i:])
	}
	return n
}
