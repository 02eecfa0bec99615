package twins_test

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/twinlog/twinlog/adapters/rows/memrows"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/domain/quality"
	"github.com/twinlog/twinlog/domain/settings"
	"github.com/twinlog/twinlog/domain/telemetry"
	"github.com/twinlog/twinlog/projections"
	"github.com/twinlog/twinlog/projections/rowstest"
	"github.com/twinlog/twinlog/projections/twins"
	"github.com/twinlog/twinlog/test/budget"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// model decides by the words of the rule: all samples that have ever been
// allowed to be current, and of them the newest.
type model struct {
	skew    time.Duration
	newest  time.Time // Recorded
	waiting map[telemetry.Point][]twins.Last
	current map[telemetry.Point]twins.Last
}

func newer(a, b twins.Last) bool {
	return !b.OK || a.SourceTime.After(b.SourceTime) || a.SourceTime.Equal(b.SourceTime) && a.Position > b.Position
}

func (m *model) see(rec eventlog.Record, row *telemetry.Row, skew time.Duration) {
	if rec.Recorded.After(m.newest) {
		m.newest = rec.Recorded
	}
	m.skew = skew
	for pt, list := range m.waiting {
		m.waiting[pt] = slices.DeleteFunc(list, func(l twins.Last) bool {
			if l.SourceTime.After(m.newest.Add(m.skew)) {
				return false
			}
			if l.Changed = rec.Position; newer(l, m.current[pt]) {
				m.current[pt] = l
			}
			return true
		})
	}
	if row == nil {
		return
	}
	for _, s := range row.Samples {
		pt := telemetry.Point{Device: row.Device, Signal: s.Signal}
		l := twins.Last{
			OK: true, Value: s.Value, Quality: s.Quality, SourceTime: row.SourceTime, ServerTime: row.ServerTime,
			Recorded: rec.Recorded, Position: rec.Position, Changed: rec.Position,
		}
		if row.SourceTime.After(rec.Recorded.Add(m.skew)) {
			if l.Quality.Code.Status() == quality.IsGood {
				l.Quality.Code = quality.UncertainSubNormal
			}
			m.waiting[pt] = append(m.waiting[pt], l)
		} else if newer(l, m.current[pt]) {
			m.current[pt] = l
		}
	}
}

// log makes records at rising positions with gaps, so that windows end often.
type log struct {
	r        *rand.Rand
	records  []eventlog.Record
	position eventlog.Position
	recorded time.Time
	skew     time.Duration
	jump     int // positions between two records, at most
	model    model
}

func newLog(r *rand.Rand) *log {
	return &log{r: r, recorded: start, skew: time.Minute, jump: 400, model: model{
		waiting: map[telemetry.Point][]twins.Last{}, current: map[telemetry.Point]twins.Last{},
	}}
}

func (l *log) append(typ string, data []byte) eventlog.Record {
	r := l.r
	l.recorded = l.recorded.Add(time.Duration(r.Int64N(3e9)))
	if r.IntN(50) == 0 {
		l.recorded = l.recorded.Add(-20 * time.Second) // another server's clock
	}
	last := l.position
	l.position += 1 + eventlog.Position(r.IntN(l.jump))
	if end := l.position >> 16 << 16; end > last+1 && r.IntN(2) == 0 {
		l.position = end - eventlog.Position(r.IntN(2)) // the last of a window, or the first
	}
	rec := eventlog.Record{Stream: "telemetry-x.0", Position: l.position, Type: typ, Data: data, Recorded: l.recorded}
	l.records = append(l.records, rec)
	return rec
}

func (l *log) run(n int) {
	r := l.r
	for range n {
		if r.IntN(200) == 0 {
			l.skew = time.Duration(r.IntN(100)) * time.Second
			rec := l.append(settings.ChangedType, fmt.Appendf(nil, `{"allowedSkewMs":%d}`, l.skew.Milliseconds()))
			l.model.see(rec, nil, l.skew)
			continue
		}
		row := telemetry.Row{Device: fmt.Sprint("D", r.IntN(5)), SchemaVersion: "2.1", EdgeLatency: telemetry.NoLatency}
		row.SourceTime = l.recorded.Add(time.Duration(r.IntN(9)-6) * time.Second)
		switch r.IntN(15) {
		case 0:
			row.SourceTime = l.recorded.Add(time.Duration(r.IntN(240)) * time.Second) // ahead
		case 1:
			row.SourceTime = l.recorded.Add(-time.Duration(r.IntN(7200)) * time.Second) // late
		}
		row.SourceTime = row.SourceTime.Truncate(4 * time.Second) // so that ties happen
		if r.IntN(2) == 0 {
			row.ServerTime = row.SourceTime.Add(time.Second)
		}
		for i := range 4 {
			if r.IntN(3) > 0 {
				s := telemetry.Sample{Signal: fmt.Sprint("s", i), Value: telemetry.IntValue(int64(len(l.records)))}
				if i == 3 {
					s.Value = telemetry.StringValue(fmt.Sprint("state ", r.IntN(3)))
				}
				if r.IntN(10) == 0 {
					s.Quality = quality.Of(quality.BadSensorFailure)
				}
				row.Samples = append(row.Samples, s)
			}
		}
		rec := l.append(eventlog.TelemetryRecorded, row.AppendBinary(nil))
		l.model.see(rec, &row, l.skew)
	}
}

type live struct {
	store *memrows.Store
	fold  *twins.Projection
	at    eventlog.Position
}

func (v *live) restart(tb testing.TB) {
	tb.Helper()
	ctx := context.Background()
	v.fold = twins.New()
	at, err := v.store.Checkpoint(ctx, v.fold.Name(), v.fold.Version())
	if err != nil {
		tb.Fatal(err)
	}
	s, err := v.store.Snapshot(ctx, v.fold.Name())
	if err != nil {
		tb.Fatal(err)
	}
	defer s.Close()
	if err := v.fold.Open(s, at); err != nil {
		tb.Fatal(err)
	}
	v.at = at
}

func (v *live) feed(tb testing.TB, records []eventlog.Record, size func() int) {
	tb.Helper()
	i, _ := slices.BinarySearchFunc(records, v.at+1, func(r eventlog.Record, p eventlog.Position) int { return cmp.Compare(r.Position, p) })
	for i < len(records) {
		n := min(size(), len(records)-i)
		var w projections.Writes
		b := eventlog.Batch{Records: records[i : i+n], Through: records[i+n-1].Position}
		at, err := v.fold.Fold(b, &w)
		if err == nil {
			err = v.store.Commit(context.Background(), v.fold.Name(), v.fold.Version(), at, &w)
		}
		if err != nil {
			tb.Fatal(err)
		}
		v.at = b.Through
		i += n
	}
}

// TestAgainstModel: whatever the batches and restarts, the current values are
// those of the rule.
func TestAgainstModel(t *testing.T) {
	r := rand.New(rand.NewPCG(budget.Seed(t), 0))
	rounds := 0
	for end := time.Now().Add(budget.For(t) / 8); time.Now().Before(end); rounds++ {
		l := newLog(r)
		v := &live{store: memrows.New()}
		v.restart(t)
		for range 1 + r.IntN(5) {
			l.run(r.IntN(800))
			if r.IntN(2) == 0 {
				v.restart(t)
			}
			v.feed(t, l.records, func() int { return 1 + r.IntN(300) })
			var pts []telemetry.Point
			for d := range 6 {
				for s := range 5 {
					pts = append(pts, telemetry.Point{Device: fmt.Sprint("D", d), Signal: fmt.Sprint("s", s)})
				}
			}
			got, err := v.fold.View().Latest(t.Context(), pts)
			if err != nil {
				t.Fatal(err)
			}
			for i, pt := range pts {
				if diff := gocmp.Diff(l.model.current[pt], got[i]); diff != "" {
					t.Fatalf("%v after %d records, want (-) got (+): %s", pt, len(l.records), diff)
				}
			}
		}
		again := &live{store: memrows.New()}
		again.restart(t)
		again.feed(t, l.records, func() int { return 1000 })
		same(t, v.store, again.store)
	}
	t.Logf("%d logs", rounds)
}

// TestRestartAnywhere stops after every record, in particular at the ends of
// windows, and starts again from what was written.
func TestRestartAnywhere(t *testing.T) {
	r := rand.New(rand.NewPCG(budget.Seed(t), 3))
	rounds := 0
	for end := time.Now().Add(budget.For(t) / 8); time.Now().Before(end); rounds++ {
		l := newLog(r)
		l.jump = 20_000
		v := &live{store: memrows.New()}
		v.restart(t)
		for range 80 {
			l.run(1)
			v.feed(t, l.records, func() int { return 1 })
			v.restart(t)
			v.feed(t, l.records, func() int { return 1 + r.IntN(5) })
			for d := range 5 {
				for s := range 4 {
					pt := telemetry.Point{Device: fmt.Sprint("D", d), Signal: fmt.Sprint("s", s)}
					got, _ := v.fold.View().Latest(t.Context(), []telemetry.Point{pt})
					if diff := gocmp.Diff(l.model.current[pt], got[0]); diff != "" {
						t.Fatalf("%v after %d records, want (-) got (+): %s", pt, len(l.records), diff)
					}
				}
			}
		}
	}
	t.Logf("%d logs", rounds)
}

func same(t *testing.T, a, b *memrows.Store) {
	t.Helper()
	live, rebuilt := rowstest.Dump(t, a, "twins"), rowstest.Dump(t, b, "twins")
	if !slices.EqualFunc(live, rebuilt, func(a, b projections.Write) bool {
		return bytes.Equal(a.Key, b.Key) && bytes.Equal(a.Value, b.Value)
	}) {
		t.Fatalf("rows differ, live (-) rebuilt (+): %s", gocmp.Diff(live, rebuilt))
	}
}

func send(l *log, source time.Time, v int64) {
	row := telemetry.Row{
		Device: "D", SchemaVersion: "2.1", EdgeLatency: telemetry.NoLatency, SourceTime: source,
		Samples: []telemetry.Sample{{Signal: "s", Value: telemetry.IntValue(v)}},
	}
	l.append(eventlog.TelemetryRecorded, row.AppendBinary(nil))
}

// TestClockFarAhead: a clock that is an hour ahead keeps memory bounded, and its
// values still become current as time goes on.
func TestClockFarAhead(t *testing.T) {
	l := newLog(rand.New(rand.NewPCG(1, 1)))
	for i := range 5000 {
		send(l, l.recorded.Add(time.Hour), int64(i))
	}
	v := &live{store: memrows.New()}
	v.restart(t)
	v.feed(t, l.records, func() int { return 100 })
	got, _ := v.fold.View().Latest(t.Context(), []telemetry.Point{{Device: "D", Signal: "s"}})
	age := l.recorded.Sub(got[0].SourceTime)
	if !got[0].OK || age > 10*time.Minute || age < -time.Minute || got[0].Quality.Code.Status() != quality.IsUncertain {
		t.Fatalf("the current value is %v old: %+v", age, got[0])
	}
	size := 0
	for _, w := range rowstest.Dump(t, v.store, "twins") {
		size += len(w.Value)
	}
	if size > 2000 {
		t.Fatalf("rows of %d bytes for one point", size)
	}
}

// TestWatch: a subscriber that looks at random times sees each point's newest
// value, in order, knows what it passed over, and resumes after a position.
func TestWatch(t *testing.T) {
	r := rand.New(rand.NewPCG(budget.Seed(t), 2))
	l := newLog(r)
	l.run(4000)
	v := &live{store: memrows.New()}
	v.restart(t)
	pts := []telemetry.Point{{Device: "D1", Signal: "s0"}, {Device: "nobody", Signal: "x"}, {Device: "D2", Signal: "s1"}, {Device: "D3", Signal: "s3"}}
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	for range 8 {
		wg.Go(func() {
			after, given, missed := eventlog.Position(0), map[int]twins.Last{}, 0
			for ctx.Err() == nil {
				w := v.fold.View().Watch(pts, after) // resumed again and again
				for range 3 {
					changes, through, err := w.Next(ctx)
					if err != nil {
						break
					}
					last := eventlog.Position(0)
					for _, c := range changes {
						if before := given[c.Index]; before.OK && c.Last.Changed <= before.Changed || c.Last.Changed < last || c.Last.Changed > through {
							t.Errorf("point %d: %+v after %+v, through %d", c.Index, c.Last, before, through)
						}
						last = c.Last.Changed
						given[c.Index] = c.Last
						missed += c.Missed
					}
					after = through
				}
			}
			if missed < 0 {
				t.Errorf("missed %d", missed)
			}
			for i, pt := range pts { // cancelled when all had been folded
				if now, _ := v.fold.View().Latest(context.Background(), []telemetry.Point{pt}); now[0].Changed <= after && now[0] != given[i] {
					t.Errorf("%v: the last that was given is %+v, the current is %+v", pt, given[i], now[0])
				}
			}
		})
	}
	v.feed(t, l.records, func() int { return 20 })
	cancel()
	wg.Wait()
	w := v.fold.View().Watch(pts, v.fold.View().Through())
	short, stop := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer stop()
	if c, _, err := w.Next(short); err == nil {
		t.Errorf("resumed at the end, got %+v", c)
	}
}
