package websockettest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"syscall"

	"github.com/tidewire/websocket"
	"github.com/tidewire/websocket/websockettest"
)

// What a program sees of a network that breaks after 100 bytes.
func ExampleLink() {
	ctx := context.Background()
	link := websockettest.Link{ToClient: websockettest.Faults{Cut: 100}}
	client, server, err := link.Connect(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.CloseNow()
	defer server.CloseNow()
	server.Write(ctx, websocket.MessageText, []byte("short"))
	server.Write(ctx, websocket.MessageText, make([]byte, 1000))
	_, data, err := client.Read(ctx)
	fmt.Println(string(data), err)
	_, _, err = client.Read(ctx)
	fmt.Println(int(websocket.CloseStatus(err)), errors.Is(err, syscall.ECONNRESET))
	// Output:
	// short <nil>
	// 1006 true
}

// A server that crashes, and comes back.
func ExampleServer() {
	handler := new(websocket.Upgrader).Handler(func(http.ResponseWriter, *http.Request) (func(context.Context, *websocket.Conn), error) {
		return func(ctx context.Context, c *websocket.Conn) { c.Read(ctx) }, nil
	})
	s := websockettest.NewServer(handler)
	defer s.Close()

	ctx := context.Background()
	c, _, err := s.Dialer().Dial(ctx, s.URL)
	fmt.Println(err)
	s.SetDown(true)
	s.Reset()
	_, _, err = c.Read(ctx)
	fmt.Println(errors.Is(err, syscall.ECONNRESET))
	_, _, err = s.Dialer().Dial(ctx, s.URL)
	fmt.Println(errors.Is(err, syscall.ECONNREFUSED))
	s.SetDown(false)
	c, _, err = s.Dialer().Dial(ctx, s.URL)
	fmt.Println(err)
	c.CloseNow()
	// Output:
	// <nil>
	// true
	// true
	// <nil>
}
