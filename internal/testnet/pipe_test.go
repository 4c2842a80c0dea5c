package testnet

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestMain(m *testing.M) { CheckLeaks(m) }

// inBubble runs test with the ends of a pipe, in a bubble.
func inBubble(t *testing.T, name string, test func(t *testing.T, a, b *Conn)) {
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a, b := Pipe()
			defer a.Close()
			defer b.Close()
			test(t, a, b)
		})
	})
}

// async runs f on a goroutine. The returned function says whether f is still
// blocked once everybody else is too.
func async(f func()) (blocked func() bool) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	return func() bool {
		synctest.Wait()
		select {
		case <-done:
			return false
		default:
			return true
		}
	}
}

func wantTimeout(t *testing.T, err error) {
	t.Helper()
	var ne net.Error
	if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &ne) || !ne.Timeout() {
		t.Errorf("got error %v, want os.ErrDeadlineExceeded, a net.Error that is a timeout", err)
	}
}

func wantErr(t *testing.T, op string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got error %v, want %v", op, err, want)
	}
}

func write(t *testing.T, c net.Conn, s string) {
	t.Helper()
	if n, err := c.Write([]byte(s)); n != len(s) || err != nil {
		t.Fatalf("Write(%q): got %d, %v", s, n, err)
	}
}

func read(t *testing.T, c net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("Read: got %q, %v, want %q", got, err, want)
	}
}

func wantEOF(t *testing.T, c net.Conn) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("Read: got %d, %v, want 0 and io.EOF itself", n, err)
	}
}

func TestPipeBuffers(t *testing.T) {
	inBubble(t, "both ways", func(t *testing.T, a, b *Conn) {
		write(t, a, "one")
		write(t, a, "two")
		write(t, b, "three")
		read(t, b, "onetwo")
		read(t, a, "three")
	})
	inBubble(t, "a full one blocks", func(t *testing.T, a, b *Conn) {
		write(t, a, string(make([]byte, defaultBuffer)))
		blocked := async(func() { write(t, a, "more") })
		if !blocked() {
			t.Fatal("a write beyond the buffer did not block")
		}
		read(t, b, "\x00\x00\x00")
		if !blocked() {
			t.Fatal("a write of four bytes went into room for three")
		}
		read(t, b, "\x00")
		if blocked() {
			t.Fatal("a write blocks though there is room")
		}
	})
	inBubble(t, "smaller", func(t *testing.T, a, b *Conn) {
		b.SetReadBuffer(4)
		write(t, a, "four")
		blocked := async(func() { write(t, a, "s") })
		if !blocked() {
			t.Fatal("a write beyond the buffer did not block")
		}
		b.SetReadBuffer(5)
		if blocked() {
			t.Fatal("a write blocks though the buffer was enlarged")
		}
	})
	inBubble(t, "empty", func(t *testing.T, a, b *Conn) {
		write(t, a, "")
		if n, err := b.Read(nil); n != 0 || err != nil {
			t.Fatalf("Read(nil): got %d, %v", n, err)
		}
	})
}

func TestPipeWritesAreWhole(t *testing.T) {
	inBubble(t, "", func(t *testing.T, a, b *Conn) {
		b.SetReadBuffer(3)
		const writers, size = 4, 100
		for i := range writers {
			go a.Write(bytes.Repeat([]byte{byte('a' + i)}, size))
		}
		got := make([]byte, writers*size)
		if _, err := io.ReadFull(b, got); err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(got); i += size {
			if whole := bytes.Repeat(got[i:i+1], size); !bytes.Equal(got[i:i+size], whole) {
				t.Fatalf("writes are interleaved: %q", got[i:i+size])
			}
		}
	})
}

func TestPipeClose(t *testing.T) {
	inBubble(t, "the peer drains", func(t *testing.T, a, b *Conn) {
		write(t, a, "last")
		wantErr(t, "Close", a.Close(), nil)
		read(t, b, "last")
		wantEOF(t, b)
		_, err := b.Write([]byte("x"))
		wantErr(t, "Write to a closed peer", err, syscall.EPIPE)
	})
	inBubble(t, "own calls", func(t *testing.T, a, b *Conn) {
		write(t, b, "unread")
		a.Close()
		_, err := a.Read(make([]byte, 1))
		wantErr(t, "Read", err, net.ErrClosed)
		_, err = a.Write([]byte("x"))
		wantErr(t, "Write", err, net.ErrClosed)
		wantErr(t, "Close", a.Close(), net.ErrClosed)
		wantErr(t, "CloseWrite", a.CloseWrite(), net.ErrClosed)
		wantErr(t, "Reset", a.Reset(), net.ErrClosed)
		wantErr(t, "SetDeadline", a.SetDeadline(time.Time{}), net.ErrClosed)
		wantErr(t, "SetWriteDeadline", a.SetWriteDeadline(time.Time{}), net.ErrClosed)
		var oe *net.OpError
		if !errors.As(err, &oe) || oe.Op != "write" {
			t.Errorf("got %#v, want a *net.OpError that says write", err)
		}
	})
	inBubble(t, "aborts what is blocked", func(t *testing.T, a, b *Conn) {
		write(t, a, string(make([]byte, defaultBuffer)))
		var errs [4]error
		for i, f := range []func(){
			func() { _, errs[0] = a.Read(make([]byte, 1)) },
			func() { _, errs[1] = a.Write(make([]byte, 1)) },
			func() { _, errs[2] = a.Write(make([]byte, 1)) },
			func() { io.Copy(io.Discard, b); _, errs[3] = b.Read(make([]byte, 1)) },
		} {
			blocked := async(f)
			if i < 3 && !blocked() {
				t.Fatal("not blocked")
			}
			if i == 2 {
				a.Close()
			}
		}
		synctest.Wait()
		for _, err := range errs[:3] {
			wantErr(t, "blocked call", err, net.ErrClosed)
		}
		wantErr(t, "the peer's Read", errs[3], io.EOF)
	})
	inBubble(t, "by the peer aborts a blocked write", func(t *testing.T, a, b *Conn) {
		var n int
		var err error
		async(func() { n, err = a.Write(make([]byte, defaultBuffer+1)) })()
		b.Close()
		synctest.Wait()
		wantErr(t, "Write", err, syscall.EPIPE)
		if n != defaultBuffer {
			t.Errorf("got %d bytes written, want %d", n, defaultBuffer)
		}
	})
}

func TestPipeCloseWrite(t *testing.T) {
	inBubble(t, "", func(t *testing.T, a, b *Conn) {
		write(t, a, "last")
		wantErr(t, "CloseWrite", a.CloseWrite(), nil)
		read(t, b, "last")
		wantEOF(t, b)
		write(t, b, "the other way")
		read(t, a, "the other way")
		_, err := a.Write([]byte("x"))
		wantErr(t, "Write after CloseWrite", err, syscall.EPIPE)
		b.CloseWrite()
		wantEOF(t, a)
		wantErr(t, "Close", a.Close(), nil)
	})
}

func TestPipeReset(t *testing.T) {
	inBubble(t, "", func(t *testing.T, a, b *Conn) {
		write(t, a, "lost")
		wantErr(t, "Reset", a.Reset(), nil)
		_, err := b.Read(make([]byte, 4))
		wantErr(t, "Read", err, syscall.ECONNRESET)
		_, err = b.Write(make([]byte, 4))
		wantErr(t, "Write", err, syscall.ECONNRESET)
		_, err = a.Write(make([]byte, 4))
		wantErr(t, "own Write", err, net.ErrClosed)
	})
}

func TestPipeStall(t *testing.T) {
	inBubble(t, "", func(t *testing.T, a, b *Conn) {
		b.Stall(true)
		write(t, a, "x")
		blocked := async(func() { read(t, b, "x") })
		if !blocked() {
			t.Fatal("a stalled end reads")
		}
		b.Stall(false)
		if blocked() {
			t.Fatal("an end stays stalled")
		}
	})
}

func TestPipeDeadlines(t *testing.T) {
	inBubble(t, "read", func(t *testing.T, a, b *Conn) {
		start := time.Now()
		a.SetReadDeadline(start.Add(time.Minute))
		_, err := a.Read(make([]byte, 1))
		wantTimeout(t, err)
		if got := time.Since(start); got != time.Minute {
			t.Errorf("got a timeout after %v, want a minute", got)
		}
		write(t, b, "kept")
		_, err = a.Read(make([]byte, 4))
		wantTimeout(t, err) // as long as the deadline stands, data or not
		a.SetReadDeadline(time.Time{})
		read(t, a, "kept")
	})
	inBubble(t, "write", func(t *testing.T, a, b *Conn) {
		a.SetWriteDeadline(time.Now().Add(time.Minute))
		n, err := a.Write(make([]byte, defaultBuffer+5))
		wantTimeout(t, err)
		if n != defaultBuffer {
			t.Errorf("got %d bytes written before the timeout, want %d", n, defaultBuffer)
		}
		n, err = a.Write(nil)
		wantTimeout(t, err)
		if n != 0 {
			t.Errorf("got %d bytes written after it, want none", n)
		}
		io.ReadFull(b, make([]byte, defaultBuffer))
		a.SetWriteDeadline(time.Time{})
		write(t, a, "again")
		read(t, b, "again")
	})
	inBubble(t, "a write that waits for another", func(t *testing.T, a, b *Conn) {
		blocked := async(func() { a.Write(make([]byte, defaultBuffer+1)) })
		if !blocked() {
			t.Fatal("a write beyond the buffer did not block")
		}
		a.SetWriteDeadline(time.Now().Add(time.Minute))
		n, err := a.Write([]byte("x"))
		wantTimeout(t, err)
		if n != 0 {
			t.Errorf("got %d bytes written, want none", n)
		}
	})
	inBubble(t, "in the past aborts", func(t *testing.T, a, b *Conn) {
		var err error
		blocked := async(func() { _, err = a.Read(make([]byte, 1)) })
		if !blocked() {
			t.Fatal("a read of nothing did not block")
		}
		a.SetReadDeadline(time.Unix(1, 0))
		if blocked() {
			t.Fatal("a deadline in the past did not abort the read")
		}
		wantTimeout(t, err)
		a.SetReadDeadline(time.Time{})
		write(t, b, "y")
		read(t, a, "y")
	})
	inBubble(t, "extended", func(t *testing.T, a, b *Conn) {
		a.SetReadDeadline(time.Now().Add(time.Second))
		blocked := async(func() { read(t, a, "late") })
		synctest.Wait()
		a.SetReadDeadline(time.Now().Add(time.Hour))
		time.Sleep(time.Minute) // on the bubble's clock
		if !blocked() {
			t.Fatal("a deadline that was moved ended the read")
		}
		write(t, b, "late")
		if blocked() {
			t.Fatal("the read did not go on")
		}
	})
	inBubble(t, "the two are apart", func(t *testing.T, a, b *Conn) {
		a.SetReadDeadline(time.Unix(1, 0))
		write(t, a, "x")
		a.SetReadDeadline(time.Time{})
		a.SetWriteDeadline(time.Unix(1, 0))
		write(t, b, "y")
		read(t, a, "y")
		a.SetDeadline(time.Unix(1, 0))
		_, err := a.Read(make([]byte, 1))
		wantTimeout(t, err)
		_, err = a.Write(make([]byte, 1))
		wantTimeout(t, err)
	})
	inBubble(t, "cleared by Close", func(t *testing.T, a, b *Conn) {
		a.SetDeadline(time.Now().Add(time.Minute))
		a.Close()
		time.Sleep(time.Hour) // on the bubble's clock
		_, err := a.Read(make([]byte, 1))
		wantErr(t, "Read", err, net.ErrClosed)
	})
}

// Data of any shape comes out as it went in, over both ends at once, while
// deadlines come and go.
func TestPipeConcurrent(t *testing.T) {
	a, b := Pipe()
	a.SetReadBuffer(1000)
	sent := make([]byte, 1<<20)
	for i := range sent {
		sent[i] = byte(rand.Uint32())
	}
	send := func(c *Conn) {
		for p := sent; len(p) > 0; {
			c.SetWriteDeadline(time.Now().Add(time.Duration(rand.IntN(200)) * time.Microsecond))
			n, err := c.Write(p[:min(len(p), 1+rand.IntN(5000))])
			if p = p[n:]; err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error(err)
				return
			}
		}
		c.CloseWrite()
	}
	receive := func(c *Conn) {
		var got []byte
		for p := make([]byte, 3000); ; {
			c.SetReadDeadline(time.Now().Add(time.Duration(rand.IntN(200)) * time.Microsecond))
			n, err := c.Read(p[:1+rand.IntN(len(p)-1)])
			got = append(got, p[:n]...)
			if err == io.EOF {
				break
			}
			if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error(err)
				return
			}
		}
		if !bytes.Equal(got, sent) {
			t.Errorf("got %d bytes that are not the %d sent", len(got), len(sent))
		}
	}
	var wg sync.WaitGroup
	for _, c := range []*Conn{a, b} {
		wg.Go(func() { send(c) })
		wg.Go(func() { receive(c) })
	}
	wg.Wait()
	a.Close()
	b.Close()
}

func TestPipeAddrs(t *testing.T) {
	a, b := Pipe()
	if a.LocalAddr() != b.RemoteAddr() || b.LocalAddr() != a.RemoteAddr() || a.LocalAddr() == b.LocalAddr() {
		t.Errorf("got addresses %v, %v and %v, %v", a.LocalAddr(), a.RemoteAddr(), b.LocalAddr(), b.RemoteAddr())
	}
	if a.LocalAddr().Network() != "pipe" {
		t.Errorf("got network %q, want pipe", a.LocalAddr().Network())
	}
}

func TestChunked(t *testing.T) {
	inBubble(t, "", func(t *testing.T, a, b *Conn) {
		c := Chunked(b, 2)
		write(t, a, "hello")
		for _, want := range []string{"he", "ll", "o"} {
			p := make([]byte, 16)
			n, err := c.Read(p)
			if got := string(p[:n]); got != want || err != nil {
				t.Errorf("got %q, %v, want %q", got, err, want)
			}
		}
		if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
			t.Error(err)
		}
		wantEOF(t, a)

		only := Chunked(struct{ net.Conn }{b}, 2)
		wantErr(t, "CloseWrite", only.(interface{ CloseWrite() error }).CloseWrite(), errors.ErrUnsupported)
	})
}

// Bytes, and the end, come later than they were written, each in its time.
func TestPipeLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := Pipe()
		b.SetFaults(Faults{Latency: 100 * time.Millisecond})
		start := time.Now()
		go func() {
			for _, s := range []string{"one", "two"} {
				io.WriteString(a, s)
				time.Sleep(30 * time.Millisecond)
			}
			a.Close()
		}()
		p := make([]byte, 10)
		for _, want := range []struct {
			text  string
			err   error
			after time.Duration
		}{{"one", nil, 100}, {"two", nil, 130}, {"", io.EOF, 160}} {
			n, err := b.Read(p)
			if got := time.Since(start); string(p[:n]) != want.text || err != want.err || got != want.after*time.Millisecond {
				t.Errorf("got %q, %v after %v, want %q, %v after %d ms", p[:n], err, got, want.text, want.err, want.after)
			}
		}
	})
}

// What was written before there was a latency is there.
func TestPipeLatencyLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := Pipe()
		io.WriteString(a, "before")
		b.SetFaults(Faults{Latency: time.Second})
		io.WriteString(a, "after")
		start := time.Now()
		p := make([]byte, 20)
		n, _ := b.Read(p)
		if string(p[:n]) != "before" || time.Since(start) != 0 {
			t.Errorf("got %q after %v", p[:n], time.Since(start))
		}
		n, _ = b.Read(p)
		if string(p[:n]) != "after" || time.Since(start) != time.Second {
			t.Errorf("got %q after %v", p[:n], time.Since(start))
		}
	})
}

func TestPipeChunk(t *testing.T) {
	a, b := Pipe()
	b.SetFaults(Faults{Chunk: 3})
	io.WriteString(a, "12345678")
	p := make([]byte, 10)
	for _, want := range []string{"123", "456", "78"} {
		if n, err := b.Read(p); string(p[:n]) != want || err != nil {
			t.Errorf("got %q, %v, want %q", p[:n], err, want)
		}
	}
}

// After so many bytes nothing comes any more, not even the end.
func TestPipeStallAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := Pipe()
		b.SetFaults(Faults{Stall: 4})
		io.WriteString(a, "1234")
		p := make([]byte, 10)
		if n, err := b.Read(p); n != 4 || err != nil {
			t.Errorf("got %q, %v", p[:n], err)
		}
		io.WriteString(a, "5678")
		a.Close()
		b.SetReadDeadline(time.Now().Add(time.Hour))
		if n, err := b.Read(p); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %q, %v", p[:n], err)
		}
		b.SetFaults(Faults{})
		b.SetReadDeadline(time.Time{})
		if got, err := io.ReadAll(b); string(got) != "5678" || err != nil {
			t.Errorf("without the fault: got %q, %v", got, err)
		}
	})
}

// After so many bytes both ends find the connection reset.
func TestPipeCut(t *testing.T) {
	a, b := Pipe()
	b.SetFaults(Faults{Cut: 4})
	io.WriteString(a, "12345678")
	p := make([]byte, 10)
	if n, err := b.Read(p); string(p[:n]) != "1234" || err != nil {
		t.Errorf("got %q, %v", p[:n], err)
	}
	for name, f := range map[string]func([]byte) (int, error){"b.Read": b.Read, "b.Write": b.Write, "a.Read": a.Read, "a.Write": a.Write} {
		if n, err := f(p); n != 0 || !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: got %d, %v", name, n, err)
		}
	}
}
