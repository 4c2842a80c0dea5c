package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/tidewire/websocket"
)

func TestDemo(t *testing.T) {
	want := regexp.MustCompile(`^serving     ws://\S+:\d+/ws
dialed      101 Switching Protocols
text        "Hello, 世界" came back
binary      00 01 7f 80 fe ff came back
ping        answered after \d\S*s
fragmented  96 KiB written in pieces came back as one message
close       closing handshake completed with 1000
$`)
	var out strings.Builder
	if err := demo(t.Context(), &out); err != nil {
		t.Error(err)
	}
	if !want.MatchString(out.String()) {
		t.Errorf("got\n%s\nwant\n%s", &out, want)
	}
}

func TestDemoInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := demo(ctx, io.Discard); err == nil {
		t.Error("the demo has no time, and no error")
	}
}

// Where the echo is not one, the demo has to say so.
func TestTalkNotices(t *testing.T) {
	answer := func(change func(*websocket.Message)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			conn, err := websocket.Upgrade(w, r)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.CloseNow()
			for m, err := range conn.Messages(r.Context()) {
				if err != nil {
					return
				}
				change(&m)
				conn.Write(r.Context(), m.Type, m.Data)
			}
		}
	}
	for _, test := range []struct {
		name    string
		handler http.HandlerFunc
		want    string
	}{
		{"no handshake", http.NotFound, "404"},
		{"another text", answer(func(m *websocket.Message) {
			m.Data = bytes.ToUpper(m.Data)
		}), "text: sent 13 bytes, and 13 others came back"},
		{"another type", answer(func(m *websocket.Message) {
			m.Type = websocket.MessageText
			m.Data = bytes.ToValidUTF8(m.Data, nil)
		}), "binary: sent 6 bytes, and 3 others came back"},
		{"half of a long message", answer(func(m *websocket.Message) {
			m.Data = m.Data[:min(len(m.Data), 48<<10)]
		}), "fragmented: sent 98304 bytes, and 49152 others came back"},
		{"an end of the connection", func(w http.ResponseWriter, r *http.Request) {
			conn, err := websocket.Upgrade(w, r)
			if err != nil {
				t.Error(err)
				return
			}
			conn.Close(websocket.StatusTryAgainLater, "")
		}, "1013"},
	} {
		t.Run(test.name, func(t *testing.T) {
			srv := httptest.NewServer(test.handler)
			defer srv.Close()
			err := talk(t.Context(), io.Discard, srv.URL)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want %s", err, test.want)
			}
		})
	}
}

// The fragmented message of the demo must really be one.
func TestTalkFragments(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		echo(w, r, log.New(io.Discard, "", 0))
	}))
	defer srv.Close()
	address, sent := tap(t, srv.Listener.Addr())
	if err := talk(t.Context(), io.Discard, "ws://"+address); err != nil {
		t.Fatal(err)
	}

	r := bufio.NewReader(bytes.NewReader(<-sent))
	if _, err := http.ReadRequest(r); err != nil {
		t.Fatal(err)
	}
	want := regexp.MustCompile("^text binary ping text… (continuation… )+continuation close $")
	if got := frames(t, r); !want.MatchString(got) {
		t.Errorf("the client sent %s", got)
	}
}

// tap passes a connection to its address on to server, and
// tells what came from the client when that has hung up.
func tap(t *testing.T, server net.Addr) (address string, sent <-chan []byte) {
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	result := make(chan []byte, 1)
	go func() {
		defer close(result)
		in, err := l.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial(server.Network(), server.String())
		if err != nil {
			in.Close()
			return
		}
		go func() {
			defer in.Close()
			io.Copy(in, out)
		}()
		defer out.Close()
		var fromClient bytes.Buffer
		io.Copy(out, io.TeeReader(in, &fromClient))
		result <- fromClient.Bytes()
	}()
	return l.Addr().String(), result
}

// frames names the frames that a client sent, those without FIN with an ellipsis.
func frames(t *testing.T, r *bufio.Reader) string {
	names := map[byte]string{0: "continuation", 1: "text", 2: "binary", 8: "close", 9: "ping", 10: "pong"}
	var list strings.Builder
	for {
		first, err := r.ReadByte()
		if err == io.EOF {
			return list.String()
		}
		second, err := r.ReadByte()
		if err != nil {
			t.Fatal(err)
		}
		length := int64(second & 0x7F)
		switch length {
		case 126:
			var n uint16
			err = binary.Read(r, binary.BigEndian, &n)
			length = int64(n)
		case 127:
			err = binary.Read(r, binary.BigEndian, &length)
		}
		if err != nil {
			t.Fatal(err)
		}
		const maskingKeyLength = 4
		if _, err := io.CopyN(io.Discard, r, maskingKeyLength+length); err != nil {
			t.Fatal(err)
		}
		more := ""
		if first&0x80 == 0 {
			more = "…"
		}
		fmt.Fprintf(&list, "%s%s ", names[first&0xF], more)
	}
}

func TestListenAndServe(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	lines, served := listen(ctx)
	page := strings.TrimPrefix(<-lines, "page  ")
	url := strings.TrimPrefix(<-lines, "echo  ")
	<-lines // how to stop

	for path, want := range map[string]int{"": 200, "other": 404, "ws": 426} {
		if got, body := get(t, page+path); got != want {
			t.Errorf("/%s: got status %d, want %d", path, got, want)
		} else if path == "" && !strings.Contains(body, "new WebSocket(") {
			t.Errorf("the page is %s", body)
		}
	}
	if line := <-lines; !strings.Contains(line, " refused: ") {
		t.Errorf("a request that was no handshake is logged as %s", line)
	}

	conn, _, err := websocket.Dial(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	want := []byte("hello")
	if err := conn.Write(t.Context(), websocket.MessageBinary, want); err != nil {
		t.Fatal(err)
	}
	typ, got, err := conn.Read(t.Context())
	if typ != websocket.MessageBinary || !bytes.Equal(got, want) || err != nil {
		t.Errorf("got %v %q, %v, want %v %q", typ, got, err, websocket.MessageBinary, want)
	}

	stop()
	_, _, err = conn.Read(t.Context())
	if got := websocket.CloseStatus(err); got != websocket.StatusGoingAway {
		t.Errorf("the end is %v, want %v", err, websocket.StatusGoingAway)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	for _, want := range []string{" connected", " closed with 1001"} {
		if line := <-lines; !strings.HasSuffix(line, want) {
			t.Errorf("got line %q, want %q", line, want)
		}
	}
	if line, ok := <-lines; ok {
		t.Errorf("got line %q, want no more", line)
	}
}

// listen runs listenAndServe until ctx ends, and returns the lines
// that it prints, and the error that it returns in the end.
func listen(ctx context.Context) (<-chan string, <-chan error) {
	r, w := io.Pipe()
	lines, served := make(chan string, 100), make(chan error, 1)
	go func() {
		served <- listenAndServe(ctx, w, "localhost:0")
		w.Close()
	}()
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(r); s.Scan(); {
			lines <- s.Text()
		}
	}()
	return lines, served
}

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

func TestListenAndServeError(t *testing.T) {
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := listenAndServe(t.Context(), io.Discard, l.Addr().String()); err == nil {
		t.Error("no error for an address in use")
	}
}

func TestBrowserHost(t *testing.T) {
	for address, want := range map[string]string{
		"127.0.0.1:80":    "127.0.0.1:80",
		"[::1]:8080":      "[::1]:8080",
		"0.0.0.0:8080":    "localhost:8080",
		"[::]:8080":       "localhost:8080",
		"192.0.2.1:65535": "192.0.2.1:65535",
	} {
		addr, err := net.ResolveTCPAddr("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if got := browserHost(addr); got != want {
			t.Errorf("%s: got %s, want %s", address, got, want)
		}
	}
}
