package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twinlog/twinlog/cmd/logtool"
	"github.com/twinlog/twinlog/domain/eventlog"
)

type dataFlag struct {
	Data string `name:"data" placeholder:"DIR" help:"Data directory (as serve's)."`
}

func (f dataFlag) dir() (string, error) {
	if f.Data != "" {
		return f.Data, nil
	}
	return dataHome("plant")
}

type backupCommand struct {
	dataFlag
	To    string `name:"to" required:"" placeholder:"DIR" help:"Directory of the backup, which gets one more file; - for one whole backup to standard output."`
	Check bool   `name:"check" help:"Only read the backup and compare every sum."`
}

// Help is shown by twinlog backup --help.
func (backupCommand) Help() string {
	return `Adds what is new since the last time, while the server runs. Kill it at any
time and run it again. The log is complete in it; keys/ is not, and must be kept
elsewhere: whoever has both can read personal data.

  twinlog backup --data ./plant --to /mnt/backup/plant
  twinlog backup --check --to /mnt/backup/plant
  twinlog backup --data ./plant --to - | ssh vault 'cat > plant.tlb'`
}

// Run backs up.
func (c backupCommand) Run(ctx context.Context, std streams) (err error) {
	if c.Check {
		chain, err := logtool.Check(c.To)
		if err != nil {
			return err
		}
		fmt.Fprintf(std.out, "%d files, %d events up to position %v, recorded at %s: all sums are right\n",
			len(chain.Files), chain.End.Events, chain.End.Position, chain.End.Recorded.Format(time.RFC3339Nano))
		return nil
	}
	data, err := c.dir()
	if err != nil {
		return err
	}
	src, err := logtool.OpenData(ctx, data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	about, err := src.About(ctx)
	if err != nil {
		return err
	}
	progress := logtool.NewProgress(std.err, "backup", about.Head)
	if c.To == "-" {
		end, err := logtool.Stream(ctx, src, std.out, progress)
		fmt.Fprintf(std.err, "backup: %d events up to position %v\n", end.Events, end.Position)
		return err
	}
	b, err := logtool.Save(ctx, src, c.To, progress)
	switch {
	case err != nil:
		return err
	case b.File == "":
		fmt.Fprintf(std.out, "nothing new: the backup has all %d events up to position %v\n", b.Through.Events, b.Through.Position)
		return nil
	}
	fmt.Fprintf(std.out, "%s: %d events, %d bytes; the backup has %d events up to position %v, recorded at %s\n",
		b.File, b.Through.Events-b.From.Events, b.Bytes, b.Through.Events, b.Through.Position, b.Through.Recorded.Format(time.RFC3339Nano))
	return nil
}

type restoreCommand struct {
	Backup string `arg:"" type:"existingdir" help:"Directory of the backup."`
	dataFlag
	ToPosition string    `name:"to-position" placeholder:"POS" xor:"to" help:"End at the last whole commit up to this position."`
	ToTime     time.Time `name:"to-time" placeholder:"TIME" xor:"to" help:"End before the first event that was recorded later (RFC 3339)."`
	Replace    bool      `name:"replace" help:"Put a log that is there aside (DIR/log.replaced-TIME)."`
}

// Help is shown by twinlog restore --help.
func (restoreCommand) Help() string {
	return `Makes DIR/log from a backup, compares it with the backup's sums, and prints
what was acknowledged and is not in it. The server must not run. Positions of
what came back stay what they were; the log goes on in a new epoch, so that
positions of what was lost are refused and never read as something else.
views/ is removed and rebuilt at the next start.

  twinlog restore /mnt/backup/plant --data ./plant --replace
  twinlog restore /mnt/backup/plant --data ./drill --to-time 2026-03-01T12:00:00Z`
}

// Run restores.
func (c restoreCommand) Run(ctx context.Context, std streams) error {
	data, err := c.dir()
	if err != nil {
		return err
	}
	o := logtool.RestoreOptions{Backup: c.Backup, Data: data, Replace: c.Replace, ToTime: c.ToTime}
	if c.ToPosition != "" {
		if o.ToPosition, err = eventlog.ParsePosition(c.ToPosition); err != nil {
			return err
		}
	}
	r, err := logtool.Restore(ctx, o, logtool.NewProgress(std.err, "restore", 0))
	if err != nil {
		return err
	}
	fmt.Fprint(std.out, r.Statement())
	return nil
}
