//go:build (amd64 || arm64) && !purego && !race

package websocket

// maskLong is maskTo for more than 64 bytes.
//
//go:noescape
func maskLong(dst, src []byte, key uint32)
