package sse

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// A vector is a stream and what is to be made of it.
type vector struct {
	name   string
	stream string // | is where a read ends
	events string // type/data/last event ID of each, with a comma between
	id     string // in force at the end
	retry  int    // ms
}

func x(n int) string { return strings.Repeat("x", n) }

// vectors are derived from the HTML standard, section 9.2.6, and the tests for it in web-platform-tests,
// eventsource/.
var vectors = []vector{
	{"simple", "data: hello\n\n", "message/hello/", "", 0},
	{"no space", "data:hello\n\n", "message/hello/", "", 0},
	{"one space", "data:  hello\n\n", "message/ hello/", "", 0},
	{"tab", "data:\thello\n\n", "message/\thello/", "", 0},
	{"data without a colon", "data\n\n", "message//", "", 0},
	{"data is empty", "data:\n\n", "message//", "", 0},
	{"two empty data", "data\ndata\n\n", "message/\n/", "", 0},
	{"wpt field-data", "data:\n\ndata\ndata\n\ndata:test\n\n", "message//,message/\n/,message/test/", "", 0},
	{"lines", "data: YHOO\ndata: +2\ndata: 10\n\n", "message/YHOO\n+2\n10/", "", 0},
	{"four blocks", ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n", "message/first event/1,message/second event/", "", 0},
	{"end in a line", "data: a", "", "", 0},
	{"end after a line", "data: a\n", "", "", 0},
	{"end with an ID", "data: a\n\nid: 7\ndata: b\n", "message/a/", "", 0},
	{"crlf", "data: a\r\n\r\n", "message/a/", "", 0},
	{"cr", "data: a\r\r", "message/a/", "", 0},
	{"mixed", "data: a\r\ndata: b\ndata: c\r\n\n", "message/a\nb\nc/", "", 0},
	{"lf crlf", "data: a\n\r\n", "message/a/", "", 0},
	{"cr crlf", "data: a\r\r\n", "message/a/", "", 0},
	{"lf cr", "data: a\n\rdata: b\n\n", "message/a/,message/b/", "", 0},
	{"split crlf", "data: a\r|\n\r|\n", "message/a/", "", 0},
	{"split crlf 2", "data: a\r|\ndata: b\r|\n\r\n", "message/a\nb/", "", 0},
	{"bytes", "id: 5\r\nevent: e\rdata: x\ndata: y\r\n\r\n", "e/x\ny/5", "5", 0},
	{"byte order mark", "\xEF\xBB\xBFdata: a\n\n", "message/a/", "", 0},
	{"split byte order mark", "\xEF|\xBB|\xBFdata: a\n\n", "message/a/", "", 0},
	{"two byte order marks", "\xEF\xBB\xBF\xEF\xBB\xBFdata:1\n\ndata:2\n\n", "message/2/", "", 0},
	{"byte order mark within", "data: a\n\n\xEF\xBB\xBFdata: b\n\n", "message/a/", "", 0},
	{"half a byte order mark", "\xEF\xBBdata: a\n\ndata: b\n\n", "message/b/", "", 0},
	{"comments", ": hi\n\n:\n\n", "", "", 0},
	{"comment within", "data: a\n: c\ndata: b\n\n", "message/a\nb/", "", 0},
	{"wpt comments", "data:1\r:\x00\n:\r\ndata:2\n:" + x(2048) + "\rdata:3\n:data:fail\r:" + x(2048) + "\ndata:4\n\n", "message/1\n2\n3\n4/", "", 0},
	{"type", "event: add\ndata: 1\n\n", "add/1/", "", 0},
	{"type without data", "event: add\n\ndata: 1\n\n", "message/1/", "", 0},
	{"type does not stay", "event: add\ndata: 1\n\ndata: 2\n\n", "add/1/,message/2/", "", 0},
	{"empty type", "event:\ndata: x\n\n", "message/x/", "", 0},
	{"last type", "event: a\nevent: b\ndata: x\n\n", "b/x/", "", 0},
	{"empty type after one", "event: a\nevent\ndata: x\n\n", "message/x/", "", 0},
	{"type again", "event: a\ndata: x\n\ndata: y\n\nevent: a\ndata: z\n\n", "a/x/,message/y/,a/z/", "", 0},
	{"id stays", "id: 1\ndata: a\n\ndata: b\n\n", "message/a/1,message/b/1", "1", 0},
	{"id is cleared", "id: 1\ndata: a\n\nid\ndata: b\n\n", "message/a/1,message/b/", "", 0},
	{"id alone, then data", "id: 1\n\ndata: a\n\n", "message/a/1", "1", 0},
	{"id alone", "id: 1\n\n", "", "1", 0},
	{"NUL in an id", "id: a\x00b\ndata: x\n\n", "message/x/", "", 0},
	{"NUL in a second id", "id: 1\nid: 2\x00\ndata: x\n\n", "message/x/1", "1", 0},
	{"space in an id", "id:  1\ndata: x\n\n", "message/x/ 1", " 1", 0},
	{"retry", "retry: 30\ndata: x\n\n", "message/x/", "", 30},
	{"retry alone", "retry: 30\n", "", "", 30},
	{"retry with a letter", "retry: 30\nretry: 10x\ndata: x\n\n", "message/x/", "", 30},
	{"retry with signs", "retry: 30\nretry: -1\nretry: +5\nretry: 1.5\nretry:  5\nretry\nretry:\ndata: x\n\n", "message/x/", "", 30},
	{"retry with zeros", "retry: 0030\ndata: x\n\n", "message/x/", "", 30},
	{"retry is huge", "retry: 99999999999999999999999999\n\n", "", "", 3600000},
	{"unknown field", "foo: bar\nfoo\ndata: x\n\n", "message/x/", "", 0},
	{"case", "Data: x\nDATA: y\n\n", "", "", 0},
	{"space before a field", " data: x\n\n", "", "", 0},
	{"space before a colon", "data : x\n\n", "", "", 0},
	{"colons", "data: a:b: c\n\n", "message/a:b: c/", "", 0},
	{"NUL in data", "data:\x00\n\n", "message/\x00/", "", 0},
	{"utf-8", "data: ok\xE2\x80\xA6\xE2\x82\xAC\xF0\x9D\x84\x9E\n\n", "message/ok…€𝄞/", "", 0},
	{"split utf-8", "data: \xE2|\x82\xAC\n\n", "message/€/", "", 0},
	{"invalid utf-8", "data: \xFF\xFE\n\n", "message/\uFFFD\uFFFD/", "", 0},
	{"truncated utf-8", "data: \xE2\x82\n\n", "message/\uFFFD/", "", 0},
	{"maximal parts", "data: \xF0\x9D\x84a\xE2\x28\xA1\xC0\xAF\xED\xA0\x80\xF4\x90\x80\x80\xE1\x80\xE2\n\n", "message/\uFFFDa\uFFFD(" + strings.Repeat("\uFFFD", 12) + "/", "", 0},
	{"no ends of lines", "data: a\xE2\x80\xA8b\xC2\x85c\x0Bd\x0Ce\n\n", "message/a\u2028b\u0085c\vd\fe/", "", 0},
	{"blank lines", "\n\n\ndata: x\n\n\n\ndata: y\n\n", "message/x/,message/y/", "", 0},
	{"language models", "data: {\"a\":1}\n\ndata: [DONE]\n\n", "message/{\"a\":1}/,message/[DONE]/", "", 0},
	{"70 KB line", "data: " + x(70000) + "\n\n", "message/" + x(70000) + "/", "", 0},
	{"2 MB line", "data: " + x(2<<20) + "\n\n", "message/" + x(2<<20) + "/", "", 0},
	{"100,000 lines", strings.Repeat("data\n", 100_000) + "\n", "message/" + strings.Repeat("\n", 99_999) + "/", "", 0},
	{"long type and id", "event: " + x(40000) + "\nid: " + x(50000) + "\ndata\n\n", x(40000) + "//" + x(50000), x(50000), 0},
	{"long unknown field", x(100000) + ": y\ndata:" + x(10) + "\n\n", "message/" + x(10) + "/", "", 0},
	{"empty", "", "", "", 0},
}

// decode returns what there is in r, as a vector has it.
func decode(r io.Reader) (events, id string, retry int, err error) {
	d := NewDecoder(r)
	var list []string
	for {
		e, err := d.Decode()
		if err != nil {
			if err == io.EOF {
				err = nil
			}
			return strings.Join(list, ","), d.LastEventID(), int(d.Retry() / time.Millisecond), err
		}
		list = append(list, e.Type+"/"+e.Data+"/"+e.ID)
	}
}

// pieces is a reader of one piece at a time.
type pieces [][]byte

func (p *pieces) Read(b []byte) (int, error) {
	if len(*p) == 0 {
		return 0, io.EOF
	}
	n := copy(b, (*p)[0])
	if (*p)[0] = (*p)[0][n:]; len((*p)[0]) == 0 {
		*p = (*p)[1:]
	}
	return n, nil
}

func TestDecoder(t *testing.T) {
	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) {
			check := func(how string, r io.Reader) {
				t.Helper()
				events, id, retry, err := decode(r)
				if events != v.events || id != v.id || retry != v.retry || err != nil {
					t.Errorf("%s: got %.200q, ID %.80q, retry %d, %v; want %.200q, %.80q, %d", how, events, id, retry, err, v.events, v.id, v.retry)
				}
			}
			p := new(pieces)
			for piece := range strings.SplitSeq(v.stream, "|") {
				*p = append(*p, []byte(piece))
			}
			check("in pieces", p)
			whole := []byte(strings.ReplaceAll(v.stream, "|", ""))
			check("whole", bytes.NewReader(whole))
			check("with its end", iotest.DataErrReader(bytes.NewReader(whole)))
			check("by bytes", iotest.OneByteReader(bytes.NewReader(whole)))
			if len(whole) > 10_000 {
				for _, n := range []int{4095, 4096, 4097, 32767, 32768, 32769} {
					check(fmt.Sprint("split at ", n), &pieces{slices.Clone(whole[:n]), whole[n:]})
				}
				return
			}
			for i := range len(whole) {
				check(fmt.Sprint("split at ", i), &pieces{slices.Clone(whole[:i]), whole[i:]})
			}
		})
	}
}

// The latest retry goes with each event.
func TestDecoderRetry(t *testing.T) {
	var got []string
	for e, err := range Read(strings.NewReader("data: a\n\nretry: 5\ndata: b\n\ndata: c\n\n")) {
		got = append(got, fmt.Sprint(e.Data, " ", e.Retry, " ", err))
	}
	if want := []string{"a 0s <nil>", "b 5ms <nil>", "c 5ms <nil>"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// An event comes as soon as its last byte has, also if that is a CR.
func TestDecoderAtOnce(t *testing.T) {
	for _, end := range []string{"\n\n", "\r\r", "\r\n\r", "\r\n\r\n"} {
		r, w := io.Pipe()
		go io.WriteString(w, "data: x"+end)
		d := NewDecoder(r)
		if e, err := d.Decode(); e.Data != "x" || err != nil {
			t.Errorf("%q: got %q, %v", end, e.Data, err)
		}
		go func() {
			io.WriteString(w, "\ndata: y\n\n")
			w.Close()
		}()
		if e, err := d.Decode(); e.Data != "y" || err != nil {
			t.Errorf("%q: then got %q, %v", end, e.Data, err)
		}
		if _, err := d.Decode(); err != io.EOF {
			t.Errorf("%q: at the end got %v", end, err)
		}
	}
}

func TestDecoderComment(t *testing.T) {
	var comments []string
	d := NewDecoder(strings.NewReader(": hi\n:\n:" + x(10_000) + "\ndata: a\n:\xFF\n\n"))
	d.Comment = func(s string) { comments = append(comments, s) }
	if e, err := d.Decode(); e.Data != "a" || err != nil {
		t.Errorf("got %q, %v", e.Data, err)
	}
	if want := []string{"hi", "", x(10_000), "\uFFFD"}; !slices.Equal(comments, want) {
		t.Errorf("got %.100q, want %.100q", comments, want)
	}
}

// MaxEvent limits an event, however it is made, and the memory for it.
func TestDecoderMaxEvent(t *testing.T) {
	const limit = 100_000
	for name, line := range map[string]string{
		"one line":    "data: " + x(limit+1) + "\n",
		"lines":       strings.Repeat("data: "+x(999)+"\n", limit/1000+1),
		"empty lines": strings.Repeat("data\n", limit+2),
		"type":        "event: " + x(limit+1) + "\n",
		"id":          "id: " + x(limit+1) + "\n",
		"both":        "data: " + x(limit/2) + "\nid: " + x(limit/2+1) + "\n",
		"id, data":    "id: " + x(limit/2+1) + "\ndata: " + x(limit/2) + "\n",
		"all":         "event: " + x(limit/3+1) + "\nid: " + x(limit/3+1) + "\ndata: " + x(limit/3) + "\n",
		"no end":      "data: " + x(10*limit),
	} {
		d := NewDecoder(strings.NewReader("data: first\n\n" + line + "\n"))
		d.MaxEvent = limit
		if e, err := d.Decode(); e.Data != "first" || err != nil {
			t.Errorf("%s: the event before is %q, %v", name, e.Data, err)
		}
		for range 2 {
			if _, err := d.Decode(); err != ErrEventTooLarge {
				t.Errorf("%s: got %v", name, err)
			}
		}
		if size := cap(d.data) + cap(d.value) + cap(d.buf) + len(d.typ) + len(d.id); size > limit+64<<10 {
			t.Errorf("%s: %d bytes are kept for an event of %d", name, size, limit)
		}
	}
	for _, line := range []string{"data: " + x(limit-1) + "\n", "data: " + x(limit) + "\n", "id: " + x(limit) + "\n", ":" + x(10*limit) + "\n", "other: " + x(10*limit) + "\n"} {
		d := NewDecoder(strings.NewReader(line + "\n"))
		d.MaxEvent = limit
		if _, err := d.Decode(); err == ErrEventTooLarge {
			t.Errorf("%.20s: %v", line, err)
		}
	}
}

// A comment takes nothing from the event it is in, and has the same limit.
func TestDecoderMaxComment(t *testing.T) {
	d := NewDecoder(strings.NewReader("data: " + x(900) + "\n:" + x(900) + "\nevent: e\n\n:" + x(1001) + "\n"))
	d.MaxEvent, d.Comment = 1000, func(string) {}
	if e, err := d.Decode(); len(e.Data) != 900 || e.Type != "e" || err != nil {
		t.Errorf("got %+v, %v", e, err)
	}
	if _, err := d.Decode(); err != ErrEventTooLarge {
		t.Errorf("got %v", err)
	}
}

// What is no UTF-8 costs no allocation for each byte.
func TestDecoderInvalidAllocations(t *testing.T) {
	stream := "data: " + strings.Repeat("\xE1", 100_000) + "\n\n"
	if n := testing.AllocsPerRun(5, func() {
		d := NewDecoder(strings.NewReader(stream))
		d.MaxEvent = math.MaxInt
		if e, err := d.Decode(); len(e.Data) != 300_000 || err != nil {
			t.Errorf("got %d bytes, %v", len(e.Data), err)
		}
	}); n > 100 {
		t.Errorf("%v allocations", n)
	}
}

// An error that comes with bytes is not forgotten, whatever the reader says after it.
func TestDecoderLateError(t *testing.T) {
	failure := errors.New("connection reset")
	d := NewDecoder(&lateReader{failure})
	if e, err := d.Decode(); e.Data != "a" || err != nil {
		t.Errorf("got %+v, %v", e, err)
	}
	if _, err := d.Decode(); err != failure {
		t.Errorf("got %v", err)
	}
}

type lateReader struct{ err error }

func (r *lateReader) Read(p []byte) (int, error) {
	err := r.err
	if r.err = io.EOF; err == io.EOF {
		return 0, err
	}
	return copy(p, "data: a\n\ndata: b"), err
}

// What comes before an error is returned before it.
func TestDecoderError(t *testing.T) {
	failure := errors.New("connection reset")
	d := NewDecoder(io.MultiReader(strings.NewReader("data: a\n\ndata: b\n\ndata: c"), iotest.ErrReader(failure)))
	for _, want := range []string{"a", "b"} {
		if e, err := d.Decode(); e.Data != want || err != nil {
			t.Errorf("got %q, %v, want %q", e.Data, err, want)
		}
	}
	for range 2 {
		if _, err := d.Decode(); err != failure {
			t.Errorf("got %v", err)
		}
	}
	if _, err := NewDecoder(stuck{}).Decode(); err != io.ErrNoProgress {
		t.Errorf("of a reader that reads nothing: %v", err)
	}
	last := errors.New("the last")
	n := 0
	for _, err := range Read(io.MultiReader(strings.NewReader("data\n\n"), iotest.ErrReader(last))) {
		if n++; n == 2 && err != last || n > 2 {
			t.Errorf("pair %d: %v", n, err)
		}
	}
	if n != 2 {
		t.Errorf("%d pairs", n)
	}
}

type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, nil }

// reference decodes a whole stream by the words of the HTML standard, section 9.2.6.
func reference(stream []byte) (events, id string, retry int) {
	text := strings.TrimPrefix(validText(stream), "\uFEFF")
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n")
	lines := strings.Split(text, "\n")
	var list []string
	var data, typ, idBuffer string
	for _, line := range lines[:len(lines)-1] { // the last has no end
		if line == "" {
			id = idBuffer
			if data != "" {
				if typ == "" {
					typ = "message"
				}
				list = append(list, typ+"/"+strings.TrimSuffix(data, "\n")+"/"+id)
			}
			data, typ = "", ""
			continue
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "data":
			data += value + "\n"
		case "event":
			typ = value
		case "id":
			if !strings.Contains(value, "\x00") {
				idBuffer = value
			}
		case "retry":
			if value != "" && strings.Trim(value, "0123456789") == "" {
				retry = 0
				for _, c := range value {
					retry = min(10*retry+int(c-'0'), 3600000)
				}
			}
		}
	}
	return strings.Join(list, ","), id, retry
}

// The reference itself gets the vectors right, but for a line that is a byte order mark.
func TestReference(t *testing.T) {
	for _, v := range vectors {
		stream := strings.ReplaceAll(v.stream, "|", "")
		if events, id, retry := reference([]byte(stream)); events != v.events || id != v.id || retry != v.retry {
			t.Errorf("%s: got %.200q, %.80q, %d", v.name, events, id, retry)
		}
	}
}

// The Decoder and the reference agree, and so do all ways to chop a stream.
func FuzzSSE(f *testing.F) {
	for _, v := range vectors {
		if len(v.stream) < 1000 {
			f.Add([]byte(strings.ReplaceAll(v.stream, "|", "")), uint16(len(v.stream)/2))
		}
	}
	f.Fuzz(func(t *testing.T, stream []byte, cut uint16) {
		events, id, retry := reference(stream)
		at := min(int(cut), len(stream))
		for how, r := range map[string]io.Reader{
			"whole":    bytes.NewReader(stream),
			"by bytes": iotest.OneByteReader(bytes.NewReader(stream)),
			"cut":      &pieces{slices.Clone(stream[:at]), slices.Clone(stream[at:])},
		} {
			gotEvents, gotID, gotRetry, err := decode(r)
			if gotEvents != events || gotID != id || gotRetry != retry || err != nil {
				t.Errorf("%s: got %q, %q, %d, %v; want %q, %q, %d", how, gotEvents, gotID, gotRetry, err, events, id, retry)
			}
		}
	})
}

func BenchmarkDecoder(b *testing.B) {
	for _, size := range []int{16, 512, 16 << 10} {
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			var stream []byte
			for i := 0; len(stream) < 1<<20; i++ {
				stream, _ = Event{ID: fmt.Sprint(i), Type: "tick", Data: x(size)}.Append(stream)
			}
			b.SetBytes(int64(len(stream)))
			b.ReportAllocs()
			for b.Loop() {
				for _, err := range Read(bytes.NewReader(stream)) {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
