package twins

import (
	"context"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// Last is the reported value of a point.
type Last struct {
	OK         bool // false: the point has never been reported; all else is zero
	Value      telemetry.Value
	Quality    quality.Quality
	SourceTime time.Time
	ServerTime time.Time // zero if the message had none
	Recorded   time.Time
	Position   eventlog.Position // of the event that brought it
	// Changed is the position at which it became the current value: Position,
	// or later for a sample that had been ahead of its time.
	Changed eventlog.Position
}

// View answers from the last values. Its methods may be used concurrently.
type View struct{ p *Projection }

// Latest returns the current value of each point, in the order of points.
func (v *View) Latest(ctx context.Context, points []telemetry.Point) ([]Last, error) {
	panic("soon")
}

// Through returns the position up to which the values are current.
func (v *View) Through() eventlog.Position { panic("soon") }

// Changed returns a channel that is closed at the next change of any value.
// Take it before looking, and nothing is missed.
func (v *View) Changed() <-chan struct{} { panic("soon") }

// Watch follows a set of points for one subscriber. Values of a point that
// change faster than the subscriber reads are skipped: the newest wins.
func (v *View) Watch(points []telemetry.Point, after eventlog.Position) *Watch { panic("soon") }

// Watch belongs to one subscriber and one goroutine.
type Watch struct{}

// Change is one point's new value.
type Change struct {
	Index int // of the point, in the list given to Watch
	Last  Last
	// Missed is how many changes of the point's current value the subscriber
	// passed over since the last one that Next gave it (the first time: 0).
	// graph shows it as ValueChange.missed.
	Missed int
}

// Next waits until some of the points have changed since the last call (the
// first time: since after) and returns them in the order of Changed, with the
// position from which to resume. It fails only with ctx's error.
func (w *Watch) Next(ctx context.Context) ([]Change, eventlog.Position, error) { panic("soon") }
