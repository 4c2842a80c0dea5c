//go:build unix

package main

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidewire/websocket"
)

// Commands need the tools of POSIX, wherever PATH leads.
func init() { os.Setenv("PATH", os.Getenv("PATH")+":/usr/bin:/bin") }

func TestExec(t *testing.T) {
	c, url := listen(t, "-exec", `while read line; do echo "<$line>"; echo "$line" >&2; done; printf last`)
	p := dial(t, url)
	p.send(typeText, "hello")
	p.expect(typeText, "<hello>")
	c.err.await(t, "hello\n")
	p.send(typeText, "two\nlines")
	p.expect(typeText, "<two>")
	p.expect(typeText, "<lines>")
	p.send(typeBinary, "\x00\xff")
	p.expect(typeText, "<00ff>")
	another := dial(t, url)
	another.send(typeText, "mine")
	another.expect(typeText, "<mine>")
	c.stop()
	p.expectClose(websocket.StatusGoingAway)
	another.expectClose(websocket.StatusGoingAway)
	c.wait(exitOK)
}

// The connection ends with the process, after its last line.
func TestExecEnds(t *testing.T) {
	for command, code := range map[string]websocket.StatusCode{
		"printf 'a\\nb'":         websocket.StatusNormalClosure,
		"printf 'a\\nb'; exit 3": websocket.StatusInternalError,
	} {
		c, url := listen(t, "-exec", command)
		p := dial(t, url)
		p.expect(typeText, "a")
		p.expect(typeText, "b")
		p.expectClose(code)
		if code == websocket.StatusInternalError {
			c.err.await(t, "-exec: exit status 3\n")
		}
		c.stop()
		c.wait(exitOK)
	}
	c, url := listen(t, "-exec", `printf '\377\n'`)
	p := dial(t, url)
	p.expect(typeBinary, "\xff")
	p.expectClose(websocket.StatusNormalClosure)
	c.stop()
	c.wait(exitOK)
}

// A process may do what it has to do when the connection has ended; then it is told to end, and
// then it is killed, with its children.
func TestExecKilled(t *testing.T) {
	t.Parallel() // it waits
	file := filepath.Join(t.TempDir(), "f")
	c, url := listen(t, "-exec", "cat >"+file)
	p := dial(t, url)
	p.send(typeText, "hello")
	p.Close(websocket.StatusNormalClosure, "")
	c.err.await(t, "closed by the client")
	if data, err := os.ReadFile(file); string(data) != "hello\n" || err != nil {
		t.Errorf("the process has %q, %v", data, err)
	}
	c.stop()
	c.wait(exitOK)

	c, url = listen(t, "-exec", `(trap 'echo told >>`+file+`; exit' TERM; echo here; while sleep 0.01; do :; done) & wait`)
	p = dial(t, url)
	p.expect(typeText, "here")
	p.CloseNow()
	c.stop()
	c.wait(exitOK)
	if data, err := os.ReadFile(file); string(data) != "hello\ntold\n" || err != nil {
		t.Errorf("the child has %q, %v", data, err)
	}

	for _, command := range []string{
		"sleep 1000 & echo $!; wait",
		"trap '' TERM; sleep 1000 & echo $!; wait",
		"sleep 1000 & echo $!; exec >&-; exec 0<&-; sleep 1000",
	} {
		c, url := listen(t, "-exec", command)
		p := dial(t, url)
		_, pid, err := p.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		p.send(typeText, "nobody reads this")
		p.CloseNow()
		awaitDeath(t, string(pid))
		c.stop()
		c.wait(exitOK)
	}
}

// awaitDeath waits until there is no such process.
func awaitDeath(t *testing.T, pid string) {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(pid))
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); !isDead(n); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			syscall.Kill(n, syscall.SIGKILL)
			t.Fatalf("process %d is still there", n)
		}
	}
}

// isDead reports whether there is no such process, or one that nobody has asked for its status.
func isDead(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return true
	}
	stat, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return strings.Contains(string(stat), ") Z ")
}

// A process that does not read does not keep the server from ending.
func TestExecStuck(t *testing.T) {
	t.Parallel() // it waits
	c, url := listen(t, "-exec", "sleep 1000")
	p := dial(t, url)
	p.send(typeText, strings.Repeat("x", 1<<20-1)) // more than a pipe holds
	c.err.await(t, " connected\n")
	c.stop()
	c.wait(exitOK)
}

func TestExecFails(t *testing.T) {
	c, url := listen(t, "-exec", "exit 127")
	dial(t, url).expectClose(websocket.StatusInternalError)
	c.err.await(t, "-exec: exit status 127\n")
	c.stop()
	c.wait(exitOK)
}
