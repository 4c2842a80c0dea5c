package sse

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestAppend(t *testing.T) {
	for _, test := range []struct {
		e    Event
		want string
	}{
		{Event{}, "data:\n\n"},
		{Event{Data: "hello"}, "data: hello\n\n"},
		{Event{Data: " hello"}, "data:  hello\n\n"},
		{Event{Data: "a\nb\r\nc\rd"}, "data: a\ndata: b\ndata: c\ndata: d\n\n"},
		{Event{Data: "a\n"}, "data: a\ndata:\n\n"},
		{Event{Data: "\r\n\n"}, "data:\ndata:\ndata:\n\n"},
		{Event{Data: "a:b"}, "data: a:b\n\n"},
		{Event{Type: "add", ID: "7", Data: "x", Retry: 1500 * time.Millisecond}, "id: 7\nevent: add\nretry: 1500\ndata: x\n\n"},
		{Event{SetID: true, Data: "x"}, "id:\ndata: x\n\n"},
		{Event{ID: " 7", Data: "x"}, "id:  7\ndata: x\n\n"},
		{Event{Retry: time.Microsecond}, "retry: 1\ndata:\n\n"},
		{Event{Retry: math.MaxInt64}, "retry: 9223372036855\ndata:\n\n"},
	} {
		got, err := test.e.Append([]byte("before "))
		if string(got) != "before "+test.want || err != nil {
			t.Errorf("%+v: got %q, %v, want %q", test.e, got, err, test.want)
		}
	}
	for _, e := range []Event{{Type: "a\nb"}, {Type: "a\rb"}, {ID: "a\n"}, {ID: "\r"}, {ID: "a\x00"}, {Retry: -1}} {
		if got, err := e.Append([]byte("before")); err == nil || string(got) != "before" {
			t.Errorf("%+v: got %q, %v", e, got, err)
		}
	}
}

func TestAppendComment(t *testing.T) {
	for comment, want := range map[string]string{"": ":\n", "hi": ": hi\n", "a\ndata: b\r\n\n": ": a\n: data: b\n:\n:\n"} {
		if got := AppendComment(nil, comment); string(got) != want {
			t.Errorf("%q: got %q, want %q", comment, got, want)
		}
	}
}

// What is appended is decoded as it was, with LF for other ends of lines.
func FuzzAppend(f *testing.F) {
	f.Add("", "", false, "", int64(0))
	f.Add("add", "7", false, "a\r\nb\rc\n\n", int64(1500))
	f.Add("message", "", true, "\xFF: x", int64(-1))
	f.Add(" a", "\uFEFF", false, "\uFEFF\u2028", int64(1))
	f.Fuzz(func(t *testing.T, typ, id string, setID bool, data string, ms int64) {
		e := Event{Type: typ, ID: id, SetID: setID, Data: data, Retry: time.Duration(ms%1000) * time.Millisecond}
		b, err := e.Append(nil)
		if bad := strings.ContainsAny(typ+id, "\r\n") || strings.Contains(id, "\x00") || ms%1000 < 0; bad != (err != nil) {
			t.Fatalf("%+v: %v", e, err)
		}
		if err != nil || !utf8.ValidString(typ) || !utf8.ValidString(id) || !utf8.ValidString(data) {
			return
		}
		b, _ = Event{Data: "next"}.Append(b)
		d := NewDecoder(bytes.NewReader(b))
		got, err := d.Decode()
		want := e
		want.SetID = false
		want.Data = strings.ReplaceAll(strings.ReplaceAll(data, "\r\n", "\n"), "\r", "\n")
		if want.Type == "" {
			want.Type = "message"
		}
		if got != want || err != nil {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
		if next, err := d.Decode(); next.Data != "next" || next.Type != "message" || err != nil {
			t.Errorf("then got %+v, %v", next, err)
		}
	})
}
