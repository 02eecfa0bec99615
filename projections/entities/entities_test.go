package entities_test

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/twinlog/twinlog/adapters/eventlog/memlog"
	"github.com/twinlog/twinlog/adapters/rows/memrows"
	"github.com/twinlog/twinlog/domain/alarm"
	"github.com/twinlog/twinlog/domain/eventlog"
	"github.com/twinlog/twinlog/projections"
	"github.com/twinlog/twinlog/projections/alarms"
	"github.com/twinlog/twinlog/projections/projectionstest"
	"github.com/twinlog/twinlog/test/budget"
)

// history appends random events of some alarms and returns what each was after
// each position.
func history(t *testing.T, rng *rand.Rand, n int) (*memlog.Log, []map[string]alarm.State) {
	t.Helper()
	at := func(i int) time.Time { return time.Unix(1_700_000_000+int64(i), 0).UTC() }
	now := 0
	log := memlog.New("test", func() time.Time { return at(now) })
	states, revisions, known := map[string]alarm.State{}, map[string]eventlog.Expected{}, []map[string]alarm.State{{}}
	for now = range n {
		what := alarm.What{Device: fmt.Sprintf("P-%d", rng.IntN(5)), Name: fmt.Sprintf("a%d", rng.IntN(4)), Kind: "process", Severity: 1 + rng.IntN(1000)}
		id := alarm.ID(what.Device, what.Name)
		var e eventlog.Event
		switch then := at(rng.IntN(now + 1)); rng.IntN(6) {
		case 0, 1:
			e = alarm.Raised{What: what, At: then}
		case 2:
			e = alarm.Cleared{At: then}
		case 3:
			e = alarm.Acknowledged{At: then}
		case 4:
			e = alarm.Shelving{At: then, Until: then.Add(time.Minute)}
		default:
			e = alarm.TakenOut{At: then}
		}
		var eid eventlog.EventID
		binary.BigEndian.PutUint64(eid[:], uint64(now)+1)
		ev, err := eventlog.NewJSONEvent(eid, e, eventlog.Envelope{})
		if err != nil {
			t.Fatal(err)
		}
		app, err := log.Append(t.Context(), alarm.Stream(id), revisions[id], ev)
		if err != nil {
			t.Fatal(err)
		}
		revisions[id] = eventlog.At(app.Revision)
		states[id] = alarm.Evolve(states[id], e)
		if n <= 2000 {
			known = append(known, maps.Clone(states))
		}
	}
	return log, known
}

func TestRebuildEqualsLive(t *testing.T) {
	log, _ := history(t, rand.New(rand.NewPCG(budget.Seed(t), 0)), projectionstest.Events()/5)
	projectionstest.RebuildEqualsLive(t, projectionstest.Setup{
		Fold:  func() projections.Fold { return alarms.New(memrows.New()) },
		Store: func(testing.TB) projections.Store { return memrows.New() },
	}, log)
}

// TestEveryCut compares what is read at each position with what was true there.
func TestEveryCut(t *testing.T) {
	log, known := history(t, rand.New(rand.NewPCG(budget.Seed(t), 0)), 400)
	store := memrows.New()
	p := alarms.New(store)
	w := &projections.Writes{}
	if err := p.Open(emptySnapshot(t, store), 0); err != nil {
		t.Fatal(err)
	}
	var batch eventlog.Batch
	for rec, err := range log.ReadAll(t.Context(), 0, eventlog.Forwards, p.Filter()) {
		if err != nil {
			t.Fatal(err)
		}
		batch.Records, batch.Through = append(batch.Records, rec), rec.Position
	}
	if _, err := p.Fold(batch, w); err != nil {
		t.Fatal(err)
	}
	if err := store.Commit(t.Context(), p.Name(), p.Version(), batch.Through, w); err != nil {
		t.Fatal(err)
	}
	for i := 1; i < len(known); i++ {
		cut := projections.Cut{Known: eventlog.NewPosition(0, uint64(i))}
		rows, more, err := p.List(t.Context(), func(*alarms.Row) bool { return true }, cut, "", 1000)
		if err != nil || more {
			t.Fatal(err, more)
		}
		got := map[string]alarm.State{}
		for _, r := range rows {
			got[r.ID] = r.State
		}
		if d := cmp.Diff(known[i], got); d != "" {
			t.Fatalf("at %d (-want +got):\n%s", i, d)
		}
	}
	first, more, err := p.List(t.Context(), func(r *alarms.Row) bool { return r.State.Raises > 0 }, projections.Cut{}, "", 3)
	if err != nil || !more || len(first) != 3 {
		t.Fatalf("%d rows, more %t, %v", len(first), more, err)
	}
	next, _, err := p.List(t.Context(), func(r *alarms.Row) bool { return r.State.Raises > 0 }, projections.Cut{}, first[2].ID, 3)
	if err != nil || next[0].ID <= first[2].ID {
		t.Fatalf("%q after %q, %v", next[0].ID, first[2].ID, err)
	}
}

func emptySnapshot(t *testing.T, store projections.Store) projections.Snapshot {
	t.Helper()
	s, err := store.Snapshot(t.Context(), "alarms")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}
