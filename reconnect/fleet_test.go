package reconnect

import (
	"context"
	"fmt"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidewire/websocket"
)

// A fleet is clients of one server.
type fleet struct {
	clients []*Client

	mu       sync.Mutex
	start    time.Time      // of the restart
	attempts map[int]int    // by tenths of a second since then
	received map[string]int // how often the server got each message
}

// receive serves a connection: each message is acknowledged by what it is.
func (f *fleet) receive(c *websocket.Conn) {
	for m, err := range c.Messages(context.Background()) {
		if err != nil {
			return
		}
		f.mu.Lock()
		f.received[string(m.Data)]++
		f.mu.Unlock()
		if c.Write(context.Background(), m.Type, m.Data) != nil {
			return
		}
	}
}

func (f *fleet) note() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.start.IsZero() {
		f.attempts[int(time.Since(f.start)/(100*time.Millisecond))]++
	}
}

// When a server with thousands of clients is restarted, they come back spread over the time that the
// Backoff allows: none of its tenths of a second has many more of them than one is to expect. No message is
// doubled.
func TestFleet(t *testing.T) {
	size := 5000
	if testing.Short() {
		size = 500
	}
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{attempts: make(map[int]int), received: make(map[string]int)}
		s := serve(t, func(_ int, c *websocket.Conn) { f.receive(c) })
		dial := dialWith(*s.Dialer())
		o := Options{Dial: func(ctx context.Context, target Target) (Conn, error) {
			f.note()
			return dial(ctx, target)
		}}
		for range size {
			f.clients = append(f.clients, start(t, nil, o))
		}
		pass(time.Second)
		var sending sync.WaitGroup
		for i, c := range f.clients {
			sending.Go(func() {
				for n := range 4 {
					c.Send(t.Context(), websocket.MessageText, fmt.Appendf(nil, "%d/%d", i, n))
					time.Sleep(500 * time.Millisecond)
				}
			})
			sending.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				for range c.Messages(ctx) {
				}
			})
		}
		pass(750 * time.Millisecond)
		f.mu.Lock()
		f.start = time.Now()
		f.mu.Unlock()
		s.Reset()
		sending.Wait()
		synctest.Wait()
		for _, c := range f.clients {
			if got := c.State(); got.Phase != Open || got.Epoch != 2 {
				t.Fatalf("a client is %v, on connection %d", got.Phase, got.Epoch)
			}
		}
		expected := float64(size) / 10 // a second, at first
		for at, n := range f.attempts {
			if at > 9 || float64(n) > expected+5*math.Sqrt(expected) {
				t.Errorf("%d attempts in tenth %d of the first second, want about %.0f", n, at, expected)
			}
		}
		for m, n := range f.received {
			if n > 1 {
				t.Errorf("the server got %q %d times", m, n)
			}
		}
		if lost := 4*size - len(f.received); lost > size/10 {
			t.Errorf("%d messages of %d are lost", lost, 4*size)
		}
	})
}

// An application that numbers what it sends, and sends again on a new connection what was not acknowledged, loses
// nothing, whatever happens to the connections.
func TestAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{attempts: make(map[int]int), received: make(map[string]int)}
		s := serve(t, func(_ int, c *websocket.Conn) { f.receive(c) })
		const messages = 200
		var mu sync.Mutex
		var waiting []string // in order
		c := start(t, s, Options{
			Queue: Queue{Messages: messages, Requeue: true},
			OnOpen: func(ctx context.Context, c Conn, epoch uint64) error {
				mu.Lock()
				defer mu.Unlock()
				for _, m := range waiting {
					if err := c.Write(ctx, websocket.MessageText, []byte(m)); err != nil {
						return err
					}
				}
				return nil
			},
		})
		var sending sync.WaitGroup
		defer sending.Wait()
		sending.Go(func() {
			for n := range messages {
				m := fmt.Sprint(n)
				mu.Lock()
				waiting = append(waiting, m)
				mu.Unlock()
				c.Send(t.Context(), websocket.MessageText, []byte(m))
				time.Sleep(100 * time.Millisecond)
				if n%20 == 10 {
					s.Reset()
				}
			}
		})
		for acknowledged := make(map[string]bool); len(acknowledged) < messages; {
			m, err := c.Read(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			acknowledged[string(m.Data)] = true
			mu.Lock()
			for len(waiting) > 0 && acknowledged[waiting[0]] {
				waiting = waiting[1:]
			}
			mu.Unlock()
		}
		if c.State().Epoch < 5 {
			t.Errorf("there were %d connections only", c.State().Epoch)
		}
	})
}
