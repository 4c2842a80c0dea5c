//go:build !purego && !race

package websocket

// avx2 says that maskLong may use AVX2. Otherwise it uses SSE2, which all amd64
// have. Only tests change it.
var avx2 = hasAVX2()

// hasAVX2 reports whether the processor has AVX2, and the system keeps its
// registers when it switches between processes.
func hasAVX2() bool {
	if lastLeaf, _, _, _ := cpuid(0, 0); lastLeaf < 7 {
		return false
	}
	const osxsave, avx = 1 << 27, 1 << 28
	if _, _, ecx, _ := cpuid(1, 0); ecx&osxsave == 0 || ecx&avx == 0 {
		return false
	}
	const xmm, ymm = 1 << 1, 1 << 2
	if xcr0 := xgetbv(); xcr0&xmm == 0 || xcr0&ymm == 0 {
		return false
	}
	const avx2 = 1 << 5
	_, ebx, _, _ := cpuid(7, 0)
	return ebx&avx2 != 0
}

// cpuid is the instruction CPUID.
func cpuid(leaf, subleaf uint32) (eax, ebx, ecx, edx uint32)

// xgetbv is the instruction XGETBV for the register XCR0, of which it returns
// the lower half.
func xgetbv() (eax uint32)
