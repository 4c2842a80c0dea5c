package peers

import (
	"bufio"
	"io"
	"net"
	"sync"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// wsUtil makes connections of github.com/gobwas/ws with its package wsutil, as in the "Lower-level, but still
// high-level example": a Reader that is reused, with a bufio.Reader, and Writers that are, from a pool. They are
// large enough that a message is one frame and one Write. (The pool of wsutil.GetWriter never
// gives back what wsutil.PutWriter puts into it, since the header is not in the size that it goes by.)
type wsUtil struct {
	settings Settings
	dialer   ws.Dialer
	writers  sync.Pool
}

func newWSUtil(s Settings) Library {
	return &wsUtil{
		settings: s,
		dialer:   ws.Dialer{NetDial: s.Dial},
		writers: sync.Pool{New: func() any {
			return wsutil.NewWriterSize(nil, 0, 0, max(s.Message, 4<<10)+headerRoom)
		}},
	}
}

func (u *wsUtil) Serve(ln net.Listener, serve func(Conn) error) error {
	return serveEach(ln, func(nc net.Conn) (Conn, error) {
		_, err := ws.Upgrade(nc)
		return u.conn(nc, nc, ws.StateServerSide), err
	}, serve)
}

func (u *wsUtil) Dial(url string) (Conn, error) {
	nc, r, err := dialGobwas(&u.dialer, url)
	if err != nil {
		return nil, err
	}
	return u.conn(nc, r, ws.StateClientSide), nil
}

func (u *wsUtil) conn(nc net.Conn, r io.Reader, state ws.State) Conn {
	c := &wsUtilConn{nc: nc, state: state, writers: &u.writers}
	c.r = wsutil.Reader{
		Source:         bufio.NewReaderSize(r, u.settings.buffer()),
		State:          state,
		CheckUTF8:      true,
		OnIntermediate: wsutil.ControlFrameHandler(nc, state),
	}
	return c
}

func (u *wsUtil) Prepare(m Message) (func(Conn) error, error) { return sendEach(m) }

type wsUtilConn struct {
	nc      net.Conn
	r       wsutil.Reader
	state   ws.State
	writers *sync.Pool
}

// Echo has a Writer read from the Reader, as in that example.
func (c *wsUtilConn) Echo() error {
	for {
		h, err := c.r.NextFrame()
		if err != nil {
			return end(c, err)
		}
		if h.OpCode.IsControl() {
			if err := c.r.OnIntermediate(h, &c.r); err != nil {
				return end(c, err)
			}
			continue
		}
		w := c.writers.Get().(*wsutil.Writer)
		w.Reset(c.nc, c.state, h.OpCode)
		if _, err = w.ReadFrom(&c.r); err == nil {
			err = w.Flush()
		}
		c.writers.Put(w)
		if err != nil {
			return end(c, err)
		}
	}
}

func (c *wsUtilConn) Receive(f func(Message) error) error {
	for {
		h, err := c.r.NextFrame()
		if err != nil {
			return err
		}
		if h.OpCode.IsControl() {
			if err := c.r.OnIntermediate(h, &c.r); err != nil {
				return err
			}
			continue
		}
		buf := getBuffer()
		if *buf, err = appendAll((*buf)[:0], &c.r); err == nil {
			err = f(Message{h.OpCode == ws.OpText, *buf})
		}
		putBuffer(buf)
		if err != nil {
			return err
		}
	}
}

func (c *wsUtilConn) Send(m Message) error {
	w := c.writers.Get().(*wsutil.Writer)
	defer c.writers.Put(w)
	w.Reset(c.nc, c.state, gobwasOpCode(m.Text))
	if _, err := w.Write(m.Data); err != nil {
		return err
	}
	return w.Flush()
}

func (c *wsUtilConn) Close() error { return c.nc.Close() }
