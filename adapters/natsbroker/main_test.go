package natsbroker_test

import (
	"os"
	"testing"

	"github.com/tidewire/websocket/adapters/internal/brokertest"
	"github.com/tidewire/websocket/adapters/natsbroker"
	"github.com/tidewire/websocket/hub"
	"github.com/tidewire/websocket/internal/testnet"
)

func TestMain(m *testing.M) {
	if brokertest.Child(os.Stdin, os.Stdout, func(addr string) hub.Broker {
		return natsbroker.New(addr, natsbroker.Options{})
	}) {
		return
	}
	testnet.CheckLeaks(m)
}
