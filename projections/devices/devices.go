// Package devices remembers which devices are known, what they are and whether
// they are there.
//
// A device's row has a version for every event about it, under the position
// that made it, so that it can be read as it was known at any position. The
// newest versions are in memory as well. Which assets a device serves is not
// its own fact: the bindings of tags say it, in the assets projection.
package devices

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twinlog/twinlog/domain/device"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/projections"
	"github.com/twinlog/twinlog/projections/assets"
)

// Device is a device as known at a cut. Rows are shared: do not change them.
type Device struct {
	ID           string    `json:"id"` // what it calls itself on the wire
	Type         string    `json:"type,omitempty"`
	Place        string    `json:"place,omitempty"`      // the topic levels before the type
	Gateway      string    `json:"gateway,omitempty"`    // that brought its first message; "" if it publishes by itself
	Firmware     string    `json:"-"`                    // "": no event about a device says it so far, only its telemetry does
	Registered   bool      `json:"registered,omitempty"` // false: first seen speaking, and entered by nobody
	Online       *bool     `json:"online,omitempty"`     // nil until a status was heard
	StatusReason string    `json:"reason,omitempty"`     // e.g. "conn_lost"; "" if none was given
	StatusAt     time.Time `json:"statusAt,omitzero"`    // of the last status, by the device's clock if it gave one
	FirstSeen    time.Time `json:"firstSeen"`            // when the log first heard of it
	// Revision and Position are of the last event about it.
	Revision eventlog.Revision `json:"revision"`
	Position eventlog.Position `json:"position"`
	Assets   []string          `json:"-"` // ids of the assets that its signals feed at the cut
}

// Filter chooses devices; conditions add up.
type Filter struct {
	Type       string
	Gateway    string
	Firmware   string `json:"-"` // "": no event about a device says it so far, only its telemetry does
	Online     *bool
	Registered *bool
	Assigned   *bool // some asset's tag is fed by it
}

// Projection is the fold; it implements projections.Fold.
type Projection struct {
	rows  projections.Store
	reads atomic.Uint64

	// mu guards the two below: held for writing while a batch is applied.
	mu      sync.RWMutex
	devices map[string]*Device // replaced, never changed
	ids     []string           // in order
}

// New returns an empty fold whose past versions are read from rows. The Runner
// opens it.
func New(rows projections.Store) *Projection {
	return &Projection{rows: rows, devices: map[string]*Device{}}
}

// View returns the questions that can be asked of it; which assets a device
// serves is taken from the view of the hierarchy, or left out if that is nil.
func (p *Projection) View(a *assets.View) *View { return &View{p, a} }

// name is of the rows and the checkpoint.
const name = "devices"

// Name implements projections.Fold.
func (p *Projection) Name() string { return name }

// Version implements projections.Fold.
func (p *Projection) Version() int { return 1 }

// The event types folded.
var (
	registered = device.Registered{}.EventType()
	online     = device.Online{}.EventType()
	offline    = device.Offline{}.EventType()
)

// Filter implements projections.Fold.
func (p *Projection) Filter() eventlog.Filter {
	return eventlog.Filter{Categories: []string{"device"}, Types: []string{registered, online, offline}, NoTelemetry: true}
}

// Open implements projections.Fold.
func (p *Projection) Open(s projections.Snapshot, _ eventlog.Position) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.devices, p.ids = map[string]*Device{}, nil
	for v, err := range projections.VersionsAt(s, nil, nil, eventlog.End) {
		if err != nil {
			return err
		}
		d, err := decode(v.Value)
		if err != nil {
			return fmt.Errorf("row %x: %w", v.Row, err)
		}
		p.put(d)
	}
	return nil
}

func decode(value []byte) (*Device, error) {
	var d Device
	if err := json.Unmarshal(value, &d); err != nil {
		return nil, err
	}
	return &d, nil
}

func (p *Projection) put(d *Device) {
	if p.devices[d.ID] == nil {
		i, _ := slices.BinarySearch(p.ids, d.ID)
		p.ids = slices.Insert(p.ids, i, d.ID)
	}
	p.devices[d.ID] = d
}

// Fold implements projections.Fold.
func (p *Projection) Fold(b eventlog.Batch, w *projections.Writes) (eventlog.Position, error) {
	if len(b.Records) == 0 {
		return b.Through, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, rec := range b.Records {
		d, ok := p.next(rec)
		if !ok {
			continue
		}
		p.put(d)
		value, err := json.Marshal(d)
		if err != nil {
			return 0, fmt.Errorf("device %s: %w", d.ID, err)
		}
		projections.PutVersion(w, rowKey(d.ID), rec.Position, value)
	}
	return b.Through, nil
}

// next is the device's row after an event; false for one that cannot be read.
func (p *Projection) next(rec eventlog.Record) (*Device, bool) {
	id := rec.Stream.Entity()
	d := Device{ID: id, FirstSeen: rec.Recorded}
	if old := p.devices[id]; old != nil {
		d = *old
	}
	d.Revision, d.Position = rec.Revision, rec.Position
	status := func(on bool, at time.Time, reason string) {
		d.Online, d.StatusAt, d.StatusReason = &on, at.UTC(), reason
	}
	switch rec.Type {
	case registered:
		var e device.Registered
		if json.Unmarshal(rec.Data, &e) != nil {
			return nil, false
		}
		d.Type, d.Place, d.Gateway, d.Registered = e.Type, e.Place, e.Gateway, e.How == device.Known
	case online:
		var e device.Online
		if json.Unmarshal(rec.Data, &e) != nil {
			return nil, false
		}
		status(true, e.At, e.Reason)
	case offline:
		var e device.Offline
		if json.Unmarshal(rec.Data, &e) != nil {
			return nil, false
		}
		status(false, e.At, e.Reason)
	}
	return &d, true
}

func rowKey(id string) []byte { return projections.AppendText(nil, id) }
