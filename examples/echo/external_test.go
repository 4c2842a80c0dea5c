//go:build external

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidewire/websocket"
)

// TestBrowser runs the program as a server, loads its page in Chromium, and uses that as a
// person would, while the browser is steered over a WebSocket, too.
func TestBrowser(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	server := startServer(ctx, t)
	page := openPage(ctx, t, server.expect(`^page  (http://\S+)$`))

	page.waitFor("open", "note: connected")
	server.expect(` connected$`)

	page.enter("Hello, 世界 🌊")
	page.click("#send")
	page.waitFor("open",
		"note: connected",
		"sent text: Hello, 世界 🌊",
		"received text: Hello, 世界 🌊")

	page.click("#clear")
	page.click("input[value=binary] + span")
	page.enter("00 01 7f 80 FEFF")
	page.click("#send")
	page.waitFor("open",
		"sent binary: 00 01 7f 80 fe ff",
		"received binary: 00 01 7f 80 fe ff")

	page.click("#clear")
	page.eval("send('0123456789abcdef'.repeat(20000))", nil)
	long := strings.Repeat("0123456789abcdef", 20000)
	page.waitFor("open",
		"sent text: "+long,
		"received text: "+long)

	page.click("#clear")
	page.click("#connect")
	page.waitFor("closed", "note: closed with 1000 (clean)")
	server.expect(` closed with 1000$`)

	page.click("#connect")
	page.waitFor("open",
		"note: closed with 1000 (clean)",
		"note: connected")
	if err := server.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	page.waitFor("closed",
		"note: closed with 1000 (clean)",
		"note: connected",
		"note: closed with 1001: the server stops (clean)")
	server.expect(` closed with 1001$`)
	if err := server.cmd.Wait(); err != nil {
		t.Errorf("the server: %v", err)
	}
}

// A process is a program that the test has started.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines chan string // what it prints
}

// start starts cmd. When the test ends, so does the process, with all of its children
// that share its output.
func start(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	err = cmd.Start()
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t, cmd, make(chan string, 1000)}
	go func() {
		defer close(p.lines)
		defer r.Close()
		for s := bufio.NewScanner(r); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		for range p.lines {
		}
	})
	return p
}

// expect waits for a line that matches pattern, and returns
// the match of its first group, if it has one.
func (p *process) expect(pattern string) string {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	for line := range p.lines {
		p.t.Log(line)
		if match := re.FindStringSubmatch(line); match != nil {
			return match[len(match)-1]
		}
	}
	p.t.Fatalf("%s has not printed %q", filepath.Base(p.cmd.Path), pattern)
	return ""
}

func startServer(ctx context.Context, t *testing.T) *process {
	t.Helper()
	program := filepath.Join(t.TempDir(), "echo")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return start(t, exec.CommandContext(ctx, program, "-listen", "localhost:0"))
}

// startBrowser starts Chromium with a fresh profile, and returns
// the URL of its end of the DevTools protocol.
func startBrowser(ctx context.Context, t *testing.T) *url.URL {
	t.Helper()
	names := []string{"chromium", "chromium-browser", "google-chrome"}
	i := slices.IndexFunc(names, func(name string) bool {
		_, err := exec.LookPath(name)
		return err == nil
	})
	if i < 0 {
		t.Fatalf("found none of %s", strings.Join(names, ", "))
	}
	browser := start(t, exec.CommandContext(ctx, names[i],
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--user-data-dir="+t.TempDir(), "--remote-debugging-port=0"))
	u, err := url.Parse(browser.expect(`^DevTools listening on (ws://\S+)$`))
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// A target is a WebSocket over which the browser, or a page in it, is steered:
// https://chromedevtools.github.io/devtools-protocol/
type target struct {
	t    *testing.T
	ctx  context.Context
	conn *websocket.Conn
	id   int // of the latest command
}

func dialTarget(ctx context.Context, t *testing.T, u *url.URL) *target {
	t.Helper()
	conn, _, err := websocket.Dial(ctx, u.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.CloseNow() })
	return &target{t: t, ctx: ctx, conn: conn}
}

// openPage opens the page at address in a browser.
func openPage(ctx context.Context, t *testing.T, address string) *target {
	t.Helper()
	u := startBrowser(ctx, t)
	var created struct{ TargetID string }
	dialTarget(ctx, t, u).call("Target.createTarget", map[string]any{"url": "about:blank"}, &created)
	page := dialTarget(ctx, t, u.JoinPath("/../../page", created.TargetID))
	page.call("Runtime.enable", nil, nil)
	page.call("Page.enable", nil, nil)
	page.call("Page.navigate", map[string]any{"url": address}, nil)
	for page.receive().Method != "Page.loadEventFired" {
	}
	return page
}

// A message is what the target sends: the reply to
// the command with the same ID, or an event.
type message struct {
	ID            int
	Method        string
	Result, Error json.RawMessage
}

// receive returns the next message. An exception in the page fails the test.
func (p *target) receive() message {
	p.t.Helper()
	_, data, err := p.conn.Read(p.ctx)
	if err != nil {
		p.t.Fatal(err)
	}
	var m message
	if err := json.Unmarshal(data, &m); err != nil {
		p.t.Fatal(err)
	}
	if m.Method == "Runtime.exceptionThrown" {
		p.t.Errorf("exception in the page: %s", data)
	}
	return m
}

// call carries out a command and stores its result in result, unless that is nil.
func (p *target) call(method string, params map[string]any, result any) {
	p.t.Helper()
	p.id++
	command, err := json.Marshal(map[string]any{"id": p.id, "method": method, "params": params})
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.conn.Write(p.ctx, websocket.MessageText, command); err != nil {
		p.t.Fatal(err)
	}
	m := p.receive()
	for m.ID != p.id {
		m = p.receive()
	}
	if m.Error != nil {
		p.t.Fatalf("%s: %s", command, m.Error)
	}
	if result != nil {
		if err := json.Unmarshal(m.Result, result); err != nil {
			p.t.Fatal(err)
		}
	}
}

// eval stores the value of a JavaScript expression, or
// of the promise that it gives, in value.
func (p *target) eval(expression string, value any) {
	p.t.Helper()
	var reply struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails json.RawMessage
	}
	p.call("Runtime.evaluate", map[string]any{
		"expression":    expression,
		"awaitPromise":  true,
		"returnByValue": true,
	}, &reply)
	if reply.ExceptionDetails != nil {
		p.t.Fatalf("%s: %s", expression, reply.ExceptionDetails)
	}
	if value == nil {
		return
	}
	if err := json.Unmarshal(reply.Result.Value, value); err != nil {
		p.t.Fatal(err)
	}
}

// click clicks the middle of the element that selector selects.
func (p *target) click(selector string) {
	p.t.Helper()
	var box struct{ X, Y, Width, Height float64 }
	p.eval(fmt.Sprintf("document.querySelector(%q).getBoundingClientRect().toJSON()", selector), &box)
	for _, event := range []string{"mousePressed", "mouseReleased"} {
		p.call("Input.dispatchMouseEvent", map[string]any{
			"type": event, "button": "left", "clickCount": 1,
			"x": box.X + box.Width/2, "y": box.Y + box.Height/2,
		}, nil)
	}
}

// enter types text into the field that has the focus.
func (p *target) enter(text string) {
	p.t.Helper()
	p.call("Input.insertText", map[string]any{"text": text}, nil)
}

// waitFor waits until the page shows the given state of the connection and the given list.
func (p *target) waitFor(state string, list ...string) {
	p.t.Helper()
	const shown = `[
		document.querySelector('#state').textContent,
		...Array.from(document.querySelectorAll('#log li'), li =>
			li.className + ': ' + li.querySelector('p').textContent),
	]`
	want, err := json.Marshal(append([]string{state}, list...))
	if err != nil {
		p.t.Fatal(err)
	}
	var ok bool
	p.eval(fmt.Sprintf(`(async () => {
		const want = JSON.stringify(%s);
		for (const end = Date.now() + 10000; Date.now() < end; ) {
			if (JSON.stringify(%s) === want) return true;
			await new Promise(resolve => setTimeout(resolve, 10));
		}
		return false;
	})()`, want, shown), &ok)
	if !ok {
		var got []string
		p.eval(shown, &got)
		p.t.Fatalf("the page shows\n\t%q\nand not\n\t%s", got, want)
	}
}
