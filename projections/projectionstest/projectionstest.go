// Package projectionstest holds what every projection must pass: a rebuild
// gives the rows that living through the log gave, byte for byte.
package projectionstest

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/projections"
	"github.com/twinlog/twinlog/projections/rowstest"
)

// Setup says what to test.
type Setup struct {
	// Fold returns a new fold, as after a restart of the process.
	Fold func() projections.Fold
	// Store returns a new, empty store.
	Store func(tb testing.TB) projections.Store
	// Same, if set, compares what two folds that have read the same log answer;
	// both are open and caught up.
	Same func(tb testing.TB, live, rebuilt projections.Fold)
	// Restarts of the live run: that many clean ones and that many with a
	// commit that fails; 0: 3.
	Restarts int
}

// batchSizes are what the live run and the rebuild are folded in.
var batchSizes = struct{ live, rebuild int }{97, 5000}

// Events is how many events a log for RebuildEqualsLive should have: 100,000, or
// with -short (the race detector's turn) 20,000.
func Events() int {
	if testing.Short() {
		return 20_000
	}
	return 100_000
}

// RebuildEqualsLive lives through the log as a server would: it grows under the
// running projection, the process is stopped and started again, some commits
// fail and take the process with them. Then it folds the whole log once more
// into another store, in batches of another size, drops that and does it again,
// and compares every key, every value and the checkpoint.
func RebuildEqualsLive(t *testing.T, s Setup, log eventlog.Log) {
	t.Helper()
	if s.Restarts == 0 {
		s.Restarts = 3
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	all := positions(ctx, t, log)
	if len(all) == 0 {
		t.Fatal("the log is empty")
	}
	live, liveStore := s.live(ctx, t, log, all)
	rebuilt, rebuiltStore := s.rebuild(ctx, t, log, all[len(all)-1])
	Equal(t, live, liveStore, rebuiltStore)
	if s.Same != nil {
		s.Same(t, live, rebuilt)
	}
	t.Logf("%s: %d events, %d rows", live.Name(), len(all), len(rowstest.Dump(t, liveStore, live.Name())))
}

func positions(ctx context.Context, t *testing.T, log eventlog.Log) []eventlog.Position {
	t.Helper()
	var all []eventlog.Position
	for rec, err := range log.ReadAll(ctx, 0, eventlog.Forwards, eventlog.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, rec.Position)
	}
	return all
}

// live returns the last fold, caught up, and its store.
func (s Setup) live(ctx context.Context, t *testing.T, log eventlog.Log, all []eventlog.Position) (projections.Fold, projections.Store) {
	t.Helper()
	rng := rand.New(rand.NewPCG(uint64(len(all)), 1))
	tide := &tideLog{Log: log, risen: make(chan struct{})}
	store := &failingStore{Store: s.Store(t)}
	lives := 2*s.Restarts + 1
	for life := range lives {
		upTo := len(all) * (life + 1) / lives
		target := all[upTo-1]
		fold := s.Fold()
		crash := life%2 == 1
		// While it runs the log grows in uneven steps, and the reader is
		// stopped wherever it is.
		runCtx, stop := context.WithCancel(ctx)
		r := projections.NewRunner(tide, store, projections.Config{BatchSize: batchSizes.live, Pace: time.Microsecond}, fold)
		ended := make(chan error, 1)
		go func() {
			err := r.Run(runCtx)
			stop() // nobody waits for a dead one
			ended <- err
		}()
		for i := len(all) * life / lives; i < upTo; {
			i = min(upTo, i+1+rng.IntN(1+len(all)/lives/5))
			tide.rise(all[i-1])
			if crash && i > upTo/2 {
				store.failNext()
				crash = false
			}
			time.Sleep(time.Duration(rng.IntN(300)) * time.Microsecond)
		}
		last := life == lives-1
		if last || rng.IntN(2) == 0 {
			if err := r.WaitFor(waitCtx(runCtx, t), target); err != nil && last {
				stop()
				t.Fatalf("life %d: %v, run: %v", life, err, <-ended)
			}
		}
		stop()
		if err := <-ended; err != nil && !errors.Is(err, errCrash) {
			t.Fatalf("life %d: %v", life, err)
		}
		store.heal()
		if last {
			return fold, store
		}
	}
	panic("unreachable")
}

func waitCtx(ctx context.Context, t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func (s Setup) rebuild(ctx context.Context, t *testing.T, log eventlog.Log, target eventlog.Position) (projections.Fold, projections.Store) {
	t.Helper()
	fold, store := s.Fold(), s.Store(t)
	runCtx, stop := context.WithCancel(ctx)
	defer stop()
	r := projections.NewRunner(log, store, projections.Config{BatchSize: batchSizes.rebuild}, fold)
	ended := make(chan error, 1)
	go func() { ended <- r.Run(runCtx) }()
	waited := make(chan error, 1)
	go func() { waited <- r.WaitFor(waitCtx(runCtx, t), target) }()
	select {
	case err := <-ended:
		t.Fatalf("rebuild ended: %v", err)
	case err := <-waited:
		if err != nil {
			t.Fatal(err)
		}
		// Once more with the same fold, which must forget what it holds.
		if err := r.Rebuild(ctx, fold.Name()); err != nil {
			t.Fatal(err)
		}
		stop()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	}
	return fold, store
}

// Equal compares the rows and checkpoints that a projection left in two stores.
func Equal(t *testing.T, f projections.Fold, live, rebuilt projections.Store) {
	t.Helper()
	a, errA := live.Checkpoint(t.Context(), f.Name(), f.Version())
	b, errB := rebuilt.Checkpoint(t.Context(), f.Name(), f.Version())
	if errA != nil || errB != nil {
		t.Fatal(errA, errB)
	}
	if a != b {
		t.Errorf("%s: checkpoint %v live, %v rebuilt", f.Name(), a, b)
	}
	rows, other := rowstest.Dump(t, live, f.Name()), rowstest.Dump(t, rebuilt, f.Name())
	if len(rows) != len(other) {
		t.Errorf("%s: %d rows live, %d rebuilt", f.Name(), len(rows), len(other))
	}
	for i := range min(len(rows), len(other)) {
		if !bytes.Equal(rows[i].Key, other[i].Key) || !bytes.Equal(rows[i].Value, other[i].Value) {
			t.Fatalf("%s: row %d is\n%x = %x live,\n%x = %x rebuilt", f.Name(), i,
				rows[i].Key, rows[i].Value, other[i].Key, other[i].Value)
		}
	}
}

var errCrash = errors.New("the process died here")

// failingStore fails commits as a process does that dies before them.
type failingStore struct {
	projections.Store

	// mu guards state: 0 healthy, 1 the next commit fails, 2 dead.
	mu    sync.Mutex
	state int
}

func (s *failingStore) failNext() { s.set(1) }
func (s *failingStore) heal()     { s.set(0) }

func (s *failingStore) set(state int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = state
}

func (s *failingStore) Commit(ctx context.Context, name string, version int, at eventlog.Position, w *projections.Writes) error {
	s.mu.Lock()
	if s.state > 0 {
		s.state = 2
		s.mu.Unlock()
		return errCrash
	}
	s.mu.Unlock()
	return s.Store.Commit(ctx, name, version, at, w)
}
