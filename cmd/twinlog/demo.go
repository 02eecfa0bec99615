package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/twinlog/twinlog/adapters/field/station"
	"github.com/twinlog/twinlog/cmd/gateway"
	"github.com/twinlog/twinlog/cmd/server"
)

type demoCommand struct {
	listenFlags
	Seed  uint64 `name:"seed" default:"1" help:"Seed of the simulated plant."`
	Calm  bool   `name:"calm" help:"No failing sensor and no network outage."`
	Quiet bool   `name:"quiet" help:"No line per second."`

	// What the plant's network does, for tests; zero: its standard.
	OutageAfter time.Duration `name:"outage-after" hidden:"" help:"When the gateway's link fails."`
	OutageLasts time.Duration `name:"outage-lasts" hidden:"" help:"For how long."`
}

// Help is shown by twinlog demo --help.
func (demoCommand) Help() string {
	return `A simulated pumping station is reached over real sockets only: a gateway polls
its controller over Modbus TCP, keeps what it read in an outbox and sends it
over MQTT; two pumps publish by themselves. The server records it all and
answers GraphQL.

Within two minutes a sensor freezes and then breaks (motor temperature of pump
P-102), and a minute in the network fails: watch quality, gaps and catch-up.
Ctrl-C stops; starting again goes on with the same data.`
}

// examples are the queries that the README shows, and a test asks.
var examples = []struct{ what, query string }{
	{
		"what a pump says, with its quality",
		`{ plant { asset(path: "acme/riverside/waterworks/line-1/lifting-cell/P-101") { name twin { reported(first: 3) { tag { name unit { code } } value quality { name } sourceTime } } } } }`,
	},
	{
		"the whole plant as one table, at one position of the log",
		`{ plant { tagValues(first: 5) { paths values status position } } }`,
	},
	{
		"who did what, newest last",
		`{ auditTrail(last: 2) { nodes { position recorded action actor { subject kind } } } }`,
	},
}

// curl is a command line that asks a query, for any shell of POSIX.
func curl(addr, query string) (string, error) {
	var body strings.Builder
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(map[string]string{"query": query}); err != nil {
		return "", err
	}
	quoted := strings.ReplaceAll(strings.TrimSpace(body.String()), "'", `'\''`)
	return fmt.Sprintf(`curl -s http://%s/graphql -H 'Content-Type: application/json' -d '%s'`, addr, quoted), nil
}

// Run runs the demonstration until the context ends.
func (d demoCommand) Run(ctx context.Context, std streams) error {
	c, err := d.over(server.Config{}, std)
	if err != nil {
		return err
	}
	if c.Data == "" {
		if c.Data, err = dataHome("demo"); err != nil {
			return err
		}
	}
	data := c.Data
	c.Data = filepath.Join(data, "server")
	srv, err := server.Open(ctx, c)
	if err != nil {
		return err
	}
	// The gateway reaches the server through a link that the plant's outage cuts.
	broker := strings.TrimPrefix(srv.MQTTAddr(), "mqtt://") // an external one has a URL
	if strings.Contains(broker, "://") {
		return errors.Join(fmt.Errorf("--mqtt %q: the plant's machines speak without TLS, expected HOST:PORT or mqtt://HOST:PORT", broker), srv.Close())
	}
	link, err := station.NewLink("", broker)
	if err != nil {
		return errors.Join(err, srv.Close())
	}
	plant := station.Config{Seed: d.Seed, MQTT: "mqtt://" + broker, Uplinks: []*station.Link{link}, Log: c.Logger}
	if !d.Calm {
		plant.Failure, plant.Outage = station.Failure{}.Standard(), station.Outage{}.Standard()
	}
	if d.OutageAfter > 0 {
		plant.Outage = station.Outage{After: d.OutageAfter, Uplink: d.OutageLasts}
	}
	machines, err := station.New(plant)
	if err != nil {
		return errors.Join(err, srv.Close())
	}
	config, err := gateway.Parse("demo gateway", station.GatewayConfig(machines.ModbusAddr()))
	if err != nil {
		return errors.Join(err, srv.Close())
	}
	config.Uplink.URL = "mqtt://" + link.Addr()

	all, ctx := errgroup.WithContext(ctx)
	run := func(f func(context.Context) error) {
		all.Go(func() error {
			if err := f(ctx); !errors.Is(err, context.Canceled) {
				return err
			}
			return nil
		})
	}
	run(srv.Run)
	run(link.Run)
	run(func(ctx context.Context) error {
		if err := commission(ctx, srv); err != nil {
			return err
		}
		if err := d.greet(std.out, srv, data); err != nil {
			return err
		}
		return d.tell(ctx, std.out, srv)
	})
	run(machines.Run)
	run(func(ctx context.Context) error {
		return gateway.Run(ctx, config, filepath.Join(data, "gateway"), c.Logger)
	})
	err = all.Wait()
	fmt.Fprintln(std.out, "\nstopped; start again to go on with the same data")
	return err
}

func (d demoCommand) greet(out io.Writer, srv *server.Server, data string) error {
	fmt.Fprintf(out, "\ntwinlog demo is ready\n  GraphQL  http://%s/graphql\n  console  http://%s/\n  MQTT     %s\n  data     %s\n\nTry:\n",
		srv.HTTPAddr(), srv.HTTPAddr(), srv.MQTTAddr(), data)
	for _, e := range examples {
		line, err := curl(srv.HTTPAddr(), e.query)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "  # %s\n  %s\n", e.what, line)
	}
	fmt.Fprintln(out)
	return nil
}

// tell prints a line per second: values, position, and how far the slowest
// projection is behind.
func (d demoCommand) tell(ctx context.Context, out io.Writer, srv *server.Server) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	before := srv.Ingested().Samples.Load()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		now := srv.Ingested().Samples.Load()
		head, _, err := srv.Log().Head(ctx)
		if err != nil {
			return err
		}
		var lag uint64
		for _, p := range srv.Runner().Status() {
			lag = max(lag, p.Lag)
		}
		if !d.Quiet {
			fmt.Fprintf(out, "%s  %4d values/s  position %d  lag %d\n", time.Now().Format(time.TimeOnly), now-before, head, lag)
		}
		before = now
	}
}
