package oracle

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// asset is an asset at a cut.
type asset struct {
	id, name, path, level, class, parent string
	version                              int // of the class; 0: none
	nameplate                            map[string]any
	revision                             int
	validFrom                            time.Time
	retired                              bool
}

// asset looks an asset up; nil where there is none at the cut.
func (c cut) asset(id string) *asset {
	if id == "" || c.none {
		return nil
	}
	reg, ok := c.registration(id)
	if !ok || reg.from.After(c.instant) {
		return nil
	}
	r := reg.fact
	a := &asset{id: id, name: r.Name, level: r.Level, class: r.Class, parent: r.Parent, revision: c.revision(id), validFrom: reg.from}
	since := func(t time.Time) {
		if t.After(a.validFrom) {
			a.validFrom = t
		}
	}
	if f, ok := holds(facts[Renamed](c), c.instant, func(f Renamed) bool { return f.Asset == id }); ok {
		a.name = f.fact.Name
		since(f.from)
	}
	if f, ok := holds(facts[Moved](c), c.instant, func(f Moved) bool { return f.Asset == id }); ok {
		a.parent = f.fact.Parent
		since(f.from)
	}
	if f, ok := holds(facts[Retired](c), c.instant, func(f Retired) bool { return f.Asset == id }); ok {
		a.retired = true
		since(f.from)
	}
	a.nameplate = maps.Clone(r.Nameplate)
	for _, f := range inForce(facts[Plated](c), c.instant, func(f Plated) bool { return f.Asset == id }) {
		if a.nameplate == nil {
			a.nameplate = map[string]any{}
		}
		for name, v := range f.fact.Patch {
			if a.nameplate[name] = v; v == nil {
				delete(a.nameplate, name)
			}
		}
		since(f.from)
	}
	if v, from, ok := c.classVersion(r.Class, r.ClassVersion); ok {
		a.version = v.Version
		since(from)
	}
	a.path = a.name
	if up := c.asset(a.parent); up != nil {
		a.path = up.path + "/" + a.name
	}
	return a
}

func (c cut) registration(id string) (told[Registered], bool) {
	for _, f := range facts[Registered](c) {
		if f.fact.Asset == id {
			return f, true
		}
	}
	return told[Registered]{}, false
}

// revision counts what was said about an asset, from 0.
func (c cut) revision(id string) int {
	n := -1
	for _, e := range c.entries() {
		about := ""
		switch f := e.Fact.(type) {
		case Registered:
			about = f.Asset
		case Moved:
			about = f.Asset
		case Renamed:
			about = f.Asset
		case Retired:
			about = f.Asset
		case Related:
			about = f.From
		case Bound:
			about = f.Asset
		case Plated:
			about = f.Asset
		}
		if about == id {
			n++
		}
	}
	return n
}

// lives reports whether an asset is in its role at t.
func (c cut) lives(id string, t time.Time) bool {
	reg, ok := c.registration(id)
	if !ok || t.Before(reg.from) {
		return false
	}
	_, gone := holds(facts[Retired](c), t, func(f Retired) bool { return f.Asset == id })
	return !gone
}

// classVersion is the pinned version of a class, or for 0 the one in force;
// before the first one's time the first.
func (c cut) classVersion(name string, pinned int) (v ClassDefined, since time.Time, ok bool) {
	if name == "" || c.none {
		return v, since, false
	}
	list := facts[ClassDefined](c)
	about := func(f ClassDefined) bool { return f.Class == name }
	if pinned == 0 {
		pinned = 1
		if f, ok := holds(list, c.instant, about); ok {
			pinned, since = f.fact.Version, f.from
		}
	}
	for _, f := range list {
		if about(f.fact) && f.fact.Version == pinned {
			return f.fact, since, true
		}
	}
	return v, since, false
}

// assets are all assets at the cut in the order of their paths, retired ones too.
func (c cut) assets() []*asset {
	var list []*asset
	for _, f := range facts[Registered](c) {
		if a := c.asset(f.fact.Asset); a != nil {
			list = append(list, a)
		}
	}
	slices.SortFunc(list, func(a, b *asset) int {
		return cmp.Or(slices.Compare(strings.Split(a.path, "/"), strings.Split(b.path, "/")), cmp.Compare(a.id, b.id))
	})
	return list
}

// byPath finds the asset that is in its role at a path.
func (c cut) byPath(path string) *asset {
	for _, a := range c.assets() {
		if a.path == path && !a.retired && c.allAlive(a) {
			return a
		}
	}
	return nil
}

// allAlive reports that no asset above is retired.
func (c cut) allAlive(a *asset) bool {
	for up := c.asset(a.parent); up != nil; up = c.asset(up.parent) {
		if up.retired {
			return false
		}
	}
	return true
}

// below reports whether an asset lies, at any depth, in another.
func (c cut) below(a *asset, top string) bool {
	for up := a; up != nil; up = c.asset(up.parent) {
		if up.parent == top {
			return true
		}
	}
	return false
}

// children are the assets directly in another, by name, retired ones left out.
func (c cut) children(id string) []*asset {
	var list []*asset
	for _, a := range c.assets() {
		if a.parent == id && !a.retired {
			list = append(list, a)
		}
	}
	slices.SortFunc(list, func(a, b *asset) int { return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.id, b.id)) })
	return list
}

// ancestors go from the top down to the parent.
func (c cut) ancestors(a *asset) []*asset {
	var list []*asset
	for up := c.asset(a.parent); up != nil; up = c.asset(up.parent) {
		list = append([]*asset{up}, list...)
	}
	return list
}

// relationship is one that holds at the cut.
type relationship struct {
	typ, from, to string
	since         time.Time
}

// relationships of an asset: from it, or with in those to it. One ends where
// either asset is retired.
func (c cut) relationships(id string, in bool) []relationship {
	last := map[[3]string]told[Related]{}
	for _, f := range inForce(facts[Related](c), c.instant, func(Related) bool { return true }) {
		last[[3]string{f.fact.Type, f.fact.From, f.fact.To}] = f
	}
	var list []relationship
	for _, f := range last {
		r := f.fact
		from, to := c.asset(r.From), c.asset(r.To)
		if !r.On || (in && r.To != id) || (!in && r.From != id) || from == nil || to == nil || from.retired || to.retired {
			continue
		}
		list = append(list, relationship{r.Type, r.From, r.To, f.from})
	}
	slices.SortFunc(list, func(a, b relationship) int {
		return cmp.Or(cmp.Compare(a.typ, b.typ), cmp.Compare(a.to, b.to), cmp.Compare(a.from, b.from))
	})
	return list
}

// tag is one tag of an asset at a cut.
type tag struct {
	TagDef
	asset *asset
}

func (t tag) path() string { return t.asset.path + "/" + t.Name }

// tags are an asset's tags in the order of its class. An asset without a class
// has those that are or were bound.
func (c cut) tags(a *asset) []tag {
	var list []tag
	reg, _ := c.registration(a.id)
	if v, _, ok := c.classVersion(a.class, reg.fact.ClassVersion); ok {
		for _, d := range v.Tags {
			list = append(list, tag{d, a})
		}
		return list
	}
	names := map[string]bool{}
	for _, f := range inForce(facts[Bound](c), c.instant, func(f Bound) bool { return f.Asset == a.id }) {
		names[f.fact.Tag] = true
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		list = append(list, tag{TagDef{Name: name, DataType: "FLOAT64"}, a})
	}
	return list
}

func (c cut) tag(assetID, name string) (tag, bool) {
	if a := c.asset(assetID); a != nil {
		for _, t := range c.tags(a) {
			if t.Name == name {
				return t, true
			}
		}
	}
	return tag{}, false
}

// tagsUnder are the tags of everything in its role, of and below an asset; of
// everything for "".
func (c cut) tagsUnder(top string) []tag {
	var list []tag
	for _, a := range c.assets() {
		if !a.retired && (top == "" || a.id == top || c.below(a, top)) {
			list = append(list, c.tags(a)...)
		}
	}
	return list
}
