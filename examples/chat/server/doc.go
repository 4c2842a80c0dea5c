// Package server is a chat for browsers: rooms, who is in them, who is typing, and what was said
// last. It is an example of what packages hub and wsjson are for, made to be read and changed.
//
// A page, page.html, opens a WebSocket to /ws?name=NAME and sends and gets JSON with an envelope:
//
//	page                                  server
//	                                      welcome {id, name}          who you are
//	join {room}                           history {room, messages, more}  what was said last, oldest first, and whether there was more;
//	                                                            also when something was missed
//	leave {room}                          people {room, node, count, people}
//	say {room, id, text}                  said {id, room, from, text, at}
//	typing {room}                         typing {room, from}
//	                                      refused {id or room, why}
//
// What a page says comes back to it as to all others: that is how it knows that it was said. What
// has not come back when the connection is lost it says once more, with the same id, and neither
// the history nor a page takes in the same id twice. A room is joined first, and its history is
// sent then, so that nothing is missed between them; what is in both, pages show once.
//
// A browser is somebody by a cookie, which it is given with the page. A client without one is somebody else each
// time. Nothing limits how much anybody says.
//
// Several processes share a chat by a Broker and a History. Each tells who is there with it: a page
// has a list for each node, and forgets one that is not renewed.
package server
