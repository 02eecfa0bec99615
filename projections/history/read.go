package history

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"math"
	"slices"

	"github.com/twinlog/twinlog/domain/columnar"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/projections"
)

// query reads one point. What is in memory is taken first, then a snapshot of
// the store is opened: a window that is committed in between would be seen
// twice, so chunks from edge on, the first window in memory, are passed over.
type query struct {
	p        *Projection
	ctx      context.Context
	snap     projections.Snapshot
	device   uint32
	column   uint32
	known    eventlog.Position // later events do not count
	edge     eventlog.Position
	identity bool
	memory   []memory // by day, then window
	streams  []eventlog.StreamID
	recorded map[eventlog.Position][]recordedAt // by window
	d        *decoder
}

// memory is what a window in memory has of the point on one day.
type memory struct {
	day    int32
	window eventlog.Position
	series series
}

// begin prepares a query for samples with SourceTime in a range; ok is false if
// the point has never been seen.
func (p *Projection) begin(ctx context.Context, pt telemetry.Point, r stretch, known eventlog.Position, withIdentity bool) (q *query, ok bool, err error) {
	q = &query{p: p, ctx: ctx, known: known, identity: withIdentity, recorded: map[eventlog.Position][]recordedAt{}, d: &decoder{}}
	if known == 0 {
		q.known = eventlog.End
	}
	if !q.lookInMemory(pt, r.from, r.to) {
		return nil, false, nil
	}
	p.reads.Add(1)
	if q.snap, err = p.store.Snapshot(ctx, p.Name()); err != nil {
		return nil, false, fmt.Errorf("history of %s of %s: %w", pt.Signal, pt.Device, err)
	}
	return q, true, nil
}

func (q *query) close() { q.snap.Close() }

// recordedAt returns when the event at pos of a window was recorded.
func (q *query) recordedAt(window, pos eventlog.Position) (int64, error) {
	list, ok := q.recorded[window]
	if !ok {
		row, err := q.snap.Get(recordedKey(window))
		if err != nil {
			return 0, err
		}
		if list, err = q.d.readRecorded(row); err != nil {
			return 0, fmt.Errorf("window %d: %w", window, err)
		}
		q.recorded[window] = list
	}
	i, found := slices.BinarySearchFunc(list, uint32(pos-window), func(r recordedAt, p uint32) int { return cmp.Compare(r.position, p) })
	if !found {
		i--
	}
	if i < 0 {
		return 0, fmt.Errorf("window %d has no record of position %d: %w", window, pos, columnar.ErrCorrupt)
	}
	return list[i].nanos, nil
}

func (d *decoder) readRecorded(row []byte) ([]recordedAt, error) {
	r := reader{b: row}
	n := r.uvarint()
	if r.bad || n > 1<<windowBits {
		return nil, columnar.ErrCorrupt
	}
	list := make([]recordedAt, n)
	d.column, _ = grow(d.column[:0], int(n))
	src, err := d.ints.Decode(r.b, d.column)
	if err != nil {
		return nil, err
	}
	for i, v := range d.column {
		list[i].position = uint32(v)
	}
	if _, err = d.times.Decode(src, d.column); err != nil {
		return nil, err
	}
	for i, v := range d.column {
		list[i].nanos = v
	}
	return list, nil
}

// lookInMemory copies what the windows in memory have of the point.
func (q *query) lookInMemory(pt telemetry.Point, from, to int64) bool {
	p := q.p
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.points == nil {
		return false
	}
	n, ok := p.points.Find(pt)
	if !ok {
		return false
	}
	at := p.where[n]
	q.device, q.column, q.streams = at.device.id, at.column, p.streams
	q.edge = p.at + 1
	windows := p.sealed
	if p.open != nil {
		windows = append(slices.Clip(windows), p.open)
	}
	if len(p.sealed) > 0 {
		q.edge = p.sealed[0].start
	}
	for _, w := range windows {
		for k, rows := range w.days {
			if k.device == q.device && k.day >= dayOf(from) && k.day <= dayOf(to) {
				q.recorded[w.start] = w.recorded
				m := memory{day: k.day, window: w.start}
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
	if int(signal) >= len(d.columns) || d.columns[signal] == nil {
		return
	}
	c := d.columns[signal]
	kind, quality := 0, 0 // the run at hand, and how much of it is left
	var kindLeft, qualityLeft int
	for i := range c.bits {
		if kindLeft == 0 {
			kindLeft = c.kinds[kind].n
			kind++
		}
		if qualityLeft == 0 {
			qualityLeft = c.quality[quality].n
			quality++
		}
		kindLeft--
		qualityLeft--
		r := c.rowOf(i)
		t, pos := d.source[r], d.window.start+eventlog.Position(d.position[r])
		if t < from || t > to || pos > known {
			continue
		}
		k, bits := c.kinds[kind-1].kind, c.bits[i]
		if k == telemetry.String {
			s.texts = append(s.texts, c.texts[bits])
			bits = uint64(len(s.texts) - 1)
		}
		s.times, s.positions = append(s.times, t), append(s.positions, pos)
		s.kinds, s.bits = append(s.kinds, k), append(s.bits, bits)
		s.quality = append(s.quality, s.qualityNo(c.quality[quality-1].quality))
		if withIdentity {
			s.identity = append(s.identity, identity{
				window: d.window.start, server: d.server[r], revision: d.revision[r], stream: d.stream[r],
				index: uint32(slices.Index(d.shapes[d.shape[r]].columns, signal)),
			})
		}
	}
	if !d.sorted {
		s.sort()
	}
}

// piece is a block or a window in memory, with the time that it spans.
type piece struct {
	first, last int64
	frame       frame
	memory      *series // instead of a frame
}

// days yields the pieces of each UTC day that has some, for SourceTime in [from,
// to], in the order of days.
func (q *query) days(from, to int64, reverse bool) iter.Seq2[[]piece, error] {
	return func(yield func([]piece, error) bool) {
		next, stop := iter.Pull2(q.storedDays(from, to, reverse))
		defer stop()
		memory := slices.DeleteFunc(slices.Clone(q.memory), func(m memory) bool {
			return m.series.times[0] > to || m.series.times[m.series.len()-1] < from
		})
		if reverse {
			slices.Reverse(memory)
		}
		stored, err, more := next()
		for more || len(memory) > 0 {
			if err != nil {
				yield(nil, err)
				return
			}
			var pieces []piece
			day := int32(0)
			if more {
				day = stored[0].frame.day
			}
			if !more || len(memory) > 0 && (memory[0].day < day) != reverse && memory[0].day != day {
				day = memory[0].day
			} else {
				pieces = stored
				stored, err, more = next()
			}
			for len(memory) > 0 && memory[0].day == day {
				m := &memory[0].series
				pieces = append(pieces, piece{first: m.times[0], last: m.times[m.len()-1], memory: m})
				memory = memory[1:]
			}
			if !yield(pieces, nil) {
				return
			}
		}
	}
}

// storedDays yields the blocks of each UTC day in the store.
func (q *query) storedDays(from, to int64, reverse bool) iter.Seq2[[]piece, error] {
	return func(yield func([]piece, error) bool) {
		var day []piece
		first := dayFrom(kindChunk, q.device, framePart, dayOf(from))
		end := dayTo(kindChunk, q.device, framePart, dayOf(to))
		for w, err := range q.snap.Scan(first, end, reverse) {
			var f frame
			if err == nil {
				f, err = readFrame(w.Key, w.Value)
			}
			if err == nil {
				err = q.ctx.Err()
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if f.window >= q.edge || f.window > q.known || f.first > to || f.last < from {
				continue
			}
			if len(day) > 0 && day[0].frame.day != f.day {
				if !yield(day, nil) {
					return
				}
				day = nil
			}
			day = append(day, piece{first: f.first, last: f.last, frame: f})
		}
		if len(day) > 0 {
			yield(day, nil)
		}
	}
}

// read appends the samples of a piece to s.
func (q *query) read(s *series, p *piece) error {
	if p.memory != nil {
		s.appendAll(p.memory)
		return nil
	}
	f := &p.frame
	part, err := q.snap.Get(chunkKey(q.device, 1+q.column/group, f.day, f.window, f.block))
	if err != nil || part == nil {
		return err
	}
	return q.d.read(s, f, part, q.column, q.identity)
}

// stretches yields the samples with SourceTime in [from, to] in order, some at a
// time. The series is used again.
func (q *query) stretches(from, to int64) iter.Seq2[*series, error] {
	return func(yield func(*series, error) bool) {
		var s series
		for pieces, err := range q.days(from, to, false) {
			if err != nil {
				yield(nil, err)
				return
			}
			slices.SortStableFunc(pieces, func(a, b piece) int { return cmp.Compare(a.first, b.first) })
			for len(pieces) > 0 {
				// Pieces that overlap in time are read together.
				n, last := 1, pieces[0].last
				for n < len(pieces) && pieces[n].first <= last {
					last = max(last, pieces[n].last)
					n++
				}
				s.reset()
				for i := range pieces[:n] {
					if err := q.read(&s, &pieces[i]); err != nil {
						yield(nil, err)
						return
					}
				}
				if n > 1 {
					s.sort()
				}
				pieces = pieces[n:]
				if s.cut(from, to, q.known); s.len() > 0 && !yield(&s, nil) {
					return
				}
			}
		}
	}
}

// last finds the last sample with SourceTime up to to that passes, or reports
// that there is none. It stops looking back on the day where it finds one, and
// after atMost days that have samples of the device (0: never).
func (q *query) last(to int64, atMost int, passes func(s *series, i int) bool) (found series, ok bool, err error) {
	var s series
	days := 0
	for pieces, err := range q.days(math.MinInt64, to, true) {
		if err != nil {
			return found, false, err
		}
		slices.SortStableFunc(pieces, func(a, b piece) int { return cmp.Compare(b.last, a.last) })
		for i := range pieces {
			if ok && pieces[i].last < found.times[0] {
				break // all others end before it
			}
			s.reset()
			if err := q.read(&s, &pieces[i]); err != nil {
				return found, false, err
			}
			s.cut(math.MinInt64, to, q.known)
			for k := s.len() - 1; k >= 0; k-- {
				if !passes(&s, k) {
					continue
				}
				if !ok || cmp.Or(cmp.Compare(s.times[k], found.times[0]), cmp.Compare(s.positions[k], found.positions[0])) > 0 {
					found, ok = s.only(k), true
				}
				break
			}
		}
		if days++; ok || days == atMost {
			break
		}
	}
	return found, ok, nil
}
