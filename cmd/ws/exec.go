package main

import (
	"context"
	"io"
	"os/exec"
	"sync"
	"time"

	"github.com/tidewire/websocket"
)

const (
	finishDelay = 500 * time.Millisecond // for how long a process may go on whose stdin was closed
	killDelay   = 2 * time.Second        // and one that was told to end
)

// A process is one that a client talks to.
type process struct {
	cmd    *exec.Cmd
	cancel context.CancelFunc // tells it to end
	stdin  io.WriteCloser
	stdout *io.PipeReader
	ended  func()        // says that there is no more of stdout
	sent   chan struct{} // closed when all of stdout was sent
	exited chan struct{} // closed when there is no process any more
}

func startProcess(command string, stderr io.Writer) (*process, error) {
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	p := &process{
		cmd:    shell(ctx, command),
		cancel: cancel,
		stdout: r,
		ended:  func() { w.Close() },
		sent:   make(chan struct{}),
		exited: make(chan struct{}),
	}
	p.cmd.WaitDelay = killDelay
	p.cmd.Stdout, p.cmd.Stderr = w, stderr
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		cancel()
		return nil, err
	}
	return p, nil
}

// serveProcess starts a process for c: what comes is lines on its stdin, and the lines of its stdout
// are messages. When one of the two ends, so does the other.
func (s *server) serveProcess(c *websocket.Conn, name string) {
	p, err := startProcess(s.command, s.out.err)
	if err != nil {
		s.out.fail("%s: -exec: %v", name, err)
		c.Close(websocket.StatusInternalError, "")
		return
	}
	var work sync.WaitGroup
	work.Go(func() { p.send(c) })
	work.Go(func() { p.end(c) })
	work.Go(func() {
		if err := p.wait(c); err != nil {
			s.out.fail("%s: -exec: %v", name, err)
		}
	})
	s.serveHub(c, name, func(typ websocket.MessageType, data []byte) error {
		p.stdin.Write(append(s.out.encode(typ, data), '\n')) // fails if the process wants no more
		return nil
	})
	work.Wait()
}

// send sends each line of stdout.
func (p *process) send(c *websocket.Conn) {
	defer close(p.sent)
	lines := scanner(p.stdout, false)
	for lines.Scan() {
		if c.Write(context.Background(), typeOf(lines.Bytes()), lines.Bytes()) != nil {
			break
		}
	}
	p.stdout.Close()
}

// wait waits for the process, closes c, and returns what went wrong before c was closed.
func (p *process) wait(c *websocket.Conn) error {
	err := p.cmd.Wait()
	killGroup(p.cmd)
	close(p.exited)
	p.ended()
	<-p.sent
	switch {
	case c.Err() != nil:
		return nil
	case err != nil:
		c.Close(websocket.StatusInternalError, "")
		return err
	}
	c.Close(websocket.StatusNormalClosure, "")
	return nil
}

// end ends the process when c has ended.
func (p *process) end(c *websocket.Conn) {
	defer p.cancel()
	<-c.Done()
	p.stdin.Close()
	select {
	case <-p.exited:
	case <-time.After(finishDelay):
	}
}
