// Package sse is for Server-Sent Events (HTML standard, section 9.2): the streams of text that an
// EventSource in a browser reads, and many APIs send.
//
//	for e, err := range sse.Read(resp.Body) {
//		if err != nil {
//			return err
//		}
//		fmt.Println(e.Type, e.Data)
//	}
//
// A [Decoder] reads a stream as the standard says, whatever the pieces in which it comes, with no
// limit for lines but that for events. [Event.Append] writes one.
package sse
