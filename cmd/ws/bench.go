package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/tidewire/websocket"
)

// benchFlags are those of ws bench.
type benchFlags struct {
	dialFlags
	connections    count
	dialRate, rate rate
	size           count
	length         span
	mode           string
	json           bool
}

func prepareBench(fs *flag.FlagSet) func(context.Context, *system, []string) (int, error) {
	f := benchFlags{connections: 100, rate: 1, size: 128, length: span(10 * time.Second), mode: "echo"}
	f.define(fs)
	value(fs, &f.connections, "c", "connections")
	value(fs, &f.dialRate, "rate")
	value(fs, &f.rate, "m", "messages")
	value(fs, &f.size, "size")
	value(fs, &f.length, "d", "duration")
	text(fs, &f.mode, "mode")
	toggle(fs, &f.json, "json")
	return f.run
}

func (f *benchFlags) run(ctx context.Context, sys *system, operands []string) (int, error) {
	err := cmp.Or(wantOperands(operands, "the URL"), oneOf("mode", f.mode, "echo", "hold", "broadcast"), f.check())
	if err != nil {
		return 0, err
	}
	b := &bench{benchFlags: f, url: completeURL(operands[0]), id: rand.Uint32(), start: time.Now()}
	if b.dialer, err = f.dialer(b.url); err != nil {
		return 0, err
	}
	stop := func() {}
	if sys.obeysANSI(sys.stderr) {
		stop = b.showProgress(sys.stderr)
	}
	b.measure(ctx)
	stop()
	return b.report(newOutput(sys)), nil
}

func (f *benchFlags) check() error {
	switch {
	case f.connections == 0:
		return errors.New("-c: no connections")
	case f.size < stampLength:
		return fmt.Errorf("-size: a message has to have %d bytes for the time when it was to be sent", stampLength)
	case f.size > maxMessage:
		return fmt.Errorf("-size: more than %d MiB", maxMessage>>20)
	case f.length <= 0:
		return errors.New("-d: no time")
	case f.mode != "hold" && f.rate == 0:
		return errors.New("-m: no messages; -mode hold is without")
	}
	return nil
}

const (
	maxDials    = 64              // at the same time, if there is no rate for them
	lateLimit   = 2 * time.Second // for answers, after the end
	stampRun    = 8               // hexadecimal digits
	stampTime   = 16
	stampLength = stampRun + stampTime
)

// A bench is a measurement.
type bench struct {
	*benchFlags
	url    string
	dialer websocket.Dialer
	id     uint32 // tells its messages from others
	start  time.Time

	connect, latency       histogram
	open, lost             atomic.Int64
	sent, unsent, received atomic.Int64
	elapsed                time.Duration // while messages were sent
	errors                 kinds

	mu      sync.Mutex
	conns   []*websocket.Conn
	readers sync.WaitGroup
	failure error // of the last dial that failed
}

// measure opens the connections, sends messages, and closes the connections.
func (b *bench) measure(ctx context.Context) {
	b.dialAll(ctx)
	began := time.Now()
	b.exchange(ctx, began)
	b.elapsed = min(time.Since(began), time.Duration(b.length))
	b.awaitAnswers(ctx)
	b.closeAll()
}

// dialAll opens the connections.
func (b *bench) dialAll(ctx context.Context) {
	atOnce := maxDials
	if b.dialRate > 0 {
		atOnce = int(b.connections)
	}
	slots := make(chan struct{}, atOnce)
	var dials sync.WaitGroup
	defer dials.Wait()
	for i := range int(b.connections) {
		if b.dialRate > 0 && !sleepUntil(ctx, b.start.Add(time.Duration(float64(i)/float64(b.dialRate)*float64(time.Second)))) {
			return
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		dials.Go(func() {
			defer func() { <-slots }()
			b.dial(ctx)
		})
	}
}

func (b *bench) dial(ctx context.Context) {
	began := time.Now()
	c, _, err := b.dialer.Dial(ctx, b.url)
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		if ctx.Err() == nil {
			b.errors.add("could not connect: " + kind(err))
			b.failure = err
		}
		return
	}
	b.connect.add(time.Since(began))
	b.conns = append(b.conns, c)
	b.open.Add(1)
	b.readers.Go(func() { b.read(c) })
}

// read takes the times of what comes, until the connection ends.
func (b *bench) read(c *websocket.Conn) {
	for m, err := range c.Messages(context.Background()) {
		if err != nil {
			break
		}
		if due, ok := b.stamp(m.Data); ok {
			b.latency.add(time.Since(due))
			b.received.Add(1)
		}
	}
	b.open.Add(-1)
	if end, ok := errors.AsType[*websocket.CloseError](c.Err()); ok && !(end.Local && end.Err == nil) {
		b.lost.Add(1)
		b.errors.add(kind(end))
	}
}

// exchange has messages sent for as long as is asked for.
func (b *bench) exchange(ctx context.Context, began time.Time) {
	end := began.Add(time.Duration(b.length))
	senders := b.conns
	switch {
	case len(b.conns) == 0:
		return
	case b.mode == "hold":
		sleepUntil(ctx, end)
		return
	case b.mode == "broadcast":
		senders = b.conns[:1]
	}
	ctx, cancel := context.WithDeadline(ctx, end.Add(lateLimit))
	defer cancel()
	var sending sync.WaitGroup
	for _, c := range senders {
		sending.Go(func() { b.send(ctx, c, began, end) })
	}
	sending.Wait()
}

// send sends messages at the times when they are due, and those that are late at once, until its
// time is up: what has to wait for the server is not left out.
func (b *bench) send(ctx context.Context, c *websocket.Conn, began, end time.Time) {
	interval := time.Duration(float64(time.Second) / float64(b.rate))
	buf := filling(int(b.size))
	for due := began.Add(rand.N(interval)); due.Before(end); due = due.Add(interval) {
		sleepUntil(ctx, due)
		switch {
		case ctx.Err() == context.Canceled:
			return
		case ctx.Err() != nil, c.Err() != nil:
			b.unsent.Add(int64((end.Sub(due) + interval - 1) / interval))
			return
		}
		b.putStamp(buf, due)
		if c.Write(ctx, websocket.MessageText, buf) == nil {
			b.sent.Add(1)
		} else {
			b.unsent.Add(1)
		}
	}
}

// filling returns n letters that do not compress better than text does.
func filling(n int) []byte {
	random := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = 'a' + byte(random.IntN(26))
	}
	return b
}

// putStamp notes in a message when it was due.
func (b *bench) putStamp(p []byte, due time.Time) {
	copy(p, fmt.Appendf(nil, "%0*x%0*x", stampRun, b.id, stampTime, int64(due.Sub(b.start))))
}

// stamp returns when a message was due that this program has sent.
func (b *bench) stamp(p []byte) (due time.Time, ok bool) {
	if len(p) != int(b.size) {
		return due, false
	}
	run, err := strconv.ParseUint(string(p[:stampRun]), 16, 32)
	since, err2 := strconv.ParseInt(string(p[stampRun:stampLength]), 16, 64)
	return b.start.Add(time.Duration(since)), err == nil && err2 == nil && run == uint64(b.id)
}

// awaitAnswers waits for what was sent to come, for a while.
func (b *bench) awaitAnswers(ctx context.Context) {
	for end := time.Now().Add(lateLimit); b.unanswered() > 0 && b.open.Load() > 0 && time.Now().Before(end); {
		if !sleepUntil(ctx, time.Now().Add(10*time.Millisecond)) {
			return
		}
	}
}

// unanswered returns how many messages have not come that a server without a fault would have sent.
func (b *bench) unanswered() int64 {
	expected := b.sent.Load()
	if b.mode == "broadcast" {
		expected *= int64(len(b.conns))
	}
	return max(0, expected-b.received.Load())
}

func (b *bench) closeAll() {
	var closing sync.WaitGroup
	for _, c := range b.conns {
		closing.Go(func() { c.Close(websocket.StatusNormalClosure, "") })
	}
	closing.Wait()
	b.readers.Wait()
}

// sleepUntil sleeps until t, and reports whether ctx lasts.
func sleepUntil(ctx context.Context, t time.Time) bool {
	timer := time.NewTimer(time.Until(t))
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// kind returns what sort of error err is: without what differs from one connection to the next.
func kind(err error) string {
	if refused, ok := errors.AsType[*websocket.HandshakeError](err); ok && refused.StatusCode != 0 {
		return fmt.Sprintf("the server answers with status %d", refused.StatusCode)
	}
	if end, ok := errors.AsType[*websocket.CloseError](err); ok && end.Code != websocket.StatusAbnormalClosure && !end.Local {
		return "closed by the server with " + closeText(end.Code, end.Reason)
	}
	if number, ok := errors.AsType[syscall.Errno](err); ok {
		return number.Error()
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "no time left"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was lost"
	}
	return unprefixed(err)
}

// maxKinds is how many kinds of errors are told apart.
const maxKinds = 20

// kinds counts errors by what they are. It may be used concurrently.
type kinds struct {
	mu     sync.Mutex
	counts map[string]int
}

func (k *kinds) add(name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.counts == nil {
		k.counts = make(map[string]int)
	}
	if _, known := k.counts[name]; !known && len(k.counts) >= maxKinds {
		name = "others"
	}
	k.counts[name]++
}
