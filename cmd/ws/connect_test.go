package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/tidewire/websocket"
)

// What comes out, for what goes in.
func TestConnect(t *testing.T) {
	url := newTestServer(t)
	for _, test := range []struct {
		name, stdin, path string
		args              string
		want              string
		status            int
	}{
		{"lines", "a\nb\n", "/", "-q 0.2", "a\nb\n", 0},
		{"the last without an end", "a\nb", "/", "-n 2", "a\nb\n", 0},
		{"of Windows", "a\r\nb\r\n", "/", "-n 2", "a\nb\n", 0},
		{"empty", "\n\n", "/", "-n 2", "\n\n", 0},
		{"NUL", "a\nb\x00\x00c", "/", "-0 -n 3", "a\nb\x00\x00c\x00", 0},
		{"nothing", "", "/", "-q 0", "", 0},
		{"-x", "not read\n", "/", "-x a -x b -q 0.2", "a\nb\n", 0},
		{"-n", "a\nb\nc\n", "/", "-n 2", "a\nb\n", 0},
		{"fewer than -n", "a\n", "/", "-n 2 -q 0.1", "a\n", exitLost},
		{"hexadecimal", "\x00\xff", "/", "-b -n 1", "00ff\n", 0},
		{"base64", "\x00\xff", "/", "-b -B -n 1", "AP8=\n", 0},
		{"both types", "", "/say?text=hello&binary=hello", "-n 2", "hello\n68656c6c6f\n", 0},
		{"pretty", "{\"a\":[1,{}]}\nb\n", "/", "-pretty -n 2", "{\n  \"a\": [\n    1,\n    {}\n  ]\n}\nb\n", 0},
		{"not UTF-8", "a\n\xff\n", "/", "-q 5", "", exitUsage},
		{"closed with 1000", "", "/close?code=1000", "-q -1", "", 0},
		{"closed with 1000 before -n", "", "/close?code=1000", "-n 2 -q -1", "", exitLost},
		{"closed without a code", "", "/close?code=1005", "-q -1", "", 0},
		{"closed with 1001", "", "/close?code=1001", "-q -1", "", exitClosed},
		{"closed with 4001", "", "/close?code=4001", "-q -1", "", exitClosed},
		{"lost", "", "/lost", "-q -1", "", exitLost},
		{"silent", "", "/silent", "-q -1 -ping 50ms", "", exitLost},
		{"compressed", strings.Repeat("a", 1000), "/", "-deflate -n 1", strings.Repeat("a", 1000) + "\n", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			args := append([]string{"connect", url + test.path}, strings.Fields(test.args)...)
			stdout, stderr := ws(t, test.stdin, test.status, args...)
			if test.want != "" && stdout != test.want {
				t.Errorf("stdout %q, want %q", stdout, test.want)
			}
			if test.status == exitOK && stderr != "" {
				t.Errorf("stderr %q, want nothing", stderr)
			}
			if test.status != exitOK && !strings.HasPrefix(stderr, "ws: ") {
				t.Errorf("stderr %q does not say what is wrong", stderr)
			}
		})
	}
}

func TestConnectSays(t *testing.T) {
	url := newTestServer(t)
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody.Close()
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	secure := httptest.NewUnstartedServer(testHandler(t))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	secureURL := "wss" + strings.TrimPrefix(secure.URL, "https")

	for _, test := range []struct {
		url    string
		args   string
		status int
		want   []string
	}{
		{url + "/close?code=4001&reason=go%1b[31m%0aaway", "", exitClosed, []string{`ws: closed by the server with 4001: "go\x1b[31m\naway"`}},
		{url + "/close?code=1013&reason=busy", "", exitClosed, []string{`1013 (try again later): "busy"`}},
		{url + "/lost", "", exitLost, []string{"ws: connection lost"}},
		{url + "/status?status=402&body=pay%1b[31m+first", "", exitConnect, []string{"402 Payment Required", `pay\x1b[31m first`}},
		{url + "/status?status=402&body=" + strings.Repeat("x", 600), "", exitConnect, []string{"\n" + strings.Repeat("x", 512) + "\n"}},
		{url + "/status?status=401", "", exitConnect, []string{"401", "-u user:password"}},
		{url + "/status?status=403", "", exitConnect, []string{"403", "-o ORIGIN"}},
		{url + "/status?status=404", "", exitConnect, []string{"404", "another path"}},
		{url + "/status?status=200", "", exitConnect, []string{"200", "another path"}},
		{url + "/status?status=307", "", exitConnect, []string{"307", "wss://example.com/elsewhere"}},
		{url + "/status?status=400", "", exitConnect, []string{"400", "-s SUBPROTOCOL"}},
		{url + "/status?status=407", "", exitConnect, []string{"407", "-proxy"}},
		{url + "/status?status=503", "", exitConnect, []string{"503", "-reconnect"}},
		{"ws" + strings.TrimPrefix(secureURL, "wss"), "", exitConnect, []string{"400", "wss://"}},
		{"wss" + strings.TrimPrefix(url, "ws"), "", exitConnect, []string{"TLS", "Try ws://"}},
		{secureURL, "", exitConnect, []string{"certificate", "-ca FILE", "-k"}},
		{nobody.Addr().String(), "", exitConnect, []string{"could not connect", "nobody listens there"}},
		{mute.Addr().String(), "-w 0.1", exitConnect, []string{"100ms", "-w 30s"}},
		{"name.invalid", "-proxy none", exitConnect, []string{"another spelling"}},
	} {
		t.Run(test.url, func(t *testing.T) {
			args := append([]string{"connect", "-q", "-1", test.url}, strings.Fields(test.args)...)
			stdout, stderr := ws(t, "", test.status, args...)
			contains(t, "stderr", stderr, test.want...)
			if stdout != "" {
				t.Errorf("stdout %q, want nothing", stdout)
			}
			if strings.ContainsAny(stderr, "\x1b\a") {
				t.Errorf("stderr has control characters: %q", stderr)
			}
		})
	}
}

// The request has what the flags say.
func TestConnectRequest(t *testing.T) {
	url := newTestServer(t) + "/header"
	for args, want := range map[string]string{
		"-H X-A:1 --header=X-A:2": "X-A:[1 2]",
		"-H Host:example.com":     "example.com map",
		"-o https://example.com":  "Origin:[https://example.com]",
		"-u name:pass:word":       "Authorization:[Basic " + base64.StdEncoding.EncodeToString([]byte("name:pass:word")) + "]",
		"-s a -s c":               "Sec-Websocket-Protocol:[a, c]",
		"-deflate":                "Sec-Websocket-Extensions:[permessage-deflate",
	} {
		stdout, _ := ws(t, "", exitOK, append([]string{"connect", url, "-n", "1"}, strings.Fields(args)...)...)
		contains(t, args, stdout, want)
	}
}

// TestConnectTLS has a server that wants to know who comes.
func TestConnectTLS(t *testing.T) {
	srv := httptest.NewUnstartedServer(testHandler(t))
	srv.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	defer srv.Close()
	url := "wss" + strings.TrimPrefix(srv.URL, "https")
	ca, key := writePair(t, srv.TLS.Certificates[0])
	both := filepath.Join(t.TempDir(), "both.pem")
	certPEM, keyPEM := encodePair(t, srv.TLS.Certificates[0])
	if err := os.WriteFile(both, append(certPEM, keyPEM...), 0o600); err != nil {
		t.Fatal(err)
	}
	for args, status := range map[string]int{
		"-ca " + ca + " -cert " + ca + " -key " + key: exitOK,
		"-ca " + ca + " -cert " + both:                exitOK,
		"-k -cert " + both:                            exitOK,
		"-cert " + both:                               exitConnect,
		"-k":                                          exitConnect,
	} {
		t.Run(args, func(t *testing.T) {
			ws(t, "", status, append([]string{"connect", url, "-x", "a", "-n", "1"}, strings.Fields(args)...)...)
		})
	}
}

func encodePair(t *testing.T, pair tls.Certificate) (certPEM, keyPEM []byte) {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})
}

func TestConnectUnix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(testHandler(t))
	srv.Listener = l
	srv.Start()
	defer srv.Close()
	stdout, _ := ws(t, "", exitOK, "connect", "-unix", path, "example.com/header", "-n", "1")
	contains(t, "stdout", stdout, "example.com map")
}

func TestConnectProxy(t *testing.T) {
	target := newTestServer(t)
	asked := make(chan string, 1)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Method + " " + r.Host
		u, _ := url.Parse("http" + strings.TrimPrefix(target, "ws"))
		nc, err := net.Dial("tcp", u.Host)
		if err != nil {
			t.Error(err)
			return
		}
		defer nc.Close()
		client, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer client.Close()
		io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n")
		go func() {
			io.Copy(nc, client)
			nc.Close()
		}()
		io.Copy(client, nc)
	}))
	defer proxy.Close()
	for _, proxyURL := range []string{proxy.URL, strings.TrimPrefix(proxy.URL, "http://")} {
		ws(t, "", exitOK, "connect", "-proxy", proxyURL, "ws://example.com/", "-x", "a", "-n", "1")
		if got, want := <-asked, "CONNECT example.com:80"; got != want {
			t.Errorf("the proxy was asked to %s, want %s", got, want)
		}
	}
}

func TestConnectVerbose(t *testing.T) {
	url := newTestServer(t)
	stdout, stderr := ws(t, "", exitOK, "connect", "-v", "-s", "a", "-x", "hello", "-n", "1", "-close", "3000:bye", url+"/say?text=hi")
	if stdout != "hi\n" {
		t.Errorf("stdout %q", stdout)
	}
	contains(t, "stderr", stderr,
		"> GET /say?text=hi HTTP/1.1\n> Host: 127.0.0.1:", "\n> Sec-WebSocket-Key: ",
		"\n< HTTP/1.1 101 Switching Protocols\n", "\n< Sec-WebSocket-Accept: ",
		"connected to "+url+"/say?text=hi, subprotocol a\n",
		"< text, 2 bytes\n", "> text, 5 bytes\n", "> Close, 5 bytes\n", "closed with 3000: \"bye\"\n")
	_, stderr = ws(t, "", exitConnect, "connect", "-v", url+"/status?status=404")
	contains(t, "stderr", stderr, "> GET /status", "< HTTP/1.1 404 Not Found")
	c := newCall(t).start("connect", "-v", "-ping", "20ms", url)
	c.err.await(t, `> Ping, 8 bytes\n(.*\n)*\* answered after \d`)
	c.stop()
	c.wait(exitOK)
}

// events parses what -json prints.
func events(t *testing.T, stdout string) []event {
	t.Helper()
	var es []event
	for d := json.NewDecoder(strings.NewReader(stdout)); d.More(); {
		var e event
		if err := d.Decode(&e); err != nil {
			t.Fatalf("%v in %q", err, stdout)
		}
		if since := time.Since(e.Time); since < 0 || since > time.Minute {
			t.Errorf("the time of an event is %v", e.Time)
		}
		es = append(es, e)
	}
	return es
}

func TestConnectJSON(t *testing.T) {
	url := newTestServer(t)
	for _, test := range []struct {
		args   string
		status int
		want   string // an event a line
	}{
		{"/say?text=<b>&binary=hi -n 2 -s a -close 3000:bye", 0, `open  a
message text  <b>
message binary hex 6869
close 3000 bye`},
		{"/say?text=&binary=hi -n 2 -B", 0, "open\nmessage text\nmessage binary base64 aGk=\nclose 1000"},
		{"/close?code=4001&reason=bye -q -1", exitClosed, "open\nclose 4001 bye"},
		{"/lost -q -1 -pretty", exitLost, "open\nclose 1006 ! connection lost"},
		{"/status?status=404", exitConnect, "error 404 ! could not connect"},
	} {
		stdout, _ := ws(t, "", test.status, append([]string{"connect", "-json"}, strings.Fields(url+test.args)...)...)
		var got strings.Builder
		for _, e := range events(t, stdout) {
			data := ""
			if e.Data != nil {
				data = *e.Data
			}
			if (e.Data != nil) != (e.Event == "message") || (e.URL != "") != (e.Event == "open") {
				t.Errorf("%s: a %s with data %v, URL %q", test.args, e.Event, e.Data, e.URL)
			}
			code, wrong := "", ""
			if n := e.Code + e.Status; n != 0 {
				code = fmt.Sprint(n)
			}
			if e.Error != "" {
				wrong, _, _ = strings.Cut("! "+e.Error, ":")
			}
			fmt.Fprintln(&got, strings.Join(strings.Fields(strings.Join(
				[]string{e.Event, e.Type, e.Encoding, e.Subprotocol, code, e.Reason, data, wrong}, " ")), " "))
		}
		want := strings.ReplaceAll(test.want, "  ", " ")
		if strings.TrimSpace(got.String()) != want {
			t.Errorf("%s: got\n%swant\n%s", test.args, &got, want)
		}
		if lines := strings.Count(stdout, "\n") - strings.Count(test.want, "\n"); strings.Contains(test.args, "-pretty") != (lines > 1) {
			t.Errorf("%s: there are %d lines more than events:\n%s", test.args, lines-1, stdout)
		}
	}
}

// On a terminal, what is typed is sent after what the command line has, and what comes is coloured
// and can't do anything to the terminal.
func TestConnectTerminal(t *testing.T) {
	url := newTestServer(t)
	c := newCall(t)
	c.onTerminal(c.sys.stdin, c.sys.stdout, c.sys.stderr)
	c.start("connect", "-x", "first", url)
	c.err.await(t, `^\x1b\[2mconnected to ws://\S+\x1b\[0m\n$`)
	c.out.await(t, `^\x1b\[36mfirst\x1b\[0m\n$`)
	io.WriteString(c.in, "se\x1b[2Jco\u009bnd\ttab\n")
	c.out.await(t, `first\x1b\[0m\n\x1b\[36mse\\x1b\[2Jco\\u009bnd\ttab\x1b\[0m\n$`)
	c.in.Close()
	c.wait(exitOK)
	c.err.await(t, `closed with 1000 \(normal closure\)`)
}

func TestColours(t *testing.T) {
	url := newTestServer(t)
	for _, test := range []struct {
		name        string
		variable    string
		out, err    bool // terminals
		colouredOut bool
		colouredErr bool
	}{
		{"a terminal", "TERM=xterm", true, true, true, true},
		{"stdout in a pipe", "TERM=xterm", false, true, false, true},
		{"stderr in a file", "TERM=xterm", true, false, true, false},
		{"NO_COLOR", "NO_COLOR=1", true, true, false, false},
		{"an empty NO_COLOR", "NO_COLOR=", true, true, true, true},
		{"a dumb terminal", "TERM=dumb", true, true, false, false},
		{"none that is known", "TERM=", true, true, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newCall(t)
			c.sys.stdin = strings.NewReader("")
			c.env["TERM"] = "xterm"
			name, value, _ := strings.Cut(test.variable, "=")
			c.env[name] = value
			c.tty[c.sys.stdout], c.tty[c.sys.stderr] = test.out, test.err
			c.start("connect", "-n", "2", url+"/say?text=a&binary=b", "-v").wait(exitOK)
			want := "a\n62\n"
			if test.colouredOut {
				want = "\x1b[36ma\x1b[0m\n\x1b[35m62\x1b[0m\n"
			}
			if got := c.out.String(); got != want {
				t.Errorf("stdout %q, want %q", got, want)
			}
			if got := strings.Contains(c.err.String(), "\x1b[2m"); got != test.colouredErr {
				t.Errorf("stderr %q", &c.err)
			}
		})
	}
}

func TestConnectInterrupted(t *testing.T) {
	said := make(chan error, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Upgrade(w, r)
		if err != nil {
			return
		}
		_, _, err = c.Read(context.Background())
		said <- err
	}))
	defer srv.Close()
	c := newCall(t)
	c.onTerminal(c.sys.stderr)
	c.start("connect", srv.URL, "-close", "1001:going")
	c.err.await(t, "connected to ws://")
	c.stop()
	c.wait(exitOK)
	end, ok := errors.AsType[*websocket.CloseError](<-said)
	if !ok || end.Code != websocket.StatusGoingAway || end.Reason != "going" {
		t.Errorf("the server was told %v", end)
	}
}

func TestConnectInterruptedBefore(t *testing.T) {
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	c := newCall(t).start("connect", mute.Addr().String(), "-w", "-1")
	nc, err := mute.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	c.stop()
	c.wait(exitConnect)
	contains(t, "stderr", c.err.String(), "before there was a connection")
}

// Nobody reads stdout any more: that is the end, and no error.
func TestConnectBrokenPipe(t *testing.T) {
	url := newTestServer(t)
	c := newCall(t)
	c.out.err = io.ErrClosedPipe
	c.start("connect", "-x", "a", url).wait(exitOK)
	if c.err.String() != "" {
		t.Errorf("stderr %q", &c.err)
	}
}

func TestConnectBadInput(t *testing.T) {
	url := newTestServer(t)
	for _, args := range []string{"-q 5", "-q 5 -b"} {
		c := newCall(t)
		c.sys.stdin = iotest.ErrReader(errors.New("bad disk"))
		c.start(append([]string{"connect", url}, strings.Fields(args)...)...).wait(exitUsage)
		contains(t, "stderr", c.err.String(), "ws: stdin: bad disk")
	}
	c := newCall(t)
	c.sys.stdin = io.LimitReader(zeros{}, maxMessage+1)
	c.start("connect", url, "-b").wait(exitUsage)
	contains(t, "stderr", c.err.String(), "more than 64 MiB")
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// While there is no connection, what is typed waits.
func TestReconnect(t *testing.T) {
	addr, stop := serveAt(t, "127.0.0.1:0")
	c := newCall(t).start("connect", "-reconnect", "-json", addr)
	io.WriteString(c.in, "one\n")
	c.out.await(t, `"data":"one"`)
	stop()
	c.out.await(t, `"event":"retry"`)
	c.err.await(t, `ws: connection lost.*; connecting again in \d`)
	io.WriteString(c.in, "two\n")
	c.err.await(t, `could not connect: .*; connecting again in`)
	_, stop = serveAt(t, addr)
	c.out.await(t, `"data":"two"`)
	c.stop()
	c.wait(exitOK)
	stop()
	var order []string
	for _, e := range events(t, c.out.String()) {
		if len(order) == 0 || order[len(order)-1] != e.Event {
			order = append(order, e.Event)
		}
	}
	if got, want := strings.Join(order, " "), "open message retry open message close"; got != want {
		t.Errorf("events %s, want %s", got, want)
	}
}

// A message that was being sent when the connection was lost is not sent again, and that is said.
func TestReconnectLoses(t *testing.T) {
	var met atomic.Bool
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u := websocket.Upgrader{ReadLimit: -1}
		c, err := u.Upgrade(w, r)
		if err != nil {
			return
		}
		defer c.CloseNow()
		if met.CompareAndSwap(false, true) {
			if _, m, err := c.NextReader(t.Context()); err == nil {
				m.Read(make([]byte, 1))
			}
			return
		}
		echo(c)
	}))
	defer srv.Close()
	c := newCall(t).start("connect", "-reconnect", srv.URL)
	io.WriteString(c.in, strings.Repeat("x", 32<<20)+"\n") // more than the network holds
	c.err.await(t, "ws: a message of 33554432 bytes may be lost\n")
	io.WriteString(c.in, "next\n")
	c.out.await(t, "^next\n$")
	c.stop()
	c.wait(exitOK)
}

// serveAt serves on addr. stop resets all connections, as the crash of a server does.
func serveAt(t *testing.T, addr string) (actual string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	var conns []net.Conn
	srv := http.Server{Handler: testHandler(t), ConnState: func(c net.Conn, state http.ConnState) {
		if state == http.StateNew { // which is told of by Serve
			conns = append(conns, c)
		}
	}}
	served := make(chan error)
	go func() { served <- srv.Serve(l) }()
	return l.Addr().String(), func() {
		srv.Close()
		<-served
		for _, c := range conns {
			c.Close()
		}
	}
}

// Some ends are final, also with -reconnect.
func TestReconnectStops(t *testing.T) {
	url := newTestServer(t)
	for path, status := range map[string]int{
		"/close?code=1000":   exitOK,
		"/close?code=1008":   exitClosed,
		"/status?status=404": exitConnect,
	} {
		ws(t, "", status, "connect", "-reconnect", "-q", "-1", url+path)
	}
}

// The messages of the command line are sent, also if enough have come before.
func TestConnectSendsAll(t *testing.T) {
	received := make(chan int, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Upgrade(w, r)
		if err != nil {
			return
		}
		c.Write(t.Context(), typeText, []byte("hello"))
		n := 0
		for _, err := range c.Messages(t.Context()) {
			if err == nil {
				n++
			}
		}
		received <- n
	}))
	defer srv.Close()
	args := []string{"connect", "-n", "1", srv.URL}
	for i := range 1000 {
		args = append(args, "-x", fmt.Sprint(i))
	}
	ws(t, "", exitOK, args...)
	if n := <-received; n != 1000 {
		t.Errorf("%d messages have come, want 1000", n)
	}
}

// What has come is printed, also if it could not be before the end.
func TestConnectPrintsAll(t *testing.T) {
	sent := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Upgrade(w, r)
		if err != nil {
			return
		}
		defer c.CloseNow()
		for i := range 10 {
			c.Write(t.Context(), typeText, fmt.Append(nil, i))
		}
		ended := c.CloseRead(t.Context())
		c.Ping(ended) // which is answered when all that came before was read
		close(sent)
		<-ended.Done()
	}))
	defer srv.Close()
	c := newCall(t)
	slow := &slowWriter{Writer: &c.out, begun: make(chan struct{}), goOn: make(chan struct{})}
	c.sys.stdout = slow
	c.start("connect", srv.URL)
	<-slow.begun
	<-sent
	c.stop()
	close(slow.goOn)
	c.wait(exitOK)
	if got, want := c.out.String(), "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n"; got != want {
		t.Errorf("got %q", got)
	}
}

// A slowWriter holds up the first Write.
type slowWriter struct {
	io.Writer
	once        sync.Once
	begun, goOn chan struct{}
}

func (w *slowWriter) Write(p []byte) (int, error) {
	w.once.Do(func() { close(w.begun) })
	<-w.goOn
	return w.Writer.Write(p)
}

func TestOpenInput(t *testing.T) {
	f, err := os.Open("main.go")
	if err != nil {
		t.Fatal(err)
	}
	if got := openInput(f); got != f {
		t.Errorf("a file is replaced by %v", got)
	}
	f.Close()
	if data, err := io.ReadAll(openInput(f)); len(data) != 0 || err != nil {
		t.Errorf("one that is closed has %q, %v", data, err)
	}
}

// It sends as much as there is, and the answers are not held up meanwhile.
func TestConnectMuch(t *testing.T) {
	url := newTestServer(t)
	var in bytes.Buffer
	for i := range 20000 {
		fmt.Fprintln(&in, i)
	}
	want := in.String()
	if stdout, _ := ws(t, want, exitOK, "connect", "-n", "20000", url); stdout != want {
		t.Errorf("%d bytes came back of %d, or others", len(stdout), len(want))
	}
}
