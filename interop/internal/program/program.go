// Package program starts programs that are made with other libraries, for package websocket
// to talk to.
package program

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
	"time"
)

// A Command is a start.sh, and the arguments that come before the Config. README.md, two
// folders up, says what such a program does.
type Command []string

// A Config is what a program is told.
type Config struct {
	Role         string      `json:"role"` // "version", "server" or "client"
	URL          string      `json:"url,omitempty"`
	URLs         []string    `json:"urls,omitempty"`
	Deflate      *Parameters `json:"deflate,omitempty"`
	Subprotocols []string    `json:"subprotocols,omitempty"`
}

// Parameters are those of permessage-deflate (RFC 7692, section 7.1). The size
// of a window is left to the program if it is 0.
type Parameters struct {
	ServerMaxWindowBits     int  `json:"serverMaxWindowBits,omitempty"`
	ClientMaxWindowBits     int  `json:"clientMaxWindowBits,omitempty"`
	ServerNoContextTakeover bool `json:"serverNoContextTakeover,omitempty"`
	ClientNoContextTakeover bool `json:"clientNoContextTakeover,omitempty"`
}

// A Process is a program that runs, until its standard input ends.
type Process struct {
	role   string
	cmd    *exec.Cmd
	stdin  io.Closer
	stdout *io.PipeReader
	stderr bytes.Buffer
	lines  chan string
	done   chan struct{}
	err    error // valid when done is closed
}

// Start starts a program, which is killed when ctx ends.
func (c Command) Start(ctx context.Context, config Config) (*Process, error) {
	argument, err := json.Marshal(config)
	if err != nil {
		return nil, err
	}
	p := &Process{role: config.Role, lines: make(chan string, 100), done: make(chan struct{})}
	p.cmd = exec.CommandContext(ctx, c[0], append(c[1:len(c):len(c)], string(argument))...)
	p.cmd.Stderr = &p.stderr
	p.cmd.WaitDelay = 5 * time.Second // for a child that has its output
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, w := io.Pipe()
	p.stdout, p.cmd.Stdout = stdout, w
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go p.scan()
	go func() {
		defer close(p.done)
		if err := p.cmd.Wait(); err != nil {
			p.err = fmt.Errorf("%s: %w\n%s", strings.Join(c, " "), err, bytes.TrimSpace(p.stderr.Bytes()))
		}
		w.Close()
	}()
	return p, nil
}

func (p *Process) scan() {
	defer close(p.lines)
	for s := bufio.NewScanner(p.stdout); s.Scan(); {
		p.lines <- s.Text()
	}
}

// Lines returns a channel with the lines that the program prints. It is closed behind the last.
func (p *Process) Lines() <-chan string { return p.lines }

// Done returns a channel that is closed when the program has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err waits for the end of the program, and returns what it has to complain of.
func (p *Process) Err() error {
	<-p.done
	return p.err
}

// Line returns the next line that the program prints.
func (p *Process) Line() (string, error) {
	if line, ok := <-p.lines; ok {
		return line, nil
	}
	return "", errors.Join(errors.New("the peer has not printed what it should"), p.Err())
}

// Address returns the one that a server listens on.
func (p *Process) Address() (string, error) {
	line, err := p.Line()
	if err != nil {
		return "", err
	}
	address, ok := strings.CutPrefix(line, "listening on ")
	if !ok {
		return "", fmt.Errorf("got the line %q, want the address that the peer listens on", line)
	}
	return address, nil
}

// Wait waits for the end of the program after that of the last connection, and returns
// what it has to complain of. A client ends by itself.
func (p *Process) Wait() error {
	if p.role == "server" {
		return p.Stop()
	}
	return p.Err()
}

// Stop has the program end, and returns what it has to complain of.
func (p *Process) Stop() error {
	p.stdin.Close()
	return p.Err()
}

// Kill ends the program.
func (p *Process) Kill() {
	p.cmd.Process.Kill()
	p.stdout.Close()
	<-p.done
}

// Stderr returns what the program has printed there, once it has ended.
func (p *Process) Stderr() string {
	<-p.done
	return string(bytes.TrimSpace(p.stderr.Bytes()))
}

// Version returns the line that says what a program is made of, and what its library can't do,
// with reasons.
func (c Command) Version(ctx context.Context) (version string, cannot map[string]string, err error) {
	p, err := c.Start(ctx, Config{Role: "version"})
	if err != nil {
		return "", nil, err
	}
	defer p.Kill()
	if version, err = p.Line(); err != nil {
		return "", nil, err
	}
	if err := p.Stop(); err != nil {
		return "", nil, err
	}
	second, ok := <-p.lines
	if !ok {
		return version, nil, nil
	}
	var more struct{ Cannot map[string]string }
	err = json.Unmarshal([]byte(second), &more)
	return version, more.Cannot, err
}
