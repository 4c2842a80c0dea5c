package websocket

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"
)

// cut cuts b into pieces, the first of a byte more than the first of cuts says,
// and so on, round and round. Without cuts, b is one piece.
func cut(b, cuts []byte) [][]byte {
	var pieces [][]byte
	for i := 0; len(b) > 0; i++ {
		n := len(b)
		if len(cuts) > 0 {
			n = min(n, int(cuts[i%len(cuts)])+1)
		}
		pieces = append(pieces, b[:n:n])
		b = b[n:]
	}
	return pieces
}

// A header that parses is appended as the same bytes, and
// one that does not has a length that would not be.
func FuzzHeader(f *testing.F) {
	for _, tt := range headerTests {
		f.Add(fromBits(f, tt.bits))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		want, n, ok := referenceHeader(b)
		if len(b) < 2 || len(b) < headerLen(b) {
			if ok {
				t.Fatalf("% x holds a header of %d bytes, headerLen says %d", b, n, headerLen(b))
			}
			return
		}
		if got := headerLen(b); got != n {
			t.Fatalf("% x: got headerLen %d, want %d", b, got, n)
		}
		got, err := parseHeader(b)
		if err != nil {
			if want.minimal {
				t.Fatalf("% x: got %v, want %+v", b[:n], err, want)
			}
			return
		}
		if got != want.header || !want.minimal {
			t.Fatalf("% x: got %+v, want %+v", b[:n], got, want)
		}
		if again := appendHeader(nil, got); !bytes.Equal(again, b[:n]) {
			t.Fatalf("got % x, want % x", again, b[:n])
		}
	})
}

// Masking, in whatever pieces and by whatever implementation, does what the byte
// loop does.
func FuzzMask(f *testing.F) {
	f.Add([]byte("Hello"), []byte(nil), testKey[:], uint8(0))
	f.Add(randomBytes(300), []byte{63, 0, 7, 2}, []byte{1, 2, 3, 4}, uint8(3))
	f.Add(randomBytes(1000), []byte{128, 0, 64, 255}, []byte{1, 2, 3, 4}, uint8(31))
	f.Fuzz(func(t *testing.T, payload, cuts, key []byte, align uint8) {
		var k [4]byte
		copy(k[:], key)
		want := maskBytes(payload, k, 0)
		pieces := cut(payload, cuts)
		for _, m := range maskings {
			m.use(t)
			array := make([]byte, int(align)+len(payload))
			got := array[align:]
			copy(got, payload)
			next := maskingKeyAt(k, 0)
			for _, piece := range cut(got, cuts) {
				next = mask(piece, next)
			}
			if !bytes.Equal(got, want) || next != maskingKeyAt(k, len(payload)) {
				t.Fatalf("%s: got % x, next key %#x, want % x", m.name, got, next, want)
			}

			clear(got)
			next = maskingKeyAt(k, 0)
			for _, piece := range pieces {
				maskTo(got[:len(piece)], piece, next)
				next = rotate(next, len(piece))
				got = got[len(piece):]
			}
			if got = array[align:]; !bytes.Equal(got, want) {
				t.Fatalf("%s to elsewhere: got % x, want % x", m.name, got, want)
			}
			if bytes.Count(array[:align], []byte{0}) != int(align) {
				t.Fatalf("%s: touched the bytes before: % x", m.name, array[:align])
			}
		}
	})
}

// The state after a text, in whatever pieces, is what package unicode/utf8 says
// of the text.
func FuzzUTF8(f *testing.F) {
	for _, tt := range utf8Tests {
		f.Add([]byte("seven, "+tt.text), []byte(nil))
		f.Add([]byte(tt.text+" in front"), []byte{0, 1, 8})
	}
	for _, tt := range utf8Texts {
		f.Add([]byte(tt.text), []byte{6, 10})
	}
	f.Fuzz(func(t *testing.T, text, cuts []byte) {
		s := utf8Accept
		for _, piece := range cut(text, cuts) {
			s = s.next(piece)
		}
		if got, want := s == utf8Accept, utf8.Valid(text); got != want {
			t.Errorf("% x: got %v, want %v", text, got, want)
		}
		if got, want := s != utf8Reject, mayBecomeUTF8(text); got != want {
			t.Errorf("% x and more: got %v, want %v", text, got, want)
		}
	})
}

// mayBecomeUTF8 reports whether text is UTF-8, but for
// a character that it ends within.
func mayBecomeUTF8(text []byte) bool {
	for utf8.FullRune(text) {
		r, n := utf8.DecodeRune(text)
		if r == utf8.RuneError && n == 1 {
			return false
		}
		text = text[n:]
	}
	return true
}

// A peer's bytes come to the same, however they are cut, whoever reads
// them, and in whatever way: to what reference says.
func FuzzRead(f *testing.F) {
	for _, seed := range conversationSeeds(f) {
		for s, stream := range [][]byte{serverSide: seed.server, clientSide: seed.client} {
			if 0 < len(stream) && len(stream) <= 500 {
				z := negotiated(f, seed.extensions, side(s))
				f.Add(stream, []byte{1, 0, 30}, side(s) == clientSide, int32(seed.limit), fuzzDeflateOf(z))
			}
		}
	}
	f.Fuzz(func(t *testing.T, stream, cuts []byte, client bool, limit int32, deflate uint8) {
		cfg := connDefaults(int64(limit), -1, 0, 0, 0)
		if client {
			cfg.side = clientSide
		}
		cfg.compression = fuzzDeflate(deflate, cfg.side)
		if cfg.compression != nil && len(stream) > 4000 {
			t.Skip("the reference does not know how much work is too much")
		}
		want := reference(t, stream, cfg)
		var first error
		try := func(socket fuzzSocket, way fuzzWay, cuts []byte) {
			r := &fuzzRun{T: t, tape: newTape(cut(stream, cuts)), want: want}
			r.name = fmt.Sprintf("%s, %s, cut %d", socket.name, way.name, cuts)
			cfg.compression = fuzzDeflate(deflate, cfg.side)
			cfg.batching = len(stream)%2 == 1
			r.conn = socket.conn(r.tape, cfg)
			err := way.read(r)
			r.finish(err, socket.all)
			if first == nil {
				first = err
			}
			if err.Error() != first.Error() {
				t.Fatalf("%s: got error %q, before %q", r.name, err, first)
			}
		}
		for _, socket := range fuzzSockets {
			for _, way := range fuzzWays {
				try(socket, way, cuts)
			}
			try(socket, fuzzWays[0], nil)       // whole
			try(socket, fuzzWays[0], []byte{0}) // byte by byte
		}
	})
}

// fuzzDeflate returns what deflate says was negotiated about the messages that
// an endpoint of the given side receives: 1, with 2 for no context takeover, and
// 4 for each bit that the window has less than 15. Other numbers are nothing.
func fuzzDeflate(deflate uint8, side side) *compression {
	if deflate&1 == 0 || deflate >= 32 {
		return nil
	}
	noTakeover, bits := deflate&2 != 0, 15-int(deflate>>2)
	response := deflateOffer{clientNoContextTakeover: noTakeover, clientMaxWindowBits: bits}
	if side == clientSide {
		response = deflateOffer{serverNoContextTakeover: noTakeover, serverMaxWindowBits: bits}
	}
	return new(Compression).negotiated(response, side)
}

// fuzzDeflateOf returns the number that stands for z, which may be nil.
func fuzzDeflateOf(z *compression) (deflate uint8) {
	if z != nil {
		deflate = 1 | uint8(15-z.readBits)<<2
		if !z.readTakeover {
			deflate |= 2
		}
	}
	return deflate
}

// What a peer has announced costs nothing until it sends it.
func TestReadHoldsWhatCame(t *testing.T) {
	for _, socket := range fuzzSockets {
		for _, announced := range []uint64{1 << 21, 60 << 20, 1 << 62, 1<<63 - 1} {
			for _, came := range []int{0, 1, 1000, 100 << 10, 1 << 20} {
				stream := appendHeader(nil, header{fin: true, opcode: opBinary, payloadLength: announced})
				stream = append(stream, make([]byte, came)...)
				cfg := connDefaults(-1, -1, 0, 0, 0)
				cfg.side = clientSide
				tape := newTape(cut(stream, []byte{255}))
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				_, _, err := socket.conn(tape, cfg).Read(context.Background())
				runtime.ReadMemStats(&after)
				if !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Fatalf("%s: got %v", socket.name, err)
				}
				// A buffer that doubles was allocated twice in all, and its end may be empty.
				if got, most := after.TotalAlloc-before.TotalAlloc, uint64(2*maxHeld(came)); got > most || tape.greedy != "" {
					t.Errorf("%s: %d of %d bytes came: allocated %d, want at most %d; %s",
						socket.name, came, announced, got, most, tape.greedy)
				}
			}
		}
	}
}

// A refHeader is a header, and whether it is as short as may be, or
// has a length that is none.
type refHeader struct {
	header
	minimal bool
}

// referenceHeader parses the header that b begins with,
// and returns its length, if b holds all of it.
func referenceHeader(b []byte) (h refHeader, n int, ok bool) {
	if len(b) < 2 {
		return h, 0, false
	}
	h.fin, h.rsv, h.opcode = b[0] >= 128, b[0]/16%8, opcode(b[0]%16)
	h.masked, h.payloadLength = b[1] >= 128, uint64(b[1]%128)
	n = 2
	extended, least := 0, uint64(0)
	switch h.payloadLength {
	case 126:
		extended, least = 2, 126
	case 127:
		extended, least = 8, 1<<16
	}
	if len(b) < n+extended {
		return h, 0, false
	}
	if extended > 0 {
		h.payloadLength = 0
	}
	for range extended {
		h.payloadLength = h.payloadLength*256 + uint64(b[n])
		n++
	}
	h.minimal = least <= h.payloadLength && h.payloadLength < 1<<63
	if h.masked {
		if len(b) < n+4 {
			return h, 0, false
		}
		h.maskingKey = binary.LittleEndian.Uint32(b[n:])
		n += 4
	}
	return h, n, true
}

// An outcome is what a stream of bytes comes to.
type outcome struct {
	messages []Message
	pings    [][]byte // to be answered
	code     StatusCode
	local    bool   // we failed the connection
	close    []byte // payload of the Close that came
}

// quiet reports whether Messages end without an error.
func (o *outcome) quiet() bool {
	return !o.local && (o.code == StatusNormalClosure || o.code == StatusGoingAway || o.code == StatusNoStatusReceived)
}

// A refMessage is a message that comes.
type refMessage struct {
	Message           // inflated
	sent       []byte // as much as has come
	compressed bool
	fragments  uint64
}

// reference works out what stream has to come to: a Conn, but with all
// bytes before it, and without a care for time or memory.
func reference(t testing.TB, stream []byte, cfg connConfig) (o outcome) {
	fail := func(code StatusCode) outcome {
		o.code, o.local = code, true
		return o
	}
	var inflater *refInflater
	rsv := uint8(0) // that have a meaning
	if cfg.compression != nil {
		inflater, rsv = newRefInflater(cfg.compression), 4
	}
	limit := uint64(math.MaxUint64)
	if cfg.readLimit >= 0 {
		limit = uint64(cfg.readLimit)
	}
	var message *refMessage
	for {
		h, n, ok := referenceHeader(stream)
		if !ok {
			o.code = StatusAbnormalClosure
			return o
		}
		stream = stream[n:]
		control := h.opcode >= 8
		first := h.opcode == 1 || h.opcode == 2
		size := h.payloadLength
		if message != nil {
			size += uint64(len(message.sent))
		}
		compressed := h.rsv&4 != 0 || message != nil && message.compressed
		switch {
		case !h.minimal, h.rsv&^rsv != 0, h.rsv&4 != 0 && !first,
			!strings.ContainsRune("\x00\x01\x02\x08\x09\x0A", rune(h.opcode)),
			h.masked != (cfg.side == serverSide),
			control && (h.payloadLength > 125 || !h.fin),
			!control && first != (message == nil):
			return fail(StatusProtocolError)
		case !control && !compressed && size > limit:
			return fail(StatusMessageTooBig)
		case !control && message != nil && message.fragments >= 65536+size/64:
			return fail(StatusPolicyViolation)
		}

		payload := stream[:min(uint64(len(stream)), h.payloadLength)]
		whole := uint64(len(payload)) == h.payloadLength
		stream = stream[len(payload):]
		if h.masked {
			payload = maskBytes(payload, [4]byte(binary.LittleEndian.AppendUint32(nil, h.maskingKey)), 0)
		}
		if !control {
			if message == nil {
				message = &refMessage{Message: Message{Type: MessageType(h.opcode)}, compressed: compressed}
			}
			message.fragments++
			message.sent = append(message.sent, payload...)
			message.Data = message.sent
			text, last, corrupt := message.Type == MessageText, whole && h.fin, false
			if compressed {
				var ok bool
				message.Data, ok = inflater.inflate(message.sent, last)
				corrupt = !ok
			}
			data := message.Data[:min(limit, uint64(len(message.Data)))]
			switch {
			case text && !mayBecomeUTF8(data):
				return fail(StatusInvalidFramePayloadData)
			case len(data) < len(message.Data):
				return fail(StatusMessageTooBig)
			case corrupt, last && text && !utf8.Valid(data):
				return fail(StatusInvalidFramePayloadData)
			case last:
				if compressed {
					inflater.endMessage(t, message.sent, data)
				}
				o.messages = append(o.messages, message.Message)
				message = nil
			}
		}
		switch {
		case !whole:
			o.code = StatusAbnormalClosure
			return o
		case h.opcode == opPing:
			o.pings = append(o.pings, payload)
		case h.opcode == opClose:
			code, ok := referenceClose(payload)
			if !ok {
				return fail(code)
			}
			o.code, o.close = code, payload
			return o
		}
	}
}

// referenceClose returns the close code of a connection that a Close with
// the given payload ends, and whether it is one that may be sent.
func referenceClose(payload []byte) (code StatusCode, ok bool) {
	if len(payload) == 0 {
		return StatusNoStatusReceived, true
	}
	if len(payload) == 1 {
		return StatusProtocolError, false
	}
	code = StatusCode(payload[0])*256 + StatusCode(payload[1])
	switch {
	case !validStatusCode(int(code)):
		return StatusProtocolError, false
	case !utf8.Valid(payload[2:]):
		return StatusInvalidFramePayloadData, false
	}
	return code, true
}

// A tape is a net.Conn whose peer sends what is
// on it in pieces, and then ends the stream.
type tape struct {
	mu      sync.Mutex
	changed sync.Cond
	pieces  [][]byte
	atCut   func() // called between the pieces, has the read deadline set
	expired bool   // the read deadline
	came    int    // bytes
	greedy  string // if there was room for more than might be
	written []byte
	closed  bool
}

func newTape(pieces [][]byte) *tape {
	t := &tape{pieces: pieces}
	t.changed.L = &t.mu
	return t
}

// maxHeld is how much the endpoint may hold for a message of which n
// bytes have come, whatever was announced.
func maxHeld(n int) int { return 128<<10 + 2*n }

func (t *tape) Read(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(p) > maxHeld(t.came) {
		t.greedy = fmt.Sprintf("room for %d bytes when %d had come", len(p), t.came)
	}
	if len(t.pieces) > 0 && len(t.pieces[0]) == 0 {
		t.pieces = t.pieces[1:]
		if t.atCut != nil {
			t.atCut()
		}
		for t.atCut != nil && !t.expired && !t.closed {
			t.changed.Wait()
		}
	}
	switch {
	case t.closed:
		return 0, net.ErrClosed
	case t.expired:
		return 0, os.ErrDeadlineExceeded
	case len(t.pieces) == 0:
		return 0, io.EOF
	}
	n := copy(p, t.pieces[0])
	t.pieces[0] = t.pieces[0][n:]
	t.came += n
	return n, nil
}

func (t *tape) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return 0, net.ErrClosed
	}
	t.written = append(t.written, p...)
	return len(p), nil
}

// update changes t and wakes who waits for it.
func (t *tape) update(change func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change()
	t.changed.Broadcast()
}

func (t *tape) Close() error {
	t.update(func() { t.closed = true })
	return nil
}

func (t *tape) SetReadDeadline(d time.Time) error {
	t.update(func() { t.expired = !d.IsZero() })
	return nil
}

func (t *tape) setAtCut(f func()) { t.update(func() { t.atCut = f }) }

// awaitClose waits for the endpoint to close t.
func (t *tape) awaitClose() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for !t.closed {
		t.changed.Wait()
	}
}

func (t *tape) SetWriteDeadline(time.Time) error { return nil }
func (t *tape) SetDeadline(time.Time) error      { return nil }
func (t *tape) LocalAddr() net.Addr              { return nil }
func (t *tape) RemoteAddr() net.Addr             { return nil }

// A tapeSocket is to a tape what a rawSocket is to a
// socket of the kernel that takes all that is written.
type tapeSocket struct{ *tape }

func (s tapeSocket) direct() bool { return false }

func (s tapeSocket) readOn(*input) {}

func (s tapeSocket) fill(in *input, _ int) error {
	in.park()
	buf := getReadBuffer(in.full)
	old := copy(*buf, in.unread)
	n, err := s.Read((*buf)[old:])
	if err != nil {
		buf.free()
		return err
	}
	in.buf, in.unread, in.full = buf, (*buf)[:old+n], old+n == len(*buf)
	return nil
}

func (s tapeSocket) read(p []byte) (int, error)  { return s.Read(p) }
func (s tapeSocket) write(p []byte) (int, error) { return s.Write(p) }

// A fuzzSocket is what a Conn may read from.
type fuzzSocket struct {
	name string
	conn func(*tape, connConfig) *Conn
	all  bool // Pings are answered at once, so all of them
}

var fuzzSockets = []fuzzSocket{
	{"net.Conn", func(t *tape, cfg connConfig) *Conn { return newConn(t, nil, cfg) }, false},
	{"behind the handshake", func(t *tape, cfg connConfig) *Conn {
		var first []byte
		if len(t.pieces) > 0 {
			first, t.pieces = t.pieces[0], t.pieces[1:]
			t.came = len(first)
		}
		return newConn(t, first, cfg)
	}, false},
	{"kernel", func(t *tape, cfg connConfig) *Conn {
		c := newConn(t, nil, cfg)
		c.sock = tapeSocket{t}
		return c
	}, true},
}

// A fuzzWay is how a user may read messages.
type fuzzWay struct {
	name string
	read func(*fuzzRun) error
}

var fuzzWays = []fuzzWay{
	{"Read", func(r *fuzzRun) error {
		for {
			typ, data, err := r.conn.Read(context.Background())
			if err != nil {
				return err
			}
			r.got(typ, data)
			if held := cap(data); held > maxHeld(len(data)) || uint64(held) > r.conn.limit()/4*5+128<<10 {
				r.Fatalf("%s: got a message of %d bytes in %d", r.name, len(data), held)
			}
		}
	}},
	{"ReadAppend", func(r *fuzzRun) error {
		buf := []byte("before")
		for {
			typ, data, err := r.conn.ReadAppend(context.Background(), buf[:6])
			if string(data[:6]) != "before" || err != nil && len(data) != 6 {
				r.Fatalf("%s: got %q, %v", r.name, data, err)
			}
			if err != nil {
				return err
			}
			r.got(typ, data[6:])
			buf = data
		}
	}},
	{"Messages", func(r *fuzzRun) error {
		for m, err := range r.conn.Messages(context.Background()) {
			if err != nil {
				if r.want.quiet() {
					r.Fatalf("%s: got %v, want none", r.name, err)
				}
				return err
			}
			for _, long := range []bool{false, true} {
				spoil(getReadBuffer(long)) // which is not the one that m lies in
			}
			r.got(m.Type, m.Data)
			clear(m.Data) // it is the body's
		}
		if !r.want.quiet() {
			r.Fatalf("%s: got no error", r.name)
		}
		return r.conn.Err()
	}},
	{"NextReader", func(r *fuzzRun) error {
		for {
			typ, reader, err := r.conn.NextReader(context.Background())
			if err != nil {
				return err
			}
			data, err := io.ReadAll(iotest.OneByteReader(reader))
			if err != nil {
				return err
			}
			r.got(typ, data)
		}
	}},
	{"NextReader that skips", func(r *fuzzRun) error {
		for i := 0; ; i++ {
			r.read = min(i, len(r.want.messages))
			typ, reader, err := r.conn.NextReader(context.Background())
			if err != nil {
				return err
			}
			if i > len(r.want.messages) {
				r.Fatalf("%s: got more messages than the one that does not end", r.name)
			}
			var p [1]byte
			n, err := reader.Read(p[:])
			if i < len(r.want.messages) {
				want := r.want.messages[i]
				if typ != want.Type || n != min(1, len(want.Data)) || !bytes.HasPrefix(want.Data, p[:n]) {
					r.Fatalf("%s: got %v beginning with % x, want %v % x", r.name, typ, p[:n], want.Type, want.Data)
				}
			}
			if err != nil && err != io.EOF {
				r.read = len(r.want.messages)
				return err
			}
		}
	}},
	{"Read that is cancelled", func(r *fuzzRun) error {
		for {
			var typ MessageType
			var data []byte
			err := r.repeat(func(ctx context.Context) (err error) {
				typ, data, err = r.conn.Read(ctx)
				return err
			})
			if err != nil {
				return err
			}
			r.got(typ, data)
		}
	}},
	{"Read that is cancelled, then NextReader", func(r *fuzzRun) error {
		for {
			var typ MessageType
			var data []byte
			err := r.untilCut(func(ctx context.Context) (err error) {
				typ, data, err = r.conn.Read(ctx)
				return err
			})
			if err == errCut {
				var reader *MessageReader
				if typ, reader, err = r.conn.NextReader(context.Background()); err != nil {
					return err
				}
				data, err = io.ReadAll(iotest.OneByteReader(reader))
			}
			if err != nil {
				return err
			}
			r.got(typ, data)
		}
	}},
	{"NextReader that is cancelled", func(r *fuzzRun) error {
		for {
			var typ MessageType
			var reader *MessageReader
			var data []byte
			err := r.repeat(func(ctx context.Context) (err error) {
				typ, reader, err = r.conn.NextReader(ctx)
				return err
			})
			for err == nil {
				err = r.repeat(func(ctx context.Context) error {
					reader.SetContext(ctx)
					var p [5]byte
					n, err := reader.Read(p[:])
					data = append(data, p[:n]...)
					return err
				})
			}
			if err != io.EOF {
				return err
			}
			r.got(typ, data)
		}
	}},
}

// spoil makes what is in buf worthless, and gives it back.
func spoil(buf *readBuffer) {
	clear(*buf)
	buf.free()
}

// A fuzzRun is one way to read a stream.
type fuzzRun struct {
	*testing.T
	name string
	tape *tape
	conn *Conn
	want outcome
	read int // messages
}

// got takes note of a message that was read.
func (r *fuzzRun) got(typ MessageType, data []byte) {
	r.Helper()
	if r.read == len(r.want.messages) {
		r.Fatalf("%s: got %v % x, want no more messages", r.name, typ, data)
	}
	if want := r.want.messages[r.read]; typ != want.Type || !bytes.Equal(data, want.Data) {
		r.Fatalf("%s: got %v % x, want %v % x", r.name, typ, data, want.Type, want.Data)
	}
	r.read++
}

var errCut = errors.New("the piece is over")

// untilCut calls call with a context that ends at the next cut.
func (r *fuzzRun) untilCut(call func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	r.tape.setAtCut(func() { cancel(errCut) })
	err := call(ctx)
	r.tape.setAtCut(nil)
	if err == errCut {
		var came int
		r.tape.update(func() { came = max(r.tape.came, len(r.conn.unfinished)) }) // which may be inflated
		if held := cap(r.conn.unfinished); held > maxHeld(came) {
			r.Fatalf("%s: %d bytes held when %d had come", r.name, held, came)
		}
	}
	return err
}

// repeat calls call, until each cut and again, until it returns something else.
func (r *fuzzRun) repeat(call func(context.Context) error) error {
	for {
		if err := r.untilCut(call); err != errCut {
			return err
		}
	}
}

// finish checks that the connection has ended with err, and how.
func (r *fuzzRun) finish(err error, all bool) {
	r.Helper()
	want := r.want
	if r.read != len(want.messages) {
		r.Fatalf("%s: got %d messages and %v, want %d", r.name, r.read, err, len(want.messages))
	}
	end, ok := err.(*CloseError)
	if !ok || err != r.conn.Err() {
		r.Fatalf("%s: got error %#v, Err returns %#v", r.name, err, r.conn.Err())
	}
	if end.Code != want.code || end.Local != want.local {
		r.Fatalf("%s: got %v, want %d, local %v", r.name, err, want.code, want.local)
	}
	lost := want.code == StatusAbnormalClosure
	if errors.Is(err, io.ErrUnexpectedEOF) != lost || errors.Is(err, io.EOF) ||
		errors.Is(err, ErrMessageTooBig) != (want.local && want.code == StatusMessageTooBig) {
		r.Fatalf("%s: got cause %v", r.name, end.Err)
	}
	if !want.local && len(want.close) > 2 && end.Reason != string(want.close[2:]) {
		r.Fatalf("%s: got reason %q, want %q", r.name, end.Reason, want.close[2:])
	}
	r.tape.awaitClose()
	if r.tape.greedy != "" {
		r.Fatalf("%s: %s", r.name, r.tape.greedy)
	}
	r.checkWritten(all)
}

// checkWritten checks how the Pings were answered, all of
// them or some, and with what the connection was closed.
func (r *fuzzRun) checkWritten(all bool) {
	r.Helper()
	pongs, closes := r.parseWritten()
	lost := r.want.code == StatusAbnormalClosure
	if !answers(pongs, r.want.pings, all, !lost) {
		r.Fatalf("%s: got Pongs % x to Pings % x", r.name, pongs, r.want.pings)
	}
	switch {
	case lost:
		if len(closes) != 0 {
			r.Fatalf("%s: got Close % x on a lost connection", r.name, closes)
		}
	case len(closes) != 1:
		r.Fatalf("%s: got Closes % x, want one", r.name, closes)
	case r.want.local:
		code, reason, err := parseClose(closes[0])
		if code != r.want.code || reason == "" || err != nil {
			r.Fatalf("%s: got Close with %d, %q, %v, want %d", r.name, code, reason, err, r.want.code)
		}
	case !bytes.Equal(closes[0], r.want.close):
		r.Fatalf("%s: got Close % x to Close % x", r.name, closes[0], r.want.close)
	}
}

// answers reports whether pongs answer pings: in order, and
// all of them or at least the last, if that is asked for.
func answers(pongs, pings [][]byte, all, last bool) bool {
	if all {
		return slices.EqualFunc(pongs, pings, bytes.Equal)
	}
	if last && len(pings) > 0 && (len(pongs) == 0 || !bytes.Equal(pongs[len(pongs)-1], pings[len(pings)-1])) {
		return false
	}
	for _, ping := range pings {
		if len(pongs) > 0 && bytes.Equal(pongs[0], ping) {
			pongs = pongs[1:]
		}
	}
	return len(pongs) == 0
}

// parseWritten returns the payloads of what the endpoint has written, which is
// well-formed and ends with the Close, if there is one.
func (r *fuzzRun) parseWritten() (pongs, closes [][]byte) {
	r.Helper()
	peer := clientSide
	if r.conn.side == clientSide {
		peer = serverSide
	}
	for b := r.tape.written; len(b) > 0; {
		h, n, ok := referenceHeader(b)
		if !ok || !h.minimal || h.check(peer, 0) != nil || uint64(len(b)-n) < h.payloadLength || len(closes) > 0 {
			r.Fatalf("%s: got frame % x, after Closes % x", r.name, b, closes)
		}
		payload := b[n:][:h.payloadLength]
		if h.masked {
			payload = maskBytes(payload, [4]byte(b[n-4:]), 0)
		}
		switch h.opcode {
		case opPong:
			pongs = append(pongs, payload)
		case opClose:
			closes = append(closes, payload)
		default:
			r.Fatalf("%s: got frame % x", r.name, b)
		}
		b = b[n+int(h.payloadLength):]
	}
	return pongs, closes
}
