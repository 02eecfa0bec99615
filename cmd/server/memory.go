package server

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// smallMemory is the least that the process may take before it collects
	// garbage more often than Go would by itself.
	smallMemory = 340 << 20
	// memoryRoom: beyond that it may take a third as much again as what is in use.
	memoryRoom = 1.3
)

// boundMemory keeps the process from taking twice what it uses, which is Go's
// standard: a server under load stays as large after an hour as after a minute.
// GOMEMLIMIT or GOGC in the environment, if set, decide instead.
func boundMemory(ctx context.Context) {
	if os.Getenv("GOMEMLIMIT") != "" || os.Getenv("GOGC") != "" {
		return
	}
	before := debug.SetMemoryLimit(smallMemory)
	defer debug.SetMemoryLimit(before)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			metrics.Read(live)
			debug.SetMemoryLimit(max(smallMemory, int64(memoryRoom*float64(live[0].Value.Uint64()))))
		}
	}
}
