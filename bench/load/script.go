package load

import (
	"github.com/tidewire/websocket/bench/wire"
)

// A Script is what the ends of connections say and hear: messages that follow each other in a
// circle, already as frames.
type Script struct {
	stream []byte // the frames
	ends   []int  // where in stream each ends

	messages [][]byte // what comes, likewise in a circle
	deflated bool     // it comes compressed
}

// streamSize is about how many bytes of frames are kept, so that many can be sent with
// one system call.
const streamSize = 1 << 20

// NewScript returns a Script of one message, that is sent and that comes. The frames of a
// client are masked.
func NewScript(message []byte, text, client bool) *Script {
	s := &Script{messages: [][]byte{message}}
	h := wire.Header{First: wire.Fin | wire.Binary}
	if text {
		h.First = wire.Fin | wire.Text
	}
	s.fill(h, [][]byte{message}, client)
	return s
}

// NewDeflatedScript returns a Script of a client that sends messages compressed to those payloads, and
// wants them back compressed in whatever way. It can go in a circle because the first payload
// refers to nothing before it.
func NewDeflatedScript(messages, payloads [][]byte) *Script {
	s := &Script{messages: messages, deflated: true}
	s.fill(wire.Header{First: wire.Fin | wire.RSV1 | wire.Text}, payloads, true)
	return s
}

func (s *Script) fill(h wire.Header, payloads [][]byte, client bool) {
	if client {
		h.Masked, h.Key = true, 0x5AA5_C33C
	}
	for len(payloads) > 0 && len(s.stream) < streamSize && len(s.ends) < maxInFlight {
		for _, p := range payloads {
			s.stream = wire.AppendFrame(s.stream, h, p)
			s.ends = append(s.ends, len(s.stream))
		}
	}
}

// maxInFlight is how many messages are sent with one system call at the most.
const maxInFlight = 64
