package websocket

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/tidewire/websocket/internal/testnet"
)

func TestPreparedMessage(t *testing.T) {
	for _, n := range []int{0, 125, 126, smallMessage + 1, 1 << 17} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			data := pattern(n, 1)
			m, err := NewPreparedMessage(MessageBinary, data)
			if err != nil {
				t.Fatal(err)
			}
			clear(data) // it was copied
			inWriteBubble(t, 1<<20, func(t *testing.T, c *Conn, peer *writePeer) {
				for range 3 {
					if err := c.WritePrepared(t.Context(), m); err != nil {
						t.Fatal(err)
					}
					peer.want(t, opBinary, true, pattern(n, 1))
				}
				peer.wantNothing(t)
			})
		})
	}
}

func TestPreparedMessageZero(t *testing.T) {
	inWriteBubble(t, 1<<20, func(t *testing.T, c *Conn, peer *writePeer) {
		if err := c.WritePrepared(t.Context(), new(PreparedMessage)); err != errMessageType {
			t.Errorf("got %v, want %v", err, errMessageType)
		}
		if err := c.WritePreparedBatch(t.Context(), new(PreparedMessage)); err != errMessageType {
			t.Errorf("in a batch: got %v, want %v", err, errMessageType)
		}
		peer.wantNothing(t)
	})
}

// A prepared message takes its place among others: in a batch, and behind
// one that is streamed.
func TestPreparedMessageOrder(t *testing.T) {
	inWriteBubble(t, 100, func(t *testing.T, c *Conn, peer *writePeer) {
		var calls []*writeCall
		sizes := []int{500, 20, 0, smallMessage + 1, 300}
		for i, n := range sizes {
			calls = append(calls, goWrite(t.Context(), c, pattern(n, 2*i)))
			m, _ := NewPreparedMessage(MessageText, pattern(n, 2*i+1))
			calls = append(calls, goCall(func() error { return c.WritePrepared(t.Context(), m) }))
			synctest.Wait()
		}
		for i, n := range sizes {
			peer.want(t, opBinary, true, pattern(n, 2*i))
			peer.want(t, opText, true, pattern(n, 2*i+1))
		}
		for _, call := range calls {
			call.wantNow(t, nil)
		}

		w, err := c.NextWriter(t.Context(), MessageText)
		if err != nil {
			t.Fatal(err)
		}
		m, _ := NewPreparedMessage(MessageText, nil)
		prepared := goCall(func() error { return c.WritePrepared(t.Context(), m) })
		synctest.Wait()
		prepared.wantBlocked(t)
		ctx, cancel := context.WithCancelCause(t.Context())
		withdrawn := goCall(func() error { return c.WritePrepared(ctx, m) })
		synctest.Wait()
		cancel(errWithdraw)
		withdrawn.wantNow(t, errWithdraw)
		w.Close()
		peer.want(t, opText, true, nil)
		peer.want(t, opText, true, nil)
		prepared.wantNow(t, nil)
		peer.wantNothing(t)
	})
}

// The same messages go out on 100 connections at a time, of servers and of
// clients, and each peer gets them whole.
func TestPreparedMessageShared(t *testing.T) {
	const conns, writers, rounds = 100, 3, 2
	var messages []*PreparedMessage
	for i, n := range []int{0, 1, 1000, smallMessage + 1, batchSize + 1} {
		m, err := NewPreparedMessage(MessageBinary, pattern(n, i))
		if err != nil {
			t.Fatal(err)
		}
		messages = append(messages, m)
	}
	var wg sync.WaitGroup
	for i := range conns {
		side := side(i % 2)
		endpoint, nc := testnet.Pipe()
		c, peer := newWriteConn(t, endpoint, side), newWritePeer(t, nc, side)
		var writing sync.WaitGroup
		for range writers {
			writing.Go(func() {
				for i := range rounds * len(messages) {
					if err := c.WritePrepared(t.Context(), messages[i%len(messages)]); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Go(func() {
			writing.Wait()
			c.CloseNow()
		})
		wg.Go(func() {
			received := 0
			for {
				_, p, err := peer.next()
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Error(err)
					return
				}
				known := false
				for _, m := range messages {
					known = known || bytes.Equal(p, m.data)
				}
				if !known {
					t.Errorf("got %s, which nobody has sent", excerpt(p))
				}
				received++
			}
			if want := writers * rounds * len(messages); received != want {
				t.Errorf("got %d messages, want %d", received, want)
			}
		})
	}
	wg.Wait()
	for i, m := range messages {
		if !bytes.Equal(m.data, pattern(len(m.data), i)) {
			t.Errorf("the prepared message of %d bytes was changed", len(m.data))
		}
	}
}
