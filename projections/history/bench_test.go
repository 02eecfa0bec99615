package history_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twinlog/twinlog/adapters/rows/badgerrows"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/projections"
	"github.com/twinlog/twinlog/projections/aggregate"
	"github.com/twinlog/twinlog/projections/history"
	"github.com/twinlog/twinlog/projections/rowstest"
)

// walk is the reference workload: ten slow signals with one decimal.
type walk struct {
	r      *rand.Rand
	values [10]float64
}

func (w *walk) row(device string, at time.Time) telemetry.Row {
	row := telemetry.Row{Device: device, Gateway: "GW-1", SchemaVersion: "2.1", EdgeLatency: telemetry.NoLatency, SourceTime: at.Truncate(time.Millisecond)}
	row.ServerTime = row.SourceTime.Add(time.Duration(20+w.r.IntN(10)) * time.Millisecond)
	for i := range w.values {
		w.values[i] += w.r.NormFloat64() * []float64{.05, .05, .05, .05, .3, .3, 1, .8, 0, 0}[i]
		row.Samples = append(row.Samples, telemetry.Sample{
			Signal: fmt.Sprint("signal-", i), Value: telemetry.FloatValue(math.Round(w.values[i]*10) / 10),
			Quality: quality.Quality{Raw: 192, Scheme: quality.OPCDA},
		})
	}
	return row
}

// bench is a history of so many devices in Badger, one message a second each.
type bench struct {
	store projections.Store
	fold  *history.Projection
	pos   eventlog.Position
	rev   eventlog.Revision
	batch []eventlog.Record
	spent time.Duration // in Fold
	n     int
}

func newBench(b *testing.B) *bench {
	b.Helper()
	store, err := badgerrows.Open(b.TempDir(), badgerrows.Config{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { store.Close() })
	h := &bench{store: store, fold: history.New(store)}
	s, err := store.Snapshot(context.Background(), "history")
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	if err := h.fold.Open(s, 0); err != nil {
		b.Fatal(err)
	}
	return h
}

func (h *bench) add(b *testing.B, row *telemetry.Row, recorded time.Time) {
	h.pos++
	h.batch = append(h.batch, eventlog.Record{
		Stream: "telemetry-GW-1.0123456789abcdef", Revision: h.rev, Position: h.pos, Type: eventlog.TelemetryRecorded,
		Data: row.AppendBinary(nil), Recorded: recorded,
	})
	h.rev++
	h.n += len(row.Samples)
	if len(h.batch) == 1000 {
		h.flush(b)
	}
}

func (h *bench) flush(b *testing.B) {
	var w projections.Writes
	began := cpu()
	at, err := h.fold.Fold(eventlog.Batch{Records: h.batch, Through: h.pos}, &w)
	h.spent += cpu() - began
	if err == nil {
		err = h.store.Commit(context.Background(), "history", h.fold.Version(), at, &w)
	}
	if err != nil {
		b.Fatal(err)
	}
	h.batch = h.batch[:0]
}

// cpu returns the CPU time that the process has used: the machine is shared.
func cpu() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// perOp reports the CPU time of each call.
func perOp(b *testing.B, call func()) {
	b.Helper()
	began, n := cpu(), 0
	for b.Loop() {
		call()
		n++
	}
	b.ReportMetric(float64((cpu()-began).Microseconds())/float64(n), "cpu-us/op")
}

// anon returns the process's anonymous memory in MB.
func anon() int {
	b, _ := os.ReadFile("/proc/self/status")
	for line := range strings.SplitSeq(string(b), "\n") {
		if strings.HasPrefix(line, "RssAnon:") {
			var kb int
			fmt.Sscan(strings.Fields(line)[1], &kb)
			return kb / 1024
		}
	}
	return 0
}

// BenchmarkFold folds 1,000 devices of ten signals: ns and bytes per sample.
func BenchmarkFold(b *testing.B) {
	for b.Loop() {
		h := newBench(b)
		w := &walk{r: rand.New(rand.NewPCG(1, 1))}
		at := epoch
		for h.n < 10_400_000 {
			for d := range 1000 {
				row := w.row(fmt.Sprint("P-", d), at.Add(time.Duration(d)*time.Millisecond))
				h.add(b, &row, at.Add(time.Duration(d/100)*100*time.Millisecond))
			}
			at = at.Add(time.Second)
		}
		b.ReportMetric(float64(anon()), "RssAnon-MB")
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		b.ReportMetric(float64(m.HeapAlloc>>20), "heap-MB")
		size := map[byte]int{}
		all := 0
		for _, r := range rowstest.Dump(b, h.store, "history") {
			size[r.Key[0]] += len(r.Key) + len(r.Value)
			all += len(r.Key) + len(r.Value)
		}
		sealed := float64(h.pos>>18<<18) * 10
		b.ReportMetric(float64(h.spent.Nanoseconds())/float64(h.n), "cpu-ns/sample")
		b.ReportMetric(float64(all)/sealed, "B/sample")
		b.ReportMetric(float64(size['s'])/sealed, "sums-B/sample")
		for _, k := range "cdnrst" {
			b.Logf("%c: %.3f B/sample", k, float64(size[byte(k)])/sealed)
		}
	}
}

// BenchmarkRead asks for a day of one tag, 86,400 rows, and for hourly values of
// 90 days, of a device that sent ten signals a second, beside 1,000 others.
func BenchmarkRead(b *testing.B) {
	h := newBench(b)
	w := &walk{r: rand.New(rand.NewPCG(1, 1))}
	from := epoch.Truncate(24 * time.Hour)
	for s := range 2 * 86_400 { // ten signals a second, for two days
		at := from.Add(time.Duration(s) * time.Second).Add(time.Duration(w.r.IntN(5)) * time.Millisecond)
		row := w.row("P-0", at)
		h.add(b, &row, at)
	}
	for s := range 90 * 86_400 / 10 { // one signal every ten seconds, for 90 days
		at := from.Add(time.Duration(s) * 10 * time.Second)
		row := w.row("P-1", at)
		row.Samples = row.Samples[:1]
		h.add(b, &row, at)
		if s%50 == 0 {
			row = w.row(fmt.Sprint("Q-", s%1000), at)
			h.add(b, &row, at)
		}
	}
	v := h.fold.View()
	ctx := b.Context()
	fns := []aggregate.Function{aggregate.Minimum, aggregate.Maximum, aggregate.Average}
	ninety := func(b *testing.B) {
		perOp(b, func() {
			s := aggregate.Span{From: from, To: from.Add(90 * 24 * time.Hour), Interval: time.Hour}
			r, err := v.Aggregate(ctx, []history.Part{{Point: telemetry.Point{Device: "P-1", Signal: "signal-0"}}}, s, fns, aggregate.Standard(), projections.Cut{})
			if err != nil || len(r[0]) != 2160 || r[2][5].Value.Kind != telemetry.Float64 {
				b.Fatal(err)
			}
		})
	}
	b.Run("90days/quarter-in-open-window", ninety)
	for last := h.pos >> 18; h.pos>>18 == last || h.pos&0xffff != 0xfff; { // others go on
		at := from.Add(91 * 24 * time.Hour)
		row := w.row("Q-0", at)
		row.Samples = row.Samples[:1]
		h.add(b, &row, at)
	}
	h.flush(b)
	b.Run("90days/sealed", ninety)
	b.Run("day", func(b *testing.B) {
		perOp(b, func() {
			c, err := v.Columns(ctx, telemetry.Point{Device: "P-0", Signal: "signal-3"}, from, from.Add(24*time.Hour), projections.Cut{}, history.Options{})
			if err != nil || len(c.Times) != 86_400 {
				b.Fatal(len(c.Times), err)
			}
		})
	})
	b.Run("latest100", func(b *testing.B) {
		var pts []telemetry.Point
		for i := range 100 {
			pts = append(pts, telemetry.Point{Device: "P-0", Signal: fmt.Sprint("signal-", i%10)})
		}
		perOp(b, func() {
			if _, err := v.LatestAt(ctx, pts, projections.Cut{AsOf: from.Add(36 * time.Hour)}); err != nil {
				b.Fatal(err)
			}
		})
	})
}
