package badgerlog_test

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twinlog/twinlog/adapters/eventlog/badgerlog"
	"github.com/twinlog/twinlog/domain/eventlog"
)

// BenchmarkAppend measures durable telemetry: each operation is one event of
// 238 bytes of data, each writer has a stream of its own and appends one batch
// after the other. Reported besides: events per second of wall time, CPU per
// event (of the whole process: writers, committer and Badger) and syncs.
func BenchmarkAppend(b *testing.B) {
	for _, writers := range []int{1, 4, 16, 256, 1000} {
		for _, batch := range []int{1, 10, 100, 256, 500} {
			if writers >= 256 && batch > 10 {
				continue // in flight at once: more than any broker allows
			}
			b.Run(fmt.Sprintf("writers=%d/batch=%d", writers, batch), func(b *testing.B) { benchAppend(b, writers, batch) })
		}
	}
}

func benchAppend(b *testing.B, writers, batch int) {
	l, err := badgerlog.Open(b.Context(), b.TempDir(), badgerlog.Config{IDs: benchID})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	var left atomic.Int64
	left.Store(int64(b.N))
	before, start := cpu(), time.Now()
	b.ResetTimer()
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			id := eventlog.StreamID(fmt.Sprintf("telemetry-gw%d.0123456789abcdef", w))
			expected, seq := eventlog.NoStream, uint64(w)<<32
			for left.Add(-int64(batch)) > -int64(batch) {
				events := make([]eventlog.NewEvent, batch)
				for i := range events {
					events[i] = benchEvent(seq)
					seq++
				}
				a, err := l.Append(b.Context(), id, expected, events...)
				if err != nil {
					b.Error(err)
					return
				}
				expected = eventlog.At(a.Revision)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	took, n := time.Since(start), float64(b.N)
	b.ReportMetric(n/took.Seconds(), "events/s")
	b.ReportMetric(float64((cpu()-before).Nanoseconds())/n, "cpu-ns/event")
	b.ReportMetric(n/float64(l.Counters().Commits), "events/sync")
	b.ReportMetric(float64(l.Counters().Bytes)/n, "disk-B/event")
}

// benchEvent is a row of 238 bytes that begins with its seq and packs about as
// well as ten samples with their signals' names.
func benchEvent(seq uint64) eventlog.NewEvent {
	data := make([]byte, 0, 8+10*len(benchName))
	data = binary.BigEndian.AppendUint64(data, seq)
	for i := range uint64(10) {
		data = append(data, benchName...)
		binary.BigEndian.PutUint32(data[len(data)-4:], uint32((seq+i)*2654435761))
	}
	id, _ := benchID("", "", eventlog.TelemetryRecorded, data)
	return eventlog.NewEvent{ID: id, Type: eventlog.TelemetryRecorded, ContentType: "application/vnd.twinlog.row", Data: data}
}

const benchName = "\x13temperature_motor_d----"

// benchID is cheap on purpose: what an id costs is domain/telemetry's affair.
func benchID(_ string, _ eventlog.StreamID, _ string, data []byte) (id eventlog.EventID, ok bool) {
	copy(id[8:], data[:8])
	id[0] = 1
	return id, true
}

func cpu() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
