// Package deflate compresses and decompresses the messages of a WebSocket
// connection: RFC 1951 in the shape that RFC 7692 gives it, where the messages
// of one direction are one stream, or each is a stream of its own, and each ends
// with an empty stored block of which the last four bytes, 00 00 FF FF, are not
// sent.
//
// An [Encoder] and an [Inflater] are one direction of one connection. Between
// messages they hold the window, grown to what it holds and never larger than
// agreed, and the Encoder its hash table; all else comes from pools while a
// message is under way. Both append to a buffer of the caller's.
package deflate
