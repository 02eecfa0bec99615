package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"
)

// The plant that questions are asked of: 1,000 devices of 10 signals, each an
// asset with 10 tags. One device has a day at 1 Hz and ninety days at a sample
// a minute; the others share the rest of ten million samples over ninety days.
const (
	devices        = 1000
	signals        = 10
	totalSamples   = 10_000_000
	days           = 90
	repeats        = 15
	busyDayRows    = 86_400
	busyMinuteRows = days * 24 * 60
)

// question is asked several times; the median counts.
type question struct {
	name, query string
	vars        map[string]any
}

func query(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "twinlog-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // temporary
	bin, err := build(ctx, dir)
	if err != nil {
		return err
	}
	began := time.Now()
	end := began.UTC().Truncate(24 * time.Hour)
	made, err := generate(ctx, dir+"/data", end)
	if err != nil {
		return err
	}
	fmt.Printf("made %d samples of %d tags in %.1f s\n", made, devices*signals, time.Since(began).Seconds())
	mqtt, err := freePort()
	if err != nil {
		return err
	}
	http, err := freePort()
	if err != nil {
		return err
	}
	began = time.Now()
	c, err := start(ctx, http, bin, "serve", "--data", dir+"/data", "--mqtt", mqtt, "--http", http)
	if err != nil {
		return err
	}
	defer c.stop()
	a := api{http}
	for {
		m, err := a.metrics(ctx)
		if err != nil {
			return err
		}
		if m[metricLag] == 0 {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	fmt.Printf("started and folded %d samples in %.1f s\n", made, time.Since(began).Seconds())
	data, _, err := a.ask(ctx, `{ plant { tag(path: "bench/pump-0/signal_0") { id } } }`, nil)
	if err != nil {
		return err
	}
	var found struct {
		Plant struct{ Tag struct{ ID string } }
	}
	if err := json.Unmarshal(data, &found); err != nil {
		return err
	}
	tag := found.Plant.Tag.ID
	for _, q := range []question{
		{"last values of 10,000 tags", `{ plant { tagValues(first: 10000) { paths values status times position } } }`, nil},
		{
			"one tag's day at 1 Hz", `query($tag: ID!, $from: Time!, $to: Time!) { plant { series(tags: [$tag], from: $from, to: $to) { times values status count } } }`,
			map[string]any{"tag": tag, "from": end.Add(-24 * time.Hour), "to": end},
		},
		{
			"90 days by the hour", `query($tag: ID!, $from: Time!, $to: Time!) { plant { aggregates(tags: [$tag], from: $from, to: $to, interval: "PT1H", functions: [MINIMUM, MAXIMUM, AVERAGE]) { values status } } }`,
			map[string]any{"tag": tag, "from": end.Add(-days * 24 * time.Hour), "to": end},
		},
	} {
		if err := time1(ctx, a, q); err != nil {
			return fmt.Errorf("%s: %w", q.name, err)
		}
	}
	return nil
}

func time1(ctx context.Context, a api, q question) error {
	var took []float64
	size := 0
	for range repeats {
		data, d, err := a.ask(ctx, q.query, q.vars)
		if err != nil {
			return err
		}
		took, size = append(took, d.Seconds()*1e3), len(data)
	}
	slices.Sort(took)
	fmt.Printf("%-28s %8.1f ms median of %d, %.1f ms slowest, %d bytes\n", q.name, took[len(took)/2], repeats, took[len(took)-1], size)
	return nil
}
