package wire

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// handshakeTimeout limits an opening handshake.
const handshakeTimeout = 30 * time.Second

// AppendAcceptKey appends the Sec-WebSocket-Accept for a Sec-WebSocket-Key (RFC 6455, section
// 4.2.2).
func AppendAcceptKey(dst, key []byte) []byte {
	var buf [64]byte
	sum := sha1.Sum(append(append(buf[:0], key...), "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"...))
	return base64.StdEncoding.AppendEncode(dst, sum[:])
}

// A nonce need not be different each time to be measured.
const nonce = "dGhlIHNhbXBsZSBub25jZQ=="

// Request returns the opening handshake of a browser: twelve header fields, and that of
// the extensions which it offers, if it does.
func Request(host, extensions string) []byte {
	request := "GET /echo HTTP/1.1\r\n" +
		"Host: " + host + "\r\n" +
		"Connection: Upgrade\r\n" +
		"Pragma: no-cache\r\n" +
		"Cache-Control: no-cache\r\n" +
		"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n" +
		"Upgrade: websocket\r\n" +
		"Origin: http://" + host + "\r\n" +
		"Sec-WebSocket-Version: 13\r\n" +
		"Accept-Encoding: gzip, deflate, br, zstd\r\n" +
		"Accept-Language: en-GB,en;q=0.9\r\n" +
		"Cookie: session=2f8a61c0d94e7b35; theme=dark\r\n" +
		"Sec-WebSocket-Key: " + nonce + "\r\n"
	if extensions != "" {
		request += "Sec-WebSocket-Extensions: " + extensions + "\r\n"
	}
	return []byte(request + "\r\n")
}

// Dial connects to a server, and returns the connection and the extensions that the
// server has accepted. When the connection is closed it is reset, so that nothing of it is left
// in the kernel.
func Dial(addr, extensions string) (*net.TCPConn, string, error) {
	c, err := Begin(addr, extensions)
	if err != nil {
		return nil, "", err
	}
	accepted, err := Finish(c)
	if err != nil {
		c.Close()
		return nil, "", err
	}
	return c, accepted, nil
}

// Begin is the first half of Dial: up to the request.
func Begin(addr, extensions string) (*net.TCPConn, error) {
	nc, err := net.DialTimeout("tcp", addr, handshakeTimeout)
	if err != nil {
		return nil, err
	}
	c := nc.(*net.TCPConn)
	if err := errors.Join(c.SetLinger(0), c.SetDeadline(time.Now().Add(handshakeTimeout))); err != nil {
		c.Close()
		return nil, err
	}
	if _, err := c.Write(Request(addr, extensions)); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Finish is the second half of Dial: the response.
func Finish(c *net.TCPConn) (extensions string, err error) {
	head, err := ReadHead(c, make([]byte, 0, maxHead))
	if err != nil {
		return "", fmt.Errorf("opening handshake: %w", err)
	}
	accept := field(head, "Sec-WebSocket-Accept")
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 101 ")) || !bytes.Equal(accept, AppendAcceptKey(nil, []byte(nonce))) {
		return "", fmt.Errorf("opening handshake: the server answered %q", head)
	}
	return string(field(head, "Sec-WebSocket-Extensions")), c.SetDeadline(time.Time{})
}

// Accept waits for a client, and completes its handshake without any extension. The
// connection is reset when it is closed.
func Accept(ln net.Listener) (*net.TCPConn, error) {
	nc, err := ln.Accept()
	if err != nil {
		return nil, err
	}
	c := nc.(*net.TCPConn)
	if err := errors.Join(c.SetLinger(0), c.SetDeadline(time.Now().Add(handshakeTimeout)), Upgrade(c), c.SetDeadline(time.Time{})); err != nil {
		c.Close()
		return nil, fmt.Errorf("opening handshake: %w", err)
	}
	return c, nil
}

// maxHead is the length of the longest head of a request or response that can be read.
const maxHead = 2 << 10

var heads = sync.Pool{New: func() any {
	b := make([]byte, 0, maxHead)
	return &b
}}

// Upgrade reads the request of a client and answers it, with one Read if the request
// comes in one piece, and one Write. It checks nothing.
func Upgrade(c io.ReadWriter) error {
	buf := heads.Get().(*[]byte)
	defer heads.Put(buf)
	head, err := ReadHead(c, *buf)
	if err != nil {
		return err
	}
	key := field(head, "Sec-WebSocket-Key")
	if key == nil {
		return fmt.Errorf("no Sec-WebSocket-Key in %q", head)
	}
	_, err = c.Write(AppendResponse(head[len(head):], key))
	return err
}

// AppendResponse appends what answers the request with that Sec-WebSocket-Key.
func AppendResponse(dst, key []byte) []byte {
	dst = append(dst, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	return append(AppendAcceptKey(dst, key), "\r\n\r\n"...)
}

// ReadHead appends to buf, within its capacity, up to the empty line behind which
// nothing has been sent yet.
func ReadHead(r io.Reader, buf []byte) ([]byte, error) {
	for len(buf) < cap(buf) {
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if bytes.HasSuffix(buf, []byte("\r\n\r\n")) {
			return buf, nil
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("a head of more than %d bytes", cap(buf))
}

// field returns the value of a header field, or nil if it is not there.
func field(head []byte, name string) []byte {
	for line := range bytes.SplitSeq(head, []byte("\r\n")) {
		if n, value, found := bytes.Cut(line, []byte(":")); found && len(n) == len(name) && strings.EqualFold(string(n), name) {
			return bytes.TrimSpace(value)
		}
	}
	return nil
}
