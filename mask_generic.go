//go:build (!amd64 && !arm64) || purego || race

package websocket

import (
	"encoding/binary"
	"math/bits"
)

// maskLong is maskTo for more than 64 bytes. The last 32 are read first, and
// written last. The race detector has it too: it does not see what
// assembly reads and writes.
func maskLong(dst, src []byte, key uint32) {
	le, n := binary.LittleEndian, len(src)
	dst = dst[:n]
	k := uint64(key) * (1<<32 + 1)
	kLast := bits.RotateLeft64(k, -8*n)
	last0, last1 := le.Uint64(src[n-32:]), le.Uint64(src[n-24:])
	last2, last3 := le.Uint64(src[n-16:]), le.Uint64(src[n-8:])
	d, s := dst, src
	for len(s) > 64 && len(d) > 64 {
		le.PutUint64(d, le.Uint64(s)^k)
		le.PutUint64(d[8:], le.Uint64(s[8:])^k)
		le.PutUint64(d[16:], le.Uint64(s[16:])^k)
		le.PutUint64(d[24:], le.Uint64(s[24:])^k)
		le.PutUint64(d[32:], le.Uint64(s[32:])^k)
		le.PutUint64(d[40:], le.Uint64(s[40:])^k)
		le.PutUint64(d[48:], le.Uint64(s[48:])^k)
		le.PutUint64(d[56:], le.Uint64(s[56:])^k)
		d, s = d[64:], s[64:]
	}
	if len(s) > 32 && len(d) > 32 {
		le.PutUint64(d, le.Uint64(s)^k)
		le.PutUint64(d[8:], le.Uint64(s[8:])^k)
		le.PutUint64(d[16:], le.Uint64(s[16:])^k)
		le.PutUint64(d[24:], le.Uint64(s[24:])^k)
	}
	le.PutUint64(dst[n-32:], last0^kLast)
	le.PutUint64(dst[n-24:], last1^kLast)
	le.PutUint64(dst[n-16:], last2^kLast)
	le.PutUint64(dst[n-8:], last3^kLast)
}
