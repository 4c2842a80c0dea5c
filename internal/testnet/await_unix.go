//go:build unix && !aix

package testnet

import (
	"net"
	"runtime"
	"syscall"
	"time"
)

// AwaitRead returns when all that has arrived at conn's socket was read from
// it, or after 100 ms. A test that writes pieces to the other end and calls
// it after each has them read one by one.
func AwaitRead(conn *net.TCPConn) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	for start, turn := time.Now(), 0; time.Since(start) < 100*time.Millisecond; turn++ {
		var n int
		var peeked error
		err := raw.Control(func(fd uintptr) {
			var b [1]byte
			n, _, peeked = syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		})
		if err != nil || peeked != nil || n == 0 {
			return
		}
		if turn < 20 {
			runtime.Gosched()
		} else {
			time.Sleep(10 * time.Microsecond) // the reader may need this processor
		}
	}
}
