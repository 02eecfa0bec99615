package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twinlog/twinlog/adapters/eventlog/badgerlog"
	"github.com/twinlog/twinlog/bench/proc"
	"github.com/twinlog/twinlog/cmd/server"
	"github.com/twinlog/twinlog/domain/eventlog"
)

const (
	// opensRole makes this program a process that opens a log and reads in it:
	// its memory is then the log's alone.
	opensRole = "open-log"
	// opensKeep names a directory where the logs of this part stay: making
	// them takes minutes, and a second run finds them there.
	opensKeep = "TWINLOG_BENCH_OPENS"

	opensWriters = 2000
	opensReads   = 20_000
)

// largeLog is a log to open: so many streams, of so many events each, which came
// one at a time, a round of all streams after the other.
type largeLog struct {
	name            string
	streams, events int
}

var largeLogs = []largeLog{
	{"10 million events", 10_000, 1000},
	{"5 million streams of 3 events", 5_000_000, 3},
}

func parseLarge(args []string) (s largeLog, err error) {
	_, err = fmt.Sscan(args[0]+" "+args[1], &s.streams, &s.events)
	return s, err
}

// opened is what the child says.
type opened struct {
	Open             time.Duration
	Head             uint64
	AfterOpen, After int64 // RssAnon in bytes, after Open and after the reads
	P50, P99, Max    time.Duration
	Probe            time.Duration // a cold random read of 4 KiB of the same files, p99
}

// opens measures how long a large log takes to open, what memory that costs,
// and how long a random (stream, revision) takes then. The files are put out of
// the page cache before.
func opens(ctx context.Context) error {
	dir := os.Getenv(opensKeep)
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "twinlog-bench-"); err != nil {
			return err
		}
		defer os.RemoveAll(dir) //nolint:errcheck // temporary
	}
	for _, s := range largeLogs {
		at := filepath.Join(dir, fmt.Sprintf("%d-%d", s.streams, s.events))
		if err := s.make(ctx, at); err != nil {
			return err
		}
		size, err := diskUse(at)
		if err != nil {
			return err
		}
		if err := forget(at); err != nil {
			return err
		}
		cmd := exec.CommandContext(ctx, os.Args[0], opensRole, at, fmt.Sprint(s.streams), fmt.Sprint(s.events))
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return fmt.Errorf("open %s: %w", at, err)
		}
		var o opened
		if err := json.Unmarshal(out, &o); err != nil {
			return fmt.Errorf("open %s: %q: %w", at, out, err)
		}
		fmt.Printf("%-30s %5.1f GB: cold open %.2f s; RssAnon %d MB, %d MB after %d random (stream, revision): p50 %.2f, p99 %.2f, max %.1f ms; a cold read of 4 KiB: p99 %.2f ms\n",
			s.name, float64(size)/1e9, o.Open.Seconds(), o.AfterOpen>>20, o.After>>20, opensReads, ms(o.P50), ms(o.P99), ms(o.Max), ms(o.Probe))
	}
	return nil
}

func ms(d time.Duration) float64 { return d.Seconds() * 1000 }

func (s largeLog) stream(i int) eventlog.StreamID {
	return eventlog.StreamID(fmt.Sprintf("asset-%07d", i))
}

// make writes the log, or finds it there.
func (s largeLog) make(ctx context.Context, dir string) error {
	done := filepath.Join(dir, "made")
	if _, err := os.Stat(done); err == nil {
		return nil
	}
	began := time.Now()
	log, err := server.OpenLog(ctx, dir, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	for round := range s.events {
		if err := s.round(ctx, log, round); err != nil {
			return err
		}
	}
	if err := log.Close(); err != nil {
		return err
	}
	fmt.Printf("made %d streams of %d events in %.0f s\n", s.streams, s.events, time.Since(began).Seconds())
	return os.WriteFile(done, nil, 0o644)
}

// round appends one event to each stream.
func (s largeLog) round(ctx context.Context, log *badgerlog.Log, round int) error {
	expected := eventlog.NoStream
	if round > 0 {
		expected = eventlog.At(eventlog.Revision(round - 1))
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make(chan error, opensWriters)
	for range opensWriters {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= s.streams {
					return
				}
				e := eventlog.NewEvent{
					ID: eventlog.NewKey("bench", "bench", "opens", fmt.Sprint(round)).Event(i), Type: "asset.moved.v1",
					Data: fmt.Appendf(nil, `{"n":%d,"round":%d}`, i, round),
				}
				if _, err := log.Append(ctx, s.stream(i), expected, e); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}

// forget puts a directory's files out of the page cache.
func forget(dir string) error {
	return filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close() //nolint:errcheck // read only
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return err
		}
		return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	})
}

// openLog is the child.
func openLog(ctx context.Context, dir string, s largeLog) error {
	var o opened
	began := time.Now()
	log, err := server.OpenLog(ctx, dir, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	o.Open = time.Since(began)
	head, _, err := log.Head(ctx)
	if err != nil {
		return err
	}
	if o.Head = uint64(head); o.Head != uint64(s.streams)*uint64(s.events) {
		return fmt.Errorf("%s ends at %d, expected %d streams of %d events", dir, o.Head, s.streams, s.events)
	}
	if o.AfterOpen, err = proc.RssAnon(os.Getpid()); err != nil {
		return err
	}
	took := make([]time.Duration, opensReads)
	for i := range took {
		n, rev := rand.IntN(s.streams), rand.IntN(s.events)
		want := fmt.Sprintf(`{"n":%d,"round":%d}`, n, rev)
		began := time.Now()
		var got string
		for r, err := range log.Read(ctx, s.stream(n), eventlog.Revision(rev), eventlog.Forwards) {
			if err != nil {
				return err
			}
			got = string(r.Data)
			break
		}
		took[i] = time.Since(began)
		if got != want {
			return fmt.Errorf("%s@%d is %q, expected %q", s.stream(n), rev, got, want)
		}
	}
	slices.Sort(took)
	o.P50, o.P99, o.Max = took[len(took)/2], took[len(took)*99/100], took[len(took)-1]
	if o.After, err = proc.RssAnon(os.Getpid()); err != nil {
		return err
	}
	if err := log.Close(); err != nil {
		return err
	}
	if o.Probe, err = probe(dir); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(o)
}

// probe returns the p99 of reading 4 KiB at random places of the largest file
// below dir, which is not in the page cache.
func probe(dir string) (time.Duration, error) {
	var largest string
	var size int64
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if info, err := d.Info(); err == nil && info.Size() > size {
			largest, size = path, info.Size()
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	if err := forget(filepath.Dir(largest)); err != nil {
		return 0, err
	}
	f, err := os.Open(largest)
	if err != nil {
		return 0, err
	}
	defer f.Close() //nolint:errcheck // read only
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_RANDOM); err != nil {
		return 0, err
	}
	took, page := make([]time.Duration, 1000), make([]byte, 4096)
	for i := range took {
		began := time.Now()
		if _, err := f.ReadAt(page, rand.Int64N(size/4096)*4096); err != nil {
			return 0, err
		}
		took[i] = time.Since(began)
	}
	slices.Sort(took)
	return took[len(took)*99/100], nil
}
