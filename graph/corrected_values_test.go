package graph_test

import (
	"fmt"
	"testing"

	"github.com/twinlog/twinlog/graph"
)

// TestValuesLookAsTheyAreKnown: both deliveries tell of a correction of the
// current value and of its undoing, in their place in the log; the later
// samples that a correction includes come corrected, and one that is ahead of
// its time comes in doubt, as far as the settings at that place allow.
func TestValuesLookAsTheyAreKnown(t *testing.T) {
	st := newStation(t, graph.Limits{})
	site := st.build()
	pump := st.pump(site, "P1")
	tag := st.tag("acme/north/P1/pressure")
	st.clock.set(at(1000))
	st.report("D-P1", at(900), "p", 1.0)
	start := st.settle().String()
	w, e := st.dial(t, `{}`), st.dial(t, `{}`)
	w.subscribe("v", watch, map[string]any{"filter": under(pump), "rate": "PT0S"})
	e.subscribe("v", watch, map[string]any{"filter": under(pump), "rate": "PT0S", "delivery": "EVERY"})
	for _, c := range []*wire{w, e} {
		c.news("SNAPSHOT")
		c.news("CAUGHT_UP")
	}
	var told []string
	next := func(c *wire, value float64, status, position string) {
		t.Helper()
		f := c.news("CHANGES")
		if len(f.Changes) != 1 || f.Changes[0].Value != value || f.Changes[0].Status != status || f.Changes[0].Position != position {
			t.Fatalf("got %+v, expected %v %s at %s", f, value, status, position)
		}
		if c == e {
			told = append(told, fmt.Sprint(f.Changes[0], f.Changes[0].Status))
		}
	}
	both := func(value float64, status, position string) {
		t.Helper()
		next(w, value, status, position)
		next(e, value, status, position)
	}
	bad := st.correct(map[string]any{"action": "MARK_BAD", "tag": tag, "from": stamp(at(0)), "to": stamp(at(5000)), "includingLater": true})
	both(1, "BAD", bad.Position)
	both(2, "BAD", st.report("D-P1", at(950), "p", 2.0).Last.String())
	undo := st.correct(map[string]any{"action": "UNDO", "supersedes": []string{bad.Correction.ID}})
	both(2, "GOOD", undo.Position)
	both(3, "GOOD", st.report("D-P1", at(960), "p", 3.0).Last.String())
	// Ahead by 200 s, with 60 allowed and then with 300.
	ahead := st.report("D-P1", at(1200), "p", 4.0).Last.String()
	next(e, 4, "UNCERTAIN", ahead)
	st.ask(&struct{}{}, `mutation { changeSettings(input: {allowedSkew: "PT5M", `+why+`}) { position } }`, nil)
	next(w, 4, "UNCERTAIN", ahead) // it has become current with the settings
	both(5, "GOOD", st.report("D-P1", at(1210), "p", 5.0).Last.String())

	// Whoever comes later and asks for all of it again is told the same.
	again := st.dial(t, `{}`)
	again.subscribe("v", watch, map[string]any{"filter": under(pump), "rate": "PT0S", "delivery": "EVERY", "start": map[string]any{"after": start}})
	var heard []string
	for len(heard) < len(told) {
		for _, c := range again.news("CHANGES").Changes {
			heard = append(heard, fmt.Sprint(c, c.Status))
		}
	}
	if fmt.Sprint(heard) != fmt.Sprint(told) {
		t.Errorf("again %v\nfirst %v", heard, told)
	}
}
