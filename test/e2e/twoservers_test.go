//go:build linux

package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twinlog/twinlog/test/budget"
)

// TestTwoServersOneLog: fifty sources speak to two servers on one log. A server
// that owns some of them is killed again and again, at random moments; devices
// go to the other one, and some change sides by themselves. Every acknowledged
// message is in the log once, and the survivor takes over within seconds.
func TestTwoServersOneLog(t *testing.T) {
	t.Parallel()
	const devices, kills, fewest = 46, 50, 3
	seed := budget.Seed(t)
	rng := rand.New(rand.NewPCG(seed, 0))
	dir, at := t.TempDir(), freeAddr(t)
	keeper, url := serveLog(t, dir, at)
	addrs := []string{freeAddr(t), freeAddr(t)}
	data := []string{t.TempDir(), t.TempDir()}
	servers := make([]*product, len(addrs))
	start := func(i int) { servers[i] = serveProduct(t, data[i], "--log", url, "--mqtt", addrs[i]) }
	for i := range servers {
		start(i)
	}

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var working sync.WaitGroup
	rovers := make([]*rover, devices)
	for i := range rovers {
		r := &rover{pipeliner: pipeliner{device: fmt.Sprint("R-", i), window: 4}, restless: i%4 == 0, rng: rand.New(rand.NewPCG(seed, uint64(1+i)))}
		rovers[i] = r
		working.Go(func() { r.run(ctx, addrs) })
	}
	gateways := make([]*gateway, 4)
	for i := range gateways {
		name := fmt.Sprint("G-", i)
		g := newGateway(t, "gw-"+name, name, strings.Join(addrs, ","))
		gateways[i] = g
		working.Go(func() { g.produce(ctx, t, 20*time.Millisecond) })
	}
	eventually(t, "everybody speaks", func() bool {
		return !slices.ContainsFunc(rovers, func(r *rover) bool { return len(r.acknowledged()) == 0 })
	})

	var overs []time.Duration
	killed := 0
	for end := time.Now().Add(budget.For(t)); killed < kills && (killed < fewest || time.Now().Before(end)); killed++ {
		time.Sleep(time.Duration(rng.IntN(int(time.Second))))
		i := int(rovers[rng.IntN(devices)].server.Load()) // an owner
		victim := servers[i]
		victim.kill()
		began := time.Now()
		type orphan struct {
			*rover
			session int64
		}
		var orphans []orphan
		for _, r := range rovers {
			if session := r.sessions.Load(); int(r.server.Load()) == i {
				orphans = append(orphans, orphan{r, session})
			}
		}
		eventually(t, "the other server has taken over", func() bool {
			orphans = slices.DeleteFunc(orphans, func(o orphan) bool {
				over := o.resumed(o.session)
				if over {
					overs = append(overs, time.Since(began))
				}
				return over
			})
			return len(orphans) == 0
		})
		start(i)
	}

	for _, r := range rovers {
		r.hush()
	}
	for _, g := range gateways {
		g.hush()
	}
	eventually(t, "everything is acknowledged", func() bool {
		return !slices.ContainsFunc(rovers, func(r *rover) bool { return !r.settled() }) &&
			!slices.ContainsFunc(gateways, func(g *gateway) bool { return !g.drained() })
	})
	stop()
	working.Wait()
	for _, s := range servers {
		s.stop(t)
	}
	keeper.stop(t)

	found := count(t, dir)
	total := 0
	check := func(device string, acknowledged []int) {
		found.want(t, device, acknowledged)
		total += len(acknowledged)
		if stored := len(found.devices[device]); stored != len(acknowledged) {
			t.Errorf("%s: %d messages are stored, %d were made", device, stored, len(acknowledged))
		}
	}
	for _, r := range rovers {
		check(r.device, r.acknowledged())
		if r.trouble != nil {
			t.Errorf("%s: %v", r.device, r.trouble)
		}
	}
	for _, g := range gateways {
		check(g.device, g.acknowledged())
	}
	ordinary(t, found)
	slices.Sort(overs)
	if len(overs) == 0 {
		t.Fatal("nobody was taken over")
	}
	p99 := overs[len(overs)*99/100]
	t.Logf("%d kills, %d sources taken over, median %v, p99 %v, worst %v; %d messages: %v",
		killed, len(overs), overs[len(overs)/2], p99, overs[len(overs)-1], total, found.events)
	if found.events["lease.taken.v1"] < devices+4+len(overs)/2 {
		t.Errorf("%d leases were taken by %d sources", found.events["lease.taken.v1"], devices+4)
	}
	if budget.For(t) >= time.Minute && p99 >= 10*time.Second {
		t.Errorf("take-over took %v at the 99th percentile, want less than 10 s", p99)
	}
}
