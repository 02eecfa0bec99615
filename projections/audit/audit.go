// Package audit remembers who did what, when and why: one row for every event
// that is not telemetry.
package audit

import (
	"context"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/projections"
)

// Row is one line of the audit trail.
type Row struct {
	Position    eventlog.Position
	Recorded    time.Time
	Effective   time.Time // zero: the same as Recorded
	Actor       eventlog.Actor
	Type        string
	Stream      eventlog.StreamID
	Revision    eventlog.Revision
	ID          eventlog.EventID
	Reason      *eventlog.Reason
	Correlation eventlog.EventID
	Causation   eventlog.EventID
}

// Filter chooses rows; conditions add up, alternatives within one do not.
type Filter struct {
	Subjects   []string // Actor.Subject is one of these
	Kinds      []string // Actor.Kind is one of these
	Types      []string // the type is one of these
	TypePrefix string   // the type begins so: "asset.", "alarm.raised"
	Stream     eventlog.StreamID
	Entity     string    // the stream's entity, in any category
	From, To   time.Time // From <= Recorded < To; zero: open
}

// Page says which part of the trail to return.
type Page struct {
	// After and Before bound positions, both exclusive; 0: open.
	After, Before eventlog.Position
	Limit         int  // at most this many rows
	Backwards     bool // the last Limit rows instead of the first
}

// Projection is the fold; it implements projections.Fold.
type Projection struct{ projections.Fold }

// New returns an empty fold. The Runner opens it.
func New() *Projection { return &Projection{} }

// View returns the questions that can be asked of it.
func (p *Projection) View() *View { return &View{p} }

// View answers from the trail. Its methods may be used concurrently.
type View struct{ p *Projection }

// List returns the rows of a page, always in the order of positions, none
// beyond upTo (0: the end), and whether there are more in the direction of the
// page.
func (v *View) List(ctx context.Context, f Filter, upTo eventlog.Position, p Page) ([]Row, bool, error) {
	panic("soon")
}

// Reads counts the store reads made for queries so far.
func (v *View) Reads() uint64 { panic("soon") }
