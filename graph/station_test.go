package graph_test

import (
	"context"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twinlog/twinlog/adapters/eventlog/memlog"
	"github.com/twinlog/twinlog/adapters/rows/memrows"
	"github.com/twinlog/twinlog/domain/asset"
	"github.com/twinlog/twinlog/domain/device"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/quality"
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

// t0 is when the station was built; its clock starts an hour later.
var t0 = time.Date(2026, 3, 1, 6, 0, 0, 0, time.UTC)

// clock is a clock that tests set. It never stands still by itself: that would
// hide what depends on order.
type clock struct{ nanos atomic.Int64 }

func (c *clock) now() time.Time  { return time.Unix(0, c.nanos.Add(1000)).UTC() }
func (c *clock) set(t time.Time) { c.nanos.Store(t.UnixNano()) }

// station is a site with real folds over a real log, in memory.
type station struct {
	*site
	clock   *clock
	runner  *projections.Runner
	service *asset.Service
	calls   *calls
	hold    *held

	mu  sync.Mutex // guards seq: messages per source so far
	seq map[string]int
}

// calls counts what is asked of the views.
type calls struct{ assets, twins, history, devices atomic.Int64 }

func (c *calls) sum() int64 {
	return c.assets.Load() + c.twins.Load() + c.history.Load() + c.devices.Load()
}

// counted are the views, counted.
type countedAssets struct {
	*assets.View
	n *atomic.Int64
}

func (v countedAssets) ByIDs(ctx context.Context, ids []string, c projections.Cut) ([]*assets.Asset, error) {
	v.n.Add(1)
	return v.View.ByIDs(ctx, ids, c)
}

func (v countedAssets) List(ctx context.Context, f assets.Filter, c projections.Cut, after string, first int) ([]*assets.Asset, bool, error) {
	v.n.Add(1)
	return v.View.List(ctx, f, c, after, first)
}

func (v countedAssets) Tags(ctx context.Context, ids []string, c projections.Cut) ([][]*assets.Tag, error) {
	v.n.Add(1)
	return v.View.Tags(ctx, ids, c)
}

func (v countedAssets) Children(ctx context.Context, ids []string, c projections.Cut) ([][]*assets.Asset, error) {
	v.n.Add(1)
	return v.View.Children(ctx, ids, c)
}

func (v countedAssets) Ancestors(ctx context.Context, ids []string, c projections.Cut) ([][]*assets.Asset, error) {
	v.n.Add(1)
	return v.View.Ancestors(ctx, ids, c)
}

func (v countedAssets) Bindings(ctx context.Context, ids []string, c projections.Cut) ([][]assets.Binding, error) {
	v.n.Add(1)
	return v.View.Bindings(ctx, ids, c)
}

func (v countedAssets) Devices(ctx context.Context, ids []string, c projections.Cut) ([][]string, error) {
	v.n.Add(1)
	return v.View.Devices(ctx, ids, c)
}

func (v countedAssets) Relations(ctx context.Context, ids []string, d assets.Direction, c projections.Cut) ([][]assets.Relation, error) {
	v.n.Add(1)
	return v.View.Relations(ctx, ids, d, c)
}

func (v countedAssets) ClassVersions(ctx context.Context, refs []assets.ClassRef, c projections.Cut) ([]*assets.Class, error) {
	v.n.Add(1)
	return v.View.ClassVersions(ctx, refs, c)
}

type countedTwins struct {
	*twins.View
	n *atomic.Int64
}

func (v countedTwins) Latest(ctx context.Context, points []telemetry.Point) ([]twins.Last, error) {
	v.n.Add(1)
	return v.View.Latest(ctx, points)
}

type countedHistory struct {
	*history.View
	n *atomic.Int64
}

func (v countedHistory) LatestAt(ctx context.Context, points []telemetry.Point, c projections.Cut) ([]*history.Sample, error) {
	v.n.Add(1)
	return v.View.LatestAt(ctx, points, c)
}

type countedDevices struct {
	*devices.View
	n *atomic.Int64
}

func (v countedDevices) ByIDs(ctx context.Context, ids []string, c projections.Cut) ([]*devices.Device, error) {
	v.n.Add(1)
	return v.View.ByIDs(ctx, ids, c)
}

// held is a runner that can be made to look as if it lagged.
type held struct {
	*projections.Runner
	stuck atomic.Bool
}

func (h *held) WaitFor(ctx context.Context, pos eventlog.Position) error {
	if h.stuck.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	return h.Runner.WaitFor(ctx, pos)
}

func newStation(t testing.TB, limits graph.Limits) *station {
	t.Helper()
	st := &station{clock: &clock{}, calls: &calls{}, seq: map[string]int{}}
	st.clock.set(t0)
	log := memlog.New(origin, st.clock.now)
	store := memrows.New()
	a, tw, h, d, au := assets.New(), twins.New(), history.New(store), devices.New(store), audit.New(store)
	st.runner = projections.NewRunner(log, store, projections.Config{Pace: time.Millisecond}, a, tw, h, d, au)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- st.runner.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	st.hold = &held{Runner: st.runner}
	st.service = asset.NewService(log)
	st.site = serve(t, &graph.Resolver{
		Read: &plant.Reader{
			Log: log, Now: st.clock.now, Build: "test", Runner: st.hold,
			Assets: countedAssets{a.View(), &st.calls.assets}, Twins: countedTwins{tw.View(), &st.calls.twins},
			History: countedHistory{h.View(), &st.calls.history}, Devices: countedDevices{d.View(a.View()), &st.calls.devices},
			Audit: au.View(),
		},
		Commands: st.service, Identity: people{}, ReadBack: 300 * time.Millisecond,
	}, limits)
	return st
}

// settle waits until all that is in the log is folded.
func (st *station) settle() eventlog.Position {
	st.t.Helper()
	head, _, err := st.log.Head(context.Background())
	if err != nil {
		st.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := st.runner.WaitFor(ctx, head); err != nil {
		st.t.Fatalf("not folded: %v", err)
	}
	return head
}

func num(v float64) telemetry.Value { return telemetry.FloatValue(v) }

// report appends a message of a device, with its own time.
func (st *station) report(dev string, at time.Time, signals ...any) eventlog.Appended {
	st.t.Helper()
	row := telemetry.Row{
		Device: dev, DeviceType: "pump", SourceTime: at, Basis: telemetry.FromSourceTS, SchemaVersion: "2.1",
		EdgeLatency: telemetry.NoLatency,
	}
	for i := 0; i < len(signals); i += 2 {
		s := telemetry.Sample{Signal: signals[i].(string), Quality: quality.Quality{Code: 0, Raw: 192, Scheme: quality.OPCDA}}
		switch v := signals[i+1].(type) {
		case float64:
			s.Value = num(v)
		case telemetry.Value:
			s.Value = v
		case quality.Code:
			s.Value, s.Quality = num(math.NaN()), quality.Of(v)
		}
		row.Samples = append(row.Samples, s)
	}
	return st.send(row)
}

// send appends a message of a device.
func (st *station) send(row telemetry.Row) eventlog.Appended {
	st.t.Helper()
	dev := row.Device
	st.mu.Lock()
	defer st.mu.Unlock()
	n := st.seq[dev]
	st.seq[dev]++
	row.MsgID = fmt.Sprintf("m-%d", n)
	at1 := eventlog.NoStream
	if n > 0 {
		at1 = eventlog.At(eventlog.Revision(n - 1))
	}
	done, err := st.log.Append(context.Background(), telemetry.Stream(dev, telemetry.Unordered), at1, eventlog.NewEvent{
		ID: telemetry.UnorderedID(origin, dev, row.MsgID), Type: eventlog.TelemetryRecorded, ContentType: telemetry.ContentType,
		Data: row.AppendBinary(nil), Envelope: eventlog.Envelope{Actor: eventlog.Actor{Subject: dev, Kind: eventlog.Device}},
	})
	if err != nil {
		st.t.Fatal(err)
	}
	return done
}

// see registers a device.
func (st *station) see(dev string) {
	st.t.Helper()
	_, _, err := device.Decider.Execute(context.Background(), st.log, device.Stream(dev), eventlog.Call{
		Key: eventlog.NewKey(origin, "test", "see", dev), Envelope: eventlog.Envelope{Actor: eventlog.Actor{Subject: "ingest", Kind: eventlog.Service}},
	}, device.See{Device: dev, Type: "pump", How: device.FirstSeen})
	if err != nil {
		st.t.Fatal(err)
	}
}

const why = `reason: {text: "because Anna told me"}`

// payload is what a mutation about an asset answers.
type payload struct {
	Position string
	EventIDs []string `json:"eventIds"`
	Repeated bool
	Asset    *struct{ ID, Path, Revision string }
	Tag      *struct{ ID, Path string }
}

// mutate sends a mutation and returns its payload.
func (st *station) mutate(name, input string) payload {
	st.t.Helper()
	inner := "asset { id path revision }"
	if name == "bindTag" {
		inner = "tag { id path }"
	}
	var got map[string]payload
	st.ask(&got, fmt.Sprintf(`mutation { %s(input: {%s}) { position eventIds repeated %s } }`, name, input, inner), nil)
	return got[name]
}

// build makes the enterprise, a site and a class, and returns the site's id.
func (st *station) build() string {
	st.t.Helper()
	st.defineClass()
	top := st.mutate("registerAsset", `name: "acme", level: ENTERPRISE, `+why)
	return st.mutate("registerAsset", fmt.Sprintf(`name: "north", level: SITE, parent: %q, %s`, top.Asset.ID, why)).Asset.ID
}

func (st *station) defineClass() {
	st.t.Helper()
	var got struct {
		DefineAssetClass struct{ AssetClass struct{ Version int } }
	}
	st.ask(&got, `mutation { defineAssetClass(input: {name: "pump", tags: [
		{name: "pressure", unit: "BAR", euRange: {low: 0, high: 10}, expectedInterval: "PT1S"},
		{name: "temperature", unit: "CEL"}, {name: "running", dataType: BOOL}], `+why+`}) { assetClass { version } } }`, nil)
	if got.DefineAssetClass.AssetClass.Version != 1 {
		st.t.Fatalf("got %+v", got)
	}
}

// pump registers a pump and binds its tags to a device of the same name.
func (st *station) pump(parent, name string) string {
	st.t.Helper()
	p := st.mutate("registerAsset", fmt.Sprintf(`name: %q, level: EQUIPMENT, parent: %q, class: "pump", %s`, name, parent, why))
	for tag, signal := range map[string]string{"pressure": "p", "temperature": "t", "running": "on"} {
		st.bind(p.Asset.Path+"/"+tag, "D-"+name, signal, "")
	}
	return p.Asset.ID
}

// tag returns the id of a tag.
func (st *station) tag(path string) string {
	st.t.Helper()
	var got struct {
		Plant struct{ Tag *struct{ ID string } }
	}
	st.ask(&got, `query($p: String) { plant { tag(path: $p) { id } } }`, map[string]any{"p": path})
	if got.Plant.Tag == nil {
		st.t.Fatalf("no tag %s", path)
	}
	return got.Plant.Tag.ID
}

func (st *station) bind(path, dev, signal, more string) {
	st.t.Helper()
	st.mutate("bindTag", fmt.Sprintf(`tag: %q, device: %q, signal: %q, %s %s`, st.tag(path), dev, signal, more, why))
}
