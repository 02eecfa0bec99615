package history_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twinlog/twinlog/domain/correction"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/projections"
	"github.com/twinlog/twinlog/projections/aggregate"
	"github.com/twinlog/twinlog/projections/history"
)

// TestASubstitutedSpanChangesTheAverage: a day at 1 Hz whose sums are written
// long ago, and then ten minutes of it are substituted. The values are whole
// numbers, so that an average by hand is exact.
func TestASubstitutedSpanChangesTheAverage(t *testing.T) {
	const seconds = 86_400
	day := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	stream := telemetry.Stream("GW", "0123456789abcdef")
	l := newLive(t)
	var records []eventlog.Record
	position := eventlog.Position(0)
	add := func(r eventlog.Record) eventlog.Position {
		position += 7 // two windows and some
		r.Position = position
		records = append(records, r)
		return position
	}
	value := func(i int) int { return 100 + i%97 }
	for i := range seconds {
		row := telemetry.Row{
			Device: "D", SourceTime: day.Add(time.Duration(i) * time.Second), EdgeLatency: telemetry.NoLatency,
			Samples: []telemetry.Sample{{Signal: "s", Value: telemetry.FloatValue(float64(value(i))), Quality: quality.Quality{Raw: 192, Scheme: quality.OPCDA}}},
		}
		add(eventlog.Record{Stream: stream, Revision: eventlog.Revision(i), Type: eventlog.TelemetryRecorded, Data: row.AppendBinary(nil), Recorded: row.SourceTime})
	}
	before := position
	from, to := 36_000, 36_600
	data, err := eventlog.CanonicalJSON(correction.Made{
		Action: correction.Substitute, StatusCode: quality.GoodEdited, Value: &correction.Value{Value: telemetry.FloatValue(1000)},
		Spans: []correction.Span{{Device: "D", Signal: "s", From: day.Add(time.Duration(from) * time.Second), To: day.Add(time.Duration(to) * time.Second)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	after := add(eventlog.Record{Stream: correction.Stream("x"), Type: correction.MadeType, Data: data, Recorded: day.Add(30 * time.Hour)})
	l.feed(t, records, func() int { return 4096 })
	l.commit(t, eventlog.Batch{Through: 3 << 18}) // and the correction's window closes

	average := func(known eventlog.Position, a, b int) float64 {
		t.Helper()
		span := aggregate.Span{From: day.Add(time.Duration(a) * time.Second), To: day.Add(time.Duration(b) * time.Second)}
		got, err := l.fold.View().Aggregate(context.Background(), []history.Part{{Point: telemetry.Point{Device: "D", Signal: "s"}}}, span,
			[]aggregate.Function{aggregate.Average}, aggregate.Standard(), projections.Cut{Known: known})
		if err != nil {
			t.Fatal(err)
		}
		f, ok := got[0][0].Value.Number()
		if !ok {
			t.Fatalf("got %+v", got)
		}
		return f
	}
	byHand := func(corrected bool, a, b int) float64 {
		sum := 0
		for i := a; i < b; i++ {
			if corrected && i >= from && i < to {
				sum += 1000
			} else {
				sum += value(i)
			}
		}
		return float64(sum) / float64(b-a)
	}
	for _, c := range []struct{ a, b int }{{0, seconds}, {36_000, 39_600}, {35_100, 36_900}, {0, 36_000}, {36_600, seconds}} {
		name := fmt.Sprint("seconds ", c.a, " to ", c.b)
		if got, want := average(after, c.a, c.b), byHand(true, c.a, c.b); got != want {
			t.Errorf("%s: %v, expected %v", name, got, want)
		}
		if got, want := average(0, c.a, c.b), byHand(true, c.a, c.b); got != want {
			t.Errorf("%s, all known: %v, expected %v", name, got, want)
		}
		if got, want := average(before, c.a, c.b), byHand(false, c.a, c.b); got != want {
			t.Errorf("%s, known before: %v, expected %v", name, got, want)
		}
	}
}
