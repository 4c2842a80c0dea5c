//go:build external

package interop

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A peer judges our windows only if it does not forgive what lies beyond them. One whose
// window has 512 bytes gets a message that repeats itself after more, or less.
func TestPeersKeepToWindow(t *testing.T) {
	for _, p := range peers {
		t.Run(string(p), func(t *testing.T) {
			p.install(t)
			proc, got := p.sendRepetition(t, 500)
			if got != 0xC2 {
				t.Errorf("distance 500: got a frame that begins with %#x, want a compressed message", got)
			}
			proc.Stop()

			proc, got = p.sendRepetition(t, 600)
			if got != 0x88 {
				t.Errorf("distance 600: got a frame that begins with %#x, want a Close", got)
			}
			err := proc.Err()
			if err == nil {
				t.Errorf("distance 600: the peer does not complain")
			}
			t.Log(err)
		})
	}
}

const handshake = `GET / HTTP/1.1
Host: localhost
Connection: Upgrade
Upgrade: websocket
Sec-WebSocket-Version: 13
Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==
Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9; client_max_window_bits=9

`

// sendRepetition sends a peer that has agreed to windows of 9 bits a message with
// that distance, and returns the first byte that comes back.
func (p peer) sendRepetition(t *testing.T, distance int) (*process, byte) {
	t.Helper()
	bits := parameters{ServerMaxWindowBits: 9, ClientMaxWindowBits: 9}
	proc := p.start(t.Context(), t, peerConfig{Role: "server", Deflate: &bits})
	conn, err := net.Dial("tcp", proc.address())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(timeout))
	if _, err := io.WriteString(conn, strings.ReplaceAll(handshake, "\n", "\r\n")); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	if _, err := http.ReadResponse(r, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(repetition(distance)); err != nil {
		t.Fatal(err)
	}
	first, err := r.ReadByte()
	if err != nil {
		t.Fatal(err)
	}
	return proc, first
}

// repetition returns the frame of a compressed binary message: as many bytes as
// the distance, and the same again.
func repetition(distance int) []byte {
	p := generator{rand.New(rand.NewPCG(9, 9))}.noise(distance)
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestCompression)
	w.Write(append(p, p...))
	w.Flush()
	payload := b.Bytes()[:b.Len()-4]

	frame := []byte{0xC2, 0x80 | 126}
	frame = binary.BigEndian.AppendUint16(frame, uint16(len(payload)))
	frame = append(frame, 0, 0, 0, 0) // a masking key that leaves the payload as it is
	return append(frame, payload...)
}
