// Command fieldsim is machines that are not there: the simulated pumping station
// of twinlog demo, standing alone, for trying a gateway or a server on.
//
//	fieldsim --modbus 127.0.0.1:1502 --mqtt mqtt://127.0.0.1:1883
//	fieldsim --print-gateway --modbus 127.0.0.1:1502 > plant.yaml
//
// A controller answers Modbus TCP for four pumps, two tanks and a valve; two more
// pumps publish by themselves over MQTT. One sensor fails on schedule, and the
// network once.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/twinlog/twinlog/adapters/field/station"
)

const about = `A simulated pumping station that speaks real protocols.

The controller at --modbus answers for pumps P-101 to P-104, tanks T-201 and T-202 and valve V-301
(docs/protocols/modbus.md has its registers). With --mqtt, pumps P-105 and P-106 publish there by
themselves. The winding temperature of P-102 freezes after 20 s, is a broken wire after 40 s and is
repaired after 100 s, every ten minutes. The same seed is the same plant.`

type command struct {
	Modbus       string        `default:"127.0.0.1:1502" placeholder:"ADDR" help:"Where the controller listens (${default})."`
	MQTT         string        `placeholder:"URL" help:"The broker of the pumps that publish by themselves, mqtt://host:port; without it they are silent."`
	Seed         uint64        `default:"1" help:"The plant's dice (${default})."`
	NoFailure    bool          `help:"Keep the sensor well."`
	OutageAfter  time.Duration `placeholder:"TIME" help:"Cut the machines off the network after so long; without it never."`
	OutageFor    time.Duration `default:"10s" placeholder:"TIME" help:"And for so long (${default})."`
	PrintGateway bool          `help:"Print the configuration of a gateway that polls the controller, and end."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "fieldsim:", err)
		os.Exit(1)
	}
}

// run runs the station until ctx ends, which is a clean end.
func run(ctx context.Context, args []string, out, errs io.Writer) error {
	var c command
	helped := false
	parser, err := kong.New(&c,
		kong.Name("fieldsim"), kong.Description(about), kong.UsageOnError(),
		kong.Writers(out, errs), kong.Exit(func(int) { helped = true }),
		kong.ConfigureHelp(kong.HelpOptions{WrapUpperBound: 100}),
	)
	if err != nil {
		return err
	}
	if _, err := parser.Parse(args); err != nil || helped {
		return err
	}
	if c.PrintGateway {
		_, err := out.Write(station.GatewayConfig(c.Modbus))
		return err
	}
	config := station.Config{
		Seed: c.Seed, Modbus: c.Modbus, MQTT: c.MQTT, Failure: station.Failure{}.Standard(),
		Outage: station.Outage{After: c.OutageAfter, Machines: c.OutageFor},
		Log:    slog.New(slog.NewTextHandler(errs, nil)),
	}
	if c.NoFailure {
		config.Failure = station.Failure{}
	}
	s, err := station.New(config)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "controller on modbus tcp %s\n", s.ModbusAddr())
	if err := s.Run(ctx); !errors.Is(err, context.Canceled) || ctx.Err() == nil {
		return err
	}
	return nil
}
