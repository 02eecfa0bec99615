package assets

import (
	"encoding/json"
	"time"

	"github.com/twinlog/twinlog/domain/asset"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// Asset is a role of the plant as it is at a cut. Rows are shared between
// readers: do not change them.
type Asset struct {
	ID           string
	Name         string
	Path         string // enterprise/site/area/… by name
	Level        asset.Level
	ClassName    string          // "" for none
	ClassVersion int             // in force at the cut; 0 if none is
	Nameplate    json.RawMessage // nil for none
	ParentID     string          // "" at the top
	// Revision counts the facts about the asset that are known at the cut, its
	// own and those of its nameplate, tags and outgoing relationships, from 0.
	Revision  eventlog.Revision
	ValidFrom time.Time // since when it is as shown: name, parent, nameplate, class version
	Retired   bool
}

// Tag is one measured quantity of an asset, as it is at a cut.
type Tag struct {
	ID      string // asset.TagID of the two below
	AssetID string
	Name    string
	Path    string // the asset's path, a slash, the name
	// The definition is the class's; a tag that is bound without one is FLOAT64
	// without unit or ranges.
	Description      string
	Unit             string // UNECE Rec 20 common code, "" if none
	DataType         asset.DataType
	EURange          *asset.Range
	InstrumentRange  *asset.Range
	ExpectedInterval time.Duration // 0 if none
}

// Binding is a span of effective time in which a point feeds a tag.
type Binding struct {
	Point telemetry.Point
	From  time.Time
	To    time.Time // zero: still
}

// Class is a version of an asset class.
type Class struct {
	Name        string
	Version     int
	Description string
	Tags        []asset.TagDef
	Nameplate   []asset.Attribute
	ValidFrom   time.Time
	Revision    eventlog.Revision // of the class's stream, as known at the cut
}

// Relation is a relationship between two assets that holds at a cut.
type Relation struct {
	Type, From, To string // From and To are asset ids
	Since          time.Time
}

// Direction says which end of a relation the asset is.
type Direction uint8

// The directions.
const (
	Out Direction = iota // the asset points to another
	In                   // another points to the asset
)

// Filter chooses assets; conditions add up, and the zero Filter passes all that
// are not retired.
type Filter struct {
	Level        asset.Level
	Class        string
	Under        string // only what lies below this asset
	NameContains string // upper and lower case alike
	Retired      bool   // retired ones as well
}

// TagFilter chooses tags; conditions add up, and the zero TagFilter passes all
// tags of assets that are not retired.
type TagFilter struct {
	Under string // only of this asset and of what lies below it
	Names []string
	Class string // of the asset
	Unit  string
}
