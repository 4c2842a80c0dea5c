// Package child runs the end of the connections that is measured in a process of its own: the program
// itself, started again.
package child

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/tidewire/websocket/bench/load"
	"github.com/tidewire/websocket/bench/peers"
)

// A Role is what a process does.
type Role string

const (
	Server Role = "server" // echoes
	Client Role = "client" // sends messages, and one for each that comes
	Dialer Role = "dialer" // opens connections, and closes them, without end
)

// A Spec says what a process is to do.
type Spec struct {
	Role     Role
	Peer     string
	Settings peers.Settings

	// For servers: whether they are going to broadcast a message.
	Broadcasts bool

	// For clients and dialers: the address of the server.
	Addr string

	// For clients and dialers: how many connections there are at a time.
	Connections int

	// For clients: how many messages are under way on each.
	InFlight int

	// The message that is sent or broadcast.
	Kind load.Kind
	Size int

	// Profile is the file for a CPU profile of what is done between the first two
	// questions what was used, or "".
	Profile string
}

// The environment variables of a process.
const (
	specVariable = "BENCH_CHILD"
	// CPUVariable has the number of the processor that measured processes
	// are to run on. It is for the process that starts them.
	CPUVariable = "BENCH_CPU"
)

// Patience is how long a process may take for an answer.
const Patience = 60 * time.Second

// A Process is a process that is measured.
type Process struct {
	Addr string // of a server

	cmd *exec.Cmd
	in  io.Closer
	enc *json.Encoder
	dec *json.Decoder
}

// Start starts a process, which runs on one processor.
func Start(spec Spec) (*Process, error) {
	cmd, err := command(spec)
	if err != nil {
		return nil, err
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &Process{cmd: cmd, in: in, enc: json.NewEncoder(in), dec: json.NewDecoder(bufio.NewReader(out))}
	if err := p.answer(&p.Addr); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

func command(spec Spec) (*exec.Cmd, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	encoded, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(exe)
	if cpu := os.Getenv(CPUVariable); cpu != "" {
		cmd = exec.Command("taskset", "--cpu-list", cpu, exe)
	}
	cmd.Env = append(os.Environ(), specVariable+"="+string(encoded), "GOMAXPROCS=1")
	cmd.Stderr = os.Stderr
	return cmd, nil
}

// Usage returns what the process has used since it was started.
func (p *Process) Usage() (Usage, error) {
	var u Usage
	err := p.ask("usage", &u)
	return u, err
}

// Memory returns what the process has of memory, when what can be given back has been.
func (p *Process) Memory() (Memory, error) {
	var m Memory
	err := p.ask("memory", &m)
	return m, err
}

// Connections returns how many connections a server has.
func (p *Process) Connections() (int, error) {
	var n int
	err := p.ask("connections", &n)
	return n, err
}

// Broadcast has a server send the message of its Spec to all clients.
func (p *Process) Broadcast() error { return p.ask("broadcast", new(int)) }

func (p *Process) ask(question string, answer any) error {
	if err := p.enc.Encode(question); err != nil {
		return err
	}
	return p.answer(answer)
}

// answer reads an answer. A process that has none ends.
func (p *Process) answer(answer any) error {
	kill := time.AfterFunc(Patience, func() { p.cmd.Process.Kill() })
	defer kill.Stop()
	if err := p.dec.Decode(answer); err != nil {
		return fmt.Errorf("the measured process does not answer: %w", err)
	}
	return nil
}

// Close ends the process.
func (p *Process) Close() error {
	p.in.Close() // at which it ends
	kill := time.AfterFunc(Patience, func() { p.cmd.Process.Kill() })
	defer kill.Stop()
	return p.cmd.Wait()
}

// Main does what the process was started for, if it was started by [Start], and does not return
// then.
func Main() {
	encoded, ok := os.LookupEnv(specVariable)
	if !ok {
		return
	}
	if err := run(encoded); err != nil {
		fmt.Fprintf(os.Stderr, "%.200s: %v\n", encoded, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func run(encoded string) error {
	var spec Spec
	if err := json.NewDecoder(strings.NewReader(encoded)).Decode(&spec); err != nil {
		return err
	}
	peer, ok := peers.Find(spec.Peer)
	if !ok {
		return fmt.Errorf("there is no peer %q", spec.Peer)
	}
	if spec.Role != Server {
		spec.Settings.Dial = resetting
	}
	library := peer.New(spec.Settings)
	switch spec.Role {
	case Server:
		return runServer(spec, library)
	case Client:
		return runClient(spec, library)
	case Dialer:
		return runDialer(spec, library)
	}
	return fmt.Errorf("there is no role %q", spec.Role)
}

// answerQuestions answers those that come on the standard input until it ends. Besides
// those in answers, there are the two that each process can answer.
func answerQuestions(spec Spec, addr string, answers map[string]func() (any, error)) error {
	profile := profile{name: spec.Profile}
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(addr); err != nil {
		return err
	}
	for in := json.NewDecoder(os.Stdin); ; {
		var question string
		if err := in.Decode(&question); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		f := answers[question]
		switch question {
		case "usage":
			f = profile.usage
		case "memory":
			f = func() (any, error) { return currentMemory() }
		}
		if f == nil {
			return fmt.Errorf("the question %q", question)
		}
		answer, err := f()
		if err != nil {
			return fmt.Errorf("%s: %w", question, err)
		}
		if err := out.Encode(answer); err != nil {
			return err
		}
	}
}
