package columnar

import (
	"encoding/binary"
	"math"
)

// How a column of float64 is written. The numbers are on disk.
const (
	floatDecimal   = 0 // m / 10^e, rounded to the nearest float64
	floatDecimal32 = 1 // m / 10^e, rounded to float64, then to float32
	floatBits32    = 2 // every value is a float32
	floatBits64    = 3
)

// maxExponent is the largest e: up to 10^22 is an exact float64, but a plant
// value has no more than a dozen decimals.
const maxExponent = 12

// maxMantissa bounds |m|: below it every integer is an exact float64.
const maxMantissa = 1 << 53

func powers() [maxExponent + 1]float64 {
	return [...]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12}
}

// Floats codes columns of float64, given as IEEE 754 bits. Scratch memory only.
type Floats struct {
	ints   Ints
	m      []int64
	except []int
}

// Append appends the coded column to dst.
func (c *Floats) Append(dst []byte, v []uint64) []byte {
	if len(v) == 0 {
		return dst
	}
	narrow := true
	for _, b := range v {
		f := math.Float64frombits(b)
		if math.Float64bits(float64(float32(f))) != b {
			narrow = false
			break
		}
	}
	if e, ok := c.decimal(v, false); ok {
		return c.appendDecimal(append(dst, floatDecimal, byte(e)), v)
	}
	if narrow {
		if e, ok := c.decimal(v, true); ok {
			return c.appendDecimal(append(dst, floatDecimal32, byte(e)), v)
		}
		c.m = c.m[:0]
		for _, b := range v {
			c.m = append(c.m, ordered32(math.Float32bits(float32(math.Float64frombits(b)))))
		}
		return c.ints.Append(append(dst, floatBits32), c.m)
	}
	c.m = c.m[:0]
	for _, b := range v {
		c.m = append(c.m, ordered64(b))
	}
	return c.ints.Append(append(dst, floatBits64), c.m)
}

// ordered64 and ordered32 map float bits to integers in the order of the
// numbers, so that neighbouring values have small differences. Each is its own
// inverse.
func ordered64(b uint64) int64 { return int64(b ^ uint64(int64(b)>>63)>>1) }

func ordered32(b uint32) int64 { return int64(int32(b ^ uint32(int32(b)>>31)>>1)) }

// decimal looks for the smallest exponent at which (nearly) all values are short
// decimals, and leaves their mantissas in c.m and the places of the others in
// c.except.
func (c *Floats) decimal(v []uint64, narrow bool) (int, bool) {
	p := powers()
	e := 0
	allowed := len(v) / 32
	for {
		c.m, c.except = c.m[:0], c.except[:0]
		last := int64(0)
		again := false
		for i, b := range v {
			m, ok := mantissa(b, p[e], narrow)
			if !ok {
				if next := exponentOf(b, e, &p, narrow); next > e {
					e, again = next, true
					break
				}
				if c.except = append(c.except, i); len(c.except) > allowed {
					return 0, false
				}
				m = last // costs nothing
			}
			last = m
			c.m = append(c.m, m)
		}
		if !again {
			return e, true
		}
	}
}

// exponentOf returns the smallest exponent from e on at which the value is a
// decimal, or 0.
func exponentOf(b uint64, e int, p *[maxExponent + 1]float64, narrow bool) int {
	limit := maxExponent
	if narrow {
		limit = 7 // a float32 has 7 digits
	}
	for ; e <= limit; e++ {
		if _, ok := mantissa(b, p[e], narrow); ok {
			return e
		}
	}
	return 0
}

// mantissa returns m with m / p = the value, bit for bit. So -0, NaN and the
// infinities have none.
func mantissa(b uint64, p float64, narrow bool) (int64, bool) {
	r := math.RoundToEven(math.Float64frombits(b) * p)
	if !(r > -maxMantissa && r < maxMantissa) {
		return 0, false
	}
	m := int64(r)
	return m, fromDecimal(m, p, narrow) == b
}

func fromDecimal(m int64, p float64, narrow bool) uint64 {
	f := float64(m) / p
	if narrow {
		f = float64(float32(f))
	}
	return math.Float64bits(f)
}

func (c *Floats) appendDecimal(dst []byte, v []uint64) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(c.except)))
	at := 0
	for _, i := range c.except {
		dst = binary.AppendUvarint(dst, uint64(i-at))
		dst = binary.LittleEndian.AppendUint64(dst, v[i])
		at = i
	}
	return c.ints.Append(dst, c.m)
}

// Decode fills dst from src and returns what follows the column.
func (c *Floats) Decode(src []byte, dst []uint64) ([]byte, error) {
	if len(dst) == 0 {
		return src, nil
	}
	if len(src) == 0 {
		return nil, corrupt("no column")
	}
	if cap(c.m) < len(dst) {
		c.m = make([]int64, len(dst))
	}
	m := c.m[:len(dst)]
	mode, src := src[0], src[1:]
	switch mode {
	case floatDecimal, floatDecimal32:
		return c.decodeDecimal(src, dst, m, mode == floatDecimal32)
	case floatBits32, floatBits64:
		src, err := c.ints.Decode(src, m)
		if err != nil {
			return nil, err
		}
		for i, x := range m {
			if mode == floatBits64 {
				dst[i] = uint64(ordered64(uint64(x)))
			} else {
				dst[i] = math.Float64bits(float64(math.Float32frombits(uint32(ordered32(uint32(x))))))
			}
		}
		return src, nil
	}
	return nil, corrupt("unknown float mode")
}

func (c *Floats) decodeDecimal(src []byte, dst []uint64, m []int64, narrow bool) ([]byte, error) {
	if len(src) == 0 || src[0] > maxExponent {
		return nil, corrupt("decimal exponent")
	}
	all := powers()
	p, src := all[src[0]], src[1:]
	n, src, err := uvarint(src)
	if err != nil {
		return nil, err
	}
	exceptions := src
	for range n {
		if _, src, err = uvarint(src); err != nil {
			return nil, err
		}
		if len(src) < 8 {
			return nil, corrupt("cut off in the exceptions")
		}
		src = src[8:]
	}
	if src, err = c.ints.Decode(src, m); err != nil {
		return nil, err
	}
	for i, x := range m {
		dst[i] = fromDecimal(x, p, narrow)
	}
	at := uint64(0)
	for range n {
		var d uint64
		d, exceptions, _ = uvarint(exceptions) // read once above
		if at += d; d > uint64(len(dst)) || at >= uint64(len(dst)) {
			return nil, corrupt("exception beyond the column")
		}
		dst[at] = binary.LittleEndian.Uint64(exceptions)
		exceptions = exceptions[8:]
	}
	return src, nil
}
