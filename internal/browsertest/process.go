package browsertest

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// A Process is a program that a test has started.
type Process struct {
	*exec.Cmd
	t     *testing.T
	lines chan string // what it prints
}

// Run starts cmd. When the test ends, so does the process, with all of its children that share its
// output.
func Run(t *testing.T, cmd *exec.Cmd) *Process {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	err = cmd.Start()
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	p := &Process{cmd, t, make(chan string, 1000)}
	go func() {
		defer close(p.lines)
		defer r.Close()
		for s := bufio.NewScanner(r); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		for range p.lines {
		}
	})
	return p
}

// Expect waits for a line that matches pattern, and returns the match of its first group, if it has
// one.
func (p *Process) Expect(pattern string) string {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	for line := range p.lines {
		p.t.Log(line)
		if match := re.FindStringSubmatch(line); match != nil {
			return match[len(match)-1]
		}
	}
	p.t.Fatalf("%s has not printed %q", filepath.Base(p.Path), pattern)
	return ""
}

// Interrupt interrupts the process, and waits for its end, which has to be a success.
func (p *Process) Interrupt() {
	p.t.Helper()
	if err := p.Process.Signal(os.Interrupt); err != nil {
		p.t.Fatal(err)
	}
	if err := p.Wait(); err != nil {
		p.t.Errorf("%s: %v", filepath.Base(p.Path), err)
	}
}

// Build builds the package in the working directory, and returns the program.
func Build(ctx context.Context, t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "program")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return program
}
