package peers

import (
	"bytes"
	"compress/flate"
	"io"
	"slices"
	"sync"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"
)

// A gobwasDeflateConn compresses messages. The helpers of wsflate have a new writer of compress/flate
// for each message, of 1.2 MB and at level 9; here wsflate's Writer and Reader are pooled, which reuse what can be
// reset.
type gobwasDeflateConn struct{ *gobwasConn }

var (
	gobwasWriters = sync.Pool{New: func() any {
		return wsflate.NewWriter(nil, func(w io.Writer) wsflate.Compressor {
			fw, err := flate.NewWriter(w, flate.BestSpeed)
			if err != nil {
				panic(err) // there is no such level
			}
			return fw
		})
	}}
	gobwasReaders = sync.Pool{New: func() any {
		return wsflate.NewReader(nil, func(r io.Reader) wsflate.Decompressor {
			return flateReader{flate.NewReader(r)}
		})
	}}
)

// A flateReader is a reader of compress/flate that wsflate can reset.
type flateReader struct{ io.ReadCloser }

func (r flateReader) Reset(src io.Reader) {
	if err := r.ReadCloser.(flate.Resetter).Reset(src, nil); err != nil {
		panic(err) // it never fails
	}
}

func (c *gobwasDeflateConn) Echo() error {
	defer c.Close()
	return c.Receive(c.Send)
}

func (c *gobwasDeflateConn) Receive(f func(Message) error) error {
	compressed := new(bytes.Reader)
	for {
		h, err := ws.ReadHeaderBuffer(c.br, c.in[:])
		if err != nil {
			return err
		}
		buf := getBuffer()
		if err = c.read(h, buf); err == nil && !h.OpCode.IsControl() {
			compressed.Reset((*buf)[headerRoom:])
			err = inflateGobwas(h, compressed, f)
		}
		putBuffer(buf)
		if err != nil {
			return err
		}
	}
}

func inflateGobwas(h ws.Header, payload io.Reader, f func(Message) error) error {
	deflated, err := wsflate.IsCompressed(h)
	if err != nil {
		return err
	}
	if deflated {
		r := gobwasReaders.Get().(*wsflate.Reader)
		defer gobwasReaders.Put(r)
		r.Reset(payload)
		payload = r
	}
	buf := getBuffer()
	defer putBuffer(buf)
	if *buf, err = appendAll((*buf)[:0], payload); err != nil {
		return err
	}
	return f(Message{h.OpCode == ws.OpText, *buf})
}

func (c *gobwasDeflateConn) Send(m Message) error {
	buf := getBuffer()
	defer putBuffer(buf)
	*buf = slices.Grow((*buf)[:0], headerRoom)[:headerRoom]
	if err := (*appender)(buf).deflate(m.Data); err != nil {
		return err
	}
	h, err := wsflate.SetBit(ws.Header{Fin: true, OpCode: gobwasOpCode(m.Text)})
	if err != nil {
		return err
	}
	return c.writeFrame(h, *buf)
}

// An appender appends what is written to it.
type appender []byte

func (a *appender) Write(p []byte) (int, error) {
	*a = append(*a, p...)
	return len(p), nil
}

// deflate appends the payload of a compressed message.
func (a *appender) deflate(data []byte) error {
	w := gobwasWriters.Get().(*wsflate.Writer)
	defer gobwasWriters.Put(w)
	w.Reset(a)
	if _, err := w.Write(data); err != nil {
		return err
	}
	return w.Flush()
}
