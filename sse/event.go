package sse

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// An Event is a message of a stream.
type Event struct {
	// Type is what a browser has listeners for. "" is sent as no field, and received as "message".
	Type string

	// ID is what a client that has lost the connection says it has had last. Received, it is the ID
	// that is in force, that of this event or an earlier one. Sent, "" changes nothing, unless SetID is
	// set: then it clears the one that is in force.
	ID    string
	SetID bool

	// Data is text. Sent, its lines may end with LF, CRLF or CR, and what is no UTF-8 is received as U+FFFD.
	// Received, they end with LF.
	Data string

	// Retry is for how long a client that has lost the connection is to wait, in whole milliseconds. 0 is
	// not sent. Received, it is the latest there was.
	Retry time.Duration
}

var (
	errType  = errors.New("sse: the type of an event has a line break")
	errID    = errors.New("sse: the ID of an event has a line break or NUL")
	errRetry = errors.New("sse: the retry time of an event is negative")
)

// Append appends e to b as it is sent, or returns an error and b: for a line break in Type or ID, a NUL in
// ID, and a negative Retry.
func (e Event) Append(b []byte) ([]byte, error) {
	switch {
	case strings.ContainsAny(e.Type, "\r\n"):
		return b, errType
	case strings.ContainsAny(e.ID, "\r\n\x00"):
		return b, errID
	case e.Retry < 0:
		return b, errRetry
	}
	if e.ID != "" || e.SetID {
		b = appendField(b, "id", e.ID)
	}
	if e.Type != "" {
		b = appendField(b, "event", e.Type)
	}
	if e.Retry > 0 {
		b = appendRetry(b, e.Retry)
	}
	b = appendLines(b, "data", e.Data)
	return append(b, '\n'), nil
}

// AppendComment appends a comment, which clients ignore. Nothing is dispatched by it.
func AppendComment(b []byte, s string) []byte { return appendLines(b, "", s) }

func appendField(b []byte, name, value string) []byte {
	b = append(append(b, name...), ':')
	if value != "" {
		b = append(append(b, ' '), value...) // of several spaces, the first is not part of the value
	}
	return append(b, '\n')
}

func appendRetry(b []byte, d time.Duration) []byte {
	ms := int64(d / time.Millisecond)
	if d%time.Millisecond > 0 {
		ms++
	}
	return append(strconv.AppendInt(append(b, "retry: "...), ms, 10), '\n')
}

// appendLines appends a field for each line of s.
func appendLines(b []byte, name, s string) []byte {
	for {
		i := strings.IndexAny(s, "\r\n")
		if i < 0 {
			return appendField(b, name, s)
		}
		b = appendField(b, name, s[:i])
		if strings.HasPrefix(s[i:], "\r\n") {
			i++
		}
		s = s[i+1:]
	}
}
