package deadband_test

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/edge/deadband"
)

func float(f float64) telemetry.Value {
	return telemetry.Value{Kind: telemetry.Float64, Bits: math.Float64bits(f)}
}

func integer(i int64) telemetry.Value {
	return telemetry.Value{Kind: telemetry.Int64, Bits: uint64(i)}
}

var t0 = time.Date(2026, 3, 1, 6, 0, 0, 0, time.UTC)

func TestPercent(t *testing.T) {
	// 1 % of -200..1400 degC is 16 degC. The range is the EURange example of
	// OPC 10000-8 §5.3.2.2.
	f, err := deadband.Percent(1, -200, 1400)
	if err != nil {
		t.Fatal(err)
	}
	inf := math.Inf(1)
	for _, tt := range []struct {
		sent, value float64
		want        bool
	}{
		{20, 20, false},
		{20, 36, false}, // exactly the width: strict comparison
		{20, 36.1, true},
		{20, 3.9, true},
		{math.NaN(), 20, true},
		{20, math.NaN(), true},
		{math.NaN(), math.NaN(), false},
		{inf, inf, false},
		{inf, -inf, true},
		{20, inf, true},
		{inf, 20, true},
	} {
		if got := f.Passes(tt.sent, tt.value); got != tt.want {
			t.Errorf("Passes(%v, %v) = %v, want %v", tt.sent, tt.value, got, tt.want)
		}
	}
}

func TestFiltersThatNoTagCouldUse(t *testing.T) {
	for _, tt := range []struct{ percent, low, high float64 }{
		{-1, 0, 1}, {101, 0, 1}, {math.NaN(), 0, 1}, {1, 5, 5}, {1, 9, 3}, {1, 0, math.Inf(1)}, {1, math.NaN(), 1}, {1, -math.MaxFloat64, math.MaxFloat64},
	} {
		if _, err := deadband.Percent(tt.percent, tt.low, tt.high); !errors.Is(err, deadband.ErrBadFilter) {
			t.Errorf("Percent(%v, %v, %v) error = %v, want ErrBadFilter", tt.percent, tt.low, tt.high, err)
		}
	}
	for _, width := range []float64{-1, math.NaN(), math.Inf(1)} {
		if _, err := deadband.Absolute(width); !errors.Is(err, deadband.ErrBadFilter) {
			t.Errorf("Absolute(%v) error = %v, want ErrBadFilter", width, err)
		}
	}
}

func TestRule(t *testing.T) {
	f, err := deadband.Absolute(1)
	if err != nil {
		t.Fatal(err)
	}
	text := func(s string) telemetry.Value { return telemetry.Value{Kind: telemetry.String, Str: s} }
	on, off := telemetry.Value{Kind: telemetry.Bool, Bits: 1}, telemetry.Value{Kind: telemetry.Bool}
	sent := deadband.Sent{Value: float(10), Quality: quality.Good, At: t0, Any: true}
	with := func(v telemetry.Value) deadband.Sent { s := sent; s.Value = v; return s }
	for _, tt := range []struct {
		name  string
		rule  deadband.Rule
		sent  deadband.Sent
		value telemetry.Value
		code  quality.Code
		after time.Duration
		want  bool
	}{
		{name: "the first sample", rule: deadband.Rule{Filter: f}, value: float(0), want: true},
		{name: "inside the width", rule: deadband.Rule{Filter: f}, sent: sent, value: float(10.5), after: time.Hour},
		{name: "outside the width", rule: deadband.Rule{Filter: f}, sent: sent, value: float(11.5), want: true},
		{name: "a change of quality with the same value", rule: deadband.Rule{Filter: f}, sent: sent, value: float(10), code: quality.UncertainLastUsableValue, want: true},
		{name: "a change of the limit bits alone", rule: deadband.Rule{Filter: f}, sent: sent, value: float(10), code: quality.Good.WithLimit(quality.High), want: true},
		{name: "a lost value", rule: deadband.Rule{Filter: f}, sent: sent, value: telemetry.Value{}, want: true},
		{name: "still no value", rule: deadband.Rule{Filter: f}, sent: with(telemetry.Value{}), value: telemetry.Value{}, after: time.Hour},
		{name: "just before the longest interval", rule: deadband.Rule{Filter: f, Longest: time.Minute}, sent: sent, value: float(10), after: time.Minute - 1},
		{name: "at the longest interval", rule: deadband.Rule{Filter: f, Longest: time.Minute}, sent: sent, value: float(10), after: time.Minute, want: true},
		{name: "an integer inside the width", rule: deadband.Rule{Filter: f}, sent: with(integer(10)), value: integer(11)},
		{name: "an integer outside the width", rule: deadband.Rule{Filter: f}, sent: with(integer(10)), value: integer(12), want: true},
		{name: "integers that no float64 tells apart", sent: with(integer(math.MaxInt64)), value: integer(math.MaxInt64 - 1), want: true},
		{name: "an equal integer", sent: with(integer(7)), value: integer(7)},
		{name: "a bit that flips has no width", rule: deadband.Rule{Filter: f}, sent: with(off), value: on, want: true},
		{name: "a bit that stays", sent: with(on), value: on},
		{name: "a text that changes", rule: deadband.Rule{Filter: f}, sent: with(text("a")), value: text("b"), want: true},
		{name: "a text that stays", sent: with(text("a")), value: text("a")},
		{name: "another kind of value", rule: deadband.Rule{Filter: f}, sent: with(integer(10)), value: float(10), want: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.rule.Passes(tt.sent, tt.value, tt.code, t0.Add(tt.after)); got != tt.want {
				t.Errorf("Passes = %v, want %v", got, tt.want)
			}
		})
	}
}

// TestNeverFurtherThanWidth is why the rule compares with the value sent:
// whatever the signal does, the server's view is never off by more than width,
// never has another quality, and is never older than the longest interval.
func TestNeverFurtherThanWidth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		width := rapid.Float64Range(0, 50).Draw(t, "width")
		longest := time.Duration(rapid.IntRange(0, 10).Draw(t, "longest")) * time.Second
		f, err := deadband.Absolute(width)
		if err != nil {
			t.Fatal(err)
		}
		rule := deadband.Rule{Filter: f, Longest: longest}
		var sent deadband.Sent
		at := t0
		signal := rapid.SliceOf(rapid.Float64Range(-500, 500)).Draw(t, "signal")
		for _, x := range signal {
			at = at.Add(time.Second)
			code, v := quality.Good, float(x)
			switch rapid.IntRange(0, 5).Draw(t, "mood") {
			case 0:
				code = quality.UncertainSensorNotAccurate
			case 1:
				code, v = quality.BadSensorFailure, telemetry.Value{}
			}
			if rule.Passes(sent, v, code, at) {
				sent = deadband.Sent{Value: v, Quality: code, At: at, Any: true}
			}
			if sent.Quality != code || sent.Value.Kind != v.Kind {
				t.Fatalf("server shows %v of quality %v, plant has %v of %v", sent.Value.Kind, sent.Quality, v.Kind, code)
			}
			if shown := math.Float64frombits(sent.Value.Bits); v.Kind == telemetry.Float64 && math.Abs(x-shown) > width {
				t.Fatalf("server shows %v, plant is %v, width %v", shown, x, width)
			}
			if longest > 0 && at.Sub(sent.At) >= longest {
				t.Fatalf("server shows what is %v old, longest %v", at.Sub(sent.At), longest)
			}
		}
	})
}

func ExampleAbsolute() {
	f, _ := deadband.Absolute(0.5) // bar
	fmt.Println(f.Passes(4.0, 4.4), f.Passes(4.0, 4.6))
	// Output: false true
}
