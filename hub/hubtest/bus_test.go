package hubtest

import (
	"testing"

	"github.com/tidewire/websocket/hub"
	"github.com/tidewire/websocket/internal/testnet"
)

func TestMain(m *testing.M) { testnet.CheckLeaks(m) }

func TestBus(t *testing.T) {
	var bus *Bus
	TestBroker(t, func(*testing.T) (a, b hub.Broker) {
		bus = new(Bus)
		return bus.Broker(), bus.Broker()
	}, func(*testing.T) { bus.SetDown(true) }, func(*testing.T) { bus.SetDown(false) })
}
