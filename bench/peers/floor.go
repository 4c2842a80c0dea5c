package peers

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/tidewire/websocket/bench/wire"
)

// floor is what remains when there is no library: reading, parsing, unmasking and writing.
// Each message is one frame.
type floor struct {
	overHTTP bool
	batching bool
	settings Settings
}

func newFloor(batching bool) func(Settings) Library {
	return func(s Settings) Library { return &floor{batching: batching, settings: s} }
}

func newHijack(s Settings) Library { return &floor{overHTTP: true, settings: s} }

func (l *floor) Serve(ln net.Listener, serve func(Conn) error) error {
	if l.overHTTP {
		return serveHTTP(ln, func(w http.ResponseWriter, r *http.Request) {
			nc, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				return
			}
			response := wire.AppendResponse(nil, []byte(r.Header["Sec-Websocket-Key"][0]))
			if _, err := nc.Write(response); err != nil {
				nc.Close()
				return
			}
			begin(l.conn(nc, false), serve)
		})
	}
	return serveEach(ln, func(nc net.Conn) (Conn, error) {
		return l.conn(nc, false), wire.Upgrade(nc)
	}, serve)
}

func (l *floor) Dial(url string) (Conn, error) {
	addr, _, _ := strings.Cut(strings.TrimPrefix(url, "ws://"), "/")
	dial := l.settings.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	nc, err := dial(context.Background(), "tcp", addr)
	if err != nil {
		return nil, err
	}
	if _, err = nc.Write(wire.Request(addr, "")); err == nil {
		_, err = wire.ReadHead(nc, make([]byte, 0, 512))
	}
	if err != nil {
		return nil, errors.Join(err, nc.Close())
	}
	return l.conn(nc, true), nil
}

func (l *floor) conn(nc net.Conn, client bool) *floorConn {
	c := &floorConn{nc: nc, client: client, batching: l.batching}
	switch {
	case l.settings.Idle:
		c.own = c.small[:]
	case l.batching:
		c.own = make([]byte, 64<<10) // One Read shall have as many messages as there are,
	default:
		c.own = make([]byte, l.settings.buffer()) // or all of one.
	}
	c.buf = c.own
	return c
}

func (l *floor) Prepare(m Message) (func(Conn) error, error) {
	frame := wire.AppendFrame(nil, wire.Header{First: floorFirst(m.Text)}, m.Data)
	return func(c Conn) error {
		_, err := c.(*floorConn).nc.Write(frame)
		return err
	}, nil
}

func floorFirst(text bool) byte {
	if text {
		return wire.Fin | wire.Text
	}
	return wire.Fin | wire.Binary
}

type floorConn struct {
	nc         net.Conn
	client     bool
	batching   bool
	buf        []byte
	begin, end int      // of what is in buf, and has not been used
	own        []byte   // is buf while nothing is there, and for messages that fit
	pooled     *[]byte  // is buf for a larger one; otherwise nil
	small      [64]byte // is own of a connection that mostly waits
	out        []byte   // what Send writes, and Echo if it is batching
}

func (c *floorConn) Close() error { return c.nc.Close() }

func (c *floorConn) Receive(f func(Message) error) error {
	for {
		h, start, err := c.next()
		if err != nil {
			return err
		}
		if err := f(Message{h.Opcode() == wire.Text, c.buf[start:c.begin]}); err != nil {
			return err
		}
	}
}

// Echo sends a message from where it was read to: a header without a masking key is
// shorter than the one that stands before it.
func (c *floorConn) Echo() error {
	for {
		h, start, err := c.next()
		if err != nil {
			return end(c, err)
		}
		reply := wire.Header{First: h.First, Length: h.Length}
		start -= reply.Size()
		reply.Append(c.buf[start:start])
		if err := c.write(c.buf[start:c.begin]); err != nil {
			return end(c, err)
		}
	}
}

// write writes a frame, and if it is batching only when no other is there to
// be answered.
func (c *floorConn) write(frame []byte) error {
	if c.batching {
		c.out = append(c.out, frame...)
		if _, _, more := c.buffered(); more {
			return nil
		}
		frame, c.out = c.out, c.out[:0]
	}
	_, err := c.nc.Write(frame)
	return err
}

// next returns the next frame, unmasked. Its payload is what is in buf from start
// up to begin.
func (c *floorConn) next() (h wire.Header, start int, err error) {
	for {
		h, n, ok := c.buffered()
		if ok {
			start = c.begin + n
			c.begin = start + h.Length
			if h.Masked {
				wire.Mask(c.buf[start:c.begin], h.Key)
			}
			if h.Opcode() == wire.Close {
				return h, start, io.EOF
			}
			return h, start, nil
		}
		if err := c.read(); err != nil {
			return h, 0, err
		}
	}
}

// buffered returns the header of the next frame and its length, if all of the frame is there.
func (c *floorConn) buffered() (h wire.Header, n int, ok bool) {
	h, n = wire.ParseHeader(c.buf[c.begin:c.end])
	return h, n, n > 0 && c.end-c.begin-n >= h.Length
}

// read reads once.
func (c *floorConn) read() error {
	if c.begin > 0 {
		c.end = copy(c.buf, c.buf[c.begin:c.end])
		c.begin = 0
	}
	switch {
	case c.end == 0 && c.pooled != nil:
		putBuffer(c.pooled)
		c.buf, c.pooled = c.own, nil
	case c.end == len(c.buf):
		c.grow()
	}
	n, err := c.nc.Read(c.buf[c.end:])
	c.end += n
	return err
}

// grow makes room for all of the frame that has begun.
func (c *floorConn) grow() {
	h, n := wire.ParseHeader(c.buf[:c.end])
	pooled := c.pooled
	if pooled == nil {
		pooled = getBuffer()
	}
	// A header that is not all there is smaller than any buffer.
	b := slices.Grow((*pooled)[:0], n+h.Length)
	b = b[:cap(b)]
	copy(b, c.buf[:c.end])
	*pooled = b
	c.buf, c.pooled = b, pooled
}

func (c *floorConn) Send(m Message) error {
	h := wire.Header{First: floorFirst(m.Text)}
	if c.client {
		h.Masked, h.Key = true, rand.Uint32()
	}
	c.out = wire.AppendFrame(slices.Grow(c.out[:0], len(m.Data)+headerRoom), h, m.Data)
	_, err := c.nc.Write(c.out)
	return err
}
