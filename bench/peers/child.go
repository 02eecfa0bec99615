package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/twinlog/twinlog/bench/proc"
)

// Each store is measured in a process of its own, so that CPU and memory are its.
const childRole = "child"

// order is what a child is to do, as JSON on its command line.
type order struct {
	Store   string
	Dir     string
	Do      string // append, tail, fill
	Writers int
	Batch   int
	For     time.Duration
	Seconds int64 // of the plant
	Gateway int   // gateways, 0: devices publish by themselves
}

// result is what it says on its standard output.
type result struct {
	Events    int64
	Elapsed   time.Duration
	CPU       time.Duration // from the store's opening until it came to rest
	AtRest    time.Duration // CPU of the process when it did, 0: when it was closed
	RssAnon   int64         // the most that was seen
	Disk      int64
	Latencies []time.Duration // p50, p99, largest
	Reads     float64         // events/s, all read again
	Opened    uint64          // telemetry blocks that a reader without telemetry opened
	Sealed    int64           // rows
	Ids       int64           // bytes of foreign msg_ids
}

func child(ctx context.Context, o order) (result, error) {
	self, err := os.Executable()
	if err != nil {
		return result{}, err
	}
	text, err := json.Marshal(o)
	if err != nil {
		return result{}, err
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, self, childRole, string(text))
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Run(); err != nil {
		return result{}, fmt.Errorf("%s: %w", o.Store, err)
	}
	var r result
	return r, json.Unmarshal(out.Bytes(), &r)
}

func runChild(ctx context.Context, text string) error {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	var r result
	stop := watchMemory(&r.RssAnon)
	var err error
	switch o.Do {
	case "append", "tail":
		err = appendFor(ctx, o, &r)
	case "fill":
		err = fill(ctx, o, &r)
	default:
		err = errUsage
	}
	stop()
	if err != nil {
		return fmt.Errorf("%s: %w", o.Do, err)
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

// watchMemory keeps the largest RssAnon until it is stopped.
func watchMemory(most *int64) (stop func()) {
	end := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			if n, err := proc.RssAnon(os.Getpid()); err == nil {
				*most = max(*most, n)
			}
			select {
			case <-end:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	})
	return func() { close(end); wg.Wait() }
}

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // cannot fail for oneself
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// diskUse returns the bytes that the files below dir occupy.
func diskUse(dir string) (sum int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if s, ok := info.Sys().(*syscall.Stat_t); ok {
			sum += s.Blocks * 512
		}
		return nil
	})
	return sum, err
}
