package websocket

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"time"
)

// An Upgrader answers the opening handshakes of clients (RFC 6455, section 4.2).
//
// It holds no state: it may be used by any number of goroutines, and copied to
// change a field for one request. The zero value lets pages of the server's own
// origin connect, and has safe limits.
type Upgrader struct {
	// Subprotocols are those that the server speaks, the one it
	// likes best first. A client that offers none of them is connected
	// without one. Default: none.
	Subprotocols []string

	// Compression asks for permessage-deflate (RFC 7692), which is used if
	// the client offers it. To do without it for some clients, copy the Upgrader and
	// set it to nil. Default: nil, none.
	Compression *Compression

	// ReadLimit is how many bytes a received message may have, after it
	// is inflated if it was compressed. A connection with a longer one is failed
	// with StatusMessageTooBig. Default: 1 MiB. Negative: no limit.
	ReadLimit int64

	// PingInterval is the time without a received byte after which
	// the peer is sent a Ping. Default: 30 s. Negative: never.
	PingInterval time.Duration

	// PingTimeout is the time without a received byte after such
	// a Ping, spent reading, after which the connection is taken
	// for lost. Default: 30 s. Negative: never.
	PingTimeout time.Duration

	// CloseTimeout limits the closing handshake, from the first Close frame
	// to the close of the network connection. Default: 5 s. Negative: no
	// time is spent waiting.
	CloseTimeout time.Duration

	// WriteTimeout is how long a write may make no progress before
	// the connection is failed. Default: 30 s. Negative: no limit.
	WriteTimeout time.Duration

	// Batching has messages leave together that are written while others
	// lie received and wait to be read, as answers to many small messages do. Conn.Write
	// and the like may return when a message of up to 16 KiB is in the connection's
	// buffer, of about 64 KiB. They wait for room in it only if it is full, or behind a
	// larger message, a Flush or a Ping that waits for the kernel itself.
	//
	// What is in the buffer is sent when a read finds no whole message received, at
	// 64 KiB, before a larger message, by Conn.Flush and Conn.Close, and after
	// a millisecond. If that fails, so does the connection, as the calls that follow
	// say. Over TLS, messages that came in one record are answered together. Default: off.
	Batching bool

	// HandshakeTimeout limits the writing of the response, and in
	// UpgradeConn all of the handshake. For the reading of the request
	// otherwise see [http.Server]. Default: 10 s. Negative: no limit.
	HandshakeTimeout time.Duration

	// Origins are the origins (RFC 6454), besides the server's own, whose
	// pages may connect. Each is one of
	//
	//	"example.com"           the host, with https, and also with http if
	//	"example.com:8443"      the request did not come over TLS
	//	"*.example.com"         its subdomains of one label more
	//	"https://example.com"   the scheme, host and port
	//	"capacitor://localhost" of whatever scheme
	//	"null"                  pages without an origin, such as local files
	//	"*"                     any page in the world
	//
	// and a port that is missing is the default of the origin's scheme.
	//
	// An origin is the server's own if its host and port are those of the
	// request's Host header field and its scheme is https, or http if the
	// request did not come over TLS. TLS may thus end at a proxy, as
	// long as that forwards the Host header field. X-Forwarded-Host and
	// the like, which anybody can send, are ignored. Requests without
	// an Origin, which do not come from browsers, pass, and those with
	// several never do.
	Origins []string

	// CheckOrigin, if it is not nil, decides in place of all that
	// whether the request may come from where it does.
	CheckOrigin func(*http.Request) bool

	// Accept, if it is not nil, is called for a handshake without a fault,
	// before the response is sent. It may authenticate the client, and
	// set fields of the response's header, which is that of the
	// ResponseWriter. An error refuses the handshake: a [*HandshakeError]
	// with the status, header fields and body that it has, any other with
	// a 403 that does not tell the client why.
	Accept func(*http.Request, http.Header) error

	// Trace is told what happens, see there. Default: nobody is.
	Trace *Trace
}

const defaultHandshakeTimeout = 10 * time.Second

// Upgrade completes the opening handshake with the zero [Upgrader].
func Upgrade(w http.ResponseWriter, r *http.Request) (*Conn, error) {
	return new(Upgrader).Upgrade(w, r)
}

// Upgrade checks that r is the opening handshake of a client (RFC 6455, section
// 4.2.1), completes it (RFC 6455, section 4.2.2), and returns the connection. The
// response has the header fields of w.Header, and is one Write.
//
// A handshake that is refused is answered on w, and the error is a
// [*HandshakeError] with that answer: there is nothing left to do but to return.
//
// w may be wrapped, if it is a [http.Hijacker] or has an Unwrap method, as for
// [http.ResponseController]. The connection keeps nothing of w and r, and does not
// end with the request's context: for the least memory return from the handler,
// and serve the connection on a goroutine of its own, as [Upgrader.Handler] does.
//
// Over HTTP/2, a connection is a stream (RFC 8441), and the handler must not return before Close or
// CloseNow has. A server accepts such connections if package
// [github.com/tidewire/websocket/http2] is imported.
func (u *Upgrader) Upgrade(w http.ResponseWriter, r *http.Request) (*Conn, error) {
	began := now()
	c, err := u.upgrade(w, r)
	u.Trace.handshake(c, r, began, err)
	return c, err
}

func (u *Upgrader) upgrade(w http.ResponseWriter, r *http.Request) (*Conn, error) {
	agreed, refused := u.check(r, w.Header())
	if refused != nil {
		answer(w, r, refused)
		return nil, refused
	}
	if isExtendedConnect(r) {
		return u.upgradeStream(w, r, agreed)
	}
	nc, buffered, err := http.NewResponseController(w).Hijack()
	switch {
	case errors.Is(err, http.ErrHijacked):
		return nil, fmt.Errorf("websocket: %w", err) // by somebody who will answer
	case err != nil:
		refused = misuse(fmt.Errorf("the connection cannot be taken over from a %T, which needs a Hijack or an Unwrap method: %w", w, err))
		answer(w, r, refused)
		return nil, refused
	}
	if timeout := handshakeTimeout(u.HandshakeTimeout); timeout > 0 {
		nc.SetWriteDeadline(time.Now().Add(timeout))
	}
	// What net/http has for writing is empty, and of no further use.
	unread, _ := buffered.Peek(buffered.Reader.Buffered()) // which cannot fail
	response := appendResponse(buffered.AvailableBuffer(), r.Header["Sec-Websocket-Key"][0], agreed, w.Header())
	c, err := u.switchProtocols(nc, response, unread, agreed, nil)
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("websocket: sending the response: %w", err)
	}
	return c, nil
}

// check does everything that can fail before the connection is taken over. It
// returns what is agreed on, or how the request is to be answered.
func (u *Upgrader) check(r *http.Request, h http.Header) (agreed agreement, refused *HandshakeError) {
	if err := checkSubprotocols(u.Subprotocols); err != nil {
		return agreed, misuse(fmt.Errorf("Upgrader.Subprotocols: %w", err))
	}
	if err := u.Compression.check(); err != nil {
		return agreed, misuse(fmt.Errorf("Upgrader.Compression: %w", err))
	}
	if refused := checkRequest(r); refused != nil {
		return agreed, refused
	}
	agreed.subprotocol, refused = chooseSubprotocol(r.Header["Sec-Websocket-Protocol"], u.Subprotocols)
	if refused != nil {
		return agreed, refused
	}
	if refused := u.checkOrigin(r); refused != nil {
		return agreed, refused
	}
	if u.Accept != nil {
		if err := u.Accept(r, h); err != nil {
			return agreed, refusalFor(err)
		}
	}
	if err := checkHeader(h); err != nil {
		return agreed, misuse(fmt.Errorf("the header of the ResponseWriter: %w", err))
	}
	agreed.extensions, agreed.compression = u.Compression.accept(r.Header["Sec-Websocket-Extensions"])
	return agreed, nil
}

func (u *Upgrader) checkOrigin(r *http.Request) *HandshakeError {
	if u.CheckOrigin == nil {
		return checkOrigin(r, u.Origins)
	}
	if !u.CheckOrigin(r) {
		return refusal(http.StatusForbidden, fmt.Errorf("the origin %q is refused", r.Header.Get("Origin")), nil)
	}
	return nil
}

// refusalFor returns how a handshake is answered that a user's function
// has refused with err.
func refusalFor(err error) *HandshakeError {
	refused, ok := errors.AsType[*HandshakeError](err)
	if !ok {
		return &HandshakeError{StatusCode: http.StatusForbidden, Err: err}
	}
	if refused.StatusCode < 200 || refused.StatusCode > 999 {
		final := *refused
		final.StatusCode = http.StatusForbidden
		return &final
	}
	return refused
}

// answer sends the refusal of r.
func answer(w http.ResponseWriter, r *http.Request, refused *HandshakeError) {
	h := w.Header()
	body := refused.response(h)
	if r.ProtoAtLeast(2, 0) { // a stream has nothing of the kind
		delete(h, "Connection")
		delete(h, "Upgrade")
	}
	w.WriteHeader(refused.StatusCode)
	w.Write(body)
}

// response makes h the header of the response that refuses a handshake, and returns its content.
func (e *HandshakeError) response(h http.Header) (body []byte) {
	for name := range h {
		if isHandshakeField(name) {
			delete(h, name)
		}
	}
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	for name, values := range e.Header {
		h[http.CanonicalHeaderKey(name)] = slices.Clone(values)
	}
	if e.Body == nil {
		return []byte(statusLine(e.StatusCode) + "\n")
	}
	return e.Body
}

// switchProtocols sends the response on the connection that was taken over, and makes it a
// Conn. unread is what was received behind the request. stop, if it is not nil, ends what might close the
// connection, or reports that it was closed.
func (u *Upgrader) switchProtocols(nc net.Conn, response, unread []byte, agreed agreement, stop func() bool) (*Conn, error) {
	if _, err := nc.Write(response); err != nil {
		return nil, err
	}
	// Those of the http.Server too: they are not meant for us.
	nc.SetDeadline(time.Time{}) // a net.Conn may have none
	if stop != nil && !stop() {
		return nil, net.ErrClosed
	}
	return newConn(nc, unread, u.config(agreed)), nil
}

// config returns how a connection is to be on which that was agreed.
func (u *Upgrader) config(agreed agreement) connConfig {
	cfg := connDefaults(u.ReadLimit, u.PingInterval, u.PingTimeout, u.CloseTimeout, u.WriteTimeout)
	cfg.side, cfg.subprotocol, cfg.compression = serverSide, agreed.subprotocol, agreed.compression
	cfg.batching, cfg.trace = u.Batching, newConnTrace(u.Trace)
	return cfg
}

// handshakeTimeout returns how long a handshake may take
// with the given HandshakeTimeout; negative for ever.
func handshakeTimeout(d time.Duration) time.Duration {
	if d == 0 {
		return defaultHandshakeTimeout
	}
	return d
}

// Handler returns an [http.Handler] that upgrades each request, and has the
// connection served in a goroutine of its own. The request's goroutine, with all the
// memory that net/http needs for it, is given back meanwhile. Over HTTP/2 the connection
// is served in the request's goroutine.
//
// accept is called first, with every request, and returns the function that is to
// serve the connection. If it returns an error, the request is refused as it would
// be for an error of [Upgrader.Accept]. It may also answer the request itself,
// for example with a page: nothing follows then, whatever it returns. Of w
// it may use the methods that [http.ResponseController] finds.
//
// serve is called once the handshake is complete. It gets a context that
// ends with the connection and has no values; serve must not use the request's
// context, which has ended. When serve returns, the connection is
// closed with StatusNormalClosure, unless that was done. If it panics, the
// connection is closed with StatusInternalError, and the panic logged
// to the ErrorLog of the [http.Server], unless it is [http.ErrAbortHandler].
func (u *Upgrader) Handler(accept func(http.ResponseWriter, *http.Request) (serve func(context.Context, *Conn), err error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := now()
		aw := &acceptWriter{ResponseWriter: w}
		serve, err := accept(aw, r)
		switch {
		case aw.answered:
			return
		case err != nil:
			u.refuse(w, r, began, refusalFor(err))
			return
		case serve == nil:
			u.refuse(w, r, began, misuse(errNoServe))
			return
		}
		c, err := u.Upgrade(w, r)
		if err != nil {
			return
		}
		server, _ := r.Context().Value(http.ServerContextKey).(*http.Server)
		if r.ProtoMajor == 1 {
			go serveConn(c, serve, server)
		} else {
			serveConn(c, serve, server)
		}
	})
}

var errNoServe = errors.New("there is no function to serve the connection")

// refuse answers a handshake that began at that time.
func (u *Upgrader) refuse(w http.ResponseWriter, r *http.Request, began time.Duration, refused *HandshakeError) {
	answer(w, r, refused)
	u.Trace.handshake(nil, r, began, refused)
}

// An acceptWriter notes whether the request has been answered.
type acceptWriter struct {
	http.ResponseWriter
	answered bool
}

func (w *acceptWriter) WriteHeader(status int) {
	w.answered = w.answered || status >= 200
	w.ResponseWriter.WriteHeader(status)
}

func (w *acceptWriter) Write(p []byte) (int, error) {
	w.answered = true
	return w.ResponseWriter.Write(p)
}

func (w *acceptWriter) FlushError() error {
	w.answered = true
	return http.NewResponseController(w.ResponseWriter).Flush()
}

func (w *acceptWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	nc, buffered, err := http.NewResponseController(w.ResponseWriter).Hijack()
	w.answered = w.answered || err == nil
	return nc, buffered, err
}

func (w *acceptWriter) Unwrap() http.ResponseWriter {
	return w.ResponseWriter
}

// serveConn serves c, and closes it when that is over.
func serveConn(c *Conn, serve func(context.Context, *Conn), server *http.Server) {
	defer func() {
		code := StatusNormalClosure
		if v := recover(); v != nil {
			code = StatusInternalError
			if v != http.ErrAbortHandler {
				logf(server, "websocket: panic serving %v: %v\n%s", c.RemoteAddr(), v, debug.Stack())
			}
		}
		c.Close(code, "")
	}()
	serve(connContext{c}, c)
}

// logf logs where net/http would.
func logf(server *http.Server, format string, args ...any) {
	if server == nil || server.ErrorLog == nil {
		log.Printf(format, args...)
		return
	}
	server.ErrorLog.Printf(format, args...)
}
