package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/tidewire/websocket"
	"github.com/tidewire/websocket/hub"
	"github.com/tidewire/websocket/wsjson"
)

const (
	// othersTimeout is how long the History and the Broker may take for a message.
	othersTimeout = 5 * time.Second

	// maxRooms is in how many rooms a page may be.
	maxRooms = 32

	// historyBytes is how many bytes of text a page gets of what was said last in a room.
	historyBytes = 64 << 10
)

// A page is one that is connected.
type page struct {
	*Server
	client *hub.Client[Person]
	rooms  map[string]bool // that it is in
}

// refused is the answer to what can't be done, and the error for it.
type refused struct {
	Room string `json:"room,omitempty"` // that can't be joined
	ID   string `json:"id,omitempty"`   // of what was to be said
	Why  string `json:"why"`
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
		return refused{Room: m.Room, Why: "The name of the room " + why + "."}
	}
	if err := p.client.Join(m.Room); err == hub.ErrTooManyRooms {
		return refused{Room: m.Room, Why: fmt.Sprintf("You can be in %d rooms. Leave one first.", maxRooms)}
	} else if err != nil {
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
		return refused{ID: m.ID, Why: "You are not in this room."}
	case len(m.ID) == 0 || len(m.ID) > 64:
		return refused{ID: m.ID, Why: "The message has no good id."}
	case text == "":
		return refused{ID: m.ID, Why: "The message is empty."}
	case utf8.RuneCountInString(text) > 2000:
		return refused{ID: m.ID, Why: "The message is longer than 2,000 characters."}
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

// encodeHistory encodes what was said last in a room, and whether there was more.
func (s *Server) encodeHistory(ctx context.Context, room string) []byte {
	messages, err := s.history.Recent(ctx, room)
	if err != nil {
		s.log.Printf("history: %v", err)
	}
	more := len(messages) == Kept
	size := 0
	for i, m := range slices.Backward(messages) {
		if size += len(m.Text); size > historyBytes {
			messages, more = messages[i+1:], true
			break
		}
	}
	return encode("history", struct {
		inRoom
		Messages []Said `json:"messages"`
		More     bool   `json:"more"`
	}{inRoom{room}, messages, more})
}

// send sends a message to clients, here and elsewhere.
func (s *Server) send(ctx context.Context, to hub.Target[Person], typ string, data any) {
	if _, err := to.Send(ctx, websocket.MessageText, encode(typ, data)); err != nil {
		s.log.Printf("broker: %v", err)
	}
}

// encode encodes a message, whose data can always be encoded.
func encode(typ string, data any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(wsjson.Envelope[string, any]{Type: typ, Data: data}); err != nil {
		panic(err)
	}
	return bytes.TrimSpace(b.Bytes())
}

// checkName returns what is wrong with the name of a person or a room.
func checkName(name string) string {
	// Letters that show nothing.
	const blank = "\u115F\u1160\u3164\uFFA0"
	switch {
	case strings.Trim(name, " "+blank) == "":
		return "is missing"
	case strings.TrimSpace(name) != name:
		return "begins or ends with a space"
	case !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsGraphic(r) }):
		return "has characters that can't be seen"
	case utf8.RuneCountInString(name) > 32:
		return "is longer than 32 characters"
	}
	return ""
}
