// Package http2 has the servers of net/http accept WebSockets over HTTP/2 (RFC 8441). It is imported
// for that effect, by package main:
//
//	import _ "github.com/tidewire/websocket/http2"
//
// It holds for all servers of the process. Browsers then use HTTP/2 for wss wherever a server offers
// it, so whatever handles WebSockets there must know them over HTTP/2, as package websocket does:
//
//   - A connection ends with its handler. One that returns, having given the connection to another
//     goroutine, is right for HTTP/1.1 only; [github.com/tidewire/websocket.Upgrader.Handler] is for both.
//   - The method of the request is CONNECT: a pattern such as "GET /chat" does not match it.
//   - The Shutdown of an [net/http.Server] waits for these connections.
//   - A peer whose network takes nothing is ended by the HTTP2.WriteByteTimeout of the http.Server,
//     where over HTTP/1.1 the WriteTimeout of the Upgrader does that.
//
// The environment variable GODEBUG=http2xconnect=1 does the same, and this package sets it. With
// http2xconnect=0 there, it does nothing.
package http2

import "os"

// Package net/http looks at GODEBUG when it is initialised. Of the packages whose imports are
// initialised, the one with the first path is next (Go 1.21): this one needs only os, and comes
// before net/http.
func init() {
	os.Setenv("GODEBUG", withExtendedConnect(os.Getenv("GODEBUG")))
}

// withExtendedConnect returns a GODEBUG with the setting, unless it has one.
func withExtendedConnect(godebug string) string {
	const name = "http2xconnect="
	for i := range godebug { // by hand: package strings would be one more to wait for
		if len(godebug)-i >= len(name) && godebug[i:i+len(name)] == name {
			return godebug
		}
	}
	if godebug != "" {
		godebug += ","
	}
	return godebug + name + "1"
}
