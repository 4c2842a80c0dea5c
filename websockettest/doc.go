// Package websockettest is for tests of programs that use package websocket. It makes
// connections in memory, with the real opening handshake, and networks that are slow, stall, or break.
//
//	client, server := websockettest.Pipe(t)
//
// All of it works in a bubble of [testing/synctest], where a test of half a minute of silence takes no
// time: whoever waits for one of these connections is durably blocked.
package websockettest
