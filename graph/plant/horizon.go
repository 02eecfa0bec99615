package plant

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/settings"
	"github.com/twinlog/twinlog/projections/history"
)

// horizon is how far ahead samples may be to be current at a cut: of those that
// came up to a position, the ones with SourceTime up to a limit.
type horizon struct {
	known eventlog.Position
	limit time.Time
}

// horizons are those of the cut. With an asOf there is that one. Else it is the
// rule of the twins fold, looked up in the log for a cut that this fold has
// passed: a sample from further ahead than the allowed skew waits until
// something is recorded in its time, and one that has become current stays so
// when the allowed skew becomes smaller. So there are several where it has, not
// long before the cut.
func (s *scope) horizons(ctx context.Context) ([]horizon, error) {
	through := s.cut.Through()
	if !s.cut.AsOf.IsZero() {
		return []horizon{{s.cut.Known, s.cut.AsOf}}, nil
	}
	var list []horizon
	in, changed := settings.Standard(), beforeAll
	end := func(at eventlog.Position) error {
		recorded, err := s.r.telemetryRecorded(ctx, at)
		if recorded.Before(changed) {
			recorded = changed
		}
		list = append(list, horizon{at, recorded.Add(in.AllowedSkew)})
		return err
	}
	for rec, err := range s.r.Log.Read(ctx, settings.Stream(s.r.Log.Origin()), 0, eventlog.Forwards) {
		if err != nil {
			return nil, fmt.Errorf("settings: %w", err)
		}
		if rec.Position > through {
			break
		}
		next, err := in.Evolve(rec.Data)
		if err == nil && next.AllowedSkew < in.AllowedSkew && rec.Position > 1 {
			if err := end(rec.Position - 1); err != nil {
				return nil, err
			}
		}
		if err == nil { // else it changed nothing, as in the folds
			in = next
		}
		changed = rec.Recorded
	}
	if err := end(through); err != nil {
		return nil, err
	}
	// What is allowed later is allowed for earlier samples too.
	kept := list[len(list)-1:]
	for _, h := range slices.Backward(list[:len(list)-1]) {
		if h.limit.After(kept[0].limit) {
			kept = append([]horizon{h}, kept...)
		}
	}
	return kept, nil
}

// telemetryRecorded is when the last telemetry up to pos was recorded.
func (r *Reader) telemetryRecorded(ctx context.Context, pos eventlog.Position) (time.Time, error) {
	only := eventlog.Filter{Types: []string{eventlog.TelemetryRecorded}}
	for rec, err := range r.Log.ReadAll(ctx, min(pos, eventlog.End-1)+1, eventlog.Backwards, only) {
		return rec.Recorded, err
	}
	return beforeAll, nil
}

// later is the sample that counts: of one SourceTime, that which came later.
func later(a, b *history.Sample) *history.Sample {
	if a == nil || b != nil && (b.SourceTime.After(a.SourceTime) || b.SourceTime.Equal(a.SourceTime) && b.Position > a.Position) {
		return b
	}
	return a
}
