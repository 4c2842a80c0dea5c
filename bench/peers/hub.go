package peers

import (
	"context"
	"net"
	"net/http"

	"github.com/tidewire/websocket"
	"github.com/tidewire/websocket/hub"
)

// Hubs are ways to send a message to all clients.
var Hubs = []Peer{
	{
		Name:  "loop",
		Notes: "a loop over Conn.WritePrepared, and each connection in a loop over Conn.Messages",
		New:   newOurs(withMessages, withoutPings),
	},
	{
		Name:  "hub",
		Notes: "package hub",
		New:   newHub,
	},
}

// A Broadcaster is a Library that keeps its connections itself.
type Broadcaster interface {
	Connections() int
	Broadcast(Message) error
}

type none = struct{}

// oursHub is ours with package hub, whose clients echo.
type oursHub struct {
	*ours
	hub *hub.Hub[none]
}

func newHub(s Settings) Library {
	return &oursHub{newOurs(withoutPings)(s).(*ours), hub.New[none](hub.Options{})}
}

func (h *oursHub) Serve(ln net.Listener, _ func(Conn) error) error {
	handler := h.upgrader.Handler(func(http.ResponseWriter, *http.Request) (func(context.Context, *websocket.Conn), error) {
		return h.serve, nil
	})
	return h.over.serve(ln, handler)
}

func (h *oursHub) serve(ctx context.Context, c *websocket.Conn) {
	h.hub.Serve(ctx, c, hub.Identity[none]{}, echoHub)
}

func echoHub(from *hub.Client[none], typ websocket.MessageType, p []byte) error {
	return from.Send(typ, p)
}

func (h *oursHub) Connections() int { return h.hub.Count().Connections }

func (h *oursHub) Broadcast(m Message) error {
	_, err := h.hub.All().Send(context.Background(), oursType(m.Text), m.Data)
	return err
}
