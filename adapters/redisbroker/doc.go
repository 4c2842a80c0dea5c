// Package redisbroker joins the hubs of several processes by Redis, with its Pub/Sub.
//
//	client := redis.NewClient(&redis.Options{Addr: "redis:6379"})
//	h := hub.New[struct{}](hub.Options{Broker: redisbroker.New(client, redisbroker.Options{})})
//
// The client may be one of a single Redis, of one with Sentinels, or of a cluster, but no
// [redis.Ring]. The Broker publishes over its connections, and takes another one to receive.
//
// # Loss
//
// Pub/Sub keeps nothing: what is published while a hub has no connection to Redis does not come to
// it. Options.OnGap of the hub is told when there is a connection again and all is subscribed to.
// That includes connections that Redis has closed because a process does not keep up, see
// client-output-buffer-limit in redis.conf, and those that are silent: each is pinged.
//
// To publish is not tried again, whatever the client's MaxRetries are: Redis could have done it and
// only the answer be lost. After an error of Publish the message may have been carried
// nevertheless.
//
// # Time
//
// Publish returns when its context ends, but the client goes on with the command for as long as its
// own timeouts are. They also limit how long Run takes to return that is just connecting.
package redisbroker
