// Gopeers are peers made with the WebSocket libraries of Go: the first argument says which. See
// README.md, one folder up, for what a peer does.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
)

// A library opens connections. Its configuration is the one of the process.
type library interface {
	// serve answers the opening handshake of a client, and calls attend with the connection.
	serve(w http.ResponseWriter, r *http.Request, attend func(conn)) error

	dial(url string) (conn, error)
}

// A conn is a connection. Its methods are called by one goroutine, and by what ping calls.
type conn interface {
	receive() (message, error)
	send(message) error

	// fragments sends a message in fragments, which may be those.
	fragments(text bool, parts [3][]byte) error

	// ping sends a Ping, and has pong called when it is answered.
	ping(payload string, pong func()) error

	subprotocol() string

	// close sends a Close. The error of it, or of the next receive, tells of the answer.
	close(code int, reason string) error

	// cut closes the network connection.
	cut() error

	// told returns the code and reason that an error of receive or close tells of, if it is about
	// a Close.
	told(err error) (code int, reason string, ok bool)
}

type message struct {
	text bool
	data []byte
}

type config struct {
	Role         string
	URL          string
	URLs         []string
	Deflate      *parameters
	Subprotocols []string
}

// parameters are those of permessage-deflate (RFC 7692, section 7.1).
type parameters struct {
	ServerMaxWindowBits, ClientMaxWindowBits         int
	ServerNoContextTakeover, ClientNoContextTakeover bool
}

// A peer is made with one of the libraries.
type peer struct {
	module string
	open   func(config) library
	cannot map[string]string // what the library's API has no way to do, and why
}

var peers = map[string]peer{
	"gorilla": {"github.com/gorilla/websocket", newGorilla, gorillaCannot},
	"coder":   {"github.com/coder/websocket", newCoder, coderCannot},
	"gobwas":  {"github.com/gobwas/ws", newGobwas, gobwasCannot},
	"gws":     {"github.com/lxzan/gws", newGWS, gwsCannot},
	"xnet":    {"golang.org/x/net", newXNet, xnetCannot},
}

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("want the name of a library, and what to do")
	}
	p, ok := peers[os.Args[1]]
	if !ok {
		log.Fatalf("unknown library %q", os.Args[1])
	}
	var c config
	if err := json.Unmarshal([]byte(os.Args[2]), &c); err != nil {
		log.Fatal(err)
	}
	if c.Role == "version" {
		p.printVersion()
		return
	}
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	if err := p.run(c); err != nil {
		log.Fatal(err)
	}
}

func (p peer) printVersion() {
	info, _ := debug.ReadBuildInfo()
	for _, m := range info.Deps {
		if m.Path == p.module {
			fmt.Printf("%s %s, Go %s\n", m.Path, m.Version, strings.TrimPrefix(runtime.Version(), "go"))
		}
	}
	json.NewEncoder(os.Stdout).Encode(map[string]any{"cannot": p.cannot})
}

func (p peer) run(c config) error {
	l := p.open(c)
	switch c.Role {
	case "server":
		return listen(l)
	case "client":
		return connect(l, append(c.URLs, c.URL))
	default:
		return fmt.Errorf("unknown role %q", c.Role)
	}
}

func listen(l library) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("listening on", ln.Addr())
	return http.Serve(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := l.serve(w, r, func(c conn) { attend(c, r.URL.Path) }); err != nil {
			log.Print(err)
		}
	}))
}

// connect opens one connection after the other.
func connect(l library, urls []string) error {
	for _, url := range urls {
		if url == "" {
			continue
		}
		c, err := l.dial(url)
		if err != nil {
			return err
		}
		attend(c, url)
	}
	return nil
}

// attend does what url says with c, and says how it has ended.
func attend(c conn, url string) {
	defer c.cut()
	mode := path.Base(url)
	var err error
	for err == nil {
		var m message
		if m, err = c.receive(); err == nil {
			err = answer(c, mode, m)
		}
	}
	log.Print(err)
	code, reason, ok := c.told(err)
	switch {
	case !ok:
		fmt.Println("closed 1006")
	case code == 0:
		fmt.Println("closed")
	default:
		fmt.Println(strings.TrimSpace(fmt.Sprint("closed ", code, " ", reason)))
	}
}

func answer(c conn, mode string, m message) error {
	switch mode {
	case "echo":
		return c.send(m)
	case "fragments":
		n := len(m.data) / 3
		return c.fragments(m.text, [3][]byte{m.data[:n], m.data[n : 2*n], m.data[2*n:]})
	case "ping":
		return c.ping(string(m.data), func() { c.send(message{true, append([]byte("pong "), m.data...)}) })
	case "subprotocol":
		return c.send(message{true, []byte(c.subprotocol())})
	case "close":
		code, reason, _ := strings.Cut(string(m.data), " ")
		n, err := strconv.Atoi(code)
		if err != nil {
			return err
		}
		return c.close(n, reason)
	case "cut":
		return errors.Join(errors.New("cut by this end"), c.cut())
	default:
		return fmt.Errorf("unknown mode %q", mode)
	}
}
