package wsjson

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/tidewire/websocket"
)

// Read reads the next message of c, a text or not, and returns what its JSON stands for.
//
// If the message is no JSON, or none for a T, the error says why, and wraps what package
// json has to say: the connection is as good as before, and the next message can be read. Other
// errors are those of [websocket.Conn.Read], and so is what ctx does.
func Read[T any](ctx context.Context, c *websocket.Conn) (T, error) {
	b := getBuffer()
	defer b.free()
	var err error
	if _, b.b, err = c.ReadAppend(ctx, b.b); err != nil {
		var zero T
		return zero, err
	}
	return decode[T](b.b)
}

// decode returns what p stands for.
func decode[T any](p []byte) (T, error) {
	var v T
	if err := json.Unmarshal(p, &v); err != nil {
		var zero T // and not what was decoded before the error
		return zero, fmt.Errorf("wsjson: message of %d bytes: %w", len(p), err)
	}
	return v, nil
}

// Write writes v as JSON, in one text message. An error of package json is wrapped, and then
// nothing is written. Other errors are those of [websocket.Conn.Write].
func Write(ctx context.Context, c *websocket.Conn, v any) error {
	b := getBuffer()
	defer b.free()
	if err := json.NewEncoder(b).Encode(v); err != nil {
		return fmt.Errorf("wsjson: %w", err)
	}
	return c.Write(ctx, websocket.MessageText, bytes.TrimSuffix(b.b, []byte("\n")))
}

// A buffer holds a message.
type buffer struct{ b []byte }

// maxPooled is the size of the largest buffer that is kept.
const maxPooled = 64 << 10

var buffers = sync.Pool{New: func() any { return new(buffer) }}

func getBuffer() *buffer { return buffers.Get().(*buffer) }

func (b *buffer) free() {
	if cap(b.b) <= maxPooled {
		b.b = b.b[:0]
		buffers.Put(b)
	}
}

func (b *buffer) Write(p []byte) (int, error) {
	b.b = append(b.b, p...)
	return len(p), nil
}
