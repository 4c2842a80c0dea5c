package websocket

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"strconv"
)

// Of SOCKS version 5 (RFC 1928).
const (
	socksVersion     = 5
	socksNoAuth      = 0
	socksPassword    = 2
	socksNoMethod    = 0xFF
	socksConnect     = 1
	socksIPv4        = 1
	socksDomain      = 3
	socksIPv6        = 4
	socksSucceeded   = 0
	passwordVersion  = 1 // RFC 1929
	passwordAccepted = 0
)

var (
	errSOCKSVersion  = errors.New("the answer is none of SOCKS version 5 (RFC 1928)")
	errSOCKSMethod   = errors.New("it accepts none of the authentication methods offered (RFC 1928, section 3)")
	errSOCKSPassword = errors.New("it does not accept the user name and password (RFC 1929)")
	errSOCKSUser     = errors.New("a user name and password have at most 255 bytes, the name at least one (RFC 1929)")
	errSOCKSHost     = errors.New("the name of the host has more than 255 bytes (RFC 1928, section 5)")
	errSOCKSReserved = errors.New("the reserved byte of its answer is not 0 (RFC 1928, section 6)")
	errSOCKSAddress  = errors.New("the answer has an address of a type that is unknown (RFC 1928, section 6)")
)

// socksReplies are what a server may say in place of "succeeded" (RFC 1928, section 6).
var socksReplies = [...]string{
	1: "general SOCKS server failure",
	2: "connection not allowed by ruleset",
	3: "network unreachable",
	4: "host unreachable",
	5: "connection refused",
	6: "TTL expired",
	7: "command not supported",
	8: "address type not supported",
}

// connectSOCKS asks the SOCKS server at the other end of rw to connect us to address. The
// server looks up its host. It reads no byte more than what is said to us.
func connectSOCKS(rw io.ReadWriter, user *url.Userinfo, address string) error {
	request, err := appendSOCKSRequest(nil, address)
	if err != nil {
		return err
	}
	if err := authenticateSOCKS(rw, user); err != nil {
		return err
	}
	if _, err := rw.Write(request); err != nil {
		return err
	}
	return readSOCKSReply(rw)
}

// authenticateSOCKS agrees on a method of authentication, and does it.
func authenticateSOCKS(rw io.ReadWriter, user *url.Userinfo) error {
	offer := []byte{socksVersion, 1, socksNoAuth}
	if user != nil {
		offer = []byte{socksVersion, 2, socksNoAuth, socksPassword}
	}
	credentials, err := appendSOCKSPassword(nil, user)
	if err != nil {
		return err
	}
	answer, err := exchangeSOCKS(rw, offer)
	switch {
	case err != nil:
		return err
	case answer[0] != socksVersion:
		return errSOCKSVersion
	case answer[1] == socksNoAuth:
		return nil
	case answer[1] != socksPassword || user == nil:
		return errSOCKSMethod
	}
	answer, err = exchangeSOCKS(rw, credentials)
	switch {
	case err != nil:
		return err
	case answer[0] != passwordVersion || answer[1] != passwordAccepted:
		return errSOCKSPassword
	}
	return nil
}

// exchangeSOCKS sends b, and returns the two bytes that are the answer.
func exchangeSOCKS(rw io.ReadWriter, b []byte) (answer [2]byte, err error) {
	if _, err := rw.Write(b); err != nil {
		return answer, err
	}
	_, err = io.ReadFull(rw, answer[:])
	return answer, unexpectedEOF(err)
}

// appendSOCKSPassword appends the request for authentication (RFC 1929, section 2).
func appendSOCKSPassword(b []byte, user *url.Userinfo) ([]byte, error) {
	if user == nil {
		return b, nil
	}
	name := user.Username()
	password, _ := user.Password()
	if name == "" || len(name) > 255 || len(password) > 255 {
		return nil, errSOCKSUser
	}
	b = append(append(b, passwordVersion, byte(len(name))), name...)
	return append(append(b, byte(len(password))), password...), nil
}

// appendSOCKSRequest appends the request to connect to address (RFC 1928, section 4).
func appendSOCKSRequest(b []byte, address string) ([]byte, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("invalid port %q", port)
	}
	b = append(b, socksVersion, socksConnect, 0)
	ip, err := netip.ParseAddr(host)
	switch {
	case err == nil && ip.Is4():
		b = append(append(b, socksIPv4), ip.AsSlice()...)
	case err == nil:
		b = append(append(b, socksIPv6), ip.AsSlice()...)
	case len(host) > 255:
		return nil, errSOCKSHost
	default:
		b = append(append(b, socksDomain, byte(len(host))), host...)
	}
	return binary.BigEndian.AppendUint16(b, uint16(number)), nil
}

// readSOCKSReply reads the answer to such a request (RFC 1928, section 6).
func readSOCKSReply(r io.Reader) error {
	var b [4 + 256 + 2]byte
	if _, err := io.ReadFull(r, b[:4]); err != nil {
		return unexpectedEOF(err)
	}
	rest := b[4:]
	switch reply := b[1]; {
	case b[0] != socksVersion:
		return errSOCKSVersion
	case reply == socksSucceeded:
	case int(reply) < len(socksReplies):
		return errors.New(socksReplies[reply])
	default:
		return fmt.Errorf("it answers with %d (RFC 1928, section 6)", reply)
	}
	if b[2] != 0 {
		return errSOCKSReserved
	}
	n := 0
	switch b[3] {
	case socksIPv4:
		n = 4
	case socksIPv6:
		n = 16
	case socksDomain:
		if _, err := io.ReadFull(r, rest[:1]); err != nil {
			return unexpectedEOF(err)
		}
		n = int(rest[0])
	default:
		return errSOCKSAddress
	}
	_, err := io.ReadFull(r, rest[:n+2]) // the address that it connects from, and the port
	return unexpectedEOF(err)
}

// unexpectedEOF returns err for a stream that was not to end here.
func unexpectedEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
