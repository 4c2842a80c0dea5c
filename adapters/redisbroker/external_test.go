//go:build external

package redisbroker

import (
	"context"
	"net"
	"os/exec"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidewire/websocket/adapters/internal/brokertest"
	"github.com/tidewire/websocket/hub"
	"github.com/tidewire/websocket/hub/hubtest"
)

// A server is a redis-server.
type server struct {
	addr    string
	flags   []string
	folder  string
	process *exec.Cmd
}

// newServer starts a redis-server, which is killed when the test ends.
func newServer(t testing.TB, flags ...string) *server {
	t.Helper()
	s := &server{addr: freeAddr(t), flags: flags, folder: t.TempDir()}
	s.start(t)
	t.Cleanup(func() { s.stop(t) })
	return s
}

// freeAddr returns an address that nobody listens on.
func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (s *server) start(t testing.TB) {
	t.Helper()
	_, port, _ := net.SplitHostPort(s.addr)
	args := append([]string{"--bind", "127.0.0.1", "--port", port, "--dir", s.folder, "--save", "", "--appendonly", "no"}, s.flags...)
	s.process = exec.Command("redis-server", args...)
	if err := s.process.Start(); err != nil {
		t.Fatal(err)
	}
	client := s.client(t)
	for deadline := time.Now().Add(20 * time.Second); client.Ping(context.Background()).Err() != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("redis-server does not answer")
		}
	}
}

// stop kills the server.
func (s *server) stop(testing.TB) {
	s.process.Process.Kill()
	s.process.Wait()
}

// client returns a client, which is closed when the test ends.
func (s *server) client(t testing.TB) *redis.Client {
	return clientOf(t, &redis.Options{Addr: s.addr})
}

func clientOf(t testing.TB, o *redis.Options) *redis.Client {
	client := redis.NewClient(o)
	t.Cleanup(func() { client.Close() })
	return client
}

// engine returns the server as the tests of brokers know it.
func (s *server) engine(t *testing.T) brokertest.Engine {
	client := s.client(t)
	return brokertest.Engine{
		Broker: func(t *testing.T) hub.Broker { return New(s.client(t), Options{}) },
		Start:  func(t *testing.T) { s.start(t) },
		Stop:   func(t *testing.T) { s.stop(t) },
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
					return New(clientOf(t, &redis.Options{Addr: s.addr, Protocol: test.protocol}), Options{})
				}
				return open(), open()
			}, func(t *testing.T) {
				s.stop(t)
				s.start(t)
			})
		})
	}
}

func TestHubs(t *testing.T) { brokertest.TestHubs(t, newServer(t).engine(t)) }

func TestEnds(t *testing.T) { brokertest.TestEnds(t, newServer(t).engine(t)) }

func TestSilent(t *testing.T) {
	s := newServer(t)
	proxy := brokertest.NewProxy(t, s.addr)
	through := clientOf(t, &redis.Options{Addr: proxy.Addr, ReadTimeout: 500 * time.Millisecond})
	brokertest.TestSilent(t, proxy, New(through, Options{PingInterval: 200 * time.Millisecond}), New(s.client(t), Options{}))
}
