package asset

import (
	"encoding/json"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// Registered records that a role exists from Effective on.
type Registered struct {
	Asset        string          `json:"asset"`
	Class        string          `json:"class,omitempty"`
	ClassVersion int             `json:"classVersion,omitempty"` // 0: whichever is in force
	Effective    time.Time       `json:"effective"`
	Level        Level           `json:"level"`
	Name         string          `json:"name"`
	Nameplate    json.RawMessage `json:"nameplate,omitempty"` // a JSON object
	Parent       string          `json:"parent,omitempty"`    // "" for an enterprise
}

// Moved records that the asset lies in Parent from Effective on.
type Moved struct {
	Asset     string    `json:"asset"`
	Effective time.Time `json:"effective"`
	Parent    string    `json:"parent,omitempty"`
}

// Renamed records the asset's name from Effective on.
type Renamed struct {
	Asset     string    `json:"asset"`
	Effective time.Time `json:"effective"`
	Name      string    `json:"name"`
}

// Retired records that the role is not filled any more from Effective on.
type Retired struct {
	Asset     string    `json:"asset"`
	Effective time.Time `json:"effective"`
}

// Related records a directed relationship other than containment, from
// Effective on.
type Related struct {
	Effective time.Time `json:"effective"`
	From      string    `json:"from"`
	To        string    `json:"to"`
	Type      string    `json:"type"` // feeds, controls, measures, connectedTo, …
}

// Unrelated records that the relationship ends at Effective.
type Unrelated struct {
	Effective time.Time `json:"effective"`
	From      string    `json:"from"`
	To        string    `json:"to"`
	Type      string    `json:"type"`
}

// TagBound records that a device's signal feeds the asset's tag from Effective
// on, until the tag's next TagBound or TagUnbound in effective time.
type TagBound struct {
	Asset     string    `json:"asset"`
	Device    string    `json:"device"`
	Effective time.Time `json:"effective"`
	Signal    string    `json:"signal"` // as the device sends it
	Tag       string    `json:"tag"`    // the tag's name within the asset
}

// TagUnbound records that nothing feeds the tag from Effective on.
type TagUnbound struct {
	Asset     string    `json:"asset"`
	Effective time.Time `json:"effective"`
	Tag       string    `json:"tag"`
}

// NameplateUpdated records a change of static facts from Effective on. It
// stands in the asset's own stream.
type NameplateUpdated struct {
	Effective time.Time       `json:"effective"`
	Patch     json.RawMessage `json:"patch"` // JSON Merge Patch (RFC 7396), an object
}

// ClassDefined records a version of an asset class, in force from Effective on.
type ClassDefined struct {
	Class       string      `json:"class"`
	Description string      `json:"description,omitempty"`
	Effective   time.Time   `json:"effective"`
	Nameplate   []Attribute `json:"nameplate,omitempty"`
	Tags        []TagDef    `json:"tags"`
	Version     int         `json:"version"` // 1, 2, …
}

// TagDef is a tag that every asset of the class has.
type TagDef struct {
	DataType           DataType `json:"dataType"`
	Description        string   `json:"description,omitempty"`
	EURange            *Range   `json:"euRange,omitempty"`            // normal operation
	ExpectedIntervalMS int64    `json:"expectedIntervalMs,omitempty"` // 0: none
	InstrumentRange    *Range   `json:"instrumentRange,omitempty"`    // what the sensor can give
	Name               string   `json:"name"`
	Unit               string   `json:"unit,omitempty"` // UNECE Rec 20 common code
}

// Attribute is a fact that the nameplates of the class should have.
type Attribute struct {
	Description string `json:"description,omitempty"`
	Name        string `json:"name"`
	Required    bool   `json:"required,omitempty"`
	Unit        string `json:"unit,omitempty"` // UNECE Rec 20 common code
}

// DataType is the type of a tag's values.
type DataType string

// The data types.
const (
	Float64 DataType = "FLOAT64"
	Int64   DataType = "INT64"
	Bool    DataType = "BOOL"
	String  DataType = "STRING"
)

// Range is a closed interval in the tag's unit.
type Range struct {
	High float64 `json:"high"`
	Low  float64 `json:"low"`
}

// The event types, as they stand in the log.
const (
	TypeRegistered       = "asset.registered.v1"
	TypeMoved            = "asset.moved.v1"
	TypeRenamed          = "asset.renamed.v1"
	TypeRetired          = "asset.retired.v1"
	TypeRelated          = "asset.related.v1"
	TypeUnrelated        = "asset.unrelated.v1"
	TypeTagBound         = "tag.bound.v1"
	TypeTagUnbound       = "tag.unbound.v1"
	TypeNameplateUpdated = "nameplate.updated.v1"
	TypeClassDefined     = "assetclass.defined.v1"
)

// EventType implements eventlog.Event.
func (Registered) EventType() string { return TypeRegistered }

// EventType implements eventlog.Event.
func (Moved) EventType() string { return TypeMoved }

// EventType implements eventlog.Event.
func (Renamed) EventType() string { return TypeRenamed }

// EventType implements eventlog.Event.
func (Retired) EventType() string { return TypeRetired }

// EventType implements eventlog.Event.
func (Related) EventType() string { return TypeRelated }

// EventType implements eventlog.Event.
func (Unrelated) EventType() string { return TypeUnrelated }

// EventType implements eventlog.Event.
func (TagBound) EventType() string { return TypeTagBound }

// EventType implements eventlog.Event.
func (TagUnbound) EventType() string { return TypeTagUnbound }

// EventType implements eventlog.Event.
func (NameplateUpdated) EventType() string { return TypeNameplateUpdated }

// EventType implements eventlog.Event.
func (ClassDefined) EventType() string { return TypeClassDefined }

// EffectiveTime implements eventlog.Dated.
func (e Registered) EffectiveTime() time.Time { return e.Effective }

// EffectiveTime implements eventlog.Dated.
func (e Moved) EffectiveTime() time.Time { return e.Effective }

// EffectiveTime implements eventlog.Dated.
func (e Renamed) EffectiveTime() time.Time { return e.Effective }

// EffectiveTime implements eventlog.Dated.
func (e Retired) EffectiveTime() time.Time { return e.Effective }

// EffectiveTime implements eventlog.Dated.
func (e Related) EffectiveTime() time.Time { return e.Effective }

// EffectiveTime implements eventlog.Dated.
func (e Unrelated) EffectiveTime() time.Time { return e.Effective }

// EffectiveTime implements eventlog.Dated.
func (e TagBound) EffectiveTime() time.Time { return e.Effective }

// EffectiveTime implements eventlog.Dated.
func (e TagUnbound) EffectiveTime() time.Time { return e.Effective }

// EffectiveTime implements eventlog.Dated.
func (e NameplateUpdated) EffectiveTime() time.Time { return e.Effective }

// EffectiveTime implements eventlog.Dated.
func (e ClassDefined) EffectiveTime() time.Time { return e.Effective }

// StructureStream is the one stream in which containment, names, bindings and
// relationships of a log are decided, because their rules reach across assets.
func StructureStream(origin string) eventlog.StreamID { return eventlog.Stream("structure", origin) }

// Stream is the stream of what concerns one asset alone.
func Stream(asset string) eventlog.StreamID { return eventlog.Stream("asset", asset) }

// ClassStream is the stream of a class's versions.
func ClassStream(class string) eventlog.StreamID { return eventlog.Stream("class", class) }

// Decode reads an event of this package; nil without an error for another type.
func Decode(typ string, data []byte) (eventlog.Event, error) {
	switch typ {
	case TypeRegistered:
		return eventlog.DecodeJSON[Registered](data)
	case TypeMoved:
		return eventlog.DecodeJSON[Moved](data)
	case TypeRenamed:
		return eventlog.DecodeJSON[Renamed](data)
	case TypeRetired:
		return eventlog.DecodeJSON[Retired](data)
	case TypeRelated:
		return eventlog.DecodeJSON[Related](data)
	case TypeUnrelated:
		return eventlog.DecodeJSON[Unrelated](data)
	case TypeTagBound:
		return eventlog.DecodeJSON[TagBound](data)
	case TypeTagUnbound:
		return eventlog.DecodeJSON[TagUnbound](data)
	case TypeNameplateUpdated:
		return eventlog.DecodeJSON[NameplateUpdated](data)
	case TypeClassDefined:
		return eventlog.DecodeJSON[ClassDefined](data)
	}
	return nil, nil
}
