package websocket

import (
	"crypto/tls"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// A socket is a net.Conn as Conn reads it, and writes it while that takes no
// waiting.
type socket interface {
	// fill waits for bytes and adds them to in, of which need are wanted, or, if need is
	// aFrame, the rest of the frame that comes.
	fill(in *input, need int) error

	// readOn adds to in what the last fill may have left that needs no waiting.
	readOn(in *input)

	// read waits for bytes and reads them into p.
	read(p []byte) (int, error)

	// direct reports whether fill gives little at a time, so that payload had
	// better come by read.
	direct() bool

	// write writes what it can without waiting, which may be nothing.
	write(p []byte) (int, error)
}

// aFrame is what fill is to wait for between two frames.
const aFrame = 0

// A plainSocket is any net.Conn. It waits for a frame with a few bytes. What is missing
// of it then, it reads into a buffer; of a long one, payload is read to where it goes.
// Only for compressed payload, which goes nowhere as it is, it waits with a buffer.
type plainSocket struct {
	nc   net.Conn
	held [64]byte
}

func (s *plainSocket) direct() bool { return true }

func (s *plainSocket) fill(in *input, need int) error {
	if in.buf != nil {
		in.park()
	}
	if need > len(s.held) {
		return s.fillBuffer(in)
	}
	n := copy(s.held[:], in.unread)
	m, err := s.read(s.held[n:])
	in.unread = s.held[:n+m]
	in.full = n+m == len(s.held)
	if in.full && need == aFrame {
		if missing := frameEnd(in.unread) - uint64(n+m); 0 < missing && missing < directLength {
			s.fillBuffer(in) // an error will come again
		}
	}
	return err
}

// fillBuffer gets a buffer for what is unread and what comes next, and keeps it if something
// does.
func (s *plainSocket) fillBuffer(in *input) error {
	in.full = false
	buf := getReadBuffer(false)
	n := copy(*buf, in.unread)
	m, err := s.read((*buf)[n:])
	if m == 0 {
		buf.free()
		return err
	}
	in.buf, in.unread = buf, (*buf)[:n+m]
	return nil
}

// readOn reads what a tls.Conn has left of a record. No wait is in progress that needs the
// deadline.
func (s *plainSocket) readOn(in *input) {
	if in.full {
		s.nc.SetReadDeadline(aLongTimeAgo)
		s.fillBuffer(in)
		s.nc.SetReadDeadline(time.Time{})
	}
}

func (s *plainSocket) read(p []byte) (int, error) { return readSome(s.nc, p) }

// readSome reads from r, at least one byte or an error.
func readSome(r io.Reader, p []byte) (int, error) {
	for range 100 {
		n, err := r.Read(p)
		if n > 0 {
			return n, nil // an error will come again
		}
		if err != nil {
			return 0, err
		}
	}
	return 0, io.ErrNoProgress
}

func (s *plainSocket) write([]byte) (int, error) { return 0, nil }

// A pump gives deadlines to a net.Conn that has none. It reads in a goroutine
// of its own, at most one buffer ahead, until it is closed. A write that has to
// end can end only with the connection.
type pump struct {
	net.Conn
	start sync.Once

	mu      sync.Mutex
	changed chan struct{} // closed, and replaced, when what follows has
	expired bool          // the read deadline
	unread  []byte
	err     error // of reading on

	late      bool // the write deadline, and so the connection
	lateTimer *time.Timer
}

const pumpBuffer = 4 << 10

func newPump(nc net.Conn) *pump { return &pump{Conn: nc, changed: make(chan struct{})} }

// change wakes who waits. p.mu is held.
func (p *pump) change() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// await waits until ready, which is asked again whenever something has changed.
// p.mu is held, but not meanwhile.
func (p *pump) await(ready func() bool) {
	for !ready() {
		changed := p.changed
		p.mu.Unlock()
		<-changed
		p.mu.Lock()
	}
}

// SetReadDeadline ends a read, and those to come, if t is not zero. It knows no
// deadlines in the future, which Conn never sets.
func (p *pump) SetReadDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expired = !t.IsZero()
	p.change()
	return nil
}

func (p *pump) Read(b []byte) (int, error) {
	p.start.Do(func() { go p.run() })
	p.mu.Lock()
	defer p.mu.Unlock()
	p.await(func() bool { return p.expired || len(p.unread) > 0 || p.err != nil })
	if p.expired {
		return 0, os.ErrDeadlineExceeded
	}
	if len(p.unread) == 0 {
		return 0, p.err
	}
	n := copy(b, p.unread)
	p.unread = p.unread[n:]
	p.change()
	return n, nil
}

// SetWriteDeadline closes the connection at t, unless that is zero.
func (p *pump) SetWriteDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lateTimer != nil {
		stopTimer(p.lateTimer)
		p.lateTimer = nil
	}
	if !t.IsZero() {
		var timer *time.Timer
		timer = afterFunc(time.Until(t), func() {
			p.mu.Lock()
			late := timer == p.lateTimer // it was not stopped
			p.late = p.late || late
			if late && p.err == nil {
				p.err = os.ErrDeadlineExceeded // for a read, too
			}
			p.mu.Unlock()
			if late {
				p.Close()
			}
		})
		p.lateTimer = timer
	}
	return nil
}

func (p *pump) Write(b []byte) (int, error) {
	n, err := p.Conn.Write(b)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil && p.late {
		err = os.ErrDeadlineExceeded
	}
	return n, err
}

// run reads until an error, or Close.
func (p *pump) run() {
	buf := make([]byte, pumpBuffer)
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.err == nil {
		p.mu.Unlock()
		n, err := p.Conn.Read(buf)
		p.mu.Lock()
		p.unread = buf[:n]
		if p.err == nil {
			p.err = err
		}
		p.change()
		p.await(func() bool { return len(p.unread) == 0 || p.err != nil })
	}
}

// Close does not wait, also on TLS.
func (p *pump) Close() error {
	p.mu.Lock()
	if p.err == nil {
		p.err = net.ErrClosed
	}
	p.change()
	p.mu.Unlock()
	return closeNow(p.Conn)
}

// closeNow closes nc, without a word on TLS: a tls.Conn would wait for a writer
// that is stuck, and with the alert for the peer.
func closeNow(nc net.Conn) error {
	for {
		switch c := nc.(type) {
		case *tls.Conn:
			nc = c.NetConn()
		case *earlyConn:
			nc = c.Conn
		default:
			return nc.Close()
		}
	}
}
