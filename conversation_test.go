//lint:file-ignore SA1019 the transport of net/http takes no :protocol

package websocket

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"golang.org/x/net/http2"

	"github.com/tidewire/websocket/internal/testnet"
)

// The files of testdata/conversations say what a peer sends to an endpoint
// and what has to come of it; the README there has the notation. This file
// plays the peer, and the user of the endpoint's Conn.
//
// Each file is played with the endpoint as server and as client; with what
// the peer sends in a row arriving whole, in halves and byte by byte; over a
// pipe in memory with each way to read messages; and over TCP, TLS and HTTP/2.

// patience is how long a conversation may take, and a machine be slow. Over the
// pipe it is the bubble's time, of which nothing takes any but a hang.
const patience = 30 * time.Second

func TestConversations(t *testing.T) {
	l := newLoopback(t)
	networks := []struct {
		name string
		link func(*testing.T, side) link
	}{{"tcp", func(t *testing.T, _ side) link { return l.tcp(t) }}, {"tls", l.tls}, {"h2", l.stream}}
	turn := 0 // in short mode, the ways take turns, and the choppings and networks do
	for _, conv := range conversations(t) {
		for _, side := range sides(conv) {
			turn++
			for i, chop := range choppings {
				for j, way := range waysToRead {
					if testing.Short() && j != (turn+turn/len(waysToRead)+i)%len(waysToRead) {
						continue
					}
					t.Run(path(conv.Name, side, "pipe", chop.name, way.name), func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) {
							endpoint, peer := testnet.Pipe()
							play(t, conv, side, link{endpoint: endpoint, peer: peer, settle: synctest.Wait, reset: peer.Reset}, chop.pieces, way.read)
						})
					})
				}
				for j, network := range networks {
					if testing.Short() && (i != turn%len(choppings) || j != turn/len(choppings)%len(networks)) {
						continue
					}
					if network.name == "h2" && side == clientSide && slices.ContainsFunc(conv.Steps, halfCloses) {
						continue // which is not to be had from an http.Server
					}
					t.Run(path(conv.Name, side, network.name, chop.name), func(t *testing.T) {
						play(t, conv, side, network.link(t, side), chop.pieces, byRead)
					})
				}
			}
		}
	}
}

func path(name string, side side, rest ...string) string {
	return strings.Join(append([]string{name, sideName(side)}, rest...), "/")
}

func sideName(s side) string {
	if s == clientSide {
		return "client"
	}
	return "server"
}

// conversations returns the files of testdata/conversations.
func conversations(t testing.TB) []*testnet.Conversation {
	t.Helper()
	files, err := filepath.Glob("testdata/conversations/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no conversations: %v", err)
	}
	var convs []*testnet.Conversation
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		conv, err := testnet.ParseConversation(strings.TrimSuffix(filepath.Base(file), ".txt"), string(text))
		if err != nil {
			t.Error(err)
			continue
		}
		convs = append(convs, conv)
	}
	return convs
}

func sides(conv *testnet.Conversation) []side {
	return slices.DeleteFunc([]side{serverSide, clientSide}, func(s side) bool {
		return conv.Side != "" && conv.Side != sideName(s)
	})
}

// negotiated returns what an endpoint does about compression if a server has
// answered with these extensions.
func negotiated(t testing.TB, extensions string, side side) *compression {
	t.Helper()
	if extensions == "" {
		return nil
	}
	name, params := cutExtension(extensions)
	response, ok := parseDeflate(params, false)
	if !ok || name != deflateName {
		t.Fatalf("%q is no response", extensions)
	}
	largest := &Compression{ServerMaxWindowBits: 15, ClientMaxWindowBits: 15}
	return largest.negotiated(response, side)
}

// A conversationSeed is what the peer sends in one conversation, to a server
// and to a client; nil where the conversation has only the other.
type conversationSeed = struct {
	name           string
	extensions     string
	limit          int64
	server, client []byte
}

// conversationSeeds returns what the peer sends in each conversation.
func conversationSeeds(t testing.TB) []conversationSeed {
	t.Helper()
	var seeds []conversationSeed
	for _, conv := range conversations(t) {
		seed := conversationSeed{name: conv.Name, extensions: conv.Extensions, limit: conv.Limit}
		for _, side := range sides(conv) {
			var b []byte
			for _, step := range conv.Steps {
				if step.Action == testnet.Send {
					b = append(b, step.Bytes(side == serverSide, nil)...)
				}
			}
			if side == serverSide {
				seed.server = b
			} else {
				seed.client = b
			}
		}
		seeds = append(seeds, seed)
	}
	return seeds
}

// choppings are the ways in which bytes sent in a row arrive.
var choppings = []struct {
	name   string
	pieces func([]byte) [][]byte
}{
	{"whole", func(b []byte) [][]byte { return [][]byte{b} }},
	{"halves", func(b []byte) [][]byte { return [][]byte{b[:len(b)/2], b[len(b)/2:]} }},
	{"bytes", byteByByte},
}

// byteByByte returns the bytes of b one by one, and of something long the
// first and the last 64 so, and what lies between in pieces of a length
// that no frame has.
func byteByByte(b []byte) [][]byte {
	const ends = 64
	if len(b) <= 2*ends {
		return slices.Collect(slices.Chunk(b, 1))
	}
	pieces := slices.Collect(slices.Chunk(b[:ends], 1))
	pieces = slices.AppendSeq(pieces, slices.Chunk(b[ends:len(b)-ends], 3989))
	return slices.AppendSeq(pieces, slices.Chunk(b[len(b)-ends:], 1))
}

// waysToRead are how the user may read a message.
var waysToRead = []struct {
	name string
	read readFunc
}{
	{"Read", byRead},
	{"ReadAppend", byReadAppend},
	{"NextReader", byNextReader},
	{"Messages", byMessages},
}

// A readFunc hands messages to got until c ends, and returns the error that
// it ended with.
type readFunc func(ctx context.Context, c *Conn, got func(MessageType, []byte)) error

func byRead(ctx context.Context, c *Conn, got func(MessageType, []byte)) error {
	for {
		typ, data, err := c.Read(ctx)
		if err != nil {
			return err
		}
		got(typ, data)
	}
}

// byReadAppend uses one slice for all, behind a few bytes that are to stay.
func byReadAppend(ctx context.Context, c *Conn, got func(MessageType, []byte)) error {
	const prefix = "kept"
	for buf := []byte(prefix); ; {
		typ, data, err := c.ReadAppend(ctx, buf[:len(prefix)])
		if string(data[:len(prefix)]) != prefix {
			return errors.New("ReadAppend changed what it appends to")
		}
		if err != nil {
			if len(data) != len(prefix) {
				return fmt.Errorf("ReadAppend returned %d bytes more than dst with %w", len(data)-len(prefix), err)
			}
			return err
		}
		got(typ, bytes.Clone(data[len(prefix):]))
		buf = data
	}
}

func byNextReader(ctx context.Context, c *Conn, got func(MessageType, []byte)) error {
	for {
		typ, r, err := c.NextReader(ctx)
		if err != nil {
			return err
		}
		data, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		got(typ, data)
	}
}

func byMessages(ctx context.Context, c *Conn, got func(MessageType, []byte)) error {
	for m, err := range c.Messages(ctx) {
		if err != nil {
			return err
		}
		got(m.Type, bytes.Clone(m.Data))
	}
	return c.Err()
}

// A link joins an endpoint and its peer.
type link struct {
	endpoint, peer net.Conn
	settle         func()       // waits for the endpoint to have received what was sent
	reset          func() error // by the peer
	closed         func() bool  // reports whether the endpoint is; nil: as its deadlines say
}

// A loopback makes links of sockets.
type loopback struct {
	ln             net.Listener
	server, client *tls.Config
	http2          *http2Server
	streams        chan acceptedStream // of http2
}

// newLoopback listens on a loopback port, and makes a certificate.
func newLoopback(t *testing.T) *loopback {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	l := &loopback{
		ln:      ln,
		server:  &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
		client:  &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"},
		streams: make(chan acceptedStream),
	}
	l.http2 = startHTTP2(t, true, http.HandlerFunc(l.accept))
	return l
}

func (l *loopback) tcp(t *testing.T) link {
	peer, err := net.Dial("tcp", l.ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	endpoint, err := l.ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return link{
		endpoint: endpoint,
		peer:     peer,
		settle:   func() { testnet.AwaitRead(endpoint.(*net.TCPConn)) },
		reset: func() error {
			peer.(*net.TCPConn).SetLinger(0)
			return peer.Close()
		},
	}
}

func (l *loopback) tls(t *testing.T, side side) link {
	tr := l.tcp(t)
	var endpoint, peer *tls.Conn
	if side == serverSide {
		endpoint, peer = tls.Server(tr.endpoint, l.server), tls.Client(tr.peer, l.client)
	} else {
		endpoint, peer = tls.Client(tr.endpoint, l.client), tls.Server(tr.peer, l.server)
	}
	handshake := make(chan error, 1)
	go func() { handshake <- peer.Handshake() }()
	if err := errors.Join(endpoint.Handshake(), <-handshake); err != nil {
		t.Fatal(err)
	}
	tr.endpoint, tr.peer = endpoint, peer
	return tr
}

// halfCloses reports whether the peer ends its direction of the connection in s.
func halfCloses(s testnet.Step) bool { return s.Action == testnet.SendEOF }

// An acceptedStream is the server's end of a stream.
type acceptedStream struct {
	*serverStream
	abort chan struct{} // closed for a reset
}

// accept is the handler of a stream.
func (l *loopback) accept(w http.ResponseWriter, r *http.Request) {
	s, err := takeOver(w, r)
	if err != nil {
		panic(err)
	}
	w.WriteHeader(http.StatusOK)
	s.rc.Flush()
	accepted := acceptedStream{s, make(chan struct{})}
	l.streams <- accepted
	select {
	case <-s.unused:
	case <-accepted.abort:
		panic(http.ErrAbortHandler)
	}
}

// A dialedStream is the client's end of one, which may end its direction.
type dialedStream struct{ *clientStream }

func (s dialedStream) CloseWrite() error { return s.w.Close() }

// stream opens a stream of HTTP/2.
func (l *loopback) stream(t *testing.T, side side) link {
	req, err := new(Dialer).newRequest(l.http2.URL)
	if err != nil {
		t.Fatal(err)
	}
	life, cancel := context.WithCancel(context.Background())
	body, w := io.Pipe()
	resp, err := l.http2.transport.RoundTrip(extendedConnect(req, body).WithContext(life))
	if err != nil {
		t.Fatal(err)
	}
	client := &clientStream{w: w, body: resp.Body, cancel: cancel}
	server := <-l.streams
	if side == serverSide {
		return link{
			endpoint: server.serverStream,
			peer:     dialedStream{client},
			settle:   func() {},
			reset:    func() error { cancel(); return w.CloseWithError(context.Canceled) },
			closed: func() bool {
				select {
				case <-server.unused:
					return true
				default:
					return false
				}
			},
		}
	}
	return link{
		endpoint: client,
		peer:     server.serverStream,
		settle:   func() {},
		reset:    func() error { close(server.abort); return nil },
		closed:   func() bool { return life.Err() != nil },
	}
}

// A player plays one conversation.
type player struct {
	link
	t      *testing.T
	conv   *testnet.Conversation
	side   side
	conn   *Conn
	pieces func([]byte) [][]byte

	ctx  context.Context // of the player's goroutines and the user's calls
	user chan heard
	does []chan error // the results of the user's calls

	frames  *bufio.Reader  // from the endpoint
	pending *testnet.Frame // received, and not the one that might have come
	unheard *heard         // the same of what the user heard
	ping    []byte         // payload of the last Ping received

	unsent     []byte // of Sends in a row
	halfClosed bool   // by the peer
	wasReset   bool   // by the peer
	lost       bool   // to the endpoint, without a Close frame
	log        []string
}

// heard is what the user heard from the Conn: a message, or its end.
type heard struct {
	typ  MessageType
	data []byte
	err  error
}

// play plays conv to a Conn that is the endpoint of tr.
func play(t *testing.T, conv *testnet.Conversation, side side, tr link, pieces func([]byte) [][]byte, read readFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	cfg := connDefaults(conv.Limit, -1, 0, time.Hour, 0)
	cfg.side, cfg.compression = side, negotiated(t, conv.Extensions, side)
	p := &player{
		link:   tr,
		t:      t,
		conv:   conv,
		side:   side,
		conn:   newConn(tr.endpoint, nil, cfg),
		pieces: pieces,
		ctx:    ctx,
		user:   make(chan heard, len(conv.Steps)), // the user does not wait for the script
		frames: bufio.NewReader(tr.peer),
	}
	defer func() {
		cancel()
		p.conn.CloseNow()
		p.peer.Close()
	}()
	p.peer.SetDeadline(time.Now().Add(patience))
	go func() {
		err := read(ctx, p.conn, func(typ MessageType, data []byte) { p.hear(heard{typ: typ, data: data}) })
		p.hear(heard{err: err})
	}()
	for i := range conv.Steps {
		p.step(&conv.Steps[i])
	}
	p.end()
}

func (p *player) hear(h heard) {
	select {
	case p.user <- h:
	case <-p.ctx.Done():
	}
}

// fail ends the test with both transcripts.
func (p *player) fail(format string, args ...any) {
	p.t.Helper()
	var want []string
	for _, step := range p.conv.Steps {
		want = append(want, fmt.Sprintf("%4d %.100s", step.Line, step.Text))
	}
	p.t.Fatalf("%s\n\nwant:\n%s\n\ngot:\n%s", fmt.Sprintf(format, args...),
		strings.Join(want, "\n"), strings.Join(p.log, "\n"))
}

func (p *player) note(line int, format string, args ...any) {
	p.log = append(p.log, fmt.Sprintf("%4d %.200s", line, fmt.Sprintf(format, args...)))
}

func (p *player) step(s *testnet.Step) {
	p.t.Helper()
	if s.Action == testnet.Send {
		p.note(s.Line, "%s", s.Text)
		p.unsent = append(p.unsent, s.Bytes(p.side == serverSide, p.ping)...)
		return
	}
	p.flush()
	switch s.Action {
	case testnet.SendEOF:
		p.note(s.Line, "> eof")
		p.halfClose()
	case testnet.SendReset:
		p.note(s.Line, "> reset")
		p.wasReset = true
		p.reset()
	case testnet.Receive:
		p.receive(s)
	case testnet.MayReceive:
		p.mayReceive(s)
	case testnet.Deliver:
		p.deliver(s)
	case testnet.MayDeliver:
		p.mayDeliver(s)
	case testnet.Fail:
		p.failed(s)
	case testnet.Closed:
		p.finish(s.Line, func(err *CloseError) bool {
			return err.Code == StatusCode(s.Code) && err.Reason == s.Reason && err.Local == s.Local
		})
	case testnet.Write:
		p.do(s, func() error {
			return p.conn.Write(p.ctx, MessageType(s.Frame.Opcode), s.Frame.Payload)
		})
	case testnet.Close:
		p.do(s, func() error { return p.conn.Close(StatusCode(s.Code), s.Reason) })
	case testnet.Ping:
		p.do(s, func() error { _, err := p.conn.Ping(p.ctx); return err })
	}
}

// flush sends what Sends in a row have gathered. An endpoint that has failed
// the connection may refuse the rest; what it did instead is the next
// step's matter.
func (p *player) flush() {
	p.t.Helper()
	b := p.unsent
	p.unsent = nil
	for _, piece := range p.pieces(b) {
		if len(piece) == 0 {
			continue
		}
		_, err := p.peer.Write(piece)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			p.fail("the endpoint has stopped reading")
		}
		if err != nil {
			p.note(0, "(the peer's write fails: %v)", err)
			return
		}
		p.settle()
	}
}

func (p *player) halfClose() {
	p.halfClosed = true
	if err := p.peer.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		p.note(0, "(the peer can't half-close: %v)", err)
	}
}

// next returns the next frame from the endpoint.
func (p *player) next() (testnet.Frame, error) {
	if f := p.pending; f != nil {
		p.pending = nil
		return *f, nil
	}
	f, err := testnet.ReadFrame(p.frames)
	if err == nil {
		p.note(0, "< %v", f)
		if f.Masked != (p.side == clientSide) {
			err = fmt.Errorf("masked is %v", f.Masked)
		}
	}
	return f, err
}

func sameFrame(got, want testnet.Frame) bool {
	return got.Fin == want.Fin && got.RSV == want.RSV && got.Opcode == want.Opcode && bytes.Equal(got.Payload, want.Payload)
}

func (p *player) receive(s *testnet.Step) {
	p.t.Helper()
	f, err := p.next()
	if err != nil {
		p.fail("line %d: got no frame: %v", s.Line, err)
	}
	if f.Opcode == byte(opPing) {
		p.ping = f.Payload
	}
	want := s.Frame
	if s.Any {
		want.Payload = f.Payload
	}
	if !sameFrame(f, want) {
		p.fail("line %d: got frame %v, want %v", s.Line, f, want)
	}
}

// mayReceive takes the next frame if it is the one that may come.
func (p *player) mayReceive(s *testnet.Step) {
	if f, err := p.next(); err == nil && !sameFrame(f, s.Frame) {
		p.pending = &f
	}
}

// listen returns what the user hears next.
func (p *player) listen(line int) heard {
	p.t.Helper()
	if h := p.unheard; h != nil {
		p.unheard = nil
		return *h
	}
	select {
	case h := <-p.user:
		if h.err != nil {
			p.note(0, "= error: %v", h.err)
		} else {
			p.note(0, "= %v %.80q", h.typ, h.data)
		}
		return h
	case <-time.After(patience):
		p.fail("line %d: the user hears nothing", line)
		panic("not reached")
	}
}

// is reports whether h is the message f.
func (h heard) is(f testnet.Frame) bool {
	return h.err == nil && byte(h.typ) == f.Opcode && bytes.Equal(h.data, f.Payload)
}

func (p *player) deliver(s *testnet.Step) {
	p.t.Helper()
	if h := p.listen(s.Line); !h.is(s.Frame) {
		p.fail("line %d: the user got %v %.80q (%d bytes), %v", s.Line, h.typ, h.data, len(h.data), h.err)
	}
}

func (p *player) mayDeliver(s *testnet.Step) {
	p.t.Helper()
	if h := p.listen(s.Line); !h.is(s.Frame) {
		p.unheard = &h
	}
}

// do has the user call something. What comes of it is looked at in the end.
func (p *player) do(s *testnet.Step, call func() error) {
	p.note(s.Line, "%s", s.Text)
	done := make(chan error, 1)
	go func() {
		err := call()
		switch {
		case s.Fails && err == nil:
			done <- fmt.Errorf("line %d: got no error", s.Line)
		case !s.Fails && err != nil:
			done <- fmt.Errorf("line %d: %w", s.Line, err)
		default:
			done <- nil
		}
	}()
	p.does = append(p.does, done)
}

// failed is how a connection that the endpoint fails has to end: with a Close
// frame that says why, unless the network is lost.
func (p *player) failed(s *testnet.Step) {
	p.t.Helper()
	if s.Code == int(StatusAbnormalClosure) {
		p.lost = true
		p.finish(s.Line, func(err *CloseError) bool {
			eof := errors.Is(err, io.ErrUnexpectedEOF)
			return err.Code == StatusAbnormalClosure && err.Err != nil && !err.Local &&
				eof == p.halfClosed && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed)
		})
		return
	}
	reason := ""
	if !s.Silent {
		reason = p.closeFrame(s)
	}
	p.finish(s.Line, func(err *CloseError) bool {
		tooBig := err.Code == StatusMessageTooBig
		return err.Code == StatusCode(s.Code) && err.Local && errors.Is(err, net.ErrClosed) &&
			errors.Is(err, ErrMessageTooBig) == tooBig && strings.Contains(err.Error(), reason)
	})
}

// closeFrame receives the Close frame of a connection that is failed, and
// returns the reason in it.
func (p *player) closeFrame(s *testnet.Step) string {
	p.t.Helper()
	f, err := p.next()
	if err != nil {
		p.fail("line %d: got no Close frame: %v", s.Line, err)
	}
	if f.Opcode != byte(opClose) || len(f.Payload) < 2 || int(binary.BigEndian.Uint16(f.Payload)) != s.Code {
		p.fail("line %d: got frame %v, want a Close frame with %d", s.Line, f, s.Code)
	}
	reason := string(f.Payload[2:])
	if reason == "" || !utf8.ValidString(reason) {
		p.fail("line %d: got reason %q", s.Line, reason)
	}
	return reason
}

// finish sees the connection end: nothing follows the Close frame, the user
// hears an error that is as it should be, and every later call returns it too.
func (p *player) finish(line int, ok func(*CloseError) bool) {
	p.t.Helper()
	p.endOfFrames(line)
	h := p.listen(line)
	var closed *CloseError
	if h.err == nil || !errors.As(h.err, &closed) || !ok(closed) {
		p.fail("line %d: the user got %v %.80q, error %#v", line, h.typ, h.data, h.err)
	}
	if got := CloseStatus(h.err); got != closed.Code {
		p.fail("CloseStatus returned %v", got)
	}
	select {
	case <-p.conn.Done():
	case <-time.After(patience):
		p.fail("Done is not closed")
	}
	_, _, err := p.conn.Read(p.ctx)
	if err != error(closed) || p.conn.Err() != err {
		p.fail("after the end Read returned %v and Err %v", err, p.conn.Err())
	}
	if err := p.conn.Write(p.ctx, MessageText, nil); err == nil {
		p.fail("a Write after the end succeeded")
	}
	p.endOfCalls()
	p.endOfSocket()
}

// endOfCalls sees the user's calls return what they should.
func (p *player) endOfCalls() {
	p.t.Helper()
	for _, done := range p.does {
		select {
		case err := <-done:
			if err != nil {
				p.fail("the user's call: %v", err)
			}
		case <-time.After(patience):
			p.fail("a call of the user's does not return")
		}
	}
}

// endOfSocket sees the endpoint close its socket. It is not asked to, nor
// does CloseTimeout make it.
func (p *player) endOfSocket() {
	p.t.Helper()
	closed := p.closed
	if closed == nil {
		closed = func() bool { return errors.Is(p.endpoint.SetReadDeadline(time.Time{}), net.ErrClosed) }
	}
	for start := time.Now(); !closed(); {
		if time.Since(start) > patience {
			p.fail("the endpoint has not closed its socket")
		}
		time.Sleep(time.Millisecond)
	}
}

// endOfFrames sees the transport end. A server closes it first; a client
// waits for that, "so that it holds the TIME_WAIT state and not the client"
// (section 7.1.1).
func (p *player) endOfFrames(line int) {
	p.t.Helper()
	if p.wasReset {
		return
	}
	if p.side == clientSide && !p.halfClosed {
		if _, ok := p.peer.(*serverStream); ok {
			p.peer.Close() // it has no halves
			return
		}
		p.halfClose()
	}
	f, err := p.next()
	if err == nil {
		p.fail("line %d: got frame %v, want none", line, f)
	}
	if _, reset := errors.AsType[http2.StreamError](err); err != io.EOF && !(p.lost && reset) {
		p.fail("line %d: the transport ends with %v, want EOF", line, err)
	}
	p.note(0, "< eof")
	p.peer.Close()
}

// end closes a connection that the conversation has left open.
func (p *player) end() {
	p.t.Helper()
	if last := p.conv.Steps[len(p.conv.Steps)-1]; last.Action == testnet.Fail || last.Action == testnet.Closed {
		return
	}
	for _, text := range []string{`> close 1000 "end"`, `< close 1000 "end"`, `= close 1000 "end"`} {
		end, err := testnet.ParseConversation("end", text)
		if err != nil {
			p.fail("%v", err)
		}
		p.step(&end.Steps[0])
	}
}
