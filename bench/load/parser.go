package load

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/tidewire/websocket/bench/wire"
)

// An Inflater inflates a message. *deflate.Inflater is one.
type Inflater interface {
	Inflate(dst []byte, start int, src []byte, last bool) (out []byte, used int, err error)
}

// A parser takes what comes on a connection apart, and checks it.
type parser struct {
	partial []byte // the beginning of a header

	header wire.Header
	left   int  // of the frame's payload
	inside bool // a message: the next frame continues it

	length int // of the message, so far
	heard  int // messages

	payload    int // bytes, since the last takePayload
	inflater   Inflater
	compressed bool   // the message is
	deflated   []byte // the message so far, for the inflater
}

// receive takes what has come.
func (p *parser) receive(b []byte, s *Script) error {
	for len(b) > 0 {
		if p.left > 0 {
			chunk := b[:min(p.left, len(b))]
			b = b[len(chunk):]
			if err := p.data(chunk, s); err != nil {
				return err
			}
			continue
		}
		rest, ok, err := p.nextHeader(b)
		if err != nil {
			return err
		}
		if b = rest; ok && p.left == 0 {
			if err := p.endFrame(s); err != nil {
				return err
			}
		}
	}
	return nil
}

// nextHeader takes the header of a frame, if all of it is there.
func (p *parser) nextHeader(b []byte) (rest []byte, ok bool, err error) {
	head := b
	if len(p.partial) > 0 {
		head = append(p.partial, b[:min(len(b), wire.MaxHeaderLength)]...)
	}
	h, n := wire.ParseHeader(head)
	if n == 0 {
		p.partial = append(p.partial, b...)
		return nil, false, nil
	}
	rest = b[n-len(p.partial):]
	p.partial = p.partial[:0]
	p.header, p.left = h, h.Length
	return rest, true, p.check()
}

// check checks the header of a frame.
func (p *parser) check() error {
	h := p.header
	switch {
	case h.Opcode() == wire.Close:
		return errors.New("the other end has sent a Close frame")
	case h.Control():
		return nil
	case p.inside != (h.Opcode() == wire.Continuation):
		return fmt.Errorf("a frame with first byte %#x inside a message: %t", h.First, p.inside)
	case !p.inside:
		p.compressed = h.First&wire.RSV1 != 0
	}
	return nil
}

// data takes a part of the payload of a frame.
func (p *parser) data(chunk []byte, s *Script) error {
	offset := p.header.Length - p.left
	p.left -= len(chunk)
	if !p.header.Control() {
		p.payload += len(chunk)
		if s.deflated {
			if p.inflater != nil {
				p.deflated = append(p.deflated, chunk...)
			}
		} else if err := p.compare(chunk, offset, s.want(p.heard)); err != nil {
			return err
		}
		p.length += len(chunk)
	}
	if p.left == 0 {
		return p.endFrame(s)
	}
	return nil
}

// compare compares both ends of chunk, which is at offset in the frame, with what
// it should be.
func (p *parser) compare(chunk []byte, offset int, want []byte) error {
	const end = 8
	if p.length+len(chunk) > len(want) {
		return fmt.Errorf("a message of more than %d bytes", len(want))
	}
	want = want[p.length:][:len(chunk)]
	if err := p.compareAt(chunk, want, offset, 0, min(end, len(chunk))); err != nil {
		return err
	}
	return p.compareAt(chunk, want, offset, max(0, len(chunk)-end), len(chunk))
}

func (p *parser) compareAt(chunk, want []byte, offset, from, to int) error {
	for i := from; i < to; i++ {
		if chunk[i]^p.maskAt(offset+i) != want[i] {
			return fmt.Errorf("byte %d of a message is %#x, and not %#x", p.length+i, chunk[i]^p.maskAt(offset+i), want[i])
		}
	}
	return nil
}

// maskAt returns what the byte i of the frame's payload is masked with.
func (p *parser) maskAt(i int) byte {
	if !p.header.Masked {
		return 0
	}
	return byte(p.header.Key >> (8 * (i % 4)))
}

func (p *parser) endFrame(s *Script) error {
	if p.header.Control() {
		return nil
	}
	p.inside = p.header.First&wire.Fin == 0
	if p.inside {
		return nil
	}
	want := s.want(p.heard)
	switch {
	case s.deflated && p.inflater != nil:
		if err := p.inflate(want); err != nil {
			return err
		}
	case !s.deflated && p.length != len(want):
		return fmt.Errorf("a message of %d bytes, and not %d", p.length, len(want))
	}
	p.length = 0
	p.heard++
	return nil
}

// inflate checks a message that may be compressed.
func (p *parser) inflate(want []byte) error {
	got := p.deflated
	if p.compressed {
		var err error
		if got, _, err = p.inflater.Inflate(make([]byte, 0, len(want)+64), 0, p.deflated, true); err != nil {
			return fmt.Errorf("inflating a message: %w", err)
		}
	}
	p.deflated = p.deflated[:0]
	if !bytes.Equal(got, want) {
		return fmt.Errorf("a message that inflates to %.40q…, and not %.40q…", got, want)
	}
	return nil
}

// takePayload returns how many bytes the payloads had since the last time.
func (p *parser) takePayload() int {
	n := p.payload
	p.payload = 0
	return n
}

// want returns the message that comes after n others.
func (s *Script) want(n int) []byte { return s.messages[n%len(s.messages)] }
