package feed

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// to appends an item to a topic.
func to(f *Feed, topic, data string) Cursor {
	c, _ := f.AppendTo(topic, func(Cursor) []byte { return []byte(data) })
	return c
}

// wantNext calls Next, which is to return this.
func wantNext(t *testing.T, r *Reader, max int, want string, wantErr error) {
	t.Helper()
	items, err := r.Next(max)
	if got := text(items); got != want || err != wantErr {
		t.Errorf("got %q, %v; want %q, %v", got, err, want, wantErr)
	}
}

func TestReader(t *testing.T) {
	f := New(Limits{Count: 6})
	start := f.Head()
	f.Append([]byte("of no topic"))
	to(f, "a", "a1")
	afterB := to(f, "b", "b1")
	a, okA := f.Reader(start, "a")
	ab, okAB := f.Reader(start, "a", "b", "a")
	b, okB := f.Reader(afterB, "b")
	now, okNow := f.Reader("", "b")
	none, okNone := f.Reader("")
	if !okA || !okAB || !okB || !okNow || !okNone {
		t.Error("something is said to be lost")
	}
	if f.Readers("a") != 2 || f.Readers("b") != 3 || f.Readers("c") != 0 {
		t.Errorf("%d, %d and %d readers", f.Readers("a"), f.Readers("b"), f.Readers("c"))
	}
	to(f, "b", "b2")
	<-a.More()
	wantNext(t, a, 0, "a1", nil)
	wantNext(t, a, 0, "", nil)
	<-ab.More()
	wantNext(t, ab, 2, "a1 b1", nil)
	<-ab.More()
	wantNext(t, ab, 2, "b2", nil)
	wantNext(t, b, 0, "b2", nil)
	wantNext(t, now, 0, "b2", nil)
	wantNext(t, none, 0, "", nil)

	// Of b there is more than is kept: that is nothing to those who read a, wherever they have been.
	for i := range 10 {
		to(f, "b", fmt.Sprint("b", i+3))
	}
	again, ok := f.Reader(a.Cursor(), "a")
	if !ok {
		t.Error("something of a is said to be lost")
	}
	behind, ok := f.Reader(start, "a")
	if ok {
		t.Error("nothing of a is said to be lost")
	}
	wantNext(t, behind, 0, "", nil)
	wantNext(t, b, 0, "", ErrGap)
	<-b.More()
	wantNext(t, b, 4, "b7 b8 b9 b10", nil)
	<-b.More()
	if c := to(f, "a", "a2"); a.Cursor() == c {
		t.Error("the position is behind what was not read")
	}
	wantNext(t, a, 0, "a2", nil)
	wantNext(t, again, 0, "a2", nil)
	for _, r := range []*Reader{a, again, now, none} {
		select {
		case <-r.More():
		default:
		}
	}
	f.Close()
	for _, r := range []*Reader{a, again, none} {
		<-r.More()
		wantNext(t, r, 0, "", ErrClosed)
	}
	<-b.More()
	wantNext(t, b, 0, "b11 b12", nil)
	<-b.More()
	wantNext(t, b, 0, "", ErrClosed)
	late, _ := f.Reader("", "a")
	<-late.More()
	wantNext(t, late, 0, "", ErrClosed)
	if c, err := f.AppendTo("a", nil); c != f.Head() || err != ErrClosed || f.Head() != a.Cursor() {
		t.Error("a closed feed took something")
	}
}

// A Reader of a position that is none begins with what is kept.
func TestReaderOfNoPosition(t *testing.T) {
	f := New(Limits{Count: 2})
	for i := range 3 {
		to(f, "a", fmt.Sprint(i))
	}
	for _, c := range []Cursor{"garbage", New(Limits{}).Head(), f.cursor(0), f.cursor(4)} {
		r, ok := f.Reader(c, "a")
		if ok {
			t.Errorf("%s is taken for a position", c)
		}
		wantNext(t, r, 0, "1 2", nil)
	}
}

// Nothing is left of topics that have nothing and nobody.
func TestTopicsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := New(Limits{Age: time.Minute})
		r, _ := f.Reader("", "read")
		for i := range 100 {
			to(f, fmt.Sprint(i), "x")
		}
		time.Sleep(time.Minute + 1)
		f.Oldest()
		if len(f.topics) != 1 {
			t.Errorf("%d topics are left", len(f.topics))
		}
		r.Close()
		r.Close()
		if len(f.topics) != 0 || len(f.readers) != 0 {
			t.Errorf("%d topics and %d readers are left", len(f.topics), len(f.readers))
		}
	})
}

// A panic of the function that makes an item does no harm.
func TestAppendToPanic(t *testing.T) {
	f := New(Limits{})
	r, _ := f.Reader("", "a")
	func() {
		defer func() { recover() }()
		f.AppendTo("a", func(Cursor) []byte { panic("no item") })
	}()
	to(f, "a", "one")
	wantNext(t, r, 0, "one", nil)
}

// Readers of random topics get what a list of all that there was has for them, or are told of a gap.
func TestReaderModel(t *testing.T) {
	type event struct {
		Cursor
		topic, data string
	}
	topics := []string{"a", "b", "c", "d"}
	for seed := range 100 {
		random := rand.New(rand.NewPCG(uint64(seed), 7))
		f := New(Limits{Count: 1 + random.IntN(20)})
		all := []event{{Cursor: f.Head()}}
		type reader struct {
			*Reader
			topics []string
			at     int // so much of all is behind it
		}
		var readers []*reader
		// missing reports whether something of topics after at is not kept any more.
		want := func(topics []string, at int) (list []string, missing bool) {
			kept := len(all) - f.limits.Count
			for i := at + 1; i < len(all); i++ {
				if slices.Contains(topics, all[i].topic) {
					missing = missing || i < kept
					list = append(list, all[i].data)
				}
			}
			return list, missing
		}
		for range 500 {
			switch random.IntN(8) {
			case 0:
				mine := topics[random.IntN(3) : 2+random.IntN(3)]
				at := random.IntN(len(all))
				r, ok := f.Reader(all[at].Cursor, mine...)
				if _, missing := want(mine, at); missing && ok {
					t.Fatalf("seed %d: a gap is not told", seed)
				}
				if !ok {
					if at >= len(all)-f.limits.Count {
						t.Fatalf("seed %d: a gap is told that is none", seed)
					}
					at = max(0, len(all)-1-f.limits.Count)
				}
				readers = append(readers, &reader{r, mine, at})
			case 1, 2, 3:
				if len(readers) == 0 {
					break
				}
				r := readers[random.IntN(len(readers))]
				most := random.IntN(5)
				list, missing := want(r.topics, r.at)
				items, err := r.Next(most)
				if missing {
					if err != ErrGap {
						t.Fatalf("seed %d: %v instead of a gap", seed, err)
					}
					r.at = max(0, len(all)-1-f.limits.Count)
					break
				}
				if most > 0 && len(list) > most {
					list = list[:most]
				}
				if err != nil || text(items) != strings.Join(list, " ") {
					t.Fatalf("seed %d: got %q, %v, want %q", seed, text(items), err, list)
				}
				r.at = slices.IndexFunc(all, func(e event) bool { return e.Cursor == r.Cursor() })
			case 4:
				if len(readers) > 0 {
					i := random.IntN(len(readers))
					readers[i].Close()
					readers = slices.Delete(readers, i, i+1)
				}
			default:
				topic := topics[random.IntN(len(topics))]
				data := fmt.Sprint(topic, len(all))
				all = append(all, event{to(f, topic, data), topic, data})
			}
		}
	}
}

// Readers that wait miss no item, though each is woken by its own topics only.
func TestReadersAndWritersOfTopics(t *testing.T) {
	const topics, each = 4, 10_000
	f := New(Limits{Count: topics * each})
	start := f.Head()
	var all sync.WaitGroup
	read := func(r *Reader, n int, want func(i int, data string) bool) {
		defer r.Close()
		for i := 0; i < n; {
			items, err := r.Next(i % 7)
			if err != nil {
				t.Error(err)
				return
			}
			for _, item := range items {
				if !want(i, string(item.Data)) {
					t.Errorf("item %d is %s", i, item.Data)
					return
				}
				i++
			}
			if len(items) == 0 {
				<-r.More()
			}
		}
	}
	for topic := range topics {
		r, _ := f.Reader(start, fmt.Sprint(topic))
		all.Go(func() {
			read(r, each, func(i int, data string) bool { return data == fmt.Sprint(topic, " ", i) })
		})
		several, _ := f.Reader(start, fmt.Sprint(topic), fmt.Sprint((topic+1)%topics))
		all.Go(func() {
			next := make(map[string]int)
			read(several, 2*each, func(_ int, data string) bool {
				topic, number, _ := strings.Cut(data, " ")
				i := next[topic]
				next[topic]++
				return number == fmt.Sprint(i)
			})
		})
		all.Go(func() {
			for i := range each {
				to(f, fmt.Sprint(topic), fmt.Sprint(topic, " ", i))
			}
		})
	}
	all.Wait()
}

// What a topic costs that others don't read.
func BenchmarkAppendTo(b *testing.B) {
	for _, readers := range []int{0, 1000} {
		b.Run(fmt.Sprintf("readers of others=%d", readers), func(b *testing.B) {
			f := New(Limits{})
			ctx, cancel := context.WithCancel(b.Context())
			var all sync.WaitGroup
			for i := range readers {
				r, _ := f.Reader("", fmt.Sprint(i))
				all.Go(func() {
					defer r.Close()
					for ctx.Err() == nil {
						r.Next(0)
						select {
						case <-r.More():
						case <-ctx.Done():
						}
					}
				})
			}
			p := make([]byte, 512)
			b.ReportAllocs()
			for b.Loop() {
				f.AppendTo("", func(Cursor) []byte { return p })
			}
			cancel()
			all.Wait()
		})
	}
}
