package peers

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"
)

// gobwas makes connections of github.com/gobwas/ws, and reads and writes frames by hand, as its
// documentation does in "The lower-level example without wsutil", but with a bufio.Reader, and with header and
// payload in one pooled slice for one Write: it has neither, and without them there are five system calls for a
// message.
type gobwas struct {
	overHTTP bool
	full     bool
	settings Settings
	dialer   ws.Dialer
}

func newGobwas(full bool) func(Settings) Library {
	return func(s Settings) Library {
		return &gobwas{full: full, settings: s, dialer: ws.Dialer{NetDial: s.Dial}}
	}
}

func newGobwasHTTP(s Settings) Library { return &gobwas{overHTTP: true, settings: s} }

func (g *gobwas) Serve(ln net.Listener, serve func(Conn) error) error {
	if g.overHTTP {
		return serveHTTP(ln, func(w http.ResponseWriter, r *http.Request) {
			nc, _, _, err := ws.UpgradeHTTP(r, w)
			if err != nil {
				return
			}
			begin(g.conn(nc, nc, ws.StateServerSide), serve)
		})
	}
	return serveEach(ln, func(nc net.Conn) (Conn, error) {
		return g.conn(nc, nc, ws.StateServerSide), g.upgrade(nc)
	}, serve)
}

func (g *gobwas) upgrade(nc net.Conn) error {
	if g.settings.Deflate == nil {
		_, err := ws.Upgrade(nc)
		return err
	}
	e := wsflate.Extension{Parameters: wsflate.DefaultParameters} // no context takeover
	u := ws.Upgrader{Negotiate: e.Negotiate}
	_, err := u.Upgrade(nc)
	return err
}

func (g *gobwas) Dial(url string) (Conn, error) {
	nc, br, err := dialGobwas(&g.dialer, url)
	if err != nil {
		return nil, err
	}
	return g.conn(nc, br, ws.StateClientSide), nil
}

// dialGobwas returns a connection, and what it is to be read from: if something came along with
// the response, that is not the connection.
func dialGobwas(d *ws.Dialer, url string) (net.Conn, io.Reader, error) {
	nc, br, _, err := d.Dial(context.Background(), url)
	if err != nil {
		return nil, nil, err
	}
	if br != nil {
		return nc, br, nil
	}
	return nc, nc, nil
}

func (g *gobwas) conn(nc net.Conn, r io.Reader, state ws.State) Conn {
	c := &gobwasConn{
		nc:     nc,
		br:     bufio.NewReaderSize(r, g.settings.buffer()),
		client: state.ClientSide(),
		full:   g.full,
	}
	if g.settings.Deflate != nil {
		return &gobwasDeflateConn{c}
	}
	return c
}

// Prepare has a frame that goes to all connections as it is.
func (g *gobwas) Prepare(m Message) (func(Conn) error, error) {
	frame := ws.NewFrame(gobwasOpCode(m.Text), true, m.Data)
	if g.settings.Deflate != nil {
		var payload appender
		err := payload.deflate(m.Data)
		if err != nil {
			return nil, err
		}
		frame = ws.NewFrame(gobwasOpCode(m.Text), true, payload)
		if frame.Header, err = wsflate.SetBit(frame.Header); err != nil {
			return nil, err
		}
	}
	compiled, err := ws.CompileFrame(frame)
	return func(c Conn) error {
		_, err := c.(interface{ netConn() net.Conn }).netConn().Write(compiled)
		return err
	}, err
}

func gobwasOpCode(text bool) ws.OpCode {
	if text {
		return ws.OpText
	}
	return ws.OpBinary
}

type gobwasConn struct {
	nc     net.Conn
	br     *bufio.Reader
	client bool
	full   bool
	mu     sync.Mutex // held by a writer, if full
	in     [headerRoom]byte
	out    headerWriter
}

func (c *gobwasConn) netConn() net.Conn { return c.nc }
func (c *gobwasConn) Close() error      { return c.nc.Close() }

// Echo writes a message from where it was read to.
func (c *gobwasConn) Echo() error {
	for {
		h, err := ws.ReadHeaderBuffer(c.br, c.in[:])
		if err != nil {
			return end(c, err)
		}
		buf := getBuffer()
		if err = c.read(h, buf); err == nil && !h.OpCode.IsControl() {
			err = c.write(h.OpCode, *buf)
		}
		putBuffer(buf)
		if err != nil {
			return end(c, err)
		}
	}
}

func (c *gobwasConn) Receive(f func(Message) error) error {
	for {
		h, err := ws.ReadHeaderBuffer(c.br, c.in[:])
		if err != nil {
			return err
		}
		buf := getBuffer()
		if err = c.read(h, buf); err == nil && !h.OpCode.IsControl() {
			err = f(Message{h.OpCode == ws.OpText, (*buf)[headerRoom:]})
		}
		putBuffer(buf)
		if err != nil {
			return err
		}
	}
}

// read reads the payload of a frame behind the room for a header. It answers a control
// frame, and checks another.
func (c *gobwasConn) read(h ws.Header, buf *[]byte) error {
	n := headerRoom + int(h.Length)
	*buf = slices.Grow((*buf)[:0], n)[:n]
	payload := (*buf)[headerRoom:]
	if _, err := io.ReadFull(c.br, payload); err != nil {
		return err
	}
	if h.Masked {
		ws.Cipher(payload, h.Mask, 0)
	}
	return c.check(h, *buf)
}

var errFragmented = errors.New("a fragmented message")

// check answers a control frame, and checks another.
func (c *gobwasConn) check(h ws.Header, frame []byte) error {
	switch {
	case h.OpCode == ws.OpPing:
		return c.write(ws.OpPong, frame)
	case h.OpCode == ws.OpPong:
		return nil
	case h.OpCode == ws.OpClose:
		return errors.Join(c.write(ws.OpClose, frame), io.EOF)
	case !h.Fin || h.OpCode == ws.OpContinuation:
		return errFragmented
	case c.full:
		return check(Message{h.OpCode == ws.OpText, frame[headerRoom:]})
	}
	return nil
}

func (c *gobwasConn) Send(m Message) error {
	buf := getBuffer()
	defer putBuffer(buf)
	*buf = append(slices.Grow((*buf)[:0], headerRoom+len(m.Data))[:headerRoom], m.Data...)
	return c.write(gobwasOpCode(m.Text), *buf)
}

// write writes a frame, whose payload stands behind the room for a header, with one Write.
func (c *gobwasConn) write(op ws.OpCode, frame []byte) error {
	return c.writeFrame(ws.Header{Fin: true, OpCode: op}, frame)
}

func (c *gobwasConn) writeFrame(h ws.Header, frame []byte) error {
	if c.full {
		c.mu.Lock()
		defer c.mu.Unlock()
	}
	payload := frame[headerRoom:]
	h.Length = int64(len(payload))
	if c.client {
		h.Masked, h.Mask = true, ws.NewMask()
		ws.Cipher(payload, h.Mask, 0)
	}
	c.out.frame = frame
	err := ws.WriteHeaderBuffer(&c.out, h, c.out.buf[:])
	c.out.frame = nil
	if err != nil {
		return err
	}
	_, err = c.nc.Write(frame[headerRoom-ws.HeaderSize(h):])
	return err
}

// A headerWriter puts a header where the room for it ends in a frame.
type headerWriter struct {
	frame []byte
	buf   [headerRoom]byte // in which ws composes the header, or it would allocate it
}

func (w *headerWriter) Write(p []byte) (int, error) {
	return copy(w.frame[headerRoom-len(p):headerRoom], p), nil
}
