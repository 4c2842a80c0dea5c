//go:build external

package main

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/tidewire/websocket/internal/browsertest"
)

// TestBrowser runs the program as a server, loads its page in Chromium, and uses that as a
// person would, while the browser is steered over a WebSocket, too.
func TestBrowser(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	server := browsertest.Run(t, exec.CommandContext(ctx, browsertest.Build(ctx, t), "-listen", "localhost:0"))
	page := echoPage{browsertest.Start(ctx, t).Open(server.Expect(`^page  (http://\S+)$`))}

	page.waitFor("open", "note: connected")
	server.Expect(` connected$`)

	page.Type("Hello, 世界 🌊")
	page.Click("#send")
	page.waitFor("open",
		"note: connected",
		"sent text: Hello, 世界 🌊",
		"received text: Hello, 世界 🌊")

	page.Click("#clear")
	page.Click("input[value=binary] + span")
	page.Type("00 01 7f 80 FEFF")
	page.Click("#send")
	page.waitFor("open",
		"sent binary: 00 01 7f 80 fe ff",
		"received binary: 00 01 7f 80 fe ff")

	page.Click("#clear")
	page.Eval("send('0123456789abcdef'.repeat(20000))", nil)
	long := strings.Repeat("0123456789abcdef", 20000)
	page.waitFor("open",
		"sent text: "+long,
		"received text: "+long)

	page.Click("#clear")
	page.Click("#connect")
	page.waitFor("closed", "note: closed with 1000 (clean)")
	server.Expect(` closed with 1000$`)

	page.Click("#connect")
	page.waitFor("open",
		"note: closed with 1000 (clean)",
		"note: connected")
	server.Interrupt()
	page.waitFor("closed",
		"note: closed with 1000 (clean)",
		"note: connected",
		"note: closed with 1001: the server stops (clean)")
	server.Expect(` closed with 1001$`)
}

type echoPage struct{ *browsertest.Page }

// waitFor waits until the page shows the given state of the connection and the given list.
func (p echoPage) waitFor(state string, list ...string) {
	p.Await(`[
		document.querySelector('#state').textContent,
		...Array.from(document.querySelectorAll('#log li'), li =>
			li.className + ': ' + li.querySelector('p').textContent),
	]`, append([]string{state}, list...))
}
