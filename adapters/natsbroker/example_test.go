package natsbroker_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"github.com/tidewire/websocket"
	"github.com/tidewire/websocket/adapters/natsbroker"
	"github.com/tidewire/websocket/hub"
)

// Two processes, here in one: what is sent in the first comes to a client of the second.
func Example() {
	ns, err := natsserver.NewServer(&natsserver.Options{Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, NoSigs: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	ns.Start()
	defer ns.Shutdown()

	ctx := context.Background()
	first := hub.New[struct{}](hub.Options{Broker: natsbroker.New(ns.ClientURL(), natsbroker.Options{})})
	defer first.Shutdown(ctx, websocket.StatusGoingAway, 0)
	second := hub.New[struct{}](hub.Options{Broker: natsbroker.New(ns.ClientURL(), natsbroker.Options{})})
	defer second.Shutdown(ctx, websocket.StatusGoingAway, 0)

	server := httptest.NewServer(new(websocket.Upgrader).Handler(
		func(http.ResponseWriter, *http.Request) (func(context.Context, *websocket.Conn), error) {
			return func(ctx context.Context, c *websocket.Conn) {
				second.Serve(ctx, c, hub.Identity[struct{}]{Rooms: []string{"lobby"}}, nil)
			}, nil
		}))
	defer server.Close()
	c, _, err := websocket.Dial(ctx, server.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.CloseNow()
	go func() { // the second may not have subscribed yet
		for c.Err() == nil {
			first.Room("lobby").Send(ctx, websocket.MessageText, []byte("from afar"))
			time.Sleep(10 * time.Millisecond)
		}
	}()
	_, data, err := c.Read(ctx)
	fmt.Println(string(data), err)
	// Output:
	// from afar <nil>
}
