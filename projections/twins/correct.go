package twins

import (
	"encoding/binary"
	"fmt"

	"github.com/twinlog/twinlog/domain/columnar"
	"github.com/twinlog/twinlog/domain/correction"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/projections"
)

// entered is a correction as it came.
type entered struct {
	at    eventlog.Position
	where correction.Earlier
	data  []byte
}

func (e entered) row() []byte {
	dst := columnar.AppendString(nil, string(e.where.Stream))
	return append(binary.AppendUvarint(dst, uint64(e.where.Revision)), e.data...)
}

// correct takes a correction and shows anew what it may change.
func (p *Projection) correct(r *eventlog.Record) {
	e := entered{r.Position, correction.Earlier{Stream: r.Stream, Revision: r.Revision}, r.Data}
	devices, err := p.made.Add(e.where, e.at, e.data)
	if err != nil { // what cannot be read changes nothing: the command that writes it checks
		p.unread++
		return
	}
	p.entered = append(p.entered, e)
	for _, name := range devices {
		d, ok := p.byName[name]
		if !ok {
			continue
		}
		for _, n := range p.devices[d].points {
			s := &p.slots[n]
			if !s.ok {
				continue
			}
			before, was := p.shown[n], s.fixed
			if p.show(s); s.fixed != was || p.shown[n] != before {
				s.changed = r.Position
				s.version++
				p.changes++
				p.touch(s)
			}
		}
	}
}

// show applies the corrections to the sample of a slot.
func (p *Projection) show(s *slot) {
	point := p.points.Point(s.number)
	received := correction.Shown{Value: s.value, Quality: s.quality}
	g := p.given(s)
	now, corrected := p.made.Plan(point, 0).Apply(g, received)
	if corrected {
		p.shown[s.number] = now
	} else {
		delete(p.shown, s.number)
	}
	s.fixed, s.altered = corrected, p.made.Story(point, 0).Changed(g, received)
}

func (p *Projection) given(s *slot) *correction.Given {
	gateway, firmware := telemetry.CutOrigin(p.origins.list[s.origin])
	return &correction.Given{
		Source: s.source, Position: s.position, Stream: eventlog.StreamID(p.streams.list[s.stream]), Revision: s.revision,
		Index: int(s.index), Gateway: gateway, Firmware: firmware,
	}
}

func (p *Projection) originOf(v *telemetry.View) []byte {
	p.origin = v.AppendOrigin(p.origin[:0])
	return p.origin
}

func (p *Projection) readCorrection(w projections.Write) error {
	at := projections.CutPosition(w.Key[1:])
	r := reader{b: w.Value}
	where := correction.Earlier{Stream: eventlog.StreamID(r.string()), Revision: eventlog.Revision(r.uvarint())}
	if r.bad {
		return fmt.Errorf("correction row %x: %w", w.Key, errRow)
	}
	_, err := p.made.Add(where, at, r.b)
	return err
}

// names are numbered in the order of first appearance.
type names struct {
	list []string
	no   map[string]uint32
}

func (n *names) number(name []byte) uint32 {
	if i, ok := n.no[string(name)]; ok {
		return i
	}
	if n.no == nil {
		n.no = map[string]uint32{}
	}
	i := uint32(len(n.list))
	n.list = append(n.list, string(name))
	n.no[n.list[i]] = i
	return i
}

// localNames are the names that one row uses, numbered in the order in which it
// does, so that the row depends on nothing else.
type localNames struct{ streams, origins renumbered }

type renumbered struct {
	list []string
	of   map[uint32]uint32
}

func (r *renumbered) take(all *names, n uint32) {
	if _, ok := r.of[n]; ok {
		return
	}
	if r.of == nil {
		r.of = map[uint32]uint32{}
	}
	r.of[n] = uint32(len(r.list))
	r.list = append(r.list, all.list[n])
}

func (l *localNames) take(p *Projection, r *reading) {
	l.streams.take(&p.streams, r.stream)
	l.origins.take(&p.origins, r.origin)
}

func (l *localNames) append(dst []byte) []byte {
	for _, list := range [][]string{l.streams.list, l.origins.list} {
		dst = binary.AppendUvarint(dst, uint64(len(list)))
		for _, name := range list {
			dst = columnar.AppendString(dst, name)
		}
	}
	return dst
}
