package plant

import (
	"time"

	"github.com/twinlog/twinlog/domain/asset"
	"github.com/twinlog/twinlog/projections/assets"
)

// AssetClass is a version of an asset class.
type AssetClass struct{ *assets.Class }

// Description is nil where there is none.
func (c *AssetClass) Description() *string { return optional(c.Class.Description) }

// Tags are what every asset of the class has.
func (c *AssetClass) Tags() []TagDefinition {
	tags := make([]TagDefinition, len(c.Class.Tags))
	for i, t := range c.Class.Tags {
		tags[i] = TagDefinition{t}
	}
	return tags
}

// Nameplate is what the nameplates of its assets should have.
func (c *AssetClass) Nameplate() []NameplateAttribute {
	list := make([]NameplateAttribute, len(c.Class.Nameplate))
	for i, a := range c.Class.Nameplate {
		list[i] = NameplateAttribute{a}
	}
	return list
}

// TagDefinition is a tag that every asset of a class has.
type TagDefinition struct{ asset.TagDef }

// Description is nil where there is none.
func (t TagDefinition) Description() *string { return optional(t.TagDef.Description) }

// Unit is nil where there is none.
func (t TagDefinition) Unit() *Unit { return unit(t.TagDef.Unit) }

// ExpectedInterval is nil where there is none.
func (t TagDefinition) ExpectedInterval() *time.Duration {
	return optional(time.Duration(t.ExpectedIntervalMS) * time.Millisecond)
}

// NameplateAttribute is a fact that a nameplate should have.
type NameplateAttribute struct{ asset.Attribute }

// Description is nil where there is none.
func (a NameplateAttribute) Description() *string { return optional(a.Attribute.Description) }

// Unit is nil where there is none.
func (a NameplateAttribute) Unit() *string { return optional(a.Attribute.Unit) }

// Unit is a unit of measure.
type Unit struct{ Code string }

func unit(code string) *Unit {
	if code == "" {
		return nil
	}
	return &Unit{code}
}

// AssetClassConnection is a page of classes.
type AssetClassConnection struct {
	Edges    []AssetClassEdge
	PageInfo *PageInfo
}

// AssetClassEdge is a class and where it stands.
type AssetClassEdge struct {
	Cursor string
	Node   *AssetClass
}

// Nodes are the page's classes.
func (c *AssetClassConnection) Nodes() []*AssetClass {
	nodes := make([]*AssetClass, len(c.Edges))
	for i, e := range c.Edges {
		nodes[i] = e.Node
	}
	return nodes
}
