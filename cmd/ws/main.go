// Ws talks to WebSocket servers, is one, and measures them.
//
//	ws connect URL     lines of stdin are sent as messages, messages come out on stdout
//	ws listen ADDR     a server: echo, broadcast, log, stdin and stdout, or a process for each client
//	ws bench URL       connect times, throughput and latency of a server
//	ws version         which build this is
//	ws help [COMMAND]  what the flags are, with examples
//
// A conversation by hand, in two terminals:
//
//	ws listen :8080
//	ws connect :8080
//
// And in a script, where stdout has the messages and nothing else:
//
//	printf '{"subscribe":"news"}\n' | ws connect -n 1 wss://example.com/feed | jq .headline
//
// The exit status says how it went:
//
//	0  the connection was closed by us, or by the peer with 1000 or without a code
//	1  a mistake in the command line, or in what was to be sent
//	2  no connection came about
//	3  the peer closed the connection with another code
//	4  the connection ended otherwise: the network, the heartbeat, a time limit, a violation of the protocol
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
)

// What the exit status says.
const (
	exitOK = iota
	exitUsage
	exitConnect
	exitClosed
	exitLost
)

func main() {
	os.Exit(run(interruptible(), os.Args[1:], standardSystem()))
}

// exitSignal is the exit status of who is interrupted twice, as shells have it for SIGINT.
const exitSignal = 130

// interruptible returns a context that ends with the first signal. The second one ends the program
// at once.
func interruptible() context.Context {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	ctx, interrupt := context.WithCancel(context.Background())
	go func() {
		<-signals
		interrupt()
		<-signals
		os.Exit(exitSignal)
	}()
	return ctx
}

// A command is one of those that the program has.
type command struct {
	name string
	help string

	// prepare defines the flags, and returns what is to be done when they are set. That returns
	// the exit status, or an error for a mistake in the command line.
	prepare func(*flag.FlagSet) func(ctx context.Context, sys *system, operands []string) (int, error)
}

var commands = []command{
	{"connect", connectHelp, prepareConnect},
	{"listen", listenHelp, prepareListen},
	{"bench", benchHelp, prepareBench},
	{"version", versionHelp, prepareVersion},
}

// run carries out a command line, and returns the exit status.
func run(ctx context.Context, args []string, sys *system) int {
	if len(args) == 0 {
		io.WriteString(sys.stderr, overview)
		return exitUsage
	}
	name, args := args[0], args[1:]
	switch name {
	case "help", "-h", "-help", "--help":
		return help(args, sys)
	case "-version", "--version":
		name = "version"
	}
	c, err := findCommand(name)
	if err != nil {
		return usage(sys, "ws", err)
	}
	fs := flag.NewFlagSet(c.name, flag.ContinueOnError)
	do := c.prepare(fs)
	operands, err := parse(fs, args)
	if errors.Is(err, flag.ErrHelp) {
		return help([]string{c.name}, sys)
	}
	status := exitOK
	if err == nil {
		status, err = do(ctx, sys, operands)
	}
	if err != nil {
		return usage(sys, "ws "+c.name, err)
	}
	return status
}

func findCommand(name string) (command, error) {
	var names []string
	for _, c := range commands {
		if c.name == name {
			return c, nil
		}
		names = append(names, c.name)
	}
	if strings.Contains(name, ":") {
		return command{}, fmt.Errorf("unknown command %q: did you mean \"ws connect %[1]s\"?", name)
	}
	return command{}, fmt.Errorf("unknown command %q%s", name, didYouMean(name, append(names, "help")))
}

// usage says what is wrong with the command line.
func usage(sys *system, command string, err error) int {
	subject := strings.TrimPrefix(command, "ws")
	fmt.Fprintf(sys.stderr, "%s: %v\nSee \"ws help%s\".\n", command, err, subject)
	return exitUsage
}

// help prints the help for a command, or the overview.
func help(args []string, sys *system) int {
	text := overview
	if len(args) > 0 && args[0] != "help" {
		c, err := findCommand(args[0])
		if err != nil {
			return usage(sys, "ws", err)
		}
		text = c.help
	}
	io.WriteString(sys.stdout, text)
	return exitOK
}

func prepareVersion(*flag.FlagSet) func(context.Context, *system, []string) (int, error) {
	return func(_ context.Context, sys *system, operands []string) (int, error) {
		if err := wantOperands(operands); err != nil {
			return 0, err
		}
		info, _ := debug.ReadBuildInfo()
		io.WriteString(sys.stdout, versionText(info))
		return exitOK, nil
	}
}

// versionText says what info knows of the build; it may be nil.
func versionText(info *debug.BuildInfo) string {
	if info == nil {
		return "ws, of an unknown version\n"
	}
	text := "ws " + info.Main.Version
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			text += ", revision " + s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			text += " with changes"
		}
	}
	return text + ", " + info.GoVersion + "\n"
}
