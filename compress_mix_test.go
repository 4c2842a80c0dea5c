package websocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// Two endpoints write to each other, in every way and from several goroutines each, what is
// compressed and what is not, and read in every way, with contexts that end at any time.
// Each byte has to come, in order.
func TestCompressedMix(t *testing.T) {
	const writers = 4
	for _, n := range []network{pipe, tcp, tls_} {
		for seed := range uint64(5) {
			t.Run(fmt.Sprint(n.name, " ", seed), func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 3*patienceOfPeers)
				defer cancel()
				random := rand.New(rand.NewPCG(seed, 7692))
				server, client := n.connectBoth(t, testConfig(serverSide))
				server.compression, client.compression = randomCompression(random)
				var talking, reading sync.WaitGroup
				for i, c := range []*Conn{server, client} {
					for writer := range writers {
						w := &letterWriter{c: c, ctx: ctx, writer: writer, random: rand.New(rand.NewPCG(seed, uint64(2*writer+i)))}
						talking.Go(func() {
							if err := w.run(); err != nil {
								t.Errorf("writer %d: %v", writer, err)
								cancel()
							}
						})
					}
					r := &letterReader{c: c, ctx: ctx, next: make([]int, writers), random: rand.New(rand.NewPCG(seed, uint64(100+i)))}
					talking.Add(1)
					reading.Go(func() {
						if err := r.run(); err != nil {
							t.Errorf("after %d letters: %v", r.next, err)
							cancel()
						}
						talking.Done()
						if _, m, err := c.Read(ctx); err != context.Canceled { // for Pings
							t.Errorf("after all letters: read %s, %v", excerpt(m), err)
						}
					})
				}
				talking.Wait()
				cancel()
				reading.Wait()
			})
		}
	}
}

// randomCompression returns what two endpoints may agree on.
func randomCompression(random *rand.Rand) (server, client *compression) {
	flip := func() bool { return random.IntN(4) == 0 }
	response := deflateOffer{
		serverNoContextTakeover: flip(), clientNoContextTakeover: flip(),
		serverMaxWindowBits: 9 + random.IntN(7), clientMaxWindowBits: 9 + random.IntN(7),
	}
	options := func() *Compression {
		return &Compression{
			Level:                   random.IntN(3),
			Threshold:               []int{-1, 0, 1, 1000}[random.IntN(4)],
			ServerMaxWindowBits:     9 + random.IntN(7),
			ClientMaxWindowBits:     9 + random.IntN(7),
			ClientNoContextTakeover: flip(),
		}
	}
	return options().negotiated(response, serverSide), options().negotiated(response, clientSide)
}

// lettersPerWriter is how many letters each writer writes.
const lettersPerWriter = 25

// letter returns the message that a writer writes as its nth.
func letter(writer, n int) Message {
	random := rand.New(rand.NewPCG(uint64(writer), uint64(n)))
	size := []int{0, 1, 50, 70, 250, 300, 1000, 3000, 10000, 20000, 70000}[random.IntN(11)]
	typ, text := MessageText, ""
	switch random.IntN(5) {
	case 0:
		text = strings.Repeat("x", size)
	case 1:
		typ, text = MessageBinary, string(pattern(size, random.IntN(1<<16)))
	case 2:
		typ, text = MessageBinary, prose(size/2, random.IntN(3))+string(pattern(size/2, random.IntN(1<<16)))
	default:
		text = prose(size, random.IntN(3))
	}
	return Message{typ, fmt.Appendf(nil, "%d.%d:%s", writer, n, text)}
}

// A letterWriter writes the letters of one writer.
type letterWriter struct {
	c      *Conn
	ctx    context.Context
	writer int
	random *rand.Rand
}

func (w *letterWriter) run() error {
	for n := 0; n < lettersPerWriter; {
		m := letter(w.writer, n)
		n++
		var err error
		switch w.random.IntN(8) {
		case 0:
			err = w.stream(m)
		case 1:
			var prepared *PreparedMessage
			if prepared, err = NewPreparedMessage(m.Type, m.Data); err == nil {
				err = w.c.WritePrepared(w.ctx, prepared)
			}
		case 2:
			batch := []Message{m}
			for ; n < lettersPerWriter && len(batch) < 4; n++ {
				batch = append(batch, letter(w.writer, n))
			}
			err = waysToWriteBatches[w.random.IntN(2)].write(w.ctx, w.c, batch...)
		case 3:
			_, pingErr := w.c.Ping(w.ctx)
			err = errors.Join(pingErr, w.c.Write(w.ctx, m.Type, m.Data))
		case 4:
			if err = w.breakOff(m); err == nil {
				err = w.c.Write(w.ctx, m.Type, m.Data)
			}
		default:
			err = w.c.Write(w.ctx, m.Type, m.Data)
		}
		if err != nil {
			return fmt.Errorf("letter %d: %w", n, err)
		}
	}
	return nil
}

// stream writes m by a MessageWriter.
func (w *letterWriter) stream(m Message) error {
	mw, err := w.c.NextWriter(w.ctx, m.Type)
	if err != nil {
		return err
	}
	if choice := w.random.IntN(3); choice < 2 {
		mw.SetCompress(choice == 0)
	}
	for data := m.Data; len(data) > 0; {
		n := min(len(data), 1+w.random.IntN(2*fragmentLength))
		if _, err := mw.Write(data[:n]); err != nil {
			return err
		}
		data = data[n:]
	}
	return mw.Close()
}

// breakOff begins to write m, and gives it up before anything of it has left.
func (w *letterWriter) breakOff(m Message) error {
	mw, err := w.c.NextWriter(w.ctx, m.Type)
	if err != nil {
		return err
	}
	if _, err := mw.Write(m.Data[:min(len(m.Data), fragmentLength)]); err != nil {
		return err
	}
	mw.Abort()
	return nil
}

// A letterReader reads the letters of all writers.
type letterReader struct {
	c      *Conn
	ctx    context.Context
	next   []int // letter of each writer
	random *rand.Rand
}

func (r *letterReader) run() error {
	mixed := mixedReader{c: r.c, random: r.random}
	for !r.done() {
		if mixed.reader == nil && r.random.IntN(10) == 0 {
			if err := r.readBeginning(); err != nil {
				return err
			}
			continue
		}
		// One letter, or as many as come before the context ends.
		ctx, cancel := context.WithCancelCause(r.ctx)
		go func(turns int) {
			for range turns {
				runtime.Gosched()
			}
			cancel(errCut)
		}(r.random.IntN(100))
		err := mixed.read(ctx)
		cancel(nil)
		if err != errCut {
			return err
		}
		for _, m := range mixed.got {
			if err := r.check(m); err != nil {
				return err
			}
		}
		mixed.got = nil
	}
	return nil
}

func (r *letterReader) done() bool {
	for _, n := range r.next {
		if n < lettersPerWriter {
			return false
		}
	}
	return true
}

// readBeginning reads the beginning of a letter, and leaves the rest to those who
// read what follows. If a read was cut short, that is the letter.
func (r *letterReader) readBeginning() error {
	typ, reader, err := r.c.NextReader(r.ctx)
	if err != nil {
		return err
	}
	beginning := make([]byte, 10+r.random.IntN(2000))
	n, err := io.ReadFull(reader, beginning)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return err
	}
	return r.check(Message{typ, beginning[:n]})
}

// check checks m, which is the next letter of its writer, or its beginning.
func (r *letterReader) check(m Message) error {
	var writer, number int
	if _, err := fmt.Sscanf(string(m.Data[:min(len(m.Data), 20)]), "%d.%d:", &writer, &number); err != nil {
		return fmt.Errorf("read %.80q: %w", m.Data, err)
	}
	if writer >= len(r.next) || number != r.next[writer] {
		return fmt.Errorf("read letter %d of writer %d", number, writer)
	}
	r.next[writer]++
	want := letter(writer, number)
	if m.Type != want.Type || !bytes.HasPrefix(want.Data, m.Data) {
		return fmt.Errorf("read %v %s, want %v %s", m.Type, excerpt(m.Data), want.Type, excerpt(want.Data))
	}
	return nil
}
