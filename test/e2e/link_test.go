//go:build linux

package e2e

import (
	"context"
	"testing"
	"time"

	"github.com/twinlog/twinlog/test/faultproxy"
)

// TestLinkIsCut takes the link from a gateway that goes on measuring: cut,
// frozen (nothing moves and nobody is told), slow, and the server killed
// meanwhile. No sample is lost or stored twice, and the outbox fills and drains.
func TestLinkIsCut(t *testing.T) {
	dir, addr := t.TempDir(), freeAddr(t)
	server := launch(t, dir, addr, nil)
	proxy, err := faultproxy.New(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	g := newGateway(t, "gw-G-1", "G-1", proxy.Addr())
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	done := make(chan struct{})
	go func() { g.produce(ctx, t, time.Millisecond); close(done) }()

	flows := func() { // answers come in
		before := g.box.Stats().Acked
		eventually(t, "the outbox drains", func() bool { st := g.box.Stats(); return st.Acked > before+50 && st.Depth < 100 })
	}
	flows()
	deepest := uint64(0)
	for _, fault := range []struct {
		name  string
		fail  func()
		mend  func()
		lasts time.Duration
	}{
		{"cut", proxy.Cut, proxy.Heal, 3 * time.Second},
		{"slow", func() { proxy.Slow(30 * time.Millisecond) }, proxy.Heal, time.Second},
		{"frozen", proxy.Freeze, proxy.Heal, 4 * time.Second}, // beyond AnswerWithin, so the link is given up
		{"server killed", server.kill, func() { server = launch(t, dir, addr, nil) }, time.Second},
	} {
		began := time.Now()
		fault.fail()
		time.Sleep(fault.lasts)
		st := g.box.Stats()
		deepest = max(deepest, st.Depth)
		fault.mend()
		flows()
		t.Logf("%s for %v: %d messages waited, the oldest for %v; drained after %v; last error %q",
			fault.name, fault.lasts, st.Depth, st.Age.Round(time.Millisecond), time.Since(began.Add(fault.lasts)).Round(time.Millisecond), st.LastError)
	}
	g.hush()
	<-done
	eventually(t, "the outbox is empty", g.drained)
	g.stop()
	server.kill()
	c := count(t, dir)
	c.want(t, g.device, g.acknowledged())
	if stored := len(c.devices[g.device]); stored != len(g.acknowledged()) {
		t.Errorf("%d messages are stored, %d were made", stored, len(g.acknowledged()))
	}
	for _, typ := range []string{"telemetry.gap.v1", "telemetry.lost.v1", "telemetry.refused.v1", "source.cloned.v1", "telemetry.deadlettered.v1"} {
		if c.events[typ] != 0 {
			t.Errorf("%d events %s", c.events[typ], typ)
		}
	}
	if deepest < 100 || c.events["device.offline.v1"] == 0 || c.events["device.online.v1"] < 2 {
		t.Errorf("%d messages waited at most, %v: the link was never away", deepest, c.events)
	}
	t.Logf("%d messages: %v", len(g.acknowledged()), c.events)
}
