package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"time"

	"github.com/tidewire/websocket/interop/internal/program"
)

// The page asks for what a client is told, makes the connections, and says of each how it has ended.
const page = `<!DOCTYPE html><title>interop</title><script>
const decoder = new TextDecoder();
const connect = (url, protocols) => new Promise(over => {
	const mode = url.split("/").pop(), socket = new WebSocket(url, protocols);
	socket.binaryType = "arraybuffer";
	socket.onclose = ({code, reason}) => over(("closed " + code + " " + reason).trim());
	socket.onmessage = ({data}) => {
		if (mode === "subprotocol") {
			socket.send(socket.protocol);
		} else if (mode === "close") {
			const [code, ...reason] = data.split(" ");
			socket.close(Number(code), reason.join(" "));
		} else {
			socket.send(data);
		}
	};
});
const serve = async () => {
	for (;;) {
		const {id, config} = await (await fetch("/next")).json();
		for (const url of config.urls) {
			const body = await connect(url, config.subprotocols || []);
			await fetch("/line?id=" + id, {method: "POST", body});
		}
	}
};
serve();
</script>`

// chromium is a browser with that page. One serves for all processes that there would be of
// another peer.
type chromium struct {
	stop     func() // nil: the browser is not open
	server   *http.Server
	sessions chan *pageSession
	said     chan said
}

func newChromium() *chromium {
	return &chromium{sessions: make(chan *pageSession), said: make(chan said)}
}

// said is a line of the page's.
type said struct{ id, line string }

// A pageSession is what the page does for a client that was launched.
type pageSession struct {
	ID     string         `json:"id"`
	Config program.Config `json:"config"`

	lines chan string
	done  chan struct{} // closed when there won't be more lines
}

func (c *chromium) Version(ctx context.Context) (string, map[string]string, error) {
	output, err := exec.CommandContext(ctx, "chromium", "--version").Output()
	if err != nil {
		return "", nil, err
	}
	fields := append(strings.Fields(string(output)), "", "")
	return strings.Join(fields[:2], " "), map[string]string{
		"server":    "a browser is a client",
		"fragments": "a page cannot send fragments",
		"ping":      "a page cannot send a Ping",
		"cut":       "a page cannot cut a connection",
		"noDeflate": "Chromium offers permessage-deflate, whatever a page does",
	}, nil
}

// open opens the browser.
func (c *chromium) open() (err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	c.server = &http.Server{Handler: c.mux(), ErrorLog: log.New(io.Discard, "", 0)}
	go c.server.Serve(ln)
	c.stop, err = program.Chromium(context.Background(), "http://"+ln.Addr().String()+"/")
	return err
}

func (c *chromium) mux() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, page) })
	mux.HandleFunc("GET /next", func(w http.ResponseWriter, r *http.Request) {
		select {
		case s := <-c.sessions:
			json.NewEncoder(w).Encode(s)
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("POST /line", func(w http.ResponseWriter, r *http.Request) {
		line, _ := io.ReadAll(r.Body)
		c.said <- said{r.FormValue("id"), string(line)}
	})
	return mux
}

// Close ends the browser.
func (c *chromium) Close() error {
	if c.stop == nil {
		return nil
	}
	c.stop()
	return c.server.Close()
}

func (c *chromium) launch(ctx context.Context, config program.Config) (running, error) {
	if c.stop == nil {
		if err := c.open(); err != nil {
			return nil, err
		}
	}
	s := &pageSession{
		ID: fmt.Sprint(time.Now().UnixNano()), Config: config,
		lines: make(chan string, len(config.URLs)), done: make(chan struct{}),
	}
	for {
		select {
		case c.sessions <- s:
			go s.listen(c.said)
			return s, nil
		case <-c.said: // of one that was killed
		case <-ctx.Done():
			return nil, errors.New("the page does not ask for more")
		}
	}
}

// listen passes on what the page says of the session.
func (s *pageSession) listen(all <-chan said) {
	defer close(s.lines)
	for range s.Config.URLs {
		select {
		case said := <-all:
			if said.id == s.ID {
				s.lines <- said.line
			}
		case <-s.done:
			return
		}
	}
}

func (s *pageSession) Lines() <-chan string     { return s.lines }
func (s *pageSession) Address() (string, error) { return "", errors.New("a page listens nowhere") }
func (s *pageSession) Wait() error              { return nil }
func (s *pageSession) Stderr() string           { return "" }

func (s *pageSession) Kill() {
	select {
	case <-s.done:
	default:
		close(s.done)
	}
}
