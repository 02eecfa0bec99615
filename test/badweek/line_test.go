package badweek

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/twinlog/twinlog/edge/outbox"
	"github.com/twinlog/twinlog/test/budget"
	"github.com/twinlog/twinlog/test/faultproxy"
)

// TestBadLine runs three gateways over a real line that is cut, frozen, slow and
// spoils bytes, while the server restarts. Everything is there in the end, once
// and in order: not one gap is unexplained.
func TestBadLine(t *testing.T) {
	rng := rand.New(rand.NewPCG(budget.Seed(t), 0))
	lasts := budget.For(t) / 2
	p := newPlant(t)
	line, err := faultproxy.New(p.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer line.Close()
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	gateways := make([]*gateway, 3)
	for i := range gateways {
		g := &gateway{t: t, id: fmt.Sprintf("gw-%d", i), accepted: map[mark]int{}, last: map[int]mark{}}
		lanes, disk, link, err := openBox(ctx, g.id, filepath.Join(t.TempDir(), g.id), line.Addr(), p.ca)
		if err != nil {
			t.Fatal(err)
		}
		g.lanes, gateways[i] = lanes, g
		draining, hush := context.WithCancel(context.WithoutCancel(ctx))
		done := make(chan error, 1)
		go func() { done <- lanes.Run(draining, link) }()
		t.Cleanup(func() {
			hush()
			<-done
			if err := errors.Join(lanes.Close(), disk.Close()); err != nil {
				t.Error(err)
			}
		})
		all.Go(func() { g.talk(ctx) })
	}
	faults := map[string]int{}
	for end := time.Now().Add(lasts); time.Now().Before(end); {
		switch rng.IntN(5) {
		case 0:
			line.Cut()
			faults["cut"]++
		case 1:
			line.Freeze()
			faults["frozen"]++
		case 2:
			line.Slow(time.Duration(rng.IntN(50)) * time.Millisecond)
			faults["slow"]++
		case 3:
			line.Spoil(0.05)
			faults["spoilt"]++
		default:
			p.restart()
			faults["restart"]++
		}
		time.Sleep(time.Duration(rng.IntN(2500)) * time.Millisecond) // how long it lasts
		line.Heal()
		time.Sleep(time.Duration(rng.IntN(1000)) * time.Millisecond)
	}
	stop()
	all.Wait()
	for end := time.Now().Add(2 * time.Minute); waiting(gateways) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d messages still wait on a good line: %+v", waiting(gateways), gateways[0].lanes.Stats())
		}
	}
	sum := judge(t, p.log, gateways)
	t.Logf("%v: faults %v, %d bytes spoilt: %+v", lasts, faults, line.Spoilt(), sum)
	if made := len(gateways[0].accepted) + len(gateways[1].accepted) + len(gateways[2].accepted); sum.Stored+sum.Refused != made || sum.Losses != 0 {
		t.Errorf("%d were accepted: %+v", made, sum)
	}
}

// talk makes messages, a few every few milliseconds.
func (g *gateway) talk(ctx context.Context) {
	for n := 1; ctx.Err() == nil; n++ {
		if err := g.lanes.Put(context.WithoutCancel(ctx), outbox.Priority(n%4-1), g.body(n)); err != nil {
			g.t.Errorf("%s: put: %v", g.id, err)
			return
		}
		g.accepted[g.last[n]] = n
		time.Sleep(2 * time.Millisecond)
	}
}
