//go:build linux

package bench

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/tidewire/websocket/bench/child"
	"github.com/tidewire/websocket/bench/load"
	"github.com/tidewire/websocket/bench/peers"
	"github.com/tidewire/websocket/bench/wire"
)

// handshakes is how many there are at a time: a server that has something to do, as
// the one who asks what an upgrade costs has.
const handshakes = 32

// BenchmarkUpgrade measures servers. An operation is 32 connections that are opened, with a
// request as browsers send it, and closed again.
func BenchmarkUpgrade(b *testing.B) {
	for _, p := range peersIn(peers.Handshakes) {
		b.Run("peer="+p.Name, func(b *testing.B) {
			server := start(b, child.Spec{Role: child.Server, Peer: p.Name, Settings: peers.Settings{Idle: true}})
			open := func() error { return openAndClose(server.Addr, handshakes) }
			for range pick(1, 10, 50) {
				if err := open(); err != nil {
					b.Fatal(err)
				}
			}
			reportCost(b, server, "conn", handshakes, open)
		})
	}
}

// openAndClose opens n connections, and closes them.
func openAndClose(addr string, n int) error {
	conns := make([]*net.TCPConn, 0, n)
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for range n {
		c, err := wire.Begin(addr, "")
		if err != nil {
			return err
		}
		conns = append(conns, c)
	}
	for _, c := range conns {
		if _, err := wire.Finish(c); err != nil {
			return err
		}
	}
	return nil
}

// BenchmarkDial measures clients. An operation is 32 connections that are opened and closed again.
func BenchmarkDial(b *testing.B) {
	for _, p := range peersIn(peers.Handshakes | peers.Dialing) {
		b.Run("peer="+p.Name, func(b *testing.B) {
			ln := listen(b)
			client := start(b, child.Spec{
				Role: child.Dialer, Peer: p.Name, Settings: peers.Settings{Idle: true},
				Addr: ln.Addr().String(), Connections: handshakes,
			})
			accept := func() error { return acceptAndClose(ln, handshakes) }
			for range pick(1, 10, 50) {
				if err := accept(); err != nil {
					b.Fatal(err)
				}
			}
			reportCost(b, client, "conn", handshakes, accept)
		})
	}
}

// acceptAndClose accepts n connections, and waits until the clients have closed them.
func acceptAndClose(ln *net.TCPListener, n int) error {
	if err := ln.SetDeadline(time.Now().Add(load.Patience)); err != nil {
		return err
	}
	conns := make([]*net.TCPConn, 0, n)
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for range n {
		c, err := wire.Accept(ln)
		if err != nil {
			return err
		}
		conns = append(conns, c)
	}
	for _, c := range conns {
		io.Copy(io.Discard, c) // to the end, whichever that is
	}
	return nil
}
