package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidewire/websocket"
	"github.com/tidewire/websocket/internal/testnet"
)

// asProgram is in the environment of a process of the tests that is to be the program itself.
const asProgram = "WS_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	testnet.CheckLeaks(m)
}

// patience is for how long a test waits for what has to come.
const patience = 20 * time.Second

// A buffer holds what is printed.
type buffer struct {
	mu      sync.Mutex
	b       bytes.Buffer
	changed chan struct{} // closed at the next Write
	err     error         // of Write
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return 0, b.err
	}
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// await waits until something matches pattern, and returns the match of its last group.
func (b *buffer) await(t *testing.T, pattern string) string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	timeout := time.After(patience)
	for {
		b.mu.Lock()
		match := re.FindStringSubmatch(b.b.String())
		if b.changed == nil {
			b.changed = make(chan struct{})
		}
		changed := b.changed
		b.mu.Unlock()
		if match != nil {
			return match[len(match)-1]
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("%q has not come, but\n%s", pattern, b)
		}
	}
}

// A call is a command line that is being carried out in this process.
type call struct {
	t        *testing.T
	sys      *system
	env      map[string]string
	tty      map[any]bool
	in       *io.PipeWriter
	out, err buffer
	stop     context.CancelFunc // as SIGINT does
	status   chan int
}

// newCall returns a call that has not begun, whose stdin is open.
func newCall(t *testing.T) *call {
	stdin, in := io.Pipe()
	c := &call{t: t, in: in, env: map[string]string{}, tty: map[any]bool{}, status: make(chan int, 1)}
	c.sys = &system{stdin, &c.out, &c.err,
		func(name string) string { return c.env[name] },
		func(stream any) bool { return c.tty[stream] }}
	t.Cleanup(func() { in.Close() })
	return c
}

// onTerminal makes the streams a terminal.
func (c *call) onTerminal(streams ...any) *call {
	c.env["TERM"] = "xterm"
	for _, s := range streams {
		c.tty[s] = true
	}
	return c
}

func (c *call) start(args ...string) *call {
	ctx, stop := context.WithCancel(context.Background())
	c.stop = stop
	c.t.Cleanup(stop)
	go func() { c.status <- run(ctx, args, c.sys) }()
	return c
}

// wait waits for the end, and checks the exit status.
func (c *call) wait(status int) {
	c.t.Helper()
	select {
	case got := <-c.status:
		if got != status {
			c.t.Errorf("exit status %d, want %d\nstdout %q\nstderr %q", got, status, &c.out, &c.err)
		}
	case <-time.After(patience):
		c.t.Fatalf("has not ended\nstdout %q\nstderr %q", &c.out, &c.err)
	}
}

// ws carries out a command line with that stdin.
func ws(t *testing.T, stdin string, status int, args ...string) (stdout, stderr string) {
	t.Helper()
	c := newCall(t)
	c.sys.stdin = strings.NewReader(stdin)
	c.start(args...).wait(status)
	return c.out.String(), c.err.String()
}

// contains checks that there is each of the parts in s.
func contains(t *testing.T, what, s string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(s, part) {
			t.Errorf("%s lacks %q:\n%s", what, part, s)
		}
	}
}

// newServer starts a server that does what its paths say, and returns its ws URL.
func newTestServer(t *testing.T) string {
	srv := httptest.NewServer(testHandler(t))
	t.Cleanup(srv.Close)
	return "ws" + strings.TrimPrefix(srv.URL, "http")
}

func testHandler(t *testing.T) http.Handler {
	mux := http.NewServeMux()
	u := websocket.Upgrader{Subprotocols: []string{"b", "a"}, Compression: &websocket.Compression{}, Origins: []string{"*"}}
	handle := func(path string, serve func(c *websocket.Conn, r *http.Request)) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			c, err := u.Upgrade(w, r)
			if err != nil {
				return
			}
			defer c.CloseNow()
			serve(c, r)
		})
	}
	handle("/", func(c *websocket.Conn, _ *http.Request) { echo(c) })
	handle("/close", func(c *websocket.Conn, r *http.Request) {
		code, _ := strconv.Atoi(r.FormValue("code"))
		c.Close(websocket.StatusCode(code), r.FormValue("reason"))
	})
	handle("/lost", func(*websocket.Conn, *http.Request) {})
	handle("/header", func(c *websocket.Conn, r *http.Request) {
		c.Write(t.Context(), websocket.MessageText, fmt.Appendf(nil, "%s %v", r.Host, r.Header))
		echo(c)
	})
	handle("/say", func(c *websocket.Conn, r *http.Request) {
		c.Write(t.Context(), websocket.MessageText, []byte(r.FormValue("text")))
		c.Write(t.Context(), websocket.MessageBinary, []byte(r.FormValue("binary")))
		echo(c)
	})
	handle("/silent", func(*websocket.Conn, *http.Request) { <-t.Context().Done() })
	mux.HandleFunc("/status", func(w http.ResponseWriter, r *http.Request) {
		status, _ := strconv.Atoi(r.FormValue("status"))
		w.Header().Set("Location", "wss://example.com/elsewhere")
		w.WriteHeader(status)
		io.WriteString(w, r.FormValue("body"))
	})
	return mux
}

func echo(c *websocket.Conn) {
	for m, err := range c.Messages(context.Background()) {
		if err != nil || c.Write(context.Background(), m.Type, m.Data) != nil {
			return
		}
	}
}

func TestUsage(t *testing.T) {
	for _, test := range []struct {
		args string
		want string
	}{
		{"", "ws connect URL"},
		{"conect", `did you mean "connect"?`},
		{"localhost:8080", `did you mean "ws connect localhost:8080"?`},
		{"xyz", "unknown command \"xyz\"\n"},
		{"help xyz", "unknown command \"xyz\"\n"},
		{"connect", "the URL is missing"},
		{"connect :1 :2", `one argument too many: ":2"`},
		{"connect -reconect :1", `unknown flag -reconect: did you mean "-reconnect"?`},
		{"connect -josn :1", `unknown flag -josn: did you mean "-json"?`},
		{"connect -zzz :1", "unknown flag -zzz\n"},
		{"connect -z :1", "unknown flag -z\n"},
		{"connect :1 -n", "-n needs a value"},
		{"connect :1 -n -1", `-n "-1": not a number`},
		{"connect :1 -q soon", `-q "soon": not a time`},
		{"connect :1 -k=perhaps", `-k "perhaps": `},
		{"connect :1 -H Name", "not of the form 'Name: value'"},
		{"connect :1 -H Upgrade:x", "Upgrade"},
		{"connect :1 -s a/b", "a/b"},
		{"connect :1 -u name", "not of the form user:password"},
		{"connect :1 -close bye", "not of the form CODE:REASON"},
		{"connect :1 -close 1005", "not a code that may be sent"},
		{"connect :1 -close 1000:" + strings.Repeat("x", 124), "124 bytes"},
		{"connect :1 -close 1000:\xff", "not UTF-8"},
		{"connect :1 -x \xff", "not UTF-8"},
		{"connect :1 -b -x a", "excludes"},
		{"connect :1 -ca nowhere.pem", "-ca: "},
		{"connect :1 -ca main.go", "there is no certificate in main.go"},
		{"connect :1 -cert nowhere.pem", "-cert, -key: "},
		{"connect :1 -key nowhere.pem", "there is no -cert for it"},
		{"connect :1 -unix a -proxy b", "exclude each other"},
		{"connect :1 -proxy http://[", "-proxy: not a URL"},
		{"connect ftp://host", `scheme "ftp"`},
		{"connect ws://", "host"},
		{"listen", "the address to listen on"},
		{"listen :1 -mode ecko", `-mode "ecko": not one of echo, broadcast, log, stdio: did you mean "echo"?`},
		{"listen :1 -tls-cert a", "belong together"},
		{"listen :1 -tls-cert nowhere.pem -tls-key nowhere.pem", "nowhere.pem"},
		{"bench", "the URL is missing"},
		{"bench :1 -mode x", "not one of echo, hold, broadcast"},
		{"bench :1 -c 0", "-c: "},
		{"bench :1 -c x", "-c \"x\": not a number"},
		{"bench :1 -m NaN", "-m \"NaN\": not a number"},
		{"bench :1 -rate 1e10", "-rate \"1e10\": not a number"},
		{"bench :1 -m 0", "-m: no messages"},
		{"bench :1 -size 23", "24 bytes"},
		{"bench :1 -size 99999999", "64 MiB"},
		{"bench :1 -d 0", "-d: no time"},
		{"bench :1 -k -u x", "user:password"},
		{"version now", "one argument too many"},
	} {
		t.Run(test.args, func(t *testing.T) {
			stdout, stderr := ws(t, "", exitUsage, strings.Fields(test.args)...)
			contains(t, "stderr", stderr, test.want)
			if stdout != "" {
				t.Errorf("stdout %q, want nothing", stdout)
			}
		})
	}
}

func TestHelp(t *testing.T) {
	for args, want := range map[string]string{
		"help":          overview,
		"-h":            overview,
		"--help":        overview,
		"help help":     overview,
		"help connect":  connectHelp,
		"connect -h":    connectHelp,
		"listen --help": listenHelp,
		"bench :1 -h":   benchHelp,
		"help version":  versionHelp,
	} {
		if stdout, _ := ws(t, "", exitOK, strings.Fields(args)...); stdout != want {
			t.Errorf("ws %s prints\n%s", args, stdout)
		}
	}
}

// Each flag is in the help, and each word there that looks like one is a flag. No line is too long.
func TestHelpIsComplete(t *testing.T) {
	for _, c := range commands {
		fs := flag.NewFlagSet(c.name, flag.ContinueOnError)
		c.prepare(fs)
		said := map[string]bool{}
		usage, _, _ := strings.Cut(c.help, "\nExamples")
		for _, match := range regexp.MustCompile(`(?m)(?:^|[\s;,(])-([A-Za-z0][a-z0-9-]*)`).FindAllStringSubmatch(usage, -1) {
			if said[match[1]] = true; fs.Lookup(match[1]) == nil {
				t.Errorf("the help for %s has -%s, which is no flag", c.name, match[1])
			}
		}
		fs.VisitAll(func(f *flag.Flag) {
			if !said[f.Name] {
				t.Errorf("the help for %s lacks -%s", c.name, f.Name)
			}
		})
		for line := range strings.Lines(c.help) {
			if len(line) > 81 {
				t.Errorf("the help for %s is wider than a terminal: %s", c.name, line)
			}
		}
	}
}

func TestVersion(t *testing.T) {
	for _, arg := range []string{"version", "-version", "--version"} {
		stdout, _ := ws(t, "", exitOK, arg)
		contains(t, "stdout", stdout, "ws ", "go1.")
	}
	info := &debug.BuildInfo{
		GoVersion: "go1.26.0",
		Main:      debug.Module{Version: "v1.2.3"},
		Settings:  []debug.BuildSetting{{Key: "vcs.revision", Value: "abc"}, {Key: "vcs.modified", Value: "true"}},
	}
	if got, want := versionText(info), "ws v1.2.3, revision abc with changes, go1.26.0\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := versionText(nil), "ws, of an unknown version\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
