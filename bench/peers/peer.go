// Package peers has the WebSocket libraries that are compared, each used as its own documentation
// says is fastest, behind one small interface.
package peers

import (
	"context"
	"net"
	"slices"
)

// A Peer is a library, used in one way.
type Peer struct {
	Name  string
	Notes string // how it is used, and what it leaves out of what ours does
	In    Comparisons
	New   func(Settings) Library

	// What it leaves out: the check that text is UTF-8, and the lock that lets several
	// goroutines write at a time.
	NoUTF8 bool
	NoLock bool

	// Floor is no library, but what there is to be reached by one.
	Floor bool
}

// A Library makes connections.
type Library interface {
	// Serve completes the opening handshakes of the connections of ln, until that is
	// closed. It calls serve for each, in a fresh goroutine if the library can do without the one of
	// the handshake, and closes the connection afterwards. If serve is nil, connections echo.
	Serve(ln net.Listener, serve func(Conn) error) error

	// Dial opens a connection to a server.
	Dial(url string) (Conn, error)

	// Prepare returns a function that sends m on one of many connections, as fast as
	// the library can if the same message goes to all.
	Prepare(m Message) (send func(Conn) error, err error)
}

// A Conn is one end of a connection.
type Conn interface {
	// Echo sends each message back that comes, until the connection ends, and closes it. It is
	// the loop of somebody who uses the library for that, with nothing between: a goroutine begins with 2 KiB
	// of stack, and a function more or less decides whether a connection that waits has 4.
	Echo() error

	// Receive lends f each message that comes, until f returns an error or the
	// connection ends, and returns that error.
	Receive(f func(Message) error) error

	// Send sends a message, in one frame if the library can.
	Send(Message) error

	// Close closes the network connection.
	Close() error
}

// A Message is a whole message.
type Message struct {
	Text bool
	Data []byte
}

// Settings are for all connections of a Library.
type Settings struct {
	// Message is the length of the longest message: libraries that have buffers of
	// a size to be chosen get ones that fit.
	Message int

	// Idle is for connections that mostly wait: such buffers are as small as makes sense.
	Idle bool

	// Deflate asks for permessage-deflate (RFC 7692).
	Deflate *Deflate

	// Over is what carries the connections, if it is not TCP alone. It is for ours.
	Over Transport

	// Dial makes the network connections of clients. Nil: that of a net.Dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error) `json:"-"`
}

// Deflate is how messages are compressed. All are, however short, with the library's level for speed.
type Deflate struct {
	Takeover bool // in both directions
}

// buffer returns how large the buffers of a connection are to be.
func (s Settings) buffer() int {
	if s.Idle {
		return 1 << 10
	}
	return min(max(s.Message+headerRoom, 4<<10), 64<<10)
}

// headerRoom is the length of the longest header of a frame.
const headerRoom = 14

// Comparisons are where a Peer takes part.
type Comparisons uint

const (
	Echoing    Comparisons = 1 << iota // binary messages
	Pipelining                         // several under way on a connection
	Texting                            // text messages
	PipeliningText
	Masses      // of bytes under way
	Reading     // messages without a network
	ReadingText // likewise
	Writing     // likewise
	Handshakes  // upgrade, and dial if it is a client
	Broadcasts
	Idling
	Deflating         // without context takeover
	DeflatingTakeover // with it
	Dialing           // it is a client as well

	everything = Echoing | Pipelining | Texting | PipeliningText | Masses | Reading | ReadingText | Writing |
		Handshakes | Broadcasts | Idling | Dialing

	// full is for a library with what ours does besides and it does not: a check that
	// text is UTF-8, and a lock for concurrent writers. For binary messages over a network that makes
	// no difference.
	full = Texting | PipeliningText | ReadingText | Writing | Dialing
)

// Find returns the peer of that name.
func Find(name string) (Peer, bool) {
	for _, p := range slices.Concat(All, Hubs, Streams) {
		if p.Name == name {
			return p, true
		}
	}
	return Peer{}, false
}

// sendEach is Prepare for a library that has nothing of the kind.
func sendEach(m Message) (func(Conn) error, error) {
	return func(c Conn) error { return c.Send(m) }, nil
}
