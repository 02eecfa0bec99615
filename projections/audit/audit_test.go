package audit_test

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
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/projections"
	"github.com/twinlog/twinlog/projections/audit"
	"github.com/twinlog/twinlog/projections/projectionstest"
	"github.com/twinlog/twinlog/test/budget"
)

// trail is a log of random deeds with telemetry between them, and what each
// line should say. back lets Recorded go back, as on a log whose writers do not
// share a clock.
func trail(t testing.TB, n int, back bool, seed uint64) (eventlog.Log, []audit.Row) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 6))
	clock := time.Unix(1_700_000_000, 0).UTC()
	log := memlog.New("test", func() time.Time { return clock })
	at := map[eventlog.StreamID]eventlog.Expected{}
	var rows []audit.Row
	for i := range n {
		clock = clock.Add(time.Duration(rng.IntN(3)) * time.Second)
		stream := eventlog.Stream([]string{"asset", "device", "structure"}[rng.IntN(3)], fmt.Sprint("x", rng.IntN(20)))
		var id eventlog.EventID
		binary.BigEndian.PutUint64(id[:], uint64(i)+1)
		e := eventlog.NewEvent{ID: id, Type: fmt.Sprintf("%s.done%d.v1", []string{"asset", "alarm", "as"}[rng.IntN(3)], rng.IntN(4)), Data: []byte("{}")}
		e.Envelope.Actor = eventlog.Actor{Subject: fmt.Sprint("s", rng.IntN(6)), Kind: []string{eventlog.Human, eventlog.Service}[rng.IntN(2)], AuthMethods: []string{"none"}}
		if rng.IntN(2) == 0 {
			e.Envelope.Effective = clock.Add(-time.Hour)
			e.Envelope.Reason = &eventlog.Reason{Code: "R1", Prompted: rng.IntN(2) == 0}
			e.Envelope.Correlation, e.Envelope.Causation = eventlog.EventID{9}, eventlog.EventID{8}
			e.Envelope.Actor.Role, e.Envelope.Actor.OnBehalfOf, e.Envelope.Actor.AuthMethods = "operator", "boss", nil
		}
		switch rng.IntN(10) {
		case 0:
			stream, e.Type = "telemetry-gw.1", eventlog.TelemetryRecorded
		case 1:
			stream, e.Type = "server-1", "server.alive.v1"
		}
		app, err := log.Append(t.Context(), stream, at[stream], e)
		if err != nil {
			t.Fatal(err)
		}
		at[stream] = eventlog.At(app.Revision)
		if e.Type == eventlog.TelemetryRecorded || stream.Category() == "server" {
			continue
		}
		rows = append(rows, audit.Row{
			Position: app.Last, Recorded: clock, Effective: e.Envelope.Effective, Actor: e.Envelope.Actor, Type: e.Type, Stream: stream,
			Revision: app.Revision, ID: id, Reason: e.Envelope.Reason, Correlation: e.Envelope.Correlation, Causation: e.Envelope.Causation,
		})
	}
	if back {
		shift := func(p eventlog.Position) time.Duration { return -time.Duration(uint64(p)%7) * time.Minute }
		for i := range rows {
			rows[i].Recorded = rows[i].Recorded.Add(shift(rows[i].Position))
		}
		return backLog{log, shift}, rows
	}
	return log, rows
}

// backLog shifts Recorded of what is read.
type backLog struct {
	*memlog.Log
	shift func(eventlog.Position) time.Duration
}

func (l backLog) Subscribe(ctx context.Context, after eventlog.Position, f eventlog.Filter) (eventlog.Subscription, error) {
	s, err := l.Log.Subscribe(ctx, after, f)
	return backSub{s, l.shift}, err
}

type backSub struct {
	eventlog.Subscription
	shift func(eventlog.Position) time.Duration
}

func (s backSub) Next(ctx context.Context) (eventlog.Batch, error) {
	b, err := s.Subscription.Next(ctx)
	b.Records = slices.Clone(b.Records)
	for i := range b.Records {
		b.Records[i].Recorded = b.Records[i].Recorded.Add(s.shift(b.Records[i].Position))
	}
	return b, err
}

func follow(t *testing.T, log eventlog.Log, p projections.Fold, store projections.Store) {
	t.Helper()
	r := projections.NewRunner(log, store, projections.Config{BatchSize: 100}, p)
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

// TestAgainstOracle asks with random filters for random pages, and compares
// with looking at every line.
func TestAgainstOracle(t *testing.T) {
	for name, back := range map[string]bool{"one clock": false, "a clock that goes back": true} {
		t.Run(name, func(t *testing.T) {
			seed := budget.Seed(t)
			rng := rand.New(rand.NewPCG(seed, 7))
			log, all := trail(t, 3000, back, seed)
			store := memrows.New()
			follow(t, log, audit.New(store), store)
			p := audit.New(store) // after a restart
			follow(t, log, p, store)
			v := p.View()
			for range 1000 {
				f := randomFilter(rng, all)
				upTo := eventlog.Position(rng.IntN(4000))
				page := audit.Page{Limit: 1 + rng.IntN(50), Backwards: rng.IntN(2) == 0}
				if rng.IntN(2) == 0 {
					page.After = eventlog.Position(rng.IntN(3500))
				}
				if rng.IntN(2) == 0 {
					page.Before = eventlog.Position(1 + rng.IntN(3500))
				}
				want, wantMore := look(all, f, upTo, page)
				got, more, err := v.List(t.Context(), f, upTo, page)
				if err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(want, got); d != "" || more != wantMore {
					t.Fatalf("%+v up to %v, %+v: more %t, want %t (-want +got):\n%s", f, upTo, page, more, wantMore, d)
				}
			}
		})
	}
}

func randomFilter(rng *rand.Rand, all []audit.Row) audit.Filter {
	var f audit.Filter
	some := func() audit.Row { return all[rng.IntN(len(all))] }
	for range rng.IntN(3) {
		switch rng.IntN(8) {
		case 0:
			f.Subjects = append(f.Subjects, some().Actor.Subject)
		case 1:
			f.Kinds = append(f.Kinds, some().Actor.Kind)
		case 2:
			f.Types = append(f.Types, some().Type)
		case 3:
			f.TypePrefix = []string{"as", "asset.", "alarm.done1", "none"}[rng.IntN(4)]
		case 4:
			f.Stream = some().Stream
		case 5:
			f.Entity = some().Stream.Entity()
		case 6:
			f.From = some().Recorded
		case 7:
			f.To = some().Recorded
		}
	}
	return f
}

// look is the oracle.
func look(all []audit.Row, f audit.Filter, upTo eventlog.Position, p audit.Page) (rows []audit.Row, more bool) {
	for _, r := range all {
		switch {
		case upTo != 0 && r.Position > upTo, r.Position <= p.After, p.Before != 0 && r.Position >= p.Before,
			len(f.Subjects) > 0 && !slices.Contains(f.Subjects, r.Actor.Subject),
			len(f.Kinds) > 0 && !slices.Contains(f.Kinds, r.Actor.Kind),
			len(f.Types) > 0 && !slices.Contains(f.Types, r.Type),
			!strings.HasPrefix(r.Type, f.TypePrefix),
			f.Stream != "" && r.Stream != f.Stream,
			f.Entity != "" && !strings.HasSuffix(string(r.Stream), "-"+f.Entity),
			!f.From.IsZero() && r.Recorded.Before(f.From), !f.To.IsZero() && !r.Recorded.Before(f.To):
			continue
		}
		rows = append(rows, r)
	}
	if more = len(rows) > p.Limit; more && p.Backwards {
		rows = rows[len(rows)-p.Limit:]
	} else if more {
		rows = rows[:p.Limit]
	}
	return rows, more
}

// TestReads: a page does not cost more because the trail is long.
func TestReads(t *testing.T) {
	log, all := trail(t, 20_000, false, 1)
	store := memrows.New()
	p := audit.New(store)
	follow(t, log, p, store)
	v := p.View()
	for name, f := range map[string]audit.Filter{"everything": {}, "one stream": {Stream: "asset-x3"}, "the last minute": {From: all[len(all)-30].Recorded}} {
		for _, backwards := range []bool{false, true} {
			before := v.Reads()
			rows, _, err := v.List(t.Context(), f, 0, audit.Page{Limit: 20, Backwards: backwards})
			if err != nil || len(rows) != 20 {
				t.Fatalf("%s: %d rows, %v", name, len(rows), err)
			}
			if n := v.Reads() - before; n > 22 {
				t.Errorf("%s, backwards %t: %d store reads for 20 rows", name, backwards, n)
			}
		}
	}
}

func TestRebuildEqualsLive(t *testing.T) {
	log, _ := trail(t, projectionstest.Events(), false, budget.Seed(t))
	n := 0
	projectionstest.RebuildEqualsLive(t, projectionstest.Setup{
		Fold: func() projections.Fold { return audit.New(nil) },
		Store: func(tb testing.TB) projections.Store {
			if n++; n == 2 {
				return memrows.New()
			}
			s, err := badgerrows.Open(tb.TempDir(), badgerrows.Config{})
			if err != nil {
				tb.Fatal(err)
			}
			tb.Cleanup(func() { s.Close() })
			return s
		},
	}, log)
}

// TestUnreadableEnvelope: what another writer has put into the log has its line
// all the same.
func TestUnreadableEnvelope(t *testing.T) {
	store := memrows.New()
	p := audit.New(store)
	var w projections.Writes
	rec := eventlog.Record{Stream: "asset-1", Position: 5, Type: "t.v1", Recorded: time.Unix(7, 0).UTC(), RawEnvelope: []byte("{")}
	if _, err := p.Fold(eventlog.Batch{Records: []eventlog.Record{rec}, Through: 5}, &w); err != nil {
		t.Fatal(err)
	}
	if err := store.Commit(t.Context(), p.Name(), p.Version(), 5, &w); err != nil {
		t.Fatal(err)
	}
	got, _, err := p.View().List(t.Context(), audit.Filter{}, 0, audit.Page{Limit: 5})
	if err != nil {
		t.Fatal(err)
	}
	want := []audit.Row{{Position: 5, Stream: "asset-1", Type: "t.v1", Recorded: time.Unix(7, 0).UTC()}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("line (-want +got):\n%s", d)
	}
}
