package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/tidewire/websocket"
	"github.com/tidewire/websocket/reconnect"
)

// connectFlags are those of ws connect.
type connectFlags struct {
	dialFlags
	messages              list
	binary, base64, nul   bool
	json, pretty, verbose bool
	reconnect             bool
	answers               span
	count                 count
	farewell              farewell
}

func prepareConnect(fs *flag.FlagSet) func(context.Context, *system, []string) (int, error) {
	f := connectFlags{answers: span(2 * time.Second), farewell: farewell{code: websocket.StatusNormalClosure}}
	f.define(fs)
	value(fs, &f.messages, "x", "send")
	toggle(fs, &f.binary, "b", "binary")
	toggle(fs, &f.base64, "B", "base64")
	toggle(fs, &f.nul, "0", "null")
	toggle(fs, &f.json, "json")
	toggle(fs, &f.pretty, "pretty")
	toggle(fs, &f.verbose, "v", "verbose")
	toggle(fs, &f.reconnect, "reconnect")
	value(fs, &f.answers, "q", "wait")
	value(fs, &f.count, "n", "count")
	value(fs, &f.farewell, "close")
	return f.run
}

func (f *connectFlags) run(ctx context.Context, sys *system, operands []string) (int, error) {
	if err := wantOperands(operands, "the URL"); err != nil {
		return 0, err
	}
	if f.binary && (f.nul || len(f.messages) > 0) {
		return 0, errors.New("-b makes one message of all of stdin, and excludes -0 and -x")
	}
	for _, m := range f.messages {
		if !utf8.ValidString(m) {
			return 0, fmt.Errorf("-x %q: %w", m, errNotUTF8)
		}
	}
	url := completeURL(operands[0])
	dialer, err := f.dialer(url)
	if err != nil {
		return 0, err
	}
	out := newOutput(sys)
	out.base64, out.nul, out.json, out.pretty, out.verbose = f.base64, f.nul, f.json, f.pretty, f.verbose
	s := &session{
		connectFlags: f,
		url:          url,
		dialer:       dialer,
		in:           sys.stdin,
		typed:        sys.isTerminal(sys.stdin),
		out:          out,
		opened:       make(chan struct{}, 1),
		gaveUp:       make(chan struct{}),
		started:      make(chan struct{}),
	}
	return s.run(ctx)
}

// A session is what goes on between stdin, a server, and stdout.
type session struct {
	*connectFlags
	url    string
	dialer websocket.Dialer
	in     io.Reader
	typed  bool // in is a terminal
	out    *output
	client *reconnect.Client

	conn    atomic.Pointer[websocket.Conn] // the latest; nil if there was none
	opened  chan struct{}                  // has something after it was set
	gaveUp  chan struct{}                  // closed when there will be none any more
	started chan struct{}                  // closed when the messages of the command line were sent

	received count // how many messages were
}

// Why a session ends, besides the end of its connection.
var (
	errNotUTF8  = errors.New("it is not UTF-8; -b sends stdin as a binary message")
	errEnough   = errors.New("enough messages have come")
	errWaited   = errors.New("no more time for answers")
	errNoReader = errors.New("nobody reads stdout")
)

// run returns the exit status.
func (s *session) run(ctx context.Context) (int, error) {
	client, err := reconnect.New(s.url, s.options())
	if err != nil {
		return 0, err
	}
	s.client = client
	ctx, stop := context.WithCancelCause(ctx)
	var sender sync.WaitGroup
	sender.Go(func() {
		if err := s.send(ctx); err != nil && err != reconnect.ErrGaveUp {
			stop(err)
		}
	})
	err = s.receive(ctx)
	stop(err)
	sender.Wait()
	if err := client.Close(s.farewell.code, s.farewell.reason); err != nil {
		s.out.detail("closing handshake: %s", unprefixed(err))
	}
	if err != errEnough && err != errNoReader {
		s.receive(context.Background()) // what had come before
	}
	return s.end(err), nil
}

// options returns those of a client that does not connect again unless it is asked to.
func (s *session) options() reconnect.Options {
	o := reconnect.Options{
		Dial:           s.dial,
		ConnectTimeout: -1, // the Dialer has one
		MaxAttempts:    -1,
		OnState:        s.changed,
	}
	if s.reconnect {
		o.MaxAttempts = 0
	}
	return o
}

func (s *session) dial(ctx context.Context, t reconnect.Target) (reconnect.Conn, error) {
	d := s.dialer
	if s.verbose {
		d.Trace = &websocket.Trace{
			Handshake:    func(_ *websocket.Conn, r *http.Request, _ time.Duration, _ error) { s.out.request(">", r) },
			FrameRead:    func(_ *websocket.Conn, f websocket.Frame) { s.out.detail("< %v", f) },
			FrameWritten: func(_ *websocket.Conn, f websocket.Frame) { s.out.detail("> %v", f) },
			Pong:         func(_ *websocket.Conn, rtt time.Duration) { s.out.detail("* answered after %v", rtt) },
		}
	}
	c, resp, err := d.Dial(ctx, t.URL)
	if resp != nil {
		s.out.response("<", resp)
	}
	if err != nil {
		return nil, err
	}
	s.out.event(event{Event: "open", URL: redacted(s.url), Subprotocol: c.Subprotocol()})
	if p := c.Subprotocol(); p != "" {
		s.out.note("connected to %s, subprotocol %s", redacted(s.url), p)
	} else {
		s.out.note("connected to %s", redacted(s.url))
	}
	s.conn.Store(c)
	select {
	case s.opened <- struct{}{}:
	default:
	}
	return c, nil
}

// changed is told what the client does.
func (s *session) changed(state reconnect.State) {
	switch state.Phase {
	case reconnect.GaveUp:
		close(s.gaveUp)
	case reconnect.Waiting:
		e := explain(state.Err)
		wait := max(0, time.Until(state.RetryAt))
		e.event.Event, e.event.Error, e.event.RetryIn = "retry", e.text, wait.Seconds()
		s.out.event(e.event)
		s.out.fail("ws: %s; connecting again in %v", e.text, wait.Round(100*time.Millisecond))
	}
}

// receive prints messages, and returns why there are no more.
func (s *session) receive(ctx context.Context) error {
	for {
		m, err := s.client.Read(ctx)
		if err != nil {
			return err
		}
		if s.out.message(m.Type, m.Data) != nil {
			return errNoReader
		}
		if s.received++; s.received == s.count {
			<-s.started
			return errEnough
		}
	}
}

// send sends what there is to be sent, waits for answers, and returns why it is done with that.
func (s *session) send(ctx context.Context) error {
	err := s.sendFirst(ctx)
	close(s.started)
	if err != nil {
		return err
	}
	if err := s.sendInput(ctx); err != nil {
		return err
	}
	if s.answers < 0 {
		return nil
	}
	select {
	case <-time.After(time.Duration(s.answers)):
		return errWaited
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// sendFirst sends the messages of the command line.
func (s *session) sendFirst(ctx context.Context) error {
	if err := s.awaitOpen(ctx); err != nil {
		return err
	}
	for _, m := range s.messages {
		if err := s.write(ctx, websocket.MessageText, []byte(m)); err != nil {
			return err
		}
	}
	return nil
}

// awaitOpen waits for a connection.
func (s *session) awaitOpen(ctx context.Context) error {
	select {
	case <-s.opened:
		return nil
	case <-s.gaveUp:
		return reconnect.ErrGaveUp
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// sendInput sends what comes from stdin. If there were messages in the command line, that has to be
// a terminal: others are not to be waited for, as they may never end.
func (s *session) sendInput(ctx context.Context) error {
	switch {
	case len(s.messages) > 0 && !s.typed:
		return nil
	case s.binary:
		return s.sendAll(ctx)
	}
	n := 0
	for data, err := range lines(ctx, s.in, s.nul) {
		n++
		switch {
		case err != nil:
			return &inputError{err}
		case !utf8.Valid(data):
			return &inputError{fmt.Errorf("message %d: %w", n, errNotUTF8)}
		}
		if err := s.write(ctx, websocket.MessageText, data); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// sendAll sends all of stdin as one message.
func (s *session) sendAll(ctx context.Context) error {
	type result struct {
		data []byte
		err  error
	}
	read := make(chan result, 1)
	go func() {
		data, err := io.ReadAll(io.LimitReader(s.in, maxMessage+1))
		read <- result{data, err}
	}()
	select {
	case r := <-read:
		if len(r.data) > maxMessage {
			r.err = fmt.Errorf("more than %d MiB for one message", maxMessage>>20)
		}
		if r.err != nil {
			return &inputError{r.err}
		}
		return s.write(ctx, websocket.MessageBinary, r.data)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// An inputError is what is wrong with stdin.
type inputError struct{ err error }

func (e *inputError) Error() string { return "stdin: " + e.err.Error() }
func (e *inputError) Unwrap() error { return e.err }

// write sends a message when there is a connection. One that was being sent when a connection was
// lost may have arrived, and is not sent again.
func (s *session) write(ctx context.Context, typ websocket.MessageType, data []byte) error {
	c := s.conn.Load()
	for c == nil || c.Err() != nil {
		if err := s.awaitOpen(ctx); err != nil {
			return err
		}
		c = s.conn.Load()
	}
	err := c.Write(ctx, typ, data)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil && s.reconnect {
		s.out.fail("ws: a message of %d bytes may be lost", len(data))
	}
	return nil
}

// end says why the session has ended, and returns the exit status.
func (s *session) end(err error) int {
	if errors.Is(err, reconnect.ErrGaveUp) {
		e := explain(err)
		s.out.tell(e)
		if e.status == exitOK && s.received < s.count {
			s.out.fail("ws: %d of %d messages came", s.received, s.count)
			return exitLost
		}
		return e.status
	}
	s.out.event(event{Event: "close", Code: int(s.farewell.code), Reason: s.farewell.reason})
	bad, ok := errors.AsType[*inputError](err)
	switch {
	case ok:
		s.out.fail("ws: %v", bad)
		return exitUsage
	case s.conn.Load() == nil:
		s.out.fail("ws: interrupted before there was a connection")
		return exitConnect
	case err == errWaited && s.received < s.count:
		s.out.fail("ws: %d of %d messages came within %v; -q sets the time", s.received, s.count, time.Duration(s.answers))
		return exitLost
	}
	s.out.note("closed with %s", closeText(s.farewell.code, s.farewell.reason))
	return exitOK
}
