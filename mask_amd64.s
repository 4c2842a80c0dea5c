//go:build !purego && !race

#include "textflag.h"

// func maskLong(dst, src []byte, key uint32)
//
// As in maskTo, what comes last is read and masked first, and written last.
TEXT ·maskLong(SB), NOSPLIT, $0-52
	MOVQ dst_base+0(FP), DI
	MOVQ src_base+24(FP), SI
	MOVQ src_len+32(FP), DX
	MOVL key+48(FP), AX
	LEAL (DX*8), CX
	MOVL AX, BX
	RORL CX, BX // the key for what comes last: that is a multiple of four bytes
	CMPB ·avx2(SB), $1
	JEQ  avx2

	MOVL   AX, X0
	PSHUFD $0, X0, X0 // the key four times
	MOVL   BX, X1
	PSHUFD $0, X1, X1
	LEAQ   -64(SI)(DX*1), R8 // the last 64 bytes of src,
	LEAQ   -64(DI)(DX*1), R9 // and of dst
	MOVOU  (R8), X2
	MOVOU  16(R8), X3
	MOVOU  32(R8), X4
	MOVOU  48(R8), X5
	PXOR   X1, X2
	PXOR   X1, X3
	PXOR   X1, X4
	PXOR   X1, X5

sse2Loop:
	MOVOU (SI), X6
	MOVOU 16(SI), X7
	MOVOU 32(SI), X8
	MOVOU 48(SI), X9
	PXOR  X0, X6
	PXOR  X0, X7
	PXOR  X0, X8
	PXOR  X0, X9
	MOVOU X6, (DI)
	MOVOU X7, 16(DI)
	MOVOU X8, 32(DI)
	MOVOU X9, 48(DI)
	ADDQ  $64, SI
	ADDQ  $64, DI
	CMPQ  SI, R8
	JB    sse2Loop
	MOVOU X2, (R9)
	MOVOU X3, 16(R9)
	MOVOU X4, 32(R9)
	MOVOU X5, 48(R9)
	RET

avx2:
	VMOVD        AX, X0
	VPBROADCASTD X0, Y0 // the key eight times
	VMOVD        BX, X1
	VPBROADCASTD X1, Y1
	CMPQ         DX, $128
	JA           avx2Long

	// The first 64 bytes and the last 64.
	VPXOR   (SI), Y0, Y2
	VPXOR   32(SI), Y0, Y3
	VPXOR   -64(SI)(DX*1), Y1, Y4
	VPXOR   -32(SI)(DX*1), Y1, Y5
	VMOVDQU Y2, (DI)
	VMOVDQU Y3, 32(DI)
	VMOVDQU Y4, -64(DI)(DX*1)
	VMOVDQU Y5, -32(DI)(DX*1)
	VZEROUPPER
	RET

avx2Long:
	LEAQ  -128(SI)(DX*1), R8 // the last 128 bytes of src,
	LEAQ  -128(DI)(DX*1), R9 // and of dst
	VPXOR (R8), Y1, Y2
	VPXOR 32(R8), Y1, Y3
	VPXOR 64(R8), Y1, Y4
	VPXOR 96(R8), Y1, Y5

	// The first 32 bytes are written last as well. The loop begins among them,
	// where dst is aligned: a store to two cache lines takes twice the time.
	VPXOR        (SI), Y0, Y6
	MOVQ         DI, R10
	MOVL         DI, CX
	NEGL         CX
	ANDL         $31, CX
	ADDQ         CX, SI
	ADDQ         CX, DI
	SHLL         $3, CX
	RORL         CX, AX
	VMOVD        AX, X0
	VPBROADCASTD X0, Y0
	CMPQ         SI, R8
	JAE          avx2Ends

	PCALIGN $64
avx2Loop:
	VPXOR   (SI), Y0, Y7
	VPXOR   32(SI), Y0, Y8
	VPXOR   64(SI), Y0, Y9
	VPXOR   96(SI), Y0, Y10
	VMOVDQA Y7, (DI)
	VMOVDQA Y8, 32(DI)
	VMOVDQA Y9, 64(DI)
	VMOVDQA Y10, 96(DI)
	ADDQ    $128, SI
	ADDQ    $128, DI
	CMPQ    SI, R8
	JB      avx2Loop

avx2Ends:
	VMOVDQU Y6, (R10)
	VMOVDQU Y2, (R9)
	VMOVDQU Y3, 32(R9)
	VMOVDQU Y4, 64(R9)
	VMOVDQU Y5, 96(R9)
	VZEROUPPER
	RET

// func cpuid(leaf, subleaf uint32) (eax, ebx, ecx, edx uint32)
TEXT ·cpuid(SB), NOSPLIT, $0-24
	MOVL leaf+0(FP), AX
	MOVL subleaf+4(FP), CX
	CPUID
	MOVL AX, eax+8(FP)
	MOVL BX, ebx+12(FP)
	MOVL CX, ecx+16(FP)
	MOVL DX, edx+20(FP)
	RET

// func xgetbv() (eax uint32)
TEXT ·xgetbv(SB), NOSPLIT, $0-4
	XORL CX, CX
	XGETBV
	MOVL AX, eax+0(FP)
	RET
