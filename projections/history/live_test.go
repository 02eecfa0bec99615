package history_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twinlog/twinlog/adapters/eventlog/memlog"
	"github.com/twinlog/twinlog/adapters/rows/memrows"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/projections"
	"github.com/twinlog/twinlog/projections/history"
	"github.com/twinlog/twinlog/projections/projectionstest"
	"github.com/twinlog/twinlog/projections/twins"
)

// TestUnderTheRunner lives through more than a window of a real log, with the
// restarts and failing commits of projectionstest, for history and for twins.
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
}

// fill appends messages of eight devices, some late, some twice, some ahead.
func fill(tb testing.TB, n int) eventlog.Log {
	tb.Helper()
	r := rand.New(rand.NewPCG(7, 7))
	now := epoch
	log := memlog.New("test", func() time.Time { return now })
	stream := telemetry.Stream("GW-1", "0123456789abcdef")
	expected := eventlog.NoStream
	for n > 0 {
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
