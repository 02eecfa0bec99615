//go:build linux

package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/twinlog/twinlog/test/budget"
)

// TestKilledTenTimes kills the server with SIGKILL at random moments while six
// clients of three kinds publish, and counts in the log: no acknowledged message
// is missing, and none is there twice.
func TestKilledTenTimes(t *testing.T) {
	const kills = 10
	rng := rand.New(rand.NewPCG(budget.Seed(t), 0))
	dir, addr := t.TempDir(), freeAddr(t)
	server := launch(t, dir, addr, nil)

	ctx, stop := context.WithCancel(context.Background())
	var clients sync.WaitGroup
	pipes := []*pipeliner{{device: "P-1", window: 64}, {device: "P-2", window: 200}}
	for _, p := range pipes {
		clients.Go(func() { p.run(ctx, addr) })
	}
	seqs := []*sequencer{{device: "S-1"}, {device: "S-2"}}
	for _, s := range seqs {
		clients.Go(func() { s.run(ctx, addr) })
	}
	gateways := []*gateway{newGateway(t, "gw-G-1", "G-1", addr), newGateway(t, "gw-G-2", "G-2", addr)}
	for _, g := range gateways {
		clients.Go(func() { g.produce(ctx, t, 2*time.Millisecond) })
	}

	acks := func() (n int) {
		for _, p := range pipes {
			n += len(p.acknowledged())
		}
		for _, s := range seqs {
			n += len(s.acknowledged())
		}
		return n
	}
	for range kills {
		before := acks()
		eventually(t, "messages are acknowledged", func() bool { return acks() > before+10 })
		time.Sleep(time.Duration(rng.IntN(int(400 * time.Millisecond))))
		server.kill()
		time.Sleep(time.Duration(rng.IntN(int(50 * time.Millisecond))))
		server = launch(t, dir, addr, nil)
	}
	for _, p := range pipes {
		p.hush()
	}
	for _, s := range seqs {
		s.hush()
	}
	for _, g := range gateways {
		g.hush()
	}
	eventually(t, "everything is acknowledged", func() bool {
		for _, p := range pipes {
			if !p.settled() {
				return false
			}
		}
		for _, s := range seqs {
			if !s.settled() {
				return false
			}
		}
		return gateways[0].drained() && gateways[1].drained()
	})
	server.kill()
	stop()
	clients.Wait()

	c := count(t, dir)
	total := 0
	check := func(device string, acknowledged []int) {
		c.want(t, device, acknowledged)
		total += len(acknowledged)
		if stored := len(c.devices[device]); stored != len(acknowledged) {
			t.Errorf("%s: %d messages are stored, %d were made", device, stored, len(acknowledged))
		}
	}
	for _, p := range pipes {
		check(p.device, p.acknowledged())
		if p.trouble != nil {
			t.Errorf("%s: %v", p.device, p.trouble)
		}
	}
	for _, s := range seqs {
		check(s.device, s.acknowledged())
	}
	for _, g := range gateways {
		check(g.device, g.acknowledged())
		if st := g.box.Stats(); st.Lost != 0 || st.Refused != 0 || st.Links <= kills/2 {
			t.Errorf("%s: %+v", g.device, st)
		}
	}
	t.Logf("%d kills, %d messages: %s", kills, total, fmt.Sprint(c.events))
	for _, typ := range []string{"telemetry.gap.v1", "telemetry.refused.v1", "telemetry.deadlettered.v1", "source.cloned.v1", "telemetry.lost.v1"} {
		if c.events[typ] != 0 {
			t.Errorf("%d events %s", c.events[typ], typ)
		}
	}
}
