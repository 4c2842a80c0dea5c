package main

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/tidewire/websocket/bench/peers"
)

// A goal is a figure that is to be reached, in each of some cells.
type goal struct {
	what      string
	benchmark string
	params    string // such as "inflight=1 size=16B,125B": what cells have
	value     func(*cell) (value float64, ok bool)
	format    string
	sign      string // "≤", "<" or "≥"
	reach     float64
}

var goals = []goal{
	{"echo, one in flight: Read and Write, CPU over the floor's", "Echo", "inflight=1", over("ours", "floor", "cpu-ns/msg"), "%.2f", "≤", 1.05},
	{"echo, one in flight: Messages and Write, CPU over the floor's", "Echo", "inflight=1", over("ours-messages", "floor", "cpu-ns/msg"), "%.2f", "≤", 1.03},
	{"echo, 32 in flight, 16 B and 125 B, Batching: the best peer's CPU over ours", "Echo", "inflight=32 size=16B,125B", bestOver("ours-batching", "cpu-ns/msg"), "%.1f", "≥", 15},
	{"echo, 32 in flight, 1 KiB, Batching: likewise", "Echo", "inflight=32 size=1KiB", bestOver("ours-batching", "cpu-ns/msg"), "%.1f", "≥", 8},
	{"echo, 32 in flight, 16 KiB, Batching: likewise", "Echo", "inflight=32 size=16KiB", bestOver("ours-batching", "cpu-ns/msg"), "%.2f", "≥", 1.5},
	{"Messages in memory, allocations", "Read", "", of("ours-messages", "allocs/op"), "%.0f", "≤", 0},
	{"ReadAppend in memory, allocations", "Read", "", of("ours-append", "allocs/op"), "%.0f", "≤", 0},
	{"Write in memory, allocations", "Write", "", of("ours", "allocs/op"), "%.0f", "≤", 0},
	{"masking: time over the best peer's", "Mask", "", overBest("ours", "ns/op"), "%.2f", "≤", 1 + margin},
	{"idle connection after a message, resident bytes", "Idle", "after=message", of("ours", "rss-B/conn"), "%.0f", "≤", 4300},
	{"likewise with permessage-deflate and context takeover, 12 bits", "IdleCompressed", "deflate=takeover", of("ours-12", "rss-B/conn"), "%.0f", "≤", 16_000},
	{"likewise with 15 bits", "IdleCompressed", "deflate=takeover", of("ours-15", "rss-B/conn"), "%.0f", "≤", 80_000},
	{"permessage-deflate with context takeover, 12 bits, CPU over the best peer's", "CompressedEcho", "deflate=takeover", overBest("ours-12", "cpu-ns/msg"), "%.2f", "≤", 0.6},
	{"likewise with 15 bits", "CompressedEcho", "deflate=takeover", overBest("ours-15", "cpu-ns/msg"), "%.2f", "≤", 0.6},
	{"its ratio with 15 bits, over that of compress/flate at level 1, which coder has", "CompressedEcho", "deflate=takeover", over("ours-15", "coder", "ratio"), "%.2f", "≥", 1},
	{"Upgrade: allocations more than a bare hijack has", "Upgrade", "", less("ours", "hijack", "allocs/conn"), "%.1f", "≤", 4},
	{"Upgrade: allocations less than the best library on net/http has", "Upgrade", "", less("ours", "gobwas-http", "allocs/conn"), "%.1f", "<", 0},
	{"broadcast to 10,000: CPU over the best peer's", "Broadcast", "conns=10000", overBest("ours", "cpu-ns/recipient"), "%.2f", "≤", 1 + margin},
	{"likewise, compressed", "Broadcast", "conns=10000", overBest("ours-15", "cpu-ns/recipient"), "%.2f", "≤", 1 + margin},
}

// of returns a peer's median.
func of(peer, unit string) func(*cell) (float64, bool) {
	return func(c *cell) (float64, bool) { return c.median(peer, unit) }
}

// over returns how many times that of another a peer's median is.
func over(peer, other, unit string) func(*cell) (float64, bool) {
	return func(c *cell) (float64, bool) {
		a, okA := c.median(peer, unit)
		b, okB := c.median(other, unit)
		return a / b, okA && okB && b != 0
	}
}

// less returns how much more than that of another a peer's median is.
func less(peer, other, unit string) func(*cell) (float64, bool) {
	return func(c *cell) (float64, bool) {
		a, okA := c.median(peer, unit)
		b, okB := c.median(other, unit)
		return a - b, okA && okB
	}
}

// bestOver returns how many times that of one of ours the best peer's median is.
func bestOver(ours, unit string) func(*cell) (float64, bool) {
	return func(c *cell) (float64, bool) { return over(c.best(unit), ours, unit)(c) }
}

// overBest is the inverse of bestOver.
func overBest(ours, unit string) func(*cell) (float64, bool) {
	return func(c *cell) (float64, bool) { return over(ours, c.best(unit), unit)(c) }
}

// best returns the peer with the lowest median, whatever it leaves out.
func (c *cell) best(unit string) string {
	name, least := "", math.Inf(1)
	for _, p := range peers.All {
		if v, ok := c.median(p.Name, unit); ok && v < least && !p.Floor && !isOurs(p.Name) {
			name, least = p.Name, v
		}
	}
	return name
}

// has reports whether c has each of those parameters.
func (c *cell) has(params string) bool {
	for _, p := range strings.Fields(params) {
		key, values, _ := strings.Cut(p, "=")
		if !slices.Contains(strings.Split(values, ","), c.param(key)) {
			return false
		}
	}
	return true
}

// met reports whether value reaches g.
func (g goal) met(value float64) bool {
	switch g.sign {
	case "≤":
		return value <= g.reach
	case "<":
		return value < g.reach
	default:
		return value >= g.reach
	}
}

// row returns what was measured of g, or "" if nothing was.
func (g goal) row(r *results) string {
	met, n, least, most := 0, 0, math.Inf(1), math.Inf(-1)
	for _, c := range r.of(g.benchmark) {
		value, ok := g.value(c)
		if !ok || !c.has(g.params) {
			continue
		}
		n++
		if g.met(value) {
			met++
		}
		least, most = min(least, value), max(most, value)
	}
	if n == 0 {
		return ""
	}
	measured := fmt.Sprintf(g.format, least)
	if end := fmt.Sprintf(g.format, most); end != measured {
		measured += " to " + end
	}
	verdict := "yes"
	switch {
	case met == 0:
		verdict = "**no**"
	case met < n:
		verdict = fmt.Sprintf("**in %d of %d**", met, n)
	}
	return fmt.Sprintf("| %s | %s %s | %s | %s |\n", g.what, g.sign, fmt.Sprintf(g.format, g.reach), measured, verdict)
}

// goalTable says what was to be reached, and what was.
func goalTable(r *results) string {
	var b strings.Builder
	for _, g := range goals {
		b.WriteString(g.row(r))
	}
	if b.Len() == 0 {
		return ""
	}
	return "\n## What was to be reached\n\n| | to reach | measured | reached |\n|---|---:|---:|---|\n" + b.String()
}

// batchingTable compares Batching with the best peer, of which none has the like.
func batchingTable(r *results) string {
	const unit, ours, floor = "cpu-ns/msg", "ours-batching", "floor-batching"
	var b strings.Builder
	for _, c := range r.of("Echo") {
		times, ok := bestOver(ours, unit)(c)
		if !ok {
			continue
		}
		best, value := c.best(unit), func(peer string) float64 { v, _ := c.median(peer, unit); return v }
		fmt.Fprintf(&b, "| %s | %s | %s %s | %.1f | %s | %s |\n", c.describe(), format(value(ours), unit),
			best, format(value(best), unit), times, ratio(value(ours), value(floor)), ratio(value(best), value(floor)))
	}
	if b.Len() == 0 {
		return ""
	}
	return "\n## Batching\n\nCPU of an echo server for a message and its answer, with Batching and of the best peer, and how many times that of ours " +
		"the peer's is; then how many times both are that of a floor that batches too.\n\n" +
		"| | ours-batching | best peer | times | to the floor | best peer to the floor |\n|---|---:|---:|---:|---:|---:|\n" + b.String()
}
