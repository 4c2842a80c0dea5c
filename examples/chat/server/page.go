package server

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/tidewire/websocket"
	"github.com/tidewire/websocket/hub"
	"github.com/tidewire/websocket/wsjson"
)

// othersTimeout is how long the History and the Broker may take for a message.
const othersTimeout = 5 * time.Second

// A page is one that is connected.
type page struct {
	*Server
	client *hub.Client[Person]
	rooms  map[string]bool // that it is in
}

// refused is the answer to what can't be done, and the error for it.
type refused struct {
	ID  string `json:"id,omitempty"` // of what was to be said
	Why string `json:"why"`
}

func (r refused) Error() string { return r.Why }

// What pages send.
type (
	inRoom struct {
		Room string `json:"room"`
	}
	toSay struct {
		Room string `json:"room"`
		ID   string `json:"id"`
		Text string `json:"text"`
	}
)

func (s *Server) handleMessages() {
	handle(s, "join", (*page).join)
	handle(s, "leave", (*page).leave)
	handle(s, "say", (*page).say)
	handle(s, "typing", (*page).typing)
}

func handle[T any](s *Server, typ string, do func(*page, context.Context, T) error) {
	wsjson.Handle(&s.messages, typ, func(ctx context.Context, p *page, e wsjson.Envelope[string, T]) error {
		return do(p, ctx, e.Data)
	})
}

// receive does what a message asks for, or says why not.
func (p *page) receive(ctx context.Context, data []byte) {
	ctx, cancel := context.WithTimeout(ctx, othersTimeout)
	defer cancel()
	err := p.messages.Dispatch(ctx, p, data)
	if err == nil {
		return
	}
	answer, ok := errors.AsType[refused](err)
	if !ok {
		answer.Why = err.Error()
	}
	p.client.Send(websocket.MessageText, encode("refused", answer))
}

func (p *page) join(ctx context.Context, m inRoom) error {
	if why := checkName(m.Room); why != "" {
		return refused{Why: "The name of the room " + why + "."}
	}
	if err := p.client.Join(m.Room); err != nil {
		return err
	}
	if !p.rooms[m.Room] {
		p.rooms[m.Room] = true
		p.people.enter(m.Room, p.client.Meta())
	}
	return p.client.Send(websocket.MessageText, p.encodeHistory(ctx, m.Room))
}

func (p *page) leave(_ context.Context, m inRoom) error {
	if !p.rooms[m.Room] {
		return nil
	}
	delete(p.rooms, m.Room)
	p.client.Leave(m.Room)
	p.people.leave(m.Room, p.client.User(), false)
	return nil
}

// say has a message be kept, and then sends it. Who joins between the two gets it twice, and nobody misses it.
func (p *page) say(ctx context.Context, m toSay) error {
	text := strings.TrimSpace(m.Text)
	switch {
	case !p.rooms[m.Room]:
		return refused{m.ID, "You are not in this room."}
	case len(m.ID) == 0 || len(m.ID) > 64:
		return refused{m.ID, "The message has no good id."}
	case text == "":
		return refused{m.ID, "The message is empty."}
	case utf8.RuneCountInString(text) > 2000:
		return refused{m.ID, "The message is longer than 2,000 characters."}
	}
	said := Said{
		ID:   p.client.User() + "-" + m.ID, // so that nobody can take the ID of another's
		Room: m.Room,
		From: p.client.Meta(),
		Text: text,
		At:   p.now(),
	}
	added, err := p.history.Add(ctx, said)
	switch {
	case err != nil:
		p.log.Printf("history: %v", err)
	case !added: // it is said once more, because the page does not know
		return p.client.Send(websocket.MessageText, p.encodeHistory(ctx, m.Room))
	}
	p.send(ctx, p.hub.Room(m.Room), "said", said)
	return nil
}

// now returns the time in milliseconds, a later one each time: messages are in the order of their times.
func (s *Server) now() int64 {
	for {
		latest := s.latest.Load()
		now := max(time.Now().UnixMilli(), latest+1)
		if s.latest.CompareAndSwap(latest, now) {
			return now
		}
	}
}

func (p *page) typing(ctx context.Context, m inRoom) error {
	if p.rooms[m.Room] {
		p.send(ctx, p.hub.Room(m.Room).Except(p.client).Latest("typing:"+m.Room+":"+p.client.User()), "typing", struct {
			inRoom
			From Person `json:"from"`
		}{m, p.client.Meta()})
	}
	return nil
}

// encodeHistory encodes what was said last in a room.
func (s *Server) encodeHistory(ctx context.Context, room string) []byte {
	messages, err := s.history.Recent(ctx, room)
	if err != nil {
		s.log.Printf("history: %v", err)
	}
	return encode("history", struct {
		inRoom
		Messages []Said `json:"messages"`
	}{inRoom{room}, messages})
}

// send sends a message to clients, here and elsewhere.
func (s *Server) send(ctx context.Context, to hub.Target[Person], typ string, data any) {
	if _, err := to.Send(ctx, websocket.MessageText, encode(typ, data)); err != nil {
		s.log.Printf("broker: %v", err)
	}
}

// encode encodes a message, whose data can always be encoded.
func encode(typ string, data any) []byte {
	b, err := json.Marshal(wsjson.Envelope[string, any]{Type: typ, Data: data})
	if err != nil {
		panic(err)
	}
	return b
}

// checkName returns what is wrong with the name of a person or a room.
func checkName(name string) string {
	switch {
	case strings.TrimSpace(name) == "":
		return "is missing"
	case strings.TrimSpace(name) != name:
		return "begins or ends with a space"
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return "has characters that are none"
	case utf8.RuneCountInString(name) > 32:
		return "is longer than 32 characters"
	}
	return ""
}
