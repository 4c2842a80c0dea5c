package websocket

import (
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"golang.org/x/net/proxy"
)

func TestConnectSOCKS(t *testing.T) {
	const (
		granted = "\x05\x00\x00\x01\x7f\x00\x00\x01\x12\x34"
		none    = "\x05\x01\x00"
		both    = "\x05\x02\x00\x02"
	)
	long := strings.Repeat("a", 256)
	for _, test := range []struct {
		name    string
		user    *url.Userinfo
		address string
		answers string
		sent    string
		err     string
	}{
		{name: "domain", address: "example.test:80", answers: "\x05\x00" + granted, sent: none + "\x05\x01\x00\x03\x0cexample.test\x00\x50"},
		{name: "IPv4", address: "192.0.2.1:443", answers: "\x05\x00" + granted, sent: none + "\x05\x01\x00\x01\xc0\x00\x02\x01\x01\xbb"},
		{name: "IPv6", address: "[2001:db8::1]:443", answers: "\x05\x00" + granted,
			sent: none + "\x05\x01\x00\x04\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x01\xbb"},
		{name: "password", user: url.UserPassword("me", "secret"), address: "a:1", answers: "\x05\x02\x01\x00" + granted,
			sent: both + "\x01\x02me\x06secret" + "\x05\x01\x00\x03\x01a\x00\x01"},
		{name: "empty password", user: url.User("me"), address: "a:1", answers: "\x05\x02\x01\x00" + granted,
			sent: both + "\x01\x02me\x00" + "\x05\x01\x00\x03\x01a\x00\x01"},
		{name: "password that is not asked for", user: url.UserPassword("me", "secret"), address: "a:1", answers: "\x05\x00" + granted,
			sent: both + "\x05\x01\x00\x03\x01a\x00\x01"},
		{name: "answer with IPv6", address: "a:1", answers: "\x05\x00\x05\x00\x00\x04" + strings.Repeat("x", 18), sent: none + "\x05\x01\x00\x03\x01a\x00\x01"},
		{name: "answer with a name", address: "a:1", answers: "\x05\x00\x05\x00\x00\x03\xff" + strings.Repeat("x", 257), sent: none + "\x05\x01\x00\x03\x01a\x00\x01"},
		{name: "answer with an empty name", address: "a:1", answers: "\x05\x00\x05\x00\x00\x03\x00xx", sent: none + "\x05\x01\x00\x03\x01a\x00\x01"},

		{name: "password refused", user: url.User("me"), address: "a:1", answers: "\x05\x02\x01\x01", err: errSOCKSPassword.Error()},
		{name: "other version of password", user: url.User("me"), address: "a:1", answers: "\x05\x02\x05\x00", err: errSOCKSPassword.Error()},
		{name: "no method", address: "a:1", answers: "\x05\xff", err: errSOCKSMethod.Error()},
		{name: "method that was not offered", address: "a:1", answers: "\x05\x02", err: errSOCKSMethod.Error()},
		{name: "GSSAPI", user: url.User("me"), address: "a:1", answers: "\x05\x01", err: errSOCKSMethod.Error()},
		{name: "SOCKS4", address: "a:1", answers: "\x00\x5a", err: errSOCKSVersion.Error()},
		{name: "HTTP", address: "a:1", answers: "HTTP/1.1 400", err: errSOCKSVersion.Error()},
		{name: "other version in the reply", address: "a:1", answers: "\x05\x00\x04\x00\x00\x01", err: errSOCKSVersion.Error()},
		{name: "refused", address: "a:1", answers: "\x05\x00\x05\x05\x00\x01", err: "connection refused"},
		{name: "not allowed", address: "a:1", answers: "\x05\x00\x05\x02\x00\x01", err: "connection not allowed by ruleset"},
		{name: "address type not supported", address: "a:1", answers: "\x05\x00\x05\x08\x00\x01", err: "address type not supported"},
		{name: "unknown reply", address: "a:1", answers: "\x05\x00\x05\x09\x00\x01", err: "it answers with 9"},
		{name: "reserved byte", address: "a:1", answers: "\x05\x00\x05\x00\x01\x01", err: errSOCKSReserved.Error()},
		{name: "unknown address type", address: "a:1", answers: "\x05\x00\x05\x00\x00\x02", err: errSOCKSAddress.Error()},
		{name: "end at once", address: "a:1", err: io.ErrUnexpectedEOF.Error()},
		{name: "end in the reply", address: "a:1", answers: "\x05\x00\x05", err: io.ErrUnexpectedEOF.Error()},
		{name: "end in the address", address: "a:1", answers: "\x05\x00\x05\x00\x00\x03", err: io.ErrUnexpectedEOF.Error()},
		{name: "end in the port", address: "a:1", answers: "\x05\x00" + granted[:len(granted)-1], err: io.ErrUnexpectedEOF.Error()},
		{name: "no user", user: url.UserPassword("", "x"), address: "a:1", err: errSOCKSUser.Error()},
		{name: "long user", user: url.User(long), address: "a:1", err: errSOCKSUser.Error()},
		{name: "long password", user: url.UserPassword("a", long), address: "a:1", err: errSOCKSUser.Error()},
		{name: "long name", address: long + ":1", err: errSOCKSHost.Error()},
		{name: "port", address: "a:65536", err: "invalid port"},
	} {
		t.Run(test.name, func(t *testing.T) {
			nc := newScriptConn(test.answers+"what the server says", iotest.HalfReader)
			if test.err != "" {
				nc = newScriptConn(test.answers, whole)
			}
			err := connectSOCKS(nc, test.user, test.address)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Fatalf("got %v, want %q", err, test.err)
				}
				return
			}
			if err != nil || nc.sent.String() != test.sent {
				t.Fatalf("got %v, sent %q, want %q", err, nc.sent.String(), test.sent)
			}
			if rest, _ := io.ReadAll(nc); string(rest) != "what the server says" {
				t.Errorf("%q is left", rest)
			}
		})
	}
}

func TestDialThroughSOCKS(t *testing.T) {
	for _, secure := range []bool{false, true} {
		s := startEcho(t, secure)
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		served := async(func() error {
			near, err := ln.Accept()
			if err != nil {
				return err
			}
			defer near.Close()
			for _, step := range []struct {
				n      int
				answer string
			}{{3, "\x05\x00"}, {5 + len("example.com") + 2, "\x05\x00\x00\x03\x00xx"}} {
				if _, err := io.ReadFull(near, make([]byte, step.n)); err != nil {
					return err
				}
				io.WriteString(near, step.answer)
			}
			far, err := net.Dial("tcp", s.Listener.Addr().String())
			if err != nil {
				return err
			}
			done := async(func() error { _, err := io.Copy(far, near); far.Close(); return err })
			io.Copy(near, far)
			near.Close()
			<-done
			return nil
		})
		d := through(&url.URL{Scheme: "socks5h", Host: ln.Addr().String()})
		c, _, err := d.Dial(t.Context(), strings.Replace(s.URL, s.Listener.Addr().String(), "example.com", 1))
		if err != nil {
			t.Fatal(err)
		}
		wantEcho(t, c)
		if err := <-served; err != nil {
			t.Error(err)
		}
	}
}

// FuzzSOCKS compares with the client of golang.org/x/net: what we accept, that does too, having sent and read the
// same.
func FuzzSOCKS(f *testing.F) {
	f.Add("\x05\x00\x05\x00\x00\x01\x7f\x00\x00\x01\x12\x34rest", "", "", "example.test", uint16(80))
	f.Add("\x05\x02\x01\x00\x05\x00\x00\x04\x7f\x00\x00\x01\x12\x34\x7f\x00\x00\x01\x12\x34\x7f\x00\x00\x01\x12\x34", "me", "secret", "192.0.2.1", uint16(443))
	f.Add("\x05\x00\x05\x00\x00\x03\x02ab\x12\x34", "me", "", "2001:db8::1", uint16(1))
	f.Fuzz(func(t *testing.T, answers, name, password, host string, port uint16) {
		var user *url.Userinfo
		var auth *proxy.Auth
		if name != "" {
			user, auth = url.UserPassword(name, password), &proxy.Auth{User: name, Password: password}
		}
		address := net.JoinHostPort(host, strconv.Itoa(int(port)))
		nc, other := newScriptConn(answers, iotest.OneByteReader), newScriptConn(answers, whole)
		if connectSOCKS(nc, user, address) != nil {
			return
		}
		if password == "" && user != nil || port == 0 || strings.ContainsAny(host, "%") {
			return // which that refuses
		}
		d, err := proxy.SOCKS5("tcp", "proxy.test:1080", auth, dialerFunc(func(string, string) (net.Conn, error) { return other, nil }))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Dial("tcp", address); err != nil {
			t.Fatalf("accepted, though x/net has %v", err)
		}
		rest, _ := io.ReadAll(nc)
		otherRest, _ := io.ReadAll(other)
		if string(rest) != string(otherRest) || nc.sent.String() != other.sent.String() {
			t.Errorf("%q is left after %q, want %q after %q", rest, nc.sent.String(), otherRest, other.sent.String())
		}
	})
}

type dialerFunc func(network, address string) (net.Conn, error)

func (f dialerFunc) Dial(network, address string) (net.Conn, error) { return f(network, address) }
