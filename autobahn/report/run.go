package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A run is what the suite wrote about one role.
type run struct {
	role    string
	version string   // of the suite
	asked   []string // the cases that the suite set out to run
	results map[string]result
}

// A result is the outcome of one case: what index.json says about it, and
// what the case's own file adds to that.
type result struct {
	Behavior        string `json:"behavior"`
	BehaviorClose   string `json:"behaviorClose"`
	RemoteCloseCode *int   `json:"remoteCloseCode"` // what the testee sent; nil if no status code
	ReportFile      string `json:"reportfile"`

	detail detail
}

type detail struct {
	Description    string `json:"description"`
	Result         string `json:"result"`
	ResultClose    string `json:"resultClose"`
	LocalCloseCode *int   `json:"localCloseCode"` // what the suite sent; nil if no status code
	WasClean       bool   `json:"wasClean"`       // both Close frames were exchanged
	NotCleanReason string `json:"wasNotCleanReason"`
}

// title is the first sentence of the description, or as much of it as stands
// before the first HTML tag.
func (d detail) title() string {
	title, _, _ := strings.Cut(d.Description, "<")
	title, _, _ = strings.Cut(strings.Join(strings.Fields(title), " "), ". ")
	return strings.TrimSuffix(title, ".")
}

// readRun reads the files of one role in folder out.
func readRun(out, role string) (*run, error) {
	r := &run{role: role}
	log, err := os.ReadFile(filepath.Join(out, role+".log"))
	if err != nil {
		return nil, err
	}
	r.version, r.asked, err = parseLog(string(log))
	if err != nil {
		return nil, fmt.Errorf("%s.log: %w", role, err)
	}

	var agents map[string]map[string]result
	if err := readJSON(filepath.Join(out, role, "index.json"), &agents); err != nil {
		return nil, err
	}
	if len(agents) != 1 {
		return nil, fmt.Errorf("%s/index.json has the results of %d agents, want 1", role, len(agents))
	}
	for _, r.results = range agents {
	}
	for id, res := range r.results {
		if err := readJSON(filepath.Join(out, role, res.ReportFile), &res.detail); err != nil {
			return nil, err
		}
		r.results[id] = res
	}
	return r, nil
}

func readJSON(name string, v any) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

var (
	clientVersion = regexp.MustCompile(`Autobahn Testsuite Version (\S+) / Autobahn Version (\S+?)\)`)
	serverVersion = regexp.MustCompile(`Autobahn WebSocket (\S+)/(\S+) Fuzzing Server`)
	caseList      = regexp.MustCompile(`(?m)^Cases = \[(.*)\]$`)
	caseID        = regexp.MustCompile(`\d+(\.\d+)+`)
)

// parseLog finds in the suite's output its version and the cases that its
// specification came down to. A case that was given up without a result is
// nowhere else to be seen.
func parseLog(log string) (version string, asked []string, err error) {
	v := clientVersion.FindStringSubmatch(log)
	if v == nil {
		v = serverVersion.FindStringSubmatch(log)
	}
	list := caseList.FindStringSubmatch(log)
	if v == nil || list == nil {
		return "", nil, fmt.Errorf("the suite has not said its version and its cases")
	}
	return fmt.Sprintf("AutobahnTestSuite %s, Autobahn %s", v[1], v[2]), caseID.FindAllString(list[1], -1), nil
}

// write writes the tables of r and the list of what is wrong with it to w, and
// returns the length of that list.
func (r *run) write(w io.Writer, patterns []string) int {
	fmt.Fprintf(w, "## As a %s: %d cases\n\n", r.role, len(r.results))
	writeTable(w, "behaviour", behaviors, r.count(behaviors, func(res result) string { return res.Behavior }))
	writeTable(w, "closing behaviour", closeBehaviors, r.count(closeBehaviors, func(res result) string { return res.BehaviorClose }))

	problems := r.problems(patterns)
	if len(problems) == 0 {
		fmt.Fprint(w, "Every case is OK or INFORMATIONAL, and so is its closing behaviour.\n\n")
	}
	for _, p := range problems {
		fmt.Fprintf(w, "- %s\n", p)
	}
	if len(problems) > 0 {
		fmt.Fprintln(w)
	}
	return len(problems)
}

// problems lists what is wrong with r, in the order of the cases, when
// the cases that match patterns were asked for.
func (r *run) problems(patterns []string) []string {
	var list []string
	if len(r.results) == 0 {
		list = append(list, "no case was run")
	}
	for _, pattern := range patterns {
		if !slices.ContainsFunc(r.asked, func(id string) bool { return matches(pattern, id) }) {
			list = append(list, fmt.Sprintf("%s: the suite has no such case", pattern))
		}
	}
	for _, id := range r.asked {
		if _, ok := r.results[id]; !ok {
			list = append(list, fmt.Sprintf("%s: asked for, but without a result", id))
		}
	}
	for _, id := range slices.SortedFunc(maps.Keys(r.results), compareIDs) {
		res := r.results[id]
		if p := res.problems(); len(p) > 0 {
			list = append(list, fmt.Sprintf("%s (%s): %s", id, res.detail.title(), strings.Join(p, "; ")))
		}
	}
	return list
}

// matches reports whether id is a case that pattern asks for, as the suite
// sees it: with a star, pattern need only match the beginning of id.
func matches(pattern, id string) bool {
	if !strings.Contains(pattern, "*") {
		return pattern == id
	}
	expr := strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, ".*")
	return regexp.MustCompile("^" + expr).MatchString(id)
}

// problems says why res is not as it should be, if it is not.
func (res result) problems() []string {
	var list []string
	if !passes(res.Behavior) {
		list = append(list, fmt.Sprintf("%s: %s", res.Behavior, res.detail.Result))
	}
	switch {
	case !passes(res.BehaviorClose):
		list = append(list, fmt.Sprintf("closing %s: %s", res.BehaviorClose, res.detail.ResultClose))

	// From here on the suite is content, as it is with a testee that drops
	// the connection of a peer that broke the protocol. This package
	// always sends a Close frame, and with a status code unless it answers
	// one that has none.
	case !res.detail.WasClean:
		list = append(list, fmt.Sprintf("closing %s, but the closing handshake was not completed: %s", res.BehaviorClose, res.detail.NotCleanReason))
	case res.RemoteCloseCode == nil && res.detail.LocalCloseCode != nil:
		list = append(list, fmt.Sprintf("closing %s, but the testee sent no status code", res.BehaviorClose))
	case res.RemoteCloseCode != nil && !mayBeSent(*res.RemoteCloseCode):
		list = append(list, fmt.Sprintf("closing %s, but the testee sent the status code %d", res.BehaviorClose, *res.RemoteCloseCode))
	}
	return list
}

func passes(behavior string) bool {
	return behavior == "OK" || behavior == "INFORMATIONAL"
}

// mayBeSent reports whether code may stand in a Close frame
// (RFC 6455, section 7.4).
func mayBeSent(code int) bool {
	switch code {
	case 1004, 1005, 1006:
		return false
	}
	return 1000 <= code && code <= 1014 || 3000 <= code && code <= 4999
}

// compareIDs orders the ids of cases as numbers, section by section.
func compareIDs(a, b string) int {
	return slices.Compare(numbers(a), numbers(b))
}

func numbers(id string) []int {
	var list []int
	for field := range strings.SplitSeq(id, ".") {
		n, _ := strconv.Atoi(field) // 0 for what is no number, which no id has
		list = append(list, n)
	}
	return list
}
