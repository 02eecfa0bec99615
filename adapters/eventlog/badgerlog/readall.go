package badgerlog

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// Reads are made in chunks: the store is open while a chunk is collected and
// closed while the caller looks at it.
const (
	chunkRecords = 1024
	chunkBytes   = 1 << 20
	chunkRows    = 1 << 16 // looked at, whether they pass or not
)

// chunk is a piece of a read. In it are all passing records from where the
// read stood up to and including reached.
type chunk struct {
	records []eventlog.Record
	reached eventlog.Position
	bytes   int
	rows    int
}

func (c *chunk) add(r eventlog.Record) {
	c.records = append(c.records, r)
	c.bytes += len(r.Data) + len(r.RawEnvelope)
}

func (c *chunk) full() bool {
	return len(c.records) >= chunkRecords || c.bytes >= chunkBytes || c.rows >= chunkRows
}

// ReadAll implements eventlog.Log.
func (l *Log) ReadAll(ctx context.Context, after eventlog.Position, dir eventlog.Direction, f eventlog.Filter) iter.Seq2[eventlog.Record, error] {
	return func(yield func(eventlog.Record, error) bool) {
		e := l.extent()
		if err := l.readable(after, dir); err != nil {
			yield(eventlog.Record{}, fmt.Errorf("read all: %w", err))
			return
		}
		at, end := after, e.head
		if dir == eventlog.Backwards {
			at, end = min(after, e.head+1), 1
		}
		for at != end && (dir == eventlog.Forwards || at > end) {
			if err := ctx.Err(); err != nil {
				yield(eventlog.Record{}, fmt.Errorf("read all after %v: %w", after, err))
				return
			}
			c, err := l.chunk(at, dir, e, f)
			if err != nil {
				yield(eventlog.Record{}, fmt.Errorf("read all after %v: %w", at, err))
				return
			}
			for _, r := range c.records {
				if !yield(r, nil) {
					return
				}
			}
			at = c.reached
		}
	}
}

func lost(after eventlog.Position, e extent) error {
	return fmt.Errorf("position %v is beyond the end %v: %w", after, e.head, eventlog.ErrPositionLost)
}

// chunk reads on from at. Forwards: records after it, and reached is at most
// e.head. Backwards: records before it, and reached is at least 1; the records
// before reached are still to come.
func (l *Log) chunk(at eventlog.Position, dir eventlog.Direction, e extent, f eventlog.Filter) (_ chunk, err error) {
	if dir == eventlog.Forwards {
		if c, ok, err := l.fromRecent(at, e, f); ok || err != nil {
			return c, err
		}
	}
	v, err := l.view()
	if err != nil {
		return chunk{}, err
	}
	defer v.close()
	defer unpanic(&err)
	if !f.WantsTelemetry() && len(f.Categories) > 0 {
		return v.categories(at, dir, e, f)
	}
	var cursors []*cursor
	if f.WantsTelemetry() {
		cursors = append(cursors, &cursor{v: v, e: e, dir: dir})
	}
	if f.WantsOther() {
		cursors = append(cursors, &cursor{v: v, e: e, dir: dir, other: true})
	}
	for _, c := range cursors {
		if err := c.seek(at); err != nil {
			return chunk{}, err
		}
	}
	return merge(cursors, at, dir, e, f)
}

// merge takes rows from the cursors in order until the chunk is full.
func merge(cursors []*cursor, at eventlog.Position, dir eventlog.Direction, e extent, f eventlog.Filter) (chunk, error) {
	out := chunk{reached: at}
	for !out.full() {
		var best *cursor
		for _, c := range cursors {
			if c.part != nil && (best == nil || (c.pos() < best.pos()) == (dir == eventlog.Forwards)) {
				best = c
			}
		}
		if best == nil {
			out.reached = e.head
			if dir == eventlog.Backwards {
				out.reached = 1
			}
			break
		}
		row := &best.part.rows[best.i]
		out.reached = row.pos
		out.rows++
		if f.Passes(best.part.streams[row.stream], best.part.types[row.kind][0]) {
			r, err := best.part.record(best.i)
			if err != nil {
				return chunk{}, err
			}
			out.add(r)
		}
		if out.full() {
			break // the next row may be in a block that nobody asks for
		}
		if err := best.next(); err != nil {
			return out, nil //nolint:nilerr // what came before is handed out first; the next chunk meets err again
		}
	}
	return out, nil
}

// cursor walks the rows of one kind. Every part names the one before it, so a
// missing part is found and not stepped over.
type cursor struct {
	v     *view
	e     extent
	dir   eventlog.Direction
	other bool
	part  *part // nil at the end
	i     int
}

func (c *cursor) pos() eventlog.Position { return c.part.rows[c.i].pos }

// seek goes to the first row after at, or backwards to the last one before it.
func (c *cursor) seek(at eventlog.Position) error {
	if c.dir == eventlog.Backwards {
		return c.seekBack(at)
	}
	if at >= c.e.of(c.other) {
		return nil
	}
	p, err := c.v.part(c.other, at+1)
	if err != nil {
		return err
	}
	if p == nil || p.previous > at {
		return c.missing(at+1, p)
	}
	c.part, c.i = p, p.find(at+1)
	return c.settle()
}

func (c *cursor) seekBack(at eventlog.Position) error {
	last := c.e.of(c.other)
	if last == 0 || at <= 1 {
		return nil
	}
	want := min(at-1, last)
	p, err := c.v.part(c.other, want)
	if err != nil {
		return err
	}
	if p == nil || p.previous >= want {
		return c.missing(want, p)
	}
	c.part, c.i = p, p.find(at)-1
	return c.settle()
}

// next goes one row on.
func (c *cursor) next() error {
	if c.dir == eventlog.Backwards {
		c.i--
	} else {
		c.i++
	}
	return c.settle()
}

// settle moves to the neighbouring part when i has left this one.
func (c *cursor) settle() error {
	for c.part != nil && (c.i < 0 || c.i >= len(c.part.rows)) {
		was := c.part
		if c.dir == eventlog.Backwards {
			if was.previous == 0 {
				c.part = nil
				return nil
			}
			p, err := c.v.part(c.other, was.previous)
			if err != nil {
				return err
			}
			if p == nil || p.key.last != was.previous {
				return c.missing(was.previous, p)
			}
			c.part, c.i = p, len(p.rows)-1
			continue
		}
		if was.key.last >= c.e.of(c.other) {
			c.part = nil
			return nil
		}
		p, err := c.v.part(c.other, was.key.last+1)
		if err != nil {
			return err
		}
		if p == nil || p.previous != was.key.last {
			return c.missing(was.key.last+1, p)
		}
		c.part, c.i = p, 0
	}
	return nil
}

// missing names what is not there between from and the next part there is.
func (c *cursor) missing(from eventlog.Position, next *part) error {
	through := c.e.of(c.other)
	if next != nil {
		through = min(through, max(next.previous, from))
	}
	kind := "telemetry"
	if c.other {
		kind = "events other than telemetry"
	}
	return fmt.Errorf("blocks with %s are missing between positions %v and %v: %w", kind, from, through, eventlog.ErrDamaged)
}

// KnownAt implements eventlog.Log.
func (l *Log) KnownAt(ctx context.Context, t time.Time) (eventlog.Position, error) {
	l.mu.RLock()
	e, marks := l.end, slices.Clip(l.marks)
	l.mu.RUnlock()
	if !e.recorded.After(t) {
		return e.head, nil
	}
	p, err := eventlog.KnownAtTime(t, marks, func(after, through eventlog.Position) iter.Seq2[eventlog.Mark, error] {
		return l.commitMarks(ctx, after, min(through, e.head))
	})
	return standing(l.starts(), p), err
}

// commitMarks yields the last position and Recorded of each commit: all events
// of a commit share one Recorded.
func (l *Log) commitMarks(ctx context.Context, after, through eventlog.Position) iter.Seq2[eventlog.Mark, error] {
	return func(yield func(eventlog.Mark, error) bool) {
		v, err := l.view()
		if err != nil {
			yield(eventlog.Mark{}, err)
			return
		}
		defer v.close()
		epochs := l.starts()
		for at := after; standing(epochs, through) > at; {
			m, err := v.commitAt(follow(epochs, at))
			if err == nil {
				err = ctx.Err()
			}
			if !yield(m, err) || err != nil {
				return
			}
			at = m.Position
		}
	}
}

// commitAt returns the end and Recorded of the commit that holds p.
func (v *view) commitAt(p eventlog.Position) (eventlog.Mark, error) {
	first, m, found, err := v.sealedCommit(p)
	if err != nil {
		return m, err
	}
	for _, other := range []bool{false, true} {
		if !other && found {
			continue
		}
		b, err := v.part(other, p)
		if err != nil {
			return m, err
		}
		if b != nil && (!found || b.key.last < m.Position) {
			found, first, m = true, b.key.first(), eventlog.Mark{Position: b.key.last, Recorded: b.recorded}
		}
	}
	if !found || first > p {
		return m, fmt.Errorf("no block holds position %v: %w", p, eventlog.ErrDamaged)
	}
	return m, nil
}
