package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"iter"
	"unicode/utf8"

	"github.com/tidewire/websocket"
)

// lines returns an iterator over the lines of r, or over what is between NULs, until ctx ends. An
// error comes last.
//
// Who reads a terminal can't be made to stop: a goroutine may stay until r has something.
func lines(ctx context.Context, r io.Reader, nul bool) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		read := make(chan line)
		go readLines(ctx, scanner(r, nul), read)
		for {
			select {
			case l, ok := <-read:
				if !ok || !yield(l.data, l.err) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

// A line is what is to be one message, or why there are no more.
type line struct {
	data []byte
	err  error
}

func readLines(ctx context.Context, s *bufio.Scanner, read chan<- line) {
	defer close(read)
	for s.Scan() || s.Err() != nil {
		select {
		case read <- line{bytes.Clone(s.Bytes()), s.Err()}:
		case <-ctx.Done():
			return
		}
		if s.Err() != nil {
			return
		}
	}
}

// scanner returns a scanner of the lines of r, or of what is between NULs.
func scanner(r io.Reader, nul bool) *bufio.Scanner {
	s := bufio.NewScanner(r)
	s.Buffer(nil, maxMessage)
	if nul {
		s.Split(scanNUL)
	}
	return s
}

// scanNUL is a bufio.SplitFunc.
func scanNUL(data []byte, atEOF bool) (advance int, token []byte, err error) {
	if i := bytes.IndexByte(data, 0); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}

// typeOf returns of which type a message with that data can be.
func typeOf(data []byte) websocket.MessageType {
	if utf8.Valid(data) {
		return websocket.MessageText
	}
	return websocket.MessageBinary
}
