package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
)

const eventBytes = 200

// appendFor appends from all writers until the time is up.
func appendFor(ctx context.Context, o order, r *result) error {
	s, err := openStore(ctx, o.Store, o.Dir, o.Writers)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	took := make([][]time.Duration, o.Writers)
	failed := make(chan error, o.Writers)
	before, start := cpu(), time.Now()
	for w := range o.Writers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 1))
			for time.Since(start) < o.For {
				batch := makeBatch(rng, o.Batch)
				at := time.Now()
				if err := s.append(ctx, w, batch); err != nil {
					failed <- err
					return
				}
				took[w] = append(took[w], time.Since(at))
			}
		})
	}
	wg.Wait()
	r.Elapsed = time.Since(start)
	select {
	case err := <-failed:
		return err
	default:
	}
	var all []time.Duration
	for _, t := range took {
		all = append(all, t...)
	}
	slices.Sort(all)
	r.Events = int64(len(all)) * int64(o.Batch)
	r.Latencies = []time.Duration{all[len(all)/2], all[len(all)*99/100], all[len(all)-1]}
	err = s.close()
	r.CPU = cpu() - before
	return err
}

// makeBatch makes events of text that packs as JSON does: by about a half.
func makeBatch(rng *rand.Rand, n int) [][]byte {
	const digits = "0123456789abcdef"
	all := make([]byte, n*eventBytes)
	batch := make([][]byte, n)
	for i := range batch {
		b := all[i*eventBytes:][:eventBytes:eventBytes]
		for k := 0; k < eventBytes; k += 16 {
			x := rng.Uint64()
			for j := k; j < min(k+16, eventBytes); j++ {
				b[j] = digits[x&15]
				x >>= 4
			}
		}
		b[0], b[eventBytes-1] = '"', '"'
		batch[i] = b
	}
	return batch
}

// cell is one line of the table of appends.
type cell struct{ writers, batch int }

func measureAppends(ctx context.Context, tmp string) error {
	const rounds, each = 2, time.Second
	stores := []string{"fdatasync", "twinlog", "jetstream", "sqlite", "badger"}
	fmt.Printf("disk: %.0f MB/s written and synced in pieces of 4 MiB\n", diskLimit(tmp)/1e6)
	fmt.Printf("%7s %6s", "writers", "batch")
	for _, s := range stores {
		fmt.Printf(" %12s", s)
	}
	fmt.Println("  events/s, medians of", rounds)
	rate := map[cell]map[string]float64{}
	for _, w := range []int{1, 16, 256} {
		for _, b := range []int{1, 10, 100, 500} {
			if w == 256 && b > 10 {
				continue // more in flight than any broker here allows
			}
			c := cell{w, b}
			rates := map[string][]float64{}
			for range rounds {
				for _, s := range stores {
					r, err := inDir(ctx, tmp, order{Store: s, Do: "append", Writers: w, Batch: b, For: each})
					if err != nil {
						return err
					}
					rates[s] = append(rates[s], float64(r.Events)/r.Elapsed.Seconds())
				}
			}
			rate[c] = map[string]float64{}
			fmt.Printf("%7d %6d", w, b)
			for _, s := range stores {
				rate[c][s] = median(rates[s])
				fmt.Printf(" %12.0f", rate[c][s])
			}
			fmt.Println()
		}
	}
	ratio := func(c cell, peer string) float64 { return rate[c]["twinlog"] / rate[c][peer] }
	goal("one writer, one event, of append + fdatasync of 4 KiB", ratio(cell{1, 1}, "fdatasync"), true, 0.65)
	goal("256 writers, of JetStream", ratio(cell{256, 1}, "jetstream"), true, 3)
	goal("one writer, 500 events, of the same bytes + fdatasync", ratio(cell{1, 500}, "fdatasync"), true, 0.25)
	goal("16 writers, 500 events, of the same bytes + fdatasync", ratio(cell{16, 500}, "fdatasync"), true, 0.5)
	return nil
}

// inDir runs a child in a directory of its own, which it removes.
func inDir(ctx context.Context, tmp string, o order) (result, error) {
	dir, err := os.MkdirTemp(tmp, o.Store+"-")
	if err != nil {
		return result{}, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // temporary
	o.Dir = dir
	return child(ctx, o)
}

// diskLimit is what the disk takes, in bytes a second.
func diskLimit(tmp string) float64 {
	f, err := os.Create(filepath.Join(tmp, "limit"))
	if err != nil {
		return 0
	}
	defer os.Remove(f.Name()) //nolint:errcheck // temporary
	defer f.Close()           //nolint:errcheck // it was synced
	piece := make([]byte, 4<<20)
	for i := range piece {
		piece[i] = byte(i * 7)
	}
	start, n := time.Now(), 0
	for time.Since(start) < 2*time.Second {
		if _, err := f.Write(piece); err != nil {
			return 0
		}
		if err := syscall.Fdatasync(int(f.Fd())); err != nil {
			return 0
		}
		n += len(piece)
	}
	return float64(n) / time.Since(start).Seconds()
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}
