package reconnect

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidewire/websocket"
	"github.com/tidewire/websocket/backoff"
)

var quiet = stdlog.New(io.Discard, "", 0)

func TestDefaultRetry(t *testing.T) {
	status := func(code int) error { return &websocket.HandshakeError{StatusCode: code} }
	closed := func(code websocket.StatusCode) error { return &websocket.CloseError{Code: code} }
	for _, test := range []struct {
		err  error
		stop bool
	}{
		{errDown, false},
		{io.EOF, false},
		{context.DeadlineExceeded, false},
		{&net.OpError{Op: "dial", Err: errDown}, false},
		{status(0), false},
		{status(408), false}, {status(425), false}, {status(429), false},
		{status(500), false}, {status(502), false}, {status(503), false}, {status(504), false}, {status(599), false},
		{status(101), true}, {status(200), true}, {status(301), true},
		{status(400), true}, {status(401), true}, {status(403), true}, {status(404), true}, {status(426), true},
		{checkURL("ftp://host"), true},
		{fmt.Errorf("wrapped: %w", &tls.CertificateVerificationError{}), true},
		{closed(1000), true}, {closed(1001), false}, {closed(1002), true}, {closed(1003), true}, {closed(1005), false}, {closed(1006), false},
		{closed(1007), true}, {closed(1008), true}, {closed(1009), true}, {closed(1010), true}, {closed(1011), false},
		{closed(1012), false}, {closed(1013), false}, {closed(1014), false}, {closed(3000), false}, {closed(4999), false},
		{fmt.Errorf("wrapped: %w", closed(1008)), true},
	} {
		if got := DefaultRetry(test.err); got.Stop != test.stop {
			t.Errorf("%v: got %+v", test.err, got)
		}
	}
}

func TestCentrifugeCodes(t *testing.T) {
	for code, stop := range map[websocket.StatusCode]bool{1000: true, 1001: false, 3499: false, 3500: true, 3999: true, 4000: false, 4500: true, 4999: true} {
		if got := CentrifugeCodes(&websocket.CloseError{Code: code}); got.Stop != stop {
			t.Errorf("%d: got %+v", code, got)
		}
	}
	if CentrifugeCodes(errDown).Stop {
		t.Error("stops for an error of the network")
	}
}

func TestMinDelay(t *testing.T) {
	refused := func(value string) error {
		return &websocket.HandshakeError{StatusCode: 503, Header: http.Header{"Retry-After": {value}}}
	}
	in := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
	for range 100 {
		for _, test := range []struct {
			err       error
			low, high time.Duration
		}{
			{refused("120"), 2 * time.Minute, 2 * time.Minute},
			{refused(in(time.Minute)), 58 * time.Second, time.Minute},
			{refused("nonsense"), 0, 0},
			{refused("99999999999"), time.Hour, time.Hour},
			{&websocket.CloseError{Code: websocket.StatusServiceRestart}, 5 * time.Second, 30 * time.Second},
			{&websocket.CloseError{Code: websocket.StatusTryAgainLater}, 0, 0},
		} {
			if got := DefaultRetry(test.err).MinDelay; got < test.low || got > test.high {
				t.Errorf("%v: got %v, want %v to %v", test.err, got, test.low, test.high)
			}
		}
	}
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		start(t, nil, Options{OnState: l.state, Backoff: backoff.Policy{NoJitter: true},
			Dial: func(context.Context, Target) (Conn, error) { return nil, refused("120") }})
		pass(3 * time.Minute)
		l.want(t, "0s connecting", "0s waiting", "2m1s connecting", "2m1s waiting")
	})
}

// One connection after another, each the body's own.
func TestConns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, func(n int, c *websocket.Conn) {
			c.Write(context.Background(), websocket.MessageText, fmt.Append(nil, n))
			listen(c)
		})
		begin := time.Now()
		var got []string
		var last Conn
		for c, err := range Conns(t.Context(), s.URL, Options{Dialer: *s.Dialer(), Backoff: steady}) {
			if err != nil {
				t.Fatal(err)
			}
			if last != nil && last.(*websocket.Conn).Err() == nil {
				t.Error("the connection before is open")
			}
			last = c
			_, p, _ := c.Read(t.Context())
			got = append(got, fmt.Sprint(string(p), " ", time.Since(begin)))
			switch len(got) {
			case 1, 2:
				continue
			case 3:
				time.Sleep(10 * time.Second) // and begins anew
			case 4:
				c.Close(websocket.StatusNormalClosure, "")
				continue
			}
			if len(got) == 5 {
				break
			}
		}
		if want := "[1 0s 2 1s 3 3s 4 14s 5 15s]"; fmt.Sprint(got) != want {
			t.Errorf("got %v, want %v", got, want)
		}
		if last.(*websocket.Conn).Err() == nil {
			t.Error("the last connection is open")
		}
	})
}

func TestConnsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, io.EOF)
		defer cancel()
		down := func(context.Context, Target) (Conn, error) { return nil, errDown }
		for _, test := range []struct {
			url string
			o   Options
			ok  func(error) bool
		}{
			{"ws://host", Options{Dial: down, MaxAttempts: 3}, func(err error) bool { return errors.Is(err, ErrGaveUp) && errors.Is(err, errDown) }},
			{"ws://host", Options{Dial: down}, func(err error) bool { return err == io.EOF }},
			{"host", Options{}, func(err error) bool { return err != nil }},
		} {
			pairs := 0
			for c, err := range Conns(ctx, test.url, test.o) {
				if pairs++; c != nil || !test.ok(err) {
					t.Errorf("got %v, %v", c, err)
				}
			}
			if pairs != 1 {
				t.Errorf("got %d pairs", pairs)
			}
		}
	})
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, func(_ int, c *websocket.Conn) { c.Close(websocket.StatusPolicyViolation, "go away") })
		pairs := 0
		for c, err := range Conns(t.Context(), s.URL, Options{Dialer: *s.Dialer()}) {
			if pairs++; pairs == 1 {
				c.Read(t.Context())
			} else if !errors.Is(err, ErrGaveUp) || websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
				t.Errorf("got %v", err)
			}
		}
		if pairs != 2 {
			t.Errorf("got %d pairs", pairs)
		}
	})
}
