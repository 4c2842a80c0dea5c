// Package browsertest starts programs and Chromium for tests, and does in a page what a person
// does there. The browser is steered over a WebSocket, too:
// https://chromedevtools.github.io/devtools-protocol/
package browsertest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/tidewire/websocket"
)

// A Browser is a Chromium with a fresh profile, that ends with the test.
type Browser struct {
	*target
	url *url.URL
}

// Start starts a Browser.
func Start(ctx context.Context, t *testing.T) *Browser {
	t.Helper()
	names := []string{"chromium", "chromium-browser", "google-chrome"}
	i := slices.IndexFunc(names, func(name string) bool {
		_, err := exec.LookPath(name)
		return err == nil
	})
	if i < 0 {
		t.Fatalf("found none of %s", strings.Join(names, ", "))
	}
	process := Run(t, exec.CommandContext(ctx, names[i],
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--user-data-dir="+t.TempDir(), "--remote-debugging-port=0"))
	u, err := url.Parse(process.Expect(`^DevTools listening on (ws://\S+)$`))
	if err != nil {
		t.Fatal(err)
	}
	return &Browser{dial(ctx, t, u), u}
}

// A Page is one in a Browser.
type Page struct{ *target }

// Open opens the page at address, with cookies and storage of its own.
func (b *Browser) Open(address string) *Page {
	b.t.Helper()
	var own struct{ BrowserContextID string }
	b.Call("Target.createBrowserContext", nil, &own)
	var created struct{ TargetID string }
	b.Call("Target.createTarget", map[string]any{"url": "about:blank", "browserContextId": own.BrowserContextID}, &created)
	p := &Page{dial(b.ctx, b.t, b.url.JoinPath("/../../page", created.TargetID))}
	p.Call("Runtime.enable", nil, nil)
	p.Call("Page.enable", nil, nil)
	p.Call("Emulation.setFocusEmulationEnabled", map[string]any{"enabled": true}, nil)
	p.navigate("Page.navigate", map[string]any{"url": address})
	return p
}

// Reload loads the page again.
func (p *Page) Reload() {
	p.t.Helper()
	p.navigate("Page.reload", nil)
}

func (p *Page) navigate(method string, params map[string]any) {
	p.t.Helper()
	p.Call(method, params, nil)
	for p.receive().Method != "Page.loadEventFired" {
	}
}

// Eval stores the value of a JavaScript expression, or of the promise that it gives, in value.
func (p *Page) Eval(expression string, value any) {
	p.t.Helper()
	var reply struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails json.RawMessage
	}
	p.Call("Runtime.evaluate", map[string]any{
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

// Await waits until a JavaScript expression is what want is in JSON.
func (p *Page) Await(expression string, want any) {
	p.t.Helper()
	wanted, err := json.Marshal(want)
	if err != nil {
		p.t.Fatal(err)
	}
	var result struct {
		OK  bool
		Got json.RawMessage
	}
	p.Eval(fmt.Sprintf(`(async (look, want) => {
		for (const end = Date.now() + 20000; ; ) {
			const got = look();
			const ok = JSON.stringify(got) === want;
			if (ok || Date.now() > end) return {ok, got};
			await new Promise(resolve => setTimeout(resolve, 10));
		}
	})(() => (%s), JSON.stringify(%s))`, expression, wanted), &result)
	if !result.OK {
		p.t.Fatalf("%s is\n\t%s\nand not\n\t%s", expression, result.Got, wanted)
	}
}

// Click clicks the middle of the element that selector selects, to which it scrolls.
func (p *Page) Click(selector string) {
	p.t.Helper()
	var box struct{ X, Y, Width, Height float64 }
	p.Eval(fmt.Sprintf(`(e => {
		e.scrollIntoView({block: 'nearest', inline: 'nearest'});
		return e.getBoundingClientRect().toJSON();
	})(document.querySelector(%q))`, selector), &box)
	for _, event := range []string{"mousePressed", "mouseReleased"} {
		p.Call("Input.dispatchMouseEvent", map[string]any{
			"type": event, "button": "left", "clickCount": 1,
			"x": box.X + box.Width/2, "y": box.Y + box.Height/2,
		}, nil)
	}
}

// Type types text into the field that has the focus.
func (p *Page) Type(text string) {
	p.t.Helper()
	p.Call("Input.insertText", map[string]any{"text": text}, nil)
}

// PressEnter presses the Enter key.
func (p *Page) PressEnter() {
	p.t.Helper()
	for _, event := range []string{"keyDown", "keyUp"} {
		p.Call("Input.dispatchKeyEvent", map[string]any{
			"type": event, "key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r",
		}, nil)
	}
}

// Show has the page be so many pixels large, and light or dark.
func (p *Page) Show(width, height int, scheme string) {
	p.t.Helper()
	p.Call("Emulation.setDeviceMetricsOverride", map[string]any{
		"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600,
	}, nil)
	p.Call("Emulation.setEmulatedMedia", map[string]any{
		"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}},
	}, nil)
}

// Picture returns what the page looks like, as a PNG.
func (p *Page) Picture() []byte {
	p.t.Helper()
	var shot struct{ Data string }
	p.Call("Page.captureScreenshot", map[string]any{"format": "png"}, &shot)
	b, err := base64.StdEncoding.DecodeString(shot.Data)
	if err != nil {
		p.t.Fatal(err)
	}
	return b
}

// A target is a WebSocket over which the browser, or a page in it, is steered.
type target struct {
	t    *testing.T
	ctx  context.Context
	conn *websocket.Conn
	id   int // of the latest command
}

func dial(ctx context.Context, t *testing.T, u *url.URL) *target {
	t.Helper()
	d := websocket.Dialer{ReadLimit: 64 << 20} // for pictures
	conn, _, err := d.Dial(ctx, u.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.CloseNow() })
	return &target{t: t, ctx: ctx, conn: conn}
}

// A message is what the target sends: the reply to the command with the same ID, or an event.
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

// Call carries out a command and stores its result in result, unless that is nil.
func (p *target) Call(method string, params map[string]any, result any) {
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
