//go:build external

package main

import (
	"context"
	"encoding/base64"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidewire/websocket/internal/browsertest"
)

var pictures = flag.String("pictures", "", "keep pictures of the pages in this `folder`")

// TestBrowser runs the program, and has two pages follow it, while one of them has its lines cut
// and restored, and the server is started again.
func TestBrowser(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	program := browsertest.Build(ctx, t)
	interval, less := "40ms", "100"
	if *pictures != "" {
		interval, less = "250ms", "20"
	}
	serve := func(address, keep string) *browsertest.Process {
		return browsertest.Run(t, exec.CommandContext(ctx, program, "-listen", address, "-interval", interval, "-keep", keep))
	}
	server := serve("localhost:0", "1000")
	address := server.Expect(`^live  http://(\S+)/$`)
	browser := browsertest.Start(ctx, t)
	desktop, phone := open(t, browser, address), open(t, browser, address)
	desktop.Show(1064, 680, "light")
	phone.Show(390, 844, "dark")
	for p, columns := range map[*tab]int{desktop: 3, phone: 1} {
		p.Await(`new Set(Array.from(document.querySelectorAll('section'), s => s.offsetLeft)).size`, columns)
		p.Await(`document.documentElement.scrollWidth <= innerWidth`, true)
	}

	const all = `[0, 1, 2]`
	phone.record()
	desktop.record()
	desktop.awaitStates("live", "live", "live")
	desktop.awaitMore(all, 50)
	desktop.Await(`new Set(panels.map(p => p.$('.value').textContent)).size`, 1)
	desktop.checkLatency()
	desktop.checkBytes()

	// One after the other is cut, and the others go on.
	for _, i := range []int{0, 2, 1} {
		states := []string{"live", "live", "live"}
		desktop.press(i)
		states[i] = "cut"
		desktop.awaitStates(states...)
		others := fmt.Sprintf(`[0, 1, 2].filter(other => other !== %d)`, i)
		desktop.awaitMore(others, 2)
		before := desktop.got(i)
		desktop.awaitMore(others, 20)
		if after := desktop.got(i); after != before {
			t.Errorf("panel %d got %d events while it was cut", i, after-before)
		}
		desktop.Await(fmt.Sprintf(`Number.parseInt(panels[%d].$('.behind').textContent) >= 20`, i), true)
		phone.awaitStates("live", "live", "live")
		if i == 1 {
			desktop.awaitFullPlot()
			desktop.picture("desktop-light")
			phone.picture("phone-dark")
			overview(t, browser)
		}
		desktop.press(i)
		states[i] = "live"
		desktop.awaitStates(states...)
		desktop.Await(fmt.Sprintf(`/^Caught up with \d+ events, up to \d+\.\d s late\.$/.test(panels[%d].$('.note').textContent)`, i), true)
	}

	// All at once.
	desktop.Click("#all")
	desktop.awaitStates("cut", "cut", "cut")
	desktop.Await(`panels.every(p => now() - p.heard > 1000)`, true)
	desktop.Click("#all")
	desktop.awaitStates("live", "live", "live")
	desktop.Await(`panels.every(p => p.caughtUp > 0)`, true)
	desktop.awaitMore(all, 10)
	desktop.checkLatency()

	// A server that only says nothing is not called live.
	server.Process.Signal(syscall.SIGSTOP)
	desktop.awaitStates("silent", "silent", "silent")
	server.Process.Signal(syscall.SIGCONT)
	desktop.awaitStates("live", "live", "live")
	desktop.awaitMore(all, 10)
	desktop.checkWhole()
	phone.checkWhole()

	// The server goes, and another comes, which keeps less.
	server.Interrupt()
	desktop.awaitStates("connecting again", "connecting again", "connecting again")
	desktop.Click("#all")
	desktop.Await(`document.querySelector('#trouble').textContent`, "The server does not answer. Try again when it does.")
	server = serve(address, less)
	server.Expect(`^live `)
	desktop.awaitStates("live", "live", "live")
	desktop.Await(`panels.every(p => p.$('.note').textContent.startsWith('The server was started again'))`, true)
	desktop.record()
	desktop.awaitMore(all, 10)
	desktop.checkWhole()

	// What is cut for longer than that has lost events, says how many, and goes on.
	desktop.Click("#all")
	desktop.awaitStates("cut", "cut", "cut")
	desktop.Await(`document.querySelector('#trouble').textContent`, "")
	desktop.Await(`panels.every(p => now() - p.heard > 8000)`, true)
	desktop.Click("#all")
	desktop.awaitStates("live", "live", "live")
	desktop.awaitMore(all, 10)
	desktop.Await(`panels.map(p => {
		const lost = p.got.reduce((sum, {n}, i) => i ? sum + n - p.got[i - 1].n - 1 : 0, 0);
		return [lost > 10, p.$('.lost-double').textContent === lost + ' lost', p.note.startsWith(lost + ' events lost: ')];
	})`, [][]bool{{true, true, true}, {true, true, true}, {true, true, true}})
	desktop.picture("lost")

	// And it would say so if something came twice.
	desktop.Eval(`panels[0].take(panels[0].cursor, {n: panels[0].n, at: now(), value: 0})`, nil)
	desktop.Await(`/^\d+ lost, 1 double$/.test(panels[0].$('.lost-double').textContent)`, true)
	server.Interrupt()
}

// A tab has a page open.
type tab struct {
	*browsertest.Page
	t *testing.T
}

func open(t *testing.T, b *browsertest.Browser, address string) *tab {
	return &tab{b.Open("http://" + address + "/"), t}
}

// record has the page keep all events from now on.
func (p *tab) record() {
	p.t.Helper()
	p.Eval(`for (const p of panels) {
		p.got = [];
		p.take = (cursor, event) => {
			p.got.push(event);
			Panel.prototype.take.call(p, cursor, event);
		};
	}`, nil)
}

func (p *tab) awaitStates(states ...string) {
	p.t.Helper()
	p.Await(`panels.map(p => p.$('.state').textContent)`, states)
}

// awaitMore waits until each of these panels has got so many more events.
func (p *tab) awaitMore(panels string, n int) {
	p.t.Helper()
	p.Eval(`before = panels.map(p => p.got.length)`, nil)
	p.Await(fmt.Sprintf(`%s.every(i => panels[i].got.length >= before[i] + %d)`, panels, n), true)
}

// got returns how many events a panel has got.
func (p *tab) got(panel int) (n int) {
	p.t.Helper()
	p.Eval(fmt.Sprintf(`panels[%d].got.length`, panel), &n)
	return n
}

// press presses the button of a panel with the keyboard.
func (p *tab) press(panel int) {
	p.t.Helper()
	p.Eval(fmt.Sprintf(`panels[%d].button.focus()`, panel), nil)
	p.PressEnter()
}

// checkWhole checks that the panels have got the same events, each one once and in order.
func (p *tab) checkWhole() {
	p.t.Helper()
	type event struct {
		N     int
		Value float64
	}
	var got [][]event
	p.Eval(`panels.map(p => p.got)`, &got)
	values := make(map[int]float64)
	for i, events := range got {
		for j, e := range events {
			if j > 0 && e.N != events[j-1].N+1 {
				p.t.Errorf("panel %d got %d after %d", i, e.N, events[j-1].N)
			}
			if v, ok := values[e.N]; ok && v != e.Value {
				p.t.Errorf("panel %d got %v for event %d, and another %v", i, e.Value, e.N, v)
			}
			values[e.N] = e.Value
		}
	}
	p.Await(`panels.map(p => p.$('.lost-double').textContent)`, []string{"0", "0", "0"})
}

// checkLatency checks that what was late because of a cut does not count.
func (p *tab) checkLatency() {
	p.t.Helper()
	p.Await(`panels.every(p => /^\d+(\.\d)? ms, \d+(\.\d)? ms$/.test(p.$('.latency').textContent))`, true)
	var medians []float64
	p.Eval(`panels.map(p => Number.parseFloat(p.$('.latency').textContent))`, &medians)
	for i, ms := range medians {
		if ms > 200 {
			p.t.Errorf("the median latency of panel %d is %v ms", i, ms)
		}
	}
}

// checkBytes checks that what is shown of bytes can be.
func (p *tab) checkBytes() {
	p.t.Helper()
	p.Await(`panels.every(p => p.$('.bytes').textContent !== '–')`, true)
	var bytes [3]float64
	p.Eval(`panels.map(p => Number(p.$('.bytes').textContent))`, &bytes)
	p.t.Logf("bytes for an event: %v", bytes)
	if !(50 < bytes[0] && bytes[0] < bytes[1] && bytes[1] < 200 && 500 < bytes[2] && bytes[2] < 2000) {
		p.t.Errorf("bytes for an event: %v", bytes)
	}
}

// awaitFullPlot waits until the plots have no room left, if they are to be seen.
func (p *tab) awaitFullPlot() {
	p.t.Helper()
	if *pictures != "" {
		p.Await(`panels.every(p => now() - p.points[0].at > 15e3)`, true)
		p.Await(`panels.every(p => now() - p.points[0].at > 29e3)`, true)
	}
}

// picture keeps a picture of the page.
func (p *tab) picture(name string) {
	p.t.Helper()
	if *pictures == "" {
		return
	}
	if err := os.WriteFile(filepath.Join(*pictures, name+".png"), p.Picture(), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// overview keeps a picture of two pictures, for the README.
func overview(t *testing.T, b *browsertest.Browser) {
	if *pictures == "" {
		return
	}
	var html strings.Builder
	html.WriteString(`<body style="margin:0;display:flex;gap:24px;padding:24px;background:linear-gradient(135deg,#cfe5e1,#dfe4f2)">`)
	for _, name := range []string{"desktop-light", "phone-dark"} {
		png, err := os.ReadFile(filepath.Join(*pictures, name+".png"))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&html, `<img style="height:640px;border-radius:12px;box-shadow:0 8px 32px #0004" src="data:image/png;base64,%s">`,
			base64.StdEncoding.EncodeToString(png))
	}
	p := &tab{b.Open("about:blank"), t}
	p.Show(1369, 688, "light")
	p.Eval(fmt.Sprintf("document.write(%q)", html.String()), nil)
	p.Await("Array.from(document.images, image => image.complete)", []bool{true, true})
	p.picture("overview")
}
