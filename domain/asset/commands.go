package asset

import (
	"encoding/json"
	"time"
)

// Command is what can be asked of the structure. Effective may lie in the past
// or the future and must be set: the caller has the clock.
type Command interface {
	about() string // the asset whose revision it is decided against
	effective() time.Time
}

// Register makes a new asset. Service.Register makes its id.
type Register struct {
	Asset        string
	Name         string // one segment of the path, unique among its siblings
	Level        Level
	Parent       string // "" for an enterprise only
	Class        string // "" for none
	ClassVersion int    // 0: whichever version is in force
	Nameplate    json.RawMessage
	Effective    time.Time
}

// Move puts an asset, with everything below it, into another parent.
type Move struct {
	Asset, Parent string
	Effective     time.Time
}

// Rename gives an asset another name.
type Rename struct {
	Asset, Name string
	Effective   time.Time
}

// Retire takes an asset out of its role. It stays askable.
type Retire struct {
	Asset     string
	Effective time.Time
}

// Relate begins a relationship other than containment.
type Relate struct {
	From, Type, To string
	Effective      time.Time
}

// Unrelate ends one.
type Unrelate struct {
	From, Type, To string
	Effective      time.Time
}

// BindTag says which device signal feeds a tag of an asset, from when.
type BindTag struct {
	Asset, Tag     string // the tag by its name within the asset; see ParseTagID
	Device, Signal string
	Effective      time.Time
}

// UnbindTag says that nothing feeds the tag any more.
type UnbindTag struct {
	Asset, Tag string
	Effective  time.Time
}

func (c Register) about() string  { return c.Asset }
func (c Move) about() string      { return c.Asset }
func (c Rename) about() string    { return c.Asset }
func (c Retire) about() string    { return c.Asset }
func (c Relate) about() string    { return c.From }
func (c Unrelate) about() string  { return c.From }
func (c BindTag) about() string   { return c.Asset }
func (c UnbindTag) about() string { return c.Asset }

func (c Register) effective() time.Time  { return c.Effective }
func (c Move) effective() time.Time      { return c.Effective }
func (c Rename) effective() time.Time    { return c.Effective }
func (c Retire) effective() time.Time    { return c.Effective }
func (c Relate) effective() time.Time    { return c.Effective }
func (c Unrelate) effective() time.Time  { return c.Effective }
func (c BindTag) effective() time.Time   { return c.Effective }
func (c UnbindTag) effective() time.Time { return c.Effective }

// UpdateNameplate changes static facts of an asset.
type UpdateNameplate struct {
	Asset     string
	Patch     json.RawMessage // JSON Merge Patch (RFC 7396), an object
	Effective time.Time
}

// DefineClass adds a version to a class, or makes the class.
type DefineClass struct {
	Class       string
	Description string
	Tags        []TagDef
	Nameplate   []Attribute
	Effective   time.Time
}
