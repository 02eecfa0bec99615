package history

import (
	"cmp"
	"slices"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// memory is what a window in memory has of the point on one day.
type memory struct {
	day    int32
	window eventlog.Position
	series series
}

// lookInMemory copies what the windows in memory have of the point. The caller
// holds the lock.
func (q *query) lookInMemory(p *Projection, pt telemetry.Point, from, to int64) bool {
	if p.points == nil {
		return false
	}
	n, ok := p.points.Find(pt)
	if !ok {
		return false
	}
	at := p.where[n]
	q.device, q.column, q.streams, q.origins = at.device.id, at.column, p.streams, p.origins
	q.lookAtCorrections(p, pt, from, to)
	q.edge = p.at + 1
	windows := p.sealed
	if p.open != nil {
		windows = append(slices.Clip(windows), p.open)
	}
	if len(p.sealed) > 0 {
		q.edge = p.sealed[0].start
	}
	for _, w := range windows {
		for _, rows := range w.devices[q.device] {
			if rows.day >= dayOf(from) && rows.day <= dayOf(to) {
				q.recent[w.start] = w.recorded
				m := memory{day: rows.day, window: w.start}
				if rows.copyTo(&m.series, q.column, from, to, q.known, q.identity); m.series.len() > 0 {
					q.memory = append(q.memory, m)
				}
			}
		}
	}
	slices.SortFunc(q.memory, func(a, b memory) int {
		return cmp.Or(cmp.Compare(a.day, b.day), cmp.Compare(a.window, b.window))
	})
	return true
}

// copyTo appends the samples of a signal with SourceTime in [from, to].
func (d *dayRows) copyTo(s *series, signal uint32, from, to int64, known eventlog.Position, withIdentity bool) {
	if int(signal) >= len(d.columns) || d.columns[signal] == nil || len(d.columns[signal].bits) == 0 {
		return
	}
	c := d.columns[signal]
	n := len(c.bits)
	s.times, _ = grow(s.times[:0], n)
	s.positions, _ = grow(s.positions[:0], n)
	for i := range n {
		r := c.rowOf(i)
		s.times[i], s.positions[i] = d.source[r], d.window.start+eventlog.Position(d.position[r])
	}
	s.bits = append(s.bits[:0], c.bits...)
	s.texts = slices.Clip(c.texts)
	kinds, qualities := c.runs()
	for _, k := range kinds {
		var added []telemetry.Kind
		s.kinds, added = grow(s.kinds, k.n)
		for i := range added {
			added[i] = k.kind
		}
	}
	for _, q := range qualities {
		no := s.qualityNo(q.quality)
		var added []uint32
		s.quality, added = grow(s.quality, q.n)
		for i := range added {
			added[i] = no
		}
	}
	if withIdentity {
		for i := range n {
			r := c.rowOf(i)
			s.identity = append(s.identity, identity{
				window: d.window.start, server: d.server[r], revision: d.revision[r], stream: d.stream[r], origin: d.origin[r],
				index: uint32(slices.Index(d.shapes[d.shape[r]].columns, signal)),
			})
		}
	}
	if !d.sorted {
		s.sort()
	}
	s.cut(from, to, known)
}
