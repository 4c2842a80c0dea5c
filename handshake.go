package websocket

import (
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// A HandshakeError says why an opening handshake failed (RFC 6455, section 4).
//
// From an [Upgrader] it tells how the request was answered, from a [Dialer]
// what the server answered. The Accept hook of an Upgrader returns one to
// choose the answer.
type HandshakeError struct {
	// StatusCode is that of the HTTP response. It is 0 in a Dialer's
	// error if what the server sent was no HTTP response.
	StatusCode int

	// Header holds, in an Upgrader's error, the header fields that the
	// refusal adds to the response, and in a Dialer's those of the response.
	Header http.Header

	// Body is the content of the response; in a Dialer's error, the first
	// 4 KiB of it. A nil Body in an error of the Accept hook stands for the
	// text of the status.
	Body []byte

	// Err is the check that failed.
	Err error
}

// Error names the check that failed, the status, and the beginning
// of what the server has to say about it.
func (e *HandshakeError) Error() string {
	var b strings.Builder
	b.WriteString("websocket: opening handshake failed")
	said := ""
	if e.Err != nil {
		said = e.Err.Error()
		b.WriteString(": " + said)
	}
	if e.StatusCode != 0 {
		fmt.Fprintf(&b, " (%s)", statusLine(e.StatusCode))
	}
	if body := strings.TrimSpace(string(e.Body)); body != "" && body != said {
		fmt.Fprintf(&b, ": %.200q", body)
	}
	return b.String()
}

// Unwrap returns e.Err.
func (e *HandshakeError) Unwrap() error { return e.Err }

// statusLine returns the code and its text, as in "403 Forbidden".
func statusLine(code int) string {
	return strings.TrimSpace(strconv.Itoa(code) + " " + http.StatusText(code))
}

// webSocketVersion is the version of the protocol (section 4.1).
const webSocketVersion = "13"

// acceptKey returns the Sec-WebSocket-Accept that belongs to a
// Sec-WebSocket-Key.
//
// "A |Sec-WebSocket-Accept| header field. The value of this header field is
// constructed by concatenating /key/ [...] with the string
// "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", taking the SHA-1 hash of this
// concatenated value to obtain a 20-byte value and base64-encoding [...]
// this 20-byte hash." (section 4.2.2)
func acceptKey(key string) string {
	return string(appendAcceptKey(make([]byte, 0, 28), key))
}

func appendAcceptKey(b []byte, key string) []byte {
	const guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
	hash := sha1.Sum(append(append(make([]byte, 0, 64), key...), guid...))
	return base64.StdEncoding.AppendEncode(b, hash[:])
}

// validKey reports whether key is the base64 encoding of 16 bytes.
func validKey(key string) bool {
	var nonce [18]byte
	if len(key) != 24 {
		return false
	}
	n, err := base64.StdEncoding.Decode(nonce[:], []byte(key))
	return err == nil && n == 16
}

// The checks of a request that can fail.
var (
	errMethod        = errors.New("the method of the request is not GET (RFC 6455, section 4.1)")
	errRequestHTTP10 = errors.New("the HTTP version of the request is below 1.1 (RFC 6455, section 4.1)")
	errRequestHTTP2  = errors.New("the request came over HTTP/2 or later, and is no extended CONNECT (RFC 8441, section 5)")
	errProtocol      = errors.New("the :protocol of the request is not websocket (RFC 8441, section 5)")
	errHost          = errors.New("the request has no Host (RFC 6455, section 4.2.1)")
	errUpgrade       = errors.New(`the request has no "Upgrade: websocket" (RFC 6455, section 4.2.1)`)
	errConnection    = errors.New(`the request has no "Connection: Upgrade" (RFC 6455, section 4.2.1)`)
	errVersion       = errors.New("the Sec-WebSocket-Version of the request is not 13 (RFC 6455, section 4.2.1)")
	errKey           = errors.New("the request has no Sec-WebSocket-Key of 16 bytes (RFC 6455, section 4.2.1)")
	errRequestBody   = errors.New("the request has a body (RFC 6455, section 4.1)")
	errProtocols     = errors.New("the Sec-WebSocket-Protocol of the request is no list of unique tokens (RFC 6455, section 4.1)")
	errExtensions    = errors.New("the Sec-WebSocket-Extensions of the request is no list of extensions (RFC 6455, section 9.1)")
)

// checkRequest reports in what r is not a client's opening handshake, and
// how a server answers it then.
//
// "If the server, while reading the handshake, finds that the client did not
// send a handshake that matches the description below [...], including but
// not limited to any violations of the ABNF grammar specified for the
// components of the handshake, the server MUST stop processing the client's
// handshake and return an HTTP response with an appropriate error code (such
// as 400 Bad Request)." (section 4.2.1)
func checkRequest(r *http.Request) *HandshakeError {
	switch {
	case isExtendedConnect(r):
		return checkExtendedConnect(r)

	// "a :protocol value that is unknown or is not supported, the server SHOULD respond to the
	// request with a 501 (Not Implemented) status code" (RFC 9220, section 3)
	case len(r.Header[":protocol"]) > 0:
		return refusal(http.StatusNotImplemented, errProtocol, nil)

	// "The method of the request MUST be GET, and the HTTP version MUST be
	// at least 1.1." (section 4.1)
	case r.Method != http.MethodGet:
		return refusal(http.StatusMethodNotAllowed, errMethod, http.Header{"Allow": {http.MethodGet}})
	case !r.ProtoAtLeast(1, 1):
		return upgradeRequired(errRequestHTTP10)
	case r.ProtoAtLeast(2, 0):
		return refusal(http.StatusHTTPVersionNotSupported, errRequestHTTP2, nil)

	// "A |Host| header field containing the server's authority."
	case r.Host == "":
		return badRequest(errHost)

	// "An |Upgrade| header field containing the value "websocket",
	// treated as an ASCII case-insensitive value."
	case !hasToken(r.Header["Upgrade"], "websocket"):
		return upgradeRequired(errUpgrade)

	// "A |Connection| header field that includes the token "Upgrade",
	// treated as an ASCII case-insensitive value."
	case !hasToken(r.Header["Connection"], "upgrade"):
		return upgradeRequired(errConnection)

	// "If this version does not match a version understood by the server,
	// the server MUST abort the WebSocket handshake described in this
	// section and instead send an appropriate HTTP error code (such as 426
	// Upgrade Required) and a |Sec-WebSocket-Version| header field
	// indicating the version(s) the server is capable of understanding."
	// (section 4.2.2)
	case !isOnly(r.Header["Sec-Websocket-Version"], webSocketVersion):
		return upgradeRequired(errVersion)

	// "A |Sec-WebSocket-Key| header field with a base64-encoded [...] value
	// that, when decoded, is 16 bytes in length." It "MUST NOT appear more
	// than once in an HTTP request." (section 11.3.1)
	case len(r.Header["Sec-Websocket-Key"]) != 1, !validKey(r.Header["Sec-Websocket-Key"][0]):
		return badRequest(errKey)

	// "If a value is received by either the client or the server during
	// negotiation that does not conform to the ABNF below, the recipient of
	// such malformed data MUST immediately _Fail the WebSocket Connection_."
	// (section 9.1)
	case !validExtensions(r.Header["Sec-Websocket-Extensions"]):
		return badRequest(errExtensions)

	// "The handshake consists of an HTTP Upgrade request, along with a list
	// of required and optional header fields." (section 4.1) With a body,
	// a proxy and we might not agree on where the frames begin.
	case r.ContentLength != 0, len(r.TransferEncoding) > 0:
		return badRequest(errRequestBody)
	}
	return nil
}

// refusal returns the answer to a handshake that failed for err, which
// it tells the client.
func refusal(status int, err error, h http.Header) *HandshakeError {
	return &HandshakeError{StatusCode: status, Header: h, Body: []byte(err.Error() + "\n"), Err: err}
}

// badRequest refuses what is no handshake. The connection ends with it, for the
// client may have sent frames already, which are not to be taken for a request.
func badRequest(err error) *HandshakeError {
	return refusal(http.StatusBadRequest, err, http.Header{"Connection": {"close"}})
}

// upgradeRequired refuses what may become a handshake of ours.
//
// "The server MUST send an Upgrade header field in a 426 response to
// indicate the required protocol(s)" (RFC 9110, section 15.5.22), and "A
// sender of Upgrade MUST also send an "Upgrade" connection option in the
// Connection header field" (RFC 9110, section 7.8).
func upgradeRequired(err error) *HandshakeError {
	return refusal(http.StatusUpgradeRequired, err, http.Header{
		"Connection":            {"close", "Upgrade"},
		"Upgrade":               {"websocket"},
		"Sec-Websocket-Version": {webSocketVersion},
	})
}

// chooseSubprotocol returns the first of supported that the client offers, or "".
//
// "The value chosen MUST be derived from the client's handshake,
// specifically by selecting one of the values from the
// |Sec-WebSocket-Protocol| field that the server is willing to use for this
// connection (if any)." (section 4.2.2)
func chooseSubprotocol(offers, supported []string) (string, *HandshakeError) {
	if len(offers) == 0 {
		return "", nil
	}
	offered, ok := parseTokens(offers)
	// "The elements that comprise this value MUST be non-empty strings with
	// characters in the range U+0021 to U+007E not including separator
	// characters [...] and MUST all be unique strings." (section 4.1)
	if !ok || len(offered) == 0 || !unique(offered) {
		return "", badRequest(errProtocols)
	}
	for _, s := range supported {
		if slices.Contains(offered, s) {
			return s, nil
		}
	}
	return "", nil
}

// checkSubprotocols reports why an Upgrader or a Dialer
// may not have the given ones.
func checkSubprotocols(subprotocols []string) error {
	for _, s := range subprotocols {
		if !isToken(s) {
			return fmt.Errorf("subprotocol %q is not a token (RFC 6455, section 4.1)", s)
		}
	}
	if !unique(subprotocols) {
		return fmt.Errorf("subprotocols %q are not unique (RFC 6455, section 4.1)", subprotocols)
	}
	return nil
}

// An agreement is what a server takes from a client's offers.
type agreement struct {
	subprotocol string
	extensions  string // as the server says it in its response
	compression *compression
}

// appendResponse appends the response that completes the handshake. The
// Sec-WebSocket-Key, what was agreed on and the header h have been checked.
func appendResponse(b []byte, key string, agreed agreement, h http.Header) []byte {
	b = append(b, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	b = appendAcceptKey(b, key)
	b = append(b, "\r\n"...)
	// "if the server does not wish to agree to one of the suggested
	// subprotocols, it MUST NOT send back a |Sec-WebSocket-Protocol| header
	// field in its response" (section 4.2.2)
	if agreed.subprotocol != "" {
		b = appendField(b, "Sec-WebSocket-Protocol", agreed.subprotocol)
	}
	if agreed.extensions != "" { // some clients fail at an empty one
		b = appendField(b, "Sec-WebSocket-Extensions", agreed.extensions)
	}
	for name, values := range h {
		for _, value := range values {
			b = appendField(b, name, value)
		}
	}
	return append(b, "\r\n"...)
}

// appendField appends a header field, spelled as RFC 6455 does: the canonical
// form of net/http is Sec-Websocket-Key.
func appendField(b []byte, name, value string) []byte {
	if rest, ok := strings.CutPrefix(name, "Sec-Websocket-"); ok {
		b, name = append(b, "Sec-WebSocket-"...), rest
	}
	b = append(append(b, name...), ": "...)
	return append(append(b, value...), "\r\n"...)
}

// isExtendedConnect reports whether r asks for a WebSocket on a stream of HTTP/2 (RFC 8441,
// section 5).
func isExtendedConnect(r *http.Request) bool {
	return r.ProtoMajor == 2 && r.Method == http.MethodConnect && isOnly(r.Header[":protocol"], "websocket")
}

// checkExtendedConnect is checkRequest for such a request. net/http has checked the rest.
func checkExtendedConnect(r *http.Request) *HandshakeError {
	switch {
	case !isOnly(r.Header["Sec-Websocket-Version"], webSocketVersion):
		return refusal(http.StatusBadRequest, errVersion, http.Header{"Sec-Websocket-Version": {webSocketVersion}})
	case !validExtensions(r.Header["Sec-Websocket-Extensions"]):
		return badRequest(errExtensions)
	}
	return nil
}

// The checks of a response that can fail.
var (
	errStatus          = errors.New("the server did not switch protocols")
	errResponseVersion = errors.New("the HTTP version of the response is not 1.1 (RFC 6455, section 4.2.2)")
	errUpgraded        = errors.New(`the response has no "Upgrade: websocket" or another besides (RFC 6455, section 4.1)`)
	errConnected       = errors.New(`the response has no "Connection: Upgrade" (RFC 6455, section 4.1)`)
	errAccept          = errors.New("the Sec-WebSocket-Accept of the response does not belong to the key (RFC 6455, section 4.1)")
	errSubprotocol     = errors.New("the response has a Sec-WebSocket-Protocol that was not offered (RFC 6455, section 4.1)")
)

// checkResponse reports in what resp does not complete the handshake of a client
// that sent key and offered the given subprotocols and compression, and else what
// the server chose.
//
// "The client MUST validate the server's response as follows" (section 4.1)
func checkResponse(resp *http.Response, key string, offered []string, o *Compression) (agreed agreement, err error) {
	switch {
	// "If the status code received from the server is not 101, the client
	// handles the response per HTTP [RFC2616] procedures."
	case resp.StatusCode != http.StatusSwitchingProtocols:
		return agreement{}, errStatus

	// "A Status-Line with a 101 response code as per RFC 2616 [RFC2616].
	// Such a response could look like "HTTP/1.1 101 Switching Protocols"."
	// (section 4.2.2) HTTP/1.0 has no 101.
	case resp.ProtoMajor != 1, resp.ProtoMinor != 1:
		return agreement{}, errResponseVersion

	// "If the response lacks an |Upgrade| header field or the |Upgrade|
	// header field contains a value that is not an ASCII case-insensitive
	// match for the value "websocket", the client MUST _Fail the WebSocket
	// Connection_."
	case !hasOnlyToken(resp.Header["Upgrade"], "websocket"):
		return agreement{}, errUpgraded

	// "If the response lacks a |Connection| header field or the
	// |Connection| header field doesn't contain a token that is an ASCII
	// case-insensitive match for the value "Upgrade", the client MUST _Fail
	// the WebSocket Connection_."
	case !hasToken(resp.Header["Connection"], "upgrade"):
		return agreement{}, errConnected

	// "If the response lacks a |Sec-WebSocket-Accept| header field or the
	// |Sec-WebSocket-Accept| contains a value other than the base64-encoded
	// SHA-1 of the concatenation of the |Sec-WebSocket-Key| [...] with the
	// string "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" but ignoring any leading
	// and trailing whitespace, the client MUST _Fail the WebSocket
	// Connection_."
	case !isOnly(resp.Header["Sec-Websocket-Accept"], acceptKey(key)):
		return agreement{}, errAccept
	}
	return checkAgreement(resp.Header, offered, o)
}

// checkStreamResponse is checkResponse for a stream of HTTP/2.
//
// "If the server accepts, it sends a HEADERS frame with a 2xx status" and no Sec-WebSocket-Accept
// (RFC 8441, section 5).
func checkStreamResponse(resp *http.Response, offered []string, o *Compression) (agreed agreement, err error) {
	if resp.StatusCode/100 != 2 {
		return agreement{}, errStatus
	}
	return checkAgreement(resp.Header, offered, o)
}

// checkAgreement reports what a server has chosen by h, the header of its response, or why it may not
// choose that.
func checkAgreement(h http.Header, offered []string, o *Compression) (agreed agreement, err error) {
	z, err := o.checkExtensions(h["Sec-Websocket-Extensions"])
	chosen := h["Sec-Websocket-Protocol"]
	switch {
	case err != nil:
		return agreement{}, err

	case len(chosen) == 0:
		return agreement{compression: z}, nil

	// "If the response includes a |Sec-WebSocket-Protocol| header field and
	// this header field indicates the use of a subprotocol that was not
	// present in the client's handshake [...], the client MUST _Fail the
	// WebSocket Connection_." It "MUST NOT appear more than once in an HTTP
	// response." (section 11.3.4)
	case len(chosen) != 1, !slices.Contains(offered, trim(chosen[0])):
		return agreement{}, errSubprotocol
	}
	return agreement{subprotocol: trim(chosen[0]), compression: z}, nil
}

// checkHeader reports why the header fields of h may not be added to those of
// a handshake: they are the handshake's own, or would end a line too early.
func checkHeader(h http.Header) error {
	for name, values := range h {
		switch {
		case !isToken(name):
			return fmt.Errorf("invalid header field name %q", name)
		case len(values) > 0 && isHandshakeField(name):
			return fmt.Errorf("header field %s is the handshake's own", name)
		}
		for _, value := range values {
			if !validFieldValue(value) {
				return fmt.Errorf("invalid value %q of header field %s", value, name)
			}
		}
	}
	return nil
}

// isHandshakeField reports whether the header field called name says what
// follows the header, and so is not for others to set.
func isHandshakeField(name string) bool {
	const own = "Sec-WebSocket-"
	return len(name) >= len(own) && equalFold(name[:len(own)], own) ||
		equalFold(name, "Upgrade") || equalFold(name, "Connection") ||
		equalFold(name, "Content-Length") || equalFold(name, "Transfer-Encoding")
}

// checkOrigin reports why a browser's page may not open the
// connection that r asks for, and how a server answers it then.
//
// "If the server does not wish to accept this connection, it MUST return an
// appropriate HTTP error code (e.g., 403 Forbidden) and abort the WebSocket
// handshake described in this section." (section 4.2.2)
func checkOrigin(r *http.Request, patterns []string) *HandshakeError {
	origins := r.Header["Origin"]
	switch len(origins) {
	case 0:
		return nil // not a browser
	case 1:
	default:
		return refusal(http.StatusForbidden, errors.New("the request has several Origin header fields (RFC 6454, section 7.3)"), nil)
	}
	o, ok := parseOrigin(origins[0])
	if ok && o.isSame(r.Host, r.TLS != nil) {
		return nil
	}
	for _, p := range patterns {
		match, err := matchOrigin(p, origins[0], o, r.TLS != nil)
		if err != nil {
			return misuse(err)
		}
		if match {
			return nil
		}
	}
	return refusal(http.StatusForbidden, fmt.Errorf("the origin %q is not the host %q of the request: "+
		"if a proxy changes the Host header field, have it forward the client's; "+
		"if the origin may connect, list it in Upgrader.Origins", origins[0], r.Host), nil)
}

// misuse refuses a handshake because the server's program has a fault, which is
// not for the client to know.
func misuse(err error) *HandshakeError {
	return &HandshakeError{StatusCode: http.StatusInternalServerError, Err: err}
}

// An origin is where a page comes from (RFC 6454, section 4).
// The zero value is that of none known.
type origin struct {
	scheme string
	host   string
	port   string // the default of the scheme, if that has one and nothing else was said
}

// parseOrigin parses the one value of an Origin header field. It is not
// ok for "null" and whatever else is not "scheme://host:port".
func parseOrigin(s string) (o origin, ok bool) {
	scheme, authority, ok := strings.Cut(s, "://")
	if !ok || !validScheme(scheme) {
		return origin{}, false
	}
	host, port, ok := splitHostPort(authority)
	if !ok || host == "" && defaultPort(scheme) != "" || strings.HasSuffix(authority, ":") {
		return origin{}, false
	}
	if port == "" {
		port = defaultPort(scheme)
	}
	return origin{scheme, host, port}, true
}

// isSame reports whether host, as in a Host header field, is that of o, and the
// scheme one that the request may have been made with. TLS may end at a proxy
// before us, but we cannot be the ones to have added it.
func (o origin) isSame(host string, tls bool) bool {
	name, port, ok := splitHostPort(host)
	if port == "" {
		port = defaultPort(o.scheme)
	}
	return ok && o.isWeb(tls) && equalFold(o.host, name) && o.port == port
}

func (o origin) isWeb(tls bool) bool {
	return equalFold(o.scheme, "https") || equalFold(o.scheme, "http") && !tls
}

// matchOrigin reports whether pattern, an element of Upgrader.Origins,
// stands for an origin, whose header value is raw.
func matchOrigin(pattern, raw string, o origin, tls bool) (bool, error) {
	switch pattern {
	case "*":
		return true, nil
	case "null":
		return raw == "null", nil
	}
	scheme, authority, ok := strings.Cut(pattern, "://")
	switch {
	case ok:
	case o.isWeb(tls):
		scheme, authority = o.scheme, pattern
	default:
		scheme, authority = "https", pattern
	}
	authority, wild := strings.CutPrefix(authority, "*.")
	want, ok := parseOrigin(scheme + "://" + authority)
	if !ok || wild && want.host == "" {
		return false, fmt.Errorf("Upgrader.Origins has %q, which is not of the form scheme://host:port", pattern)
	}
	if wild {
		_, o.host, _ = strings.Cut(o.host, ".")
	}
	return equalFold(o.scheme, want.scheme) && equalFold(o.host, want.host) && o.port == want.port, nil
}

// defaultPort returns the port of http and https (RFC 9110, section 4.2).
func defaultPort(scheme string) string {
	switch {
	case equalFold(scheme, "http"):
		return "80"
	case equalFold(scheme, "https"):
		return "443"
	case equalFold(scheme, "socks5"), equalFold(scheme, "socks5h"):
		return "1080"
	}
	return ""
}

// splitHostPort splits the authority of a URL without userinfo (RFC 3986,
// section 3.2). The host may be empty, and keeps the brackets of an IPv6 address.
func splitHostPort(authority string) (host, port string, ok bool) {
	host = authority
	if i := strings.LastIndexByte(authority, ':'); i > strings.LastIndexByte(authority, ']') {
		host, port = authority[:i], authority[i+1:]
	}
	return host, port, validHost(host) && consistsOf(port, "")
}

// validHost reports whether host may be that of a URL: a name in
// ASCII, or an IP address, in brackets if it is of version 6.
func validHost(host string) bool {
	if address, ok := strings.CutPrefix(host, "["); ok {
		address, ok = strings.CutSuffix(address, "]")
		return ok && strings.Contains(address, ":") && consistsOf(address, "abcdefABCDEF:.")
	}
	return consistsOf(host, letters+"-._~!$&'()+,;=") && !strings.HasPrefix(host, ".")
}

// validScheme reports whether s is the scheme of a URL (RFC 3986, section 3.1).
func validScheme(s string) bool {
	return s != "" && strings.IndexByte(letters, s[0]) >= 0 && consistsOf(s, letters+"+-.")
}

const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

// consistsOf reports whether s has no characters but digits and those of set.
func consistsOf(s, set string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && strings.IndexByte(set, c) < 0 {
			return false
		}
	}
	return true
}

// nextMember cuts the first member off a comma-separated list. A comma in a
// quoted string separates nothing. The member is "" at the end of the list.
//
// "A recipient MUST parse and ignore a reasonable number of empty list
// elements" (RFC 9110, section 5.6.1.2)
func nextMember(list string) (member, rest string) {
	for member == "" && list != "" {
		i := memberLen(list, ',')
		member, list = trim(list[:i]), list[min(i+1, len(list)):]
	}
	return member, list
}

// memberLen returns the length of list up to the first separator
// outside a quoted string (RFC 9110, section 5.6.4).
func memberLen(list string, separator byte) int {
	quoted := false
	for i := 0; i < len(list); i++ {
		switch c := list[i]; {
		case c == separator && !quoted:
			return i
		case c == '"':
			quoted = !quoted
		case c == '\\' && quoted:
			i++
		}
	}
	return len(list)
}

// hasToken reports whether a list over all the values of a
// header field has the token, in upper or lower case.
func hasToken(values []string, token string) bool {
	for _, v := range values {
		for m, rest := nextMember(v); m != ""; m, rest = nextMember(rest) {
			if equalFold(m, token) {
				return true
			}
		}
	}
	return false
}

// hasOnlyToken reports whether a list has the token and no other member.
func hasOnlyToken(values []string, token string) bool {
	for _, v := range values {
		for m, rest := nextMember(v); m != ""; m, rest = nextMember(rest) {
			if !equalFold(m, token) {
				return false
			}
		}
	}
	return !isEmptyList(values)
}

// isEmptyList reports whether a list has no members.
func isEmptyList(values []string) bool {
	for _, v := range values {
		if m, _ := nextMember(v); m != "" {
			return false
		}
	}
	return true
}

// parseTokens returns the members of a list. It is not ok if
// one of them is not a token.
func parseTokens(values []string) (tokens []string, ok bool) {
	for _, v := range values {
		for m, rest := nextMember(v); m != ""; m, rest = nextMember(rest) {
			if !isToken(m) {
				return nil, false
			}
			tokens = append(tokens, m)
		}
	}
	return tokens, true
}

// An extensionParam is a parameter of an extension.
type extensionParam struct {
	name, value string
	hasValue    bool
}

// cutExtension cuts a member of a Sec-WebSocket-Extensions into the name of the
// extension and what follows, for nextParam.
//
//	extension = extension-token *( ";" extension-param )
//	extension-param = token [ "=" (token | quoted-string) ]
//
// (section 9.1)
func cutExtension(s string) (name, params string) {
	n := memberLen(s, ';')
	return trim(s[:n]), s[n:]
}

// nextParam cuts the first parameter off params, which is not empty. It is not
// ok if that does not follow the grammar.
//
// "When using the quoted-string syntax variant, the value after quoted-string
// unescaping MUST conform to the 'token' ABNF." (section 9.1)
func nextParam(params string) (p extensionParam, rest string, ok bool) {
	params = params[1:] // the semicolon
	n := memberLen(params, ';')
	p.name, p.value, p.hasValue = strings.Cut(params[:n], "=")
	p.name, p.value = trim(p.name), trim(p.value)
	if strings.HasPrefix(p.value, `"`) {
		p.value = unquote(p.value)
	}
	return p, params[n:], isToken(p.name) && (!p.hasValue || isToken(p.value))
}

// unquote returns what a quoted-string stands for (RFC 9110, section 5.6.4). If s
// is none, that is no token.
func unquote(s string) string {
	if len(s) < 2 || s[len(s)-1] != '"' {
		return ""
	}
	s = s[1 : len(s)-1]
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' {
			i++
		}
		if i == len(s) {
			return "" // it was the closing quotation mark
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// validExtensions reports whether the values of a Sec-WebSocket-Extensions
// follow its grammar, whatever they mean.
func validExtensions(values []string) bool {
	for _, v := range values {
		for m, rest := nextMember(v); m != ""; m, rest = nextMember(rest) {
			name, params := cutExtension(m)
			ok := isToken(name)
			for ok && params != "" {
				_, params, ok = nextParam(params)
			}
			if !ok {
				return false
			}
		}
	}
	return true
}

// unique reports whether no two elements are the same.
func unique(elements []string) bool {
	if len(elements) < 2 {
		return true
	}
	seen := make(map[string]bool, len(elements))
	for _, e := range elements {
		seen[e] = true
	}
	return len(seen) == len(elements)
}

// isOnly reports whether a header field has the one value
// and was sent once.
func isOnly(values []string, value string) bool {
	return len(values) == 1 && trim(values[0]) == value
}

// isToken reports whether s is a token (RFC 9110, section 5.6.2),
// as the names of header fields and subprotocols are.
func isToken(s string) bool {
	return s != "" && consistsOf(s, letters+"!#$%&'*+-.^_`|~")
}

// validFieldValue reports whether s may be the value of a header
// field (RFC 9110, section 5.5). It does not end the line.
func validFieldValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// trim cuts optional whitespace off both ends (RFC 9110, section 5.6.3).
func trim(s string) string { return strings.Trim(s, " \t") }

// equalFold reports whether s and t are equal but for the case of ASCII letters.
// strings.EqualFold has a K for the Kelvin sign.
func equalFold(s, t string) bool {
	if len(s) != len(t) {
		return false
	}
	for i := range len(s) {
		if lower(s[i]) != lower(t[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

func upper(c byte) byte {
	if 'a' <= c && c <= 'z' {
		c -= 'a' - 'A'
	}
	return c
}
