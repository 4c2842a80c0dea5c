package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"
)

// progressInterval is how often the line is printed that says how a measurement goes.
const progressInterval = 200 * time.Millisecond

// showProgress prints how the measurement goes on a terminal, until the function that it returns is
// called.
func (b *bench) showProgress(w io.Writer) (stop func()) {
	done := make(chan struct{})
	var work sync.WaitGroup
	work.Go(func() {
		ticker := time.NewTicker(progressInterval)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				// The line ends where the window does, instead of going on in the next (DECAWM).
				io.WriteString(w, "\r\x1b[?7l"+b.progress()+"\x1b[K\x1b[?7h")
			case <-done:
				io.WriteString(w, "\r\x1b[K")
				return
			}
		}
	})
	return func() {
		close(done)
		work.Wait()
	}
}

func (b *bench) progress() string {
	s := fmt.Sprintf("%v  %d of %d open", time.Since(b.start).Round(100*time.Millisecond), b.open.Load(), b.connections)
	if b.mode != "hold" {
		s += fmt.Sprintf("  %d sent  %d received  p50 %v  p99 %v", b.sent.Load(), b.received.Load(),
			short(b.latency.quantile(0.5)), short(b.latency.quantile(0.99)))
	}
	if n := b.errors.total(); n > 0 {
		s += fmt.Sprintf("  errors %d", n)
	}
	return s
}

func (k *kinds) total() (n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, count := range k.counts {
		n += count
	}
	return n
}

// short returns d with three digits or so.
func short(d time.Duration) time.Duration {
	unit := time.Duration(1)
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit)
}

// A result is what is printed of a measurement with -json. Times are in seconds.
type result struct {
	URL            string         `json:"url"`
	Mode           string         `json:"mode"`
	Connections    int            `json:"connections"`
	Opened         int            `json:"opened"`
	Lost           int64          `json:"lost"`
	Seconds        float64        `json:"seconds"`
	Size           int            `json:"size"`
	Sent           int64          `json:"sent"`
	Unsent         int64          `json:"unsent"`
	Received       int64          `json:"received"`
	Unanswered     int64          `json:"unanswered"`
	ReceivedPerSec float64        `json:"received_per_second"`
	Connect        *quantiles     `json:"connect,omitempty"`
	Latency        *quantiles     `json:"latency,omitempty"`
	Errors         map[string]int `json:"errors,omitempty"`
}

type quantiles struct {
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p99.9"`
	Max  float64 `json:"max"`
}

// quantiles returns nil if there are none.
func (h *histogram) quantiles() *quantiles {
	if h.n.Load() == 0 {
		return nil
	}
	at := func(q float64) float64 { return h.quantile(q).Seconds() }
	return &quantiles{at(0.5), at(0.9), at(0.99), at(0.999), at(1)}
}

func (b *bench) result() result {
	r := result{
		URL:         redacted(b.url),
		Mode:        b.mode,
		Connections: int(b.connections),
		Opened:      len(b.conns),
		Lost:        b.lost.Load(),
		Seconds:     b.elapsed.Seconds(),
		Size:        int(b.size),
		Sent:        b.sent.Load(),
		Unsent:      b.unsent.Load(),
		Received:    b.received.Load(),
		Unanswered:  b.unanswered(),
		Connect:     b.connect.quantiles(),
		Latency:     b.latency.quantiles(),
		Errors:      b.errors.counts,
	}
	if r.Seconds > 0 {
		r.ReceivedPerSec = float64(r.Received) / r.Seconds
	}
	return r
}

// report prints what there is, and returns the exit status.
func (b *bench) report(out *output) int {
	status := exitOK
	if len(b.conns) == 0 && b.failure != nil {
		e := explain(b.failure)
		out.tell(e)
		status = e.status
	}
	r := b.result()
	var text bytes.Buffer
	if b.json {
		encoder := json.NewEncoder(&text)
		encoder.SetEscapeHTML(false)
		encoder.Encode(r)
	} else if len(b.conns) > 0 {
		b.write(&text, r)
	}
	out.out.Write(text.Bytes())
	return status
}

// write writes the report for people.
func (b *bench) write(w io.Writer, r result) {
	fmt.Fprintf(w, "%s, %s, %.1f s\n\n", r.URL, r.Mode, r.Seconds)
	fmt.Fprintf(w, "connections  %d of %d opened, %d lost\n", r.Opened, r.Connections, r.Lost)
	writeQuantiles(w, "connect", r.Connect)
	if r.Mode != "hold" {
		fmt.Fprintf(w, "messages     %d sent, %d received, %d unanswered, %d not sent in time\n",
			r.Sent, r.Received, r.Unanswered, r.Unsent)
		fmt.Fprintf(w, "throughput   %.1f received/s of %d bytes, %.2f MB/s\n",
			r.ReceivedPerSec, r.Size, r.ReceivedPerSec*float64(r.Size)/1e6)
		writeQuantiles(w, "latency", r.Latency)
	}
	if r.Latency != nil {
		fmt.Fprint(w, "\nLatency counts from when a message was to be sent: if the server holds up the\n"+
			"sender, that is in it (no coordinated omission).\n\n")
		b.latency.draw(w)
	}
	if len(r.Errors) > 0 {
		fmt.Fprintln(w, "\nerrors")
		for _, name := range slices.Sorted(maps.Keys(r.Errors)) {
			fmt.Fprintf(w, "%7d  %s\n", r.Errors[name], printable(name))
		}
	}
}

func writeQuantiles(w io.Writer, name string, q *quantiles) {
	if q == nil {
		return
	}
	at := func(seconds float64) time.Duration { return short(time.Duration(seconds * float64(time.Second))) }
	fmt.Fprintf(w, "%-12s p50 %v  p90 %v  p99 %v  p99.9 %v  max %v\n",
		name, at(q.P50), at(q.P90), at(q.P99), at(q.P999), at(q.Max))
}
