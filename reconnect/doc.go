// Package reconnect keeps a WebSocket connection to a server: when one is lost, it opens another.
//
//	c, err := reconnect.New("wss://example.com/feed", reconnect.Options{
//		OnOpen: func(ctx context.Context, c reconnect.Conn, epoch uint64) error {
//			return c.Write(ctx, websocket.MessageText, []byte(`{"subscribe":"news"}`))
//		},
//	})
//	if err != nil {
//		return err
//	}
//	defer c.Close(websocket.StatusNormalClosure, "")
//	for m, err := range c.Messages(ctx) {
//		…
//	}
//
// A [Client] reads and sends across connections. [Conns] is the small form, a loop over connections whose body
// owns each.
//
// # Delivery
//
// A message is sent once at the most: what was being written when a connection was lost may have
// arrived, and is not sent again, unless [Queue].Requeue says so; then it may arrive twice. A message
// counts as sent when the kernel has it, or with Batching the connection, which may be lost after
// that. For certainty the far side has to acknowledge what it gets, and OnOpen to send again what was
// not acknowledged. Messages that the server sends while there is no connection are lost: a new
// [Message].Epoch says that something may be missing.
//
// # Silence
//
// A connection whose peer is gone is found by the keepalive of package websocket: by default, a Ping
// after 20 s of silence, and the end after 10 s more. Any byte that comes is a sign of life. While the
// inbox is full nothing is read, and the silence is ours: it does not count. In a browser, there is no
// such keepalive: see AppHeartbeat. A laptop that wakes up may know earlier: [Client.Reconnect].
package reconnect
