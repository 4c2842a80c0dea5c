package wire

import (
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// handshakeTimeout limits an opening handshake.
const handshakeTimeout = 30 * time.Second

// AcceptKey returns the Sec-WebSocket-Accept for a Sec-WebSocket-Key (RFC 6455, section 4.2.2).
func AcceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
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
	head, err := ReadHead(c)
	if err != nil {
		return "", fmt.Errorf("opening handshake: %w", err)
	}
	accept, _ := field(head, "Sec-WebSocket-Accept")
	if !strings.HasPrefix(head, "HTTP/1.1 101 ") || accept != AcceptKey(nonce) {
		return "", fmt.Errorf("opening handshake: the server answered %q", head)
	}
	extensions, _ = field(head, "Sec-WebSocket-Extensions")
	return extensions, c.SetDeadline(time.Time{})
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

// Upgrade reads the request of a client and answers it, with one Read if the request
// comes in one piece, and one Write. It checks nothing.
func Upgrade(c io.ReadWriter) error {
	head, err := ReadHead(c)
	if err != nil {
		return err
	}
	key, ok := field(head, "Sec-WebSocket-Key")
	if !ok {
		return fmt.Errorf("no Sec-WebSocket-Key in %q", head)
	}
	_, err = c.Write(Response(key))
	return err
}

// Response returns what answers the request with that Sec-WebSocket-Key.
func Response(key string) []byte {
	return []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + AcceptKey(key) + "\r\n\r\n")
}

// ReadHead reads up to the empty line behind which nothing has been sent yet.
func ReadHead(r io.Reader) (string, error) {
	buf := make([]byte, 0, 2<<10)
	for len(buf) < cap(buf) {
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if strings.HasSuffix(string(buf), "\r\n\r\n") {
			return string(buf), nil
		}
		if err != nil {
			return "", err
		}
	}
	return "", fmt.Errorf("a head of more than %d bytes", cap(buf))
}

// field returns the value of a header field.
func field(head, name string) (value string, ok bool) {
	for line := range strings.SplitSeq(head, "\r\n") {
		if n, v, found := strings.Cut(line, ":"); found && strings.EqualFold(n, name) {
			return strings.TrimSpace(v), true
		}
	}
	return "", false
}
