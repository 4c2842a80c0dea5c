package websocket

import (
	"bufio"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// parseAll parses what a client sends in pieces of the given length. It returns what the
// request leaves, and a nil request if more is to come.
func parseAll(text string, piece int) (r *http.Request, rest string, refused *HandshakeError) {
	var s headScanner
	b := []byte(text)
	for n := 0; n < len(b); {
		n = min(n+piece, len(b))
		head, refused := s.scan(b[:n:n])
		switch {
		case refused != nil:
			return nil, "", refused
		case head != nil:
			rest := string(b[s.seen:])
			r := new(rawRequest)
			if refused := r.parse(head); refused != nil {
				return nil, "", refused
			}
			return &r.Request, rest, nil
		}
	}
	return nil, "", nil
}

const simpleRequest = "GET /chat?a=b HTTP/1.1\r\nHost: example.com\r\n\r\n"

var requestHeadTests = []struct {
	name, text string
	status     int // of the refusal; 0: none
	err        error
}{
	{"simple", simpleRequest, 0, nil},
	{"no header", "GET / HTTP/1.1\r\n\r\n", 0, nil},
	{"other method", "PURGE / HTTP/1.1\r\nHost: a\r\n\r\n", 0, nil},
	{"HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", 0, nil},
	{"asterisk", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 0, nil},
	{"CONNECT", "CONNECT a.test:80 HTTP/1.1\r\nHost: b\r\n\r\n", 0, nil},
	{"CONNECT to an address", "CONNECT [::1]:80 HTTP/1.1\r\nHost: b\r\n\r\n", 0, nil},
	{"CONNECT with a path", "CONNECT /a HTTP/1.1\r\nHost: b\r\n\r\n", 0, nil},
	{"absolute form", "GET http://example.org:81/x HTTP/1.1\r\nHost: example.com\r\n\r\n", 0, nil},
	{"two slashes", "GET //a/b HTTP/1.1\r\nHost: a\r\n\r\n", 0, nil},
	{"bytes behind", simpleRequest + "\x81\x85....\r\n\r\n", 0, nil},
	{"case of names", "GET / HTTP/1.1\r\nhOST: a\r\nsec-websocket-KEY: b\r\nx-1a-b: c\r\n\r\n", 0, nil},
	{"fields of a name", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\nx: 2\r\nY: 3\r\nX: 4\r\n\r\n", 0, nil},
	{"empty value", "GET / HTTP/1.1\r\nHost: a\r\nX:\r\nY: \t \r\n\r\n", 0, nil},
	{"white space around a value", "GET / HTTP/1.1\r\nHost:\t a \t\r\n\r\n", 0, nil},
	{"colons in a value", "GET / HTTP/1.1\r\nHost: a:80\r\nX: a:b\r\n\r\n", 0, nil},
	{"obs-text in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: \xff\xc3\xa4\r\n\r\n", 0, nil},
	{"tab in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\tb\r\n\r\n", 0, nil},
	{"empty line before", "\r\n" + simpleRequest, 0, nil},
	{"IPv6", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 0, nil},

	{"two empty lines before", "\r\n\r\n" + simpleRequest, 400, errRequestLine},
	{"bare LF before", "\n" + simpleRequest, 400, errLineEnd},
	{"bare LF behind the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", 400, errLineEnd},
	{"bare LF behind a field", "GET / HTTP/1.1\r\nHost: a\n\r\n", 400, errLineEnd},
	{"bare LF at the end", "GET / HTTP/1.1\r\nHost: a\r\n\n", 400, errLineEnd},
	{"bare CR in the request line", "GET /\r HTTP/1.1\r\nHost: a\r\n\r\n", 400, errRequestLine},
	{"bare CR in a field", "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400, errFieldLine},
	{"CRCRLF", "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", 400, errFieldLine},
	{"TLS", "\x16\x03\x01\x02\x00\x01\x00", 400, errRequestLine},
	{"NUL in the request line", "GET /\x00", 400, errRequestLine},
	{"tab in the request line", "GET\t/ HTTP/1.1\r\n\r\n", 400, errRequestLine},
	{"DEL in the request line", "GET /\x7f HTTP/1.1\r\n\r\n", 400, errRequestLine},
	{"two spaces behind the method", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400, errRequestLine},
	{"two spaces behind the target", "GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400, errRequestLine},
	{"space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400, errRequestLine},
	{"space at the end", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400, errRequestLine},
	{"space at the beginning", " GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, errRequestLine},
	{"no method", "/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, errRequestLine},
	{"method that is no token", "G@T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, errRequestLine},
	{"CONNECT to nothing", "CONNECT a b HTTP/1.1\r\nHost: b\r\n\r\n", 400, errRequestLine},
	{"another protocol", "SSH-2.0-OpenSSH_9.2p1\r\n", 400, errRequestLine},
	{"no target", "GET HTTP/1.1\r\nHost: a\r\n\r\n", 400, errRequestLine},
	{"relative target", "GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400, errRequestLine},
	{"HTTP/0.9", "GET /\r\n\r\n", 400, errRequestLine},
	{"HTTP/1.10", "GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400, errRequestLine},
	{"http/1.1", "GET / http/1.1\r\nHost: a\r\n\r\n", 400, errRequestLine},
	{"escape that is none", "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400, errRequestLine},
	{"obs-fold", "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", 400, errFieldLine},
	{"obs-fold with a colon", "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n\tb: c\r\n\r\n", 400, errFieldLine},
	{"white space before the first field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400, errFieldLine},
	{"space before the colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400, errFieldLine},
	{"no colon", "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", 400, errFieldLine},
	{"no name", "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", 400, errFieldLine},
	{"name that is no token", "GET / HTTP/1.1\r\nHost: a\r\nX@: b\r\n\r\n", 400, errFieldLine},
	{"name of other letters", "GET / HTTP/1.1\r\nHost: a\r\n\u212aey: b\r\n\r\n", 400, errFieldLine},
	{"NUL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n", 400, errFieldLine},
	{"control character in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: \x1b[m\r\n\r\n", 400, errFieldLine},
	{"two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, errHostField},
	{"list of hosts", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400, errHostField},
	{"host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, errHostField},
	{"host with a user", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400, errHostField},
	{"host of the target is none", "GET http://[fe80::1%25eth0]/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, errHostField},

	{"request line of 8 KiB", "GET /" + strings.Repeat("a", maxRequestLine-len("GET / HTTP/1.1\r\n")) + " HTTP/1.1\r\n\r\n", 0, nil},
	{"request line that is longer", "GET /" + strings.Repeat("a", maxRequestLine+1-len("GET / HTTP/1.1\r\n")) + " HTTP/1.1\r\n\r\n", 414, errRequestLineLength},
	{"request line without an end", "GET /" + strings.Repeat("a", maxRequestLine), 414, errRequestLineLength},
	{"field of 8 KiB", "GET / HTTP/1.1\r\nX:" + strings.Repeat("a", maxRequestLine-len("X:\r\n")) + "\r\n\r\n", 0, nil},
	{"field that is longer", "GET / HTTP/1.1\r\nX:" + strings.Repeat("a", maxRequestLine+1-len("X:\r\n")) + "\r\n\r\n", 431, errFieldLineLength},
	{"field of a megabyte", "GET / HTTP/1.1\r\nX:" + strings.Repeat("a", 1<<20) + "\r\n\r\n", 431, errFieldLineLength},
	{"100 fields", "GET / HTTP/1.1\r\n" + strings.Repeat("X: a\r\n", 100) + "\r\n", 0, nil},
	{"101 fields", "GET / HTTP/1.1\r\n" + strings.Repeat("X: a\r\n", 101) + "\r\n", 431, errRequestHead},
	{"10,000 fields", "GET / HTTP/1.1\r\n" + strings.Repeat("X: a\r\n", 10_000) + "\r\n", 431, errRequestHead},
	{"64 KiB", headOf(maxRequestHead), 0, nil},
	{"more than 64 KiB", headOf(maxRequestHead + 1), 431, errRequestHead},
}

// headOf returns a request of that length.
func headOf(n int) string {
	b := []byte("GET / HTTP/1.1\r\n")
	for len(b) < n-len("\r\n") {
		line := min(n-len("\r\n")-len(b), maxRequestLine)
		if left := n - len("\r\n") - len(b) - line; 0 < left && left < 10 {
			line -= 10 // for a last field
		}
		b = append(append(append(b, "X:"...), strings.Repeat("a", line-len("X:\r\n"))...), "\r\n"...)
	}
	return string(append(b, "\r\n"...))
}

func TestParseRequest(t *testing.T) {
	for _, test := range requestHeadTests {
		t.Run(test.name, func(t *testing.T) {
			r, rest, refused := parseAll(test.text, len(test.text))
			if test.err != nil {
				if refused == nil || refused.Err != test.err || refused.StatusCode != test.status {
					t.Fatalf("got %v, want %v with status %d", refused, test.err, test.status)
				}
				if string(refused.Body) != test.err.Error()+"\n" || !isOnly(refused.Header["Connection"], "close") {
					t.Errorf("got %q with %v, want the error with Connection: close", refused.Body, refused.Header)
				}
				return
			}
			if refused != nil || r == nil {
				t.Fatalf("got %v, %v, want a request", r, refused)
			}
			wantSameRequest(t, r, test.text)
			if _, behind, _ := strings.Cut(test.text, "\r\n\r\n"); rest != behind {
				t.Errorf("%q is left, want %q", rest, behind)
			}
		})
	}
}

// wantSameRequest compares r with what net/http makes of text.
func wantSameRequest(t testing.TB, r *http.Request, text string) {
	t.Helper()
	want, err := http.ReadRequest(bufio.NewReader(strings.NewReader(strings.TrimPrefix(text, "\r\n"))))
	if err != nil {
		t.Fatalf("net/http refuses it: %v", err)
	}
	for _, name := range []string{"Host", "Cache-Control", "Transfer-Encoding"} { // moved, or made up
		delete(want.Header, name)
	}
	if r.Method != want.Method || r.URL.String() != want.URL.String() || r.URL.Path != want.URL.Path || r.RequestURI != want.RequestURI || r.Host != want.Host ||
		r.Proto != want.Proto || r.ProtoMajor != want.ProtoMajor || r.ProtoMinor != want.ProtoMinor {
		t.Errorf("got %s %v (%s, %s) %s, want %s %v (%s, %s) %s", r.Method, r.URL, r.RequestURI, r.Host, r.Proto,
			want.Method, want.URL, want.RequestURI, want.Host, want.Proto)
	}
	got := r.Header.Clone()
	delete(got, "Cache-Control")
	delete(got, "Transfer-Encoding")
	if !maps.EqualFunc(got, want.Header, slices.Equal) {
		t.Errorf("got header %q, want %q", got, want.Header)
	}
}

// A request is the same however it comes.
func TestParseRequestInPieces(t *testing.T) {
	for _, test := range requestHeadTests {
		if len(test.text) > 10_000 {
			continue
		}
		for piece := 1; piece < 20; piece++ {
			r, _, refused := parseAll(test.text, piece)
			switch {
			case (refused == nil) != (test.err == nil), refused != nil && refused.Err != test.err:
				t.Errorf("%s: in pieces of %d: got %v, want %v", test.name, piece, refused, test.err)
			case refused == nil:
				wantSameRequest(t, r, test.text)
			}
		}
	}
}

// checkRequest finds what a request for a whole URL lacks, as in others.
func TestParseRequestHost(t *testing.T) {
	for _, target := range []string{"/chat", "http://server.example.com/chat"} {
		text := strings.Replace(sampleRequest, "/chat", target, 1)
		for _, host := range []string{"server.example.com", ""} {
			r, _, refused := parseAll(strings.Replace(text, "Host: server.example.com", "Host: "+host, 1), 1000)
			if refused != nil || r.Host != host && target == "/chat" {
				t.Errorf("%s with the Host %q: got %q, %v", target, host, r.Host, refused)
			}
		}
		r, _, refused := parseAll(strings.Replace(text, "Host: server.example.com\r\n", "", 1), 1000)
		if refused != nil {
			t.Fatal(refused)
		}
		if refused := checkRequest(r); refused == nil || refused.Err != errHost {
			t.Errorf("%s without Host: got %v, want %v", target, refused, errHost)
		}
	}
}

// Whatever is accepted is a request for net/http too, and the same one, however it comes.
func FuzzRawRequest(f *testing.F) {
	for _, test := range requestHeadTests {
		if len(test.text) < 200 {
			f.Add(test.text, uint8(7))
		}
	}
	f.Add(sampleRequest, uint8(1))
	f.Fuzz(func(t *testing.T, text string, piece uint8) {
		r, rest, refused := parseAll(text, len(text))
		inPieces, restInPieces, refusedInPieces := parseAll(text, 1+int(piece))
		if (r == nil) != (inPieces == nil) || rest != restInPieces || (refused == nil) != (refusedInPieces == nil) ||
			refused != nil && refused.Err != refusedInPieces.Err && len(text) <= maxRequestLine {
			t.Fatalf("got %v, %q, %v at once, and %v, %q, %v in pieces", r, rest, refused, inPieces, restInPieces, refusedInPieces)
		}
		if r == nil || checkRequest(r) != nil {
			return
		}
		wantSameRequest(t, r, text)
		wantSameRequest(t, inPieces, text)
	})
}

func BenchmarkParseRequest(b *testing.B) {
	head := []byte(sampleRequest)
	b.ReportAllocs()
	for b.Loop() {
		var s headScanner
		found, _ := s.scan(head)
		if refused := new(rawRequest).parse(found); refused != nil {
			b.Fatal(refused)
		}
	}
}
