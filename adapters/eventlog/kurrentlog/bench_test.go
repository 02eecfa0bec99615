package kurrentlog_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twinlog/twinlog/adapters/eventlog/memlog"
	"github.com/twinlog/twinlog/domain/eventlog"
)

var benchData = make([]byte, 200)

// BenchmarkAppend compares appends of 200-byte events to the log on disk, to
// the same log through the protocol, and to memory through the protocol, which
// is the most that the protocol gives here.
func BenchmarkAppend(b *testing.B) {
	logs := []struct {
		name string
		open func(b *testing.B) eventlog.Log
	}{
		{"badger", func(b *testing.B) eventlog.Log { return openBadger(b) }},
		{"served badger", func(b *testing.B) eventlog.Log {
			address, _ := serve(b, openBadger(b), "")
			return open(b, address)
		}},
		{"served memory", func(b *testing.B) eventlog.Log {
			address, _ := serve(b, memlog.New("served", time.Now), "")
			return open(b, address)
		}},
	}
	for _, l := range logs {
		for _, writers := range []int{1, 64} {
			for _, batch := range []int{1, 500} {
				b.Run(fmt.Sprintf("%s/%d writers/batches of %d", l.name, writers, batch), func(b *testing.B) {
					benchAppend(b, l.open(b), writers, batch)
				})
			}
		}
	}
}

func benchAppend(b *testing.B, l eventlog.Log, writers, batch int) {
	var ids, left atomic.Int64
	left.Store(int64(b.N))
	b.ResetTimer()
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			id := eventlog.StreamID(fmt.Sprintf("asset-%d", w))
			for n := 0; left.Add(-1) >= 0; n += batch {
				events := make([]eventlog.NewEvent, batch)
				for i := range events {
					k := ids.Add(1)
					events[i] = eventlog.NewEvent{
						ID: eventlog.EventID{1, byte(k >> 32), byte(k >> 24), byte(k >> 16), byte(k >> 8), byte(k)}, Type: "asset.moved.v1", Data: benchData,
					}
				}
				if _, err := l.Append(b.Context(), id, at(n), events...); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)*float64(batch)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkReadAll reads 50,000 events of 200 bytes.
func BenchmarkReadAll(b *testing.B) {
	const events = 50_000
	served := openBadger(b)
	for n := 0; n < events; n += 500 {
		batch := make([]eventlog.NewEvent, 500)
		for i := range batch {
			batch[i] = eventlog.NewEvent{ID: eventlog.EventID{1, byte((n + i) >> 16), byte((n + i) >> 8), byte(n + i)}, Type: "asset.moved.v1", Data: benchData}
		}
		if _, err := served.Append(b.Context(), "asset-1", at(n), batch...); err != nil {
			b.Fatal(err)
		}
	}
	address, _ := serve(b, served, "")
	for name, l := range map[string]eventlog.Log{"badger": served, "served badger": open(b, address)} {
		b.Run(name, func(b *testing.B) {
			for range b.N {
				n := 0
				for _, err := range l.ReadAll(b.Context(), 0, eventlog.Forwards, eventlog.Filter{}) {
					if err != nil {
						b.Fatal(err)
					}
					n++
				}
				if n != events {
					b.Fatalf("%d events", n)
				}
			}
			b.ReportMetric(float64(b.N)*events/b.Elapsed().Seconds(), "events/s")
		})
	}
}
