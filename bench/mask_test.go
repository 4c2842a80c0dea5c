package bench

import (
	"fmt"
	"testing"

	"github.com/gobwas/ws"
)

// BenchmarkMask is the masking of gobwas/ws, which has assembly, under the names that
// ours has in the BenchmarkMask of the root.
func BenchmarkMask(b *testing.B) {
	const behindHeader = 6 // bytes, where the payload of a masked frame usually lies
	for _, size := range []int{2, 7, 16, 64, 125, 512, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("to=itself/size=%d", size), func(b *testing.B) {
			payload := make([]byte, behindHeader+size)[behindHeader:]
			b.SetBytes(int64(size))
			for b.Loop() {
				ws.Cipher(payload, [4]byte{0x37, 0xfa, 0x21, 0x3d}, 0)
			}
		})
	}
}
