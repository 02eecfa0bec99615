// Package history remembers every sample of every point, and answers for any
// stretch of time, as it was known at any position of the log.
//
// The log is folded by windows of 2^18 positions. The samples of the open
// window are in memory. When the log has passed a window's end, its samples
// become chunks: for each device and UTC day (of SourceTime) that has samples in
// the window, packed columns that share one time column, and sums of every
// quarter of an hour, so that hourly aggregates of a quarter of a year read no
// sample. The checkpoint moves only at window ends, and a restart folds the open
// window again: the rows are a function of the log alone, never of batches or
// restarts. docs/formats/history.md draws the rows.
//
// Nothing is dropped: two samples of one SourceTime are both kept; where one
// value is asked for, that which is later in the log wins. Chunks hold what was
// received; corrections are laid over it when it is read (correct.go).
package history

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twinlog/twinlog/domain/correction"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/planted"
	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/settings"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/projections"
)

const (
	// windowBits: a window of 262,144 positions is some minutes of a busy plant,
	// and what a restart folds again in about a second.
	windowBits = 18
	// maxWindow closes a window early when so many bytes of it are in memory:
	// about 3 million numbers. It bounds a commit, too.
	maxWindow = 32 << 20
)

// Projection is the fold; it implements projections.Fold.
type Projection struct {
	store projections.Store

	// mu guards all below. Fold holds it to write, a question while it looks at
	// what is in memory.
	mu       sync.RWMutex
	points   *telemetry.Interner
	where    []place // by number of the point
	devices  []*device
	byName   map[string]*device
	streams  []eventlog.StreamID
	streamNo map[eventlog.StreamID]uint32
	origins  []string // gateway and firmware, see telemetry.AppendOrigin
	originNo map[string]uint32
	made     *correction.Set
	settings settings.Settings
	dirty    []func(w *projections.Writes) // dictionary rows to be written
	open     *window
	sealed   []*window // perhaps not yet committed
	at       eventlog.Position

	// Of the folding goroutine alone.
	encoder encoder
	row     telemetry.View
	scratch []measured
	origin  []byte

	reads      atomic.Uint64
	unreadable atomic.Uint64
}

// place is where a point's samples are: a column of a device.
type place struct {
	device *device
	column uint32
}

// device numbers the signals of a device in the order of first appearance.
type device struct {
	id      uint32
	name    string
	signals []string
	recent  *dayRows // the rows that were added to last
	spare   *dayRows // memory of an earlier window
	changed bool
}

// measured is one sample of the row that is being folded.
type measured struct {
	column  uint32
	kind    telemetry.Kind
	bits    uint64
	text    []byte
	quality quality.Quality
}

// New returns the fold whose rows are in the store. The Runner opens it.
func New(store projections.Store) *Projection { return &Projection{store: store} }

// View returns the questions that can be asked of it.
func (p *Projection) View() *View { return &View{p} }

// Name implements projections.Fold.
func (p *Projection) Name() string { return "history" }

// Version implements projections.Fold.
func (p *Projection) Version() int { return 2 }

// Filter implements projections.Fold.
func (p *Projection) Filter() eventlog.Filter {
	return eventlog.Filter{Types: []string{eventlog.TelemetryRecorded, settings.ChangedType, correction.MadeType}}
}

// Unreadable counts the telemetry events that were not in the format and so are
// missing here. The log takes what any writer appends.
func (p *Projection) Unreadable() uint64 { return p.unreadable.Load() }

// Open implements projections.Fold.
func (p *Projection) Open(s projections.Snapshot, at eventlog.Position) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.points, p.where, p.devices, p.byName = telemetry.NewInterner(), nil, nil, map[string]*device{}
	p.streams, p.streamNo = nil, map[eventlog.StreamID]uint32{}
	p.origins, p.originNo, p.made = nil, map[string]uint32{}, correction.NewSet()
	p.settings, p.dirty, p.open, p.sealed, p.at = settings.Standard(), nil, nil, nil, at
	p.unreadable.Store(0)
	if err := p.readDictionary(s); err != nil {
		return fmt.Errorf("history: open at %d: %w", at, err)
	}
	return nil
}

// Fold implements projections.Fold.
func (p *Projection) Fold(b eventlog.Batch, w *projections.Writes) (eventlog.Position, error) {
	p.forget()
	for records := b.Records; len(records) > 0; {
		n, end := p.take(records[:min(256, len(records))])
		if end > 0 {
			p.seal(end, w)
		}
		records = records[n:]
	}
	if end := alignedEnd(b.Through); end > p.at {
		p.seal(end, w)
	}
	return p.at, nil
}

// take folds records up to where a window ends and returns how many, and that
// position if one has been reached. It holds the lock for a few hundred records
// only, so that questions need not wait for long.
func (p *Projection) take(records []eventlog.Record) (n int, end eventlog.Position) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range records {
		r := &records[i]
		if end := alignedEnd(r.Position - 1); end > p.at {
			return i, end
		}
		switch r.Type {
		case settings.ChangedType:
			p.set(r)
			continue
		case correction.MadeType:
			p.correct(r)
			continue
		}
		p.add(r)
		if p.open != nil && p.open.bytes >= maxWindow {
			return i + 1, r.Position
		}
	}
	return len(records), 0
}

// seal writes the open window and moves the checkpoint. It encodes without the
// lock: nobody else changes the window, and questions may read it meanwhile.
func (p *Projection) seal(end eventlog.Position, w *projections.Writes) {
	for _, put := range p.dirty {
		put(w)
	}
	p.dirty = nil
	if p.open != nil {
		p.encoder.window(p.open, w)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open != nil {
		p.sealed = append(p.sealed, p.open)
		p.open = nil
	}
	p.at = end
}

// forget drops the sealed windows: that there is another batch means that what
// the last one wrote has been committed.
func (p *Projection) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.sealed {
		for _, r := range w.days {
			// A device's rows are reused for the same device, so that memory stays
			// what a window needs.
			r.device.spare = r
			if r.device.recent == r {
				r.device.recent = nil
			}
		}
	}
	p.sealed = nil
}

// alignedEnd returns the last position of the last window that has been passed
// when the log is at pos; 0 if none has.
func alignedEnd(pos eventlog.Position) eventlog.Position {
	start := (pos + 1) >> windowBits << windowBits
	return max(start, 1) - 1
}

// set takes over new settings. One that cannot be read changes nothing: the
// command that writes them has checked them.
func (p *Projection) set(r *eventlog.Record) {
	s, err := p.settings.Evolve(r.Data)
	if err != nil {
		p.unreadable.Add(1)
		return
	}
	if planted.Bug == planted.SkewFrozen {
		return
	}
	p.settings = s
	p.dirty = append(p.dirty, func(w *projections.Writes) { w.Put(settingsKey(), appendSettings(nil, s)) })
}

// add takes the samples of a telemetry event into the open window.
func (p *Projection) add(r *eventlog.Record) {
	v := &p.row
	if err := v.Reset(r.Data); err != nil {
		p.unreadable.Add(1)
		return
	}
	if v.Len == 0 {
		return
	}
	numbers, err := p.points.Row(v)
	if err != nil || !p.readSamples(v, numbers) {
		p.unreadable.Add(1)
		return
	}
	if p.open == nil {
		p.open = p.newWindow(r.Position)
	}
	p.open.note(r)
	source := telemetry.Nanos(v.SourceTime)
	d := p.where[numbers[0]].device
	rows := d.recent
	if day := dayOf(source); rows == nil || rows.day != day || rows.window != p.open {
		rows = p.open.rows(d, day)
	}
	server := noServer
	if !v.ServerTime.IsZero() {
		server = telemetry.Nanos(v.ServerTime) - source
	}
	size := rows.addRow(row{
		source: source, server: server, position: uint32(r.Position - p.open.start),
		revision: int64(r.Revision), stream: p.stream(r.Stream), origin: p.originOf(v), numbers: numbers,
	}, p.scratch, p.settings.Ahead(v.SourceTime, r.Recorded))
	p.open.bytes += size
}

// readSamples reads the row's samples into p.scratch, so that a row which turns
// out unreadable leaves nothing behind.
func (p *Projection) readSamples(v *telemetry.View, numbers []uint32) bool {
	for len(p.where) < p.points.Len() {
		p.place(p.points.Point(uint32(len(p.where))))
	}
	p.scratch = p.scratch[:0]
	it := v.Iter()
	for i := 0; it.Next(); i++ {
		p.scratch = append(p.scratch, measured{column: p.where[numbers[i]].column, kind: it.Kind, bits: it.Bits, text: it.Text, quality: it.Quality})
	}
	return it.Err() == nil && len(p.scratch) == v.Len
}

// place gives a new point its column.
func (p *Projection) place(pt telemetry.Point) {
	d := p.byName[pt.Device]
	if d == nil {
		d = &device{id: uint32(len(p.devices)), name: pt.Device}
		p.devices = append(p.devices, d)
		p.byName[pt.Device] = d
	}
	p.where = append(p.where, place{d, uint32(len(d.signals))})
	d.signals = append(d.signals, pt.Signal)
	p.changed(d)
}

func (p *Projection) changed(d *device) {
	if !d.changed {
		d.changed = true
		p.dirty = append(p.dirty, func(w *projections.Writes) {
			d.changed = false
			w.Put(deviceKey(d.id), appendDevice(nil, d))
		})
	}
}

func (p *Projection) stream(id eventlog.StreamID) uint32 {
	n, ok := p.streamNo[id]
	if !ok {
		n = uint32(len(p.streams))
		p.streams = append(p.streams, id)
		p.streamNo[id] = n
		p.dirty = append(p.dirty, func(w *projections.Writes) { w.Put(streamKey(n), []byte(id)) })
	}
	return n
}

// originOf numbers where a message comes from.
func (p *Projection) originOf(v *telemetry.View) uint32 {
	p.origin = v.AppendOrigin(p.origin[:0])
	n, ok := p.originNo[string(p.origin)]
	if !ok {
		n = uint32(len(p.origins))
		name := string(p.origin)
		p.origins = append(p.origins, name)
		p.originNo[name] = n
		p.dirty = append(p.dirty, func(w *projections.Writes) { w.Put(originKey(n), []byte(name)) })
	}
	return n
}

const nanosPerDay = int64(24 * time.Hour)

// dayOf returns the number of the UTC day since 1970.
func dayOf(nanos int64) int32 {
	d := nanos / nanosPerDay
	if nanos%nanosPerDay < 0 {
		d--
	}
	return int32(d)
}
