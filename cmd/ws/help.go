package main

// What ws help prints. A test holds each flag against it.

const overview = `Ws talks to WebSocket servers, is one, and measures them.

  ws connect URL     send lines of stdin as messages, print messages that come
  ws listen ADDR     be a server
  ws bench URL       measure a server
  ws version         which build this is
  ws help COMMAND    its flags, with examples

To see it work, type this in one terminal:

  ws listen :8080

and this in another, then a line of text, and Ctrl-C when you are done:

  ws connect :8080

Flags may stand before or after the URL, with one dash or two.
`

const connectHelp = `usage: ws connect [flags] URL

Each line of stdin is sent as a text message. Each message that comes is
printed on stdout, everything else on stderr. Ctrl-D ends the input, Ctrl-C
closes the connection. A URL without a scheme is a ws URL, one that begins
with a colon is of localhost: "localhost:8080/chat", ":8080".

What is sent
  -x, -send TEXT        send this message first (may be repeated); stdin is then
                        read only if it is a terminal
  -b, -binary           send all of stdin as one binary message
  -0, -null             messages end with NUL instead of a newline, in and out
  -q, -wait TIME        how long to wait for answers after the end of stdin
                        (default 2s; negative: for ever)
  -close CODE:REASON    how to close the connection (default 1000)

What is printed
  -B, -base64           print binary messages as base64 (default: hexadecimal)
  -pretty               indent messages that are JSON
  -json                 print one JSON object for each event: open, message,
                        retry, close, error
  -n, -count N          exit after N messages
  -v, -verbose          print the opening handshake and every frame

How to connect
  -H, -header 'N: V'    add a header field (may be repeated)
  -o, -origin ORIGIN    the page that connects, such as https://example.com
  -u, -user USER:PASS   basic authorization
  -s, -subprotocol NAME offer a subprotocol (may be repeated)
  -deflate              offer compression
  -ca FILE              trust these certificate authorities only (PEM)
  -cert FILE, -key FILE the certificate of this client, and its key (PEM)
  -k, -insecure         trust any server
  -proxy URL            http, https or socks5 proxy, or "none"
                        (default: HTTP_PROXY, HTTPS_PROXY, NO_PROXY)
  -unix PATH            connect to this Unix socket, in place of the URL's host
  -w, -timeout TIME     how long to wait for the connection (default 10s)
  -ping TIME            ping after this time of silence, and give up after as
                        long again (default 30s; negative: never)
  -reconnect            connect again when the connection is lost, after delays
                        that grow; not when the server has closed it with 1000
                        or means to refuse us

A TIME is 1m30s, 500ms, or a number of seconds.

The exit status is 0 if the connection was closed by us, or by the server with
1000 or without a code; 1 for a mistake in the command line or in stdin; 2 if
there was no connection; 3 if the server closed with another code; 4 if the
connection ended otherwise, or fewer than N messages came in time.

Examples
  ws connect wss://example.com/feed
  ws connect :8080 -x '{"op":"subscribe"}' -n 1      one question, one answer
  ws connect -q -1 wss://example.com/feed </dev/null  only listen, for ever
  ws connect -pretty -H 'Authorization: Bearer TOKEN' wss://example.com/api
  ws connect -b -B -n 1 :8080 <picture.png | base64 -d >echo.png
  rlwrap ws connect :8080                             with a history of lines
`

const listenHelp = `usage: ws listen [flags] ADDR

ADDR is a host and port; ":8080" is for all who can reach this machine, "8080"
for this machine only. Ctrl-C closes all connections with 1001.

What it does with messages
  -mode echo            send each back to where it came from (default)
  -mode broadcast       send each to all clients, also back
  -mode log             print each on stdout
  -mode stdio           print each on stdout, and send each line of stdin to all
                        clients, once there is one; what is not UTF-8 is sent
                        as a binary message
  -exec COMMAND         start a command for each client: messages are lines on
                        its stdin, binary ones in hexadecimal, the lines of its
                        stdout are messages; it ends with the connection
  -v, -verbose          print opening handshakes and frames, on stderr

Who may connect
  -o, -origin PATTERN   let pages of this origin connect, such as example.com,
                        *.example.com, or * for any (may be repeated; default:
                        pages of this server, and programs that are no browser)
  -path PATH            the path of the WebSocket (default: any)
  -s, -subprotocol NAME a subprotocol that is spoken (may be repeated)
  -deflate              compress, if the client can
  -tls-cert FILE, -tls-key FILE
                        the certificate and key for wss (PEM)
  -ping TIME            ping after this time of silence, and give up after as
                        long again (default 30s; negative: never)

Examples
  ws listen :8080
  ws listen -mode broadcast -origin '*' -path /chat :8080
  ws listen -exec 'grep --line-buffered error' 8080
`

const benchHelp = `usage: ws bench [flags] URL

Opens connections, sends messages on each, and prints connect times,
throughput, and the latency of the messages. Latency counts from the time at
which a message was to be sent, not from when it could be: a server that holds
up the sender looks as slow as it is (no coordinated omission). Ctrl-C prints
what there is so far. Measure only servers that are yours.

  -c, -connections N    how many (default 100)
  -rate N               connections opened per second (default: 64 at a time)
  -m, -messages N       messages per second, on each connection (default 1)
  -size BYTES           of a message (default 128)
  -d, -duration TIME    how long to send, once all are connected (default 10s)
  -mode echo            the server sends each message back (default)
  -mode broadcast       the server sends each to all; only one connection sends
  -mode hold            only keep the connections open
  -json                 print the result as JSON, times in seconds

Connecting is as for ws connect: -H, -header; -o, -origin; -u, -user;
-s, -subprotocol; -deflate; -ca; -cert; -key; -k, -insecure; -proxy; -unix;
-w, -timeout; -ping.

The exit status is 2 if nothing could connect.

Examples
  ws bench -c 1000 -rate 200 -m 10 -d 30s :8080
  ws bench -mode hold -c 5000 -d 1m wss://example.com/feed
`

const versionHelp = `usage: ws version

Prints which build this is, and by which Go it was made.
`
