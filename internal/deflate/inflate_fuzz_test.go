package deflate

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"slices"
	"testing"
)

// referenceInflate is what compress/flate makes of a message that comes after
// history.
func referenceInflate(history, compressed []byte) (message []byte, err error) {
	// A message that ends as it should goes on with the length of a stored
	// block, whatever that is: what comes out is the same, and then what the
	// block holds.
	message, endsItself, err := referenceStreams(history, compressed, tail+finalBlock)
	if err != nil || endsItself {
		return message, err
	}
	longer, _, err := referenceStreams(history, compressed, "\x01\x00\xFE\xFFx"+finalBlock)
	if err == nil && !bytes.Equal(longer, append(message[:len(message):len(message)], 'x')) {
		err = errors.New("the end is not the header of a stored block")
	}
	return message, err
}

// referenceStreams reads all streams of compressed and end. It stops if one
// ends with compressed, which endsItself then.
func referenceStreams(history, compressed []byte, end string) (message []byte, endsItself bool, err error) {
	src := bytes.NewReader(append(compressed[:len(compressed):len(compressed)], end...))
	for src.Len() > 0 && !endsItself {
		window := slices.Concat(history, message)
		stream, err := io.ReadAll(flate.NewReaderDict(src, window[max(0, len(window)-1<<MaxWindowBits):]))
		message = append(message, stream...)
		if err != nil {
			return message, false, err
		}
		endsItself = src.Len() == len(end)
	}
	return message, endsItself, nil
}

// FuzzInflate compares an Inflater with compress/flate, and with itself, called
// in other ways. The messages are of one connection with context takeover.
func FuzzInflate(f *testing.F) {
	for _, test := range blockTests {
		message := blockMessage(test.block, test.err == nil)
		f.Add(message, append(message, 0), uint8(MaxWindowBits-MinWindowBits))
	}
	for _, test := range messageTests {
		first := fromHex(f, test.compressed[0])
		f.Add(first, fromHex(f, test.compressed[len(test.compressed)-1]), uint8(0))
	}
	f.Fuzz(func(t *testing.T, first, second []byte, windowBits uint8) {
		bits := MinWindowBits + int(windowBits)%(MaxWindowBits-MinWindowBits+1)
		whole := NewInflater(bits, true)
		others := make([]*Inflater, len(choppings))
		for i := range others {
			others[i] = NewInflater(bits, true)
		}
		var history []byte
		for _, src := range [][]byte{first, second} {
			got, gotErr := choppings[0].inflate(t, whole, src)
			for i, c := range choppings {
				other, err := c.inflate(t, others[i], src)
				if !bytes.Equal(other, got) || err != gotErr {
					t.Fatalf("%s: got %s, error %v; whole: %s, error %v", c.name, brief(other), err, brief(got), gotErr)
				}
			}
			// compress/flate minds neither the work nor smaller windows.
			if errors.Is(gotErr, ErrWork) || gotErr != nil && bits < MaxWindowBits {
				return
			}
			want, wantErr := referenceInflate(history, src)
			if (gotErr == nil) != (wantErr == nil) || gotErr == nil && !bytes.Equal(got, want) {
				t.Fatalf("got %s, error %v, want %s, error %v", brief(got), gotErr, brief(want), wantErr)
			}
			if gotErr != nil {
				return
			}
			history = append(history, want...)
		}
	})
}
