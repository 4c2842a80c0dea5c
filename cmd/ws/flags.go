package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tidewire/websocket"
)

// parse sets the flags of args, which may stand before, between and behind the operands, and returns
// those. "--" ends the flags.
func parse(fs *flag.FlagSet, args []string) (operands []string, err error) {
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		if arg == "--" {
			return append(operands, args...), nil
		}
		if len(arg) < 2 || arg[0] != '-' {
			operands = append(operands, arg)
			continue
		}
		name, value, hasValue := strings.Cut(strings.TrimPrefix(arg[1:], "-"), "=")
		f, err := findFlag(fs, name)
		switch {
		case err != nil:
			return nil, err
		case hasValue:
		case isToggle(f):
			value = "true"
		case len(args) == 0:
			return nil, fmt.Errorf("-%s needs a value", name)
		default:
			value, args = args[0], args[1:]
		}
		if err := fs.Set(name, value); err != nil {
			return nil, fmt.Errorf("-%s %q: %w", name, value, err)
		}
	}
	return operands, nil
}

func findFlag(fs *flag.FlagSet, name string) (*flag.Flag, error) {
	if f := fs.Lookup(name); f != nil {
		return f, nil
	}
	if name == "h" || name == "help" {
		return nil, flag.ErrHelp
	}
	var names []string
	fs.VisitAll(func(f *flag.Flag) { names = append(names, "-"+f.Name) })
	return nil, fmt.Errorf("unknown flag -%s%s", name, didYouMean("-"+name, names))
}

func isToggle(f *flag.Flag) bool {
	b, ok := f.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

// didYouMean returns a hint at the name that is nearest to one that is unknown, if there is one near.
func didYouMean(unknown string, names []string) string {
	nearest := slices.MinFunc(names, func(a, b string) int {
		return cmp.Compare(distance(unknown, a), distance(unknown, b))
	})
	if distance(unknown, nearest) > min(2, (len(unknown)-1)/2) {
		return ""
	}
	return fmt.Sprintf(": did you mean %q?", nearest)
}

// distance returns how many letters have to be added, left out or replaced to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1) // from a[:i] to each b[:j]
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

// wantOperands checks that there are operands of these names, and no more.
func wantOperands(operands []string, names ...string) error {
	if len(operands) > len(names) {
		return fmt.Errorf("one argument too many: %q", operands[len(names)])
	}
	if len(operands) < len(names) {
		return fmt.Errorf("%s is missing", names[len(operands)])
	}
	return nil
}

// oneOf checks the value of a flag that is to be one of a few words.
func oneOf(name, value string, words ...string) error {
	if slices.Contains(words, value) {
		return nil
	}
	return fmt.Errorf("-%s %q: not one of %s%s", name, value, strings.Join(words, ", "), didYouMean(value, words))
}

// value, text and toggle define a flag that has several names.
func value(fs *flag.FlagSet, v flag.Value, names ...string) {
	for _, name := range names {
		fs.Var(v, name, "")
	}
}

func text(fs *flag.FlagSet, p *string, names ...string) {
	for _, name := range names {
		fs.StringVar(p, name, *p, "")
	}
}

func toggle(fs *flag.FlagSet, p *bool, names ...string) {
	for _, name := range names {
		fs.BoolVar(p, name, false, "")
	}
}

// A count is a flag whose value is a number of things.
type count int

func (c *count) String() string { return "" }

func (c *count) Set(s string) error {
	v, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return errors.New("not a number of things")
	}
	*c = count(v)
	return nil
}

// A rate is a flag whose value is a number of things per second.
type rate float64

func (r *rate) String() string { return "" }

func (r *rate) Set(s string) error {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || v != 0 && !(v >= 1e-6 && v <= 1e9) {
		return errors.New("not a number of things per second")
	}
	*r = rate(v)
	return nil
}

// A list is a flag that may be given several times.
type list []string

func (l *list) String() string { return "" }

func (l *list) Set(s string) error {
	*l = append(*l, s)
	return nil
}

// A span is a flag whose value is a time such as 1m30s, or a number of seconds.
type span time.Duration

func (d *span) String() string { return "" }

func (d *span) Set(s string) error {
	if _, err := strconv.ParseFloat(s, 64); err == nil {
		s += "s"
	}
	v, err := time.ParseDuration(s)
	if err != nil {
		return errors.New("not a time, such as 1m30s, 500ms or 20, in seconds")
	}
	*d = span(v)
	return nil
}

// A header is a flag whose values are header fields.
type header http.Header

func (h header) String() string { return "" }

func (h header) Set(s string) error {
	name, value, ok := strings.Cut(s, ":")
	if !ok {
		return errors.New("not of the form 'Name: value'")
	}
	http.Header(h).Add(strings.TrimSpace(name), strings.TrimSpace(value))
	return nil
}

// A farewell is a flag whose value is what a Close frame says.
type farewell struct {
	code   websocket.StatusCode
	reason string
}

func (f *farewell) String() string { return "" }

// maxReason is how long a reason can be: a Close frame has 125 bytes, two of them for the code.
const maxReason = 123

func (f *farewell) Set(s string) error {
	digits, reason, _ := strings.Cut(s, ":")
	code, err := strconv.Atoi(digits)
	switch {
	case err != nil:
		return errors.New("not of the form CODE:REASON, such as 1000:bye")
	case !maySend(websocket.StatusCode(code)):
		return errors.New("not a code that may be sent: 1000 to 1003, 1007 to 1014, 3000 to 4999")
	case len(reason) > maxReason:
		return fmt.Errorf("the reason has %d bytes, and %d at the most can be sent", len(reason), maxReason)
	case !utf8.ValidString(reason):
		return errors.New("the reason is not UTF-8")
	}
	*f = farewell{websocket.StatusCode(code), reason}
	return nil
}

// maySend reports whether a Close frame may have that code (RFC 6455, section 7.4, and its registry).
func maySend(code websocket.StatusCode) bool {
	return 1000 <= code && code <= 1003 || 1007 <= code && code <= 1014 || 3000 <= code && code <= 4999
}
