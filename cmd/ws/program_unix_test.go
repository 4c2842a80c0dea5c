//go:build unix

package main

import (
	"bufio"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/tidewire/websocket"
)

// No stdin, as for a program that is started by another one without: it is as if it were empty.
func TestProgramWithoutStdin(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", `exec "$0" connect -q 0.2 "$1" <&-`, os.Args[0], newTestServer(t)+"/say?text=hello")
	cmd.Env = append(os.Environ(), asProgram+"=1")
	out, err := cmd.CombinedOutput()
	if string(out) != "hello\n\n" || err != nil {
		t.Errorf("got %q, %v", out, err)
	}
}

// The first signal brings about a closing handshake, the second one the end.
func TestProgramInterrupted(t *testing.T) {
	ends := make(chan error, 1)
	holds := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Upgrade(w, r)
		if err != nil {
			return
		}
		defer c.CloseNow()
		c.Write(t.Context(), websocket.MessageText, []byte("ready"))
		if r.URL.Path == "/holds" {
			<-holds
			return
		}
		_, _, err = c.Read(t.Context())
		ends <- err
	}))
	defer srv.Close()
	defer close(holds)

	cmd, out := started(t, "connect", srv.URL)
	await(t, out, "ready")
	cmd.Process.Signal(os.Interrupt)
	if status := exitStatus(t, cmd.Wait()); status != exitOK {
		t.Errorf("exit status %d", status)
	}
	if err := <-ends; websocket.CloseStatus(err) != websocket.StatusNormalClosure {
		t.Errorf("the server was told %v", err)
	}

	cmd, out = started(t, "connect", "-v", srv.URL+"/holds")
	await(t, out, "ready")
	cmd.Process.Signal(os.Interrupt)
	await(t, out, "> Close, 2 bytes") // there will be no answer
	cmd.Process.Signal(os.Interrupt)
	if status := exitStatus(t, cmd.Wait()); status != exitSignal {
		t.Errorf("exit status %d", status)
	}
}

func TestProgramListen(t *testing.T) {
	cmd, out := started(t, "listen", "127.0.0.1:0")
	url := strings.TrimPrefix(await(t, out, "listening on "), "listening on ")
	p := dial(t, url)
	p.send(typeText, "hello")
	p.expect(typeText, "hello")
	cmd.Process.Signal(syscall.SIGTERM)
	p.expectClose(websocket.StatusGoingAway)
	if status := exitStatus(t, cmd.Wait()); status != exitOK {
		t.Errorf("exit status %d", status)
	}
}

// A process that is started has its signals as in a shell.
func TestProgramExecPipe(t *testing.T) {
	cmd, out := started(t, "listen", "-exec", "while :; do echo y; done | head -1; echo done", "127.0.0.1:0")
	url := strings.TrimPrefix(await(t, out, "listening on "), "listening on ")
	p := dial(t, url)
	p.expect(typeText, "y")
	p.expect(typeText, "done")
	cmd.Process.Signal(syscall.SIGTERM)
	if status := exitStatus(t, cmd.Wait()); status != exitOK {
		t.Errorf("exit status %d", status)
	}
}

// Whoever reads the messages has seen enough, as head does.
func TestProgramBrokenPipe(t *testing.T) {
	ended := make(chan error, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Upgrade(w, r)
		if err != nil {
			return
		}
		defer c.CloseNow()
		go func() {
			_, _, err := c.Read(t.Context())
			ended <- err
		}()
		for c.Write(t.Context(), websocket.MessageText, []byte("more")) == nil {
		}
	}))
	defer srv.Close()
	cmd := program(t, "connect", "-q", "-1", srv.URL)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	await(t, bufio.NewScanner(io.LimitReader(r, 5)), "more")
	r.Close()
	if status := exitStatus(t, cmd.Wait()); status != exitOK || stderr.String() != "" {
		t.Errorf("exit status %d, stderr %q", status, &stderr)
	}
	if err := <-ended; websocket.CloseStatus(err) != websocket.StatusNormalClosure {
		t.Errorf("the server was told %v", err)
	}
}

// started starts the program with a stdin that stays open, and returns the lines that it prints.
func started(t *testing.T, args ...string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := program(t, args...)
	stdin, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, stdout, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		out.Close()
	})
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stdout
	err = cmd.Start()
	stdin.Close()
	stdout.Close()
	if err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewScanner(out)
}

// await reads lines until one begins with prefix, and returns that.
func await(t *testing.T, lines *bufio.Scanner, prefix string) string {
	t.Helper()
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), prefix) {
			return lines.Text()
		}
	}
	t.Fatalf("there is no %q", prefix)
	return ""
}
