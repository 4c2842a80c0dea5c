package websocket

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
)

// An opcode says what the payload of a frame is (section 5.2).
type opcode uint8

const (
	opContinuation opcode = 0x0
	opText         opcode = 0x1
	opBinary       opcode = 0x2
	opClose        opcode = 0x8
	opPing         opcode = 0x9
	opPong         opcode = 0xA
)

// String returns the RFC's name of o.
func (o opcode) String() string {
	switch o {
	case opContinuation:
		return "continuation"
	case opText:
		return "text"
	case opBinary:
		return "binary"
	case opClose:
		return "Close"
	case opPing:
		return "Ping"
	case opPong:
		return "Pong"
	}
	return fmt.Sprintf("opcode %d", uint8(o))
}

// isControl reports whether o is the opcode of a control frame.
//
// "Control frames are identified by opcodes where the most significant
// bit of the opcode is 1." (section 5.5)
func (o opcode) isControl() bool { return o&0x8 != 0 }

// isReserved reports whether o has no meaning yet.
//
// "%x3-7 are reserved for further non-control frames [...] %xB-F are
// reserved for further control frames" (section 5.2)
func (o opcode) isReserved() bool { return o&0x7 > 2 }

// A side is the part that an endpoint plays in a connection.
type side uint8

const (
	serverSide side = iota
	clientSide
)

// The bits of header.rsv.
const (
	rsv1 = 0x4
	rsv2 = 0x2
	rsv3 = 0x1
)

// A header is the part of a frame before its payload (section 5.2).
type header struct {
	fin    bool
	rsv    uint8
	opcode opcode
	masked bool

	// maskingKey holds the key's first byte in its lowest bits.
	maskingKey    uint32
	payloadLength uint64
}

const (
	maxHeaderLength         = 14
	maxControlPayloadLength = 125

	// Values of the seven bits of Payload len that announce
	// an extended payload length of two or eight bytes.
	length16 = 126
	length64 = 127
)

// A protocolError is a rule of the RFC that the peer broke.
type protocolError struct {
	code    StatusCode // what the connection is failed with
	section string     // of RFC 6455, unless it names another RFC
	text    string
}

func (e *protocolError) Error() string {
	if strings.HasPrefix(e.section, "RFC") {
		return fmt.Sprintf("websocket: %s (%s)", e.text, e.section)
	}
	return fmt.Sprintf("websocket: %s (RFC 6455, section %s)", e.text, e.section)
}

var (
	errLengthNotMinimal = &protocolError{StatusProtocolError, "5.2", "payload length not minimally encoded"}
	errLengthTooBig     = &protocolError{StatusProtocolError, "5.2", "payload length has its most significant bit set"}
	errReservedBits     = &protocolError{StatusProtocolError, "5.2", "reserved bit set without an extension that defines it"}
	errReservedOpcode   = &protocolError{StatusProtocolError, "5.2", "reserved opcode"}
	errNotMasked        = &protocolError{StatusProtocolError, "5.1", "frame from a client not masked"}
	errMasked           = &protocolError{StatusProtocolError, "5.1", "frame from a server masked"}
	errControlTooLong   = &protocolError{StatusProtocolError, "5.5", "payload of a control frame longer than 125 bytes"}
	errControlFragment  = &protocolError{StatusProtocolError, "5.4", "control frame fragmented"}
)

// headerLen returns the length of the header that begins with b,
// of which it needs the first two bytes.
func headerLen(b []byte) int {
	n := 2
	switch b[1] & 0x7F {
	case length16:
		n += 2
	case length64:
		n += 8
	}
	if b[1]&0x80 != 0 {
		n += 4
	}
	return n
}

// parseHeader returns the header that b begins with. b holds all of it,
// which is headerLen(b) bytes.
func parseHeader(b []byte) (header, error) {
	h := header{
		fin:           b[0]&0x80 != 0,
		rsv:           b[0] >> 4 & 0x7,
		opcode:        opcode(b[0] & 0xF),
		masked:        b[1]&0x80 != 0,
		payloadLength: uint64(b[1] & 0x7F),
	}
	b = b[2:]
	switch h.payloadLength {
	case length16:
		h.payloadLength = uint64(binary.BigEndian.Uint16(b))
		b = b[2:]
		// "in all cases, the minimal number of bytes MUST be used to
		// encode the length" (section 5.2)
		if h.payloadLength < length16 {
			return header{}, errLengthNotMinimal
		}
	case length64:
		h.payloadLength = binary.BigEndian.Uint64(b)
		b = b[8:]
		if h.payloadLength <= 0xFFFF {
			return header{}, errLengthNotMinimal
		}
		// "the most significant bit MUST be 0" (section 5.2)
		if h.payloadLength>>63 != 0 {
			return header{}, errLengthTooBig
		}
	}
	if h.masked {
		h.maskingKey = binary.LittleEndian.Uint32(b)
	}
	return h, nil
}

// parseMessage returns the header that b begins with and its length, if b begins
// with a whole message in one frame, not compressed, which breaks no rule of
// this file, and is no longer than limit. Whatever else b begins with, it reports false.
func parseMessage(b []byte, side side, limit uint64) (h header, n int, ok bool) {
	if len(b) < 2 || len(b) < headerLen(b) {
		return h, 0, false
	}
	n = headerLen(b)
	h, err := parseHeader(b[:n])
	ok = err == nil && h.fin && (h.opcode == opText || h.opcode == opBinary) &&
		h.payloadLength <= min(limit, uint64(len(b)-n)) && h.check(side, 0) == nil
	return h, n, ok
}

// frameEnd returns where the frame that b begins with ends, as far as b says: where the
// part of its header ends that says more, or math.MaxUint64 if the header breaks a rule.
func frameEnd(b []byte) uint64 {
	if len(b) < 2 {
		return 2
	}
	n := headerLen(b)
	if len(b) < n {
		return uint64(n)
	}
	h, err := parseHeader(b[:n])
	if err != nil {
		return math.MaxUint64
	}
	return uint64(n) + h.payloadLength
}

// beginsWithFrame reports whether b begins with a whole frame.
func beginsWithFrame(b []byte) bool { return frameEnd(b) <= uint64(len(b)) }

// unmask writes src, a part of the payload of a frame with the header h, to dst as it
// was before it was masked, if it was. dst is as long as src, and is src
// itself or overlaps it nowhere.
func (h header) unmask(dst, src []byte) {
	if h.masked {
		maskTo(dst, src, h.maskingKey)
	} else if len(src) > 0 && &dst[0] != &src[0] {
		copy(dst, src)
	}
}

// appendHeader appends h as it goes over the wire.
func appendHeader(b []byte, h header) []byte {
	b0 := h.rsv<<4 | uint8(h.opcode)
	if h.fin {
		b0 |= 0x80
	}
	var b1 uint8
	if h.masked {
		b1 = 0x80
	}
	switch {
	case h.payloadLength < length16:
		b = append(b, b0, b1|uint8(h.payloadLength))
	case h.payloadLength <= 0xFFFF:
		b = append(b, b0, b1|length16)
		b = binary.BigEndian.AppendUint16(b, uint16(h.payloadLength))
	default:
		b = append(b, b0, b1|length64)
		b = binary.BigEndian.AppendUint64(b, h.payloadLength)
	}
	if h.masked {
		b = binary.LittleEndian.AppendUint32(b, h.maskingKey)
	}
	return b
}

// appendFrame appends a frame with the header h, but for its length, which is
// that of payload.
func appendFrame(b []byte, h header, payload []byte) []byte {
	h.payloadLength = uint64(len(payload))
	b = appendHeader(b, h)
	if !h.masked {
		return append(b, payload...)
	}
	n := len(b)
	b = slices.Grow(b, len(payload))[:n+len(payload)]
	maskTo(b[n:], payload, h.maskingKey)
	return b
}

// check reports which rule a frame with header h breaks, taken by itself,
// when it is received by an endpoint of the given side. rsv holds the
// reserved bits that extensions have given a meaning.
func (h header) check(side side, rsv uint8) error {
	switch {
	// "MUST be 0 unless an extension is negotiated that defines meanings
	// for non-zero values. If a nonzero value is received and none of the
	// negotiated extensions defines the meaning of such a nonzero value,
	// the receiving endpoint MUST _Fail the WebSocket Connection_."
	// (section 5.2)
	case h.rsv&^rsv != 0:
		return errReservedBits

	// "An endpoint MUST NOT set the "Per-Message Compressed" bit of control
	// frames and non-first fragments of a data message. An endpoint receiving
	// such a frame MUST _Fail the WebSocket Connection_." (RFC 7692, section 6)
	case h.rsv&rsv1 != 0 && (h.opcode.isControl() || h.opcode == opContinuation):
		return errCompressedBit

	// "If an unknown opcode is received, the receiving endpoint MUST
	// _Fail the WebSocket Connection_." (section 5.2)
	case h.opcode.isReserved():
		return errReservedOpcode

	// "The server MUST close the connection upon receiving a frame that
	// is not masked. [...] A client MUST close a connection if it detects
	// a masked frame." (section 5.1)
	case side == serverSide && !h.masked:
		return errNotMasked
	case side == clientSide && h.masked:
		return errMasked

	// "All control frames MUST have a payload length of 125 bytes or less
	// and MUST NOT be fragmented." (section 5.5)
	case h.opcode.isControl() && h.payloadLength > maxControlPayloadLength:
		return errControlTooLong
	case h.opcode.isControl() && !h.fin:
		return errControlFragment
	}
	return nil
}
