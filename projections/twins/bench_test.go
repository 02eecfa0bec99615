package twins_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/twinlog/twinlog/adapters/rows/memrows"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/projections"
)

func plantLog(points, events int) []eventlog.Record {
	var records []eventlog.Record
	for i := range events {
		row := telemetry.Row{
			Device: fmt.Sprint("P-", i%(points/10)), SchemaVersion: "2.1", EdgeLatency: telemetry.NoLatency, SourceTime: start.Add(time.Duration(i) * time.Millisecond),
		}
		for k := range 10 {
			row.Samples = append(row.Samples, telemetry.Sample{Signal: fmt.Sprint("signal", k), Value: telemetry.FloatValue(float64(i%1000) / 10), Quality: quality.Quality{Raw: 192, Scheme: quality.OPCDA}})
		}
		records = append(records, eventlog.Record{Position: eventlog.Position(i + 1), Type: eventlog.TelemetryRecorded, Data: row.AppendBinary(nil), Recorded: row.SourceTime})
	}
	return records
}

func BenchmarkFold(b *testing.B) {
	records := plantLog(10_000, 20_000)
	v := &live{store: memrows.New()}
	v.restart(b)
	n := 0
	for b.Loop() {
		i := n % 20 * 1000
		var w projections.Writes
		if _, err := v.fold.Fold(eventlog.Batch{Records: records[i : i+1000], Through: records[i+999].Position}, &w); err != nil {
			b.Fatal(err)
		}
		n++
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/10_000, "ns/sample")
}

func BenchmarkLatest10000(b *testing.B) {
	v := &live{store: memrows.New()}
	v.restart(b)
	v.feed(b, plantLog(10_000, 1000), func() int { return 1000 })
	var pts []telemetry.Point
	for i := range 10_000 {
		pts = append(pts, telemetry.Point{Device: fmt.Sprint("P-", i/10), Signal: fmt.Sprint("signal", i%10)})
	}
	n, began := 0, cpu()
	for b.Loop() {
		got, err := v.fold.View().Latest(b.Context(), pts)
		if err != nil || !got[9999].OK {
			b.Fatal(err)
		}
		n++
	}
	b.ReportMetric(float64((cpu()-began).Microseconds())/float64(n), "cpu-us/op")
}

// cpu returns the CPU time that the process has used: the machine is shared.
func cpu() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
