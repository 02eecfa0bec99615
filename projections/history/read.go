package history

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"math"
	"slices"

	"github.com/twinlog/twinlog/domain/columnar"
	"github.com/twinlog/twinlog/domain/correction"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/planted"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/projections"
)

// query reads one point. What is in memory is taken first, then a snapshot of
// the store is opened: a window that is committed in between would be seen
// twice, so chunks from edge on, the first window in memory, are passed over.
type query struct {
	*session
	device   uint32
	column   uint32
	known    eventlog.Position // later events do not count
	edge     eventlog.Position
	identity bool
	plain    bool     // positions are only needed where stretches overlap
	memory   []memory // by day, then window
	streams  []eventlog.StreamID
	origins  []string
	plan     *correction.Plan                   // nil: nothing in the range is corrected
	story    *correction.Story                  // only if asked for
	made     eventlog.Position                  // later corrections do not count
	recent   map[eventlog.Position][]recordedAt // of windows in memory
}

// session is what the queries of one call share.
type session struct {
	ctx    context.Context
	snap   projections.Snapshot
	d      decoder
	blocks []recordedRow // read so far
	// days holds, by device, the blocks of the last day of a range: signals of one
	// device are often asked for together.
	days map[dayRange][]piece
}

type dayRange struct {
	device   uint32
	from, to int64
}

// recordedRow says when the events from its first position to until were
// recorded, positions relative to the window.
type recordedRow struct {
	window       eventlog.Position
	first, until uint32
	list         []recordedAt
}

// begin prepares a query for samples with SourceTime in a range; ok is false if
// the point has never been seen.
func (p *Projection) begin(ctx context.Context, pt telemetry.Point, r stretch, c projections.Cut, withIdentity bool) (q *query, ok bool, err error) {
	p.mu.RLock()
	q = p.query(pt, r, c, withIdentity)
	p.mu.RUnlock()
	if q == nil {
		return nil, false, nil
	}
	q.session, err = p.session(ctx)
	return q, err == nil, err
}

// session opens a snapshot. Its queries must have been made before.
func (p *Projection) session(ctx context.Context) (*session, error) {
	p.reads.Add(1)
	snap, err := p.store.Snapshot(ctx, p.Name())
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	return &session{ctx: ctx, snap: snap, days: map[dayRange][]piece{}}, nil
}

func (s *session) close() { s.snap.Close() }

// query makes a query without its session; nil if the point has never been seen.
// The queries of one session must be made under one lock: they share an edge.
func (p *Projection) query(pt telemetry.Point, r stretch, c projections.Cut, withIdentity bool) *query {
	q := &query{known: c.Through(), identity: withIdentity, recent: map[eventlog.Position][]recordedAt{}}
	if q.made = q.known; c.Corrections != 0 {
		q.made = c.Corrections
	}
	if planted.Bug == planted.SampleKnownOffByOne && c.Known > 0 {
		q.known--
	}
	q.plain = c.Known == 0 && !withIdentity
	if !q.lookInMemory(p, pt, r.from, r.to) {
		return nil
	}
	return q
}

// recordedAt returns when the event at pos of a window was recorded.
func (q *query) recordedAt(window, pos eventlog.Position) (int64, error) {
	at := uint32(pos - window)
	list, ok := q.recent[window]
	if !ok {
		row, err := q.recordedRow(window, at)
		if err != nil {
			return 0, fmt.Errorf("time of recording of position %v: %w", pos, err)
		}
		list = row.list
	}
	i, found := slices.BinarySearchFunc(list, at, func(r recordedAt, p uint32) int { return cmp.Compare(r.position, p) })
	if !found {
		i--
	}
	if i < 0 {
		return 0, fmt.Errorf("no time of recording of position %v: %w", pos, columnar.ErrCorrupt)
	}
	return list[i].nanos, nil
}

func (s *session) recordedRow(window eventlog.Position, at uint32) (*recordedRow, error) {
	for i := len(s.blocks) - 1; i >= 0; i-- {
		if b := &s.blocks[i]; b.window == window && b.first <= at && at < b.until {
			return b, nil
		}
	}
	for w, err := range s.snap.Scan(recordedKey(window, 0), recordedKey(window, at+1), true) {
		if err != nil {
			return nil, err
		}
		row, err := s.d.readRecorded(w.Value)
		if err != nil {
			return nil, err
		}
		row.window = window
		if len(s.blocks) >= 64 {
			s.blocks = s.blocks[:0]
		}
		s.blocks = append(s.blocks, row)
		return &s.blocks[len(s.blocks)-1], nil
	}
	return nil, columnar.ErrCorrupt
}

func (d *decoder) readRecorded(row []byte) (recordedRow, error) {
	r := reader{b: row}
	until, n := r.uvarint(), r.uvarint()
	if r.bad || n == 0 || n > recordedBlock {
		return recordedRow{}, columnar.ErrCorrupt
	}
	out := recordedRow{until: uint32(until), list: make([]recordedAt, n)}
	d.column, _ = grow(d.column[:0], int(n))
	src, err := d.ints.Decode(r.b, d.column)
	if err != nil {
		return out, err
	}
	for i, v := range d.column {
		out.list[i].position = uint32(v)
	}
	if _, err = d.times.Decode(src, d.column); err != nil {
		return out, err
	}
	for i, v := range d.column {
		out.list[i].nanos = v
	}
	out.first = out.list[0].position
	return out, nil
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
		key := dayRange{q.device, from, to}
		known, seen := q.session.days[key]
		if seen && reverse {
			if len(known) == 0 || !yield(slices.Clone(known), nil) {
				return
			}
			end = dayFrom(kindChunk, q.device, framePart, known[0].frame.day)
		}
		give := func() bool {
			if !seen && reverse {
				q.session.days[key] = slices.Clone(day)
				seen = true
			}
			return len(day) == 0 || yield(day, nil)
		}
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
				if !give() {
					return
				}
				day = nil
			}
			day = append(day, piece{first: f.first, last: f.last, frame: f})
		}
		give()
	}
}

// read appends the samples of a piece to s.
func (q *query) read(s *series, p *piece, withPositions bool) error {
	if p.memory != nil {
		s.appendAll(p.memory)
		return nil
	}
	f := &p.frame
	part, err := q.snap.Get(chunkKey(q.device, 1+q.column/group, f.day, f.window, f.block))
	if err != nil || part == nil {
		return err
	}
	return q.d.read(s, f, part, q.column, withPositions, q.identity)
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
					if err := q.read(&s, &pieces[i], !q.plain || n > 1); err != nil {
						yield(nil, err)
						return
					}
				}
				if n > 1 {
					s.sort()
				}
				pieces = pieces[n:]
				if s.cut(from, to, q.known); s.len() == 0 {
					continue
				}
				if q.correct(&s); !yield(&s, nil) {
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
			if err := q.read(&s, &pieces[i], true); err != nil {
				return found, false, err
			}
			s.cut(math.MinInt64, to, q.known)
			q.correct(&s)
			for k := s.len() - 1; k >= 0; k-- {
				if !passes(&s, k) {
					continue
				}
				if planted.Bug == planted.HistoryTie && k > 0 && s.times[k-1] == s.times[k] {
					k--
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
