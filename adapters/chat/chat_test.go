package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"regexp"
	"slices"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"github.com/tidewire/websocket"
	"github.com/tidewire/websocket/examples/chat/server"
	"github.com/tidewire/websocket/wsjson"
)

func TestOverNATS(t *testing.T) {
	s, err := natsserver.NewServer(&natsserver.Options{
		Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, NoSigs: true, JetStream: true, StoreDir: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	defer s.WaitForShutdown()
	defer s.Shutdown()
	if !s.ReadyForConnections(20 * time.Second) {
		t.Fatal("the server does not start")
	}
	testChat(t, "", s.ClientURL())
}

func TestFlags(t *testing.T) {
	for _, flags := range [][2]string{{"", ""}, {"a", "b"}} {
		if err := run(t.Context(), io.Discard, "localhost:0", flags[0], flags[1]); err == nil {
			t.Errorf("%q: no error", flags)
		}
	}
}

// A process of the chat.
type process struct {
	address string
	stop    func()
}

// start starts one, which is stopped when the test ends if it was not before.
func start(t *testing.T, redisAddr, natsURL string) *process {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, w, "localhost:0", redisAddr, natsURL)
		w.CloseWithError(err)
		ended <- err
	}()
	var first []byte
	for b := make([]byte, 1); !bytes.HasSuffix(first, []byte("\n")); first = append(first, b...) {
		if _, err := r.Read(b); err != nil {
			t.Fatal(err)
		}
	}
	go io.Copy(io.Discard, r)
	address := regexp.MustCompile(`http://(\S+)/`).FindSubmatch(first)
	if address == nil {
		t.Fatalf("the chat says %q", first)
	}
	stopped := false
	p := &process{string(address[1]), func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}}
	t.Cleanup(p.stop)
	return p
}

// A person is in the lobby.
type person struct {
	t    *testing.T
	conn *websocket.Conn
	said []string // what has come, each once
	ids  map[string]bool
}

func enter(t *testing.T, p *process, name string) *person {
	t.Helper()
	c, _, err := websocket.Dial(t.Context(), "ws://"+p.address+"/ws?name="+url.QueryEscape(name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.CloseNow() })
	someone := &person{t: t, conn: c, ids: make(map[string]bool)}
	someone.send("join", map[string]string{"room": "lobby"})
	return someone
}

func (p *person) send(typ string, data any) {
	p.t.Helper()
	if err := wsjson.Write(p.t.Context(), p.conn, wsjson.Envelope[string, any]{Type: typ, Data: data}); err != nil {
		p.t.Fatal(err)
	}
}

func (p *person) say(id, text string) {
	p.t.Helper()
	p.send("say", map[string]string{"room": "lobby", "id": id, "text": text})
}

// await reads until this was said, and nothing else.
func (p *person) await(want ...string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 20*time.Second)
	defer cancel()
	for !slices.Equal(p.said, want) {
		e, err := wsjson.Read[wsjson.Envelope[string, json.RawMessage]](ctx, p.conn)
		if err != nil {
			p.t.Fatalf("%v; was said: %q, want %q", err, p.said, want)
		}
		var history struct{ Messages []server.Said }
		switch e.Type {
		case "said":
			history.Messages = make([]server.Said, 1)
			err = json.Unmarshal(e.Data, &history.Messages[0])
		case "history":
			err = json.Unmarshal(e.Data, &history)
		case "refused":
			err = fmt.Errorf("refused: %s", e.Data)
		}
		if err != nil {
			p.t.Fatal(err)
		}
		for _, m := range history.Messages {
			if !p.ids[m.ID] {
				p.ids[m.ID] = true
				p.said = append(p.said, m.Text)
			}
		}
	}
}

// testChat has people talk who are with two processes, and come again when both were restarted.
func testChat(t *testing.T, redisAddr, natsURL string) {
	first, second := start(t, redisAddr, natsURL), start(t, redisAddr, natsURL)
	ada, grace := enter(t, first, "Ada"), enter(t, second, "Grace")
	ada.say("1", "Is anybody here?")
	ada.await("Is anybody here?")
	grace.await("Is anybody here?")
	grace.say("1", "I am.")
	grace.say("1", "I am.") // once more
	grace.say("2", "Who are you?")
	want := []string{"Is anybody here?", "I am.", "Who are you?"}
	grace.await(want...)
	ada.await(want...)
	edith := enter(t, first, "Edith")
	edith.await(want...)

	for _, p := range []*person{ada, grace, edith} {
		p.conn.CloseNow()
	}
	first.stop()
	second.stop()
	third := start(t, redisAddr, natsURL)
	late := enter(t, third, "Hedy")
	late.await(want...)
	for i := range server.Kept {
		late.say(fmt.Sprint(i), fmt.Sprint(i))
		want = append(want, fmt.Sprint(i))
	}
	late.await(want...)
	enter(t, third, "Mary").await(want[len(want)-server.Kept:]...)
}
