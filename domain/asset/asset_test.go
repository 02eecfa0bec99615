package asset_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/twinlog/twinlog/domain/asset"
	"github.com/twinlog/twinlog/domain/eventlog"
)

func site(id, name, parent string, level asset.Level, at int) asset.Registered {
	return asset.Registered{Asset: id, Name: name, Parent: parent, Level: level, Effective: second(at)}
}

// plant is an enterprise with a site of two areas; a pump with a seal lies in
// the first, and both areas have a line called "one".
var plant = []eventlog.Event{
	site("E", "acme", "", asset.Enterprise, 0),
	site("S", "detroit", "E", asset.Site, 0),
	site("A1", "inlet", "S", asset.Area, 0),
	site("A2", "outlet", "S", asset.Area, 10),
	site("L1", "one", "A1", asset.Line, 0),
	site("L2", "one", "A2", asset.Line, 10),
	site("P", "pump", "L1", asset.Equipment, 0),
	site("C1", "seal", "P", asset.Component, 0),
	site("C2", "ring", "C1", asset.Component, 0),
}

var classes = asset.Classes{"pump": {Versions: []asset.ClassDefined{
	{Class: "pump", Version: 1, Tags: []asset.TagDef{{Name: "speed", DataType: asset.Float64}}},
	{Class: "pump", Version: 2, Tags: []asset.TagDef{{Name: "speed", DataType: asset.Float64}, {Name: "flow", DataType: asset.Float64}}},
}}}

func TestStructureRules(t *testing.T) {
	rev := func(n uint64) *eventlog.Revision { r := eventlog.Revision(n); return &r }
	for _, c := range []struct {
		name       string
		given      []eventlog.Event
		when       asset.Command
		ifRevision *eventlog.Revision
		nameplates uint64
		then       []eventlog.Event
		err        error
	}{
		{
			name: "an asset is registered below its parent",
			when: asset.Register{Asset: "P2", Name: "pump 2", Parent: "L1", Level: asset.Equipment, Effective: second(5)},
			then: []eventlog.Event{site("P2", "pump 2", "L1", asset.Equipment, 5)},
		},
		{
			name: "levels may be left out",
			when: asset.Register{Asset: "P2", Name: "pump", Parent: "S", Level: asset.Equipment, Effective: second(5)},
			then: []eventlog.Event{site("P2", "pump", "S", asset.Equipment, 5)},
		},
		{
			name: "only an enterprise is at the top",
			when: asset.Register{Asset: "X", Name: "x", Level: asset.Site, Effective: second(5)},
			err:  asset.ErrLevel,
		},
		{
			name: "a child is at a lower level than its parent",
			when: asset.Register{Asset: "X", Name: "x", Parent: "L1", Level: asset.Area, Effective: second(5)},
			err:  asset.ErrLevel,
		},
		{
			name: "the same level is not lower",
			when: asset.Register{Asset: "X", Name: "x", Parent: "L1", Level: asset.Line, Effective: second(5)},
			err:  asset.ErrLevel,
		},
		{
			name: "a component may lie in a component",
			when: asset.Register{Asset: "X", Name: "x", Parent: "C2", Level: asset.Component, Effective: second(5)},
			then: []eventlog.Event{site("X", "x", "C2", asset.Component, 5)},
		},
		{
			name: "a level is one of the seven",
			when: asset.Register{Asset: "X", Name: "x", Parent: "S", Level: "PLANT", Effective: second(5)},
			err:  asset.ErrLevel,
		},
		{
			name: "a name has no slash",
			when: asset.Register{Asset: "X", Name: "a/b", Parent: "S", Level: asset.Area, Effective: second(5)},
			err:  asset.ErrBadName,
		},
		{
			name: "an effective time is given",
			when: asset.Register{Asset: "X", Name: "x", Parent: "S", Level: asset.Area},
			err:  asset.ErrBadTime,
		},
		{
			name: "the parent is there from the first instant",
			when: asset.Register{Asset: "X", Name: "x", Parent: "A2", Level: asset.Line, Effective: second(9)},
			err:  asset.ErrNotThen,
		},
		{
			name: "siblings have different names",
			when: asset.Register{Asset: "X", Name: "inlet", Parent: "S", Level: asset.Area, Effective: second(50)},
			err:  asset.ErrDuplicate,
		},
		{
			name: "a name that a later sibling will have is taken",
			when: asset.Register{Asset: "X", Name: "outlet", Parent: "S", Level: asset.Area, Effective: second(3)},
			err:  asset.ErrDuplicate,
		},
		{
			name:  "a name is free again after its bearer's retirement",
			given: []eventlog.Event{asset.Retired{Asset: "C2", Effective: second(20)}},
			when:  asset.Register{Asset: "X", Name: "ring", Parent: "C1", Level: asset.Component, Effective: second(20)},
			then:  []eventlog.Event{site("X", "ring", "C1", asset.Component, 20)},
		},
		{
			name: "a class that nobody defined",
			when: asset.Register{Asset: "X", Name: "x", Parent: "L1", Level: asset.Equipment, Class: "valve", Effective: second(5)},
			err:  asset.ErrNoClass,
		},
		{
			name: "a class version that nobody defined",
			when: asset.Register{Asset: "X", Name: "x", Parent: "L1", Level: asset.Equipment, Class: "pump", ClassVersion: 3, Effective: second(5)},
			err:  asset.ErrNoClass,
		},
		{
			name: "a move",
			when: asset.Move{Asset: "P", Parent: "L2", Effective: second(12)},
			then: []eventlog.Event{asset.Moved{Asset: "P", Parent: "L2", Effective: second(12)}},
		},
		{
			name: "a move to where it is already",
			when: asset.Move{Asset: "P", Parent: "L1", Effective: second(12)},
		},
		{
			name: "a backdated move to what was not there yet",
			when: asset.Move{Asset: "P", Parent: "L2", Effective: second(5)},
			err:  asset.ErrNotThen,
		},
		{
			name: "a move below itself",
			when: asset.Move{Asset: "C1", Parent: "C2", Effective: second(5)},
			err:  asset.ErrCycle,
		},
		{
			name: "a move into itself",
			when: asset.Move{Asset: "C1", Parent: "C1", Effective: second(5)},
			err:  asset.ErrCycle,
		},
		{
			name:  "a cycle in a planned future",
			given: []eventlog.Event{asset.Moved{Asset: "C2", Parent: "P", Effective: second(10)}, asset.Moved{Asset: "C2", Parent: "C1", Effective: second(20)}},
			when:  asset.Move{Asset: "C1", Parent: "C2", Effective: second(15)},
			err:   asset.ErrCycle,
		},
		{
			name: "no cycle where a planned move ends it in time",
			given: []eventlog.Event{
				asset.Moved{Asset: "C2", Parent: "P", Effective: second(10)},
				asset.Moved{Asset: "C2", Parent: "C1", Effective: second(20)},
				asset.Moved{Asset: "C1", Parent: "L1", Effective: second(18)},
			},
			when: asset.Move{Asset: "C1", Parent: "C2", Effective: second(15)},
			then: []eventlog.Event{asset.Moved{Asset: "C1", Parent: "C2", Effective: second(15)}},
		},
		{
			name: "a move onto a taken name",
			when: asset.Move{Asset: "L1", Parent: "A2", Effective: second(12)},
			err:  asset.ErrDuplicate,
		},
		{
			name:  "a move onto a name that was free at the time",
			given: []eventlog.Event{asset.Renamed{Asset: "L2", Name: "two", Effective: second(11)}},
			when:  asset.Move{Asset: "L1", Parent: "A2", Effective: second(12)},
			then:  []eventlog.Event{asset.Moved{Asset: "L1", Parent: "A2", Effective: second(12)}},
		},
		{
			name: "a rename",
			when: asset.Rename{Asset: "A1", Name: "intake", Effective: second(7)},
			then: []eventlog.Event{asset.Renamed{Asset: "A1", Name: "intake", Effective: second(7)}},
		},
		{
			name: "a rename to a sibling's name",
			when: asset.Rename{Asset: "A1", Name: "outlet", Effective: second(7)},
			err:  asset.ErrDuplicate,
		},
		{
			name: "a rename before the asset existed",
			when: asset.Rename{Asset: "A2", Name: "x", Effective: second(7)},
			err:  asset.ErrNotThen,
		},
		{
			name: "nobody renames what is not there",
			when: asset.Rename{Asset: "nobody", Name: "x", Effective: second(7)},
			err:  asset.ErrNoAsset,
		},
		{
			name: "a retirement",
			when: asset.Retire{Asset: "C2", Effective: second(7)},
			then: []eventlog.Event{asset.Retired{Asset: "C2", Effective: second(7)}},
		},
		{
			name: "what has children is not retired",
			when: asset.Retire{Asset: "C1", Effective: second(7)},
			err:  asset.ErrHasChildren,
		},
		{
			name:  "what will have children is not retired",
			given: []eventlog.Event{asset.Retired{Asset: "C2", Effective: second(7)}, site("C3", "new", "C1", asset.Component, 30)},
			when:  asset.Retire{Asset: "C1", Effective: second(7)},
			err:   asset.ErrHasChildren,
		},
		{
			name:  "nothing happens to a retired asset",
			given: []eventlog.Event{asset.Retired{Asset: "C2", Effective: second(7)}},
			when:  asset.Rename{Asset: "C2", Name: "x", Effective: second(8)},
			err:   asset.ErrNotThen,
		},
		{
			name:  "but something can have happened before",
			given: []eventlog.Event{asset.Retired{Asset: "C2", Effective: second(7)}},
			when:  asset.Rename{Asset: "C2", Name: "x", Effective: second(6)},
			then:  []eventlog.Event{asset.Renamed{Asset: "C2", Name: "x", Effective: second(6)}},
		},
		{
			name: "a relationship",
			when: asset.Relate{From: "P", Type: "feeds", To: "L2", Effective: second(12)},
			then: []eventlog.Event{asset.Related{From: "P", Type: "feeds", To: "L2", Effective: second(12)}},
		},
		{
			name: "a relationship to what is not there yet",
			when: asset.Relate{From: "P", Type: "feeds", To: "L2", Effective: second(5)},
			err:  asset.ErrNotThen,
		},
		{
			name:  "a relationship that holds already",
			given: []eventlog.Event{asset.Related{From: "P", Type: "feeds", To: "S", Effective: second(1)}},
			when:  asset.Relate{From: "P", Type: "feeds", To: "S", Effective: second(12)},
		},
		{
			name:  "the end of a relationship",
			given: []eventlog.Event{asset.Related{From: "P", Type: "feeds", To: "S", Effective: second(1)}},
			when:  asset.Unrelate{From: "P", Type: "feeds", To: "S", Effective: second(12)},
			then:  []eventlog.Event{asset.Unrelated{From: "P", Type: "feeds", To: "S", Effective: second(12)}},
		},
		{
			name: "an asset without a class takes any tag",
			when: asset.BindTag{Asset: "P", Tag: "temp", Device: "D", Signal: "t", Effective: second(3)},
			then: []eventlog.Event{asset.TagBound{Asset: "P", Tag: "temp", Device: "D", Signal: "t", Effective: second(3)}},
		},
		{
			name:  "bound to that already",
			given: []eventlog.Event{asset.TagBound{Asset: "P", Tag: "temp", Device: "D", Signal: "t", Effective: second(3)}},
			when:  asset.BindTag{Asset: "P", Tag: "temp", Device: "D", Signal: "t", Effective: second(4)},
		},
		{
			name:  "a tag that the class has",
			given: []eventlog.Event{asset.Registered{Asset: "Q", Name: "q", Parent: "L1", Level: asset.Equipment, Class: "pump", Effective: second(1)}},
			when:  asset.BindTag{Asset: "Q", Tag: "flow", Device: "D", Signal: "f", Effective: second(3)},
			then:  []eventlog.Event{asset.TagBound{Asset: "Q", Tag: "flow", Device: "D", Signal: "f", Effective: second(3)}},
		},
		{
			name:  "a tag that the asset's class version has not",
			given: []eventlog.Event{asset.Registered{Asset: "Q", Name: "q", Parent: "L1", Level: asset.Equipment, Class: "pump", ClassVersion: 1, Effective: second(1)}},
			when:  asset.BindTag{Asset: "Q", Tag: "flow", Device: "D", Signal: "f", Effective: second(3)},
			err:   asset.ErrNoTag,
		},
		{
			name: "a binding to nothing",
			when: asset.BindTag{Asset: "P", Tag: "temp", Device: "D", Effective: second(3)},
			err:  asset.ErrBadPoint,
		},
		{
			name:  "the end of a binding",
			given: []eventlog.Event{asset.TagBound{Asset: "P", Tag: "temp", Device: "D", Signal: "t", Effective: second(3)}},
			when:  asset.UnbindTag{Asset: "P", Tag: "temp", Effective: second(4)},
			then:  []eventlog.Event{asset.TagUnbound{Asset: "P", Tag: "temp", Effective: second(4)}},
		},
		{
			name: "the end of no binding",
			when: asset.UnbindTag{Asset: "P", Tag: "temp", Effective: second(4)},
			err:  asset.ErrNoTag,
		},
		{
			name:       "the asset is where the caller saw it",
			given:      []eventlog.Event{asset.Renamed{Asset: "P", Name: "p", Effective: second(2)}},
			when:       asset.Rename{Asset: "P", Name: "q", Effective: second(3)},
			ifRevision: rev(3), nameplates: 2,
			then: []eventlog.Event{asset.Renamed{Asset: "P", Name: "q", Effective: second(3)}},
		},
		{
			name:       "the asset has moved on",
			given:      []eventlog.Event{asset.Renamed{Asset: "P", Name: "p", Effective: second(2)}},
			when:       asset.Rename{Asset: "P", Name: "q", Effective: second(3)},
			ifRevision: rev(0),
			err:        eventlog.ErrMoved,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := asset.Decider()
			var s *asset.Structure
			for _, e := range append(slices.Clip(plant), c.given...) {
				s = d.Evolve(s, e)
			}
			got, err := d.Decide(s, asset.Ordered{Command: c.when, IfRevision: c.ifRevision, Nameplates: c.nameplates, Classes: classes})
			if !errors.Is(err, c.err) || err != nil && c.err == nil {
				t.Fatalf("error %v, want %v", err, c.err)
			}
			if d := cmp.Diff(c.then, got); d != "" {
				t.Errorf("events (-want +got):\n%s", d)
			}
		})
	}
}

func TestClassRules(t *testing.T) {
	speed := asset.TagDef{Name: "speed", DataType: asset.Float64, Unit: "RPM", EURange: &asset.Range{Low: 0, High: 3000}}
	v1 := asset.ClassDefined{Class: "pump", Version: 1, Effective: second(0), Tags: []asset.TagDef{speed}}
	define := func(tags ...asset.TagDef) asset.DefineClass {
		return asset.DefineClass{Class: "pump", Effective: second(5), Tags: tags}
	}
	for _, c := range []struct {
		name  string
		given []eventlog.Event
		when  asset.DefineClass
		then  []eventlog.Event
		err   error
	}{
		{
			name: "the first version",
			when: asset.DefineClass{Class: "pump", Effective: second(0), Tags: []asset.TagDef{{Name: "speed", Unit: "RPM", EURange: &asset.Range{Low: 0, High: 3000}}}},
			then: []eventlog.Event{v1},
		},
		{
			name: "another version", given: []eventlog.Event{v1},
			when: define(speed, asset.TagDef{Name: "flow", DataType: asset.Int64}),
			then: []eventlog.Event{asset.ClassDefined{Class: "pump", Version: 2, Effective: second(5), Tags: []asset.TagDef{speed, {Name: "flow", DataType: asset.Int64}}}},
		},
		{name: "the same again", given: []eventlog.Event{v1}, when: define(speed)},
		{name: "one name twice", when: define(speed, speed), err: asset.ErrBadClass},
		{name: "an empty range", when: define(asset.TagDef{Name: "x", EURange: &asset.Range{Low: 1, High: 1}}), err: asset.ErrBadClass},
		{name: "an unknown data type", when: define(asset.TagDef{Name: "x", DataType: "FLOAT"}), err: asset.ErrBadClass},
		{name: "no name", when: define(asset.TagDef{}), err: asset.ErrBadName},
		{name: "no class name", when: asset.DefineClass{Effective: second(1)}, err: asset.ErrBadName},
		{
			name: "a class name that no stream can have",
			when: asset.DefineClass{Class: strings.Repeat("ü", 55), Effective: second(1)}, err: asset.ErrBadName,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := asset.ClassDecider()
			var s asset.Class
			for _, e := range c.given {
				s = d.Evolve(s, e)
			}
			got, err := d.Decide(s, c.when)
			if !errors.Is(err, c.err) || err != nil && c.err == nil {
				t.Fatalf("error %v, want %v", err, c.err)
			}
			if d := cmp.Diff(c.then, got); d != "" {
				t.Errorf("events (-want +got):\n%s", d)
			}
		})
	}
}

// TestMergePatch runs the examples of RFC 7396 appendix A.
func TestMergePatch(t *testing.T) {
	for _, c := range [][3]string{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`["a","b"]`, `["c","d"]`, `["c","d"]`},
		{`{"a":"b"}`, `["c"]`, `["c"]`},
		{`{"a":"foo"}`, `null`, `null`},
		{`{"a":"foo"}`, `"bar"`, `"bar"`},
		{`{"e":null}`, `{"a":1}`, `{"a":1,"e":null}`},
		{`[1,2]`, `{"a":"b","c":null}`, `{"a":"b"}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
		{``, `{"a":1e2}`, `{"a":100}`},
	} {
		got, err := asset.MergePatch(json.RawMessage(c[0]), json.RawMessage(c[1]))
		if err != nil || string(got) != c[2] {
			t.Errorf("merge %s into %s: %s, %v; want %s", c[1], c[0], got, err, c[2])
		}
	}
	if _, err := asset.MergePatch(nil, json.RawMessage(`{`)); !errors.Is(err, asset.ErrBadPatch) {
		t.Errorf("broken patch: %v, want %v", err, asset.ErrBadPatch)
	}
}

var update = flag.Bool("update", false, "write golden files that do not exist")

// TestGolden holds the bytes on disk still: a failure means that old logs would
// read differently, so add a new version instead.
func TestGolden(t *testing.T) {
	at := time.Date(2026, 11, 30, 3, 12, 0, 123456000, time.UTC)
	for _, e := range []eventlog.Event{
		asset.Registered{
			Asset: "0b7c2e52-9d55-8c64-a1a4-0c1e2f3a4b5c", Class: "centrifugal_pump", ClassVersion: 2, Effective: at, Level: asset.Equipment,
			Name: "P-007 – Süd", Nameplate: json.RawMessage(`{"maker":"KSB","ratedKw":7.5}`), Parent: "5f0e",
		},
		asset.Moved{Asset: "a", Effective: at, Parent: "b"},
		asset.Renamed{Asset: "a", Effective: at, Name: "new <name>"},
		asset.Retired{Asset: "a", Effective: at},
		asset.Related{Effective: at, From: "a", To: "b", Type: "feeds"},
		asset.Unrelated{Effective: at, From: "a", To: "b", Type: "feeds"},
		asset.TagBound{Asset: "a", Device: "P-007", Effective: at, Signal: "temp_inlet_c", Tag: "inletTemperature"},
		asset.TagUnbound{Asset: "a", Effective: at, Tag: "inletTemperature"},
		asset.NameplateUpdated{Effective: at, Patch: json.RawMessage(`{"serial":"12-34","sold":null}`)},
		asset.ClassDefined{
			Class: "centrifugal_pump", Description: "a pump", Effective: at, Version: 2,
			Nameplate: []asset.Attribute{{Name: "ratedKw", Description: "rated power", Unit: "KWT", Required: true}},
			Tags: []asset.TagDef{
				{Name: "speed", DataType: asset.Float64, Unit: "RPM", EURange: &asset.Range{Low: 0, High: 3000}, InstrumentRange: &asset.Range{Low: -0.5, High: 1e21}, ExpectedIntervalMS: 1000},
				{Name: "running", DataType: asset.Bool, Description: "on"},
			},
		},
	} {
		file := filepath.Join("testdata", "events", e.EventType()+".json")
		ev, err := eventlog.NewJSONEvent(eventlog.EventID{1}, e, eventlog.Envelope{})
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) && *update {
			want, err = ev.Data, os.WriteFile(file, ev.Data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		if string(ev.Data) != string(want) {
			t.Errorf("%s is written as\n%s, on disk it is\n%s", e.EventType(), ev.Data, want)
		}
		got, err := asset.Decode(e.EventType(), want)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(e, got); d != "" {
			t.Errorf("%s read back (-want +got):\n%s", e.EventType(), d)
		}
	}
	if got, err := asset.Decode("other.v1", nil); got != nil || err != nil {
		t.Errorf("an event of another package: %v, %v; want nil", got, err)
	}
}

func ExampleTagID() {
	a, tag, _ := asset.ParseTagID(asset.TagID("0b7c", "speed"))
	fmt.Println(a, tag)
	// Output: 0b7c speed
}
