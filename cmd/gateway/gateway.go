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

	"golang.org/x/sync/errgroup"

	"github.com/twinlog/twinlog/adapters/uplink/mqttlink"
	"github.com/twinlog/twinlog/adapters/uplink/wire"
	"github.com/twinlog/twinlog/edge"
	"github.com/twinlog/twinlog/edge/outbox"
	"github.com/twinlog/twinlog/edge/protocol"
)

// A Gateway is ready to run. It owns its outbox, which nobody else may open.
type Gateway struct {
	config Config
	edge   *edge.Gateway
	outbox *Store
	data   string
	log    *slog.Logger
}

// Open makes the gateway of c with its outbox in dir, which is made if it is
// not there. Nothing is connected before Run. Close it when it is done.
func Open(ctx context.Context, c Config, dir string, log *slog.Logger) (*Gateway, error) {
	pipelines, err := c.Pipelines(log)
	if err != nil {
		return nil, err
	}
	if _, err := c.link(c.ID); err != nil {
		return nil, err
	}
	g := &Gateway{config: c, data: dir, log: log}
	if g.outbox, err = OpenStore(ctx, c, dir, log); err != nil {
		return nil, err
	}
	if g.edge, err = edge.New(sink{g.outbox.Lanes}, log, pipelines); err != nil {
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
	group.Go(func() error { return g.outbox.Run(ctx, g.config.link) })
	group.Go(func() error { serveStore(ctx, g.outbox, g.data, g.log); return nil })
	return group.Wait()
}

// Close closes the outbox, after Run has ended. What was not delivered stays in
// it for the next time.
func (g *Gateway) Close() error { return g.outbox.Close() }

// Status is what a gateway is doing.
type Status struct {
	Sources []edge.Status
	Outbox  outbox.Stats // of all lanes together
	Lanes   []outbox.LaneStats
}

// Status returns what the gateway has done since Open.
func (g *Gateway) Status() Status { return Status{g.edge.Status(), g.outbox.Total(), g.outbox.Stats()} }

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

// link leads a lane to the server. Only the gateway's own source has a status.
func (c Config) link(source string) (outbox.Link, error) {
	if c.Uplink.URL == "" {
		return nil, errors.New("uplink: url is missing, expected mqtt://host:port of the server")
	}
	config := mqttlink.Config{Endpoint: mqttlink.Endpoint{
		URL: c.Uplink.URL, ClientID: source, User: c.Uplink.Username, KeepAlive: c.Uplink.KeepAlive,
	}}
	if source == c.ID {
		config.StatusTopic = c.topic(wire.Status)
	}
	if path := c.Uplink.PasswordFile; path != "" {
		password, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("uplink: password: %w", err)
		}
		config.Password = bytes.TrimRight(password, "\r\n")
	}
	return mqttlink.New(config)
}
