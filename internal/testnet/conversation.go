package testnet

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A Conversation is one file of testdata/conversations: what a peer and an
// endpoint say to each other, and what the endpoint's user sees of it. The
// README there describes the notation.
type Conversation struct {
	Name       string
	Side       string // "server" or "client" if the endpoint may be only that
	Limit      int64  // of the endpoint's messages; 0 is the default, -1 none
	Extensions string // that were negotiated, as in the server's response
	Steps      []Step
}

// A Step is one line of a Conversation.
type Step struct {
	Line   int
	Text   string // the line
	Action Action
	Frame  Frame  // of Send, Receive and MayReceive; Opcode and Payload of Deliver, MayDeliver and Write
	Code   int    // of Fail, Closed and Close
	Reason string // of Closed and Close
	Local  bool   // Closed: the endpoint's user began it
	Fails  bool   // Write, Close, Ping: the call returns an error
	Silent bool   // Fail: without a Close frame, for one was sent before
	Any    bool   // Receive: the payload does not matter
	Same   bool   // Send: the payload is that of the last Ping received

	wire wire
}

// An Action is what happens in a Step.
type Action uint8

const (
	Send       Action = iota // ">" the peer sends a frame, or bytes
	SendEOF                  // "> eof" the peer sends no more
	SendReset                // "> reset" the peer resets the connection
	Receive                  // "<" the peer receives a frame
	MayReceive               // "<?" the peer may receive a frame
	Deliver                  // "=" the user reads a message
	MayDeliver               // "=?" the user may read a message
	Closed                   // "= close" the user learns of the peer's Close
	Fail                     // "!" the endpoint fails the connection
	Write                    // "* write" the user writes a message
	Close                    // "* close" the user closes
	Ping                     // "* ping" the user pings
)

// A Frame is a frame of RFC 6455, section 5.2.
type Frame struct {
	Fin     bool
	RSV     uint8 // RSV1, RSV2 and RSV3 as 4, 2 and 1
	Opcode  uint8
	Masked  bool
	Payload []byte // unmasked
}

const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xA
)

var opcodes = map[string]uint8{
	"cont": opContinuation, "text": opText, "binary": opBinary,
	"close": opClose, "ping": opPing, "pong": opPong,
}

func (f Frame) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "opcode %x", f.Opcode)
	for name, opcode := range opcodes {
		if opcode == f.Opcode {
			b.Reset()
			b.WriteString(name)
		}
	}
	payload := f.Payload
	if f.Opcode == opClose && len(payload) >= 2 {
		fmt.Fprintf(&b, " %d", binary.BigEndian.Uint16(payload))
		payload = payload[2:]
	}
	fmt.Fprintf(&b, " %.80q", payload)
	if len(payload) > 80 {
		fmt.Fprintf(&b, "... (%d bytes)", len(payload))
	}
	if !f.Fin {
		b.WriteString(" more")
	}
	for i, name := range []string{"rsv1", "rsv2", "rsv3"} {
		if f.RSV&(4>>i) != 0 {
			b.WriteString(" " + name)
		}
	}
	return b.String()
}

// A wire says how the frame of a Send departs from what its Frame and the
// endpoint's side make of it.
type wire struct {
	raw        []byte  // sent as they are, if not nil
	masked     *bool   // instead of what the side asks for
	key        *uint32 // the masking key, big-endian
	lengthBits int     // 16 or 64: the encoding of the payload length
	length     *uint64 // declared, instead of the payload's
	cut        *int    // so many bytes only; if negative, all but so many
	times      int     // the frame is repeated
}

// Bytes returns what a Send puts on the wire towards an endpoint. Frames to a
// server are masked, each with a key of its own. ping is the payload for a
// Pong with Same.
func (s *Step) Bytes(toServer bool, ping []byte) []byte {
	if s.wire.raw != nil {
		return s.wire.raw
	}
	f := s.Frame
	f.Masked = toServer
	if s.wire.masked != nil {
		f.Masked = *s.wire.masked
	}
	if s.Same {
		f.Payload = ping
	}
	var b []byte
	for i := range s.wire.times {
		key := uint32(0x9E3779B1) * uint32(s.Line<<20+i+1)
		if s.wire.key != nil {
			key = *s.wire.key
		}
		b = s.wire.append(b, f, key)
	}
	if cut := s.wire.cut; cut != nil && *cut >= 0 {
		b = b[:min(*cut, len(b))]
	} else if cut != nil {
		b = b[:max(len(b)+*cut, 0)]
	}
	return b
}

func (w *wire) append(b []byte, f Frame, key uint32) []byte {
	first := f.RSV<<4 | f.Opcode
	if f.Fin {
		first |= 0x80
	}
	var masked byte
	if f.Masked {
		masked = 0x80
	}
	length := uint64(len(f.Payload))
	if w.length != nil {
		length = *w.length
	}
	switch {
	case w.lengthBits == 64, w.lengthBits == 0 && length > math.MaxUint16:
		b = binary.BigEndian.AppendUint64(append(b, first, masked|127), length)
	case w.lengthBits == 16, length > 125:
		b = binary.BigEndian.AppendUint16(append(b, first, masked|126), uint16(length))
	default:
		b = append(b, first, masked|byte(length))
	}
	if !f.Masked {
		return append(b, f.Payload...)
	}
	b = binary.BigEndian.AppendUint32(b, key)
	for i, c := range f.Payload {
		b = append(b, c^byte(key>>(24-i%4*8)))
	}
	return b
}

// ReadFrame reads one frame. It is a second opinion on section 5.2, and knows
// nothing of messages, limits and reserved bits. At the end between two frames
// it returns io.EOF.
func ReadFrame(r *bufio.Reader) (Frame, error) {
	var b [8]byte
	if n, err := io.ReadFull(r, b[:2]); err != nil {
		if n == 0 && err == io.EOF {
			return Frame{}, io.EOF
		}
		return Frame{}, fmt.Errorf("in a frame's first two bytes: %w", err)
	}
	f := Frame{Fin: b[0]&0x80 != 0, RSV: b[0] >> 4 & 7, Opcode: b[0] & 0xF, Masked: b[1]&0x80 != 0}
	length, extended := uint64(b[1]&0x7F), 0
	switch length {
	case 126:
		extended = 2
	case 127:
		extended = 8
	}
	var key [4]byte
	if extended > 0 {
		clear(b[:])
		if _, err := io.ReadFull(r, b[8-extended:]); err != nil {
			return f, fmt.Errorf("in an extended payload length: %w", noEOF(err))
		}
		length = binary.BigEndian.Uint64(b[:])
		if extended == 2 && length < 126 || extended == 8 && length < 1<<16 || length>>63 != 0 {
			return f, fmt.Errorf("payload length %d in %d bytes", length, extended)
		}
	}
	if f.Opcode >= opClose && (!f.Fin || length > 125) {
		return f, fmt.Errorf("a control frame with FIN %v and payload length %d", f.Fin, length)
	}
	if f.Masked {
		if _, err := io.ReadFull(r, key[:]); err != nil {
			return f, fmt.Errorf("in a masking key: %w", noEOF(err))
		}
	}
	var err error
	f.Payload, err = io.ReadAll(io.LimitReader(r, int64(length)))
	if err == nil && uint64(len(f.Payload)) < length {
		err = io.ErrUnexpectedEOF
	}
	for i := range f.Payload {
		f.Payload[i] ^= key[i%4]
	}
	if err != nil {
		return f, fmt.Errorf("in a payload of %d bytes: %w", length, err)
	}
	return f, nil
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// ParseConversation reads the text of a file. A line that it does not
// understand to the end is an error.
func ParseConversation(name, text string) (*Conversation, error) {
	c := &Conversation{Name: name}
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if err := c.parseLine(i+1, line); err != nil {
			return nil, fmt.Errorf("%s:%d: %w: %s", name, i+1, err, line)
		}
	}
	if len(c.Steps) == 0 {
		return nil, fmt.Errorf("%s: nothing happens", name)
	}
	return c, nil
}

func (c *Conversation) parseLine(number int, line string) error {
	tokens, err := tokenize(line)
	if err != nil {
		return err
	}
	l := &lineParser{tokens: tokens}
	if strings.Contains("><=!*", line[:1]) {
		if n := len(c.Steps); n > 0 && (c.Steps[n-1].Action == Fail || c.Steps[n-1].Action == Closed) {
			return errors.New("the conversation is over")
		}
		c.Steps = append(c.Steps, l.step(number, line))
	} else if len(c.Steps) > 0 {
		return errors.New("options belong before the first step")
	} else {
		c.option(l)
	}
	if l.err == nil && len(l.tokens) > 0 {
		l.fail("unexpected %s", l.tokens[0])
	}
	return l.err
}

func (c *Conversation) option(l *lineParser) {
	switch word := l.word(); word {
	case "limit":
		if c.Limit = -1; !l.accept("none") {
			c.Limit = int64(l.number(math.MaxInt64))
		}
	case "side":
		c.Side = l.word()
		if c.Side != "server" && c.Side != "client" {
			l.fail("side %q", c.Side)
		}
	case "deflate":
		c.Extensions = "permessage-deflate"
		for separator := "; "; l.err == nil && len(l.tokens) > 0; separator = " " {
			c.Extensions += separator + l.word()
		}
	default:
		l.fail("unknown option %q", word)
	}
}

// A token is a word, or the value of a quoted string.
type token struct {
	text   string
	quoted bool
}

func (t token) String() string { return strconv.Quote(t.text) }

func tokenize(line string) ([]token, error) {
	var tokens []token
	for line != "" {
		if line[0] == '"' {
			quoted, err := strconv.QuotedPrefix(line)
			if err != nil {
				return nil, errors.New("unfinished string")
			}
			text, _ := strconv.Unquote(quoted)
			tokens = append(tokens, token{text, true})
			line = line[len(quoted):]
			if line != "" && line[0] != ' ' {
				return nil, errors.New("no space after a string")
			}
		} else {
			var word string
			word, line, _ = strings.Cut(line, " ")
			tokens = append(tokens, token{word, false})
		}
		line = strings.TrimLeft(line, " ")
	}
	return tokens, nil
}

// A lineParser takes a line apart. Its first error stays.
type lineParser struct {
	tokens []token
	err    error
}

func (l *lineParser) fail(format string, args ...any) {
	if l.err == nil {
		l.err = fmt.Errorf(format, args...)
	}
}

// accept takes the next token if it is this word.
func (l *lineParser) accept(word string) bool {
	if len(l.tokens) == 0 || l.tokens[0] != (token{word, false}) {
		return false
	}
	l.tokens = l.tokens[1:]
	return true
}

// nextIs says whether the next token is a quoted string, or is a word.
func (l *lineParser) nextIs(quoted bool) bool {
	return len(l.tokens) > 0 && l.tokens[0].quoted == quoted
}

func (l *lineParser) word() string {
	if !l.nextIs(false) {
		l.fail("a word is missing")
		return ""
	}
	word := l.tokens[0].text
	l.tokens = l.tokens[1:]
	return word
}

func (l *lineParser) number(limit uint64) uint64 {
	word := l.word()
	n, err := strconv.ParseUint(word, 10, 64)
	if err != nil || n > limit {
		l.fail("%q is not a number up to %d", word, limit)
	}
	return n
}

// payload parses strings, repeated by "*" and joined by "+".
func (l *lineParser) payload() []byte {
	var p []byte
	for {
		if !l.nextIs(true) {
			l.fail("a payload is missing")
			return nil
		}
		part := l.tokens[0].text
		l.tokens = l.tokens[1:]
		if l.accept("*") {
			part = strings.Repeat(part, int(l.number(1<<24)))
		}
		p = append(p, part...)
		if !l.accept("+") {
			return p
		}
	}
}

func (l *lineParser) step(number int, line string) Step {
	s := Step{Line: number, Text: line, wire: wire{times: 1}}
	switch sign := l.word(); sign {
	case ">":
		l.send(&s)
	case "<":
		s.Action = Receive
		l.frame(&s)
	case "<?":
		s.Action = MayReceive
		l.frame(&s)
	case "=":
		l.deliver(&s)
	case "=?":
		s.Action = MayDeliver
		l.message(&s)
	case "!":
		s.Action = Fail
		s.Code = int(l.number(4999))
		s.Local = s.Code != 1006
		s.Silent = l.accept("silently")
	case "*":
		l.does(&s)
	default:
		l.fail("unknown sign %q", sign)
	}
	return s
}

func (l *lineParser) send(s *Step) {
	switch {
	case l.accept("eof"):
		s.Action = SendEOF
	case l.accept("reset"):
		s.Action = SendReset
	case l.accept("bits"):
		s.wire.raw = l.digits(2, 8)
	case l.accept("hex"):
		s.wire.raw = l.digits(16, 2)
	case l.accept("bytes"):
		s.wire.raw = l.payload()
	default:
		l.frame(s)
		for l.err == nil && len(l.tokens) > 0 {
			l.departure(&s.wire)
		}
	}
}

// digits parses the rest of the line as bytes, so many digits each. Spaces may
// be anywhere.
func (l *lineParser) digits(base, perByte int) []byte {
	var all string
	for l.nextIs(false) {
		all += l.word()
	}
	if len(all) == 0 || len(all)%perByte != 0 {
		l.fail("%d digits are not whole bytes", len(all))
	}
	var b []byte
	for digits := range slices.Chunk([]byte(all), perByte) {
		n, err := strconv.ParseUint(string(digits), base, 8)
		if err != nil {
			l.fail("%q are not digits of base %d", digits, base)
		}
		b = append(b, byte(n))
	}
	return b
}

// frame parses an opcode, a payload, and what else stands in the first byte.
func (l *lineParser) frame(s *Step) {
	f := &s.Frame
	word := l.word()
	opcode, ok := opcodes[word]
	if word == "opcode" {
		word = l.word()
		n, err := strconv.ParseUint(word, 16, 4)
		opcode, ok = uint8(n), err == nil
	}
	if !ok {
		l.fail("unknown opcode %q", word)
		return
	}
	f.Opcode = opcode
	switch {
	case opcode == opClose:
		f.Payload = l.closePayload()
	case s.Action == Receive && l.accept("any"):
		s.Any = true
	case s.Action == Send && l.accept("same"):
		s.Same = true
	default:
		f.Payload = l.payload()
	}
	f.Fin = !l.accept("more")
	for i, name := range []string{"rsv1", "rsv2", "rsv3"} {
		if l.accept(name) {
			f.RSV |= 4 >> i
		}
	}
}

// closePayload parses nothing, a payload, or a status code and a reason.
func (l *lineParser) closePayload() []byte {
	if l.nextIs(true) {
		return l.payload()
	}
	if !l.nextIsNumber() {
		return nil
	}
	p := binary.BigEndian.AppendUint16(nil, uint16(l.number(math.MaxUint16)))
	if l.nextIs(true) {
		p = append(p, l.payload()...)
	}
	return p
}

func (l *lineParser) nextIsNumber() bool {
	return l.nextIs(false) && l.tokens[0].text[0] >= '0' && l.tokens[0].text[0] <= '9'
}

// departure parses one way in which a frame departs from the rules.
func (l *lineParser) departure(w *wire) {
	switch word := l.word(); word {
	case "masked", "unmasked":
		w.masked = new(word == "masked")
	case "key":
		word := l.word()
		key, err := strconv.ParseUint(word, 16, 32)
		if err != nil || len(word) != 8 {
			l.fail("%q is not a masking key", word)
		}
		w.key = new(uint32(key))
	case "len16":
		w.lengthBits = 16
	case "len64":
		w.lengthBits = 64
	case "length":
		w.length = new(l.number(math.MaxUint64))
	case "times":
		w.times = int(l.number(1 << 20))
	case "cut":
		word := l.word()
		n, err := strconv.Atoi(word)
		if err != nil {
			l.fail("%q is no number of bytes", word)
		}
		w.cut = new(n)
	default:
		l.fail("unknown %q", word)
	}
}

func (l *lineParser) deliver(s *Step) {
	s.Action = Deliver
	if l.accept("close") {
		s.Action = Closed
		s.Code, s.Reason = l.status()
		s.Local = l.accept("local")
		return
	}
	l.message(s)
}

func (l *lineParser) message(s *Step) {
	switch word := l.word(); word {
	case "text", "binary":
		s.Frame.Opcode = opcodes[word]
	default:
		l.fail("unknown message type %q", word)
	}
	s.Frame.Payload = l.payload()
}

// status parses a status code and a reason; nothing is 1005.
func (l *lineParser) status() (code int, reason string) {
	if !l.nextIsNumber() {
		return 1005, ""
	}
	code = int(l.number(4999))
	if l.nextIs(true) {
		reason = string(l.payload())
	}
	if !utf8.ValidString(reason) {
		l.fail("a reason is UTF-8")
	}
	return code, reason
}

func (l *lineParser) does(s *Step) {
	switch word := l.word(); word {
	case "write":
		s.Action = Write
		l.message(s)
	case "close":
		s.Action = Close
		s.Code, s.Reason = l.status()
	case "ping":
		s.Action = Ping
	default:
		l.fail("nobody can %q", word)
	}
	s.Fails = l.accept("fails")
}
