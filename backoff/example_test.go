package backoff_test

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/tidewire/websocket/backoff"
)

func ExamplePolicy() {
	tries := 0
	try := func() error {
		if tries++; tries < 4 {
			return errors.New("not yet")
		}
		return nil
	}
	p := backoff.Policy{Min: time.Millisecond, NoJitter: true}
	for attempt := 0; try() != nil; attempt++ {
		d := p.Delay(attempt)
		fmt.Println("waiting for", d)
		time.Sleep(d)
	}
	fmt.Println("done")
	// Output:
	// waiting for 1ms
	// waiting for 2ms
	// waiting for 4ms
	// done
}

func ExampleRetryAfter() {
	resp := &http.Response{StatusCode: http.StatusServiceUnavailable, Header: http.Header{"Retry-After": {"120"}}}
	fmt.Println(backoff.RetryAfter(resp.Header, time.Now()))
	// Output: 2m0s true
}
