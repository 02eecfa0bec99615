package plant

import (
	"context"
	"time"

	"github.com/twinlog/twinlog/projections/assets"
)

// Tag is one measured quantity of an asset at a cut. Its plain fields are the
// row's.
type Tag struct {
	*assets.Tag
	fam *family[*Tag]
	i   int // its place in fam
}

// TagConnection is a page of tags.
type TagConnection struct {
	Edges    []TagEdge
	PageInfo *PageInfo
}

// TagEdge is a tag and where it stands.
type TagEdge struct {
	Cursor string
	Node   *Tag
}

// Nodes are the page's tags.
func (c *TagConnection) Nodes() []*Tag {
	nodes := make([]*Tag, len(c.Edges))
	for i, e := range c.Edges {
		nodes[i] = e.Node
	}
	return nodes
}

func (p page) tags(found []*Tag, more bool, key func(*assets.Tag) string) *TagConnection {
	c, cursors := &TagConnection{Edges: make([]TagEdge, len(found))}, make([]string, len(found))
	for i, t := range found {
		cursors[i] = p.cursor(key(t.Tag))
		c.Edges[i] = TagEdge{cursors[i], t}
	}
	c.PageInfo = p.info(cursors, more)
	return c
}

func (s *scope) tag(row *assets.Tag) *Tag { return s.tags([]*assets.Tag{row})[0] }

// tags makes rows one family; nil rows stay nil.
func (s *scope) tags(rows []*assets.Tag) []*Tag {
	return joinTags(newFamily[*Tag](s, len(rows)), rows)
}

func joinTags(fam *family[*Tag], rows []*assets.Tag) []*Tag {
	found := make([]*Tag, len(rows))
	for i, row := range rows {
		if row != nil {
			found[i] = &Tag{row, fam, len(fam.members)}
			fam.members = append(fam.members, found[i])
		}
	}
	return found
}

func tagIDs(members []*Tag) []string {
	ids := make([]string, len(members))
	for i, m := range members {
		ids[i] = m.Tag.ID
	}
	return ids
}

// IsNode marks what has a global id.
func (t *Tag) IsNode() {}

// ID is the global id.
func (t *Tag) ID() string { return t.fam.scope.r.global(TagID, t.Tag.ID) }

// Description is nil where there is none.
func (t *Tag) Description() *string { return optional(t.Tag.Description) }

// Unit is nil where there is none.
func (t *Tag) Unit() *Unit { return unit(t.Tag.Unit) }

// ExpectedInterval is nil where there is none.
func (t *Tag) ExpectedInterval() *time.Duration { return optional(t.Tag.ExpectedInterval) }

// Asset is whose tag it is.
func (t *Tag) Asset(ctx context.Context) (*Asset, error) {
	s := t.fam.scope
	return together(t.fam, t.i, "asset", func(members []*Tag) ([]*Asset, error) {
		ids := make([]string, len(members))
		for i, m := range members {
			ids[i] = m.AssetID
		}
		return s.assetsOnce(ctx, ids)
	})
}

// Binding is a span in which a device's signal fed a tag.
type Binding struct {
	Device, Signal string
	From           time.Time
	To             *time.Time
}

// Bindings are the spans, in order.
func (t *Tag) Bindings(ctx context.Context) ([]Binding, error) {
	spans, err := t.spans(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]Binding, len(spans))
	for i, b := range spans {
		list[i] = Binding{b.Point.Device, b.Point.Signal, b.From, optional(b.To)}
	}
	return list, nil
}

func (t *Tag) spans(ctx context.Context) ([]assets.Binding, error) {
	return together(t.fam, t.i, "bindings", func(members []*Tag) ([][]assets.Binding, error) {
		return t.fam.scope.r.Assets.Bindings(ctx, tagIDs(members), t.fam.scope.cut)
	})
}

// Value is the last value at or before the moment.
func (t *Tag) Value(ctx context.Context) (*TagValue, error) {
	s := t.fam.scope
	return together(t.fam, t.i, "value", func(members []*Tag) ([]*TagValue, error) {
		readings, err := s.readings(ctx, members)
		if err != nil {
			return nil, err
		}
		in, err := s.settings(ctx)
		if err != nil {
			return nil, err
		}
		now, values := s.now(), make([]*TagValue, len(members))
		for i, r := range readings {
			if r.ok {
				values[i] = &TagValue{Tag: members[i], reading: r, now: now, staleMultiple: in.StaleMultiple}
			}
		}
		return values, nil
	})
}
