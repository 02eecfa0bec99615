package badgerlog

import (
	"encoding/binary"
	"slices"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// arrange sorts the rows of a window into groups and their numbers into the
// columns of kinds, and writes down their order. It leaves the groups' parts to
// be told.
func (w *toBeSealed) arrange() *sealedOrder {
	a := &w.maker.arranger
	a.begin(w)
	for k, p := range w.parts {
		a.o.commitLast = append(a.o.commitLast, int64(p.key.last-a.o.first))
		a.o.commits = append(a.o.commits, sealedCommit{p.key.count, p.recorded, p.stamp})
		a.part(p, w.starts[k])
	}
	return a.o
}

// arranger is used again for one window after the other.
type arranger struct {
	o         *sealedOrder
	w         *toBeSealed
	groups    []sealGroup
	kinds     []*sealKind // of this window
	spare     []*sealKind // of windows before
	groupOf   map[string]int32
	kindOf    map[string]int32
	streams   map[eventlog.StreamID]int
	types     map[[2]string]int64
	envelopes map[string]int64
	last      []int32 // of each stream: the group of its last row
	key       []byte
	view      rowView

	// Numbers in the window of what a block numbers by itself.
	partStreams            []int
	partTypes, partStencil []int64
}

// sealGroup is a group while a window is sealed.
type sealGroup struct {
	stream  int
	kind    int32
	texts   []byte
	quality int32 // of its last row
	next    int32 // the group of the stream's row after its last one, the time before
	rows    int
	bytes   int // of verbatim rows
	start   int // its first row among its kind's sorted ones
	filled  int // of them
}

// spareKinds is how much memory kinds may keep from one window to the next.
const spareKinds = 32 << 20

func (a *arranger) begin(w *toBeSealed) {
	if a.o == nil {
		a.o = &sealedOrder{}
		a.groupOf, a.kindOf, a.streams = map[string]int32{}, map[string]int32{}, map[eventlog.StreamID]int{}
		a.types, a.envelopes = map[[2]string]int64{}, map[string]int64{}
	}
	clear(a.groupOf)
	clear(a.kindOf)
	clear(a.streams)
	clear(a.types)
	clear(a.envelopes)
	o := a.o
	*o = sealedOrder{
		first: w.into.first, last: w.into.last, previous: w.before, lastBlock: w.into.telemetry, ids: map[int][]byte{},
		group: o.group[:0], offset: o.offset[:0], rev: o.rev[:0], kind: o.kind[:0], envelope: o.envelope[:0],
		commits: o.commits[:0], commitLast: o.commitLast[:0],
		streams: o.streams[:0], firstRev: o.firstRev[:0], groupStream: o.groupStream[:0], groupPart: o.groupPart[:0],
	}
	a.w = w
	clear(a.groups) // texts of the window before
	a.groups, a.last = a.groups[:0], a.last[:0]
	size := 0
	a.spare = append(slices.Clone(a.kinds), a.spare...)
	for i, k := range a.spare {
		if size += k.size(); size > spareKinds {
			a.spare = slices.Clone(a.spare[:i])
			break
		}
	}
	a.kinds = a.kinds[:0]
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
			a.last = append(a.last, -1)
		}
		a.partStreams[r.stream] = s
	}
	g := a.sort(s, r, i)
	a.last[s] = g
	o.group = append(o.group, g)
	o.offset = append(o.offset, uint32(r.pos-o.first))
	o.rev = append(o.rev, uint32(r.rev-o.firstRev[s]))
	o.kind = append(o.kind, a.partTypes[r.kind])
	o.envelope = append(o.envelope, a.partStencil[r.envelope])
	if r.id != nil {
		o.ids[int(i)] = r.id
	}
}

// sort enters a row into its group and kind. Devices send in turn: most rows
// are of the group that came after the stream's last one the time before.
func (a *arranger) sort(stream int, r *row, i int32) int32 {
	last := a.last[stream]
	if len(a.w.odd) > 0 && a.w.odd[i] {
		return a.verbatim(stream, r, i)
	}
	v := &a.view
	if last >= 0 {
		n := a.groups[last].next
		g := &a.groups[n]
		if k := a.kinds[g.kind]; !k.verbatim && !g.full(k) && v.cutLike(r.data, k, g) {
			if k.next(); !k.values(v.values) {
				return a.verbatim(stream, r, i)
			}
			k.add(v, i, n, int64(r.rev))
			g.rows++
			return n
		}
	}
	n := a.search(stream, r, i)
	if last >= 0 {
		a.groups[last].next = n
	}
	return n
}

// search enters a row that was not foretold.
func (a *arranger) search(stream int, r *row, i int32) int32 {
	v := &a.view
	if !v.cut(r.data) {
		return a.verbatim(stream, r, i)
	}
	a.key = binary.LittleEndian.AppendUint16(a.key[:0], v.flags)
	a.key = binary.LittleEndian.AppendUint32(a.key, uint32(v.n))
	a.key = append(a.key, v.names...)
	kind := a.kind(v, false)
	k := a.kinds[kind]
	if k.next(); !k.values(v.values) {
		return a.verbatim(stream, r, i)
	}
	v.quality = k.qualityOf(v)
	n := a.group(stream, kind, v.texts)
	g := &a.groups[n]
	g.quality = v.quality
	g.rows++
	k.add(v, i, n, int64(r.rev))
	return n
}

func (a *arranger) verbatim(stream int, r *row, i int32) int32 {
	a.key = a.key[:0]
	kind := a.kind(nil, true)
	n := a.group(stream, kind, nil)
	g := &a.groups[n]
	g.rows++
	g.bytes += len(r.data)
	a.kinds[kind].addVerbatim(i, n)
	return n
}

// kind returns the kind whose name is in a.key, beginning it with v's row
// where there is none.
func (a *arranger) kind(v *rowView, verbatim bool) int32 {
	n, ok := a.kindOf[string(a.key)]
	if !ok {
		k := &sealKind{}
		if len(a.spare) > 0 {
			k, a.spare = a.spare[0], a.spare[1:]
		}
		k.begin(v, verbatim)
		n = int32(len(a.kinds))
		a.kindOf[string(a.key)] = n
		a.kinds = append(a.kinds, k)
	}
	return n
}

// group returns the stream's group of a kind with these texts, starting
// another where there is none or it is full.
func (a *arranger) group(stream int, kind int32, texts []byte) int32 {
	a.key = binary.LittleEndian.AppendUint32(a.key[:0], uint32(stream))
	a.key = binary.LittleEndian.AppendUint32(a.key, uint32(kind))
	a.key = append(a.key, texts...)
	n, ok := a.groupOf[string(a.key)]
	if ok && !a.groups[n].full(a.kinds[kind]) {
		return n
	}
	n = int32(len(a.groups))
	a.groupOf[string(a.key)] = n
	a.groups = append(a.groups, sealGroup{stream: stream, kind: kind, texts: texts, next: n})
	a.o.groupStream = append(a.o.groupStream, int64(stream))
	return n
}

func (g *sealGroup) full(k *sealKind) bool {
	return g.rows >= groupRows || g.rows*k.n >= partSamples || g.bytes >= partBytes
}

// columns returns the memory of all columns.
func (a *arranger) columns() (all [][]int64) {
	for _, k := range a.kinds {
		for c := range k.fixed {
			all = append(all, k.fixed[c])
		}
		for i := range k.cols {
			all = append(all, k.cols[i].num)
		}
	}
	return all
}

// partPlan is a part that is to be made: some groups of one kind.
type partPlan struct {
	number int // from 1
	kind   *sealKind
	groups []*sealGroup

	rows, bytes int
}

// sorted returns the part's rows in the order in which they stand in it.
func (p *partPlan) sorted() []int32 { return p.kind.sorted[p.groups[0].start:][:p.rows] }

// plan shares the groups out to parts: groups of one kind together, in the
// order of their first rows, until a part is full.
func (a *arranger) plan() (parts []*partPlan) {
	filling := make([]*partPlan, len(a.kinds))
	for i := range a.groups {
		g := &a.groups[i]
		k, p := a.kinds[g.kind], filling[g.kind]
		if p == nil || p.rows >= groupRows || p.rows*k.n >= partSamples || p.bytes >= partBytes {
			p = &partPlan{kind: k, number: len(parts) + 1}
			filling[g.kind] = p
			parts = append(parts, p)
		}
		p.groups = append(p.groups, g)
		p.rows += g.rows
		p.bytes += g.bytes
		a.o.groupPart = append(a.o.groupPart, int64(p.number))
	}
	starts := map[*sealKind]int{}
	for _, p := range parts {
		for _, g := range p.groups {
			g.start = starts[p.kind]
			starts[p.kind] += g.rows
		}
	}
	for _, k := range a.kinds {
		k.sort(a.groups)
	}
	return parts
}
