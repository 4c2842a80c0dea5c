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
func rotate(key uint32, n int) uint32 { return bits.RotateLeft32(key, -8*n) }

// maskTo writes src, masked, to dst, in one pass. dst is as long as src, and is
// src itself or overlaps it nowhere.
//
// Where words do not come out even, the last of them end where src ends, and
// overlap those before: no loop of bytes is left. As dst may be src, they are
// read before anything is written.
func maskTo(dst, src []byte, key uint32) {
	le, n := binary.LittleEndian, len(src)
	dst = dst[:n]
	if n >= 8 {
		k := uint64(key) * (1<<32 + 1)
		kLast := bits.RotateLeft64(k, -8*n) // for words that end where src does
		switch {
		case n <= 16:
			last := le.Uint64(src[n-8:])
			le.PutUint64(dst, le.Uint64(src)^k)
			le.PutUint64(dst[n-8:], last^kLast)
		case n <= 32:
			last0, last1 := le.Uint64(src[n-16:]), le.Uint64(src[n-8:])
			le.PutUint64(dst, le.Uint64(src)^k)
			le.PutUint64(dst[8:], le.Uint64(src[8:])^k)
			le.PutUint64(dst[n-16:], last0^kLast)
			le.PutUint64(dst[n-8:], last1^kLast)
		case n <= 64:
			last0, last1 := le.Uint64(src[n-32:]), le.Uint64(src[n-24:])
			last2, last3 := le.Uint64(src[n-16:]), le.Uint64(src[n-8:])
			le.PutUint64(dst, le.Uint64(src)^k)
			le.PutUint64(dst[8:], le.Uint64(src[8:])^k)
			le.PutUint64(dst[16:], le.Uint64(src[16:])^k)
			le.PutUint64(dst[24:], le.Uint64(src[24:])^k)
			le.PutUint64(dst[n-32:], last0^kLast)
			le.PutUint64(dst[n-24:], last1^kLast)
			le.PutUint64(dst[n-16:], last2^kLast)
			le.PutUint64(dst[n-8:], last3^kLast)
		default:
			maskLong(dst, src, key)
		}
		return
	}
	if n >= 4 {
		last := le.Uint32(src[n-4:])
		le.PutUint32(dst, le.Uint32(src)^key)
		le.PutUint32(dst[n-4:], last^rotate(key, n))
		return
	}
	if n >= 2 {
		le.PutUint16(dst, le.Uint16(src)^uint16(key))
		key >>= 16
	}
	if n&1 != 0 {
		dst[n-1] = src[n-1] ^ byte(key)
	}
}
