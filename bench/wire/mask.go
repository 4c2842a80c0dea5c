package wire

import (
	"encoding/binary"
	"math/bits"
)

// Mask masks or unmasks p with a key (RFC 6455, section 5.3). It is as fast as it gets
// without assembly.
func Mask(p []byte, key uint32) {
	if len(p) < 8 {
		maskShort(p, key)
		return
	}
	// The last word goes first, with the bytes that it shares with the one before it as they
	// were, and is stored at the end: there is no loop over single bytes.
	key64 := uint64(key)<<32 | uint64(key)
	last := p[len(p)-8:]
	lastWord := binary.LittleEndian.Uint64(last) ^ bits.RotateLeft64(key64, -8*(len(p)%4))
	for len(p) >= 64 {
		binary.LittleEndian.PutUint64(p, binary.LittleEndian.Uint64(p)^key64)
		binary.LittleEndian.PutUint64(p[8:], binary.LittleEndian.Uint64(p[8:])^key64)
		binary.LittleEndian.PutUint64(p[16:], binary.LittleEndian.Uint64(p[16:])^key64)
		binary.LittleEndian.PutUint64(p[24:], binary.LittleEndian.Uint64(p[24:])^key64)
		binary.LittleEndian.PutUint64(p[32:], binary.LittleEndian.Uint64(p[32:])^key64)
		binary.LittleEndian.PutUint64(p[40:], binary.LittleEndian.Uint64(p[40:])^key64)
		binary.LittleEndian.PutUint64(p[48:], binary.LittleEndian.Uint64(p[48:])^key64)
		binary.LittleEndian.PutUint64(p[56:], binary.LittleEndian.Uint64(p[56:])^key64)
		p = p[64:]
	}
	for len(p) >= 8 {
		binary.LittleEndian.PutUint64(p, binary.LittleEndian.Uint64(p)^key64)
		p = p[8:]
	}
	binary.LittleEndian.PutUint64(last, lastWord)
}

func maskShort(p []byte, key uint32) {
	for i := range p {
		p[i] ^= byte(key)
		key = bits.RotateLeft32(key, -8)
	}
}
