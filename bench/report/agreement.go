package main

import (
	"cmp"
	"fmt"
	"strings"
)

// agreement says which cells some of the runs lose and others don't, or nothing of a single run.
func agreement(runs []*results) string {
	if len(runs) < 2 {
		return ""
	}
	cells, agreed := 0, 0
	var rows strings.Builder
	for _, s := range sections {
		for _, unit := range s.units {
			var lost []map[string]string // of each run: the cells, and to whom
			for _, r := range runs {
				lost = append(lost, lostCells(r.of(s.benchmark), unit))
			}
			for _, c := range runs[0].of(s.benchmark) {
				for _, ours := range c.ours() {
					cells++
					name := cmp.Or(c.describe(), "a connection") + " | " + ours
					if n := lostIn(lost, name); n == 0 || n == len(runs) {
						agreed++
						continue
					}
					fmt.Fprintf(&rows, "| %s, %s | %s |", s.title, unitNames[unit], name)
					for _, l := range lost {
						fmt.Fprintf(&rows, " %s |", cmp.Or(l[name], "–"))
					}
					rows.WriteString("\n")
				}
			}
		}
	}
	text := fmt.Sprintf("\n## The runs by themselves\n\nThese are %d runs, one after the other on the same machine. By itself, each says the same as the others "+
		"of %d of %d cells: that it is lost, or that it is not.", len(runs), agreed, cells)
	if rows.Len() == 0 {
		return text + "\n"
	}
	text += " Of these they do not; the machine has its moods, and the table above is that of all rounds together:\n\n| | | |"
	for i := range runs {
		text += fmt.Sprintf(" run %d |", i+1)
	}
	return text + "\n|---|---|---|" + strings.Repeat("---|", len(runs)) + "\n" + rows.String()
}

// lostCells returns the cells that are lost, and to whom.
func lostCells(cells []*cell, unit string) map[string]string {
	lost := make(map[string]string)
	for _, c := range cells {
		for _, ours := range c.ours() {
			if verdicts := c.lostTo(ours, unit); len(verdicts) > 0 {
				lost[cmp.Or(c.describe(), "a connection")+" | "+ours] = describeVerdicts(verdicts)
			}
		}
	}
	return lost
}

// lostIn returns in how many of the runs the cell of that name is lost.
func lostIn(lost []map[string]string, name string) (n int) {
	for _, l := range lost {
		if l[name] != "" {
			n++
		}
	}
	return n
}
