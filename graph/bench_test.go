package graph_test

import (
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/twinlog/twinlog/domain/asset"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/graph"
)

// BenchmarkPlant is 10,000 tags asked over HTTP: their current values, one
// tag's day at 1 Hz, and the same list as objects for comparison.
func BenchmarkPlant(b *testing.B) {
	st := newStation(b, graph.Limits{})
	site := st.build()
	own := ownID(b, site)
	const pumps = 3334 // of three tags each
	var items []eventlog.Item[asset.Command]
	for i := range pumps {
		call := func(k string) eventlog.Call {
			return eventlog.Call{Key: eventlog.NewKey(origin, "test", k, fmt.Sprint(i)), Envelope: eventlog.Envelope{Actor: eventlog.Actor{Subject: "test", Kind: eventlog.Service}}}
		}
		id := eventlog.NewKey(origin, "test", "asset", fmt.Sprint(i)).Entity(0)
		items = append(items, eventlog.Item[asset.Command]{Call: call("r"), Command: asset.Register{Asset: id, Name: fmt.Sprint("P", i), Level: asset.Equipment, Parent: own, Class: "pump", Effective: at(1)}})
		for tag, signal := range map[string]string{"pressure": "p", "temperature": "t", "running": "on"} {
			items = append(items, eventlog.Item[asset.Command]{Call: call(tag), Command: asset.BindTag{Asset: id, Tag: tag, Device: fmt.Sprint("D-P", i), Signal: signal, Effective: at(1)}})
		}
	}
	if _, err := st.service.DoAll(b.Context(), items); err != nil {
		b.Fatal(err)
	}
	st.clock.set(at(100_000))
	for i := range pumps {
		st.report(fmt.Sprint("D-P", i), at(99_990), "p", float64(i)/10, "t", 20.5, "on", 1.0)
	}
	const day = 86_400
	for i := range day {
		st.report("D-P0", at(100+float64(i)), "p", float64(i%1000)/10)
	}
	st.settle()
	id := st.tag("acme/north/P0/pressure")
	span := fmt.Sprintf(`from: %q, to: %q`, stamp(at(0)), stamp(at(0).Add(48*time.Hour)))
	for name, query := range map[string]string{
		"values":     `{ plant { tagValues(first: 20000) { tags paths values status times start position } } }`,
		"day":        fmt.Sprintf(`{ plant { series(tags: [%q], %s) { times values status count } } }`, id, span),
		"aggregates": fmt.Sprintf(`{ plant { aggregates(tags: [%q], %s, interval: "PT1H", functions: [AVERAGE, MINIMUM, MAXIMUM]) { values status } } }`, id, span),
		"objects":    `{ plant { tags(first: 1000) { nodes { path value { value sourceTime quality { status } } } } } }`,
	} {
		b.Run(name, func(b *testing.B) {
			var size int64
			for b.Loop() {
				resp := st.do("POST", "", `{"query":`+fmt.Sprintf("%q", query)+`}`, map[string]string{"Content-Type": "application/json"})
				size, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
			b.ReportMetric(float64(size), "bytes")
		})
	}
}
