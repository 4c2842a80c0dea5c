// Idle measures what a connection that waits costs a server: the bytes of heap, of stack and
// of resident memory per connection, after one message each way.
//
//	go run ./internal/idle -n 5000
//
// Each server is a process of its own, the clients are in this one, and they
// talk over loopback. What the server has before the first connection is
// subtracted. The servers are
//
//	floor        does not speak WebSocket: a goroutine per connection in
//	             net.Conn.Read, with a buffer of 64 bytes
//	background   Conn.Read and Write under context.Background()
//	cancellable  under one context for all connections, that can be cancelled
//	handler's    under the context that Upgrader.Handler gives
//	Messages     Conn.Messages under context.Background()
//	deflate-12   as handler's, with permessage-deflate, windows of 12 or 15 bits,
//	deflate-15…  and the offer of our Dialer, or of Chromium or gorilla/websocket, which
//	             wants no context takeover. The message is 1 KiB of JSON, compressed each
//	             way.
//
// The memory of the kernel's sockets is not in it. Resident memory is known on Linux only.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/tidewire/websocket"
	"github.com/tidewire/websocket/internal/deflate"
	"github.com/tidewire/websocket/internal/testnet"
)

// What the process of a server finds in its environment.
const (
	serverVariable  = "WEBSOCKET_IDLE_SERVER"  // which it is
	profileVariable = "WEBSOCKET_IDLE_PROFILE" // the file for its heap profile, if there is to be one
)

func main() {
	if name := os.Getenv(serverVariable); name != "" {
		if err := serve(name, os.Stdin, os.Stdout); err != nil {
			log.Fatal(err)
		}
		return
	}
	n := flag.Int("n", 5000, "number of connections")
	profile := flag.String("profile", "", "write the heap profile of each server to this name and the server's")
	timeout := flag.Duration("timeout", 2*time.Minute, "give up after this time")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), *timeout)
	defer cancel()
	if err := run(ctx, os.Stdout, *n, *profile); err != nil {
		log.Fatal(err)
	}
}

// run measures the servers, one after the other.
func run(ctx context.Context, w io.Writer, n int, profile string) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(table, "bytes for each of %d connections\theap\tstack\tRSS\tRSS above the floor\t\n", n)
	var floor usage
	for i, s := range servers {
		u, err := measure(ctx, s, n, profile)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		if i == 0 {
			floor = u
		}
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%+d\t\n", s.name, u.Heap, u.Stack, u.RSS, u.RSS-floor.RSS)
	}
	return table.Flush()
}

// A server answers the first message of each connection, and waits for more.
type server struct {
	name  string
	serve func(net.Listener) error
	dial  func(ctx context.Context, addr string) (io.Closer, error) // and exchange a message
}

// servers are those that are measured. The first is the floor.
var servers = []server{
	{"floor", serveFloor, dialFloor},
	{"background", serveWebSocket(echoBackground, 0), dialWebSocket},
	{"cancellable", serveWebSocket(echoCancellable, 0), dialWebSocket},
	{"handler's", serveWebSocket(echo, 0), dialWebSocket},
	{"Messages", serveWebSocket(echoMessages, 0), dialWebSocket},
	{"deflate-12", serveWebSocket(echo, 12), dialCompressed(12)},
	{"deflate-12-chromium", serveWebSocket(echo, 12), dialOffering(chromiumOffer)},
	{"deflate-12-gorilla", serveWebSocket(echo, 12), dialOffering(gorillaOffer)},
	{"deflate-15", serveWebSocket(echo, 15), dialCompressed(15)},
	{"deflate-15-chromium", serveWebSocket(echo, 15), dialOffering(chromiumOffer)},
	{"deflate-15-gorilla", serveWebSocket(echo, 15), dialOffering(gorillaOffer)},
}

// What clients offer.
const (
	chromiumOffer = "permessage-deflate; client_max_window_bits"
	gorillaOffer  = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
)

// shutdown is a context that a server would cancel to end all reads.
var shutdown, _ = context.WithCancel(context.Background())

func serveFloor(ln net.Listener) error {
	for {
		nc, err := ln.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer nc.Close()
			buf := make([]byte, 64)
			for {
				n, err := nc.Read(buf)
				if err != nil {
					return
				}
				if _, err := nc.Write(buf[:n]); err != nil {
					return
				}
			}
		}()
	}
}

// serveWebSocket has each connection served by echo, in the goroutine that
// Handler starts, and compressed with windows of the given bits, if that is not 0.
func serveWebSocket(echo func(context.Context, *websocket.Conn), bits int) func(net.Listener) error {
	return func(ln net.Listener) error {
		accept := func(http.ResponseWriter, *http.Request) (func(context.Context, *websocket.Conn), error) {
			return echo, nil
		}
		u := websocket.Upgrader{Compression: compression(bits)}
		return http.Serve(ln, u.Handler(accept))
	}
}

func compression(bits int) *websocket.Compression {
	if bits == 0 {
		return nil
	}
	return &websocket.Compression{ServerMaxWindowBits: bits, ClientMaxWindowBits: bits}
}

// echo reads under ctx.
func echo(ctx context.Context, c *websocket.Conn) {
	for {
		typ, p, err := c.Read(ctx)
		if err != nil {
			return
		}
		if err := c.Write(ctx, typ, p); err != nil {
			return
		}
	}
}

func echoBackground(_ context.Context, c *websocket.Conn) { echo(context.Background(), c) }

func echoCancellable(_ context.Context, c *websocket.Conn) { echo(shutdown, c) }

func echoMessages(_ context.Context, c *websocket.Conn) {
	ctx := context.Background()
	for m, err := range c.Messages(ctx) {
		if err != nil || c.Write(ctx, m.Type, m.Data) != nil {
			return
		}
	}
}

const message = "hello"

func dialFloor(ctx context.Context, addr string) (io.Closer, error) {
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	got := make([]byte, len(message))
	if _, err = io.WriteString(nc, message); err == nil {
		_, err = io.ReadFull(nc, got)
	}
	return nc, err
}

func dialWebSocket(ctx context.Context, addr string) (io.Closer, error) {
	return exchange(ctx, new(websocket.Dialer), addr, []byte(message))
}

func dialCompressed(bits int) func(context.Context, string) (io.Closer, error) {
	return func(ctx context.Context, addr string) (io.Closer, error) {
		return exchange(ctx, &websocket.Dialer{Compression: compression(bits)}, addr, jsonMessage())
	}
}

func exchange(ctx context.Context, d *websocket.Dialer, addr string, message []byte) (io.Closer, error) {
	c, _, err := d.Dial(ctx, "ws://"+addr)
	if err != nil {
		return nil, err
	}
	if err = c.Write(ctx, websocket.MessageText, message); err == nil {
		_, _, err = c.Read(ctx)
	}
	return closer(c.CloseNow), err
}

// jsonMessage returns a message of about 1 KiB that no other is the same as.
func jsonMessage() []byte {
	b := []byte(`{"type":"update","items":[`)
	for len(b) < 1<<10 {
		b = fmt.Appendf(b, `{"id":%d,"price":"%d.%02d","active":true},`, rand.Uint32(), rand.IntN(1000), rand.IntN(100))
	}
	return append(b, `null]}`...)
}

// dialOffering is a client that offers permessage-deflate in these words.
func dialOffering(offer string) func(context.Context, string) (io.Closer, error) {
	return func(ctx context.Context, addr string) (io.Closer, error) {
		nc, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, err
		}
		return nc, exchangeRaw(nc, offer)
	}
}

// exchangeRaw does the opening handshake and sends a compressed message, which
// the server sends back compressed.
func exchangeRaw(nc net.Conn, offer string) error {
	fmt.Fprintf(nc, "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: %s\r\n\r\n", offer)
	br := bufio.NewReader(nc)
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		return err
	}
	if accepted := resp.Header.Get("Sec-WebSocket-Extensions"); !strings.HasPrefix(accepted, "permessage-deflate") {
		return fmt.Errorf("the server has not accepted %q: %q", offer, accepted)
	}
	payload, _ := deflate.NewEncoder(12, deflate.Fast, false).AppendMessage(nil, jsonMessage())
	frame := append([]byte{0xC1, 0x80 | 126, byte(len(payload) >> 8), byte(len(payload)), 0, 0, 0, 0}, payload...) // masked with zeros
	if _, err := nc.Write(frame); err != nil {
		return err
	}
	f, err := testnet.ReadFrame(br)
	if err == nil && (f.Opcode != 1 || f.RSV != 4 || !f.Fin) {
		err = fmt.Errorf("the server has not sent a compressed message: %v", f)
	}
	return err
}

type closer func() error

func (c closer) Close() error { return c() }

// usage is what a server uses, in all or per connection.
type usage struct{ Heap, Stack, RSS int64 }

// serve is the process of a server. It prints its address, and for each line that it
// reads the usage, until there are no more.
func serve(name string, in io.Reader, out io.Writer) error {
	profile := os.Getenv(profileVariable)
	if profile != "" {
		runtime.MemProfileRate = 1
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	for _, s := range servers {
		if s.name == name {
			go s.serve(ln)
		}
	}
	fmt.Fprintln(out, ln.Addr())
	enc := json.NewEncoder(out)
	for lines := bufio.NewScanner(in); lines.Scan(); {
		u, err := currentUsage()
		if err != nil {
			return err
		}
		if err := enc.Encode(u); err != nil {
			return err
		}
	}
	if profile == "" {
		return nil
	}
	f, err := os.Create(profile)
	if err != nil {
		return err
	}
	return errors.Join(pprof.WriteHeapProfile(f), f.Close())
}

// currentUsage returns what this process uses, when the garbage of
// the handshakes is gone and its memory given back.
func currentUsage() (usage, error) {
	for range 5 {
		runtime.GC()
		time.Sleep(50 * time.Millisecond) // stacks shrink as goroutines run
	}
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	u := usage{Heap: int64(m.HeapAlloc), Stack: int64(m.StackInuse)}
	statm, err := os.ReadFile("/proc/self/statm")
	if errors.Is(err, os.ErrNotExist) {
		return u, nil
	}
	if err != nil {
		return u, err
	}
	pages, err := strconv.ParseInt(strings.Fields(string(statm))[1], 10, 64)
	u.RSS = pages * int64(os.Getpagesize())
	return u, err
}

// measure returns what s uses for each of n connections.
func measure(ctx context.Context, s server, n int, profile string) (usage, error) {
	exe, err := os.Executable()
	if err != nil {
		return usage{}, err
	}
	cmd := exec.CommandContext(ctx, exe)
	cmd.Env = append(os.Environ(), serverVariable+"="+s.name)
	if profile != "" {
		cmd.Env = append(cmd.Env, profileVariable+"="+profile+"."+s.name)
	}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return usage{}, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return usage{}, err
	}
	if err := cmd.Start(); err != nil {
		return usage{}, err
	}
	u, err := measureProcess(ctx, s, n, in, bufio.NewReader(out))
	in.Close()
	return u, errors.Join(err, cmd.Wait())
}

// measureProcess is measure for a server's process, which
// reads from in, and prints to out.
func measureProcess(ctx context.Context, s server, n int, in io.Writer, out *bufio.Reader) (usage, error) {
	addr, err := out.ReadString('\n')
	if err != nil {
		return usage{}, err
	}
	addr = strings.TrimSpace(addr)
	ask := func() (u usage, err error) {
		fmt.Fprintln(in)
		line, err := out.ReadBytes('\n')
		if err == nil {
			err = json.Unmarshal(line, &u)
		}
		return u, err
	}
	if err := dialAll(ctx, s, 1, addr, func() error { return nil }); err != nil { // so that all code is loaded
		return usage{}, err
	}
	before, err := ask()
	if err != nil {
		return usage{}, err
	}
	var after usage
	err = dialAll(ctx, s, n, addr, func() error { after, err = ask(); return err })
	each := func(after, before int64) int64 { return (after - before) / int64(n) }
	return usage{each(after.Heap, before.Heap), each(after.Stack, before.Stack), each(after.RSS, before.RSS)}, err
}

// dialAll calls f while n connections are open.
func dialAll(ctx context.Context, s server, n int, addr string, f func() error) error {
	var mu sync.Mutex
	var failed error
	var conns []io.Closer
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	var wg sync.WaitGroup
	dialing := make(chan struct{}, 64)
	for range n {
		dialing <- struct{}{}
		wg.Go(func() {
			c, err := s.dial(ctx, addr)
			mu.Lock()
			defer mu.Unlock()
			if c != nil {
				conns = append(conns, c)
			}
			if err != nil {
				failed = err
			}
			<-dialing
		})
	}
	wg.Wait()
	if failed != nil {
		return failed
	}
	return f()
}
