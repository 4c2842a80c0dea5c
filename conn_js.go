package websocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall/js"
	"time"
	"unicode/utf8"
)

// How much a browser may say that it has to send, and how often it is asked: there is no event for that.
const (
	browserBuffer = 1 << 20
	browserPoll   = 5 * time.Millisecond
)

// browserOpen is the readyState of a WebSocket that is open.
const browserOpen = 1

var (
	errBrowserPing = errors.New("websocket: a browser lets nobody send a Ping")
	errBrowserCode = errors.New("websocket: a browser sends no status codes but 1000 and 3000 to 4999")
	errBrowserText = errors.New("websocket: a browser sends no text that is not UTF-8")
	errBrowserDial = errors.New("websocket: the browser could not open the connection, and does not say why")
	errBrowserNone = errors.New("websocket: there is no WebSocket in this JavaScript environment")
)

// open opens a connection for req, with the browser's WebSocket if there is no other network.
func (d *Dialer) open(ctx context.Context, req *http.Request) (*Conn, *http.Response, error) {
	if d.DialContext != nil {
		return d.openItself(ctx, req)
	}
	if err := d.checkBrowser(); err != nil {
		return nil, nil, err
	}
	u := *req.URL
	u.Scheme = strings.Replace(u.Scheme, "http", "ws", 1)
	s, err := openBrowserSocket(u.String(), u.Host, d.Subprotocols)
	if err != nil {
		return nil, nil, err
	}
	select {
	case <-s.opened:
	case <-s.ended:
		s.Close()
		return nil, nil, errBrowserDial
	case <-ctx.Done():
		s.Close()
		return nil, nil, context.Cause(ctx)
	}
	resp := s.response(req)
	cfg := d.config(agreement{subprotocol: resp.Header.Get("Sec-Websocket-Protocol")})
	cfg.pingInterval = -1 // the browser sees to it, or nobody does
	return newConn(s, nil, cfg), resp, nil
}

// checkBrowser returns an error if d asks for what a browser does not let us have.
func (d *Dialer) checkBrowser() error {
	for _, field := range []struct {
		name string
		set  bool
	}{
		{"Header", len(d.Header) > 0},
		{"TLSConfig", d.TLSConfig != nil},
		{"Proxy", d.Proxy != nil},
		{"ProxyHeader", len(d.ProxyHeader) > 0},
		{"HTTP2", d.HTTP2 != nil},
		{"Jar", d.Jar != nil},
	} {
		if field.set {
			return fmt.Errorf("websocket: Dialer.%s: that is the browser's own affair", field.name)
		}
	}
	return nil
}

// refused returns why a frame of ours cannot be sent over c, if the browser does not send such. The code
// is that of a Close.
func (c *Conn) refused(op opcode, code StatusCode) error {
	if _, ok := c.nc.(*browserSocket); !ok {
		return nil
	}
	switch {
	case op == opPing:
		return errBrowserPing
	case op == opClose && code != StatusNoStatusReceived && !browserCloses(code):
		return errBrowserCode
	}
	return nil
}

// browserCloses reports whether a browser sends a Close with that code. What it
// does without one is up to it.
func browserCloses(code StatusCode) bool { return code == StatusNormalClosure || code >= 3000 }

// A browserSocket is a WebSocket of the browser's (WHATWG WebSockets), which knows messages and no frames.
// To a Conn it is a net.Conn as any other: frames that are written become messages that are
// sent, and events become frames that are read.
type browserSocket struct {
	ws     js.Value
	host   string
	funcs  []js.Func     // that are called for events
	opened chan struct{} // closed with the opening handshake
	ended  chan struct{} // closed with the connection, by whomever

	mu       sync.Mutex
	changed  sync.Cond // on mu: what follows
	received []byte    // frames that have not been read
	err      error     // what comes behind them
	expired  bool      // the read deadline
	deadline time.Time // for writing

	// These belong to who writes.
	unsent  []byte // the beginning of a frame
	typ     opcode // of the message under way
	message []byte // its fragments
}

// openBrowserSocket begins to open a WebSocket.
func openBrowserSocket(url, host string, subprotocols []string) (*browserSocket, error) {
	constructor := js.Global().Get("WebSocket")
	if constructor.IsUndefined() {
		return nil, errBrowserNone
	}
	offered := make([]any, len(subprotocols))
	for i, name := range subprotocols {
		offered[i] = name
	}
	s := &browserSocket{host: host, opened: make(chan struct{}), ended: make(chan struct{})}
	s.changed.L = &s.mu
	if err := try(func() { s.ws = constructor.New(url, offered) }); err != nil {
		return nil, err
	}
	s.ws.Set("binaryType", "arraybuffer")
	s.on("open", func(js.Value) { close(s.opened) })
	s.on("message", func(event js.Value) { s.receive(event.Get("data")) })
	s.on("close", s.receiveClose)
	return s, nil
}

// try calls f, and returns what JavaScript throws.
func try(f func()) (err error) {
	defer func() {
		switch v := recover().(type) {
		case nil:
		case js.Error:
			err = fmt.Errorf("websocket: the browser refuses: %s", v.Get("message").String())
		default:
			panic(v)
		}
	}()
	f()
	return nil
}

func (s *browserSocket) on(event string, f func(js.Value)) {
	fn := js.FuncOf(func(_ js.Value, args []js.Value) any {
		f(args[0])
		return nil
	})
	s.funcs = append(s.funcs, fn)
	s.ws.Set("on"+event, fn)
}

// response returns what is known of the response to the opening handshake.
func (s *browserSocket) response(req *http.Request) *http.Response {
	resp := &http.Response{
		Status:     statusLine(http.StatusSwitchingProtocols),
		StatusCode: http.StatusSwitchingProtocols,
		Proto:      "HTTP/1.1",
		ProtoMajor: 1,
		ProtoMinor: 1,
		Header:     make(http.Header),
		Body:       http.NoBody,
		Request:    req,
	}
	for name, property := range map[string]string{"Sec-Websocket-Protocol": "protocol", "Sec-Websocket-Extensions": "extensions"} {
		if value := s.ws.Get(property).String(); value != "" {
			resp.Header.Set(name, value)
		}
	}
	return resp
}

// receive makes a frame of what came.
func (s *browserSocket) receive(data js.Value) {
	if data.Type() == js.TypeString {
		s.add(opText, []byte(data.String()))
		return
	}
	bytes := js.Global().Get("Uint8Array").New(data)
	payload := make([]byte, bytes.Length())
	js.CopyBytesToGo(payload, bytes)
	s.add(opBinary, payload)
}

// receiveClose makes a Close frame of the end of the connection, if there was one: it was closed cleanly then, or
// the browser knows the code.
func (s *browserSocket) receiveClose(event js.Value) {
	code := StatusCode(event.Get("code").Int())
	if code.mayBeSent() || code == StatusNoStatusReceived {
		s.add(opClose, appendClose(nil, code, event.Get("reason").String()))
	}
	s.end(io.EOF)
}

func (s *browserSocket) add(op opcode, payload []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.received = appendFrame(s.received, header{fin: true, opcode: op}, payload)
	s.changed.Broadcast()
}

// end has reads end with err behind what was received. Only the first end counts.
func (s *browserSocket) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
		close(s.ended)
		s.changed.Broadcast()
	}
}

func (s *browserSocket) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.received) == 0 && s.err == nil && !s.expired {
		s.changed.Wait()
	}
	switch {
	case s.expired:
		return 0, os.ErrDeadlineExceeded
	case len(s.received) == 0:
		return 0, s.err
	}
	n := copy(p, s.received)
	if s.received = s.received[n:]; len(s.received) == 0 {
		s.received = nil
	}
	return n, nil
}

// Write sends the messages that end in p.
func (s *browserSocket) Write(p []byte) (int, error) {
	s.unsent = append(s.unsent, p...)
	for b := s.unsent; ; {
		h, payload, rest, ok := cutFrame(b)
		if !ok {
			if len(b) == 0 {
				s.unsent = nil
			} else {
				s.unsent = append(s.unsent[:0], b...)
			}
			if err := s.awaitRoom(); err != nil {
				return 0, err
			}
			return len(p), nil
		}
		if h.masked {
			mask(payload, h.maskingKey)
		}
		if err := s.send(h, payload); err != nil {
			return 0, err
		}
		b = rest
	}
}

// cutFrame returns the frame that b begins with, if it is there whole, and what is behind it.
func cutFrame(b []byte) (h header, payload, rest []byte, ok bool) {
	if len(b) < 2 || len(b) < headerLen(b) {
		return h, nil, b, false
	}
	n := headerLen(b)
	h, _ = parseHeader(b[:n])
	if b = b[n:]; uint64(len(b)) < h.payloadLength {
		return h, nil, b, false
	}
	return h, b[:h.payloadLength], b[h.payloadLength:], true
}

// send sends what a frame says.
func (s *browserSocket) send(h header, payload []byte) error {
	switch {
	case h.opcode == opClose:
		return s.close(payload)
	case h.opcode.isControl():
		return nil // the browser has answered the Ping
	case h.opcode != opContinuation:
		s.typ = h.opcode
	}
	if h.fin && len(s.message) == 0 {
		return s.sendMessage(payload)
	}
	s.message = append(s.message, payload...)
	if !h.fin {
		return nil
	}
	message := s.message
	s.message = nil
	return s.sendMessage(message)
}

func (s *browserSocket) sendMessage(p []byte) error {
	var data js.Value
	switch {
	case s.typ == opBinary:
		data = js.Global().Get("Uint8Array").New(len(p))
		js.CopyBytesToJS(data, p)
	case utf8.Valid(p):
		data = js.ValueOf(string(p))
	default:
		return errBrowserText // it would be sent, changed
	}
	if s.ws.Get("readyState").Int() != browserOpen {
		return net.ErrClosed // it would be dropped, and nobody told
	}
	return try(func() { s.ws.Call("send", data) })
}

// close begins the closing handshake, or does nothing if it has ended.
func (s *browserSocket) close(payload []byte) error {
	code, reason, err := parseClose(payload)
	if err != nil || !browserCloses(code) {
		return try(func() { s.ws.Call("close") })
	}
	return try(func() { s.ws.Call("close", int(code), reason) })
}

// awaitRoom waits until the browser has little to send, or sends nothing for as long as there was until
// the deadline. It waits no more when the deadline is changed to one that has passed: the browser has
// what was written.
func (s *browserSocket) awaitRoom() error {
	start := time.Now()
	progress, patience := start, time.Duration(math.MaxInt64)
	if deadline := s.writeDeadline(); !deadline.IsZero() {
		patience = deadline.Sub(start)
	}
	for last := math.Inf(1); ; {
		amount := s.ws.Get("bufferedAmount").Float()
		deadline := s.writeDeadline()
		switch {
		case amount <= browserBuffer, !deadline.IsZero() && deadline.Before(start):
			return nil
		case amount < last:
			last, progress = amount, time.Now()
		case time.Since(progress) >= patience:
			return os.ErrDeadlineExceeded
		}
		select {
		case <-s.ended:
			return net.ErrClosed
		case <-time.After(browserPoll):
		}
	}
}

func (s *browserSocket) writeDeadline() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.deadline
}

// SetReadDeadline ends a read, and those to come, if t is not zero. It knows no deadlines in the
// future, which Conn never sets.
func (s *browserSocket) SetReadDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == net.ErrClosed {
		return s.err
	}
	s.expired = !t.IsZero()
	s.changed.Broadcast()
	return nil
}

// SetWriteDeadline sets until when the browser has to send something, see awaitRoom.
func (s *browserSocket) SetWriteDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deadline = t
	return nil
}

// SetDeadline sets both.
func (s *browserSocket) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}

// Close gives the WebSocket up. There is no way to do without its closing handshake, but nobody
// waits for it.
func (s *browserSocket) Close() error {
	s.end(net.ErrClosed)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, event := range []string{"open", "message", "close"} {
		s.ws.Set("on"+event, js.Null())
	}
	for _, f := range s.funcs {
		f.Release()
	}
	s.funcs = nil
	return try(func() { s.ws.Call("close") })
}

func (s *browserSocket) LocalAddr() net.Addr  { return browserAddr("") }
func (s *browserSocket) RemoteAddr() net.Addr { return browserAddr(s.host) }

// A browserAddr is what is known of an end of a browserSocket.
type browserAddr string

func (browserAddr) Network() string  { return "websocket" }
func (a browserAddr) String() string { return string(a) }
