// Chat is examples/chat for any number of processes, which share what they say over Redis or NATS, and
// the history there.
//
//	go run . -redis localhost:6379 -listen localhost:8080
//	go run . -redis localhost:6379 -listen localhost:8081
//
// or, with a nats-server that has JetStream (nats-server -js),
//
//	go run . -nats nats://localhost:4222 -listen localhost:8080
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/nats-io/nats.go"
	"github.com/redis/go-redis/v9"

	"github.com/tidewire/websocket/adapters/natsbroker"
	"github.com/tidewire/websocket/adapters/redisbroker"
	"github.com/tidewire/websocket/examples/chat/server"
)

func main() {
	listen := flag.String("listen", "localhost:8080", "serve on this TCP `address`")
	redisAddr := flag.String("redis", "", "the `address` of Redis")
	natsURL := flag.String("nats", "", "the `URL` of NATS")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once

	if err := run(ctx, os.Stdout, *listen, *redisAddr, *natsURL); err != nil {
		fmt.Fprintln(os.Stderr, "chat:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, listen, redisAddr, natsURL string) error {
	switch {
	case (redisAddr == "") == (natsURL == ""):
		return errors.New("want one of -redis and -nats")
	case redisAddr != "":
		return overRedis(ctx, out, listen, redisAddr)
	}
	return overNATS(ctx, out, listen, natsURL)
}

func overRedis(ctx context.Context, out io.Writer, listen, addr string) error {
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	if err := client.Ping(ctx).Err(); err != nil {
		return err
	}
	return server.ListenAndServe(ctx, out, listen, server.Options{
		Broker:  redisbroker.New(client, redisbroker.Options{Prefix: "chat:"}),
		History: redisHistory{client},
	})
}

func overNATS(ctx context.Context, out io.Writer, listen, url string) error {
	nc, err := nats.Connect(url, nats.MaxReconnects(-1))
	if err != nil {
		return err
	}
	defer nc.Close()
	history, err := newNATSHistory(ctx, nc)
	if err != nil {
		return err
	}
	return server.ListenAndServe(ctx, out, listen, server.Options{
		Broker:  natsbroker.New(url, natsbroker.Options{Prefix: "chat.topic."}),
		History: history,
	})
}
