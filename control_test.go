package websocket

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// validStatusCodes are the ranges of status codes that may be in a Close frame:
// those that sections 7.4.1 and 7.4.2 and the registry of section 11.7
// give a meaning, and do not reserve.
var validStatusCodes = [][2]int{{1000, 1003}, {1007, 1014}, {3000, 4999}}

func validStatusCode(code int) bool {
	return slices.ContainsFunc(validStatusCodes, func(r [2]int) bool { return r[0] <= code && code <= r[1] })
}

var parseCloseTests = []struct {
	name    string
	payload string
	code    StatusCode
	reason  string
	err     error
}{
	{name: "no body", payload: "", code: StatusNoStatusReceived},
	{name: "one byte", payload: "\x03", err: errCloseLength},
	{name: "1000", payload: "\x03\xE8", code: StatusNormalClosure},
	{name: "1000 with a reason", payload: "\x03\xE8bye", code: StatusNormalClosure, reason: "bye"},
	{name: "reason not ASCII", payload: "\x03\xE9schön 😀", code: StatusGoingAway, reason: "schön 😀"},
	{name: "reason with a NUL", payload: "\x03\xE8a\x00b", code: StatusNormalClosure, reason: "a\x00b"},
	{name: "reason of 123 bytes", payload: "\x0F\xA0" + strings.Repeat("x", 123), code: 4000, reason: strings.Repeat("x", 123)},
	{name: "reason not UTF-8", payload: "\x03\xE8\xFF", err: errCloseUTF8},
	{name: "reason that ends in a character", payload: "\x03\xE8caf\xC3", err: errCloseUTF8},
	{name: "reason with a surrogate", payload: "\x03\xE8\xED\xA0\x80", err: errCloseUTF8},
	{name: "bad code and bad reason", payload: "\x00\x00\xFF", err: errCloseCode},
}

func TestParseClose(t *testing.T) {
	for _, tt := range parseCloseTests {
		t.Run(tt.name, func(t *testing.T) {
			code, reason, err := parseClose([]byte(tt.payload))
			if code != tt.code || reason != tt.reason || err != tt.err {
				t.Errorf("got %d, %q, %v, want %d, %q, %v", code, reason, err, tt.code, tt.reason, tt.err)
			}
		})
	}
}

func TestParseCloseStatusCodes(t *testing.T) {
	for i := range 1 << 16 {
		code, _, err := parseClose(binary.BigEndian.AppendUint16(nil, uint16(i)))
		switch {
		case validStatusCode(i):
			if code != StatusCode(i) || err != nil {
				t.Errorf("%d: got %d, %v", i, code, err)
			}
		case err != errCloseCode:
			t.Errorf("%d: got %d, %v, want %v", i, code, err, errCloseCode)
		}
	}
	for _, code := range []StatusCode{-1, 65536 + 1000, 1 << 30} {
		if code.mayBeSent() {
			t.Errorf("%d may be sent", code)
		}
	}
}

// The edges, one by one, lest a range above be wrong.
func TestStatusCodeMayBeSent(t *testing.T) {
	may := []StatusCode{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999}
	mayNot := []StatusCode{0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 1999, 2000, 2999, 5000, 65535}
	for _, code := range may {
		if !code.mayBeSent() {
			t.Errorf("%d may not be sent", code)
		}
	}
	for _, code := range mayNot {
		if code.mayBeSent() {
			t.Errorf("%d may be sent", code)
		}
	}
}

var appendCloseTests = []struct {
	name   string
	code   StatusCode
	reason string
	want   string // the reason that goes out
}{
	{"no reason", 1000, "", ""},
	{"a reason", 1001, "restart", "restart"},
	{"not ASCII", 4999, "schön 😀", "schön 😀"},
	{"123 bytes", 1000, strings.Repeat("x", 123), strings.Repeat("x", 123)},
	{"124 bytes", 1000, strings.Repeat("x", 124), strings.Repeat("x", 123)},
	{"123 bytes, the last character of two", 1000, strings.Repeat("x", 121) + "é", strings.Repeat("x", 121) + "é"},
	{"124 bytes, the last character of two", 1000, strings.Repeat("x", 122) + "é", strings.Repeat("x", 122)},
	{"124 bytes, the last character of three", 1000, strings.Repeat("x", 121) + "€", strings.Repeat("x", 121)},
	{"124 bytes, the last character of four", 1000, strings.Repeat("x", 120) + "😀", strings.Repeat("x", 120)},
	{"127 bytes, a character after 123", 1000, strings.Repeat("x", 123) + "😀", strings.Repeat("x", 123)},
	{"200 bytes, the last character of four", 1000, strings.Repeat("x", 196) + "😀", strings.Repeat("x", 123)},
	{"200 bytes, all characters of two", 1000, strings.Repeat("é", 100), strings.Repeat("é", 61)},
	{"not UTF-8", 1000, "caf\xE9!", "caf\uFFFD!"},
	{"a surrogate", 1000, "\xED\xA0\x80", "\uFFFD"},
	{"too long and not UTF-8", 1000, strings.Repeat("x", 120) + "\xFF" + "yz", strings.Repeat("x", 120) + "\uFFFD"},
	{"too long by being made UTF-8", 1000, strings.Repeat("x", 122) + "\xFF", strings.Repeat("x", 122)},
	{"all of it not UTF-8", 1000, strings.Repeat("\xFF", 200), "\uFFFD"},
}

func TestAppendClose(t *testing.T) {
	for _, tt := range appendCloseTests {
		t.Run(tt.name, func(t *testing.T) {
			const before = "before"
			payload, ok := bytes.CutPrefix(appendClose([]byte(before), tt.code, tt.reason), []byte(before))
			if !ok {
				t.Fatalf("got % x, which does not begin with %q", payload, before)
			}
			if want := string(binary.BigEndian.AppendUint16(nil, uint16(tt.code))) + tt.want; string(payload) != want {
				t.Errorf("got %q, want %q", payload, want)
			}
			code, reason, err := parseClose(payload)
			if code != tt.code || reason != tt.want || err != nil {
				t.Errorf("parsed: got %d, %q, %v, want %d, %q", code, reason, err, tt.code, tt.want)
			}
		})
	}
}

// A reason of any length, of characters of any length, is cut as late
// as it can be.
func TestAppendCloseCuts(t *testing.T) {
	for _, char := range []string{"x", "é", "€", "😀"} {
		for ascii := range 130 {
			for n := range 66 {
				whole := strings.Repeat("a", ascii) + strings.Repeat(char, n)
				got := string(appendClose(nil, StatusNormalClosure, whole)[2:])
				if !strings.HasPrefix(whole, got) || !utf8.ValidString(got) || len(got) > 123 {
					t.Fatalf("%q: got %q", whole, got)
				}
				if rest := whole[len(got):]; rest != "" && len(got)+len(string([]rune(rest)[:1])) <= 123 {
					t.Fatalf("%q: got %q, which has room for more", whole, got)
				}
			}
		}
	}
}

func TestAppendCloseNoStatus(t *testing.T) {
	for _, reason := range []string{"", "has no place"} {
		if got := appendClose([]byte("before"), StatusNoStatusReceived, reason); string(got) != "before" {
			t.Errorf("reason %q: got %q, want nothing appended", reason, got)
		}
	}
}

func TestStatusCodeString(t *testing.T) {
	names := map[StatusCode]string{
		1000: "normal closure",
		1001: "going away",
		1002: "protocol error",
		1003: "unsupported data",
		1005: "no status received",
		1006: "abnormal closure",
		1007: "invalid frame payload data",
		1008: "policy violation",
		1009: "message too big",
		1010: "mandatory extension",
		1011: "internal error",
		1012: "service restart",
		1013: "try again later",
		1014: "bad gateway",
		1015: "TLS handshake",
	}
	for code := StatusCode(-1); code < 5100; code++ {
		want, ok := names[code]
		if !ok {
			want = fmt.Sprint("status code ", int(code))
		}
		if got := code.String(); got != want {
			t.Errorf("%d: got %q, want %q", int(code), got, want)
		}
	}
}

var errCable = errors.New("cable cut")

var closeErrorTests = []struct {
	name string
	err  *CloseError
	want string
}{{
	name: "the peer",
	err:  &CloseError{Code: StatusGoingAway},
	want: "websocket: closed by the peer with 1001 (going away)",
}, {
	name: "the peer, with a reason",
	err:  &CloseError{Code: StatusGoingAway, Reason: "so \"long\"\n"},
	want: `websocket: closed by the peer with 1001 (going away): "so \"long\"\n"`,
}, {
	name: "the peer, without a code",
	err:  &CloseError{Code: StatusNoStatusReceived},
	want: "websocket: closed by the peer with 1005 (no status received)",
}, {
	name: "the peer, with a code of its own",
	err:  &CloseError{Code: 4004},
	want: "websocket: closed by the peer with 4004 (status code 4004)",
}, {
	name: "Close",
	err:  &CloseError{Code: StatusNormalClosure, Reason: "bye", Local: true},
	want: `websocket: closed with 1000 (normal closure): "bye"`,
}, {
	name: "failed",
	err:  &CloseError{Code: StatusProtocolError, Reason: errMasked.text, Local: true, Err: errMasked},
	want: "websocket: closed with 1002 (protocol error): frame from a server masked (RFC 6455, section 5.1)",
}, {
	name: "CloseNow",
	err:  &CloseError{Code: StatusAbnormalClosure, Local: true},
	want: "websocket: connection closed without a closing handshake",
}, {
	name: "no answer to our Close",
	err:  &CloseError{Code: StatusAbnormalClosure, Local: true, Err: errCable},
	want: "websocket: connection closed without a closing handshake: cable cut",
}, {
	name: "network lost",
	err:  &CloseError{Code: StatusAbnormalClosure, Err: errCable},
	want: "websocket: connection lost: cable cut",
}}

func TestCloseError(t *testing.T) {
	for _, tt := range closeErrorTests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.err.Error(); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			wrapped := fmt.Errorf("chat: %w", tt.err)
			if got := errors.Is(wrapped, net.ErrClosed); got != tt.err.Local {
				t.Errorf("is net.ErrClosed: got %v, want %v", got, tt.err.Local)
			}
			if tt.err.Err != nil && !errors.Is(wrapped, tt.err.Err) {
				t.Errorf("is not its cause %v", tt.err.Err)
			}
			if errors.Is(wrapped, io.EOF) {
				t.Error("is io.EOF")
			}
			if got := CloseStatus(wrapped); got != tt.err.Code {
				t.Errorf("CloseStatus: got %d, want %d", got, tt.err.Code)
			}
		})
	}
}

func TestCloseStatusOfOthers(t *testing.T) {
	for _, err := range []error{nil, io.EOF, net.ErrClosed, ErrMessageTooBig, errMasked} {
		if got := CloseStatus(err); got != -1 {
			t.Errorf("%v: got %d, want -1", err, got)
		}
	}
	joined := errors.Join(io.EOF, &CloseError{Code: StatusTryAgainLater})
	if got := CloseStatus(joined); got != StatusTryAgainLater {
		t.Errorf("joined: got %d, want %d", got, StatusTryAgainLater)
	}
}

// unmaskedKey and maskedKeys are what appendFrames takes
// its keys from at a server and at a client.
func unmaskedKey() (bool, uint32) { return false, 0 }

func maskedKeys() func() (bool, uint32) {
	key := uint32(0x3d21fa37)
	return func() (bool, uint32) {
		key++
		return true, key - 1
	}
}

var owedTests = []struct {
	name   string
	owe    func(*owed)
	server string // bits
	client string
}{{
	name: "nothing",
	owe:  func(*owed) {},
}, {
	name:   "5.7 Pong",
	owe:    func(o *owed) { o.addPong([]byte("Hello")) },
	server: "10001010 00000101  01001000 01100101 01101100 01101100 01101111",
	client: "10001010 10000101  00110111 11111010 00100001 00111101  01111111 10011111 01001101 01010001 01011000",
}, {
	name: "Pongs in their order",
	owe: func(o *owed) {
		o.addPong([]byte("H"))
		o.addPong(nil)
		o.addPong([]byte("e"))
	},
	server: "10001010 00000001  01001000" +
		"10001010 00000000" +
		"10001010 00000001  01100101",
	client: "10001010 10000001  00110111 11111010 00100001 00111101  01111111" +
		"10001010 10000000  00111000 11111010 00100001 00111101" +
		"10001010 10000001  00111001 11111010 00100001 00111101  01011100",
}, {
	name:   "Ping",
	owe:    func(o *owed) { o.addPing(0x0102) },
	server: "10001001 00001000  00000000 00000000 00000000 00000000 00000000 00000000 00000001 00000010",
	client: "10001001 10001000  00110111 11111010 00100001 00111101" +
		"  00110111 11111010 00100001 00111101 00110111 11111010 00100000 00111111",
}, {
	name:   "Close",
	owe:    func(o *owed) { o.addClose([]byte{0x03, 0xE8}) },
	server: "10001000 00000010  00000011 11101000",
	client: "10001000 10000010  00110111 11111010 00100001 00111101  00110100 00010010",
}, {
	name:   "Close without a body",
	owe:    func(o *owed) { o.addClose(nil) },
	server: "10001000 00000000",
	client: "10001000 10000000  00110111 11111010 00100001 00111101",
}, {
	name: "Close last, each with a key of its own",
	owe: func(o *owed) {
		o.addPong(nil)
		o.addPing(0)
		o.addClose(nil)
	},
	server: "10001001 00001000  00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000" +
		"10001010 00000000" +
		"10001000 00000000",
	client: "10001001 10001000  00110111 11111010 00100001 00111101" +
		"  00110111 11111010 00100001 00111101 00110111 11111010 00100001 00111101" +
		"10001010 10000000  00111000 11111010 00100001 00111101" +
		"10001000 10000000  00111001 11111010 00100001 00111101",
}, {
	name: "only the Ping, after a Pong has left",
	owe: func(o *owed) {
		o.addPong([]byte("H"))
		o.kinds = 0
		o.addPing(0x0102)
	},
	server: "10001001 00001000  00000000 00000000 00000000 00000000 00000000 00000000 00000001 00000010",
	client: "10001001 10001000  00110111 11111010 00100001 00111101" +
		"  00110111 11111010 00100001 00111101 00110111 11111010 00100000 00111111",
}}

func TestOwed(t *testing.T) {
	for _, tt := range owedTests {
		t.Run(tt.name, func(t *testing.T) {
			var o owed
			tt.owe(&o)
			if got, want := o.appendFrames([]byte{0xAA}, unmaskedKey), append([]byte{0xAA}, fromBits(t, tt.server)...); !bytes.Equal(got, want) {
				t.Errorf("server: got % x, want % x", got, want)
			}
			if got, want := o.appendFrames([]byte{0xAA}, maskedKeys()), append([]byte{0xAA}, fromBits(t, tt.client)...); !bytes.Equal(got, want) {
				t.Errorf("client: got % x, want % x", got, want)
			}
		})
	}
}

// The payload of a Ping lies in a buffer that is used again.
func TestOwedPongIsCopied(t *testing.T) {
	var o owed
	ping := []byte("first")
	o.addPong(ping)
	copy(ping, "other")
	if got, want := string(o.appendFrames(nil, unmaskedKey)), "\x8A\x05first"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Of many Pings the newest are answered: as many as there is room for, and
// the last whatever its length.
func TestOwedPongsAreTheNewest(t *testing.T) {
	for _, length := range []int{0, 1, 9, 10, 11, 64, 65, 66, 124, 125} {
		for n := range 150 {
			var o owed
			for i := range n {
				o.addPong(bytes.Repeat([]byte{byte(i)}, length))
			}
			var want []byte
			for i := max(0, n-maxOwedPongs/(1+length)); i < n; i++ {
				want = append(want, 0x8A, byte(length))
				want = append(want, bytes.Repeat([]byte{byte(i)}, length)...)
			}
			if got := o.appendFrames(nil, unmaskedKey); !bytes.Equal(got, want) {
				t.Fatalf("%d Pings of %d bytes: got % x, want % x", n, length, got, want)
			}
		}
	}
}

// A short Ping may take the place of some, a long one that of all.
func TestOwedPongsOfAllLengths(t *testing.T) {
	var o owed
	var want []string
	room := maxOwedPongs
	for i := range 1000 {
		ping := strings.Repeat(string(rune('a'+i%26)), i*i%(maxControlPayloadLength+1))
		o.addPong([]byte(ping))
		want = append(want, "\x8A"+string(rune(len(ping)))+ping)
		room -= 1 + len(ping)
		for room < 0 {
			room += len(want[0]) - 1
			want = want[1:]
		}
		if got := string(o.appendFrames(nil, unmaskedKey)); got != strings.Join(want, "") {
			t.Fatalf("after %d Pings: got %q, want %q", i+1, got, want)
		}
	}
}

// What was sent is not sent again.
func TestOwedAfterSending(t *testing.T) {
	var o owed
	o.addPong([]byte("first"))
	o.addPing(1)
	o.kinds = 0
	if got := o.appendFrames(nil, unmaskedKey); len(got) != 0 {
		t.Errorf("got % x, want nothing", got)
	}
	o.addPong([]byte("x"))
	if got, want := string(o.appendFrames(nil, unmaskedKey)), "\x8A\x01x"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestPingID(t *testing.T) {
	for _, id := range []uint64{0, 1, 255, 256, 1<<32 + 7, 1<<64 - 1} {
		if got, ok := pingID(pingPayload(id)); got != id || !ok {
			t.Errorf("got %d, %v, want %d", got, ok, id)
		}
	}
	for n := range maxControlPayloadLength + 1 {
		if _, ok := pingID(make([]byte, n)); ok != (n == 8) {
			t.Errorf("%d bytes: got %v, want %v", n, ok, n == 8)
		}
	}
}
