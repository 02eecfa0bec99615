package badgerlog

import (
	"fmt"
	"slices"

	"github.com/dgraph-io/badger/v4"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// A category's index has an entry for each commit with its non-telemetry
// events: under the last such position, the entry before it and their runs.
type categoryEntry struct {
	last, previous eventlog.Position
	runs           []run
}

func parseCategory(item *badger.Item) (categoryEntry, error) {
	c := categoryEntry{last: eventlog.Position(keyNumber(item.Key()))}
	b, err := value(item)
	if err != nil {
		return c, err
	}
	r := reader{b: b}
	c.previous = eventlog.Position(r.uvarint())
	if c.runs, err = parseRuns(r.b); err == nil && (r.bad || c.previous >= c.last || c.runs[len(c.runs)-1].lastPos() != c.last) {
		err = errRuns
	}
	if err != nil {
		return c, fmt.Errorf("category index entry %x: %w: %w", item.Key(), err, eventlog.ErrDamaged)
	}
	return c, nil
}

// lastOf returns the last position of a category up to head, 0 if it has none.
func (v *view) lastOf(category string, head eventlog.Position) (eventlog.Position, error) {
	for it := v.last(namedPrefix(categoryKey, category)); it.Valid(); it.Next() {
		c, err := parseCategory(it.Item())
		if err != nil {
			return 0, err
		}
		if c.runs[0].pos <= head {
			return c.last, nil
		}
	}
	return 0, nil
}

// categories reads a chunk of some categories' non-telemetry events by their
// indexes: only blocks that hold one are opened.
func (v *view) categories(at eventlog.Position, dir eventlog.Direction, e extent, f eventlog.Filter) (chunk, error) {
	out := chunk{reached: e.head}
	if dir == eventlog.Backwards {
		out.reached = 1
	}
	var all []eventlog.Position
	for i, category := range f.Categories {
		if slices.Contains(f.Categories[:i], category) {
			continue
		}
		positions, err := v.positions(category, at, dir, e)
		if err != nil {
			return chunk{}, err
		}
		if len(positions) == chunkRecords { // there may be more behind the last
			last := positions[len(positions)-1]
			if (last < out.reached) == (dir == eventlog.Forwards) {
				out.reached = last
			}
		}
		all = append(all, positions...)
	}
	slices.Sort(all)
	if dir == eventlog.Backwards {
		slices.Reverse(all)
	}
	for _, pos := range all {
		if pos != out.reached && (pos > out.reached) == (dir == eventlog.Forwards) {
			break
		}
		r, err := v.at(true, pos)
		if err != nil && len(out.records) > 0 { // the next chunk meets err again
			out.reached = out.records[len(out.records)-1].Position
			return out, nil
		} else if err != nil {
			return chunk{}, err
		}
		if f.Passes(r.Stream, r.Type) {
			out.add(r)
		}
		if out.full() {
			out.reached = pos
		}
	}
	return out, nil
}

// positions collects up to chunkRecords positions of a category, from at on.
func (v *view) positions(category string, at eventlog.Position, dir eventlog.Direction, e extent) ([]eventlog.Position, error) {
	last, err := v.l.lastOfCategory(v, category, e)
	if err != nil || last == 0 {
		return nil, err
	}
	prefix := namedPrefix(categoryKey, category)
	it := v.iterator(prefix, false)
	var out []eventlog.Position
	if dir == eventlog.Forwards {
		known := at
		for it.Seek(namedKey(categoryKey, category, uint64(at)+1)); len(out) < chunkRecords && known < last; it.Next() {
			if !it.Valid() {
				return nil, missingEntry(category, known, last)
			}
			c, err := parseCategory(it.Item())
			if err != nil {
				return nil, err
			}
			if c.previous > known || len(out) > 0 && c.previous != known {
				return nil, missingEntry(category, known, c.previous)
			}
			out = forwardPositions(out, c.runs, at)
			known = c.last
		}
		return out, nil
	}
	want := min(at-1, last)
	for it.Seek(namedKey(categoryKey, category, uint64(want))); want > 0 && len(out) < chunkRecords; it.Seek(namedKey(categoryKey, category, uint64(want))) {
		if !it.Valid() {
			return nil, missingEntry(category, want, last)
		}
		c, err := parseCategory(it.Item())
		if err != nil {
			return nil, err
		}
		if c.previous >= want {
			return nil, missingEntry(category, want, c.previous)
		}
		out = backwardPositions(out, c.runs, at)
		want = c.previous
	}
	return out, nil
}

func forwardPositions(out []eventlog.Position, runs []run, at eventlog.Position) []eventlog.Position {
	for _, r := range runs {
		for p := max(r.pos, at+1); p <= r.lastPos() && len(out) < chunkRecords; p++ {
			out = append(out, p)
		}
	}
	return out
}

func backwardPositions(out []eventlog.Position, runs []run, at eventlog.Position) []eventlog.Position {
	for _, r := range slices.Backward(runs) {
		for p := min(r.lastPos(), at-1); p >= r.pos && len(out) < chunkRecords; p-- {
			out = append(out, p)
		}
	}
	return out
}

func missingEntry(category string, from, to eventlog.Position) error {
	return fmt.Errorf("index of category %s has no entry between positions %v and %v: %w", category, from, to, eventlog.ErrDamaged)
}

// lastOfCategory returns the last position of a category within e.
func (l *Log) lastOfCategory(v *view, category string, e extent) (eventlog.Position, error) {
	l.mu.RLock()
	last, ok := l.categories[category]
	l.mu.RUnlock()
	if ok && last <= e.head {
		return last, nil
	}
	return v.lastOf(category, e.head)
}

// at reads the event at a position, which is one of this kind.
func (v *view) at(other bool, pos eventlog.Position) (eventlog.Record, error) {
	if !other && pos <= v.sealed {
		return v.sealedRecord(pos)
	}
	p, err := v.part(other, pos)
	if err != nil {
		return eventlog.Record{}, err
	}
	if p != nil {
		if i := p.find(pos); i < len(p.rows) && p.rows[i].pos == pos {
			return p.record(i)
		}
	}
	return eventlog.Record{}, fmt.Errorf("no block holds position %v, which an index names: %w", pos, eventlog.ErrDamaged)
}
