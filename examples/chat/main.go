// Chat is a chat for browsers, in rooms.
//
//	go run ./examples/chat
//
// serves it at http://localhost:8080/ until it is interrupted: open that in two windows. What was
// said last is kept in memory. In adapters/chat there is the same over Redis or NATS, for any number
// of processes.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/tidewire/websocket/examples/chat/server"
)

func main() {
	listen := flag.String("listen", "localhost:8080", "serve on this TCP `address`")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once

	if err := server.ListenAndServe(ctx, os.Stdout, *listen, server.Options{}); err != nil {
		fmt.Fprintln(os.Stderr, "chat:", err)
		os.Exit(1)
	}
}
