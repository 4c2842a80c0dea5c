// Command report reads what go test -bench printed in several rounds, and writes the tables and
// charts of the results.
//
//	go run ./report -o RESULTS.md -charts charts rounds.txt
//
// Of several files, each of a run, it takes all rounds together, and says what the runs say by themselves.
package main

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("report: ")
	out := flag.String("o", "RESULTS.md", "the `file` for the tables")
	charts := flag.String("charts", "charts", "the `folder` for the charts, beside the tables")
	flag.Parse()
	if err := run(flag.Args(), *out, *charts); err != nil {
		log.Fatal(err)
	}
}

// run reads the rounds, and writes the tables and the charts.
func run(rounds []string, out, charts string) error {
	if len(rounds) == 0 {
		return errors.New("no file with rounds")
	}
	r := newResults()
	var runs []*results
	for _, name := range rounds {
		run := newResults()
		if err := errors.Join(r.readFile(name), run.readFile(name)); err != nil {
			return err
		}
		runs = append(runs, run)
	}
	if len(r.cells) == 0 {
		return errors.New("there is no benchmark in the input")
	}
	pictures, err := writeCharts(r, filepath.Join(filepath.Dir(out), charts))
	if err != nil {
		return err
	}
	for i := range pictures {
		pictures[i].file = charts + "/" + pictures[i].file
	}
	return os.WriteFile(out, []byte(document(r, runs, pictures)), 0o644)
}

// A picture is a chart that was written.
type picture struct{ file, title string }

func writeCharts(r *results, dir string) ([]picture, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	var pictures []picture
	for _, c := range allCharts(r) {
		if len(c.panels) == 0 {
			continue
		}
		svg, err := c.svg()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
		file := c.name + ".svg"
		if err := os.WriteFile(filepath.Join(dir, file), svg, 0o644); err != nil {
			return nil, err
		}
		pictures = append(pictures, picture{file, c.title})
	}
	return pictures, nil
}
