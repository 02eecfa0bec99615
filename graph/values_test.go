package graph_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twinlog/twinlog/domain/asset"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/graph"
	"github.com/twinlog/twinlog/test/budget"
	"github.com/twinlog/twinlog/test/peer"
)

const watch = `subscription($filter: ValueFilter!, $start: ValueStart, $delivery: Delivery, $rate: Duration) {
	values(filter: $filter, start: $start, delivery: $delivery, maxRate: $rate) {
		kind position changes { tag path value number status statusCode sourceTime position missed } } }`

type valueFrame struct {
	Kind     string
	Position string
	Changes  []valueChange
}

type valueChange struct {
	Tag, Path, Status, SourceTime, Position string
	Value                                   any
	Missed                                  int
}

func (c valueChange) String() string { return fmt.Sprintf("%s=%v@%s", c.Path, c.Value, c.Position) }

// values reads the next frame of a values subscription.
func (w *wire) values() valueFrame {
	w.t.Helper()
	m := w.read()
	if m.Type != "next" {
		w.t.Fatalf("got %s %s", m.Type, m.Payload)
	}
	var a struct {
		Data   struct{ Values valueFrame }
		Errors []answerError
	}
	if err := json.Unmarshal(m.Payload, &a); err != nil || len(a.Errors) > 0 {
		w.t.Fatalf("%s: %v", m.Payload, err)
	}
	return a.Data.Values
}

// news reads frames until one of these kinds.
func (w *wire) news(kinds ...string) valueFrame {
	w.t.Helper()
	for {
		f := w.values()
		if slices.Contains(kinds, f.Kind) {
			return f
		}
		if f.Kind != "HEARTBEAT" {
			w.t.Fatalf("got %+v, expected one of %v", f, kinds)
		}
	}
}

func under(id string) map[string]any {
	return map[string]any{"under": id, "names": []string{"pressure"}}
}

func TestNewestValues(t *testing.T) {
	st := newStation(t, graph.Limits{Heartbeat: 300 * time.Millisecond})
	site := st.build()
	pump := st.pump(site, "P1")
	st.clock.set(at(1000))
	st.report("D-P1", at(100), "p", 1.0, "t", 20.0)
	st.settle()
	w := st.dial(t, `{}`)
	w.subscribe("v", watch, map[string]any{"filter": under(pump), "rate": "PT0.05S"})
	f := w.values()
	if f.Kind != "SNAPSHOT" || len(f.Changes) != 1 || fmt.Sprint(f.Changes[0].Value) != "1" || f.Changes[0].Status != "GOOD" {
		t.Fatalf("first %+v", f)
	}
	if f = w.values(); f.Kind != "CAUGHT_UP" {
		t.Fatalf("second %+v", f)
	}
	const reported = 400
	for i := range reported {
		st.report("D-P1", at(101+float64(i)), "p", float64(i))
	}
	frames, changes, missed := 0, 0, 0
	for last := -1.0; last != reported-1; {
		f = w.news("CHANGES")
		frames++
		for _, c := range f.Changes {
			v := c.Value.(float64)
			if v <= last {
				t.Fatalf("%v after %v", v, last)
			}
			last = v
			changes, missed = changes+1, missed+c.Missed
		}
	}
	if changes+missed != reported || frames >= reported {
		t.Errorf("%d frames with %d changes and %d missed, expected %d in all", frames, changes, missed, reported)
	}
	t.Logf("%d reported: %d frames, %d missed", reported, frames, missed)

	// Somebody else's news moves the heartbeat on.
	other := st.report("D-other", at(1), "p", 1.0)
	for f = w.values(); f.Position < other.Last.String(); f = w.values() {
		if f.Kind != "HEARTBEAT" {
			t.Fatalf("got %+v, expected HEARTBEAT", f)
		}
	}
}

// TestNewestFollowsTheStructure binds the tag to another device under way.
func TestNewestFollowsTheStructure(t *testing.T) {
	st := newStation(t, graph.Limits{})
	site := st.build()
	pump := st.pump(site, "P1")
	st.clock.set(at(1000))
	st.report("D-P1", at(100), "p", 1.0)
	st.report("NEW", at(90), "x", 50.0) // older than what the tag shows
	st.report("PAST", at(89), "y", 55.0)
	st.settle()
	w := st.dial(t, `{}`)
	w.subscribe("v", watch, map[string]any{"filter": under(pump), "rate": "PT0.01S"})
	w.news("SNAPSHOT")
	start := w.news("CAUGHT_UP")
	only := func(what string, value float64) {
		t.Helper()
		begun := time.Now()
		if f := w.news("CHANGES"); len(f.Changes) != 1 || f.Changes[0].Value != value {
			t.Fatalf("%s: %+v, expected %v alone", what, f, value)
		}
		if took := time.Since(begun); took > 5*time.Second { // a heartbeat would find out as well, 15 s later
			t.Errorf("%s: after %v", what, took)
		}
	}
	st.bind("acme/north/P1/pressure", "NEW", "x", `effective: "`+stamp(at(80))+`",`)
	only("another device", 50)
	st.report("D-P1", at(110), "p", 2.0) // it feeds nothing any more
	st.report("NEW", at(111), "x", 51.0)
	only("and its next value", 51)

	// A value that the change of device and the change of value both lead to is
	// sent once.
	for i := range 10 {
		dev := fmt.Sprint("HAND-OVER-", i)
		st.report(dev, at(95), "z", 60+float64(i))
		st.bind("acme/north/P1/pressure", dev, "z", fmt.Sprintf("effective: %q,", stamp(at(81+float64(i)/10))))
		only("handed over", 60+float64(i))
	}
	st.report("HAND-OVER-9", at(112), "z", 70.0)
	only("after all of them", 70)

	// The same for a reader who was away meanwhile: also the value that is old.
	st.bind("acme/north/P1/pressure", "PAST", "y", `effective: "`+stamp(at(85))+`",`)
	st.settle()
	w = st.dial(t, `{}`)
	w.subscribe("v", watch, map[string]any{"filter": under(site), "start": map[string]any{"after": start.Position}})
	only("while away", 55)
	w.news("CAUGHT_UP")
	st.report("PAST", at(84), "y", 1.0) // before it was bound, and late
	last := st.report("PAST", at(96), "y", 80.0)
	if f := w.news("CHANGES"); len(f.Changes) != 1 || f.Changes[0].Value != 80.0 || f.Position < last.Last.String() {
		t.Fatalf("got %+v", f)
	}
}

func TestNewestAfterAPosition(t *testing.T) {
	st := newStation(t, graph.Limits{})
	site := st.build()
	st.pump(site, "P1")
	st.pump(site, "P2")
	st.clock.set(at(1000))
	st.report("D-P1", at(1+100), "p", 1.0)
	st.report("D-P2", at(1+100), "p", 2.0)
	known := st.settle()
	st.report("D-P2", at(2+100), "p", 3.0)
	st.report("D-P2", at(3+100), "p", 4.0)
	st.settle()
	w := st.dial(t, `{}`)
	w.subscribe("v", watch, map[string]any{"filter": under(site), "start": map[string]any{"after": known.String()}})
	if f := w.values(); f.Kind != "CHANGES" || fmt.Sprint(f.Changes[0].Path, " ", f.Changes[0].Value, " ", len(f.Changes)) != "acme/north/P2/pressure 4 1" {
		t.Fatalf("got %+v, expected what is new since", f)
	}
	if f := w.values(); f.Kind != "CAUGHT_UP" {
		t.Fatalf("got %+v", f)
	}
	for what, c := range map[string]struct {
		variables map[string]any
		code      string
	}{
		"no start in start":  {map[string]any{"filter": under(site), "start": map[string]any{}}, "BAD_INPUT"},
		"nothing to watch":   {map[string]any{"filter": map[string]any{}}, "BAD_INPUT"},
		"a tag not there":    {map[string]any{"filter": map[string]any{"tags": []string{plantID('t', origin, "no/such")}}}, "NOT_FOUND"},
		"beyond the end":     {map[string]any{"filter": under(site), "start": map[string]any{"after": "00000000000000999999"}}, "POSITION_LOST"},
		"a rate of two days": {map[string]any{"filter": under(site), "rate": "P2D"}, "BAD_INPUT"},
	} {
		w.subscribe(what, watch, c.variables)
		if m := w.read(); m.Type != "error" || !bytes.Contains(m.Payload, []byte(`"`+c.code+`"`)) {
			t.Errorf("%s: %s %s, expected %s", what, m.Type, m.Payload, c.code)
		}
	}
}

// TestEveryValueFromReplayToLive is the promise of EVERY: over any number of
// restarts, at any places, a reader gets what the log says, each value once, in
// the order of the log, through the bindings as they were known at that place.
func TestEveryValueFromReplayToLive(t *testing.T) {
	seed := budget.Seed(t)
	rng := rand.New(rand.NewPCG(seed, 0))
	st := newStation(t, graph.Limits{Heartbeat: 200 * time.Millisecond})
	site := st.build()
	st.pump(site, "P1")
	st.pump(site, "P2")
	st.clock.set(at(1000))
	begin := st.settle()

	// The oracle keeps what was bound when, by itself: tag by device, from a time.
	type span struct {
		dev, signal string
		from        float64
	}
	bound := map[string][]span{"acme/north/P1/pressure": {{"D-P1", "p", 0}}, "acme/north/P2/pressure": {{"D-P2", "p", 0}}}
	feeds := func(path, dev, signal string, s float64) bool {
		var at *span
		for i, b := range bound[path] { // in order of from
			if b.from <= s {
				at = &bound[path][i]
			}
		}
		return at != nil && at.dev == dev && at.signal == signal
	}
	var want []string
	const steps = 1000
	wrote := make(chan struct{})
	paths := []string{"acme/north/P1/pressure", "acme/north/P2/pressure"}
	go func() {
		defer close(wrote)
		last := 100.0
		for i := range steps {
			if rng.IntN(4) == 0 {
				time.Sleep(time.Duration(rng.IntN(3000)) * time.Microsecond)
			}
			switch rng.IntN(20) {
			case 0: // another device, always later than the binding before
				path := paths[rng.IntN(2)]
				dev, signal := []string{"D-P1", "D-P2", "X"}[rng.IntN(3)], []string{"p", "q"}[rng.IntN(2)]
				last += 1
				st.bind(path, dev, signal, `effective: "`+stamp(at(last))+`",`)
				bound[path] = append(bound[path], span{dev, signal, last})
			default:
				dev, signal := []string{"D-P1", "D-P2", "X"}[rng.IntN(3)], []string{"p", "q"}[rng.IntN(2)]
				s := last - 20 + float64(rng.IntN(40)) // late ones too
				done := st.report(dev, at(s), signal, float64(i))
				for _, path := range paths {
					if feeds(path, dev, signal, s) {
						want = append(want, fmt.Sprintf("%s=%d@%s", path, i, done.Last))
					}
				}
			}
		}
	}()
	collect := func(restart bool) []string {
		var got []string
		after := begin.String()
		restarts := 0
		for {
			w := st.dial(t, `{}`)
			w.subscribe("v", watch, map[string]any{"filter": under(site), "start": map[string]any{"after": after}, "delivery": "EVERY", "rate": "PT0.002S"})
			for frames := 0; ; frames++ {
				f := w.values()
				for _, c := range f.Changes {
					got = append(got, c.String())
				}
				after = f.Position
				if isClosed(wrote) && after >= st.settle().String() {
					w.conn.CloseNow()
					t.Logf("%d values over %d restarts", len(got), restarts)
					return got
				}
				if restart && frames >= restarts%3 {
					break
				}
			}
			w.conn.CloseNow()
			restarts++
		}
	}
	got := collect(true)
	if diff := firstDifference(want, got); diff != "" {
		t.Errorf("with restarts: %s", diff)
	}
	if diff := firstDifference(want, collect(false)); diff != "" {
		t.Errorf("in one go: %s", diff)
	}
	if len(want) < steps/10 {
		t.Errorf("%d values prove little", len(want))
	}
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// firstDifference takes both lists as sets at each position: the order of two
// tags fed by one sample is free.
func firstDifference(want, got []string) string {
	for i := range max(len(want), len(got)) {
		w, g := "nothing", "nothing"
		if i < len(want) {
			w = want[i]
		}
		if i < len(got) {
			g = got[i]
		}
		if w != g {
			return fmt.Sprintf("value %d is %s, expected %s (%d of %d)", i, g, w, len(got), len(want))
		}
	}
	return ""
}

// TestSlowReaderOfEveryValue reads nothing for a while, is told so with its
// position, and loses nothing by it.
func TestSlowReaderOfEveryValue(t *testing.T) {
	st := newStation(t, graph.Limits{Slow: 300 * time.Millisecond})
	site := st.build()
	own := ownID(t, site)
	const tags, samples = 100, 1000 // one point feeds 100 tags: more than the kernel buffers between two sockets
	var items []eventlog.Item[asset.Command]
	for i := range tags {
		call := func(k string) eventlog.Call {
			return eventlog.Call{Key: eventlog.NewKey(origin, "test", k, fmt.Sprint(i)), Envelope: eventlog.Envelope{Actor: eventlog.Actor{Subject: "test", Kind: eventlog.Service}}}
		}
		id := eventlog.NewKey(origin, "test", "asset", fmt.Sprint(i)).Entity(0)
		items = append(items,
			eventlog.Item[asset.Command]{Call: call("r"), Command: asset.Register{Asset: id, Name: fmt.Sprint("P", i), Level: asset.Equipment, Parent: own, Class: "pump", Effective: at(1)}},
			eventlog.Item[asset.Command]{Call: call("b"), Command: asset.BindTag{Asset: id, Tag: "pressure", Device: "D", Signal: "p", Effective: at(1)}})
	}
	if _, err := st.service.DoAll(t.Context(), items); err != nil {
		t.Fatal(err)
	}
	st.clock.set(at(1000))
	after := st.settle().String()
	seen := 0 // values of the last tag are a count: they must come in order, each once
	read := func(f valueFrame) {
		for _, c := range f.Changes {
			if v := int(c.Value.(float64)); v != seen/tags {
				t.Fatalf("value %d, expected %d", v, seen/tags)
			}
			seen++
		}
		after = f.Position
	}
	w := st.dial(t, `{}`)
	subscribe := func() {
		w.subscribe("v", watch, map[string]any{"filter": under(site), "start": map[string]any{"after": after}, "delivery": "EVERY", "rate": "PT0S"})
	}
	subscribe()
	w.news("CAUGHT_UP")
	for i := range samples {
		st.report("D", at(100+float64(i)), "p", float64(i))
	}
	time.Sleep(3 * time.Second) // not reading is what is tested
	told := 0
	for seen < tags*samples {
		switch m := w.read(); m.Type {
		case "next":
			var a struct{ Data struct{ Values valueFrame } }
			if err := json.Unmarshal(m.Payload, &a); err != nil {
				t.Fatal(err)
			}
			read(a.Data.Values)
		case "error":
			var list []answerError
			if err := json.Unmarshal(m.Payload, &list); err != nil || list[0].Extensions.Code != "SLOW_CONSUMER" || list[0].Extensions.Position != after || !list[0].Extensions.Retryable {
				t.Fatalf("told %s; the last position was %s", m.Payload, after)
			}
			told++
			subscribe()
		default:
			t.Fatalf("got %s %s", m.Type, m.Payload)
		}
	}
	if told == 0 {
		t.Error("a reader who read nothing for three seconds was not told")
	}
	t.Logf("told %d times over %d values", told, seen)
}

// TestPeersWatch watches values with the npm clients.
func TestPeersWatch(t *testing.T) {
	dir := peer.Node(t)
	st := newStation(t, graph.Limits{})
	site := st.build()
	st.pump(site, "P1")
	st.clock.set(at(1000))
	st.report("D-P1", at(100), "p", 1.5)
	st.settle()
	done := make(chan struct{})
	defer func() { <-done }()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		defer close(done)
		for i := 0; !isClosed(stop); i++ {
			st.report("D-P1", at(101+float64(i)), "p", float64(i))
			time.Sleep(5 * time.Millisecond)
		}
	}()
	request, _ := json.Marshal(map[string]any{"query": watch, "variables": map[string]any{"filter": under(site), "rate": "PT0.02S"}})
	for _, c := range []struct{ script, url string }{
		{"graphql-ws.mjs", "ws" + strings.TrimPrefix(st.url, "http")}, {"graphql-sse.mjs", st.url},
	} {
		var kinds []string
		for _, line := range runPeer(t, dir, c.script, c.url, string(request), "5", "") {
			var a struct{ Data struct{ Values valueFrame } }
			if next, ok := line["next"]; ok && json.Unmarshal(next, &a) == nil {
				kinds = append(kinds, a.Data.Values.Kind)
			}
		}
		if got := strings.Join(kinds, " "); got != "SNAPSHOT CAUGHT_UP CHANGES CHANGES CHANGES" {
			t.Errorf("%s: %s", c.script, got)
		}
	}
}
