package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidewire/websocket/feed"
)

// A wire is a TCP connection that counts what a test exchanges over it.
type wire struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
	n int64 // bytes, written and read
}

func dial(t *testing.T, address string) *wire {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &wire{t: t, Conn: c, r: bufio.NewReader(c)}
}

func (w *wire) send(s string) {
	w.t.Helper()
	if _, err := io.WriteString(w, s); err != nil {
		w.t.Fatal(err)
	}
	w.n += int64(len(s))
}

func (w *wire) get(path, header string) {
	w.t.Helper()
	w.send("GET " + path + " HTTP/1.1\r\nHost: localhost\r\n" + header + "\r\n")
}

// receive reads up to an end, and returns what it has read.
func (w *wire) receive(end string) string {
	w.t.Helper()
	var b strings.Builder
	for !strings.HasSuffix(b.String(), end) {
		c, err := w.r.ReadByte()
		if err != nil {
			w.t.Fatalf("%v after %q", err, b.String())
		}
		b.WriteByte(c)
		w.n++
	}
	return b.String()
}

// end waits for the end of the connection, which is to come without another byte, and returns the error of that.
func (w *wire) end() error {
	w.t.Helper()
	w.SetReadDeadline(time.Now().Add(patience))
	c, err := w.r.ReadByte()
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		w.t.Fatalf("got %q, %v, want the end", c, err)
	}
	return err
}

const upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

// Each byte counts once, for the line that it is on.
func TestBytes(t *testing.T) {
	f := feed.New(feed.Limits{})
	address := start(t, f)
	const pong = "\x8a\x00"
	ws, stream, poll := dial(t, address), dial(t, address), dial(t, address)
	ws.get("/websocket?client=p", upgrade)
	ws.receive(`-0"]`) // the position
	ws.send("\x89\x80" + "mask")
	ws.receive(pong)
	stream.get("/sse?client=p", "")
	stream.receive("the position was lost\n\n\r\n")
	poll.get("/polling?client=p", "")
	poll.receive("}\n")
	wires := map[string]*wire{"websocket": ws, "sse": stream, "polling": poll}
	wantBytes(t, address, wires)

	// What else is on a connection does not count.
	metered := poll.n
	poll.get("/time", "")
	poll.receive("\r\n\r\n")
	poll.receive("\n")
	poll.n = metered
	wantBytes(t, address, wires)

	for n := range 3 {
		poll.get("/polling?client=p&cursor="+string(f.Head()), "")
		f.Append(fmt.Appendf(nil, `{"n":%d}`, n))
		event := fmt.Sprintf(`{"n":%d}`, n)
		ws.receive(event + "]")
		stream.receive(event + "\n\n\r\n")
		poll.receive("}\n")
		wantBytes(t, address, wires)
	}
	other := dial(t, address)
	other.get("/polling?client=other", "")
	other.receive("}\n")
	wantBytes(t, address, wires)
}

func wantBytes(t *testing.T, address string, wires map[string]*wire) {
	t.Helper()
	lines := lines(t, address, "p")
	for transport, w := range wires {
		if got := lines[transport].Bytes; got != w.n {
			t.Errorf("%s: got %d bytes, want %d", transport, got, w.n)
		}
	}
}

// A cut resets the connections of one line at once, and ends others that begin, without a byte. All others go on.
func TestCutLine(t *testing.T) {
	f := feed.New(feed.Limits{})
	address := start(t, f)
	for _, cut := range transports {
		page, other, from := cut+"-page", cut+"-other", f.Head()
		connect := func(client, transport string) *wire {
			header := ""
			if transport == "websocket" {
				header = upgrade
			}
			w := dial(t, address)
			w.get(fmt.Sprintf("/%s?client=%s&cursor=%s&lastEventID=%[3]s", transport, client, from), header)
			return w
		}
		var others []*wire
		for _, client := range []string{page, other} {
			for _, transport := range transports {
				if client != page || transport != cut {
					others = append(others, connect(client, transport))
				}
			}
		}
		w := connect(page, cut)
		switch cut {
		case "websocket":
			w.receive("\r\n\r\n")
		case "sse":
			w.receive("retry: 1000\n\n\r\n")
		}
		await(t, func() bool { return lines(t, address, page)[cut].Bytes == w.n }) // it has begun

		post(t, address, "cut?client="+page+"&transport="+cut, http.StatusNoContent)
		if err := w.end(); err == io.EOF {
			t.Errorf("%s: the end is a goodbye", cut)
		}
		again := connect(page, cut)
		again.end()
		if got, want := lines(t, address, page)[cut], (line{Bytes: w.n + again.n, Cut: true}); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", cut, got, want)
		}
		f.Append([]byte(`"tick"`))
		for _, w := range others {
			w.receive(`"tick"`)
			w.Close()
		}
		post(t, address, "restore?client="+page+"&transport="+cut, http.StatusNoContent)
		connect(page, cut).receive(`"tick"`)
	}
	post(t, address, "cut?client=p&transport=pigeon", http.StatusBadRequest)
	post(t, address, "cut?transport=sse&client="+strings.Repeat("p", maxClient+1), http.StatusBadRequest)
}

// Lines are forgotten when they have had no connection for a while, and there are not too many.
func TestForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeter()
		connect := func(client string) *conn {
			end, _ := net.Pipe()
			c := &conn{Conn: end, meter: m}
			m.begin(c, lineID{client, "sse"})
			return c
		}
		open, closed := connect("open"), connect("closed")
		m.cut(lineID{"cut", "sse"}, true)
		time.Sleep(forgetAfter)
		closed.Close()
		time.Sleep(time.Second)
		m.cut(lineID{"new", "sse"}, false)
		for client, want := range map[string]bool{"open": true, "closed": true, "cut": false, "new": true} {
			if got := m.lines[lineID{client, "sse"}] != nil; got != want {
				t.Errorf("%s: got %v, want %v", client, got, want)
			}
		}

		open.Close()
		time.Sleep(forgetAfter + time.Second)
		for i := range maxLines {
			if !m.cut(lineID{fmt.Sprint(i), "sse"}, false) {
				t.Fatalf("line %d is refused", i)
			}
		}
		if m.cut(lineID{"another", "sse"}, false) || len(m.lines) != maxLines {
			t.Errorf("there are more than %d lines", maxLines)
		}
		another := connect("another") // is served, and does not count
		if another.line != nil {
			t.Error("a line is counted that there is not")
		}
	})
}
