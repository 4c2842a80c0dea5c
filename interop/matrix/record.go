package main

import (
	"slices"
	"sync"

	"github.com/tidewire/websocket"
)

// A record is what a connection's Trace was told.
type record struct {
	mu            sync.Mutex
	read, written []websocket.Frame
}

func (r *record) trace() *websocket.Trace {
	note := func(frames *[]websocket.Frame) func(*websocket.Conn, websocket.Frame) {
		return func(_ *websocket.Conn, f websocket.Frame) {
			r.mu.Lock()
			defer r.mu.Unlock()
			*frames = append(*frames, f)
		}
	}
	return &websocket.Trace{FrameRead: note(&r.read), FrameWritten: note(&r.written)}
}

// frames returns those that were received and sent up to now.
func (r *record) frames() (read, written []websocket.Frame) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.read), slices.Clone(r.written)
}

// messages returns what was received and sent up to now.
func (r *record) messages() (read, written []message) {
	in, out := r.frames()
	return messages(in), messages(out)
}

// A message is what its frames say of it.
type message struct {
	frames     int
	length     int64 // of the payloads
	compressed bool
}

// messages puts the fragments of messages together, and leaves out control frames.
func messages(frames []websocket.Frame) []message {
	var all []message
	for _, f := range frames {
		switch f.Opcode {
		case opText, opBinary:
			all = append(all, message{1, f.PayloadLength, f.Compressed})
		case opContinuation:
			m := &all[len(all)-1]
			m.frames++
			m.length += f.PayloadLength
		}
	}
	return all
}

// Opcodes (RFC 6455, section 5.2).
const (
	opContinuation = 0
	opText         = 1
	opBinary       = 2
	opPing         = 9
	opPong         = 10
)

// index returns where the first frame with that opcode is, or -1.
func index(frames []websocket.Frame, opcode int) int {
	return slices.IndexFunc(frames, func(f websocket.Frame) bool { return f.Opcode == opcode })
}
