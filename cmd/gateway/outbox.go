package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/twinlog/twinlog/adapters/queue/badgerqueue"
	"github.com/twinlog/twinlog/adapters/uplink/wire"
	"github.com/twinlog/twinlog/domain/ingest"
	"github.com/twinlog/twinlog/edge"
	"github.com/twinlog/twinlog/edge/outbox"
)

// A Store is a gateway's lanes on their disk. Only one process may have it open.
type Store struct {
	*outbox.Lanes
	disk *badgerqueue.Store
}

// OpenStore opens the outbox of c in dir.
func OpenStore(ctx context.Context, c Config, dir string, log *slog.Logger) (*Store, error) {
	disk, err := badgerqueue.Open(filepath.Join(dir, "outbox"), badgerqueue.Config{Log: log})
	if err != nil {
		return nil, err
	}
	lanes, err := outbox.OpenLanes(ctx, outbox.LanesConfig{
		Config: outbox.Config{
			Gateway: c.ID, Topic: c.topic(wire.Telemetry), Shared: c.Outbox.budget(), Rate: c.Outbox.BacklogRate,
			RetryMin: 500 * time.Millisecond, RetryMax: 10 * time.Second, // after an outage the plant is to be seen soon
			Contents: contents(wire.NewReader(wire.Config{})),
		},
		Queue: func(lane string) (outbox.Queue, error) { return disk.Lane(lane) },
		Known: disk.Lanes(),
	})
	if err != nil {
		return nil, errors.Join(err, disk.Close())
	}
	return &Store{lanes, disk}, nil
}

// Close closes the lanes and the disk.
func (s *Store) Close() error { return errors.Join(s.Lanes.Close(), s.disk.Close()) }

func (o Outbox) budget() *outbox.Budget {
	bytes := o.MaxBytes
	if bytes <= 0 {
		bytes = 1 << 30
	}
	return outbox.NewBudget(bytes, o.Stop)
}

// contents reads a payload of ours for a loss that has to say what was in it.
func contents(read ingest.Reader) func(outbox.Message, func(outbox.Content)) error {
	return func(m outbox.Message, visit func(outbox.Content)) error {
		var u ingest.Uplink
		u.Reset()
		if err := read(&ingest.Message{Topic: m.Topic, Payload: m.Payload, Arrived: m.Made}, &u); err != nil {
			return fmt.Errorf("message %d: %w", m.Seq, err)
		}
		for _, s := range u.Row.Samples {
			visit(outbox.Content{Device: u.Row.Device, Signal: s.Signal, At: u.Row.SourceTime})
		}
		return nil
	}
}

// A sink puts what the pipelines found worth sending into the outbox.
type sink struct{ lanes *outbox.Lanes }

var _ edge.Sink = sink{}

// Put returns when the messages are durable: those of one priority all or none,
// and the higher ones first. Times leave with a millisecond, as the wire has
// them: what is finer is the gateway's scheduler and not the plant, and would be
// most of the message.
func (s sink) Put(ctx context.Context, messages ...edge.Message) error {
	for p := outbox.Alarm; p >= outbox.Low; p-- {
		var bodies []outbox.Body
		for _, m := range messages {
			if m.Priority == p {
				bodies = append(bodies, body(m))
			}
		}
		if len(bodies) == 0 {
			continue
		}
		if err := s.lanes.Put(ctx, p, bodies...); err != nil {
			return err
		}
	}
	return nil
}

func body(m edge.Message) outbox.Body {
	row := m.Row
	row.SchemaVersion = wire.SchemaVersion
	row.SourceTime, row.ServerTime = row.SourceTime.Truncate(time.Millisecond), row.ServerTime.Truncate(time.Millisecond)
	row.EdgeLatency = max(0, row.ServerTime.Sub(row.SourceTime))
	return outbox.Body{
		Topic:   wire.Topic{Place: m.Place, DeviceType: row.DeviceType, Device: row.Device, Class: wire.Telemetry}.String(),
		Samples: len(row.Samples),
		Encode: func(n outbox.Number) ([]byte, error) {
			row.Gateway, row.Seq, row.HasSeq = n.Source, n.Seq, true
			return wire.AppendRow(nil, &row, n.Incarnation), nil
		},
	}
}
