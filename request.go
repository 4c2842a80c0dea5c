package websocket

import (
	"bytes"
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"strings"
)

// Limits on what a client may ask with.
const (
	maxRequestHead   = 64 << 10 // bytes of request line and header
	maxRequestLine   = 8 << 10  // bytes of one of their lines
	maxRequestFields = 100      // of the header
)

// The checks of a request's syntax that can fail.
var (
	errRequestLineLength = errors.New("the request line is longer than 8 KiB (RFC 9112, section 3)")
	errFieldLineLength   = errors.New("a header field of the request is longer than 8 KiB (RFC 9110, section 5.4)")
	errRequestHead       = errors.New("the header of the request has more than 64 KiB or 100 fields (RFC 9110, section 5.4)")
	errLineEnd           = errors.New("a line of the request does not end with CRLF (RFC 9112, section 2.2)")
	errRequestLine       = errors.New("the first line of the request is none of HTTP (RFC 9112, section 3)")
	errFieldLine         = errors.New("a header field of the request is not a name, a colon and a value on one line (RFC 9112, section 5)")
	errHostField         = errors.New("the request has several Host header fields, or one that is no host (RFC 9112, section 3.2)")
)

// A headScanner looks for the end of a request's head as it comes, at each byte once. The
// zero value is ready for use.
type headScanner struct {
	line  int // where the line under way begins
	seen  int // how far has been looked
	lines int // that have ended, but for an empty one at the beginning
}

// scan looks at what b, the request, has more than at the last call. It returns the head, with
// the empty line that ends it, or nil if there is more to come.
func (s *headScanner) scan(b []byte) (head []byte, refused *HandshakeError) {
	for {
		fresh, _, ended := bytes.Cut(b[s.seen:], []byte("\n"))
		s.seen += len(fresh)
		if ended {
			s.seen++
		}
		if refused := s.check(b[s.line:s.seen], fresh); refused != nil {
			return nil, refused
		}
		if !ended {
			return nil, nil
		}
		empty := s.seen-s.line == len("\r\n")
		switch {
		case empty && s.lines > 0:
			return bytes.TrimPrefix(b[:s.seen], []byte("\r\n")), nil

		// "In the interest of robustness, a server that is expecting to receive and
		// parse a request-line SHOULD ignore at least one empty line (CRLF) received
		// prior to the request-line." (RFC 9112, section 2.2)
		case empty && s.line == 0:
		case !empty && (s.lines > 0 || isRequestLine(b[s.line:s.seen])):
			s.lines++
		default:
			return nil, badRequest(errRequestLine)
		}
		s.line = s.seen
	}
}

// check reports what is wrong with a line, of which fresh has come last.
func (s *headScanner) check(line, fresh []byte) *HandshakeError {
	switch {
	case s.lines == 0 && len(line) > maxRequestLine:
		return finalRefusal(http.StatusRequestURITooLong, errRequestLineLength)
	case len(line) > maxRequestLine:
		return finalRefusal(http.StatusRequestHeaderFieldsTooLarge, errFieldLineLength)
	case s.seen > maxRequestHead, s.lines > maxRequestFields && !strings.HasPrefix("\r\n", string(line)):
		return finalRefusal(http.StatusRequestHeaderFieldsTooLarge, errRequestHead)

	// What is no request need not be waited for. It may be a TLS handshake.
	case s.lines == 0 && bytes.ContainsFunc(fresh, isControl):
		return badRequest(errRequestLine)

	// "Although the line terminator for the start-line and fields is the sequence
	// CRLF, a recipient MAY recognize a single LF as a line terminator" (RFC 9112,
	// section 2.2). A proxy before us may not.
	case bytes.HasSuffix(line, []byte("\n")) && !bytes.HasSuffix(line, []byte("\r\n")):
		return badRequest(errLineEnd)
	}
	return nil
}

// isRequestLine reports whether line looks like the first of a request. What does not need not be
// waited for.
func isRequestLine(line []byte) bool {
	return bytes.Count(line, []byte(" ")) == 2 && bytes.Contains(line, []byte(" HTTP/"))
}

// isControl reports whether r may not be in a request line.
func isControl(r rune) bool { return r < ' ' && r != '\r' || r == 0x7f }

// finalRefusal refuses a request, and with it what may follow.
func finalRefusal(status int, err error) *HandshakeError {
	return refusal(status, err, http.Header{"Connection": {"close"}})
}

// A rawRequest is a request with room for what its header refers to.
type rawRequest struct {
	http.Request
	values [16]string // more than browsers send
}

// parse parses head, the head of a request, which it changes.
func (r *rawRequest) parse(head []byte) *HandshakeError {
	n := canonicalizeFieldNames(head)
	line, fields, _ := strings.Cut(string(head), "\r\n")
	if !parseRequestLine(&r.Request, line) {
		return badRequest(errRequestLine)
	}
	values := r.values[:]
	if n > len(values) {
		values = make([]string, n)
	}
	r.Header = make(http.Header, n)
	if !parseFields(r.Header, fields, values[:n]) {
		return badRequest(errFieldLine)
	}
	if !setHost(&r.Request) {
		return badRequest(errHostField)
	}
	// A request with one of these is refused, whatever they say.
	r.TransferEncoding = r.Header["Transfer-Encoding"]
	if length := r.Header["Content-Length"]; length != nil && !isOnly(length, "0") {
		r.ContentLength = -1
	}
	r.Body = http.NoBody
	return nil
}

// canonicalizeFieldNames spells the names of the header fields in head as package http
// does, and returns how many fields there are. Afterwards one string has all names
// and values.
func canonicalizeFieldNames(head []byte) (n int) {
	crlf := []byte("\r\n")
	_, fields, _ := bytes.Cut(head, crlf)
	for len(fields) > len(crlf) {
		line, rest, _ := bytes.Cut(fields, crlf)
		name, _, _ := bytes.Cut(line, []byte(":"))
		first := true
		for i, c := range name {
			if first {
				name[i] = upper(c)
			} else {
				name[i] = lower(c)
			}
			first = c == '-'
		}
		fields = rest
		n++
	}
	return n
}

// parseRequestLine parses the first line of a request into r, and reports whether it is one.
//
//	request-line = method SP request-target SP HTTP-version (RFC 9112, section 3)
func parseRequestLine(r *http.Request, line string) bool {
	var ok bool
	var err error
	r.Method, line, _ = strings.Cut(line, " ")
	r.RequestURI, r.Proto, _ = strings.Cut(line, " ")
	if r.ProtoMajor, r.ProtoMinor, ok = http.ParseHTTPVersion(r.Proto); !ok || !isToken(r.Method) {
		return false
	}
	if r.Method == http.MethodConnect && !strings.HasPrefix(r.RequestURI, "/") { // a host and a port
		r.URL, err = url.ParseRequestURI("http://" + r.RequestURI)
		if err == nil {
			r.URL.Scheme = ""
		}
		return err == nil
	}
	r.URL, err = url.ParseRequestURI(r.RequestURI)
	return err == nil
}

// parseFields parses the header fields of a request into h, and their values into values,
// which has room for exactly those. It reports whether they are header fields.
//
//	field-line = field-name ":" OWS field-value OWS (RFC 9112, section 5)
//
// "A server that receives an obs-fold in a request message that is not within a "message/http"
// container MUST either reject the message by sending a 400 (Bad Request)" (section 5.2) or
// mend it. "No whitespace is allowed between the field name and colon. [...] A server
// MUST reject, with a response status code of 400 (Bad Request), any received request
// message that contains whitespace between a header field name and colon." (section 5.1)
func parseFields(h http.Header, fields string, values []string) bool {
	for i := range values {
		line, rest, _ := strings.Cut(fields, "\r\n")
		name, value, ok := strings.Cut(line, ":")
		value = trim(value)
		if !ok || !isToken(name) || !validFieldValue(value) {
			return false
		}
		if others := h[name]; others != nil {
			h[name] = append(others, value)
		} else {
			values[i] = value
			h[name] = values[i : i+1 : i+1]
		}
		fields = rest
	}
	return true
}

// setHost moves the host of the request to where package http has it, and reports
// whether it is one.
//
// "A server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1 request message
// that lacks a Host header field and to any request message that contains more than one Host
// header field line or a Host header field with an invalid field value." (RFC 9112,
// section 3.2) Whether there is one, checkRequest looks. In a request for a whole URL, it is that
// which counts: "the origin server MUST ignore the received Host header field (if any)"
// (section 3.2.2).
func setHost(r *http.Request) bool {
	hosts := r.Header["Host"]
	delete(r.Header, "Host")
	switch {
	case len(hosts) == 0:
		return true
	case len(hosts) > 1, hosts[0] != "" && !validAuthority(hosts[0]):
		return false
	}
	r.Host = cmp.Or(r.URL.Host, hosts[0])
	return r.Host == "" || validAuthority(r.Host)
}
