package timetravel

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/twinlog/twinlog/test/oracle"
)

// asker chooses questions about a world: at moments at and beside those at
// which something is true or was told.
type asker struct {
	*rand.Rand
	w        *oracle.World
	assets   []oracle.Registered
	classes  map[string]int
	fed      []oracle.Bound // all bindings
	instants []time.Time
	measured []time.Time // SourceTimes
}

func newAsker(seed uint64, s *story) *asker {
	a := &asker{Rand: rand.New(rand.NewPCG(seed, 1)), w: s.world, assets: s.assets, classes: s.classes}
	for _, e := range s.world.Entries {
		a.instants = append(a.instants, e.Recorded)
		switch f := e.Fact.(type) {
		case oracle.Row:
			a.instants, a.measured = append(a.instants, f.Source), append(a.measured, f.Source)
		case oracle.Registered:
			a.instants = append(a.instants, f.Effective)
		case oracle.Moved:
			a.instants = append(a.instants, f.Effective)
		case oracle.Renamed:
			a.instants = append(a.instants, f.Effective)
		case oracle.Retired:
			a.instants = append(a.instants, f.Effective)
		case oracle.Bound:
			a.instants, a.fed = append(a.instants, f.Effective), append(a.fed, f)
		case oracle.Plated:
			a.instants = append(a.instants, f.Effective)
		case oracle.Related:
			a.instants = append(a.instants, f.Effective)
		case oracle.ClassDefined:
			a.instants = append(a.instants, f.Effective)
		}
	}
	return a
}

func pick[V any](a *asker, from ...V) V { return from[a.IntN(len(from))] }

// instant is one of those, or just beside it.
func (a *asker) instant() time.Time {
	return pick(a, a.instants...).Add(pick(a, 0, 0, 0, -1, 1, time.Second, -time.Hour))
}

// position is one of the log's, or just beside it.
func (a *asker) position() oracle.Position {
	p := pick(a, a.w.Entries...).Position + oracle.Position(pick(a, 0, 0, 0, 1))
	if a.IntN(4) == 0 && p > 0 {
		p--
	}
	return min(p, a.w.Entries[len(a.w.Entries)-1].Position)
}

// moment leaves out either clock now and then.
func (a *asker) moment() oracle.Moment {
	var m oracle.Moment
	if a.IntN(3) > 0 {
		t := a.instant()
		m.AsOf = &t
	}
	switch a.IntN(4) {
	case 0, 1:
		p := a.position()
		m.Known = &p
	case 2:
		t := a.instant()
		m.KnownTime = &t
	}
	return m
}

// tag is one that was fed at some time, or any.
func (a *asker) tag() (asset, name string) {
	if a.IntN(4) > 0 {
		b := pick(a, a.fed...)
		return b.Asset, b.Tag
	}
	return pick(a, a.assets...).Asset, pick(a, "flow", "temp", "flow", "temp", textTag)
}

// span is a stretch of time to read.
func (a *asker) span() oracle.Range {
	from, to := a.instant(), a.instant()
	if to.Before(from) {
		from, to = to, from
	}
	if !from.Before(to) {
		to = from.Add(time.Hour)
	}
	return oracle.Range{From: from, To: to, Quality: pick(a, "ANY", "ANY", "GOOD", "GOOD_OR_UNCERTAIN", "BAD"), Bounds: a.IntN(2) == 0}
}

// path is one that some asset may have had.
func (a *asker) path() string {
	path := "E"
	for range a.IntN(4) {
		path += "/" + pick(a, append(slices.Clone(assetNames), "S", "E", "S")...)
	}
	return path
}

// question is one of any kind.
func (a *asker) question() oracle.Question {
	m := a.moment()
	switch a.IntN(24) {
	case 0:
		return a.w.Moment(m)
	case 1:
		return a.w.Settings(m)
	case 2:
		f := oracle.AssetFilter{Retired: a.IntN(2) == 0, Part: pick(a, "", "", "", "b")}
		if a.IntN(2) == 0 {
			f.Under = pick(a, a.assets...).Asset
		}
		if a.IntN(4) == 0 {
			f.Level = pick(a, levels...)
		}
		if a.IntN(4) == 0 {
			f.Class = pick(a, classNames...)
		}
		return a.w.Assets(m, f)
	case 3:
		return a.w.AssetByPath(m, a.path())
	case 4, 5:
		return a.w.Family(m, pick(a, a.assets...).Asset)
	case 6:
		name := pick(a, names(a.classes)...)
		return a.w.Class(m, name, a.IntN(a.classes[name]+1))
	case 7:
		return a.w.Devices(m)
	case 8:
		return a.w.State(m, pick(a, a.assets...).Asset)
	case 9, 10:
		return a.w.TagValues(m, pick(a, a.assets...).Asset, pick(a, "", "", "flow"))
	case 11:
		types := pick(a, typed, []string{"telemetry.recorded.v1"}, []string{"asset.moved.v1", "asset.renamed.v1", "tag.bound.v1"})
		return a.w.Events(a.position(), types, pick(a, 0, 0, 1, 3))
	case 12, 13:
		asset, tag := a.tag()
		return a.w.Samples(m, asset, tag, a.span(), pick(a, 3, 1000))
	case 14, 15:
		asset, tag := a.tag()
		if q, ok := a.w.Series(m, asset, tag, a.span()); ok {
			return q
		}
	case 20:
		asset, tag := a.tag()
		return a.w.Versions(m, asset, tag, a.instant())
	case 16, 17, 21, 22, 23:
		if q, ok := a.aggregates(m); ok {
			return q
		}
	}
	asset, tag := a.tag()
	return a.w.Tag(m, asset, tag)
}

// aggregates asks for some functions over a few intervals, mostly such that
// whole quarters of an hour lie in them.
func (a *asker) aggregates(m oracle.Moment) (oracle.Question, bool) {
	interval := pick(a, 15*time.Minute, time.Hour, 15*time.Minute, 7*time.Minute, 24*time.Hour)
	from := a.instant()
	if len(a.measured) > 0 && a.IntN(4) > 0 {
		from = pick(a, a.measured...).Add(-time.Duration(a.IntN(2)) * interval)
	}
	if a.IntN(3) > 0 {
		from = from.Truncate(15 * time.Minute)
	}
	to := from.Add(time.Duration(1+a.IntN(6)) * interval)
	if a.IntN(3) == 0 {
		to = to.Add(-interval / 3)
	}
	fns := []string{pick(a, oracle.Functions...), pick(a, oracle.Functions...), "AVERAGE"}
	if a.IntN(2) == 0 { // these do not read sums
		fns = slices.DeleteFunc(fns, func(f string) bool { return len(f) > 20 })
	}
	slices.Sort(fns)
	cfg := oracle.Config{TreatUncertainAsBad: a.IntN(2) == 0, Sloped: a.IntN(8) == 0, PercentBad: pick(a, 100, 100, 50, 0), PercentGood: pick(a, 100, 100, 60)}
	asset, tag := a.tag()
	if tag == textTag {
		tag = "flow"
	}
	return a.w.Aggregates(m, asset, tag, from, to, interval, slices.Compact(fns), cfg)
}
