package columnar

import (
	"encoding/binary"
)

// Bools codes columns of booleans, given as 0 and 1. Scratch memory only.
type Bools struct{}

// Append appends the coded column: the length of each run, starting with a run
// of zeros that may be empty, or, if that is shorter, one bit a value.
func (Bools) Append(dst []byte, v []uint64) []byte {
	if len(v) == 0 {
		return dst
	}
	mark := len(dst)
	dst = append(dst, 0)
	limit := mark + 1 + (len(v)+7)/8
	last, start := uint64(0), 0
	for i := 0; i <= len(v) && len(dst) <= limit; i++ {
		if i == len(v) || v[i] != last {
			dst = binary.AppendUvarint(dst, uint64(i-start))
			start = i
			last ^= 1
		}
	}
	if len(dst) <= limit {
		return dst
	}
	dst = append(dst[:mark], 1)
	for i := 0; i < len(v); i += 8 {
		var b byte
		for k, x := range v[i:min(i+8, len(v))] {
			b |= byte(x&1) << k
		}
		dst = append(dst, b)
	}
	return dst
}

// Decode fills dst from src and returns what follows the column.
func (Bools) Decode(src []byte, dst []uint64) ([]byte, error) {
	if len(dst) == 0 {
		return src, nil
	}
	if len(src) == 0 || src[0] > 1 {
		return nil, corrupt("unknown boolean mode")
	}
	mode, src := src[0], src[1:]
	if mode == 1 {
		if len(src) < (len(dst)+7)/8 {
			return nil, corrupt("cut off in the bits")
		}
		for i := range dst {
			dst[i] = uint64(src[i/8] >> (i % 8) & 1)
		}
		return src[(len(dst)+7)/8:], nil
	}
	for at, value := 0, uint64(0); at < len(dst); value ^= 1 {
		n, rest, err := uvarint(src)
		if err != nil {
			return nil, err
		}
		if src = rest; n > uint64(len(dst)-at) || n == 0 && at > 0 {
			return nil, corrupt("runs longer than the column")
		}
		for range n {
			dst[at] = value
			at++
		}
	}
	return src, nil
}

// Strings codes columns of strings. Scratch memory only.
type Strings struct {
	ints  Ints
	index []int64
}

// Append appends the coded column: the number of different strings, each with
// its length in the order of first appearance, and the column of their numbers.
func (c *Strings) Append(dst []byte, v []string) []byte {
	if len(v) == 0 {
		return dst
	}
	number := map[string]int64{}
	var distinct []string
	c.index = c.index[:0]
	for _, s := range v {
		n, ok := number[s]
		if !ok {
			n = int64(len(distinct))
			number[s] = n
			distinct = append(distinct, s)
		}
		c.index = append(c.index, n)
	}
	dst = binary.AppendUvarint(dst, uint64(len(distinct)))
	for _, s := range distinct {
		dst = AppendString(dst, s)
	}
	return c.ints.Append(dst, c.index)
}

// Decode fills dst from src and returns what follows the column. The strings do
// not share memory with src.
func (c *Strings) Decode(src []byte, dst []string) ([]byte, error) {
	if len(dst) == 0 {
		return src, nil
	}
	n, src, err := uvarint(src)
	if err != nil {
		return nil, err
	}
	if n > uint64(len(dst)) || n > uint64(len(src)) {
		return nil, corrupt("more strings than values")
	}
	distinct := make([]string, n)
	for i := range distinct {
		if distinct[i], src, err = ReadString(src); err != nil {
			return nil, err
		}
	}
	if cap(c.index) < len(dst) {
		c.index = make([]int64, len(dst))
	}
	index := c.index[:len(dst)]
	if src, err = c.ints.Decode(src, index); err != nil {
		return nil, err
	}
	for i, k := range index {
		if k < 0 || k >= int64(n) {
			return nil, corrupt("string number out of range")
		}
		dst[i] = distinct[k]
	}
	return src, nil
}

// AppendString appends the length in bytes as a varint, and the bytes.
func AppendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// ReadString reads what AppendString wrote and returns what follows.
func ReadString(src []byte) (string, []byte, error) {
	n, src, err := uvarint(src)
	if err != nil {
		return "", nil, err
	}
	if n > uint64(len(src)) {
		return "", nil, corrupt("cut off in a string")
	}
	return string(src[:n]), src[n:], nil
}

// Times codes columns of instants and durations in nanoseconds: the largest
// k <= 9 for which 10^k divides all of them, and the column of the quotients.
type Times struct {
	ints Ints
	v    []int64
}

// Append appends the coded column to dst.
func (c *Times) Append(dst []byte, v []int64) []byte {
	if len(v) == 0 {
		return dst
	}
	k, unit := byte(9), int64(1e9)
	for _, t := range v {
		for t%unit != 0 {
			unit /= 10
			k--
		}
	}
	if k == 0 {
		return c.ints.Append(append(dst, 0), v)
	}
	c.v = c.v[:0]
	for _, t := range v {
		c.v = append(c.v, t/unit)
	}
	return c.ints.Append(append(dst, k), c.v)
}

// Decode fills dst from src and returns what follows the column.
func (c *Times) Decode(src []byte, dst []int64) ([]byte, error) {
	if len(dst) == 0 {
		return src, nil
	}
	if len(src) == 0 || src[0] > 9 {
		return nil, corrupt("time unit")
	}
	unit := int64(1)
	for range src[0] {
		unit *= 10
	}
	rest, err := c.ints.Decode(src[1:], dst)
	if err != nil {
		return nil, err
	}
	for i := range dst {
		dst[i] *= unit
	}
	return rest, nil
}
