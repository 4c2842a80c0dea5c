package testnet

import (
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

// A Cutter is a network on the way to a server that breaks off so many connections, each after some bytes of
// what the server sends.
type Cutter struct {
	net.Listener
	to    string
	least int64

	mu   sync.Mutex
	left int
	work sync.WaitGroup
}

// Cut returns a Cutter on the way to an address, for as long as the test runs. It breaks off no connection before it has
// passed on as many bytes as least says, and at the most 2,000 more.
func Cut(t testing.TB, to string, cuts int, least int64) *Cutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &Cutter{Listener: l, to: to, least: least, left: cuts}
	c.work.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			c.work.Go(func() { c.pass(near) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		c.work.Wait()
	})
	return c
}

func (c *Cutter) pass(near net.Conn) {
	defer near.Close()
	far, err := net.Dial("tcp", c.to)
	if err != nil {
		return
	}
	defer far.Close()
	c.work.Go(func() {
		io.Copy(far, near)
		far.Close()
	})
	if c.Done() {
		io.Copy(near, far)
		return
	}
	if n, _ := io.CopyN(near, far, c.least+rand.Int64N(2000)); n >= c.least {
		c.mu.Lock()
		c.left--
		c.mu.Unlock()
	}
	near.(*net.TCPConn).SetLinger(0)
}

// Done reports whether all is passed on from now on.
func (c *Cutter) Done() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.left <= 0
}
