package history

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"

	"github.com/twinlog/twinlog/domain/columnar"
	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/projections"
	"github.com/twinlog/twinlog/projections/aggregate"
)

// chunkVersion begins every chunk part.
const chunkVersion = 2

// encoder turns windows into rows. It holds scratch memory only.
type encoder struct {
	ints    columnar.Ints
	times   columnar.Times
	floats  columnar.Floats
	strings columnar.Strings
	bools   columnar.Bools
	run     aggregate.Run

	order []uint32 // the rows of the day, in the order of (SourceTime, position)
	// Of the column at hand, by place: kind, number of the quality in known, bits.
	kinds []telemetry.Kind
	codes []uint32
	known []quality.Quality
	bits  []uint64
	at    []int32 // by row: the value's place in the column, or -1
	// Of the block at hand.
	picked   []int32  // places, in the order of rows
	flags    []uint64 // by row: 1 if it has a value
	numbers  []int64
	gathered []uint64
	texts    []string
	body     []byte
	part     []byte
}

// window writes the rows of a window, in the order of devices and days.
func (e *encoder) window(win *window, w *projections.Writes) {
	days := make([]*dayRows, 0, len(win.days))
	for _, d := range win.days {
		days = append(days, d)
	}
	slices.SortFunc(days, func(a, b *dayRows) int {
		return cmp.Or(cmp.Compare(a.device.id, b.device.id), cmp.Compare(a.day, b.day))
	})
	for _, d := range days {
		e.day(win, d, w)
	}
	for at := 0; at < len(win.recorded); at += recordedBlock {
		end := min(at+recordedBlock, len(win.recorded))
		until := uint32(math.MaxUint32)
		if end < len(win.recorded) {
			until = win.recorded[end].position
		}
		w.Put(recordedKey(win.start, win.recorded[at].position), e.recorded(win.recorded[at:end], until))
	}
}

// recordedBlock is how many times of recording one row holds.
const recordedBlock = 1024

// recorded writes when events were recorded: the position, relative to the
// window, behind those that the row speaks of, the number of changes, and the
// columns of positions and times.
func (e *encoder) recorded(list []recordedAt, until uint32) []byte {
	dst := binary.AppendUvarint(binary.AppendUvarint(nil, uint64(until)), uint64(len(list)))
	e.numbers = e.numbers[:0]
	for _, r := range list {
		e.numbers = append(e.numbers, int64(r.position))
	}
	dst = e.ints.Append(dst, e.numbers)
	e.numbers = e.numbers[:0]
	for _, r := range list {
		e.numbers = append(e.numbers, r.nanos)
	}
	return e.times.Append(dst, e.numbers)
}

func (e *encoder) day(win *window, d *dayRows, w *projections.Writes) {
	e.sort(d)
	for block := 0; block*blockRows < len(e.order); block++ {
		rows := e.order[block*blockRows : min((block+1)*blockRows, len(e.order))]
		w.Put(chunkKey(d.device.id, framePart, d.day, win.start, block), e.frame(d, rows))
	}
	for g := 0; g < len(d.columns); g += group {
		e.group(win, d, g, w)
	}
}

// sort puts the rows in the order of (SourceTime, position). They are in the
// order of position already.
func (e *encoder) sort(d *dayRows) {
	e.order = e.order[:0]
	for i := range d.source {
		e.order = append(e.order, uint32(i))
	}
	if !d.sorted {
		slices.SortFunc(e.order, func(a, b uint32) int {
			return cmp.Or(cmp.Compare(d.source[a], d.source[b]), cmp.Compare(a, b))
		})
	}
}

// frame writes what a block's rows have in common: their number, first and last
// SourceTime, and the columns SourceTime, ServerTime, position, revision,
// stream, shape and origin.
func (e *encoder) frame(d *dayRows, rows []uint32) []byte {
	first, last := d.source[rows[0]], d.source[rows[len(rows)-1]]
	dst := binary.AppendUvarint([]byte{chunkVersion}, uint64(len(rows)))
	dst = binary.AppendVarint(dst, first)
	dst = binary.AppendUvarint(dst, uint64(last-first))
	e.body = e.times.Append(e.body[:0], e.pick(rows, func(r uint32) int64 { return d.source[r] - first }))
	dst = appendPart(dst, e.body)
	e.body = e.ints.Append(e.body[:0], e.pick(rows, func(r uint32) int64 { return int64(d.position[r]) }))
	dst = appendPart(dst, e.body)

	e.flags = e.flags[:0]
	for _, r := range rows {
		if d.server[r] == noServer {
			e.flags = append(e.flags, 0)
		} else {
			e.flags = append(e.flags, 1)
		}
	}
	dst = e.bools.Append(dst, e.flags)
	dst = e.times.Append(dst, e.pick(rows, func(r uint32) int64 {
		if d.server[r] == noServer {
			return 0
		}
		return d.server[r]
	}))
	dst = e.ints.Append(dst, e.pick(rows, func(r uint32) int64 { return d.revision[r] }))
	dst = e.ints.Append(dst, e.pick(rows, func(r uint32) int64 { return int64(d.stream[r]) }))
	dst = e.shapes(dst, d, rows)
	return e.ints.Append(dst, e.pick(rows, func(r uint32) int64 { return int64(d.origin[r]) }))
}

// shapes writes the shapes that the rows have, numbered anew in the order of
// first appearance, and the column of these numbers.
func (e *encoder) shapes(dst []byte, d *dayRows, rows []uint32) []byte {
	renumber := map[uint32]int64{}
	var used []uint32
	numbers := e.pick(rows, func(r uint32) int64 {
		n, ok := renumber[d.shape[r]]
		if !ok {
			n = int64(len(used))
			renumber[d.shape[r]] = n
			used = append(used, d.shape[r])
		}
		return n
	})
	dst = binary.AppendUvarint(dst, uint64(len(used)))
	for _, s := range used {
		columns := d.shapes[s].columns
		dst = binary.AppendUvarint(dst, uint64(len(columns)))
		for _, c := range columns {
			dst = binary.AppendUvarint(dst, uint64(c))
		}
	}
	return e.ints.Append(dst, numbers)
}

func (e *encoder) pick(rows []uint32, of func(row uint32) int64) []int64 {
	e.numbers = e.numbers[:0]
	for _, r := range rows {
		e.numbers = append(e.numbers, of(r))
	}
	return e.numbers
}

// appendPart appends b behind its length.
func appendPart(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

// group writes the values and the sums of up to 16 neighbouring signals.
func (e *encoder) group(win *window, d *dayRows, g int, w *projections.Writes) {
	blocks := make([][]byte, (len(e.order)+blockRows-1)/blockRows)
	var none []byte
	for i, c := range d.columns[g:min(g+group, len(d.columns))] {
		if c == nil || len(c.bits) == 0 {
			continue
		}
		e.spread(c, len(e.order))
		for b := range blocks {
			rows := e.order[b*blockRows : min((b+1)*blockRows, len(e.order))]
			if !e.gather(rows) {
				continue
			}
			if blocks[b] == nil {
				blocks[b] = []byte{chunkVersion}
			}
			blocks[b] = binary.AppendUvarint(blocks[b], uint64(g+i))
			e.body = e.values(e.body[:0], c.texts)
			blocks[b] = appendPart(blocks[b], e.body)
		}
		if row := e.sums(d, c); row != nil {
			w.Put(partKey(kindSums, d.device.id, uint32(g+i), d.day, win.start), row)
			continue
		}
		if none == nil {
			none = []byte{sumsVersion}
		}
		none = binary.AppendUvarint(none, uint64(g+i))
		e.body = e.extent(e.body[:0], d)
		none = appendPart(none, e.body)
	}
	for b, body := range blocks {
		if body != nil {
			w.Put(chunkKey(d.device.id, uint32(1+g/group), d.day, win.start, b), body)
		}
	}
	if none != nil {
		w.Put(partKey(kindNoSums, d.device.id, uint32(g/group), d.day, win.start), none)
	}
}

// spread unpacks a column's runs and tells for each row where its value is.
func (e *encoder) spread(c *column, rows int) {
	e.at = slices.Grow(e.at[:0], rows)[:rows]
	if len(c.bits) < rows {
		for i := range e.at {
			e.at[i] = -1
		}
	}
	for i := range c.bits {
		e.at[c.rowOf(i)] = int32(i)
	}
	kinds, qualities := c.runs()
	e.kinds = e.kinds[:0]
	for _, k := range kinds {
		for range k.n {
			e.kinds = append(e.kinds, k.kind)
		}
	}
	e.codes, e.known = e.codes[:0], e.known[:0]
	for _, q := range qualities {
		no := slices.Index(e.known, q.quality)
		if no < 0 {
			no = len(e.known)
			e.known = append(e.known, q.quality)
		}
		for range q.n {
			e.codes = append(e.codes, uint32(no))
		}
	}
	e.bits = c.bits
}

// gather finds which of the rows have a value, and where; false if none.
func (e *encoder) gather(rows []uint32) bool {
	e.flags, e.picked = e.flags[:0], e.picked[:0]
	for _, r := range rows {
		if at := e.at[r]; at >= 0 {
			e.picked = append(e.picked, at)
			e.flags = append(e.flags, 1)
		} else {
			e.flags = append(e.flags, 0)
		}
	}
	return len(e.picked) > 0
}

// values writes the gathered values: which rows have one, their kinds, their
// qualities, and then a column for each kind that occurs.
func (e *encoder) values(dst []byte, texts []string) []byte {
	if len(e.picked) == len(e.flags) {
		dst = append(dst, 0)
	} else {
		dst = e.bools.Append(append(dst, 1), e.flags)
	}
	var count [telemetry.String + 1]int
	e.numbers = e.numbers[:0]
	for _, at := range e.picked {
		e.numbers = append(e.numbers, int64(e.kinds[at]))
		count[e.kinds[at]]++
	}
	dst = e.ints.Append(dst, e.numbers)
	dst = e.qualities(dst)
	if count[telemetry.Float64] > 0 {
		dst = e.floats.Append(dst, e.bitsOf(telemetry.Float64))
	}
	if count[telemetry.Int64] > 0 {
		e.numbers = e.numbers[:0]
		for _, b := range e.bitsOf(telemetry.Int64) {
			e.numbers = append(e.numbers, int64(b))
		}
		dst = e.ints.Append(dst, e.numbers)
	}
	if count[telemetry.Bool] > 0 {
		dst = e.bools.Append(dst, e.bitsOf(telemetry.Bool))
	}
	if count[telemetry.String] > 0 {
		e.texts = e.texts[:0]
		for _, b := range e.bitsOf(telemetry.String) {
			e.texts = append(e.texts, texts[b])
		}
		dst = e.strings.Append(dst, e.texts)
	}
	return dst
}

// qualities writes the different qualities in the order of first appearance,
// and the column of their numbers.
func (e *encoder) qualities(dst []byte) []byte {
	renumber := make([]int64, len(e.known))
	for i := range renumber {
		renumber[i] = -1
	}
	var used []quality.Quality
	e.numbers = e.numbers[:0]
	for _, at := range e.picked {
		no := e.codes[at]
		if renumber[no] < 0 {
			renumber[no] = int64(len(used))
			used = append(used, e.known[no])
		}
		e.numbers = append(e.numbers, renumber[no])
	}
	dst = binary.AppendUvarint(dst, uint64(len(used)))
	for _, q := range used {
		dst = binary.AppendUvarint(dst, uint64(q.Code))
		dst = binary.AppendUvarint(dst, uint64(q.Raw))
		dst = append(dst, byte(q.Scheme))
	}
	return e.ints.Append(dst, e.numbers)
}

func (e *encoder) bitsOf(k telemetry.Kind) []uint64 {
	e.gathered = e.gathered[:0]
	for _, at := range e.picked {
		if e.kinds[at] == k {
			e.gathered = append(e.gathered, e.bits[at])
		}
	}
	return e.gathered
}
