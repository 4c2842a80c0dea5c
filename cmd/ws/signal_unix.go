//go:build unix

package main

import (
	"os/signal"
	"syscall"
)

// ignoreBrokenPipes has a write to a pipe that nobody reads fail, even if it is stdout, instead of
// ending the program: there is a connection to be closed.
func ignoreBrokenPipes() { signal.Ignore(syscall.SIGPIPE) }
