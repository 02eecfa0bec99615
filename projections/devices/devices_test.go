package devices_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/twinlog/twinlog/adapters/eventlog/memlog"
	"github.com/twinlog/twinlog/adapters/rows/badgerrows"
	"github.com/twinlog/twinlog/adapters/rows/memrows"
	"github.com/twinlog/twinlog/domain/asset"
	"github.com/twinlog/twinlog/domain/device"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/projections"
	"github.com/twinlog/twinlog/projections/assets"
	"github.com/twinlog/twinlog/projections/devices"
	"github.com/twinlog/twinlog/projections/projectionstest"
	"github.com/twinlog/twinlog/test/budget"
)

func second(n int) time.Time { return time.Unix(1_700_000_000+int64(n), 0).UTC() }

// plant appends device events, one second apart.
type plant struct {
	testing.TB
	log *memlog.Log
	at  map[string]eventlog.Expected
	n   int
}

func newPlant(tb testing.TB) *plant {
	p := &plant{TB: tb, at: map[string]eventlog.Expected{}}
	p.log = memlog.New("test", func() time.Time { return second(p.n) })
	return p
}

func (p *plant) tell(id string, e eventlog.Event) eventlog.Position {
	p.Helper()
	p.n++
	var eid eventlog.EventID
	binary.BigEndian.PutUint64(eid[:], uint64(p.n))
	ev, err := eventlog.NewJSONEvent(eid, e, eventlog.Envelope{})
	if err != nil {
		p.Fatal(err)
	}
	app, err := p.log.Append(p.Context(), device.Stream(id), p.at[id], ev)
	if err != nil {
		p.Fatal(err)
	}
	p.at[id] = eventlog.At(app.Revision)
	return app.Last
}

// follow runs projections to the log's end.
func follow(t *testing.T, log eventlog.Log, store projections.Store, folds ...projections.Fold) {
	t.Helper()
	r := projections.NewRunner(log, store, projections.Config{}, folds...)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	head, _, _ := log.Head(ctx)
	if err := r.WaitFor(ctx, head); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

func TestDevice(t *testing.T) {
	w := newPlant(t)
	w.tell("P-7", device.Registered{Device: "P-7", Type: "pump", Place: "acme/detroit", Gateway: "gw", How: device.FirstSeen})
	seen := w.tell("P-7", device.Online{At: second(100)})
	gone := w.tell("P-7", device.Offline{At: second(200), Reason: "conn_lost"})
	w.tell("V/1", device.Registered{Device: "V/1", How: device.Known})
	svc := asset.NewService(w.log)
	call := func(k string) eventlog.Call { return eventlog.Call{Key: eventlog.NewKey("test", "s", "m", k)} }
	items := []eventlog.Item[asset.Command]{
		{Call: call("1"), Command: asset.Register{Asset: "E", Name: "e", Level: asset.Enterprise, Effective: second(0)}},
		{Call: call("2"), Command: asset.BindTag{Asset: "E", Tag: "flow", Device: "P-7", Signal: "f", Effective: second(50)}},
	}
	if _, err := svc.DoAll(t.Context(), items); err != nil {
		t.Fatal(err)
	}
	store := memrows.New()
	p, a := devices.New(store), assets.New()
	follow(t, w.log, store, p, a)
	v := p.View(a.View())

	yes, no := true, false
	pump := devices.Device{
		ID: "P-7", Type: "pump", Place: "acme/detroit", Gateway: "gw", Online: &no, StatusReason: "conn_lost", StatusAt: second(200),
		FirstSeen: second(1), Revision: 2, Position: gone, Assets: []string{"E"},
	}
	for name, c := range map[string]struct {
		cut  projections.Cut
		edit func(*devices.Device)
	}{
		"newest": {projections.Cut{}, func(*devices.Device) {}},
		"before it left": {projections.Cut{Known: gone - 1}, func(d *devices.Device) {
			d.Online, d.StatusReason, d.StatusAt, d.Revision, d.Position, d.Assets = &yes, "", second(100), 1, seen, nil
		}},
		"before it spoke of itself": {projections.Cut{Known: seen - 1}, func(d *devices.Device) {
			d.Online, d.StatusReason, d.StatusAt, d.Revision, d.Position, d.Assets = nil, "", time.Time{}, 0, seen-1, nil
		}},
		"before it served": {projections.Cut{AsOf: second(49)}, func(d *devices.Device) { d.Assets = nil }},
	} {
		got, err := v.ByIDs(t.Context(), []string{"nobody", "P-7"}, c.cut)
		if err != nil {
			t.Fatal(err)
		}
		want := pump
		c.edit(&want)
		if d := cmp.Diff([]*devices.Device{nil, &want}, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
	for name, c := range map[string]struct {
		f    devices.Filter
		want string
	}{
		"all":            {devices.Filter{}, "P-7 V/1"},
		"of a type":      {devices.Filter{Type: "pump"}, "P-7"},
		"by a gateway":   {devices.Filter{Gateway: "other"}, ""},
		"online":         {devices.Filter{Online: &yes}, ""},
		"offline":        {devices.Filter{Online: &no}, "P-7"},
		"registered":     {devices.Filter{Registered: &yes}, "V/1"},
		"not registered": {devices.Filter{Registered: &no}, "P-7"},
		"assigned":       {devices.Filter{Assigned: &yes}, "P-7"},
		"unassigned":     {devices.Filter{Assigned: &no}, "V/1"},
	} {
		if got := strings.Join(ids(t, v, c.f, projections.Cut{}, 10), " "); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// ids pages through a list.
func ids(tb testing.TB, v *devices.View, f devices.Filter, c projections.Cut, size int) (all []string) {
	tb.Helper()
	for after := ""; ; {
		page, more, err := v.List(context.Background(), f, c, after, size)
		if err != nil {
			tb.Fatal(err)
		}
		for _, d := range page {
			all = append(all, d.ID)
		}
		if !more {
			return all
		}
		after = all[len(all)-1]
	}
}

// life is random devices' lives.
func life(t testing.TB, events int, seed uint64) *plant {
	w := newPlant(t)
	rng := rand.New(rand.NewPCG(seed, 4))
	for range events {
		id := fmt.Sprint("dev/", rng.IntN(500))
		var e eventlog.Event = device.Registered{Device: id, Type: fmt.Sprint("type", rng.IntN(3)), Gateway: fmt.Sprint("gw", rng.IntN(3)), How: device.FirstSeen}
		if w.at[id] != eventlog.NoStream {
			e = device.Online{At: second(rng.IntN(1000))}
			if rng.IntN(2) == 0 {
				e = device.Offline{At: second(rng.IntN(1000)), Reason: fmt.Sprint("r", rng.IntN(3))}
			}
		}
		w.tell(id, e)
	}
	return w
}

func TestRebuildEqualsLive(t *testing.T) {
	w := life(t, projectionstest.Events(), budget.Seed(t))
	var stores []projections.Store
	projectionstest.RebuildEqualsLive(t, projectionstest.Setup{
		Fold: func() projections.Fold { return devices.New(nil) },
		Store: func(tb testing.TB) projections.Store {
			stores = append(stores, memrows.New())
			if len(stores) == 1 {
				s, err := badgerrows.Open(tb.TempDir(), badgerrows.Config{})
				if err != nil {
					tb.Fatal(err)
				}
				tb.Cleanup(func() { s.Close() })
				stores[0] = s
			}
			return stores[len(stores)-1]
		},
	}, w.log)
}

// TestAtAnyPosition: what a View says at a past position is what a projection
// that stopped there says, for a few devices and for pages, in few reads.
func TestAtAnyPosition(t *testing.T) {
	seed := budget.Seed(t)
	w := life(t, 3000, seed)
	rng := rand.New(rand.NewPCG(seed, 5))
	store := memrows.New()
	now := devices.New(store)
	follow(t, w.log, store, now)
	v := now.View(nil)
	var records []eventlog.Record
	for rec, err := range w.log.ReadAll(t.Context(), 0, eventlog.Forwards, eventlog.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, rec)
	}
	for range 30 {
		n := 1 + rng.IntN(len(records))
		then := devices.New(nil)
		var rows projections.Writes
		if _, err := then.Fold(eventlog.Batch{Records: records[:n], Through: records[n-1].Position}, &rows); err != nil {
			t.Fatal(err)
		}
		c := projections.Cut{Known: records[n-1].Position}
		var some []string
		for range 1 + rng.IntN(30) {
			some = append(some, fmt.Sprint("dev/", rng.IntN(520)))
		}
		before := v.Reads()
		got, err := v.ByIDs(t.Context(), some, c)
		if err != nil {
			t.Fatal(err)
		}
		if reads := v.Reads() - before; reads > 8 {
			t.Errorf("%d store reads for %d devices", reads, len(some))
		}
		want, err := then.View(nil).ByIDs(t.Context(), some, projections.Cut{})
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("after %d events (-want +got):\n%s", n, d)
		}
		f := devices.Filter{Type: "type1"}
		if a, b := ids(t, then.View(nil), f, projections.Cut{}, 1000), ids(t, v, f, c, 7); !slices.Equal(a, b) {
			t.Fatalf("after %d events: %v, want %v", n, b, a)
		}
	}
	before := v.Reads()
	ids(t, v, devices.Filter{}, projections.Cut{}, 50)
	if n := v.Reads() - before; n != 0 {
		t.Errorf("%d store reads for the newest list", n)
	}
}
