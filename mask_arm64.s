//go:build !purego && !race

#include "textflag.h"

// func maskLong(dst, src []byte, key uint32)
//
// As in maskTo, what comes last is read and masked first, and written last.
TEXT ·maskLong(SB), NOSPLIT, $0-52
	MOVD  dst_base+0(FP), R0
	MOVD  src_base+24(FP), R1
	MOVD  src_len+32(FP), R2
	MOVWU key+48(FP), R3
	VDUP  R3, V0.S4  // the key four times
	LSL   $3, R2, R4
	RORW  R4, R3, R3
	VDUP  R3, V1.S4  // and for what comes last, which is a multiple of four bytes
	SUB   $64, R2
	ADD   R2, R1, R4 // the last 64 bytes of src,
	ADD   R2, R0, R5 // and of dst
	VLD1  (R4), [V2.B16, V3.B16, V4.B16, V5.B16]
	VEOR  V1.B16, V2.B16, V2.B16
	VEOR  V1.B16, V3.B16, V3.B16
	VEOR  V1.B16, V4.B16, V4.B16
	VEOR  V1.B16, V5.B16, V5.B16

loop:
	VLD1.P 64(R1), [V6.B16, V7.B16, V8.B16, V9.B16]
	VEOR   V0.B16, V6.B16, V6.B16
	VEOR   V0.B16, V7.B16, V7.B16
	VEOR   V0.B16, V8.B16, V8.B16
	VEOR   V0.B16, V9.B16, V9.B16
	VST1.P [V6.B16, V7.B16, V8.B16, V9.B16], 64(R0)
	CMP    R4, R1
	BLO    loop

	VST1 [V2.B16, V3.B16, V4.B16, V5.B16], (R5)
	RET
