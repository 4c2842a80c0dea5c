package websockettest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/tidewire/websocket"
	"github.com/tidewire/websocket/internal/testnet"
)

// Faults are what is wrong with a network, in one direction. The zero value is a network without
// faults.
type Faults struct {
	// Latency is how much later bytes arrive, and the end of the stream, than they are sent.
	Latency time.Duration

	// Chunk is how many bytes arrive at a time, at the most. 0 is for any number.
	Chunk int

	// Stall is after how many bytes no more arrive, though the connection stays open. 0 is for
	// never.
	Stall int64

	// Cut is after how many bytes the connection is reset, for both ends. 0 is for never.
	Cut int64
}

// A Link makes connections in memory. The zero Link has a zero Dialer and Upgrader, and a network
// without faults.
type Link struct {
	Dialer   websocket.Dialer
	Upgrader websocket.Upgrader

	// What is wrong with the network once the opening handshake is over, and counted from
	// there.
	ToClient, ToServer Faults
}

// Pipe returns the two ends of a connection in memory, which are closed when the test ends.
func Pipe(t testing.TB) (client, server *websocket.Conn) {
	t.Helper()
	client, server, err := new(Link).Connect(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.CloseNow()
		server.CloseNow()
	})
	return client, server
}

// Connect returns the two ends of a connection in memory, or why the handshake failed on one of
// them. They are to be closed, both.
func (l *Link) Connect(ctx context.Context) (client, server *websocket.Conn, err error) {
	near, far := testnet.Pipe()
	var refused error
	var upgrade sync.WaitGroup
	upgrade.Go(func() { server, _, refused = l.Upgrader.UpgradeConn(ctx, far) })
	client, _, err = l.Dialer.DialConn(ctx, near, "ws://websocket.test/")
	upgrade.Wait()
	if err == nil && refused == nil {
		near.SetFaults(testnet.Faults(l.ToClient))
		far.SetFaults(testnet.Faults(l.ToServer))
		return client, server, nil
	}
	for _, c := range []*websocket.Conn{client, server} {
		if c != nil {
			c.CloseNow()
		}
	}
	if _, answered := errors.AsType[*websocket.HandshakeError](refused); answered || err == nil {
		err = refused // which says more than what the client was told
	}
	return nil, nil, err
}
