package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/tidewire/websocket/bench/peers"
)

// A chart is a picture of some panels beside each other.
type chart struct {
	name, title, subtitle string
	legend                []string // of the values of a bar, or the points
	columns               int
	panels                []panel
}

// A panel shows bars, or points.
type panel struct {
	title  string
	bars   []bar
	points []point
}

// A bar is a peer and one or two values.
type bar struct {
	peer   string
	values []float64
	texts  []string
}

// A point is a peer that has a value in two respects.
type point struct {
	peer   string
	x, y   float64
	hollow bool
}

func allCharts(r *results) []chart {
	return []chart{echoChart(r), idleChart(r), deflateChart(r), broadcastChart(r)}
}

// echoChart has a panel for each size.
func echoChart(r *results) chart {
	c := chart{
		name: "echo", title: "Echo server: CPU for a message and its answer", columns: 3,
		subtitle: "one binary message in flight on each of 64 connections; shorter is better",
	}
	for _, cell := range r.of("Echo") {
		if cell.param("conns") == "64" && cell.param("inflight") == "1" && cell.param("type") == "binary" {
			c.panels = append(c.panels, barPanel(describeSize(cell.param("size")), "cpu-ns/msg", cell))
		}
	}
	return c
}

// idleChart has two bars for each peer.
func idleChart(r *results) chart {
	c := chart{
		name: "idle", title: "Resident memory of a server for an idle connection", columns: 1,
		subtitle: "shorter is better", legend: []string{"after the handshake", "after a message of 4 KiB each way"},
	}
	cells := map[string]*cell{}
	for _, cell := range r.of("Idle") {
		cells[cell.param("after")] = cell
	}
	if cells["handshake"] != nil && cells["message"] != nil {
		title := withCommas(cells["message"].param("conns")) + " connections"
		c.panels = []panel{barPanel(title, "rss-B/conn", cells["handshake"], cells["message"])}
	}
	return c
}

// deflateChart has a point for each peer, with context takeover and without.
func deflateChart(r *results) chart {
	c := chart{
		name: "deflate", title: "Echo server with permessage-deflate: CPU against ratio", columns: 2,
		subtitle: "CPU for a message of JSON and its answer, over how many times shorter the answer got; down and to the right is better",
		legend:   []string{"with context takeover", "without"},
	}
	var sizes []string
	for _, cell := range r.of("CompressedEcho") {
		i := slices.Index(sizes, cell.param("size"))
		if i < 0 {
			i = len(sizes)
			sizes = append(sizes, cell.param("size"))
			c.panels = append(c.panels, panel{title: describeSize(cell.param("size"))})
		}
		for _, p := range peers.All {
			x, okX := cell.median(p.Name, "ratio")
			y, okY := cell.median(p.Name, "cpu-ns/msg")
			if okX && okY {
				c.panels[i].points = append(c.panels[i].points, point{p.Name, x, y, cell.param("deflate") != "takeover"})
			}
		}
	}
	return c
}

// broadcastChart has a panel for each number of connections.
func broadcastChart(r *results) chart {
	c := chart{
		name: "broadcast", title: "Broadcast: CPU of the server for each recipient", columns: 2,
		subtitle: "a message of 512 bytes; shorter is better",
	}
	for _, cell := range r.of("Broadcast") {
		c.panels = append(c.panels, barPanel(cell.describe(), "cpu-ns/recipient", cell))
	}
	return c
}

// barPanel has a bar for each peer with a value of each cell, the one that is best in the last
// on top.
func barPanel(title, unit string, cells ...*cell) panel {
	p := panel{title: title}
	for _, peer := range peers.All {
		b := bar{peer: peer.Name}
		for _, c := range cells {
			if v, ok := c.median(peer.Name, unit); ok {
				b.values = append(b.values, v)
				b.texts = append(b.texts, format(v, unit))
			}
		}
		if len(b.values) == len(cells) {
			p.bars = append(p.bars, b)
		}
	}
	slices.SortStableFunc(p.bars, func(a, b bar) int {
		return cmp.Compare(a.values[len(cells)-1], b.values[len(cells)-1])
	})
	return p
}

// The look of a peer.
func class(peer string) string {
	p, _ := peers.Find(peer)
	switch {
	case p.Floor:
		return "floor"
	case isOurs(peer):
		return "ours"
	}
	return "other"
}

// description says in words what a chart shows, for those who do not see it.
func (c chart) description() string {
	var list []string
	for _, p := range c.panels {
		for _, b := range p.bars {
			list = append(list, fmt.Sprintf("%s, %s: %s", p.title, b.peer, strings.Join(b.texts, " and ")))
		}
		for _, q := range p.points {
			list = append(list, fmt.Sprintf("%s, %s: %s at %.2f", p.title, q.peer, format(q.y, "ns"), q.x))
		}
	}
	return strings.Join(list, "; ")
}
