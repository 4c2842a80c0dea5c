package http2

import "testing"

func TestWithExtendedConnect(t *testing.T) {
	for _, test := range []struct{ godebug, want string }{
		{"", "http2xconnect=1"},
		{"netdns=go", "netdns=go,http2xconnect=1"},
		{"http2xconnect=0", "http2xconnect=0"},
		{"http2xconnect=1,netdns=go", "http2xconnect=1,netdns=go"},
		{"netdns=go,http2xconnect=0", "netdns=go,http2xconnect=0"},
		{"http2xconnec", "http2xconnec,http2xconnect=1"},
	} {
		if got := withExtendedConnect(test.godebug); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}
