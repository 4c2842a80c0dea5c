//go:build !unix

package main

import (
	"context"
	"os/exec"
	"strconv"
)

// shell returns a command that the shell is to carry out, and that is killed with its children when
// ctx ends.
func shell(ctx context.Context, command string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "cmd", "/C", command)
	cmd.Cancel = func() error {
		return exec.Command("taskkill", "/T", "/F", "/PID", strconv.Itoa(cmd.Process.Pid)).Run()
	}
	return cmd
}

// killGroup has nothing to do: the children of a process that has ended are not to be found.
func killGroup(*exec.Cmd) {}
