//go:build external

package deflate

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"os/exec"
	"testing"
)

// zlibScript compresses the messages that it reads with all settings of zlib,
// and writes for each setting the size of the window and the messages.
const zlibScript = `
import struct, sys, zlib

def read():
    n, = struct.unpack("<I", sys.stdin.buffer.read(4))
    return sys.stdin.buffer.read(n)

def write(b):
    sys.stdout.buffer.write(struct.pack("<I", len(b)) + b)

count, = struct.unpack("<I", sys.stdin.buffer.read(4))
messages = [read() for _ in range(count)]
flushes = [zlib.Z_SYNC_FLUSH, zlib.Z_PARTIAL_FLUSH, zlib.Z_FULL_FLUSH, zlib.Z_BLOCK]

def setting(level, strategy, bits, memory, flush, final):
    name = "level %d, strategy %d, window %d, memLevel %d, flush %s, final %d" % (level, strategy, bits, memory, flush, final)
    write(name.encode())
    sys.stdout.buffer.write(struct.pack("<I", bits))
    new = lambda window: zlib.compressobj(level, zlib.DEFLATED, -bits, memory, strategy, window)
    c, history = new(b""), b""
    for message in messages:
        half = len(message) // 2
        b = c.compress(message[:half])
        if flush is not None:
            b += c.flush(flush)
        b += c.compress(message[half:])
        history = (history + message)[-(1 << bits):]
        if final:
            b += c.flush(zlib.Z_FINISH) + b"\0"
            c = new(history)
        else:
            b += c.flush(zlib.Z_SYNC_FLUSH)
            assert b.endswith(b"\0\0\xff\xff")
            b = b[:-4]
        write(b)

for level in range(10):
    for strategy in range(5):
        for bits in range(9, 16):
            for memory in range(1, 10):
                n = level + strategy + bits + memory
                setting(level, strategy, bits, memory, flushes[n % 4] if n % 3 == 0 else None, n % 5 == 0)
`

// zlib writes for the Inflater what its compressor can be made to write.
func TestInflateZlib(t *testing.T) {
	messages := append(jsonMessages(300, 3), jsonMessages(20_000, 1)...)
	messages = append(messages, nil, randomMessage(300), zeroMessage(3000), []byte("x"), textMessage(2000))
	messages = append(messages, messages[3]) // is in the largest window only

	var input []byte
	input = binary.LittleEndian.AppendUint32(input, uint32(len(messages)))
	for _, message := range messages {
		input = binary.LittleEndian.AppendUint32(input, uint32(len(message)))
		input = append(input, message...)
	}
	python := exec.CommandContext(t.Context(), "python3", "-c", zlibScript)
	python.Stdin = bytes.NewReader(input)
	python.Stderr = os.Stderr
	stdout, err := python.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := python.Start(); err != nil {
		t.Fatal(err)
	}
	settings := 0
	for output := bufio.NewReader(stdout); ; settings++ {
		if _, err := output.Peek(1); err == io.EOF {
			break
		}
		name := readBytes(t, output)
		windowBits := int(readNumber(t, output))
		z := NewInflater(windowBits, true)
		c := choppings[settings%len(choppings)]
		for i, message := range messages {
			got, err := c.inflate(t, z, readBytes(t, output))
			if err != nil || !bytes.Equal(got, message) {
				t.Fatalf("%s, %s: message %d: got %s, error %v, want %s", name, c.name, i, brief(got), err, brief(message))
			}
		}
		if want := inflaterSize + 1<<windowBits; z.Size() != want {
			t.Fatalf("%s: got size %d, want %d", name, z.Size(), want)
		}
		z.Reset()
	}
	if err := python.Wait(); err != nil {
		t.Fatal(err)
	}
	if want := 10 * 5 * 7 * 9; settings != want {
		t.Errorf("got %d settings, want %d", settings, want)
	}
}

func readNumber(t *testing.T, r io.Reader) uint32 {
	t.Helper()
	var b [4]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		t.Fatal(err)
	}
	return binary.LittleEndian.Uint32(b[:])
}

func readBytes(t *testing.T, r io.Reader) []byte {
	t.Helper()
	b := make([]byte, readNumber(t, r))
	if _, err := io.ReadFull(r, b); err != nil {
		t.Fatal(err)
	}
	return b
}
