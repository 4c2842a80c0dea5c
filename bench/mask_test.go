//go:build linux

package bench

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	_ "unsafe" // for go:linkname

	_ "github.com/coder/websocket"
	"github.com/gobwas/ws"
	_ "github.com/gorilla/websocket"
	_ "github.com/lxzan/gws"

	_ "github.com/tidewire/websocket"
)

// Only gobwas/ws exports the function that masks. The linker has the others.

//go:linkname ourMaskTo github.com/tidewire/websocket.maskTo
func ourMaskTo(dst, src []byte, key uint32)

//go:linkname coderMask github.com/coder/websocket.mask
func coderMask(b []byte, key uint32) uint32

//go:linkname gorillaMask github.com/gorilla/websocket.maskBytes
func gorillaMask(key [4]byte, pos int, b []byte) int

//go:linkname gwsMask github.com/lxzan/gws/internal.MaskXOR
func gwsMask(b []byte, key []byte)

// maskingKey is that of RFC 6455, section 5.7. Some want it as a number.
var (
	maskingKey       = [4]byte{0x37, 0xfa, 0x21, 0x3d}
	maskingKeyNumber = uint32(0x3d21fa37)
)

// A masker masks payloads in place, one after the other, and that so many times.
type masker struct {
	name string
	mask func(payloads [][]byte, times int)
}

var maskers = []masker{
	{"ours", func(payloads [][]byte, times int) {
		for range times {
			for _, p := range payloads {
				ourMaskTo(p, p, maskingKeyNumber)
			}
		}
	}},
	{"gobwas", func(payloads [][]byte, times int) {
		for range times {
			for _, p := range payloads {
				ws.Cipher(p, maskingKey, 0)
			}
		}
	}},
	{"coder", func(payloads [][]byte, times int) {
		for range times {
			for _, p := range payloads {
				coderMask(p, maskingKeyNumber)
			}
		}
	}},
	{"gws", func(payloads [][]byte, times int) {
		for range times {
			for _, p := range payloads {
				gwsMask(p, maskingKey[:])
			}
		}
	}},
	{"gorilla", func(payloads [][]byte, times int) {
		for range times {
			for _, p := range payloads {
				gorillaMask(maskingKey, 0, p)
			}
		}
	}},
}

// newPayloads returns payloads of n bytes as they come in a buffer of 4 KiB, each behind its
// header. A longer one has a buffer of its own.
func newPayloads(n int) [][]byte {
	header := 2 + 4
	switch {
	case n > 65535:
		header += 8
	case n > 125:
		header += 2
	}
	buf := make([]byte, max(4<<10, header+n))
	var payloads [][]byte
	for len(buf) >= header+n {
		payloads = append(payloads, buf[header:header+n])
		buf = buf[header+n:]
	}
	return payloads
}

func TestMaskers(t *testing.T) {
	for n := range 300 {
		want := make([]byte, n)
		for i := range want {
			want[i] = maskingKey[i%4]
		}
		for _, m := range maskers {
			payloads := newPayloads(n)
			m.mask(payloads, 3)
			for _, got := range payloads {
				if !bytes.Equal(got, want) {
					t.Fatalf("%s: got % x, want % x", m.name, got, want)
				}
			}
		}
	}
}

// BenchmarkMask is masking alone.
func BenchmarkMask(b *testing.B) {
	sizes := []int{1, 2, 4, 7, 8, 12, 16, 20, 32, 64, 100, 125, 126, 200, 256, 512, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 1 << 20}
	first := *rotateFlag % len(maskers)
	for _, n := range sizes {
		payloads := newPayloads(n)
		for _, m := range slices.Concat(maskers[first:], maskers[:first]) {
			b.Run(fmt.Sprintf("peer=%s/size=%d", m.name, n), func(b *testing.B) {
				b.SetBytes(int64(n))
				m.mask(payloads, b.N/len(payloads))
				m.mask(payloads[:b.N%len(payloads)], 1)
			})
		}
	}
}
