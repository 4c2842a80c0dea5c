package main

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// program returns a command that is this program, in a process of its own.
func program(t *testing.T, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	return cmd
}

// exitStatus returns that of a process which has ended with err.
func exitStatus(t *testing.T, err error) int {
	t.Helper()
	if err == nil {
		return 0
	}
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		t.Fatal(err)
	}
	return exit.ExitCode()
}

func TestProgram(t *testing.T) {
	url := newTestServer(t)
	for _, test := range []struct {
		stdin, args    string
		status         int
		stdout, stderr string // a part of it; "": nothing
	}{
		{"a\nb\n", "connect -q 0.3 " + url, exitOK, "a\nb\n", ""},
		{"", "connect", exitUsage, "", "the URL is missing"},
		{"", "connect " + url + "/status?status=402&body=pay", exitConnect, "", "402 Payment Required)\npay\n"},
		{"", "connect -q -1 " + url + "/close?code=4001&reason=why", exitClosed, "", `4001: "why"`},
		{"", "connect -q -1 " + url + "/lost", exitLost, "", "connection lost"},
		{"", "connect -x 1 -n 1 " + url, exitOK, "1\n", ""},
		{"", "bench -c 1 -d 0.01 -mode hold " + url, exitOK, "1 of 1 opened", ""},
		{"", "version", exitOK, "ws ", ""},
	} {
		cmd := program(t, strings.Fields(test.args)...)
		cmd.Stdin = strings.NewReader(test.stdin)
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		if got := exitStatus(t, cmd.Run()); got != test.status {
			t.Errorf("%s: exit status %d, want %d", test.args, got, test.status)
		}
		for _, stream := range []struct{ name, got, want string }{
			{"stdout", stdout.String(), test.stdout}, {"stderr", stderr.String(), test.stderr},
		} {
			if !strings.Contains(stream.got, stream.want) || (stream.got == "") != (stream.want == "") {
				t.Errorf("%s: %s %q, want %q", test.args, stream.name, stream.got, stream.want)
			}
			if strings.Contains(stream.got, "\x1b") {
				t.Errorf("%s: colours in a pipe: %q", test.args, stream.got)
			}
		}
	}
}

func TestProgramBinary(t *testing.T) {
	want := make([]byte, 300_000)
	rand.Read(want)
	cmd := program(t, "connect", "-b", "-B", "-n", "1", newTestServer(t))
	cmd.Stdin = bytes.NewReader(want)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	got, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(out)))
	if !bytes.Equal(got, want) || err != nil {
		t.Errorf("%d bytes came back, %v", len(got), err)
	}
}

// The proxy of the environment is asked, unless another way is asked for.
func TestProgramProxy(t *testing.T) {
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody.Close()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(testHandler(t))
	srv.Listener = l
	srv.Start()
	defer srv.Close()
	for _, test := range []struct {
		args   string
		status int
		want   string
	}{
		{"", exitConnect, nobody.Addr().String()},
		{"-proxy none", exitConnect, "another spelling"},
		{"-unix " + socket, exitOK, "a\n"},
	} {
		cmd := program(t, append([]string{"connect", "-x", "a", "-n", "1", "name.invalid"}, strings.Fields(test.args)...)...)
		cmd.Env = append(cmd.Env, "HTTP_PROXY=http://"+nobody.Addr().String(), "NO_PROXY=")
		out, err := cmd.CombinedOutput()
		if got := exitStatus(t, err); got != test.status || !strings.Contains(string(out), test.want) {
			t.Errorf("%q: exit status %d, want %d, and %q lacks %q", test.args, got, test.status, out, test.want)
		}
	}
}
