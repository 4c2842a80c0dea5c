package wsjson_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/tidewire/websocket"
	"github.com/tidewire/websocket/wsjson"
)

// A Point is what the examples send.
type Point struct {
	X int `json:"x"`
	Y int `json:"y"`
}

// start starts a server that serves each connection with serve.
func start(serve func(context.Context, *websocket.Conn)) *httptest.Server {
	return httptest.NewServer(new(websocket.Upgrader).Handler(func(http.ResponseWriter, *http.Request) (func(context.Context, *websocket.Conn), error) {
		return serve, nil
	}))
}

// A server that swaps the coordinates of points.
func Example() {
	server := start(func(ctx context.Context, c *websocket.Conn) {
		for {
			p, err := wsjson.Read[Point](ctx, c)
			if err != nil {
				return
			}
			if err := wsjson.Write(ctx, c, Point{X: p.Y, Y: p.X}); err != nil {
				return
			}
		}
	})
	defer server.Close()

	ctx := context.Background()
	c, _, err := websocket.Dial(ctx, server.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.CloseNow()
	wsjson.Write(ctx, c, Point{X: 1, Y: 2})
	p, err := wsjson.Read[Point](ctx, c)
	fmt.Println(p, err)
	// Output: {2 1} <nil>
}

// A server with a function for each type of message.
func ExampleMux() {
	type conn = *websocket.Conn
	type reply = wsjson.Envelope[string, int]
	var m wsjson.Mux[string, conn]
	wsjson.Handle(&m, "double", func(ctx context.Context, c conn, e wsjson.Envelope[string, int]) error {
		return wsjson.Write(ctx, c, reply{Type: "result", ID: e.ID, Data: 2 * e.Data})
	})
	wsjson.Handle(&m, "distance", func(ctx context.Context, c conn, e wsjson.Envelope[string, Point]) error {
		return wsjson.Write(ctx, c, reply{Type: "result", ID: e.ID, Data: e.Data.X + e.Data.Y})
	})
	server := start(func(ctx context.Context, c *websocket.Conn) {
		for msg, err := range c.Messages(ctx) {
			if err != nil || m.Dispatch(ctx, c, msg.Data) != nil {
				return
			}
		}
	})
	defer server.Close()

	ctx := context.Background()
	c, _, err := websocket.Dial(ctx, server.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.CloseNow()
	wsjson.Write(ctx, c, wsjson.Envelope[string, int]{Type: "double", ID: 1, Data: 21})
	wsjson.Write(ctx, c, wsjson.Envelope[string, Point]{Type: "distance", ID: 2, Data: Point{X: 3, Y: 4}})
	for range 2 {
		e, err := wsjson.Read[reply](ctx, c)
		fmt.Println(e.Type, e.ID, e.Data, err)
	}
	// Output:
	// result 1 42 <nil>
	// result 2 7 <nil>
}
