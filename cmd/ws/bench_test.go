package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidewire/websocket"
	"github.com/tidewire/websocket/websockettest"
)

// measured runs ws bench -json.
func measured(t *testing.T, status int, args ...string) (result, string) {
	t.Helper()
	stdout, stderr := ws(t, "", status, append([]string{"bench", "-json"}, args...)...)
	var r result
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatalf("%v in %q", err, stdout)
	}
	return r, stderr
}

func TestBenchEcho(t *testing.T) {
	r, _ := measured(t, exitOK, newTestServer(t), "-c", "5", "-m", "100", "-d", "0.3", "-size", "24", "-deflate")
	if r.Opened != 5 || r.Lost != 0 || r.Sent < 100 || r.Sent+r.Unsent > 155 || r.Received != r.Sent || r.Unanswered != 0 {
		t.Errorf("%+v", r)
	}
	if r.Connect == nil || r.Connect.Max <= 0 || r.Latency == nil || r.Latency.P50 <= 0 || r.Latency.Max < r.Latency.P99 {
		t.Errorf("connect %+v, latency %+v", r.Connect, r.Latency)
	}
	if r.Seconds < 0.25 || r.Seconds > 0.3 || r.ReceivedPerSec != float64(r.Received)/r.Seconds {
		t.Errorf("%+v", r)
	}
}

func TestBenchBroadcast(t *testing.T) {
	c, url := listen(t, "-mode", "broadcast")
	r, _ := measured(t, exitOK, url, "-c", "4", "-m", "50", "-d", "0.2", "-mode", "broadcast")
	if r.Sent == 0 || r.Sent > 11 || r.Received != 4*r.Sent || r.Unanswered != 0 {
		t.Errorf("%+v", r)
	}
	c.stop()
	c.wait(exitOK)
}

func TestBenchHold(t *testing.T) {
	r, _ := measured(t, exitOK, newTestServer(t), "-c", "3", "-d", "0.1", "-mode", "hold")
	if r.Opened != 3 || r.Sent != 0 || r.Latency != nil || r.Connect == nil || len(r.Errors) != 0 {
		t.Errorf("%+v", r)
	}
}

// What the server does wrong is counted by what it is.
func TestBenchErrors(t *testing.T) {
	var n atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch n.Add(1) {
		case 1, 2:
			http.Error(w, "no", http.StatusServiceUnavailable)
			return
		}
		c, err := websocket.Upgrade(w, r)
		if err != nil {
			return
		}
		defer c.CloseNow()
		c.Read(context.Background())
		if n.Add(1)%2 == 0 {
			c.Close(websocket.StatusTryAgainLater, "busy")
		}
	}))
	defer srv.Close()
	r, _ := measured(t, exitOK, srv.URL, "-c", "4", "-m", "20", "-d", "0.3")
	want := map[string]int{
		"could not connect: the server answers with status 503":    2,
		`closed by the server with 1013 (try again later): "busy"`: 1,
	}
	for name, count := range want {
		if r.Errors[name] != count {
			t.Errorf("got %v, want %d of %s", r.Errors, count, name)
		}
	}
	if r.Opened != 2 || r.Lost != 2 || r.Received != 0 || r.Unsent == 0 {
		t.Errorf("%+v", r)
	}
}

func TestBenchCannotConnect(t *testing.T) {
	url := newTestServer(t) + "/status?status=401"
	r, stderr := measured(t, exitConnect, url, "-c", "3", "-d", "60")
	if r.Opened != 0 || r.Errors["could not connect: the server answers with status 401"] != 3 {
		t.Errorf("%+v", r)
	}
	contains(t, "stderr", stderr, "401 Unauthorized", "-u user:password")
	if stdout, _ := ws(t, "", exitConnect, "bench", url); stdout != "" {
		t.Errorf("stdout %q", stdout)
	}
}

// Ctrl-C prints what there is.
func TestBenchInterrupted(t *testing.T) {
	c := newCall(t)
	c.onTerminal(c.sys.stderr)
	c.start("bench", newTestServer(t), "-c", "2", "-m", "100", "-d", "1h")
	c.err.await(t, `\r\x1b\[\?7l\S+s  2 of 2 open  [1-9]\d* sent  [1-9]\d* received  p50 \S+s  p99 \S+s\x1b\[K\x1b\[\?7h`)
	c.stop()
	c.wait(exitOK)
	c.out.await(t, `^ws://\S+, echo, \d\.\d s

connections  2 of 2 opened, 0 lost
connect      p50 \S+s  p90 \S+s  p99 \S+s  p99\.9 \S+s  max \S+s
messages     \d+ sent, \d+ received, 0 unanswered, 0 not sent in time
throughput   \d+\.\d received/s of 128 bytes, \d+\.\d\d MB/s
latency      p50 \S+s  p90 \S+s  p99 \S+s  p99\.9 \S+s  max \S+s

Latency counts from when a message was to be sent(.*\n)+
(  up to +\d+[mnµ]?s  #* +\d+\.\d%\n)+$`)
	if !strings.HasSuffix(c.err.String(), "\r\x1b[K") {
		t.Errorf("the line of the progress stays: %q", &c.err)
	}
}

func TestBenchInterruptedWhileDialing(t *testing.T) {
	c := newCall(t)
	c.onTerminal(c.sys.stderr)
	c.start("bench", newTestServer(t)+"/close?code=4001", "-rate", "0.001")
	c.err.await(t, `0 of 100 open  0 sent  0 received  p50 0s  p99 0s  errors 1\x1b`)
	c.stop()
	c.wait(exitOK)
	contains(t, "stdout", c.out.String(), "1 of 100 opened, 1 lost\n", "0 sent")
}

// In a pipe, there is no progress, and errors are listed.
func TestBenchReport(t *testing.T) {
	stdout, stderr := ws(t, "", exitOK, "bench", newTestServer(t)+"/close?code=4001", "-c", "2", "-d", "0.1", "-mode", "hold")
	if stderr != "" {
		t.Errorf("stderr %q", stderr)
	}
	contains(t, "stdout", stdout, "2 of 2 opened, 2 lost\n", "\nerrors\n      2  closed by the server with 4001\n")
	if strings.Contains(stdout, "latency") {
		t.Errorf("there is a latency of nothing:\n%s", stdout)
	}
}

// The latency of a message that could not be sent when it was due begins then: the server reads
// nothing for a second, and then answers everything at once.
func TestBenchCoordinatedOmission(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := websockettest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, err := websocket.Upgrade(w, r)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.CloseNow()
			time.Sleep(time.Second)
			echo(c)
		}))
		defer srv.Close()
		f := benchFlags{connections: 1, rate: 10, size: 1 << 20, length: span(time.Second), mode: "echo"}
		b := bench{benchFlags: &f, url: srv.URL, dialer: *srv.Dialer(), start: time.Now()}
		b.measure(t.Context())
		if got := b.sent.Load(); got != 10 || b.received.Load() != 10 {
			t.Errorf("%d sent, %d received, want 10", got, b.received.Load())
		}
		for i := range 10 {
			latency := b.latency.quantile(float64(i+1) / 10)
			low := time.Duration(i) * 100 * time.Millisecond
			if high := low + 100*time.Millisecond; latency < low || latency > high+high>>precision {
				t.Errorf("the latency of message %d from the end is %v, want %v to %v", i, latency, low, high)
			}
		}
	})
}

// A server that has stopped to read and to answer does not keep the measurement from ending.
func TestBenchStalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		measured := make(chan struct{})
		srv := websockettest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, err := websocket.Upgrade(w, r)
			if err != nil {
				t.Error(err)
				return
			}
			<-measured
			c.CloseNow()
		}))
		defer srv.Close()
		defer close(measured)
		f := benchFlags{connections: 2, rate: 10, size: 1 << 20, length: span(time.Second), mode: "echo"}
		b := bench{benchFlags: &f, url: srv.URL, dialer: *srv.Dialer(), start: time.Now()}
		began := time.Now()
		b.measure(t.Context())
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("it took %v", took)
		}
		if n := b.sent.Load() + b.unsent.Load(); n != 20 || b.received.Load() != 0 {
			t.Errorf("%d sent or not, %d received, want 20 and 0", n, b.received.Load())
		}
	})
}

func TestBenchDialRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := websockettest.NewServer(testHandler(t))
		defer srv.Close()
		f := benchFlags{connections: 11, dialRate: 10, rate: 1, size: 128, length: span(time.Second), mode: "hold"}
		b := bench{benchFlags: &f, url: srv.URL, dialer: *srv.Dialer(), start: time.Now()}
		began := time.Now()
		b.measure(t.Context())
		if took := time.Since(began); took != 2*time.Second || len(b.conns) != 11 {
			t.Errorf("%d connections in %v, want 11 in 1 s, and 1 s more", len(b.conns), took)
		}
	})
}

// Only messages of the same run count.
func TestStamp(t *testing.T) {
	b := bench{benchFlags: &benchFlags{size: 40}, id: 7, start: time.Now()}
	p, due := filling(40), b.start.Add(12345)
	b.putStamp(p, due)
	if got, ok := b.stamp(p); !got.Equal(due) || !ok {
		t.Errorf("got %v, %v, want %v", got, ok, due)
	}
	other := bench{benchFlags: b.benchFlags, id: 8, start: b.start}
	for _, p := range [][]byte{nil, p[:39], filling(40), append([]byte("0000000z"), p[8:]...)} {
		if _, ok := b.stamp(p); ok {
			t.Errorf("%q counts", p)
		}
	}
	if _, ok := other.stamp(p); ok {
		t.Error("a message of another run counts")
	}
}

func TestKind(t *testing.T) {
	for _, test := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("dial 1.2.3.4:5: %w", syscall.ECONNRESET), syscall.ECONNRESET.Error()},
		{fmt.Errorf("websocket: after 10 s: %w", context.DeadlineExceeded), "no time left"},
		{&websocket.CloseError{Code: 1006, Err: http.ErrHandlerTimeout}, "connection lost: " + http.ErrHandlerTimeout.Error()},
		{&websocket.CloseError{Code: 1002, Local: true, Err: errors.New("bad")}, "closed with 1002 (protocol error): bad"},
		{errors.New("websocket: other"), "other"},
	} {
		if got := kind(test.err); got != test.want {
			t.Errorf("%v: got %q, want %q", test.err, got, test.want)
		}
	}
	var k kinds
	for i := range 1000 {
		k.add(fmt.Sprint(i % 500))
	}
	if k.total() != 1000 || len(k.counts) != maxKinds+1 || k.counts["others"] != 1000-2*maxKinds {
		t.Errorf("%d errors of %d kinds, %d of them others", k.total(), len(k.counts), k.counts["others"])
	}
}

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 999: "999ns", 12345: "12.3µs", 1234567890: "1.23s", 75 * time.Second: "1m15s",
	} {
		if got := short(d).String(); got != want {
			t.Errorf("%d: got %s, want %s", d, got, want)
		}
	}
}
