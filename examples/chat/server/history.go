package server

import (
	"context"
	"slices"
	"sync"
)

// Kept is how many messages of a room are kept.
const Kept = 50

// Said is a message.
type Said struct {
	ID   string `json:"id"`
	Room string `json:"room"`
	From Person `json:"from"`
	Text string `json:"text"`
	At   int64  `json:"at"` // milliseconds since 1970
}

// A History keeps the latest messages of each room. Its methods may be called concurrently.
type History interface {
	// Add reports whether m was not there before. It forgets those before the latest Kept.
	Add(ctx context.Context, m Said) (added bool, err error)

	// Recent returns what is kept of a room, oldest first.
	Recent(ctx context.Context, room string) ([]Said, error)
}

// keptRooms is of how many rooms a Memory keeps messages.
const keptRooms = 1000

// A Memory is a History for one process, that ends with it. The zero value is empty.
type Memory struct {
	mu    sync.Mutex
	rooms map[string][]Said
}

func (h *Memory) Add(_ context.Context, m Said) (added bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	said := h.rooms[m.Room]
	if slices.ContainsFunc(said, func(other Said) bool { return other.ID == m.ID }) {
		return false, nil
	}
	if h.rooms == nil {
		h.rooms = make(map[string][]Said)
	}
	if said == nil && len(h.rooms) >= keptRooms {
		h.forget()
	}
	if len(said) == Kept {
		said = slices.Delete(said, 0, 1)
	}
	h.rooms[m.Room] = append(said, m)
	return true, nil
}

// forget forgets the room in which nothing was said for the longest time.
func (h *Memory) forget() {
	var quiet string
	var latest int64
	for room, said := range h.rooms {
		if at := said[len(said)-1].At; quiet == "" || at < latest {
			quiet, latest = room, at
		}
	}
	delete(h.rooms, quiet)
}

func (h *Memory) Recent(_ context.Context, room string) ([]Said, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.rooms[room]), nil
}
