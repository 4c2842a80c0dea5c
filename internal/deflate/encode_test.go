package deflate

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"testing"
	"unsafe"
)

// An encoderPeer reads what an Encoder writes in three ways: strictly, as
// compress/flate does it, and with an Inflater.
type encoderPeer struct {
	takeover        bool
	strict          strictInflater
	inflater        *Inflater
	out, compressed []byte // of the message under way
}

func newEncoderPeer(windowBits int, takeover bool) *encoderPeer {
	return &encoderPeer{
		takeover: takeover,
		strict:   strictInflater{windowSize: 1 << windowBits},
		inflater: NewInflater(windowBits, takeover),
	}
}

// read reports what is wrong with b if it should stand for want, a part of a
// message, or all of it.
func (p *encoderPeer) read(b, want []byte, last bool) error {
	withoutTail, hasTail := bytes.CutSuffix(b, []byte(tail))
	if hasTail == last {
		return fmt.Errorf("ends with % x, last part: %v", b[max(0, len(b)-4):], last)
	}
	got, err := p.strict.inflate(withoutTail)
	if err != nil || !bytes.Equal(got, want) {
		return fmt.Errorf("strictly: got %s, error %v, want %s", brief(got), err, brief(want))
	}
	before := len(p.out)
	out, used, err := p.inflater.Inflate(slices.Grow(p.out, len(want)), 0, b, last)
	if err != nil || used != len(b) || !bytes.Equal(out[before:], want) {
		return fmt.Errorf("Inflater: got %s, error %v, want %s", brief(out[before:]), err, brief(want))
	}
	p.out, p.compressed = out, append(p.compressed, b...)
	if !last {
		return nil
	}
	history := p.strict.out[:len(p.strict.out)-len(out)]
	got, err = referenceInflate(history[max(0, len(history)-1<<MaxWindowBits):], p.compressed)
	if err != nil || !bytes.Equal(got, out) {
		return fmt.Errorf("compress/flate: got %s, error %v, want %s", brief(got), err, brief(out))
	}
	p.out, p.compressed = nil, nil
	if !p.takeover {
		p.strict.out = nil
	}
	return nil
}

// reset makes what comes next the beginning of a stream.
func (p *encoderPeer) reset() {
	p.strict.out, p.out, p.compressed = nil, nil, nil
	p.inflater.Reset()
}

// encoderTests calls test for all kinds of Encoders.
func encoderTests(t *testing.T, test func(t *testing.T, e *Encoder, p *encoderPeer)) {
	for _, level := range []int{Fast, Better} {
		for windowBits := MinWindowBits; windowBits <= MaxWindowBits; windowBits++ {
			if testing.Short() && windowBits%3 != 0 {
				continue
			}
			for _, takeover := range []bool{false, true} {
				t.Run(fmt.Sprintf("level=%d/window=%d/takeover=%v", level, windowBits, takeover), func(t *testing.T) {
					test(t, NewEncoder(windowBits, level, takeover), newEncoderPeer(windowBits, takeover))
				})
			}
		}
	}
}

// encoderMessages are messages of one connection.
func encoderMessages() [][]byte {
	messages := [][]byte{nil, []byte("a"), []byte("aaaaaaaaaaaa"), []byte("abcdefghijklm")}
	for _, size := range []int{64, 256, 256, 1 << 10, 1 << 10, 5000, 16 << 10, 128 << 10, 256} {
		messages = append(messages, jsonMessages(size, 2)[len(messages)%2])
	}
	for _, size := range []int{1, 5, 100, 5000, maxBlock - 1, maxBlock, maxBlock + 1, 70_000} {
		messages = append(messages, textMessage(size), randomMessage(size), zeroMessage(size))
	}
	random := randomMessage(3000)
	return append(messages,
		slices.Concat(random, random, textMessage(100), random),
		slices.Concat(randomMessage(40_000), textMessage(500)),
		[]byte("€ 42,50 – für Ærøskøbing, 東京, Ελλάδα: ﷽ ﷽ ﷽"),
		nil,
		jsonMessages(2000, 1)[0])
}

func TestEncoderMessages(t *testing.T) {
	messages := encoderMessages()
	encoderTests(t, func(t *testing.T, e *Encoder, p *encoderPeer) {
		for i, message := range messages {
			dst := []byte("before")
			b, ok := e.AppendMessage(dst, message)
			if !ok && !bytes.Equal(b, dst) {
				t.Fatalf("message %d: refused and returned %s, want what there was", i, brief(b))
			}
			if !ok && i%3 == 0 {
				continue // It is sent as it is.
			}
			if !ok {
				b = e.AppendPart(dst, message, true)
			} else if len(b)-len(dst) >= len(message) {
				t.Errorf("message %d: got %d bytes for %s", i, len(b)-len(dst), brief(message))
			}
			b, hasPrefix := bytes.CutPrefix(b, dst)
			if !hasPrefix {
				t.Fatalf("message %d: dst was changed", i)
			}
			if err := p.read(b, message, true); err != nil {
				t.Fatalf("message %d: %v", i, err)
			}
		}
		for blockType, n := range p.strict.blocks {
			if n == 0 {
				t.Errorf("there was no block of type %d", blockType)
			}
		}
	})
}

func TestEncoderParts(t *testing.T) {
	messages := append(encoderMessages(), zeroMessage(300))
	encoderTests(t, func(t *testing.T, e *Encoder, p *encoderPeer) {
		r := corpusRand(uint64(e.windowBits))
		for i, message := range messages {
			for _, size := range []int{1, 7, 1000, maxBlock, maxBlock + 1, 1 << 20, -1} {
				if n := len(message) / max(1, size); n > 100 || n == 0 && i%7 != 0 {
					continue
				}
				if err := appendParts(e, p, message, size, r); err != nil {
					t.Fatalf("message %d in parts of %d: %v", i, size, err)
				}
			}
		}
	})
}

// appendParts has message compressed in parts of size, or of any size if it is
// negative, and read by p.
func appendParts(e *Encoder, p *encoderPeer, message []byte, size int, r *rand.Rand) error {
	for last := false; !last; {
		n := min(step(r, size), len(message))
		last = n == len(message) && (size > 0 || r.IntN(2) == 0)
		if err := p.read(e.AppendPart(nil, message[:n], last), message[:n], last); err != nil {
			return err
		}
		message = message[n:]
	}
	return nil
}

func TestEncoderEmptyParts(t *testing.T) {
	encoderTests(t, func(t *testing.T, e *Encoder, _ *encoderPeer) {
		if b, ok := e.AppendMessage(nil, nil); ok || len(b) != 0 {
			t.Errorf("got % x, %v for an empty message, want it refused", b, ok)
		}
		for _, test := range []struct {
			last bool
			want string
		}{{true, "\x00"}, {false, "\x00" + tail}, {true, "\x00"}} {
			if got := e.AppendPart(nil, nil, test.last); string(got) != test.want {
				t.Errorf("last part %v: got % x, want % x", test.last, got, test.want)
			}
		}
	})
}

// A string that occurs again a window's size later is found, and if it is one byte
// more, it isn't. What is between is such that nothing else is to be found there, and
// that the place of the string is not forgotten.
func TestEncoderDistances(t *testing.T) {
	pattern := randomMessage(48)
	encoderTests(t, func(t *testing.T, e *Encoder, _ *encoderPeer) {
		window := 1 << e.windowBits
		const near = 300 // zeros are found
		for _, test := range []struct {
			windowBits, distance, least, most int
		}{
			{int(e.windowBits), window, window, window},
			{int(e.windowBits), window + 1, 1, min(near, window)},
			{int(e.windowBits) + 1, window + 1, window + 1, window + 1}, // only the window was too small
		} {
			if test.windowBits > MaxWindowBits {
				continue
			}
			between := zeroMessage(test.distance - len(pattern))
			e := NewEncoder(test.windowBits, int(e.level), e.takeover)
			for _, parts := range [][][]byte{
				{slices.Concat(pattern, between, pattern)},
				{slices.Concat(pattern, between), pattern},
				{pattern, between, pattern},
				{pattern, between[:len(between)/3], between[len(between)/3:], pattern},
				{pattern, between, pattern[:len(pattern)/2], pattern[len(pattern)/2:]},
			} {
				p := newEncoderPeer(test.windowBits, e.takeover)
				for i, part := range parts {
					last := i == len(parts)-1 || e.takeover && i%2 == 0
					if err := p.read(e.AppendPart(nil, part, last), part, last); err != nil {
						t.Fatalf("distance %d in %d parts: %v", test.distance, len(parts), err)
					}
				}
				// From the largest window something is missing once it was moved.
				moved := test.windowBits == MaxWindowBits && len(parts) > 1
				if got := p.strict.farthest; got > test.most || got < test.least && !moved {
					t.Errorf("distance %d in %d parts: went back by %d, want %d to %d", test.distance, len(parts), got, test.least, test.most)
				}
				e.Reset()
			}
		}
	})
}

// A message that is refused changes nothing.
func TestEncoderRefused(t *testing.T) {
	messages := jsonMessages(600, 20)
	encoderTests(t, func(t *testing.T, e *Encoder, p *encoderPeer) {
		undisturbed := NewEncoder(int(e.windowBits), int(e.level), e.takeover)
		size, want := 0, 0
		for i, message := range messages {
			for _, random := range []int{1, 90, 800, 40_000} {
				dst := []byte("before")
				b, ok := e.AppendMessage(dst, randomMessage(random))
				if ok || string(b) != "before" {
					t.Fatalf("%d random bytes: got %s, %v, want them refused", random, brief(b), ok)
				}
			}
			if got, want := e.Size(), undisturbed.Size(); i == 0 && got != want {
				t.Errorf("got size %d after nothing but refused messages, want %d", got, want)
			}
			b, _ := e.AppendMessage(nil, message)
			if err := p.read(b, message, true); err != nil {
				t.Fatalf("message %d: %v", i, err)
			}
			size += len(b)
			b, _ = undisturbed.AppendMessage(nil, message)
			want += len(b)
		}
		if size != want {
			t.Errorf("got %d bytes with refused messages between, want the %d without", size, want)
		}
	})
}

// What has no repetitions is compressed where some bytes are more frequent than
// others.
func TestEncoderWithoutMatches(t *testing.T) {
	message := []byte(base64.StdEncoding.EncodeToString(randomMessage(6000)))
	b, ok := NewEncoder(12, Fast, false).AppendMessage(nil, message)
	if !ok || len(b) > len(message)*78/100 {
		t.Errorf("got %d bytes, %v for %d of base64, want about 3/4", len(b), ok, len(message))
	}
}

func TestEncoderReset(t *testing.T) {
	messages := encoderMessages()[:11]
	encoderTests(t, func(t *testing.T, e *Encoder, p *encoderPeer) {
		e.AppendPart(nil, textMessage(5000), false) // and no more of it
		for turn := range 2 {
			e.Reset()
			p.reset()
			fresh := NewEncoder(int(e.windowBits), int(e.level), e.takeover)
			if got, want := e.Size(), fresh.Size(); got != want {
				t.Errorf("got size %d, want that of a new one, %d", got, want)
			}
			for i, message := range messages {
				b := e.AppendPart(nil, message, true)
				if err := p.read(b, message, true); err != nil {
					t.Fatalf("turn %d, message %d: %v", turn, i, err)
				}
				if want := fresh.AppendPart(nil, message, true); !bytes.Equal(b, want) {
					t.Errorf("turn %d, message %d: got %d bytes, want the %d that a new one writes", turn, i, len(b), len(want))
				}
			}
			fresh.Reset()
		}
	})
}

// What is written depends on nothing but the messages, though much is in pools.
func TestEncodersSideBySide(t *testing.T) {
	messages := encoderMessages()[:11]
	encoderTests(t, func(t *testing.T, e *Encoder, _ *encoderPeer) {
		var want [][]byte
		for _, message := range messages {
			want = append(want, e.AppendPart(nil, message, true))
		}
		var others []*Encoder
		for i := range 3 {
			others = append(others, NewEncoder(int(e.windowBits), int(e.level), e.takeover))
			others[i].AppendPart(nil, textMessage(3000*i), false)
			others[i].Reset()
		}
		for i, message := range messages {
			for _, other := range others {
				if got := other.AppendPart(nil, message, true); !bytes.Equal(got, want[i]) {
					t.Errorf("message %d: got %d bytes, want the %d as before", i, len(got), len(want[i]))
				}
			}
		}
	})
}

func TestEncoderAllocs(t *testing.T) {
	if poolsForget() {
		t.Skip("the race detector has pools forget things")
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // or the pools are emptied meanwhile
	const most = 40_000
	dst := make([]byte, 0, most)
	encoderTests(t, func(t *testing.T, e *Encoder, _ *encoderPeer) {
		if testing.Short() && e.windowBits%7 != 1 {
			return
		}
		for _, size := range []int{0, 100, 1000, 10_000, most} {
			messages := append(jsonMessages(size, 3), randomMessage(size))
			i := 0
			next := func() {
				message := messages[i%len(messages)]
				b, _ := e.AppendMessage(dst, message)
				dst = e.AppendPart(b[:0], message[:len(message)/2], false)[:0]
				dst = e.AppendPart(dst, message[len(message)/2:], true)[:0]
				i++
			}
			for range 2 * len(messages) {
				next()
			}
			if got := testing.AllocsPerRun(6, next); got != 0 {
				t.Errorf("%d bytes: got %v allocations per message, want 0", size, got)
			}
		}
	})
}

func TestEncoderSize(t *testing.T) {
	if got, want := int(unsafe.Sizeof(Encoder{})), new(Encoder).Size(); got > want {
		t.Errorf("an Encoder has %d bytes, more than %d", got, want)
	}
	if got, want := int(unsafe.Sizeof(history{})), new(history).size(); got > want {
		t.Errorf("a history has %d bytes, more than %d", got, want)
	}
	for _, test := range []struct {
		windowBits int
		takeover   bool
		sizes      []int // of messages
		most       int
	}{
		{15, false, []int{100_000}, 16},
		{15, true, nil, 16},
		{8, true, []int{100, 100_000}, 600},
		{12, true, []int{300}, 2700},
		{12, true, []int{300, 300, 300, 300}, 4200},
		{12, true, []int{300, 100_000, 300, 2000, 5000, 1000}, 7 << 10},
		{15, true, []int{300}, 8900},
		{15, true, []int{300, 100_000, 300, 30_000, 60_000, 1000}, 41 << 10},
	} {
		runtime.GC() // Twice, and nothing that is larger is left in a pool.
		runtime.GC()
		e := NewEncoder(test.windowBits, Fast, test.takeover)
		for _, size := range test.sizes {
			e.AppendPart(nil, jsonMessages(size, 1)[0], true)
		}
		if got := e.Size(); got > test.most {
			t.Errorf("%d bits, takeover %v, after %v: got size %d, want at most %d", test.windowBits, test.takeover, test.sizes, got, test.most)
		}
	}
}

func TestMatchTokens(t *testing.T) {
	value := func(symbol token, first uint32, values []baseValue, extra token) uint32 {
		v := values[symbol.symbol()-first]
		if n := extra.symbol() - rawToken; uint8(n) != v.extra || uint32(extra>>16)>>n != 0 {
			return 0
		}
		return uint32(v.base) + uint32(extra>>16)
	}
	for length := uint32(minMatch); length <= maxMatch; length++ {
		for distance := uint32(1); distance <= 1<<MaxWindowBits; distance += 1 + distance*length%7 {
			var to [4]token
			n := putMatch(&to, length, distance)
			extra := to[1]
			if n == 3 {
				extra = nothing
			}
			if got := value(to[0], firstLength, lengthValues[:], extra); got != length {
				t.Fatalf("got length %d, want %d, in %v", got, length, to)
			}
			if got := value(to[n-2], distanceToken, distanceValues[:], to[n-1]); got != distance {
				t.Fatalf("got distance %d, want %d, in %v", got, distance, to)
			}
		}
	}
}
