// Package wire is RFC 6455 for those ends of a connection that are no library's: the floor that
// libraries are compared with, and the load that is put on them.
package wire

import "encoding/binary"

// The first byte of a frame (RFC 6455, section 5.2).
const (
	Fin  = 0x80
	RSV1 = 0x40 // of a message that is compressed (RFC 7692, section 6)

	Continuation = 0x0
	Text         = 0x1
	Binary       = 0x2
	Close        = 0x8
	Ping         = 0x9
	Pong         = 0xA
)

// MaxHeaderLength is the length of the longest header.
const MaxHeaderLength = 14

// A Header is what stands before the payload of a frame.
type Header struct {
	First  byte // as on the wire
	Masked bool
	Key    uint32 // the masking key, little-endian
	Length int    // of the payload
}

// Opcode returns the opcode.
func (h Header) Opcode() byte { return h.First & 0xF }

// Control reports whether the frame is a control frame.
func (h Header) Control() bool { return h.First&0x8 != 0 }

// ParseHeader parses the header that p begins with, and returns its length, or 0 if
// p has not all of it.
func ParseHeader(p []byte) (h Header, n int) {
	if len(p) < 2 {
		return h, 0
	}
	h.First, h.Masked, h.Length, n = p[0], p[1]&0x80 != 0, int(p[1]&0x7F), 2
	switch h.Length {
	case 126:
		n = 4
	case 127:
		n = 10
	}
	end := n
	if h.Masked {
		end += 4
	}
	if len(p) < end {
		return h, 0
	}
	switch h.Length {
	case 126:
		h.Length = int(binary.BigEndian.Uint16(p[2:]))
	case 127:
		h.Length = int(binary.BigEndian.Uint64(p[2:]))
	}
	if h.Masked {
		h.Key = binary.LittleEndian.Uint32(p[n:])
	}
	return h, end
}

// Size returns the length of the header.
func (h Header) Size() int {
	n := 2
	switch {
	case h.Length > 0xFFFF:
		n = 10
	case h.Length > 125:
		n = 4
	}
	if h.Masked {
		n += 4
	}
	return n
}

// Append appends the header to dst.
func (h Header) Append(dst []byte) []byte {
	var mask byte
	if h.Masked {
		mask = 0x80
	}
	switch {
	case h.Length > 0xFFFF:
		dst = binary.BigEndian.AppendUint64(append(dst, h.First, mask|127), uint64(h.Length))
	case h.Length > 125:
		dst = binary.BigEndian.AppendUint16(append(dst, h.First, mask|126), uint16(h.Length))
	default:
		dst = append(dst, h.First, mask|byte(h.Length))
	}
	if h.Masked {
		dst = binary.LittleEndian.AppendUint32(dst, h.Key)
	}
	return dst
}

// AppendFrame appends a frame with that payload, masked if h is.
func AppendFrame(dst []byte, h Header, payload []byte) []byte {
	h.Length = len(payload)
	dst = h.Append(dst)
	start := len(dst)
	dst = append(dst, payload...)
	if h.Masked {
		Mask(dst[start:], h.Key)
	}
	return dst
}
