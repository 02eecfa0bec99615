package plant

import (
	"context"
	"fmt"
	"time"

	"github.com/twinlog/twinlog/domain/correction"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/projections/history"
)

// SampleVersion is one look of one sample.
type SampleVersion struct {
	SampleLook
	Ref          SampleRef
	SourceTime   time.Time
	Position     eventlog.Position
	Recorded     time.Time
	Current      bool
	Modification *ModificationInfo
}

// ModificationInfo says who made a sample look so; see OPC 10000-11 §6.6.3.
type ModificationInfo struct {
	ModificationTime time.Time
	UpdateType       HistoryUpdateType
	Actor            *Actor
	Reason           *ReasonGiven
	Action           correction.Action
	Correction       *Event
}

// HistoryUpdateType is that of OPC 10000-11 §6.9.3.
type HistoryUpdateType string

// The types that there are here: nothing is ever deleted.
const (
	Insert  HistoryUpdateType = "INSERT"
	Replace HistoryUpdateType = "REPLACE"
)

// Versions are all looks of the samples of an instant.
func (t *Tag) Versions(ctx context.Context, at time.Time) ([]*SampleVersion, error) {
	s := t.fam.scope
	spans, err := t.spans(ctx)
	if err != nil {
		return nil, err
	}
	var out []*SampleVersion
	for _, b := range spans {
		if at.Before(b.From) || !b.To.IsZero() && !at.Before(b.To) {
			continue
		}
		found, err := s.r.History.Versions(ctx, b.Point, at, s.cut)
		if err != nil {
			return nil, err
		}
		for _, v := range found {
			list, err := s.versions(ctx, &v)
			if err != nil {
				return nil, err
			}
			out = append(out, list...)
		}
	}
	return out, spend(ctx, len(out))
}

func (s *scope) versions(ctx context.Context, v *history.Versions) ([]*SampleVersion, error) {
	ref := (&Sample{v.Received}).Ref()
	list := []*SampleVersion{{
		SampleLook: SampleLook{v.Received.Value, v.Received.Quality}, Ref: ref, SourceTime: v.Received.SourceTime,
		Position: v.Received.Position, Recorded: v.Received.Recorded,
	}}
	for _, step := range v.Steps {
		rec, err := s.r.eventAt(ctx, step.By.Stream, step.By.Revision)
		if err != nil {
			return nil, err
		}
		if rec == nil {
			return nil, fmt.Errorf("correction %s@%d: %w", step.By.Stream, step.By.Revision, eventlog.ErrDamaged)
		}
		recorded := rec.Recorded
		if recorded.Before(v.Received.Recorded) { // it was there before the sample
			recorded = v.Received.Recorded
		}
		list = append(list, &SampleVersion{
			SampleLook: SampleLook{step.Value, step.Quality}, Ref: ref, SourceTime: v.Received.SourceTime,
			Position: step.Position, Recorded: recorded,
			Modification: &ModificationInfo{
				ModificationTime: rec.Recorded, UpdateType: Replace, Actor: rec.Actor(), Reason: rec.Reason(),
				Action: step.Action, Correction: rec,
			},
		})
	}
	list[len(list)-1].Current = true
	return list, nil
}
