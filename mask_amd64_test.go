//go:build !purego && !race

package websocket

import (
	"os"
	"regexp"
	"testing"
)

func init() {
	if avx2 {
		maskings = append(maskings, masking{"SSE2", func(tb testing.TB) {
			avx2 = false
			tb.Cleanup(func() { avx2 = true })
		}})
	}
}

func TestHasAVX2(t *testing.T) {
	cpuinfo, err := os.ReadFile("/proc/cpuinfo") // where Linux says so
	if err != nil {
		t.Skip(err)
	}
	if got, want := hasAVX2(), regexp.MustCompile(`\bavx2\b`).Match(cpuinfo); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}
