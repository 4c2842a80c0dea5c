// Package natsbroker joins the hubs of several processes by NATS.
//
//	b := natsbroker.New("nats://nats:4222", natsbroker.Options{})
//	h := hub.New[struct{}](hub.Options{Broker: b})
//
// The Broker makes connections of its own, one after the other. A [nats.Conn] that connects again
// by itself keeps what it could not send for later, and may say of what was lost that it was
// carried.
//
// # Loss
//
// What is published while a hub has no connection to NATS does not come to it. Options.OnGap of the
// hub is told when there is a connection again and all is subscribed to. It is also told of topics
// of which messages were dropped because 64 MiB waited to be delivered.
//
// Publish waits until the server has the message. After an error it may have been carried
// nevertheless. A message may not be larger than max_payload in the server's configuration, 1 MiB
// by default, of which the envelope takes some bytes.
//
// # Time
//
// Calls return when their context ends. But Run, while it is connecting, returns only then: see
// [nats.Timeout].
package natsbroker
