package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/twinlog/twinlog/adapters/rows/memrows"
	"github.com/twinlog/twinlog/cmd/server"
	"github.com/twinlog/twinlog/projections"
	"github.com/twinlog/twinlog/projections/assets"
)

// The log that the hierarchy is rebuilt from: messages of 100 samples.
const (
	wideSamples = 100
	wideRows    = 1_000_000
)

func rebuild(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "twinlog-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // temporary
	log, err := server.OpenLog(ctx, dir, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer log.Close() //nolint:errcheck // appends were durable before they returned
	begin := time.Now().Add(-30 * 24 * time.Hour).UTC()
	if err := structure(ctx, log, begin, "bench", devices); err != nil {
		return err
	}
	began := time.Now()
	w := &writer{log: log, device: "wide", signals: wideSamples}
	if err := w.rows(ctx, begin, time.Second, wideRows); err != nil {
		return err
	}
	if err := w.flush(ctx); err != nil {
		return err
	}
	fmt.Printf("made %d samples in %.1f s\n", wideRows*wideSamples, time.Since(began).Seconds())
	head, _, err := log.Head(ctx)
	if err != nil {
		return err
	}
	before := log.Counters().TelemetryBlocks
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := projections.NewRunner(log, memrows.New(), projections.Config{}, assets.New())
	done := make(chan error, 1)
	began = time.Now()
	go func() { done <- r.Run(ctx) }()
	if err := r.WaitFor(ctx, head); err != nil {
		return err
	}
	took := time.Since(began)
	fmt.Printf("assets rebuilt in %.3f s beside them; telemetry blocks opened: %d\n", took.Seconds(), log.Counters().TelemetryBlocks-before)
	cancel()
	return <-done
}
