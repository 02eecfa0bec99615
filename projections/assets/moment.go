package assets

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twinlog/twinlog/domain/asset"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/planted"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/projections"
)

// moment is the plant at one cut, worked out as far as it has been asked for.
// It never changes what it has said, so its rows are shared by all readers.
type moment struct {
	p     *Projection
	t     int64 // the last instant at or before the cut's
	known eventlog.Position

	// mu guards the rest. It is taken after Projection.mu.
	mu       sync.Mutex
	assets   map[string]*Asset // nil: was asked for, and is not there
	children map[string][]*Asset
	tags     map[string][]*Tag
	order    []*Asset // all assets by path, nil if not known
}

// keptMoments is a few pages being read while the plant changes.
const keptMoments = 8

// moment returns the cut's moment. Cuts between which nothing was told, and
// nothing began or ended, are one moment. p.mu is held for reading.
func (p *Projection) moment(c projections.Cut) *moment {
	t := int64(-1 << 63)
	if i, found := slices.BinarySearch(p.instants, c.Effective()); found {
		t = p.instants[i]
	} else if i > 0 {
		t = p.instants[i-1]
	}
	known := eventlog.Position(0)
	if i, found := slices.BinarySearch(p.positions, c.Through()); found {
		known = p.positions[i]
	} else if i > 0 {
		known = p.positions[i-1]
	}
	p.cache.Lock()
	defer p.cache.Unlock()
	for i, m := range p.moments {
		if m.t == t && (m.known == known || planted.Bug == planted.CachedMoment) {
			p.moments = append(slices.Delete(p.moments, i, i+1), m)
			return m
		}
	}
	m := &moment{
		p: p, t: t, known: known,
		assets: map[string]*Asset{}, children: map[string][]*Asset{}, tags: map[string][]*Tag{},
	}
	if len(p.moments) == keptMoments {
		p.moments = slices.Delete(p.moments, 0, 1)
	}
	p.moments = append(p.moments, m)
	return m
}

// asset returns an asset that is, or was before it retired, there; or nil.
func (m *moment) asset(id string) *Asset {
	if a, ok := m.assets[id]; ok {
		return a
	}
	m.assets[id] = nil // ends the recursion should a foreign log hold a cycle
	n := m.p.structure.Node(id)
	if n == nil || n.Known == 0 || n.Known > m.known {
		return nil
	}
	life, ok := n.Life.At(m.t, m.known)
	if !ok {
		return nil
	}
	name, _ := n.Name.At(m.t, m.known)
	parent, _ := n.Parent.At(m.t, m.known)
	switch planted.Bug {
	case planted.RenamedEarly:
		name, _ = n.Name.At(m.t, eventlog.End)
	case planted.MovedAsset:
		parent, _ = n.Parent.At(asset.Forever, m.known)
	default:
	}
	a := &Asset{
		ID: id, Name: name.Value, Path: name.Value, Level: n.Level, ClassName: n.Class, ParentID: parent.Value,
		Revision: eventlog.Revision(n.FactsBy(m.known) - 1), Retired: !life.Value,
	}
	since := max(life.From, name.From, parent.From)
	var from int64
	a.Nameplate, from = m.nameplate(n)
	since = max(since, from)
	if v, from, ok := m.classVersion(n.Class, n.ClassVersion); ok {
		a.ClassVersion, since = v.Version, max(since, from)
	}
	if up := m.asset(parent.Value); up != nil {
		a.Path = up.Path + "/" + a.Name
	}
	a.ValidFrom = instant(since)
	m.assets[id] = a
	return a
}

func instant(nanos int64) time.Time { return time.Unix(0, nanos).UTC() }

// nameplate merges the patches that are in force, in effective order, and says
// since when it reads so.
func (m *moment) nameplate(n *asset.Node) (doc json.RawMessage, since int64) {
	doc, since = n.Nameplate, n.Born
	line := m.p.plates[n.ID]
	if line == nil {
		return doc, since
	}
	facts := line.Facts()
	if planted.Bug == planted.PlateOrder {
		facts = slices.SortedFunc(slices.Values(facts), func(a, b asset.Fact[json.RawMessage]) int { return cmp.Compare(a.Known, b.Known) })
	}
	for _, f := range facts {
		if f.From > m.t || f.Known > m.known {
			continue
		}
		if merged, err := asset.MergePatch(doc, f.Value); err == nil {
			doc, since = merged, f.From
		}
	}
	return doc, since
}

// classVersion returns a version of a class and since when it is in force: the
// pinned one, or for 0 the one in force. Before the first one's time the first
// serves, so that assets that are older than their class have its tags.
func (m *moment) classVersion(name string, pinned int) (version, int64, bool) {
	c := m.p.classes[name]
	if c == nil {
		return version{}, 0, false
	}
	since := int64(-1 << 63)
	if pinned == 0 {
		t := m.t
		if planted.Bug == planted.NewestClass {
			t = asset.Forever
		}
		f, ok := c.inForce.At(t, m.known)
		if ok {
			pinned, since = f.Value, f.From
		} else {
			pinned = 1
		}
	}
	v, ok := c.defined[pinned]
	return v, since, ok && v.at <= m.known
}

// below returns the assets directly in a parent, by name, retired ones too.
func (m *moment) below(parent string) []*Asset {
	if list, ok := m.children[parent]; ok {
		return list
	}
	var list []*Asset
	for id := range m.p.structure.Children(parent) {
		if a := m.asset(id); a != nil && a.ParentID == parent {
			list = append(list, a)
		}
	}
	slices.SortFunc(list, func(a, b *Asset) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	m.children[parent] = list
	return list
}

// all returns every asset by path.
func (m *moment) all() []*Asset {
	if m.order == nil {
		m.order = make([]*Asset, 0, len(m.p.structure.Nodes()))
		for id := range m.p.structure.Nodes() {
			if a := m.asset(id); a != nil {
				m.order = append(m.order, a)
			}
		}
		slices.SortFunc(m.order, func(a, b *Asset) int { return comparePlaces(a.Path, a.ID, b.Path, b.ID) })
	}
	return m.order
}

// comparePlaces orders by path, name by name, and then by id: a retired asset
// and its successor may have one path.
func comparePlaces(pathA, idA, pathB, idB string) int {
	for i := range min(len(pathA), len(pathB)) {
		if a, b := pathA[i], pathB[i]; a != b {
			switch { // a slash ends a name, so it is before whatever may go on
			case a == '/':
				return -1
			case b == '/':
				return 1
			}
			return cmp.Compare(a, b)
		}
	}
	return cmp.Or(cmp.Compare(len(pathA), len(pathB)), cmp.Compare(idA, idB))
}

// under returns the part of all that can lie below an asset; "" is everything.
func (m *moment) under(id string) []*Asset {
	list := m.all()
	if id == "" {
		return list
	}
	top := m.asset(id)
	if top == nil {
		return nil
	}
	prefix := top.Path + "/"
	i, _ := slices.BinarySearchFunc(list, prefix, func(a *Asset, p string) int { return comparePlaces(a.Path, a.ID, p, "") })
	n, _ := slices.BinarySearchFunc(list[i:], prefix, func(a *Asset, p string) int {
		if strings.HasPrefix(a.Path, p) {
			return -1
		}
		return 1
	})
	return list[i : i+n]
}

// isBelow reports whether an asset lies, at any depth, in another.
func (m *moment) isBelow(a *Asset, top string) bool {
	for range 100 {
		if a.ParentID == top {
			return true
		}
		if a = m.asset(a.ParentID); a == nil {
			return false
		}
	}
	return false
}

// tagsOf returns an asset's tags in the order of its class. An asset without
// one has the tags that are or were bound.
func (m *moment) tagsOf(id string) []*Tag {
	if list, ok := m.tags[id]; ok {
		return list
	}
	a := m.asset(id)
	if a == nil {
		return nil
	}
	var defs []asset.TagDef
	n := m.p.structure.Node(id)
	if v, _, ok := m.classVersion(n.Class, n.ClassVersion); ok {
		defs = v.Tags
	} else {
		for _, name := range slices.Sorted(maps.Keys(n.Tags)) {
			if _, ok := n.Tags[name].At(m.t, m.known); ok {
				defs = append(defs, asset.TagDef{Name: name, DataType: asset.Float64})
			}
		}
	}
	list := make([]*Tag, len(defs))
	tags := make([]Tag, len(defs))
	for i, d := range defs {
		tags[i] = Tag{
			ID: asset.TagID(id, d.Name), AssetID: id, Name: d.Name, Path: a.Path + "/" + d.Name,
			Description: d.Description, Unit: d.Unit, DataType: d.DataType, EURange: d.EURange,
			InstrumentRange: d.InstrumentRange, ExpectedInterval: time.Duration(d.ExpectedIntervalMS) * time.Millisecond,
		}
		list[i] = &tags[i]
	}
	m.tags[id] = list
	return list
}

func (m *moment) tag(id string) *Tag {
	assetID, name, err := asset.ParseTagID(id)
	if err != nil {
		return nil
	}
	for _, t := range m.tagsOf(assetID) {
		if t.Name == name {
			return t
		}
	}
	return nil
}

// pointOf returns what feeds a tag; the zero point if nothing does.
func (m *moment) pointOf(n *asset.Node, tag string) asset.Point {
	if line := n.Tags[tag]; line != nil && n.Alive(m.t, m.known) {
		f, _ := line.At(m.t, m.known)
		return f.Value
	}
	return asset.Point{}
}

func (m *moment) bindings(tagID string) []Binding {
	assetID, name, err := asset.ParseTagID(tagID)
	if err != nil || m.asset(assetID) == nil {
		return nil
	}
	n := m.p.structure.Node(assetID)
	line := n.Tags[name]
	if line == nil {
		return nil
	}
	var list []Binding
	end, known, until := n.End(m.known), m.known, m.t
	switch planted.Bug {
	case planted.RetiredFed:
		end = asset.Forever
	case planted.BindingEarly:
		known = eventlog.End
	case planted.BindingAhead:
		until = asset.Forever
	default:
	}
	for sp := range line.Spans(n.Born, end, known) {
		if sp.Value == (asset.Point{}) || sp.From > until {
			continue
		}
		b := Binding{Point: telemetry.Point(sp.Value), From: instant(sp.From)}
		if sp.To != asset.Forever {
			b.To = instant(sp.To)
		}
		if k := len(list) - 1; k >= 0 && list[k].Point == b.Point && list[k].To.Equal(b.From) {
			list[k].To = b.To // told twice
			continue
		}
		list = append(list, b)
	}
	if planted.Bug == planted.ForgottenBinding && len(list) > 1 {
		return list[len(list)-1:]
	}
	return list
}

func (m *moment) class(name string, number int) *Class {
	c := m.p.classes[name]
	if c == nil {
		return nil
	}
	v, since, ok := m.classVersion(name, number)
	if !ok || number == 0 && since == -1<<63 { // none is in force
		return nil
	}
	known, _ := slices.BinarySearch(c.known, m.known+1)
	return &Class{
		Name: name, Version: v.Version, Description: v.Description, Tags: v.Tags, Nameplate: v.Nameplate,
		ValidFrom: v.Effective, Revision: eventlog.Revision(known - 1),
	}
}
