package reconnect

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/tidewire/websocket"
	"github.com/tidewire/websocket/backoff"
)

// A Conn is a connection: a [*websocket.Conn], or what Options.Dial returns in its place. Its methods are used
// as those of that one may be.
type Conn interface {
	Read(ctx context.Context) (websocket.MessageType, []byte, error)
	Write(ctx context.Context, typ websocket.MessageType, p []byte) error
	Ping(ctx context.Context) (time.Duration, error)
	Close(code websocket.StatusCode, reason string) error
	CloseNow() error
}

// Options are what a Client does. The zero value is good. Its functions may use the Client, but for
// Close, which waits for them: that is for a goroutine of its own.
type Options struct {
	// Dialer opens connections; a Target's Header is added to its Header. If PingInterval and PingTimeout are
	// zero, they are 20 s and 10 s. Default: the zero Dialer.
	Dialer websocket.Dialer

	// Target is asked before each attempt where to connect to, with a fresh token for instance. An error makes
	// the attempt fail. Default: the URL given to New.
	Target func(ctx context.Context, attempt int) (Target, error)

	// Dial replaces Dialer.
	Dial func(ctx context.Context, t Target) (Conn, error)

	// ConnectTimeout limits an attempt: Target, the opening handshake, and OnOpen. Default: 10 s. Negative: no
	// limit but that of the Dialer.
	ConnectTimeout time.Duration

	// Backoff is for how long to wait after a failure.
	Backoff backoff.Policy

	// MaxAttempts is after how many failures in a row the client gives up. A connection that was lost
	// too soon for Backoff.ResetAfter is one. Default: never. Negative: whatever fails, also a
	// connection, it is not tried again.
	MaxAttempts int

	// Retry says what to do about the error of an attempt, or of a connection. Default: [DefaultRetry], and after a
	// 401 or 403 one more attempt if Target may have better credentials.
	Retry func(err error) Decision

	// AppHeartbeat is for servers that expect, or answer, messages that are heartbeats. Default: none.
	AppHeartbeat *AppHeartbeat

	// Queue is where messages wait to be sent.
	Queue Queue

	// Inbox is how many messages are read ahead of Read. Default: 64.
	Inbox int

	// OnOpen authenticates or subscribes on a new connection, which it has to itself until it
	// returns; what was queued is sent after that. An error closes the connection, and makes the
	// attempt fail.
	OnOpen func(ctx context.Context, c Conn, epoch uint64) error

	// OnState is told of each State, in order, and must not wait for the Client.
	OnState func(State)

	// OnDrop is told of each message that was queued and will not be sent, and why, one after the
	// other.
	OnDrop func(m Message, why error)
}

// A Target is where to connect to.
type Target struct {
	URL          string
	Header       http.Header
	Subprotocols []string // nil: those of the Dialer
}

// An AppHeartbeat is a message that is sent when none has come for Interval. If none comes for
// Timeout after it, whatever it is, the connection is lost with [ErrHeartbeat].
type AppHeartbeat struct {
	Interval, Timeout time.Duration
	Type              websocket.MessageType // default: MessageText
	Message           func() []byte

	// IsReply reports whether a message is but an answer to heartbeats, which Read does not return. Default: none is.
	IsReply func(typ websocket.MessageType, data []byte) bool
}

// A Queue is how many messages may wait to be sent, and what becomes of one more.
type Queue struct {
	// Messages and Bytes are the limits. Default: 256 and 1 MiB. With negative Messages there is no
	// queue: to send fails when there is no connection. A message longer than Bytes may wait alone.
	Messages, Bytes int

	Policy Policy

	// MaxAge is for how long a message may wait. Default: for ever.
	MaxAge time.Duration

	// Requeue has a message sent again, first, whose write has failed. It may arrive twice.
	Requeue bool
}

// A Policy is what becomes of a message for which the queue has no room.
type Policy int

const (
	Block      Policy = iota // Send waits
	Reject                   // Send returns ErrQueueFull
	DropOldest               // it takes the place of the oldest
	DropNewest               // it is dropped, and Send returns nil
)

// A Message is one that was read, or queued.
type Message struct {
	Type websocket.MessageType
	Data []byte

	// Epoch is the number of the connection that it came from, from 1 on; if it is not that of the message
	// before, something may be missing. It is 0 if the message was queued.
	Epoch uint64
}

// A State is what a Client is doing.
type State struct {
	Phase   Phase
	Epoch   uint64    // the number of the connection, or the last one
	Attempt int       // how many failures in a row there were before
	RetryAt time.Time // when Waiting ends
	Err     error     // why the last attempt failed or the last connection ended
}

// A Phase is what a Client is doing.
type Phase int

const (
	Connecting Phase = iota
	Open
	Waiting // to connect again
	GaveUp  // until Client.Reconnect
	Closed
)

func (p Phase) String() string {
	switch p {
	case Connecting:
		return "connecting"
	case Open:
		return "open"
	case Waiting:
		return "waiting"
	case GaveUp:
		return "gave up"
	case Closed:
		return "closed"
	}
	return fmt.Sprintf("phase %d", int(p))
}

var (
	ErrClosed       = errors.New("reconnect: the client is closed")
	ErrGaveUp       = errors.New("reconnect: gave up")
	ErrQueueFull    = errors.New("reconnect: the queue is full")
	ErrNotConnected = errors.New("reconnect: there is no connection")
	ErrHeartbeat    = errors.New("reconnect: no message came after a heartbeat")
	ErrExpired      = errors.New("reconnect: the message has waited for too long")

	errConnectTimeout = errors.New("reconnect: the attempt took too long")
)

// A config is Options without zeros.
type config struct {
	Options
	fresh bool // Target was given, and may have better credentials the next time
}

// newConfig returns o with what is to be done by default.
func newConfig(rawURL string, o Options) (*config, error) {
	fresh := o.Target != nil
	if !fresh {
		if err := checkURL(rawURL); err != nil {
			return nil, err
		}
		o.Target = func(context.Context, int) (Target, error) { return Target{URL: rawURL}, nil }
	}
	if o.Dialer.PingInterval == 0 && o.Dialer.PingTimeout == 0 {
		o.Dialer.PingInterval, o.Dialer.PingTimeout = 20*time.Second, 10*time.Second
	}
	if o.Dial == nil {
		if err := checkDialer(o.Dialer); err != nil {
			return nil, err
		}
		o.Dial = dialWith(o.Dialer)
	}
	if o.ConnectTimeout == 0 {
		o.ConnectTimeout = 10 * time.Second
	}
	if o.Inbox <= 0 {
		o.Inbox = 64
	}
	if o.Queue.Messages == 0 {
		o.Queue.Messages = 256
	}
	if o.Queue.Bytes <= 0 {
		o.Queue.Bytes = 1 << 20
	}
	if o.AppHeartbeat != nil {
		h := *o.AppHeartbeat
		if h.Interval <= 0 || h.Timeout <= 0 || h.Message == nil {
			return nil, errors.New("reconnect: AppHeartbeat needs an Interval, a Timeout and a Message")
		}
		if h.Type == 0 {
			h.Type = websocket.MessageText
		}
		o.AppHeartbeat = &h
	}
	return &config{o, fresh}, nil
}

// connect makes one attempt.
func (o *config) connect(ctx context.Context, attempt int, epoch uint64) (Conn, error) {
	if o.ConnectTimeout > 0 {
		limited, cancel := context.WithTimeoutCause(ctx, o.ConnectTimeout, errConnectTimeout)
		defer cancel()
		ctx = limited
	}
	target, err := o.Target(ctx, attempt)
	if err != nil {
		return nil, attemptError(ctx, fmt.Errorf("reconnect: Target: %w", err))
	}
	c, err := o.Dial(ctx, target)
	if err != nil {
		return nil, attemptError(ctx, err)
	}
	stop := context.AfterFunc(ctx, func() { c.CloseNow() })
	if o.OnOpen != nil {
		err = o.OnOpen(ctx, c, epoch)
	}
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		c.CloseNow()
		return nil, attemptError(ctx, err)
	}
	return c, nil
}

// attemptError returns err, or why ctx has ended, if that is what err came of.
func attemptError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// A urlError says that there is no connecting to a URL.
type urlError struct{ err error }

func (e *urlError) Error() string { return "reconnect: " + e.err.Error() }
func (e *urlError) Unwrap() error { return e.err }

// checkURL returns an error if rawURL is not that of a server. It has nothing of what may be secret.
func checkURL(rawURL string) error {
	u, err := url.Parse(rawURL)
	if err != nil {
		return &urlError{errors.New("invalid URL")} // the reason may have a part of a password
	}
	switch u.Scheme {
	case "ws", "wss", "http", "https":
		if u.Hostname() != "" {
			return nil
		}
		return &urlError{errors.New("a URL without a host")}
	}
	return &urlError{fmt.Errorf("the scheme %q is not ws, wss, http or https", u.Scheme)}
}

// dialWith returns a function that dials with d.
func dialWith(d websocket.Dialer) func(context.Context, Target) (Conn, error) {
	return func(ctx context.Context, t Target) (Conn, error) {
		if err := checkURL(t.URL); err != nil {
			return nil, err
		}
		d := d
		if len(t.Header) > 0 {
			h := d.Header.Clone()
			if h == nil {
				h = make(http.Header)
			}
			for name, values := range t.Header {
				h[name] = values
			}
			d.Header = h
		}
		if t.Subprotocols != nil {
			d.Subprotocols = t.Subprotocols
		}
		c, _, err := d.Dial(ctx, t.URL)
		if err != nil {
			return nil, err // and not a Conn that holds a nil
		}
		return c, nil
	}
}

// checkDialer returns an error if d can never dial, whatever the network does.
func checkDialer(d websocket.Dialer) error {
	d.Trace, d.HTTP2 = nil, nil
	_, _, err := d.DialConn(context.Background(), deadConn{}, "ws://host/")
	if errors.Is(err, errDead) {
		return nil
	}
	return err
}

var errDead = errors.New("reconnect: not a connection")

// A deadConn is a network connection on which everything fails.
type deadConn struct{}

func (deadConn) Read([]byte) (int, error)         { return 0, errDead }
func (deadConn) Write([]byte) (int, error)        { return 0, errDead }
func (deadConn) Close() error                     { return nil }
func (deadConn) LocalAddr() net.Addr              { return nil }
func (deadConn) RemoteAddr() net.Addr             { return nil }
func (deadConn) SetDeadline(time.Time) error      { return errDead }
func (deadConn) SetReadDeadline(time.Time) error  { return errDead }
func (deadConn) SetWriteDeadline(time.Time) error { return errDead }
