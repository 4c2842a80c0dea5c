package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/tidewire/websocket"
)

// Colours, as ECMA-48 has them.
const (
	colourText   = "\x1b[36m"
	colourBinary = "\x1b[35m"
	colourNote   = "\x1b[2m"
	colourError  = "\x1b[31m"
	colourOff    = "\x1b[0m"
)

// An output prints messages on stdout, and everything else on stderr. What is one Write stays
// together, so it may be used concurrently.
type output struct {
	out, err io.Writer

	base64  bool // binary messages; otherwise in hex
	pretty  bool // indents JSON
	nul     bool // ends messages, in place of a newline
	json    bool // prints events, on stdout
	verbose bool

	onTerminal             bool // out is one
	watched                bool // err is a terminal
	outColours, errColours bool
}

func newOutput(sys *system) *output {
	return &output{
		out:        sys.stdout,
		err:        sys.stderr,
		onTerminal: sys.isTerminal(sys.stdout),
		watched:    sys.isTerminal(sys.stderr),
		outColours: sys.hasColours(sys.stdout),
		errColours: sys.hasColours(sys.stderr),
	}
}

// An event is what is printed with -json.
type event struct {
	Event       string    `json:"event"`
	Time        time.Time `json:"time"`
	URL         string    `json:"url,omitempty"`
	Subprotocol string    `json:"subprotocol,omitempty"`
	Type        string    `json:"type,omitempty"`
	Encoding    string    `json:"encoding,omitempty"` // of the data of a binary message
	Data        *string   `json:"data,omitempty"`
	Code        int       `json:"code,omitempty"`
	Reason      string    `json:"reason,omitempty"`
	Status      int       `json:"status,omitempty"` // of HTTP
	Error       string    `json:"error,omitempty"`
	RetryIn     float64   `json:"retry_in,omitempty"` // seconds
}

// event prints e, if events are to be printed.
func (o *output) event(e event) error {
	if !o.json {
		return nil
	}
	e.Time = time.Now()
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if o.pretty {
		encoder.SetIndent("", "  ")
	}
	if err := encoder.Encode(e); err != nil {
		return err
	}
	_, err := o.out.Write(b.Bytes())
	return err
}

// message prints a message that was received.
func (o *output) message(typ websocket.MessageType, data []byte) error {
	if o.json {
		e := event{Event: "message", Type: typ.String()}
		if typ == websocket.MessageBinary {
			e.Encoding = "hex"
			if o.base64 {
				e.Encoding = "base64"
			}
		}
		s := string(o.encode(typ, data))
		e.Data = &s
		return o.event(e)
	}
	_, err := o.out.Write(o.line(typ, data))
	return err
}

// line returns a message as it is printed, with its end.
func (o *output) line(typ websocket.MessageType, data []byte) []byte {
	colour := colourText
	if typ == websocket.MessageBinary {
		colour = colourBinary
	}
	data = o.encode(typ, data)
	if o.pretty && typ == websocket.MessageText {
		data = indented(data)
	}
	if o.onTerminal {
		data = []byte(printable(string(data)))
	}
	b := make([]byte, 0, len(data)+len(colour)+len(colourOff)+1)
	if o.outColours {
		b = append(b, colour...)
	}
	b = append(b, data...)
	if o.outColours {
		b = append(b, colourOff...)
	}
	if o.nul {
		return append(b, 0)
	}
	return append(b, '\n')
}

// encode returns the data of a message as text.
func (o *output) encode(typ websocket.MessageType, data []byte) []byte {
	switch {
	case typ == websocket.MessageText:
		return data
	case o.base64:
		return base64.StdEncoding.AppendEncode(nil, data)
	}
	return hex.AppendEncode(nil, data)
}

// indented returns JSON with line breaks, and other data as it is.
func indented(data []byte) []byte {
	var b bytes.Buffer
	if json.Indent(&b, data, "", "  ") != nil {
		return data
	}
	return bytes.TrimSpace(b.Bytes())
}

// printable returns s with its control characters escaped, which could make a terminal do things,
// but for newlines and tabs.
func printable(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\n' || r == '\t' || !unicode.IsControl(r):
			b.WriteRune(r)
		case r < utf8.RuneSelf:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// fail prints what went wrong.
func (o *output) fail(format string, args ...any) { o.print(colourError, format, args...) }

// say prints what goes on.
func (o *output) say(format string, args ...any) { o.print(colourNote, format, args...) }

// note prints what goes on, if somebody is there to see it, or has asked for it.
func (o *output) note(format string, args ...any) {
	if o.watched || o.verbose {
		o.say(format, args...)
	}
}

// detail prints what goes on for who has asked for it.
func (o *output) detail(format string, args ...any) {
	if o.verbose {
		o.say(format, args...)
	}
}

// print prints text on stderr.
func (o *output) print(colour, format string, args ...any) {
	s := printable(fmt.Sprintf(format, args...))
	if o.errColours {
		s = colour + s + colourOff
	}
	io.WriteString(o.err, s+"\n")
}

// request prints an opening handshake, each line after mark, and response the answer.
func (o *output) request(mark string, r *http.Request) {
	o.detail("%s GET %s %s\n%s Host: %s%s", mark, r.URL.RequestURI(), r.Proto, mark, r.Host, fields(mark, r.Header))
}

func (o *output) response(mark string, r *http.Response) {
	o.detail("%s %s %s%s", mark, r.Proto, r.Status, fields(mark, r.Header))
}

// fields returns the fields of a header, each on a line of its own after mark.
func fields(mark string, h http.Header) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, v := range h[name] {
			fmt.Fprintf(&b, "\n%s %s: %s", mark, strings.Replace(name, "Sec-Websocket-", "Sec-WebSocket-", 1), v)
		}
	}
	return b.String()
}
