//go:build unix

package program

import (
	"os/exec"
	"syscall"
)

// killAll has all processes of a program killed when its context ends.
func killAll(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
