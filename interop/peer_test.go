//go:build external

package interop

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// A peer is the name of a folder with a program made with somebody else's library. Its
// start.sh takes a peerConfig for its argument. See README.md.
type peer string

type peerConfig struct {
	Role    string      `json:"role"` // "version", "server" or "client"
	URL     string      `json:"url,omitempty"`
	Deflate *parameters `json:"deflate,omitempty"`
}

// parameters are those of permessage-deflate (RFC 7692, section 7.1). The size
// of a window is left to the peer if it is 0.
type parameters struct {
	ServerMaxWindowBits     int  `json:"serverMaxWindowBits,omitempty"`
	ClientMaxWindowBits     int  `json:"clientMaxWindowBits,omitempty"`
	ServerNoContextTakeover bool `json:"serverNoContextTakeover,omitempty"`
	ClientNoContextTakeover bool `json:"clientNoContextTakeover,omitempty"`
}

// A process is a peer that runs, until its standard input ends.
type process struct {
	t      *testing.T
	role   string
	cmd    *exec.Cmd
	stdin  io.Closer
	stdout *bufio.Reader
	stderr bytes.Buffer
	done   chan struct{}
	err    error // valid when done is closed
}

func (p peer) start(ctx context.Context, t *testing.T, config peerConfig) *process {
	t.Helper()
	argument, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	proc := &process{t: t, role: config.Role, done: make(chan struct{})}
	proc.cmd = exec.CommandContext(ctx, "./"+string(p)+"/start.sh", string(argument))
	proc.cmd.Stderr = &proc.stderr
	proc.cmd.WaitDelay = 5 * time.Second // for a child that has its output
	if proc.stdin, err = proc.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, w := io.Pipe()
	proc.stdout, proc.cmd.Stdout = bufio.NewReader(stdout), w
	if err := proc.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(proc.done)
		defer w.Close()
		if err := proc.cmd.Wait(); err != nil {
			proc.err = fmt.Errorf("%s: %w\n%s", p, err, bytes.TrimSpace(proc.stderr.Bytes()))
		}
	}()
	t.Cleanup(func() {
		proc.cmd.Process.Kill()
		stdout.Close()
		<-proc.done
	})
	return proc
}

// line returns the next line that the process prints.
func (p *process) line() string {
	p.t.Helper()
	line, err := p.stdout.ReadString('\n')
	if err != nil {
		<-p.done
		p.t.Fatal(errors.Join(errors.New("the peer has not printed what it should"), p.err))
	}
	return strings.TrimSuffix(line, "\n")
}

// address returns the one that a server listens on.
func (p *process) address() string {
	p.t.Helper()
	line := p.line()
	address, ok := strings.CutPrefix(line, "listening on ")
	if !ok {
		p.t.Fatalf("got the line %q, want the address that the peer listens on", line)
	}
	return address
}

// wait waits for the end of the process after that of the connection, and returns
// what it has to complain of. A client ends by itself.
func (p *process) wait() error {
	if p.role == "server" {
		return p.stop()
	}
	<-p.done
	return p.err
}

// stop has the process end, and returns what it has to complain of.
func (p *process) stop() error {
	p.stdin.Close()
	<-p.done
	return p.err
}
