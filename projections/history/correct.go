package history

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/twinlog/twinlog/domain/columnar"
	"github.com/twinlog/twinlog/domain/correction"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/projections"
)

// correct takes a correction. One that cannot be read changes nothing: the
// command that writes it has checked it.
func (p *Projection) correct(r *eventlog.Record) {
	where, at, data := correction.Earlier{Stream: r.Stream, Revision: r.Revision}, r.Position, r.Data
	if _, err := p.made.Add(where, at, data); err != nil {
		p.unreadable.Add(1)
		return
	}
	p.dirty = append(p.dirty, func(w *projections.Writes) {
		row := binary.AppendUvarint(columnar.AppendString(nil, string(where.Stream)), uint64(where.Revision))
		w.Put(projections.AppendPosition([]byte{kindMade}, at), append(row, data...))
	})
}

func (p *Projection) readCorrections(s projections.Snapshot) error {
	for w, err := range s.Scan([]byte{kindMade}, []byte{kindMade + 1}, false) {
		if err != nil {
			return err
		}
		name, rest, err := columnar.ReadString(w.Value)
		if err != nil {
			return fmt.Errorf("correction row %x: %w", w.Key, err)
		}
		r := reader{b: rest}
		where := correction.Earlier{Stream: eventlog.StreamID(name), Revision: eventlog.Revision(r.uvarint())}
		if r.bad {
			return fmt.Errorf("correction row %x: %w", w.Key, columnar.ErrCorrupt)
		}
		if _, err := p.made.Add(where, projections.CutPosition(w.Key[1:]), r.b); err != nil {
			return fmt.Errorf("correction row %x: %w", w.Key, err)
		}
	}
	return nil
}

// lookAtCorrections finds what is in force for the point. The caller holds the
// lock. Where something is, samples are read with what decides whether it
// applies to them.
func (q *query) lookAtCorrections(p *Projection, pt telemetry.Point, from, to int64) {
	if !p.made.Has(pt.Device) {
		return
	}
	if q.plan = p.made.Plan(pt, q.made); !q.plan.Touches(from, to) {
		q.plan = nil
		return
	}
	q.plain = false
	q.identity = q.identity || q.plan.Identity || q.plan.Origin
}

// Plans returns the corrections in force for those of the points for which
// there are any, as known at a cut.
func (v *View) Plans(points []telemetry.Point, c projections.Cut) map[telemetry.Point]*correction.Plan {
	v.p.mu.RLock()
	defer v.p.mu.RUnlock()
	plans := map[telemetry.Point]*correction.Plan{}
	for _, pt := range points {
		if plan := v.p.made.Plan(pt, c.Known); plan != nil {
			plans[pt] = plan
		}
	}
	return plans
}

// was is what a corrected row was received as.
type was struct {
	row int
	correction.Shown
}

// was returns what the i-th sample was received as; nil if it is so still.
func (s *series) was(i int) *was {
	k, ok := slices.BinarySearchFunc(s.received, i, func(w was, i int) int { return cmp.Compare(w.row, i) })
	if !ok {
		return nil
	}
	return &s.received[k]
}

// correct lays the corrections over a series that will not be sorted or cut any
// more.
func (q *query) correct(s *series) {
	if n := s.len(); n == 0 || !q.plan.Touches(s.times[0], s.times[n-1]) {
		return
	}
	for i := range s.len() {
		if !q.plan.Touches(s.times[i], s.times[i]) {
			continue
		}
		received := correction.Shown{Value: s.value(i), Quality: s.known[s.quality[i]]}
		if now, corrected := q.plan.Apply(q.given(s, i), received); corrected {
			s.received = append(s.received, was{i, received})
			s.show(i, now)
		}
	}
}

// given is what decides whether a correction applies to a sample.
func (q *query) given(s *series, i int) *correction.Given {
	g := &correction.Given{Source: s.times[i], Position: s.positions[i]}
	if len(s.identity) == 0 {
		return g
	}
	id := &s.identity[i]
	g.Revision, g.Index = eventlog.Revision(id.revision), int(id.index)
	if int(id.stream) < len(q.streams) && int(id.origin) < len(q.origins) { // else sample says that they are corrupt
		g.Stream = q.streams[id.stream]
		g.Gateway, g.Firmware = telemetry.CutOrigin(q.origins[id.origin])
	}
	return g
}

// show replaces value and quality of a sample.
func (s *series) show(i int, now correction.Shown) {
	s.kinds[i], s.bits[i] = now.Value.Kind, now.Value.Bits
	if now.Value.Kind == telemetry.String {
		s.texts = append(s.texts, now.Value.Str)
		s.bits[i] = uint64(len(s.texts) - 1)
	}
	s.quality[i] = s.qualityNo(now.Quality)
}
