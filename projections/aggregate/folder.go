package aggregate

import (
	"slices"

	"github.com/twinlog/twinlog/domain/quality"
)

// Folder computes functions over the intervals of a span. It is fed the samples
// of a series in the order of time, no two at one time, or Runs of them:
//
//   - some from before the span, at least the last one and the last usable one;
//   - all in the span;
//   - from after the span until Enough.
//
// Then Results.
type Folder struct {
	from, to, every int64
	cfg             Config
	fns             []Function
	squares         bool

	out []interval
	at  int // the interval that run belongs to
	run Run

	before, after edge // samples outside the span
}

// edge is what is known of the samples before or after something.
type edge struct {
	any, used, second Sample // the nearest; the nearest usable; the usable one before it
	n, nUsed          int    // how many there were
	skipped           bool   // unusable ones lie between used and here
}

// interval is what is kept of a Run when its interval is over.
type interval struct {
	start, end  int64
	n           [3]uint64
	dur         [3]int64
	first, last Sample
	worst       quality.Code
	worstMulti  bool
	good        summary
	nUsed       uint64
	usedFirst   Sample
	usedLast    Sample
	usedBefore  Sample // the last usable but one; right only without Runs
	usedLeast   extreme
	usedMost    extreme
	area        []byte // exact, encoded: it will be completed at both ends
	text        bool
}

// summary holds the rounded sums of the Good values.
type summary struct {
	first, last        Sample
	least, most        extreme
	mean               float64
	sample, population float64 // standard deviations
	text               bool
}

// NewFolder returns a Folder for the functions over the span.
func NewFolder(span Span, fns []Function, cfg Config) *Folder {
	f := &Folder{
		from: span.From.UnixNano(), to: span.To.UnixNano(), every: int64(span.Interval),
		cfg: cfg, fns: fns, at: -1, out: make([]interval, span.Intervals()),
	}
	if f.every <= 0 || f.every > f.to-f.from {
		f.every = f.to - f.from
	}
	f.run.stepped = cfg.Stepped
	f.squares = slices.Contains(fns, StandardDeviationSample) || slices.Contains(fns, StandardDeviationPopulation)
	for i := range f.out {
		f.out[i].start = f.from + int64(i)*f.every
		f.out[i].end = min(f.out[i].start+f.every, f.to)
	}
	return f
}

// TakesRuns reports whether encoded Runs are enough; else it needs samples.
func (f *Folder) TakesRuns() bool {
	return !f.squares && !f.cfg.Stepped && !f.cfg.UseSlopedExtrapolation
}

// Whole reports whether [from, to), in nanoseconds, lies within one interval.
func (f *Folder) Whole(from, to int64) bool {
	return from >= f.from && to <= f.to && from < to && (from-f.from)/f.every == (to-1-f.from)/f.every
}

// Enough reports whether no later sample can change the results: the span has
// been passed, and a usable sample after it has been seen.
func (f *Folder) Enough() bool { return f.after.nUsed > 0 }

// Usable reports whether a value of this quality is used for lines and areas.
func (c Config) Usable(code quality.Code) bool {
	s := code.Status()
	return s == quality.IsGood || s == quality.IsUncertain && !c.TreatUncertainAsBad
}

// Add adds a sample.
func (f *Folder) Add(s Sample) {
	switch {
	case s.Time < f.from:
		f.before.passed(&s, f.cfg.Usable(s.Code))
	case s.Time >= f.to:
		f.after.ahead(&s, f.cfg.Usable(s.Code))
	default:
		f.enter(s.Time)
		r := &f.run
		if f.cfg.Usable(s.Code) {
			f.out[f.at].usedBefore = f.out[f.at].usedLast
			f.out[f.at].usedLast = s
		}
		r.Add(s)
		if f.squares {
			r.addSquare(&s)
		}
	}
}

// AddRun adds an encoded Run that is Whole; base is what it was encoded with.
func (f *Folder) AddRun(src []byte, base int64) error {
	f.enter(base)
	_, err := f.run.AddEncoded(src, base)
	return err
}

func (e *edge) passed(s *Sample, usable bool) {
	e.any = *s
	e.n++
	if !usable {
		e.skipped = true
		return
	}
	e.second, e.used, e.skipped = e.used, *s, false
	e.nUsed++
}

func (e *edge) ahead(s *Sample, usable bool) {
	if e.n++; e.n == 1 {
		e.any = *s
	}
	if usable {
		if e.nUsed++; e.nUsed == 1 {
			e.used = *s
		}
	} else if e.nUsed == 0 {
		e.skipped = true
	}
}

// enter closes the current interval if t is in a later one.
func (f *Folder) enter(t int64) {
	if i := int((t - f.from) / f.every); i != f.at {
		f.close()
		f.at = i
	}
}

func (f *Folder) close() {
	if f.at < 0 {
		return
	}
	r, o := &f.run, &f.out[f.at]
	o.n, o.dur, o.first, o.last, o.worst, o.worstMulti = r.n, r.dur, r.first, r.last, r.worst, r.worstMulti
	u := r.usedSet(f.cfg.TreatUncertainAsBad)
	o.nUsed, o.usedFirst, o.usedLast, o.usedLeast, o.usedMost, o.text = u.n, u.first, u.last, r.used.least, r.used.most, u.text
	if u.n > 0 && !u.text {
		u.settle()
		o.area = u.area.Append(nil)
	}
	g := &r.good
	o.good = summary{first: g.first, last: g.last, least: g.least, most: g.most, text: g.text}
	if g.n > 0 && !g.text {
		o.good.mean = g.sum.Quo(g.n)
		if f.squares {
			o.good.sample = deviation(&g.sum, &r.squares, g.n, max(1, g.n-1))
			o.good.population = deviation(&g.sum, &r.squares, g.n, g.n)
		}
	}
	r.Reset()
	f.at = -1
}

// Results returns one slice per function, in the order given to NewFolder, with
// one result per interval.
func (f *Folder) Results() [][]Result {
	f.close()
	all := make([][]Result, len(f.fns))
	for k := range all {
		all[k] = make([]Result, len(f.out))
	}
	s := f.survey()
	for i := range f.out {
		for k, fn := range f.fns {
			all[k][i] = s.result(i, fn)
		}
	}
	return all
}
