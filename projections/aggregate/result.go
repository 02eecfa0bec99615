package aggregate

import (
	"math"

	"github.com/twinlog/twinlog/domain/exact"
	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// The aggregate info bits of a StatusCode (OPC 10000-4 §7.39, OPC 10000-13
// §5.3.3). A raw value has none.
const (
	infoType     quality.Code = 0x0400 // info bits are of a data value
	Calculated                = infoType | 0x01
	Interpolated              = infoType | 0x02
	Partial                   = infoType | 0x04
	MultiValue                = infoType | 0x10
)

var noData = Result{Status: quality.BadNoData}

func deviation(sum, squares *exact.Sum, n, divisor uint64) float64 {
	return math.Sqrt(exact.Variance(sum, squares, n, divisor))
}

func (s *survey) result(i int, fn Function) Result {
	switch fn {
	case Interpolative:
		return s.interpolative(i)
	case TimeAverage, Total:
		return s.timeAverage(i, fn)
	case Average, StandardDeviationSample, StandardDeviationPopulation:
		return s.statistic(i, fn)
	case Minimum, Maximum, Range:
		return s.extremes(i, fn)
	case Count:
		return s.count(i)
	case Start, End:
		return s.raw(i, fn)
	case Delta:
		return s.delta(i)
	case WorstQuality:
		return s.worst(i)
	case PercentGood, PercentBad, DurationGood, DurationBad:
		return s.duration(i, fn)
	default:
		return Result{Status: quality.BadAggregateNotSupported}
	}
}

// status puts a severity and the info bits together.
func (s *survey) status(i int, uncertain bool, info quality.Code) quality.Code {
	if s.partial(i) {
		info |= Partial
	}
	if uncertain {
		return quality.UncertainDataSubNormal | info
	}
	return quality.Good | info
}

func (s *survey) interpolative(i int) Result {
	b := &s.bounds[i]
	switch {
	case !b.ok:
		return noData
	case b.raw:
		return Result{b.value, b.code}
	case b.uncertain:
		return Result{b.value, quality.UncertainDataSubNormal | Interpolated}
	}
	return Result{b.value, quality.Good | Interpolated}
}

func (s *survey) timeAverage(i int, fn Function) Result {
	if s.out[i].text {
		return Result{Status: quality.BadAggregateInvalidInputs}
	}
	twice, length, uncertain, ok := s.area(i)
	if !ok {
		return noData
	}
	divisor := 2 * uint64(length)
	if fn == Total {
		divisor = 2e9 // nanoseconds, twice
	}
	info := Calculated
	if !s.bounds[i].ok || s.out[i].end-s.out[i].start < s.every {
		info |= Partial // an end of data is extrapolated, not partial
	}
	r := Result{telemetry.FloatValue(twice.Quo(divisor)), quality.Good | info}
	if uncertain {
		r.Status = quality.UncertainDataSubNormal | info
	}
	return r
}

func (s *survey) statistic(i int, fn Function) Result {
	o := &s.out[i]
	switch {
	case o.n[quality.IsGood] == 0:
		return noData
	case o.good.text:
		return Result{Status: quality.BadAggregateInvalidInputs}
	}
	switch fn {
	case StandardDeviationSample:
		return Result{telemetry.FloatValue(o.good.sample), s.status(i, false, Calculated)}
	case StandardDeviationPopulation:
		return Result{telemetry.FloatValue(o.good.population), s.status(i, false, Calculated)}
	default:
		r := Result{telemetry.FloatValue(o.good.mean), s.counted(i)}
		if r.Status.Status() == quality.IsBad {
			r.Value = telemetry.Value{}
		}
		return r
	}
}

// counted is the StatusCode of an aggregate that counts raw values (§5.4.3.2.1).
func (s *survey) counted(i int) quality.Code {
	o := &s.out[i]
	all := o.len()
	bad, good := o.n[quality.IsBad], o.n[quality.IsGood]
	if s.cfg.TreatUncertainAsBad {
		bad += o.n[quality.IsUncertain]
	} else {
		good += o.n[quality.IsUncertain]
	}
	switch {
	case all == 0:
		return quality.BadNoData
	case o.n[quality.IsGood] == all:
		return s.status(i, false, Calculated)
	case bad > 0 && bad*100 >= uint64(s.cfg.PercentDataBad)*all:
		return quality.Bad
	case s.cfg.PercentDataGood < 100 && good*100 >= uint64(s.cfg.PercentDataGood)*all:
		return s.status(i, false, Calculated)
	}
	return s.status(i, true, Calculated)
}

func (s *survey) count(i int) Result {
	return Result{telemetry.IntValue(int64(s.out[i].n[quality.IsGood])), s.counted(i)}
}

func (s *survey) extremes(i int, fn Function) Result {
	o := &s.out[i]
	g := &o.good
	switch {
	case o.n[quality.IsGood] == 0:
		return noData
	case g.text:
		return Result{Status: quality.BadAggregateInvalidInputs}
	}
	lower := o.usedLeast.ok && compare(o.usedLeast.value, g.least.value) == -1
	higher := o.usedMost.ok && compare(o.usedMost.value, g.most.value) == 1
	bad := o.n[quality.IsBad] > 0 || s.cfg.TreatUncertainAsBad && o.n[quality.IsUncertain] > 0
	switch fn {
	case Minimum:
		return s.extreme(i, &g.least, bad || lower)
	case Maximum:
		return s.extreme(i, &g.most, bad || higher)
	default:
		return Result{difference(g.most.value, g.least.value), s.status(i, bad || lower || higher, Calculated)}
	}
}

func (s *survey) extreme(i int, x *extreme, uncertain bool) Result {
	info := Calculated
	if x.at == s.out[i].start && !uncertain {
		info = 0 // raw
	}
	if x.multi {
		info |= MultiValue
	}
	return Result{x.value, s.status(i, uncertain, info)}
}

// difference subtracts exactly if both are integers and the result is one.
func difference(a, b telemetry.Value) telemetry.Value {
	if a.Kind == telemetry.Int64 && b.Kind == telemetry.Int64 {
		x, y := int64(a.Bits), int64(b.Bits)
		if d := x - y; (d < x) == (y > 0) {
			return telemetry.IntValue(d)
		}
	}
	x, _ := a.Number()
	y, _ := b.Number()
	return telemetry.FloatValue(x - y)
}

func (s *survey) raw(i int, fn Function) Result {
	o := &s.out[i]
	if o.len() == 0 {
		return noData
	}
	x := &o.first
	if fn == End {
		x = &o.last
	}
	r := Result{x.Value, x.Code}
	if s.partial(i) {
		r.Status |= Partial
	}
	return r
}

func (s *survey) delta(i int) Result {
	o := &s.out[i]
	switch {
	case o.n[quality.IsGood] == 0:
		return noData
	case o.good.text:
		return Result{Status: quality.BadAggregateInvalidInputs}
	}
	skipped := o.first.Time != o.good.first.Time || o.last.Time != o.good.last.Time
	return Result{difference(o.good.last.Value, o.good.first.Value), s.status(i, skipped, Calculated)}
}

func (s *survey) worst(i int) Result {
	o := &s.out[i]
	if o.len() == 0 {
		return noData
	}
	info := Calculated
	if o.worstMulti {
		info |= MultiValue
	}
	return Result{telemetry.IntValue(int64(o.worst)), s.status(i, false, info)}
}

func (s *survey) duration(i int, fn Function) Result {
	good, bad, length, ok := s.durations(i)
	if !ok {
		return noData
	}
	var v float64
	switch fn {
	case DurationGood:
		v = float64(good) / 1e6
	case DurationBad:
		v = float64(bad) / 1e6
	case PercentGood:
		v = percent(good, length)
	default:
		v = percent(bad, length)
	}
	return Result{telemetry.FloatValue(v), s.status(i, false, Calculated)}
}

// percent is rounded once up to a span of 1,000 days.
func percent(part, of int64) float64 {
	if of <= 0 {
		return 0
	}
	return float64(float64(part)*100) / float64(of)
}
