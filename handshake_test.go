package websocket

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// sampleRequest and sampleResponse are the handshake of section 1.2, but for the
// Origin, which is not the one of the host there.
const (
	sampleRequest = "GET /chat HTTP/1.1\r\n" +
		"Host: server.example.com\r\n" +
		"Upgrade: websocket\r\n" +
		"Connection: Upgrade\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
		"Sec-WebSocket-Protocol: chat, superchat\r\n" +
		"Sec-WebSocket-Version: 13\r\n" +
		"\r\n"
	sampleKey      = "dGhlIHNhbXBsZSBub25jZQ=="
	sampleResponse = "HTTP/1.1 101 Switching Protocols\r\n" +
		"Upgrade: websocket\r\n" +
		"Connection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" +
		"Sec-WebSocket-Protocol: chat\r\n" +
		"\r\n"
)

func TestAcceptKey(t *testing.T) {
	// "if the value of the |Sec-WebSocket-Key| header field in the client's
	// handshake were "dGhlIHNhbXBsZSBub25jZQ==" [...]" (section 4.2.2)
	if got, want := acceptKey(sampleKey), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="; got != want {
		t.Errorf("acceptKey(%q) = %q, want %q", sampleKey, got, want)
	}
}

// requestTests are changes of sampleRequest,
// and the check that the request then fails.
var requestTests = []struct {
	name     string
	old, new string
	err      error
}{
	{"as it is", "", "", nil},
	{"query", "/chat", "/?a=b,c", nil},
	{"absolute-form", "/chat", "http://server.example.com/chat", nil},
	{"newer HTTP/1", "HTTP/1.1", "HTTP/1.2", nil},

	{"POST", "GET", "POST", errMethod},
	{"HEAD", "GET", "HEAD", errMethod},
	{"lower-case get", "GET", "get", errMethod},
	{"CONNECT", "GET /chat", "CONNECT /chat", errMethod},
	{"HTTP/1.0", "HTTP/1.1", "HTTP/1.0", errRequestHTTP10},
	{"HTTP/2", "HTTP/1.1", "HTTP/2.0", errRequestHTTP2},

	{"no Host", "Host: server.example.com\r\n", "", errHost},
	{"empty Host", "Host: server.example.com", "Host:", errHost},

	{"no Upgrade", "Upgrade: websocket\r\n", "", errUpgrade},
	{"empty Upgrade", "Upgrade: websocket", "Upgrade:", errUpgrade},
	{"Upgrade in upper case", "websocket", "WEBSOCKET", nil},
	{"Upgrade in a list", "Upgrade: websocket", "Upgrade: h2c,websocket , foo/1", nil},
	{"Upgrade in the second line", "Upgrade: websocket", "Upgrade: h2c\r\nUpgrade: websocket", nil},
	{"Upgrade with empty members", "Upgrade: websocket", "Upgrade: , ,\t,websocket,", nil},
	{"Upgrade to another protocol", "websocket", "websocket2", errUpgrade},
	{"Upgrade to a version", "websocket", "websocket/13", errUpgrade},
	{"Upgrade in a quoted string", "websocket", `"websocket"`, errUpgrade},
	{"Upgrade behind a comma in a quoted string", "websocket", `"a, websocket, b"`, errUpgrade},
	{"Upgrade behind an escaped quote", "websocket", `"a\", websocket"`, errUpgrade},
	{"Upgrade behind a quoted string", "websocket", `"a\\", websocket`, nil},
	{"Upgrade with a Kelvin sign", "websocket", "websoc\u212aet", errUpgrade},

	{"no Connection", "Connection: Upgrade\r\n", "", errConnection},
	{"Connection without Upgrade", "Connection: Upgrade", "Connection: keep-alive", errConnection},
	{"Connection in lower case", "Connection: Upgrade", "Connection: upgrade", nil},
	{"Connection in a list", "Connection: Upgrade", "Connection: keep-alive, Upgrade", nil},
	{"Connection in the second line", "Connection: Upgrade", "Connection: keep-alive\r\nConnection: Upgrade", nil},
	{"Connection in a quoted string", "Connection: Upgrade", `Connection: "keep-alive, Upgrade"`, errConnection},
	{"Connection that begins the same", "Connection: Upgrade", "Connection: Upgraded", errConnection},

	{"no version", "Sec-WebSocket-Version: 13\r\n", "", errVersion},
	{"version 12", "Version: 13", "Version: 12", errVersion},
	{"version 8", "Version: 13", "Version: 8", errVersion},
	{"version 130", "Version: 13", "Version: 130", errVersion},
	{"version 013", "Version: 13", "Version: 013", errVersion},
	{"version list", "Version: 13", "Version: 13, 8", errVersion},
	{"version twice", "Version: 13", "Version: 13\r\nSec-WebSocket-Version: 13", errVersion},
	{"version in a later line", "Version: 13", "Version: 8\r\nSec-WebSocket-Version: 13", errVersion},

	{"no key", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "", errKey},
	{"empty key", sampleKey, "", errKey},
	{"extensions", "\r\n\r\n", "\r\nSec-WebSocket-Extensions: x, permessage-deflate; y; z=\"1\"\r\n\r\n", nil},
	{"empty extensions", "\r\n\r\n", "\r\nSec-WebSocket-Extensions:\r\n\r\n", nil},
	{"malformed extensions", "\r\n\r\n", "\r\nSec-WebSocket-Extensions: x;\r\n\r\n", errExtensions},
	{"malformed extensions in the second line", "\r\n\r\n", "\r\nSec-WebSocket-Extensions: x\r\nSec-WebSocket-Extensions: y, =z\r\n\r\n", errExtensions},
	{"key of 15 bytes", sampleKey, "dGhlIHNhbXBsZSBub25j", errKey},
	{"key of 17 bytes", sampleKey, "dGhlIHNhbXBsZSBub25jZSE=", errKey},
	{"key of 18 bytes", sampleKey, "dGhlIHNhbXBsZSBub25jZSEh", errKey},
	{"key of 19 bytes", sampleKey, "dGhlIHNhbXBsZSBub25jZSEhIQ==", errKey},
	{"key without padding", sampleKey, "dGhlIHNhbXBsZSBub25jZQ", errKey},
	{"key in the URL's alphabet", sampleKey, "____IHNhbXBsZSBub25jZQ==", errKey},
	{"key that is not base64", sampleKey, "dGhlIHNhbXBsZSBub25jZ***", errKey},
	{"key twice", "Sec-WebSocket-Key: ", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Key: ", errKey},
	{"key of section 4.1, with bits to spare", sampleKey, "AQIDBAUGBwgJCgsMDQ4PEC==", nil},

	{"Content-Length 0", "\r\n\r\n", "\r\nContent-Length: 0\r\n\r\n", nil},
	{"Content-Length 5", "\r\n\r\n", "\r\nContent-Length: 5\r\n\r\nhello", errRequestBody},
	{"chunked", "\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", errRequestBody},
}

// readRequest parses a request as net/http's server does.
func readRequest(t testing.TB, text string) *http.Request {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
	if err != nil {
		t.Fatalf("ReadRequest: %v\n%s", err, text)
	}
	return r
}

func TestCheckRequest(t *testing.T) {
	for _, test := range requestTests {
		t.Run(test.name, func(t *testing.T) {
			if !strings.Contains(sampleRequest, test.old) {
				t.Fatalf("%q is not in the request", test.old)
			}
			r := readRequest(t, strings.Replace(sampleRequest, test.old, test.new, 1))
			refused := checkRequest(r)
			if refused == nil {
				if test.err != nil {
					t.Fatalf("passed, want %v", test.err)
				}
				return
			}
			if refused.Err != test.err {
				t.Fatalf("got %v, want %v", refused.Err, test.err)
			}
			checkRefusal(t, refused)
		})
	}
}

// The length of the body that net/http knows is not the
// only thing to go by.
func TestCheckRequestTransferEncoding(t *testing.T) {
	r := readRequest(t, sampleRequest)
	r.TransferEncoding = []string{"chunked"}
	if refused := checkRequest(r); refused == nil || refused.Err != errRequestBody {
		t.Errorf("got %v, want %v", refused, errRequestBody)
	}
}

// checkRefusal checks that a refusal has the status and the header fields
// that belong to its error.
func checkRefusal(t testing.TB, refused *HandshakeError) {
	t.Helper()
	upgrade := http.Header{
		"Connection":            {"close", "Upgrade"},
		"Upgrade":               {"websocket"},
		"Sec-Websocket-Version": {"13"},
	}
	closing := http.Header{"Connection": {"close"}}
	answers := map[error]struct {
		status int
		header http.Header
	}{
		errMethod:        {405, http.Header{"Allow": {"GET"}}},
		errRequestHTTP10: {426, upgrade},
		errRequestHTTP2:  {505, nil},
		errHost:          {400, closing},
		errUpgrade:       {426, upgrade},
		errConnection:    {426, upgrade},
		errVersion:       {426, upgrade},
		errKey:           {400, closing},
		errRequestBody:   {400, closing},
		errProtocols:     {400, closing},
		errExtensions:    {400, closing},
	}
	want, ok := answers[refused.Err]
	if !ok {
		t.Fatalf("unknown error %v", refused.Err)
	}
	if refused.StatusCode != want.status || !reflect.DeepEqual(refused.Header, want.header) {
		t.Errorf("%v:\n got %d %v\nwant %d %v", refused.Err, refused.StatusCode, refused.Header, want.status, want.header)
	}
	if got, want := string(refused.Body), refused.Err.Error()+"\n"; got != want {
		t.Errorf("body %q, want %q", got, want)
	}
}

func TestChooseSubprotocol(t *testing.T) {
	for _, test := range []struct {
		name      string
		offers    []string
		supported []string
		want      string
		err       error
	}{
		{"none offered", nil, []string{"chat"}, "", nil},
		{"none supported", []string{"chat"}, nil, "", nil},
		{"one", []string{"chat"}, []string{"chat"}, "chat", nil},
		{"the server's order", []string{"chat, superchat"}, []string{"superchat", "chat"}, "superchat", nil},
		{"second line", []string{"a", "b,chat"}, []string{"chat"}, "chat", nil},
		{"another case", []string{"Chat"}, []string{"chat"}, "", nil},
		{"part of a name", []string{"superchat"}, []string{"chat"}, "", nil},
		{"empty members", []string{" ,\tchat ,, "}, []string{"chat"}, "chat", nil},
		{"a token's characters", []string{"!#$%&'*+-.^_`|~09azAZ"}, []string{"!#$%&'*+-.^_`|~09azAZ"}, "!#$%&'*+-.^_`|~09azAZ", nil},

		{"empty", []string{""}, []string{"chat"}, "", errProtocols},
		{"only commas", []string{",,", ", "}, []string{"chat"}, "", errProtocols},
		{"twice in a line", []string{"chat, chat"}, []string{"chat"}, "", errProtocols},
		{"twice in two lines", []string{"chat", "chat"}, []string{"chat"}, "", errProtocols},
		{"quoted", []string{`"chat"`}, []string{"chat"}, "", errProtocols},
		{"a space inside", []string{"a chat"}, []string{"chat"}, "", errProtocols},
		{"a separator", []string{"chat;v=1"}, []string{"chat"}, "", errProtocols},
		{"a bad one behind a good one", []string{"chat, {}"}, []string{"chat"}, "", errProtocols},
		{"not ASCII", []string{"ch\u00e4t"}, []string{"chat"}, "", errProtocols},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, refused := chooseSubprotocol(test.offers, test.supported)
			if refused != nil {
				checkRefusal(t, refused)
			}
			if got != test.want || (refused == nil) != (test.err == nil) {
				t.Errorf("got %q, %v, want %q, %v", got, refused, test.want, test.err)
			}
		})
	}
}

func TestCheckSubprotocols(t *testing.T) {
	for _, test := range []struct {
		subprotocols []string
		ok           bool
	}{
		{nil, true},
		{[]string{"chat"}, true},
		{[]string{"v1.chat", "v2.chat"}, true},
		{[]string{""}, false},
		{[]string{"a b"}, false},
		{[]string{"a,b"}, false},
		{[]string{"chat\r\nX: y"}, false},
		{[]string{"chat", "b", "chat"}, false},
	} {
		if err := checkSubprotocols(test.subprotocols); (err == nil) != test.ok {
			t.Errorf("%q: got %v, want ok %t", test.subprotocols, err, test.ok)
		}
	}
}

func TestAppendResponse(t *testing.T) {
	for _, test := range []struct {
		subprotocol string
		header      http.Header
		want        string
	}{
		{"chat", nil, sampleResponse},
		{"", nil, strings.Replace(sampleResponse, "Sec-WebSocket-Protocol: chat\r\n", "", 1)},
		{"chat", http.Header{"Set-Cookie": {"a=1", "b=2"}, "Date": nil},
			strings.TrimSuffix(sampleResponse, "\r\n") + "Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\n"},
	} {
		got := string(appendResponse([]byte("before"), sampleKey, agreement{subprotocol: test.subprotocol}, test.header))
		if want := "before" + test.want; got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}
}

// responseTests are changes of sampleResponse, as the answer to a client
// that offered chat and superchat, and the check that it fails.
var responseTests = []struct {
	name     string
	old, new string
	err      error
}{
	{"as it is", "", "", nil},
	{"another reason phrase", "Switching Protocols", "OK", nil},
	{"no reason phrase", " Switching Protocols", "", nil},
	{"other header fields", "\r\n\r\n", "\r\nServer: x\r\nSet-Cookie: a=b\r\n\r\n", nil},

	{"200", "101 Switching Protocols", "200 OK", errStatus},
	{"302", "101 Switching Protocols", "302 Found", errStatus},
	{"401", "101 Switching Protocols", "401 Unauthorized", errStatus},
	{"099", "101", "099", errStatus},
	{"HTTP/1.0", "HTTP/1.1", "HTTP/1.0", errResponseVersion},
	{"HTTP/1.2", "HTTP/1.1", "HTTP/1.2", errResponseVersion},
	{"HTTP/2", "HTTP/1.1", "HTTP/2.1", errResponseVersion},

	{"no Upgrade", "Upgrade: websocket\r\n", "", errUpgraded},
	{"empty Upgrade", "Upgrade: websocket", "Upgrade:", errUpgraded},
	{"Upgrade in another case", "websocket", "WebSocket", nil},
	{"Upgrade to something else", "websocket", "h2c", errUpgraded},
	{"Upgrade to more", "websocket", "websocket, h2c", errUpgraded},
	{"Upgrade to more in two lines", "websocket", "websocket\r\nUpgrade: h2c", errUpgraded},
	{"Upgrade quoted", "websocket", `"websocket"`, errUpgraded},

	{"no Connection", "Connection: Upgrade\r\n", "", errConnected},
	{"Connection in a list", "Connection: Upgrade", "Connection: keep-alive, upgrade", nil},
	{"Connection in two lines", "Connection: Upgrade", "Connection: keep-alive\r\nConnection: Upgrade", nil},
	{"Connection without Upgrade", "Connection: Upgrade", "Connection: keep-alive", errConnected},

	{"no Accept", "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", "", errAccept},
	{"wrong Accept", "s3pP", "S3pP", errAccept},
	{"Accept twice", "Sec-WebSocket-Accept: ", "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Accept: ", errAccept},
	{"Accept is the key", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", sampleKey, errAccept},
	{"Accept with whitespace", "Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "Accept: \t s3pPLMBiTxaQ9kYGzzhZRbK+xOo= \t", nil},

	{"extension not offered", "\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n", errExtension},
	{"extension in the second line", "\r\n\r\n", "\r\nSec-WebSocket-Extensions:\r\nSec-WebSocket-Extensions: , x\r\n\r\n", errExtension},
	{"empty list of extensions", "\r\n\r\n", "\r\nSec-WebSocket-Extensions: ,\r\n\r\n", nil},

	{"no subprotocol", "Sec-WebSocket-Protocol: chat\r\n", "", nil},
	{"second subprotocol", ": chat", ": superchat", nil},
	{"subprotocol not offered", ": chat", ": other", errSubprotocol},
	{"subprotocol in another case", ": chat", ": Chat", errSubprotocol},
	{"empty subprotocol", ": chat", ":", errSubprotocol},
	{"list of subprotocols", ": chat", ": chat, superchat", errSubprotocol},
	{"subprotocol twice", ": chat", ": chat\r\nSec-WebSocket-Protocol: chat", errSubprotocol},
}

func TestCheckResponse(t *testing.T) {
	for _, test := range responseTests {
		t.Run(test.name, func(t *testing.T) {
			if !strings.Contains(sampleResponse, test.old) {
				t.Fatalf("%q is not in the response", test.old)
			}
			text := strings.Replace(sampleResponse, test.old, test.new, 1)
			resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(text)), nil)
			if err != nil {
				t.Fatal(err)
			}
			agreed, err := checkResponse(resp, sampleKey, []string{"chat", "superchat"}, nil)
			if err != test.err {
				t.Fatalf("got %v, want %v", err, test.err)
			}
			want := ""
			if err == nil {
				want = resp.Header.Get("Sec-WebSocket-Protocol")
			}
			if agreed.subprotocol != want {
				t.Errorf("subprotocol %q, want %q", agreed.subprotocol, want)
			}
		})
	}
}

// What is not "scheme://host:port" is no origin, even if it looks like a part of one.
func TestParseOriginWithoutAuthority(t *testing.T) {
	for _, s := range []string{"", "null", "example.com", "https:", "https:/example.com"} {
		if o, ok := parseOrigin(s); ok {
			t.Errorf("%q: got %+v, want none", s, o)
		}
	}
}

func TestCheckHeader(t *testing.T) {
	for _, test := range []struct {
		header http.Header
		err    string // empty: none
	}{
		{nil, ""},
		{http.Header{"X-A": {"b", ""}, "x-b": {"\tc\u00e9"}}, ""},
		{http.Header{"Date": nil}, ""},
		{http.Header{"Access-Control-Allow-Origin": {"https://example.com"}}, ""},
		{http.Header{"Connection": nil}, ""},

		{http.Header{"": {"x"}}, "invalid header field name"},
		{http.Header{"X Y": {"x"}}, "invalid header field name"},
		{http.Header{"X:": {"x"}}, "invalid header field name"},
		{http.Header{"X\r\nY": {"x"}}, "invalid header field name"},
		{http.Header{"X\r\nY": nil}, "invalid header field name"},
		{http.Header{"Trailer:X": {"x"}}, "invalid header field name"},
		{http.Header{"\u00c4": {"x"}}, "invalid header field name"},

		{http.Header{"X": {"a\r\nY: z"}}, "invalid value"},
		{http.Header{"X": {"ok", "a\nb"}}, "invalid value"},
		{http.Header{"X": {"a\rb"}}, "invalid value"},
		{http.Header{"X": {"a\x00b"}}, "invalid value"},
		{http.Header{"X": {"a\x7fb"}}, "invalid value"},

		{http.Header{"Upgrade": {"h2c"}}, "the handshake's own"},
		{http.Header{"upgrade": {"h2c"}}, "the handshake's own"},
		{http.Header{"Connection": {"close"}}, "the handshake's own"},
		{http.Header{"Content-Length": {"5"}}, "the handshake's own"},
		{http.Header{"Transfer-Encoding": {"chunked"}}, "the handshake's own"},
		{http.Header{"Sec-Websocket-Accept": {"x"}}, "the handshake's own"},
		{http.Header{"sec-websocket-key": {"x"}}, "the handshake's own"},
		{http.Header{"SEC-WEBSOCKET-PROTOCOL": {"x"}}, "the handshake's own"},
		{http.Header{"Sec-Websocket-Extensions": {"x"}}, "the handshake's own"},
		{http.Header{"Sec-Websocket-Future": {"x"}}, "the handshake's own"},
	} {
		err := checkHeader(test.header)
		if test.err == "" {
			if err != nil {
				t.Errorf("%q: %v", test.header, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), test.err) {
			t.Errorf("%q: got %v, want %q", test.header, err, test.err)
		}
	}
}

// originTests are the origins of pages, and whether they
// may connect to a host.
var originTests = []struct {
	origin string
	host   string
	tls    bool
	list   string // Upgrader.Origins, separated by spaces
	ok     bool
}{
	// The same origin.
	{"http://example.com", "example.com", false, "", true},
	{"https://example.com", "example.com", false, "", true}, // TLS ends at a proxy
	{"https://example.com", "example.com", true, "", true},
	{"http://example.com", "example.com", true, "", false},
	{"HTTP://EXAMPLE.com", "example.COM", false, "", true},
	{"http://example.com:80", "example.com", false, "", true},
	{"http://example.com", "example.com:80", false, "", true},
	{"https://example.com:443", "example.com", true, "", true},
	{"https://example.com", "example.com:443", false, "", true},
	{"https://example.com", "example.com:80", false, "", false},
	{"http://example.com", "example.com:443", false, "", false},
	{"http://example.com:443", "example.com", false, "", false},
	{"https://example.com:8443", "example.com:8443", false, "", true},
	{"https://example.com:8443", "example.com", false, "", false},
	{"https://example.com", "example.com:8443", false, "", false},
	{"http://example.com", "example.com:", false, "", true},
	{"http://[::1]:8080", "[::1]:8080", false, "", true},
	{"http://[::1]", "[::1]", false, "", true},
	{"http://[::1]", "[::1]:80", false, "", true},
	{"http://[::1]", "[::2]", false, "", false},
	{"http://127.0.0.1:1234", "127.0.0.1:1234", false, "", true},
	{"http://xn--bcher-kva.example", "xn--bcher-kva.example", false, "", true},
	{"http://a_b.example", "a_b.example", false, "", true},

	// Another one.
	{"http://evil.example", "example.com", false, "", false},
	{"http://evilexample.com", "example.com", false, "", false},
	{"http://example.com.evil.example", "example.com", false, "", false},
	{"http://www.example.com", "example.com", false, "", false},
	{"http://example.com", "www.example.com", false, "", false},
	{"http://example.com.", "example.com", false, "", false},
	{"http://example.com.", "example.com.", false, "", true},
	{"capacitor://example.com", "example.com", false, "", false},
	{"ws://example.com", "example.com", false, "", false},
	{"http://\u212aexample.com", "kexample.com", false, "", false},

	// No origin at all.
	{"null", "example.com", false, "", false},
	{"null", "null", false, "", false},
	{"", "example.com", false, "", false},
	{"", "", false, "", false},
	{"example.com", "example.com", false, "", false},
	{"//example.com", "example.com", false, "", false},
	{"://example.com", "example.com", false, "", false},
	{"http:", "example.com", false, "", false},
	{"http://", "", false, "", false},
	{"http://:80", ":80", false, "", false},
	{"http://example.com/", "example.com", false, "", false},
	{"http://example.com/path", "example.com", false, "", false},
	{"http://example.com?q", "example.com", false, "", false},
	{"http://example.com#f", "example.com", false, "", false},
	{"http://example.com\\", "example.com", false, "", false},
	{"http://user@example.com", "example.com", false, "", false},
	{"http://example.com@evil.example", "example.com", false, "", false},
	{"http://example.com:80@evil.example", "example.com", false, "", false},
	{"http://example.com:x", "example.com:x", false, "", false},
	{"http://example.com:", "example.com", false, "", false},
	{"http://exa mple.com", "exa mple.com", false, "", false},
	{"http://b\u00fccher.example", "b\u00fccher.example", false, "", false},
	{"http://::1", "::1", false, "", false},
	{"http://[::1", "[::1", false, "", false},
	{"http://[::1]x", "[::1]x", false, "", false},
	{"http://[example.com]", "[example.com]", false, "", false},
	{"http://example.com, http://evil.example", "example.com", false, "", false},
	{"http://example.com http://evil.example", "example.com", false, "", false},

	// Upgrader.Origins, by host.
	{"http://a.example", "example.com", false, "a.example", true},
	{"https://a.example", "example.com", false, "a.example", true},
	{"https://a.example", "example.com", true, "a.example", true},
	{"http://a.example", "example.com", true, "a.example", false},
	{"https://A.Example", "example.com", false, "a.eXAMPLE", true},
	{"https://a.example:8443", "example.com", false, "a.example", false},
	{"https://a.example:8443", "example.com", false, "a.example:8443", true},
	{"https://a.example", "example.com", false, "a.example:443", true},
	{"http://a.example", "example.com", false, "a.example:443", false},
	{"https://b.example", "example.com", false, "a.example b.example", true},
	{"https://c.example", "example.com", false, "a.example b.example", false},
	{"http://[::1]:3000", "example.com", false, "[::1]:3000", true},
	{"capacitor://a.example", "example.com", false, "a.example", false},
	{"http://a.example@evil.example", "example.com", false, "a.example", false},
	{"http://user@a.example", "example.com", false, "a.example", false},

	// By one label more.
	{"https://b.a.example", "example.com", false, "*.a.example", true},
	{"https://b.a.example:8443", "example.com", false, "*.a.example:8443", true},
	{"https://a.example", "example.com", false, "*.a.example", false},
	{"https://.a.example", "example.com", false, "*.a.example", false},
	{"https://c.b.a.example", "example.com", false, "*.a.example", false},
	{"https://eviltest.example", "example.com", false, "*.test.example", false},
	{"https://x-a.example", "example.com", false, "*.a.example", false},
	{"https://b.a.example.evil", "example.com", false, "*.a.example", false},
	{"http://b.a.example", "example.com", false, "https://*.a.example", false},
	{"https://b.a.example", "example.com", false, "https://*.a.example", true},

	// By scheme, host and port.
	{"https://a.example", "example.com", false, "https://a.example", true},
	{"http://a.example", "example.com", false, "https://a.example", false},
	{"http://a.example", "example.com", true, "http://a.example", true}, // as somebody said so
	{"https://a.example:8443", "example.com", false, "https://a.example:8443", true},
	{"https://a.example:8443", "example.com", false, "https://a.example", false},
	{"https://a.example", "example.com", false, "https://a.example:443", true},
	{"capacitor://localhost", "example.com", true, "capacitor://localhost", true},
	{"capacitor://localhost", "example.com", true, "ionic://localhost", false},
	{"http://localhost", "example.com", false, "capacitor://localhost", false},
	{"chrome-extension://abcdef", "example.com", false, "chrome-extension://abcdef", true},
	{"file://", "example.com", false, "file://", true},
	{"file://", "example.com", false, "file://host", false},

	// By name.
	{"null", "example.com", false, "null", true},
	{"https://null", "example.com", false, "null", false},
	{"https://a.example", "example.com", false, "null", false},
	{"Null", "example.com", false, "null", false},
	{"https://a.example", "example.com", true, "*", true},
	{"null", "example.com", false, "*", true},
	{"whatever", "example.com", false, "*", true},
	{"https://b.example", "example.com", false, "a.example *", true},
}

func TestCheckOrigin(t *testing.T) {
	for _, test := range originTests {
		r := readRequest(t, sampleRequest)
		r.Host = test.host
		r.Header["Origin"] = []string{test.origin}
		if test.tls {
			r.TLS = new(tls.ConnectionState)
		}
		refused := checkOrigin(r, strings.Fields(test.list))
		if (refused == nil) != test.ok {
			t.Errorf("%+v: got %v", test, refused)
			continue
		}
		if refused == nil {
			continue
		}
		if refused.StatusCode != 403 {
			t.Errorf("%+v: status %d, want 403", test, refused.StatusCode)
		}
		for _, want := range []string{fmt.Sprintf("%q", test.origin), fmt.Sprintf("%q", test.host), "forward", "Upgrader.Origins"} {
			if body := string(refused.Body); !strings.Contains(body, want) {
				t.Errorf("%+v: the body does not say %s: %s", test, want, body)
			}
		}
	}
}

func TestCheckOriginAbsentOrSeveral(t *testing.T) {
	r := readRequest(t, sampleRequest)
	if refused := checkOrigin(r, nil); refused != nil {
		t.Errorf("no Origin: %v", refused)
	}
	r.Header["Origin"] = []string{"http://server.example.com", "http://server.example.com"}
	for _, list := range [][]string{nil, {"*"}, {"server.example.com"}} {
		if refused := checkOrigin(r, list); refused == nil || refused.StatusCode != 403 {
			t.Errorf("two Origins, with %q: got %v, want 403", list, refused)
		}
	}
}

// An element of Origins that means nothing is the fault of the server's
// program, and to be found in its tests, not by its users.
func TestCheckOriginMisuse(t *testing.T) {
	for _, pattern := range []string{
		"", "a b", "https://a.example/", "https://a.example/path", "a.example/", "*.", "*.*", "**", "a*.example", "*a.example",
		"https://", "https://*", "://a.example", "1http://a.example", "https://u@a.example", "a.example:", "a.example:*",
		"[::1", "::1", "b\u00fccher.example", "file://*.", ".a.example", "*..a.example",
	} {
		for _, origin := range []string{"https://evil.example", "null", "capacitor://localhost"} {
			r := readRequest(t, sampleRequest)
			r.Header["Origin"] = []string{origin}
			refused := checkOrigin(r, []string{pattern, "*"})
			if refused == nil || refused.StatusCode != 500 || !strings.Contains(refused.Error(), fmt.Sprintf("%q", pattern)) {
				t.Errorf("pattern %q, origin %s: got %v, want a 500 that names the pattern", pattern, origin, refused)
				continue
			}
			if refused.Body != nil {
				t.Errorf("pattern %q: the client is told %q", pattern, refused.Body)
			}
		}
	}
}

func TestNextMember(t *testing.T) {
	for _, test := range []struct {
		list string
		want []string
	}{
		{"", nil},
		{" \t ", nil},
		{",", nil},
		{"a", []string{"a"}},
		{"a,b", []string{"a", "b"}},
		{" a\t, b ", []string{"a", "b"}},
		{",,a,,b,,", []string{"a", "b"}},
		{`"a,b",c`, []string{`"a,b"`, "c"}},
		{`x="a\",b",c`, []string{`x="a\",b"`, "c"}},
		{`"a\\",b`, []string{`"a\\"`, "b"}},
		{`a\,b`, []string{`a\`, "b"}},
		{`"a,b`, []string{`"a,b`}},
		{`"a\`, []string{`"a\`}},
		{`a""b,"",c`, []string{`a""b`, `""`, "c"}},
	} {
		var got []string
		for m, rest := nextMember(test.list); m != ""; m, rest = nextMember(rest) {
			got = append(got, m)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%q: got %q, want %q", test.list, got, test.want)
		}
	}
}

// A megabyte costs milliseconds and no memory. Were the time quadratic,
// the test would not end.
func TestLongList(t *testing.T) {
	for _, unit := range []string{",", " ", ", ", "\t,", `"`, `\`, `"\`, `"",`, "a,"} {
		values := []string{strings.Repeat(unit, 1<<20/len(unit)), "websocket"}
		if allocs := testing.AllocsPerRun(3, func() {
			if hasToken(values, "upgrade") || !hasToken(values, "websocket") {
				t.Errorf("%q: wrong token found", unit)
			}
		}); allocs != 0 {
			t.Errorf("%q: %v allocations", unit, allocs)
		}
	}
}

// A quadratic check would take minutes for these.
func TestManySubprotocols(t *testing.T) {
	var b strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&b, "p%d,", i)
	}
	if got, refused := chooseSubprotocol([]string{b.String()}, []string{"p99999"}); got != "p99999" || refused != nil {
		t.Errorf("got %q, %v, want p99999", got, refused)
	}
	b.WriteString("p0")
	if _, refused := chooseSubprotocol([]string{b.String()}, nil); refused == nil {
		t.Error("a subprotocol twice among many passed")
	}
}

func TestIsToken(t *testing.T) {
	for c := range 256 {
		want := c > ' ' && c < 0x7f && !strings.ContainsRune("\"(),/:;<=>?@[\\]{}", rune(c))
		if got := isToken("a" + string([]byte{byte(c)})); got != want {
			t.Errorf("isToken(%q) = %t, want %t", []byte{byte(c)}, got, want)
		}
	}
	if isToken("") {
		t.Error("the empty string is no token")
	}
}

func TestHandshakeErrorText(t *testing.T) {
	cause := errors.New("the check")
	for _, test := range []struct {
		err  HandshakeError
		want string
	}{
		{HandshakeError{}, "websocket: opening handshake failed"},
		{HandshakeError{Err: cause}, "websocket: opening handshake failed: the check"},
		{HandshakeError{StatusCode: 401}, "websocket: opening handshake failed (401 Unauthorized)"},
		{HandshakeError{StatusCode: 499, Err: cause}, "websocket: opening handshake failed: the check (499)"},
		{HandshakeError{StatusCode: 403, Err: cause, Body: []byte("the check\n")}, "websocket: opening handshake failed: the check (403 Forbidden)"},
		{HandshakeError{StatusCode: 403, Err: cause, Body: []byte(" go \r\n away \n")}, `websocket: opening handshake failed: the check (403 Forbidden): "go \r\n away"`},
		{HandshakeError{StatusCode: 403, Body: bytes.Repeat([]byte("\u00e4"), 4096)}, `websocket: opening handshake failed (403 Forbidden): "` + strings.Repeat("\u00e4", 200) + `"`},
		{HandshakeError{StatusCode: 403, Body: []byte("\xff\x00")}, `websocket: opening handshake failed (403 Forbidden): "\xff\x00"`},
	} {
		if got := test.err.Error(); got != test.want {
			t.Errorf("got  %s\nwant %s", got, test.want)
		}
	}
	if err := error(&HandshakeError{Err: cause}); !errors.Is(err, cause) {
		t.Errorf("%v is not its cause", err)
	}
}

// What a Dialer asks for, an Upgrader answers, and
// the Dialer takes the answer.
func TestRequestAndResponseMeet(t *testing.T) {
	d := &Dialer{Subprotocols: []string{"a", "b"}, Header: http.Header{"X-A": {"1", "2"}}}
	req, err := d.newRequest("ws://user:pass@example.com:8080/p?q#f")
	if err != nil {
		t.Fatal(err)
	}
	r := readRequest(t, string(appendRequest(nil, req)))
	if refused := checkRequest(r); refused != nil {
		t.Fatal(refused)
	}
	if r.Host != "example.com:8080" || r.RequestURI != "/p?q" {
		t.Errorf("got host %q, target %q", r.Host, r.RequestURI)
	}
	if got := r.Header["X-A"]; !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("got X-A %q", got)
	}
	if _, password, _ := r.BasicAuth(); password != "pass" {
		t.Errorf("got password %q", password)
	}
	subprotocol, refused := chooseSubprotocol(r.Header["Sec-Websocket-Protocol"], []string{"b"})
	if refused != nil || subprotocol != "b" {
		t.Fatalf("got %q, %v", subprotocol, refused)
	}
	text := appendResponse(nil, r.Header.Get("Sec-WebSocket-Key"), agreement{subprotocol: subprotocol}, nil)
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(text)), req)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := checkResponse(resp, req.Header.Get("Sec-WebSocket-Key"), d.Subprotocols, nil); got.subprotocol != "b" || err != nil {
		t.Errorf("got %+v, %v, want b", got, err)
	}
}

// The handshake's fields are spelled as in the RFC on the wire, whatever
// net/http makes of them.
func TestSpelling(t *testing.T) {
	req, err := (&Dialer{Subprotocols: []string{"a"}}).newRequest("ws://example.com")
	if err != nil {
		t.Fatal(err)
	}
	text := string(appendRequest(nil, req))
	for _, field := range []string{"Host", "Upgrade", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Version", "Sec-WebSocket-Protocol"} {
		if strings.Count(text, "\r\n"+field+": ") != 1 {
			t.Errorf("%s does not stand once in\n%s", field, text)
		}
	}
}

// The request is made in a buffer that is used again, and nowhere else.
func TestAppendRequestAllocs(t *testing.T) {
	d := &Dialer{Subprotocols: []string{"a"}, Header: http.Header{"Origin": {"https://example.com"}, "X": {"y", "z"}}}
	req, err := d.newRequest("ws://example.com/path")
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 0, 1<<10)
	if n := testing.AllocsPerRun(100, func() { appendRequest(b, req) }); n != 0 {
		t.Errorf("got %v allocations, want none", n)
	}
}

func TestKeysDiffer(t *testing.T) {
	seen := make(map[string]bool)
	for range 100 {
		req, err := new(Dialer).newRequest("ws://example.com")
		if err != nil {
			t.Fatal(err)
		}
		key := req.Header.Get("Sec-WebSocket-Key")
		if !validKey(key) || seen[key] {
			t.Fatalf("key %q is invalid, or was used before", key)
		}
		seen[key] = true
	}
}

// urlTests are URLs, and what a request for them says.
var urlTests = []struct {
	url     string
	address string
	host    string
	target  string
}{
	{"ws://example.com", "example.com:80", "example.com", "/"},
	{"wss://example.com", "example.com:443", "example.com", "/"},
	{"http://example.com", "example.com:80", "example.com", "/"},
	{"https://example.com", "example.com:443", "example.com", "/"},
	{"WSS://example.com", "example.com:443", "example.com", "/"},
	{"ws://example.com:80/", "example.com:80", "example.com", "/"},
	{"wss://example.com:443/", "example.com:443", "example.com", "/"},
	{"ws://example.com:443", "example.com:443", "example.com:443", "/"},
	{"ws://example.com:", "example.com:80", "example.com", "/"},
	{"ws://example.com:8080/a/b", "example.com:8080", "example.com:8080", "/a/b"},
	{"ws://example.com?q=1", "example.com:80", "example.com", "/?q=1"},
	{"ws://example.com?", "example.com:80", "example.com", "/?"},
	{"ws://example.com/a#frag", "example.com:80", "example.com", "/a"},
	{"ws://example.com#frag", "example.com:80", "example.com", "/"},
	{"ws://example.com/a%23b", "example.com:80", "example.com", "/a%23b"},
	{"ws://example.com/a b", "example.com:80", "example.com", "/a%20b"},
	{"ws://example.com/%0d%0aX:%20y", "example.com:80", "example.com", "/%0d%0aX:%20y"},
	{"ws://example.com//a//b", "example.com:80", "example.com", "//a//b"},
	{"ws://example.com/?a b=\u00fc%20", "example.com:80", "example.com", "/?a%20b=%C3%BC%20"},
	{"ws://user:pass@example.com/", "example.com:80", "example.com", "/"},
	{"ws://127.0.0.1:1234", "127.0.0.1:1234", "127.0.0.1:1234", "/"},
	{"ws://[::1]", "[::1]:80", "[::1]", "/"},
	{"ws://[::1]:8080/x", "[::1]:8080", "[::1]:8080", "/x"},
	{"ws://[fe80::1%25eth0]:8080/", "[fe80::1%eth0]:8080", "[fe80::1]:8080", "/"},
	{"wss://[fe80::1%25eth0]/", "[fe80::1%eth0]:443", "[fe80::1]", "/"},
}

func TestURL(t *testing.T) {
	for _, test := range urlTests {
		req, err := new(Dialer).newRequest(test.url)
		if err != nil {
			t.Errorf("%s: %v", test.url, err)
			continue
		}
		r := readRequest(t, string(appendRequest(nil, req)))
		if got := dialAddress(req.URL); got != test.address || r.Host != test.host || r.RequestURI != test.target {
			t.Errorf("%s:\n got %s, Host %s, %s\nwant %s, Host %s, %s", test.url, got, r.Host, r.RequestURI, test.address, test.host, test.target)
		}
	}
}

func TestInvalidURL(t *testing.T) {
	for _, test := range []struct{ url, err string }{
		{"", `scheme "" is not`},
		{"example.com", `scheme "" is not`},
		{"//example.com", `scheme "" is not`},
		{"ftp://example.com", `scheme "ftp" is not`},
		{"wsx://example.com", `scheme "wsx" is not`},
		{"ws:example.com", "invalid host"},
		{"ws://", "invalid host"},
		{"ws:///path", "invalid host"},
		{"ws://:80", "invalid host"},
		{"ws://.", "invalid host"},
		{"ws://b\u00fccher.example", "invalid host"},
		{"ws://a%25b/", "invalid host"},
		{"ws://a<b>/", "invalid host"},
		{"ws://exa mple.com", "invalid URL"},
		{"ws://example.com:x/", "invalid URL"},
		{"ws://exam\r\nple.com/", "invalid URL"},
		{"ws://example.com/\r\nX: y", "invalid URL"},
		{"ws://example.com/\x00", "invalid URL"},
		{"ws://example.com/?\n", "invalid URL"},
		{"ws://[::1", "invalid URL"},
		{"%", "invalid URL"},
	} {
		_, err := new(Dialer).newRequest(test.url)
		if err == nil || !strings.Contains(err.Error(), test.err) || !strings.HasPrefix(err.Error(), "websocket: ") {
			t.Errorf("%q: got %v, want %s", test.url, err, test.err)
		}
	}
}

// A password does not get into an error by way of the URL.
func TestInvalidURLHidesPassword(t *testing.T) {
	_, err := new(Dialer).newRequest("ws://user:secret@example.com/\x7f")
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
	}
}

func TestDialerHeader(t *testing.T) {
	jar := cookies{{Name: "a", Value: "1"}, {Name: "b", Value: "2 3"}}
	for _, test := range []struct {
		name   string
		url    string
		jar    http.CookieJar
		header http.Header
		want   http.Header // besides the handshake's own
		err    string
	}{
		{name: "nothing", url: "ws://h"},
		{name: "user", url: "ws://us%40er:pa%3Ass@h", want: http.Header{"Authorization": {"Basic dXNAZXI6cGE6c3M="}}},
		{name: "no password", url: "ws://user@h", want: http.Header{"Authorization": {"Basic dXNlcjo="}}},
		{name: "own Authorization", url: "ws://user@h", header: http.Header{"authorization": {"Bearer x"}}, want: http.Header{"Authorization": {"Bearer x"}}},
		{name: "no Authorization", url: "ws://user@h", header: http.Header{"Authorization": nil}},
		{name: "jar", url: "ws://h", jar: jar, want: http.Header{"Cookie": {`a=1; b="2 3"`}}},
		{name: "own Cookie", url: "ws://h", jar: jar, header: http.Header{"Cookie": {"c=3"}}, want: http.Header{"Cookie": {"c=3"}}},
		{name: "empty jar", url: "ws://h", jar: cookies{}},
		{name: "Host", url: "ws://h", header: http.Header{"Host": {"other:81"}}, want: http.Header{"Host": {"other:81"}}},
		{name: "host", url: "ws://h", header: http.Header{"host": {"[::1]"}}, want: http.Header{"Host": {"[::1]"}}},
		{name: "Origin, User-Agent", url: "ws://h", header: http.Header{"Origin": {"http://o"}, "User-Agent": {"me"}}, want: http.Header{"Origin": {"http://o"}, "User-Agent": {"me"}}},
		{name: "names that differ by case", url: "ws://h", header: http.Header{"x-a": {"1"}, "X-A": {"1"}}, want: http.Header{"X-A": {"1", "1"}}},

		{name: "two Hosts", url: "ws://h", header: http.Header{"Host": {"a", "b"}}, err: "invalid Host"},
		{name: "no Host", url: "ws://h", header: http.Header{"Host": {}}, err: "invalid Host"},
		{name: "empty Host", url: "ws://h", header: http.Header{"Host": {""}}, err: "invalid Host"},
		{name: "Host with a path", url: "ws://h", header: http.Header{"Host": {"a/b"}}, err: "invalid Host"},
		{name: "Host with a line", url: "ws://h", header: http.Header{"Host": {"a\r\nX: y"}}, err: "invalid value"},
		{name: "value with a line", url: "ws://h", header: http.Header{"X": {"a\r\nY: z"}}, err: "invalid value"},
		{name: "name with a line", url: "ws://h", header: http.Header{"X\r\nY": {"z"}}, err: "invalid header field name"},
		{name: "Upgrade", url: "ws://h", header: http.Header{"Upgrade": {"h2c"}}, err: "Upgrade is the handshake's own"},
		{name: "connection", url: "ws://h", header: http.Header{"connection": {"close"}}, err: "Connection is the handshake's own"},
		{name: "key", url: "ws://h", header: http.Header{"sec-websocket-key": {"x"}}, err: "Sec-Websocket-Key is the handshake's own"},
		{name: "length", url: "ws://h", header: http.Header{"Content-Length": {"5"}}, err: "Content-Length is the handshake's own"},
	} {
		t.Run(test.name, func(t *testing.T) {
			given := maps.Clone(test.header)
			req, err := (&Dialer{Header: test.header, Jar: test.jar}).newRequest(test.url)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) || !strings.HasPrefix(err.Error(), "websocket: Dialer.Header: ") {
					t.Fatalf("got %v, want %s", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(test.header, given) {
				t.Errorf("Dialer.Header has become %v", test.header)
			}
			r := readRequest(t, string(appendRequest(nil, req)))
			got := r.Header
			if r.Host != "h" {
				got["Host"] = []string{r.Host}
			}
			for name := range got {
				if isHandshakeField(name) {
					delete(got, name)
				}
			}
			if len(got) != len(test.want) || len(got) > 0 && !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestDialerSubprotocols(t *testing.T) {
	for _, subprotocols := range [][]string{{""}, {"a,b"}, {"a\r\nX: y"}, {"a", "a"}} {
		_, err := (&Dialer{Subprotocols: subprotocols}).newRequest("ws://h")
		if err == nil || !strings.HasPrefix(err.Error(), "websocket: Dialer.Subprotocols: ") {
			t.Errorf("%q: got %v", subprotocols, err)
		}
	}
}

// cookies is a jar that has the same cookies for everybody.
type cookies []*http.Cookie

func (c cookies) Cookies(*url.URL) []*http.Cookie     { return c }
func (c cookies) SetCookies(*url.URL, []*http.Cookie) {}

// Upgrader and Dialer have the same options, but for those that only
// one of them can have.
func TestOptionsAreTheSame(t *testing.T) {
	fields := func(v any, own ...string) map[string]reflect.Type {
		fields := make(map[string]reflect.Type)
		for _, f := range reflect.VisibleFields(reflect.TypeOf(v)) {
			fields[f.Name] = f.Type
		}
		for _, name := range own {
			if fields[name] == nil {
				t.Errorf("%T has no %s", v, name)
			}
			delete(fields, name)
		}
		return fields
	}
	server := fields(Upgrader{}, "Origins", "CheckOrigin", "Accept")
	client := fields(Dialer{}, "Header", "TLSConfig", "DialContext", "Proxy", "ProxyHeader", "HTTP2", "Jar")
	if !maps.Equal(server, client) {
		t.Errorf("Upgrader has %v\nDialer has %v", server, client)
	}
}
