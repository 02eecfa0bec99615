package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/twinlog/twinlog/cmd/gateway"
)

type checkCommand struct {
	Config string `required:"" type:"path" placeholder:"FILE" help:"The configuration, in YAML."`
}

// Help is the manual of check.
func (checkCommand) Help() string {
	return `Reads the file and prints all of its faults, each with its line and with the source, the
device and the tag that it is about. Unknown keys are faults. Without faults it prints what the
gateway would do. Nothing is connected. Exits with 1 if there are faults.`
}

// Run checks the file.
func (c checkCommand) Run(std streams) error {
	config, err := load(c.Config)
	if err != nil {
		return err
	}
	fmt.Fprintf(std.out, "%s: gateway %s at %s\n", c.Config, config.ID, config.Place)
	for _, s := range config.Sources {
		fmt.Fprintf(std.out, "  source %s: %s %s, %d devices, %d tags\n", s.Name, s.Protocol.Name, s.Where(), len(s.Devices), len(s.Tags))
	}
	return nil
}

type runCommand struct {
	Config string        `required:"" type:"path" placeholder:"FILE" help:"The configuration, in YAML."`
	Data   string        `required:"" type:"path" placeholder:"DIR" help:"Where the outbox is kept. One gateway, one directory: never copy it to a second one."`
	Uplink string        `placeholder:"URL" help:"The server's broker, mqtt://host:port; overrides uplink.url."`
	Report time.Duration `default:"1m" help:"How often to log what was read, sent and kept; 0 for never."`
	Status string        `placeholder:"HOST:PORT" help:"Where to show a status page; on this machine only, such as 127.0.0.1:8081."`
	Debug  bool          `help:"Log more."`
}

// Help is the manual of run.
func (runCommand) Help() string {
	return `Runs until it is interrupted. What the server has not acknowledged stays in DIR and is sent
the next time, oldest first. The first start in an empty DIR begins a new incarnation, by which the
server tells a replaced gateway from a repeated message.

A machine that cannot be reached makes its tags Bad and nothing else; the gateway goes on. It ends
with an error only if the configuration is wrong or its own disk fails.`
}

// Run runs the gateway.
func (c runCommand) Run(ctx context.Context, std streams) error {
	config, err := load(c.Config)
	if err != nil {
		return err
	}
	if c.Uplink != "" {
		config.Uplink.URL = c.Uplink
	}
	limitMemory()
	level := slog.LevelInfo
	if c.Debug {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(std.err, &slog.HandlerOptions{Level: level}))
	g, err := gateway.Open(ctx, config, c.Data, log)
	if err != nil {
		return err
	}
	log.LogAttrs(ctx, slog.LevelInfo, "gateway runs", slog.String("gateway", config.ID),
		slog.String("server", config.Uplink.URL), slog.String("incarnation", g.Status().Outbox.Incarnation))
	if c.Status != "" {
		if err := serveStatus(ctx, c.Status, config.ID, g, log); err != nil {
			return errors.Join(err, g.Close())
		}
	}
	if c.Report > 0 {
		go report(ctx, g, log, c.Report)
	}
	err = g.Run(ctx)
	return errors.Join(err, g.Close())
}

// report logs what the gateway is doing, every so often.
func report(ctx context.Context, g *gateway.Gateway, log *slog.Logger, every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		status := g.Status()
		for _, s := range status.Sources {
			log.LogAttrs(ctx, slog.LevelInfo, "source", slog.String("source", s.Source),
				slog.Uint64("scans", s.Scans), slog.Uint64("readings", s.Readings), slog.Uint64("bad", s.Bad),
				slog.Uint64("messages", s.Messages), slog.Uint64("samples", s.Samples),
				slog.Uint64("refused", s.Refused), slog.Uint64("restarts", s.Restarts))
		}
		o := status.Outbox
		log.LogAttrs(ctx, slog.LevelInfo, "outbox", slog.Bool("linked", o.Linked), slog.Uint64("depth", o.Depth),
			slog.Duration("age", o.Age), slog.Int64("bytes", o.Bytes), slog.Uint64("acked", o.Acked),
			slog.Uint64("lost", o.Lost), slog.Uint64("refused", o.Refused), slog.String("last_error", o.LastError))
	}
}

// load reads and checks a configuration.
func load(path string) (gateway.Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return gateway.Config{}, err
	}
	return gateway.Parse(path, text)
}
