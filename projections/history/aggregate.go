package history

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/twinlog/twinlog/domain/columnar"
	"github.com/twinlog/twinlog/domain/correction"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/planted"
	"github.com/twinlog/twinlog/projections"
	"github.com/twinlog/twinlog/projections/aggregate"
)

// lookAround is how many days that have samples are looked through for a usable
// value before and after the span. OPC 10000-13 §3.1.8 leaves it to the server
// and asks for one interval at least.
const lookAround = 32

// Aggregate computes functions over the parts of a tag: one slice per function,
// in the order of fns, each with one result per interval of the span. The parts
// do not overlap; what a point measured outside of its part does not count.
func (v *View) Aggregate(ctx context.Context, parts []Part, s aggregate.Span, fns []aggregate.Function, cfg aggregate.Config, c projections.Cut) ([][]aggregate.Result, error) {
	f := aggregate.NewFolder(s, fns, cfg)
	all := span(s.From, s.To)
	parts = slices.Clone(parts)
	slices.SortStableFunc(parts, func(a, b Part) int { return a.From.Compare(b.From) })
	w := &aggregation{v: v, ctx: ctx, f: f, cfg: cfg, cut: c, asOf: asOf(c)}
	// Backwards for what was before, until something usable has been found.
	var before [][]aggregate.Sample
	for _, p := range slices.Backward(parts) {
		r := span(p.From, p.To)
		list, usable, err := w.before(p, stretch{r.from, min(r.to, all.from-1)})
		if err != nil {
			return nil, err
		}
		if before = append(before, list); usable {
			break
		}
	}
	for _, list := range slices.Backward(before) {
		for _, x := range list {
			f.Add(x)
		}
	}
	for _, p := range parts {
		r := span(p.From, p.To)
		if err := w.part(p, stretch{max(r.from, all.from), min(r.to, w.asOf)}, all.to); err != nil {
			return nil, err
		}
		if f.Enough() {
			break
		}
	}
	return f.Results(), nil
}

// aggregation feeds a Folder from the parts of a tag.
type aggregation struct {
	v    *View
	ctx  context.Context
	f    *aggregate.Folder
	cfg  aggregate.Config
	cut  projections.Cut
	asOf int64
}

// before returns what the Folder must know of the samples of a range: the last
// one, the last usable one, and the usable one before that if lines are to be
// drawn on.
func (w *aggregation) before(p Part, r stretch) (list []aggregate.Sample, usable bool, err error) {
	if r.to = min(r.to, w.asOf); r.from > r.to {
		return nil, false, nil
	}
	q, ok, err := w.v.p.begin(w.ctx, p.Point, r, w.cut, false)
	if !ok || err != nil {
		return nil, false, err
	}
	defer q.close()
	take := func(to int64, any bool) (int64, bool, error) {
		x, ok, err := w.lastBefore(q, stretch{r.from, to}, any)
		if !ok || err != nil {
			return 0, false, err
		}
		if len(list) == 0 || list[len(list)-1].Time != x.Time {
			list = append(list, x)
		}
		return x.Time, true, nil
	}
	_, ok, err = take(r.to, true)
	wanted := 1
	if w.cfg.UseSlopedExtrapolation {
		wanted = 2
	}
	for to := r.to; ok && err == nil && wanted > 0; wanted-- {
		if to, ok, err = take(to, false); ok {
			usable = true
			to--
		}
	}
	slices.Reverse(list)
	return list, usable, err
}

// lastBefore returns the last sample of a range, or the last usable one. Of
// samples with one SourceTime the last in the log counts, usable or not.
func (w *aggregation) lastBefore(q *query, r stretch, any bool) (aggregate.Sample, bool, error) {
	days := lookAround
	if any {
		days *= 12 // only a question of speed: a signal may be rare
	}
	for r.from <= r.to {
		s, ok, err := q.last(r.to, days, func(s *series, i int) bool {
			return any || w.cfg.Usable(s.known[s.quality[i]].Code)
		})
		if !ok || err != nil || s.times[0] < r.from {
			return aggregate.Sample{}, false, err
		}
		t := s.times[0]
		if !any {
			if s, _, err = q.last(t, 1, func(*series, int) bool { return true }); err != nil {
				return aggregate.Sample{}, false, err
			}
		}
		if x := s.aggregateSample(0); any || w.cfg.Usable(x.Code) {
			return x, true, nil
		}
		r.to = t - 1
	}
	return aggregate.Sample{}, false, nil
}

func (s *series) aggregateSample(i int) aggregate.Sample {
	return aggregate.Sample{Time: s.times[i], Value: s.value(i), Code: s.known[s.quality[i]].Code}
}

// part feeds the samples of a part, sums where they will do, and on behind the
// end of the span until Enough.
func (w *aggregation) part(p Part, r stretch, spanEnd int64) error {
	if r.from > r.to {
		return nil
	}
	q, ok, err := w.v.p.begin(w.ctx, p.Point, r, w.cut, false)
	if !ok || err != nil {
		return err
	}
	defer q.close()
	inside := stretch{r.from, min(r.to, spanEnd)}
	if inside.from <= inside.to {
		if w.f.TakesRuns() {
			err = w.summed(q, inside)
		} else {
			err = w.samples(q, inside)
		}
		if err != nil {
			return fmt.Errorf("aggregate of %s of %s: %w", p.Point.Signal, p.Point.Device, err)
		}
	}
	if r.to <= spanEnd {
		return nil
	}
	return w.after(q, stretch{max(r.from, spanEnd+1), r.to})
}

// samples feeds samples one by one. Of those with one SourceTime the last in
// the log counts.
func (w *aggregation) samples(q *query, r stretch) error {
	for s, err := range q.stretches(r.from, r.to) {
		if err != nil {
			return err
		}
		for i := range s.len() {
			if i+1 == s.len() || s.times[i+1] != s.times[i] || planted.Bug == planted.AggregateTie {
				w.f.Add(s.aggregateSample(i))
			}
		}
	}
	return nil
}

// after feeds what follows the span, until it is enough.
func (w *aggregation) after(q *query, r stretch) error {
	days := 0
	day := int32(math.MinInt32)
	for s, err := range q.stretches(r.from, r.to) {
		if err != nil {
			return err
		}
		for i := range s.len() {
			if i+1 < s.len() && s.times[i+1] == s.times[i] {
				continue
			}
			if w.f.Add(s.aggregateSample(i)); w.f.Enough() {
				return nil
			}
		}
		if d := dayOf(s.times[0]); d != day {
			if day, days = d, days+1; days > lookAround {
				return nil
			}
		}
	}
	return nil
}

// summed feeds Runs for whole slices and samples for the rest.
func (w *aggregation) summed(q *query, r stretch) error {
	pending := stretch{1, 0} // to be fed as samples; empty
	flush := func() error {
		if pending.from > pending.to {
			return nil
		}
		err := w.samples(q, pending)
		pending = stretch{1, 0}
		return err
	}
	days, err := q.daySums(r.from, r.to)
	if err != nil {
		return err
	}
	for i := range days {
		d := &days[i]
		for k := range d.slices {
			sl := &d.slices[k]
			if !sl.samples && len(sl.runs) == 0 {
				continue
			}
			from := int64(d.day)*nanosPerDay + int64(k)*slice
			if to := from + slice; !sl.samples && from >= r.from && to-1 <= r.to && w.f.Whole(from, to) {
				if err := flush(); err != nil {
					return err
				}
				for _, b := range sl.runs {
					if err := w.f.AddRun(b, from); err != nil {
						return err
					}
				}
				continue
			}
			within := stretch{max(from, r.from), min(from+slice-1, r.to)}
			if within.from > within.to {
				continue
			}
			if pending.from > pending.to {
				pending = within
			} else {
				pending.to = within.to
			}
		}
	}
	return flush()
}

// daySums says what is known of a day's slices.
type daySums struct {
	day    int32
	slices [nanosPerDay / slice]struct {
		samples bool     // read them
		runs    [][]byte // in the order of time, not overlapping
		last    int64    // SourceTime of the last sample in runs
	}
}

// daySums returns the sums of the days in the range that have samples.
func (q *query) daySums(from, to int64) ([]daySums, error) {
	byDay := map[int32]*daySums{}
	of := func(day int32) *daySums {
		d := byDay[day]
		if d == nil {
			d = &daySums{day: day}
			byDay[day] = d
		}
		return d
	}
	for i := range q.memory {
		m := &q.memory[i].series
		of(q.memory[i].day).mark(m.times[0], m.times[m.len()-1])
	}
	err := q.scanDays(kindNoSums, q.column/group, from, to, func(day int32, _ eventlog.Position, row []byte) error {
		first, last, ok, err := readExtent(row, q.column)
		if ok {
			of(day).mark(first, last)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	err = q.scanDays(kindSums, q.column, from, to, func(day int32, window eventlog.Position, row []byte) error {
		runs, err := readSums(row)
		if err != nil {
			return err
		}
		// A window that the cut goes through has later samples, too.
		part := q.known-window < 1<<windowBits && planted.Bug != planted.SummaryAcrossKnown
		return of(day).add(runs, part)
	})
	days := make([]daySums, 0, len(byDay))
	for _, d := range slices.Sorted(maps.Keys(byDay)) {
		byDay[d].doubt(q.plan)
		days = append(days, *byDay[d])
	}
	return days, err
}

// scanDays gives the rows of one kind and part, for the days in the range.
func (q *query) scanDays(kind byte, part uint32, from, to int64, each func(day int32, window eventlog.Position, row []byte) error) error {
	for w, err := range q.snap.Scan(dayFrom(kind, q.device, part, dayOf(from)), dayTo(kind, q.device, part, dayOf(to)), false) {
		if err == nil {
			err = q.ctx.Err()
		}
		if err != nil {
			return err
		}
		day, window, _ := cutKey(w.Key)
		if window >= q.edge || window > q.known {
			continue
		}
		if err := each(day, window, w.Value); err != nil {
			return fmt.Errorf("day %d, window %d: %w", day, window, err)
		}
	}
	return nil
}

// mark says that there are samples from first to last that have no Runs.
func (d *daySums) mark(first, last int64) {
	for k := mod(first, nanosPerDay) / slice; k <= mod(last, nanosPerDay)/slice; k++ {
		d.slices[k].samples = true
	}
}

// doubt has the samples read wherever one may be corrected.
func (d *daySums) doubt(plan *correction.Plan) {
	from := int64(d.day) * nanosPerDay
	if !plan.Touches(from, from+nanosPerDay-1) {
		return
	}
	for k := range d.slices {
		at := from + int64(k)*slice
		if len(d.slices[k].runs) > 0 && plan.Touches(at, at+slice-1) {
			d.slices[k].samples = true
		}
	}
}

// add adds the Runs of a window. Where Runs of two windows overlap in time they
// cannot be joined; and of a window that is only known in part, none can be used.
func (d *daySums) add(runs []run, part bool) error {
	for _, r := range runs {
		if r.slice < 0 || r.slice >= len(d.slices) {
			return fmt.Errorf("slice %d of a day: %w", r.slice, columnar.ErrCorrupt)
		}
		base := int64(d.day)*nanosPerDay + int64(r.slice)*slice
		first, last, err := aggregate.Extent(r.bytes, base)
		if err != nil {
			return err
		}
		sl := &d.slices[r.slice]
		if part || len(sl.runs) > 0 && first <= sl.last && planted.Bug != planted.SummaryOverlap {
			sl.samples = true // also when they only come in another order
		}
		sl.runs, sl.last = append(sl.runs, r.bytes), max(sl.last, last)
	}
	return nil
}
