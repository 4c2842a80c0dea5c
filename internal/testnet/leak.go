package testnet

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"
)

// CheckLeaks is the body of a TestMain: it runs the tests and exits with
// their status, but with 1 if they pass and leave goroutines behind that
// do not end within five seconds. It prints the stacks of those.
func CheckLeaks(m interface{ Run() int }) {
	os.Exit(checkLeaks(m, os.Stderr, 5*time.Second))
}

func checkLeaks(m interface{ Run() int }, w io.Writer, patience time.Duration) int {
	before := goroutines()
	code := m.Run()
	if code != 0 {
		return code
	}
	var left []string
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if left = leaked(before); len(left) == 0 {
			return 0
		}
		if time.Now().After(deadline) {
			break
		}
	}
	fmt.Fprintf(w, "%d leaked goroutines:\n\n%s\n", len(left), strings.Join(left, "\n\n"))
	return 1
}

// leaked returns the stacks of the goroutines that were not there before.
func leaked(before map[string]string) []string {
	var left []string
	for id, stack := range goroutines() {
		if _, ok := before[id]; !ok && !ofRuntime(stack) {
			left = append(left, stack)
		}
	}
	return left
}

// ofRuntime reports whether a goroutine is one that the runtime keeps: for signals, or for events of JavaScript.
func ofRuntime(stack string) bool {
	return strings.Contains(stack, "os/signal.signal_recv") || strings.Contains(stack, "runtime.handleEvent")
}

// goroutines returns the stacks of all goroutines but the calling one, by
// "goroutine 7".
func goroutines() map[string]string {
	buf := make([]byte, 64<<10)
	n := runtime.Stack(buf, true)
	for n == len(buf) {
		buf = make([]byte, 2*len(buf))
		n = runtime.Stack(buf, true)
	}
	_, others, _ := strings.Cut(string(buf[:n]), "\n\n")
	stacks := make(map[string]string)
	for stack := range strings.SplitSeq(others, "\n\n") {
		if id, _, ok := strings.Cut(stack, " ["); ok {
			stacks[id] = stack
		}
	}
	return stacks
}
