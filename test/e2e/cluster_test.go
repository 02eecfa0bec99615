//go:build linux

package e2e

import (
	"math/rand/v2"
	"path/filepath"
	"reflect"
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
// again, under a server that takes from six clients and is now and then killed
// with it.
func TestLogKilledTenTimes(t *testing.T) {
	const kills = 10
	rng := rand.New(rand.NewPCG(budget.Seed(t), 0))
	dir, at, addr := t.TempDir(), freeAddr(t), freeAddr(t)
	keeper, url := serveLog(t, dir, at)
	server := launch(t, t.TempDir(), addr, nil, envLog+"="+url)
	clients := muster(t, addr)
	for n := range kills {
		before := clients.acks()
		eventually(t, "messages are acknowledged", func() bool { return clients.acks() > before+10 })
		time.Sleep(time.Duration(rng.IntN(int(400 * time.Millisecond))))
		keeper.kill()
		time.Sleep(time.Duration(rng.IntN(int(200 * time.Millisecond))))
		both := n%3 == 2
		if both {
			server.kill()
		}
		keeper, _ = serveLog(t, dir, at)
		if both {
			server = launch(t, t.TempDir(), addr, nil, envLog+"="+url)
		}
	}
	clients.finish(t)
	server.kill()
	keeper.kill()
	clients.check(t, count(t, dir))
}

// TestDemoOnAnotherLog is the whole way, from the machines to the answers, with
// the log elsewhere and its server killed ten times.
func TestDemoOnAnotherLog(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(budget.Seed(t), 1))
	dir, at := t.TempDir(), freeAddr(t)
	data := filepath.Join(dir, "server")
	keeper, url := serveLog(t, data, at)
	d := startDemo(t, t.TempDir(), "--calm", "--log", url)
	for range 10 {
		time.Sleep(time.Duration(rng.IntN(int(time.Second))))
		keeper.kill()
		time.Sleep(time.Duration(rng.IntN(int(200 * time.Millisecond))))
		keeper, _ = serveLog(t, data, at)
		d.ask(t, `{ plant { moment { knownAt } } }`, nil)
	}
	for _, line := range d.curls {
		d.try(t, line)
	}
	head := d.folded(t)
	again := serveProduct(t, t.TempDir(), "--log", url)
	all := map[string]any{"p": head}
	const query = `query($p: Position!) { plant(at: {known: {at: $p}}, minPosition: $p, waitAtMost: "PT30S") { tagValues(first: 500) { paths values status position } } }`
	if a, b := d.ask(t, query, all), again.ask(t, query, all); !reflect.DeepEqual(a.Data, b.Data) {
		t.Errorf("the demonstration answers\n%v\na server that folded the log anew\n%v", a.Data, b.Data)
	}
	again.stop(t)
	d.interrupt(t)
	keeper.stop(t)
	d.dir = dir
	k := d.open(t)
	k.whole(t)
	if len(k.gaps) > 0 {
		t.Error(k.gaps)
	}
	if k.types["log.named.v1"] > 0 {
		t.Error("a log that says its origin was given another")
	}
	t.Logf("%d messages of the gateway, %v", len(k.rows), k.types)
}
