package websocket

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"
)

// nextByByte is next without its way through words.
func (s utf8State) nextByByte(p []byte) utf8State {
	for i := range p {
		s = s.next(p[i : i+1])
	}
	return s
}

// utf8Beginnings returns what a character may begin with: every
// part of the encoding of every character, except all of it.
func utf8Beginnings() map[string]bool {
	beginnings := make(map[string]bool)
	for r := range rune(utf8.MaxRune + 1) {
		if !utf8.ValidRune(r) {
			continue
		}
		encoding := string(r)
		for n := range len(encoding) {
			beginnings[encoding[:n]] = true
		}
	}
	return beginnings
}

// What has come is rejected if and only if nothing that might follow would
// make it UTF-8, and is accepted if and only if it is UTF-8 already. As a
// state is all that is known of what came before, it is enough to try
// each byte behind each beginning of a character.
func TestUTF8RejectsFirstImpossibleByte(t *testing.T) {
	beginnings := utf8Beginnings()
	for beginning := range beginnings {
		text := []byte(beginning)
		s := utf8Accept.nextByByte(text)
		text = append(text, 0)
		last := text[len(text)-1:]
		for b := range 256 {
			last[0] = byte(b)
			got := s.next(last)
			switch {
			case utf8.Valid(text):
				if got != utf8Accept {
					t.Errorf("% x: got state %d, want accepted", text, got)
				}
			case beginnings[string(text)]:
				if got == utf8Accept || got == utf8Reject {
					t.Errorf("% x: got state %d, want more", text, got)
				}
			case got != utf8Reject:
				t.Errorf("% x: got state %d, want rejected", text, got)
			}
		}
	}
	for b := range 256 {
		if got := utf8Reject.next([]byte{byte(b)}); got != utf8Reject {
			t.Errorf("%02x after an impossible byte: got state %d", b, got)
		}
	}
}

// All sequences of three bytes that begin beyond ASCII, in a row with
// others, so that they are looked at as part of a word.
func TestUTF8ThreeBytes(t *testing.T) {
	if testing.Short() {
		t.Skip("eight million sequences")
	}
	text := []byte("Hello, é ... world")
	three := text[10:13]
	for b0 := 0x80; b0 <= 0xFF; b0++ {
		for b1 := range 0x100 {
			for b2 := range 0x100 {
				three[0], three[1], three[2] = byte(b0), byte(b1), byte(b2)
				got := utf8Accept.next(text) == utf8Accept
				if want := utf8.Valid(three); got != want {
					t.Fatalf("% x: got %v, want %v", three, got, want)
				}
			}
		}
	}
}

// All sequences of four of the bytes at which the ranges of RFC 3629,
// section 4 begin and end, in each place of a word.
func TestUTF8FourBytes(t *testing.T) {
	const edges = "\x00\x7F\x80\x8F\x90\x9F\xA0\xBF\xC0\xC1\xC2\xDF\xE0\xE1\xEC\xED\xEE\xEF\xF0\xF1\xF3\xF4\xF5\xFF"
	for place := range 8 {
		text := []byte("in a row with others")
		four := text[place:][:4]
		for i := range len(edges) * len(edges) * len(edges) * len(edges) {
			for j := range four {
				four[j] = edges[i%len(edges)]
				i /= len(edges)
			}
			got := utf8Accept.next(text) == utf8Accept
			if want := utf8.Valid(text); got != want {
				t.Fatalf("% x: got %v, want %v", text, got, want)
			}
		}
	}
}

// utf8Tests are texts that are not UTF-8, up to the first byte that can't be.
var utf8Tests = []struct {
	name, text string
}{
	{"continuation byte alone", "\x80"},
	{"last continuation byte alone", "\xBF"},
	{"continuation byte after a character", "é\x80"},
	{"byte that is never used", "\xC0"},
	{"overlong form of U+007F", "\xC1"},
	{"overlong form of U+0000 in three bytes", "\xE0\x80"},
	{"overlong form of U+07FF", "\xE0\x9F"},
	{"overlong form of U+0000 in four bytes", "\xF0\x80"},
	{"overlong form of U+FFFF", "\xF0\x8F"},
	{"overlong form in five bytes", "\xF8"},
	{"overlong form in six bytes", "\xFC"},
	{"first surrogate", "\xED\xA0"},
	{"last surrogate", "\xED\xBF"},
	{"surrogate pair", "\xED\xA1"},
	{"U+110000", "\xF4\x90"},
	{"U+13FFFF", "\xF4\xBF"},
	{"U+140000", "\xF5"},
	{"U+1FFFFF", "\xF7"},
	{"FE", "\xFE"},
	{"FF", "\xFF"},
	{"ASCII in two", "\xC3a"},
	{"ASCII in three", "\xE2\x82a"},
	{"ASCII in four", "\xF0\x9F\x98a"},
	{"character in a character", "\xE2\x82\xC3"},
	{"ISO 8859-1", "caf\xE9 "},
	{"section 8.1 by RFC 3629", "\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5\xED\xA0"},
}

// Each of utf8Tests is rejected with its last byte, and not before it, wherever
// it begins in a text, and whatever follows.
func TestUTF8Invalid(t *testing.T) {
	for _, tt := range utf8Tests {
		t.Run(tt.name, func(t *testing.T) {
			for ascii := range 70 {
				text := []byte(strings.Repeat("a", ascii) + tt.text)
				if got := utf8Accept.next(text[:len(text)-1]); got == utf8Reject {
					t.Errorf("rejected before its last byte, after %d bytes", ascii)
				}
				if got := utf8Accept.next(text); got != utf8Reject {
					t.Errorf("got state %d after %d bytes, want rejected", got, ascii)
				}
				for follow := range 40 {
					text = append(text, "\x80\x80a"[min(follow, 2)])
					if got := utf8Accept.next(text); got != utf8Reject {
						t.Fatalf("got state %d for % x, want rejected", got, text)
					}
				}
			}
		})
	}
}

// A byte that is not ASCII in each place of each length of blocks of ASCII.
func TestUTF8AroundASCII(t *testing.T) {
	for n := range 130 {
		text := []byte(strings.Repeat("~", n))
		if got := utf8Accept.next(text); got != utf8Accept {
			t.Fatalf("%d bytes of ASCII: got state %d", n, got)
		}
		for i := range n {
			for _, bad := range []byte{0x80, 0xBF, 0xC0, 0xC3, 0xE2, 0xF0, 0xFF} {
				text[i] = bad
				got := utf8Accept.next(text)
				rejected := i < n-1 || !utf8.RuneStart(bad) || bad == 0xC0 || bad == 0xFF
				if got == utf8Accept || (got == utf8Reject) != rejected {
					t.Fatalf("%02x at %d of %d: got state %d", bad, i, n, got)
				}
			}
			text[i] = '~'
			for _, r := range []string{"é", "€", "😀"} {
				if len(r) > n-i {
					continue
				}
				save := string(text[i:])
				copy(text[i:], r)
				if got := utf8Accept.next(text); got != utf8Accept {
					t.Fatalf("%q at %d of %d: got state %d", r, i, n, got)
				}
				copy(text[i:], save)
			}
		}
	}
}

// utf8Texts are of all kinds: what they hold
// of ASCII makes a difference to next.
var utf8Texts = []struct {
	name, text string
}{
	{"ASCII", "The quick brown fox jumps over the lazy dog. "},
	{"German", "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich. "},
	{"Greek", "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. "},
	{"Russian", "Съешь же ещё этих мягких французских булок. "},
	{"Chinese", "視野無限廣，窗外有藍天。"},
	{"emoji", "😀😃😄😁😆😅🤣😂"},
	{"JSON", `{"id":"0f3c9a52","名":"窓外","tags":["a","b"],"ok":true,"n":12345678}`},
}

// The state does not depend on how a text is cut, be it UTF-8 or not.
func TestUTF8InPieces(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 1))
	for _, tt := range utf8Texts {
		t.Run(tt.name, func(t *testing.T) {
			for spoilt := range 20 {
				text := []byte(strings.Repeat(tt.text, 4)[:100])
				if spoilt > 0 {
					text[r.IntN(len(text))] = byte(r.Uint32())
				}
				want := utf8Accept.nextByByte(text)
				for i := range len(text) + 1 {
					head := utf8Accept.next(text[:i])
					if got := utf8Accept.nextByByte(text[:i]); head != got {
						t.Fatalf("% x: got state %d, want %d", text[:i], head, got)
					}
					for j := i; j <= len(text); j++ {
						if got := head.next(text[i:j]).next(text[j:]); got != want {
							t.Fatalf("% x cut at %d and %d: got state %d, want %d", text, i, j, got, want)
						}
					}
				}
			}
		})
	}
}

func BenchmarkUTF8(b *testing.B) {
	for _, tt := range utf8Texts {
		for _, size := range []int{16, 125, 1 << 10, 64 << 10} {
			text := []byte(strings.Repeat(tt.text, size/len(tt.text)+1)[:size])
			b.Run(fmt.Sprintf("check=ours/text=%s/size=%d", tt.name, size), func(b *testing.B) {
				b.SetBytes(int64(size))
				for b.Loop() {
					utf8Accept.next(text)
				}
			})
			b.Run(fmt.Sprintf("check=std/text=%s/size=%d", tt.name, size), func(b *testing.B) {
				b.SetBytes(int64(size))
				for b.Loop() {
					utf8.Valid(text)
				}
			})
		}
	}
}
