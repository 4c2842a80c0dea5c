package polling

import (
	"testing"

	"github.com/tidewire/websocket/internal/testnet"
)

func TestMain(m *testing.M) { testnet.CheckLeaks(m) }
