package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twinlog/twinlog/adapters/eventlog/badgerlog"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// telemetryLog is the log under the plant: a stream a gateway, or a stream a
// device. It seals while it is written, as it always does.
type telemetryLog struct {
	log     *badgerlog.Log
	streams []eventlog.StreamID // of each device
	next    map[eventlog.StreamID]uint64
	writers map[eventlog.StreamID]chan appending // one a stream, as a server has one a source
	ids     int64                                // random bytes of msg_ids
}

func openTelemetryLog(ctx context.Context, o order) (*telemetryLog, error) {
	l, err := badgerlog.Open(ctx, o.Dir, badgerlog.Config{IDs: telemetry.DeriveID})
	if err != nil {
		return nil, err
	}
	t := &telemetryLog{log: l, next: map[eventlog.StreamID]uint64{}, writers: map[eventlog.StreamID]chan appending{}}
	for i := range devices {
		id := telemetry.Stream(fmt.Sprintf("pump-%04d", i), telemetry.Unordered)
		if o.Gateway > 0 {
			id = telemetry.Stream(fmt.Sprintf("gw-%d", i%o.Gateway), fmt.Sprintf("%016x", 1000+i%o.Gateway))
		}
		t.streams = append(t.streams, id)
		if t.writers[id] == nil {
			t.writers[id] = make(chan appending, 1)
			go t.write(ctx, id, t.writers[id])
		}
	}
	return t, nil
}

func (t *telemetryLog) second(ctx context.Context, _ int64, rows []*telemetry.Row) error {
	byStream := map[eventlog.StreamID][]eventlog.NewEvent{}
	for i, r := range rows {
		if r.MsgID != "" {
			t.ids += 10 // the random bytes of a ULID; its time follows from the row's
		}
		id := t.streams[i]
		e := eventlog.NewEvent{Type: eventlog.TelemetryRecorded, ContentType: telemetry.ContentType, Data: r.AppendBinary(nil)}
		var ok bool
		if e.ID, ok = telemetry.DeriveID(t.log.Origin(), id, e.Type, e.Data); !ok {
			return fmt.Errorf("device %d: no id follows from its row: %w", i, errStore)
		}
		byStream[id] = append(byStream[id], e)
	}
	done := make(chan error, len(byStream))
	for id, events := range byStream {
		expected := eventlog.NoStream
		if n := t.next[id]; n > 0 {
			expected = eventlog.At(eventlog.Revision(n - 1))
		}
		t.next[id] += uint64(len(events))
		t.writers[id] <- appending{expected, events, done}
	}
	var err error
	for range byStream {
		err = errors.Join(err, <-done)
	}
	return err
}

// appending is one Append for a stream's writer.
type appending struct {
	expected eventlog.Expected
	events   []eventlog.NewEvent
	done     chan<- error
}

func (t *telemetryLog) write(ctx context.Context, id eventlog.StreamID, work <-chan appending) {
	for a := range work {
		_, err := t.log.Append(ctx, id, a.expected, a.events...)
		a.done <- err
	}
}

// finish seals what is left, compacts, and reads everything twice: the second
// time it is warm. Reading is not in the CPU.
func (t *telemetryLog) finish(ctx context.Context, o order, r *result) error {
	for _, w := range t.writers {
		close(w)
	}
	if err := t.log.Seal(ctx); err != nil {
		return err
	}
	r.Sealed, r.Ids = int64(t.log.Counters().SealedRows), t.ids
	if err := t.log.Close(); err != nil {
		return err
	}
	var err error
	if t.log, err = badgerlog.Open(ctx, o.Dir, badgerlog.Config{IDs: telemetry.DeriveID}); err != nil {
		return err
	}
	if err := t.log.Compact(ctx); err != nil {
		return err
	}
	r.AtRest = cpu()
	before := t.log.Counters().TelemetryBlocks
	if _, err := t.read(ctx, eventlog.Filter{NoTelemetry: true}, r.Events); err != nil {
		return err
	}
	r.Opened = t.log.Counters().TelemetryBlocks - before
	for range 2 {
		if r.Reads, err = t.read(ctx, eventlog.Filter{}, r.Sealed); err != nil {
			return err
		}
	}
	return t.log.Close()
}

// read reads up to n events and returns how many a second.
func (t *telemetryLog) read(ctx context.Context, f eventlog.Filter, n int64) (float64, error) {
	start, got := time.Now(), int64(0)
	for _, err := range t.log.ReadAll(ctx, 0, eventlog.Forwards, f) {
		if err != nil {
			return 0, err
		}
		if got++; got == n {
			break
		}
	}
	return float64(got) / time.Since(start).Seconds(), nil
}
