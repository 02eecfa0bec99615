// Command twinlog-edge is the gateway: it polls the machines of a plant, judges
// and thins what they say, keeps it while the server is away, and delivers it in
// order.
//
//	twinlog-edge check --config plant.yaml              says what is wrong with a configuration
//	twinlog-edge run --config plant.yaml --data DIR     runs it
//	twinlog-edge outbox stats --config plant.yaml --data DIR     says what waits for the server
//
// `twinlog-edge COMMAND --help` is the manual of each; docs/protocols/modbus.md
// explains the configuration key by key.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

const about = `The twinlog gateway: machines on one side, the server on the other.

It polls each machine on its own schedule, turns registers into engineering
values, says how far to trust each one, sends what is new, and keeps everything
on its own disk until the server has it. It works as well without a server, for
as long as its outbox has room.`

type commands struct {
	Run         runCommand         `cmd:"" help:"Run the gateway."`
	Check       checkCommand       `cmd:"" help:"Say everything that is wrong with a configuration, or what it would do."`
	Outbox      outboxCommand      `cmd:"" help:"Look into what waits for the server, and into what it refused."`
	Read        readCommand        `cmd:"" help:"Read one tag now."`
	Watch       watchCommand       `cmd:"" help:"Print what the machines say."`
	Browse      browseCommand      `cmd:"" help:"Show what a device offers, as tags."`
	Schema      schemaCommand      `cmd:"" help:"Print the JSON Schema of the configuration, for editors."`
	Certificate certificateCommand `cmd:"" help:"Make a certificate for OPC UA servers."`
}

// streams are where a command speaks: answers to out, everything else to err.
type streams struct{ out, err io.Writer }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], streams{os.Stdout, os.Stderr}); err != nil {
		fmt.Fprintln(os.Stderr, "twinlog-edge:", err)
		os.Exit(1)
	}
}

// run runs one command line. The end of ctx is a clean end.
func run(ctx context.Context, args []string, std streams) error {
	var cli commands
	helped := false
	parser, err := kong.New(&cli,
		kong.Name("twinlog-edge"), kong.Description(about), kong.UsageOnError(),
		kong.Writers(std.out, std.err), kong.Exit(func(int) { helped = true }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(std),
	)
	if err != nil {
		return err
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(args)
	switch {
	case helped:
		return nil
	case err != nil:
		return err
	}
	if err := parsed.Run(); !errors.Is(err, context.Canceled) || ctx.Err() == nil {
		return err
	}
	return nil
}
