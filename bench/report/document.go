package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/tidewire/websocket/bench/peers"
)

// document returns the results of all runs together in Markdown.
func document(r *results, runs []*results, pictures []picture) string {
	var b strings.Builder
	b.WriteString("# Results\n\n")
	b.WriteString(machine(r))
	b.WriteString(reading(r))
	b.WriteString("\n## What is lost\n\n")
	b.WriteString(losses(r))
	b.WriteString(agreement(runs))
	b.WriteString(goalTable(r))
	b.WriteString(batchingTable(r))
	if len(pictures) > 0 {
		b.WriteString("\n## Charts\n")
		for _, p := range pictures {
			fmt.Fprintf(&b, "\n![%s](%s)\n", p.title, p.file)
		}
	}
	for _, s := range sections {
		b.WriteString(s.document(r))
	}
	b.WriteString("\n## The peers\n\n")
	b.WriteString(peerTable(r))
	return b.String()
}

// machine says where, when and what was measured.
func machine(r *results) string {
	var b strings.Builder
	b.WriteString("| | |\n|---|---|\n")
	for _, row := range []struct{ name, key string }{
		{"measured", "date"}, {"processor", "cpu"}, {"processors", "processors"}, {"memory", "memory"}, {"other work", "elsewhere"},
		{"system", "kernel"}, {"Go", "go-version"}, {"this library", "revision"}, {"others", "modules"},
	} {
		if value := r.config[row.key]; value != "" {
			fmt.Fprintf(&b, "| %s | %s |\n", row.name, value)
		}
	}
	return b.String()
}

// reading says how to read it.
func reading(r *results) string {
	least, most := 0, 0
	for _, s := range sections {
		l, m := r.rounds(s.benchmark, s.units[0])
		if l > 0 && (least == 0 || l < least) {
			least = l
		}
		most = max(most, m)
	}
	text := fmt.Sprintf(`
Each value is the median of %s. Behind it, in brackets, stands how many times that of ours it
is, and how many times that of the floor, which is no library; for Upgrade that is the bare hijack, and of
allocations the difference to it. How it is measured, and each peer used, says the
[README](README.md#libraries).

**Bold** is what is better than ours by the rule: the median is lower by more than 2 %% over at least ten rounds, with p < 0.05 in a
Mann-Whitney U test.`, rounds(least, most))
	if least < enoughRounds {
		text += fmt.Sprintf(" **Where there are fewer than %d rounds, as here, nothing is decided:** there a median that is lower by more than 2 %% is bold.", enoughRounds)
	}
	return text + "\n"
}

func rounds(least, most int) string {
	switch {
	case most == 1:
		return "one round"
	case least == most:
		return fmt.Sprintf("%d rounds", least)
	}
	return fmt.Sprintf("%d to %d rounds", least, most)
}

// losses lists the cells that ours loses, each way of using it by itself.
func losses(r *results) string {
	var summary, lists strings.Builder
	for _, s := range sections {
		for _, unit := range s.units {
			l := newLosses(r.of(s.benchmark), unit)
			title := s.title + ", " + unitNames[unit]
			summary.WriteString(l.summary(title))
			lists.WriteString(l.list(title))
		}
	}
	out := "| | | cells | lost | of them to a library that leaves nothing out |\n|---|---|---:|---:|---:|\n" + summary.String()
	if lists.Len() == 0 {
		return out + "\nNo cell.\n"
	}
	return out + "\nTo whom, and how many times ours that has. ° leaves something out that ours does: the UTF-8 check where text is read, or the lock for writers.\n" + lists.String()
}

// A lossTable has the cells of one benchmark and unit.
type lossTable struct {
	cells []*cell
	ours  []string           // the ways of using ours
	lost  map[loss][]verdict // what is not empty
}

type loss struct {
	*cell
	ours string
}

func newLosses(cells []*cell, unit string) lossTable {
	l := lossTable{cells: cells, lost: map[loss][]verdict{}}
	for _, p := range peers.All {
		if isOurs(p.Name) && slices.ContainsFunc(cells, func(c *cell) bool { return c.values[p.Name] != nil }) {
			l.ours = append(l.ours, p.Name)
		}
	}
	for _, c := range cells {
		for _, ours := range c.ours() {
			if verdicts := c.lostTo(ours, unit); len(verdicts) > 0 {
				l.lost[loss{c, ours}] = verdicts
			}
		}
	}
	return l
}

// summary returns a row for each of ours.
func (l lossTable) summary(title string) string {
	var b strings.Builder
	for _, ours := range l.ours {
		cells, lost, lostToWhole := 0, 0, 0
		for _, c := range l.cells {
			if c.values[ours] == nil {
				continue
			}
			cells++
			verdicts := l.lost[loss{c, ours}]
			if len(verdicts) > 0 {
				lost++
			}
			if slices.ContainsFunc(verdicts, func(v verdict) bool { return v.whole }) {
				lostToWhole++
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %d | %d | %d |\n", title, ours, cells, lost, lostToWhole)
	}
	return b.String()
}

// list returns a table of the cells that are lost.
func (l lossTable) list(title string) string {
	if len(l.lost) == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n**%s**\n\n| |", title)
	for _, ours := range l.ours {
		fmt.Fprintf(&b, " %s |", ours)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(l.ours)) + "\n")
	for _, c := range l.cells {
		if !slices.ContainsFunc(l.ours, func(ours string) bool { return l.lost[loss{c, ours}] != nil }) {
			continue
		}
		fmt.Fprintf(&b, "| %s |", cmp.Or(c.describe(), "a connection"))
		for _, ours := range l.ours {
			fmt.Fprintf(&b, " %s |", describeVerdicts(l.lost[loss{c, ours}]))
		}
		b.WriteString("\n")
	}
	return b.String()
}

// describeVerdicts names the peers, the best one first.
func describeVerdicts(verdicts []verdict) string {
	slices.SortStableFunc(verdicts, func(a, b verdict) int { return cmp.Compare(a.ratio, b.ratio) })
	var list []string
	for _, v := range verdicts {
		mark := ""
		if !v.whole {
			mark = "°"
		}
		list = append(list, fmt.Sprintf("%s%s %.2f", v.peer, mark, v.ratio))
	}
	return strings.Join(list, ", ")
}

// document returns the chapter of s.
func (s section) document(r *results) string {
	groups := s.groups(r)
	if len(groups) == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n## %s\n\n%s %s.\n", s.title, s.text, rounds(r.rounds(s.benchmark, s.units[0])))
	for _, g := range groups {
		if g.title != "" {
			fmt.Fprintf(&b, "\n### %s, %s\n", s.title, g.title)
		}
		fmt.Fprintf(&b, "\n%s", g.table())
		if rest := g.rest(); rest != "" {
			fmt.Fprintf(&b, "\n%s", rest)
		}
	}
	return b.String()
}

// peerTable says how each peer that was measured is used.
func peerTable(r *results) string {
	var b strings.Builder
	b.WriteString("| | |\n|---|---|\n")
	for _, p := range peers.All {
		if slices.ContainsFunc(r.cells, func(c *cell) bool { return c.values[p.Name] != nil }) {
			fmt.Fprintf(&b, "| %s | %s |\n", p.Name, p.Notes)
		}
	}
	return b.String()
}
