package peers

import (
	"errors"
	"io"
	"slices"
	"sync"
	"unicode/utf8"
)

// buffers are for those libraries that leave it to the application where a message goes. They
// are taken when a message has begun, so a connection that waits has none.
var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, 4<<10)
	return &b
}}

func getBuffer() *[]byte  { return buffers.Get().(*[]byte) }
func putBuffer(b *[]byte) { buffers.Put(b) }

// appendAll appends what r has to dst.
func appendAll(dst []byte, r io.Reader) ([]byte, error) {
	for {
		if len(dst) == cap(dst) {
			dst = slices.Grow(dst, 1)
		}
		n, err := r.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if err == io.EOF {
			return dst, nil
		}
		if err != nil {
			return dst, err
		}
	}
}

var errUTF8 = errors.New("a text that is not UTF-8")

// check is the UTF-8 check of a library that has none.
func check(m Message) error {
	if m.Text && !utf8.Valid(m.Data) {
		return errUTF8
	}
	return nil
}
