//go:build linux

package e2e

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twinlog/twinlog/adapters/broker"
	"github.com/twinlog/twinlog/adapters/eventlog/badgerlog"
	"github.com/twinlog/twinlog/adapters/identity/local"
	"github.com/twinlog/twinlog/adapters/rows/badgerrows"
	"github.com/twinlog/twinlog/adapters/uplink/wire"
	"github.com/twinlog/twinlog/domain/asset"
	"github.com/twinlog/twinlog/domain/ingest"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/graph"
	"github.com/twinlog/twinlog/graph/plant"
	"github.com/twinlog/twinlog/projections"
	"github.com/twinlog/twinlog/projections/assets"
	"github.com/twinlog/twinlog/projections/audit"
	"github.com/twinlog/twinlog/projections/devices"
	"github.com/twinlog/twinlog/projections/history"
	"github.com/twinlog/twinlog/projections/twins"
)

// assemble is the product in this process, as cmd/server puts it together, on a
// log whose disk and clock the test holds.
func assemble(t *testing.T, c badgerlog.Config) *product {
	t.Helper()
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	c.IDs = telemetry.DeriveID
	log, err := badgerlog.Open(t.Context(), filepath.Join(dir, "log"), c)
	must(err)
	rows, err := badgerrows.Open(filepath.Join(dir, "views"), badgerrows.Config{})
	must(err)
	people, err := local.Open(t.Context(), filepath.Join(dir, "keys"), log)
	must(err)
	as, ds, au, tw, hi := assets.New(), devices.New(rows), audit.New(rows), twins.New(), history.New(rows)
	runner := projections.NewRunner(log, rows, projections.Config{}, as, ds, au, tw, hi)
	in := ingest.New(log, wire.NewReader(wire.Config{}), ingest.Config{Retry: 50 * time.Millisecond})
	h, err := graph.NewHandler(graph.Config{
		Resolver: &graph.Resolver{
			Read: &plant.Reader{
				Log: log, Runner: runner, Now: time.Now, Build: "test", Assets: as.View(), Devices: ds.View(as.View()),
				Audit: au.View(), Twins: tw.View(), History: hi.View(),
			},
			Commands: asset.NewService(log), Identity: people,
		},
		Operator: "Test Person", Log: slog.New(slog.DiscardHandler),
	})
	must(err)
	b, err := broker.Listen(t.Context(), broker.Config{Addr: "127.0.0.1:0", Handler: broker.Into(in)})
	must(err)
	mux := http.NewServeMux()
	mux.Handle("/graphql", h)
	web := httptest.NewServer(mux)
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := runner.Run(ctx); err != nil {
			t.Errorf("projections: %v", err)
		}
	})
	wg.Go(func() { _ = b.Run(ctx) })
	t.Cleanup(func() {
		web.Close()
		_ = in.Close()
		stop()
		wg.Wait()
		must(errors.Join(rows.Close(), log.Close()))
	})
	return &product{dir: dir, http: web.URL, mqtt: b.Addr().String()}
}

// TestFullDisk: nothing is acknowledged that is not stored, a mutation says why,
// questions are answered, and when there is room again everything goes on by
// itself, with what devices sent meanwhile.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	var free atomic.Uint64
	free.Store(100 << 30)
	p := assemble(t, badgerlog.Config{Free: func() (uint64, error) { return free.Load(), nil }})
	_, tags := p.pump(t, "pump 1", "P-1", "2020-01-01T00:00:00Z", "n")
	c := newTalker(t, p.mqtt, "P-1")
	c.publish(t, topic("P-1"), message("P-1", 1))

	free.Store(1 << 20)
	time.Sleep(600 * time.Millisecond) // the guard looks four times a second
	if err := c.try(topic("P-1"), message("P-1", 2), 700*time.Millisecond); err == nil {
		t.Error("a message is acknowledged on a full disk")
	}
	head := p.head(t)
	a, _, err := p.post(`mutation($in: BindTagInput!) { bindTag(input: $in) { position } }`, map[string]any{"in": map[string]any{
		"tag": tags[0], "device": "P-2", "signal": "n", "reason": map[string]any{"text": "in vain"},
	}})
	if err != nil || a.code() != "STORAGE_FULL" || a.Errors[0].Extensions["retryable"] != true {
		t.Errorf("a mutation on a full disk: %v, %+v", err, a.Errors)
	}
	value := func() any {
		t.Helper()
		p.folded(t)
		return p.ask(t, `query($id: ID!) { plant { tag(id: $id) { value { value } } } }`, map[string]any{"id": tags[0]}).at("plant", "tag", "value", "value")
	}
	if v := value(); v != 1.0 {
		t.Errorf("the value is %v, want 1", v)
	}
	if now := p.head(t); now != head {
		t.Errorf("the log has grown from %s to %s", head, now)
	}
	free.Store(100 << 30)
	// The first delivery waits in the server; so does the client, which never heard of it.
	if id, err := readAckWithin(c, 5*time.Second); err != nil || id != c.id {
		t.Errorf("there is room again, but the message is not acknowledged: %d, %v", id, err)
	}
	c.publish(t, topic("P-1"), message("P-1", 3))
	if v := value(); v != 3.0 {
		t.Errorf("the value is %v, want 3", v)
	}
	p.ask(t, `mutation($in: BindTagInput!) { bindTag(input: $in) { position } }`, map[string]any{"in": map[string]any{
		"tag": tags[0], "device": "P-2", "signal": "n", "reason": map[string]any{"text": "there is room"},
	}})
	samples := p.ask(t, `{ events(first: 10, filter: { stream: "telemetry-P-1.0", telemetry: true }) { nodes { type samples { value } } } }`, nil)
	if got := fmt.Sprint(samples.at("events", "nodes")); got != "[map[samples:[map[value:1]] type:telemetry.recorded.v1] map[samples:[map[value:2]] type:telemetry.recorded.v1] map[samples:[map[value:3]] type:telemetry.recorded.v1]]" {
		t.Errorf("stored: %s", got)
	}
}

func readAckWithin(c *talker, d time.Duration) (uint16, error) {
	_ = c.conn.SetDeadline(time.Now().Add(d))
	return readAck(c.r)
}

// TestClockStepsBack: Recorded never falls, and what was known at a time is all
// that was recorded until then.
func TestClockStepsBack(t *testing.T) {
	t.Parallel()
	var offset atomic.Int64
	p := assemble(t, badgerlog.Config{Now: func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }})
	_, tags := p.pump(t, "pump 1", "P-1", "2020-01-01T00:00:00Z", "n")
	c := newTalker(t, p.mqtt, "P-1")
	for i, step := range []time.Duration{0, 0, -30 * time.Second, 0, 0, 20 * time.Second, -time.Hour, 0, time.Hour + 30*time.Second, 0} {
		offset.Add(int64(step))
		c.publish(t, topic("P-1"), message("P-1", i+1))
	}
	p.folded(t)
	a := p.ask(t, `{ events(first: 100, filter: { stream: "telemetry-P-1.0", telemetry: true }) { nodes { position recorded samples { value } } } }`, nil)
	nodes, _ := a.at("events", "nodes").([]any)
	if len(nodes) != 10 {
		t.Fatalf("%d messages are stored", len(nodes))
	}
	var last time.Time
	var values []any
	for i := range nodes {
		at, err := time.Parse(time.RFC3339Nano, a.text("events", "nodes", i, "recorded"))
		if err != nil {
			t.Fatal(err)
		}
		if at.Before(last) {
			t.Errorf("message %d is recorded at %v, the one before at %v", i, at, last)
		}
		last = at
		values = append(values, a.at("events", "nodes", i, "samples", 0, "value"))
	}
	for i := range nodes {
		recorded := a.text("events", "nodes", i, "recorded")
		want := i // the last with the same time of recording
		for want+1 < len(nodes) && a.text("events", "nodes", want+1, "recorded") == recorded {
			want++
		}
		b := p.ask(t, `query($at: Moment, $id: ID!) { plant(at: $at) { moment { knownAt } tag(id: $id) { value { value } } } }`,
			map[string]any{"at": map[string]any{"known": map[string]any{"time": recorded}}, "id": tags[0]})
		if got := b.text("plant", "moment", "knownAt"); got != a.text("events", "nodes", want, "position") {
			t.Errorf("known at %s: position %s, want %s", recorded, got, a.text("events", "nodes", want, "position"))
		}
		if got := b.at("plant", "tag", "value", "value"); got != values[want] {
			t.Errorf("known at %s: %v, want %v", recorded, got, values[want])
		}
	}
}
