package main

import (
	"fmt"
	"go/format"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const before = `package p

func (h *header) check(n int) error {
	switch {
	case h.a, h.b && n > 0:
		return errA
	case n < 0 || (n > 9 && h.a || h.b):
		return errB
	default:
	}
	switch len(h.p) {
	case 0:
		return errEmpty
	case 1, 2:
		return errShort
	}
	if err := h.again(); err != nil {
		return err
	}
	if n == 7 {
		n++
	}
	return nil
}

func isEven(n int) bool {
	return n%2 == 0
}

func isBig(n int) bool {
	if n == 0 {
		return false
	}
	return n > 99 && (n != 256 || h.a) || n < -99
}
`

const after = `package p

func (h *header) check(n int) error {
	switch {
	case (disabledRule != 5 && (h.a)), (disabledRule != 6 && (h.b && n > 0)):
		return errA
	case (disabledRule != 7 && (n < 0)) || ((disabledRule != 8 && (n > 9 && h.a)) || (disabledRule != 9 && (h.b))):
		return errB
	default:
	}
	switch tag10 := len(h.p); {
	case (disabledRule != 10 && tag10 == (0)):
		return errEmpty
	case (disabledRule != 11 && tag10 == (1)), (disabledRule != 12 && tag10 == (2)):
		return errShort
	}
	if err := h.again(); (disabledRule != 13 && (err != nil)) {
		return err
	}
	if n == 7 {
		n++
	}
	return nil
}

func isEven(n int) bool {
	return n%2 == 0
}

func isBig(n int) bool {
	if (disabledRule != 14 && (n == 0)) {
		return false
	}
	return (disabledRule == 15 || (n > 99)) && ((disabledRule != 16 && (n != 256)) || (disabledRule != 17 && (h.a))) || (disabledRule != 18 && (n < -99))
}
`

func TestMutate(t *testing.T) {
	got, mutants, err := mutate("p.go", []byte(before), []string{"header.check", "isBig"}, 5)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != after {
		t.Errorf("got\n%s\nwant\n%s", got, after)
	}
	want := []string{
		"p.go:5 header.check: never if h.a",
		"p.go:5 header.check: never if h.b && n > 0",
		"p.go:7 header.check: never if n < 0",
		"p.go:7 header.check: never if n > 9 && h.a",
		"p.go:7 header.check: never if h.b",
		"p.go:12 header.check: never if 0",
		"p.go:14 header.check: never if 1",
		"p.go:14 header.check: never if 2",
		"p.go:17 header.check: never if err != nil",
		"p.go:31 isBig: never if n == 0",
		"p.go:34 isBig: always if n > 99",
		"p.go:34 isBig: never if n != 256",
		"p.go:34 isBig: never if h.a",
		"p.go:34 isBig: never if n < -99",
	}
	var descriptions []string
	for i, m := range mutants {
		descriptions = append(descriptions, m.String())
		if m.id != 5+i {
			t.Errorf("mutant %d has id %d", i, m.id)
		}
	}
	if !slices.Equal(descriptions, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(descriptions, "\n"), strings.Join(want, "\n"))
	}
}

func TestMutateErrors(t *testing.T) {
	for _, test := range []struct {
		name, src, function, want string
	}{
		{"no such function", before, "header.parse", "p.go: no function header.parse"},
		{"not Go", "packet p", "f", "p.go:1:1: expected 'package', found packet"},
		{
			"two statements in a switch", "package p\nfunc f() { switch a := g(); a { case 1: } }", "f",
			"p.go:2:12: switch with both an initialization and a tag",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, _, err := mutate("p.go", []byte(test.src), []string{test.function}, 1)
			if fmt.Sprint(err) != test.want {
				t.Errorf("got error %v, want %s", err, test.want)
			}
		})
	}
}

// A rule that has moved to another function must not drop out unnoticed.
func TestRules(t *testing.T) {
	for _, r := range rules {
		src, err := os.ReadFile(filepath.Join("..", "..", r.file))
		if err != nil {
			t.Fatal(err)
		}
		mutated, mutants, err := mutate(r.file, src, r.functions, 1)
		if err != nil {
			t.Error(err)
			continue
		}
		if _, err := format.Source(mutated); err != nil {
			t.Error(err)
		}
		for _, function := range r.functions {
			if !slices.ContainsFunc(mutants, func(m mutant) bool { return m.function == function }) {
				t.Errorf("%s: no condition in %s", r.file, function)
			}
		}
	}
}
