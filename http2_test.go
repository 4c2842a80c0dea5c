//lint:file-ignore SA1019 the transport of net/http takes no :protocol

package websocket

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	_ "github.com/tidewire/websocket/http2"
)

// An http2Server is a server that also knows HTTP/2, and a client for it.
type http2Server struct {
	*httptest.Server
	transport *http2.Transport
}

// startHTTP2 starts a server over TLS, or without.
func startHTTP2(t testing.TB, secure bool, h http.Handler, change ...func(*http.Server)) *http2Server {
	t.Helper()
	s := &http2Server{Server: httptest.NewUnstartedServer(h)}
	for _, f := range change {
		f(s.Config)
	}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	if secure {
		s.EnableHTTP2 = true
		s.StartTLS()
		s.transport = &http2.Transport{TLSClientConfig: s.Client().Transport.(*http.Transport).TLSClientConfig.Clone()}
	} else {
		s.Config.Protocols = new(http.Protocols)
		s.Config.Protocols.SetHTTP1(true)
		s.Config.Protocols.SetUnencryptedHTTP2(true)
		s.Start()
		s.transport = &http2.Transport{AllowHTTP: true, DialTLSContext: func(ctx context.Context, network, address string, _ *tls.Config) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		}}
	}
	t.Cleanup(func() {
		s.transport.CloseIdleConnections()
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

// dialer returns a Dialer that uses HTTP/2, and nothing else.
func (s *http2Server) dialer(t testing.TB) *Dialer {
	return &Dialer{
		HTTP2: s.transport,
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			return nil, errors.New("HTTP/1.1 was tried")
		},
	}
}

func onHTTP2(t *testing.T, test func(t *testing.T, secure bool)) {
	t.Run("h2", func(t *testing.T) { test(t, true) })
	t.Run("h2c", func(t *testing.T) { test(t, false) })
}

// echoHandler echoes, by Handler and by Upgrade.
func echoHandler(u *Upgrader) http.Handler {
	echo := func(ctx context.Context, c *Conn) {
		for m, err := range c.Messages(ctx) {
			if err != nil || c.Write(ctx, m.Type, m.Data) != nil {
				return
			}
		}
	}
	mux := http.NewServeMux()
	mux.Handle("/handler", u.Handler(func(http.ResponseWriter, *http.Request) (func(context.Context, *Conn), error) { return echo, nil }))
	mux.HandleFunc("/upgrade", func(w http.ResponseWriter, r *http.Request) {
		c, err := u.Upgrade(w, r)
		if err != nil {
			return
		}
		defer c.CloseNow()
		echo(context.Background(), c)
	})
	return mux
}

// Messages of all lengths, compressed or not, and all else that a connection does.
func TestHTTP2(t *testing.T) {
	onHTTP2(t, func(t *testing.T, secure bool) {
		for _, z := range []*Compression{nil, {Threshold: -1}} {
			u := &Upgrader{Compression: z, Subprotocols: []string{"chat"}}
			s := startHTTP2(t, secure, echoHandler(u))
			for _, path := range []string{"/handler", "/upgrade"} {
				d := s.dialer(t)
				d.Compression, d.Subprotocols = z, []string{"other", "chat"}
				c, resp, err := d.Dial(t.Context(), s.URL+path)
				if err != nil {
					t.Fatal(err)
				}
				if resp.ProtoMajor != 2 || c.Subprotocol() != "chat" || (c.compression == nil) != (z == nil) {
					t.Errorf("got %s, %q, compression %v", resp.Proto, c.Subprotocol(), c.compression)
				}
				if c.RemoteAddr().String() != s.Listener.Addr().String() || c.LocalAddr() == nil {
					t.Errorf("got the addresses %v, %v", c.LocalAddr(), c.RemoteAddr())
				}
				for _, n := range []int{0, 1, 125, 126, 65535, 65536, 1 << 20} {
					want := bytes.Repeat([]byte("ab"), n/2+1)[:n]
					if err := c.Write(t.Context(), MessageBinary, want); err != nil {
						t.Fatal(err)
					}
					typ, got, err := c.Read(t.Context())
					if typ != MessageBinary || !bytes.Equal(got, want) || err != nil {
						t.Fatalf("got %v of %d bytes, %v, want %d", typ, len(got), err, n)
					}
				}
				if err := c.Close(StatusNormalClosure, "bye"); err != nil {
					t.Errorf("Close: %v", err)
				}
			}
		}
	})
}

// Connections are streams of one connection.
func TestHTTP2Streams(t *testing.T) {
	onHTTP2(t, func(t *testing.T, secure bool) {
		s := startHTTP2(t, secure, echoHandler(new(Upgrader)))
		d := s.dialer(t)
		locals := make(map[string]bool)
		var conns []*Conn
		for range 50 {
			c, _, err := d.Dial(t.Context(), s.URL+"/handler")
			if err != nil {
				t.Fatal(err)
			}
			locals[c.LocalAddr().String()] = true
			conns = append(conns, c)
		}
		if len(locals) != 1 {
			t.Errorf("got %d network connections, want one", len(locals))
		}
		var all sync.WaitGroup
		for i, c := range conns {
			all.Go(func() {
				for k := range 20 {
					want := fmt.Sprintf("message %d of %d, %s", k, i, strings.Repeat("x", 1000))
					if err := c.Write(t.Context(), MessageText, []byte(want)); err != nil {
						t.Error(err)
						return
					}
					if _, got, err := c.Read(t.Context()); string(got) != want || err != nil {
						t.Errorf("got %.40q, %v, want %.40q", got, err, want)
						return
					}
				}
				if err := c.Close(StatusGoingAway, ""); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	})
}

// A read that is cut short loses nothing, and Pings are answered.
func TestHTTP2Context(t *testing.T) {
	onHTTP2(t, func(t *testing.T, secure bool) {
		s := startHTTP2(t, secure, echoHandler(new(Upgrader)))
		c, _, err := s.dialer(t).Dial(t.Context(), s.URL+"/handler")
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			if _, _, err := c.Read(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("got %v", err)
			}
			cancel()
			c.Write(t.Context(), MessageText, []byte("hello"))
			typ, data, err := c.Read(t.Context())
			wantRead(t, typ, data, err, "hello")
		}
		ended := c.CloseRead(t.Context())
		if rtt, err := c.Ping(ended); rtt <= 0 || err != nil {
			t.Errorf("Ping: %v, %v", rtt, err)
		}
	})
}

// Each end says why it closes, or does not.
func TestHTTP2Close(t *testing.T) {
	onHTTP2(t, func(t *testing.T, secure bool) {
		ends := make(chan error, 1)
		u := new(Upgrader)
		s := startHTTP2(t, secure, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, err := u.Upgrade(w, r)
			if err != nil {
				return
			}
			switch r.URL.Path {
			case "/close":
				c.Close(StatusInternalError, "sorry")
			case "/closenow":
				c.CloseNow()
			case "/panic":
				c.CloseNow()
				panic(http.ErrAbortHandler)
			}
			_, _, err = c.Read(context.Background())
			ends <- err
			c.CloseNow()
		}))
		for path, want := range map[string]StatusCode{"/close": StatusInternalError, "/closenow": StatusAbnormalClosure, "/panic": StatusAbnormalClosure} {
			c, _, err := s.dialer(t).Dial(t.Context(), s.URL+path)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := c.Read(t.Context()); CloseStatus(err) != want {
				t.Errorf("%s: got %v, want %d", path, err, want)
			}
			c.CloseNow()
			if path != "/panic" {
				<-ends
			}
		}
		c, _, err := s.dialer(t).Dial(t.Context(), s.URL)
		if err != nil {
			t.Fatal(err)
		}
		c.CloseNow()
		if err := <-ends; CloseStatus(err) != StatusAbnormalClosure {
			t.Errorf("after CloseNow of the client the server got %v", err)
		}
	})
}

// The time limits of the http.Server are for requests, not for what they become.
func TestHTTP2ServerTimeouts(t *testing.T) {
	onHTTP2(t, func(t *testing.T, secure bool) {
		const limit = time.Second // which a slow machine needs for the request
		s := startHTTP2(t, secure, echoHandler(new(Upgrader)), func(s *http.Server) { s.ReadTimeout, s.WriteTimeout = limit, limit })
		c, _, err := s.dialer(t).Dial(t.Context(), s.URL+"/upgrade")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(limit * 3 / 2)
		wantEcho(t, c)
	})
}

// A handler that returns has ended the connection, for everybody, also in the middle of a message.
func TestHTTP2HandlerReturns(t *testing.T) {
	onHTTP2(t, func(t *testing.T, secure bool) {
		upgraded := make(chan *Conn, 1)
		s := startHTTP2(t, secure, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, err := new(Upgrader).Upgrade(w, r)
			if err != nil {
				return
			}
			mw, err := c.NextWriter(context.Background(), MessageText)
			if err == nil {
				mw.Write(make([]byte, 2*fragmentLength))
			}
			upgraded <- c
		}))
		c, _, err := s.dialer(t).Dial(t.Context(), s.URL)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.Read(t.Context()); CloseStatus(err) != StatusAbnormalClosure {
			t.Errorf("the client got %v", err)
		}
		server := <-upgraded
		if _, _, err := server.Read(t.Context()); CloseStatus(err) != StatusAbnormalClosure {
			t.Errorf("the server got %v", err)
		}
		server.CloseNow()
		c.CloseNow()
	})
}

// A handler must not return while others write, but if it does, that is an error and no more.
func TestHTTP2HandlerReturnsEarly(t *testing.T) {
	if raceEnabled() {
		t.Skip("it is a data race, with net/http")
	}
	ends := make(chan error, 1)
	s := startHTTP2(t, true, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := new(Upgrader).Upgrade(w, r)
		if err != nil {
			return
		}
		go func() {
			defer c.CloseNow()
			var err error
			for err == nil {
				err = c.Write(context.Background(), MessageText, []byte("more"))
			}
			ends <- err
		}()
	}))
	for range 3 { // each write that fails waits for a second for what the peer may have to say
		c, _, err := s.dialer(t).Dial(t.Context(), s.URL)
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, _, err = c.Read(t.Context())
		}
		if err := <-ends; CloseStatus(err) != StatusAbnormalClosure {
			t.Errorf("the server got %v", err)
		}
		c.CloseNow()
	}
}

// A transformingWriter changes what is written.
type transformingWriter struct{ http.ResponseWriter }

func (w transformingWriter) Write(p []byte) (int, error) {
	return w.ResponseWriter.Write(bytes.ToUpper(p))
}

type unwrappingWriter struct{ transformingWriter }

func (w unwrappingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Frames go past a wrapper, as they do over HTTP/1.1; one that does not let them is a fault of the
// program.
func TestHTTP2Wrapped(t *testing.T) {
	onHTTP2(t, func(t *testing.T, secure bool) {
		echo := echoHandler(new(Upgrader))
		s := startHTTP2(t, secure, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			inner := transformingWriter{w}
			if r.URL.Path == "/handler" {
				w = unwrappingWriter{inner}
			} else {
				w = inner
			}
			echo.ServeHTTP(w, r)
		}))
		c, _, err := s.dialer(t).Dial(t.Context(), s.URL+"/handler")
		if err != nil {
			t.Fatal(err)
		}
		wantEcho(t, c)
		_, _, err = s.dialer(t).Dial(t.Context(), s.URL+"/upgrade")
		if refused, ok := errors.AsType[*HandshakeError](err); !ok || refused.StatusCode != http.StatusInternalServerError {
			t.Errorf("got %v", err)
		}
	})
}

// What was received before the client has gone is read.
func TestHTTP2ReceivedBeforeEnd(t *testing.T) {
	onHTTP2(t, func(t *testing.T, secure bool) {
		read := make(chan string, 1)
		s := startHTTP2(t, secure, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, err := new(Upgrader).Upgrade(w, r)
			if err != nil {
				return
			}
			defer c.CloseNow()
			<-r.Context().Done() // the client has gone
			_, data, err := c.Read(context.Background())
			read <- fmt.Sprint(string(data), err)
		}))
		c, _, err := s.dialer(t).Dial(t.Context(), s.URL)
		if err != nil {
			t.Fatal(err)
		}
		c.Write(t.Context(), MessageText, []byte("last words"))
		time.Sleep(50 * time.Millisecond) // for the transport, which has them, to send them
		c.CloseNow()
		if got := <-read; got != "last words<nil>" {
			t.Errorf("got %q", got)
		}
	})
}

// A connection that the server has failed is over at once, for both.
func TestHTTP2Failed(t *testing.T) {
	onHTTP2(t, func(t *testing.T, secure bool) {
		returned := make(chan struct{})
		h := echoHandler(&Upgrader{ReadLimit: 10, CloseTimeout: time.Hour})
		s := startHTTP2(t, secure, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.ServeHTTP(w, r)
			close(returned)
		}))
		c, _, err := s.dialer(t).Dial(t.Context(), s.URL+"/upgrade")
		if err != nil {
			t.Fatal(err)
		}
		c.Write(t.Context(), MessageText, make([]byte, 11))
		if _, _, err := c.Read(t.Context()); CloseStatus(err) != StatusMessageTooBig {
			t.Errorf("got %v", err)
		}
		select {
		case <-returned:
		case <-time.After(10 * time.Second):
			t.Error("the handler waits")
		}
		c.CloseNow()
	})
}

// What is sent is what a Dialer sends over HTTP/1.1, and cookies of a refusal are kept as well.
func TestHTTP2Request(t *testing.T) {
	var got http.Header
	s := startHTTP2(t, true, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Clone()
		http.SetCookie(w, &http.Cookie{Name: "a", Value: "b"})
		w.WriteHeader(http.StatusUnauthorized)
	}))
	d := s.dialer(t)
	jar, _ := cookiejar.New(nil)
	d.Jar = jar
	_, resp, err := d.Dial(t.Context(), s.URL)
	if err == nil || resp == nil || len(jar.Cookies(resp.Request.URL)) != 1 {
		t.Errorf("got %v, %v, and the cookies %v", resp, err, jar)
	}
	for name := range got {
		switch name {
		case ":protocol", "Sec-Websocket-Version", "Accept-Encoding":
		default:
			t.Errorf("got %s: %q", name, got[name])
		}
	}
	if got.Get("Accept-Encoding") != "identity" {
		t.Errorf("got Accept-Encoding %q", got.Get("Accept-Encoding"))
	}
}

// A peer that does not read is given up after WriteTimeout.
func TestHTTP2WriteTimeout(t *testing.T) {
	onHTTP2(t, func(t *testing.T, secure bool) {
		ends := make(chan error, 1)
		u := &Upgrader{WriteTimeout: 50 * time.Millisecond}
		handler := u.Handler(func(http.ResponseWriter, *http.Request) (func(context.Context, *Conn), error) {
			return func(ctx context.Context, c *Conn) {
				var err error
				for err == nil {
					err = c.Write(ctx, MessageBinary, make([]byte, 1<<20))
				}
				ends <- err
			}, nil
		})
		s := startHTTP2(t, secure, handler)
		c, _, err := s.dialer(t).Dial(t.Context(), s.URL)
		if err != nil {
			t.Fatal(err)
		}
		defer c.CloseNow()
		if err := <-ends; CloseStatus(err) != StatusAbnormalClosure {
			t.Errorf("got %v", err)
		}
	})
}

// A refusal has the same answer as over HTTP/1.1, but for what a stream has not.
func TestHTTP2Refused(t *testing.T) {
	onHTTP2(t, func(t *testing.T, secure bool) {
		u := &Upgrader{Subprotocols: []string{"chat"}, Accept: func(r *http.Request, h http.Header) error {
			h.Set("Set-Cookie", "a=b")
			if r.URL.Path == "/accept" {
				return &HandshakeError{StatusCode: 401, Body: []byte("who are you?")}
			}
			return nil
		}}
		s := startHTTP2(t, secure, echoHandler(u))
		s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if c, err := u.Upgrade(w, r); err == nil {
				defer c.CloseNow()
				c.Read(context.Background())
			}
		})
		for _, test := range []struct {
			path   string
			header http.Header
			status int
			body   string
		}{
			{"/accept", nil, 401, "who are you?"},
			{"/", http.Header{"Origin": {"https://evil.example"}}, 403, "the origin"},
		} {
			d := s.dialer(t)
			d.Header = test.header
			_, resp, err := d.Dial(t.Context(), s.URL+test.path)
			refused, ok := errors.AsType[*HandshakeError](err)
			if !ok || refused.StatusCode != test.status || !strings.HasPrefix(string(refused.Body), test.body) {
				t.Errorf("%s: got %v", test.path, err)
				continue
			}
			if resp.StatusCode != test.status || resp.Header.Get("Connection") != "" {
				t.Errorf("%s: got %v", test.path, resp)
			}
		}
		// Straight through the transport, with what a Dialer does not send.
		for _, test := range []struct {
			name, field, value string
			status             int
		}{
			{"version", "Sec-Websocket-Version", "12", 400},
			{"extensions", "Sec-Websocket-Extensions", "a;;", 400},
			{"subprotocols", "Sec-Websocket-Protocol", "chat, chat", 400},
			{"protocol", ":protocol", "other", 501},
			{"no protocol", "X", "", 405},
		} {
			req, err := new(Dialer).newRequest(s.URL)
			if err != nil {
				t.Fatal(err)
			}
			body, w := io.Pipe()
			r := extendedConnect(req, body)
			r.Header[test.field] = []string{test.value}
			if test.name == "no protocol" {
				delete(r.Header, ":protocol")
			}
			resp, err := s.transport.RoundTrip(r.WithContext(t.Context()))
			if err != nil {
				t.Errorf("%s: %v", test.name, err)
				continue
			}
			if resp.StatusCode != test.status || resp.Header.Get("Connection") != "" {
				t.Errorf("%s: got %v, want %d", test.name, resp, test.status)
			}
			w.Close()
			resp.Body.Close()
		}
		// The connection that all of this was on is still good.
		jar, _ := cookiejar.New(nil)
		d := s.dialer(t)
		d.Jar = jar
		c, resp, err := d.Dial(t.Context(), s.URL)
		if err != nil {
			t.Fatal(err)
		}
		c.CloseNow()
		if cookies := jar.Cookies(resp.Request.URL); len(cookies) != 1 {
			t.Errorf("got the cookies %v", cookies)
		}
	})
}

// What the server chooses is checked as over HTTP/1.1.
func TestHTTP2Response(t *testing.T) {
	s := startHTTP2(t, true, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Sec-WebSocket-Protocol", "uninvited")
	}))
	if _, _, err := s.dialer(t).Dial(t.Context(), s.URL); !errors.Is(err, errSubprotocol) {
		t.Errorf("got %v, want %v", err, errSubprotocol)
	}
}

// The end of the context, or the HandshakeTimeout, ends a wait for the response.
func TestHTTP2DialContext(t *testing.T) {
	release := make(chan struct{})
	s := startHTTP2(t, true, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer close(release)
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("enough")
	time.AfterFunc(10*time.Millisecond, func() { cancel(cause) })
	if _, _, err := s.dialer(t).Dial(ctx, s.URL); err != cause {
		t.Errorf("got %v, want %v", err, cause)
	}
	d := s.dialer(t)
	d.HandshakeTimeout = 10 * time.Millisecond
	if _, _, err := d.Dial(t.Context(), s.URL); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// Where there is no HTTP/2, or no extended CONNECT, HTTP/1.1 will do.
func TestHTTP2Fallback(t *testing.T) {
	s := startEcho(t, true)
	_, client := tlsConfigs()
	d := &Dialer{TLSConfig: client, HTTP2: &http2.Transport{TLSClientConfig: client.Clone()}}
	c, resp, err := d.Dial(t.Context(), s.URL)
	if err != nil {
		t.Fatal(err)
	}
	if resp.ProtoMajor != 1 {
		t.Errorf("got %s", resp.Proto)
	}
	wantEcho(t, c)

	// A server that has HTTP/2, whose settings say nothing of extended CONNECT.
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	serverConfig, _ := tlsConfigs()
	serverConfig = serverConfig.Clone()
	serverConfig.NextProtos = []string{"h2", "http/1.1"}
	served := async(func() (protocols []string) {
		for range 2 {
			nc, err := ln.Accept()
			if err != nil {
				return append(protocols, err.Error())
			}
			tc := tls.Server(nc, serverConfig)
			tc.Handshake()
			protocols = append(protocols, tc.ConnectionState().NegotiatedProtocol)
			if protocols[len(protocols)-1] == "h2" {
				framer := http2.NewFramer(tc, tc)
				framer.WriteSettings()
				go func() { io.Copy(io.Discard, tc); tc.Close() }()
				continue
			}
			tc.Close()
		}
		return protocols
	})
	_, _, err = d.Dial(t.Context(), "wss://"+ln.Addr().String())
	if got := fmt.Sprint(<-served); got != "[h2 http/1.1]" {
		t.Errorf("the server negotiated %v", got)
	}
	if err == nil || !strings.Contains(err.Error(), "over HTTP/2: ") || !strings.Contains(err.Error(), "extended connect") {
		t.Errorf("got %v, want what both ways had to say", err)
	}
	d.HTTP2.(*http2.Transport).CloseIdleConnections()
}

// net/http has a transport that can do it, too. It is the one that it uses itself, and got by way
// of TLSNextProto: that is no use that is documented, so here is what tells if it goes.
func TestHTTP2StandardLibrary(t *testing.T) {
	s := startHTTP2(t, true, echoHandler(new(Upgrader)))
	config := s.transport.TLSClientConfig.Clone()
	config.NextProtos = []string{"h2"}
	tr := &http.Transport{ForceAttemptHTTP2: true}
	tr.CloseIdleConnections() // which sets TLSNextProto
	upgrade := tr.TLSNextProto["h2"]
	if upgrade == nil {
		t.Fatal("http.Transport has no TLSNextProto for h2")
	}
	address := s.Listener.Addr().String()
	tc, err := tls.Dial("tcp", address, config)
	if err != nil {
		t.Fatal(err)
	}
	defer tc.Close()
	d := s.dialer(t)
	d.HTTP2 = upgrade(address, tc)
	c, resp, err := d.Dial(t.Context(), s.URL+"/handler")
	if err != nil {
		t.Fatal(err)
	}
	if resp.ProtoMajor != 2 {
		t.Errorf("got %s", resp.Proto)
	}
	wantEcho(t, c)
}
