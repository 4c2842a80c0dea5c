package program

import (
	"context"
	"os/exec"
	"time"
)

// Chromium opens a page in a browser, which keeps what it has to in folder and ends with ctx. Wait
// on what is returned before that folder is removed.
func Chromium(ctx context.Context, folder, url string, flags ...string) (*exec.Cmd, error) {
	args := append([]string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--user-data-dir=" + folder, "--remote-debugging-port=0",
	}, flags...)
	browser := exec.CommandContext(ctx, "chromium", append(args, url)...)
	browser.WaitDelay = 5 * time.Second
	return browser, browser.Start()
}
