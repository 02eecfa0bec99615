package columnar

import (
	"encoding/binary"
	"math/bits"
)

// How a column of integers is written. The numbers are on disk. All arithmetic
// wraps around, so that every int64 comes back whatever the differences are.
const (
	modeConst  = 0 // one value
	modeRuns   = 1 // values and how often each is repeated
	modeDelta0 = 2 // residuals to the first value
	modeDelta1 = 3 // differences
	modeDelta2 = 4 // differences of differences
	modeLine   = 5 // residuals to the line from first to last
)

// Ints codes columns of integers. It holds only scratch memory: one per
// goroutine, the zero Ints is ready.
type Ints struct {
	residual []uint64
	tokens   tokens
	head     []int64
	runs     []int64
}

// Append appends the coded column v to dst.
func (c *Ints) Append(dst []byte, v []int64) []byte {
	if len(v) == 0 {
		return dst
	}
	runs := 1
	for i := 1; i < len(v); i++ {
		if v[i] != v[i-1] {
			runs++
		}
	}
	switch {
	case runs == 1:
		return binary.AppendVarint(append(dst, modeConst), v[0])
	case len(v) >= 16 && runs <= len(v)/16:
		return c.appendRuns(dst, v, runs)
	}
	mode := c.choose(v)
	dst = append(dst, mode)
	dst = binary.AppendVarint(dst, v[0])
	r := c.residual[:0]
	switch mode {
	case modeDelta0:
		for _, x := range v[1:] {
			r = append(r, zigzag(x-v[0]))
		}
	case modeDelta1:
		for i := 1; i < len(v); i++ {
			r = append(r, zigzag(v[i]-v[i-1]))
		}
	case modeDelta2:
		last := int64(0)
		for i := 1; i < len(v); i++ {
			d := v[i] - v[i-1]
			r = append(r, zigzag(d-last))
			last = d
		}
	case modeLine:
		step := slope(v)
		dst = binary.AppendVarint(dst, step)
		for i := 1; i < len(v); i++ {
			r = append(r, zigzag(v[i]-v[0]-int64(i)*step>>lineBits))
		}
	}
	c.residual = r
	return c.tokens.append(dst, r)
}

// lineBits is the binary fraction of a line's slope: rows of a day stay within
// one unit of the true line.
const lineBits = 17

func slope(v []int64) int64 {
	return (v[len(v)-1] - v[0]) << lineBits / int64(len(v)-1)
}

// choose returns the mode whose residuals have the fewest bits; the first of
// equals.
func (c *Ints) choose(v []int64) byte {
	var cost [4]int
	step := slope(v)
	last := int64(0)
	for i := 1; i < len(v); i++ {
		d := v[i] - v[i-1]
		cost[0] += bits.Len64(zigzag(v[i] - v[0]))
		cost[1] += bits.Len64(zigzag(d))
		cost[2] += bits.Len64(zigzag(d - last))
		cost[3] += bits.Len64(zigzag(v[i] - v[0] - int64(i)*step>>lineBits))
		last = d
	}
	best := 1 // differences, unless something is better
	for _, m := range []int{0, 2, 3} {
		if cost[m] < cost[best] {
			best = m
		}
	}
	return modeDelta0 + byte(best)
}

func (c *Ints) appendRuns(dst []byte, v []int64, runs int) []byte {
	dst = binary.AppendUvarint(append(dst, modeRuns), uint64(runs))
	values := append(c.head[:0], v[0])
	lengths := c.runs[:0]
	start := 0
	for i := 1; i < len(v); i++ {
		if v[i] != v[i-1] {
			lengths = append(lengths, int64(i-start))
			values = append(values, v[i])
			start = i
		}
	}
	c.head, c.runs = values, lengths
	for i, x := range values { // the last length follows from the count
		dst = binary.AppendVarint(dst, x)
		if i < len(lengths) {
			dst = binary.AppendUvarint(dst, uint64(lengths[i]))
		}
	}
	return dst
}

// Decode fills dst from src and returns what follows the column.
func (c *Ints) Decode(src []byte, dst []int64) ([]byte, error) {
	if len(dst) == 0 {
		return src, nil
	}
	if len(src) == 0 {
		return nil, corrupt("no column")
	}
	mode, src := src[0], src[1:]
	if mode == modeRuns {
		return decodeRuns(src, dst)
	}
	first, src, err := varint(src)
	if err != nil {
		return nil, err
	}
	dst[0] = first
	step := int64(0)
	switch mode {
	case modeConst:
		for i := range dst {
			dst[i] = first
		}
		return src, nil
	case modeDelta0, modeDelta1, modeDelta2:
	case modeLine:
		if step, src, err = varint(src); err != nil {
			return nil, err
		}
	default:
		return nil, corrupt("unknown integer mode")
	}
	if cap(c.residual) < len(dst) {
		c.residual = make([]uint64, len(dst))
	}
	r := c.residual[:len(dst)-1]
	if src, err = c.tokens.decode(src, r); err != nil {
		return nil, err
	}
	restore(dst, r, mode, first, step)
	return src, nil
}

func restore(dst []int64, r []uint64, mode byte, first, step int64) {
	rest := dst[1:]
	switch mode {
	case modeDelta0:
		for i, u := range r {
			rest[i] = first + unzigzag(u)
		}
	case modeDelta1:
		at := first
		for i, u := range r {
			at += unzigzag(u)
			rest[i] = at
		}
	case modeDelta2:
		at, d := first, int64(0)
		for i, u := range r {
			d += unzigzag(u)
			at += d
			rest[i] = at
		}
	case modeLine:
		for i, u := range r {
			rest[i] = first + int64(i+1)*step>>lineBits + unzigzag(u)
		}
	}
}

func decodeRuns(src []byte, dst []int64) ([]byte, error) {
	runs, src, err := uvarint(src)
	if err != nil {
		return nil, err
	}
	for at := 0; runs > 0; runs-- {
		var value int64
		if value, src, err = varint(src); err != nil {
			return nil, err
		}
		n := uint64(len(dst) - at)
		if runs > 1 {
			var k uint64
			if k, src, err = uvarint(src); err != nil {
				return nil, err
			}
			if k >= n {
				return nil, corrupt("runs longer than the column")
			}
			n = k
		}
		for range n {
			dst[at] = value
			at++
		}
	}
	return src, nil
}
