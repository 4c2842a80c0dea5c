package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"

	"github.com/tidewire/websocket/examples/chat/server"
)

const (
	// remembered is for how long a message that comes again is known. Pages know each for longer.
	remembered = time.Hour

	// keptFor is for how long a room is kept in which nothing is said.
	keptFor = 30 * 24 * time.Hour
)

// A redisHistory has a list for each room, and a key for each message that is remembered.
type redisHistory struct{ client *redis.Client }

func (h redisHistory) Add(ctx context.Context, m server.Said) (added bool, err error) {
	p, err := json.Marshal(m)
	if err != nil {
		return false, err
	}
	key := "chat:said:" + m.ID
	err = h.client.SetArgs(ctx, key, 1, redis.SetArgs{Mode: "NX", TTL: remembered}).Err()
	if err == redis.Nil {
		return false, nil // the key is there
	}
	if err != nil {
		return false, err
	}
	list := "chat:history:" + m.Room
	_, err = h.client.TxPipelined(ctx, func(tx redis.Pipeliner) error {
		tx.RPush(ctx, list, p)
		tx.LTrim(ctx, list, -server.Kept, -1)
		tx.Expire(ctx, list, keptFor)
		return nil
	})
	return true, err
}

func (h redisHistory) Recent(ctx context.Context, room string) ([]server.Said, error) {
	list, err := h.client.LRange(ctx, "chat:history:"+room, 0, -1).Result()
	var said []server.Said
	for _, p := range list {
		var m server.Said
		err = errors.Join(err, json.Unmarshal([]byte(p), &m))
		said = append(said, m)
	}
	return said, err
}

// A natsHistory is a stream of JetStream, with a subject for each room.
type natsHistory struct {
	js     jetstream.JetStream
	stream jetstream.Stream
}

const historySubject = "chat.history."

func newNATSHistory(ctx context.Context, nc *nats.Conn) (*natsHistory, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	stream, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name:              "chat-history",
		Subjects:          []string{historySubject + "*"},
		MaxMsgsPerSubject: server.Kept,
		MaxAge:            keptFor,
		Duplicates:        remembered,
	})
	if err != nil {
		return nil, fmt.Errorf("the history needs JetStream: %w", err)
	}
	return &natsHistory{js, stream}, nil
}

// subject returns that of a room, whose name may have any characters.
func subject(room string) string {
	return historySubject + base64.RawURLEncoding.EncodeToString([]byte(room))
}

func (h *natsHistory) Add(ctx context.Context, m server.Said) (added bool, err error) {
	p, err := json.Marshal(m)
	if err != nil {
		return false, err
	}
	ack, err := h.js.Publish(ctx, subject(m.Room), p, jetstream.WithMsgID(m.ID))
	if err != nil {
		return false, err
	}
	return !ack.Duplicate, nil
}

func (h *natsHistory) Recent(ctx context.Context, room string) ([]server.Said, error) {
	consumer, err := h.stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{FilterSubjects: []string{subject(room)}})
	if err != nil {
		return nil, err
	}
	batch, err := consumer.FetchNoWait(server.Kept)
	if err != nil {
		return nil, err
	}
	var said []server.Said
	for msg := range batch.Messages() {
		var m server.Said
		err = errors.Join(err, json.Unmarshal(msg.Data(), &m))
		said = append(said, m)
	}
	return said, errors.Join(err, batch.Error())
}
