package plant

import (
	"context"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/graph/fault"
	"github.com/twinlog/twinlog/projections/assets"
)

// Plant is the plant at one cut.
type Plant struct{ scope *scope }

// ResolvedMoment is the cut that was answered at.
type ResolvedMoment struct {
	AsOf     *time.Time
	KnownAt  eventlog.Position
	Recorded time.Time
	Folds    []FoldVersion
}

// FoldVersion is a read model and the version of its code.
type FoldVersion struct {
	Name    string
	Version int
}

// Moment says which cut it is.
func (p *Plant) Moment(ctx context.Context) (*ResolvedMoment, error) {
	s := p.scope
	m := &ResolvedMoment{AsOf: s.asOf, KnownAt: s.cut.Known}
	var err error
	if m.Recorded, err = s.r.recorded(ctx, s.cut.Known); err != nil {
		return nil, err
	}
	for _, st := range s.r.Runner.Status() {
		m.Folds = append(m.Folds, FoldVersion{st.Name, st.Version})
	}
	return m, nil
}

// Asset finds one asset.
func (p *Plant) Asset(ctx context.Context, id, path *string) (*Asset, error) {
	if err := oneOf(id, path); err != nil {
		return nil, err
	}
	if path != nil {
		row, err := p.scope.r.Assets.ByPath(ctx, *path, p.scope.cut)
		return p.scope.asset(row), err
	}
	own, err := p.scope.r.ID(AssetID, "id", *id)
	if err != nil {
		return nil, err
	}
	return p.scope.assetByID(ctx, own)
}

func oneOf(id, path *string) error {
	if (id == nil) == (path == nil) {
		return fault.Bad("id", "not exactly one of id and path", "exactly one of them")
	}
	return nil
}

func (s *scope) assetByID(ctx context.Context, id string) (*Asset, error) {
	rows, err := s.r.Assets.ByIDs(ctx, []string{id}, s.cut)
	if err != nil {
		return nil, err
	}
	return s.asset(rows[0]), nil
}

// Assets lists assets.
func (p *Plant) Assets(ctx context.Context, filter *AssetFilter, first *int, after *string) (*AssetConnection, error) {
	f, err := p.scope.r.assetFilter(filter)
	if err != nil {
		return nil, err
	}
	return p.scope.listAssets(ctx, f, first, after)
}

func (s *scope) listAssets(ctx context.Context, f assets.Filter, first *int, after *string) (*AssetConnection, error) {
	pg, err := s.page(first, after, maxPage, "assets", f)
	if err != nil {
		return nil, err
	}
	rows, more, err := s.r.Assets.List(ctx, f, pg.scope.cut, pg.after, pg.first)
	if err != nil {
		return nil, err
	}
	return pg.assets(pg.scope.assets(rows), more), nil
}

func (r *Reader) assetFilter(filter *AssetFilter) (assets.Filter, error) {
	if filter == nil {
		return assets.Filter{}, nil
	}
	f := assets.Filter{
		Level: value(filter.Level), Class: value(filter.Class),
		NameContains: value(filter.NameContains), Retired: value(filter.Retired),
	}
	var err error
	if filter.Under != nil {
		f.Under, err = r.ID(AssetID, "filter.under", *filter.Under)
	}
	return f, err
}

// AssetClass finds one class.
func (p *Plant) AssetClass(ctx context.Context, name string, version *int) (*AssetClass, error) {
	rows, err := p.scope.r.Assets.ClassVersions(ctx, []assets.ClassRef{{Name: name, Version: value(version)}}, p.scope.cut)
	if err != nil || rows[0] == nil {
		return nil, err
	}
	return &AssetClass{rows[0]}, nil
}

// AssetClasses lists the classes in force.
func (p *Plant) AssetClasses(ctx context.Context, first *int, after *string) (*AssetClassConnection, error) {
	pg, err := p.scope.page(first, after, maxPage, "classes")
	if err != nil {
		return nil, err
	}
	rows, more, err := p.scope.r.Assets.ListClasses(ctx, pg.scope.cut, pg.after, pg.first)
	if err != nil {
		return nil, err
	}
	c, cursors := &AssetClassConnection{}, make([]string, len(rows))
	for i, row := range rows {
		cursors[i] = pg.cursor(row.Name)
		c.Edges = append(c.Edges, AssetClassEdge{cursors[i], &AssetClass{row}})
	}
	c.PageInfo = pg.info(cursors, more)
	return c, nil
}

// Tag finds one tag.
func (p *Plant) Tag(ctx context.Context, id, path *string) (*Tag, error) {
	if err := oneOf(id, path); err != nil {
		return nil, err
	}
	if path != nil {
		row, err := p.scope.r.Assets.TagByPath(ctx, *path, p.scope.cut)
		return p.scope.tag(row), err
	}
	tags, err := p.scope.tagsByID(ctx, "id", []string{*id})
	if err != nil {
		return nil, err
	}
	return tags[0], nil
}

// tagsByID reads tags by global id, given at path; nil where there is none.
func (s *scope) tagsByID(ctx context.Context, path string, ids []string) ([]*Tag, error) {
	own := make([]string, len(ids))
	for i, id := range ids {
		var err error
		if own[i], err = s.r.ID(TagID, path, id); err != nil {
			return nil, err
		}
	}
	rows, err := s.r.Assets.TagsByID(ctx, own, s.cut)
	if err != nil {
		return nil, err
	}
	return s.tags(rows), nil
}

// Tags lists tags.
func (p *Plant) Tags(ctx context.Context, filter *TagFilter, first *int, after *string) (*TagConnection, error) {
	f, err := p.scope.r.tagFilter(nil, filter)
	if err != nil {
		return nil, err
	}
	pg, err := p.scope.page(first, after, maxPage, "tags", f)
	if err != nil {
		return nil, err
	}
	rows, more, err := p.scope.r.Assets.ListTags(ctx, f, pg.scope.cut, pg.after, pg.first)
	if err != nil {
		return nil, err
	}
	return pg.tags(pg.scope.tags(rows), more, (*assets.Tag).Cursor), nil
}

func (r *Reader) tagFilter(under *string, filter *TagFilter) (assets.TagFilter, error) {
	var f assets.TagFilter
	if filter != nil {
		f = assets.TagFilter{Names: filter.Names, Class: value(filter.Class), Unit: value(filter.Unit)}
		if filter.Under != nil && under != nil && *filter.Under != *under {
			return f, fault.Bad("filter.under", *filter.Under, "the same as under, or nothing")
		}
		if under == nil {
			under = filter.Under
		}
	}
	var err error
	if under != nil {
		f.Under, err = r.ID(AssetID, "under", *under)
	}
	return f, err
}
