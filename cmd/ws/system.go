package main

import (
	"io"
	"os"
	"strings"
)

// A system is what a command has of the world around it. Its writers may be used concurrently, and
// what is one Write stays together.
type system struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
	isTerminal     func(stream any) bool
}

func standardSystem() *system {
	ignoreBrokenPipes()
	return &system{openInput(os.Stdin), os.Stdout, os.Stderr, os.Getenv, isTerminal}
}

// openInput returns f, or if it was closed when the program started, something that is empty.
func openInput(f *os.File) io.Reader {
	if _, err := f.Stat(); err != nil {
		return strings.NewReader("")
	}
	return f
}

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// obeysANSI reports whether w is a terminal that understands escape sequences (ECMA-48). One without
// a TERM is that of a Windows, where the newer ones have a WT_SESSION, or of nobody.
func (s *system) obeysANSI(w io.Writer) bool {
	term := s.getenv("TERM")
	return s.isTerminal(w) && term != "dumb" && (term != "" || s.getenv("WT_SESSION") != "")
}

// hasColours reports whether what is printed on w may be in colours (https://no-color.org).
func (s *system) hasColours(w io.Writer) bool { return s.obeysANSI(w) && s.getenv("NO_COLOR") == "" }
