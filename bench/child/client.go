package child

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"github.com/tidewire/websocket/bench/peers"
)

// resetting makes connections that are reset when they are closed: there would be tens of
// thousands left in the kernel for a minute otherwise.
func resetting(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		ctlErr := raw.Control(func(fd uintptr) {
			err = syscall.SetsockoptLinger(int(fd), syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1})
		})
		return errors.Join(ctlErr, err)
	}}
	return d.DialContext(ctx, network, addr)
}

// runClient opens the connections, and converses on each.
func runClient(spec Spec, library peers.Library) error {
	m := peers.Message{Text: spec.Kind.Text(), Data: spec.Kind.Payload(spec.Size)}
	go func() {
		for range spec.Connections {
			c, err := library.Dial("ws://" + spec.Addr + "/echo")
			if err != nil {
				fail(spec, err)
			}
			go func() { fail(spec, converse(c, m, spec.InFlight)) }()
		}
	}()
	return answerQuestions(spec, "", nil)
}

// fail ends the process: nobody can measure it any longer.
func fail(spec Spec, err error) {
	fmt.Fprintf(os.Stderr, "%s: %v\n", spec.Peer, err)
	os.Exit(1)
}

// converse keeps n messages under way.
func converse(c peers.Conn, m peers.Message, n int) error {
	for range n {
		if err := c.Send(m); err != nil {
			return err
		}
	}
	return c.Receive(func(got peers.Message) error {
		if err := compare(got, m); err != nil {
			return err
		}
		return c.Send(m)
	})
}

// compare compares what came with what was sent: the length and both ends.
func compare(got, want peers.Message) error {
	const end = 8
	n := len(want.Data)
	if len(got.Data) != n || got.Text != want.Text ||
		!bytes.Equal(got.Data[:min(end, n)], want.Data[:min(end, n)]) ||
		!bytes.Equal(got.Data[max(0, n-end):], want.Data[max(0, n-end):]) {
		return fmt.Errorf("a message of %d bytes is not the one of %d that was sent", len(got.Data), n)
	}
	return nil
}

// runDialer opens connections without end, several at a time.
func runDialer(spec Spec, library peers.Library) error {
	for range spec.Connections {
		go func() {
			for {
				c, err := library.Dial("ws://" + spec.Addr + "/echo")
				if err != nil {
					fail(spec, err)
				}
				c.Close()
			}
		}()
	}
	return answerQuestions(spec, "", nil)
}
