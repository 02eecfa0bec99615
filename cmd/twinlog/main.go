// Command twinlog serves the digital twin: it takes samples from gateways and
// devices over MQTT, keeps them in an append-only log, and answers GraphQL.
//
//	twinlog demo     a simulated pumping station and its twin, in one process
//	twinlog serve    the server, for real use
//	twinlog import   assets and samples from files
//	twinlog backup   what is new in the log, into a backup
//	twinlog restore  a log from a backup
//	twinlog log      check, measure, copy or repair a log
//
// `twinlog COMMAND --help` is the manual of each.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // --zone works on machines without a zone database

	"github.com/alecthomas/kong"
)

const about = `The event-sourced digital twin server for industrial plants.

Everything that happens is an event in one append-only log; everything that is
asked is answered from folds of that log, with its quality and its position.`

type commands struct {
	Demo   demoCommand   `cmd:"" help:"Run a simulated pumping station, its gateway and its twin in one process."`
	Serve  serveCommand  `cmd:"" help:"Run the server."`
	Import importCommand `cmd:"" help:"Bring assets or samples from a file into the log."`

	Backup  backupCommand  `cmd:"" help:"Add what is new in the log to a backup."`
	Restore restoreCommand `cmd:"" help:"Make a log from a backup, and say what is lost."`
	Log     logCommand     `cmd:"" help:"Check, measure, copy or repair a log."`
}

// streams are where a command speaks: answers to out, everything else to err.
type streams struct{ out, err io.Writer }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], streams{os.Stdout, os.Stderr}); err != nil {
		fmt.Fprintln(os.Stderr, "twinlog:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, std streams) error {
	var cli commands
	helped := false
	parser, err := kong.New(&cli,
		kong.Name("twinlog"), kong.Description(about), kong.UsageOnError(),
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
		return fmt.Errorf("%w (twinlog --help lists the commands)", err)
	}
	return parsed.Run()
}
