package sse_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/tidewire/websocket/sse"
)

func ExampleRead() {
	stream := ": hello\nid: 1\ndata: one\n\nevent: price\ndata: 42\ndata: EUR\n\n"
	for e, err := range sse.Read(strings.NewReader(stream)) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s %q, after %s\n", e.Type, e.Data, e.ID)
	}
	// Output:
	// message "one", after 1
	// price "42\nEUR", after 1
}

func ExampleEvent_Append() {
	b, err := sse.Event{Type: "price", ID: "2", Data: "43\nEUR"}.Append(nil)
	fmt.Printf("%s%v\n", b, err)
	// Output:
	// id: 2
	// event: price
	// data: 43
	// data: EUR
	//
	// <nil>
}

func ExampleStream() {
	countdown := func(w http.ResponseWriter, r *http.Request) {
		s, err := sse.NewStream(w, r, sse.StreamOptions{})
		if err != nil {
			return
		}
		defer s.Close()
		for i := 3; i > 0; i-- {
			if s.Send(sse.Event{Type: "count", Data: fmt.Sprint(i)}) != nil {
				return
			}
		}
	}
	server := httptest.NewServer(http.HandlerFunc(countdown))
	defer server.Close()
	resp, err := http.Get(server.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	for e := range sse.Read(resp.Body) {
		fmt.Println(e.Type, e.Data)
	}
	// Output:
	// count 3
	// count 2
	// count 1
}

func ExampleServer() {
	var s sse.Server
	server := httptest.NewServer(&s)
	defer server.Close()
	defer s.Shutdown(context.Background()) // or the other would wait

	go func() {
		for s.Clients("prices") == 0 {
			time.Sleep(time.Millisecond)
		}
		s.Publish("prices", sse.Event{Data: "42"})
		s.Publish("weather", sse.Event{Data: "rain"})
		s.Publish("prices", sse.Event{Data: "43"})
	}()

	c := sse.Client{Request: func(ctx context.Context) (*http.Request, error) {
		return http.NewRequestWithContext(ctx, "GET", server.URL+"?topic=prices", nil)
	}}
	for e, err := range c.Events(context.Background()) {
		fmt.Println(e.Data, err)
		if e.Data == "43" {
			break
		}
	}
	// Output:
	// 42 <nil>
	// 43 <nil>
}
