package server

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tidewire/websocket/hub"
	"github.com/tidewire/websocket/wsjson"
)

// A Person is somebody who chats, with any number of pages open.
type Person struct {
	ID   string `json:"id"` // which nobody else can take
	Name string `json:"name"`
}

const (
	listed   = 100                   // so many of the people in a room are named
	patience = 8 * time.Second       // for which somebody without a connection stays
	renewal  = 15 * time.Second      // after which lists are sent again: pages forget old ones
	together = 50 * time.Millisecond // in which changes are sent as one
)

// people are those in each room with this process.
type people struct {
	mu      sync.Mutex
	rooms   map[string]map[string]*stay // by the name of the room and the ID of the person
	changed map[string]bool             // the rooms whose list is to be sent; true: others are asked for theirs
	wake    chan struct{}               // of capacity 1: there are some
}

// A stay is somebody's in a room. Who has lost the connection stays for a while: they may only have
// reloaded the page.
type stay struct {
	person Person
	pages  int
	lost   time.Time // the last of them
}

func newPeople() *people {
	return &people{
		rooms:   make(map[string]map[string]*stay),
		changed: make(map[string]bool),
		wake:    make(chan struct{}, 1),
	}
}

// change notes that the list of a room is to be sent. p.mu is held.
func (p *people) change(room string, ask bool) {
	p.changed[room] = p.changed[room] || ask
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// enter notes that somebody has come into a room, with a page.
func (p *people) enter(room string, person Person) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rooms[room] == nil {
		p.rooms[room] = make(map[string]*stay)
	}
	s := p.rooms[room][person.ID]
	if s == nil {
		s = new(stay)
		p.rooms[room][person.ID] = s
	}
	s.person = person // the name may be another now
	s.pages++
	p.change(room, true)
}

// leave notes that a page has left a room, or that its connection was lost.
func (p *people) leave(room, id string, lost bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.rooms[room][id]
	if s.pages--; s.pages > 0 {
		return
	}
	if s.lost = time.Now(); !lost {
		p.remove(room, id)
	}
}

// tidy removes those who have lost the connection and have not come back.
func (p *people) tidy() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for room, stays := range p.rooms {
		for id, s := range stays {
			if s.pages == 0 && time.Since(s.lost) >= patience {
				p.remove(room, id)
			}
		}
	}
}

func (p *people) remove(room, id string) {
	delete(p.rooms[room], id)
	if len(p.rooms[room]) == 0 {
		delete(p.rooms, room)
	}
	p.change(room, false)
}

// renew has the lists of all rooms be sent.
func (p *people) renew() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for room := range p.rooms {
		p.change(room, false)
	}
}

// gap has the lists of a room that is a topic, or of all if it is "", be sent and those of others be
// asked for. It returns the rooms.
func (p *people) gap(topic string) (rooms []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for room := range p.rooms {
		if topic == "" || topic == "room:"+room {
			p.change(room, true)
			rooms = append(rooms, room)
		}
	}
	return rooms
}

// asked notes that another process wants to know who is in a room.
func (p *people) asked(room string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rooms[room] != nil {
		p.change(room, false)
	}
}

// A list is who is in a room with one process.
type list struct {
	Room   string   `json:"room"`
	Node   string   `json:"node"`
	Count  int      `json:"count"`
	People []Person `json:"people"`
	Ask    bool     `json:"ask,omitempty"` // others are to send theirs
}

// take returns the lists that are to be sent.
func (p *people) take(node string) []list {
	p.mu.Lock()
	defer p.mu.Unlock()
	var lists []list
	for room, ask := range p.changed {
		l := list{Room: room, Node: node, Count: len(p.rooms[room]), People: []Person{}, Ask: ask}
		for _, s := range p.rooms[room] {
			l.People = append(l.People, s.person)
		}
		slices.SortFunc(l.People, func(a, b Person) int { return strings.Compare(a.Name+a.ID, b.Name+b.ID) })
		l.People = l.People[:min(len(l.People), listed)]
		lists = append(lists, l)
	}
	clear(p.changed)
	return lists
}

// listKey begins the key of a list. A newer one of the same node and room replaces it.
const listKey = "people:"

// tellOfPeople is the goroutine that sends who is where.
func (s *Server) tellOfPeople(ctx context.Context) {
	tidy, renew := time.NewTicker(time.Second), time.NewTicker(renewal)
	defer tidy.Stop()
	defer renew.Stop()
	for {
		select {
		case <-s.people.wake:
		case <-tidy.C:
			s.people.tidy()
			continue
		case <-renew.C:
			s.people.renew()
		case <-ctx.Done():
			return
		}
		for _, l := range s.people.take(s.node) {
			s.sendList(ctx, l)
		}
		select {
		case <-time.After(together):
		case <-ctx.Done():
		}
	}
}

func (s *Server) sendList(ctx context.Context, l list) {
	ctx, cancel := context.WithTimeout(ctx, othersTimeout)
	defer cancel()
	s.send(ctx, s.hub.Room(l.Room).Latest(listKey+s.node+":"+l.Room), "people", l)
}

// A listener is a Broker that notices when another process asks who is in a room.
type listener struct {
	hub.Broker
	people *people
}

func (l listener) Run(ctx context.Context, deliver func(hub.Envelope), gap func(topic string)) error {
	return l.Broker.Run(ctx, func(e hub.Envelope) {
		deliver(e)
		l.hear(e)
	}, gap)
}

func (l listener) hear(e hub.Envelope) {
	if !strings.HasPrefix(e.Key, listKey) {
		return
	}
	other, err := wsjson.Decode[string, list](e.Data)
	if err == nil && other.Data.Ask {
		l.people.asked(other.Data.Room)
	}
}
