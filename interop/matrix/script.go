package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/tidewire/websocket"
	"github.com/tidewire/websocket/interop/internal/program"
)

// An exchange is a row of the table.
type exchange struct {
	name        string
	connections []connection
}

// A connection is made for one purpose, and closed afterwards. What the peer's library can't do
// is left out.
type connection struct {
	does         string // what the peer does: the path of the URL
	needs        []string
	ours         *websocket.Compression
	theirs       *program.Parameters
	subprotocols []string // the peer's
	talk         func(*talk) error
}

func plain(does string, talk func(*talk) error, needs ...string) []connection {
	return []connection{{does: does, needs: needs, talk: talk}}
}

// script returns the exchanges.
func script() []exchange {
	takeover := connection{
		does: "echo", needs: []string{"deflate", "takeover"}, talk: takenOver,
		// A server may limit only windows that a client has said may be limited.
		ours: &websocket.Compression{ServerMaxWindowBits: 15, ClientMaxWindowBits: 15}, theirs: &program.Parameters{},
	}
	noTakeover := connection{
		does: "echo", needs: []string{"deflate"}, talk: notTakenOver,
		ours:   &websocket.Compression{ServerNoContextTakeover: true, ClientNoContextTakeover: true},
		theirs: &program.Parameters{ServerNoContextTakeover: true, ClientNoContextTakeover: true},
	}
	windows := connection{
		does: "echo", needs: []string{"deflate"}, talk: smallWindows,
		ours:   &websocket.Compression{ServerMaxWindowBits: 9, ClientMaxWindowBits: 9},
		theirs: &program.Parameters{ServerMaxWindowBits: 9, ClientMaxWindowBits: 9},
	}
	onlyOurs := connection{does: "echo", needs: []string{"noDeflate"}, ours: &websocket.Compression{}, talk: notCompressed}
	onlyTheirs := connection{does: "echo", needs: []string{"deflate"}, theirs: &program.Parameters{}, talk: notCompressed}
	subprotocol := connection{
		does: "subprotocol", needs: []string{"subprotocols"}, subprotocols: []string{"superchat", "chat"}, talk: subprotocolChosen,
	}
	ourCut := connection{does: "echo", talk: cutByUs}
	theirCut := connection{does: "cut", needs: []string{"cut"}, talk: cutByThem}
	return []exchange{
		{"empty messages", plain("echo", size(0))},
		{"125 bytes", plain("echo", size(125))},
		{"126 bytes", plain("echo", size(126))},
		{"65,535 bytes", plain("echo", size(65_535))},
		{"65,536 bytes", plain("echo", size(65_536))},
		{"1 MiB", plain("echo", oneMiB)},
		{"our fragments, cut in characters", plain("echo", ourFragments, "defragment")},
		{"a Ping between our fragments", plain("echo", pingBetween, "defragment")},
		{"their fragments", plain("fragments", theirFragments, "fragments")},
		{"our Ping", plain("echo", ourPing)},
		{"their Ping", plain("ping", theirPing, "ping")},
		{"100 messages at once", plain("echo", hundred)},
		{"deflate with context takeover", []connection{takeover}},
		{"deflate without", []connection{noTakeover}},
		{"windows of 9 bits", []connection{windows}},
		{"deflate wanted by one only", []connection{onlyOurs, onlyTheirs}},
		{"a subprotocol", []connection{subprotocol}},
		{"our Close 4000", plain("echo", ourClose, "closed")},
		{"their Close 4001", plain("close", theirClose, "close")},
		{"cut by us, by them", []connection{ourCut, theirCut}},
	}
}

// A talk is what we do on a connection.
type talk struct {
	*link
	ctx    context.Context
	column *column
	cell   *cell

	// want is what the peer is to say of the end. It may end with an ellipsis. If it is empty,
	// we close the connection.
	want string
}

func (t *talk) can(what string) bool { return t.column.can(what, t.cell) }

func (t *talk) write(m websocket.Message) error { return t.conn.Write(t.ctx, m.Type, m.Data) }

// read reads a message, which has to be that one.
func (t *talk) read(want websocket.Message) error {
	typ, p, err := t.conn.Read(t.ctx)
	switch {
	case err != nil:
		return fmt.Errorf("read: %w", err)
	case typ != want.Type || !bytes.Equal(p, want.Data):
		return fmt.Errorf("got %d bytes of %v, %.60q, want %d bytes of %v, %.60q", len(p), typ, p, len(want.Data), want.Type, want.Data)
	}
	return nil
}

// echo has messages come back, one after the other.
func (t *talk) echo(messages ...websocket.Message) error {
	for i, m := range messages {
		err := t.write(m)
		if err == nil {
			err = t.read(m)
		}
		if err != nil {
			return fmt.Errorf("message %d, of %d bytes: %w", i, len(m.Data), err)
		}
	}
	return nil
}

// reading reads messages while f runs, and ends when it has them.
func (t *talk) reading(f func() error, messages ...websocket.Message) error {
	end := make(chan error, 1)
	go func() {
		for i, m := range messages {
			if err := t.read(m); err != nil {
				end <- fmt.Errorf("message %d: %w", i, err)
				return
			}
		}
		end <- nil
	}()
	err := f()
	if err != nil {
		t.conn.CloseNow()
	}
	return errors.Join(err, <-end)
}

// close closes the connection, which the peer has to be told of.
func (t *talk) close(code websocket.StatusCode, reason string) error {
	t.want = fmt.Sprintf("closed %d %s", int(code), reason)
	if err := t.conn.Close(code, reason); err != nil {
		return fmt.Errorf("closing: %w", err)
	}
	return nil
}

func textMessage(p []byte) websocket.Message {
	return websocket.Message{Type: websocket.MessageText, Data: p}
}
func binaryMessage(p []byte) websocket.Message {
	return websocket.Message{Type: websocket.MessageBinary, Data: p}
}

// text returns n bytes of UTF-8, with characters of all lengths.
func text(n int) []byte {
	const characters = "é漢🌊a"
	whole := n / len(characters)
	return []byte(strings.Repeat(characters, whole) + strings.Repeat("x", n-whole*len(characters)))
}

// noise returns n bytes in which there is nothing to compress, the same ones each time.
func noise(n int) []byte {
	source := rand.NewChaCha8([32]byte{1})
	p := make([]byte, n)
	source.Read(p)
	return p
}

// story returns n bytes or a few more of text with something to compress, little of it
// with what lies far behind.
func story(n int) []byte {
	source := rand.New(rand.NewPCG(6455, 7692))
	words := strings.Fields("frame opcode payload masking key server client message fragment control ping pong close window")
	var p []byte
	for len(p) < n {
		p = fmt.Appendf(p, "%s %x, ", words[source.IntN(len(words))], source.Uint32())
	}
	return p
}

// size has messages of a length come back.
func size(n int) func(*talk) error {
	return func(t *talk) error {
		if err := t.echo(textMessage(text(n)), binaryMessage(noise(n))); err != nil {
			return err
		}
		read, written := t.record.messages()
		for _, m := range written {
			if m != (message{1, int64(n), false}) {
				return fmt.Errorf("we have sent %+v, want one frame with %d bytes", m, n)
			}
		}
		for _, m := range read {
			if m.length != int64(n) || m.compressed {
				return fmt.Errorf("we have received %+v, want %d bytes", m, n)
			}
		}
		return nil
	}
}

func oneMiB(t *talk) error {
	err := size(1 << 20)(t)
	read, _ := t.record.messages()
	if len(read) > 0 {
		t.column.seen.frames = read[0].frames
	}
	return err
}

// fragment is as much as a fragment of ours has, but for the last.
const fragment = 16 << 10

// ourFragments sends text whose fragments end behind one, two and three bytes of a character.
func ourFragments(t *talk) error {
	for _, begin := range []string{"a", "ab", "abc"} {
		m := textMessage([]byte(begin + strings.Repeat("𝄞", 10_000)))
		if err := t.reading(func() error { return t.stream(m, nil) }, m); err != nil {
			return err
		}
	}
	_, written := t.record.messages()
	for _, m := range written {
		if m.frames != 3 {
			return fmt.Errorf("we have sent %d fragments, want 3", m.frames)
		}
	}
	return nil
}

// stream writes a message in fragments, and calls between when one has left.
func (t *talk) stream(m websocket.Message, between func() error) error {
	w, err := t.conn.NextWriter(t.ctx, m.Type)
	if err != nil {
		return err
	}
	defer w.Abort()
	if _, err := w.Write(m.Data[:fragment+1]); err != nil {
		return err
	}
	if between != nil {
		if err := between(); err != nil {
			return err
		}
	}
	if _, err := w.Write(m.Data[fragment+1:]); err != nil {
		return err
	}
	return w.Close()
}

// pingBetween sends a Ping between fragments, which is answered before there are more.
func pingBetween(t *talk) error {
	m := textMessage(text(40_000))
	if err := t.reading(func() error { return t.stream(m, t.ping) }, m); err != nil {
		return err
	}
	read, written := t.record.frames()
	if i := index(written, opPing); i != 1 || written[0].Fin || written[2].Opcode != opContinuation {
		return fmt.Errorf("we have sent %v, want a Ping behind the first fragment", written)
	}
	if i := index(read, opPong); i != 0 {
		return fmt.Errorf("we have received %v, want a Pong first", read)
	}
	return nil
}

func (t *talk) ping() error {
	if _, err := t.conn.Ping(t.ctx); err != nil {
		return fmt.Errorf("ping: %w", err)
	}
	return nil
}

// theirFragments has messages come back in fragments. They are so long that a library with
// fragments of 128 KiB needs three.
func theirFragments(t *talk) error {
	if err := t.echo(textMessage(text(300_000)), binaryMessage(noise(300_000))); err != nil {
		return err
	}
	read, _ := t.record.messages()
	for _, m := range read {
		if m.frames < 3 || m.length != 300_000 {
			return fmt.Errorf("we have received %+v, want 3 frames or more", m)
		}
	}
	return nil
}

func ourPing(t *talk) error {
	m := textMessage([]byte("behind the Ping"))
	err := t.reading(func() error {
		for range 3 {
			if err := t.ping(); err != nil {
				return err
			}
		}
		return t.write(m)
	}, m)
	if err != nil {
		return err
	}
	pongs := 0
	read, _ := t.record.frames()
	for _, f := range read {
		if f.Opcode == opPong {
			pongs++
		}
	}
	if pongs != 3 {
		return fmt.Errorf("we have received %v, want 3 Pongs", read)
	}
	return nil
}

// theirPing has the peer send Pings with a payload that we choose.
func theirPing(t *talk) error {
	for _, payload := range []string{"are you there", strings.Repeat("p", 125)} {
		if err := t.write(textMessage([]byte(payload))); err != nil {
			return err
		}
		if err := t.read(textMessage([]byte("pong " + payload))); err != nil {
			return err
		}
		read, _ := t.record.frames()
		if i := index(read, opPing); i < 0 || t.can("pingPayload") && read[len(read)-2].PayloadLength != int64(len(payload)) {
			return fmt.Errorf("we have received %v, want a Ping with %d bytes before the last", read, len(payload))
		}
	}
	return nil
}

func hundred(t *talk) error {
	all := make([]websocket.Message, 100)
	for i := range all {
		if p := text(13 * i); i%2 == 0 {
			all[i] = textMessage(p)
		} else {
			all[i] = binaryMessage(p)
		}
	}
	return t.reading(func() error { return t.conn.WriteBatch(t.ctx, all...) }, all...)
}

// twice has a message come back twice, between others, and returns how long it was on the wire
// each time. Both ends must have compressed it, if the peer's library can.
func (t *talk) twice() (read, written [2]int64, err error) {
	m := textMessage(story(2000))
	if err := t.echo(m, textMessage(nil), m, binaryMessage(noise(200)), textMessage(text(70_000))); err != nil {
		return read, written, err
	}
	in, out := t.record.messages()
	theirs := t.can("compress")
	for i, at := range []int{0, 2} {
		if !out[at].compressed || theirs && !in[at].compressed {
			return read, written, fmt.Errorf("got %+v for %+v, want both compressed", in[at], out[at])
		}
		read[i], written[i] = in[at].length, out[at].length
	}
	return read, written, nil
}

// takenOver checks that a message gets shorter when it is sent again.
func takenOver(t *talk) error {
	read, written, err := t.twice()
	if err != nil {
		return err
	}
	if written[1] > written[0]/4 || t.can("compress") && read[1] > read[0]/4 {
		return fmt.Errorf("a message of ours has %d bytes and then %d, of theirs %d and %d: no context takeover", written[0], written[1], read[0], read[1])
	}
	return nil
}

// notTakenOver checks that it does not.
func notTakenOver(t *talk) error {
	read, written, err := t.twice()
	if err != nil {
		return err
	}
	if written[1] < written[0] || read[1] < read[0] {
		return fmt.Errorf("a message of ours has %d bytes and then %d, of theirs %d and %d: context takeover", written[0], written[1], read[0], read[1])
	}
	return nil
}

// smallWindows checks that repetition is not found beyond a window, and some within it. A peer
// that can't limit its own must not have agreed to.
func smallWindows(t *talk) error {
	t.column.seen.windows = t.extensions
	repetitive := append(noise(600), noise(600)...)
	near := textMessage([]byte(strings.Repeat("there and back again ", 100)))
	if err := t.echo(binaryMessage(repetitive), near); err != nil {
		return err
	}
	read, written := t.record.messages()
	theirs := t.can("compress")
	if !written[1].compressed || theirs && !read[1].compressed {
		return fmt.Errorf("got %+v for %+v, want both compressed", read[1], written[1])
	}
	if written[0].length < 1100 {
		return fmt.Errorf("our window has more than 512 bytes: %+v", written[0])
	}
	if theirs && t.can("windows") && read[0].length < 1100 {
		return fmt.Errorf("their window has more than 512 bytes: %+v, %s", read[0], t.extensions)
	}
	return nil
}

// notCompressed checks that the messages aren't.
func notCompressed(t *talk) error {
	if t.server == nil && t.extensions != "" {
		return fmt.Errorf("the response has %q", t.extensions)
	}
	if err := t.echo(textMessage(story(2000)), binaryMessage(story(2000))); err != nil {
		return err
	}
	read, written := t.record.messages()
	for _, m := range append(read, written...) {
		if m.compressed {
			return errors.New("a message is compressed")
		}
	}
	return nil
}

// subprotocolChosen checks that both ends speak the one that both know.
func subprotocolChosen(t *talk) error {
	if got := t.conn.Subprotocol(); got != "chat" {
		return fmt.Errorf("we speak %q", got)
	}
	if err := t.write(textMessage([]byte("which?"))); err != nil {
		return err
	}
	return t.read(textMessage([]byte("chat")))
}

func ourClose(t *talk) error {
	if err := t.echo(textMessage([]byte("the last"))); err != nil {
		return err
	}
	if err := t.close(4000, "reason ü"); err != nil {
		return err
	}
	if end, ok := errors.AsType[*websocket.CloseError](t.conn.Err()); ok {
		t.column.seen.close = strings.TrimSpace(fmt.Sprint(int(end.Code), " ", end.Reason))
	}
	return nil
}

func theirClose(t *talk) error {
	if err := t.write(textMessage([]byte("4001 grüß Gott"))); err != nil {
		return err
	}
	_, _, err := t.conn.Read(t.ctx)
	end, ok := errors.AsType[*websocket.CloseError](err)
	if !ok || end.Code != 4001 || end.Reason != "grüß Gott" || end.Local {
		return fmt.Errorf("the connection ended with %v", err)
	}
	if t.want = "closed…"; t.can("answer") {
		t.want = "closed 4001…"
	}
	return nil
}

func cutByUs(t *talk) error {
	if err := t.echo(textMessage([]byte("the last"))); err != nil {
		return err
	}
	t.want = "closed 1006…"
	return t.conn.CloseNow()
}

func cutByThem(t *talk) error {
	if err := t.write(textMessage([]byte("now"))); err != nil {
		return err
	}
	_, _, err := t.conn.Read(t.ctx)
	if websocket.CloseStatus(err) != websocket.StatusAbnormalClosure {
		return fmt.Errorf("the connection ended with %v", err)
	}
	t.want = "closed…"
	return nil
}
