package exact

import (
	"bytes"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twinlog/twinlog/test/budget"
)

// anyFloat draws all over the format: plant values, huge, tiny, denormal.
func anyFloat(r *rand.Rand) float64 {
	switch r.IntN(6) {
	case 0:
		return float64(r.IntN(20001)-10000) / 10
	case 1:
		return math.Float64frombits(r.Uint64()&^(0x7ff<<52) | uint64(r.IntN(2047))<<52)
	case 2:
		return math.Float64frombits(r.Uint64() &^ (0x7ff << 52)) // denormal
	case 3:
		return math.Copysign(math.MaxFloat64, r.Float64()-0.5)
	case 4:
		return math.Copysign(0, r.Float64()-0.5)
	}
	return (r.Float64() - 0.5) * math.Pow(10, float64(r.IntN(60)-30))
}

func rat(v float64) *big.Rat { return new(big.Rat).SetFloat64(v) }

// TestAgainstRationals compares sums, products, scaled sums, quotients and
// variances with arbitrary-precision rationals, which round the same way.
func TestAgainstRationals(t *testing.T) {
	r := rand.New(rand.NewPCG(budget.Seed(t), 1))
	count := 0
	for end := time.Now().Add(budget.For(t) / 8); time.Now().Before(end); count++ {
		var sum, squares Sum
		want, wantSquares := new(big.Rat), new(big.Rat)
		n := 1 + r.IntN(40)
		tiny := r.IntN(3) == 0
		for range n {
			v := anyFloat(r)
			if tiny {
				v = math.Float64frombits(r.Uint64()&^(0x7ff<<52) | uint64(r.IntN(60))<<52)
			}
			sum.Add(v)
			want.Add(want, rat(v))
			squares.AddProduct(v, v)
			wantSquares.Add(wantSquares, new(big.Rat).Mul(rat(v), rat(v)))
			if r.IntN(4) == 0 {
				k := int64(r.Uint64())
				sum.AddScaled(v, k)
				want.Add(want, new(big.Rat).Mul(rat(v), new(big.Rat).SetInt64(k)))
				sum.AddInt(k)
				want.Add(want, new(big.Rat).SetInt64(k))
			}
		}
		d := 1 + r.Uint64N(1<<uint(1+r.IntN(63)))
		exactly, _ := want.Float64()
		same(t, "sum", sum.Float64(), exactly)
		quotient, _ := new(big.Rat).Quo(want, new(big.Rat).SetInt(new(big.Int).SetUint64(d))).Float64()
		same(t, "quotient", sum.Quo(d), quotient)
		all, _ := wantSquares.Float64()
		same(t, "squares", squares.Float64(), all)
	}
	t.Logf("%d sums", count)
}

func same(t *testing.T, what string, got, want float64) {
	t.Helper()
	if got == 0 && want == 0 {
		return // a sum of zeros is +0; big.Rat has no sign of zero
	}
	if math.Float64bits(got) != math.Float64bits(want) {
		t.Fatalf("%s is %v (%#x), want %v (%#x)", what, got, math.Float64bits(got), want, math.Float64bits(want))
	}
}

// TestOrderAndGrouping is the promise: permuted, split and merged inputs give
// identical bits, in memory and encoded.
func TestOrderAndGrouping(t *testing.T) {
	r := rand.New(rand.NewPCG(budget.Seed(t), 2))
	for range 300 {
		values := make([]float64, 1+r.IntN(200))
		for i := range values {
			values[i] = anyFloat(r)
		}
		var whole Sum
		for _, v := range values {
			whole.Add(v)
			whole.AddProduct(v, v)
		}
		r.Shuffle(len(values), func(i, j int) { values[i], values[j] = values[j], values[i] })
		parts := make([]Sum, 1+r.IntN(8))
		for _, v := range values {
			p := &parts[r.IntN(len(parts))]
			p.AddProduct(v, v)
			p.Add(v)
		}
		var merged, decoded Sum
		for i := range parts {
			merged.Merge(&parts[i])
			rest, err := decoded.AddBinary(append(parts[i].Append(nil), 0xEE))
			if err != nil || !bytes.Equal(rest, []byte{0xEE}) {
				t.Fatalf("rest %x, error %v", rest, err)
			}
		}
		want := whole.Append(nil)
		for name, s := range map[string]*Sum{"merged": &merged, "decoded": &decoded} {
			if got := s.Append(nil); !bytes.Equal(got, want) {
				t.Fatalf("%s is %x, the whole is %x", name, got, want)
			}
			same(t, name, s.Float64(), whole.Float64())
		}
	}
}

func TestSpecialValues(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	for _, c := range []struct {
		name   string
		values []float64
		want   float64
	}{
		{"nothing is +0", nil, 0},
		{"negative zeros are +0", []float64{math.Copysign(0, -1), math.Copysign(0, -1)}, 0},
		{"an infinity decides", []float64{1, inf, -2}, inf},
		{"a negative infinity decides", []float64{1, -inf}, -inf},
		{"both infinities are NaN", []float64{inf, -inf}, nan},
		{"NaN decides", []float64{1, nan, inf}, nan},
		{"the largest cancel", []float64{math.MaxFloat64, math.MaxFloat64, -math.MaxFloat64, -math.MaxFloat64, 1}, 1},
		{"too large is infinite", []float64{math.MaxFloat64, math.MaxFloat64}, inf},
		{"a tie goes to even", []float64{1 << 53, 1}, 1 << 53},
		{"a little more than a tie goes up", []float64{1 << 53, 1, 0x1p-1074}, 1<<53 + 2},
	} {
		var s Sum
		for _, v := range c.values {
			s.Add(v)
		}
		if got := s.Float64(); math.Float64bits(got) != math.Float64bits(c.want) && !(math.IsNaN(got) && math.IsNaN(c.want)) {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
		if s.Reset(); s.Float64() != 0 || len(s.Append(nil)) != 1 {
			t.Errorf("%s: not 0 after Reset", c.name)
		}
	}
	var s Sum
	s.AddProduct(0, inf)
	if !math.IsNaN(s.Float64()) {
		t.Error("0 times infinity is not NaN")
	}
}

func TestVariance(t *testing.T) {
	var sum, squares Sum
	for _, v := range []float64{1e9 + 4, 1e9 + 7, 1e9 + 13, 1e9 + 16} { // where the textbook formula in float64 fails
		sum.Add(v)
		squares.AddProduct(v, v)
	}
	if got := Variance(&sum, &squares, 4, 3); got != 30 {
		t.Errorf("sample variance is %v, want 30", got)
	}
	if got := Variance(&sum, &squares, 4, 4); got != 22.5 {
		t.Errorf("population variance is %v, want 22.5", got)
	}
}

// FuzzAddBinary: no panic, and what decodes encodes to one form.
func FuzzAddBinary(f *testing.F) {
	var s Sum
	s.Add(-12.75)
	f.Add(s.Append(nil))
	f.Add([]byte{1, 0x87, 1, 2, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		var s, again Sum
		if _, err := s.AddBinary(b); err != nil {
			return
		}
		one := s.Append(nil)
		if _, err := again.AddBinary(one); err != nil || !bytes.Equal(again.Append(nil), one) {
			t.Fatalf("%x decodes to %x and back to %x, %v", b, one, again.Append(nil), err)
		}
	})
}

func BenchmarkAdd(b *testing.B) {
	var s Sum
	for i := 0; b.Loop(); i++ {
		s.Add(float64(i&1023) / 10)
	}
}
