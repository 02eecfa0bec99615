// Package twins keeps the last reported value of every point, in memory, and
// tells subscribers what has changed.
//
// The current value is the one with the newest SourceTime not beyond Recorded
// and the allowed skew (settings.changed.v1; 60 s if never set). A sample from
// further ahead is Uncertain and waits until its time comes, which only a later
// event's Recorded can say: the fold has no clock. Of samples with one
// SourceTime the later in the log wins.
//
// What is kept is the sample as it was received. Corrections are applied to it
// when it becomes current, and when one of them comes (correct.go).
//
// Values are not versioned rows: at a past moment they come from history. They
// are written with the checkpoint, which moves at multiples of 2^16 positions, so
// that the rows are a function of the log alone; a restart folds the rest again.
package twins

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"

	"github.com/twinlog/twinlog/domain/correction"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/planted"
	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/settings"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/projections"
)

// windowBits: 65,536 events are folded again in less than a second, and all that
// changed meanwhile is written once.
const windowBits = 16

// Projection is the fold; it implements projections.Fold.
type Projection struct {
	// mu guards all below. Fold holds it to write, for a few hundred records at a
	// time; questions hold it to read.
	mu       sync.RWMutex
	points   *telemetry.Interner
	slots    []slot   // by number of the point
	devices  []device // in the order of appearance
	byName   map[string]uint32
	ahead    dues // of points with samples whose time has not come
	settings settings.Settings
	made     *correction.Set
	shown    map[uint32]correction.Shown // of slots that are corrected
	streams  names
	origins  names // gateway and firmware
	recorded int64 // the newest so far
	through  eventlog.Position
	at       eventlog.Position // checkpoint
	changes  uint64            // of all values, since Open
	opened   uint64            // how often Open was called
	wake     chan struct{}     // closed at the next change; nil if nobody waits

	asked atomic.Pointer[asked] // the last long list of points

	// Of the folding goroutine alone.
	row     telemetry.View
	scratch []reading
	origin  []byte
	dirty   []uint32  // devices to be written
	entered []entered // corrections to be written
	unread  uint64
}

// reading is a value as it is kept.
type reading struct {
	value          telemetry.Value
	quality        quality.Quality
	source, server int64 // server relative to source; noServer if none
	recorded       int64
	position       eventlog.Position
	revision       eventlog.Revision
	stream, origin uint32 // numbers of names
	index          uint32 // in the row
}

const noServer = int64(math.MinInt64)

// slot is the state of a point.
type slot struct {
	reading
	changed eventlog.Position // when it became current, or came to look as it does
	altered eventlog.Position // of the correction that it looks so by; 0 if it always did
	version uint32            // counts changes since Open
	device  uint32
	number  uint32
	waiting []reading // whose time has not come, in the order of (source, position)
	ok      bool
	fixed   bool // corrected: see shown
}

type device struct {
	name   string
	points []uint32
	dirty  bool
}

// New returns an empty fold. The Runner opens it.
func New() *Projection { return &Projection{} }

// View returns the questions that can be asked of it.
func (p *Projection) View() *View { return &View{p} }

// Name implements projections.Fold.
func (p *Projection) Name() string { return "twins" }

// Version implements projections.Fold.
func (p *Projection) Version() int { return 2 }

// Filter implements projections.Fold.
func (p *Projection) Filter() eventlog.Filter {
	return eventlog.Filter{Types: []string{eventlog.TelemetryRecorded, settings.ChangedType, correction.MadeType}}
}

// Open implements projections.Fold.
func (p *Projection) Open(s projections.Snapshot, at eventlog.Position) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.points, p.slots, p.devices, p.byName = telemetry.NewInterner(), nil, nil, map[string]uint32{}
	p.ahead, p.settings, p.recorded = nil, settings.Standard(), math.MinInt64
	p.through, p.at, p.dirty, p.unread = at, at, nil, 0
	p.made, p.shown, p.entered = correction.NewSet(), map[uint32]correction.Shown{}, nil
	p.streams, p.origins = names{}, names{}
	if err := p.restore(s); err != nil {
		return fmt.Errorf("twins: open at %d: %w", at, err)
	}
	p.changes++
	p.opened++
	p.wakeUp()
	return nil
}

// Fold implements projections.Fold.
func (p *Projection) Fold(b eventlog.Batch, w *projections.Writes) (eventlog.Position, error) {
	for records := b.Records; len(records) > 0; {
		n := min(256, len(records)) // so that questions need not wait for long
		p.some(records[:n], w)
		records = records[n:]
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if end := alignedEnd(b.Through); end > p.at {
		p.snapshot(end, w)
	}
	p.through = max(p.through, b.Through)
	return p.at, nil
}

// alignedEnd returns the last position of the last window that has been passed
// when the log is at pos; 0 if none has.
func alignedEnd(pos eventlog.Position) eventlog.Position {
	start := (pos + 1) >> windowBits << windowBits
	return max(start, 1) - 1
}

func (p *Projection) some(records []eventlog.Record, w *projections.Writes) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.changes
	for i := range records {
		r := &records[i]
		if end := alignedEnd(r.Position - 1); end > p.at {
			p.snapshot(end, w)
		}
		p.fold(r)
		p.through = r.Position
	}
	if p.changes != before {
		p.wakeUp()
	}
}

func (p *Projection) wakeUp() {
	if p.wake != nil {
		close(p.wake)
		p.wake = nil
	}
}

func (p *Projection) fold(r *eventlog.Record) {
	if r.Type == correction.MadeType {
		p.correct(r) // says nothing about the time
		return
	}
	p.recorded = max(p.recorded, telemetry.Nanos(r.Recorded))
	if r.Type == settings.ChangedType {
		// What cannot be read changes nothing: the command that writes it checks.
		if s, err := p.settings.Evolve(r.Data); err == nil {
			p.settings = s
		} else {
			p.unread++
		}
	}
	if len(p.ahead) > 0 {
		p.comeDue(r.Position)
	}
	if r.Type == eventlog.TelemetryRecorded {
		p.telemetry(r)
	}
}

func (p *Projection) set(s *slot, r *reading, pos eventlog.Position) {
	s.reading, s.changed, s.ok = *r, pos, true
	s.version++
	if p.made.Has(p.devices[s.device].name) {
		p.show(s)
	}
	p.changes++
	p.touch(s)
}

// touch has the device of a slot written with the next checkpoint.
func (p *Projection) touch(s *slot) {
	if d := &p.devices[s.device]; !d.dirty {
		d.dirty = true
		p.dirty = append(p.dirty, s.device)
	}
}

func (p *Projection) telemetry(r *eventlog.Record) {
	v := &p.row
	if err := v.Reset(r.Data); err != nil {
		p.unread++
		return
	}
	numbers, err := p.points.Row(v)
	if err != nil {
		p.unread++
		return
	}
	for len(p.slots) < p.points.Len() {
		p.add(p.points.Point(uint32(len(p.slots))))
	}
	next := reading{source: telemetry.Nanos(v.SourceTime), server: noServer, recorded: telemetry.Nanos(r.Recorded), position: r.Position}
	if !v.ServerTime.IsZero() {
		next.server = telemetry.Nanos(v.ServerTime) - next.source
	}
	next.revision, next.stream, next.origin = r.Revision, p.streams.number([]byte(r.Stream)), p.origins.number(p.originOf(v))
	// Read all before any is taken, so that a row which turns out unreadable
	// leaves nothing behind.
	p.scratch = p.scratch[:0]
	it := v.Iter()
	for it.Next() {
		next.quality, next.index = it.Quality, uint32(len(p.scratch))
		next.value = telemetry.Value{Kind: it.Kind, Bits: it.Bits}
		if it.Kind == telemetry.String {
			next.value.Str = string(it.Text)
		}
		p.scratch = append(p.scratch, next)
	}
	if it.Err() != nil {
		p.unread++
		return
	}
	if p.settings.Ahead(v.SourceTime, r.Recorded) && planted.Bug != planted.SkewedClock {
		for i, n := range numbers {
			p.wait(n, &p.scratch[i])
		}
		return
	}
	for i, n := range numbers {
		if s := &p.slots[n]; !s.ok || next.source >= s.source && (planted.Bug != planted.TwinTie || next.source > s.source) {
			p.set(s, &p.scratch[i], r.Position)
		}
	}
}

// add makes room for a new point.
func (p *Projection) add(pt telemetry.Point) {
	d, ok := p.byName[pt.Device]
	if !ok {
		d = uint32(len(p.devices))
		p.byName[pt.Device] = d
		p.devices = append(p.devices, device{name: pt.Device})
	}
	p.devices[d].points = append(p.devices[d].points, uint32(len(p.slots)))
	p.slots = append(p.slots, slot{device: d, number: uint32(len(p.slots))})
}
