package twins

import (
	"container/heap"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/twinlog/twinlog/domain/columnar"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/projections"
)

// The rows: one for each device, all its points in the order of appearance, one
// for each correction, and one for the state of the whole
// (docs/formats/history.md).
const (
	kindDevice     = 'd'
	kindCorrection = 'k'
	kindState      = 'x'
)

const rowVersion = 2

var errRow = errors.New("corrupt row")

// state is what is not of one point.
type state struct {
	Recorded int64           `json:"recorded"`
	Settings json.RawMessage `json:"settings"`
}

// snapshot writes what has changed since the last checkpoint and moves it.
func (p *Projection) snapshot(end eventlog.Position, w *projections.Writes) {
	slices.SortFunc(p.dirty, func(a, b uint32) int { return int(a) - int(b) })
	for _, n := range p.dirty {
		d := &p.devices[n]
		d.dirty = false
		w.Put(projections.AppendText([]byte{kindDevice}, d.name), p.appendDevice([]byte{rowVersion}, d))
	}
	p.dirty = p.dirty[:0]
	for _, e := range p.entered {
		w.Put(projections.AppendPosition([]byte{kindCorrection}, e.at), e.row())
	}
	p.entered = nil
	set, err := json.Marshal(p.settings)
	if err == nil {
		set, err = json.Marshal(state{p.recorded, set})
	}
	if err != nil {
		panic(err) // numbers only
	}
	w.Put([]byte{kindState}, set)
	p.at = end
}

func (p *Projection) appendDevice(dst []byte, d *device) []byte {
	var local localNames
	for _, n := range d.points {
		s := &p.slots[n]
		if s.ok {
			local.take(p, &s.reading)
		}
		for i := range s.waiting {
			local.take(p, &s.waiting[i])
		}
	}
	dst = local.append(dst)
	for _, n := range d.points {
		s := &p.slots[n]
		dst = columnar.AppendString(dst, p.points.Point(n).Signal)
		if !s.ok {
			dst = append(dst, 0)
		} else {
			dst = local.appendReading(append(dst, 1), &s.reading)
			dst = binary.AppendUvarint(dst, uint64(s.changed-s.position))
		}
		dst = binary.AppendUvarint(dst, uint64(len(s.waiting)))
		for i := range s.waiting {
			dst = local.appendReading(dst, &s.waiting[i])
		}
	}
	return dst
}

func (l *localNames) appendReading(dst []byte, r *reading) []byte {
	dst = append(dst, byte(r.value.Kind))
	switch r.value.Kind {
	case telemetry.Null:
	case telemetry.String:
		dst = columnar.AppendString(dst, r.value.Str)
	default:
		dst = binary.LittleEndian.AppendUint64(dst, r.value.Bits)
	}
	dst = binary.AppendUvarint(dst, uint64(r.quality.Code))
	dst = binary.AppendUvarint(dst, uint64(r.quality.Raw))
	dst = append(dst, byte(r.quality.Scheme))
	dst = binary.AppendVarint(dst, r.source)
	dst = binary.AppendVarint(dst, r.server)
	dst = binary.AppendVarint(dst, r.recorded)
	dst = binary.AppendUvarint(dst, uint64(r.position))
	dst = binary.AppendUvarint(dst, uint64(r.revision))
	dst = binary.AppendUvarint(dst, uint64(r.index))
	dst = binary.AppendUvarint(dst, uint64(l.streams.of[r.stream]))
	return binary.AppendUvarint(dst, uint64(l.origins.of[r.origin]))
}

func (p *Projection) restore(s projections.Snapshot) error {
	b, err := s.Get([]byte{kindState})
	if err != nil {
		return err
	}
	if b != nil {
		var st state
		if err := json.Unmarshal(b, &st); err != nil {
			return fmt.Errorf("state row: %w", err)
		}
		p.recorded = st.Recorded
		if err := json.Unmarshal(st.Settings, &p.settings); err != nil {
			return fmt.Errorf("state row: %w", err)
		}
	}
	for w, err := range s.Scan([]byte{kindCorrection}, []byte{kindCorrection + 1}, false) {
		if err == nil {
			err = p.readCorrection(w)
		}
		if err != nil {
			return err
		}
	}
	for w, err := range s.Scan([]byte{kindDevice}, []byte{kindDevice + 1}, false) {
		if err != nil {
			return err
		}
		name, _, err := projections.CutText(w.Key[1:])
		if err == nil {
			err = p.readDevice(name, w.Value)
		}
		if err != nil {
			return fmt.Errorf("device row %x: %w", w.Key, err)
		}
	}
	return nil
}

func (p *Projection) readDevice(name string, row []byte) error {
	if len(row) == 0 || row[0] != rowVersion {
		return fmt.Errorf("unknown version: %w", errRow)
	}
	r := reader{b: row[1:]}
	streams, origins := r.names(&p.streams), r.names(&p.origins)
	if r.bad {
		return fmt.Errorf("names: %w", errRow)
	}
	r.streams, r.origins = streams, origins
	for len(r.b) > 0 {
		n := p.points.Number(telemetry.Point{Device: name, Signal: r.string()})
		if r.bad || int(n) != len(p.slots) {
			return fmt.Errorf("signal %d: %w", n, errRow)
		}
		p.add(p.points.Point(n))
		s := &p.slots[n]
		if s.ok = r.byte() == 1; s.ok {
			s.reading = r.reading()
			s.changed = s.position + eventlog.Position(r.uvarint())
			s.version++
		}
		for k := r.uvarint(); k > 0 && !r.bad; k-- {
			s.waiting = append(s.waiting, r.reading())
		}
		if s.ok && p.made.Has(name) {
			p.show(s)
		}
		if len(s.waiting) > 0 {
			heap.Push(&p.ahead, due{s.waiting[0].source, n})
		}
		if r.bad {
			return fmt.Errorf("signal %d: %w", n, errRow)
		}
	}
	return nil
}

// reader reads from the front of b; bad is set when something was not there,
// and stays.
type reader struct {
	b                []byte
	bad              bool
	streams, origins []uint32 // what the row's numbers stand for
}

// names reads a row's names and gives them numbers of the whole.
func (r *reader) names(of *names) []uint32 {
	n := r.uvarint()
	var all []uint32
	for ; n > 0 && !r.bad; n-- {
		all = append(all, of.number([]byte(r.string())))
	}
	return all
}

func (r *reader) pick(list []uint32) uint32 {
	n := r.uvarint()
	if n >= uint64(len(list)) {
		r.bad = true
		return 0
	}
	return list[n]
}

func (r *reader) reading() reading {
	out := reading{value: telemetry.Value{Kind: telemetry.Kind(r.byte())}}
	switch out.value.Kind {
	case telemetry.Null:
	case telemetry.String:
		out.value.Str = r.string()
	default:
		if len(r.b) < 8 {
			r.bad, r.b = true, nil
			return out
		}
		out.value.Bits = binary.LittleEndian.Uint64(r.b)
		r.b = r.b[8:]
	}
	out.quality = quality.Quality{Code: quality.Code(r.uvarint()), Raw: uint32(r.uvarint()), Scheme: quality.Scheme(r.byte())}
	out.source, out.server, out.recorded = r.varint(), r.varint(), r.varint()
	out.position = eventlog.Position(r.uvarint())
	out.revision, out.index = eventlog.Revision(r.uvarint()), uint32(r.uvarint())
	out.stream, out.origin = r.pick(r.streams), r.pick(r.origins)
	return out
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.bad = true
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) string() string {
	s, rest, err := columnar.ReadString(r.b)
	if err != nil {
		r.bad = true
	}
	r.b = rest
	return s
}
