package sse_test

import (
	"fmt"
	"strings"

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
