package plant

import (
	"context"
	"fmt"
	"time"

	"github.com/twinlog/twinlog/domain/correction"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/graph/fault"
	"github.com/twinlog/twinlog/projections"
)

// CorrectionAsk is a correction as it is asked for; see schema.graphql.
type CorrectionAsk struct {
	Action         correction.Action
	Samples        []CorrectedSample
	Tag, Device    *string
	Signals        []string
	From, To       *time.Time
	Condition      *correction.Condition
	Value          *telemetry.Value
	Scale          *correction.Scale
	StatusCode     *quality.Code
	Supersedes     []string
	IncludingLater bool
}

// CorrectedSample names one sample.
type CorrectedSample struct {
	Stream   string
	Revision eventlog.Revision
	Index    int
	Value    *telemetry.Value
}

// Correction turns what is asked for into the event that says it: tags into the
// points that feed them, as known now, and samples into where they are. What is
// wrong with it goes into bad.
func (r *Reader) Correction(ctx context.Context, ask CorrectionAsk, bad *fault.Input) (correction.Made, error) {
	m := correction.Made{
		Action: ask.Action, Condition: ask.Condition, IncludingLater: ask.IncludingLater,
		Scale: ask.Scale, Value: standIn(ask.Value),
	}
	m.Complete(ask.StatusCode)
	if ask.Action == correction.ChangeQuality && ask.StatusCode == nil {
		bad.Add("input.statusCode", nil, "the quality that the samples get")
	}
	given := 0
	for _, there := range []bool{len(ask.Samples) > 0, ask.Tag != nil, ask.Device != nil} {
		if there {
			given++
		}
	}
	switch undo := ask.Action == correction.Undo; {
	case undo && given > 0:
		bad.Add("input.action", ask.Action, "none of samples, tag and device")
	case !undo && given != 1:
		bad.Add("input", given, "exactly one of samples, tag and device")
	}
	if len(ask.Signals) > 0 && ask.Device == nil {
		bad.Add("input.signals", ask.Signals, "signals of a device")
	}
	for i, id := range ask.Supersedes {
		where, err := r.correctionID(fmt.Sprintf("input.supersedes.%d", i), id)
		if err != nil {
			bad.Add(fmt.Sprintf("input.supersedes.%d", i), id, "the id of a correction's event")
			continue
		}
		m.Supersedes = append(m.Supersedes, where)
	}
	if len(bad.Problems) > 0 {
		return m, nil
	}
	if len(ask.Samples) > 0 {
		return m, r.correctSamples(ctx, ask, &m, bad)
	}
	return m, r.correctSpans(ctx, ask, &m, bad)
}

// standIn is a value as the event will give it back: numbers are Float64.
func standIn(v *telemetry.Value) *correction.Value {
	if v == nil {
		return nil
	}
	if f, _ := v.Number(); v.Kind == telemetry.Int64 {
		return &correction.Value{Value: telemetry.FloatValue(f)}
	}
	return &correction.Value{Value: *v}
}

// correctionID reads the global id of a correction's event.
func (r *Reader) correctionID(path, id string) (correction.Earlier, error) {
	stream, revision, err := r.eventID(path, id)
	if err == nil && stream != correction.Stream(r.Log.Origin()) {
		err = fault.Bad(path, id, "the id of a correction's event")
	}
	return correction.Earlier{Stream: stream, Revision: revision}, err
}

// correctSamples looks up what the samples are samples of.
func (r *Reader) correctSamples(ctx context.Context, ask CorrectionAsk, m *correction.Made, bad *fault.Input) error {
	if n := len(ask.Samples); n > correction.MaxSamples {
		bad.Add("input.samples", n, fmt.Sprintf("up to %d", correction.MaxSamples))
		return nil
	}
	if ask.From != nil || ask.To != nil || ask.Condition != nil {
		bad.Add("input.samples", len(ask.Samples), "samples without from, to and condition")
	}
	for i, s := range ask.Samples {
		ref := correction.Ref{Stream: eventlog.StreamID(s.Stream), Revision: s.Revision, Index: s.Index, Value: standIn(s.Value)}
		found, err := r.lookUp(ctx, &ref)
		if err != nil {
			return err
		}
		if !found {
			bad.Add(fmt.Sprintf("input.samples.%d", i), fmt.Sprintf("%s@%d[%d]", s.Stream, s.Revision, s.Index), "a sample that there is, as SampleRef names it")
			continue
		}
		m.Samples = append(m.Samples, ref)
	}
	return nil
}

func (r *Reader) lookUp(ctx context.Context, ref *correction.Ref) (bool, error) {
	for rec, err := range r.Log.Read(ctx, ref.Stream, ref.Revision, eventlog.Forwards) {
		if err != nil {
			return false, err
		}
		if rec.Type != eventlog.TelemetryRecorded || rec.Revision != ref.Revision {
			return false, nil
		}
		row, err := telemetry.Decode(rec.Data)
		if err != nil || ref.Index < 0 || ref.Index >= len(row.Samples) {
			return false, nil //nolint:nilerr // what cannot be read has no samples
		}
		ref.Device, ref.Signal, ref.SourceTime = row.Device, row.Samples[ref.Index].Signal, row.SourceTime
		return true, nil
	}
	return false, nil
}

// correctSpans finds the points.
func (r *Reader) correctSpans(ctx context.Context, ask CorrectionAsk, m *correction.Made, bad *fault.Input) error {
	if ask.Action == correction.Undo {
		return nil
	}
	if ask.From == nil || ask.To == nil || !ask.From.Before(*ask.To) {
		bad.Add("input.to", ask.To, "from and to, and to after from")
		return nil
	}
	from, to := ask.From.UTC(), ask.To.UTC()
	if ask.Device != nil {
		device, err := r.DeviceID("input.device", *ask.Device)
		if err != nil {
			return err
		}
		for _, signal := range ask.Signals {
			m.Spans = append(m.Spans, correction.Span{Device: device, Signal: signal, From: from, To: to})
		}
		if len(ask.Signals) == 0 {
			m.Spans = append(m.Spans, correction.Span{Device: device, From: from, To: to})
		}
		return nil
	}
	tag, err := r.ID(TagID, "input.tag", *ask.Tag)
	if err != nil {
		return err
	}
	m.Tag = tag
	// Without Now, bindings that are dated ahead come as well.
	lists, err := r.Assets.Bindings(ctx, []string{tag}, projections.Cut{})
	if err != nil {
		return err
	}
	for _, b := range lists[0] {
		s := correction.Span{Device: b.Point.Device, Signal: b.Point.Signal, From: b.From, To: to}
		if s.From.Before(from) {
			s.From = from
		}
		if !b.To.IsZero() && b.To.Before(s.To) {
			s.To = b.To
		}
		if s.From.Before(s.To) {
			m.Spans = append(m.Spans, s)
		}
	}
	if len(m.Spans) == 0 {
		bad.Add("input.tag", *ask.Tag, "a tag that something feeds between from and to")
	}
	return nil
}
