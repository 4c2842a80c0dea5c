package deflate

import (
	"bytes"
	"compress/flate"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"unsafe"
)

// What a sender leaves out at the end of a message, and what makes
// compress/flate take it for the end of a stream.
const (
	tail       = "\x00\x00\xFF\xFF"
	finalBlock = "\x01\x00\x00\xFF\xFF"
)

// A chopping is a way to call an Inflater for a message.
type chopping struct {
	name string
	in   int  // how many bytes of input at a time: 0 all, -1 any number, with empty ones between
	room int  // the same for the room in dst
	late bool // the last call brings no input

	// stream makes each piece of output go elsewhere, as for one who reads in
	// pieces. Else they are put together in dst, behind something that is
	// not of the message.
	stream bool
}

var choppings = []chopping{
	{name: "whole"},
	{name: "in bytes", in: 1},
	{name: "in bytes, to the byte", in: 1, room: 1},
	{name: "to the byte", room: 1},
	{name: "to 7 bytes, streamed", room: 7, stream: true},
	{name: "to 300 bytes, streamed", room: 300, stream: true},
	{name: "to 4096 bytes, streamed, end late", room: 4096, stream: true, late: true},
	{name: "in 9 bytes to 1000", in: 9, room: 1000, late: true},
	{name: "at random", in: -1, room: -1},
	{name: "at random, end late", in: -1, room: -1, late: true},
	{name: "at random, streamed", in: -1, room: -1, stream: true},
	{name: "in 5000 bytes to 70000", in: 5000, room: 70000},
}

// step returns a number of bytes, for a step that was meant to be n.
func step(r *rand.Rand, n int) int {
	switch {
	case n == 0:
		return 1 << 30
	case n > 0:
		return n
	case r.IntN(8) == 0:
		return 0
	}
	return 1 + r.IntN(1<<r.IntN(12))
}

// inflate is z.Inflate, called for one message in the way of c. It returns what
// came out, also if that is only a part of the message.
func (c chopping) inflate(t testing.TB, z *Inflater, src []byte) ([]byte, error) {
	t.Helper()
	r := corpusRand(uint64(len(src)))
	d := destination{most: 1000 + 32*len(src)}
	if !c.stream {
		d.restart("before")
	}
	start, room := len(d.written), step(r, c.room)
	var message []byte
	for {
		n := min(step(r, c.in), len(src))
		last := n == len(src) && (!c.late || n == 0)
		dst := d.withRoom(room)
		out, used, err := z.Inflate(dst, start, src[:n], last)
		if !d.take(out) {
			t.Fatalf("%s: got %d bytes in a dst of %d, or something behind its capacity of %d", c.name, len(out), len(dst), cap(dst))
		}
		if used > n || err == nil && used < n {
			t.Fatalf("%s: took %d bytes of %d, error %v", c.name, used, n, err)
		}
		if err == ErrFull && len(out) < cap(dst) {
			t.Fatalf("%s: full with %d bytes of %d", c.name, len(out), cap(dst))
		}
		src, room = src[used:], cap(dst)-len(out)
		switch {
		case err == nil && last, err != nil && err != ErrFull:
			return append(message, out[start:]...), err
		case err == ErrFull && c.stream:
			z.Remember(out[start:])
			message = append(message, out[start:]...)
			d.restart("")
			start = 0
		}
		if err == ErrFull {
			room = step(r, c.room)
		}
	}
}

// A destination is memory for an Inflater to write to, that knows when it
// writes elsewhere.
type destination struct {
	memory  []byte // filled with untouched behind what may be written to
	written []byte // its beginning
	room    int    // behind it
	most    int    // room there may be
}

const untouched = 0xA5

// restart begins again, behind prefix. What was written before is gone.
func (d *destination) restart(prefix string) {
	clear(d.written)
	d.memory = nil
	d.written = []byte(prefix)
}

// withRoom returns what has been written, with capacity for room bytes more, or
// as many as there may be.
func (d *destination) withRoom(room int) []byte {
	d.room = min(room, d.most)
	end := len(d.written) + d.room
	if end >= len(d.memory) {
		d.memory = bytes.Repeat([]byte{untouched}, end+end/2+1)
		copy(d.memory, d.written)
		d.written = d.memory[:len(d.written)]
	}
	return d.memory[:len(d.written):end]
}

// take takes out, which has been appended to, and reports whether it is, and
// within its capacity.
func (d *destination) take(out []byte) bool {
	end := len(d.written) + d.room
	if len(out) < len(d.written) || len(out) > end || len(out) > 0 && &out[0] != &d.memory[0] || d.memory[end] != untouched {
		return false
	}
	for i := range d.memory[len(out):min(end, len(out)+100)] {
		d.memory[len(out)+i] = 0x5A // it may hold anything
	}
	d.written = out[:len(out):len(out)]
	return true
}

// flateMessages compresses messages as RFC 7692, section 7.2.1 says, with
// compress/flate, as one stream if takeover is set. After each flush bytes of a
// message comes an empty stored block.
func flateMessages(t testing.TB, level int, takeover bool, flush int, messages [][]byte) [][]byte {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, level)
	if err != nil {
		t.Fatal(err)
	}
	compressed := make([][]byte, len(messages))
	for i, message := range messages {
		b.Reset()
		if !takeover {
			w.Reset(&b)
		}
		for flush > 0 && len(message) > flush {
			w.Write(message[:flush])
			w.Flush()
			message = message[flush:]
		}
		w.Write(message)
		w.Flush()
		compressed[i] = bytes.Clone(bytes.TrimSuffix(b.Bytes(), []byte(tail)))
	}
	return compressed
}

// testMessages are one after another of the same connection.
func testMessages() [][]byte {
	var messages [][]byte
	messages = append(messages, jsonMessages(300, 5)...)
	messages = append(messages, jsonMessages(5000, 2)...)
	messages = append(messages, nil, []byte("a"), randomMessage(700), nil, zeroMessage(40_000), textMessage(9000))
	return append(messages, jsonMessages(1000, 3)...)
}

func TestInflateMessages(t *testing.T) {
	messages := testMessages()
	for level := flate.HuffmanOnly; level <= flate.BestCompression; level++ {
		for _, takeover := range []bool{false, true} {
			for turn, flush := range []int{0, 33, 1000} {
				compressed := flateMessages(t, level, takeover, flush, messages)
				for i, c := range choppings {
					if level > 1 && (i+turn+level)%3 != 0 {
						continue
					}
					z := NewInflater(MaxWindowBits, takeover)
					for i := range messages {
						got, err := c.inflate(t, z, compressed[i])
						if err != nil || !bytes.Equal(got, messages[i]) {
							t.Fatalf("level %d, takeover %v, flushed every %d, %s: message %d: got %s, error %v, want %s",
								level, takeover, flush, c.name, i, brief(got), err, brief(messages[i]))
						}
					}
				}
			}
		}
	}
}

// brief says what there is to say of a long message.
func brief(b []byte) string {
	if len(b) > 40 {
		return fmt.Sprintf("%q... (%d bytes)", b[:40], len(b))
	}
	return fmt.Sprintf("%q", b)
}

func fromHex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The messages of RFC 7692, section 7.2.3, and others of the same kind. Those
// of a row are one after another of the same connection.
var messageTests = []struct {
	name       string
	takeover   bool
	compressed []string
	want       []string
}{{
	name:       "7.2.3.1 one block",
	compressed: []string{"f2 48 cd c9 c9 07 00"},
	want:       []string{"Hello"},
}, {
	name:       "7.2.3.1 fragments",
	compressed: []string{"f2 48 cd" + "c9 c9 07 00"},
	want:       []string{"Hello"},
}, {
	name:       "7.2.3.2 sharing the window",
	takeover:   true,
	compressed: []string{"f2 48 cd c9 c9 07 00", "f2 00 11 00 00"},
	want:       []string{"Hello", "Hello"},
}, {
	name:       "7.2.3.2 not sharing it",
	compressed: []string{"f2 48 cd c9 c9 07 00", "f2 48 cd c9 c9 07 00"},
	want:       []string{"Hello", "Hello"},
}, {
	name:       "7.2.3.3 stored",
	compressed: []string{"00 05 00 fa ff 48 65 6c 6c 6f 00"},
	want:       []string{"Hello"},
}, {
	name:       "7.2.3.4 BFINAL",
	compressed: []string{"f3 48 cd c9 c9 07 00 00"},
	want:       []string{"Hello"},
}, {
	name:       "7.2.3.5 two blocks",
	compressed: []string{"f2 48 05 00 00 00 ff ff ca c9 c9 07 00"},
	want:       []string{"Hello"},
}, {
	name:       "7.2.3.6 empty",
	compressed: []string{"00"},
	want:       []string{""},
}, {
	name:       "empty fixed block before the end",
	compressed: []string{"02 00"},
	want:       []string{""},
}, {
	name:       "BFINAL without another block",
	compressed: []string{"f3 48 cd c9 c9 07 00"},
	want:       []string{"Hello"},
}, {
	name:       "BFINAL in the empty stored block at the end",
	compressed: []string{"f2 48 cd c9 c9 07 00 00 00 ff ff 01"},
	want:       []string{"Hello"},
}, {
	name:       "BFINAL, then more of the message",
	compressed: []string{"f3 48 cd c9 c9 07 00" + "f2 48 cd c9 c9 07 00"},
	want:       []string{"HelloHello"},
}, {
	name:       "BFINAL, then more of the message that refers to what was before",
	compressed: []string{"f3 48 cd c9 c9 07 00" + "f2 00 11 00 00"},
	want:       []string{"HelloHello"},
}, {
	name:       "BFINAL in a stored block",
	compressed: []string{"01 05 00 fa ff 48 65 6c 6c 6f", "01 05 00 fa ff 48 65 6c 6c 6f 00"},
	want:       []string{"Hello", "Hello"},
}, {
	name:       "message that refers to one before BFINAL",
	takeover:   true,
	compressed: []string{"f3 48 cd c9 c9 07 00 00", "f2 00 11 00 00", "f3 48 cd c9 c9 07 00", "f2 00 11 00 00"},
	want:       []string{"Hello", "Hello", "Hello", "Hello"},
}, {
	name:       "bits that are ignored",
	compressed: []string{"f8 05 00 fa ff 48 65 6c 6c 6f f8"},
	want:       []string{"Hello"},
}}

func TestInflateExamples(t *testing.T) {
	for _, test := range messageTests {
		for _, c := range choppings {
			z := NewInflater(MaxWindowBits, test.takeover)
			for i, compressed := range test.compressed {
				got, err := c.inflate(t, z, fromHex(t, compressed))
				if err != nil || string(got) != test.want[i] {
					t.Errorf("%s, %s: message %d: got %q, error %v, want %q", test.name, c.name, i, got, err, test.want[i])
				}
			}
		}
	}
}

// The beginnings of a message are not messages, unless they end where the
// sender might have ended one.
func TestInflateCutOff(t *testing.T) {
	messages := append(jsonMessages(600, 1), textMessage(80), randomMessage(50), zeroMessage(1000))
	for _, level := range []int{flate.HuffmanOnly, 0, 1, 6} {
		for _, message := range messages {
			whole := flateMessages(t, level, false, 100, [][]byte{message})[0]
			for n := range whole {
				cut := whole[:n]
				got, err := choppings[n%len(choppings)].inflate(t, NewInflater(MaxWindowBits, false), cut)
				want := error(errCutOff)
				if _, err := referenceInflate(nil, cut); err == nil {
					want = nil
				}
				if err != want || !bytes.HasPrefix(message, got) {
					t.Fatalf("level %d: %d bytes of %d: got %s, error %v, want %v", level, n, len(whole), brief(got), err, want)
				}
			}
		}
	}
}

// A message of no bytes is cut off: the least is the header of an empty block.
// That the message before ended with BFINAL makes no difference.
func TestInflateNothing(t *testing.T) {
	for _, before := range []string{"", "00", "f3 48 cd c9 c9 07 00", "01 05 00 fa ff 48 65 6c 6c 6f"} {
		for _, c := range choppings {
			z := NewInflater(MaxWindowBits, true)
			if before != "" {
				if _, err := c.inflate(t, z, fromHex(t, before)); err != nil {
					t.Fatal(err)
				}
			}
			if got, err := c.inflate(t, z, nil); err != errCutOff {
				t.Errorf("after %q, %s: got %q, error %v, want %v", before, c.name, got, err, errCutOff)
			}
		}
	}
}

// What a window holds is what the last message wrote, not what lies in dst.
func TestInflateDistanceBeforeMessage(t *testing.T) {
	hello := fromHex(t, "f2 48 cd c9 c9 07 00")
	again := fromHex(t, "f2 00 11 00 00") // refers five bytes back from its second
	dst := append(make([]byte, 0, 100), "Hello"...)
	z := NewInflater(MaxWindowBits, false)
	if _, _, err := z.Inflate(dst, 0, hello, true); err != nil {
		t.Fatal(err)
	}
	if _, _, err := z.Inflate(dst, len(dst), again, true); err != errDistance {
		t.Errorf("without takeover: got error %v, want %v", err, errDistance)
	}
}

// Distances reach to the first byte ever sent and not beyond, and to the size
// of the window and not beyond, wherever these bytes are by then: in dst, or in
// the window since a message before or since Remember.
func TestInflateDistances(t *testing.T) {
	for windowBits := 9; windowBits <= MaxWindowBits; windowBits++ {
		size := 1 << windowBits
		for _, before := range []int{1, 2, 3, 255, 256, 257, size - 1, size, size + 1, 2*size + 3} {
			history := randomMessage(before)
			for _, distance := range []int{1, before - 1, before, before + 1, size - 1, size, size + 1} {
				if distance < 1 || distance > 1<<MaxWindowBits {
					continue
				}
				// With nothing behind it, a match is read with care, and else in haste.
				testInflateDistance(t, windowBits, history, distance, "")
				testInflateDistance(t, windowBits, history, distance, "And more.")
			}
		}
	}
}

func testInflateDistance(t *testing.T, windowBits int, history []byte, distance int, more string) {
	t.Helper()
	first := appendStored(nil, history)
	var match bitString
	match.header(false, blockFixed)
	match.fixedMatch(10, distance)
	for _, c := range more {
		match.fixedSymbol(int(c))
	}
	match.fixedSymbol(endOfBlock)
	match.end()

	possible := distance <= len(history) && distance <= 1<<windowBits
	want := slices.Clip(history)
	if possible {
		for range 10 {
			want = append(want, want[len(want)-distance])
		}
		want = append(want, more...)
	}
	for i, c := range choppings {
		if len(history) > 2000 && (c.in == 1 || c.room == 1 || c.room == 7 || i%2 == len(history)%2) {
			continue
		}
		for _, messages := range [][][]byte{
			{slices.Concat(first, match.bytes())},
			{slices.Concat(first, []byte{0}), match.bytes()},
		} {
			z := NewInflater(windowBits, true)
			var got []byte
			var err error
			for _, m := range messages {
				var out []byte
				out, err = c.inflate(t, z, m)
				got = append(got, out...)
			}
			if (err == nil) != possible || !bytes.Equal(got, want) {
				t.Fatalf("window %d, %s, %d messages: distance %d after %d bytes: got %d bytes, error %v, want %d",
					1<<windowBits, c.name, len(messages), distance, len(history), len(got), err, len(want))
			}
			if err != nil && err != errDistance {
				t.Fatalf("got error %v, want %v", err, errDistance)
			}
			z.Reset()
		}
	}
}

// A window of 8 bits is one of 9.
func TestInflateSmallestWindow(t *testing.T) {
	for _, test := range []struct {
		distance int
		want     error
	}{{256, nil}, {257, nil}, {512, nil}, {513, errDistance}} {
		var b bitString
		b.stored(false, randomMessage(600))
		b.header(false, blockFixed)
		b.fixedMatch(3, test.distance)
		b.fixedSymbol(endOfBlock)
		b.end()
		_, err := choppings[0].inflate(t, NewInflater(MinWindowBits, false), b.bytes())
		if err != test.want {
			t.Errorf("distance %d: got error %v, want %v", test.distance, err, test.want)
		}
	}
}

func TestNewInflaterWindowBits(t *testing.T) {
	for _, windowBits := range []int{-1, 0, 7, 16} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("window of %d bits: want a panic", windowBits)
				}
			}()
			NewInflater(windowBits, true)
		}()
	}
}

// What inflates to nothing may not go on forever. What a sender writes who
// flushes after every byte may.
func TestInflateWork(t *testing.T) {
	empty := map[string]func(b *bitString){
		"stored":  func(b *bitString) { b.stored(false, nil) },
		"final":   func(b *bitString) { b.stored(true, nil) },
		"fixed":   func(b *bitString) { b.header(false, blockFixed); b.fixedSymbol(endOfBlock) },
		"dynamic": func(b *bitString) { b.dynamic(map[int]int{endOfBlock: 1}, nil); b.bits("0") },
	}
	for name, block := range empty {
		var b bitString
		for range 100 {
			block(&b)
		}
		for len(b)%8 != 0 {
			block(&b)
		}
		blocks := b.bytes()
		for _, c := range choppings {
			z := NewInflater(MaxWindowBits, true)
			hello := fromHex(t, "f2 48 cd c9 c9 07 00")
			if got, err := c.inflate(t, z, append(bytes.Repeat(blocks, 2), hello...)); err != nil || string(got) != "Hello" {
				t.Errorf("%s, %s: a few: got %q, error %v, want Hello", name, c.name, got, err)
			}
			got, err := c.inflate(t, z, bytes.Repeat(blocks, 3*freeWork/len(blocks)))
			if err != ErrWork || len(got) > 0 {
				t.Errorf("%s, %s: many: got %q, error %v, want %v", name, c.name, got, err, ErrWork)
			}
			if _, _, err := z.Inflate(nil, 0, hello, true); err != ErrWork {
				t.Errorf("%s, %s: message after: got error %v, want %v", name, c.name, err, ErrWork)
			}
		}
	}
}

// How much work is too much depends on the message, not on how it comes.
func TestInflateWorkLimit(t *testing.T) {
	var dynamic bitString
	dynamic.dynamic(map[int]int{endOfBlock: 1}, nil)
	dynamic.bits("0")
	dynamic.stored(false, nil)
	for _, test := range []struct {
		name  string
		block []byte
		work  int
	}{
		{"stored", []byte("\x00\x00\x00\xFF\xFF"), 5},
		{"dynamic", dynamic.bytes(), len(dynamic.bytes()) + workPerCodeTable},
	} {
		most := freeWork / test.work
		for n, want := range map[int]error{most - 1: nil, most + 1: ErrWork, most + 2: ErrWork} {
			// The end is the header of one more block.
			message := append(bytes.Repeat(test.block, n), 0)
			for _, c := range choppings {
				if _, err := c.inflate(t, NewInflater(MaxWindowBits, false), message); err != want {
					t.Errorf("%s, %s: %d blocks: got error %v, want %v", test.name, c.name, n, err, want)
				}
			}
		}
	}
}

// What came out of other messages does not count.
func TestInflateWorkOfEachMessage(t *testing.T) {
	z := NewInflater(MaxWindowBits, true)
	large := appendStored(nil, zeroMessage(50_000))
	empty := bytes.Repeat([]byte("\x00\x00\x00\xFF\xFF"), freeWork/5-1)
	for _, test := range []struct {
		message []byte
		want    error
	}{
		{large, nil}, {empty, nil}, {empty, nil}, {slices.Concat(large, empty, empty), nil}, {empty, nil},
		{slices.Concat(empty, empty), ErrWork},
	} {
		if _, err := choppings[0].inflate(t, z, append(test.message, 0)); err != test.want {
			t.Errorf("message of %d bytes: got error %v, want %v", len(test.message), err, test.want)
		}
	}
}

func TestInflateFlushedAfterEveryByte(t *testing.T) {
	for _, message := range [][]byte{jsonMessages(30_000, 1)[0], randomMessage(30_000), zeroMessage(30_000)} {
		for _, level := range []int{flate.HuffmanOnly, 0, 1, 6, 9} {
			for _, flush := range []int{1, 2} {
				compressed := flateMessages(t, level, false, flush, [][]byte{message})[0]
				got, err := choppings[0].inflate(t, NewInflater(MaxWindowBits, false), compressed)
				if err != nil || !bytes.Equal(got, message) {
					t.Errorf("level %d, flushed every %d: got %s, error %v, want %s", level, flush, brief(got), err, brief(message))
				}
			}
		}
	}
}

// A dst that is just long enough is not full, and one that is a byte shorter
// is.
func TestInflateFull(t *testing.T) {
	for level := flate.HuffmanOnly; level <= flate.BestCompression; level++ {
		for _, message := range append(jsonMessages(1000, 1), nil, zeroMessage(1000), randomMessage(300)) {
			compressed := flateMessages(t, level, false, 0, [][]byte{message})[0]
			z := NewInflater(MaxWindowBits, false)
			out, _, err := z.Inflate(make([]byte, 0, len(message)), 0, compressed, true)
			if err != nil || !bytes.Equal(out, message) {
				t.Errorf("level %d: just enough: got %s, error %v, want %s", level, brief(out), err, brief(message))
			}
			if len(message) == 0 {
				continue
			}
			out, used, err := z.Inflate(make([]byte, 0, len(message)-1), 0, compressed, true)
			if err != ErrFull || !bytes.Equal(out, message[:len(message)-1]) {
				t.Errorf("level %d: a byte less: got %s, error %v, want %v", level, brief(out), err, ErrFull)
			}
			out, _, err = z.Inflate(append(out, 0)[:len(out)], 0, compressed[used:], true)
			if err != nil || !bytes.Equal(out, message) {
				t.Errorf("level %d: room again: got %s, error %v, want %s", level, brief(out), err, brief(message))
			}
		}
	}
}

func TestInflateReset(t *testing.T) {
	messages := jsonMessages(1000, 4)
	first := flateMessages(t, 6, true, 0, messages)
	beginnings := map[string]func(z *Inflater){
		"between messages": func(z *Inflater) { z.Inflate(make([]byte, 0, 1000), 0, first[0], true) },
		"in a message":     func(z *Inflater) { z.Inflate(make([]byte, 0, 1000), 0, first[0][:300], false) },
		"when full":        func(z *Inflater) { z.Inflate(make([]byte, 0, 999), 0, first[0], true) },
		"in a match": func(z *Inflater) {
			for n := 1; z.length == 0; n++ {
				z.Reset()
				z.Inflate(make([]byte, 0, n), 0, first[0], true)
			}
		},
		"after Remember": func(z *Inflater) {
			out, _, _ := z.Inflate(make([]byte, 0, 500), 0, first[0], true)
			z.Remember(out)
		},
		"after an error": func(z *Inflater) {
			z.Inflate(make([]byte, 0, 1000), 0, first[0], true)
			z.Inflate(make([]byte, 0, 1000), 0, first[1][:100], true)
		},
	}
	for name, begin := range beginnings {
		z := NewInflater(MaxWindowBits, true)
		begin(z)
		z.Reset()
		for i, message := range messages {
			got, err := choppings[0].inflate(t, z, first[i])
			if err != nil || !bytes.Equal(got, message) {
				t.Errorf("%s: message %d: got %s, error %v, want %s", name, i, brief(got), err, brief(message))
			}
		}
		z.Reset()
		if _, err := choppings[0].inflate(t, z, fromHex(t, "f2 00 11 00 00")); err != errDistance {
			t.Errorf("%s: distance beyond the Reset: got error %v, want %v", name, err, errDistance)
		}
	}
}

// Corrupt data leave nothing behind for those who use the same pools.
func TestInflateAfterCorruption(t *testing.T) {
	messages := jsonMessages(2000, 3)
	good := flateMessages(t, 6, true, 0, messages)
	r := corpusRand(0)
	for range 2000 {
		bad := bytes.Clone(good[0])
		bad = bad[:r.IntN(len(bad)+1)]
		for range r.IntN(4) {
			if len(bad) > 0 {
				bad[r.IntN(len(bad))] ^= 1 << r.IntN(8)
			}
		}
		z := NewInflater(MaxWindowBits, true)
		if _, err := choppings[r.IntN(len(choppings))].inflate(t, z, bad); err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("got error %v, want one that is %v", err, ErrCorrupt)
			}
			if _, used, again := z.Inflate(nil, 0, good[0], true); used != 0 || again != err {
				t.Fatalf("after %v: took %d bytes, error %v", err, used, again)
			}
			if z.scratch != nil || z.Size() != inflaterSize {
				t.Fatalf("after %v: something is still held", err)
			}
		}
		z.Reset()
		for i := range good {
			got, err := choppings[0].inflate(t, z, good[i])
			if err != nil || !bytes.Equal(got, messages[i]) {
				t.Fatalf("message %d: got %s, error %v, want %s", i, brief(got), err, brief(messages[i]))
			}
		}
		z.Reset()
	}
}

// Two who take turns, in pieces, use nothing of each other.
func TestInflateSideBySide(t *testing.T) {
	messages := jsonMessages(3000, 8)
	compressed := flateMessages(t, 6, true, 0, messages)
	var z [4]*Inflater
	var got [4][]byte
	for i := range z {
		z[i] = NewInflater(MaxWindowBits, true)
	}
	for m, src := range compressed {
		for i := range z {
			got[i] = make([]byte, 0, 3000)
		}
		for pos := 0; pos < len(src); pos += 50 {
			piece := src[pos:min(pos+50, len(src))]
			for i := range z {
				var err error
				got[i], _, err = z[i].Inflate(got[i], 0, piece, pos+50 >= len(src))
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		for i := range z {
			if !bytes.Equal(got[i], messages[m]) {
				t.Fatalf("message %d: got %s, want %s", m, brief(got[i]), brief(messages[m]))
			}
		}
	}
}

func TestInflateAllocs(t *testing.T) {
	if poolsForget() {
		t.Skip("the race detector has pools forget things")
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // or the pools are emptied meanwhile
	messages := jsonMessages(1000, 100)
	dst := make([]byte, 0, 1000)
	for _, takeover := range []bool{false, true} {
		compressed := flateMessages(t, 6, takeover, 0, messages)
		for _, remember := range []bool{false, true} {
			z := NewInflater(MaxWindowBits, takeover)
			i := 0
			next := func() {
				src, out := compressed[i], dst[:0:1000]
				if remember {
					out = dst[:0:300]
				}
				for {
					out, used, err := z.Inflate(out, 0, src, true)
					if err == nil {
						break
					}
					if err != ErrFull {
						t.Fatal(err)
					}
					z.Remember(out)
					src = src[used:]
				}
				i++
			}
			for range 10 {
				next()
			}
			if got := testing.AllocsPerRun(50, next); got != 0 {
				t.Errorf("takeover %v, remember %v: got %v allocations per message, want 0", takeover, remember, got)
			}
		}
	}
}

// poolsForget reports whether sync.Pool loses things on purpose.
func poolsForget() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

func TestInflaterSize(t *testing.T) {
	if got := int(unsafe.Sizeof(Inflater{})); got > inflaterSize {
		t.Errorf("an Inflater has %d bytes, more than %d", got, inflaterSize)
	}
	for _, test := range []struct {
		windowBits int
		takeover   bool
		sizes      []int // of messages
		window     int
	}{
		{15, true, nil, 0},
		{15, false, []int{100_000}, 0},
		{15, true, []int{1}, 256},
		{15, true, []int{256}, 256},
		{15, true, []int{256, 1}, 512},
		{15, true, []int{1000, 1000}, 2048},
		{15, true, []int{100_000, 1000}, 32768},
		{12, true, []int{4096}, 4096},
		{12, true, []int{100_000, 100_000}, 4096},
		{9, true, []int{100_000, 300}, 512},
		{8, true, []int{100_000, 300}, 512},
	} {
		z := NewInflater(test.windowBits, test.takeover)
		for _, size := range test.sizes {
			compressed := flateMessages(t, flate.HuffmanOnly, false, 0, [][]byte{textMessage(size)})[0]
			if _, err := choppings[0].inflate(t, z, compressed); err != nil {
				t.Fatal(err)
			}
		}
		if got, want := z.Size(), inflaterSize+test.window; got != want {
			t.Errorf("window of %d bits, takeover %v, after messages of %d: got size %d, want %d",
				test.windowBits, test.takeover, test.sizes, got, want)
		}
		if z.scratch != nil || z.in != nil || z.out != nil {
			t.Errorf("something is held between messages that is not the window")
		}
		if z.Reset(); z.Size() != inflaterSize {
			t.Errorf("after Reset: got size %d, want %d", z.Size(), inflaterSize)
		}
	}
}

func TestInflateErrorText(t *testing.T) {
	_, _, err := NewInflater(MaxWindowBits, false).Inflate(nil, 0, []byte("\x07"), true)
	const want = "deflate: reserved block type (RFC 1951, section 3.2.3)"
	if err == nil || err.Error() != want {
		t.Errorf("got error %v, want %s", err, want)
	}
}
