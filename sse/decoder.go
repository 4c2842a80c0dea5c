package sse

import (
	"bytes"
	"errors"
	"io"
	"iter"
	"math"
	"time"
	"unicode/utf8"
)

// ErrEventTooLarge is returned by [Decoder.Decode] for an event beyond MaxEvent.
var ErrEventTooLarge = errors.New("sse: the event is too large")

const (
	defaultMaxEvent = 16 << 20
	minBuffer       = 4 << 10
	maxBuffer       = 32 << 10
	maxRetry        = time.Hour // that anybody waits
)

// A Decoder reads events as the HTML standard says (section 9.2.6, "Interpreting an event stream"). It is
// for one goroutine at a time.
type Decoder struct {
	// MaxEvent is how many bytes the data, type and ID of an event may have, and a comment. Default: 16 MiB.
	MaxEvent int

	// Comment is told of comments, such as those that keep a connection alive, if it is not nil.
	Comment func(string)

	src    io.Reader
	buf    []byte
	r, w   int   // buf[r:w] was read from src, and is not decoded yet
	seen   int   // buf[r:seen] has no end of a line
	lf     int   // where the next LF in buf is, if that is known; it is not before r then
	begun  bool  // what comes next is not the beginning of the stream
	skipLF bool  // a CR was the latest
	late   error // came with what is decoded first
	err    error

	long  bool     // the line does not fit the buffer: what comes is more of its value
	field fieldOf  // of a long line
	value []byte   // of a long line, but for data
	data  []byte   // of the event, with an LF after each line
	typ   lastText // of the event; its text is that of the latest that had one
	named bool     // the event has a type
	id    lastText // the ID buffer
	inUse string   // the last event ID
	retry time.Duration
}

// A fieldOf is a kind of line.
type fieldOf uint8

const (
	ignored fieldOf = iota
	dataField
	eventField
	idField
	retryField
	comment
)

// lastText keeps a text that often comes again, to be made once.
type lastText string

func (t *lastText) set(p []byte) {
	if string(p) != string(*t) {
		*t = lastText(validText(p))
	}
}

// NewDecoder returns a Decoder of what r has.
func NewDecoder(r io.Reader) *Decoder { return &Decoder{src: r} }

// Read returns an iterator over the events that r has. The error comes with the last pair; at the end of r
// there is none.
func Read(r io.Reader) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		d := NewDecoder(r)
		for {
			e, err := d.Decode()
			if err == io.EOF || !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// LastEventID returns the ID that is in force: what a client says when it connects again.
func (d *Decoder) LastEventID() string { return d.inUse }

// Retry returns for how long the client is to wait then, or 0 if the stream did not say.
func (d *Decoder) Retry() time.Duration { return d.retry }

// Decode returns the next event. It returns io.EOF at the end of the stream, where an event that is not
// finished is discarded, ErrEventTooLarge, or what the reader returns. After an error it returns that again.
func (d *Decoder) Decode() (Event, error) {
	if d.err == nil && d.buf == nil {
		d.buf = make([]byte, minBuffer)
		if d.MaxEvent <= 0 {
			d.MaxEvent = defaultMaxEvent
		}
		d.MaxEvent = min(d.MaxEvent, math.MaxInt-maxBuffer)
	}
	for d.err == nil {
		line, ok := d.line()
		if !ok {
			d.more()
			continue
		}
		switch {
		case d.long:
			d.long = false
			d.take(d.field, line)
			d.finish(d.field)
		case len(line) > 0:
			field, value := split(line)
			d.take(field, value)
			d.finish(field)
		default:
			if e, ok := d.dispatch(); ok {
				return e, nil
			}
		}
	}
	return Event{}, d.err
}

// line returns the rest of the line in the buffer, if its end is there.
func (d *Decoder) line() (line []byte, ok bool) {
	if d.r == d.w || !d.begun && !d.begin() {
		return nil, false
	}
	if d.skipLF {
		if d.skipLF = false; d.buf[d.r] == '\n' {
			d.r++
			d.seen = max(d.seen, d.r)
		}
	}
	i := d.end()
	if i < 0 {
		d.seen = d.w
		return nil, false
	}
	line = d.buf[d.r:i]
	d.skipLF = d.buf[i] == '\r'
	d.r = i + 1
	d.seen = d.r
	return line, true
}

// end returns where the first CR or LF is, or -1. It looks at no byte twice, but for streams with both.
func (d *Decoder) end() int {
	if d.lf < d.seen {
		d.lf = d.w // there is none before
		if i := bytes.IndexByte(d.buf[d.seen:d.w], '\n'); i >= 0 {
			d.lf = d.seen + i
		}
	}
	if i := bytes.IndexByte(d.buf[d.seen:d.lf], '\r'); i >= 0 {
		return d.seen + i
	}
	if d.lf < d.w {
		return d.lf
	}
	return -1
}

// begin skips a byte order mark, and reports whether the beginning of the stream is known.
func (d *Decoder) begin() bool {
	const bom = "\xEF\xBB\xBF"
	b := d.buf[d.r:d.w]
	if len(b) < len(bom) && string(b) == bom[:len(b)] {
		return false
	}
	d.begun = true
	if bytes.HasPrefix(b, []byte(bom)) {
		d.r += len(bom)
		d.seen = d.r
	}
	return d.r < d.w
}

// more reads. If the buffer is full, the line in it is a long one, of which it takes what there is.
func (d *Decoder) more() {
	switch {
	case d.r == d.w:
		d.r, d.w, d.seen = 0, 0, 0
	case d.r > 0:
		d.w = copy(d.buf, d.buf[d.r:d.w])
		d.seen -= d.r
		d.r = 0
	case d.w == len(d.buf) && d.w < maxBuffer:
		d.buf = append(make([]byte, 0, 2*len(d.buf)), d.buf...)[:2*len(d.buf)]
	case d.w == len(d.buf):
		value := d.buf
		if !d.long {
			d.long = true
			d.field, value = split(value)
		}
		d.take(d.field, value)
		d.w, d.seen = 0, 0
	}
	d.lf = -1
	if d.err == nil {
		d.err = d.late
	}
	if d.err != nil {
		return
	}
	for range 100 {
		n, err := d.src.Read(d.buf[d.w:])
		d.w += n
		switch {
		case n > 0:
			d.late = err
			return
		case err != nil:
			d.err = err
			return
		}
	}
	d.err = io.ErrNoProgress
}

// split returns what kind of line it is, and its value, or as much of it as there is.
func split(line []byte) (field fieldOf, value []byte) {
	name, value, _ := bytes.Cut(line, []byte(":"))
	switch string(name) {
	case "data":
		field = dataField
	case "event":
		field = eventField
	case "id":
		field = idField
	case "retry":
		field = retryField
	case "":
		field = comment
	}
	if len(value) > 0 && value[0] == ' ' {
		value = value[1:]
	}
	return field, value
}

// take takes a value, or a part of one.
func (d *Decoder) take(field fieldOf, value []byte) {
	if field == ignored || field == comment && d.Comment == nil {
		return
	}
	size := len(d.value) + len(value)
	if field != comment {
		size += len(d.data) + d.texts(field)
	}
	switch {
	case size > d.MaxEvent:
		d.err = ErrEventTooLarge
	case field == dataField:
		d.data = d.grow(d.data, len(value)+1)
		d.data = append(d.data, value...)
	default:
		d.value = d.grow(d.value, len(value))
		d.value = append(d.value, value...)
	}
}

// texts returns how many bytes the type and ID of the event have, but for a field that is about to be set.
func (d *Decoder) texts(field fieldOf) (n int) {
	if d.named && field != eventField {
		n += len(d.typ)
	}
	if field != idField {
		n += len(d.id)
	}
	return n
}

// grow makes room for n bytes, but not much for more than there may be.
func (d *Decoder) grow(b []byte, n int) []byte {
	if len(b)+n <= cap(b) {
		return b
	}
	return append(make([]byte, 0, min(max(2*cap(b), len(b)+n, 256), d.MaxEvent+maxBuffer)), b...)
}

// finish does what a field says whose value is there.
func (d *Decoder) finish(field fieldOf) {
	switch field {
	case dataField:
		d.data = append(d.data, '\n')
	case eventField:
		if d.named = len(d.value) > 0; d.named {
			d.typ.set(d.value)
		}
	case idField:
		if bytes.IndexByte(d.value, 0) < 0 {
			d.id.set(d.value)
		}
	case retryField:
		if retry, ok := parseRetry(d.value); ok {
			d.retry = retry
		}
	case comment:
		if d.Comment != nil {
			d.Comment(validText(d.value))
		}
	}
	if d.value = d.value[:0]; cap(d.value) > maxBuffer {
		d.value = nil
	}
}

// parseRetry parses a number of milliseconds.
func parseRetry(p []byte) (retry time.Duration, ok bool) {
	for _, c := range p {
		if c < '0' || c > '9' {
			return 0, false
		}
		retry = min(10*retry+time.Duration(c-'0')*time.Millisecond, maxRetry)
	}
	return retry, len(p) > 0
}

// dispatch is for an empty line: it returns the event, if there is one.
func (d *Decoder) dispatch() (e Event, ok bool) {
	d.inUse = string(d.id)
	named := d.named
	d.named = false
	if len(d.data) == 0 {
		return Event{}, false
	}
	e = Event{Type: "message", ID: d.inUse, Data: validText(d.data[:len(d.data)-1]), Retry: d.retry}
	if named {
		e.Type = string(d.typ)
	}
	if len(d.typ) > maxBuffer {
		d.typ = ""
	}
	if d.data = d.data[:0]; cap(d.data) > maxBuffer {
		d.data = nil
	}
	return e, true
}

// validText returns p as a string. Each maximal part that is no UTF-8 becomes one U+FFFD (Unicode, section 3.9).
func validText(p []byte) string {
	if utf8.Valid(p) {
		return string(p)
	}
	var b []byte
	for len(p) > 0 {
		if r, n := utf8.DecodeRune(p); r != utf8.RuneError || n > 1 {
			b = append(b, p[:n]...)
			p = p[n:]
			continue
		}
		b = append(b, "\uFFFD"...)
		p = p[invalidPart(p):]
	}
	return string(b)
}

// invalidPart returns how many bytes at the beginning of p, which is no UTF-8 there, could have been
// the beginning of a character, and at the least 1.
func invalidPart(p []byte) int {
	n := 1
	for n < min(len(p), utf8.UTFMax) && !utf8.FullRune(p[:n]) && continues(p[:n], p[n]) {
		n++
	}
	return n
}

// continues reports whether c can follow p, which is not a full character yet.
func continues(p []byte, c byte) bool {
	var with [utf8.UTFMax]byte
	n := copy(with[:], p)
	with[n] = c
	if !utf8.FullRune(with[:n+1]) {
		return true
	}
	r, size := utf8.DecodeRune(with[:n+1])
	return r != utf8.RuneError || size > 1
}
