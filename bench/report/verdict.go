package main

import (
	"strings"

	"golang.org/x/perf/benchmath"

	"github.com/tidewire/websocket/bench/peers"
)

// The rule by which a cell is lost: "if a peer's median over at least 10 interleaved rounds
// is lower by more than 2 % with p < 0.05".
const (
	enoughRounds = 10
	margin       = 0.02
	alpha        = 0.05
)

// A verdict compares a peer with one of ours.
type verdict struct {
	ours, peer string
	ratio      float64 // of the peer's median to ours
	p          float64 // that two such samples come from the same thing (Mann-Whitney U test)
	decided    bool    // there are enough rounds
	whole      bool    // the peer does what ours does, as far as it matters here
}

// compare compares two peers in c, if they have been measured.
func (c *cell) compare(ours, peer, unit string) (v verdict, ok bool) {
	a, okOurs := c.median(ours, unit)
	b, okPeer := c.median(peer, unit)
	if !okOurs || !okPeer || a == 0 {
		return v, false
	}
	x, y := c.values[ours][unit], c.values[peer][unit]
	test := benchmath.AssumeNothing.Compare(newSample(x), newSample(y))
	return verdict{
		ours: ours, peer: peer, ratio: b / a, p: test.P,
		decided: min(len(x), len(y)) >= enoughRounds,
		whole:   c.whole(peer),
	}, true
}

// whole reports whether a peer does what ours does.
func (c *cell) whole(peer string) bool {
	p, _ := peers.Find(peer)
	if c.benchmark == "Mask" {
		return true
	}
	return !p.NoLock && (!p.NoUTF8 || !c.readsText())
}

// readsText reports whether text is read in c. That which is written is not checked by ours.
func (c *cell) readsText() bool {
	switch c.benchmark {
	case "Echo", "Client", "Read":
		return c.param("type") != "binary"
	case "CompressedEcho":
		return true
	}
	return false
}

func newSample(values []float64) *benchmath.Sample {
	return benchmath.NewSample(append([]float64(nil), values...), &benchmath.DefaultThresholds)
}

// lost reports whether ours is worse by the rule. If there are not enough rounds to decide,
// the medians alone say whether it looks like it.
func (v verdict) lost() bool {
	return v.ratio < 1-margin && (v.p < alpha || !v.decided)
}

// lostTo returns the verdicts by which ours loses c.
func (c *cell) lostTo(ours, unit string) []verdict {
	var list []verdict
	for _, p := range peers.All {
		if p.Floor || isOurs(p.Name) {
			continue
		}
		if v, ok := c.compare(ours, p.Name, unit); ok && v.lost() {
			list = append(list, v)
		}
	}
	return list
}

func isOurs(peer string) bool { return peer == "ours" || strings.HasPrefix(peer, "ours-") }

// ours returns those of ours that were measured in c.
func (c *cell) ours() []string {
	var list []string
	for _, p := range peers.All {
		if isOurs(p.Name) && c.values[p.Name] != nil {
			list = append(list, p.Name)
		}
	}
	return list
}

// base returns which of ours others are compared with in c.
func (c *cell) base() string {
	if list := c.ours(); len(list) > 0 {
		return list[0]
	}
	return ""
}

// floor returns which peer is the floor in c, or "". Who upgrades what net/http has read
// cannot do with less than a hijack.
func (c *cell) floor() string {
	for _, floor := range []string{"hijack", "floor"} {
		if c.values[floor] != nil && (floor == "floor" || c.benchmark == "Upgrade") {
			return floor
		}
	}
	return ""
}
