// Mutants tests the tests of the protocol's rules. It disables one rule at a time, which is
// one condition on which a frame, a Close payload, a request or a response is judged, and
// runs the package's tests: at least one must fail each time.
//
//	go run ./ci/mutants
//
// It runs in the root of the module and leaves the tree alone: all mutants live in one test
// binary, built with an overlay, which is told by its environment which of them it is.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"time"
)

// rules says which functions are made of rules.
var rules = []struct {
	file      string
	functions []string
}{
	{"frame.go", []string{"opcode.isControl", "opcode.isReserved", "parseHeader", "header.check"}},
	{"fragment.go", []string{"sequence.next", "sequence.payload", "sequence.end"}},
	{"control.go", []string{"StatusCode.mayBeSent", "parseClose"}},
	{"handshake.go", []string{
		"validKey", "checkRequest", "chooseSubprotocol", "checkResponse",
		"checkHeader", "isHandshakeField", "checkOrigin", "parseOrigin", "origin.isSame", "origin.isWeb", "matchOrigin",
		"hasToken", "hasOnlyToken", "isEmptyList", "parseTokens", "isOnly", "validFieldValue",
		"unquote", "validExtensions",
	}},
	{"compress.go", []string{
		"Compression.check", "parseDeflate", "parseBits", "Compression.accept", "Compression.respond", "Compression.offers",
		"Compression.checkExtensions", "Compression.checkDeflate", "Compression.negotiated", "compression.wants",
	}},
}

// A mutant has to face these tests, which are likely to notice it and quick, in
// this order, and if none of them does, all tests.
var likely = []string{
	"Header|Opcode|Sequence|StatusCode|ParseClose|Check|Choose|Origin|Spelling|List|Token|Extension|Compression|Accept|Offer|Negotiation|Threshold",
	"Conversations/./server/pipe/whole",
}

// equivalent says of conditions why no test can tell whether they are there.
var equivalent = map[string]string{
	"validKey: always if err == nil":  "of what can't be decoded, less than 16 bytes come out",
	"chooseSubprotocol: never if !ok": "there are no tokens then, which is refused, too",
	"origin.isSame: always if ok":     "a host that is none is not that of an origin",
}

// selector is the file that lets the environment choose the mutant.
const selector = `package websocket

import (
	"os"
	"strconv"
)

var disabledRule, _ = strconv.Atoi(os.Getenv("DISABLED_RULE"))
`

func main() {
	start := time.Now()
	survivors, err := run(context.Background())
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	case survivors > 0:
		fmt.Printf("%d mutants survived\n", survivors)
		os.Exit(1)
	}
	fmt.Printf("all mutants killed, in %v\n", time.Since(start).Round(time.Second))
}

// run tests every mutant and returns how many survived.
func run(ctx context.Context) (survivors int, err error) {
	temp, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(temp)
	overlay, mutants, err := writeOverlay(temp)
	if err != nil {
		return 0, err
	}
	binary := filepath.Join(temp, "websocket.test")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-overlay", overlay, "-o", binary, ".")
	if out, err := build.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("go test -c: %w\n%s", err, out)
	}
	if killer, err := killer(ctx, binary, 0, likely...); err != nil || killer != "" {
		return 0, cmp.Or(err, fmt.Errorf("with every rule in force: %s", killer))
	}

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	mutants = slices.DeleteFunc(mutants, func(m mutant) bool { return equivalent[m.change()] != "" })
	verdicts := judge(ctx, binary, mutants)
	for i, m := range mutants {
		v := <-verdicts[i]
		if v.err != nil {
			return 0, v.err
		}
		fmt.Printf("%v\n\t%s\n", m, cmp.Or(v.killer, "SURVIVED"))
		if v.killer == "" {
			survivors++
		}
	}
	return survivors, nil
}

// writeOverlay writes the mutants of the package in the current
// directory to temp, and the overlay that puts them in its place.
func writeOverlay(temp string) (overlay string, mutants []mutant, err error) {
	root, err := os.Getwd()
	if err != nil {
		return "", nil, err
	}
	replace := map[string]string{}
	write := func(file string, src []byte) error {
		replace[filepath.Join(root, file)] = filepath.Join(temp, file)
		return os.WriteFile(filepath.Join(temp, file), src, 0o666)
	}
	if err := write("disabled_rule.go", []byte(selector)); err != nil {
		return "", nil, err
	}
	for _, r := range rules {
		src, err := os.ReadFile(r.file)
		if err != nil {
			return "", nil, err
		}
		src, more, err := mutate(r.file, src, r.functions, len(mutants)+1)
		if err != nil {
			return "", nil, err
		}
		mutants = append(mutants, more...)
		if err := write(r.file, src); err != nil {
			return "", nil, err
		}
	}
	data, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", nil, err
	}
	overlay = filepath.Join(temp, "overlay.json")
	return overlay, mutants, os.WriteFile(overlay, data, 0o666)
}

// A verdict says which test noticed a mutant, if one did.
type verdict struct {
	killer string
	err    error
}

// judge tests the mutants, as many at a time as there are processors.
func judge(ctx context.Context, binary string, mutants []mutant) []chan verdict {
	verdicts := make([]chan verdict, len(mutants))
	processors := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i, m := range mutants {
		verdicts[i] = make(chan verdict, 1)
		go func() {
			processors <- struct{}{}
			defer func() { <-processors }()
			name, err := killer(ctx, binary, m.id, append(slices.Clone(likely), ".")...)
			verdicts[i] <- verdict{name, err}
		}()
	}
	return verdicts
}

var failure = regexp.MustCompile(`(?m)^--- FAIL: \S+|^panic: .*|^fatal error: .*`)

// killer runs the tests that match the patterns on the mutant with the given
// id, and returns how the first test failed, or "" if none did.
func killer(ctx context.Context, binary string, id int, patterns ...string) (string, error) {
	for _, pattern := range patterns {
		cmd := exec.CommandContext(ctx, binary, "-test.failfast", "-test.timeout=5m", "-test.run="+pattern)
		cmd.Env = append(os.Environ(), "DISABLED_RULE="+strconv.Itoa(id))
		out, err := cmd.CombinedOutput()
		if err == nil {
			continue
		}
		line := failure.Find(out)
		if line == nil {
			return "", fmt.Errorf("%w, without a failed test:\n%s", err, out)
		}
		return string(line), nil
	}
	return "", nil
}
