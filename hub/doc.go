// Package hub keeps the connections of a server: all of them, those in a room, those of a user, and
// what waits to be sent on each.
//
//	h := hub.New[struct{}](hub.Options{})
//	u := websocket.Upgrader{Accept: h.Accept}
//	http.Handle("/chat", u.Handler(func(w http.ResponseWriter, r *http.Request) (func(context.Context, *websocket.Conn), error) {
//		id := hub.Identity[struct{}]{User: userOf(r), Rooms: []string{"lobby"}}
//		return func(ctx context.Context, c *websocket.Conn) {
//			h.Serve(ctx, c, id, func(from *hub.Client[struct{}], typ websocket.MessageType, data []byte) error {
//				h.Room("lobby").Except(from).Send(ctx, typ, data)
//				return nil
//			})
//		}, nil
//	}))
//
// # Slow clients
//
// To send never waits for a client. What it has not taken yet waits in a queue of its own, and when
// that is full the [SlowPolicy] decides: by default the client is disconnected with
// StatusTryAgainLater. Nobody else is delayed. A goroutine writes for a client only while there is
// something to write. A client that takes nothing at all is found by the WriteTimeout of its
// connection, one that is gone by the keepalive: see [websocket.Upgrader].
//
// # Order
//
// A client gets messages in the order in which calls of Send have returned, but for [Target.Latest].
// Of calls at the same time, any may be first. From another process, this holds for messages to one topic: one
// room, one user, or all.
//
// # Several processes
//
// A [Broker] carries what is sent to the hubs of other processes. What it carries arrives once at the
// most: when it has lost its connection it says so, see Options.OnGap. Clients of this process get
// what is sent whatever becomes of the Broker: an error of Send is no reason to end a client.
// Presence, counts and Clients are those of this process.
package hub
