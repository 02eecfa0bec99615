package normalize_test

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/edge/normalize"
)

func float(f float64) telemetry.Value {
	return telemetry.Value{Kind: telemetry.Float64, Bits: math.Float64bits(f)}
}

func integer(i int64) telemetry.Value {
	return telemetry.Value{Kind: telemetry.Int64, Bits: uint64(i)}
}

func must(s normalize.Scale, err error) normalize.Scale {
	if err != nil {
		panic(err)
	}
	return s
}

// TestLoop walks along a loop of 0 to 200 degC whose current comes in µA.
func TestLoop(t *testing.T) {
	loop := must(normalize.Current(0.001, 0, 0, 200))
	low := quality.UncertainSensorNotAccurate.WithLimit(quality.Low)
	high := quality.UncertainSensorNotAccurate.WithLimit(quality.High)
	for _, tt := range []struct {
		microampere int64
		want        telemetry.Value
		code        quality.Code
	}{
		{0, telemetry.Value{}, quality.BadSensorFailure},
		{3599, telemetry.Value{}, quality.BadSensorFailure},
		{3600, telemetry.Value{}, quality.BadSensorFailure}, // NE 43: failure is 3.6 mA and below
		{3601, float(-4.9875), low},
		{3799, float(-2.5125), low},
		{3800, float(-2.5), quality.Good}, // NE 43: the measurement begins at 3.8 mA
		{4000, float(0), quality.Good},
		{12000, float(100), quality.Good},
		{20000, float(200), quality.Good},
		{20500, float(206.25), quality.Good}, // and ends at 20.5 mA
		{20501, float(206.2625), high},
		{20999, float(212.4875), high},
		{21000, telemetry.Value{}, quality.BadSensorFailure}, // NE 43: failure is 21 mA and above
		{25000, telemetry.Value{}, quality.BadSensorFailure},
		{-1, telemetry.Value{}, quality.BadSensorFailure},
	} {
		t.Run(fmt.Sprintf("%d µA", tt.microampere), func(t *testing.T) {
			got, code := must(loop.Rounded(6)).Apply(integer(tt.microampere))
			if got != tt.want || code != tt.code {
				t.Errorf("got %v, %v; want %v, %v", math.Float64frombits(got.Bits), code, math.Float64frombits(tt.want.Bits), tt.code)
			}
		})
	}
}

// TestLoopLimitsAreDecimal: 35000 times 0.0006 is 21 mA, the failure signal, and
// in binary a little less, which would be a measurement.
func TestLoopLimitsAreDecimal(t *testing.T) {
	loop := must(normalize.Current(0.0006, 0, 0, 200))
	if v, code := loop.Apply(integer(35000)); code != quality.BadSensorFailure {
		t.Errorf("21 mA is %v, %v; want BadSensorFailure", math.Float64frombits(v.Bits), code)
	}
}

func TestInvertedLoop(t *testing.T) {
	loop := must(normalize.Current(1, 0, 100, 0)) // 4 mA is 100 %, 20 mA is 0 %
	if v, code := loop.Apply(float(8)); v != float(75) || code != quality.Good {
		t.Errorf("8 mA is %v, %v; want 75, Good", math.Float64frombits(v.Bits), code)
	}
	// The limit bits speak of the value: the lowest current is the highest value.
	if _, code := loop.Apply(float(3.7)); code != quality.UncertainSensorNotAccurate.WithLimit(quality.High) {
		t.Errorf("3.7 mA is %v, want high limited", code)
	}
	if _, code := loop.Apply(float(20.8)); code != quality.UncertainSensorNotAccurate.WithLimit(quality.Low) {
		t.Errorf("20.8 mA is %v, want low limited", code)
	}
}

func TestLinear(t *testing.T) {
	for _, tt := range []struct {
		name  string
		scale normalize.Scale
		raw   telemetry.Value
		want  telemetry.Value
		code  quality.Code
	}{
		{"a scaled count", must(normalize.Linear(0.1, -40)), integer(655), float(25.5), quality.Good},
		{"a count that is not scaled stays a count", must(normalize.Linear(1, 0)), integer(math.MaxInt64), integer(math.MaxInt64), quality.Good},
		{"the zero scale", normalize.Scale{}, float(math.Copysign(0, -1)), float(math.Copysign(0, -1)), quality.Good},
		{"a bit is not scaled", must(normalize.Linear(10, 1)), telemetry.Value{Kind: telemetry.Bool, Bits: 1}, telemetry.Value{Kind: telemetry.Bool, Bits: 1}, quality.Good},
		{"a text is not scaled", must(normalize.Linear(10, 1)), telemetry.Value{Kind: telemetry.String, Str: "x"}, telemetry.Value{Kind: telemetry.String, Str: "x"}, quality.Good},
		{"a number that is none", normalize.Scale{}, float(math.NaN()), telemetry.Value{}, quality.BadSensorFailure},
		{"an infinity", must(normalize.Linear(2, 0)), float(math.Inf(-1)), telemetry.Value{}, quality.BadSensorFailure},
		{"a scale that leaves float64", must(normalize.Linear(1e300, 0)), float(1e300), telemetry.Value{}, quality.BadConfigurationError},
		{"decimals", must(must(normalize.Linear(0.001, 0)).Rounded(2)), integer(72436), float(72.44), quality.Good},
		{"decimals of a float32", must(normalize.Scale{}.Rounded(1)), float(float64(float32(72.4))), float(72.4), quality.Good},
		{"decimals leave no sign on a zero", must(normalize.Scale{}.Rounded(1)), float(-0.04), float(0), quality.Good},
		{"decimals do not make a count a float", must(normalize.Scale{}.Rounded(1)), integer(7), integer(7), quality.Good},
		{"a number too large for decimals", must(normalize.Scale{}.Rounded(6)), float(1e300), float(1e300), quality.Good},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, code := tt.scale.Apply(tt.raw); got != tt.want || code != tt.code {
				t.Errorf("got %+v (%v), %v; want %+v, %v", got, math.Float64frombits(got.Bits), code, tt.want, tt.code)
			}
		})
	}
}

func TestScalesThatNoTagCouldUse(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, tt := range []struct{ factor, offset float64 }{{0, 0}, {nan, 0}, {inf, 0}, {1, nan}, {1, inf}} {
		if _, err := normalize.Linear(tt.factor, tt.offset); !errors.Is(err, normalize.ErrBadScale) {
			t.Errorf("Linear(%v, %v) error = %v, want ErrBadScale", tt.factor, tt.offset, err)
		}
		if _, err := normalize.Current(tt.factor, tt.offset, 0, 1); !errors.Is(err, normalize.ErrBadScale) {
			t.Errorf("Current(%v, %v, 0, 1) error = %v, want ErrBadScale", tt.factor, tt.offset, err)
		}
	}
	for _, tt := range []struct{ low, high float64 }{{5, 5}, {nan, 1}, {0, inf}, {-math.MaxFloat64, math.MaxFloat64}} {
		if _, err := normalize.Current(1, 0, tt.low, tt.high); !errors.Is(err, normalize.ErrBadScale) {
			t.Errorf("Current(1, 0, %v, %v) error = %v, want ErrBadScale", tt.low, tt.high, err)
		}
	}
	for _, d := range []int{-1, 13} {
		if _, err := (normalize.Scale{}).Rounded(d); !errors.Is(err, normalize.ErrBadScale) {
			t.Errorf("Rounded(%d) error = %v, want ErrBadScale", d, err)
		}
	}
}

// TestBadHasNoValue: whatever comes in, Bad and a value never go together, and
// a value that goes out is a finite number.
func TestBadHasNoValue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		num := rapid.Float64()
		scale, err := normalize.Linear(num.Draw(t, "factor"), num.Draw(t, "offset"))
		if rapid.Bool().Draw(t, "loop") {
			scale, err = normalize.Current(num.Draw(t, "factor"), num.Draw(t, "offset"), num.Draw(t, "low"), num.Draw(t, "high"))
		}
		if err != nil {
			return
		}
		v, code := scale.Apply(float(num.Draw(t, "raw")))
		if bad := code.Status() == quality.IsBad; bad != (v.Kind == telemetry.Null) {
			t.Fatalf("%+v, %v", v, code)
		}
		if x := math.Float64frombits(v.Bits); math.IsNaN(x) || math.IsInf(x, 0) {
			t.Fatalf("%v, %v", x, code)
		}
	})
}
