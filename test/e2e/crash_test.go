//go:build linux

package e2e

import (
	"math/rand/v2"
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

	clients := muster(t, addr)
	for range kills {
		before := clients.acks()
		eventually(t, "messages are acknowledged", func() bool { return clients.acks() > before+10 })
		time.Sleep(time.Duration(rng.IntN(int(400 * time.Millisecond))))
		server.kill()
		time.Sleep(time.Duration(rng.IntN(int(50 * time.Millisecond))))
		server = launch(t, dir, addr, nil)
	}
	clients.finish(t)
	server.kill()
	clients.check(t, count(t, dir))
	for _, g := range clients.gateways {
		if st := g.box.Stats(); st.Links <= kills/2 {
			t.Errorf("%s: %+v: the server was hardly ever away", g.device, st)
		}
	}
}
