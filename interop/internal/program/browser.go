package program

import (
	"context"
	"os"
	"os/exec"
	"time"
)

// Chromium opens a page in a browser, until stop is called or ctx ends.
func Chromium(ctx context.Context, url string, flags ...string) (stop func(), err error) {
	folder, err := os.MkdirTemp("", "interop-chromium-")
	if err != nil {
		return nil, err
	}
	args := append([]string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--user-data-dir=" + folder, "--remote-debugging-port=0",
	}, flags...)
	ctx, cancel := context.WithCancel(ctx)
	browser := exec.CommandContext(ctx, "chromium", append(args, url)...)
	killAll(browser)
	browser.WaitDelay = 5 * time.Second
	if err := browser.Start(); err != nil {
		cancel()
		os.RemoveAll(folder)
		return nil, err
	}
	return func() {
		cancel()
		browser.Wait()
		for range 100 { // its processes may be writing yet
			if os.RemoveAll(folder) == nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}, nil
}
