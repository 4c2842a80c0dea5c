package websocket

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tidewire/websocket/internal/deflate"
)

func TestExtension(t *testing.T) {
	value := func(name, value string) extensionParam { return extensionParam{name, value, true} }
	for _, test := range []struct {
		text   string
		name   string
		params []extensionParam
		ok     bool
	}{
		{"x", "x", nil, true},
		{"x;a", "x", []extensionParam{{name: "a"}}, true},
		{"x ; a ; b", "x", []extensionParam{{name: "a"}, {name: "b"}}, true},
		{"x;a=1", "x", []extensionParam{value("a", "1")}, true},
		{"x;\ta = 1 ", "x", []extensionParam{value("a", "1")}, true},
		{`x;a="1";b`, "x", []extensionParam{value("a", "1"), {name: "b"}}, true},
		{`x;a="\1\2"`, "x", []extensionParam{value("a", "12")}, true},
		{"x;a;a", "x", []extensionParam{{name: "a"}, {name: "a"}}, true},

		{text: ""},
		{text: ";a"},
		{text: "x;"},
		{text: "x;;a"},
		{text: "x; ;a"},
		{text: "x y"},
		{text: "x;a b"},
		{text: "x=1"},
		{text: `"x"`},
		{text: "x;=1"},
		{text: "x;a="},
		{text: "x;a=;b"},
		{text: "x;a=1=2"},
		{text: "x;a=b c"},
		{text: `x;a=""`},
		{text: `x;a="b c"`},
		{text: `x;a="b;c"`},
		{text: `x;a="b`},
		{text: `x;a="bc`},
		{text: `x;a="b\"`},
		{text: `x;a="\"`},
		{text: `x;a="`},
		{text: `x;a=b"`},
		{text: `x;a="b"c`},
		{text: `x;a="b"c"`},
		{text: `x;"a"=b`},
		{text: "x;\u00e4"},
		{text: "x;a=\u00e4"},
	} {
		name, rest := cutExtension(test.text)
		ok := validExtensions([]string{test.text}) && test.text != ""
		var params []extensionParam
		for ok && rest != "" {
			var p extensionParam
			p, rest, _ = nextParam(rest)
			params = append(params, p)
		}
		if ok != test.ok || ok && (name != test.name || !slices.Equal(params, test.params)) {
			t.Errorf("%q: got %q, %+v, %t, want %q, %+v, %t", test.text, name, params, ok, test.name, test.params, test.ok)
		}
	}
}

// Extensions that nobody asks for cost a server no allocation.
func TestValidExtensionsAllocations(t *testing.T) {
	values := []string{"permessage-deflate; client_max_window_bits; server_max_window_bits=10, x; y=1" + strings.Repeat("; z", 100)}
	if n := testing.AllocsPerRun(100, func() { validExtensions(values) }); n != 0 {
		t.Errorf("got %v allocations, want none", n)
	}
}

func TestCompressionCheck(t *testing.T) {
	for _, test := range []struct {
		options *Compression
		ok      bool
	}{
		{nil, true},
		{&Compression{}, true},
		{&Compression{Level: 1}, true},
		{&Compression{Level: 2, Threshold: -1, ServerMaxWindowBits: 9, ClientMaxWindowBits: 15}, true},
		{&Compression{Level: -1}, false},
		{&Compression{Level: 3}, false},
		{&Compression{ServerMaxWindowBits: 8}, false},
		{&Compression{ServerMaxWindowBits: 16}, false},
		{&Compression{ClientMaxWindowBits: 8}, false},
		{&Compression{ClientMaxWindowBits: -9}, false},
	} {
		if err := test.options.check(); (err == nil) != test.ok {
			t.Errorf("%+v: got %v, want ok %t", test.options, err, test.ok)
		}
	}
}

// window is a Compression with windows of the given bits.
func window(server, client int) Compression {
	return Compression{ServerMaxWindowBits: server, ClientMaxWindowBits: client}
}

// acceptTests are what a client may offer, and what a server answers. Of the
// compression that comes of it, there are the bits of the window and the
// takeover, for writing and reading.
var acceptTests = []struct {
	name     string
	options  Compression
	offers   []string
	response string // without permessage-deflate; "-" if the offer is declined
	want     string // "write, read"
}{
	// Section 7.1.3 has the forms of offers.
	{"nothing", window(15, 15), []string{""}, "", "15 takeover, 15 takeover"},
	{"Chromium", Compression{}, []string{"; client_max_window_bits"}, "; client_max_window_bits=12", "12 takeover, 12 takeover"},
	{"Firefox", Compression{}, []string{""}, "; client_no_context_takeover", "12 takeover, 15"},
	{"without any takeover", Compression{}, []string{"; server_no_context_takeover; client_no_context_takeover"},
		"; server_no_context_takeover; client_no_context_takeover", "12, 15"},
	{"a window for the server", window(15, 15), []string{"; server_max_window_bits=10"}, "; server_max_window_bits=10", "10 takeover, 15 takeover"},
	{"a larger window for the server than ours", window(11, 15), []string{"; server_max_window_bits=15"}, "; server_max_window_bits=11", "11 takeover, 15 takeover"},
	{"the smallest windows", Compression{}, []string{"; server_max_window_bits=8; client_max_window_bits=8"},
		"; server_max_window_bits=8; client_max_window_bits=8", "8 takeover, 8 takeover"},
	{"a smaller window of the client than ours", window(15, 13), []string{"; client_max_window_bits=9"}, "; client_max_window_bits=9", "15 takeover, 9 takeover"},
	{"a larger window of the client than ours", window(15, 13), []string{"; client_max_window_bits=14"}, "; client_max_window_bits=13", "15 takeover, 13 takeover"},
	{"a window of the client as large as can be", window(15, 15), []string{"; client_max_window_bits=15"}, "", "15 takeover, 15 takeover"},
	{"any window of the client, for us too", window(15, 15), []string{"; client_max_window_bits"}, "", "15 takeover, 15 takeover"},
	{"no takeover that we want", Compression{ServerNoContextTakeover: true, ClientNoContextTakeover: true}, []string{"; client_max_window_bits"},
		"; server_no_context_takeover; client_no_context_takeover; client_max_window_bits=12", "12, 12"},
	{"no takeover of the server", Compression{}, []string{"; server_no_context_takeover; client_max_window_bits"},
		"; server_no_context_takeover; client_max_window_bits=12", "12, 12 takeover"},
	{"no takeover of the client", Compression{}, []string{"; client_no_context_takeover; client_max_window_bits"},
		"; client_no_context_takeover; client_max_window_bits=12", "12 takeover, 12"},

	// "The server can accept "permessage-deflate" by picking any supported one
	// from the listed offers." (section 7.1.3)
	{"a fallback", Compression{}, []string{"; server_max_window_bits=16", "; client_max_window_bits"}, "; client_max_window_bits=12", "12 takeover, 12 takeover"},
	{"the first that is good", Compression{}, []string{"; client_max_window_bits=10", "; client_max_window_bits=9"}, "; client_max_window_bits=10", "12 takeover, 10 takeover"},
	{"the last of a hundred", Compression{}, append(slices.Repeat([]string{"; x"}, 99), "; client_max_window_bits"), "; client_max_window_bits=12", "12 takeover, 12 takeover"},

	// Spellings.
	{"another order", window(15, 15), []string{"; client_max_window_bits=10; server_no_context_takeover; server_max_window_bits=9; client_no_context_takeover"},
		"; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9; client_max_window_bits=10", "9, 10"},
	{"upper case", window(15, 15), []string{"; SERVER_MAX_WINDOW_BITS=9; Client_No_Context_Takeover"},
		"; client_no_context_takeover; server_max_window_bits=9", "9 takeover, 15"},
	{"quoted", window(15, 15), []string{`; server_max_window_bits="1\0"`}, "; server_max_window_bits=10", "10 takeover, 15 takeover"},
	{"blanks", window(15, 15), []string{"\t;\tserver_max_window_bits \t=\t 10\t"}, "; server_max_window_bits=10", "10 takeover, 15 takeover"},

	// What must be declined.
	{"an unknown parameter", Compression{}, []string{"; x"}, "-", ""},
	{"an unknown parameter with a value", Compression{}, []string{"; max_window_bits=10"}, "-", ""},
	{"an unknown parameter behind good ones", Compression{}, []string{"; client_max_window_bits; x"}, "-", ""},
	{"server_max_window_bits without a value", Compression{}, []string{"; server_max_window_bits"}, "-", ""},
	{"server_max_window_bits twice", Compression{}, []string{"; server_max_window_bits=10; server_max_window_bits=10"}, "-", ""},
	{"client_max_window_bits twice", Compression{}, []string{"; client_max_window_bits; client_max_window_bits"}, "-", ""},
	{"client_max_window_bits twice with values", Compression{}, []string{"; client_max_window_bits=9; client_max_window_bits=9"}, "-", ""},
	{"client_max_window_bits with and without a value", Compression{}, []string{"; client_max_window_bits=9; client_max_window_bits"}, "-", ""},
	{"server_no_context_takeover twice", Compression{}, []string{"; server_no_context_takeover; server_no_context_takeover"}, "-", ""},
	{"client_no_context_takeover twice", Compression{}, []string{"; client_no_context_takeover; client_no_context_takeover"}, "-", ""},
	{"server_no_context_takeover with a value", Compression{}, []string{"; server_no_context_takeover=1"}, "-", ""},
	{"client_no_context_takeover with a value", Compression{}, []string{`; client_no_context_takeover="true"`}, "-", ""},
}

// badBits are values that a window cannot have.
var badBits = []string{"0", "1", "7", "16", "08", "010", "+10", "-10", "1e1", "0xa", "10.0", "99999999999", "18446744073709551626", "x"}

func TestAccept(t *testing.T) {
	for _, bits := range badBits {
		for _, name := range []string{"server_max_window_bits", "client_max_window_bits"} {
			offer := "; " + name + "=" + bits
			checkAccept(t, &Compression{}, []string{deflateName + offer}, "", "")
		}
	}
	for _, test := range acceptTests {
		t.Run(test.name, func(t *testing.T) {
			offers := make([]string, len(test.offers))
			for i, offer := range test.offers {
				offers[i] = deflateName + offer
			}
			response := ""
			if test.response != "-" {
				response = deflateName + test.response
			}
			checkAccept(t, &test.options, offers, response, test.want)
			checkAccept(t, &test.options, []string{"x;y, , " + strings.Join(offers, ", ") + ", z"}, response, test.want)
		})
	}
	for _, name := range []string{"permessage-deflate2", "permessage", "x-permessage-deflate", "permessage-bzip2"} {
		checkAccept(t, &Compression{}, []string{name}, "", "")
	}
	checkAccept(t, &Compression{}, nil, "", "")
	checkAccept(t, nil, []string{deflateName}, "", "")
	checkAccept(t, &Compression{}, []string{"Permessage-Deflate; client_max_window_bits"}, deflateName+"; client_max_window_bits=12", "12 takeover, 12 takeover")
}

func checkAccept(t *testing.T, o *Compression, offers []string, response, want string) {
	t.Helper()
	got, z := o.accept(offers)
	if got != response || describe(z) != want {
		t.Errorf("%q: got %q with %q, want %q with %q", offers, got, describe(z), response, want)
	}
}

// describe says what z is, as acceptTests do.
func describe(z *compression) string {
	if z == nil {
		return ""
	}
	way := func(bits int, takeover bool) string {
		if takeover {
			return fmt.Sprintf("%d takeover", bits)
		}
		return fmt.Sprint(bits)
	}
	return way(z.writeBits, z.writeTakeover) + ", " + way(z.readBits, z.readTakeover)
}

func TestOffer(t *testing.T) {
	for _, test := range []struct {
		options Compression
		want    string
	}{
		{Compression{}, "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12, " +
			"permessage-deflate; server_no_context_takeover; client_max_window_bits=12, " +
			"permessage-deflate; client_max_window_bits=12"},
		{window(15, 15), "permessage-deflate; client_max_window_bits"},
		{window(9, 15), "permessage-deflate; server_max_window_bits=9; client_max_window_bits, " +
			"permessage-deflate; server_no_context_takeover; client_max_window_bits, " +
			"permessage-deflate; client_max_window_bits"},
		{Compression{ServerNoContextTakeover: true}, "permessage-deflate; server_no_context_takeover; server_max_window_bits=12; client_max_window_bits=12, " +
			"permessage-deflate; server_no_context_takeover; client_max_window_bits=12"},
		{Compression{ServerMaxWindowBits: 15, ServerNoContextTakeover: true, ClientNoContextTakeover: true},
			"permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits=12"},
	} {
		if got := test.options.offer(); got != test.want {
			t.Errorf("%+v: got\n%s, want\n%s", test.options, got, test.want)
		}
	}
}

// checkExtensionsTests are what a server may answer to a client, and what comes
// of it for the client.
var checkExtensionsTests = []struct {
	name     string
	options  Compression
	response string
	want     string // "write, read"
	err      error
}{
	{"nothing", Compression{}, "", "", nil},
	{"an empty list", Compression{}, " , ", "", nil},
	{"the first offer", Compression{}, "permessage-deflate; server_max_window_bits=12", "12 takeover, 12 takeover", nil},
	{"less than the first offer", Compression{}, "permessage-deflate; server_max_window_bits=8; client_max_window_bits=9", "9 takeover, 8 takeover", nil},
	{"the second offer", Compression{}, "permessage-deflate; server_no_context_takeover", "12 takeover, 15", nil},
	{"the second offer with a window", Compression{}, "permessage-deflate; server_no_context_takeover; server_max_window_bits=15", "12 takeover, 15", nil},
	{"a server without any takeover", Compression{}, "permessage-deflate; server_no_context_takeover; client_no_context_takeover", "12, 15", nil},
	{"no parameters", window(15, 15), "permessage-deflate", "15 takeover, 15 takeover", nil},
	{"less, unasked", window(15, 15), "permessage-deflate; server_max_window_bits=10", "15 takeover, 10 takeover", nil},
	{"a window for us", window(15, 15), "permessage-deflate; client_max_window_bits=10", "10 takeover, 15 takeover", nil},
	{"our hint left out", Compression{ServerMaxWindowBits: 15, ClientNoContextTakeover: true}, "permessage-deflate", "12, 15 takeover", nil},
	{"quoted", window(15, 15), `permessage-deflate; client_max_window_bits="10"`, "10 takeover, 15 takeover", nil},

	{"the third offer", Compression{}, "permessage-deflate", "12 takeover, 15 takeover", nil},
	{"the third offer with a window", Compression{}, "permessage-deflate; server_max_window_bits=13", "12 takeover, 13 takeover", nil},
	{"a larger window for us than offered", Compression{}, "permessage-deflate; server_max_window_bits=12; client_max_window_bits=13", "", errDeflateResponse},
	{"takeover in spite of us", Compression{ServerMaxWindowBits: 15, ServerNoContextTakeover: true}, "permessage-deflate", "", errDeflateResponse},
	{"client_max_window_bits without a value", window(15, 15), "permessage-deflate; client_max_window_bits", "", errDeflateResponse},
	{"server_max_window_bits without a value", window(15, 15), "permessage-deflate; server_max_window_bits", "", errDeflateResponse},
	{"unknown", window(15, 15), "permessage-deflate; x", "", errDeflateResponse},
	{"server_max_window_bits twice", window(15, 15), "permessage-deflate; server_max_window_bits=9; server_max_window_bits=9", "", errDeflateResponse},
	{"takeover with a value", window(15, 15), "permessage-deflate; server_no_context_takeover=1", "", errDeflateResponse},
	{"twice", window(15, 15), "permessage-deflate, permessage-deflate", "", errExtension},
	{"with another", window(15, 15), "permessage-deflate, x", "", errExtension},
	{"another", window(15, 15), "x", "", errExtension},
	{"only the beginning of its name", window(15, 15), "permessage-deflate-frame", "", errExtension},
	{"malformed", window(15, 15), "permessage-deflate;", "", errDeflateResponse},
}

func TestCheckExtensions(t *testing.T) {
	for _, bits := range badBits {
		for _, name := range []string{"server_max_window_bits", "client_max_window_bits"} {
			response := deflateName + "; " + name + "=" + bits
			if z, err := (&Compression{ServerMaxWindowBits: 15}).checkExtensions([]string{response}); z != nil || err != errDeflateResponse {
				t.Errorf("%q: got %q, %v, want %v", response, describe(z), err, errDeflateResponse)
			}
		}
	}
	for _, test := range checkExtensionsTests {
		t.Run(test.name, func(t *testing.T) {
			z, err := test.options.checkExtensions([]string{test.response})
			if describe(z) != test.want || err != test.err {
				t.Errorf("got %q, %v, want %q, %v", describe(z), err, test.want, test.err)
			}
			z, err = test.options.checkExtensions(strings.Split(test.response, ","))
			if describe(z) != test.want || err != test.err {
				t.Errorf("in lines: got %q, %v, want %q, %v", describe(z), err, test.want, test.err)
			}
		})
	}
	if _, err := (*Compression)(nil).checkExtensions([]string{deflateName}); err != errExtension {
		t.Errorf("unasked: got %v, want %v", err, errExtension)
	}
}

// Whatever a client of ours offers, a server of ours can answer, and both come to
// the same.
func TestNegotiation(t *testing.T) {
	var all []Compression
	for _, bits := range []int{0, 9, 12, 15} {
		for _, takeover := range []bool{false, true} {
			all = append(all,
				Compression{ServerMaxWindowBits: bits, ServerNoContextTakeover: takeover},
				Compression{ClientMaxWindowBits: bits, ClientNoContextTakeover: takeover},
				Compression{ServerMaxWindowBits: bits, ClientMaxWindowBits: bits, ServerNoContextTakeover: takeover, ClientNoContextTakeover: takeover})
		}
	}
	for _, server := range all {
		for _, client := range all {
			response, s := server.accept([]string{client.offer()})
			c, err := client.checkExtensions([]string{response})
			if s == nil || err != nil {
				t.Fatalf("server %+v, client %+v: %q with %q, %v", server, client, response, describe(s), err)
			}
			if s.writeBits > c.readBits || c.writeBits > s.readBits || s.writeTakeover && !c.readTakeover || c.writeTakeover && !s.readTakeover {
				t.Errorf("server %+v, client %+v: %q gives %q and %q", server, client, response, describe(s), describe(c))
			}
			if c.readTakeover && c.readBits > client.serverBits() || s.readTakeover && s.readBits > server.clientBits() {
				t.Errorf("server %+v, client %+v: %q gives %q and %q, which is more than was wanted", server, client, response, describe(s), describe(c))
			}
		}
	}
}

func TestThreshold(t *testing.T) {
	for _, test := range []struct {
		options Compression
		choice  compressChoice
		n       int
		want    bool
	}{
		{Compression{}, compressByLength, 63, false},
		{Compression{}, compressByLength, 64, true},
		{Compression{ServerNoContextTakeover: true}, compressByLength, 255, false},
		{Compression{ServerNoContextTakeover: true}, compressByLength, 256, true},
		{Compression{Threshold: 1000}, compressByLength, 999, false},
		{Compression{Threshold: 1000}, compressByLength, 1000, true},
		{Compression{Threshold: -1}, compressByLength, 0, true},
		{Compression{}, compressAlways, 0, true},
		{Compression{Threshold: -1}, compressNever, 1000, false},
	} {
		_, z := test.options.accept([]string{deflateName})
		if got := z.wants(test.choice, test.n); got != test.want {
			t.Errorf("%+v, %d, %d bytes: got %t, want %t", test.options, test.choice, test.n, got, test.want)
		}
	}
	if (*compression)(nil).wants(compressAlways, 1000) {
		t.Error("compressed without having been negotiated")
	}
}

// extensionRE is the grammar of an extension.
var extensionRE = func() *regexp.Regexp {
	const char = "[-!#$%&'*+.^_`|~0-9A-Za-z]"
	const blank = `[ \t]*`
	return regexp.MustCompile(`^` + char + `+` + blank +
		`(;` + blank + char + `+` + blank + `(=` + blank + `(` + char + `+|"(\\?` + char + `)+")` + blank + `)?)*$`)
}()

// What is an extension is parsed, what is parsed and printed is parsed to the
// same, and a server answers an offer as a client may be answered.
func FuzzExtensions(f *testing.F) {
	for _, test := range acceptTests {
		f.Add(deflateName + strings.Join(test.offers, ", "+deflateName))
	}
	for _, test := range checkExtensionsTests {
		f.Add(test.response)
	}
	f.Fuzz(func(t *testing.T, text string) {
		valid := !slices.ContainsFunc(members([]string{text}), func(m string) bool { return !extensionRE.MatchString(m) })
		if got := validExtensions([]string{text}); got != valid {
			t.Fatalf("%q: got valid %t, want %t", text, got, valid)
		}
		for _, isOffer := range []bool{false, true} {
			_, params := cutExtension(text)
			d, ok := parseDeflate(params, isOffer)
			if !ok {
				continue
			}
			printed := string(d.append(nil))
			name, params := cutExtension(printed)
			again, ok := parseDeflate(params, isOffer)
			if name != deflateName || !ok || again != d {
				t.Fatalf("%q: %+v is printed as %q, which is %+v", text, d, printed, again)
			}
			if bits := d.serverMaxWindowBits; bits != 0 && (bits < deflate.MinWindowBits || bits > deflate.MaxWindowBits) {
				t.Fatalf("%q: window of %d bits", text, bits)
			}
		}
		for _, o := range []Compression{{}, window(15, 15), {ServerNoContextTakeover: true, ClientNoContextTakeover: true}} {
			response, z := o.accept([]string{text})
			if (response == "") != (z == nil) {
				t.Fatalf("%q: response %q with %q", text, response, describe(z))
			}
			if z == nil {
				continue
			}
			if _, err := (*Compression)(nil).checkExtensions([]string{response}); err != errExtension {
				t.Fatalf("%q: response %q is no extension", text, response)
			}
			_, params := cutExtension(response)
			if _, ok := parseDeflate(params, false); !ok {
				t.Fatalf("%q: no client takes the response %q", text, response)
			}
			if z.readTakeover && z.readBits > o.clientBits() {
				t.Fatalf("%q: response %q allows the client %q", text, response, describe(z))
			}
		}
	})
}
