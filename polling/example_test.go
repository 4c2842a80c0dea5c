package polling_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"github.com/tidewire/websocket/feed"
	"github.com/tidewire/websocket/polling"
)

func ExampleHandler() {
	f := feed.New(feed.Limits{})
	server := httptest.NewServer(&polling.Handler{
		Feed: func(*http.Request) (*feed.Feed, error) { return f, nil },
	})
	defer server.Close()

	for batch, err := range polling.Long(context.Background(), server.URL, polling.LongOptions{}) {
		switch {
		case err != nil:
			fmt.Println(err)
			return
		case batch.Reset:
			fmt.Println("now I know where to begin")
			f.Append([]byte(`{"price":42}`))
			continue
		}
		fmt.Printf("%s\n", batch.Events)
		break
	}
	// Output:
	// now I know where to begin
	// [{"price":42}]
}

func ExampleEvery() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `{"price":42}`)
	}))
	defer server.Close()

	type product struct{ Price int }
	for p, err := range polling.Every(context.Background(), polling.Options{}, polling.Get[product](nil, server.URL)) {
		fmt.Println(p.Price, err)
		break
	}
	// Output:
	// 42 <nil>
}
