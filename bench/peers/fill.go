package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/twinlog/twinlog/bench/plant"
	"github.com/twinlog/twinlog/domain/telemetry"
)

// sink takes a plant's rows second by second; a second is durable when it
// returns. n counts the seconds from 0.
type sink interface {
	second(ctx context.Context, n int64, rows []*telemetry.Row) error
	// finish brings the store to rest: sealed, compacted, closed.
	finish(ctx context.Context, o order, r *result) error
}

func openSink(ctx context.Context, o order) (sink, error) {
	switch o.Store {
	case "nothing":
		return nothing{}, nil
	case "twinlog":
		return openTelemetryLog(ctx, o)
	case "rows + fdatasync":
		s, err := openRaw(o.Dir)
		return rowSink{s}, err
	case "jetstream":
		s, err := openJetStream(o.Dir, 1)
		return rowSink{s}, err
	case "sqlite":
		return openSampleTable(ctx, o.Dir)
	case "badger":
		s, err := openBadger(o.Dir)
		return sampleKeys{s}, err
	case "prometheus":
		return openPrometheus(o.Dir)
	}
	return nil, fmt.Errorf("%q: %w", o.Store, errStore)
}

func fill(ctx context.Context, o order, r *result) error {
	p := plant.New(devices)
	s, err := openSink(ctx, o)
	if err != nil {
		return err
	}
	before, start := cpu(), time.Now()
	rows := make([]*telemetry.Row, devices)
	for n := range o.Seconds {
		for i := range devices {
			gateway, seq := "", uint64(n)+1
			if o.Gateway > 0 {
				gateway = fmt.Sprintf("gw-%d", i%o.Gateway)
				seq = uint64(n)*uint64(devices/o.Gateway) + uint64(i/o.Gateway) + 1
			}
			rows[i] = p.Row(i, n, seq, gateway)
		}
		if err := s.second(ctx, n, rows); err != nil {
			return fmt.Errorf("second %d: %w", n, err)
		}
	}
	r.Elapsed, r.Events = time.Since(start), o.Seconds*devices
	if err := s.finish(ctx, o, r); err != nil {
		return err
	}
	if r.AtRest == 0 {
		r.AtRest = cpu()
	}
	r.CPU = r.AtRest - before
	r.Disk, err = diskUse(o.Dir)
	return err
}

type nothing struct{}

func (nothing) second(context.Context, int64, []*telemetry.Row) error { return nil }
func (nothing) finish(context.Context, order, *result) error          { return nil }

// rowSink stores a device's message as the row that twinlog makes of it.
type rowSink struct{ store store }

func (s rowSink) second(ctx context.Context, _ int64, rows []*telemetry.Row) error {
	batch := make([][]byte, len(rows))
	for i, r := range rows {
		batch[i] = r.AppendBinary(nil)
	}
	return s.store.append(ctx, 0, batch)
}

func (s rowSink) finish(context.Context, order, *result) error { return s.store.close() }

// sampleTable is a row a sample, appended: device, tag, time, value, quality.
type sampleTable struct{ *sqlite }

func openSampleTable(ctx context.Context, dir string) (sampleTable, error) {
	s, err := openSQLite(ctx, dir)
	if err != nil {
		return sampleTable{}, err
	}
	if _, err = s.db.ExecContext(ctx, `CREATE TABLE samples (device INTEGER, tag INTEGER, ts INTEGER, value REAL, quality INTEGER)`); err != nil {
		return sampleTable{}, err
	}
	s.insert, err = s.db.PrepareContext(ctx, `INSERT INTO samples VALUES (?, ?, ?, ?, ?)`)
	return sampleTable{s}, err
}

func (s sampleTable) second(ctx context.Context, _ int64, rows []*telemetry.Row) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	insert := tx.StmtContext(ctx, s.insert)
	for i, r := range rows {
		for k := range r.Samples {
			x := &r.Samples[k]
			if _, err := insert.ExecContext(ctx, i, k, r.SourceTime.UnixMilli(), math.Float64frombits(x.Value.Bits), x.Quality.Raw); err != nil {
				return err
			}
		}
	}
	return tx.Commit()
}

func (s sampleTable) finish(context.Context, order, *result) error { return s.close() }

// sampleKeys is a key a sample.
type sampleKeys struct{ *naive }

func (s sampleKeys) second(_ context.Context, _ int64, rows []*telemetry.Row) error {
	return s.db.Update(func(txn *badger.Txn) error {
		for i, r := range rows {
			for k := range r.Samples {
				x := &r.Samples[k]
				key := binary.BigEndian.AppendUint32(make([]byte, 0, 13), uint32(i))
				key = binary.BigEndian.AppendUint64(append(key, byte(k)), uint64(r.SourceTime.UnixMilli()))
				value := binary.LittleEndian.AppendUint64(make([]byte, 0, 16), x.Value.Bits)
				value = binary.LittleEndian.AppendUint32(value, uint32(x.Quality.Code))
				value = binary.LittleEndian.AppendUint32(value, uint32(x.Quality.Raw))
				if err := txn.Set(key, value); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func (s sampleKeys) finish(context.Context, order, *result) error { return s.close() }
