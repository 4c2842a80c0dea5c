package server

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"errors"
	"io"
	"log"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidewire/websocket"
	"github.com/tidewire/websocket/hub"
	"github.com/tidewire/websocket/wsjson"
)

// Options are what a Server is made of. The zero value is a chat in one process.
type Options struct {
	// Broker joins the processes that serve the chat. Default: there is one.
	Broker hub.Broker

	// History is what they share. Default: a Memory.
	History History

	// Log is told who comes and goes, and of what fails. Default: nobody is.
	Log *log.Logger
}

// A Server is a chat, as an http.Handler.
type Server struct {
	hub      *hub.Hub[Person]
	node     string
	history  History
	log      *log.Logger
	people   *people
	messages wsjson.Mux[string, *page]
	mux      http.ServeMux
	latest   atomic.Int64 // time of a message

	stop    context.CancelFunc
	telling sync.WaitGroup
}

// New returns a Server, which must be shut down.
func New(o Options) *Server {
	s := &Server{node: rand.Text(), history: o.History, log: o.Log, people: newPeople()}
	if s.history == nil {
		s.history = new(Memory)
	}
	if s.log == nil {
		s.log = log.New(io.Discard, "", 0)
	}
	ho := hub.Options{
		Node:     s.node,
		MaxRooms: maxRooms,
		// All histories, which a page may be sent at once.
		QueueBytes: 2 * maxRooms * historyBytes,
		OnGap:      s.catchUp,
		OnBrokerError: func(err error) {
			s.log.Printf("broker: %v", err)
		},
	}
	if o.Broker != nil {
		ho.Broker = listener{o.Broker, s.people}
	}
	s.hub = hub.New[Person](ho)
	s.handleMessages()
	s.mux.HandleFunc("GET /{$}", s.servePage)
	u := websocket.Upgrader{
		Accept:      s.hub.Accept,
		ReadLimit:   16 << 10,
		Compression: new(websocket.Compression),
	}
	s.mux.Handle("/ws", u.Handler(s.enter))

	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.telling.Go(func() { s.tellOfPeople(ctx) })
	return s
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// Shutdown asks all pages to come back soon, and returns when they are gone. See [hub.Hub.Shutdown].
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.hub.Shutdown(ctx, websocket.StatusServiceRestart, 500*time.Millisecond)
	s.stop()
	s.telling.Wait()
	return err
}

//go:embed page.html
var pageHTML []byte

// cookie holds a secret that makes a browser the same person each time.
const cookie = "chat"

func (s *Server) servePage(w http.ResponseWriter, r *http.Request) {
	if _, err := r.Cookie(cookie); err != nil {
		http.SetCookie(w, &http.Cookie{
			Name: cookie, Value: rand.Text(), MaxAge: 365 * 24 * 60 * 60, HttpOnly: true, SameSite: http.SameSiteLaxMode,
		})
	}
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Write(pageHTML)
}

// enter admits a page to the chat.
func (s *Server) enter(_ http.ResponseWriter, r *http.Request) (func(context.Context, *websocket.Conn), error) {
	person := Person{Name: r.URL.Query().Get("name")}
	if why := checkName(person.Name); why != "" {
		return nil, &websocket.HandshakeError{
			StatusCode: http.StatusBadRequest,
			Body:       []byte("The name " + why + ".\n"),
			Err:        errors.New("the name " + why),
		}
	}
	secret := rand.Text() // for somebody without a browser
	if c, err := r.Cookie(cookie); err == nil {
		secret = c.Value
	}
	hash := sha256.Sum256([]byte(secret))
	person.ID = base64.RawURLEncoding.EncodeToString(hash[:9])
	return func(ctx context.Context, c *websocket.Conn) { s.serve(ctx, c, person) }, nil
}

// serve talks to a page until it goes.
func (s *Server) serve(ctx context.Context, c *websocket.Conn, person Person) {
	s.log.Printf("%s (%s) has come", person.Name, person.ID)
	if err := wsjson.Write(ctx, c, wsjson.Envelope[string, Person]{Type: "welcome", Data: person}); err != nil {
		return
	}
	p := &page{Server: s, rooms: make(map[string]bool)}
	defer func() {
		for room := range p.rooms {
			s.people.leave(room, person.ID, true)
		}
	}()
	err := s.hub.Serve(ctx, c, hub.Identity[Person]{User: person.ID, Meta: person},
		func(from *hub.Client[Person], typ websocket.MessageType, data []byte) error {
			p.client = from
			p.receive(ctx, data)
			return nil
		})
	s.log.Printf("%s (%s) has gone: %v", person.Name, person.ID, err)
}

// catchUp is told that messages of other processes to a topic may have been lost.
func (s *Server) catchUp(topic string) {
	ctx, cancel := context.WithTimeout(context.Background(), othersTimeout)
	defer cancel()
	for _, room := range s.people.gap(topic) {
		s.hub.Room(room).Local().Send(ctx, websocket.MessageText, s.encodeHistory(ctx, room))
	}
}
