package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tidewire/websocket"
)

func TestScriptHasTwentyExchanges(t *testing.T) {
	names := make(map[string]bool)
	for _, e := range script() {
		names[e.name] = true
		if len(e.connections) == 0 {
			t.Errorf("%s: no connection", e.name)
		}
	}
	if len(names) != 20 || len(script()) != 20 {
		t.Errorf("got %d exchanges with %d names, want 20", len(script()), len(names))
	}
}

func exampleResults() *results {
	c := &column{
		peer:  peer{name: "example"},
		role:  "client",
		seen:  seen{frames: 3, close: "1000", windows: "permessage-deflate"},
		cells: []cell{{done: true}, {done: true, notes: []string{"no cuts", "no codes"}}, {notes: []string{"no codes"}}, {done: true, err: errors.New("broken")}},
	}
	return &results{
		script:  []exchange{{name: "a"}, {name: "b"}, {name: "c"}, {name: "d"}},
		peers:   []peer{{name: "example", version: "example 1.2"}},
		columns: []*column{c},
	}
}

func TestRender(t *testing.T) {
	const want = `|  | exchange | example → us |
| --- | --- | --- |
| 1 | a | ok |
| 2 | b | ok¹ ² |
| 3 | c | –² |
| 4 | d | FAIL |

¹ no cuts.  
² no codes.  

FAIL example → us, d: broken
` + differences + `|  | frames for 1 MiB | answer to our Close 4000 | windows of 9 bits: offer, or response to ours |
| --- | --- | --- | --- |
| example → us | several | 1000 | ` + "`permessage-deflate`" + ` |
`
	var b strings.Builder
	r := exampleResults()
	r.render(&b)
	if got := b.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := r.failures(); got != 1 {
		t.Errorf("got %d failures, want 1", got)
	}
}

func TestSuperscript(t *testing.T) {
	for n, want := range map[int]string{1: "¹", 10: "¹⁰", 23: "²³"} {
		if got := superscript(n); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
}

// Another version is no difference, another cell is one.
func TestCheck(t *testing.T) {
	file := filepath.Join(t.TempDir(), "RESULTS.md")
	r := exampleResults()
	if err := r.check(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a file: got %v", err)
	}
	if err := r.write(file); err != nil {
		t.Fatal(err)
	}
	r.peers[0].version = "example 1.3"
	if err := r.check(file); err != nil {
		t.Errorf("another version: got %v", err)
	}
	r.columns[0].cells[0] = cell{notes: []string{"no codes"}}
	err := r.check(file)
	if err == nil || !strings.Contains(err.Error(), "| 1 | a | –") {
		t.Errorf("another cell: got %v", err)
	}
}

func TestMessages(t *testing.T) {
	got := messages([]websocket.Frame{
		{Opcode: opText, PayloadLength: 5, Compressed: true},
		{Opcode: opPing, PayloadLength: 9, Fin: true},
		{Opcode: opContinuation, PayloadLength: 2, Fin: true},
		{Opcode: opBinary, Fin: true},
	})
	if want := []message{{2, 7, true}, {1, 0, false}}; !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// Footnotes are for what a peer's library can't do.
func TestCan(t *testing.T) {
	c := &column{peer: peer{cannot: map[string]string{"cut": "no cuts"}}}
	var got cell
	if !c.can("ping", &got) || got.notes != nil {
		t.Errorf("ping: got %v", got.notes)
	}
	for range 2 {
		if c.can("cut", &got) || !slices.Equal(got.notes, []string{"no cuts"}) {
			t.Errorf("cut: got %v", got.notes)
		}
	}
}
