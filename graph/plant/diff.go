package plant

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twinlog/twinlog/graph/fault"
	"github.com/twinlog/twinlog/graph/scalar"
	"github.com/twinlog/twinlog/projections/assets"
)

// diffChunk is how many assets are compared at once: their tags are read together.
const diffChunk = 100

// Difference is one thing that is not the same at two moments.
type Difference struct {
	Asset         *Asset
	Tag           *Tag
	Field         string
	Before, After json.RawMessage
}

// DiffConnection is a page of differences.
type DiffConnection struct {
	Edges    []DiffEdge
	PageInfo *PageInfo
	Since    *ResolvedMoment
}

// DiffEdge is a difference and where it stands.
type DiffEdge struct {
	Cursor string
	Node   *Difference
}

// Nodes are the page's differences.
func (c *DiffConnection) Nodes() []*Difference {
	nodes := make([]*Difference, len(c.Edges))
	for i, e := range c.Edges {
		nodes[i] = e.Node
	}
	return nodes
}

// Diff lists what is not the same as at another moment.
func (p *Plant) Diff(ctx context.Context, since Moment, first *int, after *string) (*DiffConnection, error) {
	pg, err := p.scope.page(first, after, maxPage, "diff", describe(since))
	if err != nil {
		return nil, err
	}
	d := &differ{now: pg.scope}
	if d.then, err = pg.scope.other(ctx, since); err != nil {
		return nil, err
	}
	c := &DiffConnection{Edges: []DiffEdge{}}
	if c.Since, err = (&Plant{d.then}).Moment(ctx); err != nil {
		return nil, err
	}
	order, err := d.order(ctx)
	if err != nil {
		return nil, err
	}
	// A key is the asset and how many of its differences have been seen.
	skip, from := 0, 0
	if pg.after != "" {
		id, n, _ := strings.Cut(pg.after, "\x00")
		if skip, err = strconv.Atoi(n); err != nil {
			return nil, fault.Bad("after", *after, "a cursor of this list")
		}
		from = slices.IndexFunc(order, func(o pair) bool { return o.id() == id })
		if from < 0 {
			return nil, fault.Bad("after", *after, "a cursor of this list")
		}
	}
	var cursors []string
	for ; from < len(order); from += diffChunk {
		found, err := d.chunk(ctx, order[from:min(from+diffChunk, len(order))])
		if err != nil {
			return nil, err
		}
		for _, x := range found {
			for i, diff := range x.differences {
				if skip > 0 {
					skip--
					continue
				}
				if len(c.Edges) == pg.first {
					c.PageInfo = pg.info(cursors, true)
					return c, spend(ctx, len(c.Edges))
				}
				cursors = append(cursors, pg.cursor(x.id()+"\x00"+strconv.Itoa(i+1)))
				c.Edges = append(c.Edges, DiffEdge{cursors[len(cursors)-1], diff})
			}
			skip = 0
		}
	}
	c.PageInfo = pg.info(cursors, false)
	return c, spend(ctx, len(c.Edges))
}

func describe(m Moment) string {
	s := fmt.Sprint(value(m.AsOf).UnixNano())
	if k := m.Known; k != nil {
		s += fmt.Sprint(" ", value(k.At), " ", value(k.Time).UnixNano())
	}
	return s
}

// other is another moment, with this one's clocks where it leaves one out.
func (s *scope) other(ctx context.Context, m Moment) (*scope, error) {
	o, err := s.r.resolve(ctx, &m, standardWait)
	if err != nil {
		return nil, err
	}
	o.pinned = true
	if m.Known == nil {
		o.cut.Known, o.cut.Now = s.cut.Known, s.cut.Now
	}
	if m.AsOf == nil && o.cut.AsOf.IsZero() {
		o.cut.AsOf = s.cut.AsOf
	}
	return o, nil
}

// differ compares two moments.
type differ struct{ now, then *scope }

// pair is an asset at both; nil where it is not there.
type pair struct{ now, then *assets.Asset }

func (p pair) row() *assets.Asset { return cmp.Or(p.now, p.then) }
func (p pair) id() string         { return p.row().ID }

type compared struct {
	pair
	differences []*Difference
}

// order is all assets of both moments, in the order of paths.
func (d *differ) order(ctx context.Context) ([]pair, error) {
	byID := map[string]*pair{}
	for _, s := range []*scope{d.now, d.then} {
		rows, _, err := s.r.Assets.List(ctx, assets.Filter{Retired: true}, s.cut, "", 1<<30)
		if err != nil {
			return nil, err
		}
		for _, a := range rows {
			p := byID[a.ID]
			if p == nil {
				p = &pair{}
				byID[a.ID] = p
			}
			if s == d.now {
				p.now = a
			} else {
				p.then = a
			}
		}
	}
	list := make([]pair, 0, len(byID))
	for _, p := range byID {
		list = append(list, *p)
	}
	slices.SortFunc(list, func(a, b pair) int {
		return cmp.Or(cmp.Compare(a.row().Path, b.row().Path), cmp.Compare(a.id(), b.id()))
	})
	return list, nil
}

// chunk compares some assets and their tags.
func (d *differ) chunk(ctx context.Context, list []pair) ([]compared, error) {
	ids := make([]string, len(list))
	for i, p := range list {
		ids[i] = p.id()
	}
	now, err := d.side(ctx, d.now, ids)
	if err != nil {
		return nil, err
	}
	then, err := d.side(ctx, d.then, ids)
	if err != nil {
		return nil, err
	}
	out := make([]compared, len(list))
	for i, p := range list {
		out[i].pair = p
		x := &out[i]
		holder := now.assets[i]
		if holder == nil {
			holder = then.assets[i]
		}
		add := func(tag *Tag, field string, before, after json.RawMessage) {
			if !bytes.Equal(before, after) {
				x.differences = append(x.differences, &Difference{Asset: holder, Tag: tag, Field: field, Before: before, After: after})
			}
		}
		d.asset(p, add)
		for _, name := range tagNames(now.tags[i], then.tags[i]) {
			a, b := now.of(i, name), then.of(i, name)
			shown := a.tag
			if shown == nil {
				shown = b.tag
			}
			add(shown, "exists", said(b.tag != nil), said(a.tag != nil))
			add(shown, "bindings", b.bindings, a.bindings)
			add(shown, "value", b.value, a.value)
		}
	}
	return out, nil
}

func (d *differ) asset(p pair, add func(*Tag, string, json.RawMessage, json.RawMessage)) {
	add(nil, "exists", said(p.then != nil), said(p.now != nil))
	if p.now == nil || p.then == nil {
		return
	}
	a, b := p.now, p.then
	parent := func(id string, s *scope) any {
		if id == "" {
			return nil
		}
		return s.r.global(AssetID, id)
	}
	add(nil, "name", said(b.Name), said(a.Name))
	add(nil, "parent", said(parent(b.ParentID, d.then)), said(parent(a.ParentID, d.now)))
	add(nil, "retired", said(b.Retired), said(a.Retired))
	add(nil, "class", said(b.ClassName), said(a.ClassName))
	add(nil, "classVersion", said(b.ClassVersion), said(a.ClassVersion))
	add(nil, "nameplate", plate(b), plate(a))
}

func plate(a *assets.Asset) json.RawMessage {
	if a.Nameplate == nil {
		return said(nil)
	}
	return a.Nameplate
}

// said is a value in JSON; it is only given what has a JSON form.
func said(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		return json.RawMessage("null")
	}
	return b
}

// sideTag is a tag at one moment.
type sideTag struct {
	tag             *Tag
	bindings, value json.RawMessage
}

type side struct {
	assets []*Asset
	tags   []map[string]sideTag // by name
}

// of is a tag; where it is not there, one that nothing feeds and that has no value.
func (s *side) of(i int, name string) sideTag {
	if t, ok := s.tags[i][name]; ok {
		return t
	}
	return sideTag{nil, json.RawMessage("[]"), json.RawMessage("null")}
}

func tagNames(a, b map[string]sideTag) []string {
	var names []string
	for name := range a {
		names = append(names, name)
	}
	for name := range b {
		if _, ok := a[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// side reads the assets and their tags at one moment.
func (d *differ) side(ctx context.Context, s *scope, ids []string) (*side, error) {
	found, err := s.assetsOnce(ctx, ids)
	if err != nil {
		return nil, err
	}
	lists, err := s.r.Assets.Tags(ctx, ids, s.cut)
	if err != nil {
		return nil, err
	}
	var rows []*assets.Tag
	for _, list := range lists {
		rows = append(rows, list...)
	}
	tags := s.tags(rows)
	readings, err := s.readings(ctx, tags)
	if err != nil {
		return nil, err
	}
	spans, err := s.r.Assets.Bindings(ctx, tagIDs(tags), s.cut)
	if err != nil {
		return nil, err
	}
	out, k := &side{assets: found, tags: make([]map[string]sideTag, len(ids))}, 0
	for i, list := range lists {
		out.tags[i] = map[string]sideTag{}
		for _, t := range list {
			out.tags[i][t.Name] = sideTag{tags[k], boundBy(spans[k]), readings[k].json()}
			k++
		}
	}
	return out, nil
}

func boundBy(spans []assets.Binding) json.RawMessage {
	type binding struct {
		Device string     `json:"device"`
		Signal string     `json:"signal"`
		From   time.Time  `json:"from"`
		To     *time.Time `json:"to"`
	}
	list := make([]binding, len(spans))
	for i, b := range spans {
		list[i] = binding{b.Point.Device, b.Point.Signal, b.From, optional(b.To)}
	}
	return said(list)
}

func (r reading) json() json.RawMessage {
	if !r.ok {
		return said(nil)
	}
	return said(struct {
		Value      json.RawMessage `json:"value"`
		Status     QualityStatus   `json:"status"`
		StatusCode string          `json:"statusCode"`
		SourceTime time.Time       `json:"sourceTime"`
	}{scalar.AppendValue(nil, r.value), StatusOf(r.quality.Code), fmt.Sprintf("0x%08X", uint32(r.quality.Code)), r.sourceTime})
}
