package main

import (
	"flag"
	"slices"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	for _, test := range []struct {
		args, operands, values []string
		on                     bool
	}{
		{[]string{"a", "-x", "1", "b"}, []string{"a", "b"}, []string{"1"}, false},
		{[]string{"--x=1", "a", "--x", "2"}, []string{"a"}, []string{"1", "2"}, false},
		{[]string{"-on", "a"}, []string{"a"}, nil, true},
		{[]string{"-on=false", "a"}, []string{"a"}, nil, false},
		{[]string{"-x", "--", "--", "-x", "y"}, []string{"-x", "y"}, []string{"--"}, false},
		{[]string{"-x", "-on"}, nil, []string{"-on"}, false},
		{[]string{"-x="}, nil, []string{""}, false},
		{[]string{"-", ""}, []string{"-", ""}, nil, false},
	} {
		fs := flag.NewFlagSet("", flag.ContinueOnError)
		var values list
		var on bool
		value(fs, &values, "x")
		toggle(fs, &on, "on")
		operands, err := parse(fs, test.args)
		if !slices.Equal(operands, test.operands) || !slices.Equal(values, test.values) || on != test.on || err != nil {
			t.Errorf("%q: got %q %q %v, %v", test.args, operands, values, on, err)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"abc", "abc", 0},
		{"abc", "abd", 1}, {"abc", "xabc", 1}, {"kitten", "sitting", 3},
	} {
		if got := distance(test.a, test.b); got != test.want {
			t.Errorf("from %q to %q: got %d, want %d", test.a, test.b, got, test.want)
		}
	}
}

func TestSpan(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"2": 2 * time.Second, "-1": -time.Second, "0.5": time.Second / 2, "1m30s": 90 * time.Second, "0": 0,
	} {
		var got span
		if err := got.Set(s); time.Duration(got) != want || err != nil {
			t.Errorf("%s: got %v, %v, want %v", s, time.Duration(got), err, want)
		}
	}
}

func TestCompleteURL(t *testing.T) {
	for s, want := range map[string]string{
		":8080":                    "ws://localhost:8080",
		":8080/a":                  "ws://localhost:8080/a",
		"localhost:8080":           "ws://localhost:8080",
		"example.com/a?u=http://b": "ws://example.com/a?u=http://b",
		"[::1]:80":                 "ws://[::1]:80",
		"ws://a":                   "ws://a",
		"wss://a":                  "wss://a",
		"http://a":                 "ws://a",
		"HTTPS://a":                "wss://a",
		"ftp://a":                  "ftp://a",
	} {
		if got := completeURL(s); got != want {
			t.Errorf("%s: got %s, want %s", s, got, want)
		}
	}
}
