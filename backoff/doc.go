// Package backoff says how long to wait before something is tried again.
//
//	var p backoff.Policy // 0 to 1 s at first, later 0 to 30 s
//	for attempt := 0; try() != nil; attempt++ {
//		time.Sleep(p.Delay(attempt))
//	}
//
// The delays are random, all of their length: "full jitter". Clients that have lost a server together
// come back one by one.
package backoff
