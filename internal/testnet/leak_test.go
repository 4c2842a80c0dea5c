package testnet

import (
	"io"
	"strings"
	"testing"
	"time"
)

type testRun func() int

func (f testRun) Run() int { return f() }

func TestCheckLeaks(t *testing.T) {
	t.Run("nothing left", func(t *testing.T) {
		done := make(chan struct{})
		run := testRun(func() int {
			go func() { <-done }()
			time.AfterFunc(20*time.Millisecond, func() { close(done) })
			return 0
		})
		if got := checkLeaks(run, io.Discard, 5*time.Second); got != 0 {
			t.Errorf("got status %d, want 0", got)
		}
	})
	t.Run("a goroutine left", func(t *testing.T) {
		done := make(chan struct{})
		defer close(done)
		var out strings.Builder
		run := testRun(func() int {
			begun := make(chan struct{})
			go forgotten(begun, done)
			<-begun
			return 0
		})
		if got := checkLeaks(run, &out, 0); got != 1 {
			t.Errorf("got status %d, want 1", got)
		}
		if !strings.Contains(out.String(), "testnet.forgotten") {
			t.Errorf("the stack is not in the output:\n%s", out.String())
		}
	})
	t.Run("failed tests", func(t *testing.T) {
		if got := checkLeaks(testRun(func() int { return 3 }), io.Discard, 0); got != 3 {
			t.Errorf("got status %d, want 3", got)
		}
	})
}

func forgotten(begun, done chan struct{}) {
	close(begun)
	<-done
}
