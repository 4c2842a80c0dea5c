//go:build external

package interop

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"testing"
)

// A wiretap passes on what the two ends of one connection send each other, and looks
// at it. So both have a socket of the kernel's, which they may treat as such.
type wiretap struct {
	listener net.Listener
	done     chan struct{}

	// Valid when done is closed.
	offered, accepted  string // the fields Sec-WebSocket-Extensions
	toServer, toClient traffic
	err                error
}

// traffic is what went one way after the opening handshake.
type traffic struct {
	messages   int
	compressed int // those whose first frame has RSV1
	fragments  int // frames that continue a message
	bytes      int
}

// newWiretap waits for one connection, for the server at address.
func newWiretap(t *testing.T, address string) *wiretap {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wiretap{listener: ln, done: make(chan struct{})}
	go func() {
		defer close(w.done)
		w.err = w.run(address)
	}()
	t.Cleanup(func() {
		ln.Close()
		<-w.done
	})
	return w
}

func (w *wiretap) url() string { return "ws://" + w.listener.Addr().String() + "/" }

func (w *wiretap) run(address string) error {
	client, err := w.listener.Accept()
	if err != nil {
		return err
	}
	defer client.Close()
	w.listener.Close()
	server, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer server.Close()

	up := make(chan error, 1)
	go func() {
		defer server.(*net.TCPConn).CloseWrite()
		up <- w.listenToClient(pass(client, server))
	}()
	err = w.listenToServer(pass(server, client))
	client.(*net.TCPConn).CloseWrite()
	if upErr := <-up; upErr != nil {
		return upErr
	}
	return err
}

// pass returns a reader of what comes from src, which goes on to dst.
func pass(src, dst net.Conn) *bufio.Reader { return bufio.NewReader(io.TeeReader(src, dst)) }

func (w *wiretap) listenToClient(r *bufio.Reader) error {
	request, err := http.ReadRequest(r)
	if err != nil {
		return err
	}
	w.offered = request.Header.Get("Sec-WebSocket-Extensions")
	return w.toServer.count(r)
}

func (w *wiretap) listenToServer(r *bufio.Reader) error {
	response, err := http.ReadResponse(r, nil)
	if err != nil {
		return err
	}
	w.accepted = response.Header.Get("Sec-WebSocket-Extensions")
	return w.toClient.count(r)
}

// count reads frames (RFC 6455, section 5.2) until there are no more.
func (t *traffic) count(r *bufio.Reader) error {
	for {
		h, err := r.Peek(2)
		if err == io.EOF && len(h) == 0 {
			return nil
		} else if err != nil {
			return err
		}
		switch opcode, rsv1 := h[0]&0xF, h[0]&0x40 != 0; {
		case opcode == 0:
			t.fragments++
		case opcode <= 2 && rsv1:
			t.messages++
			t.compressed++
		case opcode <= 2:
			t.messages++
		}
		n, err := frameLength(r)
		if err != nil {
			return err
		}
		if _, err := r.Discard(n); err != nil {
			return err
		}
		t.bytes += n
	}
}

// frameLength returns the length of the frame that comes next, its header included.
func frameLength(r *bufio.Reader) (int, error) {
	h, err := r.Peek(2)
	if err != nil {
		return 0, err
	}
	n := 2
	if h[1]&0x80 != 0 {
		n += 4 // the masking key
	}
	switch length := int(h[1] & 0x7F); length {
	case 126:
		h, err = r.Peek(2 + 2)
		if err != nil {
			return 0, err
		}
		return n + 2 + int(binary.BigEndian.Uint16(h[2:])), nil
	case 127:
		h, err = r.Peek(2 + 8)
		if err != nil {
			return 0, err
		}
		return n + 8 + int(binary.BigEndian.Uint64(h[2:])), nil
	default:
		return n + length, nil
	}
}
