//go:build !unix

package websocket

import "net"

// newRawSocket returns nil: a socket can't be waited for without a buffer here.
func newRawSocket(net.Conn) socket { return nil }
