package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/tidewire/websocket"
)

// maxBody is how much is shown of what a server says that refuses a handshake.
const maxBody = 512

// An ending is what there is to say about a connection that has ended, or did not come about.
type ending struct {
	status int // of the program
	text   string
	hint   string // what to try
	body   string // what the server said
	event  event
}

// explain returns what err means, which ended a connection or an attempt.
func explain(err error) ending {
	if end, ok := errors.AsType[*websocket.CloseError](err); ok {
		return explainClose(end, "server")
	}
	e := ending{status: exitConnect, text: "could not connect: " + unprefixed(err), hint: hint(err)}
	if refused, ok := errors.AsType[*websocket.HandshakeError](err); ok {
		e.event.Status = refused.StatusCode
		e.body = string(refused.Body[:min(len(refused.Body), maxBody)])
		e.text = "could not connect: " + unprefixed((&websocket.HandshakeError{
			StatusCode: refused.StatusCode,
			Err:        refused.Err,
		}))
	}
	e.event.Event, e.event.Error = "error", e.text
	return e
}

// explainClose returns what an end means to whom peer was connected to.
func explainClose(end *websocket.CloseError, peer string) ending {
	e := ending{event: event{Event: "close", Code: int(end.Code), Reason: end.Reason}}
	switch {
	case end.Local && end.Err == nil:
		e.text = "closed"
	case end.Local || end.Code == websocket.StatusAbnormalClosure:
		e.status, e.text = exitLost, unprefixed(end)
		e.event.Error = e.text
	case end.Code == websocket.StatusNoStatusReceived:
		e.text = "closed by the " + peer + ", without a code"
	default:
		e.text = fmt.Sprintf("closed by the %s with %s", peer, closeText(end.Code, end.Reason))
		if end.Code != websocket.StatusNormalClosure {
			e.status = exitClosed
		}
	}
	return e
}

// closeText returns what a Close frame says, in a form for people.
func closeText(code websocket.StatusCode, reason string) string {
	s := fmt.Sprint(int(code))
	if code < 3000 {
		s += " (" + code.String() + ")"
	}
	if reason != "" {
		s += fmt.Sprintf(": %q", reason)
	}
	return s
}

// unprefixed returns the text of err without the names of packages before it.
func unprefixed(err error) string {
	s := err.Error()
	for _, prefix := range []string{"reconnect: gave up: ", "reconnect: ", "websocket: ", "opening handshake failed: "} {
		s = strings.TrimPrefix(s, prefix)
	}
	return s
}

// hint returns what to try when a connection did not come about for err, or "".
func hint(err error) string {
	if refused, ok := errors.AsType[*websocket.HandshakeError](err); ok {
		return hintAtResponse(refused)
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "-ca FILE to trust its certificate, or -k to trust any"
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return "ws:// in place of wss://: the server does not speak TLS"
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return "another spelling: the host has no address"
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "more time, with -w 30s, or another port"
	case strings.Contains(err.Error(), "refused"): // Windows has an error number of its own for it
		return "to start the server, or another port: nobody listens there"
	}
	return ""
}

func hintAtResponse(refused *websocket.HandshakeError) string {
	switch status := refused.StatusCode; {
	case status == 0, status == http.StatusBadRequest && strings.Contains(string(refused.Body), "HTTPS"):
		return "wss:// in place of ws://, if the server speaks TLS"
	case status == http.StatusUnauthorized:
		return "-u user:password, or -H 'Authorization: Bearer TOKEN'"
	case status == http.StatusForbidden:
		return "-o ORIGIN, such as the address of the page that connects, or -u or -H for who you are"
	case status == http.StatusNotFound, status == http.StatusOK, status == http.StatusMethodNotAllowed:
		return "another path in the URL: there is no WebSocket at this one"
	case status == http.StatusProxyAuthRequired:
		return "-proxy http://user:password@HOST:PORT"
	case 300 <= status && status < 400:
		return "the URL that it redirects to: " + refused.Header.Get("Location")
	case status == http.StatusTooManyRequests, status >= 500:
		return "again later, or -reconnect"
	case status == http.StatusBadRequest && len(refused.Header["Sec-Websocket-Protocol"]) == 0:
		return "-s SUBPROTOCOL, if the server wants one"
	}
	return ""
}

// tell prints an ending.
func (o *output) tell(e ending) {
	o.event(e.event)
	if e.status == exitOK {
		o.note("%s", e.text)
		return
	}
	o.fail("ws: %s", e.text)
	if body := strings.TrimSpace(e.body); body != "" {
		o.fail("%s", body)
	}
	if e.hint != "" {
		o.fail("Try %s.", e.hint)
	}
}
