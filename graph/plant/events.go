package plant

import (
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"slices"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/planted"
	"github.com/twinlog/twinlog/graph/fault"
	"github.com/twinlog/twinlog/projections"
)

// EventConnection is a part of the log.
type EventConnection struct {
	Edges    []EventEdge
	PageInfo *PageInfo
	UpTo     eventlog.Position
}

// EventEdge is an event and where it stands.
type EventEdge struct {
	Cursor string
	Node   *Event
}

// Nodes are the page's events.
func (c *EventConnection) Nodes() []*Event {
	nodes := make([]*Event, len(c.Edges))
	for i, e := range c.Edges {
		nodes[i] = e.Node
	}
	return nodes
}

// standardPage is how many rows come where nobody said.
const standardPage = 100

// LogFilter is the log's filter for what is asked; rows of telemetry only
// where they are asked for.
func (f *EventFilter) LogFilter() eventlog.Filter {
	if f == nil {
		return eventlog.Filter{NoTelemetry: true}
	}
	named := slices.Contains(f.Types, eventlog.TelemetryRecorded)
	return eventlog.Filter{Categories: f.Categories, Types: f.Types, NoTelemetry: !value(f.Telemetry) && !named}
}

// Passes applies what the log's filter does not know.
func (f *EventFilter) Passes(rec eventlog.Record) bool {
	return f == nil || f.Stream == nil || string(rec.Stream) == *f.Stream
}

// trail is one page of a list in log order: events, or the audit trail.
type trail struct {
	page
	upTo          eventlog.Position
	backwards     bool
	after, before eventlog.Position // exclusive; 0: open
}

// trail reads the arguments of such a list. upTo is fixed by the first page,
// and the cursors carry it.
func (r *Reader) trail(ctx context.Context, upTo *eventlog.Position, first *int, after *string, last *int, before *string, list ...any) (trail, error) {
	var bad fault.Input
	if first != nil && last != nil {
		bad.Add("last", *last, "nothing where first is given")
	}
	if value(after) != "" && value(before) != "" {
		bad.Add("before", *before, "nothing where after is given")
	}
	if err := bad.Err(); err != nil {
		return trail{}, err
	}
	t := trail{backwards: last != nil}
	head, _, err := r.Log.Head(ctx)
	if err != nil {
		return t, err
	}
	s := &scope{r: r, pinned: upTo != nil, cut: projections.Cut{Known: head}}
	if upTo != nil {
		if err := eventlog.CheckPosition(ctx, r.Log, *upTo); err != nil {
			return t, fmt.Errorf("upTo: %w", err)
		}
		s.cut.Known = *upTo
	}
	count, from := first, after
	if t.backwards {
		count = last
	}
	if value(after) == "" {
		from = before
	}
	if count == nil {
		n := standardPage
		count = &n
	}
	if t.page, err = s.page(count, from, maxPage, list...); err != nil {
		return t, err
	}
	t.upTo = t.scope.cut.Known
	if t.page.after != "" {
		if len(t.page.after) != 8 {
			return t, fault.Bad("after", *from, "a cursor of this list")
		}
		at := eventlog.Position(binary.BigEndian.Uint64([]byte(t.page.after)))
		if value(after) != "" {
			t.after = at
		} else {
			t.before = at
		}
	}
	return t, nil
}

func (t trail) cursorAt(p eventlog.Position) string {
	return t.cursor(string(binary.BigEndian.AppendUint64(nil, uint64(p))))
}

// info says where the page stands; more is in the direction of reading.
func (t trail) trailInfo(cursors []string, more bool) *PageInfo {
	info := t.info(cursors, more)
	info.HasPreviousPage = t.after != 0
	if t.backwards {
		info.HasNextPage, info.HasPreviousPage = t.before != 0, more || t.after != 0
	} else if t.before != 0 {
		info.HasNextPage = true
	}
	return info
}

// Events lists a part of the log.
func (r *Reader) Events(ctx context.Context, filter *EventFilter, upTo *eventlog.Position, first *int, after *string, last *int, before *string) (*EventConnection, error) {
	var f EventFilter
	if filter != nil {
		f = *filter
	}
	t, err := r.trail(ctx, upTo, first, after, last, before, "events", f.Categories, f.Types, f.Stream, value(f.Telemetry))
	if err != nil {
		return nil, err
	}
	c := &EventConnection{Edges: []EventEdge{}, UpTo: t.upTo}
	more := false
	for rec, err := range r.records(ctx, &f, t) {
		if err != nil {
			return nil, err
		}
		if more = len(c.Edges) == t.first; more {
			break
		}
		event, err := NewEvent(r.Log.Origin(), rec)
		if err != nil {
			return nil, err
		}
		c.Edges = append(c.Edges, EventEdge{t.cursorAt(rec.Position), event})
	}
	if t.backwards {
		slices.Reverse(c.Edges)
	}
	cursors := make([]string, len(c.Edges))
	for i, e := range c.Edges {
		cursors[i] = e.Cursor
	}
	c.PageInfo = t.trailInfo(cursors, more)
	return c, nil
}

// records yields what passes, in the trail's direction and between its ends.
// A stream is read by itself, so that its few events are not looked for among
// all others.
func (r *Reader) records(ctx context.Context, f *EventFilter, t trail) iter.Seq2[eventlog.Record, error] {
	dir, from := eventlog.Forwards, t.after
	if t.backwards {
		dir, from = eventlog.Backwards, min(t.upTo, eventlog.End-1)+1
		if t.before != 0 {
			from = min(from, t.before)
		}
	}
	all := r.Log.ReadAll(ctx, from, dir, f.LogFilter())
	if f.Stream != nil {
		start := eventlog.Revision(0)
		if t.backwards {
			start = eventlog.LastRevision
		}
		all = r.Log.Read(ctx, eventlog.StreamID(*f.Stream), start, dir)
	}
	filter := f.LogFilter()
	return func(yield func(eventlog.Record, error) bool) {
		for rec, err := range all {
			p := rec.Position
			switch {
			case err != nil:
			case planted.Bug == planted.EventsPast && p == t.upTo:
				continue
			case dir == eventlog.Forwards && p > t.upTo, dir == eventlog.Forwards && t.before != 0 && p >= t.before,
				dir == eventlog.Backwards && p <= t.after:
				return
			case p <= t.after, p > t.upTo, t.before != 0 && p >= t.before, !filter.Passes(rec.Stream, rec.Type), !f.Passes(rec):
				continue
			}
			if !yield(rec, err) {
				return
			}
		}
	}
}
