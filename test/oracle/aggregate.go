package oracle

import (
	"math"
	"math/big"
	"time"
)

// Info bits of a StatusCode (OPC 10000-4 §7.39): a data value's, and how an
// aggregate came about (OPC 10000-13 §5.3.3).
const (
	infoBits     = uint32(0x0400)
	calculated   = infoBits | 0x01
	interpolated = infoBits | 0x02
	partialBit   = infoBits | 0x04
	multiBit     = infoBits | 0x10
)

// Config is an AggregateConfiguration.
type Config struct {
	TreatUncertainAsBad, Sloped bool
	PercentBad, PercentGood     int
}

// point is a sample of an aggregate: its value is a number.
type point struct {
	t    int64
	v    any // float64 or int64
	code uint32
}

func (p point) number() float64 {
	if n, ok := p.v.(int64); ok {
		return float64(n)
	}
	f, _ := p.v.(float64)
	return f
}

func exactly(v any) *big.Rat {
	if n, ok := v.(int64); ok {
		return new(big.Rat).SetInt64(n)
	}
	f, _ := v.(float64)
	return new(big.Rat).SetFloat64(f)
}

func rounded(r *big.Rat) float64 {
	f, _ := r.Float64()
	return f
}

// aggregator looks at one interval [start, end) of a series.
type aggregator struct {
	Config
	all        []point // of the tag, one for each instant: the latest known
	start, end int64
	every      int64 // the length of a whole interval
}

// series drops what a later sample of the same instant overrules.
func series(list []measured) []point {
	var all []point
	for _, m := range list {
		p := point{m.source.UnixNano(), m.Value, m.Code}
		if n := len(all); n > 0 && all[n-1].t == p.t {
			all[n-1] = p
			continue
		}
		all = append(all, p)
	}
	return all
}

// result is a value, nil for none, and its StatusCode.
type result struct {
	value any
	code  uint32
}

var noData = result{nil, badNoData}

// aggregate computes one function for every interval.
func (c cut) aggregate(t tag, from, to time.Time, interval time.Duration, fn string, cfg Config) []result {
	all := series(c.history(t))
	var list []result
	for start := from; start.Before(to); start = start.Add(interval) {
		end := start.Add(interval)
		if end.After(to) {
			end = to
		}
		a := aggregator{cfg, all, start.UnixNano(), end.UnixNano(), min(int64(interval), int64(to.Sub(from)))}
		list = append(list, a.compute(fn))
	}
	return list
}

func (a *aggregator) compute(fn string) result {
	switch fn {
	case "INTERPOLATIVE":
		return a.interpolative()
	case "TIME_AVERAGE", "TOTAL":
		return a.area(fn)
	case "COUNT":
		return result{int64(len(a.of(0))), a.counted()}
	case "START", "END":
		return a.edge(fn)
	case "WORST_QUALITY":
		return a.worst()
	case "PERCENT_GOOD", "PERCENT_BAD", "DURATION_GOOD", "DURATION_BAD":
		return a.duration(fn)
	}
	goods := a.of(0)
	if len(goods) == 0 {
		return noData
	}
	switch fn {
	case "AVERAGE":
		r := result{rounded(mean(goods)), a.counted()}
		if severity(r.code) == 2 {
			r.value = nil
		}
		return r
	case "STANDARD_DEVIATION_SAMPLE":
		return result{deviation(goods, max(1, len(goods)-1)), a.status(false, calculated)}
	case "STANDARD_DEVIATION_POPULATION":
		return result{deviation(goods, len(goods)), a.status(false, calculated)}
	case "DELTA":
		in, first, last := a.in(), goods[0], goods[len(goods)-1]
		skipped := in[0].t != first.t || in[len(in)-1].t != last.t
		return result{minus(last, first), a.status(skipped, calculated)}
	}
	return a.extreme(fn, goods)
}

// in are the interval's samples.
func (a *aggregator) in() []point {
	var list []point
	for _, p := range a.all {
		if p.t >= a.start && p.t < a.end {
			list = append(list, p)
		}
	}
	return list
}

// of are those of one severity.
func (a *aggregator) of(s int) []point {
	var list []point
	for _, p := range a.in() {
		if severity(p.code) == s {
			list = append(list, p)
		}
	}
	return list
}

func (a *aggregator) usable(p point) bool {
	return severity(p.code) == 0 || severity(p.code) == 1 && !a.TreatUncertainAsBad
}

// before is the last sample before t that passes.
func (a *aggregator) before(t int64, passes func(point) bool) (found point, ok bool) {
	for _, p := range a.all {
		if p.t < t && passes(p) {
			found, ok = p, true
		}
	}
	return found, ok
}

// after is the first sample at or after t that passes.
func (a *aggregator) after(t int64, passes func(point) bool) (point, bool) {
	for _, p := range a.all {
		if p.t >= t && passes(p) {
			return p, true
		}
	}
	return point{}, false
}

func anyPoint(point) bool { return true }

// partial: data begin or end within the interval, or the range cuts it off.
func (a *aggregator) partial() bool {
	if a.end-a.start < a.every {
		return true
	}
	in := a.in()
	_, earlier := a.before(a.start, anyPoint)
	_, later := a.after(a.end, anyPoint)
	return len(in) > 0 && (!earlier && in[0].t > a.start || !later)
}

func (a *aggregator) status(uncertain bool, info uint32) uint32 {
	if a.partial() {
		info |= partialBit
	}
	if uncertain {
		return uncertainDataSubNormal | info
	}
	return info
}

// bound is the value at an instant on the line through the usable samples.
type bound struct {
	ok, raw, uncertain bool
	value              any
	code               uint32
}

func (a *aggregator) at(t int64) bound {
	next, more := a.after(t, a.usable)
	if more && next.t == t {
		return bound{true, true, severity(next.code) != 0, next.v, next.code}
	}
	last, ok := a.before(t, a.usable)
	if !ok {
		return bound{}
	}
	skipped := func(from, to int64) bool { // something unusable lies between
		for _, p := range a.all {
			if p.t > from && p.t < to && !a.usable(p) {
				return true
			}
		}
		return false
	}
	b := bound{ok: true, value: last.v, uncertain: skipped(last.t, t) || severity(last.code) != 0}
	if !more { // after the end of data
		b.uncertain = true
		if second, ok := a.before(last.t, a.usable); ok && a.Sloped {
			b.value = line(t, second, last)
		}
		return b
	}
	b.uncertain = b.uncertain || skipped(t-1, next.t) || severity(next.code) != 0
	b.value = line(t, last, next)
	return b
}

// line is the formula of OPC 10000-13 §3.1.8, in floating point as it stands there.
func line(t int64, p, q point) float64 {
	return float64(float64(float64(t-p.t)*float64(q.number()-p.number()))/float64(q.t-p.t)) + p.number()
}

func (a *aggregator) interpolative() result {
	switch b := a.at(a.start); {
	case !b.ok:
		return noData
	case b.raw:
		return result{b.value, b.code}
	case b.uncertain:
		return result{b.value, uncertainDataSubNormal | interpolated}
	default:
		return result{b.value, interpolated}
	}
}

// area integrates the line through the usable samples, from the interval's start
// or where data begin.
func (a *aggregator) area(fn string) result {
	from, to := a.at(a.start), a.at(a.end)
	var corners []point
	if from.ok {
		corners = append(corners, point{a.start, from.value, 0})
	}
	unusable, uncertain := false, from.uncertain || to.uncertain || !from.ok
	for _, p := range a.in() {
		uncertain = uncertain || severity(p.code) == 1
		if a.usable(p) {
			corners = append(corners, p)
		} else {
			unusable = true
		}
	}
	if len(corners) == 0 || !to.ok {
		return noData
	}
	corners = append(corners, point{a.end, to.value, 0})
	twice := new(big.Rat)
	for i := range corners[1:] {
		sum := new(big.Rat).Add(exactly(corners[i].v), exactly(corners[i+1].v))
		twice.Add(twice, sum.Mul(sum, new(big.Rat).SetInt64(corners[i+1].t-corners[i].t)))
	}
	divisor := 2 * (a.end - corners[0].t)
	if fn == "TOTAL" {
		divisor = 2e9
	}
	info := calculated
	if !from.ok || a.end-a.start < a.every {
		info |= partialBit
	}
	if uncertain || unusable {
		info |= uncertainDataSubNormal
	}
	return result{rounded(twice.Quo(twice, new(big.Rat).SetInt64(divisor))), info}
}

func mean(list []point) *big.Rat {
	sum := new(big.Rat)
	for _, p := range list {
		sum.Add(sum, exactly(p.v))
	}
	return sum.Quo(sum, new(big.Rat).SetInt64(int64(len(list))))
}

// deviation is the root of the exact variance, rounded before and after it.
func deviation(list []point, divisor int) float64 {
	m, sum := mean(list), new(big.Rat)
	for _, p := range list {
		d := new(big.Rat).Sub(exactly(p.v), m)
		sum.Add(sum, d.Mul(d, d))
	}
	return math.Sqrt(rounded(sum.Quo(sum, new(big.Rat).SetInt64(int64(divisor)))))
}

// counted is the StatusCode of what counts raw values (§5.4.3.2.1).
func (a *aggregator) counted() uint32 {
	all, goods, bads := len(a.in()), len(a.of(0)), len(a.of(2))
	onlyGood := goods == all
	if a.TreatUncertainAsBad {
		bads += len(a.of(1))
	} else {
		goods += len(a.of(1))
	}
	switch {
	case all == 0:
		return badNoData
	case onlyGood:
		return a.status(false, calculated)
	case bads > 0 && bads*100 >= a.PercentBad*all:
		return 0x80000000
	case a.PercentGood < 100 && goods*100 >= a.PercentGood*all:
		return a.status(false, calculated)
	}
	return a.status(true, calculated)
}

// minus subtracts: integers as integers.
func minus(p, q point) any {
	x, ok := p.v.(int64)
	y, ok2 := q.v.(int64)
	if ok && ok2 {
		return x - y
	}
	return p.number() - q.number()
}
