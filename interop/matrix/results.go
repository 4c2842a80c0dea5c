package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// results are the columns of the table, and what they were made with.
type results struct {
	script  []exchange
	peers   []peer
	columns []*column
}

func (r *results) failures() int {
	n := 0
	for _, c := range r.columns {
		n += c.failures()
	}
	return n
}

// notes are the footnotes, numbered from 1.
type notes []string

// mark returns the mark of a footnote, which is added if it isn't there.
func (n *notes) mark(text string) string {
	i := slices.Index(*n, text)
	if i < 0 {
		i = len(*n)
		*n = append(*n, text)
	}
	return superscript(i + 1)
}

func superscript(n int) string {
	digits := []rune("⁰¹²³⁴⁵⁶⁷⁸⁹")
	var b strings.Builder
	for _, d := range strconv.Itoa(n) {
		b.WriteRune(digits[d-'0'])
	}
	return b.String()
}

// text returns what stands in the cell.
func (c cell) text(n *notes) string {
	var marks []string
	for _, note := range c.notes {
		marks = append(marks, n.mark(note))
	}
	switch all := strings.Join(marks, " "); {
	case c.err != nil:
		return "FAIL"
	case !c.done:
		return "–" + all
	default:
		return "ok" + all
	}
}

// render writes the tables, the footnotes and the errors.
func (r *results) render(w io.Writer) {
	var n notes
	header := []string{"", "exchange"}
	for _, c := range r.columns {
		header = append(header, c.title())
	}
	rows := [][]string{header}
	for i, e := range r.script {
		row := []string{strconv.Itoa(i + 1), e.name}
		for _, c := range r.columns {
			row = append(row, c.cells[i].text(&n))
		}
		rows = append(rows, row)
	}
	writeTable(w, rows)
	fmt.Fprintln(w)
	for i, text := range n {
		fmt.Fprintf(w, "%s %s.  \n", superscript(i+1), text)
	}
	r.renderErrors(w)
	fmt.Fprint(w, differences)
	r.renderSeen(w)
}

func (r *results) renderErrors(w io.Writer) {
	for _, c := range r.columns {
		for i, cell := range c.cells {
			if cell.err != nil {
				fmt.Fprintf(w, "\nFAIL %s, %s: %v\n", c.title(), r.script[i].name, cell.err)
			}
		}
	}
}

const differences = `
## What differs

Nothing of this keeps two libraries from talking to each other. Some send a long message in several frames. Some answer
a Close with its code and reason, some with its code only. And not all agree to a small window.

`

// renderSeen writes what users of both libraries might want to know.
func (r *results) renderSeen(w io.Writer) {
	rows := [][]string{{"", "frames for 1 MiB", "answer to our Close 4000", "windows of 9 bits: offer, or response to ours"}}
	for _, c := range r.columns {
		rows = append(rows, []string{c.title(), frames(c.seen.frames), orDash(c.seen.close), code(c.seen.windows)})
	}
	writeTable(w, rows)
}

// frames returns a number that is the same in each run.
func frames(n int) string {
	switch n {
	case 0:
		return "–"
	case 1:
		return "one"
	default:
		return "several"
	}
}

func orDash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

func code(s string) string {
	if s == "" {
		return "–"
	}
	return "`" + s + "`"
}

// writeTable writes a table in Markdown.
func writeTable(w io.Writer, rows [][]string) {
	for i, row := range rows {
		fmt.Fprintf(w, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			fmt.Fprintf(w, "|%s\n", strings.Repeat(" --- |", len(row)))
		}
	}
}

const introduction = `# Interop matrix

Package websocket and programs made with other libraries, in both roles where the library has both: ` + "`ws → us`" + ` is a
client made with ws and a server of ours, ` + "`us → ws`" + ` the other way round. Each exchange has a fresh connection, or two. This
file is written by

    go run ./interop/matrix -write

and [README.md](README.md) says what it needs.

## Versions

`

// document returns the text of RESULTS.md.
func (r *results) document() []byte {
	var b bytes.Buffer
	b.WriteString(introduction)
	for _, p := range r.peers {
		fmt.Fprintf(&b, "- %s: %s\n", p.name, p.version)
	}
	b.WriteString("\n## Results\n\n`ok` is what it should be, but for what a footnote says, `–` what the library has no way to do.\n\n")
	r.render(&b)
	return b.Bytes()
}

func (r *results) write(file string) error { return os.WriteFile(file, r.document(), 0o666) }

// check compares the results with those in a file.
func (r *results) check(file string) error {
	want, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return compare(withoutVersions(r.document()), withoutVersions(want))
}

// withoutVersions returns the lines behind the versions.
func withoutVersions(document []byte) []string {
	_, results, _ := strings.Cut(string(document), "\n## Results\n")
	return strings.Split(results, "\n")
}

// compare returns an error with the lines that are not the same.
func compare(got, want []string) error {
	var differences []error
	for i := range max(len(got), len(want)) {
		if g, w := line(got, i), line(want, i); g != w {
			differences = append(differences, fmt.Errorf("got  %s\nwant %s", g, w))
		}
	}
	if differences == nil {
		return nil
	}
	return errors.Join(append([]error{errors.New("the results are not those of RESULTS.md")}, differences...)...)
}

func line(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return ""
}
