package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidewire/websocket"
	"github.com/tidewire/websocket/hub"
	"github.com/tidewire/websocket/hub/hubtest"
	"github.com/tidewire/websocket/internal/testnet"
	"github.com/tidewire/websocket/websockettest"
	"github.com/tidewire/websocket/wsjson"
)

func TestMain(m *testing.M) { testnet.CheckLeaks(m) }

// A browser has a page open, and remembers what came.
type browser struct {
	t    *testing.T
	conn *websocket.Conn

	mu    sync.Mutex
	came  []string          // type and data of messages, without what differs each time
	lists map[string]string // the latest of each node and room
}

// serve serves a chat in memory.
func serve(t *testing.T, o Options) (*Server, *websockettest.Server) {
	chat := New(o)
	s := websockettest.NewServer(chat)
	t.Cleanup(func() {
		s.Close()
		chat.Shutdown(context.Background())
	})
	return chat, s
}

// open connects somebody, who has a cookie that is their name.
func open(t *testing.T, s *websockettest.Server, name string) *browser {
	t.Helper()
	d := *s.Dialer()
	d.Header = http.Header{"Cookie": {cookie + "=" + name}}
	c, _, err := d.Dial(t.Context(), s.URL+"/ws?name="+url.QueryEscape(name))
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{t: t, conn: c, lists: make(map[string]string)}
	done := make(chan bool)
	go func() {
		defer close(done)
		b.read()
	}()
	t.Cleanup(func() {
		c.CloseNow()
		<-done
	})
	b.want("welcome " + name)
	return b
}

func (b *browser) read() {
	for m, err := range b.conn.Messages(context.Background()) {
		if err != nil {
			return
		}
		e, err := wsjson.Decode[string, json.RawMessage](m.Data)
		if err != nil {
			b.t.Errorf("%s: %v", m.Data, err)
		}
		b.mu.Lock()
		if summary := e.Type + " " + b.summary(e.Type, e.Data); e.Type == "people" {
			var l list
			json.Unmarshal(e.Data, &l)
			b.lists[l.Node+l.Room] = summary
		} else {
			b.came = append(b.came, summary)
		}
		b.mu.Unlock()
	}
}

func (b *browser) summary(typ string, data []byte) string {
	var m struct {
		Name, Room, Text, ID, Why string
		From                      Person
		Messages                  []Said
		People                    []Person
	}
	if err := json.Unmarshal(data, &m); err != nil {
		b.t.Errorf("%s: %v", data, err)
	}
	var list []string
	switch typ {
	case "welcome":
		return m.Name
	case "history":
		for _, said := range m.Messages {
			list = append(list, said.Text)
		}
		return m.Room + ": " + strings.Join(list, ", ")
	case "people":
		for _, person := range m.People {
			list = append(list, person.Name)
		}
		return m.Room + ": " + strings.Join(list, ", ")
	case "refused":
		return m.ID + ": " + m.Why
	}
	return strings.TrimSpace(m.Room + ": " + m.From.Name + " " + m.Text)
}

func (b *browser) send(typ, data string) {
	b.t.Helper()
	b.raw(fmt.Sprintf(`{"type":%q,"data":%s}`, typ, data))
}

func (b *browser) raw(message string) {
	b.t.Helper()
	if err := b.conn.Write(b.t.Context(), websocket.MessageText, []byte(message)); err != nil {
		b.t.Fatal(err)
	}
}

func (b *browser) join(room string) { b.t.Helper(); b.send("join", fmt.Sprintf(`{"room":%q}`, room)) }

func (b *browser) say(room, id, text string) {
	b.t.Helper()
	b.send("say", fmt.Sprintf(`{"room":%q,"id":%q,"text":%q}`, room, id, text))
}

// want waits until everything has settled, and checks what came since the last time, with the latest
// lists of people last.
func (b *browser) want(want ...string) {
	b.t.Helper()
	time.Sleep(2 * together)
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.came = slices.CompactFunc(b.came, func(x, y string) bool { // it comes again when the hub has subscribed
		return x == y && strings.HasPrefix(x, "history ")
	})
	b.came = append(b.came, slices.Sorted(maps.Values(b.lists))...)
	clear(b.lists)
	if !slices.Equal(b.came, want) {
		b.t.Errorf("got\n\t%q\nwant\n\t%q", b.came, want)
	}
	b.came = nil
}

func TestTalk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s := serve(t, Options{})
		ada := open(t, s, "Ada")
		ada.join("lobby")
		ada.want("history lobby: ", "people lobby: Ada")
		ada.say("lobby", "1", "  Is anybody here? \n")
		ada.want("said lobby: Ada Is anybody here?")

		grace := open(t, s, "Grace")
		grace.join("lobby")
		grace.want("history lobby: Is anybody here?", "people lobby: Ada, Grace")
		grace.send("typing", `{"room":"lobby"}`)
		grace.want()
		ada.want("typing lobby: Grace", "people lobby: Ada, Grace")
		grace.say("lobby", "1", "I am.") // the id is hers
		grace.want("said lobby: Grace I am.")
		ada.want("said lobby: Grace I am.")

		grace.join("go")
		grace.want("history go: ", "people go: Grace")
		grace.say("go", "2", "Nobody else is here.")
		grace.want("said go: Grace Nobody else is here.")
		ada.want()
		grace.send("leave", `{"room":"lobby"}`)
		grace.send("leave", `{"room":"lobby"}`)
		ada.want("people lobby: Ada")
		ada.say("lobby", "2", "Have you gone?")
		ada.want("said lobby: Ada Have you gone?")
		grace.want()
	})
}

// A message that is said once more, with its id, is not a second one.
func TestSaidOnceMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s := serve(t, Options{})
		ada, grace := open(t, s, "Ada"), open(t, s, "Grace")
		ada.join("lobby")
		grace.join("lobby")
		ada.want("history lobby: ", "people lobby: Ada, Grace")
		grace.want("history lobby: ", "people lobby: Ada, Grace")
		ada.say("lobby", "x", "once")
		ada.say("lobby", "x", "once")
		ada.want("said lobby: Ada once", "history lobby: once")
		grace.want("said lobby: Ada once")
	})
}

func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s := serve(t, Options{})
		ada := open(t, s, "Ada")
		ada.join("lobby")
		ada.want("history lobby: ", "people lobby: Ada")
		for _, test := range []struct{ message, want string }{
			{`{`, "refused : wsjson: message of 1 bytes: unexpected end of JSON input"},
			{`{"data":{}}`, `refused : wsjson: the message has no "type"`},
			{`{"type":"shout"}`, "refused : wsjson: unknown type"},
			{`{"type":"say","data":7}`, "refused : wsjson: data of type say"},
			{`{"type":"join"}`, "refused : The name of the room is missing."},
			{`{"type":"join","data":{"room":" x"}}`, "refused : The name of the room begins or ends with a space."},
			{`{"type":"join","data":{"room":"a\u0000"}}`, "refused : The name of the room has characters that can't be seen."},
			{`{"type":"join","data":{"room":"` + strings.Repeat("ä", 33) + `"}}`, "refused : The name of the room is longer than 32 characters."},
			{`{"type":"say","data":{"room":"go","id":"1","text":"hello"}}`, "refused 1: You are not in this room."},
			{`{"type":"say","data":{"room":"lobby","text":"hello"}}`, "refused : The message has no good id."},
			{`{"type":"say","data":{"room":"lobby","id":"1","text":" \n"}}`, "refused 1: The message is empty."},
			{`{"type":"say","data":{"room":"lobby","id":"1","text":"` + strings.Repeat("ä", 2001) + `"}}`, "refused 1: The message is longer than 2,000 characters."},
		} {
			ada.raw(test.message)
			synctest.Wait()
			ada.mu.Lock()
			if len(ada.came) != 1 || !strings.HasPrefix(ada.came[0], test.want) {
				t.Errorf("%.60s: got %q, want %q", test.message, ada.came, test.want)
			}
			ada.came = nil
			ada.mu.Unlock()
		}
		for i := range 32 {
			ada.join(fmt.Sprint("room ", i))
		}
		synctest.Wait()
		ada.mu.Lock()
		last := ada.came[len(ada.came)-1]
		ada.mu.Unlock()
		if last != "refused : You can be in 32 rooms. Leave one first." {
			t.Errorf("the 33rd room: %s", last)
		}
	})
}

func TestNamesRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s := serve(t, Options{})
		for name, want := range map[string]string{
			"":                             "The name is missing.\n",
			" Ada":                         "The name begins or ends with a space.\n",
			"A\nda":                        "The name has characters that can't be seen.\n",
			"A\xffda":                      "The name has characters that can't be seen.\n",
			"A" + strings.Repeat("da", 16): "The name is longer than 32 characters.\n",
		} {
			_, _, err := s.Dialer().Dial(t.Context(), s.URL+"/ws?name="+url.QueryEscape(name))
			refusal, ok := errors.AsType[*websocket.HandshakeError](err)
			if !ok || refusal.StatusCode != http.StatusBadRequest || string(refusal.Body) != want {
				t.Errorf("%q: %v", name, err)
			}
		}
	})
}

// Who reloads the page has not gone. Who stays away has.
func TestPeople(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s := serve(t, Options{})
		ada := open(t, s, "Ada")
		ada.join("lobby")
		ada.want("history lobby: ", "people lobby: Ada")
		grace := open(t, s, "Grace")
		grace.join("lobby")
		ada.want("people lobby: Ada, Grace")

		grace.conn.CloseNow()
		time.Sleep(patience - 2*time.Second)
		ada.want()
		grace = open(t, s, "Grace")
		grace.join("lobby")
		ada.want("people lobby: Ada, Grace") // sent again, for the name might have changed
		second := open(t, s, "Grace")
		second.join("lobby")
		second.join("lobby") // again, which changes nothing
		ada.want("people lobby: Ada, Grace")
		second.conn.CloseNow()
		grace.send("typing", `{"room":"lobby"}`)
		ada.want("typing lobby: Grace")
		grace.conn.CloseNow()
		time.Sleep(patience + 2*time.Second)
		ada.want("people lobby: Ada")

		time.Sleep(renewal)
		ada.want("people lobby: Ada")
	})
}

// Of many, so many are named.
func TestManyPeople(t *testing.T) {
	p := newPeople()
	for i := range listed + 20 {
		p.enter("lobby", Person{ID: fmt.Sprint(i), Name: fmt.Sprintf("%03d", i)})
	}
	lists := p.take("node")
	if len(lists) != 1 || lists[0].Count != listed+20 || len(lists[0].People) != listed || lists[0].People[listed-1].Name != "099" {
		t.Errorf("got %v", lists)
	}
}

// Processes that are joined are one chat.
func TestProcesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var bus hubtest.Bus
		var memory Memory
		_, first := serve(t, Options{Broker: bus.Broker(), History: &memory})
		_, second := serve(t, Options{Broker: bus.Broker(), History: &memory})
		ada := open(t, first, "Ada")
		ada.join("lobby")
		ada.want("history lobby: ", "people lobby: Ada")
		ada.say("lobby", "1", "Is anybody here?")
		ada.want("said lobby: Ada Is anybody here?")

		grace := open(t, second, "Grace")
		grace.join("lobby")
		grace.want("history lobby: Is anybody here?", "people lobby: Ada", "people lobby: Grace") // the first asked for
		ada.want("people lobby: Ada", "people lobby: Grace")
		grace.say("lobby", "1", "I am.")
		ada.want("said lobby: Grace I am.")
		grace.want("said lobby: Grace I am.")

		// What is said while they are apart comes with the history.
		bus.SetDown(true)
		ada.say("lobby", "2", "Can you hear me?")
		ada.want("said lobby: Ada Can you hear me?")
		grace.want()
		bus.SetDown(false)
		grace.want("history lobby: Is anybody here?, I am., Can you hear me?", "people lobby: Ada", "people lobby: Grace")
	})
}

// Somebody who comes again to many full rooms gets what is kept, within bounds.
func TestFullRooms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var memory Memory
		text := strings.Repeat("<", 2000)
		for i := range maxRooms {
			for n := range Kept {
				memory.Add(t.Context(), Said{ID: fmt.Sprint(n), Room: fmt.Sprint(i), Text: text, At: 1})
			}
		}
		_, s := serve(t, Options{History: &memory})
		ada := open(t, s, "Ada")
		want := []string{}
		for i := range maxRooms {
			ada.join(fmt.Sprint(i))
			want = append(want, fmt.Sprintf("history %d: %s", i, strings.TrimSuffix(strings.Repeat(text+", ", historyBytes/2000), ", ")))
		}
		time.Sleep(time.Second)
		synctest.Wait()
		ada.mu.Lock()
		defer ada.mu.Unlock()
		if !slices.Equal(ada.came, want) {
			t.Errorf("got %.200q", ada.came)
		}
	})
}

// A Broker that does not answer keeps nothing from the pages of this process.
func TestHangingBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s := serve(t, Options{Broker: hanging{new(hubtest.Bus).Broker()}})
		ada := open(t, s, "Ada")
		ada.join("lobby")
		ada.want("history lobby: ", "people lobby: Ada")
		for range 10 {
			time.Sleep(renewal + othersTimeout)
			ada.want("people lobby: Ada")
		}
	})
}

type hanging struct{ hub.Broker }

func (hanging) Publish(ctx context.Context, _ hub.Envelope) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		chat, s := serve(t, Options{})
		ada := open(t, s, "Ada")
		ada.join("lobby")
		ada.want("history lobby: ", "people lobby: Ada")
		if err := chat.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if code := websocket.CloseStatus(ada.conn.Err()); code != websocket.StatusServiceRestart {
			t.Errorf("closed with %d", code)
		}
		_, _, err := s.Dialer().Dial(t.Context(), s.URL+"/ws?name=Grace")
		if refusal, ok := errors.AsType[*websocket.HandshakeError](err); !ok || refusal.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("the next is told: %v", err)
		}
	})
}

func TestMemory(t *testing.T) {
	var h Memory
	ctx := t.Context()
	at := int64(0)
	add := func(room, id string) bool {
		at++
		added, err := h.Add(ctx, Said{ID: id, Room: room, At: at})
		return added && err == nil
	}
	for i := range 60 {
		if !add("lobby", fmt.Sprint(i)) || add("lobby", fmt.Sprint(i)) {
			t.Errorf("message %d is not added once", i)
		}
	}
	kept, _ := h.Recent(ctx, "lobby")
	if len(kept) != Kept || kept[0].ID != "10" || kept[Kept-1].ID != "59" {
		t.Errorf("kept %d, from %s to %s", len(kept), kept[0].ID, kept[len(kept)-1].ID)
	}
	for i := range keptRooms {
		add(fmt.Sprint("room ", i), "1")
	}
	if kept, _ := h.Recent(ctx, "lobby"); kept != nil || len(h.rooms) != keptRooms {
		t.Errorf("of the oldest room, %d messages are kept, and %d rooms", len(kept), len(h.rooms))
	}
}

// The page makes a browser somebody, by a cookie that scripts don't see.
func TestPage(t *testing.T) {
	chat := New(Options{})
	defer chat.Shutdown(t.Context())
	get := func(r *http.Request) *http.Response {
		w := httptest.NewRecorder()
		chat.ServeHTTP(w, r)
		return w.Result()
	}
	r := httptest.NewRequest("GET", "/", nil)
	resp := get(r)
	cookies := resp.Cookies()
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Error(resp.Status, resp.Header)
	}
	if len(cookies) != 1 || !cookies[0].HttpOnly || cookies[0].SameSite != http.SameSiteLaxMode || len(cookies[0].Value) < 26 {
		t.Fatal(cookies)
	}
	r.AddCookie(cookies[0])
	if again := get(r).Cookies(); len(again) != 0 {
		t.Error("a second cookie:", again)
	}
	if resp := get(httptest.NewRequest("GET", "/other", nil)); resp.StatusCode != http.StatusNotFound {
		t.Error(resp.Status)
	}
}

func TestListenAndServe(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- ListenAndServe(ctx, w, "localhost:0", Options{})
		w.Close()
	}()
	var address string
	if _, err := fmt.Fscanf(r, "chat  http://%s\n", &address); err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, r)
	c, _, err := websocket.Dial(t.Context(), "ws://"+address+"ws?name=Ada")
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	cancel()
	for _, err = range c.Messages(t.Context()) {
		if err != nil {
			break
		}
	}
	if websocket.CloseStatus(err) != websocket.StatusServiceRestart {
		t.Errorf("the page is told: %v", err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestListenAndServeError(t *testing.T) {
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := ListenAndServe(t.Context(), io.Discard, l.Addr().String(), Options{}); err == nil {
		t.Error("no error for an address in use")
	}
}
