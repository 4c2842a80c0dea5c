package redisbroker_test

import (
	"os"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tidewire/websocket/adapters/internal/brokertest"
	"github.com/tidewire/websocket/adapters/redisbroker"
	"github.com/tidewire/websocket/hub"
	"github.com/tidewire/websocket/internal/testnet"
)

func TestMain(m *testing.M) {
	if brokertest.Child(os.Stdin, os.Stdout, func(addr string) hub.Broker {
		return redisbroker.New(redis.NewClient(&redis.Options{Addr: addr}), redisbroker.Options{})
	}) {
		return
	}
	testnet.CheckLeaks(m)
}
