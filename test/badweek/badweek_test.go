// Package badweek runs gateways, the link and the server through weeks as bad as
// they come, on a fake clock: outages of up to 72 hours, messages and answers
// lost and doubled, servers restarted, gateways killed in the middle of a
// commit, clocks set back. The outboxes and the ingest are the product's; the
// disk and the wire are models (memqueue has passed queuetest).
package badweek

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twinlog/twinlog/adapters/queue/memqueue"
	"github.com/twinlog/twinlog/adapters/uplink/wire"
	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/edge/outbox"
	"github.com/twinlog/twinlog/test/budget"
)

const (
	week  = 7 * 24 * time.Hour
	every = 10 * time.Second // one message of each gateway
)

// TestBadWeek plays a week from each seed.
func TestBadWeek(t *testing.T) {
	seed, end := budget.Seed(t), time.Now().Add(budget.For(t))
	var total tally
	weeks := 0
	for ; weeks == 0 || time.Now().Before(end); weeks++ {
		synctest.Test(t, func(t *testing.T) { total.add(play(t, rand.New(rand.NewPCG(seed, uint64(weeks))), week)) })
		if t.Failed() {
			t.Fatalf("week %d of seed %d", weeks, seed)
		}
	}
	t.Logf("%d runs of a week: %+v", weeks, total)
	if total.Kills == 0 || total.Restarts == 0 || total.Repeats == 0 || total.Longest < time.Hour {
		t.Errorf("these weeks were not bad enough: %+v", total)
	}
}

// tally says how bad it was.
type tally struct {
	Accepted, Interrupted, Stored, Lost, Refused, Repeats int // messages
	Kills, Restarts, Outages, Links, Losses, Stops        int
	Longest                                               time.Duration // outage
}

func (a *tally) add(b tally) {
	a.Accepted += b.Accepted
	a.Interrupted += b.Interrupted
	a.Stored += b.Stored
	a.Lost += b.Lost
	a.Refused += b.Refused
	a.Repeats += b.Repeats
	a.Kills += b.Kills
	a.Restarts += b.Restarts
	a.Outages += b.Outages
	a.Links += b.Links
	a.Losses += b.Losses
	a.Stops += b.Stops
	a.Longest = max(a.Longest, b.Longest)
}

// play runs three gateways against one server and judges the log.
func play(t *testing.T, rng *rand.Rand, lasts time.Duration) (sum tally) {
	s := newServer(rand.New(rand.NewPCG(rng.Uint64(), 0)))
	ctx, stop := context.WithCancel(context.Background())
	gateways := make([]*gateway, 3)
	var all sync.WaitGroup
	for i := range gateways {
		g := newGateway(t, fmt.Sprintf("gw-%d", i), s, rand.New(rand.NewPCG(rng.Uint64(), 0)))
		gateways[i] = g
		g.start()
		all.Go(func() { g.live(ctx, lasts) })
		all.Go(func() { g.way.weather(ctx) })
	}
	all.Go(func() { s.fail(ctx) })
	time.Sleep(lasts)
	stop()
	all.Wait()
	s.mend()
	for _, g := range gateways {
		g.way.mend()
	}
	for end := time.Now().Add(lasts); time.Now().Before(end) && waiting(gateways) > 0; {
		time.Sleep(time.Minute)
	}
	for _, g := range gateways {
		if g.lanes.Total().Depth > 0 {
			t.Errorf("%s: not empty after the week: %+v", g.id, g.lanes.Stats())
		}
		sum.Links += int(g.lanes.Total().Links)
		g.stop()
		sum.add(g.sum)
		sum.Outages += g.way.outages
		sum.Longest = max(sum.Longest, g.way.longest)
	}
	s.stop()
	sum.Restarts, sum.Repeats = s.restarts, s.repeats
	sum.add(judge(t, s.log, gateways))
	return sum
}

func waiting(gateways []*gateway) (depth uint64) {
	for _, g := range gateways {
		depth += g.lanes.Total().Depth
	}
	return depth
}

// A gateway makes a message every ten seconds and is killed now and then.
type gateway struct {
	t    *testing.T
	id   string
	way  *way
	rng  *rand.Rand
	cfg  outbox.LanesConfig
	sum  tally
	step time.Duration // of its clock

	lanes  *outbox.Lanes
	queues map[string]*memqueue.Queue
	cancel context.CancelFunc
	done   chan error

	n        int          // messages made
	accepted map[mark]int // which message Put accepted under which number
	maybe    map[mark]int // what a kill interrupted
	turned   uint64       // messages that a full outbox refused
	doubtful uint64       // more of them, in the last moment before a kill
	tried    map[int]bool // messages of which a killed process can't say more
	last     map[int]mark // the number that Encode was given
	mu       sync.Mutex   // guards last, queues
	slow     *rand.Rand   // of the disk
}

// mark is a message's place for ever.
type mark struct {
	source, incarnation string
	seq                 uint64
}

func newGateway(t *testing.T, id string, s *server, rng *rand.Rand) *gateway {
	g := &gateway{
		t: t, id: id, rng: rng, way: newWay(s, rand.New(rand.NewPCG(rng.Uint64(), 1))),
		queues: map[string]*memqueue.Queue{}, accepted: map[mark]int{}, maybe: map[mark]int{}, last: map[int]mark{},
		slow: rand.New(rand.NewPCG(rng.Uint64(), 2)),
	}
	g.cfg = outbox.LanesConfig{
		LiveDepth: 1 + rng.IntN(200), Queue: g.queue,
		Config: outbox.Config{
			Gateway: id, Topic: "e/s/a/l/gateway/" + id + "/telemetry", Contents: contents,
			Rate: 20 + rng.IntN(200), Window: 1 << rng.IntN(11), RetryMax: 5 * time.Minute,
		},
	}
	switch rng.IntN(3) { // a small box, of one kind or the other
	case 0:
		g.cfg.Shared = outbox.NewBudget(300_000, false)
	case 1:
		g.cfg.Shared = outbox.NewBudget(300_000, true)
	}
	return g
}

// queue opens a lane's disk. Now and then it is slow, so that a kill can come in
// the middle of a commit.
func (g *gateway) queue(lane string) (outbox.Queue, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	q := g.queues[lane]
	if q == nil {
		q = memqueue.New(outbox.Previous{})
		q.SyncTime = func() time.Duration {
			g.mu.Lock()
			defer g.mu.Unlock()
			if g.slow.IntN(5) > 0 {
				return 0
			}
			return time.Duration(g.slow.IntN(int(20 * time.Millisecond)))
		}
		g.queues[lane] = q
	}
	return q, nil
}

// start begins a life of the gateway on what the last one left.
func (g *gateway) start() {
	g.cfg.Known = nil
	for lane := range g.queues {
		if lane != outbox.LiveLane {
			g.cfg.Known = append(g.cfg.Known, lane)
		}
	}
	if b := g.cfg.Shared; b != nil {
		g.cfg.Shared = b.Fresh()
	}
	var err error
	if g.lanes, err = outbox.OpenLanes(context.Background(), g.cfg); err != nil {
		g.t.Fatalf("%s: %v", g.id, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	g.cancel, g.done = cancel, make(chan error, 1)
	lanes := g.lanes
	go func() { g.done <- lanes.Run(ctx, func(string) (outbox.Link, error) { return g.way, nil }) }()
}

func (g *gateway) stop() {
	g.cancel()
	<-g.done
	if err := g.lanes.Close(); err != nil && !errors.Is(err, outbox.ErrClosed) {
		g.t.Errorf("%s: close: %v", g.id, err)
	}
}

// live makes messages for a while.
func (g *gateway) live(ctx context.Context, lasts time.Duration) {
	for end := time.Now().Add(lasts); time.Now().Before(end); time.Sleep(every) {
		if g.rng.IntN(20_000) == 0 { // somebody sets the clock
			g.step = time.Duration(g.rng.Int64N(int64(2*time.Hour))) - time.Hour
		}
		if g.rng.IntN(6000) == 0 {
			g.kill()
			continue
		}
		g.settle(g.put(ctx), false)
	}
}

// made is a message on its way into the outbox.
type made struct {
	n    int
	done chan error
}

// put makes the next message.
func (g *gateway) put(ctx context.Context) made {
	m := made{g.n, make(chan error, 1)}
	g.n++
	p := outbox.Priority(m.n%4 - 1) // each of the four
	go func() { m.done <- g.lanes.Put(context.WithoutCancel(ctx), p, g.body(m.n)) }()
	return m
}

// settle waits for a Put's answer.
func (g *gateway) settle(m made, killed bool) {
	err := <-m.done
	g.mu.Lock()
	at, encoded := g.last[m.n]
	delete(g.last, m.n)
	g.mu.Unlock()
	switch {
	case killed && err != nil:
		g.doubtful++
		if encoded {
			g.maybe[at] = m.n
			g.sum.Interrupted++
		}
	case err == nil:
		g.accepted[at] = m.n
		g.sum.Accepted++
	case errors.Is(err, outbox.ErrFull):
		g.turned++
		g.sum.Stops++
	default:
		g.t.Errorf("%s: put: %v", g.id, err)
	}
}

// kill takes the power away while messages are being put.
func (g *gateway) kill() {
	lanes := g.lanes
	var pending []made
	for range 1 + g.rng.IntN(5) {
		pending = append(pending, g.put(context.Background()))
	}
	time.Sleep(time.Duration(g.rng.IntN(int(25 * time.Millisecond))))
	g.mu.Lock()
	for lane, q := range g.queues {
		g.queues[lane] = q.Cut(g.rng.IntN(2) == 0)
	}
	g.mu.Unlock()
	g.cancel()
	<-g.done
	_ = lanes.Close()
	for _, m := range pending {
		g.settle(m, true)
	}
	g.sum.Kills++
	g.sum.Links += int(lanes.Total().Links)
	time.Sleep(time.Duration(g.rng.IntN(int(10 * time.Minute))))
	g.start()
}

// body is message n of this gateway.
func (g *gateway) body(n int) outbox.Body {
	return message(g.id, n, time.Now().Add(g.step), func(at mark) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.last[n] = at
	})
}

// message is message n of a gateway: a sample of one of three tags, whose value
// is n. numbered is told where it stands.
func message(id string, n int, at time.Time, numbered func(mark)) outbox.Body {
	at = at.Truncate(time.Millisecond)
	row := telemetry.Row{
		Device: id + "-P", DeviceType: "pump", SourceTime: at, ServerTime: at, Basis: telemetry.FromSourceTS,
		SchemaVersion: wire.SchemaVersion, EdgeLatency: telemetry.NoLatency, HasSeq: true,
		Samples: []telemetry.Sample{{Signal: signal(n), Value: telemetry.IntValue(int64(n)), Quality: quality.Quality{Scheme: quality.OPCUA}}},
	}
	return outbox.Body{Topic: "e/s/a/l/pump/" + row.Device + "/telemetry", Samples: 1, Encode: func(no outbox.Number) ([]byte, error) {
		numbered(mark{no.Source, no.Incarnation, no.Seq})
		row.Seq, row.Gateway = no.Seq, no.Source
		payload := wire.AppendRow(nil, &row, no.Incarnation)
		if n%997 == 0 { // the server refuses this one, and keeps it
			payload = append(payload[:len(payload)-1], `,"msg_id":7}`...)
		}
		return payload, nil
	}}
}
