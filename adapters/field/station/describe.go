package station

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/twinlog/twinlog/domain/asset"
)

// Place is where all devices of the station stand, as in their topics:
// enterprise/site/area/line.
const Place = "acme/riverside/waterworks/line-1"

// Cell is the path of the work cell that holds the machines.
const Cell = Place + "/lifting-cell"

// The device types, the fifth level of a topic, and at once the classes.
const (
	pumpType  = "centrifugal_pump"
	tankType  = "tank"
	valveType = "control_valve"
)

func pumpName(i int) string { return fmt.Sprintf("P-10%d", i+1) }
func tankName(i int) string { return fmt.Sprintf("T-20%d", i+1) }

const valveName = "V-301"

// A Description is the plant as plain data, to be told to a server.
type Description struct {
	Classes  []asset.DefineClass // Effective is left to the caller
	Assets   []Asset             // parents before children
	Bindings []Binding
}

// An Asset is one node of the hierarchy.
type Asset struct {
	Path      string // names from the enterprise down, joined by /
	Level     asset.Level
	Class     string // "" for none
	Nameplate json.RawMessage
}

// Name is the last name of the path.
func (a Asset) Name() string { return a.Path[strings.LastIndexByte(a.Path, '/')+1:] }

// Parent is the path of the parent, "" for the enterprise.
func (a Asset) Parent() string { return a.Path[:max(0, strings.LastIndexByte(a.Path, '/'))] }

// A Binding says which signal of which device feeds a tag.
type Binding struct {
	Asset, Tag     string // path of the asset, name of the tag
	Device, Signal string
}

// Plant describes the station: enterprise, site, area, line, cell, and in it six
// pumps, two tanks and a valve.
func Plant() Description {
	d := Description{Classes: []asset.DefineClass{
		class(pumpType, "Centrifugal pump with its motor", pumpSignals),
		class(tankType, "Upright open tank", tankSignals),
		class(valveType, "Control valve with positioner", valveSignals),
	}}
	levels := []asset.Level{asset.Enterprise, asset.Site, asset.Area, asset.Line, asset.WorkCell}
	names := strings.Split(Cell, "/")
	for i, level := range levels {
		d.Assets = append(d.Assets, Asset{Path: strings.Join(names[:i+1], "/"), Level: level})
	}
	for i := range 6 {
		d.machine(pumpName(i), pumpType, pumpSignals, map[string]any{
			"manufacturer": "Hydra", "model": "HX 80-200", "serialNumber": fmt.Sprintf("HX-2207-%04d", 1180+i),
			"ratedFlow": ratedFlow, "ratedSpeed": ratedSpeed, "ratedCurrent": ratedCurrent,
		})
	}
	for i := range 2 {
		d.machine(tankName(i), tankType, tankSignals, map[string]any{
			"manufacturer": "Nordstahl", "serialNumber": fmt.Sprintf("NS-%d", 40110+i), "height": tankHeight,
		})
	}
	d.machine(valveName, valveType, valveSignals, map[string]any{
		"manufacturer": "Regla", "model": "RV 250", "serialNumber": "RV-99-0417",
	})
	return d
}

func (d *Description) machine(name, class string, signals []signal, nameplate map[string]any) {
	plate, err := json.Marshal(nameplate)
	if err != nil {
		panic(err) // texts and finite numbers
	}
	a := Asset{Path: Cell + "/" + name, Level: asset.Equipment, Class: class, Nameplate: plate}
	d.Assets = append(d.Assets, a)
	for _, s := range signals {
		d.Bindings = append(d.Bindings, Binding{Asset: a.Path, Tag: s.name, Device: name, Signal: s.name})
	}
}

func class(name, description string, signals []signal) asset.DefineClass {
	c := asset.DefineClass{Class: name, Description: description}
	for _, s := range signals {
		tag := asset.TagDef{
			Name: s.name, Description: s.description, DataType: s.kind, Unit: s.unit, ExpectedIntervalMS: publishEvery.Milliseconds(),
			EURange: &asset.Range{Low: s.low, High: s.high}, InstrumentRange: &asset.Range{Low: s.least, High: s.most},
		}
		if s.kind == asset.Bool {
			tag.EURange, tag.InstrumentRange = nil, nil
		}
		c.Tags = append(c.Tags, tag)
	}
	return c
}
