//go:build !js

package websocket

import (
	"context"
	"net/http"
)

// open opens a connection for req.
func (d *Dialer) open(ctx context.Context, req *http.Request) (*Conn, *http.Response, error) {
	return d.openItself(ctx, req)
}

// refused returns nil: whatever the RFC allows can be sent.
func (*Conn) refused(opcode, StatusCode) error { return nil }
