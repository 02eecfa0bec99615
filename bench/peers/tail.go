package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// measureTail lets 16 writers append for a minute, across memtable flushes,
// while a probe asks the disk every 10 ms how long it takes now.
func measureTail(ctx context.Context, tmp string) error {
	const runFor = 60 * time.Second
	type answer struct {
		r   result
		err error
	}
	done := make(chan answer, 1)
	go func() {
		r, err := inDir(ctx, tmp, order{Store: "twinlog", Do: "tail", Writers: 16, Batch: 1, For: runFor})
		done <- answer{r, err}
	}()
	probe, err := os.Create(filepath.Join(tmp, "probe"))
	if err != nil {
		return err
	}
	defer probe.Close() //nolint:errcheck // it was synced
	var took []time.Duration
	piece := make([]byte, 4096)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			start := time.Now()
			if _, err := probe.Write(piece); err != nil {
				return err
			}
			if err := syscall.Fdatasync(int(probe.Fd())); err != nil {
				return err
			}
			took = append(took, time.Since(start))
		case a := <-done:
			if a.err != nil {
				return a.err
			}
			slices.Sort(took)
			p50, p99 := took[len(took)/2], took[len(took)*99/100]
			fmt.Printf("twinlog: %.0f appends/s, p50 %v, p99 %v, largest %v\n", float64(a.r.Events)/a.r.Elapsed.Seconds(),
				a.r.Latencies[0], a.r.Latencies[1], a.r.Latencies[2])
			fmt.Printf("probe:   p50 %v, p99 %v, largest %v of %d\n", p50, p99, took[len(took)-1], len(took))
			goal("p99 of a durable append, of the probe's", float64(a.r.Latencies[1])/float64(p99), false, 3)
			return nil
		}
	}
}
