package assets

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twinlog/twinlog/domain/asset"
	"github.com/twinlog/twinlog/domain/planted"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/projections"
)

// View answers from the hierarchy. Its methods may be used concurrently. All
// getters of several ids answer in the order of the ids.
type View struct{ p *Projection }

// at locks the moment of a cut until done is called.
func (v *View) at(c projections.Cut) (m *moment, done func()) {
	v.p.mu.RLock()
	m = v.p.moment(c)
	m.mu.Lock()
	return m, func() { m.mu.Unlock(); v.p.mu.RUnlock() }
}

// each answers for every id from one moment.
func each[K, R any](v *View, ids []K, c projections.Cut, f func(*moment, K) R) ([]R, error) {
	m, done := v.at(c)
	defer done()
	all := make([]R, len(ids))
	for i, id := range ids {
		all[i] = f(m, id)
	}
	return all, nil
}

// ByIDs returns the assets, retired ones too; nil where none was known.
func (v *View) ByIDs(_ context.Context, ids []string, c projections.Cut) ([]*Asset, error) {
	return each(v, ids, c, (*moment).asset)
}

// ByPath returns the asset at a path, or nil. Retired ones have no path.
func (v *View) ByPath(_ context.Context, path string, c projections.Cut) (*Asset, error) {
	m, done := v.at(c)
	defer done()
	return m.byPath(path), nil
}

func (m *moment) byPath(path string) *Asset {
	var found *Asset
	parent := ""
	for name := range strings.SplitSeq(path, "/") {
		found = nil
		for id := range m.p.structure.InSlot(parent, name) {
			if a := m.asset(id); a != nil && !a.Retired && a.ParentID == parent && a.Name == name {
				found = a
			}
		}
		if found == nil {
			return nil
		}
		parent = found.ID
	}
	return found
}

// Children returns the assets directly below each parent, by name, retired ones
// left out. "" asks for the assets at the top.
func (v *View) Children(_ context.Context, parents []string, c projections.Cut) ([][]*Asset, error) {
	return each(v, parents, c, func(m *moment, parent string) []*Asset {
		return slices.DeleteFunc(slices.Clone(m.below(parent)), func(a *Asset) bool { return a.Retired })
	})
}

// Ancestors returns the assets above each, from the top down to the parent.
func (v *View) Ancestors(_ context.Context, ids []string, c projections.Cut) ([][]*Asset, error) {
	return each(v, ids, c, func(m *moment, id string) []*Asset {
		var up []*Asset
		for a := m.asset(id); a != nil && len(up) < 100; {
			if a = m.asset(a.ParentID); a != nil {
				up = append(up, a)
			}
		}
		slices.Reverse(up)
		return up
	})
}

// List returns assets in the order of their paths, the first after the one
// whose Cursor is after ("": from the start), and whether there are more.
func (v *View) List(_ context.Context, f Filter, c projections.Cut, after string, first int) ([]*Asset, bool, error) {
	m, done := v.at(c)
	defer done()
	list := m.under(f.Under)
	if after != "" {
		path, id, _ := strings.Cut(after, "\x00")
		i, found := slices.BinarySearchFunc(list, path, func(a *Asset, path string) int { return comparePlaces(a.Path, a.ID, path, id) })
		if found {
			i++
		}
		list = list[i:]
	}
	part := strings.ToLower(f.NameContains)
	var page []*Asset
	for _, a := range list {
		if a.Retired && !f.Retired || f.Level != "" && a.Level != f.Level || f.Class != "" && a.ClassName != f.Class ||
			part != "" && !strings.Contains(strings.ToLower(a.Name), part) || f.Under != "" && !m.isBelow(a, f.Under) {
			continue
		}
		if len(page) >= first {
			return page, true, nil
		}
		page = append(page, a)
	}
	return page, false, nil
}

// Cursor says where the asset stands in List.
func (a *Asset) Cursor() string { return a.Path + "\x00" + a.ID }

// Tags returns the tags of each asset, in the order of its class.
func (v *View) Tags(_ context.Context, assetIDs []string, c projections.Cut) ([][]*Tag, error) {
	return each(v, assetIDs, c, (*moment).tagsOf)
}

// TagsByID returns the tags; nil where none was known.
func (v *View) TagsByID(_ context.Context, ids []string, c projections.Cut) ([]*Tag, error) {
	return each(v, ids, c, (*moment).tag)
}

// TagByPath returns the tag at the path of its asset, a slash, and its name; or nil.
func (v *View) TagByPath(_ context.Context, path string, c projections.Cut) (*Tag, error) {
	m, done := v.at(c)
	defer done()
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return nil, nil
	}
	a := m.byPath(path[:i])
	if a == nil {
		return nil, nil
	}
	return m.tag(asset.TagID(a.ID, path[i+1:])), nil
}

// ListTags returns tags in the order of their assets' paths, the first after
// the one whose Cursor is after ("": from the start), and whether there are more.
func (v *View) ListTags(_ context.Context, f TagFilter, c projections.Cut, after string, first int) ([]*Tag, bool, error) {
	m, done := v.at(c)
	defer done()
	list := m.under(f.Under)
	if f.Under != "" {
		if top := m.asset(f.Under); top != nil {
			list = slices.Concat([]*Asset{top}, list)
		}
	}
	afterAsset, afterTag := "", ""
	if after != "" {
		path, rest, _ := strings.Cut(after, "\x00")
		id, tag, _ := strings.Cut(rest, "\x00")
		i, _ := slices.BinarySearchFunc(list, path, func(a *Asset, path string) int { return comparePlaces(a.Path, a.ID, path, id) })
		list, afterAsset, afterTag = list[i:], id, tag
	}
	page := make([]*Tag, 0, min(first, 10_000))
	for _, a := range list {
		if a.Retired && planted.Bug != planted.RetiredListed || f.Class != "" && a.ClassName != f.Class || f.Under != "" && a.ID != f.Under && !m.isBelow(a, f.Under) {
			continue
		}
		tags := m.tagsOf(a.ID)
		if a.ID == afterAsset {
			i := slices.IndexFunc(tags, func(t *Tag) bool { return t.Name == afterTag })
			tags = tags[i+1:]
		}
		for _, t := range tags {
			if f.Unit != "" && t.Unit != f.Unit || len(f.Names) > 0 && !slices.Contains(f.Names, t.Name) {
				continue
			}
			if len(page) >= first {
				return page, true, nil
			}
			page = append(page, t)
		}
	}
	return page, false, nil
}

// Cursor says where the tag stands in ListTags.
func (t *Tag) Cursor() string {
	return t.Path[:len(t.Path)-len(t.Name)-1] + "\x00" + t.AssetID + "\x00" + t.Name
}

// Bindings returns the spans in which points feed each tag, in order, as far
// as they begin at or before the cut. They end where the asset is retired.
func (v *View) Bindings(_ context.Context, tagIDs []string, c projections.Cut) ([][]Binding, error) {
	return each(v, tagIDs, c, (*moment).bindings)
}

// TagsByPoint returns the tags that each point feeds at the cut.
func (v *View) TagsByPoint(_ context.Context, points []telemetry.Point, c projections.Cut) ([][]*Tag, error) {
	return each(v, points, c, func(m *moment, p telemetry.Point) []*Tag {
		var list []*Tag
		for _, id := range slices.Sorted(maps.Keys(m.p.structure.TagsOf(asset.Point(p)))) {
			if t := m.tag(id); t != nil && m.pointOf(m.p.structure.Node(t.AssetID), t.Name) == asset.Point(p) {
				list = append(list, t)
			}
		}
		return list
	})
}

// Feed is a tag and a span in which a point feeds it.
type Feed struct {
	Tag      *Tag
	From, To time.Time // To zero: still
}

// FedBy returns what each point feeds or fed, as far as the spans begin at or
// before the cut.
func (v *View) FedBy(_ context.Context, points []telemetry.Point, c projections.Cut) ([][]Feed, error) {
	return each(v, points, c, func(m *moment, p telemetry.Point) []Feed {
		var list []Feed
		for _, id := range slices.Sorted(maps.Keys(m.p.structure.TagsOf(asset.Point(p)))) {
			t := m.tag(id)
			if t == nil {
				continue
			}
			for _, b := range m.bindings(id) {
				if b.Point == p {
					list = append(list, Feed{t, b.From, b.To})
				}
			}
		}
		return list
	})
}

// ByDevice returns the assets that have a tag fed by each device at the cut.
func (v *View) ByDevice(_ context.Context, devices []string, c projections.Cut) ([][]*Asset, error) {
	return each(v, devices, c, func(m *moment, device string) []*Asset {
		var list []*Asset
		for _, id := range slices.Sorted(maps.Keys(m.p.serves[device])) {
			if a := m.asset(id); a != nil && slices.Contains(m.devicesOf(id), device) {
				list = append(list, a)
			}
		}
		return list
	})
}

// Devices returns the devices that feed a tag of each asset at the cut.
func (v *View) Devices(_ context.Context, assetIDs []string, c projections.Cut) ([][]string, error) {
	return each(v, assetIDs, c, (*moment).devicesOf)
}

func (m *moment) devicesOf(id string) []string {
	var list []string
	for _, t := range m.tagsOf(id) {
		if p := m.pointOf(m.p.structure.Node(id), t.Name); p.Device != "" {
			list = append(list, p.Device)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// Relations returns what each asset is related to, by type and other end.
func (v *View) Relations(_ context.Context, ids []string, dir Direction, c projections.Cut) ([][]Relation, error) {
	return each(v, ids, c, func(m *moment, id string) []Relation {
		var list []Relation
		if dir == Out {
			list = m.relations(id, "", list)
		} else {
			for from := range m.p.structure.Incoming(id) {
				list = m.relations(from, id, list)
			}
		}
		slices.SortFunc(list, func(a, b Relation) int {
			return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.To, b.To), cmp.Compare(a.From, b.From))
		})
		return list
	})
}

// relations appends what an asset is related to, or with to only that end. A
// relationship ends where either asset is retired.
func (m *moment) relations(from, to string, list []Relation) []Relation {
	if a := m.asset(from); a == nil || a.Retired {
		return list
	}
	for edge, line := range m.p.structure.Node(from).Out {
		f, _ := line.At(m.t, m.known)
		if !f.Value || to != "" && edge.To != to {
			continue
		}
		if other := m.asset(edge.To); other != nil && (!other.Retired || planted.Bug == planted.RelatedToRetired) {
			list = append(list, Relation{edge.Type, from, edge.To, instant(f.From)})
		}
	}
	return list
}

// Classes returns the version of each class that is in force; nil where none is.
func (v *View) Classes(_ context.Context, names []string, c projections.Cut) ([]*Class, error) {
	return each(v, names, c, func(m *moment, name string) *Class { return m.class(name, 0) })
}

// ClassVersions returns the given version of each class, whether in force or
// not; nil where it was not known.
func (v *View) ClassVersions(_ context.Context, refs []ClassRef, c projections.Cut) ([]*Class, error) {
	return each(v, refs, c, func(m *moment, r ClassRef) *Class { return m.class(r.Name, r.Version) })
}

// ClassRef names a version of a class; version 0 is the one in force.
type ClassRef struct {
	Name    string
	Version int
}

// ListClasses returns the classes in force by name, the first after the named
// one ("": from the start), and whether there are more.
func (v *View) ListClasses(_ context.Context, c projections.Cut, after string, first int) ([]*Class, bool, error) {
	m, done := v.at(c)
	defer done()
	var page []*Class
	for _, name := range slices.Sorted(maps.Keys(m.p.classes)) {
		if name <= after {
			continue
		}
		if cl := m.class(name, 0); cl != nil {
			if len(page) >= first {
				return page, true, nil
			}
			page = append(page, cl)
		}
	}
	return page, false, nil
}

// Reads counts store reads made for queries: none, whatever is asked, because
// the facts that people tell fit into memory, all their past included.
func (v *View) Reads() uint64 { return 0 }
