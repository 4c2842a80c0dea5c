//go:build external

package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidewire/websocket"
	"github.com/tidewire/websocket/interop/internal/program"
)

// The page runs a Go program, and reports what it has printed and its exit code.
const wasmPage = `<!DOCTYPE html><title>wasm</title><script src="/wasm_exec.js"></script><script>
const output = [], decoder = new TextDecoder("utf-8", {fatal: false});
globalThis.fs.writeSync = (fd, bytes) => { output.push(decoder.decode(bytes, {stream: true})); return bytes.length; };
const report = code => fetch("/result", {method: "POST", body: JSON.stringify({code, output: output.join("")})});
const go = new Go();
go.argv = ["test.wasm", "-test.v", "-test.run=^TestBrowser", "-test.timeout=90s"];
go.env = {WEBSOCKET_TEST_SERVER: "ws://" + location.host};
go.exit = code => report(code);
WebAssembly.instantiateStreaming(fetch("/test.wasm"), go.importObject)
	.then(({instance}) => go.run(instance))
	.catch(error => { output.push(String(error)); report(-1); });
</script>`

// The tests in conn_js_test.go pass in Chromium, and the server sees what they mean.
func TestBrowserSocket(t *testing.T) {
	wasm := filepath.Join(t.TempDir(), "test.wasm")
	build := exec.Command("go", "test", "-c", "-tags", "external", "-o", wasm, "..")
	build.Env = append(os.Environ(), "GOOS=js", "GOARCH=wasm")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}

	type result struct {
		Code   int
		Output string
	}
	results := make(chan result, 1)
	ends := newEndRecorder()
	mux := ends.mux()
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, wasmPage) })
	mux.HandleFunc("/wasm_exec.js", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, filepath.Join(strings.TrimSpace(string(goroot)), "lib", "wasm", "wasm_exec.js"))
	})
	mux.HandleFunc("/test.wasm", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, wasm) })
	mux.HandleFunc("/result", func(w http.ResponseWriter, r *http.Request) {
		var got result
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			t.Error(err)
		}
		results <- got
	})
	s := httptest.NewUnstartedServer(mux)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Start()
	defer s.Close()
	defer ends.stop()

	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	startChromium(t, ctx, s.URL+"/")
	select {
	case got := <-results:
		t.Log(got.Output)
		if got.Code != 0 || !strings.HasSuffix(got.Output, "\nPASS\n") {
			t.Errorf("the tests ended with %d", got.Code)
		}
	case <-ctx.Done():
		t.Fatal("the page has not reported")
	}
	ends.want(t, map[string]string{
		"normal":  "1000 bye",
		"private": "4000 " + strings.Repeat("ü", 61), // cut to 123 bytes
		"none":    "1005 ",
		"now":     "1005 ", // there is no way to do without
		"limit":   "1005 ",
		"text":    "1005 ",
	})
}

// An endRecorder serves what conn_js_test.go asks for, and notes how connections to /end/ have ended.
type endRecorder struct {
	stopped chan struct{}
	mu      sync.Mutex
	ends    map[string]string // by what is behind /end/
}

func newEndRecorder() *endRecorder {
	return &endRecorder{stopped: make(chan struct{}), ends: make(map[string]string)}
}

func (e *endRecorder) stop() { close(e.stopped) }

func (e *endRecorder) mux() *http.ServeMux {
	mux := http.NewServeMux()
	u := &websocket.Upgrader{Subprotocols: []string{"chat"}, Compression: &websocket.Compression{}}
	serve := func(path string, serve func(ctx context.Context, c *websocket.Conn, r *http.Request)) {
		mux.Handle(path, u.Handler(func(_ http.ResponseWriter, r *http.Request) (func(context.Context, *websocket.Conn), error) {
			return func(ctx context.Context, c *websocket.Conn) { serve(ctx, c, r) }, nil
		}))
	}
	echo := func(ctx context.Context, c *websocket.Conn, _ *http.Request) {
		for m, err := range c.Messages(ctx) {
			if err != nil || c.Write(ctx, m.Type, m.Data) != nil {
				return
			}
		}
	}
	serve("/echo", echo)
	serve("/end/{name}", func(ctx context.Context, c *websocket.Conn, r *http.Request) {
		echo(ctx, c, r)
		e.mu.Lock()
		defer e.mu.Unlock()
		if end, ok := c.Err().(*websocket.CloseError); ok {
			e.ends[r.PathValue("name")] = fmt.Sprintf("%d %s", int(end.Code), end.Reason)
		}
	})
	serve("/burst", func(ctx context.Context, c *websocket.Conn, _ *http.Request) {
		for i := range 1000 {
			c.Write(ctx, websocket.MessageText, fmt.Append(nil, i))
		}
		c.Close(websocket.StatusGoingAway, "that is all")
	})
	serve("/drop", func(ctx context.Context, c *websocket.Conn, _ *http.Request) { c.CloseNow() })
	mux.HandleFunc("/refuse", func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", http.StatusForbidden) })
	mux.HandleFunc("/silent", func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-e.stopped:
		case <-r.Context().Done():
		}
	})
	return mux
}

// want waits a while for these ends.
func (e *endRecorder) want(t *testing.T, want map[string]string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		e.mu.Lock()
		got := maps.Clone(e.ends)
		e.mu.Unlock()
		if maps.Equal(got, want) {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("the server saw the ends %q, want %q", got, want)
			return
		}
	}
}

// startChromium opens a page in a browser, until the test ends or ctx does.
func startChromium(t *testing.T, ctx context.Context, url string, flags ...string) {
	t.Helper()
	stop, err := program.Chromium(ctx, url, flags...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
}
