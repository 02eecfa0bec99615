package plant

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/twinlog/twinlog/domain/asset"
	"github.com/twinlog/twinlog/domain/correction"
	"github.com/twinlog/twinlog/domain/device"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/settings"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/graph/fault"
	"github.com/twinlog/twinlog/projections"
)

// Lineage is where an event came from and what came of it.
type Lineage struct {
	Event           *Event
	Message         *MessageOrigin
	Causes, Effects []*LineageStep
	Truncated       bool
}

// LineageStep is one step from an event to another.
type LineageStep struct {
	Relation LineageRelation
	Event    *Event
	Of       string
	Depth    int
}

// LineageRelation is how two events belong together; see schema.graphql.
type LineageRelation string

// The relations.
const (
	ByCausation   LineageRelation = "CAUSATION"
	BySource      LineageRelation = "SOURCE"
	ByDevice      LineageRelation = "DEVICE"
	ByBinding     LineageRelation = "BINDING"
	BySettings    LineageRelation = "SETTINGS"
	ByCorrection  LineageRelation = "CORRECTION"
	BySuperseding LineageRelation = "SUPERSEDING"
)

// MessageOrigin is what a message said of its way here.
type MessageOrigin struct {
	Device                                       string
	DeviceType, Gateway, Firmware, SchemaVersion *string
	Source                                       string
	Incarnation, Seq, MsgID                      *string
	TimeBasis                                    string
	SourceTime                                   time.Time
	ServerTime                                   *time.Time
	EdgeLatency                                  *time.Duration
}

// Bounds of a lineage.
const (
	mostSteps = 1000
	mostDepth = 20
)

// Lineage follows an event both ways.
func (r *Reader) Lineage(ctx context.Context, event string, depth, first *int) (*Lineage, error) {
	far, many := 5, 200
	if depth != nil {
		far = *depth
	}
	if first != nil {
		many = *first
	}
	if far < 0 || far > mostDepth || many < 0 || many > mostSteps {
		return nil, fault.Bad("depth", fmt.Sprint(far, " of ", many), fmt.Sprintf("depth 0 to %d, first 0 to %d", mostDepth, mostSteps))
	}
	e, err := r.Event(ctx, event)
	if err != nil || e == nil {
		return nil, err
	}
	w := &walk{r: r, ctx: ctx, far: far, many: many}
	out := &Lineage{Event: e}
	if e.Type == eventlog.TelemetryRecorded {
		if out.Message, err = messageOrigin(e); err != nil {
			return nil, err
		}
	}
	if out.Causes, err = w.follow(e, w.causes); err == nil {
		out.Effects, err = w.follow(e, w.effects)
	}
	out.Truncated = w.cut
	return out, err
}

func messageOrigin(e *Event) (*MessageOrigin, error) {
	row, err := telemetry.Decode(e.Record.Data)
	if err != nil {
		return nil, fmt.Errorf("event at %s: %w", e.Position, err)
	}
	m := &MessageOrigin{
		Device: row.Device, DeviceType: optional(row.DeviceType), Gateway: optional(row.Gateway), Firmware: optional(row.Firmware),
		SchemaVersion: optional(row.SchemaVersion), MsgID: optional(row.MsgID), SourceTime: row.SourceTime, ServerTime: optional(row.ServerTime),
		TimeBasis: [...]string{telemetry.FromSourceTS: "SOURCE_TS", telemetry.FromTS: "TS", telemetry.FromArrival: "ARRIVAL"}[row.Basis],
	}
	if row.HasSeq {
		seq := strconv.FormatUint(row.Seq, 10)
		m.Seq = &seq
	}
	if row.EdgeLatency != telemetry.NoLatency {
		m.EdgeLatency = &row.EdgeLatency
	}
	source, incarnation, ok := telemetry.ParseStream(e.Record.Stream)
	if !ok {
		source = e.Record.Stream.Entity()
	}
	if m.Source = source; ok && incarnation != telemetry.Unordered {
		m.Incarnation = &incarnation
	}
	return m, nil
}

// walk goes from event to event, the nearest first.
type walk struct {
	r         *Reader
	ctx       context.Context
	far, many int
	cut       bool

	// Of the events that are no telemetry, once it is needed.
	byUUID  map[eventlog.EventID]eventlog.Record
	causing map[eventlog.EventID][]eventlog.Record
}

// link is a step that has not been taken.
type link struct {
	relation LineageRelation
	rec      eventlog.Record
}

func (w *walk) follow(from *Event, next func(*Event) ([]link, error)) ([]*LineageStep, error) {
	steps := []*LineageStep{}
	seen := map[string]bool{from.ID(): true}
	for level, depth := []*Event{from}, 1; len(level) > 0; depth++ {
		var further []*Event
		for _, e := range level {
			links, err := next(e)
			if err != nil {
				return nil, err
			}
			for _, l := range links {
				to, err := NewEvent(w.r.Log.Origin(), l.rec)
				if err != nil {
					return nil, err
				}
				if seen[to.ID()] {
					continue
				}
				if depth > w.far || len(steps) == w.many {
					w.cut = true
					return steps, nil
				}
				seen[to.ID()] = true
				steps = append(steps, &LineageStep{l.relation, to, e.ID(), depth})
				further = append(further, to)
			}
		}
		level = further
	}
	return steps, nil
}

// causes are what an event rests on.
func (w *walk) causes(e *Event) ([]link, error) {
	var links []link
	if e.envelope.Causation != (eventlog.EventID{}) {
		if err := w.index(); err != nil {
			return nil, err
		}
		if rec, ok := w.byUUID[e.envelope.Causation]; ok {
			links = append(links, link{ByCausation, rec})
		}
	}
	switch e.Type {
	case eventlog.TelemetryRecorded:
		more, err := w.causesOfRow(e)
		return append(links, more...), err
	case correction.MadeType:
		m, err := eventlog.DecodeJSON[correction.Made](e.Record.Data)
		if err != nil {
			return nil, err
		}
		for _, earlier := range m.(correction.Made).Supersedes {
			rec, ok, err := w.at(earlier.Stream, earlier.Revision)
			if err != nil {
				return nil, err
			}
			if ok {
				links = append(links, link{BySuperseding, rec})
			}
		}
	}
	return links, nil
}

func (w *walk) at(stream eventlog.StreamID, revision eventlog.Revision) (eventlog.Record, bool, error) {
	for rec, err := range w.r.Log.Read(w.ctx, stream, revision, eventlog.Forwards) {
		return rec, err == nil && rec.Revision == revision, err
	}
	return eventlog.Record{}, false, nil
}

func (w *walk) causesOfRow(e *Event) ([]link, error) {
	row, err := telemetry.Decode(e.Record.Data)
	if err != nil {
		return nil, fmt.Errorf("event at %s: %w", e.Position, err)
	}
	var links []link
	first, ok, err := w.at(e.Record.Stream, 0)
	if err != nil {
		return nil, err
	}
	if ok && first.Type != eventlog.TelemetryRecorded { // an outbox says when it begins
		links = append(links, link{BySource, first})
	}
	if first, ok, err = w.at(device.Stream(row.Device), 0); err != nil {
		return nil, err
	} else if ok {
		links = append(links, link{ByDevice, first})
	}
	bound, err := w.bindings(&row)
	if err != nil {
		return nil, err
	}
	links = append(links, bound...)
	var set *eventlog.Record
	for rec, err := range w.r.Log.Read(w.ctx, settings.Stream(w.r.Log.Origin()), 0, eventlog.Forwards) {
		if err != nil {
			return nil, err
		}
		if rec.Position < e.Position {
			set = &rec
		}
	}
	if set != nil {
		links = append(links, link{BySettings, *set})
	}
	return links, nil
}

// bindings are the events that bound the row's signals to tags at its time.
func (w *walk) bindings(row *telemetry.Row) ([]link, error) {
	var links []link
	for rec, err := range w.r.Log.ReadAll(w.ctx, 0, eventlog.Forwards, eventlog.Filter{Types: []string{asset.TypeTagBound}}) {
		if err != nil {
			return nil, err
		}
		event, err := asset.Decode(rec.Type, rec.Data)
		if b, ok := event.(asset.TagBound); err == nil && ok && b.Device == row.Device && !b.Effective.After(row.SourceTime) &&
			slices.ContainsFunc(row.Samples, func(s telemetry.Sample) bool { return s.Signal == b.Signal }) {
			links = append(links, link{ByBinding, rec})
		}
	}
	return links, nil
}

// index reads which event made which happen.
func (w *walk) index() error {
	if w.byUUID != nil {
		return nil
	}
	w.byUUID, w.causing = map[eventlog.EventID]eventlog.Record{}, map[eventlog.EventID][]eventlog.Record{}
	for rec, err := range w.r.Log.ReadAll(w.ctx, 0, eventlog.Forwards, eventlog.Filter{NoTelemetry: true}) {
		if err != nil {
			return err
		}
		env, err := rec.Envelope()
		if err != nil {
			return fmt.Errorf("event at %s: %w", rec.Position, err)
		}
		w.byUUID[rec.ID] = rec
		if env.Causation != (eventlog.EventID{}) {
			w.causing[env.Causation] = append(w.causing[env.Causation], rec)
		}
	}
	return nil
}

// effects are what rests on an event.
func (w *walk) effects(e *Event) ([]link, error) {
	if err := w.index(); err != nil {
		return nil, err
	}
	var links []link
	for _, rec := range w.causing[e.Record.ID] {
		links = append(links, link{ByCausation, rec})
	}
	switch e.Type {
	case eventlog.TelemetryRecorded:
		more, err := w.corrections(e)
		return append(links, more...), err
	case correction.MadeType:
		for rec, err := range w.r.Log.Read(w.ctx, e.Record.Stream, e.Revision+1, eventlog.Forwards) {
			if err != nil {
				return nil, err
			}
			m, err := eventlog.DecodeJSON[correction.Made](rec.Data)
			if err == nil && slices.Contains(m.(correction.Made).Supersedes, correction.Earlier{Stream: e.Record.Stream, Revision: e.Revision}) {
				links = append(links, link{BySuperseding, rec})
			}
		}
	}
	return links, nil
}

// corrections are those that changed how samples of a row look.
func (w *walk) corrections(e *Event) ([]link, error) {
	row, err := telemetry.Decode(e.Record.Data)
	if err != nil {
		return nil, fmt.Errorf("event at %s: %w", e.Position, err)
	}
	found := map[correction.Earlier]eventlog.Position{}
	for i, s := range row.Samples {
		list, err := w.r.History.Versions(w.ctx, telemetry.Point{Device: row.Device, Signal: s.Signal}, row.SourceTime, projections.Cut{})
		if err != nil {
			return nil, err
		}
		for _, v := range list {
			if v.Received.Ref.Stream != e.Record.Stream || v.Received.Ref.Revision != e.Revision || v.Received.Ref.Index != i {
				continue
			}
			for _, step := range v.Steps {
				found[step.By] = step.Position
			}
		}
	}
	var links []link
	for by := range found {
		rec, ok, err := w.at(by.Stream, by.Revision)
		if err != nil {
			return nil, err
		}
		if ok {
			links = append(links, link{ByCorrection, rec})
		}
	}
	slices.SortFunc(links, func(a, b link) int { return cmp.Compare(a.rec.Position, b.rec.Position) })
	return links, nil
}
