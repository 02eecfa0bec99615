package lease_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twinlog/twinlog/adapters/eventlog/memlog"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/lease"
	"github.com/twinlog/twinlog/test/budget"
)

func TestEventsOnDisk(t *testing.T) {
	for _, e := range []eventlog.Event{lease.Taken{Resource: "s:gw-7", Holder: "b2", From: "a1"}, lease.Alive{}, lease.Left{}} {
		want, err := os.ReadFile("testdata/events/" + e.EventType() + ".json")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := eventlog.CanonicalJSON(e); err != nil || string(got) != string(want) {
			t.Errorf("got %s, %v; on disk %s: an old log would read differently", got, err, want)
		}
	}
}

// TestEveryLongestSourceHasALease: a lease's stream name is as long as the
// shortest of its source's.
func TestEveryLongestSourceHasALease(t *testing.T) {
	name := make([]byte, 198)
	for i := range name {
		name[i] = 'x'
	}
	if err := lease.Stream(lease.Source(string(name))).Check(); err != nil {
		t.Error(err)
	}
}

// A server is a Keeper that can be stopped in two ways.
type server struct {
	*lease.Keeper
	log  *cut
	name string
	end  context.CancelFunc
	over chan error
}

// cut is the log as one server reaches it, until it is killed: from then on
// nothing of that server's gets into the log.
type cut struct {
	eventlog.Log
	dead atomic.Bool
}

var errCut = errors.New("killed")

func (c *cut) Append(ctx context.Context, id eventlog.StreamID, at eventlog.Expected, e ...eventlog.NewEvent) (eventlog.Appended, error) {
	if c.dead.Load() {
		return eventlog.Appended{}, errCut
	}
	return c.Log.Append(ctx, id, at, e...)
}

func start(log eventlog.Log, name string) *server {
	s := &server{log: &cut{Log: log}, name: name, over: make(chan error, 1)}
	s.Keeper = lease.New(s.log, lease.Config{Holder: name})
	ctx, end := context.WithCancel(context.Background())
	s.end = end
	go func() { s.over <- s.Run(ctx) }()
	return s
}

func (s *server) stop(t *testing.T) {
	s.end()
	if err := <-s.over; err != nil {
		t.Errorf("%s: %v", s.name, err)
	}
}

// kill ends it without a word.
func (s *server) kill() {
	s.log.dead.Store(true)
	s.end()
	<-s.over
}

func claim(t *testing.T, s *server, want bool) {
	t.Helper()
	err := s.Claim(context.Background(), "s:gw-7")
	if (err == nil) != want || err != nil && !errors.Is(err, lease.ErrHeld) {
		t.Errorf("%s claims: %v, want %v", s.name, err, want)
	}
}

func TestClaim(t *testing.T) {
	for name, c := range map[string]func(*testing.T, eventlog.Log){
		"a claimed lease is respected at first, and goes to where the source is later": func(t *testing.T, log eventlog.Log) {
			a, b := start(log, "a"), start(log, "b")
			claim(t, a, true)
			claim(t, a, true)
			claim(t, b, false)
			time.Sleep(5 * time.Second)
			claim(t, b, true)
			synctest.Wait()
			claim(t, a, false)
			a.stop(t)
			b.stop(t)
		},
		"a server that comes later takes it where the source is": func(t *testing.T, log eventlog.Log) {
			a := start(log, "a")
			claim(t, a, true)
			b := start(log, "b")
			claim(t, b, true)
			a.stop(t)
			b.stop(t)
		},
		"a killed server's fresh lease is free after four beats": func(t *testing.T, log eventlog.Log) {
			a, b := start(log, "a"), start(log, "b")
			claim(t, a, true)
			a.kill()
			claim(t, b, false)
			time.Sleep(5 * time.Second)
			claim(t, b, true)
			b.stop(t)
		},
		"a stopped server's lease is free at once": func(t *testing.T, log eventlog.Log) {
			a, b := start(log, "a"), start(log, "b")
			claim(t, a, true)
			a.stop(t)
			synctest.Wait()
			claim(t, b, true)
			b.stop(t)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { c(t, memlog.New("test", time.Now)) })
		})
	}
}

// TestHoldIsExclusive starts, stops and kills servers at random for hours of
// their time: of those alive at most one works, and within seconds one does.
func TestHoldIsExclusive(t *testing.T) {
	seed, end := budget.Seed(t), time.Now().Add(budget.For(t)/4)
	rounds, longest := 0, time.Duration(0)
	for ; time.Now().Before(end) && !t.Failed(); rounds++ {
		synctest.Test(t, func(t *testing.T) {
			longest = max(longest, exclusive(t, rand.New(rand.NewPCG(seed, uint64(rounds)))))
		})
	}
	t.Logf("%d runs of 100 changes, nobody worked for %v at most", rounds, longest)
	if longest > 6*time.Second {
		t.Errorf("nobody worked for %v, want at most 6 s", longest)
	}
}

func exclusive(t *testing.T, rng *rand.Rand) (longest time.Duration) {
	log := memlog.New("test", time.Now)
	var mu sync.Mutex
	workers, idle := 0, time.Now()
	var holds sync.WaitGroup
	duty := func(ctx context.Context, s *server) {
		holds.Go(func() {
			_ = s.Hold(ctx, "timers", func(ctx context.Context) error {
				mu.Lock()
				if workers++; workers > 1 {
					t.Errorf("%s works beside another", s.name)
				}
				longest = max(longest, time.Since(idle))
				mu.Unlock()
				<-ctx.Done()
				mu.Lock()
				defer mu.Unlock()
				if workers--; workers == 0 {
					idle = time.Now()
				}
				return ctx.Err()
			})
		})
	}
	type running struct {
		*server
		stop context.CancelFunc
	}
	all := make([]running, 3)
	begin := func(i, n int) {
		ctx, stop := context.WithCancel(t.Context())
		all[i] = running{start(log, fmt.Sprintf("server-%d-%d", i, n)), stop}
		duty(ctx, all[i].server)
	}
	for i := range all {
		begin(i, 0)
	}
	for n := range 100 {
		time.Sleep(time.Duration(rng.Int64N(int64(10 * time.Second))))
		i := rng.IntN(len(all))
		all[i].stop()
		if synctest.Wait(); rng.IntN(2) == 0 {
			all[i].kill()
		} else {
			all[i].server.stop(t)
		}
		begin(i, n+1)
	}
	for _, s := range all {
		s.stop()
		s.server.stop(t)
	}
	holds.Wait()
	return longest
}

// TestLogAway: while the log takes nothing, a holder gives up what it may have
// lost, and nobody is taken for dead when the log is there again.
func TestLogAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memlog.New("test", time.Now)
		a, b := start(log, "a"), start(log, "b")
		ctx, stop := context.WithCancel(t.Context())
		begun := make(chan string, 9)
		work := func(name string) func(context.Context) error {
			return func(ctx context.Context) error {
				begun <- name
				<-ctx.Done()
				begun <- "not " + name
				return ctx.Err()
			}
		}
		var holds sync.WaitGroup
		holds.Go(func() { _ = a.Hold(ctx, "timers", work("a")) })
		if got := <-begun; got != "a" {
			t.Fatal(got)
		}
		holds.Go(func() { _ = b.Hold(ctx, "timers", work("b")) })
		time.Sleep(10 * time.Second)
		a.log.dead.Store(true)
		b.log.dead.Store(true)
		if got := <-begun; got != "not a" {
			t.Errorf("%s, want a to stop", got)
		}
		time.Sleep(time.Minute)
		b.log.dead.Store(false) // the first beat after the pause is b's
		time.Sleep(1500 * time.Millisecond)
		a.log.dead.Store(false)
		if got := <-begun; got != "a" {
			t.Errorf("%s, want a to go on", got)
		}
		stop()
		holds.Wait()
		a.stop(t)
		b.stop(t)
	})
}
