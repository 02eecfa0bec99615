package plant

import (
	"context"
	"encoding/binary"
	"slices"
	"time"

	"github.com/twinlog/twinlog/graph/fault"
	"github.com/twinlog/twinlog/projections/assets"
	"github.com/twinlog/twinlog/projections/history"
)

// Gap is a stretch without data.
type Gap struct {
	From, To time.Time
	Reasons  []*GapReason
}

// GapReason is why there is nothing in a gap, or in a part of it.
type GapReason struct {
	Kind     GapKind
	From, To *time.Time
	Count    *int
	Note     *string
	Evidence []*Event
}

// GapKind is why there is nothing; see schema.graphql.
type GapKind string

// The kinds.
const (
	Unbound      GapKind = "UNBOUND"
	WasOffline   GapKind = "OFFLINE"
	WasLost      GapKind = "LOST"
	WasRefused   GapKind = "REFUSED"
	Missing      GapKind = "MISSING"
	Filtered     GapKind = "FILTERED"
	Pending      GapKind = "PENDING"
	UnknownCause GapKind = "UNKNOWN"
)

// GapConnection is a page of gaps.
type GapConnection struct {
	Edges    []GapEdge
	PageInfo *PageInfo
}

// GapEdge is a gap and where it stands.
type GapEdge struct {
	Cursor string
	Node   *Gap
}

// Nodes are the page's gaps.
func (c *GapConnection) Nodes() []*Gap {
	nodes := make([]*Gap, len(c.Edges))
	for i, e := range c.Edges {
		nodes[i] = e.Node
	}
	return nodes
}

// maxGaps bounds a page: each gap reads a part of the log.
const maxGaps = 100

// Gaps are where there is no data, and why.
func (t *Tag) Gaps(ctx context.Context, from, to time.Time, first *int, after *string) (*GapConnection, error) {
	if err := checkRange(from, to); err != nil {
		return nil, err
	}
	pg, err := t.fam.scope.page(first, after, maxGaps, "gaps", t.Tag.ID, from, to)
	if err != nil {
		return nil, err
	}
	rd, err := pg.scope.read(ctx, t, from, to, "", true)
	if err != nil {
		return nil, err
	}
	f := &gapFinder{rd: rd, tag: t, from: from, to: to}
	if end := pg.scope.now(); end.Before(f.to) { // what is to come is no gap
		f.to = end
	}
	gaps, err := f.find(ctx)
	if err != nil {
		return nil, err
	}
	if pg.after != "" {
		if len(pg.after) != 8 {
			return nil, fault.Bad("after", *after, "a cursor of gaps")
		}
		seen := time.Unix(0, int64(binary.BigEndian.Uint64([]byte(pg.after))))
		gaps = slices.DeleteFunc(gaps, func(g *Gap) bool { return !g.From.After(seen) })
	}
	more := len(gaps) > pg.first
	gaps = gaps[:min(len(gaps), pg.first)]
	c, cursors := &GapConnection{Edges: []GapEdge{}}, make([]string, len(gaps))
	for i, g := range gaps {
		if g.Reasons, err = f.explain(ctx, g); err != nil {
			return nil, err
		}
		cursors[i] = pg.cursor(string(binary.BigEndian.AppendUint64(nil, uint64(g.From.UnixNano()))))
		c.Edges = append(c.Edges, GapEdge{cursors[i], g})
	}
	c.PageInfo = pg.info(cursors, more)
	return c, spend(ctx, len(c.Edges))
}

// gapFinder looks for the gaps of a tag in a range.
type gapFinder struct {
	rd       *ranged
	tag      *Tag
	from, to time.Time
}

// find lists the gaps, without reasons.
func (f *gapFinder) find(ctx context.Context) ([]*Gap, error) {
	var times []int64
	for _, p := range f.rd.parts() {
		c, err := f.rd.s.r.History.Columns(ctx, p.Point, p.From, p.To, f.rd.s.cut, history.Options{})
		if err != nil {
			return nil, err
		}
		times = append(times, c.Times...)
	}
	if err := spend(ctx, len(times)); err != nil {
		return nil, err
	}
	most, err := f.longest(ctx, times)
	if err != nil {
		return nil, err
	}
	begin := f.from.UnixNano()
	if f.rd.before != nil { // how long it had been silent when the range begins counts
		begin = f.rd.before.SourceTime.UnixNano()
	}
	var gaps []*Gap
	add := func(a, b int64) {
		if start := max(a, f.from.UnixNano()); b-a > int64(most) && start < b {
			gaps = append(gaps, &Gap{From: time.Unix(0, start).UTC(), To: time.Unix(0, b).UTC()})
		}
	}
	for _, at := range times {
		add(begin, at)
		begin = at
	}
	end := f.to.UnixNano()
	if f.rd.after != nil && f.rd.after.SourceTime.UnixNano()-begin <= int64(most) {
		return gaps, nil // the next one comes in time
	}
	add(begin, end)
	return gaps, nil
}

// longest is the longest stretch without a sample that is no gap.
func (f *gapFinder) longest(ctx context.Context, times []int64) (time.Duration, error) {
	if f.tag.Tag.ExpectedInterval > 0 {
		set, err := f.rd.s.settings(ctx)
		if err != nil {
			return 0, err
		}
		return time.Duration(set.StaleMultiple * float64(f.tag.Tag.ExpectedInterval)), nil
	}
	if len(times) < 3 {
		return 0, nil // nobody knows how often it should come
	}
	distances := make([]int64, len(times)-1)
	for i := range distances {
		distances[i] = times[i+1] - times[i]
	}
	slices.Sort(distances)
	return time.Duration(10 * distances[len(distances)/2]), nil
}

// explain says why there is nothing in a gap.
func (f *gapFinder) explain(ctx context.Context, g *Gap) ([]*GapReason, error) {
	reasons, err := f.unbound(ctx, g)
	if err != nil {
		return nil, err
	}
	for _, b := range f.rd.spans {
		from, to := g.From, g.To
		if b.From.After(from) {
			from = b.From
		}
		if !b.To.IsZero() && b.To.Before(to) {
			to = b.To
		}
		if !from.Before(to) {
			continue
		}
		s := &silence{s: f.rd.s, point: b.Point, from: from, to: to}
		more, err := s.reasons(ctx)
		if err != nil {
			return nil, err
		}
		reasons = append(reasons, more...)
	}
	if len(reasons) == 0 {
		reasons = append(reasons, &GapReason{Kind: UnknownCause, Evidence: []*Event{}})
	}
	return reasons, nil
}

// unbound are the parts of a gap in which no device fed the tag.
func (f *gapFinder) unbound(ctx context.Context, g *Gap) ([]*GapReason, error) {
	var out []*GapReason
	at := g.From
	free := func(to time.Time) error {
		if !at.Before(to) {
			return nil
		}
		events, err := f.rd.s.bindingEvents(ctx, f.tag.Tag, at, to)
		from := at
		out = append(out, &GapReason{Kind: Unbound, From: &from, To: &to, Evidence: events})
		return err
	}
	for _, b := range f.rd.spans {
		if b.From.After(g.To) {
			break
		}
		if err := free(b.From); err != nil {
			return nil, err
		}
		if b.To.IsZero() {
			return out, nil
		}
		if b.To.After(at) {
			at = b.To
		}
	}
	return out, free(g.To)
}

// bindingEvents are those that began or ended a stretch in which nothing fed a tag.
func (s *scope) bindingEvents(ctx context.Context, t *assets.Tag, from, to time.Time) ([]*Event, error) {
	events := []*Event{}
	for rec, err := range s.r.Log.ReadAll(ctx, 0, 0, boundTypes) {
		if err != nil {
			return nil, err
		}
		if rec.Position > s.cut.Through() {
			break
		}
		if at, ok := boundAt(rec, t); ok && (at.Equal(from) || at.Equal(to)) && len(events) < mostEvidence {
			e, err := NewEvent(s.r.Log.Origin(), rec)
			if err != nil {
				return nil, err
			}
			events = append(events, e)
		}
	}
	return events, nil
}
