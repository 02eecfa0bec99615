// Command peers measures the event log beside other stores and the disk, in
// one run, and prints ratios: only those carry over to another machine. It is a
// module of its own, so that the peers are no dependencies of twinlog.
// `go run .` in this folder runs everything, `go run . append` one part.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
)

// part is one group of measurements.
type part struct {
	name, about string
	run         func(ctx context.Context, tmp string) error
}

func parts() []part {
	return []part{
		{"append", "durable appends of events of 200 bytes", measureAppends},
		{"tail", "the p99 of an append with 16 writers beside a probe of the disk", measureTail},
		{"telemetry", "1,000 devices x 10 tags at 1 Hz: CPU, disk, memory, reading", measureTelemetry},
	}
}

var errUsage = errors.New("usage: peers [append] [tail] [telemetry]")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 2 && args[0] == childRole {
		return runChild(ctx, args[1])
	}
	for _, a := range args {
		if !slices.ContainsFunc(parts(), func(p part) bool { return p.name == a }) {
			return fmt.Errorf("%q: %w", a, errUsage)
		}
	}
	for _, p := range parts() {
		if len(args) > 0 && !slices.Contains(args, p.name) {
			continue
		}
		fmt.Printf("\n# %s: %s\n", p.name, p.about)
		tmp, err := os.MkdirTemp("", "twinlog-peers-")
		if err != nil {
			return err
		}
		err = errors.Join(p.run(ctx, tmp), os.RemoveAll(tmp))
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

// goal prints a ratio beside what the project wants of it.
func goal(what string, got float64, atLeast bool, want float64) {
	word, met := "at least", got >= want
	if !atLeast {
		word, met = "at most", got <= want
	}
	verdict := "met"
	if !met {
		verdict = "MISSED"
	}
	fmt.Printf("-> %-64s %8.2f, goal %s %.2f: %s\n", what, got, word, want, verdict)
}
