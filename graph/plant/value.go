package plant

import (
	"context"
	"fmt"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/planted"
	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/graph/scalar"
	"github.com/twinlog/twinlog/projections"
	"github.com/twinlog/twinlog/projections/assets"
	"github.com/twinlog/twinlog/projections/history"
	"github.com/twinlog/twinlog/projections/twins"
)

// reading is the last sample of a tag.
type reading struct {
	ok                               bool
	value                            telemetry.Value
	quality                          quality.Quality
	sourceTime, serverTime, recorded time.Time
	position                         eventlog.Position
	changed                          eventlog.Position // when it became the newest, or came to look so: position, or later
	altered                          eventlog.Position // of the correction by which it looks so; 0 if it always did
	corrected                        bool
}

// TagValue is a value with everything that says how far to trust it.
type TagValue struct {
	Tag *Tag
	reading
	now           time.Time
	staleMultiple float64
}

// Value is the value.
func (v *TagValue) Value() telemetry.Value { return v.value }

// Number is nil unless numeric and finite.
func (v *TagValue) Number() *float64 { return scalar.Number(v.value) }

// Quality is how far to trust it.
func (v *TagValue) Quality() Quality { return Quality{v.quality} }

// SourceTime is when it happened.
func (v *TagValue) SourceTime() time.Time { return v.sourceTime }

// ServerTime is when the gateway saw it.
func (v *TagValue) ServerTime() *time.Time { return optional(v.serverTime) }

// Recorded is when the log accepted it.
func (v *TagValue) Recorded() time.Time { return v.recorded }

// Position is of the event that brought it.
func (v *TagValue) Position() eventlog.Position { return v.position }

// Corrected reports that it is not as it was received.
func (v *TagValue) Corrected() bool { return v.corrected }

// Age is from SourceTime to the moment.
func (v *TagValue) Age() time.Duration { return v.now.Sub(v.sourceTime) }

// Stale reports a value older than so many expected intervals as are set.
func (v *TagValue) Stale() bool {
	expected := v.Tag.Tag.ExpectedInterval
	return expected > 0 && float64(v.Age()) > v.staleMultiple*float64(expected)
}

// Quality shows a quality's parts.
type Quality struct{ q quality.Quality }

// QualityStatus is GOOD, UNCERTAIN or BAD.
type QualityStatus string

// QualityLimit is NONE, LOW, HIGH or CONSTANT.
type QualityLimit string

// StatusOf is a code's severity in the words of the schema.
func StatusOf(c quality.Code) QualityStatus {
	switch c.Status() {
	case quality.IsGood:
		return "GOOD"
	case quality.IsUncertain:
		return "UNCERTAIN"
	default:
		return "BAD"
	}
}

// Status is the severity.
func (q Quality) Status() QualityStatus { return StatusOf(q.q.Code) }

// Name is OPC UA's.
func (q Quality) Name() string { return q.q.Code.Name() }

// StatusCode is the code.
func (q Quality) StatusCode() quality.Code { return q.q.Code }

// Limit is what the limit bits say.
func (q Quality) Limit() QualityLimit {
	switch q.q.Code.Limit() {
	case quality.Low:
		return "LOW"
	case quality.High:
		return "HIGH"
	case quality.Constant:
		return "CONSTANT"
	default:
		return "NONE"
	}
}

// Raw is the code as it came, behind the name of whose it is.
func (q Quality) Raw() *string {
	if q.q.Scheme == quality.Assumed {
		return nil
	}
	s := fmt.Sprintf("%s:%d", q.q.Scheme, q.q.Raw)
	return &s
}

// now is what ages count to.
func (s *scope) now() time.Time {
	if !s.cut.AsOf.IsZero() && planted.Bug != planted.StaleNow {
		return s.cut.AsOf
	}
	return s.cut.Now
}

// readings finds the last sample of each tag at the cut: the newest one that
// came through a binding while that binding lasted. Bindings are walked from
// the last one back, all tags one step at a time, so that the number of reads
// is the number of steps.
func (s *scope) readings(ctx context.Context, tags []*Tag) ([]reading, error) {
	found := make([]reading, len(tags))
	if len(tags) == 0 {
		return found, nil
	}
	spans, err := s.r.Assets.Bindings(ctx, tagIDs(tags), s.cut)
	if err != nil {
		return nil, err
	}
	walk := make([]step, 0, len(tags))
	for i, list := range spans {
		walk = append(walk, step{i, list})
	}
	if s.cut.AsOf.IsZero() {
		if walk, err = s.fromTwins(ctx, walk, found); err != nil {
			return nil, err
		}
	}
	for len(walk) > 0 {
		if walk, err = s.fromHistory(ctx, walk, found); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// step is a tag on its way back through its bindings; the last of left is next.
type step struct {
	tag  int
	left []assets.Binding
}

func (st step) binding() assets.Binding { return st.left[len(st.left)-1] }

// fromTwins takes the newest values, where the last binding still lasts, and
// returns what they do not answer. A value that became the newest at or before
// the cut was the newest then as well.
func (s *scope) fromTwins(ctx context.Context, walk []step, found []reading) ([]step, error) {
	var open []step
	var points []telemetry.Point
	var rest []step
	for _, st := range walk {
		switch {
		case len(st.left) == 0:
		case st.binding().To.IsZero():
			open, points = append(open, st), append(points, st.binding().Point)
		default:
			rest = append(rest, st)
		}
	}
	if len(points) == 0 {
		return rest, nil
	}
	latest, err := s.r.Twins.Latest(ctx, points)
	if err != nil {
		return nil, err
	}
	for i, last := range latest {
		switch st := open[i]; {
		case last.OK && s.cut.Known != 0 && max(last.Changed, last.Position) > s.cut.Known:
			rest = append(rest, st) // newer than the cut: history knows what was before
		case last.OK && !last.SourceTime.Before(st.binding().From):
			found[st.tag] = fromLast(last)
		case len(st.left) > 1:
			rest = append(rest, step{st.tag, st.left[:len(st.left)-1]})
		}
	}
	return rest, nil
}

// fromHistory answers one step, and returns the tags that must go further back.
func (s *scope) fromHistory(ctx context.Context, walk []step, found []reading) ([]step, error) {
	limits, err := s.horizons(ctx)
	if err != nil {
		return nil, err
	}
	last := make([]*history.Sample, len(walk))
	for _, h := range limits {
		groups := map[time.Time][]int{} // by the instant to look from; mostly one
		for i, st := range walk {
			if len(st.left) == 0 {
				continue
			}
			asOf := h.limit
			if to := st.binding().To; !to.IsZero() && !to.After(asOf) {
				asOf = to.Add(-1)
			}
			groups[asOf] = append(groups[asOf], i)
		}
		for asOf, steps := range groups {
			points := make([]telemetry.Point, len(steps))
			for k, i := range steps {
				points[k] = walk[i].binding().Point
			}
			samples, err := s.r.History.LatestAt(ctx, points, projections.Cut{AsOf: asOf, Known: h.known, Corrections: s.cut.Known, Now: s.cut.Now})
			if err != nil {
				return nil, err
			}
			for k, i := range steps {
				last[i] = later(last[i], samples[k])
			}
		}
	}
	var rest []step
	for i, st := range walk {
		switch {
		case len(st.left) == 0:
		case last[i] != nil && !last[i].SourceTime.Before(st.binding().From):
			found[st.tag] = fromSample(last[i])
		case len(st.left) > 1:
			rest = append(rest, step{st.tag, st.left[:len(st.left)-1]})
		}
	}
	return rest, nil
}

func fromLast(l twins.Last) reading {
	return reading{true, l.Value, l.Quality, l.SourceTime, l.ServerTime, l.Recorded, l.Position, max(l.Position, l.Changed), l.Altered, l.Corrected}
}

func fromSample(h *history.Sample) reading {
	return reading{true, h.Value, h.Quality, h.SourceTime, h.ServerTime, h.Recorded, h.Position, max(h.Position, h.Altered), h.Altered, h.Corrected}
}
