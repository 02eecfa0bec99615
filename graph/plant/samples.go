package plant

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/planted"
	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/graph/fault"
	"github.com/twinlog/twinlog/graph/scalar"
	"github.com/twinlog/twinlog/projections"
	"github.com/twinlog/twinlog/projections/assets"
	"github.com/twinlog/twinlog/projections/history"
)

// maxSamples bounds a page of samples as objects; Series has columns for more.
const maxSamples = 10_000

// Sample is one raw sample.
type Sample struct{ history.Sample }

// Value is the value.
func (s *Sample) Value() telemetry.Value { return s.Sample.Value }

// Number is nil unless numeric and finite.
func (s *Sample) Number() *float64 { return scalar.Number(s.Sample.Value) }

// Quality is how far to trust it.
func (s *Sample) Quality() Quality { return Quality{s.Sample.Quality} }

// Ref is its identity.
func (s *Sample) Ref() SampleRef {
	return SampleRef{string(s.Sample.Ref.Stream), s.Sample.Ref.Revision, s.Sample.Ref.Index}
}

// SampleRef is the identity of a sample.
type SampleRef struct {
	Stream   string
	Revision eventlog.Revision
	Index    int
}

// SampleConnection is a page of samples.
type SampleConnection struct {
	Edges    []SampleEdge
	PageInfo *PageInfo
}

// SampleEdge is a sample and where it stands.
type SampleEdge struct {
	Cursor string
	Node   *Sample
}

// Nodes are the page's samples.
func (c *SampleConnection) Nodes() []*Sample {
	nodes := make([]*Sample, len(c.Edges))
	for i, e := range c.Edges {
		nodes[i] = e.Node
	}
	return nodes
}

// Samples lists raw samples.
func (t *Tag) Samples(ctx context.Context, from, to time.Time, quality *QualityFilter, bounds *bool, first *int, after *string) (*SampleConnection, error) {
	if err := checkRange(from, to); err != nil {
		return nil, err
	}
	pg, err := t.fam.scope.page(first, after, maxSamples, "samples", t.Tag.ID, from, to, value(quality), bounds)
	if err != nil {
		return nil, err
	}
	rd, err := pg.scope.read(ctx, t, from, to, value(quality), value(bounds))
	if err != nil {
		return nil, err
	}
	if err := rd.resume(pg.after); err != nil {
		return nil, err
	}
	c := &SampleConnection{Edges: []SampleEdge{}}
	var cursors []string
	more := false
	err = rd.each(ctx, func(h history.Sample) bool {
		if more = len(c.Edges) == pg.first; more {
			return false
		}
		cursors = append(cursors, pg.cursor(sampleKey(h.SourceTime, h.Position)))
		c.Edges = append(c.Edges, SampleEdge{cursors[len(cursors)-1], &Sample{h}})
		return true
	})
	if err != nil {
		return nil, err
	}
	c.PageInfo = pg.info(cursors, more)
	return c, spend(ctx, len(c.Edges))
}

func checkRange(from, to time.Time) error {
	if !from.Before(to) {
		return fault.Bad("to", to.Format(time.RFC3339Nano), "a time after from, "+from.Format(time.RFC3339Nano))
	}
	return nil
}

// sampleKey is a cursor's key: 8 bytes of nanoseconds, 8 of position.
func sampleKey(at time.Time, p eventlog.Position) string {
	b := binary.BigEndian.AppendUint64(nil, uint64(at.UnixNano()))
	return string(binary.BigEndian.AppendUint64(b, uint64(p)))
}

func parseSampleKey(key string) (history.Cursor, error) {
	if len(key) != 16 {
		return history.Cursor{}, fault.Bad("after", key, "a cursor of samples")
	}
	return history.Cursor{
		SourceTime: time.Unix(0, int64(binary.BigEndian.Uint64([]byte(key)))).UTC(),
		Position:   eventlog.Position(binary.BigEndian.Uint64([]byte(key[8:]))),
	}, nil
}

// ranged reads a tag's samples of a range through its bindings.
type ranged struct {
	s             *scope
	spans         []assets.Binding
	from, to      time.Time
	quality       QualityFilter
	before, after *history.Sample // bounds
	behind        history.Cursor  // resume behind this one
}

func (s *scope) read(ctx context.Context, t *Tag, from, to time.Time, q QualityFilter, bounds bool) (*ranged, error) {
	lists, err := s.spansOf(ctx, t)
	if err != nil {
		return nil, err
	}
	rd := &ranged{s: s, spans: lists, from: from, to: to, quality: q}
	if !s.cut.AsOf.IsZero() && s.cut.AsOf.Before(to) { // what came later had not happened
		rd.to = s.cut.AsOf.Add(1)
	}
	if bounds {
		if rd.before, err = rd.lastBefore(ctx); err == nil {
			rd.after, err = rd.firstAfter(ctx)
		}
	}
	return rd, err
}

// spansOf are the tag's bindings at this scope, which may be another one than
// the tag was found at.
func (s *scope) spansOf(ctx context.Context, t *Tag) ([]assets.Binding, error) {
	if s == t.fam.scope {
		return t.spans(ctx)
	}
	lists, err := s.r.Assets.Bindings(ctx, []string{t.Tag.ID}, s.cut)
	if err != nil {
		return nil, err
	}
	return lists[0], nil
}

func (rd *ranged) resume(key string) (err error) {
	if key != "" {
		rd.behind, err = parseSampleKey(key)
	}
	return err
}

// parts are the bindings cut to the range.
func (rd *ranged) parts() []history.Part {
	var parts []history.Part
	for _, b := range rd.spans {
		p := history.Part{Point: b.Point, From: b.From, To: b.To}
		if p.From.Before(rd.from) {
			p.From = rd.from
		}
		if p.To.IsZero() || p.To.After(rd.to) {
			p.To = rd.to
		}
		if p.From.Before(p.To) {
			parts = append(parts, p)
		}
	}
	return parts
}

// lastBefore is the last sample before the range.
func (rd *ranged) lastBefore(ctx context.Context) (*history.Sample, error) {
	for _, b := range slices.Backward(rd.spans) {
		if !b.From.Before(rd.from) {
			continue
		}
		end := rd.from
		if rd.to.Before(end) && planted.Bug != planted.BoundAfterMoment { // the moment ends before the range begins
			end = rd.to
		}
		if !b.To.IsZero() && b.To.Before(end) {
			end = b.To
		}
		found, err := rd.s.r.History.LatestAt(ctx, []telemetry.Point{b.Point},
			projections.Cut{AsOf: end.Add(-1), Known: rd.s.cut.Known, Now: rd.s.cut.Now})
		if err != nil {
			return nil, err
		}
		if found[0] != nil && !found[0].SourceTime.Before(b.From) {
			return found[0], nil
		}
	}
	return nil, nil
}

// endOfTime is after every sample.
var endOfTime = time.Date(2261, 1, 1, 0, 0, 0, 0, time.UTC)

// firstAfter is the first sample at or after the range's end, if the moment
// knows it.
func (rd *ranged) firstAfter(ctx context.Context) (*history.Sample, error) {
	for _, b := range rd.spans {
		from, to := b.From, b.To
		if from.Before(rd.to) {
			from = rd.to
		}
		if to.IsZero() {
			to = endOfTime
		}
		if !rd.s.cut.AsOf.IsZero() && rd.s.cut.AsOf.Before(to) {
			to = rd.s.cut.AsOf.Add(1)
		}
		if !from.Before(to) {
			continue
		}
		for h, err := range rd.s.r.History.Samples(ctx, b.Point, from, to, rd.s.cut, history.Options{First: 1}) {
			if err != nil {
				return nil, err
			}
			return &h, nil
		}
	}
	return nil, nil
}

// each calls f for every sample, until f has enough.
func (rd *ranged) each(ctx context.Context, f func(history.Sample) bool) error {
	if rd.before != nil && rd.passes(rd.before) && !f(*rd.before) {
		return nil
	}
	o := history.Options{Quality: historyFilter(rd.quality)}
	for _, p := range rd.parts() {
		if !rd.behind.SourceTime.Before(p.To) {
			continue
		}
		o.After = history.Cursor{}
		if !rd.behind.SourceTime.Before(p.From) {
			o.After = rd.behind
		}
		for h, err := range rd.s.r.History.Samples(ctx, p.Point, p.From, p.To, rd.s.cut, o) {
			if err != nil {
				return fmt.Errorf("samples of %s %s: %w", p.Point.Device, p.Point.Signal, err)
			}
			if !f(h) {
				return nil
			}
		}
	}
	if rd.after != nil && rd.passes(rd.after) {
		f(*rd.after)
	}
	return nil
}

// passes says whether a bound is shown: not one that an earlier page had.
func (rd *ranged) passes(h *history.Sample) bool {
	if behind := rd.behind; behind != (history.Cursor{}) {
		if h.SourceTime.Before(behind.SourceTime) || (h.SourceTime.Equal(behind.SourceTime) && h.Position <= behind.Position) {
			return false
		}
	}
	switch status := h.Quality.Code.Status(); historyFilter(rd.quality) {
	case history.Good:
		return status == quality.IsGood
	case history.GoodOrUncertain:
		return status != quality.IsBad
	case history.Bad:
		return status == quality.IsBad
	default:
		return true
	}
}

func historyFilter(q QualityFilter) history.QualityFilter {
	switch q {
	case "GOOD":
		return history.Good
	case "GOOD_OR_UNCERTAIN":
		return history.GoodOrUncertain
	case "BAD":
		return history.Bad
	default:
		return history.Any
	}
}
