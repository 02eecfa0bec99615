//go:build linux

package e2e

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twinlog/twinlog/test/budget"
)

// serveLog starts `twinlog serve` whose log is served at an address, and says
// under which URL.
func serveLog(t *testing.T, dir, at string) (p *product, url string) {
	t.Helper()
	return serveProduct(t, dir, "--log-listen", at), "esdb://" + at + "?tls=false"
}

// TestServeOnAnotherLog: a server whose log is another twinlog's takes, folds
// and answers; what it acknowledged is there after it, its views and the log's
// server have been killed.
func TestServeOnAnotherLog(t *testing.T) {
	t.Parallel()
	dir, at := t.TempDir(), freeAddr(t)
	keeper, url := serveLog(t, dir, at)
	views := t.TempDir()
	p := serveProduct(t, views, "--log", url)
	pump, _ := p.pump(t, "pump-1", "P-1", "2020-01-01T00:00:00Z", "n")
	conn, r, err := connect(t.Context(), p.mqtt, "P-1")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	publish := func(n int) {
		t.Helper()
		if _, err := conn.Write(publishPacket(topic("P-1"), uint16(n+1), false, message("P-1", n))); err != nil {
			t.Fatal(err)
		}
		if _, err := readAck(r); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 20 {
		publish(n)
	}
	value := func(p *product) any {
		p.folded(t)
		a := p.ask(t, `query($id: ID!) { plant { tagValues(under: $id) { values } } }`, map[string]any{"id": pump})
		return a.at("plant", "tagValues", "values", 0)
	}
	if got := value(p); got != 19.0 {
		t.Errorf("the value is %v, want 19", got)
	}
	// The keeper of the log folds the same log for itself.
	if got := value(keeper); got != 19.0 {
		t.Errorf("the log's own server says %v, want 19", got)
	}
	keeper.kill()
	keeper, _ = serveLog(t, dir, at)
	publish(20)
	if got := value(p); got != 20.0 {
		t.Errorf("after the log's server was killed the value is %v, want 20", got)
	}
	if took := p.stop(t); took > 10*time.Second {
		t.Errorf("stopping took %v", took)
	}
	again := serveProduct(t, t.TempDir(), "--log", url) // without views
	if got := value(again); got != 20.0 {
		t.Errorf("views folded anew say %v, want 20", got)
	}
	_ = keeper
}

// TestLogKilledTenTimes is TestKilledTenTimes with the log elsewhere: it is that
// log's server, another twinlog, that is killed at random moments and started
// again, under a server that stays, and takes from six clients all the time.
func TestLogKilledTenTimes(t *testing.T) {
	const kills = 10
	rng := rand.New(rand.NewPCG(budget.Seed(t), 0))
	dir, at, addr := t.TempDir(), freeAddr(t), freeAddr(t)
	keeper, url := serveLog(t, dir, at)
	server := launch(t, t.TempDir(), addr, nil, envLog+"="+url)
	clients := muster(t, addr)
	for range kills {
		before := clients.acks()
		eventually(t, "messages are acknowledged", func() bool { return clients.acks() > before+10 })
		time.Sleep(time.Duration(rng.IntN(int(400 * time.Millisecond))))
		keeper.kill()
		time.Sleep(time.Duration(rng.IntN(int(200 * time.Millisecond))))
		keeper, _ = serveLog(t, dir, at)
	}
	clients.finish(t)
	server.kill()
	keeper.kill()
	clients.check(t, count(t, dir))
}
