//go:build external

package deflate

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os/exec"
	"testing"
)

// strictZlibScript inflates, byte by byte, what it reads: the size of a window, and
// a compressed message and what it should be. A zlib that gives its output away one
// byte at a time has nothing to go back to but the window.
const strictZlibScript = `
import struct, sys, zlib

def read(n):
    b = sys.stdin.buffer.read(n)
    if len(b) < n:
        sys.exit(0)
    return b

def number():
    return struct.unpack("<I", read(4))[0]

def inflate(z, b):
    out = bytearray()
    for i in range(0, len(b), 16):
        rest = b[i:i+16]
        while True:
            byte = z.decompress(rest, 1)
            rest = z.unconsumed_tail
            if not byte and not rest:
                break
            out += byte
    return out

while True:
    bits, first = number(), number()
    if first:
        z = zlib.decompressobj(-bits)
    compressed = read(number())
    want = read(number())
    try:
        problem = "ok" if inflate(z, compressed + b"\0\0\xff\xff") == want else "other bytes"
    except zlib.error as e:
        problem = str(e)
    print(problem)
`

// Nothing that an Encoder writes goes back farther than a zlib with a window of
// that size remembers.
func TestEncoderZlib(t *testing.T) {
	var messages [][]byte
	for _, size := range []int{20, 300, 300, 5000, 300} {
		messages = append(messages, jsonMessages(size, 2)[len(messages)%2])
	}
	messages = append(messages, randomMessage(300), zeroMessage(1000), randomMessage(300), textMessage(9000))

	var input []byte
	var names []string
	encoderTests(t, func(t *testing.T, e *Encoder, _ *encoderPeer) {
		window := 1 << e.windowBits
		pattern := randomMessage(40)
		for i, message := range append(messages,
			bytes.Join([][]byte{pattern, pattern, pattern}, zeroMessage(window-len(pattern))),
			bytes.Join([][]byte{pattern, pattern, pattern}, zeroMessage(window-len(pattern)+1)),
		) {
			b, ok := e.AppendMessage(nil, message)
			if !ok {
				b = e.AppendPart(e.AppendPart(nil, message[:len(message)/2], false), message[len(message)/2:], true)
			}
			bits := max(int(e.windowBits), 9) // zlib has no window of 8 bits
			first := uint32(0)
			if i == 0 || !e.takeover {
				first = 1
			}
			input = binary.LittleEndian.AppendUint32(input, uint32(bits))
			input = binary.LittleEndian.AppendUint32(input, first)
			for _, b := range [][]byte{b, message} {
				input = binary.LittleEndian.AppendUint32(input, uint32(len(b)))
				input = append(input, b...)
			}
			names = append(names, fmt.Sprintf("%s: message %d", t.Name(), i))
		}
	})

	python := exec.CommandContext(t.Context(), "python3", "-c", strictZlibScript)
	python.Stdin = bytes.NewReader(input)
	output, err := python.Output()
	if err != nil {
		t.Fatal(err)
	}
	results := bytes.Split(bytes.TrimSpace(output), []byte("\n"))
	if len(results) != len(names) {
		t.Fatalf("got %d results, want %d", len(results), len(names))
	}
	for i, result := range results {
		if string(result) != "ok" {
			t.Errorf("%s: %s", names[i], result)
		}
	}
}
