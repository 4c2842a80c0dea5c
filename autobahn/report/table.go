package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The columns of the tables. Whatever else the suite may say is counted as
// FAILED.
var (
	behaviors      = []string{"OK", "INFORMATIONAL", "NON-STRICT", "UNIMPLEMENTED", "FAILED"}
	closeBehaviors = []string{"OK", "INFORMATIONAL", "WRONG CODE", "UNCLEAN", "FAILED BY CLIENT", "FAILED"}
)

var sectionNames = map[int]string{
	1:  "Framing",
	2:  "Pings and pongs",
	3:  "Reserved bits",
	4:  "Opcodes",
	5:  "Fragmentation",
	6:  "UTF-8 handling",
	7:  "Close handling",
	9:  "Limits and performance",
	10: "Miscellaneous",
	12: "Compression, different payloads",
	13: "Compression, different parameters",
}

// count counts the cases of each section by column.
func (r *run) count(columns []string, behavior func(result) string) map[int][]int {
	sections := make(map[int][]int)
	for id, res := range r.results {
		section := numbers(id)[0]
		if sections[section] == nil {
			sections[section] = make([]int, len(columns))
		}
		i := slices.Index(columns, behavior(res))
		if i < 0 {
			i = slices.Index(columns, "FAILED")
		}
		sections[section][i]++
	}
	return sections
}

// writeTable writes the counts of each section, and their sums, as a table
// that Markdown and a terminal both show.
func writeTable(w io.Writer, title string, columns []string, sections map[int][]int) {
	rows := [][]string{append([]string{title, "cases"}, columns...)}
	sums := make([]int, len(columns))
	for _, section := range slices.Sorted(maps.Keys(sections)) {
		rows = append(rows, row(fmt.Sprintf("%d %s", section, sectionNames[section]), sections[section]))
		for i, n := range sections[section] {
			sums[i] += n
		}
	}
	rows = append(rows, row("all", sums))

	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for i, row := range rows {
		for j, cell := range row {
			if j == 0 {
				fmt.Fprintf(w, "| %-*s ", widths[j], cell)
			} else {
				fmt.Fprintf(w, "| %*s ", widths[j], cell)
			}
		}
		fmt.Fprintln(w, "|")
		if i == 0 {
			writeRule(w, widths)
		}
	}
	fmt.Fprintln(w)
}

// writeRule writes the line below the head of a table: the first column
// stands to the left, the others to the right.
func writeRule(w io.Writer, widths []int) {
	for i, width := range widths {
		if i == 0 {
			fmt.Fprintf(w, "| %s ", strings.Repeat("-", width))
		} else {
			fmt.Fprintf(w, "| %s:", strings.Repeat("-", width))
		}
	}
	fmt.Fprintln(w, "|")
}

func row(title string, counts []int) []string {
	cells := []string{title, ""}
	sum := 0
	for _, n := range counts {
		sum += n
		cells = append(cells, strconv.Itoa(n))
	}
	cells[1] = strconv.Itoa(sum)
	return cells
}
