// Package sse is for Server-Sent Events (HTML standard, section 9.2): responses that don't end, as an
// EventSource in a browser reads them, and many programs.
//
// A [Server] sends events to the clients of topics:
//
//	var s sse.Server
//	http.Handle("/events", &s) // GET /events?topic=prices
//	s.Publish("prices", sse.Event{Data: "42"})
//
// A [Client] follows such a stream, or anybody's:
//
//	c := sse.Client{Request: func(ctx context.Context) (*http.Request, error) {
//		return http.NewRequestWithContext(ctx, "GET", "https://example.com/events?topic=prices", nil)
//	}}
//	for e, err := range c.Events(ctx) {
//		if err != nil {
//			return err
//		}
//		fmt.Println(e.Type, e.Data)
//	}
//
// A [Stream] is a response for a handler that knows by itself what to send, and a [Decoder] reads what
// was received.
//
// # Loss
//
// Each event of a Server has an ID. A client that has lost the connection says which was the latest, and
// gets what has followed: the Server keeps that within Server.Replay. What is published waits for
// nobody, and a client that does not keep up is disconnected, to come again. A client that was
// away for too long gets what is kept, and the response has the header field "Last-Event-ID: earliest".
//
// # Many streams
//
// A browser opens six connections to a host over HTTP/1.1, and a stream takes one of them for each tab. Over
// HTTP/2 there is no such limit.
package sse
