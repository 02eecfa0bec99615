package plant

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/twinlog/twinlog/domain/asset"
	"github.com/twinlog/twinlog/domain/device"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/projections"
	"github.com/twinlog/twinlog/projections/assets"
	"github.com/twinlog/twinlog/projections/history"
)

// Bounds of an explanation.
const (
	mostEvidence = 10
	mostRead     = 200_000 // events of a source between two samples
)

var boundTypes = eventlog.Filter{Types: []string{asset.TypeTagBound, asset.TypeTagUnbound}}

// boundAt says from when on an event changed what feeds a tag.
func boundAt(rec eventlog.Record, t *assets.Tag) (time.Time, bool) {
	event, err := asset.Decode(rec.Type, rec.Data)
	if err != nil {
		return time.Time{}, false
	}
	switch e := event.(type) {
	case asset.TagBound:
		return e.Effective, e.Asset == t.AssetID && e.Tag == t.Name
	case asset.TagUnbound:
		return e.Effective, e.Asset == t.AssetID && e.Tag == t.Name
	}
	return time.Time{}, false
}

// silence is a stretch in which a point that feeds a tag brought nothing.
type silence struct {
	s        *scope
	point    telemetry.Point
	from, to time.Time

	found map[GapKind]*GapReason
	order []*GapReason
	read  int
}

// reasons asks the device's own words, and what its source sent meanwhile.
func (q *silence) reasons(ctx context.Context) ([]*GapReason, error) {
	q.found = map[GapKind]*GapReason{}
	if err := q.presence(ctx); err != nil {
		return nil, err
	}
	before, err := q.edge(ctx, q.from.Add(1), true)
	if err != nil {
		return nil, err
	}
	after, err := q.edge(ctx, q.to, false)
	if err != nil {
		return nil, err
	}
	if err := q.source(ctx, before, after); err != nil {
		return nil, err
	}
	if len(q.order) == 0 && after == nil {
		r := q.reason(Pending)
		if before != nil {
			e, err := q.s.r.eventAt(ctx, before.Ref.Stream, before.Ref.Revision)
			if err != nil {
				return nil, err
			}
			r.Evidence = append(r.Evidence, e)
		}
	}
	return q.order, nil
}

func (q *silence) reason(kind GapKind) *GapReason {
	r := q.found[kind]
	if r == nil {
		r = &GapReason{Kind: kind, Evidence: []*Event{}}
		q.found[kind] = r
		q.order = append(q.order, r)
	}
	return r
}

func (q *silence) evidence(r *GapReason, rec eventlog.Record) error {
	if len(r.Evidence) >= mostEvidence {
		return nil
	}
	e, err := NewEvent(q.s.r.Log.Origin(), rec)
	r.Evidence = append(r.Evidence, e)
	return err
}

func (r *GapReason) count(n int) {
	if r.Count == nil {
		r.Count = new(int)
	}
	*r.Count += n
}

// presence finds the times that the device was away by its own word or will.
func (q *silence) presence(ctx context.Context) error {
	var away *eventlog.Record
	var since time.Time
	end := func(until time.Time, back *eventlog.Record) error {
		if away == nil || !since.Before(q.to) || !until.After(q.from) {
			return nil
		}
		r := &GapReason{Kind: WasOffline, From: &since, Evidence: []*Event{}}
		var said device.Offline
		if err := json.Unmarshal(away.Data, &said); err == nil {
			r.Note = optional(said.Reason)
		}
		q.order = append(q.order, r)
		if err := q.evidence(r, *away); err != nil || back == nil {
			return err
		}
		r.To = &until
		return q.evidence(r, *back)
	}
	for rec, err := range q.s.r.Log.Read(ctx, device.Stream(q.point.Device), 0, eventlog.Forwards) {
		if err != nil {
			return err
		}
		if rec.Position > q.s.cut.Through() {
			break
		}
		var said device.Offline // Online has the same fields
		if json.Unmarshal(rec.Data, &said) != nil {
			continue
		}
		switch rec.Type {
		case device.Offline{}.EventType():
			away, since = &rec, said.At
		case device.Online{}.EventType():
			if err := end(said.At, &rec); err != nil {
				return err
			}
			away = nil
		}
	}
	return end(time.Unix(0, math.MaxInt64), nil)
}

// edge is the last sample of the point before an instant, or the first from it on.
func (q *silence) edge(ctx context.Context, at time.Time, before bool) (*history.Sample, error) {
	if before {
		found, err := q.s.r.History.LatestAt(ctx, []telemetry.Point{q.point}, projections.Cut{AsOf: at.Add(-1), Known: q.s.cut.Known})
		if err != nil {
			return nil, err
		}
		return found[0], nil
	}
	for x, err := range q.s.r.History.Samples(ctx, q.point, at, endOfTime, projections.Cut{Known: q.s.cut.Known}, history.Options{First: 1}) {
		return &x, err
	}
	return nil, nil
}

// source reads what the source sent between the two samples, where it numbered
// it.
func (q *silence) source(ctx context.Context, before, after *history.Sample) error {
	type part struct {
		stream   eventlog.StreamID
		from, to eventlog.Revision
	}
	var parts []part
	switch {
	case before != nil && after != nil && before.Ref.Stream == after.Ref.Stream:
		parts = []part{{before.Ref.Stream, before.Ref.Revision + 1, after.Ref.Revision}}
	default:
		if before != nil {
			parts = append(parts, part{before.Ref.Stream, before.Ref.Revision + 1, eventlog.LastRevision})
		}
		if after != nil {
			parts = append(parts, part{after.Ref.Stream, 0, after.Ref.Revision})
		}
	}
	for _, p := range parts {
		for rec, err := range q.s.r.Log.Read(ctx, p.stream, p.from, eventlog.Forwards) {
			if err != nil {
				return err
			}
			if q.read++; rec.Revision >= p.to || rec.Position > q.s.cut.Through() || q.read > mostRead {
				break
			}
			if err := q.event(rec); err != nil {
				return err
			}
		}
	}
	return nil
}

// event takes one event of the source as evidence, if it is.
func (q *silence) event(rec eventlog.Record) error {
	switch rec.Type {
	case eventlog.TelemetryRecorded:
		return q.row(rec)
	case telemetry.Lost{}.EventType():
		return q.lost(rec)
	case telemetry.Refused{}.EventType():
		var e telemetry.Refused
		if err := json.Unmarshal(rec.Data, &e); err != nil {
			return fmt.Errorf("event at %s: %w", rec.Position, err)
		}
		r := q.reason(WasRefused)
		r.count(1)
		r.Note = optional(e.Reason)
		return q.evidence(r, rec)
	case telemetry.Gap{}.EventType():
		var e telemetry.Gap
		if err := json.Unmarshal(rec.Data, &e); err != nil {
			return fmt.Errorf("event at %s: %w", rec.Position, err)
		}
		r := q.reason(Missing)
		if e.To >= e.From && e.From > 0 {
			r.count(int(min(e.To-e.From+1, math.MaxInt32)))
		}
		r.Note = optional(e.Reason)
		return q.evidence(r, rec)
	}
	return nil
}

// row says that the device spoke in the gap, and not of this signal.
func (q *silence) row(rec eventlog.Record) error {
	var v telemetry.View
	if v.Reset(rec.Data) != nil || string(v.Device) != q.point.Device || !v.SourceTime.After(q.from) || !v.SourceTime.Before(q.to) {
		return nil //nolint:nilerr // what cannot be read says nothing
	}
	r := q.reason(Filtered)
	r.count(1)
	return q.evidence(r, rec)
}

// lost says what the source dropped of the signal, or of everything if it does
// not know of what.
func (q *silence) lost(rec eventlog.Record) error {
	var e telemetry.Lost
	if err := json.Unmarshal(rec.Data, &e); err != nil {
		return fmt.Errorf("event at %s: %w", rec.Position, err)
	}
	for _, t := range e.Tags {
		if t.Device == q.point.Device && t.Signal == q.point.Signal && t.From.Before(q.to) && t.To.After(q.from) {
			r := q.reason(WasLost)
			r.count(int(min(t.Samples, math.MaxInt32)))
			r.From, r.To, r.Note = &t.From, &t.To, optional(e.Reason)
			return q.evidence(r, rec)
		}
	}
	if len(e.Tags) > 0 || !e.Oldest.IsZero() && (!e.Oldest.Before(q.to) || !e.Newest.IsZero() && e.Newest.Before(q.from)) {
		return nil
	}
	r := q.reason(WasLost)
	r.count(int(min(e.Counts.Messages, math.MaxInt32)))
	r.From, r.To, r.Note = optional(e.Oldest), optional(e.Newest), optional(e.Reason)
	return q.evidence(r, rec)
}
