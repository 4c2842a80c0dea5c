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
			go serveAndClose(c, serve) // with a stack as small as there is
		}()
	}
}

// serveAndClose is the goroutine of a connection.
func serveAndClose(c Conn, serve func(Conn) error) {
	serve(c)
	c.Close()
}
