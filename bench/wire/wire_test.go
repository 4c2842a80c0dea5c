package wire

import (
	"bytes"
	"fmt"
	"io"
	"testing"
)

// RFC 6455, section 5.7.
func TestExamples(t *testing.T) {
	for _, tt := range []struct {
		name    string
		header  Header
		payload string
		want    string
	}{
		{"unmasked text", Header{First: Fin | Text}, "Hello", "\x81\x05Hello"},
		{"masked text", Header{First: Fin | Text, Masked: true, Key: 0x3d21fa37}, "Hello", "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"},
		{"256 bytes", Header{First: Fin | Binary}, string(make([]byte, 256)), "\x82\x7e\x01\x00" + string(make([]byte, 256))},
		{"64 KiB", Header{First: Fin | Binary}, string(make([]byte, 65536)), "\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00" + string(make([]byte, 65536))},
	} {
		got := AppendFrame(nil, tt.header, []byte(tt.payload))
		if string(got) != tt.want {
			t.Errorf("%s: got %.32x, want %.32x", tt.name, got, tt.want)
		}
		tt.header.Length = len(tt.payload)
		if h, n := ParseHeader(got); h != tt.header || n != len(tt.want)-len(tt.payload) || n != h.Size() {
			t.Errorf("%s: got %+v of %d bytes, Size %d, want %+v", tt.name, h, n, h.Size(), tt.header)
		}
		for i := range got[:tt.header.Size()] {
			if h, n := ParseHeader(got[:i]); n != 0 {
				t.Errorf("%s: got %+v of %d bytes from %x", tt.name, h, n, got[:i])
			}
		}
	}
}

func TestMask(t *testing.T) {
	const key = 0x3d21fa37
	for n := range 300 {
		p := make([]byte, n)
		for i := range p {
			p[i] = byte(i * 7)
		}
		want := bytes.Clone(p)
		for i := range want {
			want[i] ^= byte(uint32(key) >> (8 * (i % 4)))
		}
		Mask(p, key)
		if !bytes.Equal(p, want) {
			t.Fatalf("%d bytes: got %x, want %x", n, p, want)
		}
	}
}

// RFC 6455, section 1.3.
func TestAcceptKey(t *testing.T) {
	if got, want := AppendAcceptKey(nil, []byte("dGhlIHNhbXBsZSBub25jZQ==")), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="; string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestUpgrade(t *testing.T) {
	for _, chunk := range []int{1, 7, 1 << 10} {
		var out bytes.Buffer
		in := &chunked{Request("example.com", ""), chunk}
		if err := Upgrade(readWriter{in, &out}); err != nil {
			t.Fatal(err)
		}
		if got, want := out.String(), string(AppendResponse(nil, []byte(nonce))); got != want {
			t.Errorf("%d bytes at a time: got %q, want %q", chunk, got, want)
		}
	}
	if err := Upgrade(readWriter{&chunked{[]byte("GET / HTTP/1.1\r\n\r\n"), 64}, io.Discard}); err == nil {
		t.Error("got no error for a request without a key")
	}
	if _, err := ReadHead(bytes.NewReader(bytes.Repeat([]byte("a: b\r\n"), 1000)), make([]byte, 0, 64)); err == nil {
		t.Error("got no error for an endless head")
	}
}

type readWriter struct {
	io.Reader
	io.Writer
}

// A chunked returns a few bytes at a time.
type chunked struct {
	data []byte
	n    int
}

func (c *chunked) Read(p []byte) (int, error) {
	if len(c.data) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(c.n, len(p))], c.data)
	c.data = c.data[n:]
	return n, nil
}

func BenchmarkMask(b *testing.B) {
	for _, n := range []int{16, 125, 1 << 10, 16 << 10, 1 << 20} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			p := make([]byte, n)
			b.SetBytes(int64(n))
			for b.Loop() {
				Mask(p, 0x3d21fa37)
			}
		})
	}
}
