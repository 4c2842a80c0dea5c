package websocket

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"unicode/utf8"
)

// A StatusCode is the reason for closing a connection, as it stands in a Close
// frame (RFC 6455, section 7.4), or what the connection ended up with where
// there was no such frame (RFC 6455, section 7.1.5).
type StatusCode int

// The status codes of the WebSocket Close Code Number Registry, by their
// registered names. Codes from 3000 to 3999 are registered with IANA by
// libraries and frameworks, those from 4000 to 4999 are for private use.
const (
	StatusNormalClosure           StatusCode = 1000
	StatusGoingAway               StatusCode = 1001
	StatusProtocolError           StatusCode = 1002
	StatusUnsupportedData         StatusCode = 1003
	StatusNoStatusReceived        StatusCode = 1005 // never sent: the Close frame had no status code
	StatusAbnormalClosure         StatusCode = 1006 // never sent: there was no Close frame
	StatusInvalidFramePayloadData StatusCode = 1007
	StatusPolicyViolation         StatusCode = 1008
	StatusMessageTooBig           StatusCode = 1009
	StatusMandatoryExtension      StatusCode = 1010
	StatusInternalError           StatusCode = 1011
	StatusServiceRestart          StatusCode = 1012
	StatusTryAgainLater           StatusCode = 1013
	StatusBadGateway              StatusCode = 1014
	StatusTLSHandshake            StatusCode = 1015 // never sent: the TLS handshake failed
)

// String returns the registered name of c, or its number.
func (c StatusCode) String() string {
	switch c {
	case StatusNormalClosure:
		return "normal closure"
	case StatusGoingAway:
		return "going away"
	case StatusProtocolError:
		return "protocol error"
	case StatusUnsupportedData:
		return "unsupported data"
	case StatusNoStatusReceived:
		return "no status received"
	case StatusAbnormalClosure:
		return "abnormal closure"
	case StatusInvalidFramePayloadData:
		return "invalid frame payload data"
	case StatusPolicyViolation:
		return "policy violation"
	case StatusMessageTooBig:
		return "message too big"
	case StatusMandatoryExtension:
		return "mandatory extension"
	case StatusInternalError:
		return "internal error"
	case StatusServiceRestart:
		return "service restart"
	case StatusTryAgainLater:
		return "try again later"
	case StatusBadGateway:
		return "bad gateway"
	case StatusTLSHandshake:
		return "TLS handshake"
	}
	return fmt.Sprintf("status code %d", int(c))
}

// mayBeSent reports whether c may stand in a Close frame.
//
// "Status codes in the range 0-999 are not used. [...] Status codes in the
// range 1000-2999 are reserved for definition by this protocol, its future
// revisions, and extensions specified in a permanent and readily available
// public specification." (section 7.4.2)
func (c StatusCode) mayBeSent() bool {
	switch {
	// "1004 Reserved. [...] 1005 is a reserved value and MUST NOT be set as a
	// status code in a Close control frame by an endpoint." Likewise 1006 and
	// 1015. (section 7.4.1)
	case c == 1004, c == StatusNoStatusReceived, c == StatusAbnormalClosure:
		return false
	}
	return c >= StatusNormalClosure && c < StatusTLSHandshake || c >= 3000 && c <= 4999
}

// A CloseError says how a connection ended. Every call on the connection
// returns the same one from then on.
type CloseError struct {
	// Code is the close code (RFC 6455, section 7.1.5): the status code of the
	// peer's Close frame, StatusNoStatusReceived if that had none, the code
	// that we failed the connection with, or StatusAbnormalClosure if it ended
	// without a Close frame.
	Code StatusCode

	// Reason is the text beside the code. It comes from the peer, unless we
	// failed the connection.
	Reason string

	// Local reports that this endpoint began: by Close or CloseNow, or by
	// failing the connection for what the peer had sent. It is false if the
	// peer closed first or the network was lost.
	Local bool

	// Err is the cause, if there is more to say than a code: why the network
	// was lost, or which rule the peer broke.
	Err error
}

func (e *CloseError) Error() string {
	var b strings.Builder
	b.WriteString("websocket: ")
	switch {
	case e.Code == StatusAbnormalClosure && e.Local:
		b.WriteString("connection closed without a closing handshake")
	case e.Code == StatusAbnormalClosure:
		b.WriteString("connection lost")
	case e.Local:
		fmt.Fprintf(&b, "closed with %d (%v)", int(e.Code), e.Code)
	default:
		fmt.Fprintf(&b, "closed by the peer with %d (%v)", int(e.Code), e.Code)
	}
	if e.Err != nil {
		b.WriteString(": ")
		b.WriteString(strings.TrimPrefix(e.Err.Error(), "websocket: "))
	} else if e.Reason != "" {
		fmt.Fprintf(&b, ": %q", e.Reason)
	}
	return b.String()
}

// Unwrap returns Err, and [net.ErrClosed] if it was this endpoint that closed
// the connection.
func (e *CloseError) Unwrap() []error {
	var errs []error
	if e.Err != nil {
		errs = append(errs, e.Err)
	}
	if e.Local {
		errs = append(errs, net.ErrClosed)
	}
	return errs
}

// isLoss reports whether the network was lost, so that what came before is
// still of use. Else nothing is.
//
// "An endpoint MUST NOT continue to attempt to process data [...] from the
// remote endpoint after being instructed to _Fail the WebSocket Connection_."
// (section 7.1.7)
func (e *CloseError) isLoss() bool { return e.Code == StatusAbnormalClosure && !e.Local }

// CloseStatus returns the code of the [CloseError] in err's tree, or -1 if
// there is none.
func CloseStatus(err error) StatusCode {
	if e, ok := errors.AsType[*CloseError](err); ok {
		return e.Code
	}
	return -1
}

var (
	errCloseLength = &protocolError{StatusProtocolError, "5.5.1", "Close frame with a payload of one byte"}
	errCloseCode   = &protocolError{StatusProtocolError, "7.4", "status code that must not be in a Close frame"}
	errCloseUTF8   = &protocolError{StatusInvalidFramePayloadData, "5.5.1", "reason in a Close frame not valid UTF-8"}
)

// parseClose returns what the payload of a received Close frame says.
func parseClose(payload []byte) (StatusCode, string, error) {
	// "If this Close control frame contains no status code, _The WebSocket
	// Connection Close Code_ is considered to be 1005." (section 7.1.5)
	if len(payload) == 0 {
		return StatusNoStatusReceived, "", nil
	}
	// "If there is a body, the first two bytes of the body MUST be a 2-byte
	// unsigned integer (in network byte order) representing a status code"
	// (section 5.5.1)
	if len(payload) == 1 {
		return 0, "", errCloseLength
	}
	code := StatusCode(binary.BigEndian.Uint16(payload))
	if !code.mayBeSent() {
		return 0, "", errCloseCode
	}
	// "Following the 2-byte integer, the body MAY contain UTF-8-encoded data
	// with value /reason/" (section 5.5.1)
	reason := payload[2:]
	if !utf8.Valid(reason) {
		return 0, "", errCloseUTF8
	}
	return code, string(reason), nil
}

const maxReasonLength = maxControlPayloadLength - 2

// appendClose appends the payload of a Close frame. A reason that does not fit
// is cut between characters, and what is not UTF-8 in it is replaced.
func appendClose(b []byte, code StatusCode, reason string) []byte {
	// "The Close frame MAY contain a body" (section 5.5.1)
	if code == StatusNoStatusReceived {
		return b
	}
	b = binary.BigEndian.AppendUint16(b, uint16(code))
	reason = strings.ToValidUTF8(reason, "\uFFFD")
	if n := maxReasonLength; len(reason) > n {
		for !utf8.RuneStart(reason[n]) {
			n--
		}
		reason = reason[:n]
	}
	return append(b, reason...)
}

// A closing is the state of the closing handshake (section 7.1). The zero value
// is that of an open connection.
type closing uint8

const (
	// "After sending a control frame indicating the connection should be
	// closed, a peer does not send any further data" (section 1.4)
	closeSent closing = 1 << iota

	// "after receiving a control frame indicating the connection should be
	// closed, a peer discards any further data received." (section 1.4)
	closeReceived

	// "After both sending and receiving a Close message, an endpoint considers
	// the WebSocket connection closed" (section 5.5.1)
	closeBoth = closeSent | closeReceived
)

// An owed holds the control frames that are still to be sent: Pongs, a Ping of
// ours, and the Close. The zero value holds none.
type owed struct {
	kinds    owedKinds
	ping     uint64 // the number of the Ping
	payloads []byte // of the Pongs and, last, of the Close, each after a byte with its length
}

type owedKinds uint8

const (
	owesPong owedKinds = 1 << iota
	owesPing
	owesClose
)

// maxOwedPongs is how many bytes the payloads of the Pongs have that wait to be
// sent: a dozen, or one of any length.
const maxOwedPongs = 12 * 11

// addPong notes that a Ping with the given payload came, and copies it. Of the
// Pings before, it forgets those whose Pongs would be too much.
//
// "If an endpoint receives a Ping frame and has not yet sent Pong frame(s) in
// response to previous Ping frame(s), the endpoint MAY elect to send a Pong
// frame for only the most recently processed Ping frame." (section 5.5.3)
func (o *owed) addPong(payload []byte) {
	for o.kinds&owesPong != 0 && len(o.payloads)+1+len(payload) > maxOwedPongs {
		o.payloads = append(o.payloads[:0], o.payloads[1+o.payloads[0]:]...)
	}
	o.add(owesPong, payload)
}

func (o *owed) add(kind owedKinds, payload []byte) {
	if o.kinds&owesPong == 0 {
		o.payloads = o.payloads[:0]
	}
	o.kinds |= kind
	o.payloads = append(append(o.payloads, byte(len(payload))), payload...)
}

// addPing notes that a Ping of our own is to be sent.
func (o *owed) addPing(id uint64) {
	o.kinds |= owesPing
	o.ping = id
}

// addClose notes that a Close is to be sent. There will be no more Pongs.
func (o *owed) addClose(payload []byte) { o.add(owesClose, payload) }

// appendFrames appends the frames that o holds, as they go over the wire. The
// Close is the last. key gives each its masking key.
func (o *owed) appendFrames(b []byte, key func() (masked bool, maskingKey uint32)) []byte {
	add := func(op opcode, payload []byte) {
		h := header{fin: true, opcode: op}
		h.masked, h.maskingKey = key()
		b = appendFrame(b, h, payload)
	}
	if o.kinds&owesPing != 0 {
		add(opPing, pingPayload(o.ping))
	}
	for p := o.payloads; len(p) > 0; {
		var payload []byte
		payload, p = p[1:1+p[0]], p[1+p[0]:]
		switch {
		case o.kinds&owesClose != 0 && len(p) == 0:
			add(opClose, payload)
		case o.kinds&owesPong != 0:
			add(opPong, payload)
		}
	}
	return b
}

// pingPayload returns the payload of our Ping with the given number: eight
// bytes, so that its Pong can be told from others.
func pingPayload(id uint64) []byte {
	return binary.BigEndian.AppendUint64(nil, id)
}

// pingID returns the number of the Ping that a Pong with the given payload
// answers, if it was ours.
func pingID(payload []byte) (id uint64, ok bool) {
	if len(payload) != 8 {
		return 0, false
	}
	return binary.BigEndian.Uint64(payload), true
}
