// Package devices remembers which devices are known, what they are and whether
// they are there.
package devices

import (
	"context"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/projections"
	"github.com/twinlog/twinlog/projections/assets"
)

// Device is a device as known at a cut. Rows are shared: do not change them.
type Device struct {
	ID         string // what it calls itself on the wire
	Type       string
	Gateway    string // "" if it publishes by itself or nobody said
	Source     string // the source of telemetry that it speaks through
	Topic      string // where it was first heard
	Firmware   string
	Registered bool // false: first seen speaking, and registered by nobody
	// Online is nil until a status was heard.
	Online       *bool
	StatusReason string    // e.g. "conn_lost"; "" if none was given
	StatusAt     time.Time // when the last status was recorded; zero if never
	FirstSeen    time.Time // when it was first recorded
	Revision     eventlog.Revision
	Position     eventlog.Position // of the last event about it
	Assets       []string          // ids of the assets that its signals feed at the cut
}

// Filter chooses devices; conditions add up.
type Filter struct {
	Type       string
	Gateway    string
	Online     *bool
	Registered *bool
	Assigned   *bool // some asset's tag is fed by it
}

// Projection is the fold; it implements projections.Fold.
type Projection struct{ projections.Fold }

// New returns an empty fold. The Runner opens it.
func New() *Projection { return &Projection{} }

// View returns the questions that can be asked of it; which assets a device
// serves is taken from the view of the hierarchy.
func (p *Projection) View(a *assets.View) *View { return &View{p, a} }

// View answers from the devices. Its methods may be used concurrently.
type View struct {
	p      *Projection
	assets *assets.View
}

// ByIDs returns the devices in the order of ids; nil where none was known.
func (v *View) ByIDs(ctx context.Context, ids []string, c projections.Cut) ([]*Device, error) {
	panic("soon")
}

// List returns devices by id, the first after the given id ("": from the
// start), and whether there are more.
func (v *View) List(ctx context.Context, f Filter, c projections.Cut, after string, first int) ([]*Device, bool, error) {
	panic("soon")
}

// Reads counts the store reads made for queries so far.
func (v *View) Reads() uint64 { panic("soon") }
