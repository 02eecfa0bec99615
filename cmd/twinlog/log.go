package main

import (
	"context"
	"fmt"

	"github.com/twinlog/twinlog/cmd/logtool"
)

type logCommand struct {
	Copy logCopy `cmd:"" help:"Copy a log into another one and compare them."`
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
