//go:build external

package redisbroker_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidewire/websocket"
	"github.com/tidewire/websocket/adapters/redisbroker"
	"github.com/tidewire/websocket/hub"
)

// Two processes, here in one: what is sent in the first comes to a client of the second.
func Example() {
	s, err := startServer()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.stop()
	client := redis.NewClient(&redis.Options{Addr: s.addr})
	defer client.Close()

	ctx := context.Background()
	first := hub.New[struct{}](hub.Options{Broker: redisbroker.New(client, redisbroker.Options{})})
	defer first.Shutdown(ctx, websocket.StatusGoingAway, 0)
	second := hub.New[struct{}](hub.Options{Broker: redisbroker.New(client, redisbroker.Options{})})
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
	for client.PubSubNumSub(ctx, "websocket:room:lobby").Val()["websocket:room:lobby"] == 0 {
		time.Sleep(time.Millisecond) // the second has not subscribed yet
	}
	first.Room("lobby").Send(ctx, websocket.MessageText, []byte("from afar"))
	_, data, err := c.Read(ctx)
	fmt.Println(string(data), err)
	// Output:
	// from afar <nil>
}
