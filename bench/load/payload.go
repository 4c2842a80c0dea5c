package load

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"unicode/utf8"
)

// A Kind is what a message consists of.
type Kind string

const (
	Binary   Kind = "binary"   // random bytes
	Text     Kind = "text"     // JSON, in ASCII
	Cyrillic Kind = "cyrillic" // a text whose characters have two bytes each
)

// Text reports whether a message of this kind is sent as text.
func (k Kind) Text() bool { return k != Binary }

// Payload returns a message of that kind and length, the same one each time.
func (k Kind) Payload(n int) []byte {
	switch k {
	case Text:
		var b strings.Builder
		b.WriteByte('[')
		for i := 0; b.Len() < n; i++ {
			fmt.Fprintf(&b, `{"seq":%d,"channel":"general","user":"alice","active":true,"value":%d.25},`, i, i*7919%1000)
		}
		return []byte(b.String()[:n])
	case Cyrillic:
		const sentence = "Съешь же ещё этих мягких французских булок, да выпей чаю. "
		p := []byte(strings.Repeat(sentence, n/len(sentence)+1)[:n])
		if !utf8.Valid(p) { // cut through a character
			p[n-1] = '.'
		}
		return p
	default:
		p := make([]byte, n)
		rand.NewChaCha8([32]byte{}).Read(p)
		return p
	}
}
