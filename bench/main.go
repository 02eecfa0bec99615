// Command bench measures twinlog's hot paths beside a peer or the physical
// limit in the same run, and prints ratios: only those carry over to another
// machine. `go run ./bench` runs everything; `go run ./bench ingest` one part.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"

	"github.com/twinlog/twinlog/bench/served"
)

// part is one group of measurements.
type part struct {
	name, about string
	run         func(context.Context) error
}

var parts = []part{
	{"ingest", "MQTT QoS 1 to durable, beside a broker that stores nothing and mosquitto", ingest},
	{"readers", "what readers that never read cost everybody else", readers},
	{"rebuild", "the hierarchy rebuilt beside a hundred million samples", rebuild},
	{"opens", "logs of millions of events and streams, opened cold", opens},
	{"served", "the log through the EventStoreDB protocol, beside itself and beside a served log in memory", served.Run},
	{"query", "last values, a day and ninety days, over HTTP", query},
}

// errUsage ends a run that was asked for an unknown part.
var errUsage = errors.New("usage: bench [PART ...]")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 2 && args[0] == bareRole {
		return serveBare(ctx, args[1])
	}
	if len(args) == 4 && args[0] == opensRole {
		s, err := parseLarge(args[2:])
		if err != nil {
			return err
		}
		return openLog(ctx, args[1], s)
	}
	for _, a := range args {
		if !slices.ContainsFunc(parts, func(p part) bool { return p.name == a }) {
			var names []string
			for _, p := range parts {
				names = append(names, p.name+" ("+p.about+")")
			}
			return fmt.Errorf("%q: %w; parts: %s", a, errUsage, strings.Join(names, ", "))
		}
	}
	for _, p := range parts {
		if len(args) > 0 && !slices.Contains(args, p.name) {
			continue
		}
		fmt.Printf("\n# %s: %s\n", p.name, p.about)
		if err := p.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}
