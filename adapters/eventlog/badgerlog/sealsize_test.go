package badgerlog_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/twinlog/twinlog/adapters/eventlog/badgerlog"
	"github.com/twinlog/twinlog/bench/plant"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/test/budget"
)

// TestSealedSize prints what a sample costs on the disk and in CPU to seal, and
// holds the size to its bound. With TWINLOG_PLANT_SECONDS it runs longer.
func TestSealedSize(t *testing.T) {
	seconds := int64(140)
	if s, err := time.ParseDuration(os.Getenv("TWINLOG_PLANT_SECONDS")); err == nil {
		seconds = int64(s.Seconds())
	} else if budget.For(t) < 10*time.Second {
		t.Log("a short share: 70 s")
		seconds = 70
	}
	for _, c := range []struct {
		name     string
		gateways int
		limit    float64
	}{{"behind 4 gateways", 4, 0.6}, {"self-publishing", 0, 0.6*1.3 + 1.0}} { // 10 random bytes of a ULID for 10 samples
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			cfg := badgerlog.Config{IDs: telemetry.DeriveID, NoSealing: true}
			l, err := badgerlog.Open(t.Context(), dir, cfg)
			if err != nil {
				t.Fatal(err)
			}
			rows := fillPlant(t, l, plant.New(1000), seconds, c.gateways)
			t.Logf("%d rows, %d bytes of blocks", rows, l.Counters().Bytes)
			before, start := cpuTime(), time.Now()
			if err := l.Seal(t.Context()); err != nil {
				t.Fatal(err)
			}
			spent, wall := cpuTime()-before, time.Since(start)
			s := l.Counters()
			if s.VerbatimRows > 0 || s.SealedRows == 0 {
				t.Errorf("%d of %d rows are sealed verbatim", s.VerbatimRows, s.SealedRows)
			}
			perSample := float64(s.SealedBytes) / float64(s.SealedRows) / 10
			t.Logf("sealed %d rows: %.3f bytes a sample, %.1f ns CPU, %.1f ns wall", s.SealedRows, perSample,
				float64(spent.Nanoseconds())/float64(s.SealedRows)/10, float64(wall.Nanoseconds())/float64(s.SealedRows)/10)
			if perSample > c.limit {
				t.Errorf("%.3f bytes a sample, expected at most %.3f", perSample, c.limit)
			}
			start = time.Now()
			n := 0
			for _, err := range l.ReadAll(t.Context(), 0, eventlog.Forwards, eventlog.Filter{}) {
				if err != nil {
					t.Fatal(err)
				}
				if n++; n == int(s.SealedRows) {
					break
				}
			}
			t.Logf("read all: %.0f events a second", float64(n)/time.Since(start).Seconds())
			timeReads(t, l, c.gateways, seconds)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if l, err = badgerlog.Open(t.Context(), dir, cfg); err != nil {
				t.Fatal(err)
			}
			if err := l.Compact(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			size := usage(t, dir)
			t.Logf("directory: %d bytes; %d rows of %d are not sealed", size, rows-int(s.SealedRows), rows)
			if size > int64(s.Bytes)/2 {
				t.Errorf("%d bytes on the disk after %d bytes of blocks were sealed", size, s.Bytes)
			}
		})
	}
}

func fillPlant(t testing.TB, l *badgerlog.Log, p *plant.Plant, seconds int64, gateways int) (rows int) {
	t.Helper()
	next := map[eventlog.StreamID]uint64{}
	for s := range seconds {
		byStream := map[eventlog.StreamID][]eventlog.NewEvent{}
		var order []eventlog.StreamID
		for i := range 1000 {
			id, gateway := telemetry.Stream(p.Device(i), telemetry.Unordered), ""
			if gateways > 0 {
				gateway = fmt.Sprintf("gw-%d", i%gateways)
				id = telemetry.Stream(gateway, fmt.Sprintf("%016x", 1000+i%gateways))
			}
			if byStream[id] == nil {
				order = append(order, id)
			}
			seq := next[id] + uint64(len(byStream[id])) + 1
			e := eventlog.NewEvent{
				Type: eventlog.TelemetryRecorded, ContentType: telemetry.ContentType, Data: p.Row(i, s, seq, gateway).AppendBinary(nil),
			}
			e.ID, _ = telemetry.DeriveID(l.Origin(), id, e.Type, e.Data)
			byStream[id] = append(byStream[id], e)
		}
		done := make(chan error, len(order))
		for _, id := range order {
			go func() {
				_, err := l.Append(t.Context(), id, expect(next[id]), byStream[id]...)
				done <- err
			}()
		}
		for range order {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		for id, events := range byStream {
			next[id] += uint64(len(events))
			rows += len(events)
		}
	}
	return rows
}

// timeReads reads one event here and there.
func timeReads(t *testing.T, l *badgerlog.Log, gateways int, seconds int64) {
	var took []time.Duration
	for range 200 {
		i := rand.IntN(1000)
		id, n := telemetry.Stream(fmt.Sprintf("pump-%04d", i), telemetry.Unordered), seconds
		if gateways > 0 {
			id, n = telemetry.Stream(fmt.Sprintf("gw-%d", i%gateways), fmt.Sprintf("%016x", 1000+i%gateways)), seconds*int64(1000/gateways)
		}
		start := time.Now()
		for _, err := range l.Read(t.Context(), id, eventlog.Revision(rand.Int64N(n)), eventlog.Forwards) {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	t.Logf("one event: p50 %v, p99 %v", took[100], took[198])
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// usage is what a directory takes on the disk.
func usage(t testing.TB, dir string) (n int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if s, ok := info.Sys().(*syscall.Stat_t); ok {
			n += s.Blocks * 512
			if testing.Verbose() && !d.IsDir() {
				t.Logf("%9d %s", s.Blocks*512, d.Name())
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
