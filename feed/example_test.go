package feed_test

import (
	"context"
	"fmt"
	"time"

	"github.com/tidewire/websocket/feed"
)

func Example() {
	f := feed.New(feed.Limits{Count: 2})
	start := f.Head()
	f.Append([]byte("one"))
	second := f.Append([]byte("two"))
	f.Append([]byte("three"))

	items, next, err := f.After(second, 0)
	fmt.Printf("%s %v\n", items[0].Data, err)

	_, _, err = f.After(start, 0)
	fmt.Println(err)

	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	_, _, err = f.Wait(ctx, next, 0)
	fmt.Println(err)
	// Output:
	// three <nil>
	// feed: the position is lost
	// context deadline exceeded
}

func ExampleFeed_Reader() {
	f := feed.New(feed.Limits{})
	before := f.Head()
	say := func(topic, text string) {
		f.AppendTo(topic, func(feed.Cursor) []byte { return []byte(text) })
	}
	say("news", "It rains.")
	say("sport", "It was a draw.")
	say("news", "It has stopped.")

	r, ok := f.Reader(before, "news")
	defer r.Close()
	<-r.More()
	items, err := r.Next(0)
	fmt.Println(ok, err)
	for _, item := range items {
		fmt.Printf("%s\n", item.Data)
	}
	// Output:
	// true <nil>
	// It rains.
	// It has stopped.
}
