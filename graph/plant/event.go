package plant

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/graph/fault"
)

// Event is one fact of the log. Its plain fields are the record's.
type Event struct {
	eventlog.Record
	origin   string
	envelope eventlog.Envelope
}

// NewEvent shows a record of a log.
func NewEvent(origin string, rec eventlog.Record) (*Event, error) {
	env, err := rec.Envelope()
	if err != nil {
		return nil, fmt.Errorf("event at %s: %w", rec.Position, err)
	}
	return &Event{rec, origin, env}, nil
}

// EventIDOf is the global id of the event at (stream, revision): that is where
// a log finds it, and where it stays.
func EventIDOf(origin string, stream eventlog.StreamID, revision eventlog.Revision) string {
	return GlobalID(EventID, origin, string(stream)+"@"+strconv.FormatUint(uint64(revision), 10))
}

// IsNode marks what has a global id.
func (e *Event) IsNode() {}

// ID is the global id.
func (e *Event) ID() string { return EventIDOf(e.origin, e.Record.Stream, e.Revision) }

// UUID is the id that the event was made with.
func (e *Event) UUID() string { return e.Record.ID.String() }

// Stream is the name of the stream.
func (e *Event) Stream() string { return string(e.Record.Stream) }

// Effective is nil where it is Recorded.
func (e *Event) Effective() *time.Time { return optional(e.envelope.Effective) }

// Actor is who did it.
func (e *Event) Actor() *Actor { return &Actor{e.envelope.Actor} }

// Reason is nil where none was asked.
func (e *Event) Reason() *ReasonGiven { return reasonGiven(e.envelope.Reason) }

// Correlation is nil where there is none.
func (e *Event) Correlation() *string { return uuid(e.envelope.Correlation) }

// Causation is nil where there is none.
func (e *Event) Causation() *string { return uuid(e.envelope.Causation) }

func uuid(id eventlog.EventID) *string {
	if id == (eventlog.EventID{}) {
		return nil
	}
	s := id.String()
	return &s
}

// Data is nil where it is not JSON.
func (e *Event) Data() json.RawMessage {
	if e.ContentType != eventlog.JSON || !json.Valid(e.Record.Data) {
		return nil
	}
	return e.Record.Data
}

// Bytes is the data in base64.
func (e *Event) Bytes() string { return base64.StdEncoding.EncodeToString(e.Record.Data) }

// Samples are the decoded signals of a telemetry row.
func (e *Event) Samples() ([]RecordedSample, error) {
	if e.Type != eventlog.TelemetryRecorded {
		return nil, nil
	}
	row, err := telemetry.Decode(e.Record.Data)
	if err != nil {
		return nil, fmt.Errorf("event at %s: %w", e.Position, err)
	}
	samples := make([]RecordedSample, len(row.Samples))
	for i, s := range row.Samples {
		samples[i] = RecordedSample{row.Device, s.Signal, s.Value, StatusOf(s.Quality.Code), s.Quality.Code, row.SourceTime}
	}
	return samples, nil
}

// RecordedSample is one signal of one row.
type RecordedSample struct {
	Device, Signal string
	Value          telemetry.Value
	Status         QualityStatus
	StatusCode     quality.Code
	SourceTime     time.Time
}

// Actor is who did it.
type Actor struct{ eventlog.Actor }

// Role is nil where none was in use.
func (a *Actor) Role() *string { return optional(a.Actor.Role) }

// OnBehalfOf is nil where it was for themselves.
func (a *Actor) OnBehalfOf() *string { return optional(a.Actor.OnBehalfOf) }

// AuthMethods are never null.
func (a *Actor) AuthMethods() []string { return append([]string{}, a.Actor.AuthMethods...) }

// ReasonGiven is why.
type ReasonGiven struct {
	Code     *string
	Prompted bool
}

func reasonGiven(r *eventlog.Reason) *ReasonGiven {
	if r == nil {
		return nil
	}
	return &ReasonGiven{optional(r.Code), r.Prompted}
}

// Event finds one event by its global id.
func (r *Reader) Event(ctx context.Context, id string) (*Event, error) {
	stream, revision, err := r.eventID("id", id)
	if err != nil {
		return nil, err
	}
	return r.eventAt(ctx, stream, revision)
}

// eventID reads the global id of an event, given at path.
func (r *Reader) eventID(path, id string) (eventlog.StreamID, eventlog.Revision, error) {
	own, err := r.ID(EventID, path, id)
	if err != nil {
		return "", 0, err
	}
	at := strings.LastIndexByte(own, '@')
	revision, err := strconv.ParseUint(own[at+1:], 10, 64)
	if at < 0 || err != nil {
		return "", 0, fault.Bad(path, id, "the id of an event, as this API gave it")
	}
	return eventlog.StreamID(own[:at]), eventlog.Revision(revision), nil
}

// eventAt finds an event by where it is; nil if it is not there.
func (r *Reader) eventAt(ctx context.Context, stream eventlog.StreamID, revision eventlog.Revision) (*Event, error) {
	for rec, err := range r.Log.Read(ctx, stream, revision, eventlog.Forwards) {
		if err != nil {
			return nil, err
		}
		return NewEvent(r.Log.Origin(), rec)
	}
	return nil, nil
}
