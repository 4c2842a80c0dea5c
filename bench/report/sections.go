package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidewire/websocket/bench/peers"
)

// A section is the tables of one benchmark.
type section struct {
	benchmark string
	title     string
	text      string
	units     []string // what it is about; less is better
	column    string   // the parameter that columns differ in, or "": then there is a column for each unit
	beside    string   // a unit whose value stands in each cell as well
	also      []string // units that are told below
}

var sections = []section{
	{
		benchmark: "Echo", title: "Echo server", units: []string{"cpu-ns/msg"}, column: "size",
		text: "CPU of the server, in the program and in the kernel, for a message and its answer.",
		also: []string{"msgs/s", "p50-ns", "p99-ns", "allocs/msg"},
	},
	{
		benchmark: "Client", title: "Client", units: []string{"cpu-ns/msg"}, column: "size",
		text: "CPU of the clients, in the program and in the kernel, for a message and its answer.",
		also: []string{"msgs/s", "allocs/msg"},
	},
	{
		benchmark: "Read", title: "Reading in memory", units: []string{"cpu-ns/op"}, column: "size",
		text: "CPU for reading a message that is there, one frame to a Read: the library, without a system call.",
		also: []string{"ns/op", "allocs/op"},
	},
	{
		benchmark: "Write", title: "Writing in memory", units: []string{"cpu-ns/op"}, column: "size",
		text: "CPU for writing a message that nobody reads.",
		also: []string{"ns/op", "allocs/op"},
	},
	{
		benchmark: "Mask", title: "Masking", units: []string{"ns/op"}, column: "size",
		text: "Time for masking a payload in place, which begins where the header of its frame ends.",
	},
	{
		benchmark: "Upgrade", title: "Upgrade", units: []string{"cpu-ns/conn", "allocs/conn"},
		text: "What a server has to do for a connection that is opened, with the request of a browser, and closed again.",
	},
	{
		benchmark: "Dial", title: "Dial", units: []string{"cpu-ns/conn", "allocs/conn"},
		text: "What a client has to do for a connection that is opened and closed again.",
	},
	{
		benchmark: "Broadcast", title: "Broadcast", units: []string{"cpu-ns/recipient"}, column: "conns",
		text: "CPU of the server for each recipient of a message of 512 bytes of text that goes to all.",
		also: []string{"allocs/recipient"},
	},
	{
		benchmark: "CompressedEcho", title: "Echo server with permessage-deflate", units: []string{"cpu-ns/msg"}, column: "size", beside: "ratio",
		text: "CPU of the server for a message of JSON and its answer, both compressed, on 64 connections with one message in flight. " +
			"Behind it stands how many times as long the messages are as what the server sent of them.",
		also: []string{"msgs/s", "allocs/msg"},
	},
	{
		benchmark: "Idle", title: "Idle connections", units: []string{"rss-B/conn"}, column: "after",
		text: "Resident memory of the server for each connection that waits: after the handshake, and after a message of 4 KiB each way. " +
			"The sockets, which the kernel has, are not in it.",
		also: []string{"heap-B/conn", "stack-B/conn"},
	},
	{
		benchmark: "IdleCompressed", title: "Idle connections with permessage-deflate", units: []string{"rss-B/conn"}, column: "deflate",
		text: "Likewise, after a message of 1 KiB of JSON each way.",
		also: []string{"heap-B/conn", "stack-B/conn"},
	},
}

var unitNames = map[string]string{
	"cpu-ns/msg": "CPU", "cpu-ns/op": "CPU", "cpu-ns/conn": "CPU", "cpu-ns/recipient": "CPU",
	"allocs/msg": "allocations", "allocs/op": "allocations", "allocs/conn": "allocations", "allocs/recipient": "allocations",
	"msgs/s": "messages", "p50-ns": "median latency", "p99-ns": "99 % within", "ns/op": "time",
	"rss-B/conn": "resident", "heap-B/conn": "heap", "stack-B/conn": "stack", "ratio": "ratio",
}

// A group is the cells of one table.
type group struct {
	section
	title string
	cells []*cell // a column each
}

// groups returns the tables of s.
func (s section) groups(r *results) []group {
	var list []group
	var names []string
	for _, c := range r.of(s.benchmark) {
		name := c.without(s.column)
		i := slices.Index(names, name)
		if i < 0 {
			rest := *c
			rest.params = slices.DeleteFunc(slices.Clone(c.params), func(p string) bool { return strings.HasPrefix(p, s.column+"=") })
			i = len(list)
			names = append(names, name)
			list = append(list, group{section: s, title: rest.describe()})
		}
		list[i].cells = append(list[i].cells, c)
	}
	return list
}

// rows returns the peers that were measured, in their order.
func (g group) rows() []string {
	var list []string
	for _, p := range peers.All {
		if slices.ContainsFunc(g.cells, func(c *cell) bool { return c.values[p.Name] != nil }) {
			list = append(list, p.Name)
		}
	}
	return list
}

// A column is the values of a cell in one unit.
type column struct {
	*cell
	title, unit string
}

func (g group) columns() []column {
	var list []column
	for _, c := range g.cells {
		for _, unit := range g.units {
			title := unitNames[unit]
			if g.column != "" {
				title = describeParam(g.column, c.param(g.column))
			}
			list = append(list, column{c, title, unit})
		}
	}
	return list
}

// table returns the table of what g is about.
func (g group) table() string {
	var b strings.Builder
	columns := g.columns()
	b.WriteString("| |")
	for _, c := range columns {
		fmt.Fprintf(&b, " %s |", c.title)
	}
	b.WriteString("\n|---|" + strings.Repeat("---:|", len(columns)) + "\n")
	for _, peer := range g.rows() {
		fmt.Fprintf(&b, "| %s |", peer)
		for _, c := range columns {
			fmt.Fprintf(&b, " %s |", c.text(peer, g.beside))
		}
		b.WriteString("\n")
	}
	return b.String()
}

// text returns what stands in a table: the median, and how many times that of ours and of the floor it
// is. What ours loses to is bold.
func (c column) text(peer, beside string) string {
	value, ok := c.median(peer, c.unit)
	if !ok {
		return "–"
	}
	text := format(value, c.unit)
	if slices.ContainsFunc(c.lostTo(c.base(), c.unit), func(v verdict) bool { return v.peer == peer }) {
		text = "**" + text + "**"
	}
	var ratios []string
	for _, other := range []string{c.base(), c.floor()} {
		reference, ok := c.median(other, c.unit)
		switch {
		case !ok:
		case c.unit == "allocs/conn" && other == c.floor():
			ratios = append(ratios, fmt.Sprintf("%+.1f", value-reference))
		default:
			ratios = append(ratios, ratio(value, reference))
		}
	}
	text += " (" + strings.Join(ratios, ", ") + ")"
	if v, ok := c.median(peer, beside); ok {
		text += ", " + format(v, beside)
	}
	return text
}

// rest returns the table of what else was measured.
func (g group) rest() string {
	if len(g.also) == 0 {
		return ""
	}
	var names []string
	for _, unit := range g.also {
		names = append(names, unitNames[unit])
	}
	var b strings.Builder
	fmt.Fprintf(&b, "<details><summary>%s</summary>\n\n| |", strings.Join(names, ", "))
	for _, c := range g.cells {
		fmt.Fprintf(&b, " %s |", describeParam(g.column, c.param(g.column)))
	}
	b.WriteString("\n|---|" + strings.Repeat("---:|", len(g.cells)) + "\n")
	for _, peer := range g.rows() {
		fmt.Fprintf(&b, "| %s |", peer)
		for _, c := range g.cells {
			fmt.Fprintf(&b, " %s |", c.others(peer, g.also))
		}
		b.WriteString("\n")
	}
	b.WriteString("\n</details>\n")
	return b.String()
}

func (c *cell) others(peer string, units []string) string {
	var values []string
	for _, unit := range units {
		if v, ok := c.median(peer, unit); ok {
			values = append(values, format(v, unit))
		}
	}
	if len(values) == 0 {
		return "–"
	}
	return strings.Join(values, ", ")
}
