// Package gateway puts an edge gateway together from its configuration: sources
// from adapters/field, the pipelines of edge, the outbox on its durable queue,
// and the link to the server. twinlog-edge runs it, and twinlog demo runs the
// very same code beside the server, with a data directory and a session of its
// own.
package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/twinlog/twinlog/adapters/queue/badgerqueue"
	"github.com/twinlog/twinlog/adapters/uplink/mqttlink"
	"github.com/twinlog/twinlog/adapters/uplink/wire"
	"github.com/twinlog/twinlog/edge"
	"github.com/twinlog/twinlog/edge/outbox"
	"github.com/twinlog/twinlog/edge/protocol"
)

// A Gateway is ready to run. It owns its outbox, which nobody else may open.
type Gateway struct {
	edge   *edge.Gateway
	outbox *outbox.Outbox
	queue  *badgerqueue.Queue
	link   *mqttlink.Link
}

// Open makes the gateway of c with its outbox in dir, which is made if it is
// not there. Nothing is connected before Run. Close it when it is done.
func Open(ctx context.Context, c Config, dir string, log *slog.Logger) (*Gateway, error) {
	pipelines, err := c.Pipelines(log)
	if err != nil {
		return nil, err
	}
	link, err := c.link()
	if err != nil {
		return nil, err
	}
	g := &Gateway{link: link}
	if g.queue, err = badgerqueue.Open(filepath.Join(dir, "outbox"), badgerqueue.Config{Log: log}); err != nil {
		return nil, err
	}
	g.outbox, err = outbox.Open(ctx, g.queue, outbox.Config{
		Gateway: c.ID, Topic: c.topic(wire.Telemetry), Budget: c.Outbox.MaxBytes,
		RetryMin: 500 * time.Millisecond, RetryMax: 10 * time.Second, // after an outage the plant is to be seen soon
	})
	if err != nil {
		return nil, errors.Join(err, g.queue.Close())
	}
	if g.edge, err = edge.New(sink{g.outbox, c.ID}, log, pipelines); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

// Run opens the gateway of c in dir, runs it until ctx ends, and closes it.
func Run(ctx context.Context, c Config, dir string, log *slog.Logger) error {
	g, err := Open(ctx, c, dir, log)
	if err != nil {
		return err
	}
	return errors.Join(g.Run(ctx), g.Close())
}

// Run polls, keeps and delivers until ctx ends, or until the outbox fails: a
// gateway that cannot keep what it reads has to say so by ending.
func (g *Gateway) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return g.edge.Run(ctx) })
	group.Go(func() error { return g.outbox.Drain(ctx, g.link) })
	return group.Wait()
}

// Close closes the outbox, after Run has ended. What was not delivered stays in
// it for the next time.
func (g *Gateway) Close() error { return errors.Join(g.outbox.Close(), g.queue.Close()) }

// Status is what a gateway is doing.
type Status struct {
	Sources []edge.Status
	Outbox  outbox.Stats
}

// Status returns what the gateway has done since Open.
func (g *Gateway) Status() Status { return Status{g.edge.Status(), g.outbox.Stats()} }

// Pipelines returns the pipeline of each source. Nothing is connected yet.
func (c Config) Pipelines(log *slog.Logger) ([]edge.Pipeline, error) {
	var all []edge.Pipeline
	for _, s := range c.Sources {
		ports, err := s.Open(log)
		if err != nil {
			return nil, err
		}
		all = append(all, edge.Pipeline{
			Name: s.Name, Polled: ports.Polled, Reporting: ports.Reporting,
			Retry: s.Retry, Devices: s.Devices, Tags: s.Tags,
		})
	}
	return all, nil
}

// Open returns the ports of the source. Nothing is connected yet.
func (s Source) Open(log *slog.Logger) (protocol.Ports, error) {
	ports, err := s.Protocol.Open(protocol.Connection{
		Name: s.Name, Settings: s.Connection, Tags: s.Items, Log: log.With(slog.String("source", s.Name)),
	})
	if err != nil {
		return protocol.Ports{}, fmt.Errorf("source %q: %w", s.Name, err)
	}
	return ports, nil
}

// gatewayType is the device type of a gateway in its own topics.
const gatewayType = "gateway"

func (c Config) topic(class wire.Class) string {
	return wire.Topic{Place: c.Place, DeviceType: gatewayType, Device: c.ID, Class: class}.String()
}

func (c Config) link() (*mqttlink.Link, error) {
	if c.Uplink.URL == "" {
		return nil, errors.New("uplink: url is missing, expected mqtt://host:port of the server")
	}
	config := mqttlink.Config{StatusTopic: c.topic(wire.Status), Endpoint: mqttlink.Endpoint{
		URL: c.Uplink.URL, ClientID: c.ID, User: c.Uplink.Username, KeepAlive: c.Uplink.KeepAlive,
	}}
	if path := c.Uplink.PasswordFile; path != "" {
		password, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("uplink: password: %w", err)
		}
		config.Password = bytes.TrimRight(password, "\r\n")
	}
	return mqttlink.New(config)
}

// A sink puts what the pipelines found worth sending into the outbox.
type sink struct {
	outbox  *outbox.Outbox
	gateway string
}

var _ edge.Sink = sink{}

// Put returns when the messages are durable. Times leave with a millisecond, as
// the wire has them: what is finer is the gateway's scheduler and not the
// plant, and would be most of the message.
func (s sink) Put(ctx context.Context, messages ...edge.Message) error {
	bodies := make([]outbox.Body, len(messages))
	for i, m := range messages {
		row := m.Row
		row.Gateway, row.SchemaVersion = s.gateway, wire.SchemaVersion
		row.SourceTime, row.ServerTime = row.SourceTime.Truncate(time.Millisecond), row.ServerTime.Truncate(time.Millisecond)
		row.EdgeLatency = max(0, row.ServerTime.Sub(row.SourceTime))
		bodies[i] = outbox.Body{
			Topic:   wire.Topic{Place: m.Place, DeviceType: row.DeviceType, Device: row.Device, Class: wire.Telemetry}.String(),
			Samples: len(row.Samples),
			Encode: func(n outbox.Number) ([]byte, error) {
				row.Seq, row.HasSeq = n.Seq, true
				return wire.AppendRow(nil, &row, n.Incarnation), nil
			},
		}
	}
	_, err := s.outbox.Put(ctx, bodies...)
	return err
}
