// Command report reads what the Autobahn test suite wrote about one run, prints
// a table by section for each role, and lists every case that did not come
// out as it should. It exits with status 1 if there is any, if a case that was
// asked for was not run, and if no case was run at all. The script run.sh, one
// folder up, calls it.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"runtime"
	"strings"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("report: ")
	if err := report(os.Stdout, os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}

// report is the command with arguments args. Its error says what could not be
// read or written, or how much is wrong.
func report(stdout io.Writer, args []string) error {
	flags := flag.NewFlagSet("report", flag.ExitOnError)
	out := flags.String("out", "", "`folder` of the run: for each role, ROLE/index.json and the suite's output, ROLE.log")
	role := flags.String("role", "both", "`role` that was run: server, client or both")
	cases := flags.String("cases", "*", "comma-separated `patterns` of the cases that were asked for")
	suite := flags.String("suite", "", "`words` that say what the suite ran in, for -markdown")
	command := flags.String("command", "", "`command` of the run, for -markdown")
	markdown := flags.String("markdown", "", "also write the tables to `file`")
	flags.Parse(args)

	roles := []string{*role}
	if *role == "both" {
		roles = []string{"server", "client"}
	}
	var text bytes.Buffer
	var version string
	wrong := 0
	for _, role := range roles {
		r, err := readRun(*out, role)
		if err != nil {
			return err
		}
		version = r.version
		wrong += r.write(&text, strings.Split(*cases, ","))
	}
	if _, err := stdout.Write(text.Bytes()); err != nil {
		return err
	}
	if *markdown != "" {
		page := fmt.Appendf(nil, preamble, *command, version, *suite, runtime.Version(), runtime.GOOS, runtime.GOARCH)
		page = append(page, bytes.TrimRight(text.Bytes(), "\n")...)
		if err := os.WriteFile(*markdown, append(page, '\n'), 0o666); err != nil {
			return err
		}
	}
	if wrong > 0 {
		return fmt.Errorf("wrong with this run: %d", wrong)
	}
	return nil
}

const preamble = `# Autobahn results

Written by this command, run at the root of the module; README.md beside this
file says what it needs and how to read the tables.

` + "```\n%s\n```" + `

- suite: %s, in %s
- testee: %s, %s/%s

`
