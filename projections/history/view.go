package history

import (
	"context"
	"iter"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/projections"
	"github.com/twinlog/twinlog/projections/aggregate"
)

// Ref is the identity of a sample: the index-th, in the order received, of the
// event at (stream, revision).
type Ref struct {
	Stream   eventlog.StreamID
	Revision eventlog.Revision
	Index    int
}

// Sample is one remembered measurement.
type Sample struct {
	SourceTime time.Time
	ServerTime time.Time // zero if the message had none
	Recorded   time.Time
	Value      telemetry.Value
	Quality    quality.Quality
	Position   eventlog.Position
	Ref        Ref
}

// Quality filters.
type QualityFilter uint8

// The filters, as in the GraphQL schema.
const (
	Any QualityFilter = iota
	Good
	GoodOrUncertain
	Bad
)

// Cursor is a place between two samples of a point: the next is later in
// SourceTime, or at the same SourceTime and later in the log.
type Cursor struct {
	SourceTime time.Time
	Position   eventlog.Position
}

// Options narrows a read.
type Options struct {
	Quality QualityFilter
	// Bounds adds the last sample before from and the first at or after to, if
	// they exist, before filtering by quality.
	Bounds bool
	// First stops after this many samples; 0: no limit.
	First int
	// After resumes behind a sample; the zero Cursor: from the start.
	After Cursor
}

// Columns is a series as columns of equal length, in the order of samples.
type Columns struct {
	Times []int64 // SourceTime, nanoseconds since 1970 UTC
	// Kinds holds the data type of each value, or has one entry for all.
	Kinds []telemetry.Kind
	// Bits holds Float64, Int64 and Bool values as telemetry.Value.Bits.
	Bits []uint64
	// Strings is nil if no value is a String; else of equal length.
	Strings []string
	// Quality as runs that add up to the length.
	Quality []QualityRun
	// More: First stopped it, and Next is where to go on.
	More bool
	Next Cursor
}

// QualityRun is a quality that Count samples in a row have.
type QualityRun struct {
	Quality quality.Quality
	Count   int
}

// Part is a point and the span [From, To) in which it fed a tag. A zero From
// or To is open.
type Part struct {
	Point    telemetry.Point
	From, To time.Time
}

// View answers from history. Its methods may be used concurrently.
type View struct{ p *Projection }

// Samples yields the samples of a point with SourceTime in [from, to), known at
// the cut, in the order of (SourceTime, position).
func (v *View) Samples(ctx context.Context, point telemetry.Point, from, to time.Time, c projections.Cut, o Options) iter.Seq2[Sample, error] {
	panic("soon")
}

// Columns returns the same samples as Samples, as columns and without identity.
func (v *View) Columns(ctx context.Context, point telemetry.Point, from, to time.Time, c projections.Cut, o Options) (*Columns, error) {
	panic("soon")
}

// LatestAt returns, for each point, the last sample at or before c.AsOf that is
// known at c.Known, or nil; with a zero AsOf the last of all.
func (v *View) LatestAt(ctx context.Context, points []telemetry.Point, c projections.Cut) ([]*Sample, error) {
	panic("soon")
}

// Aggregate computes functions over the parts of a tag: one slice per function,
// in the order of fns, each with one result per interval of the span.
func (v *View) Aggregate(ctx context.Context, parts []Part, span aggregate.Span, fns []aggregate.Function, cfg aggregate.Config, c projections.Cut) ([][]aggregate.Result, error) {
	panic("soon")
}

// Points returns the signals of a device in the order of first appearance.
func (v *View) Points(ctx context.Context, device string) ([]telemetry.Point, error) { panic("soon") }

// Reads counts the reads of the store that the view has made.
func (v *View) Reads() uint64 { panic("soon") }
