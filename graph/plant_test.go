package graph_test

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/twinlog/twinlog/domain/asset"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/graph"
)

// shape compares data with the JSON that is expected, whatever its spacing.
func (st *station) shape(query string, variables map[string]any, want string) {
	st.t.Helper()
	var got, expected any
	st.ask(&got, query, variables)
	if err := json.Unmarshal([]byte(want), &expected); err != nil {
		st.t.Fatalf("%s: %v", want, err)
	}
	if diff := cmp.Diff(expected, got); diff != "" {
		st.t.Errorf("%s\n%s", query, diff)
	}
}

func TestHierarchy(t *testing.T) {
	st := newStation(t, graph.Limits{})
	site := st.build()
	p1, p2 := st.pump(site, "P1"), st.pump(site, "P2")
	st.mutate("relate", fmt.Sprintf(`from: %q, type: "feeds", to: %q, %s`, p1, p2, why))
	st.see("D-P1")
	st.mutate("updateNameplate", fmt.Sprintf(`asset: %q, patch: {maker: "KSB", year: 2019}, %s`, p1, why))
	st.shape(`{ plant { asset(path: "acme/north/P1") {
		name path level classVersion nameplate retired
		class { name version tags { name unit { code } dataType euRange { low high } expectedInterval } }
		parent { path } ancestors { path level }
		tags { nodes { name path unit { code } asset { name } bindings { device signal to } } }
		out: relationships { nodes { type from { name } to { name } } }
		in: relationships(direction: IN) { nodes { type } }
		devices { nodes { name type registered assets { path } } }
	} } }`, nil, `{"plant":{"asset":{
		"name":"P1","path":"acme/north/P1","level":"EQUIPMENT","classVersion":1,"nameplate":{"maker":"KSB","year":2019},"retired":false,
		"class":{"name":"pump","version":1,"tags":[
			{"name":"pressure","unit":{"code":"BAR"},"dataType":"FLOAT64","euRange":{"low":0,"high":10},"expectedInterval":"PT1S"},
			{"name":"temperature","unit":{"code":"CEL"},"dataType":"FLOAT64","euRange":null,"expectedInterval":null},
			{"name":"running","unit":null,"dataType":"BOOL","euRange":null,"expectedInterval":null}]},
		"parent":{"path":"acme/north"},"ancestors":[{"path":"acme","level":"ENTERPRISE"},{"path":"acme/north","level":"SITE"}],
		"tags":{"nodes":[
			{"name":"pressure","path":"acme/north/P1/pressure","unit":{"code":"BAR"},"asset":{"name":"P1"},"bindings":[{"device":"D-P1","signal":"p","to":null}]},
			{"name":"temperature","path":"acme/north/P1/temperature","unit":{"code":"CEL"},"asset":{"name":"P1"},"bindings":[{"device":"D-P1","signal":"t","to":null}]},
			{"name":"running","path":"acme/north/P1/running","unit":null,"asset":{"name":"P1"},"bindings":[{"device":"D-P1","signal":"on","to":null}]}]},
		"out":{"nodes":[{"type":"feeds","from":{"name":"P1"},"to":{"name":"P2"}}]},"in":{"nodes":[]},
		"devices":{"nodes":[{"name":"D-P1","type":"pump","registered":false,"assets":[{"path":"acme/north/P1"}]}]}
	}}}`)
	st.shape(`query($p: ID!) { node(id: $p) { __typename ... on Asset { path } } plant { tags(filter: {names: ["pressure"]}) { nodes { path } } } }`,
		map[string]any{"p": p2}, `{"node":{"__typename":"Asset","path":"acme/north/P2"},
		"plant":{"tags":{"nodes":[{"path":"acme/north/P1/pressure"},{"path":"acme/north/P2/pressure"}]}}}`)
	if got := st.code(`{ plant { asset(id: "x", path: "y") { id } } }`, nil); got != "BAD_INPUT" {
		t.Errorf("id and path together: %s", got)
	}
	if got := st.code(`{ node(id: "x") { id } }`, nil); got != "BAD_INPUT" {
		t.Errorf("not an id: %s", got)
	}
}

func TestMutationsChangeThePlant(t *testing.T) {
	st := newStation(t, graph.Limits{})
	site := st.build()
	area := st.mutate("registerAsset", fmt.Sprintf(`name: "hall", level: AREA, parent: %q, %s`, site, why)).Asset.ID
	pump := st.pump(site, "P1")
	moved := st.mutate("moveAsset", fmt.Sprintf(`asset: %q, to: %q, %s`, pump, area, why))
	if moved.Asset == nil || moved.Asset.Path != "acme/north/hall/P1" || len(moved.EventIDs) != 1 {
		t.Fatalf("moved %+v", moved)
	}
	if got := st.mutate("renameAsset", fmt.Sprintf(`asset: %q, name: "P-001", %s`, pump, why)); got.Asset.Path != "acme/north/hall/P-001" {
		t.Errorf("renamed %+v", got.Asset)
	}
	st.shape(`query($id: ID!) { event(id: $id) { id type stream position data actor { kind authMethods } reason { code prompted } } }`,
		map[string]any{"id": moved.EventIDs[0]}, fmt.Sprintf(`{"event":{"id":%q,"type":"asset.moved.v1","stream":"structure-pumping-station","position":%q,
		"data":%s,"actor":{"kind":"HUMAN","authMethods":["none"]},"reason":{"code":null,"prompted":false}}}`,
			moved.EventIDs[0], moved.Position, st.lastData(asset.TypeMoved)))
	retired := st.mutate("retireAsset", fmt.Sprintf(`asset: %q, %s`, pump, why))
	if retired.Asset == nil {
		t.Fatalf("a retired asset stays askable: %+v", retired)
	}
	st.shape(`query($id: ID!) { plant { asset(id: $id) { retired } assets { nodes { path } } } }`, map[string]any{"id": pump},
		`{"plant":{"asset":{"retired":true},"assets":{"nodes":[{"path":"acme"},{"path":"acme/north"},{"path":"acme/north/hall"}]}}}`)

	// What a person says is in the log only sealed.
	for rec, err := range st.log.ReadAll(t.Context(), 0, eventlog.Forwards, eventlog.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if all := string(rec.RawEnvelope) + string(rec.Data); strings.Contains(all, "Anna") || strings.Contains(all, "ines") {
			t.Fatalf("in clear at %s: %s", rec.Position, all)
		}
	}
}

func (st *station) lastData(typ string) string {
	st.t.Helper()
	for rec, err := range st.log.ReadAll(context.Background(), eventlog.End, eventlog.Backwards, eventlog.Filter{Types: []string{typ}}) {
		if err != nil {
			st.t.Fatal(err)
		}
		return string(rec.Data)
	}
	st.t.Fatalf("no %s", typ)
	return ""
}

func TestMutationsRefused(t *testing.T) {
	st := newStation(t, graph.Limits{})
	site := st.build()
	pump := st.pump(site, "P1")
	other := plantID('a', "another-log", "x")
	for _, c := range []struct{ name, mutation, code string }{
		{"no reason", `registerAsset(input: {name: "x", level: EQUIPMENT, parent: "` + site + `", reason: {text: " "}})`, "REASON_REQUIRED"},
		{"a name that a sibling has", `registerAsset(input: {name: "P1", level: EQUIPMENT, parent: "` + site + `", ` + why + `})`, "DUPLICATE_NAME"},
		{"a name with a slash", `renameAsset(input: {asset: "` + pump + `", name: "a/b", ` + why + `})`, "BAD_INPUT"},
		{"below itself", `moveAsset(input: {asset: "` + site + `", to: "` + pump + `", ` + why + `})`, "ILLEGAL_STATE"},
		{"an id that is none", `retireAsset(input: {asset: "x", ` + why + `})`, "BAD_INPUT"},
		{"an id of another log", `retireAsset(input: {asset: "` + other + `", ` + why + `})`, "BAD_INPUT"},
		{"an asset that is not there", `retireAsset(input: {asset: "` + plantID('a', origin, "nobody") + `", ` + why + `})`, "NOT_FOUND"},
		{"a class that is not there", `registerAsset(input: {name: "x", level: EQUIPMENT, class: "boat", parent: "` + site + `", ` + why + `})`, "NOT_FOUND"},
		{"the moved-on", `renameAsset(input: {asset: "` + pump + `", name: "y", ifRevision: "77", ` + why + `})`, "CONFLICT"},
		{"a year too far", `renameAsset(input: {asset: "` + pump + `", name: "y", effective: "9999-01-01T00:00:00Z", ` + why + `})`, "BAD_INPUT"},
		{"a patch that is no object", `updateNameplate(input: {asset: "` + pump + `", patch: 7, ` + why + `})`, "BAD_INPUT"},
		{"half a point", `bindTag(input: {tag: "` + st.tag("acme/north/P1/pressure") + `", device: "D", ` + why + `})`, "BAD_INPUT"},
		{"an interval that is no whole milliseconds", `defineAssetClass(input: {name: "c", tags: [{name: "t", expectedInterval: "PT0.0001S"}], ` + why + `})`, "BAD_INPUT"},
		{"a key too long", `retireAsset(input: {asset: "` + pump + `", idempotencyKey: "` + strings.Repeat("k", 201) + `", ` + why + `})`, "BAD_INPUT"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := st.settle()
			if got := st.code("mutation { "+c.mutation+" { position } }", nil); got != c.code {
				t.Errorf("code %q, expected %q", got, c.code)
			}
			if after := st.settle(); after != before {
				t.Errorf("it was refused, and the log went from %s to %s", before, after)
			}
		})
	}
	a, _ := st.post(`mutation { renameAsset(input: {asset: "`+pump+`", name: "y", ifRevision: "77", `+why+`}) { position } }`, nil)
	if p := a.Errors[0].Extensions.Problems; len(p) != 1 || strings.Join(p[0].Path, ".") != "input.ifRevision" || p[0].Given != "77" || p[0].Expected == "" {
		t.Errorf("a conflict says the revision: %+v", p)
	}
	a, _ = st.post(`mutation { moveAsset(input: {asset: "x", to: "y", reason: {text: ""}}) { position } }`, nil)
	if p := a.Errors[0].Extensions.Problems; len(p) != 3 {
		t.Errorf("all faults at once: %+v", p)
	}
	st.operator = ""
	if got := st.code(`mutation { retireAsset(input: {asset: "`+pump+`", `+why+`}) { position } }`, nil); got != "UNAUTHENTICATED" {
		t.Errorf("nobody: %s", got)
	}
}

func TestSentTwiceDoneOnce(t *testing.T) {
	st := newStation(t, graph.Limits{})
	site := st.build()
	input := fmt.Sprintf(`name: "P9", level: EQUIPMENT, parent: %q, idempotencyKey: "k-1", %s`, site, why)
	first := st.mutate("registerAsset", input)
	st.mutate("renameAsset", fmt.Sprintf(`asset: %q, name: "P10", %s`, first.Asset.ID, why)) // the world goes on
	again := st.mutate("registerAsset", input)
	if first.Repeated || !again.Repeated || again.Asset.ID != first.Asset.ID || again.Position != first.Position || !reflect.DeepEqual(again.EventIDs, first.EventIDs) {
		t.Errorf("first %+v\nagain %+v", first, again)
	}
	st.operator = "omar"
	if got := st.code("mutation { registerAsset(input: {"+strings.Replace(input, "P9", "P10", 1)+"}) { position } }", nil); got != "DUPLICATE_NAME" {
		t.Errorf("another person's key is another key: %s", got)
	}
}

func TestReadYourWrites(t *testing.T) {
	st := newStation(t, graph.Limits{})
	site := st.build()
	for i := range 20 { // without the wait some of these come back null
		p := st.mutate("registerAsset", fmt.Sprintf(`name: "X%d", level: EQUIPMENT, parent: %q, %s`, i, site, why))
		if p.Asset == nil || p.Asset.Path != fmt.Sprintf("acme/north/X%d", i) {
			t.Fatalf("asset %d is not read back: %+v", i, p)
		}
	}
	st.hold.stuck.Store(true)
	a, _ := st.post(`mutation { registerAsset(input: {name: "late", level: EQUIPMENT, parent: "`+site+`", `+why+`}) { position eventIds asset { id } } }`, nil)
	var got struct{ RegisterAsset *payload }
	if err := json.Unmarshal(a.Data, &got); err != nil {
		t.Fatal(err)
	}
	if got.RegisterAsset == nil || got.RegisterAsset.Asset != nil || len(got.RegisterAsset.EventIDs) != 1 {
		t.Fatalf("data %s", a.Data)
	}
	e := a.Errors[0]
	if e.Extensions.Code != "READ_LAG" || e.Extensions.Position != got.RegisterAsset.Position || fmt.Sprint(e.Path) != "[registerAsset asset]" {
		t.Errorf("error %+v", e)
	}
	a, _ = st.post(`query($p: Position) { plant(minPosition: $p, waitAtMost: "PT0.05S") { moment { knownAt } } system { origin } }`, map[string]any{"p": got.RegisterAsset.Position})
	if a.Errors[0].Extensions.Code != "WAIT_TIMEOUT" || !strings.Contains(string(a.Data), origin) {
		t.Errorf("%+v %s", a.Errors, a.Data)
	}
	st.hold.stuck.Store(false)
	st.shape(`query($p: Position) { plant(minPosition: $p) { asset(path: "acme/north/late") { name } } }`, map[string]any{"p": got.RegisterAsset.Position},
		`{"plant":{"asset":{"name":"late"}}}`)
	if got := st.code(`{ plant(minPosition: "00000000000000999999") { moment { knownAt } } }`, nil); got != "POSITION_LOST" {
		t.Errorf("beyond the end: %s", got)
	}
	if got := st.code(`{ plant(waitAtMost: "PT1H") { moment { knownAt } } }`, nil); got != "BAD_INPUT" {
		t.Errorf("an hour: %s", got)
	}
}

func at(seconds float64) time.Time { return t0.Add(time.Duration(seconds * float64(time.Second))) }

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// TestValuesThroughBindings swaps the device of a tag: each device's samples
// count while it was bound, and what was known before stays askable.
func TestValuesThroughBindings(t *testing.T) {
	st := newStation(t, graph.Limits{})
	site := st.build()
	st.mutate("registerAsset", fmt.Sprintf(`name: "P1", level: EQUIPMENT, parent: %q, class: "pump", %s`, site, why))
	const path = "acme/north/P1/pressure"
	st.bind(path, "A", "p", `effective: "`+stamp(at(10))+`",`)
	st.clock.set(at(100))
	st.report("A", at(5), "p", 0.5) // before it was bound
	st.report("A", at(20), "p", 1.0)
	st.report("B", at(25), "x", 7.0)
	st.report("A", at(30), "p", 2.0)
	st.report("B", at(50), "x", 8.0)
	before := st.settle()
	st.bind(path, "B", "x", `effective: "`+stamp(at(40))+`",`)
	st.report("A", at(60), "p", 3.0) // after it was bound
	st.report("B", at(70), "x", quality.Code(0x808C0000))
	st.settle()

	value := func(moment string) string {
		t.Helper()
		var got struct {
			Plant struct {
				Tag struct{ Value *struct{ Value any } }
			}
		}
		st.ask(&got, `{ plant`+moment+` { tag(path: "`+path+`") { value { value } } } }`, nil)
		if got.Plant.Tag.Value == nil {
			return "none"
		}
		return fmt.Sprint(got.Plant.Tag.Value.Value)
	}
	asOf := func(s float64) string { return `(at: {asOf: "` + stamp(at(s)) + `"})` }
	for moment, want := range map[string]string{
		"": "NaN", asOf(15): "none", asOf(20): "1", asOf(39): "2", asOf(41): "2", asOf(50): "8", asOf(69): "8",
		`(at: {known: {at: "` + before.String() + `"}})`:                                "2",
		`(at: {asOf: "` + stamp(at(55)) + `", known: {at: "` + before.String() + `"}})`: "2",
		`(at: {known: {time: "` + stamp(t0.Add(-time.Hour)) + `"}, asOf: null})`:        "missing",
		`(at: {known: {time: "` + stamp(st.clock.now()) + `"}})`:                        "NaN",
	} {
		if want == "missing" { // nothing was known then, not even the tag
			st.shape(`{ plant`+moment+` { tag(path: "`+path+`") { id } assets { nodes { id } } } }`, nil, `{"plant":{"tag":null,"assets":{"nodes":[]}}}`)
			continue
		}
		if got := value(moment); got != want {
			t.Errorf("plant%s: %s, expected %s", moment, got, want)
		}
	}
	st.shape(`{ plant { tag(path: "`+path+`") { value { value number sourceTime stale quality { status name statusCode limit raw } tag { name } } } } }`, nil,
		`{"plant":{"tag":{"value":{"value":"NaN","number":null,"sourceTime":"`+stamp(at(70))+`","stale":true,
		"quality":{"status":"BAD","name":"`+quality.Code(0x808C0000).Name()+`","statusCode":"0x808C0000","limit":"NONE","raw":"opc-ua:2156658688"},"tag":{"name":"pressure"}}}}}`)

	// The new device has said nothing since it was bound: the old one's last
	// value counts, and neither what the new one said before nor what the old
	// one says after.
	const other = "acme/north/P1/temperature"
	st.bind(other, "A", "t", `effective: "`+stamp(at(10))+`",`)
	st.bind(other, "C", "z", `effective: "`+stamp(at(40))+`",`)
	st.report("A", at(20), "t", 5.0)
	st.report("C", at(30), "z", 99.0)
	st.report("A", at(60), "t", 6.0)
	st.settle()
	for _, moment := range []string{"", asOf(70)} {
		st.shape(`{ plant`+moment+` { tag(path: "`+other+`") { value { value } } } }`, nil, `{"plant":{"tag":{"value":{"value":5}}}}`)
	}

	// Samples and series go through the same spans.
	samples := func(args string) string {
		t.Helper()
		var got struct {
			Plant struct {
				Tag struct {
					Samples struct{ Nodes []struct{ Value any } }
				}
			}
		}
		st.ask(&got, fmt.Sprintf(`{ plant { tag(path: %q) { samples(%s) { nodes { value } } } } }`, path, args), nil)
		var all []string
		for _, n := range got.Plant.Tag.Samples.Nodes {
			all = append(all, fmt.Sprint(n.Value))
		}
		return strings.Join(all, " ")
	}
	span := func(from, to float64) string { return fmt.Sprintf("from: %q, to: %q", stamp(at(from)), stamp(at(to))) }
	for args, want := range map[string]string{
		span(0, 100): "1 2 8 NaN", span(20, 30): "1", span(0, 100) + ", quality: GOOD": "1 2 8", span(0, 100) + ", quality: BAD": "NaN",
		span(35, 45) + ", bounds: true": "2 8", span(11, 15) + ", bounds: true": "1", span(21, 29): "", span(21, 29) + ", bounds: true": "1 2", span(0, 15) + ", bounds: true": "1",
		span(80, 90) + ", bounds: true": "NaN", span(0, 100) + ", first: 2": "1 2",
	} {
		if got := samples(args); got != want {
			t.Errorf("samples(%s): %q, expected %q", args, got, want)
		}
	}
	id := st.tag(path)
	st.shape(fmt.Sprintf(`{ plant { series(tags: [%q], %s) { count start times values status endCursor tag { name } } } }`, id, span(0, 100)), nil,
		`{"plant":{"series":[{"count":4,"start":"`+stamp(at(0))+`","times":[20000,30000,50000,70000],"values":[1,2,8,"NaN"],
		"status":[[3,"0x00000000"],[1,"0x808C0000"]],"endCursor":null,"tag":{"name":"pressure"}}]}}`)
	st.shape(fmt.Sprintf(`{ plant { series(tags: [%q], %s, bounds: true) { times values } } }`, id, span(35, 45)), nil,
		`{"plant":{"series":[{"times":[-5000,15000],"values":[2,8]}]}}`)
	st.shape(fmt.Sprintf(`{ plant { aggregates(tags: [%q], from: %q, to: %q, interval: "PT20S", functions: [COUNT, MAXIMUM]) { function start interval values } } }`,
		id, stamp(at(0)), stamp(at(60))), nil,
		`{"plant":{"aggregates":[{"function":"COUNT","start":"`+stamp(at(0))+`","interval":"PT20S","values":[0,2,1]},
		{"function":"MAXIMUM","start":"`+stamp(at(0))+`","interval":"PT20S","values":[null,2,8]}]}}`)
	st.shape(`{ plant { tagValues { tags paths values status times start pageInfo { hasNextPage } } } }`, nil, fmt.Sprintf(
		`{"plant":{"tagValues":{"tags":[%q,%q,%q],"paths":["acme/north/P1/pressure","acme/north/P1/temperature","acme/north/P1/running"],
		"values":["NaN",5,null],"status":[[1,"0x808C0000"],[1,"0x00000000"],[1,"0x80320000"]],"times":[50000,0,null],"start":%q,"pageInfo":{"hasNextPage":false}}}}`,
		id, st.tag("acme/north/P1/temperature"), st.tag("acme/north/P1/running"), stamp(at(20))))
	st.shape(`{ plant { asset(path: "acme/north/P1") { twin { reported { value tag { name } } none: reported(tags: ["running"]) { value } } } } }`, nil,
		`{"plant":{"asset":{"twin":{"reported":[{"value":"NaN","tag":{"name":"pressure"}},{"value":5,"tag":{"name":"temperature"}}],"none":[]}}}}`)

	// The pages of a series fit together over the change of device.
	var all []any
	for after := "null"; after != ""; {
		var got struct {
			Plant struct {
				Series []struct {
					Values    []any
					EndCursor *string
				}
			}
		}
		st.ask(&got, fmt.Sprintf(`{ plant { series(tags: [%q], %s, first: 1, after: %s) { values endCursor } } }`, id, span(0, 100), after), nil)
		all = append(all, got.Plant.Series[0].Values...)
		if after = ""; got.Plant.Series[0].EndCursor != nil {
			after = fmt.Sprintf("%q", *got.Plant.Series[0].EndCursor)
		}
		if len(all) > 10 {
			break
		}
	}
	if fmt.Sprint(all) != "[1 2 8 NaN]" {
		t.Errorf("pages of a series: %v", all)
	}
}

func TestRowsAreBounded(t *testing.T) {
	st := newStation(t, graph.Limits{})
	site := st.build()
	st.pump(site, "P1")
	id := st.tag("acme/north/P1/pressure")
	const year = `from: "2026-01-01T00:00:00Z", to: "2027-01-01T00:00:00Z"`
	for query, code := range map[string]string{
		fmt.Sprintf(`{ plant { aggregates(tags: [%q], %s, interval: "PT1S", functions: [COUNT]) { values } } }`, id, year):           "TOO_MANY_ROWS",
		fmt.Sprintf(`{ plant { aggregates(tags: [%q], %s, interval: "PT0.000000001S", functions: [COUNT]) { values } } }`, id, year): "TOO_MANY_ROWS",
		fmt.Sprintf(`{ plant { aggregates(tags: [%q], %s, interval: "PT0S", functions: [COUNT]) { values } } }`, id, year):           "BAD_INPUT",
		`{ plant { assets(first: 1001) { nodes { id } } } }`:                                                                         "TOO_MANY_ROWS",
		`{ plant { assets(first: -1) { nodes { id } } } }`:                                                                           "BAD_INPUT",
		fmt.Sprintf(`{ plant { series(tags: [%s], %s, first: 1) { count } } }`, strings.Repeat(fmt.Sprintf("%q ", id), 101), year):   "TOO_MANY_ROWS",
		fmt.Sprintf(`{ plant { series(tags: [%q], from: "2026-01-02T00:00:00Z", to: "2026-01-01T00:00:00Z") { count } } }`, id):      "BAD_INPUT",
		fmt.Sprintf(`{ plant { series(tags: [%q], %s) { count } } }`, plantID('t', origin, "no/such"), year):                         "NOT_FOUND",
	} {
		if got := st.code(query, nil); got != code {
			t.Errorf("%.120s: %q, expected %q", query, got, code)
		}
	}
}

// TestPagesKeepTheirCut walks a list page by page while the plant changes.
func TestPagesKeepTheirCut(t *testing.T) {
	st := newStation(t, graph.Limits{})
	site := st.build()
	for _, name := range []string{"A", "B", "D", "E"} {
		st.mutate("registerAsset", fmt.Sprintf(`name: %q, level: EQUIPMENT, parent: %q, %s`, name, site, why))
	}
	type list struct {
		Plant struct {
			Moment struct{ KnownAt string }
			Assets struct {
				Nodes    []struct{ Name string }
				PageInfo struct {
					HasNextPage bool
					EndCursor   *string
				}
			}
		}
	}
	const query = `query($at: Moment, $f: AssetFilter, $after: String) { plant(at: $at) { moment { knownAt } assets(first: 2, filter: $f, after: $after) { nodes { name } pageInfo { hasNextPage endCursor } } } }`
	filter := map[string]any{"under": site}
	var names []string
	var first list
	st.ask(&first, query, map[string]any{"f": filter})
	page := first
	for {
		for _, n := range page.Plant.Assets.Nodes {
			names = append(names, n.Name)
		}
		if !page.Plant.Assets.PageInfo.HasNextPage {
			break
		}
		// Registered meanwhile, and not part of the first page's moment.
		st.mutate("registerAsset", fmt.Sprintf(`name: "C%d", level: EQUIPMENT, parent: %q, %s`, len(names), site, why))
		after := *page.Plant.Assets.PageInfo.EndCursor
		page = list{}
		st.ask(&page, query, map[string]any{"f": filter, "after": after})
	}
	if got := strings.Join(names, " "); got != "A B D E" {
		t.Errorf("pages show %q", got)
	}
	cursor := *first.Plant.Assets.PageInfo.EndCursor
	for what, c := range map[string]struct {
		variables map[string]any
		code      string
	}{
		"its own moment": {map[string]any{"f": filter, "after": cursor, "at": map[string]any{"known": map[string]any{"at": first.Plant.Moment.KnownAt}}}, ""},
		"another moment": {map[string]any{"f": filter, "after": cursor, "at": map[string]any{"known": map[string]any{"at": "00000000000000000003"}}}, "CURSOR_CUT_MISMATCH"},
		"another asOf":   {map[string]any{"f": filter, "after": cursor, "at": map[string]any{"asOf": stamp(t0)}}, "CURSOR_CUT_MISMATCH"},
		"another filter": {map[string]any{"f": map[string]any{}, "after": cursor}, "CURSOR_CUT_MISMATCH"},
		"no cursor":      {map[string]any{"f": filter, "after": "?"}, "BAD_INPUT"},
		"both of oneOf":  {map[string]any{"at": map[string]any{"known": map[string]any{"at": "00000000000000000003", "time": stamp(t0)}}}, "BAD_INPUT"},
		"none of oneOf":  {map[string]any{"at": map[string]any{"known": map[string]any{}}}, "BAD_INPUT"},
	} {
		if got := st.code(query, c.variables); got != c.code {
			t.Errorf("%s: %q, expected %q", what, got, c.code)
		}
	}
}

func TestEventsAndAuditPages(t *testing.T) {
	st := newStation(t, graph.Limits{})
	site := st.build()
	st.pump(site, "P1")
	st.report("D-P1", at(1), "p", 1.0)
	st.settle()
	for _, list := range []string{"events", "auditTrail"} {
		t.Run(list, func(t *testing.T) {
			walk := func(args, next string, info func(m map[string]any) (bool, any)) []string {
				var all []string
				cursor := ""
				for range 20 {
					var got map[string]struct {
						Nodes    []struct{ Position string }
						PageInfo map[string]any
						UpTo     string
					}
					st.ask(&got, fmt.Sprintf(`{ %s(%s %s) { nodes { position } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } upTo } }`, list, args, cursor), nil)
					var page []string
					for _, n := range got[list].Nodes {
						page = append(page, n.Position)
					}
					if next == "before" {
						all = append(page, all...)
					} else {
						all = append(all, page...)
					}
					more, c := info(got[list].PageInfo)
					if !more {
						return all
					}
					cursor = fmt.Sprintf("%s: %q", next, c)
				}
				t.Fatal("no end")
				return nil
			}
			forwards := walk("first: 3", "after", func(m map[string]any) (bool, any) { return m["hasNextPage"].(bool), m["endCursor"] })
			backwards := walk("last: 3", "before", func(m map[string]any) (bool, any) { return m["hasPreviousPage"].(bool), m["startCursor"] })
			var want []string
			for rec, err := range st.log.ReadAll(t.Context(), 0, eventlog.Forwards, eventlog.Filter{NoTelemetry: true}) {
				if err != nil {
					t.Fatal(err)
				}
				want = append(want, rec.Position.String())
			}
			if !reflect.DeepEqual(forwards, want) || !reflect.DeepEqual(backwards, want) {
				t.Errorf("forwards %v\nbackwards %v\nexpected %v", forwards, backwards, want)
			}
		})
	}
	st.shape(`{ events(filter: {types: ["telemetry.recorded.v1"]}) { nodes { stream data contentType samples { device signal value status statusCode } } } }`, nil,
		`{"events":{"nodes":[{"stream":"telemetry-D-P1.0","data":null,"contentType":"`+telemetry.ContentType+`","samples":[{"device":"D-P1","signal":"p","value":1,"status":"GOOD","statusCode":"0x00000000"}]}]}}`)
	early := st.take("note-a", 0, "one", "two").First
	st.shape(fmt.Sprintf(`{ a: events(filter: {stream: "note-a"}, upTo: %q, last: 5) { nodes { revision } } b: events(filter: {stream: "note-a"}, upTo: %q) { nodes { revision } } }`, early, early), nil,
		`{"a":{"nodes":[{"revision":"0"}]},"b":{"nodes":[{"revision":"0"}]}}`)
	st.shape(`{ events(filter: {stream: "class-pump"}, last: 5) { nodes { type revision } } }`, nil,
		`{"events":{"nodes":[{"type":"assetclass.defined.v1","revision":"0"}]}}`)
}

// TestReadsDoNotDependOnRows counts every call of a view: the same document over
// 20 and over 1,000 assets makes the same number of them.
func TestReadsDoNotDependOnRows(t *testing.T) {
	const query = `query($n: Int) { plant { assets(first: $n, filter: {level: EQUIPMENT}) { nodes {
		path parent { path parent { name } } ancestors { name } class { name }
		children(first: 3) { nodes { name } }
		relationships { nodes { to { name } } }
		devices { nodes { name assets { name } } }
		twin { reported { value } }
		tags { nodes { name asset { name } bindings { device } value { value quality { status } tag { asset { name } } } } }
	} } } }`
	st := newStation(t, graph.Limits{})
	site := st.build()
	own := ownID(t, site)
	st.clock.set(at(10))
	calls := map[int]int64{}
	made := 0
	for _, n := range []int{20, 1000} {
		var items []eventlog.Item[asset.Command]
		for ; made < n; made++ {
			key := eventlog.NewKey(origin, "test", "import", fmt.Sprint(made))
			call := func(k int) eventlog.Call {
				return eventlog.Call{Key: eventlog.NewKey(origin, "test", fmt.Sprint("import", k), fmt.Sprint(made)), Envelope: eventlog.Envelope{Actor: eventlog.Actor{Subject: "test", Kind: eventlog.Service}}}
			}
			id := key.Entity(0)
			items = append(items,
				eventlog.Item[asset.Command]{Call: call(0), Command: asset.Register{Asset: id, Name: fmt.Sprintf("P%04d", made), Level: asset.Equipment, Parent: own, Class: "pump", Effective: at(1)}},
				eventlog.Item[asset.Command]{Call: call(1), Command: asset.BindTag{Asset: id, Tag: "pressure", Device: fmt.Sprint("D", made), Signal: "p", Effective: at(1)}},
				eventlog.Item[asset.Command]{Call: call(2), Command: asset.Relate{From: id, Type: "feeds", To: own, Effective: at(1)}})
		}
		results, err := st.service.DoAll(t.Context(), items)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range results {
			if r.Err != nil {
				t.Fatal(r.Err)
			}
		}
		for i := n - len(items)/3; i < n; i++ {
			st.see(fmt.Sprint("D", i))
			st.report(fmt.Sprint("D", i), at(2), "p", float64(i))
		}
		st.settle()
		before := st.calls.sum()
		var got struct {
			Plant struct {
				Assets struct {
					Nodes []struct {
						Devices struct{ Nodes []any }
						Tags    struct {
							Nodes []struct{ Value *struct{ Value float64 } }
						}
						Twin struct{ Reported []any }
					}
				}
			}
		}
		begun := time.Now()
		st.ask(&got, query, map[string]any{"n": n})
		calls[n] = st.calls.sum() - before
		rows := got.Plant.Assets.Nodes
		if len(rows) != n {
			t.Fatalf("%d rows, expected %d", len(rows), n)
		}
		if len(rows[n-1].Tags.Nodes) != 3 || rows[n-1].Tags.Nodes[0].Value.Value != float64(n-1) || len(rows[n-1].Devices.Nodes) != 1 || len(rows[n-1].Twin.Reported) != 1 {
			t.Fatalf("%d rows; last %+v", len(rows), rows[len(rows)-1])
		}
		t.Logf("%d assets: %d calls of views, %v", n, calls[n], time.Since(begun).Round(time.Millisecond))
	}
	if calls[20] != calls[1000] || calls[1000] > 30 {
		t.Errorf("calls by number of assets: %v", calls)
	}
}

func TestSettings(t *testing.T) {
	st := newStation(t, graph.Limits{})
	site := st.build()
	st.pump(site, "P1")
	st.clock.set(at(100))
	st.report("D-P1", at(98), "p", 1.0) // expected every second
	before := st.settle()
	const stale = `{ plant { settings { allowedSkew staleMultiple revision } tag(path: "acme/north/P1/pressure") { value { stale } } } }`
	st.shape(stale, nil, `{"plant":{"settings":{"allowedSkew":"PT1M","staleMultiple":5,"revision":null},"tag":{"value":{"stale":false}}}}`)
	change := func(input string) (payload struct {
		Position string
		EventIDs []string `json:"eventIds"`
		Settings *struct{ AllowedSkew string }
	},
	) {
		t.Helper()
		var got map[string]json.RawMessage
		st.ask(&got, `mutation { changeSettings(input: {`+input+`, `+why+`}) { position eventIds settings { allowedSkew } } }`, nil)
		if err := json.Unmarshal(got["changeSettings"], &payload); err != nil {
			t.Fatal(err)
		}
		return payload
	}
	if p := change(`staleMultiple: 1.5, allowedSkew: "PT10S"`); len(p.EventIDs) != 1 || p.Settings == nil || p.Settings.AllowedSkew != "PT10S" {
		t.Errorf("got %+v", p)
	}
	if p := change(`staleMultiple: 1.5`); len(p.EventIDs) != 0 {
		t.Errorf("the same again is a new fact: %+v", p)
	}
	st.shape(stale, nil, `{"plant":{"settings":{"allowedSkew":"PT10S","staleMultiple":1.5,"revision":"0"},"tag":{"value":{"stale":true}}}}`)
	st.shape(`{ plant(at: {known: {at: "`+before.String()+`"}}) { settings { staleMultiple revision } } }`, nil, `{"plant":{"settings":{"staleMultiple":5,"revision":null}}}`)
	a, _ := st.post(`mutation { changeSettings(input: {staleMultiple: 0, allowedSkew: "P2D", `+why+`}) { position } }`, nil)
	if e := a.Errors[0].Extensions; e.Code != "BAD_INPUT" || len(e.Problems) != 2 {
		t.Errorf("got %+v", e)
	}
	if got := st.code(`mutation { changeSettings(input: {staleMultiple: 2, ifRevision: "7", `+why+`}) { position } }`, nil); got != "CONFLICT" {
		t.Errorf("got %s", got)
	}
}
