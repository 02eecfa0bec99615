package exact

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrEncoding means bytes that are not an encoded Sum.
var ErrEncoding = errors.New("invalid exact sum")

// Append appends the sum in the one form that equal sums have: a head byte (bit
// 0 not zero, bit 1 negative, bits 2 to 4 NaN, +Inf and -Inf seen); and if not
// zero the exponent of the lowest word divided by 32 as a zigzag varint, the
// number of bytes as a varint, and the magnitude, lowest byte first.
func (s *Sum) Append(dst []byte) []byte {
	neg, word, e := s.magnitude()
	head := s.special << 2
	if len(word) == 0 {
		return append(dst, head)
	}
	head |= 1
	if neg {
		head |= 2
	}
	dst = append(dst, head)
	dst = binary.AppendVarint(dst, int64(e/limbBits))
	n := len(word) * 4
	for last := word[len(word)-1]; last>>24 == 0; last <<= 8 {
		n--
	}
	dst = binary.AppendUvarint(dst, uint64(n))
	for i := range n {
		dst = append(dst, byte(word[i/4]>>(i%4*8)))
	}
	return dst
}

// AddBinary adds the encoded sum at the start of src and returns what follows.
func (s *Sum) AddBinary(src []byte) ([]byte, error) {
	if len(src) == 0 {
		return nil, fmt.Errorf("no bytes: %w", ErrEncoding)
	}
	head := src[0]
	src = src[1:]
	s.special |= head >> 2 & 7
	if head&1 == 0 {
		return src, nil
	}
	e, k := binary.Varint(src)
	if k <= 0 {
		return nil, fmt.Errorf("cut off in the exponent: %w", ErrEncoding)
	}
	size, l := binary.Uvarint(src[k:])
	if l <= 0 || size > uint64(len(src)-k-l) {
		return nil, fmt.Errorf("cut off in the magnitude: %w", ErrEncoding)
	}
	src, n := src[k+l:], int(size)
	const first = -bias / limbBits
	if e < first || e > limbs || int(e)-first+(n+3)/4+2 > limbs {
		return nil, fmt.Errorf("exponent %d with %d bytes: %w", e, n, ErrEncoding)
	}
	for at := 0; at < n; at += 4 {
		var w [4]byte
		copy(w[:], src[at:min(at+4, n)])
		s.add(head&2 != 0, uint64(binary.LittleEndian.Uint32(w[:])), int(e)*limbBits+at*8)
	}
	return src[n:], nil
}
