package websocket

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidewire/websocket/internal/testnet"
)

// The tests of Conn have a Conn at one end of a network connection, and at the
// other a rawPeer, which sends and receives frames one by one and may
// break every rule.

// A network makes connections.
type network struct {
	name string
	dial func(t testing.TB, s side) (endpoint, peer net.Conn)

	// bubble: in memory, for tests in a bubble of package synctest, where
	// the clock stands still while anybody has something to do.
	bubble bool
}

var (
	pipe = network{name: "pipe", dial: dialPipe, bubble: true}
	tcp  = network{name: "tcp", dial: dialTCP}
	tls_ = network{name: "tls", dial: dialTLS}
)

// onNetworks runs test over a pipe, in a bubble, and over TCP and TLS.
func onNetworks(t *testing.T, test func(t *testing.T, n network)) {
	t.Run("pipe", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { test(t, pipe) })
	})
	for _, n := range []network{tcp, tls_} {
		t.Run(n.name, func(t *testing.T) { test(t, n) })
	}
}

func dialPipe(testing.TB, side) (endpoint, peer net.Conn) { return testnet.Pipe() }

func dialTCP(t testing.TB, _ side) (endpoint, peer net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return dialListener(t, ln)
}

// dialListener returns the two ends of a connection to ln.
func dialListener(t testing.TB, ln net.Listener) (accepted, dialed net.Conn) {
	t.Helper()
	dialed, err := net.Dial(ln.Addr().Network(), ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err = ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return accepted, dialed
}

func dialTLS(t testing.TB, s side) (endpoint, peer net.Conn) {
	t.Helper()
	endpoint, peer = dialTCP(t, s)
	return secure(t, endpoint, peer, s)
}

// secure returns a TLS connection over the one between endpoint, which is of the given side, and peer.
func secure(t testing.TB, endpoint, peer net.Conn, s side) (_, _ *tls.Conn) {
	t.Helper()
	serverConfig, clientConfig := tlsConfigs()
	server, client := endpoint, peer
	if s == clientSide {
		server, client = client, server
	}
	tlsServer, tlsClient := tls.Server(server, serverConfig), tls.Client(client, clientConfig)
	handshake := async(tlsServer.Handshake)
	if err := errors.Join(tlsClient.Handshake(), <-handshake); err != nil {
		t.Fatal(err)
	}
	if s == clientSide {
		return tlsClient, tlsServer
	}
	return tlsServer, tlsClient
}

// tlsConfigs returns the configurations of a server and
// of a client that trusts it.
var tlsConfigs = sync.OnceValues(func() (server, client *tls.Config) {
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	client = s.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	client.ServerName = "example.com"
	return s.TLS, client
})

// testConfig returns the default configuration without keepalive, and with limits
// of time that are right for a test: none is to be reached by chance.
func testConfig(s side) connConfig {
	cfg := connDefaults(0, -1, 0, 0, 0)
	cfg.side = s
	return cfg
}

// connect returns an endpoint of a new connection, and its peer. Both
// are closed when the test ends.
func (n network) connect(t testing.TB, cfg connConfig) (*Conn, *rawPeer) {
	t.Helper()
	endpoint, peer := n.dial(t, cfg.side)
	return connectOver(t, endpoint, peer, cfg)
}

// connectOver is like connect, over a given network connection.
func connectOver(t testing.TB, endpoint, peer net.Conn, cfg connConfig) (*Conn, *rawPeer) {
	c := newConn(endpoint, nil, cfg)
	t.Cleanup(func() {
		c.CloseNow()
		closeNow(peer)
	})
	return c, newRawPeer(t, peer, cfg.side)
}

// connectBoth returns the two endpoints of a new connection.
func (n network) connectBoth(t testing.TB, cfg connConfig) (server, client *Conn) {
	t.Helper()
	a, b := n.dial(t, serverSide)
	cfg.side = serverSide
	server = newConn(a, nil, cfg)
	cfg.side = clientSide
	client = newConn(b, nil, cfg)
	t.Cleanup(func() {
		server.CloseNow()
		client.CloseNow()
	})
	return server, client
}

// await waits until ready. In a bubble, that is as soon as
// nobody has anything to do.
func (n network) await(t testing.TB, what string, ready func() bool) {
	t.Helper()
	if n.bubble {
		if synctest.Wait(); !ready() {
			t.Fatalf("not %s", what)
		}
		return
	}
	for start := time.Now(); !ready(); time.Sleep(100 * time.Microsecond) {
		if time.Since(start) > patienceOfPeers {
			t.Fatalf("not %s", what)
		}
	}
}

// awaitReader waits until a read of c waits on the socket.
func (n network) awaitReader(t testing.TB, c *Conn) {
	t.Helper()
	n.await(t, "reading", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.waiting.Load()
	})
}

// took checks that something took d since start: exactly that in a
// bubble, and elsewhere not so much more that it was another limit.
func (n network) took(t testing.TB, start time.Time, d time.Duration) {
	t.Helper()
	got := time.Since(start)
	if n.bubble && got != d || got < d-time.Millisecond || got > d+3*time.Second {
		t.Errorf("took %v, want %v", got, d)
	}
}

// jamLength is more than lies between two endpoints.
const jamLength = 8 << 20

// jam fills everything between c and a peer that does not read, so that a Write of
// c's is stuck. It returns what that Write returns.
func (n network) jam(t testing.TB, c *Conn, p *rawPeer) <-chan error {
	t.Helper()
	stuck := async(func() error { return c.Write(context.Background(), MessageBinary, make([]byte, jamLength)) })
	if _, err := p.frames.Peek(1); err != nil {
		t.Fatal(err)
	}
	if n.bubble {
		synctest.Wait()
	}
	return stuck
}

// patienceOfPeers is how long a peer, or a test, waits for
// what must come.
const patienceOfPeers = 20 * time.Second

// A rawPeer is the peer of an endpoint under test. It must
// be used by the goroutine of the test.
type rawPeer struct {
	net.Conn
	t      testing.TB
	side   side          // of the peer
	frames *bufio.Reader // from the endpoint
}

func newRawPeer(t testing.TB, nc net.Conn, endpoint side) *rawPeer {
	p := &rawPeer{Conn: nc, t: t, side: serverSide, frames: bufio.NewReaderSize(nc, 16)}
	if endpoint == serverSide {
		p.side = clientSide
	}
	return p
}

// frame returns a frame as the peer sends it.
func (p *rawPeer) frame(op opcode, payload string) []byte { return p.encode(op, true, payload) }

// fragment returns a frame that is not the last of its message.
func (p *rawPeer) fragment(op opcode, payload string) []byte { return p.encode(op, false, payload) }

func (p *rawPeer) encode(op opcode, fin bool, payload string) []byte {
	h := header{fin: fin, opcode: op, payloadLength: uint64(len(payload))}
	if p.side == clientSide {
		h.masked, h.maskingKey = true, 0x4D3C2B1A
	}
	b := appendHeader(nil, h)
	n := len(b)
	b = append(b, payload...)
	mask(b[n:], h.maskingKey)
	return b
}

// closeFrame returns a Close frame.
func (p *rawPeer) closeFrame(code StatusCode, reason string) []byte {
	return p.frame(opClose, string(appendClose(nil, code, reason)))
}

// send writes frames in one write.
func (p *rawPeer) send(frames ...[]byte) {
	p.t.Helper()
	var b []byte
	for _, f := range frames {
		b = append(b, f...)
	}
	if _, err := p.Write(b); err != nil {
		p.t.Fatalf("the peer can't write: %v", err)
	}
}

// next returns the next frame from the endpoint.
func (p *rawPeer) next() testnet.Frame {
	p.t.Helper()
	p.SetReadDeadline(time.Now().Add(patienceOfPeers))
	defer p.SetReadDeadline(time.Time{})
	f, err := testnet.ReadFrame(p.frames)
	if err != nil {
		p.t.Fatalf("the peer gets no frame: %v", err)
	}
	if f.Masked == (p.side == clientSide) {
		p.t.Fatalf("the peer gets frame %v with masked %v", f, f.Masked)
	}
	return f
}

// want checks that the next frame is this one, and whole.
func (p *rawPeer) want(op opcode, payload string) {
	p.t.Helper()
	if f := p.next(); opcode(f.Opcode) != op || !f.Fin || string(f.Payload) != payload {
		p.t.Fatalf("the peer gets frame %v, want opcode %x and %.80q", f, op, payload)
	}
}

// wantClose checks that the next frame is a Close with code.
func (p *rawPeer) wantClose(code StatusCode) {
	p.t.Helper()
	f := p.next()
	if got, _, err := parseClose(f.Payload); opcode(f.Opcode) != opClose || err != nil || got != code {
		p.t.Fatalf("the peer gets frame %v, want a Close with %d", f, code)
	}
}

// CloseWrite ends the peer's direction of the connection.
func (p *rawPeer) CloseWrite(t testing.TB) {
	t.Helper()
	if err := p.Conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
}

// wantEnd checks that the endpoint sends nothing more, and has ended its
// direction of the connection, not reset it.
func (p *rawPeer) wantEnd() {
	p.t.Helper()
	p.SetReadDeadline(time.Now().Add(patienceOfPeers))
	defer p.SetReadDeadline(time.Time{})
	if f, err := testnet.ReadFrame(p.frames); err != io.EOF {
		p.t.Fatalf("the peer gets %v, %v, want io.EOF", f, err)
	}
}

// goroutines returns how many goroutines there are, but
// for those that tests run in.
func goroutines() int {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	n := 0
	for stack := range strings.SplitSeq(string(buf), "\n\n") {
		if strings.Contains(stack, "\ncreated by ") && !strings.Contains(stack, "\ncreated by testing") {
			n++
		}
	}
	return n
}

// awaitQuiet waits for the goroutines of earlier tests to end, so
// that those of this one can be counted.
func awaitQuiet() {
	for start := time.Now(); goroutines() > 0 && time.Since(start) < 2*defaultCloseTimeout; {
		time.Sleep(time.Millisecond)
	}
}

// async calls f in a goroutine, and sends what it returns.
func async[T any](f func() T) <-chan T {
	result := make(chan T, 1)
	go func() { result <- f() }()
	return result
}

// wantRead checks that a read has returned a message.
func wantRead(t testing.TB, typ MessageType, data []byte, err error, want string) {
	t.Helper()
	if err != nil || typ != MessageText || string(data) != want {
		t.Fatalf("read %v %.80q, %v, want text %.80q", typ, data, err, want)
	}
}
