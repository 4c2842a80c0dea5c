package peers

import (
	"io"
	"log"
	"net"
	"net/http"
	"time"
)

// serveHTTP answers the requests of ln with handler. What net/http would log is of no use.
func serveHTTP(ln net.Listener, handler http.HandlerFunc) error {
	server := http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 30 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0),
	}
	return server.Serve(ln)
}

// serveEach is serveHTTP for those who need no net/http. upgrade makes a connection of what
// ln accepts.
func serveEach(ln net.Listener, upgrade func(net.Conn) (Conn, error), serve func(Conn) error) error {
	for {
		nc, err := ln.Accept()
		if err != nil {
			return err
		}
		go func() {
			c, err := upgrade(nc)
			if err != nil {
				nc.Close()
				return
			}
			begin(c, serve)
		}()
	}
}

// begin starts the goroutine of a connection, with a stack as small as there is.
func begin(c Conn, serve func(Conn) error) {
	if serve == nil {
		go c.Echo()
		return
	}
	go func() {
		serve(c)
		c.Close()
	}()
}

// end closes c, whose loop ends with err. (A deferred Close would be in the stack of a connection that
// waits.)
func end(c Conn, err error) error {
	c.Close()
	return err
}
