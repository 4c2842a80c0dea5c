package websocket

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
)

// maskBytes is the algorithm of section 5.3, to the letter. The
// first byte of the payload is the one at place i of the frame's.
func maskBytes(payload []byte, key [4]byte, i int) []byte {
	masked := make([]byte, len(payload))
	for k := range payload {
		masked[k] = payload[k] ^ key[(i+k)%4]
	}
	return masked
}

// maskingKeyAt returns key as mask wants it for a
// payload that begins at place i.
func maskingKeyAt(key [4]byte, i int) uint32 {
	return binary.LittleEndian.Uint32([]byte{key[i%4], key[(i+1)%4], key[(i+2)%4], key[(i+3)%4]})
}

var testKey = [4]byte{0x37, 0xfa, 0x21, 0x3d} // of section 5.7

func TestMaskHello(t *testing.T) {
	b := []byte("Hello")
	want := []byte{0x7f, 0x9f, 0x4d, 0x51, 0x58}
	next := mask(b, maskingKeyAt(testKey, 0))
	if !bytes.Equal(b, want) {
		t.Errorf("got % x, want % x", b, want)
	}
	if want := maskingKeyAt(testKey, 5); next != want {
		t.Errorf("got next key %#x, want %#x", next, want)
	}
}

// A masking is one of the ways in which maskLong works. Those
// that are compiled in, and that the machine has, are all tested.
type masking struct {
	name string
	use  func(testing.TB) // until the test is over
}

var maskings = []masking{{"as usual", func(testing.TB) {}}}

func forEachMasking(t *testing.T, test func(*testing.T)) {
	for _, m := range maskings {
		t.Run(m.name, func(t *testing.T) {
			m.use(t)
			test(t)
		})
	}
}

const canaries = 16

// A guarded is a slice with bytes around it that nobody may touch.
type guarded struct {
	before, slice, after []byte
}

// newGuarded returns p at the given alignment. As all
// alignments are tried, that of the array does not matter.
func newGuarded(align int, p []byte) guarded {
	array := bytes.Repeat([]byte{0xC5}, canaries+align+len(p)+canaries)
	start, end := canaries+align, canaries+align+len(p)
	copy(array[start:], p)
	return guarded{array[:start], array[start:end], array[end:]}
}

func (g guarded) touched() bool {
	return bytes.Count(g.before, []byte{0xC5}) != len(g.before) || bytes.Count(g.after, []byte{0xC5}) != len(g.after)
}

// Every length at every alignment, with every rotation of the key, is masked as
// the byte loop does it, in place and to elsewhere, and
// the bytes around it stay as they are. Long ones are tried at eight alignments.
func TestMask(t *testing.T) {
	payload := randomBytes(64<<10 + 100)
	forEachMasking(t, func(t *testing.T) {
		for n := range 301 {
			testMask(t, payload[:n], 1)
		}
		for n := 301; n <= 1024; n++ {
			testMask(t, payload[:n], 9)
		}
		for _, n := range []int{4 << 10, 64 << 10} {
			for _, more := range []int{-33, -1, 0, 1, 3, 95, 97} {
				testMask(t, payload[:n+more], 9)
			}
		}
	})
}

// testMask masks p at each of 64 alignments,
// or at one for each step among these.
func testMask(t *testing.T, p []byte, step int) {
	t.Helper()
	const aligns = 64
	zeros := make([]byte, len(p))
	for rotation := range 4 {
		key := maskingKeyAt(testKey, rotation)
		want, wantKey := maskBytes(p, testKey, rotation), maskingKeyAt(testKey, rotation+len(p))
		for align := 0; align < aligns; align += step {
			at := func() string { return fmt.Sprintf("%d bytes at %d with key %#x", len(p), align, key) }
			b := newGuarded(align, p)
			if got := mask(b.slice, key); got != wantKey {
				t.Fatalf("%s: got next key %#x, want %#x", at(), got, wantKey)
			}
			if !bytes.Equal(b.slice, want) {
				t.Fatalf("%s: got % x, want % x", at(), b.slice, want)
			}
			if b.touched() {
				t.Fatalf("%s: touched the bytes around", at())
			}

			src, dst := newGuarded(align, p), newGuarded(align*5%aligns, zeros)
			maskTo(dst.slice, src.slice, key)
			if !bytes.Equal(dst.slice, want) {
				t.Fatalf("%s to elsewhere: got % x, want % x", at(), dst.slice, want)
			}
			if !bytes.Equal(src.slice, p) || src.touched() || dst.touched() {
				t.Fatalf("%s to elsewhere: touched its source or the bytes around", at())
			}
		}
	}
}

// A payload may be masked in any three pieces.
func TestMaskInPieces(t *testing.T) {
	const n = 140
	payload := randomBytes(n)
	want := maskBytes(payload, testKey, 0)
	forEachMasking(t, func(t *testing.T) {
		for i := range n + 1 {
			for j := i; j <= n; j++ {
				b := bytes.Clone(payload)
				key := maskingKeyAt(testKey, 0)
				for _, piece := range [][]byte{b[:i], b[i:j], b[j:]} {
					key = mask(piece, key)
				}
				if !bytes.Equal(b, want) || key != maskingKeyAt(testKey, n) {
					t.Fatalf("cut at %d and %d: got % x, next key %#x, want % x", i, j, b, key, want)
				}
			}
		}
	})
}

func TestRotate(t *testing.T) {
	for n := range 300 {
		if got, want := rotate(maskingKeyAt(testKey, 0), n), maskingKeyAt(testKey, n); got != want {
			t.Errorf("after %d bytes: got %#x, want %#x", n, got, want)
		}
	}
}

// randomBytes returns n bytes, the same in each run.
func randomBytes(n int) []byte {
	r := rand.New(rand.NewPCG(5, 3))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func BenchmarkMask(b *testing.B) {
	const behindHeader = 6 // bytes, where the payload of a masked frame usually lies
	for _, size := range []int{2, 7, 16, 64, 125, 512, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 1 << 20} {
		src := randomBytes(behindHeader + size)[behindHeader:]
		b.Run(fmt.Sprintf("to=itself/size=%d", size), func(b *testing.B) {
			b.SetBytes(int64(size))
			key := maskingKeyAt(testKey, 0)
			for b.Loop() {
				key = mask(src, key)
			}
		})
		b.Run(fmt.Sprintf("to=elsewhere/size=%d", size), func(b *testing.B) {
			b.SetBytes(int64(size))
			dst := make([]byte, size)
			for b.Loop() {
				maskTo(dst, src, maskingKeyAt(testKey, 0))
			}
		})
	}
}
