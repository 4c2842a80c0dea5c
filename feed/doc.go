// Package feed keeps the latest of what has happened, in order, for readers that come and go: each
// has a [Cursor], gets what follows it, and learns whether something in between is lost.
//
//	f := feed.New(feed.Limits{})
//	f.Append([]byte("first"))
//	cursor := f.Head()
//	for {
//		items, next, err := f.Wait(ctx, cursor, 100)
//		if err == feed.ErrGap {
//			// load what there is now, and go on from next
//		} else if err != nil {
//			return err
//		}
//		…
//		cursor = next
//	}
//
// To look whether there is something and to wait for it are one step, so that nothing is missed or
// comes twice between them. A position is a number given by the feed, and no time: things that happen at
// the same time are not taken for one.
//
// Items may be of topics, see [Feed.AppendTo]. A [Reader] reads those of some, and others' don't concern it: it is not
// woken by them, and it has lost nothing when they are not kept any more.
package feed
