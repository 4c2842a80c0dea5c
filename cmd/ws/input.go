package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
)

// A line is what is to be one message, or why there are no more.
type line struct {
	data []byte
	err  error
}

// lines returns a channel of the lines of r, or of what is between NULs, to be received until it is
// closed or ctx ends. Who waits for a terminal can't be made to stop: the goroutine that reads may
// stay until r has something.
func lines(ctx context.Context, r io.Reader, nul bool) <-chan line {
	ch := make(chan line)
	go func() {
		defer close(ch)
		s := scanner(r, nul)
		for s.Scan() {
			select {
			case ch <- line{data: bytes.Clone(s.Bytes())}:
			case <-ctx.Done():
				return
			}
		}
		if err := s.Err(); err != nil {
			select {
			case ch <- line{err: err}:
			case <-ctx.Done():
			}
		}
	}()
	return ch
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
