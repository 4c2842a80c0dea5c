package deflate

// Windows have 1<<MinWindowBits to 1<<MaxWindowBits bytes (RFC 7692, section
// 7.1.2).
const (
	MinWindowBits = 8
	MaxWindowBits = 15
)

// The values of BTYPE (section 3.2.3).
const (
	blockStored  = 0
	blockFixed   = 1
	blockDynamic = 2
)

// The symbols of literals and lengths: literals are themselves, then come the
// end of the block and the lengths (section 3.2.5).
const (
	endOfBlock  = 256
	firstLength = 257
)

// How many symbols there are of each kind, without those of the fixed codes
// that "will never actually occur in the compressed data" (section 3.2.6).
const (
	literalLengthSymbols = 286
	distanceSymbols      = 30
	codeLengthSymbols    = 19
)

// The longest codes of literals, lengths and distances, and of their code
// lengths (section 3.2.7).
const (
	maxCodeLength           = 15
	maxCodeLengthCodeLength = 7
)

const (
	minMatch = 3
	maxMatch = 258
)

// A baseValue is what a symbol stands for: base, and what the extra bits that
// follow the symbol add to it.
type baseValue struct {
	base  uint16
	extra uint8
}

// lengthValues are the lengths of the symbols from firstLength (section 3.2.5).
var lengthValues = [literalLengthSymbols - firstLength]baseValue{
	{3, 0}, {4, 0}, {5, 0}, {6, 0}, {7, 0}, {8, 0}, {9, 0}, {10, 0},
	{11, 1}, {13, 1}, {15, 1}, {17, 1},
	{19, 2}, {23, 2}, {27, 2}, {31, 2},
	{35, 3}, {43, 3}, {51, 3}, {59, 3},
	{67, 4}, {83, 4}, {99, 4}, {115, 4},
	{131, 5}, {163, 5}, {195, 5}, {227, 5},
	{258, 0},
}

// distanceValues are the distances of the symbols from 0 (section 3.2.5).
var distanceValues = [distanceSymbols]baseValue{
	{1, 0}, {2, 0}, {3, 0}, {4, 0},
	{5, 1}, {7, 1},
	{9, 2}, {13, 2},
	{17, 3}, {25, 3},
	{33, 4}, {49, 4},
	{65, 5}, {97, 5},
	{129, 6}, {193, 6},
	{257, 7}, {385, 7},
	{513, 8}, {769, 8},
	{1025, 9}, {1537, 9},
	{2049, 10}, {3073, 10},
	{4097, 11}, {6145, 11},
	{8193, 12}, {12289, 12},
	{16385, 13}, {24577, 13},
}

// The symbols of code lengths that are not lengths themselves (section 3.2.7).
const (
	repeatPrevious   = 16 // 3-6 times, 2 extra bits
	repeatZero       = 17 // 3-10 times, 3 extra bits
	repeatZeroLonger = 18 // 11-138 times, 7 extra bits
)

// codeLengthOrder is the order in which the lengths of the codes for code
// lengths are sent (section 3.2.7).
var codeLengthOrder = [codeLengthSymbols]uint8{
	16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
}
