package websockettest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidewire/websocket"
	"github.com/tidewire/websocket/internal/testnet"
	"github.com/tidewire/websocket/websockettest"
)

func TestMain(m *testing.M) { testnet.CheckLeaks(m) }

// echo sends back what comes, until the end.
func echo(ctx context.Context, c *websocket.Conn) {
	for m, err := range c.Messages(ctx) {
		if err != nil || c.Write(ctx, m.Type, m.Data) != nil {
			return
		}
	}
}

// inAndOutside runs test in a bubble, and outside.
func inAndOutside(t *testing.T, test func(t *testing.T)) {
	t.Run("bubble", func(t *testing.T) { synctest.Test(t, test) })
	t.Run("no bubble", test)
}

func exchange(t *testing.T, c *websocket.Conn, text string) {
	t.Helper()
	if err := c.Write(t.Context(), websocket.MessageText, []byte(text)); err != nil {
		t.Fatal(err)
	}
	if _, got, err := c.Read(t.Context()); string(got) != text || err != nil {
		t.Fatalf("got %.40q, %v, want %.40q", got, err, text)
	}
}

func TestPipe(t *testing.T) {
	inAndOutside(t, func(t *testing.T) {
		client, server := websockettest.Pipe(t)
		go echo(context.Background(), server)
		exchange(t, client, "hello")
		exchange(t, client, strings.Repeat("long", 100_000))
		if err := client.Close(websocket.StatusNormalClosure, ""); err != nil {
			t.Error(err)
		}
	})
}

func connect(t *testing.T, l *websockettest.Link) (client, server *websocket.Conn) {
	t.Helper()
	client, server, err := l.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		client.CloseNow()
		server.CloseNow()
	})
	return client, server
}

// A handshake that fails leaves no connection, and says why.
func TestLinkRefused(t *testing.T) {
	inAndOutside(t, func(t *testing.T) {
		refusal := errors.New("not you")
		l := websockettest.Link{}
		l.Upgrader.Accept = func(*http.Request, http.Header) error { return refusal }
		if client, server, err := l.Connect(t.Context()); client != nil || server != nil || !errors.Is(err, refusal) {
			t.Errorf("got %v, %v, %v", client, server, err)
		}
		l = websockettest.Link{}
		l.Dialer.Subprotocols = []string{"no token"}
		if client, server, err := l.Connect(t.Context()); client != nil || server != nil || err == nil || !strings.Contains(err.Error(), "no token") {
			t.Errorf("got %v, %v, %v", client, server, err)
		}
	})
}

// The options are those of the Link.
func TestLinkOptions(t *testing.T) {
	l := websockettest.Link{}
	l.Dialer.Subprotocols, l.Upgrader.Subprotocols = []string{"a", "b"}, []string{"b"}
	l.Upgrader.ReadLimit = 10
	client, server := connect(t, &l)
	if client.Subprotocol() != "b" || server.Subprotocol() != "b" {
		t.Errorf("got the subprotocols %q and %q", client.Subprotocol(), server.Subprotocol())
	}
	go echo(context.Background(), server)
	client.Write(t.Context(), websocket.MessageText, make([]byte, 11))
	if _, _, err := client.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusMessageTooBig {
		t.Errorf("got %v", err)
	}
}

// Half a minute of silence, and nobody there to answer the Ping, take no time in a bubble.
func TestLinkStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := websockettest.Link{ToServer: websockettest.Faults{Stall: 1}}
		l.Upgrader.PingInterval = -1
		client, server := connect(t, &l)
		go server.CloseRead(context.Background())
		start := time.Now()
		_, _, err := client.Read(t.Context())
		if websocket.CloseStatus(err) != websocket.StatusAbnormalClosure || time.Since(start) != time.Minute {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
	})
}

func TestLinkLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := websockettest.Link{
			ToServer: websockettest.Faults{Latency: 20 * time.Millisecond},
			ToClient: websockettest.Faults{Latency: 30 * time.Millisecond, Chunk: 1},
		}
		client, server := connect(t, &l)
		go echo(context.Background(), server)
		ctx := client.CloseRead(t.Context())
		rtt, err := client.Ping(ctx)
		if rtt != 50*time.Millisecond || err != nil {
			t.Errorf("got %v, %v", rtt, err)
		}
	})
}

func TestLinkCut(t *testing.T) {
	inAndOutside(t, func(t *testing.T) {
		l := websockettest.Link{ToClient: websockettest.Faults{Cut: 1000}}
		client, server := connect(t, &l)
		err := server.Write(t.Context(), websocket.MessageText, make([]byte, 2000))
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := client.Read(t.Context()); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the client got %v", err)
		}
		if _, _, err := server.Read(t.Context()); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the server got %v", err)
		}
	})
}

func handler() http.Handler {
	return new(websocket.Upgrader).Handler(func(http.ResponseWriter, *http.Request) (func(context.Context, *websocket.Conn), error) {
		return echo, nil
	})
}

func TestServer(t *testing.T) {
	inAndOutside(t, func(t *testing.T) {
		s := websockettest.NewServer(handler())
		defer s.Close()
		c, _, err := s.Dialer().Dial(t.Context(), s.URL+"/path")
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		exchange(t, c, "hello")

		s.SetDown(true)
		if _, _, err := s.Dialer().Dial(t.Context(), s.URL); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("while it is down: got %v", err)
		}
		exchange(t, c, "still there")
		s.Reset()
		if _, _, err := c.Read(t.Context()); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("after Reset: got %v", err)
		}

		s.SetDown(false)
		s.SetFaults(websockettest.Faults{Cut: 10}, websockettest.Faults{})
		if _, _, err := s.Dialer().Dial(t.Context(), s.URL); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("with a cut in the handshake: got %v", err)
		}
		s.SetFaults(websockettest.Faults{}, websockettest.Faults{})
		again, _, err := s.Dialer().Dial(t.Context(), s.URL)
		if err != nil {
			t.Fatal(err)
		}
		exchange(t, again, "again")
		if err := again.Close(websocket.StatusNormalClosure, ""); err != nil {
			t.Error(err)
		}
	})
}

// A handler without a WebSocket is served, too, and a dial ends with its context.
func TestServerOtherwise(t *testing.T) {
	inAndOutside(t, func(t *testing.T) {
		release := make(chan struct{})
		s := websockettest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/wait" {
				<-release
			}
			io.WriteString(w, "a page")
		}))
		defer s.Close()
		_, _, err := s.Dialer().Dial(t.Context(), s.URL)
		if refused, ok := errors.AsType[*websocket.HandshakeError](err); !ok || string(refused.Body) != "a page" {
			t.Errorf("got %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if _, _, err := s.Dialer().Dial(ctx, s.URL+"/wait"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		close(release)
	})
}
