package history

import (
	"context"
	"fmt"
	"iter"
	"math"
	"time"

	"github.com/twinlog/twinlog/domain/columnar"
	"github.com/twinlog/twinlog/domain/correction"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/planted"
	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/projections"
)

// Ref is the identity of a sample: the index-th, in the order received, of the
// event at (stream, revision).
type Ref struct {
	Stream   eventlog.StreamID
	Revision eventlog.Revision
	Index    int
}

// Sample is one remembered measurement.
type Sample struct {
	SourceTime time.Time
	ServerTime time.Time // zero if the message had none
	Recorded   time.Time
	Value      telemetry.Value
	Quality    quality.Quality
	Position   eventlog.Position
	Ref        Ref
	// Corrected: value or quality is not as it was received.
	Corrected bool
	// Altered is the position of the correction, or of its undoing, by which it
	// looks as it does; 0 if it always did. Only LatestAt says it.
	Altered eventlog.Position
	// Gateway and Firmware as the message said them; "" if it did not.
	Gateway, Firmware string
}

// QualityFilter chooses samples by their status.
type QualityFilter uint8

// The filters, as in the GraphQL schema.
const (
	Any QualityFilter = iota
	Good
	GoodOrUncertain
	Bad
)

// Cursor is a place between two samples of a point: the next is later in
// SourceTime, or at the same SourceTime and later in the log.
type Cursor struct {
	SourceTime time.Time
	Position   eventlog.Position
}

// Options narrows a read.
type Options struct {
	Quality QualityFilter
	// Bounds adds the last sample before from and the first at or after to, if
	// they exist, before filtering by quality.
	Bounds bool
	// First stops after this many samples; 0: no limit.
	First int
	// After resumes behind a sample; the zero Cursor: from the start.
	After Cursor
}

// Part is a point and the span [From, To) in which it fed a tag. A zero From
// or To is open.
type Part struct {
	Point    telemetry.Point
	From, To time.Time
}

// View answers from history. Its methods may be used concurrently.
type View struct{ p *Projection }

// Reads counts the snapshots of the store that were read: one for each call,
// however many points it asks for; for an Aggregate some for each part.
func (v *View) Reads() uint64 { return v.p.reads.Load() }

// Points returns the signals of a device in the order of first appearance.
func (v *View) Points(_ context.Context, device string) ([]telemetry.Point, error) {
	v.p.mu.RLock()
	defer v.p.mu.RUnlock()
	var out []telemetry.Point
	if d := v.p.byName[device]; d != nil {
		for _, s := range d.signals {
			out = append(out, telemetry.Point{Device: device, Signal: s})
		}
	}
	return out, nil
}

// Samples yields the samples of a point with SourceTime in [from, to), known at
// the cut, in the order of (SourceTime, position). A zero from or to is open.
func (v *View) Samples(ctx context.Context, point telemetry.Point, from, to time.Time, c projections.Cut, o Options) iter.Seq2[Sample, error] {
	return func(yield func(Sample, error) bool) {
		r := span(from, to)
		q, ok, err := v.p.begin(ctx, point, r.within(o), c, true)
		if err != nil {
			yield(Sample{}, err)
		}
		if !ok || err != nil {
			return
		}
		defer q.close()
		stopped := false
		err = q.walk(r, asOf(c), o, func(s *series, i int) bool {
			x, err := q.sample(s, i)
			stopped = !yield(x, err)
			return !stopped && err == nil
		})
		if err != nil && !stopped {
			yield(Sample{}, err)
		}
	}
}

// LatestAt returns, for each point, the last sample at or before c.AsOf that is
// known at c.Known, or nil; with a zero AsOf the last of all.
func (v *View) LatestAt(ctx context.Context, points []telemetry.Point, c projections.Cut) ([]*Sample, error) {
	out := make([]*Sample, len(points))
	r := stretch{math.MinInt64, asOf(c)}
	queries := make([]*query, len(points))
	v.p.mu.RLock()
	for i, pt := range points {
		if q := v.p.query(pt, r, c, true); q != nil {
			q.onlyLast()
			q.story = v.p.made.Story(pt, q.made)
			queries[i] = q
		}
	}
	v.p.mu.RUnlock()
	all, err := v.p.session(ctx)
	if err != nil {
		return nil, err
	}
	defer all.close()
	for i, q := range queries {
		if q == nil {
			continue
		}
		q.session = all
		s, ok, err := q.last(r.to, 0, func(*series, int) bool { return true })
		if !ok && err == nil {
			continue
		}
		var x Sample
		if err == nil {
			x, err = q.sample(&s, 0)
		}
		if err != nil {
			return nil, fmt.Errorf("latest of %s of %s: %w", points[i].Signal, points[i].Device, err)
		}
		out[i] = &x
	}
	return out, nil
}

// onlyLast keeps, of what was in memory, the last sample of each window and day.
func (q *query) onlyLast() {
	for i := range q.memory {
		s := &q.memory[i].series
		*s = s.only(s.len() - 1)
	}
}

// stretch is a closed range of SourceTime.
type stretch struct{ from, to int64 }

func span(from, to time.Time) stretch {
	s := stretch{math.MinInt64, math.MaxInt64}
	if !from.IsZero() {
		s.from = telemetry.Nanos(from)
	}
	if !to.IsZero() {
		s.to = telemetry.Nanos(to) - 1
	}
	return s
}

// asOf returns the last SourceTime that counts at a cut.
func asOf(c projections.Cut) int64 {
	if c.AsOf.IsZero() {
		return math.MaxInt64
	}
	if planted.Bug == planted.AsOfExclusive {
		return telemetry.Nanos(c.AsOf) - 1
	}
	return telemetry.Nanos(c.AsOf)
}

// within returns what has to be looked at for the range.
func (s stretch) within(o Options) stretch {
	if o.Bounds {
		return stretch{math.MinInt64, math.MaxInt64}
	}
	return s
}

// walk gives the samples of a range one by one, none later than latest, until
// each says stop.
func (q *query) walk(r stretch, latest int64, o Options, each func(s *series, i int) bool) error {
	if r.from > math.MinInt64 && r.to < r.from-1 {
		return nil
	}
	after := stretch{from: math.MinInt64}
	resumed := o.After != Cursor{}
	if resumed {
		after.from = telemetry.Nanos(o.After.SourceTime)
		r.from = max(r.from, after.from)
	}
	n := 0
	give := func(s *series, i int) bool {
		if !o.Quality.passes(s.known[s.quality[i]].Code) {
			return true
		}
		if resumed && (s.times[i] < after.from || s.times[i] == after.from && s.positions[i] <= o.After.Position) {
			return true
		}
		n++
		return each(s, i) && n != o.First
	}
	if o.Bounds && !resumed && r.from > math.MinInt64 {
		s, ok, err := q.last(min(r.from-1, latest), 0, func(*series, int) bool { return true })
		if err != nil {
			return err
		}
		if ok && !give(&s, 0) {
			return nil
		}
	}
	ends := min(r.to, latest)
	if o.Bounds {
		ends = latest
	}
	for s, err := range q.stretches(r.from, ends) {
		if err != nil {
			return err
		}
		for i := range s.len() {
			if !give(s, i) || s.times[i] > r.to {
				return nil
			}
		}
	}
	return nil
}

func (f QualityFilter) passes(c quality.Code) bool {
	switch s := c.Status(); f {
	case Good:
		return s == quality.IsGood
	case GoodOrUncertain:
		return s != quality.IsBad
	case Bad:
		return s == quality.IsBad
	default:
		return true
	}
}

func (q *query) sample(s *series, i int) (Sample, error) {
	id := &s.identity[i]
	recorded, err := q.recordedAt(id.window, s.positions[i])
	if err != nil {
		return Sample{}, err
	}
	x := Sample{
		SourceTime: time.Unix(0, s.times[i]).UTC(), Recorded: time.Unix(0, recorded).UTC(),
		Value: s.value(i), Quality: s.known[s.quality[i]], Position: s.positions[i],
		Ref: Ref{Revision: eventlog.Revision(id.revision), Index: int(id.index)},
	}
	if int(id.origin) >= len(q.origins) {
		return Sample{}, fmt.Errorf("origin %d of %d: %w", id.origin, len(q.origins), columnar.ErrCorrupt)
	}
	x.Gateway, x.Firmware = telemetry.CutOrigin(q.origins[id.origin])
	if id.server != noServer {
		x.ServerTime = time.Unix(0, s.times[i]+id.server).UTC()
	}
	if int(id.stream) >= len(q.streams) {
		return Sample{}, fmt.Errorf("stream %d of %d: %w", id.stream, len(q.streams), columnar.ErrCorrupt)
	}
	x.Ref.Stream = q.streams[id.stream]
	received := correction.Shown{Value: x.Value, Quality: x.Quality}
	if w := s.was(i); w != nil {
		received, x.Corrected = w.Shown, true
	}
	if q.story != nil {
		x.Altered = q.story.Changed(q.given(s, i), received)
	}
	return x, nil
}
