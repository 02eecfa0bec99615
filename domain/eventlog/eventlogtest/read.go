package eventlogtest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
)

func testRead(t *testing.T, l eventlog.Log) {
	all := fill(t, l, 30)
	streams := map[eventlog.StreamID][]eventlog.Record{}
	for _, r := range all {
		if int(r.Revision) != len(streams[r.Stream]) {
			t.Fatalf("revision %d of %s is at %d", r.Revision, r.Stream, len(streams[r.Stream]))
		}
		streams[r.Stream] = append(streams[r.Stream], r)
	}
	for id, want := range streams {
		last := eventlog.Revision(len(want) - 1)
		for from := range eventlog.Revision(len(want) + 3) {
			name := fmt.Sprintf("%s from %d", id, from)
			sameAll(t, name, collect(t, l.Read(t.Context(), id, from, eventlog.Forwards)), want[min(int(from), len(want)):])
			sameAll(t, name+" back", collect(t, l.Read(t.Context(), id, from, eventlog.Backwards)), reversed(want[:min(from, last)+1]))
		}
		sameAll(t, "last", collect(t, l.Read(t.Context(), id, eventlog.LastRevision, eventlog.Forwards)), want[last:])
		sameAll(t, "last back", collect(t, l.Read(t.Context(), id, eventlog.LastRevision, eventlog.Backwards)), reversed(want))
		for r, err := range l.Read(t.Context(), id, 0, eventlog.Forwards) {
			if err != nil || r.Revision != 0 {
				t.Errorf("%s@%d: %v", id, r.Revision, err)
			}
			break // leaving early is allowed
		}
	}
}

func testReadAll(t *testing.T, l eventlog.Log) {
	all := fill(t, l, 12)
	for i, r := range all {
		if i > 0 && r.Position <= all[i-1].Position {
			t.Fatalf("position %v after %v", r.Position, all[i-1].Position)
		}
	}
	for _, f := range filters {
		want := filtered(all, f)
		sameAll(t, fmt.Sprintf("all of %+v", f), readAll(t, l, 0, eventlog.Forwards, f), want)
		sameAll(t, fmt.Sprintf("all of %+v back", f), readAll(t, l, eventlog.End, eventlog.Backwards, f), reversed(want))
		for i, r := range all {
			name := fmt.Sprintf("after %v of %+v", r.Position, f)
			sameAll(t, name, readAll(t, l, r.Position, eventlog.Forwards, f), filtered(all[i+1:], f))
			sameAll(t, name+" back", readAll(t, l, r.Position, eventlog.Backwards, f), reversed(filtered(all[:i], f)))
		}
	}
	head := all[len(all)-1].Position
	wantError(t, "read all from beyond the end", firstError(l.ReadAll(t.Context(), head+1, eventlog.Forwards, eventlog.Filter{})), eventlog.ErrPositionLost)
	wantError(t, "read all of another epoch", firstError(l.ReadAll(t.Context(), eventlog.NewPosition(7, 1), eventlog.Forwards, eventlog.Filter{})), eventlog.ErrPositionLost)
	sameAll(t, "back from beyond the end", readAll(t, l, head+1, eventlog.Backwards, eventlog.Filter{}), reversed(all))
}

func testReadEnds(t *testing.T, l eventlog.Log) {
	all := fill(t, l, 3)
	next := len(collect(t, l.Read(t.Context(), "asset-1", 0, eventlog.Forwards)))
	n := 0
	for _, err := range l.ReadAll(t.Context(), 0, eventlog.Forwards, eventlog.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		mustAppend(t, l, "asset-1", next, event(moved, "{}"))
		if next, n = next+1, n+1; n > len(all) {
			break
		}
	}
	if n != len(all) {
		t.Errorf("read all gave %d records, the log had %d when it began", n, len(all))
	}
	was := next
	n = 0
	for _, err := range l.Read(t.Context(), "asset-1", 0, eventlog.Forwards) {
		if err != nil {
			t.Fatal(err)
		}
		mustAppend(t, l, "asset-1", next, event(moved, "{}"))
		if next, n = next+1, n+1; n > was {
			break
		}
	}
	if n != was {
		t.Errorf("read gave %d records, the stream had %d when it began", n, was)
	}
}

func testOddNames(t *testing.T, l eventlog.Log) {
	names := []string{
		"1", "10", "1.", "1-", "-", "--1", "%", "%%", "$stats", "pump/7 – Süd", " ", "\x00", "\xff", "a:b~c_d", "é",
		string(make([]byte, 66)), // 198 bytes when encoded
	}
	want := map[eventlog.StreamID]string{}
	for _, category := range []string{"a", "ab", "telemetry", "telemetryx"} {
		for _, name := range names {
			id := eventlog.Stream(category, name)
			want[id] = category + "\n" + name
			mustAppend(t, l, id, 0, event(moved, want[id]))
			mustAppend(t, l, id, 1, event(moved, want[id]), event(moved, want[id]))
			if category == eventlog.TelemetryCategory {
				mustAppend(t, l, id, 3, event(row, want[id]))
			}
		}
	}
	for id, data := range want {
		got := collect(t, l.Read(t.Context(), id, 0, eventlog.Forwards))
		if n := 3 + map[bool]int{true: 1}[id.Category() == eventlog.TelemetryCategory]; len(got) != n {
			t.Errorf("%q holds %d records, want %d", id, len(got), n)
		}
		for _, r := range got {
			if string(r.Data) != data || r.Stream != id || r.Stream.Category()+"\n"+r.Stream.Entity() != data {
				t.Errorf("%q holds %s", id, show(r))
			}
		}
	}
	for _, category := range []string{"a", "ab", "telemetry", "telemetryx"} {
		for _, r := range readAll(t, l, 0, eventlog.Forwards, eventlog.Filter{Categories: []string{category}, NoTelemetry: true}) {
			if r.Stream.Category() != category {
				t.Errorf("category %s holds %s", category, show(r))
			}
		}
	}
}

func testKnownAt(t *testing.T, l eventlog.Log) {
	for i := range 5 {
		mustAppend(t, l, "asset-1", i, event(moved, "{}"))
		time.Sleep(2 * time.Millisecond)
	}
	all := readAll(t, l, 0, eventlog.Forwards, eventlog.Filter{})
	at := func(when time.Time, want eventlog.Position) {
		t.Helper()
		if got, err := l.KnownAt(t.Context(), when); err != nil || got != want {
			t.Errorf("known at %v: %v, %v, want %v", when, got, err, want)
		}
	}
	at(all[0].Recorded.Add(-time.Microsecond), 0)
	at(all[4].Recorded.Add(time.Hour), all[4].Position)
	for i, r := range all {
		if i+1 < len(all) && all[i+1].Recorded.After(r.Recorded) {
			at(r.Recorded, r.Position)
			at(all[i+1].Recorded.Add(-1), r.Position)
		}
	}
}

func testCancelled(t *testing.T, l eventlog.Log) {
	fill(t, l, 5)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := l.Append(ctx, "class-1", eventlog.NoStream, event(moved, "{}"))
	wantError(t, "append", err, context.Canceled)
	wantError(t, "read", firstError(l.Read(ctx, "asset-1", 0, eventlog.Forwards)), context.Canceled)
	wantError(t, "read all", firstError(l.ReadAll(ctx, 0, eventlog.Forwards, eventlog.Filter{})), context.Canceled)
	_, err = l.Subscribe(ctx, 0, eventlog.Filter{})
	wantError(t, "subscribe", err, context.Canceled)
	s, err := l.Subscribe(t.Context(), 0, eventlog.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	defer closeIt(t, s)
	_, err = s.Next(ctx)
	wantError(t, "next", err, context.Canceled)
	if b, err := s.Next(t.Context()); err != nil || len(b.Records) == 0 {
		t.Errorf("a cancelled Next lost something: %d records, %v", len(b.Records), err)
	}
}
