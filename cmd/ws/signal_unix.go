//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// ignoreBrokenPipes has a write to a pipe that nobody reads fail, even if it is stdout, instead of
// ending the program: there is a connection to be closed. The signal is caught, for programs that are
// started would go on to ignore one that is ignored.
func ignoreBrokenPipes() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }
