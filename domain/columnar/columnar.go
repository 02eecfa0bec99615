// Package columnar packs columns of integers, floats, booleans and strings into
// few bytes, without losing a bit. docs/formats/columns.md draws every byte.
//
// It is a pure function of its input on every machine and in every version: a
// read model that is rebuilt is the same to the byte. Therefore the entropy
// coder is our own small canonical Huffman code and no library whose next
// release may choose other bytes.
//
// Neither the number of values nor a checksum is in a column: whoever stores it
// knows the one and has the other. A decoder never panics and never returns
// more values than it was asked for, whatever the bytes.
package columnar

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrCorrupt means bytes that no encoder here has written.
var ErrCorrupt = errors.New("corrupt column")

// MaxValues bounds one column, so that a corrupt count cannot ask for all
// memory.
const MaxValues = 1 << 22

func corrupt(what string) error { return fmt.Errorf("%s: %w", what, ErrCorrupt) }

func uvarint(src []byte) (uint64, []byte, error) {
	v, n := binary.Uvarint(src)
	if n <= 0 {
		return 0, nil, corrupt("cut off in a varint")
	}
	return v, src[n:], nil
}

func varint(src []byte) (int64, []byte, error) {
	v, n := binary.Varint(src)
	if n <= 0 {
		return 0, nil, corrupt("cut off in a varint")
	}
	return v, src[n:], nil
}

func zigzag(v int64) uint64   { return uint64(v<<1) ^ uint64(v>>63) }
func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }
