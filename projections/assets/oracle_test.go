package assets_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twinlog/twinlog/adapters/eventlog/memlog"
	"github.com/twinlog/twinlog/adapters/rows/memrows"
	"github.com/twinlog/twinlog/domain/asset"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/projections"
	"github.com/twinlog/twinlog/projections/assets"
	"github.com/twinlog/twinlog/test/budget"
)

// told is one event as the oracle remembers it: in log order, no index.
type told struct {
	event eventlog.Dated
	at    eventlog.Position
}

type oracle []told

// last returns the fact that holds at t of those that pick chooses: the newest
// by effective time, and of two about one instant the later in the log.
func (o oracle) last(t time.Time, known eventlog.Position, pick func(eventlog.Event) bool) eventlog.Dated {
	var best eventlog.Dated
	for _, f := range o {
		if f.at > known || f.event.EffectiveTime().After(t) || !pick(f.event) {
			continue
		}
		if best == nil || !f.event.EffectiveTime().Before(best.EffectiveTime()) {
			best = f.event
		}
	}
	return best
}

func (o oracle) path(id string, t time.Time, known eventlog.Position) string {
	name := o.last(t, known, func(e eventlog.Event) bool {
		r, isReg := e.(asset.Registered)
		n, isName := e.(asset.Renamed)
		return isReg && r.Asset == id || isName && n.Asset == id
	})
	parent := o.last(t, known, func(e eventlog.Event) bool {
		r, isReg := e.(asset.Registered)
		m, isMove := e.(asset.Moved)
		return isReg && r.Asset == id || isMove && m.Asset == id
	})
	if name == nil || parent == nil {
		return ""
	}
	path, up := "", ""
	switch e := name.(type) {
	case asset.Registered:
		path = e.Name
	case asset.Renamed:
		path = e.Name
	}
	switch e := parent.(type) {
	case asset.Registered:
		up = e.Parent
	case asset.Moved:
		up = e.Parent
	}
	if up == "" {
		return path
	}
	return o.path(up, t, known) + "/" + path
}

func (o oracle) retired(id string, t time.Time, known eventlog.Position) bool {
	return o.last(t, known, func(e eventlog.Event) bool { r, ok := e.(asset.Retired); return ok && r.Asset == id }) != nil
}

func (o oracle) point(id, tag string, t time.Time, known eventlog.Position) string {
	if o.retired(id, t, known) {
		return ""
	}
	e := o.last(t, known, func(e eventlog.Event) bool { b, ok := e.(asset.TagBound); return ok && b.Asset == id && b.Tag == tag })
	if e == nil {
		return ""
	}
	return e.(asset.TagBound).Device + "/" + e.(asset.TagBound).Signal
}

// TestAgainstOracle asks for random assets and tags at random cuts, while the
// log is still being folded in and the process restarts, and compares with reading the whole log.
func TestAgainstOracle(t *testing.T) {
	seed := budget.Seed(t)
	log := day(t, 4000, 30, 60, seed)
	rng := rand.New(rand.NewPCG(seed, 3))
	var o oracle
	ids := map[string]bool{}
	store := memrows.New()
	var p *assets.Projection
	var v *assets.View
	asked, through := 0, eventlog.Position(0)
	restart := func() {
		p = assets.New()
		snap, err := store.Snapshot(t.Context(), p.Name())
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Open(snap, through); err != nil {
			t.Fatal(err)
		}
		v = p.View()
	}
	restart()
	var list []string
	for rec, err := range log.ReadAll(t.Context(), 0, eventlog.Forwards, p.Filter()) {
		if err != nil {
			t.Fatal(err)
		}
		var w projections.Writes
		through = rec.Position
		if _, err := p.Fold(eventlog.Batch{Records: []eventlog.Record{rec}, Through: through}, &w); err != nil {
			t.Fatal(err)
		}
		if err := store.Commit(t.Context(), p.Name(), p.Version(), through, &w); err != nil {
			t.Fatal(err)
		}
		if rng.IntN(200) == 0 {
			restart()
		}
		event, err := asset.Decode(rec.Type, rec.Data)
		if err != nil {
			t.Fatal(err)
		}
		o = append(o, told{event.(eventlog.Dated), rec.Position})
		if r, ok := event.(asset.Registered); ok && !ids[r.Asset] {
			ids[r.Asset] = true
			list = append(list, r.Asset)
		}
		if rng.IntN(10) > 0 || len(list) == 0 {
			continue
		}
		for range 4 {
			id, tag := list[rng.IntN(len(list))], fmt.Sprint("tag", rng.IntN(8))
			at, known := second(rng.IntN(35)-2), eventlog.Position(1+rng.IntN(int(through)))
			c := projections.Cut{AsOf: at, Known: known}
			if rng.IntN(3) == 0 {
				c.Known, known = 0, through
			}
			asked++
			got := get[[]*assets.Asset](t)(v.ByIDs(t.Context(), []string{id}, c))[0]
			path, retired := "", false
			if got != nil {
				path, retired = got.Path, got.Retired
			}
			if want := o.path(id, at, known); path != want || retired != o.retired(id, at, known) {
				t.Fatalf("%s as of %v known at %v: %q retired %t, want %q", id, at, known, path, retired, want)
			}
			if got != nil && !retired {
				if by := get[*assets.Asset](t)(v.ByPath(t.Context(), path, c)); by == nil || by.ID != id {
					t.Fatalf("path %q leads to %+v, want %s", path, by, id)
				}
			}
			point := ""
			for _, b := range get[[][]assets.Binding](t)(v.Bindings(t.Context(), []string{asset.TagID(id, tag)}, c))[0] {
				if !b.From.After(at) && (b.To.IsZero() || b.To.After(at)) {
					point = b.Point.Device + "/" + b.Point.Signal
				}
			}
			if want := o.point(id, tag, at, known); point != want {
				t.Fatalf("%s %s as of %v known at %v: fed by %q, want %q", id, tag, at, known, point, want)
			}
		}
	}
	t.Logf("%d events, %d questions", len(o), asked)
}

// TestLargePlant: a page of 1,000 assets with their tags, bindings, parents
// and relations reads nothing from the store, at the newest cut and at an old
// one.
func TestLargePlant(t *testing.T) {
	w := newWorld(t)
	w.class("pump", 0, asset.TagDef{Name: "a"}, asset.TagDef{Name: "b"}, asset.TagDef{Name: "c"}, asset.TagDef{Name: "d"})
	w.exec(plantCommands()...)
	var items []eventlog.Item[asset.Command]
	add := func(c asset.Command) {
		items = append(items, eventlog.Item[asset.Command]{Call: call(fmt.Sprint("big", len(items))), Command: c})
	}
	for i := range 10_000 {
		id := fmt.Sprint("big", i)
		add(asset.Register{Asset: id, Name: id, Parent: "B", Level: asset.Equipment, Class: "pump", Effective: second(1)})
		for _, tag := range []string{"a", "b", "c", "d"} {
			add(asset.BindTag{Asset: id, Tag: tag, Device: id, Signal: tag, Effective: second(1)})
		}
	}
	if _, err := w.do.DoAll(t.Context(), items); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	w.wait()
	t.Logf("the rest of 50,000 events folded in %v", time.Since(began))
	for name, c := range map[string]projections.Cut{"newest": {}, "then": {AsOf: second(50), Known: 40_000}} {
		for _, round := range []string{"first", "again"} {
			began := time.Now()
			page, more, err := w.view.ListTags(t.Context(), assets.TagFilter{Under: "B"}, c, "", 10_000)
			if err != nil || !more || len(page) != 10_000 {
				t.Fatalf("%s: %d tags, more %t, %v", name, len(page), more, err)
			}
			t.Logf("%s, %s time: 10,000 tags of 40,000 in %v", name, round, time.Since(began))
		}
		rows, _, err := w.view.List(t.Context(), assets.Filter{Under: "B"}, c, "", 1000)
		if err != nil || len(rows) != 1000 {
			t.Fatalf("%s: %d assets, %v", name, len(rows), err)
		}
	}
	if n := w.view.Reads(); n != 0 {
		t.Errorf("%d store reads", n)
	}
}

// BenchmarkFold folds an import of 10,000 assets with four bindings each.
func BenchmarkFold(b *testing.B) {
	log := memlog.New("test", time.Now)
	do := asset.NewService(log)
	items := []eventlog.Item[asset.Command]{{Call: call("E"), Command: asset.Register{Asset: "E", Name: "e", Level: asset.Enterprise, Effective: second(0)}}}
	for i := range 10_000 {
		id := fmt.Sprint("a", i)
		items = append(items, eventlog.Item[asset.Command]{Call: call(id), Command: asset.Register{Asset: id, Name: id, Parent: "E", Level: asset.Equipment, Effective: second(1)}})
		for _, tag := range []string{"a", "b", "c", "d"} {
			items = append(items, eventlog.Item[asset.Command]{Call: call(id + tag), Command: asset.BindTag{Asset: id, Tag: tag, Device: id, Signal: tag, Effective: second(1)}})
		}
	}
	if _, err := do.DoAll(b.Context(), items); err != nil {
		b.Fatal(err)
	}
	var batch eventlog.Batch
	for rec, err := range log.ReadAll(b.Context(), 0, eventlog.Forwards, eventlog.Filter{}) {
		if err != nil {
			b.Fatal(err)
		}
		batch.Records, batch.Through = append(batch.Records, rec), rec.Position
	}
	for b.Loop() {
		var w projections.Writes
		if _, err := assets.New().Fold(batch, &w); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(batch.Records)), "ns/event")
}
