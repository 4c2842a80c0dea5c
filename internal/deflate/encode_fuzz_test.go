package deflate

import (
	"encoding/binary"
	"testing"
)

// FuzzDeflateRoundTrip has some messages compressed, in one way or another, and
// reads them back in three.
func FuzzDeflateRoundTrip(f *testing.F) {
	f.Fuzz(func(t *testing.T, kind uint8, way uint64, program []byte) {
		level, takeover, windowBits := Fast+int(kind&1), kind&2 != 0, MinWindowBits+int(kind>>2)%8
		e, p := NewEncoder(windowBits, level, takeover), newEncoderPeer(windowBits, takeover)
		r := corpusRand(way)
		for i, message := range fuzzMessages(program) {
			b, ok := e.AppendMessage(nil, message)
			var err error
			switch {
			case ok && len(b) >= len(message):
				t.Fatalf("message %d: got %d bytes for %d", i, len(b), len(message))
			case ok:
				err = p.read(b, message, true)
			case way%3 != 0:
				err = appendParts(e, p, message, -1, r)
			}
			if err != nil {
				t.Fatalf("window of %d bits, level %d, takeover %v, message %d: %v", windowBits, level, takeover, i, err)
			}
			switch r.IntN(8) {
			case 0:
				e.Reset()
				p.reset()
			case 1:
				if err := appendParts(e, p, message, 1+r.IntN(1+len(message)), r); err != nil {
					t.Fatalf("window of %d bits, level %d, takeover %v, message %d again: %v", windowBits, level, takeover, i, err)
				}
			}
		}
	})
}

// fuzzMessages returns the messages that program makes. Its instructions are
//
//	00           end of a message
//	01-7E        that many bytes, which follow, to append
//	7F n         n*256 bytes that do not compress
//	80-FF d1 d2  a match of some length, if there is as much as its distance
func fuzzMessages(program []byte) (messages [][]byte) {
	const most = 1 << 18
	var out []byte // all messages
	start := 0
	for len(program) > 0 && len(out) < most {
		op := int(program[0])
		program = program[1:]
		switch {
		case op == 0:
			messages = append(messages, out[start:])
			start = len(out)
		case op < 0x7F:
			n := min(op, len(program))
			out = append(out, program[:n]...)
			program = program[n:]
		case op == 0x7F && len(program) > 0:
			out = append(out, randomMessage(int(program[0])<<8)...)
			program = program[1:]
		case op >= 0x80 && len(program) >= 2:
			distance := 1 + int(binary.BigEndian.Uint16(program))
			program = program[2:]
			for n := (op & 0x7F) * (op & 0x7F); n >= 0 && distance <= len(out); n-- {
				out = append(out, out[len(out)-distance])
			}
		}
	}
	return append(messages, out[start:])
}
