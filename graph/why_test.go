package graph_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twinlog/twinlog/domain/device"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/graph"
)

// gaps are a tag's, one line each.
func (st *station) gaps(path string, from, to time.Time, more string) []string {
	st.t.Helper()
	var got struct {
		Plant struct {
			Tag struct {
				Gaps struct {
					Nodes []struct {
						From, To time.Time
						Reasons  []struct {
							Kind     string
							Count    *int
							Note     *string
							Evidence []struct{ Type string }
						}
					}
				}
			}
		}
	}
	st.ask(&got, fmt.Sprintf(`{ plant%s { tag(id: %q) { gaps(from: %q, to: %q) { nodes { from to
		reasons { kind count note evidence { type } } } } } } }`, more, st.tag(path), stamp(from), stamp(to)), nil)
	var lines []string
	for _, g := range got.Plant.Tag.Gaps.Nodes {
		line := fmt.Sprintf("%.0f-%.0f", g.From.Sub(t0).Seconds(), g.To.Sub(t0).Seconds())
		for _, r := range g.Reasons {
			line += " " + r.Kind
			if r.Count != nil {
				line += fmt.Sprint(" ", *r.Count)
			}
			if r.Note != nil {
				line += fmt.Sprintf(" (%s)", *r.Note)
			}
			for _, e := range r.Evidence {
				line += " " + e.Type
			}
		}
		lines = append(lines, line)
	}
	return lines
}

// happened appends an event to the stream of D-P1's messages.
func (st *station) happened(event eventlog.Event) {
	const dev = "D-P1"
	st.t.Helper()
	st.mu.Lock()
	defer st.mu.Unlock()
	n := st.seq[dev]
	st.seq[dev]++
	e, err := eventlog.NewJSONEvent(eventlog.NewKey(origin, "test", dev, fmt.Sprint(n)).Event(0), event, eventlog.Envelope{Actor: eventlog.Actor{Subject: dev, Kind: eventlog.Device}})
	if err != nil {
		st.t.Fatal(err)
	}
	at := eventlog.NoStream
	if n > 0 {
		at = eventlog.At(eventlog.Revision(n - 1))
	}
	if _, err := st.log.Append(context.Background(), telemetry.Stream(dev, telemetry.Unordered), at, e); err != nil {
		st.t.Fatal(err)
	}
}

func (st *station) presence(dev string, online bool, when time.Time) {
	st.t.Helper()
	_, _, err := device.Decider.Execute(context.Background(), st.log, device.Stream(dev), eventlog.Call{
		Key: eventlog.NewKey(origin, "test", dev, stamp(when)), Envelope: eventlog.Envelope{Actor: eventlog.Actor{Subject: dev, Kind: eventlog.Device}},
	}, device.Report{See: device.See{Device: dev, How: device.FirstSeen}, Online: online, At: when, Reason: "conn_lost"})
	if err != nil {
		st.t.Fatal(err)
	}
}

func TestGaps(t *testing.T) {
	st := newStation(t, graph.Limits{})
	st.pump(st.build(), "P1")
	path := "acme/north/P1/pressure" // expected each second: more than 5 s without one is a gap
	bind := func(dev string, second float64) {
		t.Helper()
		st.bind(path, dev, "p", fmt.Sprintf("effective: %q,", stamp(at(second))))
	}
	bind("D-P1", 10)
	say := func(from, to int) {
		t.Helper()
		for s := from; s < to; s++ {
			st.report("D-P1", at(float64(s)), "p", 1.0)
		}
	}
	st.clock.set(at(1000))
	say(20, 30)
	st.presence("D-P1", false, at(31))
	st.presence("D-P1", true, at(48))
	say(50, 60)
	st.happened(telemetry.Lost{From: 7, To: 9, Counts: telemetry.Counts{Messages: 3, Samples: 30}, Oldest: at(60), Newest: at(69), Reason: "outbox over its budget"})
	say(70, 80)
	st.happened(telemetry.Refused{Seq: 8, Reason: "no contract"})
	st.happened(telemetry.Refused{Seq: 9, Reason: "no contract"})
	say(90, 100)
	st.report("D-P1", at(105), "t", 20.0) // it speaks, of another signal
	say(110, 120)
	st.happened(telemetry.Gap{Reason: telemetry.GapMissing, From: 3, To: 6})
	say(130, 140)
	say(150, 160)
	known := st.settle()
	want := []string{
		"0-20 UNBOUND tag.bound.v1 UNKNOWN",
		"29-50 OFFLINE (conn_lost) device.offline.v1 device.online.v1",
		"59-70 LOST 3 (outbox over its budget) telemetry.lost.v1",
		"79-90 REFUSED 2 (no contract) telemetry.refused.v1 telemetry.refused.v1",
		"99-110 FILTERED 1 telemetry.recorded.v1",
		"119-130 MISSING 4 (missing) telemetry.gap.v1",
		"139-150 UNKNOWN",
		"159-200 PENDING telemetry.recorded.v1",
	}
	got := st.gaps(path, at(0), at(200), "")
	want[0] = strings.TrimSuffix(want[0], " UNKNOWN")
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nexpected\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	// What comes late fills a gap, and what was known before stays.
	say(140, 150)
	say(160, 200)
	st.settle()
	if got := st.gaps(path, at(130), at(200), ""); len(got) != 0 {
		t.Errorf("filled: %v", got)
	}
	if got := st.gaps(path, at(130), at(200), fmt.Sprintf(`(at: {known: {at: %q}})`, known)); strings.Join(got, "\n") != strings.Join(want[6:], "\n") {
		t.Errorf("known before: %v", got)
	}
	// One binding ends, another begins later.
	st.mutate("bindTag", fmt.Sprintf(`tag: %q, effective: %q, %s`, st.tag(path), stamp(at(205)), why))
	if got := st.gaps(path, at(195), at(230), ""); strings.Join(got, "\n") != "199-230 UNBOUND tag.unbound.v1 PENDING telemetry.recorded.v1" {
		t.Errorf("unbound: %v", got)
	}
}

func TestLineage(t *testing.T) {
	st := newStation(t, graph.Limits{})
	st.pump(st.build(), "P1")
	st.see("D-P1")
	st.clock.set(at(1000))
	st.bind("acme/north/P1/pressure", "D-P1", "p", fmt.Sprintf("effective: %q,", stamp(at(1))))
	st.ask(&struct{}{}, `mutation { changeSettings(input: {allowedSkew: "PT2M", `+why+`}) { position } }`, nil)
	st.firmware("D-P1", "2.3.1", 100, 5)
	first := st.correct(map[string]any{"action": "MARK_BAD", "device": "D-P1", "from": stamp(at(0)), "to": stamp(at(200))})
	st.correct(map[string]any{"action": "UNDO", "supersedes": []string{first.Correction.ID}})
	st.settle()
	id := plantID('e', origin, string(telemetry.Stream("D-P1", telemetry.Unordered))+"@0")
	type steps []struct {
		Relation string
		Event    struct{ Type string }
		Depth    int
	}
	var got struct {
		Lineage struct {
			Message         *struct{ Device, Gateway, Firmware, Source, TimeBasis string }
			Causes, Effects steps
			Truncated       bool
		}
	}
	ask := func(id, more string) (causes, effects string) {
		t.Helper()
		got.Lineage.Message = nil
		st.ask(&got, fmt.Sprintf(`{ lineage(event: %q%s) { message { device gateway firmware source timeBasis } truncated
			causes { relation event { type } depth } effects { relation event { type } depth } } }`, id, more), nil)
		line := func(list steps) string {
			var parts []string
			for _, s := range list {
				parts = append(parts, fmt.Sprint(s.Relation, " ", s.Event.Type, " ", s.Depth))
			}
			return strings.Join(parts, ", ")
		}
		return line(got.Lineage.Causes), line(got.Lineage.Effects)
	}
	causes, effects := ask(id, "")
	if m := got.Lineage.Message; m == nil || m.Device != "D-P1" || m.Gateway != "GW" || m.Firmware != "2.3.1" || m.Source != "D-P1" || m.TimeBasis != "SOURCE_TS" {
		t.Errorf("message %+v", m)
	}
	if want := "DEVICE device.registered.v1 1, BINDING tag.bound.v1 1, SETTINGS settings.changed.v1 1"; causes != want {
		t.Errorf("causes %s\nexpected %s", causes, want)
	}
	if want := "CORRECTION correction.made.v1 1, CORRECTION correction.made.v1 1"; effects != want || got.Lineage.Truncated {
		t.Errorf("effects %s\nexpected %s", effects, want)
	}
	if causes, effects = ask(first.Correction.ID, ""); causes != "" || effects != "SUPERSEDING correction.made.v1 1" {
		t.Errorf("of the correction: %q, %q", causes, effects)
	}
	if causes, _ = ask(id, ", first: 1"); strings.Contains(causes, ",") || !got.Lineage.Truncated {
		t.Errorf("the first one: %s, truncated %v", causes, got.Lineage.Truncated)
	}
}

func TestDiff(t *testing.T) {
	st := newStation(t, graph.Limits{})
	site := st.build()
	p1 := st.pump(site, "P1")
	st.clock.set(at(1000))
	st.report("D-P1", at(100), "p", 1.0, "t", 20.0)
	since := st.settle().String()
	diff := func(query string) string {
		t.Helper()
		var lines []string
		for after := ""; ; {
			var got struct {
				Plant struct {
					Diff struct {
						Nodes []struct {
							Asset         struct{ Name string }
							Tag           *struct{ Name string }
							Field         string
							Before, After any
						}
						PageInfo struct {
							HasNextPage bool
							EndCursor   *string
						}
					}
				}
			}
			st.ask(&got, fmt.Sprintf(`{ plant { diff(since: {%s}, first: 2, after: %q) { nodes { asset { name } tag { name } field before after } pageInfo { hasNextPage endCursor } } } }`, query, after), nil)
			for _, n := range got.Plant.Diff.Nodes {
				line := n.Asset.Name
				if n.Tag != nil {
					line += "/" + n.Tag.Name
				}
				value := func(v any) any {
					if m, ok := v.(map[string]any); ok && m["status"] != nil {
						return fmt.Sprint(m["value"], " ", m["status"])
					}
					if l, ok := v.([]any); ok {
						return len(l)
					}
					return v
				}
				lines = append(lines, fmt.Sprint(line, " ", n.Field, " ", value(n.Before), " > ", value(n.After)))
			}
			if !got.Plant.Diff.PageInfo.HasNextPage {
				return strings.Join(lines, "\n")
			}
			after = *got.Plant.Diff.PageInfo.EndCursor
		}
	}
	if got := diff(fmt.Sprintf(`known: {at: %q}`, since)); got != "" {
		t.Errorf("nothing has happened: %s", got)
	}
	st.report("D-P1", at(110), "p", 2.0)
	st.mutate("renameAsset", fmt.Sprintf(`asset: %q, name: "P-001", %s`, p1, why))
	st.mutate("updateNameplate", fmt.Sprintf(`asset: %q, patch: {maker: "KSB"}, %s`, p1, why))
	st.pump(site, "P2")
	st.correct(map[string]any{"action": "MARK_BAD", "device": "D-P1", "signals": []string{"t"}, "from": stamp(at(0)), "to": stamp(at(105))})
	want := `P-001 name P1 > P-001
P-001 nameplate <nil> > map[maker:KSB]
P-001/pressure value 1 GOOD > 2 GOOD
P-001/temperature value 20 GOOD > 20 BAD
P2 exists false > true
P2/pressure exists false > true
P2/pressure bindings 0 > 1
P2/running exists false > true
P2/running bindings 0 > 1
P2/temperature exists false > true
P2/temperature bindings 0 > 1`
	if got := diff(fmt.Sprintf(`known: {at: %q}`, since)); got != want {
		t.Errorf("got\n%s\nexpected\n%s", got, want)
	}
	// By the plant's clock, with all that is known now.
	if got := diff(fmt.Sprintf(`asOf: %q`, stamp(at(101)))); !strings.HasPrefix(got, "P-001 name P1 > P-001\n") || !strings.Contains(got, "pressure value 1 GOOD > 2 GOOD") || strings.Contains(got, "temperature value") {
		t.Errorf("since an instant:\n%s", got)
	}
}
