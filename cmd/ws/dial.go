package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/tidewire/websocket"
)

// maxMessage is how long a message may be, either way.
const maxMessage = 64 << 20

// dialFlags are the flags of those commands that connect to a server.
type dialFlags struct {
	header              header
	subprotocols        list
	origin, user        string
	ca, cert, key       string
	insecure            bool
	proxy, unix         string
	compress            bool
	pingEvery, patience span
}

func (f *dialFlags) define(fs *flag.FlagSet) {
	f.header = make(header)
	f.patience = span(10 * time.Second)
	value(fs, f.header, "H", "header")
	value(fs, &f.subprotocols, "s", "subprotocol")
	text(fs, &f.origin, "o", "origin")
	text(fs, &f.user, "u", "user")
	text(fs, &f.ca, "ca")
	text(fs, &f.cert, "cert")
	text(fs, &f.key, "key")
	toggle(fs, &f.insecure, "k", "insecure")
	text(fs, &f.proxy, "proxy")
	text(fs, &f.unix, "unix")
	toggle(fs, &f.compress, "deflate")
	value(fs, &f.pingEvery, "ping")
	value(fs, &f.patience, "w", "timeout")
}

// dialer returns a Dialer that does as the flags say, for rawURL. It returns an error if that can
// never connect, whatever the network does.
func (f *dialFlags) dialer(rawURL string) (websocket.Dialer, error) {
	d := websocket.Dialer{
		Subprotocols:     f.subprotocols,
		Header:           http.Header(f.header).Clone(),
		HandshakeTimeout: time.Duration(f.patience),
		PingInterval:     time.Duration(f.pingEvery),
		PingTimeout:      time.Duration(f.pingEvery),
		ReadLimit:        maxMessage,
	}
	if f.compress {
		d.Compression = new(websocket.Compression)
	}
	if f.origin != "" {
		d.Header.Set("Origin", f.origin)
	}
	err := cmp.Or(f.setUser(&d), f.setTLS(&d), f.setNetwork(&d))
	if err != nil {
		return d, err
	}
	return d, check(d, rawURL)
}

func (f *dialFlags) setUser(d *websocket.Dialer) error {
	if f.user == "" {
		return nil
	}
	if !strings.Contains(f.user, ":") {
		return errors.New("-u: not of the form user:password")
	}
	d.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(f.user)))
	return nil
}

func (f *dialFlags) setTLS(d *websocket.Dialer) error {
	d.TLSConfig = &tls.Config{InsecureSkipVerify: f.insecure}
	if f.ca != "" {
		pem, err := os.ReadFile(f.ca)
		if err != nil {
			return fmt.Errorf("-ca: %w", err)
		}
		d.TLSConfig.RootCAs = x509.NewCertPool()
		if !d.TLSConfig.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("-ca: there is no certificate in %s", f.ca)
		}
	}
	if f.cert == "" {
		if f.key != "" {
			return errors.New("-key: there is no -cert for it")
		}
		return nil
	}
	certificate, err := tls.LoadX509KeyPair(f.cert, cmp.Or(f.key, f.cert))
	if err != nil {
		return fmt.Errorf("-cert, -key: %w", err)
	}
	d.TLSConfig.Certificates = []tls.Certificate{certificate}
	return nil
}

func (f *dialFlags) setNetwork(d *websocket.Dialer) error {
	direct := func(*http.Request) (*url.URL, error) { return nil, nil }
	switch {
	case f.unix != "" && f.proxy != "":
		return errors.New("-unix and -proxy exclude each other")
	case f.unix != "":
		d.Proxy = direct
		d.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", f.unix)
		}
	case f.proxy == "none":
		d.Proxy = direct
	case f.proxy != "":
		if !hasScheme.MatchString(f.proxy) {
			f.proxy = "http://" + f.proxy
		}
		u, err := url.Parse(f.proxy)
		if err != nil {
			return errors.New("-proxy: not a URL") // err would show the password
		}
		d.Proxy = http.ProxyURL(u)
	}
	return nil
}

// check has d dial a connection that is dead, and returns its error unless it is for that.
func check(d websocket.Dialer, rawURL string) error {
	dead, peer := net.Pipe()
	peer.Close()
	_, _, err := d.DialConn(context.Background(), dead, rawURL)
	if errors.Is(err, io.ErrClosedPipe) || errors.Is(err, io.EOF) {
		return nil
	}
	return errors.New(unprefixed(err))
}

var hasScheme = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*://`)

// completeURL returns the URL that somebody means who types s: without a scheme it is ws, without a
// host localhost.
func completeURL(s string) string {
	if !hasScheme.MatchString(s) {
		if strings.HasPrefix(s, ":") {
			s = "localhost" + s
		}
		return "ws://" + s
	}
	scheme, rest, _ := strings.Cut(s, "://")
	switch strings.ToLower(scheme) {
	case "http":
		scheme = "ws"
	case "https":
		scheme = "wss"
	}
	return scheme + "://" + rest
}

// redacted returns a URL without its password.
func redacted(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return "a URL"
	}
	return u.Redacted()
}
