package websocket

import (
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidewire/websocket/internal/testnet"
)

// TestMain fails if the tests leave a goroutine behind, or a timer that was
// started and neither stopped nor allowed to fire.
func TestMain(m *testing.M) {
	timerHook = func(change int) { timersPending.Add(int64(change)) }
	testnet.CheckLeaks(timerCheck{m})
}

// timersPending is how many timers were started, and
// neither stopped nor fired.
var timersPending atomic.Int64

// A timerCheck runs tests, and fails if timers are pending afterwards.
type timerCheck struct{ m *testing.M }

func (c timerCheck) Run() int {
	code := c.m.Run()
	if code != 0 {
		return code
	}
	// A connection that lingers has CloseTimeout for it.
	for deadline := time.Now().Add(2 * defaultCloseTimeout); timersPending.Load() != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			fmt.Fprintf(os.Stderr, "%d timers are pending\n", timersPending.Load())
			return 1
		}
	}
	return 0
}
