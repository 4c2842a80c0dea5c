package natsbroker_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/tidewire/websocket"
	"github.com/tidewire/websocket/adapters/internal/brokertest"
	"github.com/tidewire/websocket/adapters/natsbroker"
	"github.com/tidewire/websocket/hub"
	"github.com/tidewire/websocket/hub/hubtest"
)

// A server is a server of NATS.
type server struct {
	*natsserver.Server
	o natsserver.Options
}

// newServer starts a server on a free port, which is shut down when the test ends.
func newServer(t *testing.T, o natsserver.Options) *server {
	t.Helper()
	o.Host, o.Port, o.NoSigs = "127.0.0.1", natsserver.RANDOM_PORT, true
	s := &server{o: o}
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	return s
}

// start starts it, on the same port as before.
func (s *server) start() error {
	o := s.o
	var err error
	if s.Server, err = natsserver.NewServer(&o); err != nil {
		return err
	}
	s.Start()
	if !s.ReadyForConnections(20 * time.Second) {
		return errors.New("the server does not start")
	}
	s.o.Port = o.Port
	return nil
}

func (s *server) stop() {
	s.Shutdown()
	s.WaitForShutdown()
}

func (s *server) restart(t *testing.T) {
	t.Helper()
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
}

func (s *server) open() hub.Broker { return natsbroker.New(s.ClientURL(), natsbroker.Options{}) }

// encode returns the token of a topic.
func encode(topic string) string { return base64.RawURLEncoding.EncodeToString([]byte(topic)) }

// subscribers returns how many subscriptions there are to a topic.
func (s *server) subscribers(t *testing.T, topic string) int {
	t.Helper()
	found, err := s.Subsz(&natsserver.SubszOptions{Subscriptions: true, Test: "websocket." + encode(topic)})
	if err != nil {
		t.Fatal(err)
	}
	return found.Total
}

// engine returns the server as the tests of brokers know it.
func (s *server) engine() brokertest.Engine {
	return brokertest.Engine{
		Broker:      func(*testing.T) hub.Broker { return s.open() },
		Stop:        func(*testing.T) { s.stop() },
		Start:       s.restart,
		Subscribers: s.subscribers,
	}
}

func TestBroker(t *testing.T) {
	var s *server
	hubtest.TestBroker(t, func(t *testing.T) (a, b hub.Broker) {
		s = newServer(t, natsserver.Options{})
		return s.open(), s.open()
	}, func(*testing.T) { s.stop() }, func(t *testing.T) { s.restart(t) })
}

func TestHubs(t *testing.T) { brokertest.TestHubs(t, newServer(t, natsserver.Options{}).engine()) }

func TestEnds(t *testing.T) { brokertest.TestEnds(t, newServer(t, natsserver.Options{}).engine()) }

func TestSilent(t *testing.T) {
	s := newServer(t, natsserver.Options{})
	proxy := brokertest.NewProxy(t, s.Addr().String())
	through := natsbroker.New("nats://"+proxy.Addr, natsbroker.Options{PingInterval: 200 * time.Millisecond}, nats.Timeout(500*time.Millisecond))
	brokertest.TestSilent(t, proxy, through, s.open())
}

func TestProcesses(t *testing.T) {
	s := newServer(t, natsserver.Options{})
	brokertest.TestProcesses(t, s.ClientURL(), s.subscribers)
}

// Who does not keep up is told of topics of which something was dropped, and gets what comes later.
func TestSlow(t *testing.T) {
	s := newServer(t, natsserver.Options{})
	a := brokertest.Start(t, s.open())
	if err := a.Publish(t, "connected"); err != nil {
		t.Fatal(err)
	}
	reading, gaps := make(chan bool), make(chan string, 10)
	var received atomic.Int64
	heard := make(chan string, 1000)
	b := s.open()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		b.Run(ctx, func(e hub.Envelope) {
			<-reading
			received.Add(1)
			heard <- string(e.Data[:5])
		}, func(topic string) { gaps <- topic })
	})
	defer running.Wait()
	defer cancel()
	if err := b.Subscribe(t.Context(), "all"); err != nil {
		t.Fatal(err)
	}
	const sent = 200
	for range sent {
		if err := a.Publish(t, strings.Repeat("a", 1<<20-100)); err != nil {
			t.Fatal(err)
		}
	}
	close(reading)
	brokertest.Want(t, gaps, "all")
	if n := received.Load(); n < 60 || n >= sent {
		t.Errorf("%d of %d came before the gap", n, sent)
	}
	if err := a.Publish(t, "after"); err != nil {
		t.Fatal(err)
	}
	brokertest.Await(t, "what comes later", func() bool { return <-heard == "after" })
}

// What the server refuses is an error, and disturbs nothing else.
func TestRefused(t *testing.T) {
	s := newServer(t, natsserver.Options{
		MaxPayload: 1000,
		Users: []*natsserver.User{{Username: "u", Password: "p", Permissions: &natsserver.Permissions{
			Publish:   &natsserver.SubjectPermission{Deny: []string{"websocket." + encode("room:secret")}},
			Subscribe: &natsserver.SubjectPermission{Deny: []string{"websocket." + encode("room:secret")}},
		}}},
	})
	open := func() hub.Broker {
		return natsbroker.New(s.ClientURL(), natsbroker.Options{}, nats.UserInfo("u", "p"))
	}
	a, b := brokertest.Start(t, open()), brokertest.Start(t, open())
	b.Subscribe(t, "all")
	secret := hub.Envelope{Topic: "room:secret", Type: websocket.MessageText}
	for range 3 {
		if err := b.Broker.Subscribe(t.Context(), secret.Topic); !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("Subscribe returned %v", err)
		}
		if err := a.Broker.Publish(t.Context(), secret); !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("Publish returned %v", err)
		}
		if err := a.Publish(t, strings.Repeat("large", 200)); !errors.Is(err, nats.ErrMaxPayload) {
			t.Errorf("Publish returned %v", err)
		}
		if err := a.Publish(t, "small"); err != nil {
			t.Errorf("Publish returned %v", err)
		}
		brokertest.Want(t, b.Heard, "small")
	}
	if len(b.Gaps) > 0 {
		t.Errorf("a gap of %q", <-b.Gaps)
	}
}

// A subscription too many costs the connection, but only that subscription.
func TestTooMany(t *testing.T) {
	s := newServer(t, natsserver.Options{MaxSubs: 2})
	a, b := brokertest.Start(t, s.open()), brokertest.Start(t, s.open())
	b.Subscribe(t, "all")
	b.Subscribe(t, "room:x")
	if err := b.Broker.Subscribe(t.Context(), "room:y"); !errors.Is(err, nats.ErrMaxSubscriptionsExceeded) {
		t.Errorf("Subscribe returned %v", err)
	}
	brokertest.Want(t, b.Gaps, "")
	if err := a.Publish(t, "after"); err != nil {
		t.Fatal(err)
	}
	brokertest.Want(t, b.Heard, "after")
}

// A topic may have a name that no line of the protocol has room for.
func TestLongTopics(t *testing.T) {
	s := newServer(t, natsserver.Options{})
	a, b := brokertest.Start(t, s.open()), brokertest.Start(t, s.open())
	long := "room:" + strings.Repeat("x", 100_000)
	b.Subscribe(t, long+"y")
	for _, topic := range []string{long, long + "y"} {
		e := hub.Envelope{Topic: topic, Type: websocket.MessageText, Data: []byte(topic[len(topic)-1:])}
		if err := a.Broker.Publish(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	brokertest.Want(t, b.Heard, "y")
}

// What others publish there is ignored.
func TestForeign(t *testing.T) {
	s := newServer(t, natsserver.Options{})
	b := brokertest.Start(t, s.open())
	b.Subscribe(t, "all")
	other, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	ours, _ := hub.Envelope{Topic: "all", Type: websocket.MessageText, Data: []byte("ours")}.MarshalBinary()
	io.WriteString(other, `CONNECT {"headers":true}`+"\r\n")
	for _, p := range []string{"", "hello", "\x01", "\x01\x01\xff"} {
		fmt.Fprintf(other, "PUB websocket.%s %d\r\n%s\r\n", encode("all"), len(p), p)
	}
	fmt.Fprintf(other, "HPUB websocket.%s 9 9\r\nno header\r\n", encode("all"))
	fmt.Fprintf(other, "PUB websocket.%s %d\r\n%s\r\n", encode("all"), len(ours), ours)
	brokertest.Want(t, b.Heard, "ours")
	if len(b.Gaps) > 0 {
		t.Errorf("a gap of %q", <-b.Gaps)
	}
}

// Calls wait for Run, and end with their context.
func TestBeforeRun(t *testing.T) {
	s := newServer(t, natsserver.Options{})
	b := s.open()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	for name, err := range map[string]error{
		"Subscribe":   b.Subscribe(ctx, "room:x"),
		"Unsubscribe": b.Unsubscribe(ctx, "room:x"),
		"Publish":     b.Publish(ctx, hub.Envelope{Topic: "room:x", Type: websocket.MessageText}),
	} {
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s returned %v", name, err)
		}
	}
	brokertest.Start(t, b).Subscribe(t, "all")
	if n := s.subscribers(t, "room:x"); n != 0 {
		t.Errorf("%d subscribers", n)
	}
}
