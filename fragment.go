package websocket

var (
	errMessageExpected      = &protocolError{StatusProtocolError, "5.4", "continuation frame without a message to continue"}
	errContinuationExpected = &protocolError{StatusProtocolError, "5.4", "new message inside a fragmented message"}
	errTooManyFragments     = &protocolError{StatusPolicyViolation, "10.4", "too many fragments for so small a message"}
	errInvalidUTF8          = &protocolError{StatusInvalidFramePayloadData, "8.1", "text is not valid UTF-8"}
)

// ErrMessageTooBig is the cause of the [CloseError] of a connection that was
// failed because a message exceeded the read limit. The peer is told with
// [StatusMessageTooBig] (RFC 6455, section 7.4.1).
var ErrMessageTooBig error = &protocolError{StatusMessageTooBig, "10.4", "message larger than the read limit"}

// A message may have freeFragments fragments, and one more for each
// bytesPerFragment bytes of payload. A fragment costs the receiver a header and
// a turn of its loop whatever it carries, and a message may have any number of
// empty ones: what is bounded is the work for what is delivered.
const (
	freeFragments    = 64 << 10
	bytesPerFragment = 64
)

// A sequence tracks the data frames of one message after another as they are
// received (section 5.4). The zero value is ready for use.
type sequence struct {
	opcode     opcode // of the message under way; opContinuation if none
	text       utf8State
	compressed bool   // and not inflated to its end
	pending    bool   // more can be inflated of what was received
	inflated   uint64 // what has come of that
	size       uint64 // payload of the message, as far as announced
	fragments  uint64
}

// underWay reports whether a message has begun and not ended.
func (s *sequence) underWay() bool { return s.opcode != opContinuation }

// next admits h as the header of the next frame, or says why it may not come
// here. limit is the most payload that a message may have. If next returns an
// error, s is unchanged.
func (s *sequence) next(h header, limit uint64) error {
	switch {
	// "Control frames [...] MAY be injected in the middle of a fragmented
	// message." (section 5.4)
	case h.opcode.isControl():
		return nil

	// "A fragmented message consists of a single frame with the FIN bit clear
	// and an opcode other than 0, followed by zero or more frames with the FIN
	// bit clear and the opcode set to 0, and terminated by a single frame with
	// the FIN bit set and an opcode of 0." (section 5.4)
	case h.opcode == opContinuation && !s.underWay():
		return errMessageExpected

	// "The fragments of one message MUST NOT be interleaved between the
	// fragments of another message" (section 5.4)
	case h.opcode != opContinuation && s.underWay():
		return errContinuationExpected
	}

	n := *s
	if !s.underWay() {
		n = sequence{opcode: h.opcode, compressed: h.rsv&rsv1 != 0}
	}
	switch {
	// "Implementations that have [...] limitations regarding the frame size or
	// total message size after reassembly from multiple frames MUST protect
	// themselves against exceeding those limits." (section 10.4)
	case !n.compressed && h.payloadLength > limit-n.size:
		return ErrMessageTooBig
	case n.fragments >= freeFragments+(n.size+h.payloadLength)/bytesPerFragment:
		return errTooManyFragments
	}
	n.size += h.payloadLength
	n.fragments++
	*s = n
	return nil
}

// payload admits p, unmasked, as the next part of the message under way.
//
// "When an endpoint is to interpret a byte stream as UTF-8 but finds that the
// byte stream is not, in fact, a valid UTF-8 stream, that endpoint MUST _Fail
// the WebSocket Connection_." (section 8.1)
func (s *sequence) payload(p []byte) error {
	if s.opcode != opText {
		return nil
	}
	text := s.text.next(p)
	if text == utf8Reject {
		return errInvalidUTF8
	}
	s.text = text
	return nil
}

// end admits the end of the message under way, after all of its payload.
func (s *sequence) end() error {
	if s.opcode == opText && s.text != utf8Accept {
		return errInvalidUTF8
	}
	*s = sequence{}
	return nil
}
