// Package polling asks again and again, where nothing else gets through.
//
// [Every] calls a function at intervals, such as one of [Get] that gets something that may have changed:
//
//	for price, err := range polling.Every(ctx, polling.Options{}, polling.Get[Price](nil, url)) {
//		…
//	}
//
// A [Handler] answers when there is something (long polling), from a [feed.Feed], and [Long] asks it. A
// position is what the Feed calls a cursor, and each answer has the next, also one that has nothing
// else: nothing is missed between two requests, and nothing comes twice.
//
//	f := feed.New(feed.Limits{})
//	http.Handle("/changes", &polling.Handler{Feed: func(*http.Request) (*feed.Feed, error) { return f, nil }})
//
//	for batch, err := range polling.Long(ctx, "https://example.com/changes", polling.LongOptions{}) {
//		if err != nil {
//			return err
//		}
//		if batch.Reset {
//			// get what there is now; what comes next may be in that already
//		}
//		…
//	}
package polling
