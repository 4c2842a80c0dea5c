package sse

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"strconv"
	"strings"

	"github.com/tidewire/websocket/feed"
)

// ids makes IDs of positions. A position says how many events there have been, also of topics that a client
// must not know of, so it is encrypted.
type ids struct {
	block cipher.Block
	feed  string // of its cursors
}

// noID is as long as an ID.
const noID = "----------------------"

func newIDs(f *feed.Feed) ids {
	key := make([]byte, 16)
	rand.Read(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // for another length
	}
	name, _, _ := strings.Cut(string(f.Head()), "-")
	return ids{block, name}
}

// of returns the ID of a position: a number behind eight bytes of zero.
func (i ids) of(c feed.Cursor) string {
	n, _ := strconv.ParseUint(strings.TrimPrefix(string(c), i.feed+"-"), 10, 64)
	var b [aes.BlockSize]byte
	binary.BigEndian.PutUint64(b[8:], n)
	i.block.Encrypt(b[:], b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// cursor returns the position that an ID stands for, "" for none, or one that is no position.
func (i ids) cursor(id string) feed.Cursor {
	if id == "" {
		return ""
	}
	b, err := base64.RawURLEncoding.DecodeString(id)
	if err != nil || len(b) != aes.BlockSize {
		return "?"
	}
	i.block.Decrypt(b, b)
	c := feed.Cursor(i.feed + "-" + strconv.FormatUint(binary.BigEndian.Uint64(b[8:]), 10))
	if i.of(c) != id { // which it is with another spelling, or another key
		return "?"
	}
	return c
}
