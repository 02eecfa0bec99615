package exact

import (
	"math"
	"math/big"
	"math/bits"
	"slices"
)

// Float64 returns the sum, rounded once.
func (s *Sum) Float64() float64 { return s.Quo(1) }

// Quo returns the sum divided by n, rounded once. n is not 0.
func (s *Sum) Quo(n uint64) float64 {
	if v, ok := s.notFinite(); ok {
		return v
	}
	neg, word, e := s.magnitude()
	if len(word) == 0 {
		return 0
	}
	hi, lo, e, rest := top(word, e)
	// The 128 highest bits, divided: the quotient keeps at least 64 bits, and
	// what was cut off only matters as "not zero".
	q1, r := hi/n, hi%n
	q0, r := bits.Div64(r, lo, n)
	return round(neg, q1, q0, e, rest || r != 0)
}

// notFinite returns the sum if a NaN or an infinity decides it.
func (s *Sum) notFinite() (float64, bool) {
	switch s.special {
	case 0:
		return 0, false
	case hasPlusInf:
		return math.Inf(1), true
	case hasMinusInf:
		return math.Inf(-1), true
	}
	return math.NaN(), true
}

// magnitude returns |s| as 32-bit words, lowest first, in units of 2^e, without
// zero words at either end.
func (s *Sum) magnitude() (neg bool, word []uint32, e int) {
	s.carry()
	if s.lo == s.hi {
		return false, nil, 0
	}
	neg = s.limb[s.hi-1] < 0
	word = make([]uint32, 0, 8)
	borrow := int64(0)
	for i := s.lo; i < s.hi; i++ {
		v := s.limb[i]
		if neg {
			v = -v - borrow
			borrow = 0
			if v < 0 && i < s.hi-1 {
				v, borrow = v+1<<limbBits, 1
			}
		}
		word = append(word, uint32(v))
		if h := v >> limbBits; h != 0 && i == s.hi-1 {
			word = append(word, uint32(h))
		}
	}
	lo := 0
	for lo < len(word) && word[lo] == 0 {
		lo++
	}
	hi := len(word)
	for hi > lo && word[hi-1] == 0 {
		hi--
	}
	return neg, word[lo:hi], (s.lo+lo)*limbBits - bias
}

// top returns the 128 highest bits of a number without leading zero word, in
// units of 2^e, and whether anything was left below.
func top(word []uint32, unit int) (hi, lo uint64, e int, rest bool) {
	n := len(word)
	at := func(i int) uint64 {
		if i < 0 {
			return 0
		}
		return uint64(word[i])
	}
	hi = at(n-1)<<32 | at(n-2)
	lo = at(n-3)<<32 | at(n-4)
	low := at(n - 5)
	e = unit + (n-4)*limbBits
	if z := bits.LeadingZeros64(hi); z > 0 { // z < 32: the highest word is not 0
		hi = hi<<z | lo>>(64-z)
		lo = lo<<z | low>>(32-z)
		low = low << z & mask
		e -= z
	}
	rest = low != 0
	for i := n - 6; i >= 0 && !rest; i-- {
		rest = word[i] != 0
	}
	return hi, lo, e, rest
}

// round returns ±(hi·2^64 + lo)·2^e, with a little more if rest, as the nearest
// float64, ties to even.
func round(neg bool, hi, lo uint64, e int, rest bool) float64 {
	if hi == 0 {
		hi, lo, e = lo, 0, e-64
	}
	if hi == 0 {
		return 0
	}
	if z := bits.LeadingZeros64(hi); z > 0 {
		hi = hi<<z | lo>>(64-z)
		lo <<= z
		e -= z
	}
	e += 64 // the value is hi·2^e, hi with its highest bit set
	keep := 53
	if exp := e + 63; exp < -1022 { // denormal: fewer bits
		keep = max(0, 53-(-1022-exp))
	}
	cut := uint(64 - keep)
	var m, below uint64 // below: what is cut, highest bit first
	if cut == 64 {
		if e+64 < -1074 { // below half of the smallest denormal
			return math.Copysign(0, sign(neg))
		}
		m, below = 0, hi
	} else {
		m, below = hi>>cut, hi<<(64-cut)
	}
	const half = 1 << 63
	if below > half || below == half && (lo != 0 || rest || m&1 == 1) {
		m++
	}
	v := math.Ldexp(float64(m), e+int(cut)) // exact: m has at most 53 bits
	return math.Copysign(v, sign(neg))
}

func sign(neg bool) float64 {
	if neg {
		return -1
	}
	return 1
}

// Variance returns (n·squares - sum²) / (n·divisor), rounded once: the variance
// of n values with their exact sum and their exact sum of squares. n and
// divisor are not 0.
func Variance(sum, squares *Sum, n, divisor uint64) float64 {
	if sum.special|squares.special != 0 {
		return math.NaN()
	}
	a, b := squares.rat(), sum.rat()
	a.Mul(a, new(big.Rat).SetInt(new(big.Int).SetUint64(n)))
	a.Sub(a, b.Mul(b, b))
	d := new(big.Int).SetUint64(n)
	a.Quo(a, new(big.Rat).SetInt(d.Mul(d, new(big.Int).SetUint64(divisor))))
	v, _ := a.Float64()
	return v
}

func (s *Sum) rat() *big.Rat {
	neg, word, e := s.magnitude()
	i := new(big.Int)
	for _, w := range slices.Backward(word) {
		i.Lsh(i, limbBits).Or(i, big.NewInt(int64(w)))
	}
	if neg {
		i.Neg(i)
	}
	if e >= 0 {
		return new(big.Rat).SetInt(i.Lsh(i, uint(e)))
	}
	return new(big.Rat).SetFrac(i, new(big.Int).Lsh(big.NewInt(1), uint(-e)))
}
