package history_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/projections"
	"github.com/twinlog/twinlog/projections/aggregate"
	"github.com/twinlog/twinlog/projections/history"
	"github.com/twinlog/twinlog/projections/rowstest"
	"github.com/twinlog/twinlog/test/budget"
)

// TestAgainstModel asks everything of a history that was folded in random
// batches with restarts, and compares with the list of all samples.
func TestAgainstModel(t *testing.T) {
	r := rand.New(rand.NewPCG(budget.Seed(t), 0))
	questions := 0
	for end := time.Now().Add(budget.For(t) / 4); time.Now().Before(end); {
		p := newPlant(r, 1+r.IntN(400))
		p.pace = []int64{4e9, 1e9, 1e8}[r.IntN(3)] // slow, and so fast that sums are worth it
		l := newLive(t)
		for range 1 + r.IntN(4) {
			p.run(r.IntN(4000))
			if r.IntN(3) == 0 {
				l.restart(t)
			}
			l.feed(t, p.records, func() int { return 1 + r.IntN(700) })
			for range 60 {
				ask(t, r, p, l.fold.View())
				questions++
			}
		}
	}
	t.Logf("%d questions of each kind", questions)
}

func ask(t *testing.T, r *rand.Rand, p *plant, v *history.View) {
	t.Helper()
	if len(p.model) == 0 {
		return
	}
	pts := make([]telemetry.Point, 0, len(p.model))
	for pt := range p.model {
		pts = append(pts, pt)
	}
	slices.SortFunc(pts, func(a, b telemetry.Point) int {
		if a.Device+a.Signal < b.Device+b.Signal {
			return -1
		}
		return 1
	})
	pt := pts[r.IntN(len(pts))]
	c := projections.Cut{}
	if r.IntN(2) == 0 {
		c.Known = p.records[r.IntN(len(p.records))].Position
	}
	if r.IntN(3) == 0 {
		c.AsOf = epoch.Add(time.Duration(r.Int64N(int64(p.recorded.Sub(epoch)) + 1)))
	}
	all := p.known(pt, c.Known)
	if !c.AsOf.IsZero() {
		all = slices.DeleteFunc(all, func(s history.Sample) bool { return s.SourceTime.After(c.AsOf) })
	}
	askSamples(t, r, pt, v, c, all)
	askLatest(t, pts[:min(len(pts), 7)], p, v, c)
	askAggregate(t, r, pt, p, v, c, all)
}

func askSamples(t *testing.T, r *rand.Rand, pt telemetry.Point, v *history.View, c projections.Cut, all []history.Sample) {
	t.Helper()
	ctx := context.Background()
	from := epoch.Add(time.Duration(r.Int64N(90*3600e9) - 80*3600e9))
	if len(all) > 0 && r.IntN(2) == 0 {
		from = all[r.IntN(len(all))].SourceTime
	}
	to := from.Add(time.Duration(r.Int64N(100 * 3600e9)))
	if r.IntN(20) == 0 {
		to = from
	}
	o := history.Options{Quality: history.QualityFilter(r.IntN(4)), Bounds: r.IntN(2) == 0, First: r.IntN(3) * r.IntN(40)}
	var want []history.Sample
	for i, s := range all {
		switch {
		case !s.SourceTime.Before(from) && s.SourceTime.Before(to):
		case o.Bounds && s.SourceTime.Before(from) && (i+1 == len(all) || !all[i+1].SourceTime.Before(from)):
		case o.Bounds && !s.SourceTime.Before(to) && (i == 0 || all[i-1].SourceTime.Before(to)):
		default:
			continue
		}
		if st := s.Quality.Code.Status(); o.Quality == history.Good && st != quality.IsGood ||
			o.Quality == history.GoodOrUncertain && st == quality.IsBad || o.Quality == history.Bad && st != quality.IsBad {
			continue
		}
		want = append(want, s)
	}
	if r.IntN(3) == 0 && len(want) > 0 {
		last := r.IntN(len(want))
		o.After = history.Cursor{SourceTime: want[last].SourceTime, Position: want[last].Position}
		want = want[last+1:]
	}
	more := o.First > 0 && len(want) > o.First
	if more {
		want = want[:o.First]
	}
	var got []history.Sample
	for s, err := range v.Samples(ctx, pt, from, to, c, o) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, s)
	}
	if !slices.Equal(want, got) {
		diff := cmp.Diff(want, got)
		t.Fatalf("samples of %v in [%v, %v) at %+v with %+v, want (-) got (+): %s", pt, from, to, c, o, diff)
	}
	cols, err := v.Columns(ctx, pt, from, to, c, o)
	if err != nil {
		t.Fatal(err)
	}
	if cols.More != more || len(cols.Times) != len(want) {
		t.Fatalf("%d rows, more %v, want %d, %v", len(cols.Times), cols.More, len(want), more)
	}
	quality := 0
	left := 0
	for i, s := range want {
		if left == 0 {
			left = cols.Quality[quality].Count
			quality++
		}
		left--
		kind := cols.Kinds[0]
		if len(cols.Kinds) > 1 {
			kind = cols.Kinds[i]
		}
		value := telemetry.Value{Kind: kind, Bits: cols.Bits[i]}
		if cols.Strings != nil {
			value.Str = cols.Strings[i]
		}
		if cols.Times[i] != s.SourceTime.UnixNano() || value != s.Value || cols.Quality[quality-1].Quality != s.Quality {
			t.Fatalf("row %d is %v %v %v, want %+v", i, cols.Times[i], value, cols.Quality[quality-1], s)
		}
	}
}

func askLatest(t *testing.T, pts []telemetry.Point, p *plant, v *history.View, c projections.Cut) {
	t.Helper()
	pts = append(slices.Clone(pts), telemetry.Point{Device: "nobody", Signal: "x"})
	got, err := v.LatestAt(context.Background(), pts, c)
	if err != nil {
		t.Fatal(err)
	}
	for i, pt := range pts {
		var want *history.Sample
		for _, s := range p.received(pt, c.Known) {
			if c.AsOf.IsZero() || !s.SourceTime.After(c.AsOf) {
				want = &s
			}
		}
		if want != nil {
			by := p.altered(pt, *want, c.Known)
			*want = p.look(pt, *want, c.Known)
			want.Altered = by
		}
		if diff := cmp.Diff(want, got[i]); diff != "" {
			t.Fatalf("latest of %v at %+v, want (-) got (+): %s", pt, c, diff)
		}
	}
}

// askAggregate compares with the Folder fed with all samples one by one.
func askAggregate(t *testing.T, r *rand.Rand, pt telemetry.Point, p *plant, v *history.View, c projections.Cut, all []history.Sample) {
	t.Helper()
	every := []time.Duration{0, time.Minute, 7 * time.Minute, 15 * time.Minute, time.Hour, 5 * time.Hour}[r.IntN(6)]
	from := epoch.Add(time.Duration(r.IntN(100)-80) * time.Hour)
	if r.IntN(2) == 0 {
		from = epoch.Add(time.Duration(r.Int64N(int64(p.recorded.Sub(epoch)))-int64(time.Hour)) / (15 * time.Minute) * (15 * time.Minute))
	}
	if r.IntN(2) == 0 {
		from = from.Add(time.Duration(r.Int64N(3600e9)))
	}
	s := aggregate.Span{From: from, To: from.Add(time.Duration(1+r.IntN(100)) * 15 * time.Minute), Interval: every}
	cfg := aggregate.Standard()
	cfg.TreatUncertainAsBad, cfg.Stepped, cfg.UseSlopedExtrapolation = r.IntN(2) == 0, r.IntN(5) == 0, r.IntN(5) == 0
	fns := []aggregate.Function{
		aggregate.Interpolative, aggregate.Average, aggregate.TimeAverage, aggregate.Minimum, aggregate.Maximum, aggregate.Count,
		aggregate.Start, aggregate.End, aggregate.Delta, aggregate.PercentGood, aggregate.DurationBad, aggregate.WorstQuality,
	}
	if r.IntN(5) == 0 {
		fns = append(fns, aggregate.StandardDeviationSample)
	}
	// A tag that was moved from one point to another.
	cut := from.Add(time.Duration(r.Int64N(int64(s.To.Sub(s.From)))))
	other := telemetry.Point{Device: "D-2", Signal: "s1"}
	parts := []history.Part{{Point: pt}}
	series := [][]history.Sample{all}
	if r.IntN(3) == 0 && other != pt {
		parts = []history.Part{{Point: other, From: cut}, {Point: pt, To: cut}}
		series = [][]history.Sample{nil, nil}
		for _, x := range all {
			if x.SourceTime.Before(cut) {
				series[0] = append(series[0], x)
			}
		}
		for _, x := range p.known(other, c.Known) {
			if !x.SourceTime.Before(cut) && (c.AsOf.IsZero() || !x.SourceTime.After(c.AsOf)) {
				series[1] = append(series[1], x)
			}
		}
	}
	f := aggregate.NewFolder(s, fns, cfg)
	for _, list := range series {
		for i, x := range list {
			if i+1 == len(list) || !list[i+1].SourceTime.Equal(x.SourceTime) {
				f.Add(aggregate.Sample{Time: x.SourceTime.UnixNano(), Value: x.Value, Code: x.Quality.Code})
			}
		}
	}
	got, err := v.Aggregate(context.Background(), parts, s, fns, cfg, c)
	if err != nil {
		t.Fatal(err)
	}
	if want := f.Results(); !slices.EqualFunc(want, got, slices.Equal) {
		diff := cmp.Diff(want, got)
		t.Fatalf("aggregates of %v over %+v at %+v with %+v, want (-) got (+): %s", parts, s, c, cfg, diff)
	}
}

// TestRebuildEqualsLive: the rows after restarts in the middle of windows and
// in batches of any size are those of one pass, keys and values.
func TestRebuildEqualsLive(t *testing.T) {
	r := rand.New(rand.NewPCG(budget.Seed(t), 1))
	p := newPlant(r, 60)
	p.pace = 4e8
	l := newLive(t)
	for range 4 {
		p.run(25_000)
		l.feed(t, p.records, func() int { return 1 + r.IntN(3000) })
		l.restart(t)
	}
	l.feed(t, p.records, func() int { return 1000 })
	live := rowstest.Dump(t, l.store, "history")
	for _, size := range []int{777, 50_000} {
		again := newLive(t)
		again.feed(t, p.records, func() int { return size })
		rebuilt := rowstest.Dump(t, again.store, "history")
		if !slices.EqualFunc(live, rebuilt, func(a, b projections.Write) bool {
			return bytes.Equal(a.Key, b.Key) && bytes.Equal(a.Value, b.Value)
		}) {
			diff := cmp.Diff(live, rebuilt)
			t.Fatalf("rows in batches of %d differ, live (-) rebuilt (+): %.2000s", size, diff)
		}
	}
	size, samples := 0, 0
	for _, w := range live {
		size += len(w.Key) + len(w.Value)
	}
	for _, s := range p.model {
		samples += len(s)
	}
	t.Logf("%d events, %d samples, %d rows, %.2f bytes per sample", len(p.records), samples, len(live), float64(size)/float64(samples))
	sums := 0
	for _, w := range live {
		if w.Key[0] == 's' {
			sums++
		}
	}
	at, err := l.store.Checkpoint(t.Context(), "history", l.fold.Version())
	if err != nil || len(live) < 100 || sums < 100 || (at+1)%(1<<18) != 0 {
		t.Fatalf("%d rows, %d of sums, checkpoint %d, error %v: windows of 2^18 positions were expected", len(live), sums, at, err)
	}
}
