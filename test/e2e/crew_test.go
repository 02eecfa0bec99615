//go:build linux

package e2e

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/twinlog/twinlog/domain/eventlog"
)

// A crew is clients of three kinds that publish at once.
type crew struct {
	pipes    []*pipeliner
	seqs     []*sequencer
	gateways []*gateway
	working  sync.WaitGroup
	stop     context.CancelFunc
}

// muster starts two clients of each kind.
func muster(t *testing.T, addr string) *crew {
	c := &crew{
		pipes:    []*pipeliner{{device: "P-1", window: 64}, {device: "P-2", window: 200}},
		seqs:     []*sequencer{{device: "S-1"}, {device: "S-2"}},
		gateways: []*gateway{newGateway(t, "gw-G-1", "G-1", addr), newGateway(t, "gw-G-2", "G-2", addr)},
	}
	ctx, stop := context.WithCancel(context.Background())
	c.stop = stop
	for _, p := range c.pipes {
		c.working.Go(func() { p.run(ctx, addr) })
	}
	for _, s := range c.seqs {
		c.working.Go(func() { s.run(ctx, addr) })
	}
	for _, g := range c.gateways {
		c.working.Go(func() { g.produce(ctx, t, 2*time.Millisecond) })
	}
	return c
}

// ledgers are everybody's, by device.
func (c *crew) ledgers() map[string]*ledger {
	all := map[string]*ledger{}
	for _, p := range c.pipes {
		all[p.device] = &p.ledger
	}
	for _, s := range c.seqs {
		all[s.device] = &s.ledger
	}
	for _, g := range c.gateways {
		all[g.device] = &g.ledger
	}
	return all
}

// acks counts what servers have acknowledged.
func (c *crew) acks() (n int) {
	for _, p := range c.pipes {
		n += len(p.acknowledged())
	}
	for _, s := range c.seqs {
		n += len(s.acknowledged())
	}
	return n
}

// finish lets everybody send what they have and waits for its acknowledgement.
func (c *crew) finish(t *testing.T) {
	t.Helper()
	for _, l := range c.ledgers() {
		l.hush()
	}
	eventually(t, "everything is acknowledged", func() bool {
		for _, l := range c.ledgers() {
			if !l.settled() {
				return false
			}
		}
		return c.gateways[0].drained() && c.gateways[1].drained()
	})
	c.stop()
	c.working.Wait()
}

// check holds the census to what was acknowledged: everything once, and nothing
// out of the ordinary.
func (c *crew) check(t *testing.T, found census) {
	t.Helper()
	total := 0
	for device, l := range c.ledgers() {
		acknowledged := l.acknowledged()
		found.want(t, device, acknowledged)
		total += len(acknowledged)
		if stored := len(found.devices[device]); stored != len(acknowledged) {
			t.Errorf("%s: %d messages are stored, %d were made", device, stored, len(acknowledged))
		}
	}
	for _, p := range c.pipes {
		if p.trouble != nil {
			t.Errorf("%s: %v", p.device, p.trouble)
		}
	}
	for _, g := range c.gateways {
		if st := g.box.Stats(); st.Lost != 0 || st.Refused != 0 {
			t.Errorf("%s: %+v", g.device, st)
		}
	}
	ordinary(t, found)
	t.Logf("%d messages: %s", total, fmt.Sprint(found.events))
}

// ordinary fails for events that say that something went wrong.
func ordinary(t *testing.T, found census) {
	t.Helper()
	for _, typ := range []string{"telemetry.gap.v1", "telemetry.refused.v1", "telemetry.deadlettered.v1", "source.cloned.v1", "telemetry.lost.v1"} {
		if found.events[typ] != 0 {
			t.Errorf("%d events %s", found.events[typ], typ)
		}
	}
}

// censusOf counts a log that is open.
func censusOf(t *testing.T, log eventlog.Log) census {
	t.Helper()
	c := census{devices: map[string]map[int]int{}, events: map[string]int{}}
	for rec, err := range log.ReadAll(t.Context(), 0, eventlog.Forwards, eventlog.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		c.add(t, rec)
	}
	return c
}
