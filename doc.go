// Package websocket implements the WebSocket protocol, [RFC 6455], for servers
// and clients. It has no dependencies outside the standard library.
//
// A server makes a [Conn] of an HTTP request with an [Upgrader]:
//
//	http.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
//		c, err := websocket.Upgrade(w, r)
//		if err != nil {
//			return // the request has been answered
//		}
//		defer c.CloseNow()
//		for m, err := range c.Messages(context.Background()) {
//			if err != nil {
//				log.Print(err)
//				return
//			}
//			if err := c.Write(context.Background(), m.Type, m.Data); err != nil {
//				return
//			}
//		}
//	})
//
// A client gets one from a [Dialer]:
//
//	c, _, err := websocket.Dial(ctx, "wss://example.com/echo")
//
// Both have the same methods. [Upgrader.Handler] is the form of a server for
// many connections: it gives back what net/http needs for a request while a
// connection lives. [Upgrader.UpgradeConn] does without an [net/http.Server].
//
// # Reading
//
// [Conn.Read] returns a message in a slice of its own, [Conn.ReadAppend] in one of
// yours, and [Conn.Messages] is a loop over messages that are lent to its body:
// the fastest. [Conn.NextReader] is for messages too large to hold, an
// [io.Reader]. They may be mixed. All return when their context ends, and
// nothing is lost by that.
//
// Pings are answered, and the peer's Close is noticed, while a read is in
// progress. An application that only writes calls [Conn.CloseRead] once.
//
// # Writing
//
// [Conn.Write] writes a message in one frame, [Conn.WriteBatch] several in as few system
// calls as possible, [Conn.WritePrepared] one that was framed once for many
// connections, and [Conn.NextWriter] returns an [io.Writer] for a message that
// is written in pieces. Write returns when the kernel has the message. What
// goroutines write at the same time shares system calls.
//
// With [Upgrader.Batching] or [Dialer.Batching], so do the answers to messages that
// were received together: they are held, for a millisecond at the most, while
// there are more to be read. [Conn.Flush] sends them at once.
//
// # Closing
//
// [Conn.Close] does the closing handshake (RFC 6455, section 7.1.2), in CloseTimeout at
// the most. [Conn.CloseNow] closes the network connection at once. If the peer
// closes, a read answers that and returns a [*CloseError] with its code and
// reason.
//
// A connection may end in five ways: by either of these calls, by the peer's
// Close, by a violation of the protocol or of a limit, by an error of the
// network, or because the peer was silent for too long. Every call then returns
// the same CloseError, [Conn.Err] too, and the channel of [Conn.Done] is
// closed. errors.Is(err, net.ErrClosed) tells the end that this side brought
// about from others, and [CloseStatus] gets at the code.
//
// # Concurrency
//
// All methods of a Conn may be called by any number of goroutines. There is one
// read at a time; a second one fails with [ErrConcurrentRead] and disturbs
// nothing. A [MessageReader] or [MessageWriter] belongs to one goroutine.
// Upgrader and Dialer are plain values without state.
//
// The package starts no goroutine that you did not ask for, by CloseRead or
// Handler, but for these: one that finishes an answer to a Ping or a Close that
// the kernel did not take at once, one that waits within CloseTimeout for a
// peer to close its end of a connection that is done with, and, for the life of
// a connection whose [net.Conn] has no read deadlines, one that reads.
//
// # Cancellation
//
// A context that ends makes a call return its cause. A read can go on
// afterwards as if nothing had been. A write is withdrawn if nothing of its
// frame has left; else half a frame is on its way, and the connection is
// failed. There are no deadlines on a Conn: WriteTimeout limits the time that a
// write makes no progress, and PingInterval and PingTimeout find a peer that is
// gone.
//
// To pass the same context to every read costs nothing, a fresh one three
// allocations.
//
// # Tracing
//
// [Upgrader].Trace and [Dialer].Trace name functions that are told of handshakes, frames,
// Pongs and ends, for logs and metrics. The package itself logs nothing but panics that
// Handler has caught.
//
// # Compression
//
// [Upgrader].Compression and [Dialer].Compression turn on permessage-deflate (RFC
// 7692), which is used if both sides know it. Messages are then compressed if
// they are long enough and get shorter by it; [MessageWriter.SetCompress] decides
// for one. Windows of 9 to 15 bits are kept to in both directions. Nothing is
// held for it before the first compressed message.
//
// It is worth it where bytes cost more than time. JSON of these sizes becomes this
// much shorter, and takes this long to compress and to inflate, on one core of an
// x86 server (bench/deflate.sh; windows of 12 bits):
//
//	                 256 B                 1 KiB                  16 KiB
//	takeover         2.4 times, 4 + 2 µs   2.9 times, 10 + 5 µs   3.2 times, 120 + 53 µs
//	no takeover      1.4 times, 6 + 3 µs   2.1 times, 12 + 6 µs   3.2 times,  86 + 54 µs
//
// To send a message costs some 10 µs of system calls, so compression doubles the
// time for a message of 1 KiB: switch it on for clients behind the Internet or a
// mobile network, where bytes are paid for or the line is slow. A connection takes 8
// to 14 KB more for it with takeover, and 2.4 KB without.
//
// Leave it off on a fast network of your own, and for what is compressed already:
// pictures, sound, video. For messages that hold a secret beside what somebody
// else can choose, see Security Considerations.
//
// Some clients get compression wrong: Safari before 15.4 promises to do without
// context takeover and does not, and some of its versions fail at compressed
// messages of several fragments. If you have to serve them, have an Upgrader for
// their User-Agent whose Compression is nil.
//
// # In a browser
//
// With GOOS=js, Dial uses the WebSocket of the browser, or of Node, unless there is a
// DialContext. The Conn has the same methods. What a browser does not let a program do
// fails with an error that says so: Pings, text that is not UTF-8, status codes other than
// 1000 and 3000 to 4999, and what a Dialer says of header fields, cookies, TLS, proxies and HTTP/2.
// A connection that is failed is closed without a status code. Compression is up to the browser, which
// receives whatever comes, whether it is read or not. There is no keepalive: that a network is dead
// shows when something is written. A write returns when the browser has the message and says that it
// has no more than 1 MiB to send. A Trace is told of what the Conn makes of messages: frames.
//
// # Terminology
//
// The words are those of RFC 6455. A frame is what goes over the wire (section
// 5.2), and a message consists of the payload of one or more (section 5.4), its
// fragments. Ping, Pong and Close are control frames (section 5.5). A status
// code stands in a Close frame (section 7.4), a close code is what a connection
// ended up with (section 7.1.5).
//
// # Security Considerations
//
// These limits hold unless changed:
//
//	size of a message                  1 MiB     ReadLimit
//	fragments of a message             65,536, and one more for each 64 bytes
//	opening handshake                  10 s      HandshakeTimeout
//	response to it                     64 KiB, 100 fields, five interim responses
//	silence before a Ping              30 s      PingInterval
//	silence after a Ping               30 s      PingTimeout
//	write without progress             30 s      WriteTimeout
//	closing handshake                  5 s       CloseTimeout
//
// The request is limited by the [net/http.Server], and in UpgradeConn to 64 KiB and 100
// fields, of 8 KiB a line. Memory is spent on what was
// received, not on what was announced; of a compressed message, the limit is on
// what it inflates to, and what inflates to nothing is limited too. Pages of other origins can't connect
// (RFC 6455, section 10.2) unless [Upgrader].Origins has them. Masking keys and
// nonces come from [crypto/rand] (RFC 6455, section 10.3). Text is checked to
// be UTF-8 (RFC 6455, section 8.1) as it arrives; what is written is not.
// Redirects are not followed.
//
// How long a compressed message is, tells about its content. Somebody who can put
// something into the messages that hold a secret, or between them, and sees their
// lengths on the wire, may guess the secret piece by piece, also over TLS (RFC
// 7692, section 8). Compression is off by default; send such messages with
// [MessageWriter.SetCompress](false).
//
// # Limitations
//
// Of extensions, there is permessage-deflate. Over HTTP/2 (RFC 8441), on a server whose package main
// imports [github.com/tidewire/websocket/http2] and with [Dialer].HTTP2, a connection takes some
// 24 KB on the server, a message two to four times the time, and a Write that has to end ends the
// connection.
//
// [RFC 6455]: https://www.rfc-editor.org/rfc/rfc6455.html
package websocket
