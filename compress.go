package websocket

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/tidewire/websocket/internal/deflate"
)

// Compression asks for permessage-deflate (RFC 7692). A Dialer offers it, an
// Upgrader accepts it if it is offered. The zero value favours small memory; its
// fields mean the same on both sides.
//
// With context takeover, a message is compressed with regard to those before
// it, which halves small ones again. It costs memory for as long as the connection
// lives, from the first compressed message on: at most 12 KB for both directions
// together with windows of 12 bits, 75 KB with 15. Without, nothing is kept
// between messages.
type Compression struct {
	// Level is 1 for speed, or 2 to spend a little more time on shorter
	// messages. Default: 1.
	Level int

	// Threshold is how many bytes a message must have to be compressed, unless
	// it is streamed and does not fit one fragment. Default: 64 if the endpoint writes
	// with context takeover, 256 if without. Negative: none.
	Threshold int

	// ServerMaxWindowBits and ClientMaxWindowBits limit the window with which the
	// server or the client compresses to 2 to that power of bytes (RFC 7692,
	// section 7.1.2). From 9 to 15. Default: 12.
	//
	// A server cannot limit a client's window that does not say it may be
	// limited. The client is kept from context takeover then. A client that dials a server
	// that can do neither takes 32 KB for reading.
	ServerMaxWindowBits int
	ClientMaxWindowBits int

	// ServerNoContextTakeover and ClientNoContextTakeover keep the server or the
	// client from context takeover (RFC 7692, section 7.1.1). Default: false.
	ServerNoContextTakeover bool
	ClientNoContextTakeover bool
}

const (
	defaultWindowBits        = 12
	defaultThreshold         = 256 // shorter ones do not get shorter
	defaultTakeoverThreshold = 64
)

// check reports what an Upgrader or a Dialer may not have in o, which may be nil.
func (o *Compression) check() error {
	if o == nil {
		return nil
	}
	if o.Level != 0 && o.Level != deflate.Fast && o.Level != deflate.Better {
		return fmt.Errorf("level %d, which is neither 1 nor 2", o.Level)
	}
	for _, bits := range []int{o.ServerMaxWindowBits, o.ClientMaxWindowBits} {
		if bits != 0 && (bits < 9 || bits > deflate.MaxWindowBits) {
			return fmt.Errorf("a window of %d bits, which is not from 9 to 15", bits)
		}
	}
	return nil
}

func (o *Compression) serverBits() int { return windowBits(o.ServerMaxWindowBits) }
func (o *Compression) clientBits() int { return windowBits(o.ClientMaxWindowBits) }

func windowBits(bits int) int {
	if bits == 0 {
		return defaultWindowBits
	}
	return bits
}

// A deflateOffer is an offer of permessage-deflate by a client, or the response of the
// server that accepts one: the parameters of section 7.1. The zero value has none.
type deflateOffer struct {
	serverNoContextTakeover bool
	clientNoContextTakeover bool
	serverMaxWindowBits     int // 0: not there
	clientMaxWindowBits     int // 0: not there; in an offer also withoutValue
}

const deflateName = "permessage-deflate"

// withoutValue is client_max_window_bits without a value: the client can limit
// its window, and does not say that it will.
const withoutValue = deflate.MaxWindowBits + 1

// parseDeflate parses the parameters of an offer, or a response, as cutExtension
// returns them. It is not ok if a server must decline the offer, or a client must
// fail the connection:
//
// "The negotiation offer contains an extension parameter not defined for use in
// an offer", "an extension parameter with an invalid value", "multiple extension
// parameters with the same name." (section 7)
func parseDeflate(params string, isOffer bool) (d deflateOffer, ok bool) {
	for params != "" {
		var p extensionParam
		p, params, _ = nextParam(params) // what is not ok is no parameter of ours
		bits, hasBits := parseBits(p.value)
		switch {
		case equalFold(p.name, "server_no_context_takeover") && !p.hasValue && !d.serverNoContextTakeover:
			d.serverNoContextTakeover = true
		case equalFold(p.name, "client_no_context_takeover") && !p.hasValue && !d.clientNoContextTakeover:
			d.clientNoContextTakeover = true
		case equalFold(p.name, "server_max_window_bits") && hasBits && d.serverMaxWindowBits == 0:
			d.serverMaxWindowBits = bits
		case equalFold(p.name, "client_max_window_bits") && hasBits && d.clientMaxWindowBits == 0:
			d.clientMaxWindowBits = bits
		case equalFold(p.name, "client_max_window_bits") && !p.hasValue && isOffer && d.clientMaxWindowBits == 0:
			d.clientMaxWindowBits = withoutValue
		default:
			return deflateOffer{}, false
		}
	}
	return d, true
}

// parseBits parses the size of a window.
//
// "This parameter has a decimal integer value without leading zeroes between 8
// to 15, inclusive" (section 7.1.2.1)
func parseBits(s string) (bits int, ok bool) {
	for bits := deflate.MinWindowBits; bits <= deflate.MaxWindowBits; bits++ {
		if s == strconv.Itoa(bits) {
			return bits, true
		}
	}
	return 0, false
}

// append appends d as it stands in a Sec-WebSocket-Extensions.
func (d deflateOffer) append(b []byte) []byte {
	b = append(b, deflateName...)
	if d.serverNoContextTakeover {
		b = append(b, "; server_no_context_takeover"...)
	}
	if d.clientNoContextTakeover {
		b = append(b, "; client_no_context_takeover"...)
	}
	if d.serverMaxWindowBits != 0 {
		b = strconv.AppendInt(append(b, "; server_max_window_bits="...), int64(d.serverMaxWindowBits), 10)
	}
	switch d.clientMaxWindowBits {
	case 0:
	case withoutValue:
		b = append(b, "; client_max_window_bits"...)
	default:
		b = strconv.AppendInt(append(b, "; client_max_window_bits="...), int64(d.clientMaxWindowBits), 10)
	}
	return b
}

// accept chooses the first of a client's offers of permessage-deflate that is
// one, and returns the server's response to it, and what comes of it. It returns nil if
// there is none.
func (o *Compression) accept(offers []string) (response string, z *compression) {
	if o == nil {
		return "", nil
	}
	for _, list := range offers {
		for m, rest := nextMember(list); m != ""; m, rest = nextMember(rest) {
			name, params := cutExtension(m)
			if offer, ok := parseDeflate(params, true); ok && equalFold(name, deflateName) {
				d := o.respond(offer)
				return string(d.append(nil)), o.negotiated(d, serverSide)
			}
		}
	}
	return "", nil
}

// respond returns the response that accepts offer.
func (o *Compression) respond(offer deflateOffer) deflateOffer {
	// "A server accepts an extension negotiation offer that includes the
	// "server_no_context_takeover" extension parameter by including the
	// "server_no_context_takeover" extension parameter in the corresponding
	// extension negotiation response" (section 7.1.1.1). Either may also be
	// included without having been offered.
	d := deflateOffer{
		serverNoContextTakeover: offer.serverNoContextTakeover || o.ServerNoContextTakeover,
		clientNoContextTakeover: offer.clientNoContextTakeover || o.ClientNoContextTakeover,
	}
	// "A server accepts an extension negotiation offer with this parameter by
	// including the "server_max_window_bits" extension parameter in the extension
	// negotiation response to send back to the client with the same or smaller
	// value as the offer." (section 7.1.2.1)
	if offer.serverMaxWindowBits != 0 {
		d.serverMaxWindowBits = min(offer.serverMaxWindowBits, o.serverBits())
	}
	// "If a received extension negotiation offer doesn't have the
	// "client_max_window_bits" extension parameter, the corresponding extension
	// negotiation response to the offer MUST NOT include the
	// "client_max_window_bits" extension parameter." (section 7.1.2.2)
	bits := min(offer.clientMaxWindowBits, o.clientBits())
	switch {
	case offer.clientMaxWindowBits == 0:
		d.clientNoContextTakeover = d.clientNoContextTakeover || o.clientBits() < deflate.MaxWindowBits
	case bits < deflate.MaxWindowBits:
		d.clientMaxWindowBits = bits
	}
	return d
}

// offers returns what a client offers, in the order in which it likes them: to
// limit the server's window, or to do without context takeover, or neither. There
// are servers that know neither, and accept the offer of it all the same, as if
// it were one without.
func (o *Compression) offers() []deflateOffer {
	d := deflateOffer{
		serverNoContextTakeover: o.ServerNoContextTakeover,
		clientNoContextTakeover: o.ClientNoContextTakeover,
		clientMaxWindowBits:     o.clientBits(),
	}
	if d.clientMaxWindowBits == deflate.MaxWindowBits {
		d.clientMaxWindowBits = withoutValue
	}
	if o.serverBits() == deflate.MaxWindowBits {
		return []deflateOffer{d}
	}
	limited, without := d, d
	limited.serverMaxWindowBits = o.serverBits()
	without.serverNoContextTakeover = true
	if o.ServerNoContextTakeover {
		return []deflateOffer{limited, without}
	}
	return []deflateOffer{limited, without, d}
}

// offer returns the Sec-WebSocket-Extensions of a client.
func (o *Compression) offer() string {
	var b []byte
	for _, d := range o.offers() {
		if b != nil {
			b = append(b, ", "...)
		}
		b = d.append(b)
	}
	return string(b)
}

var (
	errExtension       = errors.New("the response has a Sec-WebSocket-Extensions that was not offered (RFC 6455, section 4.1)")
	errDeflateResponse = errors.New("the response has a permessage-deflate that is no answer to an offer (RFC 7692, section 7)")
)

// checkExtensions returns what the extensions of a server's response have come
// to, or why a client must fail the connection.
//
// "If the response includes a |Sec-WebSocket-Extensions| header field and this
// header field indicates the use of an extension that was not present in the
// client's handshake (the server has indicated an extension not requested by the
// client), the client MUST _Fail the WebSocket Connection_." (RFC 6455, section 4.1)
func (o *Compression) checkExtensions(values []string) (z *compression, err error) {
	for _, list := range values {
		for m, rest := nextMember(list); m != ""; m, rest = nextMember(rest) {
			name, params := cutExtension(m)
			if o == nil || z != nil || !equalFold(name, deflateName) {
				return nil, errExtension
			}
			if z = o.checkDeflate(params); z == nil {
				return nil, errDeflateResponse
			}
		}
	}
	return z, nil
}

// checkDeflate returns what a response with these parameters has come to, or nil.
//
// "A client MUST _Fail the WebSocket Connection_ if the peer server accepted an
// extension negotiation offer for this extension with an extension negotiation
// response meeting any of the following conditions" (section 7)
func (o *Compression) checkDeflate(params string) *compression {
	d, ok := parseDeflate(params, false)
	if !ok {
		return nil
	}
	offers := o.offers()
	offer := offers[len(offers)-1] // what answers another one is an answer to the last, too
	if offer.serverNoContextTakeover && !d.serverNoContextTakeover || d.clientMaxWindowBits > offer.clientMaxWindowBits {
		return nil
	}
	return o.negotiated(d, clientSide)
}

// A compression is permessage-deflate on one connection.
type compression struct {
	level     int
	threshold int

	writeBits, readBits         int
	writeTakeover, readTakeover bool

	encoder  *deflate.Encoder  // nil before the first compressed message; the holder of the socket has it
	inflater *deflate.Inflater // nil before the first compressed message; the holder of readMu has it
}

// negotiated returns the compression that an endpoint does after the
// response d. Its own window may be smaller than what d says, its own context be
// dropped though d allows takeover, and what the peer may do is what d says.
func (o *Compression) negotiated(d deflateOffer, side side) *compression {
	serverBits, clientBits := d.serverMaxWindowBits, d.clientMaxWindowBits
	serverTakeover, clientTakeover := !d.serverNoContextTakeover, !d.clientNoContextTakeover
	orMax := func(bits int) int {
		if bits == 0 {
			return deflate.MaxWindowBits
		}
		return bits
	}
	z := &compression{level: max(deflate.Fast, o.Level), threshold: o.Threshold}
	if side == serverSide {
		z.writeBits, z.writeTakeover = min(orMax(serverBits), o.serverBits()), serverTakeover
		z.readBits, z.readTakeover = orMax(clientBits), clientTakeover
	} else {
		z.writeBits, z.writeTakeover = min(orMax(clientBits), o.clientBits()), clientTakeover && !o.ClientNoContextTakeover
		z.readBits, z.readTakeover = orMax(serverBits), serverTakeover
	}
	switch {
	case z.threshold != 0:
	case z.writeTakeover:
		z.threshold = defaultTakeoverThreshold
	default:
		z.threshold = defaultThreshold
	}
	return z
}

// A compressChoice is whether a message is to be compressed.
type compressChoice uint8

const (
	compressByLength compressChoice = iota // if it is as long as Threshold
	compressAlways
	compressNever
)

// wants reports whether a message of n bytes is to be compressed. z may be nil.
func (z *compression) wants(choice compressChoice, n int) bool {
	return z != nil && (choice == compressAlways || choice == compressByLength && n >= z.threshold)
}

func (z *compression) enc() *deflate.Encoder {
	if z.encoder == nil {
		z.encoder = deflate.NewEncoder(z.writeBits, z.level, z.writeTakeover)
	}
	return z.encoder
}

// forget makes the messages to come refer to none before. z may be nil.
func (z *compression) forget() {
	if z != nil && z.encoder != nil {
		z.encoder.Reset()
	}
}

// forgetRead gives the window of what was read back. z may be nil.
func (z *compression) forgetRead() {
	if z != nil && z.inflater != nil {
		z.inflater.Reset()
	}
}

var (
	errCompressedBit = &protocolError{StatusProtocolError, "RFC 7692, section 6", "control frame or continuation frame with the bit of a compressed message"}
	errCorrupt       = &protocolError{StatusInvalidFramePayloadData, "RFC 7692, section 7.2.2", "message is not compressed as DEFLATE demands"}
	errInflateWork   = &protocolError{StatusPolicyViolation, "RFC 7692, section 8", "too much compressed data for so small a message"}
)

// inflate inflates src, the next compressed payload of the message under way,
// and appends what comes out to dst, as far as there is room. For start, last and used see
// [deflate.Inflater.Inflate]. full reports that there was too little room.
func (z *compression) inflate(dst []byte, start int, src []byte, last bool) (out []byte, used int, full bool, err error) {
	if z.inflater == nil {
		z.inflater = deflate.NewInflater(z.readBits, z.readTakeover)
	}
	out, used, err = z.inflater.Inflate(dst, start, src, last)
	switch {
	case err == nil:
		return out, used, false, nil
	case err == deflate.ErrFull:
		return out, used, true, nil
	case errors.Is(err, deflate.ErrWork):
		return out, used, false, errInflateWork
	}
	return out, used, false, errCorrupt
}
