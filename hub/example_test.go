package hub_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/tidewire/websocket"
	"github.com/tidewire/websocket/hub"
	"github.com/tidewire/websocket/hub/hubtest"
)

// chat serves a room in which each hears what the others say.
func chat(h *hub.Hub[none]) *httptest.Server {
	u := websocket.Upgrader{Accept: h.Accept}
	return httptest.NewServer(u.Handler(func(_ http.ResponseWriter, r *http.Request) (func(context.Context, *websocket.Conn), error) {
		user := r.URL.Query().Get("user") // from a cookie or token, if it matters
		return func(ctx context.Context, c *websocket.Conn) {
			id := hub.Identity[none]{User: user, Rooms: []string{"lobby"}}
			h.Serve(ctx, c, id, func(from *hub.Client[none], typ websocket.MessageType, data []byte) error {
				h.Room("lobby").Except(from).Send(ctx, typ, fmt.Appendf(nil, "%s: %s", from.User(), data))
				return nil // whatever the Broker says, if there is one
			})
		}, nil
	}))
}

// enterAs connects a user, and waits until h knows.
func enterAs(ctx context.Context, h *hub.Hub[none], url, user string) (*websocket.Conn, error) {
	c, _, err := websocket.Dial(ctx, url+"?user="+user)
	for err == nil && !h.Online(user) {
		time.Sleep(time.Millisecond)
	}
	return c, err
}

func ExampleHub() {
	h := hub.New[none](hub.Options{})
	server := chat(h)
	defer server.Close()

	ctx := context.Background()
	alice, err := enterAs(ctx, h, server.URL, "Alice")
	if err != nil {
		fmt.Println(err)
		return
	}
	bob, err := enterAs(ctx, h, server.URL, "Bob")
	if err != nil {
		fmt.Println(err)
		return
	}
	alice.Write(ctx, websocket.MessageText, []byte("hello?"))
	_, data, err := bob.Read(ctx)
	fmt.Println(string(data), err)

	go h.Shutdown(ctx, websocket.StatusServiceRestart, 0)
	_, _, err = alice.Read(ctx)
	fmt.Println(err)
	_, _, err = bob.Read(ctx)
	fmt.Println(err)
	// Output:
	// Alice: hello? <nil>
	// websocket: closed by the peer with 1012 (service restart)
	// websocket: closed by the peer with 1012 (service restart)
}

// Two processes, here in one: what is sent in the first comes to a client of the second.
func ExampleBroker() {
	var bus hubtest.Bus
	first := hub.New[none](hub.Options{Broker: bus.Broker()})
	second := hub.New[none](hub.Options{Broker: bus.Broker()})
	server := chat(second)
	defer server.Close()

	ctx := context.Background()
	c, err := enterAs(ctx, second, server.URL, "Alice")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.CloseNow()
	go func() { // the second may not have subscribed yet
		for c.Err() == nil {
			first.User("Alice").Send(ctx, websocket.MessageText, []byte("from afar"))
			time.Sleep(10 * time.Millisecond)
		}
	}()
	_, data, err := c.Read(ctx)
	fmt.Println(string(data), err)
	c.CloseNow()
	first.Shutdown(ctx, websocket.StatusGoingAway, 0)
	second.Shutdown(ctx, websocket.StatusGoingAway, 0)
	// Output:
	// from afar <nil>
}

// What counts is where somebody is now, not where they were while the network was slow.
func ExampleTarget_Latest() {
	h := hub.New[none](hub.Options{})
	server := chat(h)
	defer server.Close()

	ctx := context.Background()
	c, err := enterAs(ctx, h, server.URL, "Alice")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.CloseNow()
	for x := range 100_000 {
		h.All().Latest("position of Bob").Send(ctx, websocket.MessageText, fmt.Append(nil, x))
	}
	for n := 1; ; n++ {
		_, data, err := c.Read(ctx)
		if err != nil {
			fmt.Println(err)
			return
		}
		if string(data) == "99999" {
			fmt.Println("the last came, and not all before it:", n < 100_000)
			return
		}
	}
	// Output:
	// the last came, and not all before it: true
}
