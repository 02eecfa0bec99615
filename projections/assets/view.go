package assets

import (
	"context"

	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/projections"
)

// View answers from the hierarchy. Its methods may be used concurrently. All
// getters of several ids answer in the order of the ids.
type View struct{ p *Projection }

// ByIDs returns the assets, retired ones too; nil where none was known.
func (v *View) ByIDs(ctx context.Context, ids []string, c projections.Cut) ([]*Asset, error) {
	panic("soon")
}

// ByPath returns the asset at a path, or nil. Retired ones have no path.
func (v *View) ByPath(ctx context.Context, path string, c projections.Cut) (*Asset, error) {
	panic("soon")
}

// Children returns the assets directly below each parent, by name, retired ones
// left out. "" asks for the assets at the top.
func (v *View) Children(ctx context.Context, parents []string, c projections.Cut) ([][]*Asset, error) {
	panic("soon")
}

// Ancestors returns the assets above each, from the top down to the parent.
func (v *View) Ancestors(ctx context.Context, ids []string, c projections.Cut) ([][]*Asset, error) {
	panic("soon")
}

// List returns assets in the order of their paths, the first after the one
// whose Cursor is after ("": from the start), and whether there are more.
func (v *View) List(ctx context.Context, f Filter, c projections.Cut, after string, first int) ([]*Asset, bool, error) {
	panic("soon")
}

// Cursor says where the asset stands in List.
func (a *Asset) Cursor() string { return a.Path + "\x00" + a.ID }

// Tags returns the tags of each asset, in the order of its class.
func (v *View) Tags(ctx context.Context, assetIDs []string, c projections.Cut) ([][]*Tag, error) {
	panic("soon")
}

// TagsByID returns the tags; nil where none was known.
func (v *View) TagsByID(ctx context.Context, ids []string, c projections.Cut) ([]*Tag, error) {
	panic("soon")
}

// TagByPath returns the tag at the path of its asset, a slash, and its name; or nil.
func (v *View) TagByPath(ctx context.Context, path string, c projections.Cut) (*Tag, error) {
	panic("soon")
}

// ListTags returns tags in the order of their assets' paths, the first after
// the one whose Cursor is after ("": from the start), and whether there are more.
func (v *View) ListTags(ctx context.Context, f TagFilter, c projections.Cut, after string, first int) ([]*Tag, bool, error) {
	panic("soon")
}

// Cursor says where the tag stands in ListTags.
func (t *Tag) Cursor() string {
	return t.Path[:len(t.Path)-len(t.Name)-1] + "\x00" + t.AssetID + "\x00" + t.Name
}

// Bindings returns the spans in which points feed each tag, in order, as far
// as they begin at or before the cut. They end where the asset is retired.
func (v *View) Bindings(ctx context.Context, tagIDs []string, c projections.Cut) ([][]Binding, error) {
	panic("soon")
}

// TagsByPoint returns the tags that each point feeds at the cut.
func (v *View) TagsByPoint(ctx context.Context, points []telemetry.Point, c projections.Cut) ([][]*Tag, error) {
	panic("soon")
}

// ByDevice returns the assets that have a tag fed by each device at the cut.
func (v *View) ByDevice(ctx context.Context, devices []string, c projections.Cut) ([][]*Asset, error) {
	panic("soon")
}

// Devices returns the devices that feed a tag of each asset at the cut.
func (v *View) Devices(ctx context.Context, assetIDs []string, c projections.Cut) ([][]string, error) {
	panic("soon")
}

// Relations returns what each asset is related to, by type and other end.
func (v *View) Relations(ctx context.Context, ids []string, dir Direction, c projections.Cut) ([][]Relation, error) {
	panic("soon")
}

// Classes returns the version of each class that is in force; nil where none is.
func (v *View) Classes(ctx context.Context, names []string, c projections.Cut) ([]*Class, error) {
	panic("soon")
}

// ClassVersions returns the given version of each class, whether in force or
// not; nil where it was not known.
func (v *View) ClassVersions(ctx context.Context, refs []ClassRef, c projections.Cut) ([]*Class, error) {
	panic("soon")
}

// ClassRef names a version of a class; version 0 is the one in force.
type ClassRef struct {
	Name    string
	Version int
}

// ListClasses returns the classes in force by name, the first after the named
// one ("": from the start), and whether there are more.
func (v *View) ListClasses(ctx context.Context, c projections.Cut, after string, first int) ([]*Class, bool, error) {
	panic("soon")
}

// Reads counts store reads made for queries: none, whatever is asked, because
// the facts that people tell fit into memory, all their past included.
func (v *View) Reads() uint64 { return 0 }
