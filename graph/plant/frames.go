package plant

import (
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/graph/scalar"
)

// FrameKind is what a frame of a subscription is.
type FrameKind string

// The kinds of frame.
const (
	Snapshot  FrameKind = "SNAPSHOT"
	Changes   FrameKind = "CHANGES"
	CaughtUp  FrameKind = "CAUGHT_UP"
	Heartbeat FrameKind = "HEARTBEAT"
)

// Delivery is how a subscription treats a reader slower than the plant.
type Delivery string

// The deliveries.
const (
	Newest Delivery = "NEWEST"
	Every  Delivery = "EVERY"
)

// ValueFilter chooses tags to watch.
type ValueFilter struct {
	Tags  []string
	Under *string
	Names []string
}

// ValueStart is where a subscription goes on.
type ValueStart struct{ After *eventlog.Position }

// ValueFrame is one message of a values subscription.
type ValueFrame struct {
	Kind     FrameKind
	Changes  []ValueChange
	Position eventlog.Position
}

// EventFrame is one message of an events subscription.
type EventFrame struct {
	Kind     FrameKind
	Events   []*Event
	Position eventlog.Position
}

// ValueChange is a tag's new value.
type ValueChange struct {
	Tag        string
	Path       string
	Value      telemetry.Value
	StatusCode quality.Code
	SourceTime time.Time
	Position   eventlog.Position
	Corrected  bool
	Missed     int
}

// Number is nil unless numeric and finite.
func (c ValueChange) Number() *float64 { return scalar.Number(c.Value) }

// Status is the severity.
func (c ValueChange) Status() QualityStatus { return StatusOf(c.StatusCode) }
