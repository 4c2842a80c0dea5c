//go:build external

package interop

import (
	"context"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/tidewire/websocket"
	_ "github.com/tidewire/websocket/http2"
)

// The page sends messages of all lengths, and reports what has come back.
const streamPage = `<!DOCTYPE html><title>HTTP/2</title><script>
const lengths = [0, 1, 125, 126, 65535, 65536, 300000], result = {protocol: "", echoed: [], close: 0, error: ""};
const socket = new WebSocket("wss://" + location.host + "/socket", ["chat"]);
socket.binaryType = "arraybuffer";
const report = () => fetch("/result", {method: "POST", body: JSON.stringify(result)});
const next = () => {
	const n = lengths[result.echoed.length / 2];
	if (n === undefined) return socket.close(1000, "bye");
	socket.send("x".repeat(n));
	socket.send(new Uint8Array(n).fill(7));
};
socket.onmessage = ({data}) => {
	if (result.protocol === "") { result.protocol = data; return next(); }
	const text = typeof data === "string", bytes = text ? null : new Uint8Array(data);
	result.echoed.push(text ? data.length : bytes.every(b => b === 7) ? bytes.length : -1);
	if (!text) next();
};
socket.onerror = () => { result.error = "error"; };
socket.onclose = ({code, wasClean}) => { result.close = wasClean ? code : -code; report(); };
</script>`

type streamResult struct {
	Protocol string
	Echoed   []int
	Close    int
	Error    string
}

// Chromium opens a wss over HTTP/2, since the page came that way and the server offers it.
func TestChromiumOverHTTP2(t *testing.T) {
	u := &websocket.Upgrader{Subprotocols: []string{"chat"}, Compression: &websocket.Compression{}}
	results, ends := make(chan streamResult, 1), make(chan error, 1)
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, streamPage) })
	mux.Handle("/socket", u.Handler(func(_ http.ResponseWriter, r *http.Request) (func(context.Context, *websocket.Conn), error) {
		protocol := r.Proto
		return func(ctx context.Context, c *websocket.Conn) {
			c.Write(ctx, websocket.MessageText, []byte(protocol+" "+c.Subprotocol()))
			for m, err := range c.Messages(ctx) {
				if err != nil || c.Write(ctx, m.Type, m.Data) != nil {
					break
				}
			}
			ends <- c.Err()
		}, nil
	}))
	mux.HandleFunc("/result", func(w http.ResponseWriter, r *http.Request) {
		var result streamResult
		if err := json.NewDecoder(r.Body).Decode(&result); err != nil {
			t.Error(err)
		}
		results <- result
	})
	s := httptest.NewUnstartedServer(mux)
	s.EnableHTTP2 = true
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // the browser breaks off what it does not need
	s.StartTLS()
	defer s.Close()

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	startChromium(t, ctx, s.URL+"/", "--ignore-certificate-errors")
	select {
	case got := <-results:
		want := []int{0, 0, 1, 1, 125, 125, 126, 126, 65535, 65535, 65536, 65536, 300000, 300000}
		if got.Protocol != "HTTP/2.0 chat" || got.Close != 1000 || got.Error != "" || len(got.Echoed) != len(want) {
			t.Errorf("got %+v", got)
		}
		for i := range min(len(got.Echoed), len(want)) {
			if got.Echoed[i] != want[i] {
				t.Errorf("message %d came back with %d bytes, want %d", i, got.Echoed[i], want[i])
			}
		}
	case <-ctx.Done():
		t.Fatal("the page has not reported")
	}
	if err := <-ends; websocket.CloseStatus(err) != websocket.StatusNormalClosure {
		t.Errorf("the server's end: %v", err)
	}
}
