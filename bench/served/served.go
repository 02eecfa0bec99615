// Package served measures the log port through the EventStoreDB protocol: a
// served badgerlog beside the badgerlog itself and beside a served log in
// memory, which is the most that client, protocol and machine give.
package served

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twinlog/twinlog/adapters/eventlog/badgerlog"
	"github.com/twinlog/twinlog/adapters/eventlog/esdbgrpc"
	"github.com/twinlog/twinlog/adapters/eventlog/kurrentlog"
	"github.com/twinlog/twinlog/adapters/eventlog/memlog"
	"github.com/twinlog/twinlog/domain/eventlog"
)

const (
	eventBytes = 200
	readEvents = 50_000
	lasts      = 3 * time.Second // one measurement of appends
)

// stand is the three logs side by side.
type stand struct {
	direct, served, ceiling eventlog.Log
	close                   []func() error
}

// Run prints appends per second of each log, and events read per second.
func Run(ctx context.Context) (err error) {
	s := &stand{}
	defer func() {
		for _, end := range slices.Backward(s.close) {
			err = errors.Join(err, end())
		}
	}()
	if err := s.open(ctx); err != nil {
		return err
	}
	fmt.Printf("%-22s %12s %14s %14s %10s\n", "events/s of 200 bytes", "badgerlog", "served badger", "served memory", "of memory")
	for _, writers := range []int{1, 64} {
		for _, batch := range []int{1, 500} {
			var rates [3]float64
			for i, l := range []eventlog.Log{s.direct, s.served, s.ceiling} {
				if rates[i], err = appends(ctx, l, writers, batch); err != nil {
					return err
				}
			}
			line(fmt.Sprintf("%d writers × %d", writers, batch), rates)
		}
	}
	var rates [3]float64
	for i, l := range []eventlog.Log{s.direct, s.served, s.ceiling} {
		if rates[i], err = readAll(ctx, l); err != nil {
			return err
		}
	}
	line("ReadAll", rates)
	return nil
}

func line(what string, rates [3]float64) {
	fmt.Printf("%-22s %12.0f %14.0f %14.0f %9.0f%%\n", what, rates[0], rates[1], rates[2], 100*rates[1]/rates[2])
}

func (s *stand) open(ctx context.Context) error {
	for i, log := range []*eventlog.Log{&s.direct, &s.served} {
		dir, err := os.MkdirTemp("", "twinlog-served")
		if err != nil {
			return err
		}
		s.close = append(s.close, func() error { return os.RemoveAll(dir) })
		l, err := badgerlog.Open(ctx, dir, badgerlog.Config{})
		if err != nil {
			return err
		}
		s.close = append(s.close, l.Close)
		*log = l
		if i == 1 {
			if *log, err = s.through(ctx, l); err != nil {
				return err
			}
		}
	}
	var err error
	s.ceiling, err = s.through(ctx, memlog.New("memory", time.Now))
	return err
}

// through serves a log on the loopback and opens it there.
func (s *stand) through(ctx context.Context, log eventlog.Log) (eventlog.Log, error) {
	on, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	serving, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- esdbgrpc.New(log, esdbgrpc.Config{}).Serve(serving, on) }()
	s.close = append(s.close, func() error { stop(); return <-done })
	l, err := kurrentlog.Connect(ctx, kurrentlog.Config{Connection: "esdb://" + on.Addr().String() + "?tls=false"})
	if err != nil {
		return nil, err
	}
	s.close = append(s.close, l.Close)
	return l, nil
}

// run numbers the measurements, so that each has streams and ids of its own.
var run atomic.Uint64

// appends measures writers that each append batches to a stream of their own.
func appends(ctx context.Context, l eventlog.Log, writers, batch int) (perSecond float64, err error) {
	n := run.Add(1)
	var ids, events atomic.Uint64
	errs := make([]error, writers)
	began := time.Now()
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			id := eventlog.StreamID(fmt.Sprintf("asset-%d.%d", n, w))
			at := eventlog.NoStream
			for time.Since(began) < lasts {
				a, err := l.Append(ctx, id, at, makeEvents(n, &ids, batch)...)
				if err != nil {
					errs[w] = err
					return
				}
				at = eventlog.At(a.Revision)
				events.Add(uint64(batch))
			}
		})
	}
	all.Wait()
	return float64(events.Load()) / time.Since(began).Seconds(), errors.Join(errs...)
}

func makeEvents(run uint64, ids *atomic.Uint64, n int) []eventlog.NewEvent {
	events := make([]eventlog.NewEvent, n)
	for i := range events {
		var id eventlog.EventID
		binary.BigEndian.PutUint64(id[:], run)
		binary.BigEndian.PutUint64(id[8:], ids.Add(1))
		events[i] = eventlog.NewEvent{ID: id, Type: "asset.moved.v1", Data: make([]byte, eventBytes)}
	}
	return events
}

// readAll measures the reading of the log's first events.
func readAll(ctx context.Context, l eventlog.Log) (perSecond float64, err error) {
	began, n := time.Now(), 0
	for _, err := range l.ReadAll(ctx, 0, eventlog.Forwards, eventlog.Filter{}) {
		if err != nil {
			return 0, err
		}
		if n++; n == readEvents {
			break
		}
	}
	return float64(n) / time.Since(began).Seconds(), nil
}
