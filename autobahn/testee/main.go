// Command testee is the side of an Autobahn run that is under test: a server
// or a client that sends every message back, made with nothing but the
// exported API of package websocket. The script run.sh, one folder up, starts
// it against the suite.
//
//	testee -role server [-port 0] [-listen-all]
//	testee -role client -url ws://127.0.0.1:9001
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/tidewire/websocket"
)

// readLimit has room for the largest message of the suite, 16 MiB in section 9.
const readLimit = 64 << 20

// The suite compares what it receives with what it expects, and counts every
// ping that it did not ask for as a deviation.
const noPings = -1 * time.Second

// All that the suite can ask for in sections 12 and 13 is granted, and every
// message compressed. The other sections, which do not ask, are not concerned.
var compression = &websocket.Compression{Threshold: -1, ServerMaxWindowBits: 15, ClientMaxWindowBits: 15}

type config struct {
	role      string
	port      int
	listenAll bool
	url       string
	agent     string
	cert, key string
	echo      echoFunc
}

func main() {
	log.SetFlags(log.Ltime | log.Lmicroseconds)
	log.SetPrefix("testee: ")
	var cfg config
	flag.StringVar(&cfg.role, "role", "server", "`server` or client")
	flag.IntVar(&cfg.port, "port", 0, "server: the `port` to listen on; 0 takes a free one")
	flag.BoolVar(&cfg.listenAll, "listen-all", false, "server: listen on all interfaces, not only on loopback (for a suite that runs in a container)")
	flag.StringVar(&cfg.url, "url", "ws://127.0.0.1:9001", "client: the `URL` of the suite's fuzzing server")
	flag.StringVar(&cfg.agent, "agent", "websocket", "client: the `name` under which the suite files its results")
	flag.StringVar(&cfg.cert, "cert", "", "PEM `file`: the server's certificate; the client trusts it")
	flag.StringVar(&cfg.key, "key", "", "server: PEM `file` with the private key of -cert")
	way := flag.String("echo", "append", "how to read and write: `append`, messages or stream")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, cfg, *way); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, cfg config, way string) error {
	var ok bool
	if cfg.echo, ok = echoFuncs[way]; !ok {
		return fmt.Errorf("no way to echo is called %q", way)
	}
	switch cfg.role {
	case "server":
		return serve(ctx, cfg)
	case "client":
		return runCases(ctx, cfg)
	default:
		return fmt.Errorf("no role is called %q", cfg.role)
	}
}

// An echoFunc sends every message of c back until the connection ends. Whether
// it ended as it should is for the suite to say.
type echoFunc func(ctx context.Context, c *websocket.Conn)

// Each of the three ways to read comes with a way to write.
var echoFuncs = map[string]echoFunc{
	"append":   echoAppend,
	"messages": echoMessages,
	"stream":   echoStream,
}

func echoAppend(ctx context.Context, c *websocket.Conn) {
	var buf []byte
	for {
		typ, p, err := c.ReadAppend(ctx, buf[:0])
		if err != nil {
			return
		}
		if err := c.Write(ctx, typ, p); err != nil {
			return
		}
		buf = p
	}
}

func echoMessages(ctx context.Context, c *websocket.Conn) {
	for msg, err := range c.Messages(ctx) {
		if err != nil {
			return
		}
		if err := c.WriteBatch(ctx, msg); err != nil {
			return
		}
	}
}

// echoStream begins to send a message before it has received the end of it.
func echoStream(ctx context.Context, c *websocket.Conn) {
	for {
		typ, r, err := c.NextReader(ctx)
		if err != nil {
			return
		}
		w, err := c.NextWriter(ctx, typ)
		if err != nil {
			return
		}
		if _, err := io.Copy(w, r); err != nil {
			w.Abort()
			return
		}
		if err := w.Close(); err != nil {
			return
		}
	}
}

// serve echoes until ctx ends. It prints the address it listens on.
func serve(ctx context.Context, cfg config) error {
	host := "127.0.0.1"
	if cfg.listenAll {
		host = ""
	}
	l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(cfg.port)))
	if err != nil {
		return err
	}
	upgrader := &websocket.Upgrader{ReadLimit: readLimit, PingInterval: noPings, Compression: compression}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := upgrader.Upgrade(w, r)
		if err != nil {
			log.Print(err)
			return
		}
		defer c.CloseNow()
		cfg.echo(ctx, c)
	})}
	defer context.AfterFunc(ctx, func() { srv.Close() })()

	fmt.Println("listening on", l.Addr())
	if cfg.cert != "" {
		err = srv.ServeTLS(l, cfg.cert, cfg.key)
	} else {
		err = srv.Serve(l)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// runCases asks the suite's fuzzing server how many cases there are, plays
// each of them, and has it write its reports.
func runCases(ctx context.Context, cfg config) error {
	d := &websocket.Dialer{
		ReadLimit:    readLimit,
		PingInterval: noPings,
		Compression:  compression,
		// The suite's one thread answers no handshake while it writes reports.
		HandshakeTimeout: 2 * time.Minute,
	}
	if cfg.cert != "" {
		pem, err := os.ReadFile(cfg.cert)
		if err != nil {
			return err
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return fmt.Errorf("no certificate in %s", cfg.cert)
		}
		d.TLSConfig = &tls.Config{RootCAs: pool}
	}

	n, err := caseCount(ctx, d, cfg.url)
	if err != nil {
		return err
	}
	if n == 0 {
		return errors.New("the suite has no case to run")
	}
	agent := url.QueryEscape(cfg.agent)
	for i := 1; i <= n; i++ {
		c, _, err := d.Dial(ctx, fmt.Sprintf("%s/runCase?case=%d&agent=%s", cfg.url, i, agent))
		if err != nil {
			return fmt.Errorf("case number %d: %w", i, err)
		}
		cfg.echo(ctx, c)
		c.CloseNow()
	}
	_, err = ask(ctx, d, cfg.url+"/updateReports?agent="+agent)
	return err
}

// caseCount waits for the suite to come up, for half a minute at most.
func caseCount(ctx context.Context, d *websocket.Dialer, url string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		answer, err := ask(ctx, d, url+"/getCaseCount")
		if err == nil {
			return strconv.Atoi(answer)
		}
		select {
		case <-ctx.Done():
			return 0, err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// ask dials one of the suite's control resources and returns its answer, the
// message that it sends before it closes, if any.
func ask(ctx context.Context, d *websocket.Dialer, url string) (string, error) {
	c, _, err := d.Dial(ctx, url)
	if err != nil {
		return "", err
	}
	defer c.CloseNow()
	var answer []byte
	for {
		_, p, err := c.Read(ctx)
		switch {
		case err == nil:
			answer = p
		// The suite closes without a status code.
		case websocket.CloseStatus(err) == websocket.StatusNoStatusReceived:
			return string(answer), nil
		default:
			return "", fmt.Errorf("%s: %w", url, err)
		}
	}
}
