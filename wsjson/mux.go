package wsjson

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"sync"
)

// An Envelope is a message that says what it is:
//
//	{"type":"chat","id":7,"data":{"text":"hello"}}
//
// K is the type of "type", a string or a number for example, as the peers have agreed. An ID that
// is not 0 is for the peer to answer with. Data is left out if it is zero.
type Envelope[K comparable, T any] struct {
	Type K      `json:"type"`
	ID   uint64 `json:"id,omitempty"`
	Data T      `json:"data,omitzero"`
}

var errNoType = errors.New(`wsjson: the message has no "type"`)

// Decode decodes a message with an envelope. A message without a type is refused.
func Decode[K comparable, T any](p []byte) (Envelope[K, T], error) {
	e, err := decode[struct {
		Type *K     `json:"type"`
		ID   uint64 `json:"id"`
		Data T      `json:"data"`
	}](p)
	switch {
	case err != nil:
		return Envelope[K, T]{}, err
	case e.Type == nil:
		return Envelope[K, T]{}, errNoType
	}
	return Envelope[K, T]{*e.Type, e.ID, e.Data}, nil
}

// ErrUnknownType is wrapped by the error of [Mux.Dispatch] for a message whose type has no handler.
var ErrUnknownType = errors.New("wsjson: unknown type")

// A Mux calls a function for each type of message. C is whatever the functions need
// to know about where a message came from, such as a [*websocket.Conn]. The zero Mux is ready
// for use, and its methods may be called concurrently.
type Mux[K comparable, C any] struct {
	// NotFound is called for messages of a type without a handler. Default: Dispatch returns
	// ErrUnknownType.
	NotFound func(ctx context.Context, c C, e Envelope[K, json.RawMessage]) error

	mu       sync.RWMutex
	handlers map[K]func(context.Context, C, Envelope[K, json.RawMessage]) error
}

// Handle has m call f for messages of the type t, with their data as a T, which may be absent:
// that is the zero T. It replaces what there was for t.
func Handle[T any, K comparable, C any](m *Mux[K, C], t K, f func(ctx context.Context, c C, e Envelope[K, T]) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.handlers == nil {
		m.handlers = make(map[K]func(context.Context, C, Envelope[K, json.RawMessage]) error)
	}
	m.handlers[t] = func(ctx context.Context, c C, raw Envelope[K, json.RawMessage]) error {
		e := Envelope[K, T]{Type: raw.Type, ID: raw.ID}
		if raw.Data != nil {
			if err := json.Unmarshal(raw.Data, &e.Data); err != nil {
				return fmt.Errorf("wsjson: data of type %v: %w", raw.Type, err)
			}
		}
		return f(ctx, c, e)
	}
}

// Dispatch decodes the message p, calls the function for its type, and returns what that
// returns. A message that cannot be decoded, or is of no type that is known, is an error, and no
// function is called.
func (m *Mux[K, C]) Dispatch(ctx context.Context, c C, p []byte) error {
	e, err := Decode[K, json.RawMessage](p)
	if err != nil {
		return err
	}
	var handle func(context.Context, C, Envelope[K, json.RawMessage]) error
	ok := reflect.ValueOf(&e.Type).Elem().Comparable() // an interface may hold what is not
	if ok {
		m.mu.RLock()
		handle, ok = m.handlers[e.Type]
		m.mu.RUnlock()
	}
	switch {
	case ok:
		return handle(ctx, c, e)
	case m.NotFound != nil:
		return m.NotFound(ctx, c, e)
	}
	return fmt.Errorf("%w %v", ErrUnknownType, e.Type)
}
