package websocket

import (
	"context"
	"math/bits"
	"sync"

	"github.com/tidewire/websocket/internal/deflate"
)

// A PreparedMessage is a message to be sent on many connections. It is framed
// once, and compressed once for each way that connections compress. It may be
// used concurrently.
type PreparedMessage struct {
	typ   MessageType
	data  []byte // the end of frame
	frame []byte // as a server sends it

	mu         sync.Mutex
	compressed map[deflateVariant][]byte // frames, as a server sends them
}

// A deflateVariant is a way to compress a message by itself.
type deflateVariant struct{ level, windowBits int }

// NewPreparedMessage prepares a message. It copies data.
func NewPreparedMessage(typ MessageType, data []byte) (*PreparedMessage, error) {
	if typ != MessageText && typ != MessageBinary {
		return nil, errMessageType
	}
	frame := appendFrame(nil, header{fin: true, opcode: opcode(typ)}, data)
	return &PreparedMessage{typ: typ, data: frame[len(frame)-len(data):], frame: frame}, nil
}

// frameFor returns the frame for a server's connection that compresses by z, which may be nil.
// The messages that follow a compressed one cannot refer to those before it: it was compressed without
// them, and the encoder has not seen it.
func (m *PreparedMessage) frameFor(z *compression) []byte {
	if !z.wants(compressByLength, len(m.data)) {
		return m.frame
	}
	frame := m.variant(deflateVariant{z.level, z.writeBits})
	if frame == nil {
		return m.frame
	}
	z.forget()
	return frame
}

// variant returns the frame that is compressed by v, or nil if it would not be
// shorter.
func (m *PreparedMessage) variant(v deflateVariant) []byte {
	// No distance is longer than the message, so a larger window is the same.
	v.windowBits = min(v.windowBits, max(deflate.MinWindowBits, bits.Len(uint(len(m.data)))))
	m.mu.Lock()
	defer m.mu.Unlock()
	frame, ok := m.compressed[v]
	if !ok {
		e := deflate.NewEncoder(v.windowBits, v.level, false)
		if out, shorter := e.AppendMessage(nil, m.data); shorter {
			frame = appendFrame(nil, header{fin: true, rsv: rsv1, opcode: opcode(m.typ)}, out)
		}
		if m.compressed == nil {
			m.compressed = make(map[deflateVariant][]byte)
		}
		m.compressed[v] = frame
	}
	return frame
}

// WritePrepared is like [Conn.Write]. A client masks every frame with a key of
// its own (RFC 6455, section 5.3), so it is the server that gains by it.
func (c *Conn) WritePrepared(ctx context.Context, m *PreparedMessage) error {
	if err := checkWrite(ctx, m.typ); err != nil {
		return err
	}
	if c.side == clientSide {
		return c.send(ctx, &job{opcode: opcode(m.typ), fin: true, payload: m.data})
	}
	return c.send(ctx, &job{opcode: opcode(m.typ), prepared: m})
}

// WritePreparedBatch writes messages one after the other, with nothing in between, in as few system
// calls as it can. Otherwise it is like [Conn.WritePrepared].
func (c *Conn) WritePreparedBatch(ctx context.Context, messages ...*PreparedMessage) error {
	if c.side == clientSide {
		batch := make([]Message, len(messages))
		for i, m := range messages {
			batch[i] = Message{m.typ, m.data}
		}
		return c.WriteBatch(ctx, batch...)
	}
	for _, m := range messages {
		if err := checkWrite(ctx, m.typ); err != nil {
			return err
		}
	}
	if len(messages) == 0 {
		return nil
	}
	return c.send(ctx, &job{preparedBatch: messages})
}
