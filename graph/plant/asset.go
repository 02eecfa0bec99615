package plant

import (
	"context"
	"fmt"
	"strconv"

	"github.com/twinlog/twinlog/domain/asset"
	"github.com/twinlog/twinlog/projections/assets"
)

// Asset is a role of the plant at a cut. Its plain fields are the row's.
type Asset struct {
	*assets.Asset
	fam *family[*Asset]
	i   int // its place in fam
}

// AssetConnection is a page of assets.
type AssetConnection struct {
	Edges    []AssetEdge
	PageInfo *PageInfo
}

// AssetEdge is an asset and where it stands.
type AssetEdge struct {
	Cursor string
	Node   *Asset
}

// Nodes are the page's assets.
func (c *AssetConnection) Nodes() []*Asset {
	nodes := make([]*Asset, len(c.Edges))
	for i, e := range c.Edges {
		nodes[i] = e.Node
	}
	return nodes
}

func (p page) assets(found []*Asset, more bool) *AssetConnection {
	c, cursors := &AssetConnection{Edges: make([]AssetEdge, len(found))}, make([]string, len(found))
	for i, a := range found {
		cursors[i] = p.cursor(a.Cursor())
		c.Edges[i] = AssetEdge{cursors[i], a}
	}
	c.PageInfo = p.info(cursors, more)
	return c
}

func (s *scope) asset(row *assets.Asset) *Asset { return s.assets([]*assets.Asset{row})[0] }

// assets makes rows one family; nil rows stay nil.
func (s *scope) assets(rows []*assets.Asset) []*Asset {
	return joinAssets(newFamily[*Asset](s, len(rows)), rows)
}

func joinAssets(fam *family[*Asset], rows []*assets.Asset) []*Asset {
	found := make([]*Asset, len(rows))
	for i, row := range rows {
		if row != nil {
			found[i] = &Asset{row, fam, len(fam.members)}
			fam.members = append(fam.members, found[i])
		}
	}
	return found
}

func assetIDs(members []*Asset) []string {
	ids := make([]string, len(members))
	for i, m := range members {
		ids[i] = m.Asset.ID
	}
	return ids
}

// IsNode marks what has a global id.
func (a *Asset) IsNode() {}

// ID is the global id.
func (a *Asset) ID() string { return a.fam.scope.r.global(AssetID, a.Asset.ID) }

// ClassVersion is nil where no class is in force.
func (a *Asset) ClassVersion() *int { return optional(a.Asset.ClassVersion) }

// Class is the asset's class in the version that is in force for it.
func (a *Asset) Class(ctx context.Context) (*AssetClass, error) {
	s := a.fam.scope
	return together(a.fam, a.i, "class", func(members []*Asset) ([]*AssetClass, error) {
		refs, found := make([]assets.ClassRef, len(members)), make([]*AssetClass, len(members))
		for i, m := range members {
			refs[i] = assets.ClassRef{Name: m.ClassName, Version: m.Asset.ClassVersion}
		}
		rows, err := s.r.Assets.ClassVersions(ctx, refs, s.cut)
		if err != nil {
			return nil, err
		}
		for i, row := range rows {
			if row != nil && members[i].ClassName != "" {
				found[i] = &AssetClass{row}
			}
		}
		return found, nil
	})
}

// Parent is nil at the top.
func (a *Asset) Parent(ctx context.Context) (*Asset, error) {
	s := a.fam.scope
	return together(a.fam, a.i, "parent", func(members []*Asset) ([]*Asset, error) {
		ids := make([]string, len(members))
		for i, m := range members {
			ids[i] = m.ParentID
		}
		return s.assetsOnce(ctx, ids)
	})
}

// assetsOnce reads each asset once, however often it is named; nil for "".
func (s *scope) assetsOnce(ctx context.Context, ids []string) ([]*Asset, error) {
	place, unique := map[string]int{}, []string(nil)
	for _, id := range ids {
		if _, ok := place[id]; !ok && id != "" {
			place[id] = len(unique)
			unique = append(unique, id)
		}
	}
	found := make([]*Asset, len(ids))
	if len(unique) == 0 {
		return found, nil
	}
	rows, err := s.r.Assets.ByIDs(ctx, unique, s.cut)
	if err != nil {
		return nil, err
	}
	read := s.assets(rows)
	for i, id := range ids {
		if id != "" {
			found[i] = read[place[id]]
		}
	}
	return found, nil
}

// Ancestors go from the top down to the parent.
func (a *Asset) Ancestors(ctx context.Context) ([]*Asset, error) {
	s := a.fam.scope
	return together(a.fam, a.i, "ancestors", func(members []*Asset) ([][]*Asset, error) {
		groups, err := s.r.Assets.Ancestors(ctx, assetIDs(members), s.cut)
		if err != nil {
			return nil, err
		}
		return s.assetGroups(groups), nil
	})
}

// assetGroups makes the rows of all groups one family.
func (s *scope) assetGroups(groups [][]*assets.Asset) [][]*Asset {
	fam, found := newFamily[*Asset](s, len(groups)), make([][]*Asset, len(groups))
	for i, rows := range groups {
		found[i] = joinAssets(fam, rows)
	}
	return found
}

// Children lists the assets directly below.
func (a *Asset) Children(ctx context.Context, first *int, after *string) (*AssetConnection, error) {
	s := a.fam.scope
	if value(after) != "" { // a cursor belongs to one asset, and may bring its own cut
		pg, err := s.page(first, after, maxPage, "children", a.Asset.ID)
		if err != nil {
			return nil, err
		}
		groups, err := s.r.Assets.Children(ctx, []string{a.Asset.ID}, pg.scope.cut)
		if err != nil {
			return nil, err
		}
		rows, more := window(pg, groups[0], (*assets.Asset).Cursor)
		return pg.assets(pg.scope.assets(rows), more), nil
	}
	return together(a.fam, a.i, argKey("children", first), func(members []*Asset) ([]*AssetConnection, error) {
		groups, err := s.r.Assets.Children(ctx, assetIDs(members), s.cut)
		if err != nil {
			return nil, err
		}
		fam, pages := newFamily[*Asset](s, len(members)), make([]*AssetConnection, len(members))
		for i, m := range members {
			pg, err := s.page(first, nil, maxPage, "children", m.Asset.ID)
			if err != nil {
				return nil, err
			}
			rows, more := window(pg, groups[i], (*assets.Asset).Cursor)
			pages[i] = pg.assets(joinAssets(fam, rows), more)
		}
		return pages, nil
	})
}

func argKey(field string, first *int) string {
	if first == nil {
		return field
	}
	return field + ":" + strconv.Itoa(*first)
}

// Descendants lists everything below.
func (a *Asset) Descendants(ctx context.Context, level *asset.Level, first *int, after *string) (*AssetConnection, error) {
	return a.fam.scope.listAssets(ctx, assets.Filter{Under: a.Asset.ID, Level: value(level)}, first, after)
}

// Tags lists the asset's tags.
func (a *Asset) Tags(ctx context.Context, first *int, after *string) (*TagConnection, error) {
	s := a.fam.scope
	if value(after) != "" {
		pg, err := s.page(first, after, maxPage, "tags of", a.Asset.ID)
		if err != nil {
			return nil, err
		}
		groups, err := s.r.Assets.Tags(ctx, []string{a.Asset.ID}, pg.scope.cut)
		if err != nil {
			return nil, err
		}
		rows, more := window(pg, groups[0], tagKey)
		return pg.tags(pg.scope.tags(rows), more, tagKey), nil
	}
	return together(a.fam, a.i, argKey("tags", first), func(members []*Asset) ([]*TagConnection, error) {
		groups, err := s.r.Assets.Tags(ctx, assetIDs(members), s.cut)
		if err != nil {
			return nil, err
		}
		fam, pages := newFamily[*Tag](s, len(members)), make([]*TagConnection, len(members))
		for i, m := range members {
			pg, err := s.page(first, nil, maxPage, "tags of", m.Asset.ID)
			if err != nil {
				return nil, err
			}
			rows, more := window(pg, groups[i], tagKey)
			pages[i] = pg.tags(joinTags(fam, rows), more, tagKey)
		}
		return pages, nil
	})
}

func tagKey(t *assets.Tag) string { return t.ID }

// Twin is the asset's dynamic side.
func (a *Asset) Twin() *Twin { return &Twin{a} }

// Devices lists the devices that feed its tags.
func (a *Asset) Devices(ctx context.Context, first *int, after *string) (*DeviceConnection, error) {
	s := a.fam.scope
	pg, err := s.page(first, after, maxPage, "devices of", a.Asset.ID)
	if err != nil {
		return nil, err
	}
	fam, i := a.fam, a.i
	if pg.scope != s { // the cursor brought a cut of its own
		alone := pg.scope.asset(a.Asset)
		fam, i = alone.fam, alone.i
	}
	all, err := together(fam, i, "devices", func(members []*Asset) ([][]*Device, error) {
		return pg.scope.devicesOf(ctx, members)
	})
	if err != nil {
		return nil, err
	}
	rows, more := window(pg, all, func(d *Device) string { return d.Device.ID })
	return pg.devices(rows, more), nil
}

// devicesOf reads the devices of many assets at once.
func (s *scope) devicesOf(ctx context.Context, members []*Asset) ([][]*Device, error) {
	groups, err := s.r.Assets.Devices(ctx, assetIDs(members), s.cut)
	if err != nil {
		return nil, err
	}
	place, unique := map[string]int{}, []string(nil)
	for _, ids := range groups {
		for _, id := range ids {
			if _, ok := place[id]; !ok {
				place[id] = len(unique)
				unique = append(unique, id)
			}
		}
	}
	read, err := s.devices(ctx, unique)
	if err != nil {
		return nil, err
	}
	found := make([][]*Device, len(groups))
	for i, ids := range groups {
		for _, id := range ids {
			if d := read[place[id]]; d != nil { // bound, and never heard of: a name only
				found[i] = append(found[i], d)
			}
		}
	}
	return found, nil
}

// Twin is the dynamic side of an asset.
type Twin struct{ asset *Asset }

// Reported are the current values of the asset's tags. after is the name of a tag.
func (t *Twin) Reported(ctx context.Context, tags []string, first *int, after *string) ([]*TagValue, error) {
	const all = maxPage // an asset has a few dozen tags
	most := all
	list, err := t.asset.Tags(ctx, &most, nil)
	if err != nil {
		return nil, err
	}
	wanted := map[string]bool{}
	for _, name := range tags {
		wanted[name] = true
	}
	limit := all
	if first != nil {
		limit = min(*first, all)
	}
	var values []*TagValue
	skip := value(after) != ""
	for _, tag := range list.Nodes() {
		if skip {
			skip = tag.Name != *after
			continue
		}
		if len(values) >= limit {
			break
		}
		if len(tags) > 0 && !wanted[tag.Name] {
			continue
		}
		v, err := tag.Value(ctx)
		if err != nil {
			return nil, fmt.Errorf("tag %s: %w", tag.Path, err)
		}
		if v != nil {
			values = append(values, v)
		}
	}
	return values, nil
}
