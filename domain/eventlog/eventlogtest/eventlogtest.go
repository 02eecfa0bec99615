// Package eventlogtest holds the tests that every eventlog.Log must pass. An
// implementation calls Run with a way to open an empty log, and RunModel with a
// way to open, stop and open it again:
//
//	func TestConformance(t *testing.T) { eventlogtest.Run(t, open) }
//
// What only a store's own tests can show (durability across a power cut, damaged
// files, a clock that steps) is not here.
package eventlogtest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// Run holds a Log to its contract. open returns an empty log that is closed
// when its test ends.
func Run(t *testing.T, open func(*testing.T) eventlog.Log) {
	for _, c := range []struct {
		name string
		test func(*testing.T, eventlog.Log)
	}{
		{"an empty log", testEmpty},
		{"what is appended comes back byte for byte", testRoundTrip},
		{"an envelope that was stamped elsewhere stays as it is", testRawEnvelope},
		{"the expected revision is exact", testExpected},
		{"many events are appended all or none", testAtomic},
		{"a retry with the same ids is answered, not repeated", testRetry},
		{"a partial overlap is a conflict", testOverlap},
		{"one of several writers wins", testRace},
		{"invalid events are refused", testBadEvents},
		{"large events up to the limit, and a clear refusal beyond", testLarge},
		{"streams are read from anywhere, both ways", testRead},
		{"all is read from anywhere, both ways, filtered", testReadAll},
		{"a read ends where the log ended when it began", testReadEnds},
		{"odd stream names do not mix", testOddNames},
		{"Recorded is shared by an append and never falls", testRecorded},
		{"known at a time", testKnownAt},
		{"a cancelled call says so", testCancelled},
		{"a subscription catches up, waits and goes on", testSubscription},
		{"a filtered subscription moves through what it leaves out", testFilteredSubscription},
		{"no wake-up is lost", testWakeUp},
		{"a subscription from beyond the end is lost", testLost},
		{"a closed subscription says so", testClosed},
		{"subscriptions under load equal ReadAll", testHandOver},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

var ids atomic.Uint64

// newID returns an id that no other event of this process has.
func newID() (id eventlog.EventID) {
	binary.BigEndian.PutUint64(id[8:], ids.Add(1))
	id[0] = 0x7d
	return id
}

// event makes an event of a type; telemetry rows are not JSON.
func event(typ, data string) eventlog.NewEvent {
	e := eventlog.NewEvent{ID: newID(), Type: typ, Data: []byte(data)}
	if typ == eventlog.TelemetryRecorded {
		e.ContentType = "application/octet-stream"
	}
	return e
}

const (
	moved = "asset.moved.v1"
	gap   = "telemetry.gap.v1"
	row   = eventlog.TelemetryRecorded
)

func expect(next int) eventlog.Expected {
	if next == 0 {
		return eventlog.NoStream
	}
	return eventlog.At(eventlog.Revision(next - 1))
}

// mustAppend appends and returns where; it also holds Appended to its meaning.
func mustAppend(t testing.TB, l eventlog.Log, id eventlog.StreamID, next int, events ...eventlog.NewEvent) eventlog.Appended {
	t.Helper()
	a, err := l.Append(t.Context(), id, expect(next), events...)
	if err != nil {
		t.Fatalf("append %d events to %s at %d: %v", len(events), id, next, err)
	}
	if a.First == 0 || a.Last < a.First || a.Last > eventlog.End || a.Repeated || a.Revision != eventlog.Revision(next+len(events)-1) {
		t.Fatalf("append %d events to %s at %d: %+v", len(events), id, next, a)
	}
	return a
}

func collect(t testing.TB, seq iter.Seq2[eventlog.Record, error]) []eventlog.Record {
	t.Helper()
	var all []eventlog.Record
	for r, err := range seq {
		if err != nil {
			t.Fatalf("after %d records: %v", len(all), err)
		}
		all = append(all, r)
	}
	return all
}

func readAll(t testing.TB, l eventlog.Log, after eventlog.Position, dir eventlog.Direction, f eventlog.Filter) []eventlog.Record {
	t.Helper()
	return collect(t, l.ReadAll(t.Context(), after, dir, f))
}

func firstError(seq iter.Seq2[eventlog.Record, error]) error {
	for _, err := range seq {
		if err != nil {
			return err
		}
	}
	return nil
}

// same compares every field of two records.
func same(a, b eventlog.Record) bool {
	return a.Stream == b.Stream && a.Revision == b.Revision && a.Position == b.Position && a.ID == b.ID &&
		a.Type == b.Type && a.ContentType == b.ContentType && a.Recorded.Equal(b.Recorded) &&
		bytes.Equal(a.RawEnvelope, b.RawEnvelope) && bytes.Equal(a.Data, b.Data)
}

func sameAll(t testing.TB, what string, got, want []eventlog.Record) {
	t.Helper()
	for i := range min(len(got), len(want)) {
		if !same(got[i], want[i]) {
			t.Fatalf("%s: record %d is\n%s\nwant\n%s", what, i, show(got[i]), show(want[i]))
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%s: %d records, want %d", what, len(got), len(want))
	}
}

func show(r eventlog.Record) string {
	return fmt.Sprintf("%s@%d position %d id %s type %s (%s) recorded %s envelope %.200s data %.200q",
		r.Stream, r.Revision, r.Position, r.ID, r.Type, r.ContentType, r.Recorded.Format(time.RFC3339Nano), r.RawEnvelope, r.Data)
}

func reversed(all []eventlog.Record) []eventlog.Record {
	back := make([]eventlog.Record, len(all))
	for i, r := range all {
		back[len(all)-1-i] = r
	}
	return back
}

func filtered(all []eventlog.Record, f eventlog.Filter) []eventlog.Record {
	var some []eventlog.Record
	for _, r := range all {
		if f.Passes(r.Stream, r.Type) {
			some = append(some, r)
		}
	}
	return some
}

// fill makes a small plant's history: interleaved streams, telemetry between
// the rest, appends of one and of many.
func fill(t testing.TB, l eventlog.Log, rounds int) []eventlog.Record {
	t.Helper()
	next := map[eventlog.StreamID]int{}
	add := func(id eventlog.StreamID, types ...string) {
		events := make([]eventlog.NewEvent, len(types))
		for i, typ := range types {
			events[i] = event(typ, fmt.Sprintf(`{"n":%d}`, next[id]+i))
		}
		mustAppend(t, l, id, next[id], events...)
		next[id] += len(types)
	}
	for i := range rounds {
		add("telemetry-gw.1", row, row)
		add("asset-1", moved)
		add("telemetry-gw.10", row, gap, row, row)
		if i%3 == 0 {
			add("asset-10", moved, "asset.renamed.v1", moved)
			add("person-1", "person.named.v1")
		}
		if i%5 == 0 {
			add("telemetry-gw.1", gap)
		}
	}
	return readAll(t, l, 0, eventlog.Forwards, eventlog.Filter{})
}

// filters are those that a store may answer in different ways.
var filters = []eventlog.Filter{
	{},
	{NoTelemetry: true},
	{Types: []string{row}},
	{Types: []string{moved}},
	{Types: []string{row, moved}},
	{Types: []string{"none.such.v1"}},
	{Categories: []string{"asset"}},
	{Categories: []string{"asset", "person"}, Types: []string{moved, "person.named.v1"}},
	{Categories: []string{"telemetry"}},
	{Categories: []string{"telemetry"}, NoTelemetry: true},
	{Categories: []string{"telemetry", "person"}},
	{Categories: []string{"none"}},
	{Types: []string{row}, NoTelemetry: true},
}

func wantError(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%s: %v, want %v", what, err, want)
	}
}

// patience is how long a test waits for what must happen at once.
const patience = 20 * time.Second

func patient(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}
