// Package server is a chat for browsers: rooms, who is in them, who is typing, and what was said
// last. It is an example of what packages hub and wsjson are for, made to be read and changed.
//
// A page, page.html, opens a WebSocket to /ws?name=NAME and sends and gets JSON with an envelope:
//
//	page                                  server
//	                                      welcome {id, name}          who you are
//	join {room}                           history {room, messages}    what was said last, oldest first; also when something was missed
//	leave {room}                          people {room, node, count, people}
//	say {room, id, text}                  said {id, room, from, text, at}
//	typing {room}                         typing {room, from}
//	                                      refused {id, why}
//
// What a page says comes back to it as to all others: that is how it knows that it was said. What
// has not come back when the connection is lost it says once more, with the same id, and neither
// the history nor a page takes in the same id twice. A room is joined first, and its history is
// sent then, so that nothing is missed between them; what is in both, pages show once.
//
// Several processes share a chat by a Broker and a History. Each tells who is there with it: a page
// has a list for each node, and forgets one that is not renewed.
package server
