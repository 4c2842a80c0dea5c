package feed

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Limits are how much a Feed keeps. The zero value is good. They are looked at when something is added or read.
type Limits struct {
	Count int           // of items. Default: 1024
	Bytes int           // of their data. A single item may have more. Default: 4 MiB
	Age   time.Duration // Default: 5 min. Negative: any
}

// A Cursor is a position in a Feed: behind an item, or before the first. It looks like
// "KQ4BPA7Z2M-17", where the first part is the feed's own, so that another feed, such as that of the same
// program after a restart, does not take it for its own. The zero Cursor is no position.
type Cursor string

// An Item is something that has happened, with the position behind it.
type Item struct {
	Cursor Cursor
	Data   []byte // must not be changed
}

var (
	// ErrGap is for a Cursor behind which something may be missing: what followed it is not kept any more,
	// or it is no position in this feed.
	ErrGap = errors.New("feed: the position is lost")

	ErrClosed = errors.New("feed: the feed is closed")
)

// A Feed is a log of bounded size. Its methods may be called concurrently. It has no goroutine.
type Feed struct {
	limits Limits
	epoch  string

	mu     sync.Mutex
	items  []entry // those kept
	before uint64  // so many were there before them
	bytes  int
	head   Cursor
	closed bool
	more   chan struct{} // closed when there is more than now, if anybody waits

	topics  map[string]*topic
	readers map[*Reader]struct{} // of all
}

type entry struct {
	Item
	at    time.Time
	topic *topic // or nil
}

// New returns an empty Feed.
func New(l Limits) *Feed {
	if l.Count <= 0 {
		l.Count = 1024
	}
	if l.Bytes <= 0 {
		l.Bytes = 4 << 20
	}
	if l.Age == 0 {
		l.Age = 5 * time.Minute
	}
	f := &Feed{limits: l, epoch: rand.Text()[:10], topics: make(map[string]*topic), readers: make(map[*Reader]struct{})}
	f.head = f.cursor(0)
	return f
}

func (f *Feed) cursor(offset uint64) Cursor {
	return Cursor(f.epoch + "-" + strconv.FormatUint(offset, 10))
}

// Append adds an item with a copy of p, and returns the position behind it. A Feed that is closed
// takes nothing, and returns its head.
func (f *Feed) Append(p []byte) Cursor {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.closed {
		f.append(f.cursor(f.end()+1), slices.Clone(p), nil)
	}
	return f.head
}

// append adds an item, which may be of a topic. f.mu is held.
func (f *Feed) append(c Cursor, p []byte, t *topic) {
	f.head = c
	f.items = append(f.items, entry{Item{c, p}, time.Now(), t})
	f.bytes += len(p)
	f.trim()
	f.wake()
}

// end returns how many items there have been. f.mu is held.
func (f *Feed) end() uint64 { return f.before + uint64(len(f.items)) }

// wake has those look again who wait. f.mu is held.
func (f *Feed) wake() {
	if f.more != nil {
		close(f.more)
		f.more = nil
	}
}

// trim forgets what is too old or too much. f.mu is held.
func (f *Feed) trim() {
	n := 0
	for n < len(f.items) && (len(f.items)-n > f.limits.Count || f.bytes > f.limits.Bytes && len(f.items)-n > 1 ||
		f.limits.Age >= 0 && time.Since(f.items[n].at) > f.limits.Age) {
		f.bytes -= len(f.items[n].Data)
		n++
		if t := f.items[n-1].topic; t != nil {
			t.offsets = t.offsets[1:]
			t.lost = f.before + uint64(n)
			f.drop(t)
		}
		f.items[n-1] = entry{}
	}
	f.before += uint64(n)
	if f.items = f.items[n:]; len(f.items) == 0 {
		f.items = nil
	}
}

// Head returns the position behind the latest item.
func (f *Feed) Head() Cursor {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.head
}

// Oldest returns the position before the oldest item that is kept.
func (f *Feed) Oldest() Cursor {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.trim()
	return f.cursor(f.before)
}

// After returns what follows c, at the most max items if max is positive, and the position behind them. If
// it returns ErrGap, that is the head.
func (f *Feed) After(c Cursor, max int) (items []Item, next Cursor, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.after(c, max)
}

func (f *Feed) after(c Cursor, max int) (items []Item, next Cursor, err error) {
	f.trim()
	if c == f.head {
		return nil, c, nil // as most often
	}
	offset, ok := f.offset(c)
	if !ok || offset < f.before || offset > f.end() {
		return nil, f.head, ErrGap
	}
	entries := f.items[offset-f.before:]
	if max > 0 && len(entries) > max {
		entries = entries[:max]
	}
	items = make([]Item, len(entries))
	for i, e := range entries {
		items[i] = e.Item
	}
	return items, items[len(items)-1].Cursor, nil
}

// offset returns how many items are before c, if it is a position of this feed.
func (f *Feed) offset(c Cursor) (offset uint64, ok bool) {
	digits, ok := strings.CutPrefix(string(c), f.epoch+"-")
	if !ok {
		return 0, false
	}
	offset, err := strconv.ParseUint(digits, 10, 64)
	return offset, err == nil && strconv.FormatUint(offset, 10) == digits
}

// Wait is After, and if there is nothing yet, it waits until there is. When ctx ends it returns its
// cause, and when the Feed is closed ErrClosed: in both cases with c for the next position.
func (f *Feed) Wait(ctx context.Context, c Cursor, max int) (items []Item, next Cursor, err error) {
	for {
		f.mu.Lock()
		items, next, err := f.after(c, max)
		if len(items) > 0 || err != nil || f.closed {
			if len(items) == 0 && err == nil {
				err = ErrClosed
			}
			f.mu.Unlock()
			return items, next, err
		}
		if f.more == nil {
			f.more = make(chan struct{})
		}
		more := f.more
		f.mu.Unlock()
		select {
		case <-more:
		case <-ctx.Done():
			return nil, c, context.Cause(ctx)
		}
	}
}

// Close ends all waiting, also of those who come later. What there is can still be read.
func (f *Feed) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	f.wake()
	for r := range f.readers {
		r.Wake()
	}
}
