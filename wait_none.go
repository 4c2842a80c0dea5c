//go:build !unix

package websocket

import "net"

// A rawSocket is none: a socket can't be waited for without a buffer here.
type rawSocket struct{ socket }

func (*rawSocket) open(net.Conn) bool { return false }
