package eventlogtest

import (
	"bytes"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
)

func testEmpty(t *testing.T, l eventlog.Log) {
	if l.Origin() == "" {
		t.Error("no origin")
	}
	if p, rec, err := l.Head(t.Context()); p != 0 || !rec.IsZero() || err != nil {
		t.Error("head", p, rec, err)
	}
	for _, dir := range []eventlog.Direction{eventlog.Forwards, eventlog.Backwards} {
		for _, from := range []eventlog.Revision{0, 7, eventlog.LastRevision} {
			if got := collect(t, l.Read(t.Context(), "asset-1", from, dir)); len(got) != 0 {
				t.Error("read", from, dir, got)
			}
		}
	}
	if got := readAll(t, l, 0, eventlog.Forwards, eventlog.Filter{}); len(got) != 0 {
		t.Error("read all", got)
	}
	if got := readAll(t, l, eventlog.End, eventlog.Backwards, eventlog.Filter{}); len(got) != 0 {
		t.Error("read all backwards", got)
	}
	if p, err := l.KnownAt(t.Context(), time.Now()); p != 0 || err != nil {
		t.Error("known at", p, err)
	}
}

func testRoundTrip(t *testing.T, l eventlog.Log) {
	env := eventlog.Envelope{
		Effective: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), Zone: "Europe/Berlin",
		Actor:  eventlog.Actor{Subject: "p-1", Kind: eventlog.Human, Role: "operator", AuthMethods: []string{"none"}},
		Reason: &eventlog.Reason{Code: "SPARE", Prompted: true}, Terminal: "t-1", Device: "d-1",
		Correlation: newID(), Causation: newID(), Policy: &eventlog.PolicyDecision{Rule: "r", Hash: "h"}, Build: "b<>&\u2028",
		Private: []eventlog.Sealed{{Field: "name", Key: "k", Nonce: []byte{1}, Ciphertext: []byte{0, 255}}},
	}
	events := []eventlog.NewEvent{
		{ID: newID(), Type: moved, Data: []byte(`{"to":"ü"}`), Envelope: env},
		{ID: newID(), Type: row, ContentType: "application/x-row", Data: []byte{0, 1, 2, 255}, Envelope: eventlog.Envelope{}},
		{ID: newID(), Type: row, ContentType: "application/x-row", Data: nil, Envelope: env},
		{ID: newID(), Type: "x.y.v2", ContentType: eventlog.JSON, Data: []byte("not\x00json"), Envelope: eventlog.Envelope{Zone: "UTC"}},
	}
	env.Recorded = time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC) // what a caller claims is not believed
	events[0].Envelope = env
	before := time.Now().Add(-time.Second)
	a := mustAppend(t, l, "telemetry-gw.1", 0, events...)
	after := time.Now().Add(time.Second)

	got := collect(t, l.Read(t.Context(), "telemetry-gw.1", 0, eventlog.Forwards))
	if len(got) != len(events) {
		t.Fatalf("%d records, want %d", len(got), len(events))
	}
	for i, r := range got {
		e := events[i]
		content := e.ContentType
		if content == "" {
			content = eventlog.JSON
		}
		if r.Stream != "telemetry-gw.1" || r.Revision != eventlog.Revision(i) || r.ID != e.ID || r.Type != e.Type ||
			r.ContentType != content || !bytes.Equal(r.Data, e.Data) {
			t.Errorf("record %d: %s", i, show(r))
		}
		if r.Recorded.Before(before) || r.Recorded.After(after) || r.Recorded.Location() != time.UTC || r.Recorded.Nanosecond()%1000 != 0 {
			t.Errorf("record %d: recorded %v, want UTC microseconds from %v to %v", i, r.Recorded, before, after)
		}
		parsed, err := r.Envelope()
		if err != nil || !parsed.Recorded.Equal(r.Recorded) {
			t.Errorf("record %d: envelope %s: %v", i, r.RawEnvelope, err)
		}
		e.Envelope.Recorded, e.Envelope.Clock = r.Recorded, parsed.Clock
		if want := e.Envelope.AppendCanonical(nil); !bytes.Equal(r.RawEnvelope, want) {
			t.Errorf("record %d: envelope\n%s\nwant\n%s", i, r.RawEnvelope, want)
		}
	}
	if got[0].Position != a.First || got[len(got)-1].Position != a.Last {
		t.Errorf("positions %v to %v, appended %+v", got[0].Position, got[len(got)-1].Position, a)
	}
	sameAll(t, "read all", readAll(t, l, 0, eventlog.Forwards, eventlog.Filter{}), got)
	if p, rec, err := l.Head(t.Context()); p != a.Last || !rec.Equal(got[0].Recorded) || err != nil {
		t.Errorf("head %v %v %v, appended %+v", p, rec, err, a)
	}
}

// testRawEnvelope mixes envelopes that are whole with those that the log
// stamps, also where the text of both is the same.
func testRawEnvelope(t *testing.T, l eventlog.Log) {
	raws := []string{
		"", `{"dev":"d-1"}`, "{}", "", `{"rec":"1999-01-01T00:00:00Z"}`, `{"$correlationId":"x", "n":[1,2]}`,
		`{"$correlationId":"x", "n":[1,2]}`, "", `{"zone":"UTC"}`,
	}
	for _, id := range []eventlog.StreamID{"asset-1", "telemetry-gw.1"} {
		events := make([]eventlog.NewEvent, len(raws))
		for i, raw := range raws {
			events[i] = event(map[bool]string{true: row, false: moved}[id.Category() == eventlog.TelemetryCategory && i%2 == 0], "{}")
			if raw != "" {
				events[i].RawEnvelope = []byte(raw)
			} else if i == 3 {
				events[i].Envelope.Device = "d-1" // its text without the stamp is that of event 1
			}
		}
		mustAppend(t, l, id, 0, events...)
		for i, r := range collect(t, l.Read(t.Context(), id, 0, eventlog.Forwards)) {
			env, err := r.Envelope()
			if err != nil {
				t.Fatal(err)
			}
			if raws[i] != "" && string(r.RawEnvelope) != raws[i] {
				t.Errorf("%s@%d: envelope %s, want %s", id, i, r.RawEnvelope, raws[i])
			} else if raws[i] == "" && !env.Recorded.Equal(r.Recorded) {
				t.Errorf("%s@%d: envelope %s recorded %v", id, i, r.RawEnvelope, r.Recorded)
			}
		}
	}
	bad := event(moved, "{}")
	bad.RawEnvelope = []byte("{")
	_, err := l.Append(t.Context(), "asset-1", expect(len(raws)), bad)
	wantError(t, "an envelope that is not JSON", err, eventlog.ErrBadEvent)
}

func testExpected(t *testing.T, l eventlog.Log) {
	for next := range 4 {
		for wrong := range 6 {
			if wrong != next {
				_, err := l.Append(t.Context(), "asset-1", expect(wrong), event(moved, "{}"))
				wantError(t, "append at the wrong revision", err, eventlog.ErrConflict)
			}
		}
		mustAppend(t, l, "asset-1", next, event(moved, "{}"))
	}
	_, err := l.Append(t.Context(), "asset-1", eventlog.At(eventlog.LastRevision-1), event(moved, "{}"))
	wantError(t, "append at the largest revision", err, eventlog.ErrConflict)
	if got := readAll(t, l, 0, eventlog.Forwards, eventlog.Filter{}); len(got) != 4 {
		t.Errorf("%d records, want 4", len(got))
	}
}

func testAtomic(t *testing.T, l eventlog.Log) {
	mustAppend(t, l, "asset-1", 0, event(moved, "1"), event(moved, "2"), event(moved, "3"))
	_, err := l.Append(t.Context(), "asset-1", expect(1), event(moved, "a"), event(moved, "b"), event(moved, "c"), event(moved, "d"))
	wantError(t, "append in the middle", err, eventlog.ErrConflict)
	_, err = l.Append(t.Context(), "asset-1", expect(3), event(moved, "a"), eventlog.NewEvent{})
	wantError(t, "append with a bad event", err, eventlog.ErrBadEvent)
	got := readAll(t, l, 0, eventlog.Forwards, eventlog.Filter{})
	if len(got) != 3 {
		t.Fatalf("%d records, want 3", len(got))
	}
	for i, r := range got {
		if i > 0 && r.Position <= got[i-1].Position {
			t.Errorf("position %v after %v", r.Position, got[i-1].Position)
		}
	}
}

func testRetry(t *testing.T, l eventlog.Log) {
	for _, id := range []eventlog.StreamID{"asset-1", "telemetry-gw.1"} {
		types := []string{moved, moved, moved}
		if id.Category() == eventlog.TelemetryCategory {
			types = []string{row, gap, row}
		}
		first := []eventlog.NewEvent{event(types[0], "1")}
		second := []eventlog.NewEvent{event(types[1], "2"), event(types[2], "3")}
		a := mustAppend(t, l, id, 0, first...)
		b := mustAppend(t, l, id, 1, second...)
		for range 2 {
			got, err := l.Append(t.Context(), id, expect(1), second...)
			if want := (eventlog.Appended{First: b.First, Last: b.Last, Revision: b.Revision, Repeated: true}); err != nil || got != want {
				t.Fatalf("retry of the second: %+v, %v, want %+v", got, err, want)
			}
			got, err = l.Append(t.Context(), id, eventlog.NoStream, first...)
			if want := (eventlog.Appended{First: a.First, Last: a.Last, Revision: a.Revision, Repeated: true}); err != nil || got != want {
				t.Fatalf("retry of the first: %+v, %v, want %+v", got, err, want)
			}
		}
		both := append(append([]eventlog.NewEvent{}, first...), second...)
		got, err := l.Append(t.Context(), id, eventlog.NoStream, both...)
		if err != nil || !got.Repeated || got.First != a.First || got.Last != b.Last || got.Revision != 2 {
			t.Fatalf("retry of both in one: %+v, %v", got, err)
		}
		if got := collect(t, l.Read(t.Context(), id, 0, eventlog.Forwards)); len(got) != 3 {
			t.Fatalf("%d records, want 3", len(got))
		}
	}
}

func testOverlap(t *testing.T, l eventlog.Log) {
	e := []eventlog.NewEvent{event(moved, "1"), event(moved, "2"), event(moved, "3")}
	mustAppend(t, l, "asset-1", 0, e[:2]...)
	for _, c := range []struct {
		name   string
		next   int
		events []eventlog.NewEvent
	}{
		{"the first two are there, the third is not", 0, e},
		{"the second is there, the third is not", 1, e[1:]},
		{"same ids, one revision off", 1, e[:1]},
		{"same ids, other order", 0, []eventlog.NewEvent{e[1], e[0]}},
		{"one of two is another", 0, []eventlog.NewEvent{e[0], event(moved, "2")}},
	} {
		_, err := l.Append(t.Context(), "asset-1", expect(c.next), c.events...)
		wantError(t, c.name, err, eventlog.ErrConflict)
	}
	if got := readAll(t, l, 0, eventlog.Forwards, eventlog.Filter{}); len(got) != 2 {
		t.Fatalf("%d records, want 2", len(got))
	}
}

func testRace(t *testing.T, l eventlog.Log) {
	const writers, rounds = 8, 25
	for round := range rounds {
		var won, lost int
		var mu sync.Mutex
		var wg sync.WaitGroup
		for range writers {
			wg.Go(func() {
				_, err := l.Append(t.Context(), "asset-1", expect(round*2), event(moved, "a"), event(moved, "b"))
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					won++
				case errors.Is(err, eventlog.ErrConflict):
					lost++
				default:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if won != 1 || lost != writers-1 {
			t.Fatalf("round %d: %d won, %d lost", round, won, lost)
		}
	}
	if got := collect(t, l.Read(t.Context(), "asset-1", 0, eventlog.Forwards)); len(got) != rounds*2 {
		t.Errorf("%d records, want %d", len(got), rounds*2)
	}
}

func testBadEvents(t *testing.T, l eventlog.Log) {
	for name, c := range map[string]struct {
		id     eventlog.StreamID
		events []eventlog.NewEvent
	}{
		"no events":            {"asset-1", nil},
		"a bad stream":         {"Asset-1", []eventlog.NewEvent{event(moved, "")}},
		"no id":                {"asset-1", []eventlog.NewEvent{{Type: moved}}},
		"no type":              {"asset-1", []eventlog.NewEvent{{ID: newID()}}},
		"telemetry elsewhere":  {"asset-1", []eventlog.NewEvent{event(row, "")}},
		"an unwritable member": {"asset-1", []eventlog.NewEvent{{ID: newID(), Type: moved, Envelope: eventlog.Envelope{Zone: "\xff"}}}},
	} {
		_, err := l.Append(t.Context(), c.id, eventlog.NoStream, c.events...)
		wantError(t, name, err, eventlog.ErrBadEvent)
	}
	if p, _, err := l.Head(t.Context()); p != 0 || err != nil {
		t.Error("head", p, err)
	}
}

func testLarge(t *testing.T, l eventlog.Log) {
	sized := func(typ string, n int) eventlog.NewEvent { return event(typ, strings.Repeat("x", n)) }
	for _, c := range []struct {
		id  eventlog.StreamID
		typ string
	}{{"asset-1", moved}, {"telemetry-gw.1", row}} {
		// An envelope is a few dozen bytes, and how many depends on the clock.
		mustAppend(t, l, c.id, 0, sized(c.typ, eventlog.MaxAppendBytes-200))
		_, err := l.Append(t.Context(), c.id, expect(1), sized(c.typ, eventlog.MaxAppendBytes))
		wantError(t, "one event too large", err, eventlog.ErrTooLarge)
		_, err = l.Append(t.Context(), c.id, expect(1), sized(c.typ, 500_000), sized(c.typ, 499_999))
		wantError(t, "two events too large with their envelopes", err, eventlog.ErrTooLarge)
		mustAppend(t, l, c.id, 1, sized(c.typ, 500_000), sized(c.typ, 499_700))
		for i, r := range collect(t, l.Read(t.Context(), c.id, 0, eventlog.Forwards)) {
			if want := []int{eventlog.MaxAppendBytes - 200, 500_000, 499_700}[i]; len(r.Data) != want || strings.Trim(string(r.Data), "x") != "" {
				t.Errorf("record %d of %s: %d bytes, want %d", i, c.id, len(r.Data), want)
			}
		}
	}
	many := make([]eventlog.NewEvent, 20_000) // the most that one append may hold, nearly
	for i := range many {
		many[i] = event([]string{row, gap}[i%2], "1")
	}
	mustAppend(t, l, "telemetry-many.1", 0, many...)
	got := collect(t, l.Read(t.Context(), "telemetry-many.1", 0, eventlog.Forwards))
	if len(got) != len(many) {
		t.Fatalf("%d records, want %d", len(got), len(many))
	}
	for i, r := range got {
		if r.ID != many[i].ID || r.Type != many[i].Type {
			t.Fatalf("record %d: %s", i, show(r))
		}
	}
}

func testRecorded(t *testing.T, l eventlog.Log) {
	all := fill(t, l, 20)
	for i, r := range all[1:] {
		if r.Recorded.Before(all[i].Recorded) {
			t.Fatalf("recorded %v after %v", r.Recorded, all[i].Recorded)
		}
	}
	mustAppend(t, l, "class-1", 0, event(moved, "1"), event(moved, "2"), event(moved, "3"))
	some := collect(t, l.Read(t.Context(), "class-1", 0, eventlog.Forwards))
	for _, r := range some {
		if !r.Recorded.Equal(some[0].Recorded) {
			t.Errorf("recorded %v and %v in one append", some[0].Recorded, r.Recorded)
		}
	}
	if _, rec, _ := l.Head(t.Context()); !rec.Equal(some[0].Recorded) {
		t.Errorf("head recorded %v, want %v", rec, some[0].Recorded)
	}
}
