// Matrix has package websocket talk to programs that are made with other libraries, as a server
// and as a client. It takes each of them through the same script, and prints a table of what became
// of it:
//
//	go run ./interop/matrix
//
// With -write, RESULTS.md gets that too, and with -check it must have it, but for the
// versions. The exit status is 1 if an exchange fails, or the check.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tidewire/websocket/interop/internal/program"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("matrix: ")
	folder := flag.String("folder", "interop", "the folder with the programs, and RESULTS.md")
	only := flag.String("only", "", "the names of peers, with commas between them (all)")
	write := flag.Bool("write", false, "write RESULTS.md")
	check := flag.Bool("check", false, "compare with RESULTS.md")
	flag.Parse()
	if flag.NArg() > 0 || *only != "" && (*write || *check) {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	r, err := run(ctx, *folder, *only)
	if err != nil {
		log.Fatal(err)
	}
	r.render(os.Stdout)
	file := filepath.Join(*folder, "RESULTS.md")
	if *write {
		err = errors.Join(err, r.write(file))
	}
	if *check {
		err = errors.Join(err, r.check(file))
	}
	if r.failures() > 0 {
		err = errors.Join(err, fmt.Errorf("%d exchanges have failed", r.failures()))
	}
	if err != nil {
		log.Fatal(err)
	}
}

// A launcher starts a peer.
type launcher interface {
	Version(context.Context) (version string, cannot map[string]string, err error)
	launch(context.Context, program.Config) (running, error)
}

// A running is a peer that runs. Lines, Wait, Kill and Stderr are those of a [program.Process].
type running interface {
	Lines() <-chan string
	Address() (string, error)
	Wait() error
	Kill()
	Stderr() string
}

type command struct{ program.Command }

func (c command) launch(ctx context.Context, config program.Config) (running, error) {
	p, err := c.Start(ctx, config)
	if err != nil {
		return nil, err
	}
	return p, nil
}

// A peer is a program that is made with somebody else's library.
type peer struct {
	name     string
	launcher launcher
	version  string
	cannot   map[string]string // what its library can't do, and why
}

func peers(folder string) []peer {
	start := func(name string, arguments ...string) launcher {
		return command{append(program.Command{"./" + filepath.Join(folder, name, "start.sh")}, arguments...)}
	}
	return []peer{
		{name: "ws", launcher: start("ws")},
		{name: "undici", launcher: start("undici")},
		{name: "Chromium", launcher: newChromium()},
		{name: "websockets", launcher: start("websockets")},
		{name: "tungstenite", launcher: start("tungstenite")},
		{name: "gorilla", launcher: start("gopeers", "gorilla")},
		{name: "coder", launcher: start("gopeers", "coder")},
		{name: "gobwas", launcher: start("gopeers", "gobwas")},
		{name: "gws", launcher: start("gopeers", "gws")},
		{name: "x/net", launcher: start("gopeers", "xnet")},
	}
}

// install is how long the first start of a peer may take, which fetches and builds its library.
const install = 5 * time.Minute

func run(ctx context.Context, folder, only string) (*results, error) {
	r := &results{script: script()}
	for _, p := range peers(folder) {
		if only != "" && !slices.Contains(strings.Split(only, ","), p.name) {
			continue
		}
		if err := p.prepare(ctx); err != nil {
			return nil, err
		}
		r.peers = append(r.peers, p)
		for _, role := range []string{"client", "server"} {
			if p.cannot[role] != "" {
				continue
			}
			c := newColumn(p, role, r.script)
			start := time.Now()
			c.run(ctx, r.script)
			log.Printf("%s: %d failures in %v", c.title(), c.failures(), time.Since(start).Round(time.Millisecond))
			r.columns = append(r.columns, c)
		}
		if c, ok := p.launcher.(io.Closer); ok {
			c.Close()
		}
	}
	if r.columns == nil {
		return nil, fmt.Errorf("no peer is called %q", only)
	}
	return r, ctx.Err()
}

func (p *peer) prepare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, install)
	defer cancel()
	var err error
	if p.version, p.cannot, err = p.launcher.Version(ctx); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	return nil
}
