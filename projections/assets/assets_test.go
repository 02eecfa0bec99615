package assets_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/twinlog/twinlog/adapters/eventlog/memlog"
	"github.com/twinlog/twinlog/adapters/rows/badgerrows"
	"github.com/twinlog/twinlog/adapters/rows/memrows"
	"github.com/twinlog/twinlog/domain/asset"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/projections"
	"github.com/twinlog/twinlog/projections/assets"
	"github.com/twinlog/twinlog/projections/projectionstest"
	"github.com/twinlog/twinlog/test/budget"
)

func second(n int) time.Time { return time.Unix(1_700_000_000+int64(n), 0).UTC() }

func call(key string) eventlog.Call {
	return eventlog.Call{Key: eventlog.NewKey("test", "s", "m", key)}
}

// world is a log, the commands on it and the projection that follows it.
type world struct {
	*testing.T
	log  *memlog.Log
	do   *asset.Service
	view *assets.View
	wait func()
	n    int
}

func newWorld(t *testing.T) *world {
	t.Helper()
	p := assets.New()
	w := &world{T: t, log: memlog.New("test", time.Now), view: p.View()}
	w.do = asset.NewService(w.log)
	r := projections.NewRunner(w.log, memrows.New(), projections.Config{}, p)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	w.wait = func() {
		t.Helper()
		head, _, _ := w.log.Head(ctx)
		if err := r.WaitFor(ctx, head); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// exec executes commands and returns the position of the last one's event.
func (w *world) exec(cmds ...asset.Command) eventlog.Position {
	w.Helper()
	var last eventlog.Position
	for _, c := range cmds {
		w.n++
		results, err := w.do.DoAll(w.Context(), []eventlog.Item[asset.Command]{{Call: call(fmt.Sprint(w.n)), Command: c}})
		if err == nil {
			err = results[0].Err
		}
		if err != nil {
			w.Fatalf("%#v: %v", c, err)
		}
		last = results[0].Done.Last
	}
	w.wait()
	return last
}

func (w *world) plate(id, patch string, at int) eventlog.Position {
	w.Helper()
	w.n++
	done, err := w.do.UpdateNameplate(w.Context(), call(fmt.Sprint(w.n)), asset.UpdateNameplate{Asset: id, Patch: json.RawMessage(patch), Effective: second(at)}, nil)
	if err != nil {
		w.Fatal(err)
	}
	w.wait()
	return done.Last
}

func (w *world) class(name string, at int, tags ...asset.TagDef) eventlog.Position {
	w.Helper()
	w.n++
	done, err := w.do.DefineClass(w.Context(), call(fmt.Sprint(w.n)), asset.DefineClass{Class: name, Tags: tags, Effective: second(at)}, nil)
	if err != nil {
		w.Fatal(err)
	}
	w.wait()
	return done.Last
}

func asOf(n int) projections.Cut { return projections.Cut{AsOf: second(n)} }

func get[T any](t *testing.T) func(T, error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// plantCommands is an enterprise with a site, two areas and a pump in the first.
func plantCommands() []asset.Command {
	return []asset.Command{
		asset.Register{Asset: "E", Name: "acme", Level: asset.Enterprise, Effective: second(0)},
		asset.Register{Asset: "S", Name: "detroit", Parent: "E", Level: asset.Site, Effective: second(0)},
		asset.Register{Asset: "A", Name: "inlet", Parent: "S", Level: asset.Area, Effective: second(0)},
		asset.Register{Asset: "B", Name: "outlet", Parent: "S", Level: asset.Area, Effective: second(0)},
		asset.Register{Asset: "P", Name: "pump", Parent: "A", Level: asset.Equipment, Class: "pump", Nameplate: json.RawMessage(`{"maker":"KSB"}`), Effective: second(0)},
	}
}

func (w *world) path(id string, c projections.Cut) string {
	w.Helper()
	a := get[[]*assets.Asset](w.T)(w.view.ByIDs(w.Context(), []string{id}, c))[0]
	if a == nil {
		return ""
	}
	return a.Path
}

// TestLateFact is the story of two clocks: on day 20 somebody tells that the
// pump was moved on day 5. What was the plant like on day 7, and what did we
// think it was like?
func TestLateFact(t *testing.T) {
	w := newWorld(t)
	w.class("pump", 0, asset.TagDef{Name: "speed"})
	w.exec(plantCommands()...)
	before := w.exec(asset.Move{Asset: "P", Parent: "B", Effective: second(10)})
	w.exec(asset.Rename{Asset: "A", Name: "intake", Effective: second(12)})
	w.exec(asset.Move{Asset: "P", Parent: "S", Effective: second(5)}) // told late

	for _, c := range []struct {
		cut  projections.Cut
		want string
	}{
		{asOf(-1), ""},
		{asOf(4), "acme/detroit/inlet/pump"},
		{asOf(7), "acme/detroit/pump"},
		{asOf(10), "acme/detroit/outlet/pump"},
		{projections.Cut{}, "acme/detroit/outlet/pump"},
		{projections.Cut{AsOf: second(7), Known: before}, "acme/detroit/inlet/pump"},
		{projections.Cut{AsOf: second(10), Known: before}, "acme/detroit/outlet/pump"},
		{projections.Cut{Known: before - 1}, "acme/detroit/inlet/pump"},
		{projections.Cut{Known: 3}, ""},
		{projections.Cut{Now: second(7)}, "acme/detroit/pump"}, // the move of day 10 is a plan
	} {
		if got := w.path("P", c.cut); got != c.want {
			t.Errorf("%+v: %q, want %q", c.cut, got, c.want)
		}
	}
	for at, want := range map[int]string{11: "inlet", 12: "intake"} {
		a := get[*assets.Asset](t)(w.view.ByPath(t.Context(), "acme/detroit/"+want, asOf(at)))
		if a == nil || a.ID != "A" {
			t.Errorf("at %d nothing is at %s: %+v", at, want, a)
		}
	}
	if a := get[*assets.Asset](t)(w.view.ByPath(t.Context(), "acme/detroit/inlet", asOf(12))); a != nil {
		t.Errorf("the old name still leads to %+v", a)
	}
}

func TestAssetRow(t *testing.T) {
	w := newWorld(t)
	w.class("pump", 0, asset.TagDef{Name: "speed"})
	w.exec(plantCommands()...)
	w.plate("P", `{"serial":7,"rated":{"kw":7.5}}`, 8)
	late := w.plate("P", `{"maker":"Grundfos","serial":6}`, 3)
	w.class("pump", 15, asset.TagDef{Name: "speed"}, asset.TagDef{Name: "flow"})
	row := func(c projections.Cut) *assets.Asset {
		return get[[]*assets.Asset](t)(w.view.ByIDs(t.Context(), []string{"P"}, c))[0]
	}
	want := &assets.Asset{
		ID: "P", Name: "pump", Path: "acme/detroit/inlet/pump", Level: asset.Equipment, ClassName: "pump", ClassVersion: 2,
		Nameplate: json.RawMessage(`{"maker":"Grundfos","rated":{"kw":7.5},"serial":7}`), ParentID: "A", Revision: 2, ValidFrom: second(15),
	}
	if d := cmp.Diff(want, row(projections.Cut{})); d != "" {
		t.Errorf("newest (-want +got):\n%s", d)
	}
	want.Nameplate, want.ClassVersion, want.ValidFrom = json.RawMessage(`{"maker":"Grundfos","serial":6}`), 1, second(3)
	if d := cmp.Diff(want, row(asOf(4))); d != "" {
		t.Errorf("as of 4 (-want +got):\n%s", d)
	}
	want.Nameplate, want.Revision, want.ValidFrom = json.RawMessage(`{"maker":"KSB"}`), 1, second(0)
	if d := cmp.Diff(want, row(projections.Cut{AsOf: second(4), Known: late - 1})); d != "" {
		t.Errorf("as of 4, before the late patch (-want +got):\n%s", d)
	}
	w.exec(asset.Retire{Asset: "P", Effective: second(20)})
	if a := row(asOf(19)); a.Retired || a.Revision != 3 {
		t.Errorf("the day before: %+v", a)
	}
	if a := row(asOf(20)); !a.Retired || a.ValidFrom != second(20) || a.Path != "acme/detroit/inlet/pump" {
		t.Errorf("the day itself: %+v", a)
	}
	if a := get[*assets.Asset](t)(w.view.ByPath(t.Context(), "acme/detroit/inlet/pump", asOf(20))); a != nil {
		t.Errorf("a retired asset has a path: %+v", a)
	}
}

func TestTagsAndBindings(t *testing.T) {
	w := newWorld(t)
	eu := &asset.Range{Low: 0, High: 3000}
	w.class("pump", 0, asset.TagDef{Name: "speed", Unit: "RPM", EURange: eu, ExpectedIntervalMS: 1500}, asset.TagDef{Name: "flow"})
	w.exec(plantCommands()...)
	speed, temp := asset.TagID("P", "speed"), asset.TagID("A", "temp")
	w.exec(
		asset.BindTag{Asset: "P", Tag: "speed", Device: "D1", Signal: "n", Effective: second(2)},
		asset.BindTag{Asset: "A", Tag: "temp", Device: "D1", Signal: "t", Effective: second(2)},
	)
	before := w.exec(asset.UnbindTag{Asset: "P", Tag: "speed", Effective: second(20)})
	w.exec(
		asset.BindTag{Asset: "P", Tag: "speed", Device: "D2", Signal: "n", Effective: second(10)}, // told late
		asset.BindTag{Asset: "P", Tag: "speed", Device: "D2", Signal: "n", Effective: second(25)},
		asset.Retire{Asset: "P", Effective: second(30)},
	)
	tags := get[[][]*assets.Tag](t)(w.view.Tags(t.Context(), []string{"P", "A", "nobody"}, asOf(5)))
	wantTags := [][]*assets.Tag{
		{
			{ID: speed, AssetID: "P", Name: "speed", Path: "acme/detroit/inlet/pump/speed", Unit: "RPM", DataType: asset.Float64, EURange: eu, ExpectedInterval: 1500 * time.Millisecond},
			{ID: asset.TagID("P", "flow"), AssetID: "P", Name: "flow", Path: "acme/detroit/inlet/pump/flow", DataType: asset.Float64},
		},
		{{ID: temp, AssetID: "A", Name: "temp", Path: "acme/detroit/inlet/temp", DataType: asset.Float64}},
		nil,
	}
	if d := cmp.Diff(wantTags, tags); d != "" {
		t.Errorf("tags (-want +got):\n%s", d)
	}
	if got := get[[][]*assets.Tag](t)(w.view.Tags(t.Context(), []string{"A"}, asOf(1))); len(got[0]) > 0 {
		t.Errorf("a tag before it was bound: %+v", got[0][0])
	}
	d1, d2 := telemetry.Point{Device: "D1", Signal: "n"}, telemetry.Point{Device: "D2", Signal: "n"}
	for name, c := range map[string]struct {
		cut  projections.Cut
		want []assets.Binding
	}{
		"newest":                       {projections.Cut{}, []assets.Binding{{Point: d1, From: second(2), To: second(10)}, {Point: d2, From: second(10), To: second(20)}, {Point: d2, From: second(25), To: second(30)}}},
		"before the late one was told": {projections.Cut{Known: before}, []assets.Binding{{Point: d1, From: second(2), To: second(20)}}},
		"as of 12":                     {asOf(12), []assets.Binding{{Point: d1, From: second(2), To: second(10)}, {Point: d2, From: second(10), To: second(20)}}},
		"before anything":              {asOf(1), nil},
		"still":                        {projections.Cut{Known: before - 1}, []assets.Binding{{Point: d1, From: second(2)}}},
	} {
		got := get[[][]assets.Binding](t)(w.view.Bindings(t.Context(), []string{speed}, c.cut))
		if d := cmp.Diff([][]assets.Binding{c.want}, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
	for at, want := range map[int]string{1: "", 2: speed, 10: "", 22: ""} {
		got := ""
		for _, tag := range get[[][]*assets.Tag](t)(w.view.TagsByPoint(t.Context(), []telemetry.Point{d1}, asOf(at)))[0] {
			got += tag.ID
		}
		if got != want {
			t.Errorf("at %d the point feeds %q, want %q", at, got, want)
		}
	}
	ids := func(list []*assets.Asset) (s string) {
		for _, a := range list {
			s += a.ID
		}
		return s
	}
	for at, want := range map[int]string{1: "", 5: "AP", 15: "A", 35: "A"} {
		if got := ids(get[[][]*assets.Asset](t)(w.view.ByDevice(t.Context(), []string{"D1"}, asOf(at)))[0]); got != want {
			t.Errorf("at %d D1 serves %q, want %q", at, got, want)
		}
	}
	if got := get[[][]string](t)(w.view.Devices(t.Context(), []string{"P", "A"}, asOf(15))); !cmp.Equal(got, [][]string{{"D2"}, {"D1"}}) {
		t.Errorf("devices %v", got)
	}
	if got := get[*assets.Tag](t)(w.view.TagByPath(t.Context(), "acme/detroit/inlet/pump/speed", asOf(5))); got == nil || got.ID != speed {
		t.Errorf("tag by path: %+v", got)
	}
	byID := get[[]*assets.Tag](t)(w.view.TagsByID(t.Context(), []string{temp, "P/none", "x", speed}, asOf(5)))
	if byID[0] == nil || byID[1] != nil || byID[2] != nil || byID[3] == nil {
		t.Errorf("tags by id: %+v", byID)
	}
}

func TestRelations(t *testing.T) {
	w := newWorld(t)
	w.class("pump", 0)
	w.exec(plantCommands()...)
	w.exec(
		asset.Relate{From: "P", Type: "feeds", To: "B", Effective: second(3)},
		asset.Relate{From: "A", Type: "feeds", To: "B", Effective: second(4)},
		asset.Unrelate{From: "A", Type: "feeds", To: "B", Effective: second(8)},
		asset.Retire{Asset: "P", Effective: second(20)},
	)
	pb, ab := assets.Relation{Type: "feeds", From: "P", To: "B", Since: second(3)}, assets.Relation{Type: "feeds", From: "A", To: "B", Since: second(4)}
	for at, want := range map[int][]assets.Relation{2: nil, 3: {pb}, 5: {ab, pb}, 8: {pb}, 20: nil} {
		got := get[[][]assets.Relation](t)(w.view.Relations(t.Context(), []string{"B"}, assets.In, asOf(at)))
		if d := cmp.Diff([][]assets.Relation{want}, got); d != "" {
			t.Errorf("into B at %d (-want +got):\n%s", at, d)
		}
	}
	got := get[[][]assets.Relation](t)(w.view.Relations(t.Context(), []string{"P", "B"}, assets.Out, asOf(5)))
	if d := cmp.Diff([][]assets.Relation{{pb}, nil}, got); d != "" {
		t.Errorf("out of P and B (-want +got):\n%s", d)
	}
}

func TestClasses(t *testing.T) {
	w := newWorld(t)
	one, flow := asset.TagDef{Name: "speed", DataType: asset.Float64}, asset.TagDef{Name: "flow", DataType: asset.Float64}
	first := w.class("pump", 10, one)
	w.class("pump", 20, one, flow)
	w.class("valve", 5, one)
	version := func(c *assets.Class) int {
		if c == nil {
			return 0
		}
		return c.Version
	}
	for name, c := range map[string]struct {
		cut            projections.Cut
		pump, valve, v int
	}{
		"newest":        {projections.Cut{}, 2, 1, 2},
		"as of 15":      {asOf(15), 1, 1, 2},
		"as of 7":       {asOf(7), 0, 1, 2},
		"as of 1":       {asOf(1), 0, 0, 2},
		"known earlier": {projections.Cut{Known: first}, 1, 0, 0},
	} {
		got := get[[]*assets.Class](t)(w.view.Classes(t.Context(), []string{"pump", "valve", "none"}, c.cut))
		if version(got[0]) != c.pump || version(got[1]) != c.valve || got[2] != nil {
			t.Errorf("%s: in force %d and %d, want %d and %d", name, version(got[0]), version(got[1]), c.pump, c.valve)
		}
		v2 := get[[]*assets.Class](t)(w.view.ClassVersions(t.Context(), []assets.ClassRef{{Name: "pump", Version: 2}}, c.cut))
		if version(v2[0]) != c.v {
			t.Errorf("%s: version 2 is %d, want %d", name, version(v2[0]), c.v)
		}
	}
	page, more, err := w.view.ListClasses(t.Context(), projections.Cut{}, "", 1)
	if err != nil || !more || len(page) != 1 || page[0].Name != "pump" || page[0].Revision != 1 {
		t.Errorf("first page %+v, %t, %v", page, more, err)
	}
	page, more, err = w.view.ListClasses(t.Context(), projections.Cut{}, "pump", 1)
	if err != nil || more || len(page) != 1 || page[0].Name != "valve" {
		t.Errorf("second page %+v, %t, %v", page, more, err)
	}
}

// TestPages: pages of any size put together are the list, in the order of
// paths, with names that sort before and after the slash.
func TestPages(t *testing.T) {
	w := newWorld(t)
	w.class("pump", 0, asset.TagDef{Name: "b"}, asset.TagDef{Name: "a", Unit: "BAR"})
	w.exec(plantCommands()...)
	for i, name := range []string{"x", "x y", "x-y", "x0", "xx", "Ü"} {
		id := fmt.Sprint("N", i)
		w.exec(
			asset.Register{Asset: id, Name: name, Parent: "B", Level: asset.Line, Effective: second(1)},
			asset.Register{Asset: id + "c", Name: "Pump " + name, Parent: id, Level: asset.Equipment, Class: "pump", Effective: second(1)},
		)
	}
	w.exec(
		asset.Retire{Asset: "N0c", Effective: second(5)},
		asset.Register{Asset: "N0d", Name: "Pump x", Parent: "N0", Level: asset.Equipment, Class: "pump", Effective: second(5)},
	)
	list := func(f assets.Filter, size int) (all []string) {
		for after := ""; ; {
			page, more, err := w.view.List(t.Context(), f, projections.Cut{}, after, size)
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range page {
				all = append(all, a.Path+" "+a.ID)
			}
			if !more {
				return all
			}
			after = page[len(page)-1].Cursor()
		}
	}
	everything := []string{
		"acme E", "acme/detroit S", "acme/detroit/inlet A", "acme/detroit/inlet/pump P", "acme/detroit/outlet B",
		"acme/detroit/outlet/x N0", "acme/detroit/outlet/x/Pump x N0d",
		"acme/detroit/outlet/x y N1", "acme/detroit/outlet/x y/Pump x y N1c",
		"acme/detroit/outlet/x-y N2", "acme/detroit/outlet/x-y/Pump x-y N2c",
		"acme/detroit/outlet/x0 N3", "acme/detroit/outlet/x0/Pump x0 N3c",
		"acme/detroit/outlet/xx N4", "acme/detroit/outlet/xx/Pump xx N4c",
		"acme/detroit/outlet/Ü N5", "acme/detroit/outlet/Ü/Pump Ü N5c",
	}
	for _, size := range []int{1, 2, 3, 100} {
		if d := cmp.Diff(everything, list(assets.Filter{}, size)); d != "" {
			t.Fatalf("pages of %d (-want +got):\n%s", size, d)
		}
		for name, c := range map[string]struct {
			f    assets.Filter
			want []string
		}{
			"under":        {assets.Filter{Under: "N0"}, everything[6:7]},
			"under x":      {assets.Filter{Under: "N0", Retired: true}, []string{"acme/detroit/outlet/x/Pump x N0c", everything[6]}},
			"level":        {assets.Filter{Level: asset.Line, Under: "E"}, []string{everything[5], everything[7], everything[9], everything[11], everything[13], everything[15]}},
			"name":         {assets.Filter{NameContains: "PUMP X-"}, everything[10:11]},
			"class":        {assets.Filter{Class: "pump", Under: "A"}, everything[3:4]},
			"under nobody": {assets.Filter{Under: "nobody"}, nil},
		} {
			if d := cmp.Diff(c.want, list(c.f, size)); d != "" {
				t.Errorf("%s, pages of %d (-want +got):\n%s", name, size, d)
			}
		}
		tags := func(f assets.TagFilter) (all []string) {
			for after := ""; ; {
				page, more, err := w.view.ListTags(t.Context(), f, projections.Cut{}, after, size)
				if err != nil {
					t.Fatal(err)
				}
				for _, tag := range page {
					all = append(all, strings.TrimPrefix(tag.Path, "acme/detroit/"))
				}
				if !more {
					return all
				}
				after = page[len(page)-1].Cursor()
			}
		}
		want := []string{"inlet/pump/b", "inlet/pump/a"}
		for _, x := range []string{"x", "x y", "x-y", "x0", "xx", "Ü"} {
			want = append(want, "outlet/"+x+"/Pump "+x+"/b", "outlet/"+x+"/Pump "+x+"/a")
		}
		if d := cmp.Diff(want, tags(assets.TagFilter{})); d != "" {
			t.Errorf("tags, pages of %d (-want +got):\n%s", size, d)
		}
		if d := cmp.Diff([]string{"inlet/pump/a"}, tags(assets.TagFilter{Under: "P", Unit: "BAR"})); d != "" {
			t.Errorf("tags of the pump in bar (-want +got):\n%s", d)
		}
		if got := tags(assets.TagFilter{Under: "B", Names: []string{"a"}}); len(got) != 6 {
			t.Errorf("tags called a: %v", got)
		}
	}
	kids := get[[][]*assets.Asset](t)(w.view.Children(t.Context(), []string{"", "N0", "P"}, projections.Cut{}))
	if len(kids[0]) != 1 || len(kids[1]) != 1 || kids[1][0].ID != "N0d" || len(kids[2]) != 0 {
		t.Errorf("children %v", kids)
	}
	up := get[[][]*assets.Asset](t)(w.view.Ancestors(t.Context(), []string{"N0d", "E", "nobody"}, projections.Cut{}))
	if len(up[0]) != 4 || up[0][0].ID != "E" || up[0][3].ID != "N0" || len(up[1]) != 0 || len(up[2]) != 0 {
		t.Errorf("ancestors %v", up)
	}
}

// day is a random plant's life: commands with dates in any order, some refused,
// some of them telemetry that nobody here wants. At most so many assets live
// through so many instants.
func day(t testing.TB, events, instants, most int, seed uint64) *memlog.Log {
	t.Helper()
	log := memlog.New("test", time.Now)
	do := asset.NewService(log)
	rng := rand.New(rand.NewPCG(seed, 2))
	n := 0
	define := func() {
		n++
		cmd := asset.DefineClass{Class: fmt.Sprint("class", rng.IntN(4)), Effective: second(rng.IntN(instants))}
		for i := range 1 + rng.IntN(8) {
			cmd.Tags = append(cmd.Tags, asset.TagDef{Name: fmt.Sprint("tag", i)})
		}
		if _, err := do.DefineClass(t.Context(), call(fmt.Sprint(n)), cmd, nil); err != nil {
			t.Fatal(err)
		}
	}
	for range 6 {
		define()
	}
	ids := []string{"E"}
	items := []eventlog.Item[asset.Command]{{Call: call("E"), Command: asset.Register{Asset: "E", Name: "acme", Level: asset.Enterprise, Effective: second(0)}}}
	other := eventlog.NoStream
	for {
		for len(items) < 3000 {
			n++
			at, a, b := second(rng.IntN(instants)), ids[rng.IntN(len(ids))], ids[rng.IntN(len(ids))]
			var c asset.Command
			switch k := rng.IntN(20); {
			case k < 5 && len(ids) < most || len(ids) < 30:
				id := fmt.Sprint("n", n)
				r := asset.Register{Asset: id, Name: fmt.Sprint("x", rng.IntN(5000)), Parent: a, Level: asset.Component, Effective: second(rng.IntN(instants / 2))}
				if rng.IntN(2) == 0 {
					r.Class = fmt.Sprint("class", rng.IntN(4))
				}
				c = r
			case k < 8:
				c = asset.Move{Asset: a, Parent: b, Effective: at}
			case k < 10:
				c = asset.Rename{Asset: a, Name: fmt.Sprint("x", rng.IntN(5000)), Effective: at}
			case k < 11:
				c = asset.Relate{From: a, Type: "feeds", To: b, Effective: at}
			case k < 12:
				c = asset.Unrelate{From: a, Type: "feeds", To: b, Effective: at}
			case k < 13 && rng.IntN(10) == 0:
				c = asset.Retire{Asset: a, Effective: at}
			default:
				c = asset.BindTag{Asset: a, Tag: fmt.Sprint("tag", rng.IntN(8)), Device: fmt.Sprint("d", rng.IntN(300)), Signal: fmt.Sprint("s", rng.IntN(10)), Effective: at}
			}
			items = append(items, eventlog.Item[asset.Command]{Call: call(fmt.Sprint(n)), Command: c})
		}
		results, err := do.DoAll(t.Context(), items)
		if err != nil {
			t.Fatal(err)
		}
		for i, res := range results {
			if r, ok := items[i].Command.(asset.Register); ok && res.Err == nil && r.Asset != "E" {
				ids = append(ids, r.Asset)
			}
		}
		items = nil
		define()
		for range 200 {
			n++
			_, _ = do.UpdateNameplate(t.Context(), call(fmt.Sprint(n)), asset.UpdateNameplate{
				Asset: ids[rng.IntN(len(ids))], Patch: json.RawMessage(fmt.Sprintf(`{"a%d":%d}`, rng.IntN(3), n)), Effective: second(rng.IntN(instants)),
			}, nil) // refused where the asset is not there then
		}
		var id eventlog.EventID
		n++
		binary.BigEndian.PutUint64(id[:], uint64(n))
		app, err := log.Append(t.Context(), "telemetry-gw.1", other, eventlog.NewEvent{ID: id, Type: eventlog.TelemetryRecorded, Data: []byte{1}})
		if err != nil {
			t.Fatal(err)
		}
		other = eventlog.At(app.Revision)
		if int(app.Last) >= events {
			return log
		}
	}
}

func TestRebuildEqualsLive(t *testing.T) {
	log := day(t, projectionstest.Events(), 100, 20_000, budget.Seed(t))
	stores := 0
	projectionstest.RebuildEqualsLive(t, projectionstest.Setup{
		Fold: func() projections.Fold { return assets.New() },
		Store: func(tb testing.TB) projections.Store { // lived through in Badger, rebuilt in memory
			if stores++; stores == 2 {
				return memrows.New()
			}
			s, err := badgerrows.Open(tb.TempDir(), badgerrows.Config{})
			if err != nil {
				tb.Fatal(err)
			}
			tb.Cleanup(func() { s.Close() })
			return s
		},
		Same: func(tb testing.TB, live, rebuilt projections.Fold) {
			for _, c := range []projections.Cut{{}, asOf(50), {AsOf: second(70), Known: 10_000}} {
				a, b := everything(tb, live.(*assets.Projection).View(), c), everything(tb, rebuilt.(*assets.Projection).View(), c)
				if len(a) < 1000 || !slices.Equal(a, b) {
					tb.Errorf("%+v: %d answers live, %d rebuilt, different", c, len(a), len(b))
				}
			}
		},
	}, log)
}

// everything is all that a view says at a cut, as text.
func everything(tb testing.TB, v *assets.View, c projections.Cut) []string {
	tb.Helper()
	ctx := context.Background()
	list, _, err := v.List(ctx, assets.Filter{Retired: true}, c, "", 1_000_000)
	if err != nil {
		tb.Fatal(err)
	}
	var all, ids, tagIDs []string
	for _, a := range list {
		all, ids = append(all, fmt.Sprintf("%+v", *a)), append(ids, a.ID)
	}
	tags, err := v.Tags(ctx, ids, c)
	if err != nil {
		tb.Fatal(err)
	}
	for _, group := range tags {
		for _, t := range group {
			all, tagIDs = append(all, fmt.Sprintf("%+v", *t)), append(tagIDs, t.ID)
		}
	}
	bindings, err := v.Bindings(ctx, tagIDs, c)
	if err != nil {
		tb.Fatal(err)
	}
	out, err := v.Relations(ctx, ids, assets.Out, c)
	if err != nil {
		tb.Fatal(err)
	}
	in, err := v.Relations(ctx, ids, assets.In, c)
	if err != nil {
		tb.Fatal(err)
	}
	return append(all, fmt.Sprint(bindings), fmt.Sprint(out), fmt.Sprint(in))
}
