package history_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/projections"
	"github.com/twinlog/twinlog/projections/history"
	"github.com/twinlog/twinlog/test/budget"
)

// TestQuestionsWhileFolding: whatever moves from memory to the store meanwhile,
// a question at a position that has been folded misses no sample and sees none
// twice.
func TestQuestionsWhileFolding(t *testing.T) {
	r := rand.New(rand.NewPCG(budget.Seed(t), 5))
	p := newPlant(r, 300)
	p.pace = 2e8
	p.run(12_000)
	pts := []telemetry.Point{{Device: "D-0", Signal: "s0"}, {Device: "D-2", Signal: "s5"}, {Device: "D-3", Signal: "s17"}, {Device: "D-4", Signal: "s3"}}
	for _, pt := range pts {
		p.known(pt, 0) // sorts: from here on it only reads
	}
	l := newLive(t)
	var folded atomic.Uint64
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var asked atomic.Int64
	for range 3 {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				known := eventlog.Position(folded.Load())
				if known == 0 {
					continue
				}
				pt := pts[i%len(pts)]
				list := p.known(pt, known) // corrections that come later must not be seen yet
				var got []history.Sample
				for s, err := range l.fold.View().Samples(context.Background(), pt, time.Time{}, time.Time{}, projections.Cut{Known: known}, history.Options{}) {
					if err != nil {
						t.Error(err)
						return
					}
					got = append(got, s)
				}
				asked.Add(1)
				if !slices.Equal(list, got) {
					t.Errorf("%v at %v: %d samples, want %d", pt, known, len(got), len(list))
					return
				}
			}
		})
	}
	for i := 0; i < len(p.records); {
		n := min(1+r.IntN(200), len(p.records)-i)
		l.commit(t, eventlog.Batch{Records: p.records[i : i+n], Through: p.records[i+n-1].Position})
		i += n
		folded.Store(uint64(p.records[i-1].Position))
	}
	cancel()
	wg.Wait()
	t.Logf("%d questions", asked.Load())
}
