package child

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidewire/websocket/bench/load"
	"github.com/tidewire/websocket/bench/peers"
	"github.com/tidewire/websocket/bench/wire"
)

func TestMain(m *testing.M) {
	Main()
	os.Exit(m.Run())
}

func TestServer(t *testing.T) {
	profile := filepath.Join(t.TempDir(), "profile")
	p, err := Start(Spec{Role: Server, Peer: "floor", Broadcasts: true, Kind: load.Text, Size: 100, Profile: profile})
	if err != nil {
		t.Fatal(err)
	}
	before, err := p.Usage()
	if err != nil {
		t.Fatal(err)
	}
	c, _, err := wire.Dial(p.Addr, "")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for n := 0; n == 0; {
		if n, err = p.Connections(); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Broadcast(); err != nil {
		t.Fatal(err)
	}
	want := wire.AppendFrame(nil, wire.Header{First: wire.Fin | wire.Text}, load.Text.Payload(100))
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	after, err := p.Usage()
	if used := after.Sub(before); err != nil || used.CPU <= 0 || used.Allocs == 0 || used.CPU > time.Minute {
		t.Errorf("got a Usage of %+v, %v", used, err)
	}
	if b, err := os.ReadFile(profile); err != nil || !bytes.HasPrefix(b, []byte("\x1f\x8b")) {
		t.Errorf("got a profile that begins with %.2q, %v, want what gzip makes", b, err)
	}
	m, err := p.Memory()
	if err != nil || m.Heap < 1<<10 || m.Stack < 1<<10 || m.RSS < m.Heap {
		t.Errorf("got a Memory of %+v, %v", m, err)
	}
	if each := m.Each(Memory{}, 2); each.Heap != m.Heap/2 || each.Stack != m.Stack/2 || each.RSS != m.RSS/2 {
		t.Errorf("got %+v for each, want half of %+v", each, m)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if _, err := net.DialTimeout("tcp", p.Addr, time.Second); err == nil {
		t.Error("the process has been left behind")
	}
}

// What cannot be done is said on the standard error, and by an exit status.
func TestErrors(t *testing.T) {
	for _, tt := range []struct{ name, spec, question, want string }{
		{"no JSON", "{", "", "unexpected EOF"},
		{"no peer", `{"Role": "server", "Peer": "nobody"}`, "", `there is no peer "nobody"`},
		{"no role", `{"Role": "waiter", "Peer": "floor"}`, "", `there is no role "waiter"`},
		{"no question", `{"Role": "server", "Peer": "floor"}`, `"what?"`, `the question "what?"`},
		{"no server", `{"Role": "client", "Peer": "floor", "Addr": "127.0.0.1:1", "Connections": 1}`, "wait", "refused"},
		{"no server to dial", `{"Role": "dialer", "Peer": "floor", "Addr": "127.0.0.1:1", "Connections": 1}`, "wait", "refused"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), Patience)
			defer cancel()
			cmd := exec.CommandContext(ctx, os.Args[0])
			cmd.Env = append(os.Environ(), specVariable+"="+tt.spec)
			var stderr strings.Builder
			cmd.Stderr = &stderr
			cmd.Stdin = strings.NewReader(tt.question)
			if tt.question == "wait" {
				r, w, err := os.Pipe() // which never says anything
				if err != nil {
					t.Fatal(err)
				}
				defer r.Close()
				defer w.Close()
				cmd.Stdin = r
			}
			if err := cmd.Run(); err == nil || !strings.Contains(stderr.String(), tt.want) {
				t.Errorf("got %v, %q, want an error with %q", err, stderr.String(), tt.want)
			}
		})
	}
	if p, err := Start(Spec{Peer: "nobody"}); err == nil {
		p.Close()
		t.Error("got a process that does nothing")
	}
}

func TestCompare(t *testing.T) {
	want := peers.Message{Text: true, Data: []byte(strings.Repeat("0123456789", 3))}
	if err := compare(want, want); err != nil {
		t.Error(err)
	}
	for _, got := range []peers.Message{
		{},
		{Text: false, Data: want.Data},
		{Text: true, Data: want.Data[1:]},
		{Text: true, Data: append([]byte("x"), want.Data[1:]...)},
		{Text: true, Data: append(bytes.Clone(want.Data[:29]), 'x')},
	} {
		if compare(got, want) == nil {
			t.Errorf("got no error for %q", got.Data)
		}
	}
}
