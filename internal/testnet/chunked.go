package testnet

import (
	"errors"
	"net"
)

// Chunked returns conn with every Read cut to at most n bytes. CloseWrite is
// handed on to conn if it has one.
func Chunked(conn net.Conn, n int) net.Conn {
	return &chunkedConn{Conn: conn, n: n}
}

type chunkedConn struct {
	net.Conn
	n int
}

func (c *chunkedConn) Read(p []byte) (int, error) {
	return c.Conn.Read(p[:min(len(p), c.n)])
}

func (c *chunkedConn) CloseWrite() error {
	if conn, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return conn.CloseWrite()
	}
	return errors.ErrUnsupported
}
