package testnet

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func parse(t *testing.T, text string) *Conversation {
	t.Helper()
	c, err := ParseConversation("test", text)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The frames of RFC 6455, section 5.7, and the ways to break the rules.
var sendTests = []struct {
	line             string
	toServer, toPeer string // the bytes, masked and not
}{
	{`text "Hello" key 37fa213d`, "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", "\x81\x05Hello"},
	{`text "Hel" more key 00000000`, "\x01\x83\x00\x00\x00\x00Hel", "\x01\x03Hel"},
	{`cont "lo" key 00000000`, "\x80\x82\x00\x00\x00\x00lo", "\x80\x02lo"},
	{`binary "x" * 126 key 00000000`, "\x82\xfe\x00\x7e\x00\x00\x00\x00" + strings.Repeat("x", 126), "\x82\x7e\x00\x7e" + strings.Repeat("x", 126)},
	{`binary "ab" * 2 + "c" unmasked`, "\x82\x05ababc", "\x82\x05ababc"},
	{`ping "" masked key 01020304`, "\x89\x80\x01\x02\x03\x04", "\x89\x80\x01\x02\x03\x04"},
	{`pong same unmasked`, "\x8a\x03abc", "\x8a\x03abc"},
	{`close unmasked`, "\x88\x00", "\x88\x00"},
	{`close 1000 "bye" unmasked`, "\x88\x05\x03\xe8bye", "\x88\x05\x03\xe8bye"},
	{`close "\x03" unmasked`, "\x88\x01\x03", "\x88\x01\x03"},
	{`opcode b "#" more rsv1 rsv3 unmasked`, "\x5b\x01#", "\x5b\x01#"},
	{`text "x" rsv2 unmasked`, "\xa1\x01x", "\xa1\x01x"},
	{`text "x" len16 unmasked`, "\x81\x7e\x00\x01x", "\x81\x7e\x00\x01x"},
	{`text "x" len64 unmasked`, "\x81\x7f\x00\x00\x00\x00\x00\x00\x00\x01x", "\x81\x7f\x00\x00\x00\x00\x00\x00\x00\x01x"},
	{`text "x" length 18446744073709551615 unmasked`, "\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xffx", "\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xffx"},
	{`text "x" length 3 unmasked`, "\x81\x03x", "\x81\x03x"},
	{`text "Hello" cut 3 unmasked`, "\x81\x05H", "\x81\x05H"},
	{`text "Hello" cut -1 unmasked`, "\x81\x05Hell", "\x81\x05Hell"},
	{`text "Hello" cut 99 unmasked`, "\x81\x05Hello", "\x81\x05Hello"},
	{`text "Hello" cut -99 unmasked`, "", ""},
	{`cont "x" more unmasked times 3`, "\x00\x01x\x00\x01x\x00\x01x", "\x00\x01x\x00\x01x\x00\x01x"},
	{`bits 1 000 0001  0 0000001  01111000`, "\x81\x01x", "\x81\x01x"},
	{`hex 81 01 78`, "\x81\x01x", "\x81\x01x"},
	{`bytes "\x81" + "\x01x"`, "\x81\x01x", "\x81\x01x"},
}

func TestSend(t *testing.T) {
	for _, test := range sendTests {
		step := parse(t, "> "+test.line).Steps[0]
		if step.Action != Send {
			t.Errorf("%s: got action %d, want Send", test.line, step.Action)
		}
		for toServer, want := range map[bool]string{true: test.toServer, false: test.toPeer} {
			if got := step.Bytes(toServer, []byte("abc")); string(got) != want {
				t.Errorf("%s, to a server %v:\ngot  %x\nwant %x", test.line, toServer, got, want)
			}
		}
	}
}

// Frames that keep to the rules are read as they were meant, and masked with a
// new key each.
func TestSendRead(t *testing.T) {
	c := parse(t, `
> text "Hello" times 2
> cont "x" * 125 more
> binary "x" * 126
> binary "x" * 65535
> binary "x" * 65536
> opcode 7 "" rsv1
> close 1000 "bye"
`)
	for _, toServer := range []bool{true, false} {
		keys := make(map[string]bool)
		for _, step := range c.Steps {
			b := step.Bytes(toServer, nil)
			for r := bufio.NewReader(bytes.NewReader(b)); ; {
				got, err := ReadFrame(r)
				if err == io.EOF {
					break
				}
				want := step.Frame
				want.Masked = toServer
				if err != nil || got.String() != want.String() || !bytes.Equal(got.Payload, want.Payload) || got.Masked != toServer {
					t.Errorf("%s: got %v, %v", step.Text, got, err)
					break
				}
				if i := len(step.Frame.Payload); toServer && i > 0 {
					keys[string(b[len(b)-i-4:len(b)-i])] = true
				}
			}
		}
		if toServer && len(keys) < 6 {
			t.Errorf("got %d different masking keys in 6 steps", len(keys))
		}
	}
}

func TestReadFrameErrors(t *testing.T) {
	for _, test := range []struct {
		name, bytes string
		err         error // io.ErrUnexpectedEOF, or nil for any
	}{
		{"half a header", "\x81", io.ErrUnexpectedEOF},
		{"half a length", "\x81\x7e\x01", io.ErrUnexpectedEOF},
		{"no length", "\x81\x7e", io.ErrUnexpectedEOF},
		{"half a masking key", "\x81\x81\x01", io.ErrUnexpectedEOF},
		{"no masking key", "\x81\x81", io.ErrUnexpectedEOF},
		{"half a payload", "\x81\x02x", io.ErrUnexpectedEOF},
		{"no payload", "\x81\x02", io.ErrUnexpectedEOF},
		{"125 in 16 bits", "\x82\x7e\x00\x7d" + strings.Repeat("x", 125), nil},
		{"65535 in 64 bits", "\x82\x7f\x00\x00\x00\x00\x00\x00\xff\xff" + strings.Repeat("x", 65535), nil},
		{"most significant bit", "\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00", nil},
		{"long ping", "\x89\x7e\x00\x7e" + strings.Repeat("x", 126), nil},
		{"fragmented ping", "\x09\x00", nil},
	} {
		f, err := ReadFrame(bufio.NewReader(strings.NewReader(test.bytes)))
		if err == nil || err == io.EOF || test.err != nil && !errors.Is(err, test.err) {
			t.Errorf("%s: got %v, error %v", test.name, f, err)
		}
	}
	if _, err := ReadFrame(bufio.NewReader(strings.NewReader(""))); err != io.EOF {
		t.Errorf("at the end: got %v, want io.EOF", err)
	}
}

func TestParseConversation(t *testing.T) {
	c := parse(t, `
# A comment.
limit 100
side server
> eof
> reset
< ping any
<? pong "x"
= text "κ # no comment"
=? binary "b"
* write binary "w" fails
* close
* close 1001 "bye" fails
* ping
= close 1000 "bye" local
`)
	if c.Name != "test" || c.Limit != 100 || c.Side != "server" {
		t.Errorf("got name %q, limit %d, side %q", c.Name, c.Limit, c.Side)
	}
	want := []Step{
		{Action: SendEOF},
		{Action: SendReset},
		{Action: Receive, Frame: Frame{Fin: true, Opcode: opPing}, Any: true},
		{Action: MayReceive, Frame: Frame{Fin: true, Opcode: opPong, Payload: []byte("x")}},
		{Action: Deliver, Frame: Frame{Opcode: opText, Payload: []byte("κ # no comment")}},
		{Action: MayDeliver, Frame: Frame{Opcode: opBinary, Payload: []byte("b")}},
		{Action: Write, Frame: Frame{Opcode: opBinary, Payload: []byte("w")}, Fails: true},
		{Action: Close, Code: 1005},
		{Action: Close, Code: 1001, Reason: "bye", Fails: true},
		{Action: Ping},
		{Action: Closed, Code: 1000, Reason: "bye", Local: true},
	}
	for i, step := range c.Steps {
		if i >= len(want) {
			t.Fatalf("got %d steps, want %d", len(c.Steps), len(want))
		}
		want[i].Line, want[i].Text, want[i].wire = step.Line, step.Text, step.wire
		if !reflect.DeepEqual(step, want[i]) {
			t.Errorf("line %d: %s\ngot  %+v\nwant %+v", step.Line, step.Text, step, want[i])
		}
	}
	if line := c.Steps[0].Line; line != 5 {
		t.Errorf("got line %d, want 5", line)
	}
	if c := parse(t, "limit none\n! 1002"); c.Limit != -1 || c.Steps[0].Code != 1002 || c.Steps[0].Action != Fail || c.Steps[0].Silent {
		t.Errorf("got limit %d, %+v", c.Limit, c.Steps[0])
	}
	if c := parse(t, "! 1002 silently"); !c.Steps[0].Silent {
		t.Errorf("got %+v", c.Steps[0])
	}
	for option, want := range map[string]string{
		"side client":     "",
		"deflate":         "permessage-deflate",
		"deflate a; b=9":  "permessage-deflate; a; b=9",
		"deflate  a ;b=9": "permessage-deflate; a ;b=9",
	} {
		if c := parse(t, option+"\n! 1002"); c.Extensions != want {
			t.Errorf("%s: got extensions %q, want %q", option, c.Extensions, want)
		}
	}
}

// What is not understood is an error, not a shorter test.
func TestParseConversationErrors(t *testing.T) {
	for _, text := range []string{
		``,
		`# only a comment`,
		`limit 1`,
		`limit`,
		"limit x\n> eof",
		"limit -1\n> eof",
		"limit 1 2\n> eof",
		"side both\n> eof",
		"unlimited\n> eof",
		"deflate \"a\"\n> eof",
		"deflated\n> eof",
		"> eof\nlimit 1",
		"> eof\ndeflate",
		`? text "x"`,
		`>`,
		`>text "x"`,
		`>> text "x"`,
		`> text`,
		`> text x`,
		`> text "x`,
		`> text "x"more`,
		`> text "x" nore`,
		`> text "x" *`,
		`> text "x" * y`,
		`> text "x" +`,
		`> text "x" "y"`,
		`> text "x" rsv4`,
		`> text "x" any`,
		`> opcode g "x"`,
		`> opcode 10 "x"`,
		`> opcode "x"`,
		`> close 65536`,
		`> close 1000 bye`,
		`> text "x" key 1`,
		`> text "x" key 0000000g`,
		`> text "x" cut`,
		`> text "x" cut all`,
		`> text "x" length -1`,
		`> text "x" times x`,
		`> bits 1000`,
		`> bits 1000 0002`,
		`> bits`,
		`> hex 8`,
		`> hex 8g`,
		`> hex "81"`,
		`> bytes 81`,
		`> eof now`,
		`< text "x" masked`,
		`< pong same`,
		`<? ping any`,
		`= ping "x"`,
		`= text "x" more`,
		`= close 1000 "\xff"`,
		`= close 1000 remote`,
		`= close "bye"`,
		`=? close`,
		`!`,
		`! 1002 "text"`,
		`! x`,
		`! 5000`,
		`* dance`,
		`* write "x"`,
		`* ping "x"`,
		"! 1002\n> text \"x\"",
		"= close\n= text \"x\"",
	} {
		if _, err := ParseConversation("test", text); err == nil {
			t.Errorf("got no error for:\n%s", text)
		} else if !strings.HasPrefix(err.Error(), "test:") {
			t.Errorf("got error %q, want it to begin with the name", err)
		}
	}
}

func TestFrameString(t *testing.T) {
	for _, line := range []string{
		`text "Hello"`,
		`cont "" more`,
		`ping "\xff" rsv1 rsv2 rsv3`,
		`close 1000 "bye"`,
		`opcode b "x" more rsv2`,
	} {
		if got := parse(t, "< "+line).Steps[0].Frame.String(); got != line {
			t.Errorf("got %s, want %s", got, line)
		}
	}
	long := Frame{Fin: true, Opcode: opBinary, Payload: make([]byte, 1000)}
	if got := long.String(); len(got) > 500 || !strings.HasSuffix(got, "... (1000 bytes)") {
		t.Errorf("got %s", got)
	}
}

// Every example of the README's that is a line of a conversation is one.
func TestREADME(t *testing.T) {
	text, err := os.ReadFile(filepath.FromSlash("../../testdata/conversations/README.md"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for i, code := range strings.Split(string(text), "`") {
		if i%2 == 0 || len(code) < 3 || !strings.Contains("><=!*", code[:1]) || code[1] != ' ' || code == "* 100" {
			continue
		}
		n++
		if _, err := ParseConversation("README", code); err != nil {
			t.Error(err)
		}
	}
	if n < 10 {
		t.Errorf("got %d examples, want more", n)
	}
}
