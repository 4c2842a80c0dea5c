//go:build external

package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidewire/websocket/feed"
	"github.com/tidewire/websocket/internal/testnet"
	"github.com/tidewire/websocket/sse"
)

const cuts = 100

// tick returns the data of the event with a number.
func tick(n int) string { return fmt.Sprint(n, strings.Repeat("\nline", n%20)) }

// TestEventSource has the eventsource of npm follow a Server, through connections that are cut at any byte.
func TestEventSource(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s := &sse.Server{Replay: feed.Limits{Count: 100_000}, Queue: 100_000, StreamOptions: sse.StreamOptions{Retry: time.Millisecond}}
	srv := httptest.NewServer(s)
	defer srv.Close()
	defer s.Shutdown(ctx)
	cutter := testnet.Cut(t, srv.Listener.Addr().String(), cuts, 0)
	// The first connection may be cut before the client has a position, so it is given one.
	from, err := s.Publish("a", sse.Event{})
	if err != nil {
		t.Fatal(err)
	}
	client := peer("eventsource").start(ctx, t, peerConfig{Role: "client", URL: "http://" + cutter.Addr().String() + "/?topic=a&lastEventID=" + from})
	for client.line() != "open" || s.Clients("a") == 0 {
	}
	publish := func(data string) {
		if _, err := s.Publish("a", sse.Event{Type: "tick", Data: data}); err != nil {
			t.Error(err)
		}
	}
	published := 0
	var publishing sync.WaitGroup
	defer publishing.Wait()
	defer cancel()
	publishing.Go(func() {
		for ; !cutter.Done() && ctx.Err() == nil; published++ {
			publish(tick(published))
			time.Sleep(time.Millisecond)
		}
		publish("end")
	})
	n := 0
	for line := range client.Lines() {
		if line == "open" {
			continue
		}
		var data string
		if err := json.Unmarshal([]byte(line), &data); err != nil || data != tick(n) && data != "end" {
			t.Fatalf("event %d is %s", n, line)
		}
		if data == "end" {
			break
		}
		n++
	}
	publishing.Wait()
	if n != published || ctx.Err() != nil {
		t.Errorf("got %d events of %d; %v", n, published, ctx.Err())
	}
}

// TestNodeServer has a Client follow a server made with better-sse, through connections that are cut at any byte.
func TestNodeServer(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	server := peer("eventsource").start(ctx, t, peerConfig{Role: "server"})
	cutter := testnet.Cut(t, server.address(), cuts, 0)
	transport := new(http.Transport)
	defer transport.CloseIdleConnections()
	opened := 0
	client := sse.Client{
		HTTP: &http.Client{Transport: transport},
		Request: func(ctx context.Context) (*http.Request, error) {
			return http.NewRequestWithContext(ctx, "GET", "http://"+cutter.Addr().String(), nil)
		},
		OnOpen: func(*http.Response) { opened++ },
	}
	n := 0
	for e, err := range client.Events(ctx) {
		if err != nil {
			t.Fatalf("after %d events: %v", n, err)
		}
		data, _ := json.Marshal(tick(n))
		if e.Type != "tick" || e.Data != string(data) || e.ID != fmt.Sprint(n) {
			t.Fatalf("event %d is %+v", n, e)
		}
		if n++; cutter.Done() && n >= 1000 {
			break
		}
	}
	t.Logf("%d events in %d streams", n, opened)
}
