//go:build linux

package load

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/tidewire/websocket/bench/wire"
	"github.com/tidewire/websocket/internal/deflate"
)

func TestPayload(t *testing.T) {
	for _, kind := range []Kind{Binary, Text, Cyrillic} {
		for n := range 300 {
			p := kind.Payload(n)
			if len(p) != n || kind.Text() && !utf8.Valid(p) || string(p) != string(kind.Payload(n)) {
				t.Fatalf("%s: got %q for %d bytes", kind, p, n)
			}
		}
	}
}

// frames are what another end may send for the message of a script.
func frames(message string) map[string][]byte {
	masked := wire.Header{First: wire.Fin | wire.Text, Masked: true, Key: 0x12345678}
	half := len(message) / 2
	unmasked := wire.AppendFrame(nil, wire.Header{First: wire.Fin | wire.Text}, []byte(message))
	return map[string][]byte{
		"unmasked": unmasked,
		"masked":   wire.AppendFrame(nil, masked, []byte(message)),
		"fragmented": slices.Concat(
			wire.AppendFrame(nil, wire.Header{First: wire.Text}, []byte(message[:half])),
			wire.AppendFrame(nil, wire.Header{First: wire.Fin | wire.Ping}, []byte("ping")),
			wire.AppendFrame(nil, wire.Header{First: wire.Continuation}, nil),
			wire.AppendFrame(nil, wire.Header{First: wire.Fin | wire.Continuation}, []byte(message[half:])),
		),
		"after a ping": append(wire.AppendFrame(nil, wire.Header{First: wire.Fin | wire.Ping}, nil), unmasked...),
	}
}

// However it is chopped, a message is heard, and as often as it comes.
func TestParser(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 1000} {
		message := strings.Repeat("ab", n)[:n]
		script := NewScript([]byte(message), true, false)
		for name, b := range frames(message) {
			for chunk := 1; chunk <= len(b)+1; chunk++ {
				var p parser
				for part := range slices.Chunk(slices.Concat(b, b, b), chunk) {
					if err := p.receive(part, script); err != nil {
						t.Fatalf("%d bytes, %s, %d at a time: %v", n, name, chunk, err)
					}
				}
				if p.heard != 3 || p.takePayload() != 3*n || p.takePayload() != 0 {
					t.Fatalf("%d bytes, %s, %d at a time: got %d messages", n, name, chunk, p.heard)
				}
			}
		}
	}
}

func TestParserErrors(t *testing.T) {
	text := wire.Header{First: wire.Fin | wire.Text}
	for _, tt := range []struct {
		name  string
		bytes []byte
	}{
		{"another message", wire.AppendFrame(nil, text, []byte("jello"))},
		{"another end", wire.AppendFrame(nil, text, []byte("hellO"))},
		{"a longer one", wire.AppendFrame(nil, text, []byte("hello!"))},
		{"a shorter one", wire.AppendFrame(nil, text, []byte("hell"))},
		{"none", wire.AppendFrame(nil, text, nil)},
		{"a Close frame", wire.AppendFrame(nil, wire.Header{First: wire.Fin | wire.Close}, nil)},
		{"a continuation of nothing", wire.AppendFrame(nil, wire.Header{First: wire.Fin | wire.Continuation}, []byte("hello"))},
		{"a message inside another", slices.Concat(
			wire.AppendFrame(nil, wire.Header{First: wire.Text}, []byte("he")), wire.AppendFrame(nil, text, []byte("hello")))},
	} {
		var p parser
		if err := p.receive(tt.bytes, NewScript([]byte("hello"), true, false)); err == nil {
			t.Errorf("%s: got no error", tt.name)
		}
	}
}

func TestParserDeflated(t *testing.T) {
	messages := [][]byte{[]byte(strings.Repeat("hello ", 30)), []byte(strings.Repeat("hallo ", 30))}
	encoder := deflate.NewEncoder(15, deflate.Fast, true)
	var stream []byte
	for range 2 {
		for _, m := range messages {
			payload, ok := encoder.AppendMessage(nil, m)
			if !ok {
				t.Fatal("a message does not get shorter")
			}
			stream = wire.AppendFrame(stream, wire.Header{First: wire.Fin | wire.RSV1 | wire.Text}, payload)
		}
	}
	// One that was not compressed is as good.
	stream = wire.AppendFrame(stream, wire.Header{First: wire.Fin | wire.Text}, messages[0])
	p := parser{inflater: deflate.NewInflater(15, true)}
	script := NewDeflatedScript(messages, nil)
	if err := p.receive(stream, script); err != nil || p.heard != 5 {
		t.Errorf("got %d messages, %v, want 5", p.heard, err)
	}
	if err := p.receive(wire.AppendFrame(nil, wire.Header{First: wire.Fin | wire.Text}, messages[0]), script); err == nil {
		t.Error("got no error for the wrong message")
	}
}

// Two Loads hear what they say to each other, with as much under way as there shall be.
func TestLoads(t *testing.T) {
	for _, tt := range []struct{ size, conns, inFlight int }{{16, 1, 1}, {125, 10, 32}, {1 << 20, 3, 2}} {
		t.Run(fmt.Sprintf("%+v", tt), func(t *testing.T) {
			client, server := loads(t, tt.size, tt.conns)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				for server.Next() == nil {
				}
			}()
			turns := 500 / tt.conns
			want := (turns + tt.inFlight) * tt.conns
			n, err := client.Exchange(tt.inFlight, func() bool { turns--; return turns >= 0 })
			if err != nil {
				t.Fatal(err)
			}
			// Of those that came together, not all were asked for.
			if n < want || n > want+tt.inFlight*tt.conns {
				t.Errorf("got %d messages, want about %d", n, want)
			}
			if size := client.PayloadSize(); size != float64(tt.size) {
				t.Errorf("got a PayloadSize of %.1f, want %d", size, tt.size)
			}
			low, high := client.Latency(0.1), client.Latency(0.9)
			if low <= 0 || low > high || high > Patience {
				t.Errorf("got a Latency of %v at 10 %%, and %v at 90 %%", low, high)
			}
			client.Forget()
			if client.Latency(0.9) != 0 {
				t.Errorf("got a Latency of %v of no messages", client.Latency(0.9))
			}
			if err := client.Close(); err != nil {
				t.Error(err)
			}
			<-ended
			if err := server.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// loads returns both ends of some connections.
func loads(t *testing.T, size, conns int) (client, server *Load) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	message := Binary.Payload(size)
	client, err = New(NewScript(message, false, true))
	if err != nil {
		t.Fatal(err)
	}
	server, err = New(NewScript(message, false, false))
	if err != nil {
		t.Fatal(err)
	}
	server.Respond = true
	for range conns {
		accepted := make(chan error, 1)
		go func() {
			c, err := wire.Accept(ln)
			if err == nil {
				err = server.Add(c, nil)
			}
			accepted <- err
		}()
		c, _, err := wire.Dial(ln.Addr().String(), "")
		if err == nil {
			err = client.Add(c, nil)
		}
		if err := errors.Join(err, <-accepted); err != nil {
			t.Fatal(err)
		}
	}
	if client.Open() != conns {
		t.Fatalf("got %d connections, want %d", client.Open(), conns)
	}
	return client, server
}

func TestHistogram(t *testing.T) {
	for ns := uint64(1); ns < 1<<60; ns += ns/7 + 1 {
		b := bucket(ns)
		if low, next := uint64(lowest(b)), uint64(lowest(b+1)); low > ns || next <= ns || next-low > max(1, low/32) {
			t.Fatalf("%d ns are counted as %d to %d", ns, low, next)
		}
	}
	var h histogram
	if h.quantile(0.5) != 0 {
		t.Error("a quantile of nothing")
	}
	values := make([]time.Duration, 10_001)
	for i := range values {
		values[i] = time.Duration(rand.ExpFloat64() * 1e6)
		h.add(values[i])
	}
	slices.Sort(values)
	for _, share := range []float64{0, 0.5, 0.9, 0.99} {
		got, want := h.quantile(share), values[int(share*10_001)]
		if got > want || got < want-want/32-1 {
			t.Errorf("%.0f %%: got %v, want %v", 100*share, got, want)
		}
	}
}
