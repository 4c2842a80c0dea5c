// Package wsjson reads and writes messages of a [websocket.Conn] as JSON, and has an envelope
// that says of which type a message is, with a [Mux] that calls a function for each.
//
//	msg, err := wsjson.Read[Chat](ctx, c)
//	err = wsjson.Write(ctx, c, Chat{Text: "hello"})
//
// What JSON a Go value becomes, and the other way round, is said in [encoding/json].
package wsjson
