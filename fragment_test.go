package websocket

import (
	"math"
	"testing"
)

// A frameStep is a frame that comes, and the error of that.
type frameStep struct {
	fin     bool
	opcode  opcode
	payload string
	err     error
}

// sequenceTests are frames in order, each with what comes of it (section 5.4).
var sequenceTests = []struct {
	name   string
	frames []frameStep
}{{
	name: "unfragmented messages",
	frames: []frameStep{
		{true, opText, "Hello", nil},
		{true, opBinary, "\xFF", nil},
		{true, opText, "", nil},
		{true, opBinary, "", nil},
	},
}, {
	name: "5.7 fragmented text",
	frames: []frameStep{
		{false, opText, "Hel", nil},
		{true, opContinuation, "lo", nil},
	},
}, {
	name: "many fragments, empty ones among them",
	frames: []frameStep{
		{false, opBinary, "", nil},
		{false, opContinuation, "a", nil},
		{false, opContinuation, "", nil},
		{true, opContinuation, "", nil},
		{true, opText, "next", nil},
	},
}, {
	name: "control frames anywhere",
	frames: []frameStep{
		{true, opPing, "", nil},
		{false, opText, "Hel", nil},
		{true, opPong, "\xFF", nil},
		{true, opPing, "\xFF", nil},
		{true, opClose, "", nil},
		{true, opContinuation, "lo", nil},
		{true, opPing, "", nil},
	},
}, {
	name: "continuation of nothing",
	frames: []frameStep{
		{false, opContinuation, "", errMessageExpected},
		{true, opContinuation, "", errMessageExpected},
		{true, opText, "Hello", nil},
		{true, opContinuation, "", errMessageExpected},
		{false, opText, "Hel", nil},
		{true, opContinuation, "lo", nil},
		{false, opContinuation, "", errMessageExpected},
	},
}, {
	name: "message in a message",
	frames: []frameStep{
		{false, opText, "Hel", nil},
		{true, opText, "lo", errContinuationExpected},
		{false, opText, "lo", errContinuationExpected},
		{true, opBinary, "", errContinuationExpected},
		{false, opContinuation, "l", nil},
		{false, opBinary, "lo", errContinuationExpected},
		{true, opContinuation, "o", nil},
		{true, opBinary, "", nil},
	},
}, {
	name: "characters across fragments",
	frames: []frameStep{
		{false, opText, "\xCE", nil},
		{false, opContinuation, "\xBA\xE1", nil},
		{false, opContinuation, "", nil},
		{false, opContinuation, "\xBD", nil},
		{true, opPing, "\xFF", nil},
		{false, opContinuation, "\xB9\xF0\x9F\x98", nil},
		{true, opContinuation, "\x80", nil},
		{true, opText, "😀", nil},
	},
}, {
	name: "end within a character",
	frames: []frameStep{
		{true, opText, "\xF0\x9F\x98", errInvalidUTF8},
	},
}, {
	name: "end within a character, empty fragment",
	frames: []frameStep{
		{false, opText, "\xC3", nil},
		{true, opContinuation, "", errInvalidUTF8},
	},
}, {
	name: "impossible byte in the first fragment",
	frames: []frameStep{
		{false, opText, "Hell\xC0", errInvalidUTF8},
	},
}, {
	name: "impossible byte at the beginning of a fragment",
	frames: []frameStep{
		{false, opText, "\xED", nil},
		{false, opContinuation, "\xA0", errInvalidUTF8},
	},
}, {
	name: "character that the next message would complete",
	frames: []frameStep{
		{false, opBinary, "\xC3", nil},
		{true, opContinuation, "", nil},
		{true, opText, "\xA9", errInvalidUTF8},
	},
}, {
	name: "bytes that are not text",
	frames: []frameStep{
		{false, opBinary, "\xFF", nil},
		{true, opContinuation, "\xED\xA0", nil},
		{true, opText, "é", nil},
	},
}}

// step admits a whole frame. It reports whether s is as it was if that is an
// error, and without a message if that was the end of one.
func (s *sequence) step(f frameStep, limit uint64) (err error, unchanged bool) {
	before := *s
	h := header{fin: f.fin, opcode: f.opcode, payloadLength: uint64(len(f.payload))}
	if err = s.next(h, limit); err != nil || f.opcode.isControl() {
		return err, *s == before
	}
	before = *s
	if err = s.payload([]byte(f.payload)); err != nil {
		return err, *s == before
	}
	if !f.fin {
		return nil, true
	}
	before = *s
	if err = s.end(); err != nil {
		return err, *s == before
	}
	return nil, *s == sequence{}
}

func TestSequence(t *testing.T) {
	for _, tt := range sequenceTests {
		t.Run(tt.name, func(t *testing.T) {
			var s sequence
			for i, f := range tt.frames {
				underWay := s.underWay()
				err, unchanged := s.step(f, math.MaxUint64)
				if err != f.err {
					t.Fatalf("frame %d: got %v, want %v", i, err, f.err)
				}
				if !unchanged {
					t.Fatalf("frame %d: got state %+v", i, s)
				}
				switch {
				case f.opcode.isControl():
				case err == nil:
					underWay = !f.fin
				case err == errInvalidUTF8:
					underWay = true
				}
				if got := s.underWay(); got != underWay {
					t.Fatalf("frame %d: got underWay %v, want %v", i, got, underWay)
				}
			}
		})
	}
}

// limitTests are the payload lengths of a message's fragments, of
// which the last is beyond the limit if tooBig says so.
var limitTests = []struct {
	name    string
	limit   uint64
	lengths []uint64
	tooBig  bool
}{
	{"nothing allowed, nothing sent", 0, []uint64{0}, false},
	{"nothing allowed, no end", 0, []uint64{0, 0, 0}, false},
	{"nothing allowed, a byte sent", 0, []uint64{1}, true},
	{"at the limit", 100, []uint64{100}, false},
	{"beyond the limit", 100, []uint64{101}, true},
	{"far beyond the limit", 100, []uint64{1<<63 - 1}, true},
	{"sum at the limit", 100, []uint64{50, 49, 1}, false},
	{"sum at the limit, then nothing", 100, []uint64{50, 50, 0, 0}, false},
	{"sum beyond the limit", 100, []uint64{50, 50, 1}, true},
	{"sum far beyond the limit", 100, []uint64{50, 1<<63 - 1}, true},
	{"sum beyond the largest length", 1 << 20, []uint64{1, 1<<63 - 1}, true},
	{"sum of all that is allowed, and more", 1 << 20, []uint64{1 << 20, 1<<63 - 1}, true},
	{"largest limit of an int64", 1<<63 - 1, []uint64{1<<63 - 1}, false},
	{"sum beyond an int64", 1<<63 - 1, []uint64{1<<63 - 1, 1}, true},
	{"sum of two beyond an int64", 1<<63 - 1, []uint64{1 << 62, 1 << 62}, true},
	{"no limit", math.MaxUint64, []uint64{1<<63 - 1, 1<<63 - 1, 1}, false},
	{"no limit, sum beyond a uint64", math.MaxUint64, []uint64{1<<63 - 1, 1<<63 - 1, 1, 1}, true},
	{"no limit, sum far beyond a uint64", math.MaxUint64, []uint64{1<<63 - 1, 1<<63 - 1, 1<<63 - 1}, true},
}

func TestSequenceLimit(t *testing.T) {
	for _, tt := range limitTests {
		t.Run(tt.name, func(t *testing.T) {
			var s sequence
			op := opBinary
			for i, n := range tt.lengths {
				before := s
				err := s.next(header{opcode: op, payloadLength: n}, tt.limit)
				if tt.tooBig && i == len(tt.lengths)-1 {
					if err != ErrMessageTooBig {
						t.Errorf("fragment %d: got %v, want %v", i, err, ErrMessageTooBig)
					}
					if s != before {
						t.Errorf("fragment %d: got state %+v, want %+v", i, s, before)
					}
					return
				}
				if err != nil {
					t.Fatalf("fragment %d: got %v", i, err)
				}
				op = opContinuation
			}
			// Neither control frames nor the next message count.
			if err := s.next(header{fin: true, opcode: opPing, payloadLength: 125}, tt.limit); err != nil {
				t.Errorf("Ping: got %v", err)
			}
			if err := s.end(); err != nil {
				t.Errorf("end: got %v", err)
			}
			if err := s.next(header{opcode: opBinary, payloadLength: tt.limit}, tt.limit); err != nil {
				t.Errorf("next message: got %v", err)
			}
		})
	}
}

// A message of k fragments and n bytes is allowed if k ≤ 65536 + n/64.
func TestSequenceTooManyFragments(t *testing.T) {
	const enough = 70000
	for _, length := range []uint64{0, 1, 2, 3, 63, 64, 65} {
		var s sequence
		for message := range 2 {
			op := opBinary
			for k := uint64(1); k <= enough; k++ {
				var want error
				if k > 65536+k*length/64 {
					want = errTooManyFragments
				}
				before := s
				err := s.next(header{opcode: op, payloadLength: length}, math.MaxUint64)
				if err != want {
					t.Fatalf("message %d, fragment %d of %d bytes: got %v, want %v", message, k, length, err, want)
				}
				if err != nil {
					if s != before {
						t.Fatalf("fragment %d of %d bytes: got state %+v, want %+v", k, length, s, before)
					}
					break
				}
				op = opContinuation
			}
			if err := s.end(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// The bytes of the fragment that is announced count already.
func TestSequencePayloadAllowsFragments(t *testing.T) {
	s := sequence{opcode: opBinary, fragments: 65536}
	if err := s.next(header{payloadLength: 63}, math.MaxUint64); err != errTooManyFragments {
		t.Errorf("got %v, want %v", err, errTooManyFragments)
	}
	if err := s.next(header{payloadLength: 64}, math.MaxUint64); err != nil {
		t.Errorf("got %v", err)
	}
}

// Text may arrive, and be fragmented, at every byte.
func TestSequenceText(t *testing.T) {
	const text = "κόσμε, 😀 and ASCII enough for a word or two"
	for i := range len(text) + 1 {
		for j := i; j <= len(text); j++ {
			var s sequence
			op := opText
			for _, fragment := range []string{text[:i], text[i:j], text[j:]} {
				if err := s.next(header{opcode: op, payloadLength: uint64(len(fragment))}, math.MaxUint64); err != nil {
					t.Fatal(err)
				}
				half := len(fragment) / 2
				for _, piece := range []string{fragment[:half], fragment[half:]} {
					if err := s.payload([]byte(piece)); err != nil {
						t.Fatalf("cut at %d and %d: got %v", i, j, err)
					}
				}
				op = opContinuation
			}
			if err := s.end(); err != nil {
				t.Fatalf("cut at %d and %d: got %v at the end", i, j, err)
			}
		}
	}
}
