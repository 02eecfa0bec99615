// Package correction says which samples are wrong, and what stands in for them,
// without touching one of them.
//
// A correction is an event. It names samples by their identity, or as the
// samples of points in a span of SourceTime, perhaps under a condition, and
// says what is shown instead: Bad, another value, another quality (the words
// are those of OPC 10000-11: a modified value keeps its original, and who
// modified it, when and why). It applies to what precedes it in the log, unless
// it says IncludingLater. A correction of a correction supersedes it, and an
// undo is a correction that supersedes and says nothing else; what had been
// superseded by a correction that is itself superseded is in force again.
//
// Decider holds the rules of making one. Set answers what a sample looks like
// as known at any position: every fold that shows values asks it.
package correction

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// Action is what a correction does to a sample.
type Action string

// The actions. The names are on disk and never change.
const (
	MarkBad       Action = "MARK_BAD"       // the value stays, its quality becomes a Bad one
	Substitute    Action = "SUBSTITUTE"     // another value
	ChangeQuality Action = "CHANGE_QUALITY" // the value stays, with another quality
	Undo          Action = "UNDO"           // only supersedes
)

// MadeType is the name on disk.
const MadeType = "correction.made.v1"

// Made records a correction.
type Made struct {
	Action Action `json:"action"`
	// Condition narrows Spans.
	Condition *Condition `json:"condition,omitempty"`
	// Impact is what was shown to whoever made it.
	Impact Impact `json:"impact"`
	// IncludingLater: samples that come later in the log are corrected too.
	IncludingLater bool `json:"includingLater,omitempty"`
	// Samples are chosen one by one.
	Samples []Ref `json:"samples,omitempty"`
	// Scale is what a Substitute computes the value with.
	Scale *Scale `json:"scale,omitempty"`
	// Spans choose all samples of points with SourceTime in them.
	Spans []Span `json:"spans,omitempty"`
	// StatusCode is the quality that the samples get.
	StatusCode quality.Code `json:"statusCode"`
	// Supersedes are corrections that are no longer in force.
	Supersedes []Earlier `json:"supersedes,omitempty"`
	// Tag is the one that was asked for, where Spans come from its bindings.
	Tag string `json:"tag,omitempty"`
	// Value is what a Substitute shows; a sample of Samples may have its own.
	Value *Value `json:"value,omitempty"`
}

// EventType returns the name on disk.
func (Made) EventType() string { return MadeType }

// Condition chooses samples by what their message said; "" is any.
type Condition struct {
	Firmware string `json:"firmware,omitempty"`
	Gateway  string `json:"gateway,omitempty"`
}

// Impact is how many samples a correction changes, and a digest of which and how.
type Impact struct {
	Digest  string `json:"digest"`
	Samples uint64 `json:"samples"`
}

// Ref names a sample: the Index-th of the event at (Stream, Revision). What it
// is a sample of stands beside it, so that nobody has to look it up.
type Ref struct {
	Device     string            `json:"device"`
	Index      int               `json:"index"`
	Revision   eventlog.Revision `json:"revision"`
	Signal     string            `json:"signal"`
	SourceTime time.Time         `json:"sourceTime"`
	Stream     eventlog.StreamID `json:"stream"`
	Value      *Value            `json:"value,omitempty"`
}

// Span is a stretch of SourceTime, From included and To not, of one signal of a
// device or of all ("").
type Span struct {
	Device string    `json:"device"`
	From   time.Time `json:"from"`
	Signal string    `json:"signal,omitempty"`
	To     time.Time `json:"to"`
}

// Earlier names a correction by where it is.
type Earlier struct {
	Revision eventlog.Revision `json:"revision"`
	Stream   eventlog.StreamID `json:"stream"`
}

// Scale turns v into v × Factor + Offset.
type Scale struct {
	Factor float64 `json:"factor"`
	Offset float64 `json:"offset"`
}

// Value is a value in JSON: a number, a text, true or false.
type Value struct{ telemetry.Value }

// ErrBadValue is a value that cannot stand in for a measured one.
var ErrBadValue = errors.New("invalid value")

// maxWhole is the largest whole number that JSON keeps exactly.
const maxWhole = 1<<53 - 1

// MarshalJSON implements json.Marshaler.
func (v Value) MarshalJSON() ([]byte, error) {
	switch f, _ := v.Number(); {
	case v.Kind == telemetry.String:
		return json.Marshal(v.Str)
	case v.Kind == telemetry.Bool:
		return json.Marshal(v.Bits == 1)
	case v.Kind == telemetry.Int64 && math.Abs(f) <= maxWhole:
		return json.Marshal(int64(v.Bits))
	case v.Kind == telemetry.Float64 && !math.IsNaN(f) && !math.IsInf(f, 0):
		return json.Marshal(f)
	}
	return nil, fmt.Errorf("%+v, expected a finite number, a text, true or false: %w", v.Value, ErrBadValue)
}

// UnmarshalJSON implements json.Unmarshaler. Every number is a Float64; what it
// stands in for says whether it becomes an Int64 (see Set).
func (v *Value) UnmarshalJSON(b []byte) error {
	var any any
	if err := json.Unmarshal(b, &any); err != nil {
		return err
	}
	switch x := any.(type) {
	case float64:
		v.Value = telemetry.FloatValue(x)
	case string:
		v.Value = telemetry.StringValue(x)
	case bool:
		v.Value = telemetry.BoolValue(x)
	default:
		return fmt.Errorf("%s, expected a number, a text, true or false: %w", b, ErrBadValue)
	}
	return nil
}

// Stream returns the stream of an origin's corrections. There is one, so that a
// correction of a correction is decided against the newest of all.
func Stream(origin string) eventlog.StreamID { return eventlog.Stream("correction", origin) }
