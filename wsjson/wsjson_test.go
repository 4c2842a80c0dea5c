package wsjson_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/tidewire/websocket"
	"github.com/tidewire/websocket/wsjson"
)

// connect returns a connection to a server that serves it with serve.
func connect(t testing.TB, serve func(context.Context, *websocket.Conn)) *websocket.Conn {
	t.Helper()
	s := httptest.NewServer(new(websocket.Upgrader).Handler(func(http.ResponseWriter, *http.Request) (func(context.Context, *websocket.Conn), error) {
		return serve, nil
	}))
	t.Cleanup(s.Close)
	c, _, err := websocket.Dial(t.Context(), s.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.CloseNow() })
	return c
}

func echo(ctx context.Context, c *websocket.Conn) {
	for m, err := range c.Messages(ctx) {
		if err != nil || c.Write(ctx, m.Type, m.Data) != nil {
			return
		}
	}
}

type chat struct {
	Text string `json:"text"`
	To   []int  `json:"to,omitempty"`
}

// What is written is what json.Marshal makes of it, in a text message, and is read again.
func TestWriteAndRead(t *testing.T) {
	c := connect(t, echo)
	long := chat{Text: strings.Repeat("ä<", 100_000), To: []int{1, 2}}
	for _, v := range []chat{{}, {Text: "hello"}, long, {Text: "again"}} {
		for range 2 { // with a buffer that was used before
			if err := wsjson.Write(t.Context(), c, v); err != nil {
				t.Fatal(err)
			}
			typ, got, err := c.Read(t.Context())
			want, _ := json.Marshal(v)
			if typ != websocket.MessageText || string(got) != string(want) || err != nil {
				t.Fatalf("got %v %.100s, %v, want text %.100s", typ, got, err, want)
			}
			c.Write(t.Context(), websocket.MessageBinary, want) // JSON all the same
			read, err := wsjson.Read[chat](t.Context(), c)
			if err != nil || read.Text != v.Text || len(read.To) != len(v.To) {
				t.Fatalf("got %.100v, %v, want %.100v", read, err, v)
			}
		}
	}
}

// What was read is nobody else's: the buffer is used again.
func TestReadKeepsNothing(t *testing.T) {
	c := connect(t, echo)
	var all []json.RawMessage
	texts := []string{`"first message"`, `["second", ""]`, `{"a":"third"}`}
	for _, text := range texts {
		c.Write(t.Context(), websocket.MessageText, []byte(text))
		raw, err := wsjson.Read[json.RawMessage](t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, raw)
	}
	for i, text := range texts {
		if string(all[i]) != text {
			t.Errorf("message %d has become %s", i, all[i])
		}
	}
}

// A message that cannot be decoded costs nothing but itself.
func TestReadWhatIsNone(t *testing.T) {
	c := connect(t, echo)
	for _, text := range []string{"", "hello", `{"text":1}`, `{"text":"a"} {"text":"b"}`, `{"text":"a"`, `[]`} {
		c.Write(t.Context(), websocket.MessageText, []byte(text))
		got, err := wsjson.Read[chat](t.Context(), c)
		_, syntax := errors.AsType[*json.SyntaxError](err)
		_, kind := errors.AsType[*json.UnmarshalTypeError](err)
		if !syntax && !kind || !strings.HasPrefix(err.Error(), "wsjson: ") || got.Text != "" {
			t.Errorf("%q: got %v, %v", text, got, err)
		}
	}
	if err := wsjson.Write(t.Context(), c, chat{Text: "still there"}); err != nil {
		t.Fatal(err)
	}
	if got, err := wsjson.Read[chat](t.Context(), c); got.Text != "still there" || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
}

// What is no JSON is not written, and the connection's own errors are its own.
func TestErrors(t *testing.T) {
	c := connect(t, echo)
	_, unsupported := errors.AsType[*json.UnsupportedValueError](wsjson.Write(t.Context(), c, math.NaN()))
	if !unsupported {
		t.Error("NaN was written")
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("enough")
	cancel(cause)
	if err := wsjson.Write(ctx, c, 1); err != cause {
		t.Errorf("Write: got %v", err)
	}
	if _, err := wsjson.Read[int](ctx, c); err != cause {
		t.Errorf("Read: got %v", err)
	}
	c.Close(websocket.StatusNormalClosure, "")
	if _, err := wsjson.Read[int](t.Context(), c); websocket.CloseStatus(err) != websocket.StatusNormalClosure {
		t.Errorf("Read after Close: got %v", err)
	}
}

func TestDecode(t *testing.T) {
	for _, test := range []struct {
		text string
		want wsjson.Envelope[string, chat]
		err  string
	}{
		{text: `{"type":"chat","data":{"text":"hello"}}`, want: wsjson.Envelope[string, chat]{Type: "chat", Data: chat{Text: "hello"}}},
		{text: `{"id":18446744073709551615,"type":""}`, want: wsjson.Envelope[string, chat]{ID: math.MaxUint64}},
		{text: `{"type":"chat","data":null,"more":1}`, want: wsjson.Envelope[string, chat]{Type: "chat"}},
		{text: `{"data":{}}`, err: `no "type"`},
		{text: `{"type":null}`, err: `no "type"`},
		{text: `{"type":1}`, err: "cannot unmarshal"},
		{text: `{"type":"chat","id":-1}`, err: "cannot unmarshal"},
		{text: `{"type":"chat","data":[]}`, err: "cannot unmarshal"},
		{text: `"chat"`, err: "cannot unmarshal"},
		{text: `null`, err: `no "type"`},
		{text: ``, err: "unexpected end"},
	} {
		got, err := wsjson.Decode[string, chat]([]byte(test.text))
		switch {
		case test.err == "":
			if err != nil || got.Type != test.want.Type || got.ID != test.want.ID || got.Data.Text != test.want.Data.Text {
				t.Errorf("%s: got %v, %v, want %v", test.text, got, err, test.want)
			}
		case err == nil || !strings.Contains(err.Error(), test.err):
			t.Errorf("%s: got %v, want %q", test.text, err, test.err)
		}
	}
	p, err := json.Marshal(wsjson.Envelope[int, *chat]{Type: 1})
	if want := `{"type":1}`; string(p) != want || err != nil {
		t.Errorf("got %s, %v, want %s", p, err, want)
	}
}

func TestMux(t *testing.T) {
	var m wsjson.Mux[string, *[]string]
	failed := errors.New("failed")
	wsjson.Handle(&m, "chat", func(_ context.Context, log *[]string, e wsjson.Envelope[string, chat]) error {
		*log = append(*log, e.Type+" "+e.Data.Text)
		return nil
	})
	wsjson.Handle(&m, "fail", func(context.Context, *[]string, wsjson.Envelope[string, any]) error { return failed })
	dispatch := func(text string) (log []string, err error) {
		err = m.Dispatch(t.Context(), &log, []byte(text))
		return log, err
	}
	if log, err := dispatch(`{"type":"chat","data":{"text":"hello"}}`); len(log) != 1 || log[0] != "chat hello" || err != nil {
		t.Errorf("got %v, %v", log, err)
	}
	if log, err := dispatch(`{"type":"chat"}`); len(log) != 1 || log[0] != "chat " || err != nil {
		t.Errorf("without data: got %v, %v", log, err)
	}
	if log, err := dispatch(`{"type":"chat","data":1}`); len(log) > 0 || err == nil || !strings.Contains(err.Error(), "chat") {
		t.Errorf("with other data: got %v, %v", log, err)
	}
	if _, err := dispatch(`{"type":"fail"}`); err != failed {
		t.Errorf("got %v, want %v", err, failed)
	}
	if _, err := dispatch(`{"type":"other"}`); !errors.Is(err, wsjson.ErrUnknownType) || !strings.Contains(err.Error(), "other") {
		t.Errorf("got %v, want %v", err, wsjson.ErrUnknownType)
	}
	m.NotFound = func(_ context.Context, log *[]string, e wsjson.Envelope[string, json.RawMessage]) error {
		*log = append(*log, "? "+string(e.Data))
		return nil
	}
	if log, err := dispatch(`{"type":"other","data":{"a":1}}`); len(log) != 1 || log[0] != `? {"a":1}` || err != nil {
		t.Errorf("got %v, %v", log, err)
	}
	wsjson.Handle(&m, "chat", func(context.Context, *[]string, wsjson.Envelope[string, chat]) error { return failed })
	if _, err := dispatch(`{"type":"chat"}`); err != failed {
		t.Errorf("the handler was not replaced: %v", err)
	}
	if _, err := dispatch(`hello`); err == nil {
		t.Error("no error for what is no JSON")
	}
	var anything wsjson.Mux[any, int]
	wsjson.Handle(&anything, any("a"), func(context.Context, int, wsjson.Envelope[any, any]) error { return failed })
	for text, want := range map[string]error{`{"type":"a"}`: failed, `{"type":{}}`: wsjson.ErrUnknownType, `{"type":[1]}`: wsjson.ErrUnknownType} {
		if err := anything.Dispatch(t.Context(), 0, []byte(text)); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", text, err, want)
		}
	}
	if err := new(wsjson.Mux[int, int]).Dispatch(t.Context(), 0, []byte(`{"type":1}`)); !errors.Is(err, wsjson.ErrUnknownType) {
		t.Errorf("the zero Mux: got %v", err)
	}
}

// The functions of a Mux may change while messages come.
func TestMuxConcurrently(t *testing.T) {
	var m wsjson.Mux[int, int]
	var all sync.WaitGroup
	for i := range 10 {
		all.Go(func() {
			for range 100 {
				wsjson.Handle(&m, i, func(context.Context, int, wsjson.Envelope[int, any]) error { return nil })
				if err := m.Dispatch(t.Context(), 0, []byte(`{"type":5}`)); err != nil && !errors.Is(err, wsjson.ErrUnknownType) {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}
