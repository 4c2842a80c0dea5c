// Package natsbroker joins the hubs of several processes by NATS.
//
//	h := hub.New[struct{}](hub.Options{Broker: natsbroker.New("nats://nats:4222", natsbroker.Options{})})
//
// The Broker makes a connection of its own, because it has to know when one is lost, and another
// takes its place: what package nats does about that keeps messages for later.
//
// # Loss
//
// What is published while a hub has no connection to NATS does not come to it. Options.OnGap of the
// hub is told when there is a connection again and all is subscribed to. It is also told of topics
// of which messages were dropped because 64 MiB waited to be delivered.
//
// Publish waits until the server has the message. An error says that it can't be known whether it
// was carried. A message may not be larger than max_payload in the server's configuration, 1 MiB by
// default, and a few bytes of it are the envelope's.
//
// # Time
//
// Calls return when their context ends. But Run, while it is connecting, returns only then: see
// [nats.Timeout].
package natsbroker
