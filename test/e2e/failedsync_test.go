//go:build linux

package e2e

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/twinlog/twinlog/test/budget"
	"github.com/twinlog/twinlog/test/peer"
)

// TestAFailedSyncEndsTheServer: when an msync fails with EIO, whichever it is,
// nothing more is acknowledged, `twinlog serve` ends and says why, and what it
// had acknowledged is there afterwards.
func TestAFailedSyncEndsTheServer(t *testing.T) {
	strace := peer.Need(t, "strace")
	rng := rand.New(rand.NewPCG(budget.Seed(t), 0))
	dir := t.TempDir()
	serveProduct(t, dir).stop(t) // what every start but the first finds
	acked := map[int]bool{}
	next := 1
	for range 2 {
		p := serveUnder(t, []string{
			strace, "-f", "-q", "-o", "/dev/null", "-e", "trace=msync",
			"-e", fmt.Sprintf("inject=msync:error=EIO:when=%d", 10+rng.IntN(40)),
		}, dir)
		c := newTalker(t, p.mqtt, "P-1")
		for {
			if err := c.try(topic("P-1"), message("P-1", next), 10*time.Second); err != nil {
				break
			}
			acked[next] = true
			if next++; next > 5000 {
				t.Fatal("5,000 messages are acknowledged and no sync has failed")
			}
		}
		next++ // perhaps it is stored
		select {
		case <-p.ended:
		case <-time.After(30 * time.Second):
			t.Fatal("the server does not end after a failed sync")
		}
		if p.err == nil || !strings.Contains(p.stderr.String(), "input/output error") {
			t.Errorf("the server ended with %v and said %.2000s", p.err, p.stderr)
		}
	}
	c := count(t, dir)
	for n := range acked {
		if c.devices["P-1"][n] != 1 {
			t.Errorf("message %d was acknowledged and is there %d times", n, c.devices["P-1"][n])
		}
	}
	t.Logf("%d messages acknowledged before two failures", len(acked))
}
