//go:build !unix || aix

package testnet

import (
	"net"
	"runtime"
)

// AwaitRead only gives the reader of conn a chance to run: what was read from
// a socket cannot be asked here.
func AwaitRead(*net.TCPConn) { runtime.Gosched() }
