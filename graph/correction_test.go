package graph_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/graph"
)

const correct = `mutation($in: CorrectionInput!) { correct(input: $in) { position eventIds repeated samples correction { id type } } }`

type correctionPayload struct {
	Position   string
	EventIDs   []string `json:"eventIds"`
	Repeated   bool
	Samples    int
	Correction *struct{ ID, Type string }
}

// correct makes a correction; in is a CorrectionInput without its reason.
func (st *station) correct(in map[string]any) correctionPayload {
	st.t.Helper()
	var got struct{ Correct correctionPayload }
	st.ask(&got, correct, map[string]any{"in": because(in)})
	if got.Correct.Correction == nil || got.Correct.Correction.Type != "correction.made.v1" {
		st.t.Fatalf("got %+v", got.Correct)
	}
	return got.Correct
}

func because(in map[string]any) map[string]any {
	in["reason"] = map[string]any{"text": "the sensor was wet"}
	return in
}

// firmware sends one value of a pump's pressure, with what the message says of
// where it comes from.
func (st *station) firmware(dev, firmware string, second, value float64) {
	st.t.Helper()
	st.send(telemetry.Row{
		Device: dev, DeviceType: "pump", SourceTime: at(second), Basis: telemetry.FromSourceTS, EdgeLatency: telemetry.NoLatency,
		Firmware: firmware, Gateway: "GW",
		Samples: []telemetry.Sample{{Signal: "p", Value: num(value), Quality: quality.Quality{Raw: 192, Scheme: quality.OPCDA}}},
	})
}

// everyPath asks for a pressure by every path that shows values, at a cut, and
// checks that all of them say the same.
func (st *station) everyPath(path string, until time.Time, known string) string {
	st.t.Helper()
	moment := ""
	if known != "" {
		moment = fmt.Sprintf(`(at: {known: {at: %q}})`, known)
	}
	var got struct {
		Plant struct {
			Tag struct {
				Value *struct {
					Number    *float64
					Quality   struct{ StatusCode string }
					Corrected bool
				}
				Samples struct {
					Nodes []struct {
						Number    *float64
						Quality   struct{ StatusCode string }
						Corrected bool
					}
				}
			}
			TagValues struct {
				Values []any
				Status [][]any
			}
			Series []struct {
				Values    []any
				Status    [][]any
				Corrected []int
			}
			Aggregates []struct {
				Function string
				Values   []any
				Status   [][]any
			}
		}
	}
	id := st.tag(path)
	st.ask(&got, fmt.Sprintf(`{ plant%s {
		tag(id: %q) { value { number quality { statusCode } corrected }
			samples(from: "2020-01-01T00:00:00Z", to: %q) { nodes { number quality { statusCode } corrected } } }
		tagValues(filter: {names: ["pressure"]}) { values status }
		series(tags: [%q], from: "2020-01-01T00:00:00Z", to: %q) { values status corrected }
		aggregates(tags: [%q], from: "2020-01-01T00:00:00Z", to: %q, interval: "P100000D", functions: [AVERAGE, COUNT, END]) { function values status }
	} }`, moment, id, stamp(until), id, stamp(until), id, stamp(until)), nil)
	var b strings.Builder
	p := got.Plant
	sum, n, rows := 0.0, 0, []int{}
	for i, s := range p.Tag.Samples.Nodes {
		fmt.Fprintf(&b, "%v %s %v; ", *s.Number, s.Quality.StatusCode, s.Corrected)
		if s.Corrected {
			rows = append(rows, i)
		}
		if s.Quality.StatusCode < "0x4" {
			sum, n = sum+*s.Number, n+1
		}
		if got := fmt.Sprint(p.Series[0].Values[i]); got != fmt.Sprint(*s.Number) {
			st.t.Errorf("%s: sample %d is %v, series says %s", known, i, *s.Number, got)
		}
	}
	if diff := cmp.Diff(rows, p.Series[0].Corrected); diff != "" {
		st.t.Errorf("corrected rows of the series: %s", diff)
	}
	last := p.Tag.Samples.Nodes[len(p.Tag.Samples.Nodes)-1]
	if *p.Tag.Value.Number != *last.Number || p.Tag.Value.Quality != last.Quality || p.Tag.Value.Corrected != last.Corrected {
		st.t.Errorf("%s: the value is %+v, the last sample %+v", known, p.Tag.Value, last)
	}
	if got := fmt.Sprint(p.TagValues.Values[0], p.TagValues.Status[0][1]); got != fmt.Sprint(*last.Number, last.Quality.StatusCode) {
		st.t.Errorf("%s: the table says %s, the last sample is %v", known, got, last)
	}
	if p.Aggregates[1].Values[0] != float64(n) || n > 0 && p.Aggregates[0].Values[0] != sum/float64(n) || p.Aggregates[2].Values[0] != *last.Number {
		st.t.Errorf("%s: aggregates %+v, expected average %v of %d", known, p.Aggregates, sum/float64(n), n)
	}
	return b.String()
}

func TestCorrections(t *testing.T) {
	st := newStation(t, graph.Limits{})
	site := st.build()
	st.pump(site, "P1")
	st.clock.set(at(1000))
	for i := range 6 {
		st.firmware("D-P1", map[bool]string{true: "2.3.1", false: "2.3.0"}[i >= 3], float64(100+i), float64(10+i))
	}
	tag, path, until := st.tag("acme/north/P1/pressure"), "acme/north/P1/pressure", at(2000)
	before := st.settle().String()
	told := map[string]string{"": st.everyPath(path, until, "")}
	told[before] = told[""]
	remember := func(c correctionPayload) {
		t.Helper()
		told[c.Position] = st.everyPath(path, until, "")
	}

	bad := st.correct(map[string]any{"action": "MARK_BAD", "tag": tag, "from": stamp(at(0)), "to": stamp(at(1000)), "condition": map[string]any{"firmware": "2.3.1"}})
	if bad.Samples != 3 {
		t.Errorf("firmware 2.3.1 sent 3, got %d", bad.Samples)
	}
	remember(bad)
	want := "10 0x00000000 false; 11 0x00000000 false; 12 0x00000000 false; 13 0x80000000 true; 14 0x80000000 true; 15 0x80000000 true; "
	if got := told[bad.Position]; got != want {
		t.Errorf("marked bad: %s", got)
	}
	sub := st.correct(map[string]any{"action": "SUBSTITUTE", "tag": tag, "from": stamp(at(104)), "to": stamp(at(105)), "value": 40})
	remember(sub)
	if got := told[sub.Position]; !strings.Contains(got, "40 0x00DC0000 true; 15 0x80000000 true") {
		t.Errorf("substituted: %s", got)
	}
	scaled := st.correct(map[string]any{"action": "SUBSTITUTE", "device": "D-P1", "signals": []string{"p"}, "from": stamp(at(100)), "to": stamp(at(102)), "scale": map[string]any{"factor": 0.5, "offset": 1}})
	remember(scaled)
	if got := told[scaled.Position]; !strings.HasPrefix(got, "6 0x00DC0000 true; 6.5 0x00DC0000 true; 12 ") {
		t.Errorf("scaled: %s", got)
	}
	// One sample, by its identity.
	var first struct {
		Plant struct {
			Tag struct {
				Samples struct {
					Nodes []struct{ Ref map[string]any }
				}
			}
		}
	}
	st.ask(&first, fmt.Sprintf(`{ plant { tag(id: %q) { samples(from: "2020-01-01T00:00:00Z", to: %q, first: 1) { nodes { ref { stream revision index } } } } } }`, tag, stamp(until)), nil)
	one := st.correct(map[string]any{"action": "CHANGE_QUALITY", "samples": []any{first.Plant.Tag.Samples.Nodes[0].Ref}, "statusCode": "0x40950000"})
	remember(one)
	if got := told[one.Position]; one.Samples != 1 || !strings.HasPrefix(got, "6 0x40950000 true; 6.5 0x00DC0000 true") {
		t.Errorf("one sample: %d, %s", one.Samples, got)
	}
	// Undone, what was before is in force again; and undoing that brings it back.
	undo := st.correct(map[string]any{"action": "UNDO", "supersedes": []string{bad.Correction.ID}})
	remember(undo)
	if got := told[undo.Position]; undo.Samples != 2 || !strings.HasSuffix(got, "13 0x00000000 false; 40 0x00DC0000 true; 15 0x00000000 false; ") {
		t.Errorf("undone: %d, %s", undo.Samples, got)
	}
	redo := st.correct(map[string]any{"action": "UNDO", "supersedes": []string{undo.Correction.ID}})
	remember(redo)
	if told[redo.Position] != told[one.Position] {
		t.Errorf("redone: %s", told[redo.Position])
	}
	if got := st.code(correct, map[string]any{"in": because(map[string]any{"action": "UNDO", "supersedes": []string{bad.Correction.ID, undo.Correction.ID}})}); got != "ILLEGAL_STATE" {
		t.Errorf("superseded twice: %s", got)
	}

	// What comes later is corrected only if it was said so.
	later := st.correct(map[string]any{"action": "MARK_BAD", "tag": tag, "from": stamp(at(200)), "to": stamp(at(300)), "includingLater": true})
	notLater := st.correct(map[string]any{"action": "MARK_BAD", "tag": tag, "from": stamp(at(300)), "to": stamp(at(400))})
	st.firmware("D-P1", "2.4", 250, 77)
	st.firmware("D-P1", "2.4", 350, 78)
	st.settle()
	if got := st.everyPath(path, until, ""); !strings.HasSuffix(got, "77 0x80000000 true; 78 0x00000000 false; ") || later.Samples+notLater.Samples != 0 {
		t.Errorf("later ones: %s", got)
	}
	delete(told, "")
	for known, want := range told {
		if got := st.everyPath(path, until, known); got != want {
			t.Errorf("known at %s: %s\nexpected %s", known, got, want)
		}
	}
	st.versions(tag)
}

// versions checks the looks of the sample that was corrected most often.
func (st *station) versions(tag string) {
	st.t.Helper()
	st.shape(fmt.Sprintf(`{ plant { tag(id: %q) { versions(at: %q) { number quality { name } current
		modification { updateType action actor { kind } reason { prompted } correction { type } } } } } }`, tag, stamp(at(104))), nil, `{"plant":{"tag":{"versions":[
		{"number":14,"quality":{"name":"Good"},"current":false,"modification":null},
		{"number":14,"quality":{"name":"Bad"},"current":false,"modification":{"updateType":"REPLACE","action":"MARK_BAD","actor":{"kind":"HUMAN"},"reason":{"prompted":false},"correction":{"type":"correction.made.v1"}}},
		{"number":40,"quality":{"name":"GoodEdited"},"current":true,"modification":{"updateType":"REPLACE","action":"SUBSTITUTE","actor":{"kind":"HUMAN"},"reason":{"prompted":false},"correction":{"type":"correction.made.v1"}}}]}}}`)
}

func TestImpact(t *testing.T) {
	st := newStation(t, graph.Limits{})
	site := st.build()
	st.pump(site, "P1")
	st.clock.set(at(1000))
	for i := range 10 {
		st.firmware("D-P1", "1", float64(100+i), float64(i))
		st.firmware("NOBODY", "1", float64(100+i), float64(i))
	}
	st.settle()
	in := because(map[string]any{"action": "MARK_BAD", "tag": st.tag("acme/north/P1/pressure"), "from": stamp(at(0)), "to": stamp(at(105))})
	type impact struct {
		Digest  string
		Samples int
		Assets  []struct {
			Asset    struct{ Path string }
			Tags     []struct{ Name string }
			Samples  int
			Examples []struct {
				SourceTime    string
				Before, After struct {
					Number  float64
					Quality struct{ Name string }
				}
			}
		}
		Unassigned int
	}
	look := func(in map[string]any) impact {
		t.Helper()
		var got struct{ Impact impact }
		st.ask(&got, `query($in: CorrectionInput!) { impact(correction: $in) { digest samples unassigned assets {
			asset { path } tags { name } samples examples { sourceTime before { number quality { name } } after { number quality { name } } } } } }`, map[string]any{"in": in})
		return got.Impact
	}
	shown := look(in)
	if a := shown.Assets; shown.Samples != 5 || len(a) != 1 || a[0].Asset.Path != "acme/north/P1" || a[0].Samples != 5 ||
		len(a[0].Examples) != 5 || a[0].Examples[1].Before.Number != 1 || a[0].Examples[1].Before.Quality.Name != "Good" || a[0].Examples[1].After.Quality.Name != "Bad" {
		t.Errorf("got %+v", shown)
	}
	other := look(because(map[string]any{"action": "MARK_BAD", "device": "NOBODY", "from": stamp(at(0)), "to": stamp(at(105))}))
	if other.Samples != 5 || other.Unassigned != 5 || len(other.Assets) != 0 || other.Digest == shown.Digest {
		t.Errorf("of nobody: %+v", other)
	}
	st.firmware("D-P1", "1", 104.5, 99) // late, and hit by it as well
	in["impact"] = shown.Digest
	a, _ := st.post(correct, map[string]any{"in": in})
	if len(a.Errors) != 1 || a.Errors[0].Extensions.Code != "IMPACT_CHANGED" {
		t.Fatalf("got %+v", a.Errors)
	}
	in["impact"] = look(in).Digest
	in["idempotencyKey"] = "once"
	first := st.correct(in)
	again := st.correct(in)
	if first.Samples != 6 || first.Repeated || !again.Repeated || again.Position != first.Position || again.Samples != 6 {
		t.Errorf("%+v, again %+v", first, again)
	}
	delete(in, "idempotencyKey")
	if got := st.code(correct, map[string]any{"in": in}); got != "IMPACT_CHANGED" {
		t.Errorf("it would change nothing any more: %q", got)
	}
}

func TestCorrectionsRefused(t *testing.T) {
	st := newStation(t, graph.Limits{})
	st.pump(st.build(), "P1")
	tag := st.tag("acme/north/P1/pressure")
	between := func(in map[string]any) map[string]any {
		in["from"], in["to"] = stamp(at(0)), stamp(at(10))
		return in
	}
	for name, c := range map[string]struct {
		in   map[string]any
		code string
	}{
		"of nothing":                 {map[string]any{"action": "MARK_BAD"}, "BAD_INPUT"},
		"of two things":              {between(map[string]any{"action": "MARK_BAD", "tag": tag, "device": "D"}), "BAD_INPUT"},
		"without a range":            {map[string]any{"action": "MARK_BAD", "tag": tag}, "BAD_INPUT"},
		"a good one for bad":         {between(map[string]any{"action": "MARK_BAD", "tag": tag, "statusCode": "0x00000000"}), "BAD_INPUT"},
		"a substitute without one":   {between(map[string]any{"action": "SUBSTITUTE", "tag": tag}), "BAD_INPUT"},
		"a substitute with two":      {between(map[string]any{"action": "SUBSTITUTE", "tag": tag, "value": 1, "scale": map[string]any{"factor": 2}}), "BAD_INPUT"},
		"a quality that nobody said": {between(map[string]any{"action": "CHANGE_QUALITY", "tag": tag}), "BAD_INPUT"},
		"an undo of nothing":         {map[string]any{"action": "UNDO"}, "BAD_INPUT"},
		"an undo of what is none":    {map[string]any{"action": "UNDO", "supersedes": []string{tag}}, "BAD_INPUT"},
		"a sample that is none":      {map[string]any{"action": "MARK_BAD", "samples": []any{map[string]any{"stream": "telemetry-x", "revision": "0", "index": 0}}}, "BAD_INPUT"},
		"a value that is none":       {between(map[string]any{"action": "SUBSTITUTE", "tag": tag, "value": []int{1}}), "BAD_INPUT"},
	} {
		if got := st.code(correct, map[string]any{"in": because(c.in)}); got != c.code {
			t.Errorf("%s: %q, expected %s", name, got, c.code)
		}
		if got := st.code(`query($in: CorrectionInput!) { impact(correction: $in) { samples } }`, map[string]any{"in": c.in}); got != c.code {
			t.Errorf("impact of %s: %q, expected %s", name, got, c.code)
		}
	}
	var made map[string]any
	if err := json.Unmarshal([]byte(`{"action":"UNDO","supersedes":["`+plantID('e', origin, "correction-"+origin+"@7")+`"]}`), &made); err != nil {
		t.Fatal(err)
	}
	if got := st.code(correct, map[string]any{"in": because(made)}); got != "NOT_FOUND" {
		t.Errorf("no such correction: %s", got)
	}
}
