package badgerlog

import (
	"encoding/binary"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// arrange sorts the rows of a window into groups and writes down their order.
// It leaves the groups' parts to be told.
func (w *toBeSealed) arrange() *sealedOrder {
	o := &sealedOrder{
		first: w.into.first, last: w.into.last, previous: w.before, lastBlock: w.into.telemetry,
		ids: map[int][]byte{},
	}
	a := arranger{
		o: o, w: w, groups: map[string]int32{}, streams: map[eventlog.StreamID]int{},
		types: map[[2]string]int64{}, envelopes: map[string]int64{},
	}
	w.groups = w.groups[:0]
	for k, p := range w.parts {
		o.commitLast = append(o.commitLast, int64(p.key.last-o.first))
		o.commits = append(o.commits, sealedCommit{p.key.count, p.recorded, p.stamp})
		a.part(p, w.starts[k])
	}
	return o
}

type arranger struct {
	o         *sealedOrder
	w         *toBeSealed
	groups    map[string]int32
	streams   map[eventlog.StreamID]int
	types     map[[2]string]int64
	envelopes map[string]int64
	key       []byte
	view      rowView

	// Numbers in the window of what a block numbers by itself.
	partStreams            []int
	partTypes, partStencil []int64
}

func (a *arranger) part(p *part, start int) {
	a.partStreams, a.partTypes, a.partStencil = a.partStreams[:0], a.partTypes[:0], a.partStencil[:0]
	for range p.streams {
		a.partStreams = append(a.partStreams, -1) // a stream's first row tells its revision
	}
	for _, t := range p.types {
		n, ok := a.types[t]
		if !ok {
			n = int64(len(a.o.types))
			a.types[t] = n
			a.o.types = append(a.o.types, t)
		}
		a.partTypes = append(a.partTypes, n)
	}
	for _, s := range p.stencils {
		a.key = append(a.key[:0], s.Text...)
		if s.Fixed() {
			a.key = append(a.key, 0) // no JSON ends so
		}
		n, ok := a.envelopes[string(a.key)]
		if !ok {
			n = int64(len(a.o.envelopes))
			a.envelopes[string(a.key)] = n
			a.o.envelopes = append(a.o.envelopes, s)
		}
		a.partStencil = append(a.partStencil, n)
	}
	for i := range p.rows {
		a.row(p, &p.rows[i], int32(start+i))
	}
}

func (a *arranger) row(p *part, r *row, i int32) {
	o := a.o
	s := a.partStreams[r.stream]
	if s < 0 {
		id := p.streams[r.stream]
		var ok bool
		if s, ok = a.streams[id]; !ok {
			s = len(o.streams)
			a.streams[id] = s
			o.streams, o.firstRev = append(o.streams, id), append(o.firstRev, r.rev)
		}
		a.partStreams[r.stream] = s
	}
	g := a.groupOf(s, r.data, i)
	o.group = append(o.group, g)
	o.offset = append(o.offset, uint32(r.pos-o.first))
	o.rev = append(o.rev, uint32(r.rev-o.firstRev[s]))
	o.kind = append(o.kind, a.partTypes[r.kind])
	o.envelope = append(o.envelope, a.partStencil[r.envelope])
	if r.id != nil {
		o.ids[int(i)] = r.id
	}
}

// groupOf returns the group that a row belongs to, starting another where
// there is none or it is full.
func (a *arranger) groupOf(stream int, data []byte, i int32) int32 {
	verbatim := a.w.odd[i] || !a.view.cut(data)
	a.key = binary.LittleEndian.AppendUint32(a.key[:0], uint32(stream))
	if !verbatim {
		v := &a.view
		a.key = binary.LittleEndian.AppendUint16(a.key, v.flags)
		a.key = binary.LittleEndian.AppendUint32(a.key, uint32(v.n))
		a.key = append(append(a.key, v.texts...), v.names...)
	}
	g, ok := a.groups[string(a.key)]
	if ok {
		have := a.w.groups[g]
		if full := len(have.rows); full < groupRows && full*have.n < partSamples && have.bytes < partBytes {
			have.rows = append(have.rows, i)
			if verbatim {
				have.bytes += len(data)
			}
			return g
		}
	}
	g = int32(len(a.w.groups))
	a.groups[string(a.key)] = g
	group := &sealGroup{stream: stream, verbatim: verbatim, rows: []int32{i}}
	if verbatim {
		group.bytes = len(data)
	} else {
		group.texts, group.names, group.flags, group.n = a.view.texts, a.view.names, a.view.flags, a.view.n
	}
	a.w.groups = append(a.w.groups, group)
	a.o.groupStream = append(a.o.groupStream, int64(stream))
	return g
}

// batches shares the groups out to parts: groups of one kind together, in the
// order of their first rows, until a part is full.
func (w *toBeSealed) batches() (all [][]*sealGroup) {
	type filling struct{ at, rows, bytes int }
	open := map[string]*filling{}
	var key []byte
	for _, g := range w.groups {
		key = key[:0]
		if !g.verbatim {
			key = binary.LittleEndian.AppendUint16(key, g.flags)
			key = binary.LittleEndian.AppendUint32(key, uint32(g.n))
			key = append(key, g.names...)
		}
		f := open[string(key)]
		if f == nil || f.rows >= groupRows || f.rows*g.n >= partSamples || f.bytes >= partBytes {
			f = &filling{at: len(all)}
			open[string(key)] = f
			all = append(all, nil)
		}
		all[f.at] = append(all[f.at], g)
		f.rows += len(g.rows)
		f.bytes += g.bytes
	}
	return all
}
