package websocket

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/tidewire/websocket/internal/testnet"
)

// A second opinion on the grammar of RFC 9110, by regular expressions.
var (
	memberRE = regexp.MustCompile(`^(?s:[^,"]|"(?:[^"\\]|\\.)*(?:"|\\?$))*`)
	tokenRE  = regexp.MustCompile("^[-!#$%&'*+.^_`|~0-9A-Za-z]+$")
	keyRE    = regexp.MustCompile("^[A-Za-z0-9+/]{22}==$")
)

// members returns the members of the lists that values are.
func members(values []string) []string {
	var members []string
	for _, list := range values {
		for more := true; more; {
			m := memberRE.FindString(list)
			list, more = strings.CutPrefix(list[len(m):], ",")
			if m = strings.Trim(m, " \t"); m != "" {
				members = append(members, m)
			}
		}
	}
	return members
}

// has reports whether one of the members is the
// token, which has lower case.
func has(members []string, token string) bool {
	return slices.ContainsFunc(members, func(m string) bool {
		return len(m) == len(token) && strings.ToLower(m) == token
	})
}

func FuzzTokens(f *testing.F) {
	f.Add("keep-alive, Upgrade")
	f.Fuzz(func(t *testing.T, text string) {
		values := strings.Split(text, "\n")
		want := members(values)
		var got []string
		for _, v := range values {
			for m, rest := nextMember(v); m != ""; m, rest = nextMember(rest) {
				got = append(got, m)
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%q: members %q, want %q", text, got, want)
		}
		for _, m := range append(want, "upgrade", "") {
			if m == "" {
				continue
			}
			in := slices.ContainsFunc(want, func(w string) bool { return equalFold(w, m) })
			if hasToken(values, m) != in || hasToken(values, swapCase(m)) != in {
				t.Errorf("%q: hasToken does not find %q", text, m)
			}
			all := in && !slices.ContainsFunc(want, func(w string) bool { return !equalFold(w, m) })
			if hasOnlyToken(values, m) != all {
				t.Errorf("%q: hasOnlyToken(%q) is not %t", text, m, all)
			}
		}
		if isEmptyList(values) != (len(want) == 0) {
			t.Errorf("%q: isEmptyList is wrong with %q", text, want)
		}
		tokens, ok := parseTokens(values)
		if ok == slices.ContainsFunc(want, func(m string) bool { return !tokenRE.MatchString(m) }) {
			t.Errorf("%q: parseTokens says %t of %q", text, ok, want)
		}
		if !ok {
			return
		}
		if !slices.Equal(tokens, want) {
			t.Errorf("%q: parseTokens gives %q, want %q", text, tokens, want)
		}
		if again, ok := parseTokens([]string{strings.Join(tokens, ", ")}); !ok || !slices.Equal(again, tokens) {
			t.Errorf("%q: %q becomes %q", text, tokens, again)
		}
	})
}

// swapCase swaps the case of ASCII letters.
func swapCase(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' {
			b[i] = c ^ ('a' ^ 'A')
		}
	}
	return string(b)
}

// isHandshake is a second opinion on checkRequest.
func isHandshake(r *http.Request) bool {
	key, version := r.Header.Values("Sec-WebSocket-Key"), r.Header.Values("Sec-WebSocket-Version")
	return r.Method == "GET" && r.ProtoMajor == 1 && r.ProtoMinor > 0 && r.Host != "" &&
		has(members(r.Header.Values("Upgrade")), "websocket") &&
		has(members(r.Header.Values("Connection")), "upgrade") &&
		len(version) == 1 && version[0] == "13" &&
		len(key) == 1 && keyRE.MatchString(key[0]) &&
		r.ContentLength == 0 && r.TransferEncoding == nil &&
		!slices.ContainsFunc(members(r.Header.Values("Sec-WebSocket-Extensions")), func(m string) bool { return !extensionRE.MatchString(m) })
}

func FuzzHandshakeRequest(f *testing.F) {
	f.Add([]byte(sampleRequest))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(text)))
		if err != nil {
			t.Skip("no request")
		}
		refused := checkRequest(r)
		if (refused == nil) != isHandshake(r) {
			t.Fatalf("got %v, want ok %t", refused, isHandshake(r))
		}
		if refused != nil {
			checkRefusal(t, refused)
		}
		u := &Upgrader{Subprotocols: []string{"superchat", "chat"}, PingInterval: -1}
		a, b := testnet.Pipe()
		defer b.Close()
		w := &fuzzWriter{httptest.NewRecorder(), a}
		c, err := u.Upgrade(w, r)
		if err != nil {
			checkAnswer(t, w.ResponseRecorder, err, refused)
			return
		}
		if refused != nil {
			t.Fatalf("upgraded in spite of %v", refused)
		}
		resp, err := http.ReadResponse(bufio.NewReader(b), nil)
		if err != nil {
			t.Fatal(err)
		}
		offered := members(r.Header.Values("Sec-WebSocket-Protocol"))
		agreed, err := checkResponse(resp, r.Header.Get("Sec-WebSocket-Key"), offered, nil)
		if err != nil || agreed.subprotocol != c.Subprotocol() {
			t.Errorf("response with %+v, %v, want %q", agreed, err, c.Subprotocol())
		}
		c.CloseNow()
	})
}

// checkAnswer checks that err, which Upgrade has returned,
// was answered. If refused is not nil, that is the error it has to be.
func checkAnswer(t *testing.T, w *httptest.ResponseRecorder, err error, refused *HandshakeError) {
	t.Helper()
	got, ok := errors.AsType[*HandshakeError](err)
	if !ok {
		t.Fatalf("got %v, want a HandshakeError", err)
	}
	if refused != nil && got.Err != refused.Err {
		t.Errorf("got %v, want %v", got, refused)
	}
	if refused == nil && got.Err != errProtocols && got.StatusCode != 403 {
		t.Errorf("got %v, want it to be the subprotocols or the origin", got)
	}
	if w.Code != got.StatusCode || !bytes.Equal(w.Body.Bytes(), got.Body) || w.Body.Len() == 0 {
		t.Errorf("%v: answered %d %q", got, w.Code, w.Body)
	}
}

// A fuzzWriter is a ResponseWriter whose connection is a.
type fuzzWriter struct {
	*httptest.ResponseRecorder
	a net.Conn
}

func (w *fuzzWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return w.a, bufio.NewReadWriter(bufio.NewReader(w.a), bufio.NewWriter(w.a)), nil
}

// isSwitched is a second opinion on checkResponse, for a
// client with sampleKey that offers chat and superchat.
func isSwitched(resp *http.Response) bool {
	upgrade := members(resp.Header.Values("Upgrade"))
	accept, protocol := resp.Header.Values("Sec-WebSocket-Accept"), resp.Header.Values("Sec-WebSocket-Protocol")
	return resp.StatusCode == 101 && resp.Proto == "HTTP/1.1" &&
		len(upgrade) > 0 && !slices.ContainsFunc(upgrade, func(m string) bool { return !has([]string{m}, "websocket") }) &&
		has(members(resp.Header.Values("Connection")), "upgrade") &&
		len(accept) == 1 && strings.Trim(accept[0], " \t") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" &&
		members(resp.Header.Values("Sec-WebSocket-Extensions")) == nil &&
		(len(protocol) == 0 || len(protocol) == 1 && (strings.Trim(protocol[0], " \t") == "chat" || strings.Trim(protocol[0], " \t") == "superchat"))
}

func FuzzHandshakeResponse(f *testing.F) {
	f.Add([]byte(sampleResponse + "\x81\x05hello"))
	f.Fuzz(func(t *testing.T, text []byte) {
		whole := bufio.NewReader(bytes.NewReader(text))
		resp, err := readResponse(whole, nil)
		pieces := bufio.NewReader(iotest.OneByteReader(bytes.NewReader(text)))
		resp1, err1 := readResponse(pieces, nil)
		if (err == nil) != (err1 == nil) || err != nil && err.Error() != err1.Error() {
			t.Fatalf("whole: %v\nin pieces: %v", err, err1)
		}
		if err != nil {
			if _, ok := errors.AsType[*HandshakeError](err); !ok && err != io.ErrUnexpectedEOF {
				t.Errorf("got %v, want a HandshakeError or io.ErrUnexpectedEOF", err)
			}
			return
		}
		if resp.StatusCode/100 == 1 && resp.StatusCode != 101 {
			t.Fatalf("got status %d, which is not the last", resp.StatusCode)
		}
		agreed, err := checkResponse(resp, sampleKey, []string{"chat", "superchat"}, nil)
		if (err == nil) != isSwitched(resp) {
			t.Fatalf("got %v, want ok %t", err, isSwitched(resp))
		}
		if err != nil {
			refused, refused1 := responseError(resp, err), responseError(resp1, err)
			if refused.Error() != refused1.Error() || !bytes.Equal(refused.Body, refused1.Body) || len(refused.Body) > 4<<10 {
				t.Errorf("whole: %v\nin pieces: %v", refused, refused1)
			}
			return
		}
		if want := strings.Trim(resp.Header.Get("Sec-WebSocket-Protocol"), " \t"); agreed.subprotocol != want {
			t.Errorf("subprotocol %q, want %q", agreed.subprotocol, want)
		}
		// What is left belongs to the frames: all behind the last header's end.
		rest, _ := io.ReadAll(whole)
		rest1, _ := io.ReadAll(pieces)
		if !bytes.Equal(rest, rest1) || !bytes.HasSuffix(text, rest) {
			t.Fatalf("left whole: %q\nin pieces: %q", rest, rest1)
		}
		head := bytes.ReplaceAll(text[:len(text)-len(rest)], []byte("\r\n"), []byte("\n"))
		if !bytes.HasSuffix(head, []byte("\n\n")) {
			t.Errorf("%q is taken for the end of the header", head)
		}
	})
}
