package plant

import (
	"context"

	"github.com/twinlog/twinlog/projections/assets"
)

// Relationship is a directed relationship between two assets.
type Relationship struct {
	assets.Relation
	from, to *Asset
}

// From is where it comes from.
func (r *Relationship) From() *Asset { return r.from }

// To is where it points.
func (r *Relationship) To() *Asset { return r.to }

// RelationshipConnection is a page of relationships.
type RelationshipConnection struct {
	Edges    []RelationshipEdge
	PageInfo *PageInfo
}

// RelationshipEdge is a relationship and where it stands.
type RelationshipEdge struct {
	Cursor string
	Node   *Relationship
}

// Nodes are the page's relationships.
func (c *RelationshipConnection) Nodes() []*Relationship {
	nodes := make([]*Relationship, len(c.Edges))
	for i, e := range c.Edges {
		nodes[i] = e.Node
	}
	return nodes
}

// Relationships lists the asset's relationships other than containment.
func (a *Asset) Relationships(ctx context.Context, typeArg *string, direction *Direction, first *int, after *string) (*RelationshipConnection, error) {
	s, dir := a.fam.scope, assets.Out
	if direction != nil && *direction == In {
		dir = assets.In
	}
	pg, err := s.page(first, after, maxPage, "relationships of", a.Asset.ID, typeArg, dir)
	if err != nil {
		return nil, err
	}
	fam, i := a.fam, a.i
	if pg.scope != s { // the cursor brought a cut of its own
		alone := pg.scope.asset(a.Asset)
		fam, i = alone.fam, alone.i
	}
	key := "relationships out " + value(typeArg)
	if dir == assets.In {
		key = "relationships in " + value(typeArg)
	}
	all, err := together(fam, i, key, func(members []*Asset) ([][]*Relationship, error) {
		return pg.scope.relations(ctx, members, dir, value(typeArg))
	})
	if err != nil {
		return nil, err
	}
	rows, more := window(pg, all, relationKey)
	c, cursors := &RelationshipConnection{}, make([]string, len(rows))
	for i, row := range rows {
		cursors[i] = pg.cursor(relationKey(row))
		c.Edges = append(c.Edges, RelationshipEdge{cursors[i], row})
	}
	c.PageInfo = pg.info(cursors, more)
	return c, nil
}

func relationKey(r *Relationship) string {
	return r.Type + "\x00" + r.Relation.From + "\x00" + r.Relation.To
}

// relations reads the relationships of many assets, and both ends of each.
func (s *scope) relations(ctx context.Context, members []*Asset, dir assets.Direction, typ string) ([][]*Relationship, error) {
	groups, err := s.r.Assets.Relations(ctx, assetIDs(members), dir, s.cut)
	if err != nil {
		return nil, err
	}
	var ends []string
	found := make([][]*Relationship, len(groups))
	for i, rows := range groups {
		for _, row := range rows {
			if typ == "" || row.Type == typ {
				found[i] = append(found[i], &Relationship{Relation: row})
				ends = append(ends, row.From, row.To)
			}
		}
	}
	read, err := s.assetsOnce(ctx, ends)
	if err != nil {
		return nil, err
	}
	for _, rows := range found {
		for _, row := range rows {
			row.from, row.to, read = read[0], read[1], read[2:]
		}
	}
	return found, nil
}
