package history

import (
	"encoding/binary"
	"math"
	"slices"
	"unsafe"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/planted"
	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/settings"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// window is a stretch of positions whose samples are in memory.
type window struct {
	start    eventlog.Position // the first position that may be in it
	days     map[dayKey]*dayRows
	devices  map[uint32][]*dayRows // the same, by device
	recorded []recordedAt
	bytes    int // in memory, about
}

type dayKey struct {
	device uint32
	day    int32
}

// recordedAt: from this position on, events were recorded then.
type recordedAt struct {
	position uint32 // relative to the window's start
	nanos    int64
}

// newWindow starts the window that an event at pos belongs to: behind the
// checkpoint, or at its aligned start if the log has jumped.
func (p *Projection) newWindow(pos eventlog.Position) *window {
	return &window{start: max(p.at+1, pos>>windowBits<<windowBits), days: map[dayKey]*dayRows{}, devices: map[uint32][]*dayRows{}}
}

// note remembers when the event was recorded.
func (w *window) note(r *eventlog.Record) {
	at := telemetry.Nanos(r.Recorded)
	if n := len(w.recorded); n == 0 || w.recorded[n-1].nanos != at {
		w.recorded = append(w.recorded, recordedAt{uint32(r.Position - w.start), at})
		w.bytes += int(unsafe.Sizeof(recordedAt{}))
	}
}

// rows returns the rows of a device and day, which become the device's recent.
func (w *window) rows(d *device, day int32) *dayRows {
	k := dayKey{d.id, day}
	r := w.days[k]
	if r == nil {
		if r = d.spare; r != nil {
			d.spare = nil
			r.reset()
		} else {
			r = &dayRows{}
		}
		r.window, r.device, r.day, r.sorted = w, d, day, true
		w.days[k] = r
		w.devices[d.id] = append(w.devices[d.id], r)
		w.bytes += 200
	}
	d.recent = r
	return r
}

// noServer marks a row whose message had no ServerTime.
const noServer = int64(math.MinInt64)

// row is what a message says about all its samples.
type row struct {
	source, server, revision int64
	position, stream, origin uint32
	numbers                  []uint32 // of its points, shared by rows of one shape
}

// dayRows holds the rows of one device and day in the order of positions, as
// columns.
type dayRows struct {
	window *window
	device *device
	day    int32
	sorted bool // the rows are in the order of SourceTime

	source, server, revision []int64
	position, stream, shape  []uint32
	origin                   []uint32
	columns                  []*column // by the device's number of the signal; nil if none
	shapes                   []shape
	shapeNo                  map[string]uint32 // by the columns, when there are many
}

// shape is a list of signals that some rows have, in the order received.
type shape struct {
	columns []uint32
	numbers []uint32 // as the interner gave them: equal memory means equal shape
}

// column holds the values that some rows have for a signal. The runs at hand are
// in the struct itself: a value touches two cache lines.
type column struct {
	bits    []uint64 // of a String: its place in texts
	first   uint32
	kind    kindRun
	quality qualityRun
	rows    []uint32 // the rows that have one; nil while these are first, first+1, …

	kinds     []kindRun // finished
	qualities []qualityRun
	texts     []string
}

// runs returns all runs.
func (c *column) runs() ([]kindRun, []qualityRun) {
	return append(slices.Clip(c.kinds), c.kind), append(slices.Clip(c.qualities), c.quality)
}

type kindRun struct {
	kind telemetry.Kind
	n    int
}

type qualityRun struct {
	quality quality.Quality
	n       int
}

func (d *dayRows) reset() {
	d.source, d.server, d.revision = d.source[:0], d.server[:0], d.revision[:0]
	d.position, d.stream, d.shape = d.position[:0], d.stream[:0], d.shape[:0]
	d.origin = d.origin[:0]
	d.shapes, d.shapeNo = d.shapes[:0], nil
	for _, c := range d.columns {
		if c != nil {
			*c = column{bits: c.bits[:0], kinds: c.kinds[:0], qualities: c.qualities[:0]}
		}
	}
}

// addRow appends a row and returns by how many bytes memory has grown, about.
func (d *dayRows) addRow(r row, samples []measured, ahead bool) int {
	n := uint32(len(d.source))
	if n > 0 && r.source < d.source[n-1] {
		d.sorted = false
	}
	d.source, d.server, d.revision = append(d.source, r.source), append(d.server, r.server), append(d.revision, r.revision)
	d.position, d.stream = append(d.position, r.position), append(d.stream, r.stream)
	d.shape, d.origin = append(d.shape, d.shapeOf(r.numbers, samples)), append(d.origin, r.origin)
	size := 40
	for i := range samples {
		m := &samples[i]
		q := m.quality
		if ahead && planted.Bug != planted.SkewForgotten {
			q = settings.Doubted(q)
		}
		size += d.column(m.column).add(n, m, q)
	}
	return size
}

func (d *dayRows) column(i uint32) *column {
	for int(i) >= len(d.columns) {
		d.columns = append(d.columns, nil)
	}
	if d.columns[i] == nil {
		d.columns[i] = &column{}
	}
	return d.columns[i]
}

// fewShapes are looked through one by one.
const fewShapes = 8

// shapeOf returns the number of the row's shape. A device that sends by deadband
// may have thousands.
func (d *dayRows) shapeOf(numbers []uint32, samples []measured) uint32 {
	for i := range min(len(d.shapes), fewShapes) {
		s := &d.shapes[i]
		if len(s.numbers) == len(numbers) && (&s.numbers[0] == &numbers[0] || s.same(samples)) {
			return uint32(i)
		}
	}
	var key []byte
	if len(d.shapes) >= fewShapes {
		for i := range samples {
			key = binary.LittleEndian.AppendUint32(key, samples[i].column)
		}
		if n, ok := d.shapeNo[string(key)]; ok {
			return n
		}
		if d.shapeNo == nil {
			d.shapeNo = map[string]uint32{}
		}
		d.shapeNo[string(key)] = uint32(len(d.shapes))
	}
	s := shape{numbers: numbers, columns: make([]uint32, len(samples))}
	for i := range samples {
		s.columns[i] = samples[i].column
	}
	d.shapes = append(d.shapes, s)
	return uint32(len(d.shapes) - 1)
}

func (s *shape) same(samples []measured) bool {
	for i := range samples {
		if samples[i].column != s.columns[i] {
			return false
		}
	}
	return true
}

// add appends the row's value and returns by how many bytes memory has grown.
func (c *column) add(row uint32, m *measured, q quality.Quality) int {
	size := 8
	n := uint32(len(c.bits))
	switch {
	case n == 0:
		c.first = row
	case c.rows == nil && row != c.first+n:
		c.rows = make([]uint32, n, n+n/4+8)
		for i := range c.rows {
			c.rows[i] = c.first + uint32(i)
		}
		size += 4 * int(n)
	}
	if c.rows != nil {
		c.rows = append(c.rows, row)
		size += 4
	}
	if c.kind.kind != m.kind || c.kind.n == 0 {
		if c.kind.n > 0 {
			c.kinds = append(c.kinds, c.kind)
			size += 16
		}
		c.kind = kindRun{kind: m.kind}
	}
	c.kind.n++
	if c.quality.quality != q || c.quality.n == 0 {
		if c.quality.n > 0 {
			c.qualities = append(c.qualities, c.quality)
			size += 24
		}
		c.quality = qualityRun{quality: q}
	}
	c.quality.n++
	bits := m.bits
	if m.kind == telemetry.String {
		bits = uint64(len(c.texts))
		if t := len(c.texts); t > 0 && c.texts[t-1] == string(m.text) {
			bits-- // a state that stays costs no memory
		} else {
			c.texts = append(c.texts, string(m.text))
			size += 16 + len(m.text)
		}
	}
	c.bits = append(c.bits, bits)
	return size
}

// rowOf returns the row that has the i-th value.
func (c *column) rowOf(i int) uint32 {
	if c.rows == nil {
		return c.first + uint32(i)
	}
	return c.rows[i]
}
