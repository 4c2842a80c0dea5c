//go:build external

package interop

import (
	"context"
	"testing"

	"github.com/tidewire/websocket/interop/internal/program"
)

// A peer is the name of a folder with a program made with somebody else's library. Its
// start.sh takes a peerConfig for its argument. See README.md.
type peer string

type (
	peerConfig = program.Config
	parameters = program.Parameters
)

// A process is a peer that runs, until its standard input ends.
type process struct {
	*program.Process
	t *testing.T
}

func (p peer) start(ctx context.Context, t *testing.T, config peerConfig) *process {
	t.Helper()
	proc, err := program.Command{"./" + string(p) + "/start.sh"}.Start(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proc.Kill)
	return &process{proc, t}
}

// line returns the next line that the process prints.
func (p *process) line() string {
	p.t.Helper()
	line, err := p.Line()
	if err != nil {
		p.t.Fatal(err)
	}
	return line
}

// address returns the one that a server listens on.
func (p *process) address() string {
	p.t.Helper()
	address, err := p.Address()
	if err != nil {
		p.t.Fatal(err)
	}
	return address
}
