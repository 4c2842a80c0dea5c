//go:build external

// Package interop has package websocket talk to programs that are made with other
// libraries.
package interop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidewire/websocket"
)

// peers are the folders that have one.
var peers = []peer{"ws", "websockets"}

// A setting is what the two ends of a connection want of permessage-deflate.
type setting struct {
	name     string
	ours     *websocket.Compression
	theirs   *parameters // nil: to do without
	messages int

	// What they agree on when we are the server, and when we are the
	// client. nil: to do without.
	asServer, asClient *parameters
}

// settings are those where both ends want the same, and some where they don't.
func settings() []setting {
	var all []setting
	long := 10_000
	if testing.Short() {
		long = 2000
	}
	for _, noTakeover := range []bool{false, true} {
		for _, bits := range []int{9, 12, 15} {
			name := fmt.Sprintf("takeover=%t/bits=%d", !noTakeover, bits)
			all = append(all, wantedByBoth(name, long, parameters{
				ServerMaxWindowBits: bits, ClientMaxWindowBits: bits,
				ServerNoContextTakeover: noTakeover, ClientNoContextTakeover: noTakeover,
			}))
		}
	}
	everyMessage := wantedByBoth("every message at level 2", 1000, parameters{ServerMaxWindowBits: 12, ClientMaxWindowBits: 12})
	everyMessage.ours.Level, everyMessage.ours.Threshold = 2, -1
	return append(all,
		everyMessage,
		wantedByBoth("server without takeover", 1000, parameters{
			ServerMaxWindowBits: 10, ClientMaxWindowBits: 14, ServerNoContextTakeover: true,
		}),
		wantedByBoth("client without takeover", 1000, parameters{
			ServerMaxWindowBits: 14, ClientMaxWindowBits: 10, ClientNoContextTakeover: true,
		}),
		setting{
			name: "defaults", ours: &websocket.Compression{}, theirs: &parameters{}, messages: 1000,
			// A client has to ask for a limit of the server's window.
			asServer: &parameters{ServerMaxWindowBits: 15, ClientMaxWindowBits: 12},
			asClient: &parameters{ServerMaxWindowBits: 12, ClientMaxWindowBits: 12},
		},
		setting{name: "not wanted by us", theirs: &parameters{}, messages: 1000},
		setting{name: "not wanted by the peer", ours: &websocket.Compression{}, messages: 1000},
	)
}

func wantedByBoth(name string, messages int, p parameters) setting {
	ours := &websocket.Compression{
		ServerMaxWindowBits:     p.ServerMaxWindowBits,
		ClientMaxWindowBits:     p.ClientMaxWindowBits,
		ServerNoContextTakeover: p.ServerNoContextTakeover,
		ClientNoContextTakeover: p.ClientNoContextTakeover,
	}
	return setting{name: name, ours: ours, theirs: &p, messages: messages, asServer: &p, asClient: &p}
}

// Each message goes to the peer and comes back.
func TestEcho(t *testing.T) {
	for _, p := range peers {
		t.Run(string(p), func(t *testing.T) {
			p.install(t)
			for _, s := range settings() {
				t.Run("we=server/"+s.name, func(t *testing.T) { s.testServer(t, p) })
				t.Run("we=client/"+s.name, func(t *testing.T) { s.testClient(t, p) })
			}
		})
	}
}

// install has the peer's first start behind us, which takes longer than others.
func (p peer) install(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	proc := p.start(ctx, t, peerConfig{Role: "version"})
	t.Log(proc.line())
	if err := proc.Stop(); err != nil {
		t.Fatal(err)
	}
}

const timeout = time.Minute

func (s setting) testServer(t *testing.T, p peer) {
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	upgrader := &websocket.Upgrader{Compression: s.ours}
	conns := make(chan *websocket.Conn, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := upgrader.Upgrade(w, r)
		if err != nil {
			t.Error(err)
			return
		}
		conns <- c
	}))
	defer srv.Close()
	tap := newWiretap(t, srv.Listener.Addr().String())
	proc := p.start(ctx, t, peerConfig{Role: "client", URL: tap.url(), Deflate: s.theirs})
	select {
	case c := <-conns:
		s.talk(ctx, t, c, proc, tap, s.asServer)
	case <-proc.Done():
		t.Fatalf("the peer has not connected: %v", proc.Err())
	}
}

func (s setting) testClient(t *testing.T, p peer) {
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	proc := p.start(ctx, t, peerConfig{Role: "server", Deflate: s.theirs})
	tap := newWiretap(t, proc.address())
	d := &websocket.Dialer{Compression: s.ours}
	c, _, err := d.Dial(ctx, tap.url())
	if err != nil {
		t.Fatal(errors.Join(err, proc.Stop()))
	}
	s.talk(ctx, t, c, proc, tap, s.asClient)
}

// talk has the peer at the other end of c send back messages, closes
// c, and checks what went over the wire.
func (s setting) talk(ctx context.Context, t *testing.T, c *websocket.Conn, proc *process, tap *wiretap, want *parameters) {
	defer c.CloseNow()
	messages := testMessages()[:s.messages]
	start := time.Now()
	if err := exchange(ctx, c, messages); err != nil {
		t.Fatal(errors.Join(err, proc.Stop()))
	}
	elapsed := time.Since(start)
	if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Errorf("the closing handshake: %v", err)
	}
	if err := proc.Wait(); err != nil {
		t.Error(err)
	}
	<-tap.done
	if tap.err != nil {
		t.Fatal(tap.err)
	}
	got, err := parseAccepted(tap.accepted)
	if err != nil {
		t.Error(err)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v, from the offer %q and the response %q", got, want, tap.offered, tap.accepted)
	}
	payload := 0
	for _, m := range messages {
		payload += len(m.Data)
	}
	t.Logf("%d messages of %d bytes in %v; %q", len(messages), payload, elapsed.Round(time.Millisecond), tap.accepted)
	tap.toServer.check(t, "client to server", len(messages), payload, want != nil)
	tap.toClient.check(t, "server to client", len(messages), payload, want != nil)
}

func (tr traffic) check(t *testing.T, name string, messages, payload int, compressed bool) {
	t.Helper()
	ratio := float64(payload) / float64(tr.bytes)
	t.Logf("%s: %d messages, %d compressed, %d fragments, %d bytes, ratio %.2f", name, tr.messages, tr.compressed, tr.fragments, tr.bytes, ratio)
	if tr.messages != messages {
		t.Errorf("%s: got %d messages, want %d", name, tr.messages, messages)
	}
	if tr.fragments == 0 {
		t.Errorf("%s: got no fragment", name)
	}
	switch {
	case !compressed:
		if tr.compressed != 0 {
			t.Errorf("%s: got %d compressed messages, want none", name, tr.compressed)
		}
	case tr.compressed < messages/3 || ratio < 1.5:
		t.Errorf("%s: got %d compressed messages of %d, and the ratio %.2f, want a third, and 1.5", name, tr.compressed, messages, ratio)
	}
}

// parseAccepted returns the parameters in the Sec-WebSocket-Extensions of a response. A
// window that is not limited has 15 bits.
func parseAccepted(field string) (*parameters, error) {
	if field == "" {
		return nil, nil
	}
	p := &parameters{ServerMaxWindowBits: 15, ClientMaxWindowBits: 15}
	members := strings.Split(field, ";")
	ok := members[0] == "permessage-deflate"
	for _, member := range members[1:] {
		name, value, _ := strings.Cut(strings.TrimSpace(member), "=")
		bits, err := strconv.Atoi(value)
		switch {
		case name == "server_no_context_takeover" && value == "":
			p.ServerNoContextTakeover = true
		case name == "client_no_context_takeover" && value == "":
			p.ClientNoContextTakeover = true
		case name == "server_max_window_bits" && err == nil:
			p.ServerMaxWindowBits = bits
		case name == "client_max_window_bits" && err == nil:
			p.ClientMaxWindowBits = bits
		default:
			ok = false
		}
	}
	if !ok {
		return nil, fmt.Errorf("got the response %q", field)
	}
	return p, nil
}

// inFlight is how many messages may be on their way, to the peer and back.
const inFlight = 64

// exchange writes messages and reads their echo.
func exchange(ctx context.Context, c *websocket.Conn, messages []websocket.Message) error {
	ctx, cancel := context.WithCancelCause(ctx)
	written := make(chan struct{})
	window := make(chan struct{}, inFlight)
	go func() {
		defer close(written)
		for i, m := range messages {
			select {
			case window <- struct{}{}:
			case <-ctx.Done():
				return
			}
			if err := write(ctx, c, i, m); err != nil {
				cancel(fmt.Errorf("write message %d: %w", i, err))
				return
			}
		}
	}()
	defer func() { <-written }()
	defer cancel(nil)
	var buf []byte
	for i, want := range messages {
		got, err := read(ctx, c, i, buf)
		if err != nil {
			return fmt.Errorf("read message %d: %w", i, err)
		}
		if got.Type != want.Type || !bytes.Equal(got.Data, want.Data) {
			return fmt.Errorf("message %d: got %s, want %s", i, describe(got), describe(want))
		}
		buf = got.Data[:0]
		<-window
	}
	return nil
}

// write writes m in a way that depends on i.
func write(ctx context.Context, c *websocket.Conn, i int, m websocket.Message) error {
	switch {
	case i%500 == 1: // seldom, since it ends a server's context
		prepared, err := websocket.NewPreparedMessage(m.Type, m.Data)
		if err != nil {
			return err
		}
		return c.WritePrepared(ctx, prepared)
	case i%8 == 0:
		return writeParts(ctx, c, m, 1+i%3000, i%3 != 0)
	case i%8 == 2:
		return c.WriteBatch(ctx, m)
	default:
		return c.Write(ctx, m.Type, m.Data)
	}
}

func writeParts(ctx context.Context, c *websocket.Conn, m websocket.Message, size int, compress bool) error {
	w, err := c.NextWriter(ctx, m.Type)
	if err != nil {
		return err
	}
	w.SetCompress(compress)
	for p := m.Data; len(p) > 0; {
		n := min(size, len(p))
		if _, err := w.Write(p[:n]); err != nil {
			return err
		}
		p = p[n:]
	}
	return w.Close()
}

// read reads a message in a way that depends on i.
func read(ctx context.Context, c *websocket.Conn, i int, buf []byte) (websocket.Message, error) {
	if i%8 != 3 {
		typ, p, err := c.ReadAppend(ctx, buf)
		return websocket.Message{Type: typ, Data: p}, err
	}
	typ, r, err := c.NextReader(ctx)
	if err != nil {
		return websocket.Message{}, err
	}
	p, err := io.ReadAll(r)
	return websocket.Message{Type: typ, Data: p}, err
}

func describe(m websocket.Message) string {
	return fmt.Sprintf("%d bytes of type %d, %.100q", len(m.Data), m.Type, m.Data)
}
