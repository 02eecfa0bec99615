package plant

import (
	"time"

	"github.com/twinlog/twinlog/domain/asset"
	"github.com/twinlog/twinlog/domain/eventlog"
)

// Moment is from where to look; see schema.graphql for this and all below.
type Moment struct {
	AsOf  *time.Time
	Known *Known
}

// Known is one of its fields.
type Known struct {
	At   *eventlog.Position
	Time *time.Time
}

// AssetFilter chooses assets.
type AssetFilter struct {
	Level        *asset.Level
	Class        *string
	Under        *string
	NameContains *string
	Retired      *bool
}

// TagFilter chooses tags.
type TagFilter struct {
	Under *string
	Names []string
	Class *string
	Unit  *string
}

// DeviceFilter chooses devices.
type DeviceFilter struct {
	Type, Gateway                *string
	Online, Registered, Assigned *bool
}

// EventFilter chooses events.
type EventFilter struct {
	Categories, Types []string
	Stream            *string
	Telemetry         *bool
}

// AuditFilter chooses lines of the audit trail.
type AuditFilter struct {
	Subjects, Kinds, Types []string
	Stream                 *string
	From, To               *time.Time
}

// AggregateConfiguration is that of OPC 10000-13 §4.2.1.
type AggregateConfiguration struct {
	TreatUncertainAsBad             *bool
	PercentDataBad, PercentDataGood *int
	UseSlopedExtrapolation          *bool
}

// Direction is IN or OUT.
type Direction string

// The directions.
const (
	In  Direction = "IN"
	Out Direction = "OUT"
)

// QualityFilter is which samples to show.
type QualityFilter string

// Aggregate names an aggregate function.
type Aggregate string

// deref returns what p points at, for hashing; nil pointers are "".
func deref(p any) any {
	switch v := p.(type) {
	case *string:
		return value(v)
	case *bool:
		if v == nil {
			return ""
		}
		return *v
	case *asset.Level:
		return value(v)
	}
	return p
}

// value returns *p, or the zero value.
func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// optional is nil for the zero value: GraphQL's null for Go's "".
func optional[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}
