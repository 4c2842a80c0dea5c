//lint:file-ignore SA1019 the transport of net/http takes no :protocol

package peers

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/http2"

	"github.com/tidewire/websocket"
	_ "github.com/tidewire/websocket/http2"
)

// A Transport is what carries the connections of ours.
type Transport string

const (
	OverTCP Transport = "" // HTTP/1.1
	OverTLS Transport = "tls"
	OverH2C Transport = "h2c" // HTTP/2 without TLS
	OverH2  Transport = "h2"
)

// Scheme returns that of the URLs of servers.
func (t Transport) Scheme() string {
	if t == OverTLS || t == OverH2 {
		return "wss"
	}
	return "ws"
}

// serve is serveHTTP over t.
func (t Transport) serve(ln net.Listener, handler http.Handler) error {
	if t == OverTCP {
		return serveHTTP(ln, handler.ServeHTTP)
	}
	server := http.Server{Handler: handler, Protocols: new(http.Protocols), ErrorLog: log.New(io.Discard, "", 0)}
	server.Protocols.SetHTTP1(t == OverTLS)
	server.Protocols.SetHTTP2(t == OverH2)
	server.Protocols.SetUnencryptedHTTP2(t == OverH2C)
	if t == OverH2C {
		return server.Serve(ln)
	}
	certificate, err := newCertificate()
	if err != nil {
		return err
	}
	server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate}}
	return server.ServeTLS(ln, "", "")
}

// newCertificate returns one that nobody is to trust.
func newCertificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// prepare has d dial over t.
func (t Transport) prepare(d *websocket.Dialer) {
	trusting := &tls.Config{InsecureSkipVerify: true} // on the loopback
	switch t {
	case OverTLS:
		d.TLSConfig = trusting
	case OverH2:
		d.HTTP2 = &http2.Transport{TLSClientConfig: trusting}
	case OverH2C:
		dial := func(ctx context.Context, network, address string, _ *tls.Config) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		}
		d.HTTP2 = &http2.Transport{AllowHTTP: true, DialTLSContext: dial}
	}
}
