package quality_test

import (
	"errors"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	codes "github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/edge/quality"
)

var t0 = time.Date(2026, 3, 1, 6, 0, 0, 0, time.UTC)

func float(f float64) telemetry.Value {
	return telemetry.Value{Kind: telemetry.Float64, Bits: math.Float64bits(f)}
}

// reading is one line of a story: at second At, value X with Code came, and Want
// is what it becomes.
type reading struct {
	at   float64
	x    float64
	code codes.Code
	want codes.Code
}

func TestJudge(t *testing.T) {
	const bad = codes.BadSensorFailure
	const fast = codes.UncertainSensorNotAccurate
	low := codes.UncertainEngineeringUnitsExceeded.WithLimit(codes.Low)
	high := codes.UncertainEngineeringUnitsExceeded.WithLimit(codes.High)
	frozen := codes.UncertainLastUsableValue.WithLimit(codes.Constant)
	inRange := quality.Limits{EURange: &quality.Range{Low: 0, High: 100}}
	for _, tt := range []struct {
		name   string
		limits quality.Limits
		story  []reading
	}{
		{"both ends of the range belong to it", inRange, []reading{{0, 0, 0, 0}, {1, 100, 0, 0}, {2, -0.1, 0, low}, {3, 100.1, 0, high}, {4, 50, 0, 0}}},
		{"without limits everything is as it came", quality.Limits{}, []reading{{0, -1e9, 0, 0}, {1, 1e9, 0, 0}, {2, 1e9, 0, 0}, {1e6, 1e9, 0, 0}}},
		{"a signal is frozen after its time and alive with the next bit", quality.Limits{Frozen: 10 * time.Second}, []reading{
			{0, 5, 0, 0}, {9, 5, 0, 0}, {10, 5, 0, frozen}, {11, 5, 0, frozen}, {12, 5.01, 0, 0}, {21, 5.01, 0, 0}, {22, 5.01, 0, frozen},
		}},
		{"a failure in between is no freezing", quality.Limits{Frozen: 10 * time.Second}, []reading{
			{0, 5, 0, 0}, {5, 0, bad, bad}, {10, 5, 0, 0}, {19, 5, 0, 0}, {20, 5, 0, frozen},
		}},
		{"a spike is flagged alone", quality.Limits{MaxRate: 2}, []reading{{0, 10, 0, 0}, {1, 60, 0, fast}, {2, 12, 0, 0}, {3, 14, 0, 0}, {4, 16.1, 0, fast}}},
		{"a step is believed once the process could have made it", quality.Limits{MaxRate: 2}, []reading{
			{0, 10, 0, 0}, {1, 15, 0, fast}, {2, 15, 0, fast}, {3, 15, 0, 0}, {4, 15, 0, 0},
		}},
		{"readings that a delay pushed together have no rate of their own", quality.Limits{MaxRate: 2, Over: time.Second}, []reading{
			{0, 10, 0, 0}, {1, 10.1, 0, 0}, {1.001, 9.9, 0, 0}, {1.002, 12, 0, fast}, {2, 11.8, 0, 0},
		}},
		{"after a failure any value is a beginning", quality.Limits{MaxRate: 2}, []reading{{0, 10, 0, 0}, {1, 0, bad, bad}, {2, 90, 0, 0}, {3, 10, 0, fast}}},
		{"what came as uncertain keeps its reason", inRange, []reading{{0, 150, codes.UncertainSubstituteValue, codes.UncertainSubstituteValue}}},
		{"what came as bad keeps its reason", inRange, []reading{{0, 50, codes.BadNoCommunication, codes.BadNoCommunication}}},
		{"frozen outweighs the range", quality.Limits{EURange: inRange.EURange, Frozen: time.Second}, []reading{{0, 150, 0, high}, {1, 150, 0, frozen}}},
		{"a good sub-code stays", inRange, []reading{{0, 5, codes.GoodLocalOverride, codes.GoodLocalOverride}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			j := quality.New(tt.limits, t0)
			for _, r := range tt.story {
				at := t0.Add(time.Duration(r.at * float64(time.Second)))
				v, code := j.Judge(float(r.x), float(r.x), r.code, at)
				if code != r.want {
					t.Errorf("at %v s, %v became %v, want %v", r.at, r.x, code, r.want)
				}
				if (code.Status() == codes.IsBad) != (v == telemetry.Value{}) {
					t.Errorf("at %v s, %v became %+v, %v", r.at, r.x, v, code)
				}
			}
		})
	}
}

// TestFrozenByItsOwnBits: the decimals that are kept may stand still while the
// sensor lives.
func TestFrozenByItsOwnBits(t *testing.T) {
	j := quality.New(quality.Limits{Frozen: time.Second}, t0)
	for i := range 10 {
		raw := telemetry.Value{Kind: telemetry.Int64, Bits: uint64(9000 + i%2)}
		if _, code := j.Judge(raw, float(50), codes.Good, t0.Add(time.Duration(i)*time.Second)); code != codes.Good {
			t.Fatalf("second %d: %v", i, code)
		}
	}
}

func TestOverdue(t *testing.T) {
	j := quality.New(quality.Limits{Stale: 5 * time.Second}, t0)
	at := func(s int) time.Time { return t0.Add(time.Duration(s) * time.Second) }
	for _, tt := range []struct {
		second int
		heard  bool
		want   bool
	}{
		{second: 5},
		{second: 6, want: true},
		{second: 7},
		{second: 60},
		{second: 61, heard: true},
		{second: 66},
		{second: 67, want: true},
		{second: 68},
	} {
		if tt.heard {
			j.Heard(at(tt.second))
		}
		if got := j.Overdue(at(tt.second)); got != tt.want {
			t.Errorf("second %d: overdue %v, want %v", tt.second, got, tt.want)
		}
	}
	never := quality.New(quality.Limits{}, t0)
	if never.Overdue(at(1e6)) {
		t.Error("a tag without a limit is overdue")
	}
}

func TestLimitsThatNoTagCouldUse(t *testing.T) {
	for _, l := range []quality.Limits{
		{EURange: &quality.Range{Low: 1, High: 1}},
		{EURange: &quality.Range{Low: math.NaN(), High: 1}},
		{EURange: &quality.Range{Low: 0, High: math.Inf(1)}},
		{Frozen: -1},
		{Stale: -1},
		{Over: -1},
		{MaxRate: -1},
		{MaxRate: math.NaN()},
	} {
		if err := l.Check(); !errors.Is(err, quality.ErrBadLimits) {
			t.Errorf("%+v: error %v, want ErrBadLimits", l, err)
		}
	}
	if err := (quality.Limits{EURange: &quality.Range{Low: -1, High: 1}, MaxRate: 1}).Check(); err != nil {
		t.Error(err)
	}
}

// TestJudgeOnlyLosesTrust: whatever a signal does, its quality never gets better
// than it came, its value is never changed, and Bad alone has none.
func TestJudgeOnlyLosesTrust(t *testing.T) {
	all := []codes.Code{codes.Good, codes.Good, codes.Good, codes.GoodClamped, codes.UncertainSubstituteValue, codes.BadSensorFailure, codes.BadNoCommunication}
	rapid.Check(t, func(t *rapid.T) {
		j := quality.New(quality.Limits{
			EURange: &quality.Range{Low: -5, High: 5},
			Frozen:  time.Duration(rapid.IntRange(0, 5).Draw(t, "frozen")) * time.Second,
			MaxRate: float64(rapid.IntRange(0, 5).Draw(t, "rate")),
		}, t0)
		at := t0
		for range rapid.IntRange(0, 50).Draw(t, "readings") {
			at = at.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "wait")) * time.Second)
			x, code := float64(rapid.IntRange(-8, 8).Draw(t, "x")), rapid.SampledFrom(all).Draw(t, "code")
			v, judged := j.Judge(float(x), float(x), code, at)
			switch {
			case judged.Status() < code.Status():
				t.Fatalf("%v became %v", code, judged)
			case code.Status() != codes.IsGood && judged != code:
				t.Fatalf("%v lost its reason to %v", code, judged)
			case judged.Status() == codes.IsBad && v != telemetry.Value{}:
				t.Fatalf("%v with %+v", judged, v)
			case judged.Status() != codes.IsBad && v != float(x):
				t.Fatalf("%v became %+v", x, v)
			case judged == codes.Good && (x < -5 || x > 5):
				t.Fatalf("%v is out of range and Good", x)
			}
		}
	})
}
