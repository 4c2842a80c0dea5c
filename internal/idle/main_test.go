package main

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

// TestMain is the process of a server if it is started as one.
func TestMain(m *testing.M) {
	if os.Getenv(serverVariable) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestRun(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), &out, 50, ""); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 1+len(servers) {
		t.Fatalf("got\n%s", out.String())
	}
	for i, line := range lines[1:] {
		fields := strings.Fields(line)
		if len(fields) != 5 || fields[0] != servers[i].name {
			t.Fatalf("got line %q, want one for %s", line, servers[i].name)
		}
		for _, field := range fields[1:3] {
			if n, err := strconv.Atoi(field); err != nil || n <= 0 {
				t.Errorf("got %q bytes in %q", field, line)
			}
		}
	}
}
