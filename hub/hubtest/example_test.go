package hubtest_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidewire/websocket"
	"github.com/tidewire/websocket/hub"
	"github.com/tidewire/websocket/hub/hubtest"
	"github.com/tidewire/websocket/websockettest"
)

// A message from one process reaches a client of another, unless what connects them is down.
func ExampleBus() {
	var bus hubtest.Bus
	ctx := context.Background()
	subscribed := make(chan bool, 10)
	here := hub.New[struct{}](hub.Options{Broker: bus.Broker()})
	defer here.Shutdown(ctx, websocket.StatusGoingAway, 0)
	there := hub.New[struct{}](hub.Options{Broker: bus.Broker(), OnGap: func(string) { subscribed <- true }})
	defer there.Shutdown(ctx, websocket.StatusGoingAway, time.Second)

	client, server, err := new(websockettest.Link).Connect(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.CloseNow()
	go there.Serve(ctx, server, hub.Identity[struct{}]{}, nil)
	<-subscribed

	here.All().Send(ctx, websocket.MessageText, []byte("hello"))
	_, data, err := client.Read(ctx)
	fmt.Println(string(data), err)

	bus.SetDown(true)
	_, err = here.All().Send(ctx, websocket.MessageText, []byte("anybody?"))
	fmt.Println(errors.Is(err, hubtest.ErrDown))
	// Output:
	// hello <nil>
	// true
}
