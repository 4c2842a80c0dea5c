package bench

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"sync"

	klauspost "github.com/klauspost/compress/flate"

	"github.com/tidewire/websocket/internal/deflate"
)

// An encodeFunc is the writing half of a connection. It appends what is sent of a
// message, which is the message itself if that does not get shorter and
// the codec can say so.
type encodeFunc func(dst, message []byte) []byte

// An encoder is a way of compressing messages, as well as its library can be used for it. What a
// connection does not need between two messages is pooled.
type encoder struct {
	name string
	bits int // of its window
	open func(takeover bool) encodeFunc
}

var encoders = []encoder{
	{"ours-1-15", 15, openOurEncoder(15, deflate.Fast)},
	{"ours-1-12", 12, openOurEncoder(12, deflate.Fast)},
	{"ours-2-15", 15, openOurEncoder(15, deflate.Better)},
	{"ours-2-12", 12, openOurEncoder(12, deflate.Better)},
	{"flate-1", 15, openWriter(newFlateWriter(1))},
	{"flate-6", 15, openWriter(newFlateWriter(6))},
	{"klauspost-1", 15, openWriter(newKlauspostWriter(1))},
	{"klauspost-6", 15, openWriter(newKlauspostWriter(6))},
	{"klauspost-stateless", 15, openStateless},
}

func openOurEncoder(windowBits, level int) func(takeover bool) encodeFunc {
	return func(takeover bool) encodeFunc {
		e := deflate.NewEncoder(windowBits, level, takeover)
		return func(dst, message []byte) []byte {
			out, ok := e.AppendMessage(dst, message)
			if !ok {
				return append(dst, message...)
			}
			return out
		}
	}
}

// A flushWriter is a flate.Writer, or somebody else's.
type flushWriter interface {
	io.Writer
	Flush() error
	Reset(io.Writer)
}

func newFlateWriter(level int) func(io.Writer) flushWriter {
	return func(out io.Writer) flushWriter {
		w, err := flate.NewWriter(out, level)
		if err != nil {
			panic(err)
		}
		return w
	}
}

func newKlauspostWriter(level int) func(io.Writer) flushWriter {
	return func(out io.Writer) flushWriter {
		w, err := klauspost.NewWriter(out, level)
		if err != nil {
			panic(err)
		}
		return w
	}
}

// A messageWriter is a flushWriter and what it writes to.
type messageWriter struct {
	flushWriter
	out []byte
}

func (w *messageWriter) appendMessage(dst, message []byte) []byte {
	w.out = dst
	if _, err := w.flushWriter.Write(message); err != nil {
		panic(err)
	}
	if err := w.Flush(); err != nil {
		panic(err)
	}
	return w.out[:len(w.out)-len(tail)]
}

// An appender is the io.Writer of a messageWriter.
type appender struct{ *messageWriter }

func (a appender) Write(p []byte) (int, error) {
	a.out = append(a.out, p...)
	return len(p), nil
}

// With context takeover there is a writer for each connection, without it
// one for each message under way.
func openWriter(newWriter func(io.Writer) flushWriter) func(takeover bool) encodeFunc {
	newMessageWriter := func() *messageWriter {
		w := new(messageWriter)
		w.flushWriter = newWriter(appender{w})
		return w
	}
	pool := sync.Pool{New: func() any { return newMessageWriter() }}
	return func(takeover bool) encodeFunc {
		if takeover {
			return newMessageWriter().appendMessage
		}
		return func(dst, message []byte) []byte {
			w := pool.Get().(*messageWriter)
			defer pool.Put(w)
			w.Reset(appender{w})
			return w.appendMessage(dst, message)
		}
	}
}

// statelessWindow is the longest dictionary that klauspost.StatelessDeflate has a use for.
const statelessWindow = 8 << 10

func openStateless(takeover bool) encodeFunc {
	var history window
	if takeover {
		history.size = statelessWindow
	}
	w := new(messageWriter)
	return func(dst, message []byte) []byte {
		w.out = dst
		if err := klauspost.StatelessDeflate(appender{w}, message, false, history.last()); err != nil {
			panic(err)
		}
		history.add(message)
		return w.out[:len(w.out)-len(tail)]
	}
}

// A decodeFunc is the reading half of a connection. It appends a message to
// dst, which has room for it.
type decodeFunc func(dst, payload []byte) ([]byte, error)

// A decoder is to decompressing what an encoder is to compressing.
type decoder struct {
	name string
	bits int // of its window
	open func(takeover bool) decodeFunc
}

var decoders = []decoder{
	{"ours-15", 15, openOurInflater(15)},
	{"ours-12", 12, openOurInflater(12)},
	{"flate", 15, openReader(flate.NewReader)},
	{"klauspost", 15, openReader(klauspost.NewReader)},
}

func openOurInflater(windowBits int) func(takeover bool) decodeFunc {
	return func(takeover bool) decodeFunc {
		z := deflate.NewInflater(windowBits, takeover)
		return func(dst, payload []byte) ([]byte, error) {
			out, _, err := z.Inflate(dst, len(dst), payload, true)
			return out, err
		}
	}
}

// A messageReader is a flate.Reader, or somebody else's, and what it reads from.
type messageReader struct {
	io.Reader
	in      bytes.Reader
	payload []byte
}

// What is not sent of a message, and the end that a flate.Reader
// takes for the end of the stream.
var tail, end = []byte("\x00\x00\xff\xff"), []byte("\x01\x00\x00\xff\xff")

func (r *messageReader) appendMessage(dst, payload, history []byte) ([]byte, error) {
	r.payload = append(append(append(r.payload[:0], payload...), tail...), end...)
	r.in.Reset(r.payload)
	if err := r.Reader.(flate.Resetter).Reset(&r.in, history); err != nil {
		return dst, err
	}
	for {
		n, err := r.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		switch {
		case err == io.EOF:
			return dst, nil
		case err != nil:
			return dst, err
		case n == 0:
			return dst, errors.New("no room")
		}
	}
}

// A reader is reset for each message in any case, since it takes the end of its
// input for an error that lasts. With context takeover it is given the window.
func openReader(newReader func(io.Reader) io.ReadCloser) func(takeover bool) decodeFunc {
	pool := sync.Pool{New: func() any {
		r := new(messageReader)
		r.Reader = newReader(&r.in)
		return r
	}}
	return func(takeover bool) decodeFunc {
		var history window
		if takeover {
			history.size = 1 << deflate.MaxWindowBits
		}
		return func(dst, payload []byte) ([]byte, error) {
			r := pool.Get().(*messageReader)
			defer pool.Put(r)
			start := len(dst)
			dst, err := r.appendMessage(dst, payload, history.last())
			history.add(dst[start:])
			return dst, err
		}
	}
}

// A window holds the last size bytes that were added to it, and has room for some
// more, so that they are not moved each time.
type window struct {
	size int
	buf  []byte
}

func (w *window) last() []byte { return w.buf[max(0, len(w.buf)-w.size):] }

func (w *window) add(p []byte) {
	if w.size == 0 {
		return
	}
	if w.buf == nil {
		w.buf = make([]byte, 0, w.size+w.size/4)
	}
	p = p[max(0, len(p)-w.size):]
	if len(w.buf)+len(p) > cap(w.buf) {
		keep := w.size - len(p)
		w.buf = w.buf[:copy(w.buf, w.buf[max(0, len(w.buf)-keep):])]
	}
	w.buf = append(w.buf, p...)
}
