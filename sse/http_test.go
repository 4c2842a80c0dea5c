package sse

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidewire/websocket/backoff"
	"github.com/tidewire/websocket/feed"
)

// Clients over HTTP/1.1 and HTTP/2 follow a Server whose connections are all broken off several times, and whose
// http.Server has a WriteTimeout that the streams outlive.
func TestHTTP(t *testing.T) {
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(protocol, func(t *testing.T) {
			s := &Server{Queue: 10_000, Replay: feed.Limits{Count: 10_000}, StreamOptions: StreamOptions{Retry: time.Millisecond}}
			srv := httptest.NewUnstartedServer(s)
			srv.EnableHTTP2 = protocol == "HTTP/2.0"
			srv.Config.WriteTimeout = 300 * time.Millisecond
			srv.Config.ErrorLog = log.New(io.Discard, "", 0) // of connections that are cut
			srv.StartTLS()
			defer srv.Close()
			defer s.Shutdown(context.Background())

			const clients, events = 10, 300 // with three cuts
			var opened [clients]atomic.Int64
			var all sync.WaitGroup
			for i := range clients {
				c := Client{
					HTTP:    srv.Client(),
					Backoff: backoff.Policy{Max: 10 * time.Millisecond},
					Request: func(ctx context.Context) (*http.Request, error) {
						return http.NewRequestWithContext(ctx, "GET", srv.URL+"?topic=a", nil)
					},
					OnOpen: func(resp *http.Response) {
						if opened[i].Add(1); resp.Proto != protocol || resp.Header.Get("Connection") != "" {
							t.Errorf("got %s, %v", resp.Proto, resp.Header)
						}
					},
				}
				all.Go(func() {
					n := 0
					for e, err := range c.Events(t.Context()) {
						if err != nil || e.Data != fmt.Sprint(n) {
							t.Errorf("got %+v, %v, want %d", e, err, n)
							return
						}
						if n++; n == events {
							return
						}
					}
				})
			}
			// have waits until each client has had that many streams.
			have := func(streams int64) {
				for i := range opened {
					for opened[i].Load() < streams && !t.Failed() {
						time.Sleep(time.Millisecond)
					}
				}
			}
			for s.Clients("a") < clients {
				time.Sleep(time.Millisecond)
			}
			time.Sleep(srv.Config.WriteTimeout * 3 / 2)
			for i := range events {
				publish(t, s, "a", fmt.Sprint(i))
				time.Sleep(time.Millisecond)
				if i%100 == 50 {
					have(int64(i/100 + 1))
					srv.CloseClientConnections()
				}
			}
			all.Wait()
			for i := range opened {
				if n := opened[i].Load(); n < 4 {
					t.Errorf("client %d had %d streams", i, n)
				}
			}
		})
	}
}
