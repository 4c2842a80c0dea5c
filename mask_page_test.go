//go:build linux || darwin

package websocket

import (
	"bytes"
	"os"
	"syscall"
	"testing"
)

// newPage returns a page of memory between two that can't be read or written:
// who tries ends the process.
func newPage(t *testing.T) []byte {
	t.Helper()
	size := os.Getpagesize()
	pages, err := syscall.Mmap(-1, 0, 3*size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Munmap(pages); err != nil {
			t.Error(err)
		}
	})
	for _, page := range [][]byte{pages[:size], pages[2*size:]} {
		if err := syscall.Mprotect(page, syscall.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	return pages[size:][:size]
}

// Neither side of a payload is looked at: what lies
// there may be no memory, or none of ours.
func TestMaskBesideForbiddenPages(t *testing.T) {
	src, dst := newPage(t), newPage(t)
	payload, key := randomBytes(1024), maskingKeyAt(testKey, 0)
	forEachMasking(t, func(t *testing.T) {
		for n := range len(payload) + 1 {
			want := maskBytes(payload[:n], testKey, 0)
			for _, s := range [][]byte{src[:n], src[len(src)-n:]} {
				for _, d := range [][]byte{dst[:n], dst[len(dst)-n:]} {
					copy(s, payload)
					maskTo(d, s, key)
					if !bytes.Equal(d, want) {
						t.Fatalf("%d bytes to elsewhere: got % x, want % x", n, d, want)
					}
				}
				mask(s, key)
				if !bytes.Equal(s, want) {
					t.Fatalf("%d bytes: got % x, want % x", n, s, want)
				}
			}
		}
	})
}
