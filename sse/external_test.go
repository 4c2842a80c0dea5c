//go:build external

package sse

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tidewire/websocket/feed"
	"github.com/tidewire/websocket/internal/browsertest"
	"github.com/tidewire/websocket/internal/testnet"
)

// TestEventSource has Chromium's EventSource follow a Server through 100 cuts at any byte.
func TestEventSource(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	s := &Server{Replay: feed.Limits{Count: 100_000, Bytes: 64 << 20}, Queue: 100_000, StreamOptions: StreamOptions{Retry: time.Millisecond}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := testnet.Cut(t, l.Addr().String(), 100, 500) // no header is cut: a browser does not come again then
	mux := http.NewServeMux()
	mux.Handle("/events", s)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<script>
			const got = [];
			const source = new EventSource('http://%s/events?topic=a');
			source.addEventListener('tick', e => got.push(e.data));
		</script>`, c.Addr())
	})
	cors := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		mux.ServeHTTP(w, r)
	})
	srv := &http.Server{Handler: cors}
	srv.RegisterOnShutdown(func() { s.Shutdown(context.Background()) })
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	defer func() {
		srv.Shutdown(ctx)
		<-served
	}()
	page := browsertest.Start(ctx, t).Open("http://" + l.Addr().String() + "/")
	for s.Clients("a") == 0 {
		time.Sleep(time.Millisecond)
	}
	page.Await("source.readyState", 1)
	n := 0
	for ; !c.Done() && ctx.Err() == nil; n++ {
		if _, err := s.Publish("a", Event{Type: "tick", Data: fmt.Sprint(n, strings.Repeat("\nline", n%20))}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	page.Await("got.length", n)
	var wrong []string
	page.Eval(fmt.Sprintf(`got.filter((data, i) => data !== i + '\nline'.repeat(i %% 20)).slice(0, 5)`), &wrong)
	if len(wrong) > 0 {
		t.Errorf("of %d events, wrong are %q …", n, wrong)
	}
}
