package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const serverLog = `Loading spec from /spec/fuzzingclient.json
Autobahn Fuzzing WebSocket Client (Autobahn Testsuite Version 25.10.1 / Autobahn Version 0.10.9)
Ok, will run 3 test cases against 1 servers
Cases = ['1.1.1', u'7.3.1', '10.1.1']
Servers = [u'ws://127.0.0.1:9001']
Running test case ID 1.1.1 for agent websocket from peer tcp4:127.0.0.1:9001
`

const clientLog = `Autobahn WebSocket 25.10.1/0.10.9 Fuzzing Server (Port 9001)
Ok, will run 1 test cases for any clients connecting
Cases = ['1.1.1']
`

const (
	good     = `{"behavior": "OK", "behaviorClose": "OK", "duration": 1, "remoteCloseCode": 1000, "reportfile": "good.json"}`
	noCode   = `{"behavior": "OK", "behaviorClose": "OK", "duration": 1, "remoteCloseCode": null, "reportfile": "nocode.json"}`
	informed = `{"behavior": "INFORMATIONAL", "behaviorClose": "INFORMATIONAL", "remoteCloseCode": 1002, "reportfile": "good.json"}`
)

var caseFiles = map[string]string{
	"good.json":    `{"description": "Send text message with payload 0.", "result": "fine", "resultClose": "closed", "localCloseCode": 1000, "wasClean": true}`,
	"nocode.json":  `{"description": "Send a close frame with payload length 0", "localCloseCode": null, "wasClean": true}`,
	"bad.json":     `{"description": "Send text.<br>More\n of it", "result": "Actual events differ", "resultClose": "dropped", "localCloseCode": 1000, "wasClean": true}`,
	"unclean.json": `{"description": "Send text", "localCloseCode": 1002, "wasClean": false, "wasNotCleanReason": "peer dropped"}`,
}

// writeRun lays out the files of a run as a server.
func writeRun(t *testing.T, log, index string) (out string) {
	t.Helper()
	out = t.TempDir()
	files := map[string]string{"server.log": log, "server/index.json": index}
	for name, text := range caseFiles {
		files["server/"+name] = text
	}
	for name, text := range files {
		name = filepath.Join(out, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func TestProblems(t *testing.T) {
	index := func(first string) string {
		return `{"websocket": {"1.1.1": ` + first + `, "7.3.1": ` + noCode + `, "10.1.1": ` + informed + `}}`
	}
	badly := func(behavior, behaviorClose, code, file string) string {
		return index(`{"behavior": "` + behavior + `", "behaviorClose": "` + behaviorClose + `", "remoteCloseCode": ` + code + `, "reportfile": "` + file + `"}`)
	}
	tests := []struct {
		name  string
		index string
		cases string
		want  []string
	}{
		{"all is well", index(good), "*", nil},
		{"all is well with patterns", index(good), "1.*,7.3.1,1*", nil},
		{"FAILED", badly("FAILED", "FAILED", "1000", "bad.json"), "*",
			[]string{"1.1.1 (Send text): FAILED: Actual events differ; closing FAILED: dropped"}},
		{"NON-STRICT", badly("NON-STRICT", "OK", "1000", "bad.json"), "*",
			[]string{"1.1.1 (Send text): NON-STRICT: Actual events differ"}},
		{"UNIMPLEMENTED", badly("UNIMPLEMENTED", "OK", "1000", "bad.json"), "*",
			[]string{"1.1.1 (Send text): UNIMPLEMENTED: Actual events differ"}},
		{"closing", badly("OK", "UNCLEAN", "1000", "bad.json"), "*",
			[]string{"1.1.1 (Send text): closing UNCLEAN: dropped"}},
		{"wrong code", badly("OK", "WRONG CODE", "1001", "bad.json"), "*",
			[]string{"1.1.1 (Send text): closing WRONG CODE: dropped"}},
		{"closing handshake not completed", badly("OK", "OK", "1002", "unclean.json"), "*",
			[]string{"1.1.1 (Send text): closing OK, but the closing handshake was not completed: peer dropped"}},
		{"no status code", badly("OK", "OK", "null", "bad.json"), "*",
			[]string{"1.1.1 (Send text): closing OK, but the testee sent no status code"}},
		{"status code that must not be sent", badly("OK", "OK", "1006", "bad.json"), "*",
			[]string{"1.1.1 (Send text): closing OK, but the testee sent the status code 1006"}},
		{"a case is missing", `{"websocket": {"1.1.1": ` + good + `, "10.1.1": ` + good + `}}`, "*",
			[]string{"7.3.1: asked for, but without a result"}},
		{"a pattern without a case", index(good), "1.*,9.*,1.1", []string{"9.*: the suite has no such case", "1.1: the suite has no such case"}},
		{"no case at all", `{"websocket": {}}`, "*", []string{"no case was run",
			"1.1.1: asked for, but without a result", "7.3.1: asked for, but without a result", "10.1.1: asked for, but without a result"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r, err := readRun(writeRun(t, serverLog, test.index), "server")
			if err != nil {
				t.Fatal(err)
			}
			if got := r.problems(strings.Split(test.cases, ",")); !slices.Equal(got, test.want) {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
		})
	}
}

func TestReadRunErrors(t *testing.T) {
	tests := []struct{ name, log, index, want string }{
		{"no list of cases", "Traceback (most recent call last):", `{"websocket": {}}`, "has not said"},
		{"no agent", serverLog, `{}`, "0 agents"},
		{"two agents", serverLog, `{"a": {}, "b": {}}`, "2 agents"},
		{"cut short", serverLog, `{"websocket": {`, "unexpected end of JSON"},
		{"no file of the case", serverLog, `{"websocket": {"1.1.1": {"reportfile": "none.json"}}}`, "none.json"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := readRun(writeRun(t, test.log, test.index), "server")
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want one with %q", err, test.want)
			}
		})
	}
	if _, err := readRun(t.TempDir(), "client"); err == nil {
		t.Error("got no error for a run without files")
	}
}

func TestParseLog(t *testing.T) {
	tests := []struct {
		name, log string
		asked     []string
	}{
		{"server", serverLog, []string{"1.1.1", "7.3.1", "10.1.1"}},
		{"client", clientLog, []string{"1.1.1"}},
	}
	for _, test := range tests {
		version, asked, err := parseLog(test.log)
		if err != nil {
			t.Fatal(err)
		}
		if want := "AutobahnTestSuite 25.10.1, Autobahn 0.10.9"; version != want {
			t.Errorf("%s: got version %q, want %q", test.name, version, want)
		}
		if !slices.Equal(asked, test.asked) {
			t.Errorf("%s: got cases %q, want %q", test.name, asked, test.asked)
		}
	}
}

const wantTables = `## As a server: 3 cases

| behaviour        | cases | OK | INFORMATIONAL | NON-STRICT | UNIMPLEMENTED | FAILED |
| ---------------- | -----:| --:| -------------:| ----------:| -------------:| ------:|
| 1 Framing        |     1 |  0 |             0 |          0 |             0 |      1 |
| 7 Close handling |     1 |  1 |             0 |          0 |             0 |      0 |
| 10 Miscellaneous |     1 |  0 |             1 |          0 |             0 |      0 |
| all              |     3 |  1 |             1 |          0 |             0 |      1 |

| closing behaviour | cases | OK | INFORMATIONAL | WRONG CODE | UNCLEAN | FAILED BY CLIENT | FAILED |
| ----------------- | -----:| --:| -------------:| ----------:| -------:| ----------------:| ------:|
| 1 Framing         |     1 |  0 |             0 |          0 |       1 |                0 |      0 |
| 7 Close handling  |     1 |  1 |             0 |          0 |       0 |                0 |      0 |
| 10 Miscellaneous  |     1 |  0 |             1 |          0 |       0 |                0 |      0 |
| all               |     3 |  1 |             1 |          0 |       1 |                0 |      0 |

- 1.1.1 (Send text): NEVER SEEN: Actual events differ; closing UNCLEAN: dropped

`

const wantPreamble = `# Autobahn results

Written by this command, run at the root of the module; README.md beside this
file says what it needs and how to read the tables.

` + "```\nautobahn/run.sh -role server\n```" + `

- suite: AutobahnTestSuite 25.10.1, Autobahn 0.10.9, in a box
`

func TestReport(t *testing.T) {
	out := writeRun(t, serverLog, `{"websocket": {
		"1.1.1": {"behavior": "NEVER SEEN", "behaviorClose": "UNCLEAN", "reportfile": "bad.json"},
		"7.3.1": `+noCode+`, "10.1.1": `+informed+`}}`)
	markdown := filepath.Join(t.TempDir(), "RESULTS.md")
	var stdout strings.Builder
	err := report(&stdout, []string{"-out", out, "-role", "server", "-suite", "a box", "-command", "autobahn/run.sh -role server", "-markdown", markdown})
	if want := "wrong with this run: 1"; err == nil || err.Error() != want {
		t.Errorf("got error %v, want %q", err, want)
	}
	if stdout.String() != wantTables {
		t.Errorf("got\n%s\nwant\n%s", stdout.String(), wantTables)
	}
	page, err := os.ReadFile(markdown)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(page), wantPreamble) {
		t.Errorf("got page\n%s\nwant it to begin with\n%s", page, wantPreamble)
	}
	if !strings.HasSuffix(string(page), strings.TrimSuffix(wantTables, "\n")) {
		t.Errorf("got page\n%s\nwant it to end with\n%s", page, wantTables)
	}

	good := writeRun(t, clientLog, `{"websocket": {"1.1.1": `+good+`}}`)
	if err := report(&stdout, []string{"-out", good, "-role", "server"}); err != nil {
		t.Errorf("got error %v for a good run", err)
	}
	if err := report(&stdout, []string{"-out", good}); err == nil {
		t.Error("got no error for a run of which the client's files are missing")
	}
}
