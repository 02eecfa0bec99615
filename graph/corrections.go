package graph

import (
	"context"
	"fmt"

	"github.com/twinlog/twinlog/domain/correction"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/graph/fault"
	"github.com/twinlog/twinlog/graph/gen"
	"github.com/twinlog/twinlog/graph/plant"
)

// correctionAsk is the input without who, why and what was shown.
func correctionAsk(in gen.CorrectionInput) plant.CorrectionAsk {
	ask := plant.CorrectionAsk{
		Action: in.Action, Tag: in.Tag, Device: in.Device, Signals: in.Signals, From: in.From, To: in.To, Condition: in.Condition,
		Value: in.Value, Scale: in.Scale, StatusCode: in.StatusCode, Supersedes: in.Supersedes, IncludingLater: deref(in.IncludingLater),
	}
	for _, s := range in.Samples {
		ask.Samples = append(ask.Samples, plant.CorrectedSample{Stream: s.Stream, Revision: s.Revision, Index: s.Index, Value: s.Value})
	}
	return ask
}

// Impact implements gen.QueryResolver. It refuses what correct would refuse.
func (q queries) Impact(ctx context.Context, in gen.CorrectionInput) (*plant.Impact, error) {
	var bad fault.Input
	made, err := q.Correction(ctx, correctionAsk(in), &bad)
	if err == nil {
		err = bad.Err()
	}
	if err == nil {
		err = q.r.allowed(ctx, made)
	}
	if err != nil {
		return nil, err
	}
	return q.Reader.Impact(ctx, made)
}

// allowed says whether a correction would be made now.
func (r *Resolver) allowed(ctx context.Context, made correction.Made) (refused error) {
	err := r.corrections.Look(ctx, correction.Stream(r.Read.Log.Origin()), func(s correction.State, _ eventlog.Expected) {
		_, refused = correction.Decider.Decide(s, made)
	})
	if err != nil {
		return err
	}
	return refused
}

// Correct implements gen.MutationResolver.
func (m mutations) Correct(ctx context.Context, in gen.CorrectionInput) (*gen.CorrectionPayload, error) {
	q := m.request("correct", in.Reason, in.IdempotencyKey, nil)
	made, err := m.r.Read.Correction(ctx, correctionAsk(in), &q.bad)
	if err != nil {
		return nil, err
	}
	call, err := m.call(ctx, q)
	if err != nil {
		return nil, err
	}
	done, err := m.makeCorrection(ctx, call, made, in.Impact)
	if err != nil {
		return nil, err
	}
	stream := correction.Stream(m.r.Read.Log.Origin())
	payload := &gen.CorrectionPayload{Position: done.Last, EventIds: m.eventIDs(stream, done), Repeated: done.Repeated}
	m.written(ctx, q, done, "correction", func(*plant.Plant) (err error) {
		payload.Correction, err = m.r.Read.Event(ctx, payload.EventIds[0])
		return err
	})
	payload.Samples, err = m.corrected(ctx, payload.EventIds[0])
	return payload, err
}

// corrected is how many samples the event says that it changed.
func (m mutations) corrected(ctx context.Context, id string) (int, error) {
	event, err := m.r.Read.Event(ctx, id)
	if err != nil || event == nil {
		return 0, err
	}
	made, err := eventlog.DecodeJSON[correction.Made](event.Record.Data)
	if err != nil {
		return 0, err
	}
	return int(made.(correction.Made).Impact.Samples), nil
}

// makeCorrection appends it if it changes what was shown. Samples may arrive
// while that is computed, so the log must not have grown by any of them until
// it is appended.
func (m mutations) makeCorrection(ctx context.Context, call eventlog.Call, made correction.Made, shown *string) (eventlog.Done, error) {
	stream := correction.Stream(m.r.Read.Log.Origin())
	// One that was made before is not judged again: it has changed its own impact.
	if _, ok, err := m.r.corrections.Find(ctx, stream, call.Key); err != nil || ok {
		if err != nil {
			return eventlog.Done{}, err
		}
		return m.r.corrections.Execute(ctx, stream, call, made)
	}
	if err := m.r.allowed(ctx, made); err != nil {
		return eventlog.Done{}, err
	}
	for range maxLooks {
		impact, err := m.r.Read.Impact(ctx, made)
		if err != nil {
			return eventlog.Done{}, err
		}
		if shown != nil && *shown != impact.Digest {
			return eventlog.Done{}, impactChanged(*shown, impact)
		}
		made.Impact = correction.Impact{Digest: impact.Digest, Samples: uint64(impact.Samples)}
		grown, err := m.r.Read.Grown(ctx, made, impact.KnownAt)
		if err != nil {
			return eventlog.Done{}, err
		}
		if !grown {
			return m.r.corrections.Execute(ctx, stream, call, made)
		}
	}
	return eventlog.Done{}, fmt.Errorf("samples kept arriving while it was computed, %d times: %w", maxLooks, fault.ErrImpactChanged)
}

// maxLooks is how often an impact is computed that samples still arrive for.
const maxLooks = 5

func impactChanged(shown string, now *plant.Impact) error {
	return &fault.Coded{
		Err: fmt.Errorf("it changes %d samples: %w", now.Samples, fault.ErrImpactChanged),
		Problems: []fault.Problem{{
			Path: []string{"input", "impact"}, Given: shown, Expected: now.Digest,
		}},
	}
}
