//go:build linux

package bench

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/tidewire/websocket/bench/child"
	"github.com/tidewire/websocket/bench/load"
	"github.com/tidewire/websocket/bench/peers"
	"github.com/tidewire/websocket/bench/wire"
	"github.com/tidewire/websocket/internal/deflate"
)

// A deflateMode is how messages are compressed.
type deflateMode string

const (
	uncompressed deflateMode = "off"
	noTakeover   deflateMode = "no-takeover" // each message by itself
	takeover     deflateMode = "takeover"    // with regard to those before it, both ways
)

func (m deflateMode) settings() *peers.Deflate {
	if m == uncompressed {
		return nil
	}
	return &peers.Deflate{Takeover: m == takeover}
}

// comparisons returns where a peer must take part if it can do that.
func (m deflateMode) comparisons() peers.Comparisons {
	return map[deflateMode]peers.Comparisons{noTakeover: peers.Deflating, takeover: peers.DeflatingTakeover}[m]
}

// offer returns what a client offers: what Chromium does, and with more for no context takeover.
func (m deflateMode) offer() string {
	switch m {
	case noTakeover:
		return "permessage-deflate; client_max_window_bits; server_no_context_takeover; client_no_context_takeover"
	case takeover:
		return "permessage-deflate; client_max_window_bits"
	}
	return ""
}

// dial opens connections, and returns the window with which their client may compress.
func (m deflateMode) dial(addr string, n int) (conns []*net.TCPConn, windowBits int, err error) {
	for len(conns) < n {
		finished := len(conns)
		for range min(handshakes, n-finished) {
			c, err := wire.Begin(addr, m.offer())
			if err != nil {
				return nil, 0, err
			}
			conns = append(conns, c)
		}
		for _, c := range conns[finished:] {
			accepted, err := wire.Finish(c)
			if err == nil && m != uncompressed {
				windowBits, err = m.accepted(accepted)
			}
			if err != nil {
				return nil, 0, err
			}
		}
	}
	return conns, windowBits, nil
}

// load returns a load with these connections. All that comes on the first is inflated and checked; for
// the others too, that would take the load longer than the server.
func (m deflateMode) load(script *load.Script, conns []*net.TCPConn) (*load.Load, error) {
	l, err := load.New(script)
	if err != nil {
		return nil, err
	}
	for i, c := range conns {
		var z load.Inflater
		if m != uncompressed && i == 0 {
			z = deflate.NewInflater(deflate.MaxWindowBits, m == takeover)
		}
		if err := l.Add(c, z); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// accepted checks that a server has accepted the offer as it was meant.
func (m deflateMode) accepted(extensions string) (windowBits int, err error) {
	windowBits = deflate.MaxWindowBits
	params := strings.Split(strings.ReplaceAll(extensions, " ", ""), ";")
	serverTakeover, clientTakeover := true, true
	for _, p := range params[1:] {
		switch name, value, _ := strings.Cut(p, "="); name {
		case "server_no_context_takeover":
			serverTakeover = false
		case "client_no_context_takeover":
			clientTakeover = false
		case "client_max_window_bits":
			if _, err := fmt.Sscan(value, &windowBits); err != nil {
				return 0, fmt.Errorf("the server has accepted %q", extensions)
			}
		}
	}
	if want := m == takeover; params[0] != "permessage-deflate" || serverTakeover != want || clientTakeover != want {
		return 0, fmt.Errorf("the server has accepted %q, and not %s", extensions, m)
	}
	return windowBits, nil
}

// script returns a Script of JSON messages of that length, compressed as most peers do: by something
// like zlib at level 6, or with a smaller window by the best that there is in Go.
func (m deflateMode) script(s size, windowBits int) *load.Script {
	messages := jsonMessages(s.n)
	encode := openWriter(newFlateWriter(6))(m == takeover)
	if windowBits < deflate.MaxWindowBits {
		encode = openOurEncoder(windowBits, deflate.Better)(m == takeover)
	}
	var payloads [][]byte
	for _, message := range messages {
		payloads = append(payloads, encode(nil, message))
	}
	return load.NewDeflatedScript(messages, payloads)
}

// jsonMessages returns different messages of that length, 128 KiB in all: four times the largest window, or a
// message would find itself in it.
func jsonMessages(n int) [][]byte {
	messages := messageSize{n: n}.messages()
	texts := make([][]byte, min(len(messages), 128<<10/n))
	for i := range texts {
		// The last character may be half of one.
		texts[i] = bytes.ToValidUTF8(messages[i], []byte("?"))
	}
	return texts
}

// BenchmarkCompressedEcho measures servers. An operation is that of BenchmarkEcho, on 64 connections.
func BenchmarkCompressedEcho(b *testing.B) {
	conns := pick(2, 64, 64)
	for _, mode := range []deflateMode{noTakeover, takeover} {
		for _, s := range pick([]size{size1K}, []size{size1K}, []size{size256B, size1K, size16K}) {
			for _, p := range peersIn(mode.comparisons()) {
				b.Run(fmt.Sprintf("peer=%s/conns=%d/size=%s/deflate=%s", p.Name, conns, s.name, mode), func(b *testing.B) {
					server, l := mode.echo(b, p, s, conns)
					settle(b, l, 1)
					reportMessages(b, server, l, 1)
					b.ReportMetric(float64(s.n)/l.PayloadSize(), "ratio")
				})
			}
		}
	}
}

// echo starts a server, and connects to it.
func (m deflateMode) echo(tb testing.TB, p peers.Peer, s size, conns int) (*child.Process, *load.Load) {
	tb.Helper()
	server := start(tb, child.Spec{
		Role: child.Server, Peer: p.Name,
		Settings: peers.Settings{Message: s.n, Deflate: m.settings()},
	})
	open, windowBits, err := m.dial(server.Addr, conns)
	if err != nil {
		tb.Fatal(err)
	}
	return server, newLoad(tb, m, m.script(s, windowBits), open)
}
