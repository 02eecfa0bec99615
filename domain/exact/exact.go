// Package exact adds floating-point numbers without rounding, so that a sum is
// the same bits whatever the order, the grouping and the machine.
//
// A Sum is a fixed-point number wide enough for every float64, every product
// of two and every float64 times an int64 (a Kulisch accumulator). It is
// rounded once, when it is asked for (IEEE 754 roundTiesToEven).
//
// NaN and infinities are remembered apart: a sum with a NaN, or with both
// infinities, is NaN; with one, that infinity. A sum of zeros is +0, whatever
// their signs.
package exact

import (
	"math"
	"math/bits"
)

const (
	limbBits = 32
	// bias puts the product of the two smallest denormals, 2^-2148, into limb 0;
	// the top limb leaves room for 2^63 products of the two largest float64.
	bias  = 2176
	limbs = 2 * bias / limbBits
	mask  = 1<<limbBits - 1
	// maxAdds keeps every limb, which grows by less than 2^32 an addition, far
	// from overflow before carries are taken.
	maxAdds = 1 << 30
)

const (
	hasNaN = 1 << iota
	hasPlusInf
	hasMinusInf
)

// Sum is an exact sum. The zero Sum is 0. It is about 1 kB: pass pointers.
type Sum struct {
	limb    [limbs]int64 // limb i weighs 2^(32 i - bias)
	lo, hi  int          // limbs outside [lo, hi) are zero
	adds    int          // additions since carries were taken
	special uint8
}

// Reset makes s 0 again.
func (s *Sum) Reset() {
	clear(s.limb[s.lo:s.hi])
	s.lo, s.hi, s.adds, s.special = 0, 0, 0, 0
}

// Add adds v.
func (s *Sum) Add(v float64) {
	neg, m, e, ok := s.split(v)
	if ok {
		s.add(neg, m, e)
	}
}

// AddInt adds i.
func (s *Sum) AddInt(i int64) { s.add(i < 0, magnitude(i), 0) }

// AddProduct adds a times b, exactly.
func (s *Sum) AddProduct(a, b float64) {
	if p := float64(a * b); math.IsNaN(p) || math.IsInf(a, 0) || math.IsInf(b, 0) {
		s.note(p)
		return
	}
	an, am, ae, _ := s.split(a)
	bn, bm, be, _ := s.split(b)
	hi, lo := bits.Mul64(am, bm)
	s.addWide(an != bn, hi, lo, ae+be)
}

// AddScaled adds v times n, exactly: a value times a duration.
func (s *Sum) AddScaled(v float64, n int64) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		s.note(float64(v * float64(n))) // infinity times 0 is NaN
		return
	}
	neg, m, e, _ := s.split(v)
	hi, lo := bits.Mul64(m, magnitude(n))
	s.addWide(neg != (n < 0), hi, lo, e)
}

// Merge adds t to s. t keeps its value.
func (s *Sum) Merge(t *Sum) {
	s.special |= t.special
	if t.lo == t.hi {
		return
	}
	t.carry()
	s.carry()
	s.reach(t.lo, t.hi)
	for i := t.lo; i < t.hi; i++ {
		s.limb[i] += t.limb[i]
	}
	s.adds = 2
}

// split takes v apart into sign, integer mantissa and exponent. NaN and
// infinities are noted in s and give ok false.
func (s *Sum) split(v float64) (neg bool, m uint64, e int, ok bool) {
	b := math.Float64bits(v)
	e = int(b >> 52 & 0x7ff)
	m = b & (1<<52 - 1)
	switch e {
	case 0x7ff:
		s.note(v)
		return false, 0, 0, false
	case 0:
		e = 1
	default:
		m |= 1 << 52
	}
	return b>>63 != 0, m, e - 1075, true
}

func (s *Sum) note(v float64) {
	switch {
	case math.IsNaN(v):
		s.special |= hasNaN
	case v > 0:
		s.special |= hasPlusInf
	default:
		s.special |= hasMinusInf
	}
}

// add adds ±m·2^e.
func (s *Sum) add(neg bool, m uint64, e int) {
	if m == 0 {
		return
	}
	if s.adds >= maxAdds {
		s.carry()
	}
	s.adds++
	at := e + bias
	i, shift := at/limbBits, uint(at%limbBits)
	s.reach(i, i+3)
	low := m << shift
	a, b, c := int64(low&mask), int64(low>>limbBits), int64(m>>1>>(63-shift))
	if neg {
		a, b, c = -a, -b, -c
	}
	s.limb[i] += a
	s.limb[i+1] += b
	s.limb[i+2] += c
}

// addWide adds ±(hi·2^64 + lo)·2^e; hi is less than 2^63.
func (s *Sum) addWide(neg bool, hi, lo uint64, e int) {
	if hi == 0 {
		s.add(neg, lo, e)
		return
	}
	if s.adds >= maxAdds {
		s.carry()
	}
	s.adds++
	at := e + bias
	i, shift := at/limbBits, uint(at%limbBits)
	s.reach(i, i+5)
	l := (*[5]int64)(s.limb[i:])
	a, b := lo<<shift, hi<<shift|lo>>1>>(63-shift)
	top := int64(hi >> 1 >> (63 - shift))
	if neg {
		l[0] -= int64(a & mask)
		l[1] -= int64(a >> limbBits)
		l[2] -= int64(b & mask)
		l[3] -= int64(b >> limbBits)
		l[4] -= top
		return
	}
	l[0] += int64(a & mask)
	l[1] += int64(a >> limbBits)
	l[2] += int64(b & mask)
	l[3] += int64(b >> limbBits)
	l[4] += top
}

func (s *Sum) reach(lo, hi int) {
	if s.lo == s.hi {
		s.lo, s.hi = lo, hi
		return
	}
	s.lo, s.hi = min(s.lo, lo), max(s.hi, hi)
}

// carry brings every limb but the highest into [0, 2^32); the highest keeps the
// sign.
func (s *Sum) carry() {
	s.adds = 0
	for i := s.lo; i < s.hi; i++ {
		v := s.limb[i]
		if i == s.hi-1 {
			if v >= -1<<31 && v < 1<<31 || s.hi == limbs {
				break
			}
			s.hi++
		}
		s.limb[i] = v & mask
		s.limb[i+1] += v >> limbBits
	}
}

func magnitude(i int64) uint64 {
	if i < 0 {
		return -uint64(i)
	}
	return uint64(i)
}
