package aggregate

import (
	"github.com/twinlog/twinlog/domain/exact"
	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// survey sees all intervals side by side, with the value at each boundary.
type survey struct {
	*Folder
	bounds  []bound  // len(out) + 1
	earlier []bool   // some sample lies before the interval
	prev    []Sample // the nearest of those
	later   []bool   // some sample lies at or after the interval's end
}

// bound is the interpolated bounding value at a boundary (§3.1.8).
type bound struct {
	ok, raw   bool
	value     telemetry.Value
	code      quality.Code // of a raw value
	uncertain bool
}

func (f *Folder) survey() *survey {
	n := len(f.out)
	s := &survey{
		Folder: f, bounds: make([]bound, n+1), earlier: make([]bool, n), prev: make([]Sample, n), later: make([]bool, n),
	}
	back := make([]edge, n+1) // what lies before each boundary
	e := f.before
	for i := range f.out {
		back[i] = e
		s.earlier[i], s.prev[i] = e.n > 0, e.any
		o := &f.out[i]
		if o.len() == 0 {
			continue
		}
		e.any = o.last
		e.n++
		if o.nUsed == 0 {
			e.skipped = true
			continue
		}
		if e.second = e.used; o.nUsed > 1 {
			e.second = o.usedBefore
		}
		e.nUsed += int(min(o.nUsed, 2))
		e.used, e.skipped = o.usedLast, o.last.Time > o.usedLast.Time
	}
	back[n] = e
	next := f.after
	for i := n; i >= 0; i-- {
		if i < n {
			s.later[i] = next.n > 0
			next = f.out[i].ahead(next)
		}
		t := f.to
		if i < n {
			t = f.out[i].start
		}
		s.bounds[i] = f.bound(t, &back[i], &next)
	}
	return s
}

// ahead returns what lies at and after the start of the interval, given what
// lies after its end.
func (o *interval) ahead(next edge) edge {
	if o.len() == 0 {
		return next
	}
	next.any = o.first
	next.n++
	if o.nUsed == 0 {
		next.skipped = true
		return next
	}
	next.used, next.skipped = o.usedFirst, o.first.Time < o.usedFirst.Time
	next.nUsed++
	return next
}

func (o *interval) len() uint64 { return o.n[0] + o.n[1] + o.n[2] }

func (f *Folder) bound(t int64, back, next *edge) bound {
	switch {
	case next.nUsed > 0 && next.used.Time == t:
		return bound{
			ok: true, raw: true, value: next.used.Value, code: next.used.Code,
			uncertain: next.used.Code.Status() != quality.IsGood,
		}
	case back.nUsed == 0:
		return bound{}
	}
	b := bound{ok: true, value: back.used.Value}
	b.uncertain = back.skipped || back.used.Code.Status() != quality.IsGood
	v0, ok := back.used.Value.Number()
	line := ok && !f.cfg.Stepped
	switch {
	case next.nUsed == 0: // after the end of data
		b.uncertain = true
		if v1, ok := back.second.Value.Number(); ok && line && f.cfg.UseSlopedExtrapolation && back.nUsed > 1 {
			b.value = telemetry.FloatValue(onLine(t, back.second.Time, v1, back.used.Time, v0))
		}
	case f.cfg.Stepped: // what follows does not matter
	default:
		b.uncertain = b.uncertain || next.skipped || next.used.Code.Status() != quality.IsGood
		if v1, ok := next.used.Value.Number(); ok && line {
			b.value = telemetry.FloatValue(onLine(t, back.used.Time, v0, next.used.Time, v1))
		}
	}
	return b
}

// onLine is the formula of §3.1.8. The conversions keep every machine from
// fusing multiplication and addition.
func onLine(t, t0 int64, v0 float64, t1 int64, v1 float64) float64 {
	return float64(float64(float64(t-t0)*float64(v1-v0))/float64(t1-t0)) + v0
}

// partial: data begin or end within the interval, or the span cuts it off
// (§5.3.3.2).
func (s *survey) partial(i int) bool {
	o := &s.out[i]
	return o.end-o.start < s.every || o.len() > 0 && (!s.earlier[i] && o.first.Time > o.start || !s.later[i])
}

// area returns the exact double area under the line through the usable values
// from the start of the interval (or of the data) to its end, and that length.
func (s *survey) area(i int) (twice exact.Sum, length int64, uncertain, ok bool) {
	o := &s.out[i]
	from, to := &s.bounds[i], &s.bounds[i+1]
	if o.text || o.nUsed == 0 && !from.ok || !to.ok {
		return twice, 0, false, false
	}
	at := Sample{Time: o.start, Value: from.value}
	if uncertain = from.uncertain || to.uncertain; !from.ok {
		at, uncertain = o.usedFirst, true
	}
	length = o.end - at.Time
	if o.nUsed > 0 {
		stretch(&twice, &at, &o.usedFirst, s.cfg.Stepped)
		if _, err := twice.AddBinary(o.area); err != nil {
			return twice, 0, false, false // written by close
		}
		at = o.usedLast
	}
	stretch(&twice, &at, &Sample{Time: o.end, Value: to.value}, s.cfg.Stepped)
	unusable := o.n[quality.IsBad]
	if s.cfg.TreatUncertainAsBad {
		unusable += o.n[quality.IsUncertain]
	}
	uncertain = uncertain || unusable > 0 || o.n[quality.IsUncertain] > 0
	_, number := to.value.Number()
	return twice, length, uncertain, number && length > 0
}

// durations returns how long the interval was Good and Bad, and its length as
// far as data go: the last sample counts for a millisecond, the resolution of
// the standard's examples.
func (s *survey) durations(i int) (good, bad, length int64, ok bool) {
	o := &s.out[i]
	if o.len() == 0 && (!s.earlier[i] || !s.later[i]) {
		return 0, 0, 0, false
	}
	end := o.end
	if !s.later[i] {
		end = min(end, o.last.Time+1e6)
	}
	dur := o.dur
	head := quality.IsBad
	if s.earlier[i] {
		head = s.prev[i].Code.Status()
	}
	if o.len() == 0 {
		dur[head] += end - o.start
	} else {
		dur[head] += o.first.Time - o.start
		dur[o.last.Code.Status()] += end - o.last.Time
	}
	good, bad = dur[quality.IsGood], dur[quality.IsBad]
	if s.cfg.TreatUncertainAsBad {
		bad += dur[quality.IsUncertain]
	} else {
		good += dur[quality.IsUncertain]
	}
	return good, bad, end - o.start, true
}
