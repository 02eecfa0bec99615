package history_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twinlog/twinlog/adapters/eventlog/memlog"
	"github.com/twinlog/twinlog/adapters/rows/memrows"
	"github.com/twinlog/twinlog/domain/correction"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/projections"
	"github.com/twinlog/twinlog/projections/history"
	"github.com/twinlog/twinlog/projections/projectionstest"
	"github.com/twinlog/twinlog/projections/twins"
)

// TestUnderTheRunner lives through more than a window of a real log with
// corrections in it, with the restarts and failing commits of projectionstest,
// for history and for twins. At its end both say the same of every point.
func TestUnderTheRunner(t *testing.T) {
	log := fill(t, 1<<18+5000)
	for _, fold := range []func() projections.Fold{
		func() projections.Fold { return history.New(memrows.New()) }, // reads nothing here
		func() projections.Fold { return twins.New() },
	} {
		projectionstest.RebuildEqualsLive(t, projectionstest.Setup{
			Fold: fold, Store: func(testing.TB) projections.Store { return memrows.New() }, Restarts: 2,
		}, log)
	}
	store := memrows.New()
	h, tw := history.New(store), twins.New()
	r := projections.NewRunner(log, store, projections.Config{}, h, tw)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	head, _, err := log.Head(ctx)
	if err == nil {
		err = r.WaitFor(ctx, head)
	}
	if err != nil {
		t.Fatal(err)
	}
	var points []telemetry.Point
	for d := range 8 {
		for s := range 2 {
			points = append(points, telemetry.Point{Device: fmt.Sprint("D-", d), Signal: fmt.Sprint("s", s)})
		}
	}
	now, err := tw.View().Latest(ctx, points)
	if err != nil {
		t.Fatal(err)
	}
	corrected := 0
	for i, p := range points {
		// Those whose time has not come are not current: see the settings.
		asOf := now[i].SourceTime
		then, err := h.View().LatestAt(ctx, points[i:i+1], projections.Cut{AsOf: asOf})
		if err != nil {
			t.Fatal(err)
		}
		a, b := now[i], then[0]
		if a.Value != b.Value || a.Quality != b.Quality || a.Position != b.Position || a.Corrected != b.Corrected || a.Altered != b.Altered {
			t.Errorf("%v: twins say %+v, history %+v", p, a, b)
		}
		if a.Corrected {
			corrected++
		}
	}
	if stop(); corrected == 0 || corrected == len(points) {
		t.Errorf("%d of %d points corrected: nothing is compared", corrected, len(points))
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

// amend appends a correction of the last hours of some devices.
func amend(tb testing.TB, r *rand.Rand, log eventlog.Log, at eventlog.Expected, now time.Time) eventlog.Expected {
	tb.Helper()
	m := correction.Made{Action: correction.MarkBad, StatusCode: quality.Bad, IncludingLater: r.IntN(3) == 0, Spans: []correction.Span{{
		Device: fmt.Sprint("D-", r.IntN(8)), Signal: []string{"", "s0", "s1"}[r.IntN(3)], From: now.Add(-time.Duration(r.IntN(7200)) * time.Second), To: now.Add(time.Hour),
	}}}
	if n := at.Next(); n > 0 && r.IntN(3) > 0 {
		m = correction.Made{Action: correction.Undo, Supersedes: []correction.Earlier{{Stream: correction.Stream("test"), Revision: eventlog.Revision(r.IntN(int(n)))}}}
	}
	e, err := eventlog.NewJSONEvent(eventlog.EventID{1, byte(at.Next()), byte(at.Next() >> 8), 6: 0x40, 8: 0x80}, m, eventlog.Envelope{Actor: eventlog.Actor{Subject: "p", Kind: eventlog.Human}})
	if err != nil {
		tb.Fatal(err)
	}
	done, err := log.Append(tb.Context(), correction.Stream("test"), at, e)
	if err != nil {
		tb.Fatal(err)
	}
	return eventlog.At(done.Revision)
}

// fill appends messages of eight devices, some late, some twice, some ahead.
func fill(tb testing.TB, n int) eventlog.Log {
	tb.Helper()
	r := rand.New(rand.NewPCG(7, 7))
	now := epoch
	log := memlog.New("test", func() time.Time { return now })
	stream := telemetry.Stream("GW-1", "0123456789abcdef")
	expected := eventlog.NoStream
	corrections := eventlog.NoStream
	for n > 0 {
		if r.IntN(12) == 0 || n < 1500 {
			corrections = amend(tb, r, log, corrections, now)
		}
		var batch []eventlog.NewEvent
		for range min(n, 500) {
			row := telemetry.Row{
				Device: fmt.Sprint("D-", r.IntN(8)), SchemaVersion: "2.1", EdgeLatency: telemetry.NoLatency,
				SourceTime: now.Add(time.Duration(r.IntN(500)-400) * time.Millisecond).Truncate(10 * time.Millisecond),
			}
			switch r.IntN(40) {
			case 0:
				row.SourceTime = row.SourceTime.Add(-time.Duration(r.IntN(30)) * time.Hour)
			case 1:
				row.SourceTime = row.SourceTime.Add(time.Duration(r.IntN(180)) * time.Second)
			}
			for i := range 1 + r.IntN(2) {
				row.Samples = append(row.Samples, telemetry.Sample{
					Signal: fmt.Sprint("s", i), Value: telemetry.FloatValue(float64(r.IntN(1000)) / 10), Quality: quality.Quality{Raw: 192, Scheme: quality.OPCDA},
				})
			}
			e := eventlog.NewEvent{Type: eventlog.TelemetryRecorded, ContentType: "application/octet-stream", Data: row.AppendBinary(nil)}
			for i := range e.ID {
				e.ID[i] = byte(r.Uint32())
			}
			batch = append(batch, e)
		}
		done, err := log.Append(tb.Context(), stream, expected, batch...)
		if err != nil {
			tb.Fatal(err)
		}
		expected = eventlog.At(done.Revision)
		n -= len(batch)
		now = now.Add(time.Duration(r.IntN(60_000)) * time.Millisecond)
	}
	return log
}
