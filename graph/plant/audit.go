package plant

import (
	"context"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/projections/audit"
)

// AuditEntry is one line of the audit trail. Its plain fields are the row's.
type AuditEntry struct {
	audit.Row
	origin string
}

// Event is the global id of the event.
func (a *AuditEntry) Event() string { return EventIDOf(a.origin, a.Row.Stream, a.Revision) }

// Actor is who did it.
func (a *AuditEntry) Actor() *Actor { return &Actor{a.Row.Actor} }

// Action is what was done.
func (a *AuditEntry) Action() string { return a.Type }

// Stream is what it was done to.
func (a *AuditEntry) Stream() string { return string(a.Row.Stream) }

// Reason is nil where none was asked.
func (a *AuditEntry) Reason() *ReasonGiven { return reasonGiven(a.Row.Reason) }

// AuditConnection is a part of the audit trail.
type AuditConnection struct {
	Edges       []AuditEdge
	PageInfo    *PageInfo
	UpTo        eventlog.Position
	HiddenCount int
	TotalCount  *int
}

// AuditEdge is a line and where it stands.
type AuditEdge struct {
	Cursor string
	Node   *AuditEntry
}

// Nodes are the page's lines.
func (c *AuditConnection) Nodes() []*AuditEntry {
	nodes := make([]*AuditEntry, len(c.Edges))
	for i, e := range c.Edges {
		nodes[i] = e.Node
	}
	return nodes
}

// AuditTrail lists who did what. It ends no further than the trail is folded.
func (r *Reader) AuditTrail(ctx context.Context, filter *AuditFilter, upTo *eventlog.Position, first *int, after *string, last *int, before *string) (*AuditConnection, error) {
	var f audit.Filter
	if filter != nil {
		f = audit.Filter{
			Subjects: filter.Subjects, Kinds: filter.Kinds, Types: filter.Types,
			Stream: eventlog.StreamID(value(filter.Stream)), From: value(filter.From), To: value(filter.To),
		}
	}
	if last != nil && first != nil && *first == standardPage {
		first = nil // the schema's default, and not what was asked
	}
	t, err := r.trail(ctx, upTo, first, after, last, before, "audit", f)
	if err != nil {
		return nil, err
	}
	if upTo != nil {
		if err := r.await(ctx, *upTo, standardWait); err != nil {
			return nil, err
		}
	}
	rows, more, err := r.Audit.List(ctx, f, t.upTo, audit.Page{After: t.after, Before: t.before, Limit: t.first, Backwards: t.backwards})
	if err != nil {
		return nil, err
	}
	c, cursors := &AuditConnection{UpTo: t.upTo}, make([]string, len(rows))
	for i, row := range rows {
		cursors[i] = t.cursorAt(row.Position)
		c.Edges = append(c.Edges, AuditEdge{cursors[i], &AuditEntry{row, r.Log.Origin()}})
	}
	c.PageInfo = t.trailInfo(cursors, more)
	return c, nil
}
