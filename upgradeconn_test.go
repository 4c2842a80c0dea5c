package websocket

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidewire/websocket/internal/testnet"
)

// An upgraded is what UpgradeConn has returned.
type upgraded struct {
	c   *Conn
	r   *http.Request
	err error
}

func goUpgradeConn(ctx context.Context, u *Upgrader, nc net.Conn) <-chan upgraded {
	return async(func() upgraded {
		c, r, err := u.UpgradeConn(ctx, nc)
		if (c == nil) == (err == nil) {
			panic("want a Conn or an error")
		}
		return upgraded{c, r, err}
	})
}

// readAnswer reads the response to a request that is refused, up to the end of the stream.
func readAnswer(t testing.TB, nc net.Conn) (*http.Response, string) {
	t.Helper()
	nc.SetReadDeadline(time.Now().Add(time.Minute))
	br := bufio.NewReader(nc)
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("the content is not whole: %v", err)
	}
	if rest, err := io.ReadAll(br); err != nil || len(rest) > 0 {
		t.Errorf("after the response: got %q, %v", rest, err)
	}
	return resp, string(body)
}

// wantClosed checks that nc was closed on this side.
func wantClosed(t testing.TB, nc net.Conn) {
	t.Helper()
	if tc, ok := nc.(*tls.Conn); ok {
		nc = tc.NetConn()
	}
	if _, err := nc.Write([]byte("x")); !errors.Is(err, net.ErrClosed) && !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("the connection is not closed: %v", err)
	}
}

// The request comes whole or a byte at a time, over whatever; a frame right behind it is not lost.
func TestUpgradeConn(t *testing.T) {
	onNetworks(t, func(t *testing.T, n network) {
		for _, piece := range []int{1, 100, 10_000} {
			nc, client := n.dial(t, serverSide)
			u := &Upgrader{Subprotocols: []string{"chat"}, Accept: func(r *http.Request, h http.Header) error {
				h.Set("Set-Cookie", "path="+r.URL.Path)
				return nil
			}}
			type key struct{}
			ctx := context.WithValue(t.Context(), key{}, "value")
			done := goUpgradeConn(ctx, u, nc)
			p := newRawPeer(t, client, serverSide)
			in := append([]byte(sampleRequest), p.frame(opText, "early, and longer than a header of a frame")...)
			for len(in) > 0 {
				k := min(piece, len(in))
				p.send(in[:k])
				in = in[k:]
			}
			got := <-done
			if got.err != nil {
				t.Fatal(got.err)
			}
			wantSameRequest(t, got.r, sampleRequest)
			if got.r.Context().Value(key{}) != "value" || got.r.RemoteAddr != nc.RemoteAddr().String() || (got.r.TLS != nil) != (n.name == "tls") {
				t.Errorf("got context %v, remote address %q, TLS %v", got.r.Context(), got.r.RemoteAddr, got.r.TLS)
			}
			typ, data, err := got.c.Read(t.Context())
			wantRead(t, typ, data, err, "early, and longer than a header of a frame")
			br := bufio.NewReader(client)
			resp, err := http.ReadResponse(br, got.r)
			if err != nil {
				t.Fatal(err)
			}
			if agreed, err := checkResponse(resp, "dGhlIHNhbXBsZSBub25jZQ==", u.Subprotocols, nil); err != nil || agreed.subprotocol != "chat" {
				t.Errorf("got %v, %v", agreed, err)
			}
			if cookie := resp.Header.Get("Set-Cookie"); cookie != "path="+got.r.URL.Path {
				t.Errorf("got the cookie %q", cookie)
			}
			if br.Buffered() > 0 {
				t.Error("there is something behind the response")
			}
			got.c.CloseNow()
			closeNow(client)
		}
	})
}

// wrapped is TCP, of which a type of the user's shows no more than a net.Conn.
var wrapped = network{name: "wrapped", dial: func(t testing.TB, s side) (endpoint, peer net.Conn) {
	endpoint, peer = dialTCP(t, s)
	return struct{ net.Conn }{endpoint}, peer
}}

// Each refusal arrives, also while the client goes on to send.
func TestUpgradeConnRefused(t *testing.T) {
	ask := func(old, new string) string { return strings.Replace(sampleRequest, old, new, 1) }
	for _, test := range []struct {
		name, request string
		u             Upgrader
		status        int
		err           error
		parsed        bool
	}{
		{name: "no request", request: "hello\r\n\r\n", status: 400, err: errRequestLine},
		{name: "TLS", request: "\x16\x03\x01\x00\xa5\x01", status: 400, err: errRequestLine},
		{name: "a header of a megabyte", request: ask("\r\n\r\n", "\r\nX: "+strings.Repeat("a", 1<<20)), status: 431, err: errFieldLineLength},
		{name: "10,000 fields", request: ask("\r\n\r\n", strings.Repeat("\r\nX: a", 10_000)+"\r\n\r\n"), status: 431, err: errRequestHead},
		{name: "POST", request: ask("GET", "POST"), status: 405, err: errMethod, parsed: true},
		{name: "HTTP/2", request: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", status: 405, err: errMethod, parsed: true},
		{name: "a page", request: ask("Upgrade: websocket\r\n", ""), status: 426, err: errUpgrade, parsed: true},
		{name: "body", request: ask("\r\n\r\n", "\r\nContent-Length: 5\r\n\r\nhello"), status: 400, err: errRequestBody, parsed: true},
		{name: "two lengths", request: ask("\r\n\r\n", "\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n"), status: 400, err: errRequestBody, parsed: true},
		{name: "chunked", request: ask("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), status: 400, err: errRequestBody, parsed: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, n := range []network{tcp, tls_, wrapped} {
				if n.name == wrapped.name && len(test.request) < 1<<20 { // it takes a second
					continue
				}
				nc, client := n.dial(t, serverSide)
				done := goUpgradeConn(t.Context(), &test.u, nc)
				sent := async(func() error { _, err := io.WriteString(client, test.request); return err })
				resp, body := readAnswer(t, client)
				if resp.StatusCode != test.status || body != test.err.Error()+"\n" || !resp.Close {
					t.Errorf("over %s: got %s with %q, want status %d with %v", n.name, resp.Status, body, test.status, test.err)
				}
				closeNow(client)
				<-sent
				got := <-done
				if refused, ok := errors.AsType[*HandshakeError](got.err); !ok || refused.Err != test.err || refused.StatusCode != test.status {
					t.Errorf("over %s: got %v, want status %d for %v", n.name, got.err, test.status, test.err)
				}
				if (got.r != nil) != test.parsed {
					t.Errorf("over %s: got the request %v", n.name, got.r)
				}
				wantClosed(t, nc)
			}
		})
	}
}

// What a hook says is sent as net/http would.
func TestUpgradeConnAccept(t *testing.T) {
	for _, test := range []struct {
		name    string
		err     error
		request string
		want    string // the response, without Date
	}{
		{"an error", errors.New("secret"), sampleRequest,
			"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 14\r\nContent-Type: text/plain; charset=utf-8\r\nSet-Cookie: hook\r\nX-Content-Type-Options: nosniff\r\n\r\n403 Forbidden\n"},
		{"a HandshakeError", &HandshakeError{
			StatusCode: 401, Body: []byte("{}"),
			Header: http.Header{
				"www-authenticate": {"Basic", "Digest"}, "Content-Type": {"application/json"}, "Content-Length": {"100"}, "Transfer-Encoding": {"chunked"},
				"X-Split": {"a\r\nSet-Cookie: b"}, "X\r\nY": {"c"}, "Connection": {"X"}, "X": {"d"},
			},
		}, sampleRequest,
			"HTTP/1.1 401 Unauthorized\r\nConnection: X\r\nConnection: close\r\nContent-Length: 2\r\nContent-Type: application/json\r\n" +
				"Set-Cookie: hook\r\nWww-Authenticate: Basic\r\nWww-Authenticate: Digest\r\nX: d\r\nX-Content-Type-Options: nosniff\r\n\r\n{}"},
		{"status without content", &HandshakeError{StatusCode: 204}, sampleRequest,
			"HTTP/1.1 204 No Content\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\nSet-Cookie: hook\r\nX-Content-Type-Options: nosniff\r\n\r\n"},
		{"status without a text", &HandshakeError{StatusCode: 299, Body: []byte("x")}, sampleRequest,
			"HTTP/1.1 299 \r\nConnection: close\r\nContent-Length: 1\r\nContent-Type: text/plain; charset=utf-8\r\nSet-Cookie: hook\r\nX-Content-Type-Options: nosniff\r\n\r\nx"},
		{"HEAD", nil, strings.Replace(sampleRequest, "GET", "HEAD", 1),
			"HTTP/1.1 405 Method Not Allowed\r\nAllow: GET\r\nConnection: close\r\nContent-Length: 61\r\nContent-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n\r\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			nc, client := dialTCP(t, serverSide)
			u := &Upgrader{Accept: func(_ *http.Request, h http.Header) error {
				h.Set("Set-Cookie", "hook")
				return test.err
			}}
			done := goUpgradeConn(t.Context(), u, nc)
			io.WriteString(client, test.request)
			b, err := io.ReadAll(client)
			if err != nil {
				t.Fatal(err)
			}
			client.Close()
			<-done
			before, after, _ := strings.Cut(string(b), "Date: ")
			date, after, _ := strings.Cut(after, "\r\n")
			if _, err := http.ParseTime(date); err != nil {
				t.Errorf("got the date %q", date)
			}
			if got := before + after; got != test.want {
				t.Errorf("got\n%q, want\n%q", got, test.want)
			}
		})
	}
}

// "1 byte/s client cut at the deadline", and told so.
func TestUpgradeConnSlowClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nc, client := testnet.Pipe()
		start := time.Now()
		done := goUpgradeConn(t.Context(), new(Upgrader), nc)
		sent := async(func() (n int) {
			for _, c := range []byte(sampleRequest) {
				if _, err := client.Write([]byte{c}); err != nil {
					break
				}
				n++
				time.Sleep(time.Second)
			}
			return n
		})
		resp, body := readAnswer(t, client)
		if took := time.Since(start); took != defaultHandshakeTimeout {
			t.Errorf("answered after %v", took)
		}
		if resp.StatusCode != http.StatusRequestTimeout || body != errRequestTimeout.Error()+"\n" || !resp.Close {
			t.Errorf("got %s with %q", resp.Status, body)
		}
		if got := <-done; !strings.Contains(got.err.Error(), errRequestTimeout.Error()) || time.Since(start) > defaultHandshakeTimeout+refusalTimeout {
			t.Errorf("got %v after %v", got.err, time.Since(start))
		}
		client.Close()
		if n := <-sent; n < 10 || n > 12 {
			t.Errorf("the client has sent %d bytes", n)
		}
	})
}

// The end of the context closes the connection at once, whatever is waited for.
func TestUpgradeConnContext(t *testing.T) {
	cause := errors.New("shutdown")
	onNetworks(t, func(t *testing.T, n network) {
		for _, sent := range []string{"", "GET / HT", "POST / HTTP/1.1\r\nHost: a\r\n\r\n"} {
			nc, client := n.dial(t, serverSide)
			ctx, cancel := context.WithCancelCause(t.Context())
			done := goUpgradeConn(ctx, new(Upgrader), nc)
			io.WriteString(client, sent)
			time.AfterFunc(10*time.Millisecond, func() { cancel(cause) })
			if got := <-done; got.err != cause && !strings.HasPrefix(sent, "POST") { // which is refused at once
				t.Errorf("after %q: got %v, want %v", sent, got.err, cause)
			}
			wantClosed(t, nc)
			closeNow(client)
		}
	})
}

// A context that ends in a hook, or has ended before, gives no connection.
func TestUpgradeConnContextEndsInAccept(t *testing.T) {
	cause := errors.New("shutdown")
	for _, n := range []network{tcp, tls_} {
		nc, client := n.dial(t, serverSide)
		ctx, cancel := context.WithCancelCause(t.Context())
		u := &Upgrader{Accept: func(*http.Request, http.Header) error { cancel(cause); return nil }}
		done := goUpgradeConn(ctx, u, nc)
		io.WriteString(client, sampleRequest)
		if got := <-done; got.err != cause || got.r == nil {
			t.Errorf("%s: got %v, %v, want %v", n.name, got.r, got.err, cause)
		}
		wantClosed(t, nc)
		closeNow(client)

		nc, client = n.dial(t, serverSide)
		if _, _, err := u.UpgradeConn(ctx, nc); err != cause {
			t.Errorf("%s, ended before: got %v, want %v", n.name, err, cause)
		}
		wantClosed(t, nc)
		closeNow(client)
	}
}

// A hook that panics leaves nothing behind.
func TestUpgradeConnPanic(t *testing.T) {
	nc, client := dialTCP(t, serverSide)
	defer client.Close()
	u := &Upgrader{Accept: func(*http.Request, http.Header) error { panic("hook") }}
	done := async(func() (v any) {
		defer func() { v = recover() }()
		u.UpgradeConn(t.Context(), nc)
		return nil
	})
	io.WriteString(client, sampleRequest)
	if got := <-done; got != "hook" {
		t.Errorf("got %v", got)
	}
	wantClosed(t, nc)
}

// HandshakeTimeout is for all of the handshake: a client that takes its time for the request has
// less for the response.
func TestUpgradeConnTimeoutOfAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nc, client := testnet.Pipe()
		client.SetReadBuffer(10)
		start := time.Now()
		done := goUpgradeConn(t.Context(), new(Upgrader), nc)
		time.Sleep(9 * time.Second)
		io.WriteString(client, sampleRequest)
		if got := <-done; !errors.Is(got.err, os.ErrDeadlineExceeded) || got.r == nil || time.Since(start) != defaultHandshakeTimeout {
			t.Errorf("got %v, %v after %v", got.r, got.err, time.Since(start))
		}
		client.Close()
	})
}

// Who says nothing is told nothing.
func TestUpgradeConnSilentClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nc, client := testnet.Pipe()
		got := <-goUpgradeConn(t.Context(), new(Upgrader), nc)
		if _, refused := errors.AsType[*HandshakeError](got.err); refused || !errors.Is(got.err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v", got.err)
		}
		if b, err := io.ReadAll(client); len(b) > 0 || err != nil {
			t.Errorf("the client got %q, %v", b, err)
		}
		client.Close()
	})
}

// A client that has been refused, and neither reads nor closes, is left after a second.
func TestUpgradeConnRefusedClientStays(t *testing.T) {
	for _, deadlines := range []bool{true, false} {
		for _, room := range []int{10, 1 << 20} {
			synctest.Test(t, func(t *testing.T) {
				nc, client := testnet.Pipe()
				client.SetReadBuffer(room)
				var endpoint net.Conn = nc
				if !deadlines {
					endpoint = noDeadlines{nc}
				}
				start := time.Now()
				done := goUpgradeConn(t.Context(), &Upgrader{HandshakeTimeout: -1}, endpoint)
				io.WriteString(client, "GET /\r\n")
				got := <-done
				if refused, ok := errors.AsType[*HandshakeError](got.err); !ok || refused.Err != errRequestLine {
					t.Errorf("got %v", got.err)
				}
				if time.Since(start) != refusalTimeout {
					t.Errorf("took %v, want %v", time.Since(start), refusalTimeout)
				}
				client.Close()
			})
		}
	}
}

// So is one that goes on to send, or a net.Conn that returns nothing again and again.
func TestUpgradeConnRefusedClientSends(t *testing.T) {
	for _, piece := range []int{1000, 0} {
		nc := &endlessConn{piece: piece}
		nc.in.Reset("GET /\r\n")
		_, _, err := new(Upgrader).UpgradeConn(t.Context(), nc)
		if refused, ok := errors.AsType[*HandshakeError](err); !ok || refused.Err != errRequestLine {
			t.Errorf("got %v", err)
		}
		if nc.more > refusalExcess+piece || nc.more < refusalExcess && piece > 0 {
			t.Errorf("%d bytes were read, want about %d", nc.more, refusalExcess)
		}
	}
}

// An endlessConn has a request to be read, and then pieces without end.
type endlessConn struct {
	tapeConn
	piece, more int
}

func (c *endlessConn) Read(p []byte) (int, error) {
	if c.in.Len() > 0 {
		return c.in.Read(p)
	}
	n := min(len(p), c.piece)
	c.more += n
	return n, nil
}

// A request that is longer than the buffer is read all the same.
func TestUpgradeConnLongRequest(t *testing.T) {
	long := strings.Replace(sampleRequest, "\r\n\r\n", strings.Repeat("\r\nX: "+strings.Repeat("a", 1000), 50)+"\r\n\r\n", 1)
	var nc tapeConn
	nc.in.Reset(long)
	c, r, err := new(Upgrader).UpgradeConn(t.Context(), &nc)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	wantSameRequest(t, r, long)
}

// The deadlines of the handshake are none of the connection's, nor is the context.
func TestUpgradeConnLeavesNoDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nc, client := testnet.Pipe()
		ctx, cancel := context.WithCancel(t.Context())
		done := goUpgradeConn(ctx, &Upgrader{PingInterval: -1}, nc)
		p := newRawPeer(t, client, serverSide)
		p.send([]byte(sampleRequest))
		got := <-done
		if got.err != nil {
			t.Fatal(got.err)
		}
		cancel()
		time.Sleep(time.Hour)
		p.send(p.frame(opText, "late"))
		typ, data, err := got.c.Read(t.Context())
		wantRead(t, typ, data, err, "late")
		got.c.CloseNow()
		client.Close()
	})
}

// What is no answer to give is an error that names the network's.
func TestUpgradeConnBrokenOff(t *testing.T) {
	for _, test := range []struct {
		sent string
		want error
	}{{"", io.EOF}, {"GET / HTTP/1.1\r\n", io.ErrUnexpectedEOF}} {
		nc, client := dialTCP(t, serverSide)
		done := goUpgradeConn(t.Context(), new(Upgrader), nc)
		io.WriteString(client, test.sent)
		client.Close()
		if got := <-done; !errors.Is(got.err, test.want) || got.r != nil || test.want == io.EOF && errors.Is(got.err, io.ErrUnexpectedEOF) {
			t.Errorf("after %q: got %v, %v, want %v", test.sent, got.r, got.err, test.want)
		}
	}
	nc, client := dialTLS(t, serverSide)
	raw, rawClient := nc.(*tls.Conn).NetConn(), client.(*tls.Conn).NetConn()
	done := goUpgradeConn(t.Context(), new(Upgrader), tls.Server(raw, &tls.Config{}))
	io.WriteString(rawClient, sampleRequest)
	rawClient.(*net.TCPConn).CloseWrite()
	if got := <-done; got.err == nil || got.r != nil {
		t.Errorf("without TLS: got %v, %v", got.r, got.err)
	}
	rawClient.Close()
}

// A net.Conn without deadlines is closed when the time is up.
func TestUpgradeConnWithoutDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, client := testnet.Pipe()
		nc := noDeadlines{a}
		start := time.Now()
		got := <-goUpgradeConn(t.Context(), new(Upgrader), nc)
		if !errors.Is(got.err, context.DeadlineExceeded) || time.Since(start) != defaultHandshakeTimeout {
			t.Errorf("got %v after %v", got.err, time.Since(start))
		}
		if _, err := client.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("the connection is not closed: %v", err)
		}
		client.Close()
	})
}

type noDeadlines struct{ net.Conn }

func (noDeadlines) SetDeadline(time.Time) error      { return os.ErrNoDeadline }
func (noDeadlines) SetReadDeadline(time.Time) error  { return os.ErrNoDeadline }
func (noDeadlines) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }

func TestAddressString(t *testing.T) {
	for _, a := range []net.Addr{
		&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80},
		&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1).To4(), Port: 65535},
		&net.TCPAddr{IP: net.IPv6loopback, Port: 1},
		&net.TCPAddr{IP: net.ParseIP("fe80::1"), Port: 80, Zone: "eth0"},
		&net.TCPAddr{Port: 80},
		(*net.TCPAddr)(nil),
		&net.UnixAddr{Net: "unix", Name: "@"},
	} {
		if got, want := addressString(a), a.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := addressString(nil); got != "" {
		t.Errorf("for none got %q", got)
	}
}

// A request of 12 fields costs at most 12 allocations, with those of the connection. Over TCP
// one of them is for the syscall.RawConn.
func TestUpgradeConnAllocs(t *testing.T) {
	if raceEnabled() {
		t.Skip("the race detector has pools forget things")
	}
	request := strings.Replace(sampleRequest, "Sec-WebSocket-Protocol: chat, superchat", "User-Agent: Mozilla/5.0\r\nAccept-Encoding: gzip\r\n"+
		"Accept-Language: en\r\nCache-Control: no-cache\r\nPragma: no-cache\r\nDNT: 1\r\nCookie: a=b", 1)
	if fields := strings.Count(request, "\r\n") - 2; fields != 12 {
		t.Fatalf("the request has %d fields", fields)
	}
	var nc tapeConn
	u := new(Upgrader)
	allocs := testing.AllocsPerRun(1000, func() {
		nc.in.Reset(request)
		c, _, err := u.UpgradeConn(context.Background(), &nc)
		if err != nil {
			t.Fatal(err)
		}
		stopTimer(c.ticker) // but not CloseNow, which makes an error
	})
	if allocs > 13 { // one is the hook of the tests
		t.Errorf("got %v allocations, want at most 13", allocs)
	}
}

// A tapeConn has something to be read.
type tapeConn struct {
	net.Conn
	in strings.Reader
}

func (c *tapeConn) Read(p []byte) (int, error)       { return c.in.Read(p) }
func (c *tapeConn) Write(p []byte) (int, error)      { return len(p), nil }
func (c *tapeConn) Close() error                     { return nil }
func (c *tapeConn) RemoteAddr() net.Addr             { return tapeAddr }
func (c *tapeConn) SetDeadline(time.Time) error      { return nil }
func (c *tapeConn) SetReadDeadline(time.Time) error  { return nil }
func (c *tapeConn) SetWriteDeadline(time.Time) error { return nil }

var tapeAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80}
