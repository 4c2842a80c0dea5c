package websocket

import "context"

// A PreparedMessage is a message to be sent on many connections. It is framed
// once, and may be used concurrently.
type PreparedMessage struct {
	typ   MessageType
	data  []byte // the end of frame
	frame []byte // as a server sends it
}

// NewPreparedMessage prepares a message. It copies data.
func NewPreparedMessage(typ MessageType, data []byte) (*PreparedMessage, error) {
	if typ != MessageText && typ != MessageBinary {
		return nil, errMessageType
	}
	frame := make([]byte, 0, maxHeaderLength+len(data))
	frame = appendHeader(frame, header{fin: true, opcode: opcode(typ), payloadLength: uint64(len(data))})
	n := len(frame)
	frame = append(frame, data...)
	return &PreparedMessage{typ: typ, data: frame[n:], frame: frame}, nil
}

// WritePrepared is like [Conn.Write]. A client masks every frame with a key of
// its own (RFC 6455, section 5.3), so it is the server that gains by it.
func (c *Conn) WritePrepared(ctx context.Context, m *PreparedMessage) error {
	if err := checkWrite(ctx, m.typ); err != nil {
		return err
	}
	if c.side == clientSide {
		return c.send(ctx, job{opcode: opcode(m.typ), fin: true, payload: m.data})
	}
	return c.send(ctx, job{opcode: opcode(m.typ), prepared: m})
}
