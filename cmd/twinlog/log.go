package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/twinlog/twinlog/cmd/logtool"
	"github.com/twinlog/twinlog/domain/eventlog"
)

type logCommand struct {
	Verify logVerify `cmd:"" help:"Read everything in the log and name what is missing or wrong."`
	Stats  logStats  `cmd:"" help:"Say how large the log is, and where it ends."`
	Copy   logCopy   `cmd:"" help:"Copy a log into another one and compare them."`
	Repair logRepair `cmd:"" help:"Make a damaged log usable, giving up what is lost."`
}

type logVerify struct{ dataFlag }

var errLosses = errors.New("the log is damaged")

// Help is shown by twinlog log verify --help.
func (logVerify) Help() string {
	return `Checksums, the chain of hashes, gaps in positions and revisions, every index
entry, sealed parts and HEAD. The server must not run. Badger shortens files that
end badly when it opens them: copy a log that is in doubt before anything else.

  twinlog log verify --data ./plant`
}

// Run verifies.
func (c logVerify) Run(ctx context.Context, std streams) error {
	data, err := c.dir()
	if err != nil {
		return err
	}
	r, err := logtool.Verify(ctx, data, logtool.NewProgress(std.err, "verify", 0))
	if err != nil {
		return err
	}
	for _, l := range r.Losses {
		fmt.Fprintln(std.out, l)
	}
	fmt.Fprintf(std.out, "log %s: %d events of %d streams up to position %v, %d of them in %d sealed windows, %d blocks\n",
		r.Origin, r.Events, r.Streams, r.Through, r.Sealed, r.Windows, r.Blocks)
	if r.Lost > 0 {
		return fmt.Errorf("%d losses, named above (up to 1000): restore from a backup, or twinlog log repair: %w", r.Lost, errLosses)
	}
	fmt.Fprintln(std.out, "everything is there and as it was written")
	return nil
}

type logStats struct{ dataFlag }

// Run measures.
func (c logStats) Run(ctx context.Context, std streams) error {
	data, err := c.dir()
	if err != nil {
		return err
	}
	s, err := logtool.Stats(ctx, data)
	if err != nil {
		return err
	}
	total := s.Tables + s.Values + s.Other
	fmt.Fprintf(std.out, "log %s\n%d events, the last at position %v; telemetry is sealed up to %v\n", s.Origin, s.Head.Order(), s.Head, s.Sealed)
	fmt.Fprintf(std.out, "%d bytes on disk: %d in tables, %d in value files, %d in write-ahead files and others\n", total, s.Tables, s.Values, s.Other)
	for _, e := range s.Epochs {
		end := "goes on"
		if e.Last != 0 {
			end = "ends at " + e.Last.String()
		}
		fmt.Fprintf(std.out, "epoch %d begins at %v, %s\n", e.Number, e.First, end)
	}
	return nil
}

type logRepair struct {
	dataFlag
	AcceptLoss bool   `name:"accept-loss" help:"Give up what is lost. Nothing is done without it."`
	Origin     string `name:"origin" placeholder:"NAME" help:"The log's name, if its ORIGIN file is lost."`
}

// Help is shown by twinlog log repair --help.
func (logRepair) Help() string {
	return `Restore from a backup first, if there is one. This makes a new log from what is
readable; where events were lost inside it, events of type log.lost.v1 stand now,
and what was lost at its end is refused as POSITION_LOST. A new epoch begins with
an event that lists the loss. The damaged log is put aside, and views/ is rebuilt.

  twinlog log repair --data ./plant --accept-loss`
}

// Run repairs.
func (c logRepair) Run(ctx context.Context, std streams) error {
	data, err := c.dir()
	if err != nil {
		return err
	}
	r, err := logtool.Repair(ctx, data, c.Origin, c.AcceptLoss, logtool.NewProgress(std.err, "repair", 0))
	if err != nil {
		return err
	}
	for _, l := range r.Losses {
		fmt.Fprintln(std.out, l)
	}
	fmt.Fprintf(std.out, "kept %d events up to position %v\n", r.Events, r.Last)
	for _, l := range r.Filled {
		fmt.Fprintf(std.out, "lost: positions %v to %v, where log.lost.v1 stands now\n", eventlog.NewPosition(l.Epoch, l.First), eventlog.NewPosition(l.Epoch, l.Last))
	}
	if l := r.Missing; l.Last > 0 {
		fmt.Fprintf(std.out, "lost: positions %v to %v at the end\n", eventlog.NewPosition(l.Epoch, l.First), eventlog.NewPosition(l.Epoch, l.Last))
	}
	fmt.Fprintf(std.out, "epoch %d begins at position %v; the damaged log is in %s\n", r.Opened.Epoch(), r.Opened, r.Damaged)
	return nil
}

type logCopy struct {
	From string `name:"from" required:"" placeholder:"URL" help:"The log: a directory (DATA/log), or esdb://HOST:PORT."`
	To   string `name:"to" required:"" placeholder:"URL" help:"Where to: a directory that does not exist, or esdb://HOST:PORT."`
}

// Help is shown by twinlog log copy --help.
func (logCopy) Help() string {
	return `Every event keeps its stream, revision, id and bytes, and the order of all
events stays. Counts and SHA-256 of every stream are compared at the end. Kill it
at any time and run it again. What a directory's log knew at a time, the copy
knows too; in a server's log positions are new ones.

  twinlog log copy --from ./plant/log --to ./copy/log`
}

// Run copies.
func (c logCopy) Run(ctx context.Context, std streams) error {
	done, err := logtool.Copy(ctx, c.From, c.To, logtool.NewProgress(std.err, "copy", 0))
	if err != nil {
		return err
	}
	fmt.Fprintf(std.out, "%d events of %d streams are equal in both logs, each stream by count and SHA-256 (all: %x)\n", done.Events, done.Streams, done.Sum)
	if done.Had > 0 {
		fmt.Fprintf(std.out, "%d of them had been copied before\n", done.Had)
	}
	if done.Opened != 0 {
		fmt.Fprintf(std.out, "epoch %d of the copy begins at position %v\n", done.Opened.Epoch(), done.Opened)
	}
	return nil
}
