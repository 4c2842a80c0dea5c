package websocket

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
)

// fromBits returns the bytes that s draws bit by bit, as section 5.2 does.
// Spaces are for the reader.
func fromBits(t testing.TB, s string) []byte {
	t.Helper()
	s = strings.ReplaceAll(s, " ", "")
	if len(s)%8 != 0 {
		t.Fatalf("%q is not a number of whole bytes", s)
	}
	b := make([]byte, len(s)/8)
	for i, bit := range s {
		switch bit {
		case '1':
			b[i/8] |= 0x80 >> (i % 8)
		case '0':
		default:
			t.Fatalf("%q is not a bit", bit)
		}
	}
	return b
}

// headerTests are the headers of section 5.7, and those
// at and beyond each limit of section 5.2.
var headerTests = []struct {
	name   string
	bits   string // the header as section 5.2 draws it
	header header
	err    error
}{{
	name:   "5.7 unmasked text",
	bits:   "1 000 0001  0 0000101",
	header: header{fin: true, opcode: opText, payloadLength: 5},
}, {
	name:   "5.7 masked text",
	bits:   "1 000 0001  1 0000101  00110111 11111010 00100001 00111101",
	header: header{fin: true, opcode: opText, masked: true, maskingKey: 0x3d21fa37, payloadLength: 5},
}, {
	name:   "5.7 first fragment",
	bits:   "0 000 0001  0 0000011",
	header: header{opcode: opText, payloadLength: 3},
}, {
	name:   "5.7 last fragment",
	bits:   "1 000 0000  0 0000010",
	header: header{fin: true, opcode: opContinuation, payloadLength: 2},
}, {
	name:   "5.7 unmasked Ping",
	bits:   "1 000 1001  0 0000101",
	header: header{fin: true, opcode: opPing, payloadLength: 5},
}, {
	name:   "5.7 masked Pong",
	bits:   "1 000 1010  1 0000101  00110111 11111010 00100001 00111101",
	header: header{fin: true, opcode: opPong, masked: true, maskingKey: 0x3d21fa37, payloadLength: 5},
}, {
	name:   "5.7 256 bytes",
	bits:   "1 000 0010  0 1111110  00000001 00000000",
	header: header{fin: true, opcode: opBinary, payloadLength: 256},
}, {
	name: "5.7 64 KiB",
	bits: "1 000 0010  0 1111111  00000000 00000000 00000000 00000000" +
		" 00000000 00000001 00000000 00000000",
	header: header{fin: true, opcode: opBinary, payloadLength: 65536},
}, {
	name:   "empty Close",
	bits:   "1 000 1000  0 0000000",
	header: header{fin: true, opcode: opClose},
}, {
	name:   "nothing set",
	bits:   "0 000 0000  0 0000000",
	header: header{},
}, {
	name:   "masked and empty",
	bits:   "1 000 0001  1 0000000  00000001 00000010 00000100 10000000",
	header: header{fin: true, opcode: opText, masked: true, maskingKey: 0x80040201},
}, {
	name:   "RSV1",
	bits:   "0 100 0010  0 0000001",
	header: header{rsv: rsv1, opcode: opBinary, payloadLength: 1},
}, {
	name:   "RSV2",
	bits:   "0 010 0010  0 0000001",
	header: header{rsv: rsv2, opcode: opBinary, payloadLength: 1},
}, {
	name:   "RSV3",
	bits:   "0 001 0010  0 0000001",
	header: header{rsv: rsv3, opcode: opBinary, payloadLength: 1},
}, {
	name:   "everything set that may be",
	bits:   "1 111 1111  1 1111110  11111111 11111111  11111111 11111111 11111111 11111111",
	header: header{fin: true, rsv: 7, opcode: 0xF, masked: true, maskingKey: math.MaxUint32, payloadLength: 65535},
}, {
	name:   "125",
	bits:   "1 000 0010  0 1111101",
	header: header{fin: true, opcode: opBinary, payloadLength: 125},
}, {
	name:   "126",
	bits:   "1 000 0010  0 1111110  00000000 01111110",
	header: header{fin: true, opcode: opBinary, payloadLength: 126},
}, {
	name:   "127",
	bits:   "1 000 0010  0 1111110  00000000 01111111",
	header: header{fin: true, opcode: opBinary, payloadLength: 127},
}, {
	name:   "65535",
	bits:   "1 000 0010  0 1111110  11111111 11111111",
	header: header{fin: true, opcode: opBinary, payloadLength: 65535},
}, {
	name: "65536 masked",
	bits: "1 000 0010  1 1111111  00000000 00000000 00000000 00000000" +
		" 00000000 00000001 00000000 00000000  00110111 11111010 00100001 00111101",
	header: header{fin: true, opcode: opBinary, masked: true, maskingKey: 0x3d21fa37, payloadLength: 65536},
}, {
	name: "2^32",
	bits: "1 000 0010  0 1111111  00000000 00000000 00000000 00000001" +
		" 00000000 00000000 00000000 00000000",
	header: header{fin: true, opcode: opBinary, payloadLength: 1 << 32},
}, {
	name: "the bytes of a length in their order",
	bits: "1 000 0010  0 1111111  00000001 00000010 00000011 00000100" +
		" 00000101 00000110 00000111 00001000",
	header: header{fin: true, opcode: opBinary, payloadLength: 0x0102030405060708},
}, {
	name: "2^63-1",
	bits: "1 000 0010  0 1111111  01111111 11111111 11111111 11111111" +
		" 11111111 11111111 11111111 11111111",
	header: header{fin: true, opcode: opBinary, payloadLength: 1<<63 - 1},
}, {
	name: "0 in sixteen bits",
	bits: "1 000 0010  0 1111110  00000000 00000000",
	err:  errLengthNotMinimal,
}, {
	name: "125 in sixteen bits",
	bits: "1 000 0010  0 1111110  00000000 01111101",
	err:  errLengthNotMinimal,
}, {
	name: "125 in sixteen bits, masked",
	bits: "1 000 0010  1 1111110  00000000 01111101  11111111 11111111 11111111 11111111",
	err:  errLengthNotMinimal,
}, {
	name: "0 in sixty-four bits",
	bits: "1 000 0010  0 1111111  00000000 00000000 00000000 00000000" +
		" 00000000 00000000 00000000 00000000",
	err: errLengthNotMinimal,
}, {
	name: "125 in sixty-four bits",
	bits: "1 000 0010  0 1111111  00000000 00000000 00000000 00000000" +
		" 00000000 00000000 00000000 01111101",
	err: errLengthNotMinimal,
}, {
	name: "126 in sixty-four bits",
	bits: "1 000 0010  0 1111111  00000000 00000000 00000000 00000000" +
		" 00000000 00000000 00000000 01111110",
	err: errLengthNotMinimal,
}, {
	name: "65535 in sixty-four bits",
	bits: "1 000 0010  0 1111111  00000000 00000000 00000000 00000000" +
		" 00000000 00000000 11111111 11111111",
	err: errLengthNotMinimal,
}, {
	name: "2^63",
	bits: "1 000 0010  0 1111111  10000000 00000000 00000000 00000000" +
		" 00000000 00000000 00000000 00000000",
	err: errLengthTooBig,
}, {
	name: "2^63+1",
	bits: "1 000 0010  0 1111111  10000000 00000000 00000000 00000000" +
		" 00000000 00000000 00000000 00000001",
	err: errLengthTooBig,
}, {
	name: "2^64-1",
	bits: "1 000 0010  0 1111111  11111111 11111111 11111111 11111111" +
		" 11111111 11111111 11111111 11111111",
	err: errLengthTooBig,
}}

func TestHeader(t *testing.T) {
	for _, tt := range headerTests {
		t.Run(tt.name, func(t *testing.T) {
			b := fromBits(t, tt.bits)
			if got := headerLen(b[:2]); got != len(b) {
				t.Errorf("headerLen: got %d, want %d", got, len(b))
			}
			got, err := parseHeader(b)
			if got != tt.header || err != tt.err {
				t.Errorf("parseHeader: got %+v, %v, want %+v, %v", got, err, tt.header, tt.err)
			}
			if tt.err != nil {
				return
			}
			const before = "before"
			if got, want := appendHeader([]byte(before), tt.header), before+string(b); string(got) != want {
				t.Errorf("appendHeader: got % x, want % x", got, want)
			}
		})
	}
}

// Whatever header is appended is parsed as it was, and
// what follows it does not matter.
func TestHeaderRoundTrip(t *testing.T) {
	lengths := []uint64{0, 1, 125, 126, 127, 255, 256, 65535, 65536, 1<<32 - 1, 1 << 32, 1<<63 - 1}
	for b0 := range 256 {
		for _, length := range lengths {
			for _, masked := range []bool{false, true} {
				h := header{fin: b0&0x80 != 0, rsv: uint8(b0 >> 4 & 7), opcode: opcode(b0 & 0xF), masked: masked, payloadLength: length}
				if masked {
					h.maskingKey = 0xfedcba98
				}
				b := appendHeader(nil, h)
				if b[0] != byte(b0) {
					t.Fatalf("%+v: got first byte %08b, want %08b", h, b[0], b0)
				}
				if got := headerLen(b); got != len(b) || got > maxHeaderLength {
					t.Fatalf("%+v: got headerLen %d, want %d", h, got, len(b))
				}
				got, err := parseHeader(append(b, "payload"...))
				if got != h || err != nil {
					t.Fatalf("got %+v, %v, want %+v", got, err, h)
				}
			}
		}
	}
}

func TestHeaderLen(t *testing.T) {
	for b0 := range 256 {
		for b1 := range 256 {
			want := 2
			if b1%128 == 126 {
				want = 4
			}
			if b1%128 == 127 {
				want = 10
			}
			if b1 >= 128 {
				want += 4
			}
			if got := headerLen([]byte{byte(b0), byte(b1)}); got != want {
				t.Fatalf("headerLen of %02x %02x: got %d, want %d", b0, b1, got, want)
			}
		}
	}
}

// opcodes is the table of opcodes in section 5.2: c are those
// of control frames, d those of data frames, - is reserved.
const opcodes = "ddd-----" + "ccc-----"

// check is held against each rule by itself, for every opcode, FIN, RSV, class
// of lengths, mask and side. If a header breaks several, any one will do.
func TestHeaderCheck(t *testing.T) {
	for b0 := range 256 {
		for _, length := range []uint64{0, 125, 126, 65535, 65536, 1<<63 - 1} {
			for _, masked := range []bool{false, true} {
				for _, side := range []side{serverSide, clientSide} {
					for rsv := range uint8(8) {
						h := header{fin: b0&0x80 != 0, rsv: uint8(b0 >> 4 & 7), opcode: opcode(b0 & 0xF), masked: masked, payloadLength: length}
						kind := opcodes[b0&0xF]
						broken := map[error]bool{
							errReservedBits:    h.rsv|rsv != rsv,
							errCompressedBit:   h.rsv&rsv1 != 0 && (b0&8 != 0 || b0&0xF == 0),
							errReservedOpcode:  kind == '-',
							errNotMasked:       side == serverSide && !masked,
							errMasked:          side == clientSide && masked,
							errControlTooLong:  b0&8 != 0 && length > 125,
							errControlFragment: b0&8 != 0 && !h.fin,
						}
						wantErr := false
						for _, b := range broken {
							wantErr = wantErr || b
						}
						err := h.check(side, rsv)
						if (err != nil) != wantErr || err != nil && !broken[err] {
							t.Fatalf("%+v to side %d with rsv %03b: got %v, broken are %v", h, side, rsv, err, broken)
						}
					}
				}
			}
		}
	}
}

func TestOpcode(t *testing.T) {
	for i, kind := range opcodes {
		if got, want := opcode(i).isReserved(), kind == '-'; got != want {
			t.Errorf("%#x reserved: got %v, want %v", i, got, want)
		}
		if got, want := opcode(i).isControl(), i >= 8; got != want {
			t.Errorf("%#x control: got %v, want %v", i, got, want)
		}
	}
}

// The status codes with which the rules have a connection failed, and
// that each names its section.
func TestProtocolError(t *testing.T) {
	tests := []struct {
		err     error
		code    StatusCode
		section string
	}{
		{errLengthNotMinimal, 1002, "5.2"},
		{errLengthTooBig, 1002, "5.2"},
		{errReservedBits, 1002, "5.2"},
		{errReservedOpcode, 1002, "5.2"},
		{errNotMasked, 1002, "5.1"},
		{errMasked, 1002, "5.1"},
		{errControlTooLong, 1002, "5.5"},
		{errControlFragment, 1002, "5.4"},
		{errMessageExpected, 1002, "5.4"},
		{errContinuationExpected, 1002, "5.4"},
		{errTooManyFragments, 1008, "10.4"},
		{ErrMessageTooBig, 1009, "10.4"},
		{errInvalidUTF8, 1007, "8.1"},
		{errCloseLength, 1002, "5.5.1"},
		{errCloseCode, 1002, "7.4"},
		{errCloseUTF8, 1007, "5.5.1"},
	}
	texts := make(map[string]bool)
	for _, tt := range tests {
		err, ok := tt.err.(*protocolError)
		if !ok {
			t.Errorf("%v is a %T", tt.err, tt.err)
			continue
		}
		if err.code != tt.code {
			t.Errorf("%v: got code %d, want %d", err, err.code, tt.code)
		}
		want := fmt.Sprintf("websocket: %s (RFC 6455, section %s)", err.text, tt.section)
		if got := err.Error(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if texts[err.text] {
			t.Errorf("%q is the text of two errors", err.text)
		}
		texts[err.text] = true
		// The text is the reason in our Close frame, and has to fit.
		if payload := appendClose(nil, err.code, err.text); !bytes.HasSuffix(payload, []byte(err.text)) {
			t.Errorf("%q does not fit a Close frame", err.text)
		}
	}
}

// parseMessage takes what the other rules would admit as a whole message, and
// nothing else, for all that two bytes can say.
func TestParseMessage(t *testing.T) {
	for _, length := range []int{2, 5, 9, 20, 139, 140, 200} {
		for i := range 1 << 16 {
			b := make([]byte, length)
			b[0], b[1] = byte(i>>8), byte(i)
			b[length-1]++ // so that a length of 16 bits may be minimal, or not
			b[3%length] += 130
			for _, s := range []side{serverSide, clientSide} {
				for _, limit := range []uint64{0, 5, 126, 130, 1000} {
					h, n, ok := parseMessage(b, s, limit)
					wantHeader, wantLength, want := messageByRules(b, s, limit)
					if ok != want || ok && (h != wantHeader || n != wantLength) {
						t.Fatalf("% x, %v, limit %d: got %+v, %d, %t, want %+v, %d, %t", b[:5], s, limit, h, n, ok, wantHeader, wantLength, want)
					}
				}
			}
		}
	}
}

// messageByRules is parseMessage, by the rules one after the other.
func messageByRules(b []byte, s side, limit uint64) (header, int, bool) {
	n := headerLen(b)
	if len(b) < n {
		return header{}, 0, false
	}
	h, err := parseHeader(b[:n])
	var in sequence
	whole := err == nil && h.check(s, 0) == nil && in.next(h, limit) == nil && in.underWay() &&
		h.fin && uint64(len(b)-n) >= h.payloadLength
	return h, n, whole
}
