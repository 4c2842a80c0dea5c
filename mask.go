package websocket

import (
	"encoding/binary"
	"math/bits"
)

// mask applies the masking algorithm to b in place and returns the key rotated
// for the byte that follows, so that a payload may be masked in pieces (section
// 5.3):
//
//	j                   = i MOD 4
//	transformed-octet-i = original-octet-i XOR masking-key-octet-j
//
// The key's first byte is in its lowest bits. "The same algorithm applies
// regardless of the direction of the translation".
func mask(b []byte, key uint32) uint32 {
	maskTo(b, b, key)
	return rotate(key, len(b))
}

// rotate returns key for the byte that follows n bytes.
func rotate(key uint32, n int) uint32 { return bits.RotateLeft32(key, -8*(n&3)) }

// maskTo writes src, masked, to dst, in one pass. dst is as long as src, and is
// src itself or overlaps it nowhere.
func maskTo(dst, src []byte, key uint32) {
	n := len(src)
	dst = dst[:n]
	if n < 8 {
		for i := range src {
			dst[i] = src[i] ^ byte(key)
			key = bits.RotateLeft32(key, -8)
		}
		return
	}
	k := uint64(key)<<32 | uint64(key)

	// The last eight bytes are taken first and put back last, overlapping the
	// words before them: what is left over by the words then needs no loop of
	// bytes.
	tail := binary.LittleEndian.Uint64(src[n-8:]) ^ bits.RotateLeft64(k, -8*(n&3))
	d, s := dst, src
	for len(s) >= 64 && len(d) >= 64 {
		binary.LittleEndian.PutUint64(d, binary.LittleEndian.Uint64(s)^k)
		binary.LittleEndian.PutUint64(d[8:], binary.LittleEndian.Uint64(s[8:])^k)
		binary.LittleEndian.PutUint64(d[16:], binary.LittleEndian.Uint64(s[16:])^k)
		binary.LittleEndian.PutUint64(d[24:], binary.LittleEndian.Uint64(s[24:])^k)
		binary.LittleEndian.PutUint64(d[32:], binary.LittleEndian.Uint64(s[32:])^k)
		binary.LittleEndian.PutUint64(d[40:], binary.LittleEndian.Uint64(s[40:])^k)
		binary.LittleEndian.PutUint64(d[48:], binary.LittleEndian.Uint64(s[48:])^k)
		binary.LittleEndian.PutUint64(d[56:], binary.LittleEndian.Uint64(s[56:])^k)
		d, s = d[64:], s[64:]
	}
	for len(s) >= 8 && len(d) >= 8 {
		binary.LittleEndian.PutUint64(d, binary.LittleEndian.Uint64(s)^k)
		d, s = d[8:], s[8:]
	}
	binary.LittleEndian.PutUint64(dst[n-8:], tail)
}
