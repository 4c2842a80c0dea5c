package feed

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fill returns a Feed with items called 1 to n, and the positions before and behind them.
func fill(l Limits, n int) (*Feed, []Cursor) {
	f := New(l)
	cursors := []Cursor{f.Head()}
	for i := range n {
		cursors = append(cursors, f.Append(fmt.Append(nil, i+1)))
	}
	return f, cursors
}

// text joins the data of items.
func text(items []Item) string {
	var list []string
	for _, item := range items {
		list = append(list, string(item.Data))
	}
	return strings.Join(list, " ")
}

func TestAfter(t *testing.T) {
	f, at := fill(Limits{Count: 4}, 6) // of which 3 to 6 are kept
	other, _ := fill(Limits{}, 6)
	if f.Head() != at[6] || f.Oldest() != at[2] {
		t.Errorf("the head is %s, the oldest %s, want %s and %s", f.Head(), f.Oldest(), at[6], at[2])
	}
	for _, test := range []struct {
		name string
		c    Cursor
		max  int
		want string
		next Cursor
		err  error
	}{
		{"head", at[6], 0, "", at[6], nil},
		{"before the latest", at[5], 0, "6", at[6], nil},
		{"middle", at[3], 0, "4 5 6", at[6], nil},
		{"middle, two of them", at[3], 2, "4 5", at[5], nil},
		{"oldest", at[2], 100, "3 4 5 6", at[6], nil},
		{"one before", at[1], 0, "", at[6], ErrGap},
		{"beginning", at[0], 0, "", at[6], ErrGap},
		{"another feed", other.Head(), 0, "", at[6], ErrGap},
		{"none", "", 0, "", at[6], ErrGap},
		{"garbage", "garbage", 0, "", at[6], ErrGap},
		{"beyond the head", f.cursor(7), 0, "", at[6], ErrGap},
		{"another spelling", at[4] + "\n", 0, "", at[6], ErrGap},
		{"leading zero", Cursor(f.epoch + "-05"), 0, "", at[6], ErrGap},
		{"sign", Cursor(f.epoch + "-+5"), 0, "", at[6], ErrGap},
		{"too large", Cursor(f.epoch + "-18446744073709551616"), 0, "", at[6], ErrGap},
	} {
		items, next, err := f.After(test.c, test.max)
		if text(items) != test.want || next != test.next || err != test.err {
			t.Errorf("%s: got %q, %s, %v; want %q, %s, %v", test.name, text(items), next, err, test.want, test.next, test.err)
		}
	}
	items, _, _ := f.After(at[2], 0)
	for i, item := range items {
		if item.Cursor != at[3+i] {
			t.Errorf("item %d has the cursor %s, want %s", i, item.Cursor, at[3+i])
		}
	}
}

func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		check := func(f *Feed, from Cursor, want string) {
			t.Helper()
			if items, _, err := f.After(f.Oldest(), 0); text(items) != want || err != nil {
				t.Errorf("kept are %q, %v, want %q", text(items), err, want)
			}
			if _, _, err := f.After(from, 0); (err == nil) != strings.HasPrefix(want, "1") {
				t.Errorf("from the beginning: %v", err)
			}
		}
		f, at := fill(Limits{Count: 2}, 3)
		check(f, at[0], "2 3")
		f, at = fill(Limits{Bytes: 2}, 3)
		check(f, at[0], "2 3")
		f.Append([]byte("one that is too long"))
		check(f, at[0], "one that is too long")
		f, at = fill(Limits{Age: time.Minute}, 1)
		time.Sleep(40 * time.Second)
		f.Append([]byte("2"))
		time.Sleep(20 * time.Second)
		check(f, at[0], "1 2")
		time.Sleep(time.Second)
		check(f, at[0], "2")
		time.Sleep(time.Hour)
		check(f, at[0], "")
		if items, next, err := f.After(f.Head(), 0); items != nil || next != f.Head() || err != nil {
			t.Errorf("at the head of what is forgotten: %v, %s, %v", items, next, err)
		}
		f, at = fill(Limits{Age: -1}, 1)
		time.Sleep(1000 * time.Hour)
		check(f, at[0], "1")
	})
}

// What was given to Append may be used again.
func TestDefaultLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept := func(f *Feed) int {
			items, _, _ := f.After(f.Oldest(), 0)
			return len(items)
		}
		f, _ := fill(Limits{}, 1025)
		if n := kept(f); n != 1024 {
			t.Errorf("%d items are kept", n)
		}
		time.Sleep(5 * time.Minute)
		if n := kept(f); n != 1024 {
			t.Errorf("%d items are kept for 5 minutes", n)
		}
		if time.Sleep(time.Nanosecond); kept(f) != 0 {
			t.Errorf("%d items are kept for longer", kept(f))
		}
		for range 5 {
			f.Append(make([]byte, 1<<20))
		}
		if n := kept(f); n != 4 {
			t.Errorf("%d MiB are kept", n)
		}
	})
}

func TestAppendCopies(t *testing.T) {
	f, at := fill(Limits{}, 0)
	p := []byte("data")
	f.Append(p)
	copy(p, "else")
	if items, _, _ := f.After(at[0], 0); text(items) != "data" {
		t.Errorf("got %q", text(items))
	}
}

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, at := fill(Limits{}, 2)
		type result struct {
			items []Item
			next  Cursor
			err   error
		}
		wait := func(ctx context.Context, c Cursor, max int) <-chan result {
			done := make(chan result, 1)
			go func() {
				items, next, err := f.Wait(ctx, c, max)
				done <- result{items, next, err}
			}()
			synctest.Wait()
			return done
		}
		want := func(done <-chan result, items string, next Cursor, err error) {
			t.Helper()
			synctest.Wait()
			select {
			case r := <-done:
				if text(r.items) != items || r.next != next || r.err != err {
					t.Errorf("got %q, %s, %v; want %q, %s, %v", text(r.items), r.next, r.err, items, next, err)
				}
			default:
				t.Error("it waits")
			}
		}
		want(wait(t.Context(), at[0], 1), "1", at[1], nil)
		want(wait(t.Context(), "x", 1), "", at[2], ErrGap)
		var all []<-chan result
		for range 1000 {
			all = append(all, wait(t.Context(), at[2], 0))
		}
		cause := errors.New("the cause")
		ctx, cancel := context.WithCancelCause(t.Context())
		one := wait(ctx, at[2], 0)
		if len(one) > 0 {
			t.Error("it does not wait")
		}
		cancel(cause)
		want(one, "", at[2], cause)
		three := f.Append([]byte("3"))
		for _, done := range all {
			want(done, "3", three, nil)
		}
		one = wait(t.Context(), three, 0)
		f.Close()
		want(one, "", three, ErrClosed)
		want(wait(t.Context(), three, 0), "", three, ErrClosed)
		want(wait(t.Context(), at[1], 0), "2 3", three, nil)
		if c := f.Append([]byte("4")); c != three {
			t.Errorf("a closed feed has taken something: %s", c)
		}
	})
}

// Readers that are behind, at the head and ahead of writers miss nothing and get nothing twice.
func TestReadersAndWriters(t *testing.T) {
	const writers, each = 4, 25_000
	f := New(Limits{Count: writers * each})
	start := f.Head()
	var all sync.WaitGroup
	for r := range 8 {
		all.Go(func() {
			var next [writers]int
			c := start
			for n := 0; n < writers*each; {
				items, after, err := f.Wait(t.Context(), c, r*r) // 0: as many as there are
				if err != nil {
					t.Error(err)
					return
				}
				for _, item := range items {
					var writer, i int
					if _, err := fmt.Sscanf(string(item.Data), "%d %d", &writer, &i); err != nil || i != next[writer] {
						t.Errorf("writer %d: got %d, want %d", writer, i, next[writer])
						return
					}
					next[writer]++
				}
				n += len(items)
				c = after
			}
		})
	}
	for w := range writers {
		all.Go(func() {
			for i := range each {
				f.Append(fmt.Appendf(nil, "%d %d", w, i))
			}
		})
	}
	all.Wait()
}

// One append at a time, each between somebody's look and wait, or not.
func TestNoLostWake(t *testing.T) {
	f := New(Limits{Count: 1})
	turns := make(chan Cursor)
	const tries = 100_000
	go func() {
		defer close(turns)
		c := f.Head()
		for range tries {
			turns <- c
			_, next, err := f.Wait(t.Context(), c, 0)
			if err != nil {
				t.Error(err)
				return
			}
			c = next
		}
	}()
	for c := range turns {
		if next := f.Append(nil); next == c {
			t.Fatal("two positions are the same")
		}
	}
}

// A position is accepted if it is one that the feed has given out and still can go on from.
func FuzzCursor(f *testing.F) {
	feed, at := fill(Limits{Count: 3}, 5)
	for _, c := range at {
		f.Add(strings.TrimPrefix(string(c), feed.epoch))
	}
	for _, c := range []string{"", "-", "-03", "-+3", "-3 ", "-0x3", "-1e0", "-٣", "-99999999999999999999"} {
		f.Add(c)
	}
	f.Fuzz(func(t *testing.T, c string) {
		for _, c := range []Cursor{Cursor(c), Cursor(feed.epoch + c)} {
			i := slices.Index(at[2:], c)
			items, next, err := feed.After(c, 0)
			if (err == nil) != (i >= 0) || next != at[5] || err == nil && len(items) != 3-i {
				t.Errorf("%q: %d items, %v", c, len(items), err)
			}
		}
	})
}

// Those who wait cost nothing when there is nothing, and an item is not made anew for each.
func BenchmarkAppend(b *testing.B) {
	for _, readers := range []int{0, 1, 1000} {
		b.Run(fmt.Sprintf("readers=%d", readers), func(b *testing.B) {
			f := New(Limits{})
			var all sync.WaitGroup
			for range readers {
				c := f.Head()
				all.Go(func() {
					for {
						_, next, err := f.Wait(context.Background(), c, 0)
						if err == ErrClosed {
							return
						}
						c = next
					}
				})
			}
			p := make([]byte, 512)
			b.ReportAllocs()
			for b.Loop() {
				f.Append(p)
			}
			f.Close()
			all.Wait()
		})
	}
}
