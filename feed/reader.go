package feed

import (
	"math"
	"slices"
)

// A topic is what items are of that only some readers want.
type topic struct {
	name    string
	offsets []uint64  // of the items that are kept
	lost    uint64    // the position behind the latest that may not be kept any more
	readers []*Reader // a slice: to walk through a map of thousands costs more than to wake them
}

// topic returns a topic. What it had before it was forgotten is not known. f.mu is held.
func (f *Feed) topic(name string) *topic {
	t := f.topics[name]
	if t == nil {
		t = &topic{name: name, lost: f.before}
		f.topics[name] = t
	}
	return t
}

// drop forgets a topic that has nothing and nobody. f.mu is held.
func (f *Feed) drop(t *topic) {
	if len(t.offsets) == 0 && len(t.readers) == 0 {
		delete(f.topics, t.name)
	}
}

// AppendTo adds an item to a topic: what data returns for the position behind it, which is not copied. Data
// must not use the Feed. AppendTo returns ErrClosed if the Feed is closed.
func (f *Feed) AppendTo(topic string, data func(Cursor) []byte) (Cursor, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return f.head, ErrClosed
	}
	c := f.cursor(f.end() + 1)
	p := data(c)
	t := f.topic(topic)
	t.offsets = append(t.offsets, f.end())
	f.append(c, p, t)
	for _, r := range t.readers {
		r.Wake()
	}
	return c, nil
}

// Readers returns how many Readers a topic has.
func (f *Feed) Readers(topic string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if t := f.topics[topic]; t != nil {
		return len(t.readers)
	}
	return 0
}

// A Reader reads the items of some topics. It is woken only by those, and only they count for whether something is
// lost. It is for one goroutine at a time, and has to be closed.
type Reader struct {
	feed   *Feed
	topics []place
	offset uint64 // nothing before is to be read any more
	more   chan struct{}
	one    [1]Item // what Next returns is mostly one
}

// A place is that of a Reader among those of a topic.
type place struct {
	*topic
	index int
}

// Reader returns a Reader of what follows c in any of the topics; if c is "", of what follows from now on. If
// something of that may be missing, ok is false, and the Reader begins with what is kept.
func (f *Feed) Reader(c Cursor, topics ...string) (r *Reader, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.trim()
	r = &Reader{feed: f, more: make(chan struct{}, 1)}
	for _, name := range topics {
		if t := f.topic(name); !slices.ContainsFunc(r.topics, func(p place) bool { return p.topic == t }) {
			r.topics = append(r.topics, place{t, len(t.readers)})
			t.readers = append(t.readers, r)
		}
	}
	f.readers[r] = struct{}{}
	r.Wake()
	if c == "" {
		c = f.head
	}
	offset, ok := f.offset(c)
	if r.offset = offset; !ok || offset > f.end() || r.lost() {
		r.offset = f.before
		return r, false
	}
	return r, true
}

// Next returns what follows, at the most max items if max is positive; none, if there is nothing yet. The slice
// is valid until the next call. Next returns ErrGap if something is not kept any more, and next time
// what is; and ErrClosed when there will be no more.
func (r *Reader) Next(max int) ([]Item, error) {
	f := r.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	f.trim()
	if max <= 0 {
		max = math.MaxInt
	}
	if r.lost() {
		r.offset = f.before
		r.Wake()
		return nil, ErrGap
	}
	offsets := r.pending(max)
	if len(offsets) == 0 && f.closed {
		return nil, ErrClosed
	}
	r.offset = f.end()
	if len(offsets) == max {
		r.offset = offsets[max-1] + 1
	}
	if len(offsets) == max || f.closed {
		r.Wake() // there may be more, or the end
	}
	items := r.one[:0]
	for _, offset := range offsets {
		items = append(items, f.items[offset-f.before].Item)
	}
	return items, nil
}

// More has a value when Next may have something, or an error, that it has not returned yet.
func (r *Reader) More() <-chan struct{} { return r.more }

// Wake has More have a value. Any goroutine may call it.
func (r *Reader) Wake() {
	select {
	case r.more <- struct{}{}:
	default:
	}
}

// Cursor returns the position behind what Next has returned, and also behind what there is of other topics since.
func (r *Reader) Cursor() Cursor {
	r.feed.mu.Lock()
	defer r.feed.mu.Unlock()
	if !r.lost() && len(r.pending(1)) == 0 {
		r.offset = r.feed.end()
	}
	return r.feed.cursor(r.offset)
}

// Close ends the Reader.
func (r *Reader) Close() {
	r.feed.mu.Lock()
	defer r.feed.mu.Unlock()
	for _, p := range r.topics {
		last := p.readers[len(p.readers)-1]
		for i := range last.topics {
			if last.topics[i].topic == p.topic {
				last.topics[i].index = p.index
			}
		}
		p.readers[p.index] = last
		p.readers[len(p.readers)-1] = nil
		p.topic.readers = p.readers[:len(p.readers)-1]
		r.feed.drop(p.topic)
	}
	delete(r.feed.readers, r)
	r.topics = nil
}

// lost reports whether something is not kept any more. r.feed.mu is held.
func (r *Reader) lost() bool {
	return slices.ContainsFunc(r.topics, func(p place) bool { return p.lost > r.offset })
}

// pending returns where the items are that are to be read, at the most max. r.feed.mu is held.
func (r *Reader) pending(max int) (offsets []uint64) {
	if len(r.topics) == 1 {
		offsets = r.topics[0].from(r.offset)
		return offsets[:min(max, len(offsets))]
	}
	var lists [][]uint64
	for _, p := range r.topics {
		if list := p.from(r.offset); len(list) > 0 {
			lists = append(lists, list)
		}
	}
	for len(lists) > 0 && len(offsets) < max {
		first := 0
		for i, list := range lists {
			if list[0] < lists[first][0] {
				first = i
			}
		}
		offsets = append(offsets, lists[first][0])
		if lists[first] = lists[first][1:]; len(lists[first]) == 0 {
			lists = slices.Delete(lists, first, first+1)
		}
	}
	return offsets
}

// from returns where the topic's items are from an offset on.
func (t *topic) from(offset uint64) []uint64 {
	i, _ := slices.BinarySearch(t.offsets, offset)
	return t.offsets[i:]
}
