package reconnect_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/tidewire/websocket"
	"github.com/tidewire/websocket/backoff"
	"github.com/tidewire/websocket/reconnect"
)

// newServer starts a server that greets, and closes the connection after the first message.
func newServer() *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Upgrade(w, r)
		if err != nil {
			return
		}
		_, name, err := c.Read(r.Context())
		if err != nil {
			return
		}
		c.Write(r.Context(), websocket.MessageText, fmt.Appendf(nil, "hello, %s", name))
		c.Close(websocket.StatusServiceRestart, "")
	}))
}

// soon is for examples, which nobody wants to wait for.
func soon(error) reconnect.Decision { return reconnect.Decision{} }

// A client that says who it is on each connection, and does not notice that the server is restarted.
func ExampleClient() {
	server := newServer()
	defer server.Close()
	c, err := reconnect.New(server.URL, reconnect.Options{
		Backoff: backoff.Policy{Min: time.Millisecond},
		Retry:   soon,
		OnOpen: func(ctx context.Context, c reconnect.Conn, epoch uint64) error {
			return c.Write(ctx, websocket.MessageText, fmt.Append(nil, "Alice, for the ", epoch))
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close(websocket.StatusNormalClosure, "")
	for m, err := range c.Messages(context.Background()) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s (connection %d)\n", m.Data, m.Epoch)
		if m.Epoch == 3 {
			return
		}
	}
	// Output:
	// hello, Alice, for the 1 (connection 1)
	// hello, Alice, for the 2 (connection 2)
	// hello, Alice, for the 3 (connection 3)
}

// What the client is doing, for a light in the corner of a page.
func ExampleOptions() {
	server := newServer()
	defer server.Close()
	ctx := context.Background()
	c, err := reconnect.New(server.URL, reconnect.Options{
		MaxAttempts: 1,
		OnState:     func(s reconnect.State) { fmt.Println(s.Phase) },
		Queue:       reconnect.Queue{Messages: 10, Policy: reconnect.DropOldest},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	c.Send(ctx, websocket.MessageText, []byte("Bob"))
	m, err := c.Read(ctx)
	_, last := c.Read(ctx)
	c.Close(websocket.StatusNormalClosure, "")
	fmt.Println(string(m.Data), err)
	fmt.Println(last)
	// Output:
	// connecting
	// open
	// gave up
	// closed
	// hello, Bob <nil>
	// reconnect: gave up: websocket: closed by the peer with 1012 (service restart)
}

// A loop whose body has each connection to itself.
func ExampleConns() {
	server := newServer()
	defer server.Close()
	ctx := context.Background()
	n := 0
	for c, err := range reconnect.Conns(ctx, server.URL, reconnect.Options{Backoff: backoff.Policy{Min: time.Millisecond}, Retry: soon}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		c.Write(ctx, websocket.MessageText, []byte("Carol"))
		_, data, err := c.Read(ctx)
		fmt.Println(string(data), err)
		if n++; n == 2 {
			break
		}
	}
	// Output:
	// hello, Carol <nil>
	// hello, Carol <nil>
}
