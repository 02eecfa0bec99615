package aggregate

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
)

var noon = time.Date(2012, 1, 2, 12, 0, 0, 0, time.UTC)

func at(seconds float64) int64 { return noon.UnixNano() + int64(seconds*1e9) }

func good(s, v float64) Sample { return Sample{at(s), telemetry.FloatValue(v), quality.Good} }
func uncertain(s, v float64) Sample {
	return Sample{at(s), telemetry.FloatValue(v), quality.Uncertain}
}
func bad(s, v float64) Sample { return Sample{at(s), telemetry.FloatValue(v), quality.Bad} }

// The example data of OPC 10000-13 Annex A.1, and how each is to be read.
func historian1() ([]Sample, Config) {
	return []Sample{
		good(10, 10), good(20, 20), good(30, 30), bad(40, 40), good(50, 50), good(60, 60), uncertain(70, 70), good(80, 80), good(90, 90),
	}, Config{TreatUncertainAsBad: false, PercentDataBad: 100, PercentDataGood: 100}
}

func historian2() ([]Sample, Config) {
	return []Sample{
		good(2, 10), good(25, 20), good(28, 25), good(39, 30),
		{at(42), telemetry.Value{}, quality.Bad},
		good(48, 40), good(52, 50),
		good(72, 60), uncertain(77, 70), good(83, 70), good(86, 80), good(90, 90),
	}, Config{TreatUncertainAsBad: true, PercentDataBad: 100, PercentDataGood: 100}
}

// words writes a result as the annex does: to three decimals, with its status.
func words(r Result) string {
	severity := map[quality.Code]string{
		quality.Good: "Good", quality.Uncertain: "Uncertain", quality.Bad: "Bad",
		quality.UncertainDataSubNormal: "UncertainDataSubNormal", quality.BadNoData: "BadNoData",
	}[r.Status.Base()]
	parts := []string{severity}
	for _, b := range []struct {
		is   quality.Code
		name string
	}{{1, "Calculated"}, {2, "Interpolated"}, {4, "Partial"}, {16, "MultipleValues"}} {
		if r.Status&0x1f&b.is != 0 {
			parts = append(parts, b.name)
		}
	}
	value := "-"
	if v, ok := r.Value.Number(); ok {
		value = strings.TrimSuffix(fmt.Sprintf("%.3f", v), ".000")
	}
	return value + " " + strings.Join(parts, ", ")
}

// TestAnnexA holds the functions to the tables of OPC 10000-13 Annex A. The
// first archive entry of the annex, a BadNoData at 12:00:00 that says "point
// created", is not a sample here.
//
// Two lines of A.29 (DurationGood) are not met, and can't be together with
// §5.4.3.31, which says that the first region has the status of the last value
// at or before the start: Historian 1 at 12:00:32 and 12:01:04, where the annex
// has 0. We follow the clause; they stand below with its result.
func TestAnnexA(t *testing.T) {
	for _, c := range []struct {
		clause string
		data   func() ([]Sample, Config)
		fn     Function
		every  time.Duration
		want   string // one line per interval
	}{
		{"A.2 Historian 1", historian1, Interpolative, 5 * time.Second, `
			- BadNoData
			- BadNoData
			10 Good
			15 Good, Interpolated
			20 Good
			25 Good, Interpolated
			30 Good
			35 UncertainDataSubNormal, Interpolated
			40 UncertainDataSubNormal, Interpolated
			45 UncertainDataSubNormal, Interpolated
			50 Good
			55 Good, Interpolated
			60 Good
			65 UncertainDataSubNormal, Interpolated
			70 Uncertain
			75 UncertainDataSubNormal, Interpolated
			80 Good
			85 Good, Interpolated
			90 Good
			90 UncertainDataSubNormal, Interpolated`},
		{"A.2 Historian 2", historian2, Interpolative, 5 * time.Second, `
			- BadNoData
			11.304 Good, Interpolated
			13.478 Good, Interpolated
			15.652 Good, Interpolated
			17.826 Good, Interpolated
			20 Good
			25.909 Good, Interpolated
			28.182 Good, Interpolated
			31.111 UncertainDataSubNormal, Interpolated
			36.667 UncertainDataSubNormal, Interpolated
			45 Good, Interpolated
			51.500 Good, Interpolated
			54 Good, Interpolated
			56.500 Good, Interpolated
			59 Good, Interpolated
			62.727 UncertainDataSubNormal, Interpolated
			67.273 UncertainDataSubNormal, Interpolated
			76.667 Good, Interpolated
			90 Good
			90 UncertainDataSubNormal, Interpolated`},
		{"A.4 Historian 1", historian1, TimeAverage, 5 * time.Second, `
			- BadNoData
			- BadNoData
			12.500 Good, Calculated
			17.500 Good, Calculated
			22.500 Good, Calculated
			27.500 Good, Calculated
			32.500 UncertainDataSubNormal, Calculated
			37.500 UncertainDataSubNormal, Calculated
			42.500 UncertainDataSubNormal, Calculated
			47.500 UncertainDataSubNormal, Calculated
			52.500 Good, Calculated
			57.500 Good, Calculated
			62.500 UncertainDataSubNormal, Calculated
			67.500 UncertainDataSubNormal, Calculated
			72.500 UncertainDataSubNormal, Calculated
			77.500 UncertainDataSubNormal, Calculated
			82.500 Good, Calculated
			87.500 Good, Calculated
			90 UncertainDataSubNormal, Calculated
			90 UncertainDataSubNormal, Calculated`},
		{"A.4 Historian 2", historian2, TimeAverage, 5 * time.Second, `
			10.652 UncertainDataSubNormal, Calculated, Partial
			12.391 Good, Calculated
			14.565 Good, Calculated
			16.739 Good, Calculated
			18.913 Good, Calculated
			23.682 Good, Calculated
			27.045 Good, Calculated
			29.384 UncertainDataSubNormal, Calculated
			33.889 UncertainDataSubNormal, Calculated
			40 UncertainDataSubNormal, Calculated
			49.450 Good, Calculated
			52.750 Good, Calculated
			55.250 Good, Calculated
			57.750 Good, Calculated
			60.618 UncertainDataSubNormal, Calculated
			65 UncertainDataSubNormal, Calculated
			70.515 UncertainDataSubNormal, Calculated
			83.667 Good, Calculated
			90 UncertainDataSubNormal, Calculated
			90 UncertainDataSubNormal, Calculated`},
		{"A.25 Start, by §5.4.3.25, Historian 1", historian1, Start, 16 * time.Second, `
			10 Good, Partial
			20 Good
			40 Bad
			50 Good
			70 Uncertain
			80 Good, Partial
			- BadNoData`},
		{"A.26 End, by §5.4.3.26, Historian 1", historian1, End, 16 * time.Second, `
			10 Good, Partial
			30 Good
			40 Bad
			60 Good
			70 Uncertain
			90 Good, Partial
			- BadNoData`},
		{"A.25 Start, by §5.4.3.25, Historian 2", historian2, Start, 16 * time.Second, `
			10 Good, Partial
			20 Good
			30 Good
			40 Good
			60 Good
			70 Good, Partial
			- BadNoData`},
		{"A.26 End, by §5.4.3.26, Historian 2", historian2, End, 16 * time.Second, `
			10 Good, Partial
			25 Good
			- Bad
			50 Good
			70 Uncertain
			90 Good, Partial
			- BadNoData`},
		{"A.10 values of MinimumActualTime, Historian 1", historian1, Minimum, 16 * time.Second, `
			10 Good, Calculated, Partial
			20 Good, Calculated
			- BadNoData
			50 Good, Calculated
			- BadNoData
			80 Good, Partial
			- BadNoData`},
		{"A.11 values of MaximumActualTime, Historian 2", historian2, Maximum, 16 * time.Second, `
			10 Good, Calculated, Partial
			25 Good, Calculated
			30 UncertainDataSubNormal, Calculated
			50 Good, Calculated
			60 UncertainDataSubNormal, Calculated
			90 Good, Calculated, Partial
			- BadNoData`},
		{"A.29 Historian 1", historian1, DurationGood, 16 * time.Second, `
			6000 Good, Calculated, Partial
			16000 Good, Calculated
			8000 Good, Calculated
			14000 Good, Calculated
			16000 Good, Calculated
			10001 Good, Calculated, Partial
			- BadNoData`},
		{"A.29 Historian 2", historian2, DurationGood, 16 * time.Second, `
			14000 Good, Calculated, Partial
			16000 Good, Calculated
			10000 Good, Calculated
			16000 Good, Calculated
			13000 Good, Calculated
			7001 Good, Calculated, Partial
			- BadNoData`},
	} {
		data, cfg := c.data()
		f := NewFolder(Span{noon, noon.Add(100 * time.Second), c.every}, []Function{c.fn}, cfg)
		for _, s := range data {
			f.Add(s)
		}
		var got []string
		for i, r := range f.Results()[0] {
			if from := at(c.every.Seconds() * float64(i)); at(100)-from < int64(c.every) {
				r.Status &^= 4 // the annex does not call the cut-off last interval Partial
			}
			got = append(got, words(r))
		}
		want := strings.Split(strings.ReplaceAll(strings.TrimSpace(c.want), "\t", ""), "\n")
		if len(got) != len(want) {
			t.Errorf("%s: %d intervals, want %d", c.clause, len(got), len(want))
			continue
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("%s, interval %d: got %s, want %s", c.clause, i, got[i], want[i])
			}
		}
	}
}

// TestDefinitions is the table of what IEEE 754's odd values do.
func TestDefinitions(t *testing.T) {
	nan, inf, minus := math.NaN(), math.Inf(1), math.Copysign(0, -1)
	for _, c := range []struct {
		name   string
		values []float64
		fn     Function
		want   float64
	}{
		{"NaN poisons the average", []float64{1, nan, 3}, Average, nan},
		{"NaN is passed over by the minimum", []float64{nan, 1, 3}, Minimum, 1},
		{"NaN is passed over by the maximum", []float64{1, 3, nan}, Maximum, 3},
		{"only NaN is NaN", []float64{nan, nan}, Maximum, nan},
		{"an infinity is the average", []float64{1, inf}, Average, inf},
		{"both infinities have none", []float64{inf, -inf}, Average, nan},
		{"infinity is the maximum", []float64{1, inf}, Maximum, inf},
		{"-0 is less than +0", []float64{0, minus, 0}, Minimum, minus},
		{"+0 is greater than -0", []float64{minus, 0}, Maximum, 0},
		{"the average of zeros is +0", []float64{minus, minus}, Average, 0},
		{"sums cancel exactly", []float64{1e308, 1e308, -1e308, -1e308}, Average, 0},
		{"rounded once: three times 0.1", []float64{0.1, 0.1, 0.1}, Average, 0.1},
		{"sample deviation", []float64{1e9 + 4, 1e9 + 7, 1e9 + 13, 1e9 + 16}, StandardDeviationSample, math.Sqrt(30)},
		{"population deviation", []float64{2, 4, 4, 4, 5, 5, 7, 9}, StandardDeviationPopulation, 2},
		{"deviation of one value", []float64{7}, StandardDeviationSample, 0},
		{"range", []float64{-1, 4, 2}, Range, 5},
		{"delta", []float64{-1, 4, 2}, Delta, 3},
		{"total is in value seconds", []float64{2, 2, 2, 2, 2, 2, 2, 2, 2, 2}, Total, 20},
	} {
		f := NewFolder(Span{noon, noon.Add(10 * time.Second), 0}, []Function{c.fn}, Standard())
		for i, v := range c.values {
			f.Add(good(float64(i), v))
		}
		got, _ := f.Results()[0][0].Value.Number()
		if math.Float64bits(got) != math.Float64bits(c.want) && !(math.IsNaN(got) && math.IsNaN(c.want)) {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}
