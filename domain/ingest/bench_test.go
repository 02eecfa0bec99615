package ingest_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twinlog/twinlog/adapters/eventlog/memlog"
	"github.com/twinlog/twinlog/adapters/uplink/wire"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/ingest"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// BenchmarkSubmit is a message of ten samples from its bytes to a log that
// takes 200 us for an append and does nothing: what ingest costs beside the
// broker and the log.
func BenchmarkSubmit(b *testing.B) {
	for name, make := range map[string]func(i int) delivery{
		"gateway": func(i int) delivery { return tenOf(incA, "gw-1", i+1) },
		"device":  func(i int) delivery { return tenOf("", "", i+1) },
	} {
		b.Run(name, func(b *testing.B) {
			now := time.Now()
			g := ingest.New(&sink{Log: memlog.New("plant", time.Now)}, wire.NewReader(wire.Config{}), ingest.Config{})
			defer g.Close()
			messages := []ingest.Message{}
			var answered sync.WaitGroup
			b.ReportAllocs()
			cpu, from := time.Duration(0), cpuTime()
			for i := 0; b.Loop(); i++ {
				if i%10_000 == 0 { // made while the clock stands still
					b.StopTimer()
					cpu += cpuTime() - from
					messages = messages[:0]
					for k := range 10_000 {
						messages = append(messages, make(i+k).message(now.Add(time.Duration(i+k)*time.Millisecond)))
					}
					runtime.GC()
					from = cpuTime()
					b.StartTimer()
				}
				answered.Add(1)
				if wait := g.Submit(messages[i%10_000], func(ingest.Outcome) { answered.Done() }); wait != nil {
					<-wait
				}
			}
			answered.Wait()
			cpu += cpuTime() - from
			b.ReportMetric(float64(cpu)/float64(b.N), "cpu-ns/op")
			if n := g.Counters().Recorded.Load(); n != uint64(b.N) {
				b.Fatalf("%d of %d recorded, %d duplicates", n, b.N, g.Counters().Duplicates.Load())
			}
		})
	}
}

// cpuTime is what the process has used of all processors.
func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// sink forgets telemetry.
type sink struct{ *memlog.Log }

func (s *sink) Append(ctx context.Context, id eventlog.StreamID, at eventlog.Expected, events ...eventlog.NewEvent) (eventlog.Appended, error) {
	if id.Category() != "telemetry" {
		return s.Log.Append(ctx, id, at, events...)
	}
	time.Sleep(200 * time.Microsecond) // a sync, during which the next batch gathers
	return eventlog.Appended{Revision: at.Next() + eventlog.Revision(len(events)) - 1}, nil
}

func tenOf(inc, gateway string, seq int) delivery {
	var d strings.Builder
	for i := range 10 {
		fmt.Fprintf(&d, `"signal_%02d":{"v":%d.%d,"q":192},`, i, 20+7*i, (i+seq)%10)
	}
	meta, msgID := `"fw_version":"2.3.1"`, fmt.Sprintf("01HSB2X5T3QJ8Z9W7V%08d", seq)
	if inc != "" {
		meta += fmt.Sprintf(`,"gw_id":%q,"inc":%q`, gateway, inc)
		msgID = telemetry.MsgID(inc, uint64(seq))
	}
	return delivery{topic: pumpTopic, payload: fmt.Sprintf(
		`{"schema_version":"2.1","msg_id":%q,"device_id":"P-1","device_type":"pump","ts":%d,"seq":%d,"d":{%s},"meta":{%s,"source_ts":%d}}`,
		msgID, 1710844800000+seq, seq, strings.TrimSuffix(d.String(), ","), meta, 1710844799980+seq)}
}
