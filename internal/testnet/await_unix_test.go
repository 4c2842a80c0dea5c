//go:build unix && !aix

package testnet

import (
	"net"
	"testing"
)

// Pieces that are awaited are read apart. (Nearly all: the kernel is free to
// deliver one late.)
func TestAwaitRead(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	w, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	r := conn.(*net.TCPConn)
	reads := make(chan int)
	go func() {
		n := 0
		for b := make([]byte, 1000); ; n++ {
			if _, err := r.Read(b); err != nil {
				r.Close()
				reads <- n
				return
			}
		}
	}()
	const pieces = 100
	for range pieces {
		write(t, w, "abc")
		AwaitRead(r)
	}
	w.Close()
	if got := <-reads; got < pieces*9/10 {
		t.Errorf("%d pieces were read in %d reads", pieces, got)
	}
	AwaitRead(r) // of a closed connection returns
}
