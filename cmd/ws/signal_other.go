//go:build !unix

package main

// ignoreBrokenPipes has nothing to do: a write to a pipe that nobody reads fails.
func ignoreBrokenPipes() {}
