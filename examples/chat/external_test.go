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
	"testing"
	"time"

	"github.com/tidewire/websocket/internal/browsertest"
)

var pictures = flag.String("pictures", "", "keep pictures of the pages in this `folder`")

// TestBrowsers runs the program, and has two people talk who use browsers of their own, while the
// server is restarted and one of them goes elsewhere.
func TestBrowsers(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	program := browsertest.Build(ctx, t)
	serve := func(address string) *browsertest.Process {
		return browsertest.Run(t, exec.CommandContext(ctx, program, "-listen", address))
	}
	server := serve("localhost:0")
	address := server.Expect(`^chat  http://(\S+)/$`)
	browser := browsertest.Start(ctx, t)
	ada, grace := open(t, browser, address), open(t, browser, address)
	ada.Show(1000, 640, "light")
	grace.Show(390, 700, "dark")
	ada.picture("name")

	ada.introduce("Ada Lovelace")
	ada.awaitPeople("Ada Lovelace – you")
	ada.say("Is anybody here?")
	ada.awaitLog("mine Ada Lovelace: Is anybody here?")
	grace.introduce("Grace Hopper")
	grace.awaitLog("Ada Lovelace: Is anybody here?")
	grace.awaitPeople("Ada Lovelace", "Grace Hopper – you")
	ada.awaitPeople("Ada Lovelace – you", "Grace Hopper")

	grace.write("I am")
	ada.Await(`document.querySelector('#typing').textContent`, "Grace Hopper is typing …")
	grace.write(". Good evening!")
	ada.picture("typing")
	grace.PressEnter()
	talk := []string{"Is anybody here?", "I am. Good evening!"}
	ada.awaitLog("mine Ada Lovelace: "+talk[0], "Grace Hopper: "+talk[1])
	grace.awaitLog("Ada Lovelace: "+talk[0], "mine Grace Hopper: "+talk[1])
	ada.Await(`document.querySelector('#typing').textContent`, "")

	// A page that is loaded again is still the same person, and nobody sees it go.
	grace.Reload()
	grace.awaitLog("Ada Lovelace: "+talk[0], "mine Grace Hopper: "+talk[1])
	ada.awaitPeople("Ada Lovelace – you", "Grace Hopper")

	// Another room.
	grace.Click("#new-room input")
	grace.Type("compilers")
	grace.PressEnter()
	grace.awaitPeople("Grace Hopper – you")
	grace.say("if a <b && c> d { 🌊 }")
	grace.awaitLog("mine Grace Hopper: if a <b && c> d { 🌊 }")
	ada.say("Where have you gone?")
	grace.Await(`document.querySelector('#rooms .unread').textContent`, "1")
	ada.awaitLog("mine Ada Lovelace: "+talk[0], "Grace Hopper: "+talk[1], "mine Ada Lovelace: Where have you gone?")
	grace.picture("rooms")
	grace.Click("#rooms li:first-child .room")
	grace.awaitLog("Ada Lovelace: "+talk[0], "mine Grace Hopper: "+talk[1], "Ada Lovelace: Where have you gone?")

	// The server goes, and comes back. What is said meanwhile is sent then, once.
	server.Interrupt()
	for _, p := range []*person{ada, grace} {
		p.Await(`document.querySelector('#state').textContent !== 'connected' && !document.querySelector('#strip').hidden`, true)
	}
	ada.say("Can you hear me?")
	log := []string{"mine Ada Lovelace: " + talk[0], "Grace Hopper: " + talk[1], "mine Ada Lovelace: Where have you gone?"}
	ada.awaitLog(append(log, "mine pending Ada Lovelace: Can you hear me?")...)
	ada.picture("disconnected")
	server = serve(address)
	server.Expect(`^chat `)
	for _, p := range []*person{ada, grace} {
		p.Await(`document.querySelector('#state').textContent`, "connected")
		p.Await(`document.querySelector('#strip').hidden`, true)
	}
	ada.awaitLog(append(log, "mine Ada Lovelace: Can you hear me?")...)
	theirs := []string{"Ada Lovelace: " + talk[0], "mine Grace Hopper: " + talk[1], "Ada Lovelace: Where have you gone?", "Ada Lovelace: Can you hear me?"}
	grace.awaitLog(theirs...)
	grace.say("Yes. Nothing is lost, and nothing comes twice.")
	ada.awaitLog(append(log, "mine Ada Lovelace: Can you hear me?", "Grace Hopper: Yes. Nothing is lost, and nothing comes twice.")...)
	grace.awaitLog(append(theirs, "mine Grace Hopper: Yes. Nothing is lost, and nothing comes twice.")...)
	grace.awaitPeople("Ada Lovelace", "Grace Hopper – you")
	ada.awaitPeople("Ada Lovelace – you", "Grace Hopper")

	ada.picture("desktop-light")
	grace.picture("phone-dark")
	overview(t, browser)
	ada.Show(1000, 640, "dark")
	ada.picture("desktop-dark")
	grace.Show(390, 700, "light")
	grace.picture("phone-light")

	// One of them loses the connection, and the other does not notice.
	ada.Eval(`connection.socket.close()`, nil)
	ada.Await(`document.querySelector('#state').textContent`, "disconnected")
	ada.Await(`document.querySelector('#state').textContent`, "connected")
	ada.awaitLog(append(log, "mine Ada Lovelace: Can you hear me?", "Grace Hopper: Yes. Nothing is lost, and nothing comes twice.")...)

	// What is pending survives a reload, and what somebody reads stays where it is.
	server.Interrupt()
	ada.Await(`document.querySelector('#state').textContent`, "disconnected")
	ada.say("Before the reload.")
	ada.Eval(`document.getSelection().selectAllChildren(document.querySelector('#log p'))`, nil)
	server = serve(address)
	ada.awaitLog(append(log, "mine Ada Lovelace: Can you hear me?", "Grace Hopper: Yes. Nothing is lost, and nothing comes twice.",
		"mine Ada Lovelace: Before the reload.")...)
	ada.Await(`document.getSelection().toString().trim()`, talk[0])
	grace.awaitLog(append(theirs, "mine Grace Hopper: Yes. Nothing is lost, and nothing comes twice.", "Ada Lovelace: Before the reload.")...)
	server.Interrupt()
	ada.Await(`document.querySelector('#state').textContent`, "disconnected")
	ada.say("Pending.")
	ada.Await(`JSON.parse(sessionStorage.getItem('pending')).length`, 1)
	server = serve(address)
	server.Expect(`^chat `)
	ada.Reload()
	ada.awaitLog("mine Ada Lovelace: Pending.") // the server, with what was kept, is another
	ada.Await(`sessionStorage.getItem('pending')`, "[]")
	grace.Await(`document.querySelector('#log li:last-child p').textContent`, "Pending.")

	// Nobody gets around having a name, and a browser that keeps nothing does for a while.
	third := open(t, browser, address)
	third.Await(`document.querySelector('#who').open`, true)
	third.Eval(`Storage.prototype.setItem = () => { throw new Error('full') }`, nil)
	for _, event := range []string{"keyDown", "keyUp"} {
		third.Call("Input.dispatchKeyEvent", map[string]any{"type": event, "key": "Escape", "code": "Escape", "windowsVirtualKeyCode": 27}, nil)
	}
	third.introduce("Hedy Lamarr")
	third.awaitLog("Ada Lovelace: Pending.")
	third.say("Hello.")
	ada.Await(`document.querySelector('#log li:last-child p').textContent`, "Hello.")
	third.Call("Page.close", nil, nil)

	// Who closes the page is gone, after a while.
	grace.Call("Page.close", nil, nil)
	ada.awaitPeople("Ada Lovelace – you")
	server.Interrupt()
}

// A person uses a page.
type person struct {
	*browsertest.Page
	t *testing.T
}

func open(t *testing.T, b *browsertest.Browser, address string) *person {
	return &person{b.Open("http://" + address + "/"), t}
}

func (p *person) introduce(name string) {
	p.t.Helper()
	p.Await(`document.querySelector('#who').open`, true)
	p.Type(name)
	p.PressEnter()
	p.Await(`document.querySelector('#state').textContent`, "connected")
}

func (p *person) write(text string) {
	p.t.Helper()
	p.Click("#composer textarea")
	p.Type(text)
}

func (p *person) say(text string) {
	p.t.Helper()
	p.write(text)
	p.PressEnter()
}

// awaitLog waits until the page shows these messages.
func (p *person) awaitLog(messages ...string) {
	p.t.Helper()
	p.Await(`Array.from(document.querySelectorAll('#log li'), li => [
		...['mine', 'pending'].filter(c => li.classList.contains(c)),
		li.querySelector('b').textContent + ': ' + li.querySelector('p').textContent].join(' '))`, messages)
}

// awaitPeople waits until the page says that these people are there.
func (p *person) awaitPeople(names ...string) {
	p.t.Helper()
	p.Await(`Array.from(document.querySelectorAll('#people li'), li => li.lastChild.textContent)`, names)
}

// picture keeps a picture of the page.
func (p *person) picture(name string) {
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
	p := &person{b.Open("about:blank"), t}
	p.Show(1430, 688, "light")
	p.Eval(fmt.Sprintf("document.write(%q)", html.String()), nil)
	p.Await("Array.from(document.images, image => image.complete)", []bool{true, true})
	p.picture("overview")
}
