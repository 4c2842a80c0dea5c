//go:build external

package redisbroker_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidewire/websocket"
	"github.com/tidewire/websocket/adapters/internal/brokertest"
	"github.com/tidewire/websocket/adapters/redisbroker"
	"github.com/tidewire/websocket/hub"
	"github.com/tidewire/websocket/hub/hubtest"
)

// A server is a redis-server.
type server struct {
	addr    string
	flags   []string
	process *exec.Cmd
}

// newServer starts a redis-server, which is killed when the test ends.
func newServer(t *testing.T, flags ...string) *server {
	t.Helper()
	s, err := startServer(flags...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	return s
}

// startServer starts a redis-server on a free port, which keeps nothing.
func startServer(flags ...string) (*server, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	s := &server{addr: addr, flags: flags}
	return s, s.start()
}

// freeAddr returns an address that nobody listens on.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

func (s *server) start() error {
	_, port, _ := net.SplitHostPort(s.addr)
	args := append([]string{"--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no"}, s.flags...)
	s.process = exec.Command("redis-server", args...)
	if err := s.process.Start(); err != nil {
		return err
	}
	client := redis.NewClient(&redis.Options{Addr: s.addr})
	defer client.Close()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		err := client.Ping(context.Background()).Err()
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// stop kills the server.
func (s *server) stop() {
	s.process.Process.Kill()
	s.process.Wait()
}

// restart starts the server that was stopped again.
func (s *server) restart(t *testing.T) {
	t.Helper()
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
}

// client returns a client, which is closed when the test ends.
func (s *server) client(t *testing.T) *redis.Client {
	return clientOf(t, &redis.Options{Addr: s.addr})
}

func clientOf(t *testing.T, o *redis.Options) *redis.Client {
	client := redis.NewClient(o)
	t.Cleanup(func() { client.Close() })
	return client
}

// engine returns the server as the tests of brokers know it.
func (s *server) engine(t *testing.T) brokertest.Engine {
	client := s.client(t)
	return brokertest.Engine{
		Broker: func(t *testing.T) hub.Broker { return redisbroker.New(s.client(t), redisbroker.Options{}) },
		Start:  s.restart,
		Stop:   func(*testing.T) { s.stop() },
		Subscribers: func(t *testing.T, topic string) int {
			channel := "websocket:" + topic
			counts, err := client.PubSubNumSub(t.Context(), channel).Result()
			if err != nil {
				t.Fatal(err)
			}
			return int(counts[channel])
		},
	}
}

func TestBroker(t *testing.T) {
	for _, test := range []struct {
		name     string
		protocol int
	}{{"RESP2", 2}, {"RESP3", 3}} {
		t.Run(test.name, func(t *testing.T) {
			var s *server
			hubtest.TestBroker(t, func(t *testing.T) (a, b hub.Broker) {
				s = newServer(t)
				open := func() hub.Broker {
					return redisbroker.New(clientOf(t, &redis.Options{Addr: s.addr, Protocol: test.protocol}), redisbroker.Options{})
				}
				return open(), open()
			}, func(*testing.T) { s.stop() }, func(t *testing.T) { s.restart(t) })
		})
	}
}

func TestHubs(t *testing.T) { brokertest.TestHubs(t, newServer(t).engine(t)) }

func TestEnds(t *testing.T) { brokertest.TestEnds(t, newServer(t).engine(t)) }

func TestSilent(t *testing.T) {
	s := newServer(t)
	proxy := brokertest.NewProxy(t, s.addr)
	through := clientOf(t, &redis.Options{Addr: proxy.Addr, ReadTimeout: 500 * time.Millisecond})
	brokertest.TestSilent(t, proxy, redisbroker.New(through, redisbroker.Options{PingInterval: 200 * time.Millisecond}), redisbroker.New(s.client(t), redisbroker.Options{}))
}

func TestProcesses(t *testing.T) {
	s := newServer(t)
	brokertest.TestProcesses(t, s.addr, s.engine(t).Subscribers)
}

// A forgetful is a connection that is lost with the answer to what is published.
type forgetful struct {
	net.Conn
	published atomic.Bool
}

func (f *forgetful) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("publish")) {
		f.published.Store(true)
	}
	return f.Conn.Write(p)
}

func (f *forgetful) Read(p []byte) (int, error) {
	n, err := f.Conn.Read(p)
	if f.published.Load() {
		f.Conn.Close()
		return 0, io.EOF
	}
	return n, err
}

// What is published is published once, also if the client can't know.
func TestLostAnswer(t *testing.T) {
	s := newServer(t)
	client := clientOf(t, &redis.Options{Dialer: func(ctx context.Context, _, _ string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", s.addr)
		return &forgetful{Conn: conn}, err
	}})
	a := brokertest.Start(t, redisbroker.New(client, redisbroker.Options{}))
	b := brokertest.Start(t, redisbroker.New(s.client(t), redisbroker.Options{}))
	b.Subscribe(t, "all")
	if err := a.Publish(t, "once"); !errors.Is(err, io.EOF) {
		t.Errorf("Publish returned %v", err)
	}
	if err := b.Publish(t, "the next"); err != nil {
		t.Fatal(err)
	}
	brokertest.Want(t, b.Heard, "once", "the next")
}

// Redis gives up a process that does not keep up, which is told that there is a gap.
func TestSlow(t *testing.T) {
	s := newServer(t, "--client-output-buffer-limit", "pubsub 1mb 1mb 1")
	gaps := make(chan string, 10)
	reading := make(chan bool)
	b := redisbroker.New(s.client(t), redisbroker.Options{})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		b.Run(ctx, func(hub.Envelope) { <-reading }, func(topic string) { gaps <- topic })
	})
	defer running.Wait()
	defer cancel()
	if err := b.Subscribe(t.Context(), "all"); err != nil {
		t.Fatal(err)
	}
	subscribers := s.engine(t).Subscribers
	brokertest.Await(t, "Redis to give up", func() bool {
		err := b.Publish(t.Context(), hub.Envelope{Topic: "all", Type: websocket.MessageBinary, Data: make([]byte, 256<<10)})
		if err != nil {
			t.Fatal(err)
		}
		return subscribers(t, "all") == 0
	})
	close(reading)
	brokertest.Want(t, gaps, "")
	if n := subscribers(t, "all"); n != 1 {
		t.Errorf("%d subscribers after the gap", n)
	}
}

// What others publish there is ignored.
func TestForeign(t *testing.T) {
	s := newServer(t)
	b := brokertest.Start(t, redisbroker.New(s.client(t), redisbroker.Options{}))
	b.Subscribe(t, "all")
	for _, foreign := range []string{"", "hello", "\x01", "\x01\x01\xff"} {
		if err := s.client(t).Publish(t.Context(), "websocket:all", foreign).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Publish(t, "ours"); err != nil {
		t.Fatal(err)
	}
	brokertest.Want(t, b.Heard, "ours")
}

// A Subscribe that nobody waits for any more leaves nothing subscribed to.
func TestSubscribeCancelled(t *testing.T) {
	s := newServer(t)
	b := redisbroker.New(s.client(t), redisbroker.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := b.Subscribe(ctx, "room:x"); !errors.Is(err, context.DeadlineExceeded) { // it does not run yet
		t.Errorf("got %v", err)
	}
	r := brokertest.Start(t, b)
	r.Subscribe(t, "all")
	if n := s.engine(t).Subscribers(t, "room:x"); n != 0 {
		t.Errorf("%d subscribers", n)
	}
}

func TestRing(t *testing.T) {
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": "127.0.0.1:1"}})
	defer ring.Close()
	b := redisbroker.New(ring, redisbroker.Options{})
	if err := b.Run(t.Context(), nil, nil); err == nil {
		t.Error("Run returned no error")
	}
	if err := b.Subscribe(t.Context(), "all"); err == nil {
		t.Error("Subscribe returned no error")
	}
}
