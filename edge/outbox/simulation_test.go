package outbox_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twinlog/twinlog/adapters/queue/memqueue"
	"github.com/twinlog/twinlog/edge/outbox"
	"github.com/twinlog/twinlog/test/budget"
)

// TestBadDays plays days of a gateway from one seed each: several producers,
// messages and answers lost, repeats, outages of up to an hour, power cuts in
// the middle of commits. Every day ends with every message that Put accepted at
// the server exactly once, or, where the budget is small, counted as lost.
func TestBadDays(t *testing.T) {
	seed, end := budget.Seed(t), time.Now().Add(budget.For(t))
	var total tally
	days := 0
	for ; days < 3 || time.Now().Before(end); days++ {
		synctest.Test(t, func(t *testing.T) { total.add(badDay(t, rand.New(rand.NewPCG(seed, uint64(days))))) })
		if t.Failed() {
			t.Fatalf("day %d of seed %d", days, seed)
		}
	}
	t.Logf("%d days: %+v", days, total)
	if total.Repeats == 0 || total.Cuts == 0 || total.Links == 0 || (days > 20 && (total.Lost == 0 || total.Refused == 0)) {
		t.Fatalf("these days were not bad enough: %+v", total)
	}
}

// tally says how bad the days were.
type tally struct {
	Messages, Repeats, Refused, Lost, Losses, Cuts, Links, Ahead int
	Window                                                       int // the most that was under way
}

func (a *tally) add(b tally) {
	a.Messages += b.Messages
	a.Repeats += b.Repeats
	a.Refused += b.Refused
	a.Lost += b.Lost
	a.Losses += b.Losses
	a.Cuts += b.Cuts
	a.Links += b.Links
	a.Ahead += b.Ahead
	a.Window = max(a.Window, b.Window)
}

// A life is one process of the gateway: an outbox that is open and drains.
type life struct {
	box  *outbox.Outbox
	stop context.CancelFunc
	done chan error
}

func live(t *testing.T, q outbox.Queue, link outbox.Link, cfg outbox.Config) *life {
	t.Helper()
	box, err := outbox.Open(context.Background(), q, cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	l := &life{box, stop, make(chan error, 1)}
	go func() { l.done <- box.Drain(ctx, link) }()
	return l
}

func (l *life) end(t *testing.T) {
	t.Helper()
	l.stop()
	if err := <-l.done; !errors.Is(err, context.Canceled) && !errors.Is(err, outbox.ErrClosed) {
		t.Errorf("Drain: %v", err)
	}
	if err := l.box.Close(); err != nil && !errors.Is(err, outbox.ErrClosed) {
		t.Errorf("Close: %v", err)
	}
}

func badDay(t *testing.T, rng *rand.Rand) (sum tally) {
	srv := newServer()
	srv.refuseIf = func(n int) bool { return n%97 == 0 }
	way := &net{server: srv, rng: rand.New(rand.NewPCG(rng.Uint64(), 0)), bad: 0.002 + 0.02*rng.Float64()}
	cfg := outbox.Config{Gateway: "gw", Topic: "e/s/a/l/gateway/gw/telemetry"}
	small := rng.IntN(2) == 0
	if small {
		cfg.Budget = 200_000
		cfg.Window = 16
	}
	q := memqueue.New(outbox.Previous{})
	slow := rand.New(rand.NewPCG(rng.Uint64(), 0))
	q.SyncTime = func() time.Duration { return time.Duration(slow.IntN(int(30 * time.Millisecond))) }
	accepted := map[int]bool{} // what Put answered with a number
	maybe := map[int]bool{}    // what a power cut interrupted
	n := 0
	for phase := range 12 {
		l := live(t, q, way, cfg)
		until := time.Now().Add(2 * time.Hour)
		for time.Now().Before(until) {
			time.Sleep(time.Duration(rng.Int64N(int64(2 * time.Minute))))
			n = produce(t, rng, l.box, accepted, n)
		}
		if phase == 11 { // this one ends in an orderly way
			l.end(t)
			break
		}
		// The power goes while producers are at work.
		from := n
		results := burst(rng, l.box, n)
		n += len(results)
		time.Sleep(time.Duration(rng.IntN(int(40 * time.Millisecond))))
		q = q.Cut(rng.IntN(2) == 0)
		l.end(t)
		for i, done := range results {
			if <-done == nil {
				accepted[from+i] = true
			} else {
				maybe[from+i] = true
			}
		}
		sum.Links += int(l.box.Stats().Links)
		sum.Refused += int(l.box.Stats().Refused)
		sum.Cuts++
	}
	// The last life catches up on a good day.
	way.mu.Lock()
	way.bad = 0
	way.downTill = time.Time{}
	way.mu.Unlock()
	l := live(t, q.Cut(true), way, cfg)
	time.Sleep(4 * time.Hour)
	st := l.box.Stats()
	l.end(t)
	if st.Depth != 0 || st.Bytes != 0 || st.Age != 0 {
		t.Errorf("after catching up: %+v", st)
	}
	judge(t, srv, accepted, maybe, small, st)
	sum.Messages, sum.Repeats, sum.Lost, sum.Losses, sum.Ahead = n, srv.repeats, int(srv.lost), srv.losses, srv.ahead
	sum.Window = way.window
	return sum
}

// produce puts a few messages from several goroutines and waits for them.
func produce(t *testing.T, rng *rand.Rand, box *outbox.Outbox, accepted map[int]bool, n int) int {
	for i, done := range burst(rng, box, n) {
		if err := <-done; err != nil {
			t.Errorf("Put: %v", err)
		}
		accepted[n+i] = true
	}
	for accepted[n] {
		n++
	}
	return n
}

// burst starts some producers and returns their results.
func burst(rng *rand.Rand, box *outbox.Outbox, n int) []chan error {
	results := make([]chan error, 1+rng.IntN(40))
	for i := range results {
		results[i] = make(chan error, 1)
		size := rng.IntN(2000)
		go func() {
			_, err := box.Put(context.Background(), body(n+i, size))
			results[i] <- err
		}()
	}
	return results
}

// judge compares the server with what the outbox promised.
func judge(t *testing.T, srv *server, accepted, maybe map[int]bool, mayLose bool, st outbox.Stats) {
	t.Helper()
	missing := 0
	for n := range accepted {
		if srv.firsts[n] == 0 {
			missing++
		}
	}
	for n, times := range srv.firsts {
		if times != 1 {
			t.Errorf("message %d is stored %d times", n, times)
		}
		if !accepted[n] && !maybe[n] {
			t.Errorf("message %d is stored, but nobody put it", n)
		}
	}
	missingMaybe := 0
	for n := range maybe {
		if srv.firsts[n] == 0 {
			missingMaybe++
		}
	}
	if !mayLose && missing != 0 {
		t.Errorf("%d accepted messages are missing", missing)
	}
	// What is missing must be accounted for, and nothing else. A message whose
	// Put was interrupted may be among the lost, or never have been.
	if lost := int(srv.lost); lost < missing || lost > missing+missingMaybe {
		t.Errorf("%d accepted messages are missing, %d more may be, but %d are reported lost", missing, missingMaybe, lost)
	}
	if st.Lost != srv.lost || st.LostSamples != 10*srv.lost {
		t.Errorf("the outbox counts %d lost, the server %d", st.Lost, srv.lost)
	}
	if srv.clones != 0 || len(srv.order) != 1 || srv.streams[srv.order[0]].starts != 1 {
		t.Errorf("%d clones, incarnations %v", srv.clones, srv.order)
	}
}
