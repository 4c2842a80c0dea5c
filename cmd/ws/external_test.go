//go:build external

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A screen is a terminal, of tmux, with a shell in it that knows this program as ws.
type screen struct {
	t      *testing.T
	socket string
}

func newScreen(t *testing.T, columns int) *screen {
	t.Helper()
	dir := t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\n%s=1 exec '%s' \"$@\"\n", asProgram, os.Args[0])
	if err := os.WriteFile(filepath.Join(dir, "ws"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	s := &screen{t, filepath.Join(dir, "tmux")}
	s.tmux("-f", os.DevNull, "new-session", "-d", "-x", fmt.Sprint(columns), "-y", "40", "sh")
	t.Cleanup(func() { s.tmux("kill-server") })
	s.enter("PATH='" + dir + "':$PATH PS1='ready> '; clear")
	s.await(`^ready>\n$`)
	return s
}

func (s *screen) tmux(args ...string) string {
	s.t.Helper()
	cmd := exec.Command("tmux", append([]string{"-S", s.socket}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("tmux %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// enter types a line.
func (s *screen) enter(line string) {
	s.t.Helper()
	s.tmux("send-keys", "-l", line)
	s.press("Enter")
}

func (s *screen) press(key string) {
	s.t.Helper()
	s.tmux("send-keys", key)
}

// text returns what is on the screen, and with the escape sequences for colours if that is asked for.
func (s *screen) text(colours bool) string {
	s.t.Helper()
	args := []string{"capture-pane", "-p"}
	if colours {
		args = append(args, "-e")
	}
	return strings.TrimRight(s.tmux(args...), "\n") + "\n"
}

// await waits until what is on the screen matches pattern.
func (s *screen) await(pattern string) {
	s.t.Helper()
	re := regexp.MustCompile(pattern)
	for deadline := time.Now().Add(patience); !re.MatchString(s.text(false)); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("%q is not on the screen:\n%s", pattern, s.text(false))
		}
	}
}

func TestScreenConnect(t *testing.T) {
	url := newTestServer(t)
	s := newScreen(t, 200)
	s.enter("ws connect -x first " + url + "; echo status $?")
	s.await(`\nconnected to ws://\S+\nfirst\n$`)
	s.enter("typed")
	s.await(`\nfirst\ntyped\ntyped\n$`) // by the terminal, and by the server
	coloured := s.text(true)
	for _, want := range []string{"\x1b[2mconnected to ", "first", "\x1b[36mtyped"} {
		if !strings.Contains(coloured, want) {
			t.Errorf("the screen lacks %q:\n%q", want, coloured)
		}
	}
	s.press("C-d")
	s.await(`\nclosed with 1000 \(normal closure\)\nstatus 0\nready>`)
}

func TestScreenInterrupted(t *testing.T) {
	s := newScreen(t, 200)
	s.enter("ws listen 127.0.0.1:0; echo status $?")
	s.await(`\nlistening on ws://127\.0\.0\.1:\d+/\n$`)
	s.press("C-c")
	s.await(`\n\^Cstatus 0\nready>`)
	s.enter("clear; ws connect " + newTestServer(t) + "; echo status $?")
	s.await(`connected to`)
	s.press("C-c")
	s.await(`\n\^Cclosed with 1000 \(normal closure\)\nstatus 0\nready>`)
}

// What does not go to the terminal has no colours, and only messages go into the pipe.
func TestScreenPipe(t *testing.T) {
	s := newScreen(t, 200)
	s.enter("ws connect -x first -n 1 " + newTestServer(t) + " | cat -A; NO_COLOR=1 ws connect -n 2 '" +
		newTestServer(t) + "/say?text=plain&binary=a'")
	s.await(`\nfirst\$\n(.*\n)*plain\n61\nclosed`)
	if coloured := s.text(true); !strings.Contains(coloured, "\nplain\n61\nclosed") {
		t.Errorf("there are colours: %q", coloured)
	}
}

func TestScreenReconnect(t *testing.T) {
	addr, stop := serveAt(t, "127.0.0.1:0")
	s := newScreen(t, 200)
	s.enter("clear; ws connect -reconnect " + addr)
	s.await(`^connected to ws://`)
	stop()
	s.await(`\nws: connection lost.*; connecting again in \d.*\n`)
	s.await(`\nws: could not connect: .*; connecting again in \d.*\n`)
	s.enter("typed meanwhile")
	_, stop = serveAt(t, addr)
	defer stop()
	s.await(`\ntyped meanwhile\n(ws: .*\n)*connected to .*\ntyped meanwhile\n$`)
	s.press("C-c")
	s.await(`\n\^Cclosed with 1000`)
}

// The progress of a measurement is one line, also in a window that is narrower.
func TestScreenBench(t *testing.T) {
	s := newScreen(t, 50)
	s.enter("clear; ws bench -c 3 -m 100 -d 3s " + newTestServer(t))
	s.await(`^\d\S*s  3 of 3 open  [1-9]\d* sent  [1-9]\d* recei`)
	for range 10 {
		if screen := s.text(false); strings.Count(screen, "\n") != 1 && !strings.Contains(screen, "p99.9") {
			t.Fatalf("the progress takes more than a line:\n%s", screen)
		}
		time.Sleep(20 * time.Millisecond)
	}
	s.tmux("resize-window", "-x", "120")
	s.await(`^\d\S*s  3 of 3 open  \d+ sent  \d+ received  p50 \S+  p99 \S+\n$`)
	s.await(`^ws://\S+, echo, 3\.0 s\n\nconnections  3 of 3 opened, 0 lost\n(.*\n)+  up to .*%\nready>`)
}
