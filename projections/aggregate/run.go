package aggregate

import (
	"math"

	"github.com/twinlog/twinlog/domain/exact"
	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// Run is the sum of consecutive samples of one series: what all functions but
// the standard deviations need of them. Runs of neighbouring stretches can be
// joined, and the result is that of all samples one by one, bit for bit. The
// zero Run is empty. It is several kB: pass pointers.
type Run struct {
	n           [3]uint64 // samples by quality.Status
	dur         [3]int64  // nanoseconds between first and last, by the status of the earlier sample
	first, last Sample    // of any quality
	worst       quality.Code
	worstMulti  bool // several codes of the worst severity
	good        set  // Good samples
	used        set  // Good and Uncertain samples; kept only if there are Uncertain ones
	squares     exact.Sum
	stepped     bool // areas are under steps instead of sloped lines
}

// set is what is known of the samples that an aggregate may use.
type set struct {
	n           uint64
	first, last Sample
	least, most extreme
	sum         exact.Sum // of the values
	area        exact.Sum // of (v + next v)·(next t - t), twice the area; if stepped of 2v·(next t - t)
	owed        int64     // the time by which last is still to be multiplied into area
	text        bool      // some value is not a number
}

// extreme is the least or the greatest value.
type extreme struct {
	value telemetry.Value
	at    int64 // the first sample that has it
	multi bool  // others have it too
	ok    bool
}

// Reset empties the run.
func (r *Run) Reset() {
	r.good.reset()
	r.used.reset()
	r.squares.Reset()
	r.n, r.dur = [3]uint64{}, [3]int64{}
	r.first, r.last, r.worst, r.worstMulti = Sample{}, Sample{}, 0, false
}

func (s *set) reset() {
	s.sum.Reset()
	s.area.Reset()
	s.n, s.owed, s.text = 0, 0, false
	s.first, s.last, s.least, s.most = Sample{}, Sample{}, extreme{}, extreme{}
}

// Len returns the number of samples.
func (r *Run) Len() uint64 { return r.n[0] + r.n[1] + r.n[2] }

// Text reports whether a value is no number: such a run cannot be encoded.
func (r *Run) Text() bool {
	return r.good.text || r.used.text || r.first.Value.Kind == telemetry.String || r.last.Value.Kind == telemetry.String
}

// Add adds a sample that is later than all before.
func (r *Run) Add(s Sample) {
	status := s.Code.Status()
	if r.Len() == 0 {
		r.first = s
	} else {
		r.dur[r.last.Code.Status()] += s.Time - r.last.Time
	}
	r.addWorst(s.Code, false)
	r.last = s
	if status == quality.IsUncertain && r.n[quality.IsUncertain] == 0 {
		r.used.copyFrom(&r.good)
	}
	r.n[status]++
	if status == quality.IsBad {
		return
	}
	if status == quality.IsGood {
		r.good.add(&s, r.stepped)
	}
	if r.n[quality.IsUncertain] > 0 {
		r.used.add(&s, r.stepped)
	}
}

// addSquare keeps the sum of squares of the Good values.
func (r *Run) addSquare(s *Sample) {
	if v, ok := s.Value.Number(); ok && s.Code.Status() == quality.IsGood {
		r.squares.AddProduct(v, v)
	}
}

func (r *Run) addWorst(c quality.Code, multi bool) {
	switch a, b := c.Status(), r.worst.Status(); {
	case r.Len() == 0 || a > b:
		r.worst, r.worstMulti = c, multi
	case a == b:
		r.worstMulti = r.worstMulti || multi || c != r.worst
	}
}

// usedSet returns the samples that count as usable.
func (r *Run) usedSet(treatUncertainAsBad bool) *set {
	if treatUncertainAsBad || r.n[quality.IsUncertain] == 0 {
		return &r.good
	}
	return &r.used
}

func (s *set) copyFrom(t *set) {
	s.reset()
	s.owed = t.owed
	s.n, s.text, s.first, s.last, s.least, s.most = t.n, t.text, t.first, t.last, t.least, t.most
	s.sum.Merge(&t.sum)
	s.area.Merge(&t.area)
}

func (s *set) add(x *Sample, stepped bool) {
	v, ok := x.Value.Number()
	if !ok {
		s.text = true
	}
	if s.n == 0 {
		s.first = *x
	} else {
		s.join(x, stepped)
	}
	s.last = *x
	s.n++
	if !ok {
		return
	}
	if x.Value.Kind == telemetry.Int64 {
		s.sum.AddInt(int64(x.Value.Bits))
	} else {
		s.sum.Add(v)
	}
	s.least.take(x.Value, x.Time, false, false)
	s.most.take(x.Value, x.Time, false, true)
}

// join adds the stretch from the last sample to the next. Each value is
// multiplied once, by the time before and after it; see settle.
func (s *set) join(next *Sample, stepped bool) {
	dt := next.Time - s.last.Time
	if v, ok := s.last.Value.Number(); ok {
		if stepped {
			s.area.AddScaled(v, 2*dt)
			return
		}
		s.area.AddScaled(v, s.owed+dt)
	}
	s.owed = dt
}

// settle completes the area up to the last sample.
func (s *set) settle() {
	if v, ok := s.last.Value.Number(); ok && s.owed != 0 {
		s.area.AddScaled(v, s.owed)
	}
	s.owed = 0
}

// stretch adds twice the area between two samples.
func stretch(area *exact.Sum, from, to *Sample, stepped bool) {
	dt := to.Time - from.Time
	if stepped {
		to = from
	}
	a, ok := from.Value.Number()
	b, ok2 := to.Value.Number()
	if !ok || !ok2 {
		return
	}
	area.AddScaled(a, dt)
	area.AddScaled(b, dt)
}

// take keeps v if it is less (greater, if most) than what is there. NaN gives
// way to any number.
func (e *extreme) take(v telemetry.Value, at int64, multi, most bool) {
	if e.ok && v.Kind == telemetry.Float64 && e.value.Kind == telemetry.Float64 {
		x, y := math.Float64frombits(v.Bits), math.Float64frombits(e.value.Bits)
		if most && x < y || !most && x > y {
			return // nearly always
		}
	}
	switch c := compare(v, e.value); {
	case !e.ok, c < 0 && !most, c > 0 && most:
		if e.ok && isNaN(v) {
			return
		}
		*e = extreme{v, at, multi, true}
	case isNaN(e.value) && !isNaN(v):
		*e = extreme{v, at, multi, true}
	case c == 0:
		e.multi = true
	}
}

func isNaN(v telemetry.Value) bool {
	return v.Kind == telemetry.Float64 && math.IsNaN(math.Float64frombits(v.Bits))
}

// compare orders numbers; -0 is less than +0, as IEEE 754's totalOrder has it.
// It returns 2 if either is NaN.
func compare(a, b telemetry.Value) int {
	if a.Kind == telemetry.Int64 && b.Kind == telemetry.Int64 {
		return order(int64(a.Bits), int64(b.Bits))
	}
	x, _ := a.Number()
	y, _ := b.Number()
	switch {
	case math.IsNaN(x) || math.IsNaN(y):
		if math.IsNaN(x) && math.IsNaN(y) {
			return 0
		}
		return 2
	case x == 0 && y == 0:
		return order(sign(x), sign(y))
	}
	return order(x, y)
}

func sign(v float64) int64 {
	if math.Signbit(v) {
		return -1
	}
	return 1
}

func order[T int64 | float64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
