package columnar

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/twinlog/twinlog/test/budget"
)

// integers draws columns of every shape that plants have, and the worst ones.
func integers(r *rand.Rand, n int) []int64 {
	v := make([]int64, n)
	at := int64(r.Uint64())
	kind := r.IntN(8)
	for i := range v {
		switch kind {
		case 0: // constant
		case 1: // a clock with jitter
			at += 1000 + int64(r.NormFloat64()*2)
		case 2: // a walk
			at += int64(r.NormFloat64() * 3)
		case 3: // noise
			at = int64(r.Uint64())
		case 4: // states
			if r.IntN(40) == 0 {
				at = int64(r.IntN(5))
			}
		case 5: // mostly still, sometimes far away
			if r.IntN(10) == 0 {
				at += int64(r.Uint64() >> r.IntN(64))
			}
		case 6: // extremes
			at = []int64{math.MinInt64, math.MaxInt64, 0, -1, 1}[r.IntN(5)]
		case 7: // skewed: deep Huffman trees
			at += int64(1) << min(60, int(r.ExpFloat64()*3))
		}
		v[i] = at
	}
	return v
}

func floats(r *rand.Rand, n int) []uint64 {
	v := make([]uint64, n)
	kind, scale := r.IntN(7), math.Pow(10, float64(r.IntN(9)))
	at := r.NormFloat64() * 100
	for i := range v {
		at += r.NormFloat64()
		f := at
		switch kind {
		case 0:
			f = math.Round(at*scale) / scale
		case 1:
			f = float64(float32(math.Round(at*10) / 10))
		case 2:
			f = float64(float32(at))
		case 3:
			f = math.Float64frombits(r.Uint64())
		case 4: // decimals with strangers among them
			if f = math.Round(at*10) / 10; r.IntN(50) == 0 {
				f = []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(0, -1), math.Pi, 5e-324, math.MaxFloat64}[r.IntN(7)]
			}
		case 5:
			f = 0.1 * float64(r.IntN(100)) // 0.1·3 is no short decimal
		}
		v[i] = math.Float64bits(f)
	}
	return v
}

// TestRoundTrip: what was appended comes back bit for bit, and what follows is
// not touched.
func TestRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(budget.Seed(t), 1))
	var ints Ints
	var fl Floats
	var times Times
	var strs Strings
	tail := []byte{0xA5, 1, 2, 3, 4, 5, 6, 7, 8, 9}
	count := 0
	for end := time.Now().Add(budget.For(t) / 8); time.Now().Before(end); count++ {
		n := 1 + r.IntN(1+r.IntN(3000))
		v := integers(r, n)
		got := make([]int64, n)
		rest, err := ints.Decode(append(ints.Append([]byte{7}, v), tail...)[1:], got)
		check(t, "integers", slices.Equal(v, got), rest, tail, err)

		if r.IntN(2) == 0 {
			for i := range v {
				v[i] = v[i] % 1e12 * 1e6
			}
		}
		rest, err = times.Decode(append(times.Append(nil, v), tail...), got)
		check(t, "times", slices.Equal(v, got), rest, tail, err)

		f, back := floats(r, n), make([]uint64, n)
		rest, err = fl.Decode(append(fl.Append(nil, f), tail...), back)
		check(t, "floats", slices.Equal(f, back), rest, tail, err)

		p := 1 + r.IntN(200)
		for i := range f {
			f[i] = 0
			if r.IntN(p) == 0 {
				f[i] = 1
			}
		}
		rest, err = Bools{}.Decode(append(Bools{}.Append(nil, f), tail...), back)
		check(t, "booleans", slices.Equal(f, back), rest, tail, err)

		words, again := make([]string, n), make([]string, n)
		for i := range words {
			words[i] = fmt.Sprint(r.IntN(p))
		}
		rest, err = strs.Decode(append(strs.Append(nil, words), tail...), again)
		check(t, "strings", slices.Equal(words, again), rest, tail, err)
	}
	t.Logf("%d columns of each kind", count)
}

func check(t *testing.T, what string, equal bool, rest, tail []byte, err error) {
	t.Helper()
	if err != nil || !equal || !bytes.Equal(rest, tail) {
		t.Fatalf("%s: equal %v, rest %x, error %v", what, equal, rest, err)
	}
}

// TestFrozenBytes: columns on disk stay readable, and a rebuild writes the same.
func TestFrozenBytes(t *testing.T) {
	var ints Ints
	var fl Floats
	walk := make([]int64, 200)
	state := uint64(1)
	for i := range walk {
		state = state*6364136223846793005 + 1442695040888963407
		walk[i] = int64(i) + int64(state>>61)*int64(state>>62)
	}
	sum := func(b []byte) string {
		h := uint64(14695981039346656037)
		for _, c := range b {
			h = (h ^ uint64(c)) * 1099511628211
		}
		return fmt.Sprintf("%d bytes %016x", len(b), h)
	}
	float := func(v ...float64) (b []uint64) {
		for _, f := range v {
			b = append(b, math.Float64bits(f))
		}
		return b
	}
	for _, c := range []struct{ name, got, want string }{
		{"constant", fmt.Sprintf("%x", ints.Append(nil, []int64{-3, -3, -3})), "0005"},
		{"clock", fmt.Sprintf("%x", ints.Append(nil, []int64{1000, 2000, 3000, 4000})), "05d00f8080807d0000"},
		{"decimals", fmt.Sprintf("%x", fl.Append(nil, float(21.5, 21.6, 21.4))), "00010002ae03000206"},
		{"not decimals", fmt.Sprintf("%x", fl.Append(nil, float(math.Pi, math.E))), "0303b0b4a1c4eafe9089800100335dab5f92e1c506"},
		{"walk", sum(ints.Append(nil, walk)), "148 bytes 6ce9c39ab30e4428"},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, c.got, c.want)
		}
	}
}

// plant is a day's temperature with one decimal, as the reference's workload.
func plant(n int) (v []uint64, times []int64) {
	r := rand.New(rand.NewPCG(1, 2))
	at := 21.0
	for i := range n {
		at += r.NormFloat64() * 0.05
		v = append(v, math.Float64bits(math.Round(at*10)/10))
		times = append(times, (int64(i)*1000+int64(r.NormFloat64()*2))*1e6)
	}
	return v, times
}

func TestSize(t *testing.T) {
	var fl Floats
	var ts Times
	for _, n := range []int{262, 1024, 4096} {
		v, times := plant(n)
		a, b := len(fl.Append(nil, v)), len(ts.Append(nil, times))
		t.Logf("%d rows: value %.3f B, time %.3f B", n, float64(a)/float64(n), float64(b)/float64(n))
		if n >= 1024 && (float64(a)/float64(n) > 0.30 || float64(b)/float64(n) > 0.50) {
			t.Errorf("%d rows: %d bytes of values, %d of times", n, a, b)
		}
	}
}

func FuzzDecode(f *testing.F) {
	v, times := plant(300)
	f.Add(uint8(0), uint16(300), new(Floats).Append(nil, v))
	f.Add(uint8(1), uint16(300), new(Times).Append(nil, times))
	f.Add(uint8(2), uint16(3), new(Strings).Append(nil, []string{"a", "b", "a"}))
	f.Add(uint8(3), uint16(9), Bools{}.Append(nil, make([]uint64, 9)))
	f.Add(uint8(4), uint16(40), new(Ints).Append(nil, times[:40]))
	f.Fuzz(func(t *testing.T, kind uint8, n uint16, b []byte) {
		switch kind % 5 {
		case 0:
			_, _ = new(Floats).Decode(b, make([]uint64, n))
		case 1:
			_, _ = new(Times).Decode(b, make([]int64, n))
		case 2:
			_, _ = new(Strings).Decode(b, make([]string, n))
		case 3:
			_, _ = Bools{}.Decode(b, make([]uint64, n))
		default:
			_, _ = new(Ints).Decode(b, make([]int64, n))
		}
	})
}

// FuzzRoundTrip feeds arbitrary bits through every coder.
func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("0123456701234567"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var v []uint64
		var i []int64
		for ; len(b) >= 8; b = b[8:] {
			v = append(v, binary.LittleEndian.Uint64(b))
			i = append(i, int64(v[len(v)-1]))
		}
		back, again := make([]uint64, len(v)), make([]int64, len(i))
		if _, err := new(Floats).Decode(new(Floats).Append(nil, v), back); err != nil || !slices.Equal(v, back) {
			t.Fatalf("floats %x give %x, %v", v, back, err)
		}
		if _, err := new(Times).Decode(new(Times).Append(nil, i), again); err != nil || !slices.Equal(i, again) {
			t.Fatalf("times %x give %x, %v", i, again, err)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	v, _ := plant(1024)
	var fl Floats
	var dst []byte
	for b.Loop() {
		dst = fl.Append(dst[:0], v)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1024, "ns/value")
}

func BenchmarkDecode(b *testing.B) {
	v, _ := plant(1024)
	var fl Floats
	src := fl.Append(nil, v)
	for b.Loop() {
		if _, err := fl.Decode(src, v); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1024, "ns/value")
}
